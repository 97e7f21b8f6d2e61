//! Support for the engine's tests: a source in memory and repositories with cheap keys.

#![allow(dead_code, reason = "each test program uses a part of it")]
#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

pub mod judge;
pub mod small;
pub mod tools;
pub mod trial;

use std::collections::BTreeMap;
use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use outlast_format::{Mode, Node, NodeKind, ScryptCost, Time};
use outlast_repo::{
    BackupOptions, ChangeDetection, Environment, InitOptions, OpenOptions, Repository,
};
use outlast_source::{Content, Found, Place, Source, SourceError};
use outlast_store::LockStore;

/// Password of test repositories.
pub const PASSWORD: &[u8] = b"test password";

/// A tree of files in memory: paths from the root to contents.
#[derive(Debug, Clone, Default)]
pub struct MemorySource {
    files: BTreeMap<PathBuf, (Vec<u8>, i64)>,
}

impl MemorySource {
    /// Adds or replaces a file with a modification time in seconds.
    pub fn with(mut self, path: &str, content: impl Into<Vec<u8>>, mtime: i64) -> Self {
        self.files
            .insert(PathBuf::from(path), (content.into(), mtime));
        self
    }

    fn node(&self, path: &Path, name: &[u8]) -> Node {
        let name = name.to_vec();
        match self.files.get(path) {
            Some((content, mtime)) => Node {
                name,
                mode: Mode(0o644),
                mtime: Time::utc(*mtime, 0),
                ctime: Time::utc(*mtime, 0),
                size: content.len() as u64,
                ..Node::default()
            },
            None => Node {
                name,
                kind: NodeKind::Directory,
                mode: Mode::from_unix(0o040_755),
                ..Node::default()
            },
        }
    }
}

struct MemoryContent {
    node: Node,
    bytes: Cursor<Vec<u8>>,
}

impl Read for MemoryContent {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.bytes.read(buffer)
    }
}

impl Content for MemoryContent {
    fn node(&mut self) -> Result<Node, SourceError> {
        Ok(self.node.clone())
    }
}

impl Source for MemorySource {
    fn root(&self) -> Place {
        Place {
            path: "/".into(),
            number: None,
            disk_path: "/".into(),
        }
    }

    fn names(&self, place: &Place) -> Result<Vec<Vec<u8>>, SourceError> {
        let mut names: Vec<Vec<u8>> = Vec::new();
        for path in self.files.keys() {
            if let Ok(rest) = path.strip_prefix(&place.path)
                && let Some(first) = rest.components().next()
            {
                names.push(first.as_os_str().as_encoded_bytes().to_vec());
            }
        }
        names.sort();
        names.dedup();
        Ok(names)
    }

    fn look(&self, place: &Place, name: &[u8]) -> Result<Option<Found>, SourceError> {
        let path = place.path.join(String::from_utf8_lossy(name).as_ref());
        let node = self.node(&path, name);
        let next = Place {
            path: path.clone(),
            number: None,
            disk_path: path.clone(),
        };
        let place = node.is_directory().then_some(next);
        Ok(Some(Found {
            disk_path: path.clone(),
            path,
            node,
            place,
        }))
    }

    fn open(&self, found: &Found) -> Result<Box<dyn Content>, SourceError> {
        let bytes = Cursor::new(self.files[&found.path].0.clone());
        Ok(Box::new(MemoryContent {
            node: found.node.clone(),
            bytes,
        }))
    }
}

/// Bytes that look random and do not compress, always the same for a seed.
pub fn noise(bytes: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut noise = Vec::with_capacity(bytes + 8);
    while noise.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        noise.extend_from_slice(&state.to_le_bytes());
    }
    noise.truncate(bytes);
    noise
}

/// A new repository with a cheap key.
pub fn init(store: Arc<dyn LockStore>) -> Repository {
    let init = InitOptions::new(ScryptCost::RANDOM_PASSWORD);
    Repository::init(
        store,
        Environment::quiet(),
        PASSWORD,
        &init,
        OpenOptions::default(),
    )
    .unwrap()
}

/// Opens a repository and loads its index.
pub fn open(store: Arc<dyn LockStore>) -> Repository {
    let repository = Repository::open(
        store,
        Environment::quiet(),
        PASSWORD,
        OpenOptions::default(),
    )
    .unwrap();
    repository.load_index(&outlast_repo::Cancel::new()).unwrap();
    repository
}

/// Options of a backup at a time in seconds.
pub fn backup_options(seconds: i64) -> BackupOptions {
    BackupOptions {
        time: Time::utc(seconds, 0),
        hostname: "host".to_owned(),
        tags: Vec::new(),
        paths: vec!["/".to_owned()],
        excludes: Vec::new(),
        parent: None,
        detection: ChangeDetection::default(),
        skip_if_unchanged: false,
        dry_run: false,
        read_concurrency: None,
        adopt_packs: false,
        program_version: "outlast test".to_owned(),
    }
}
