//! What damage means for people: which files of which snapshots are lost.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use outlast_format::{BlobHandle, Node, NodeKind, Snapshot, Time};
use outlast_object::Id;

use super::CheckObserver;
use super::documents::SnapshotRoot;
use crate::{Cancel, RepoError, Repository, Stage, TreeWalk, WalkEntry, WalkProblem, WalkStep};

/// Paths that are named in all snapshots together.
const PATHS_MAX: usize = 10_000;

/// A snapshot of which something is lost.
#[derive(Debug, Clone, PartialEq)]
pub struct AffectedSnapshot {
    /// The snapshot.
    pub id: Id,
    /// When it was made, as it claims.
    pub time: Time,
    /// The machine it is of, as it claims.
    pub hostname: String,
    /// Files that are damaged, and directories of which nothing is known any more: all of them.
    pub count: u64,
    /// The first of them.
    pub paths: Vec<AffectedPath>,
}

/// A file or directory that is lost or damaged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AffectedPath {
    /// The path within the snapshot.
    pub path: PathBuf,
    /// What of it is lost.
    pub loss: Loss,
}

/// What is lost of a file or directory.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Loss {
    /// Pieces of a file's content.
    #[error("{blobs} of {total} pieces of its content are lost, among them {}{}", first.short(), in_pack(pack))]
    Content {
        /// The first that is lost.
        first: Id,
        /// How many are lost.
        blobs: usize,
        /// How many there are.
        total: usize,
        /// The pack that should have the first.
        pack: Option<Id>,
    },
    /// A directory's tree: everything beneath it.
    #[error("all that is beneath it is lost, because tree {} cannot be read{}", tree.short(), in_pack(pack))]
    Directory {
        /// The tree.
        tree: Id,
        /// The pack that should have it.
        pack: Option<Id>,
    },
    /// Some of a directory's entries.
    #[error("some of its entries cannot be used: {0}")]
    Entries(String),
}

fn in_pack(pack: &Option<Id>) -> String {
    pack.as_ref()
        .map(|pack| format!(" (pack {})", pack.short()))
        .unwrap_or_default()
}

/// What is lost, by id.
pub(super) struct Lost<'a> {
    pub(super) repository: &'a Repository,
    pub(super) blobs: &'a HashSet<BlobHandle>,
    pub(super) paths_max: usize,
    pub(super) observer: &'a dyn CheckObserver,
    pub(super) cancel: &'a Cancel,
}

