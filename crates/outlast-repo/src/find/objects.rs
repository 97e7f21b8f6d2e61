//! Where blobs and trees are used, and which packs hold them.

use std::collections::{BTreeSet, HashSet};
use std::path::PathBuf;

use outlast_format::{BlobHandle, BlobKind};
use outlast_object::{Id, ObjectKind};

use super::FindEvent;
use crate::{Cancel, RepoError, Repository, TreeWalk, WalkStep, read_pack_header};

/// A place where something that was sought is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundObject {
    /// What was sought.
    pub handle: BlobHandle,
    /// The file that a blob is part of, or the directory that has the tree.
    pub path: PathBuf,
    /// The tree that lists the file; `None` for trees.
    pub parent_tree: Option<Id>,
}

/// What is sought, by whole ids or by their beginnings.
#[derive(Debug, Clone, Default)]
pub struct ObjectQuery {
    whole: HashSet<BlobHandle>,
    beginnings: Vec<(BlobKind, String)>,
    found: BTreeSet<BlobHandle>,
}

impl ObjectQuery {
    /// Data blobs.
    pub fn blobs<T: AsRef<str>>(ids: &[T]) -> Result<Self, RepoError> {
        Self::new(BlobKind::Data, ids)
    }

    /// Trees.
    pub fn trees<T: AsRef<str>>(ids: &[T]) -> Result<Self, RepoError> {
        Self::new(BlobKind::Tree, ids)
    }

    fn new<T: AsRef<str>>(kind: BlobKind, ids: &[T]) -> Result<Self, RepoError> {
        let mut query = Self::default();
        for id in ids {
            match id.as_ref().parse::<Id>() {
                Ok(id) => {
                    query.whole.insert(BlobHandle { kind, id });
                }
                Err(_) => {
                    let beginning = check_beginning(id.as_ref())?.to_owned();
                    query.beginnings.push((kind, beginning));
                }
            }
        }
        Ok(query)
    }

    /// All that is in these packs: by the packs' own headers, or by the index for packs that are
    /// missing or damaged. A pack that neither knows is [`RepoError::Selection`].
    pub fn packs<T: AsRef<str>>(
        repository: &Repository,
        ids: &[T],
        cancel: &Cancel,
    ) -> Result<Self, RepoError> {
        let mut sought: Vec<(&str, bool)> = Vec::new();
        for id in ids {
            sought.push((check_beginning(id.as_ref())?, false));
        }
        let mut packs = BTreeSet::new();
        let mut choose = |id: &Id| {
            let hex = id.to_hex();
            for (beginning, found) in &mut sought {
                if hex.starts_with(*beginning) {
                    *found = true;
                    packs.insert(*id);
                }
            }
        };
        repository.index().packs().iter().for_each(&mut choose);
        let listed = repository
            .store()
            .list(ObjectKind::Pack, &mut |info| choose(&info.id));
        let missing: Vec<&str> = sought.iter().filter(|s| !s.1).map(|s| s.0).collect();
        if !missing.is_empty() {
            listed?;
            let missing = missing.join(" ");
            return Err(RepoError::Selection(format!(
                "unable to find pack(s): [{missing}]"
            )));
        }
        let mut query = Self::default();
        let mut unread = HashSet::new();
        for pack in packs {
            cancel.check()?;
            match read_pack_header(repository.store(), repository.key(), pack, None) {
                Ok(blobs) => query.whole.extend(blobs.iter().map(|blob| blob.handle)),
                Err(_) => {
                    unread.insert(pack);
                }
            }
        }
        if !unread.is_empty() {
            let index = repository.index();
            let listed = index.iter().filter(|l| unread.contains(&l.pack_id));
            query
                .whole
                .extend(listed.map(|location| location.blob.handle));
        }
        Ok(query)
    }

