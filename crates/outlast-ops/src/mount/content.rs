//! Trees and files of snapshots, read on demand.

use std::collections::HashSet;
use std::sync::Arc;

use outlast_format::{BlobHandle, Node};
use outlast_object::Id;
use outlast_repo::{Notice, RepoError, Repository, is_valid_name};
use parking_lot::Mutex;

use super::cache::Cache;

/// Plaintext of blobs kept at the same time.
const BLOB_CACHE_BYTES: usize = 64 * 1024 * 1024;
/// Trees kept at the same time, by the bytes of their JSON; in memory they are about as large.
const TREE_CACHE_BYTES: usize = 32 * 1024 * 1024;
/// Damaged things that are told once and not again.
const REPORTED_MAX: usize = 10_000;

/// The entries of a directory, in the order of their names.
#[derive(Debug)]
pub(super) struct Tree {
    pub nodes: Vec<Arc<Node>>,
}

impl Tree {
    pub(super) fn find(&self, name: &[u8]) -> Option<&Arc<Node>> {
        let at = self
            .nodes
            .binary_search_by(|node| node.name.as_slice().cmp(name));
        self.nodes.get(at.ok()?)
    }
}

/// A file that is open: its blobs, and where each ends.
#[derive(Debug)]
pub(super) struct OpenFile {
    blobs: Vec<Id>,
    ends: Vec<u64>,
}

/// Something cannot be read; it was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unreadable;

/// Reads from a repository, with bounded caches.
pub(super) struct Contents {
    pub repository: Arc<Repository>,
    trees: Cache<Id, Tree>,
    blobs: Cache<Id, Vec<u8>>,
    reported: Mutex<HashSet<BlobHandle>>,
}

impl Contents {
    pub(super) fn new(repository: Arc<Repository>) -> Self {
        Self {
            repository,
            trees: Cache::new(TREE_CACHE_BYTES),
            blobs: Cache::new(BLOB_CACHE_BYTES),
            reported: Mutex::default(),
        }
    }

    /// Tells about damage, once for each thing.
    fn report(&self, handle: BlobHandle, error: &dyn std::fmt::Display) -> Unreadable {
        let mut reported = self.reported.lock();
        if reported.len() < REPORTED_MAX && reported.insert(handle) {
            let text = format!("reading through the mount: {error}");
            self.repository.environment().notice(Notice::Other(text));
        }
        Unreadable
    }

    /// The entries of a tree.
    pub(super) fn tree(&self, id: Id) -> Result<Arc<Tree>, Unreadable> {
        if let Some(tree) = self.trees.get(&id) {
            return Ok(tree);
        }
        let handle = BlobHandle::tree(id);
        let plaintext = self
            .repository
            .load_blob(handle)
            .map_err(|error| self.report(handle, &error))?;
        let bytes = plaintext.len();
        let mut nodes = Vec::new();
        for node in outlast_format::TreeReader::new(plaintext) {
            let node = node.map_err(|error| self.report(handle, &format!("tree {id}: {error}")))?;
            if is_valid_name(&node.name) {
                nodes.push(Arc::new(node));
            } else {
                let name = node.name_lossy();
                let text = format!("tree {id} has an entry with the impossible name {name:?}");
                let _ = self.report(handle, &text);
            }
        }
        let tree = Arc::new(Tree { nodes });
        self.trees.insert(id, &tree, bytes);
        Ok(tree)
    }

    /// Opens a file.
    pub(super) fn open(&self, node: &Node) -> Result<OpenFile, Unreadable> {
        let blobs = node.content.clone().unwrap_or_default();
        let index = self.repository.index();
        let mut ends = Vec::with_capacity(blobs.len());
        let mut end: u64 = 0;
        for id in &blobs {
            let handle = BlobHandle::data(*id);
            let Some(length) = index.plaintext_length(handle) else {
                let name = node.name_lossy();
                let missing = RepoError::BlobMissing(handle);
                return Err(self.report(handle, &format!("{name}: {missing}")));
            };
            end = end.saturating_add(length);
            ends.push(end);
        }
        Ok(OpenFile { blobs, ends })
    }

    /// Up to `size` bytes of a file from `offset` on; fewer at its end.
    pub(super) fn read(
        &self,
        file: &OpenFile,
        offset: u64,
        size: usize,
    ) -> Result<Vec<u8>, Unreadable> {
        let end = offset.saturating_add(size as u64);
        let mut bytes = Vec::with_capacity(size);
        let first = file.ends.partition_point(|blob_end| *blob_end <= offset);
        for number in first..file.blobs.len() {
            let start = match number {
                0 => 0,
                number => file.ends[number - 1],
            };
            if start >= end {
                break;
            }
            let handle = BlobHandle::data(file.blobs[number]);
            let blob = self.blob(handle)?;
            if blob.len() as u64 != file.ends[number] - start {
                return Err(self.report(handle, &format!("{handle} has another length")));
            }
            let from = offset.saturating_sub(start) as usize;
            let to = blob.len().min((end - start) as usize);
            bytes.extend_from_slice(blob.get(from..to).unwrap_or_default());
        }
        Ok(bytes)
    }

    fn blob(&self, handle: BlobHandle) -> Result<Arc<Vec<u8>>, Unreadable> {
        if let Some(blob) = self.blobs.get(&handle.id) {
            return Ok(blob);
        }
        let blob = self
            .repository
            .load_blob(handle)
            .map_err(|error| self.report(handle, &error))?;
        let blob = Arc::new(blob);
        self.blobs.insert(handle.id, &blob, blob.len());
        Ok(blob)
    }
}