impl Lost<'_> {
    /// Finds out what is lost of each snapshot. Each tree is read twice at most, however often it
    /// occurs.
    pub(super) fn of_snapshots(
        &self,
        roots: &[SnapshotRoot],
    ) -> Result<Vec<AffectedSnapshot>, RepoError> {
        self.observer.begin(Stage::FindAffected, roots.len() as u64);
        let mut counts = HashMap::new();
        let mut affected = Vec::new();
        let mut paths_left = PATHS_MAX;
        for root in roots {
            let count = self.count(&root.snapshot, &mut counts)?;
            if count > 0 {
                let paths_max = self.paths_max.min(paths_left);
                let paths = self.name(&root.snapshot, &counts, paths_max)?;
                paths_left -= paths.len();
                affected.push(AffectedSnapshot {
                    id: root.id,
                    time: root.snapshot.time,
                    hostname: root.snapshot.hostname.clone(),
                    count,
                    paths,
                });
            }
            self.observer.advance(Stage::FindAffected, 1);
        }
        affected.sort_by_key(|snapshot| std::cmp::Reverse((snapshot.time.seconds(), snapshot.id)));
        Ok(affected)
    }

    /// Counts what is lost of a snapshot; `counts` remembers it for each tree.
    fn count(&self, snapshot: &Snapshot, counts: &mut HashMap<Id, u64>) -> Result<u64, RepoError> {
        if let Some(count) = counts.get(&snapshot.tree) {
            return Ok(*count);
        }
        if self.is_lost(snapshot.tree) {
            counts.insert(snapshot.tree, 1);
            return Ok(1);
        }
        let mut walk = TreeWalk::new(self.repository, Path::new("/"), snapshot.tree, self.cancel);
        // What was found so far in each directory down to the current one.
        let mut open: Vec<u64> = vec![0];
        let add = |open: &mut Vec<u64>, more: u64| {
            if let Some(last) = open.last_mut() {
                *last = last.saturating_add(more);
            }
        };
        while let Some(step) = walk.step()? {
            match step {
                WalkStep::Entry(entry) => match entry.node.subtree {
                    Some(tree) if entry.node.is_directory() => {
                        if self.is_lost(tree) {
                            counts.insert(tree, 1);
                        }
                        match counts.get(&tree) {
                            Some(count) => {
                                add(&mut open, *count);
                                walk.skip_directory();
                            }
                            None => open.push(0),
                        }
                    }
                    _ if entry.node.is_directory() => open.push(0),
                    _ => add(
                        &mut open,
                        u64::from(self.loss_of_file(&entry.node).is_some()),
                    ),
                },
                WalkStep::Leave(entry) => {
                    let count = open.pop().unwrap_or_default();
                    if let Some(tree) = entry.node.subtree {
                        counts.insert(tree, count);
                    }
                    add(&mut open, count);
                }
                WalkStep::Problem { .. } => add(&mut open, 1),
            }
        }
        let count = open.first().copied().unwrap_or_default();
        counts.insert(snapshot.tree, count);
        Ok(count)
    }

    /// Names what is lost of a snapshot, going only where something is.
    fn name(
        &self,
        snapshot: &Snapshot,
        counts: &HashMap<Id, u64>,
        paths_max: usize,
    ) -> Result<Vec<AffectedPath>, RepoError> {
        let mut paths = Vec::new();
        let root = Path::new("/");
        if self.is_lost(snapshot.tree) {
            let loss = self.loss_of_tree(snapshot.tree);
            paths.push(AffectedPath {
                path: root.to_owned(),
                loss,
            });
            paths.truncate(paths_max);
            return Ok(paths);
        }
        let mut walk = TreeWalk::new(self.repository, root, snapshot.tree, self.cancel);
        while paths.len() < paths_max
            && let Some(step) = walk.step()?
        {
            let found = match step {
                WalkStep::Entry(entry) => self.name_entry(entry, counts, &mut walk),
                WalkStep::Leave(_) => None,
                WalkStep::Problem { path, problem } => Some(AffectedPath {
                    path,
                    loss: self.loss_of_problem(&problem),
                }),
            };
            paths.extend(found);
        }
        Ok(paths)
    }

    fn name_entry(
        &self,
        entry: WalkEntry,
        counts: &HashMap<Id, u64>,
        walk: &mut TreeWalk<'_>,
    ) -> Option<AffectedPath> {
        let path = entry.path;
        if !entry.node.is_directory() {
            let loss = self.loss_of_file(&entry.node)?;
            return Some(AffectedPath { path, loss });
        }
        let tree = entry.node.subtree?;
        if self.is_lost(tree) {
            walk.skip_directory();
            let loss = self.loss_of_tree(tree);
            return Some(AffectedPath { path, loss });
        }
        if counts.get(&tree).is_none_or(|count| *count == 0) {
            walk.skip_directory();
        }
        None
    }

    fn is_lost(&self, tree: Id) -> bool {
        self.blobs.contains(&BlobHandle::tree(tree))
    }

    fn loss_of_file(&self, node: &Node) -> Option<Loss> {
        match (&node.kind, &node.content) {
            (NodeKind::File, Some(content)) => {
                let is_lost = |id: &&Id| self.blobs.contains(&BlobHandle::data(**id));
                let first = *content.iter().find(is_lost)?;
                Some(Loss::Content {
                    first,
                    blobs: content.iter().filter(is_lost).count(),
                    total: content.len(),
                    pack: self.pack_of(BlobHandle::data(first)),
                })
            }
            (NodeKind::File, None) => Some(Loss::Entries("it has no content".to_owned())),
            (NodeKind::Other(kind), _) => {
                Some(Loss::Entries(format!("it is of the unknown kind {kind:?}")))
            }
            _ => None,
        }
    }

    fn loss_of_tree(&self, tree: Id) -> Loss {
        let pack = self.pack_of(BlobHandle::tree(tree));
        Loss::Directory { tree, pack }
    }

    fn loss_of_problem(&self, problem: &WalkProblem) -> Loss {
        match problem {
            WalkProblem::TreeUnreadable { tree, .. } => self.loss_of_tree(*tree),
            other => Loss::Entries(other.to_string()),
        }
    }

    fn pack_of(&self, handle: BlobHandle) -> Option<Id> {
        let index = self.repository.index();
        index.find(handle).next().map(|location| location.pack_id)
    }
}