    /// Whole ids that were sought, and what was found of the beginnings.
    pub fn handles(&self) -> BTreeSet<BlobHandle> {
        self.whole.iter().chain(&self.found).copied().collect()
    }

    /// Beginnings of ids with which nothing was found.
    pub fn not_found(&self) -> Vec<&str> {
        let found = |kind: BlobKind, beginning: &str| {
            let mut handles = self.found.iter();
            handles.any(|h| h.kind == kind && h.id.to_hex().starts_with(beginning))
        };
        let missing = self.beginnings.iter().filter(|(k, b)| !found(*k, b));
        missing.map(|(_, beginning)| beginning.as_str()).collect()
    }

    fn seeks(&self, kind: BlobKind) -> bool {
        self.whole.iter().any(|handle| handle.kind == kind)
            || self.beginnings.iter().any(|(sought, _)| *sought == kind)
    }

    fn is_sought(&mut self, handle: BlobHandle) -> bool {
        if self.whole.contains(&handle) {
            return true;
        }
        if self.beginnings.is_empty() {
            return false;
        }
        let hex = handle.id.to_hex();
        let mut beginnings = self.beginnings.iter();
        let sought = beginnings
            .any(|(kind, beginning)| *kind == handle.kind && hex.starts_with(beginning.as_str()));
        if sought {
            self.found.insert(handle);
        }
        sought
    }
}

fn check_beginning(text: &str) -> Result<&str, RepoError> {
    let digits = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if text.is_empty() || text.len() > 2 * Id::LEN || !text.bytes().all(digits) {
        let shown: String = text.chars().take(80).collect();
        return Err(RepoError::Selection(format!("{shown:?} is not an ID")));
    }
    Ok(text)
}

/// Searches the snapshot with this root tree for the places where blobs and trees are used: each
/// file that has a blob, and the first directory that has a tree.
pub fn find_objects(
    repository: &Repository,
    root: Id,
    query: &mut ObjectQuery,
    cancel: &Cancel,
    report: &mut dyn FnMut(FindEvent),
) -> Result<(), RepoError> {
    let (seeks_trees, seeks_data) = (query.seeks(BlobKind::Tree), query.seeks(BlobKind::Data));
    let mut trees_told = HashSet::new();
    let mut tell_tree = |query: &mut ObjectQuery, tree: Id, path: PathBuf| {
        let handle = BlobHandle::tree(tree);
        if seeks_trees && query.is_sought(handle) && trees_told.insert(tree) {
            return Some(FindEvent::Object(FoundObject {
                handle,
                path,
                parent_tree: None,
            }));
        }
        None
    };
    tell_tree(query, root, "/".into())
        .into_iter()
        .for_each(&mut *report);
    let mut walk = TreeWalk::new(repository, "/".as_ref(), root, cancel);
    while let Some(step) = walk.step()? {
        let entry = match step {
            WalkStep::Entry(entry) => entry,
            WalkStep::Leave(_) => continue,
            WalkStep::Problem { path, problem } => {
                report(FindEvent::Problem { path, problem });
                continue;
            }
        };
        if let Some(tree) = entry.node.subtree.filter(|_| entry.node.is_directory()) {
            let event = tell_tree(query, tree, entry.path);
            event.into_iter().for_each(&mut *report);
        } else if seeks_data && entry.node.is_file() {
            let mut told = HashSet::new();
            for id in entry.node.content.iter().flatten() {
                let handle = BlobHandle::data(*id);
                if query.is_sought(handle) && told.insert(*id) {
                    report(FindEvent::Object(FoundObject {
                        handle,
                        path: entry.path.clone(),
                        parent_tree: Some(entry.tree),
                    }));
                }
            }
        }
    }
    Ok(())
}

/// The packs in which the index places a blob, in no particular order.
pub fn packs_of(repository: &Repository, handle: BlobHandle) -> Vec<Id> {
    let index = repository.index();
    index
        .find(handle)
        .map(|location| location.pack_id)
        .collect()
}
