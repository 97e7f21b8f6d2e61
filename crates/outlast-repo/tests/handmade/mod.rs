//! Repositories in memory with trees made by hand, such as no honest program writes.

#![allow(dead_code, clippy::unwrap_used)]

pub mod compare;
pub mod tree;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use outlast_format::{
    BlobHandle, BlobKind, MasterKey, Node, NodeKind, ScryptCost, Snapshot, Time, TreeBuilder,
    to_go_json,
};
use outlast_object::{Id, ObjectName};
use outlast_repo::{
    Cancel, Environment, InitOptions, LostBlob, Notice, OpenOptions, Repository, RestoreAction,
    RestoreObserver, RestoreProblem, SaverOptions, with_saver,
};
use outlast_store::MemoryStore;
use parking_lot::Mutex;

pub const PASSWORD: &[u8] = b"a test password";

pub struct Handmade {
    pub store: Arc<MemoryStore>,
    pub repository: Repository,
    pub notices: Arc<Mutex<Vec<Notice>>>,
}

impl Handmade {
    pub fn new() -> Self {
        let store = Arc::new(MemoryStore::new());
        let notices = Arc::new(Mutex::new(Vec::new()));
        let environment = Environment::of_this_process(notices.clone());
        let init = InitOptions::new(ScryptCost::RANDOM_PASSWORD);
        let options = OpenOptions::default();
        let repository =
            Repository::init(store.clone(), environment, PASSWORD, &init, options).unwrap();
        Self {
            store,
            repository,
            notices,
        }
    }

    /// Stores a blob in a pack of its own.
    pub fn blob(&self, kind: BlobKind, plaintext: &[u8]) -> Id {
        let save = SaverOptions::default();
        let (saved, _) = with_saver(&self.repository, save, &Cancel::new(), |saver| {
            saver.save(kind, plaintext, None)
        })
        .unwrap();
        saved.id
    }

    /// Stores many data blobs together, so that they share packs.
    pub fn blobs(&self, plaintexts: &[Vec<u8>]) -> Vec<Id> {
        let save = SaverOptions::default();
        with_saver(&self.repository, save, &Cancel::new(), |saver| {
            let saved = plaintexts
                .iter()
                .map(|bytes| Ok(saver.save(BlobKind::Data, bytes, None)?.id));
            saved.collect()
        })
        .unwrap()
        .0
    }

    pub fn data(&self, plaintext: &[u8]) -> Id {
        self.blob(BlobKind::Data, plaintext)
    }

    /// Stores a tree of entries in proper order.
    pub fn tree(&self, nodes: &[Node]) -> Id {
        let mut builder = TreeBuilder::new();
        for node in nodes {
            builder.push(node).unwrap();
        }
        self.blob(BlobKind::Tree, &builder.finish())
    }

    /// Stores `levels` trees that each hold the next as their directory `d`; gives the topmost.
    pub fn nested(&self, bottom: Id, levels: usize) -> Id {
        let save = SaverOptions::default();
        with_saver(&self.repository, save, &Cancel::new(), |saver| {
            let mut tree = bottom;
            for _ in 0..levels {
                let mut builder = TreeBuilder::new();
                builder.push(&directory("d", tree))?;
                tree = saver.save(BlobKind::Tree, &builder.finish(), None)?.id;
            }
            Ok(tree)
        })
        .unwrap()
        .0
    }

    /// Stores a tree of entries in whatever order.
    pub fn odd_tree(&self, nodes: &[Node]) -> Id {
        let nodes: Vec<String> = nodes
            .iter()
            .map(|node| String::from_utf8(to_go_json(node).unwrap()).unwrap())
            .collect();
        self.raw_tree(&format!("{{\"nodes\":[{}]}}\n", nodes.join(",")))
    }

    /// Stores a tree of any text.
    pub fn raw_tree(&self, json: &str) -> Id {
        self.blob(BlobKind::Tree, json.as_bytes())
    }

    pub fn snapshot(&self, tree: Id) -> Id {
        let snapshot = Snapshot {
            time: Time::utc(1_700_000_000, 0),
            parent: None,
            tree,
            paths: vec!["/".to_owned()],
            hostname: "here".to_owned(),
            username: String::new(),
            uid: 0,
            gid: 0,
            excludes: Vec::new(),
            tags: Vec::new(),
            original: None,
            program_version: String::new(),
            summary: None,
        };
        self.repository.save_snapshot(&snapshot).unwrap()
    }

    /// The pack that holds a blob.
    pub fn pack_of(&self, handle: BlobHandle) -> ObjectName {
        let location = self.repository.index().find(handle).next().unwrap();
        ObjectName::pack(location.pack_id)
    }

    /// Flips a bit in the middle of a blob.
    pub fn damage(&self, handle: BlobHandle) {
        let location = self.repository.index().find(handle).next().unwrap();
        let name = ObjectName::pack(location.pack_id);
        let mut bytes = self.store.contents()[&name].to_vec();
        bytes[(location.blob.offset + location.blob.length / 2) as usize] ^= 1;
        self.store.replace(&name, bytes);
    }

    pub fn key(&self) -> &MasterKey {
        self.repository.key()
    }
}

pub fn file(name: &str, blobs: &[Id], size: u64) -> Node {
    Node {
        name: name.into(),
        mode: outlast_format::Mode::from_unix(0o100_644),
        mtime: Time::utc(1_600_000_000, 123_456_789),
        atime: Time::utc(1_600_000_000, 0),
        uid: rustix::process::getuid().as_raw(),
        gid: rustix::process::getgid().as_raw(),
        size,
        links: 1,
        content: Some(blobs.to_vec()),
        ..Node::default()
    }
}

pub fn directory(name: &str, tree: Id) -> Node {
    Node {
        name: name.into(),
        kind: NodeKind::Directory,
        mode: outlast_format::Mode::from_unix(0o040_755),
        mtime: Time::utc(1_500_000_000, 5),
        atime: Time::utc(1_500_000_000, 5),
        uid: rustix::process::getuid().as_raw(),
        gid: rustix::process::getgid().as_raw(),
        subtree: Some(tree),
        ..Node::default()
    }
}

pub fn symlink(name: &str, target: &str) -> Node {
    Node {
        name: name.into(),
        kind: NodeKind::Symlink,
        mode: outlast_format::Mode::from_unix(0o120_777),
        mtime: Time::utc(1_550_000_000, 0),
        atime: Time::utc(1_550_000_000, 0),
        uid: rustix::process::getuid().as_raw(),
        gid: rustix::process::getgid().as_raw(),
        link_target: target.into(),
        links: 1,
        ..Node::default()
    }
}

/// Remembers all that a restore tells.
#[derive(Default)]
pub struct Seen {
    errors: Mutex<Vec<String>>,
    done: Mutex<Vec<(PathBuf, RestoreAction)>>,
    lost: Mutex<Vec<(BlobHandle, Vec<PathBuf>)>>,
}

impl Seen {
    /// What went wrong, as `path: what`.
    pub fn errors(&self) -> Vec<String> {
        self.errors.lock().clone()
    }

    pub fn done(&self) -> Vec<(PathBuf, RestoreAction)> {
        self.done.lock().clone()
    }

    /// Blobs that are lost, and the files that need them.
    pub fn lost(&self) -> Vec<(BlobHandle, Vec<PathBuf>)> {
        self.lost.lock().clone()
    }
}

impl RestoreObserver for Seen {
    fn item_done(&self, path: &Path, action: RestoreAction, _: u64) {
        self.done.lock().push((path.to_owned(), action));
    }

    fn blob_lost(&self, lost: &LostBlob, files: &[PathBuf]) {
        self.lost.lock().push((lost.handle, files.to_vec()));
    }

    fn error(&self, path: &Path, problem: &RestoreProblem) {
        let text = format!("{}: {problem}", path.display());
        self.errors.lock().push(text);
    }
}

/// Backs up a directory; gives the tree of the directory itself.
pub fn back_up(repo: &Handmade, source: &Path) -> Id {
    let targets = [source.to_owned()];
    let tree = outlast_source::FileTree::new(&targets, outlast_source::FileTreeOptions::default())
        .unwrap();
    let options = outlast_repo::BackupOptions {
        time: Time::utc(1_700_000_000, 0),
        hostname: "here".to_owned(),
        tags: Vec::new(),
        paths: Vec::new(),
        excludes: Vec::new(),
        parent: None,
        detection: outlast_repo::ChangeDetection::default(),
        skip_if_unchanged: false,
        dry_run: false,
        read_concurrency: None,
        adopt_packs: false,
        program_version: String::new(),
    };
    let (observer, cancel) = (outlast_repo::NoObserver, Cancel::new());
    let outcome =
        outlast_repo::backup(&repo.repository, &tree, &options, &observer, &cancel).unwrap();
    assert_eq!(outcome.errors, 0);
    outlast_repo::resolve_subfolder(&repo.repository, outcome.tree, source).unwrap()
}
