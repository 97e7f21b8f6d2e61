//! Which blobs only one of two trees needs.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use outlast_format::{BlobHandle, BlobKind, Node, TreeReader};
use outlast_object::Id;

use super::{DiffCounts, DiffEvent, DiffStatistics};
use crate::{Cancel, RepoError, Repository, WalkProblem};

/// One of the two trees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Old,
    New,
}

impl Side {
    fn bit(self) -> u8 {
        match self {
            Side::Old => 1,
            Side::New => 2,
        }
    }
}

/// The blobs met in directories that differ, by side, and the directories that do not differ.
#[derive(Default)]
pub(super) struct BlobMarks {
    sides: HashMap<BlobHandle, u8>,
    common: Vec<(PathBuf, Id)>,
    common_seen: HashSet<Id>,
}

impl BlobMarks {
    pub(super) fn mark(&mut self, side: Side, handle: BlobHandle) {
        *self.sides.entry(handle).or_default() |= side.bit();
    }

    pub(super) fn mark_node(&mut self, side: Side, node: &Node) {
        for handle in handles(node) {
            self.mark(side, handle);
        }
    }

    /// A directory that both sides have with the same tree. It is looked into at the end only, and
    /// only if it can make a difference.
    pub(super) fn mark_common(&mut self, path: &Path, tree: Id) {
        if self.common_seen.insert(tree) {
            self.common.push((path.to_owned(), tree));
        }
    }

    /// Adds up the blobs that only one side needs.
    pub(super) fn count(
        mut self,
        repository: &Repository,
        cancel: &Cancel,
        statistics: &mut DiffStatistics,
        report: &mut dyn FnMut(DiffEvent),
    ) -> Result<(), RepoError> {
        self.sides.retain(|_, sides| sides.count_ones() == 1);
        self.drop_common(repository, cancel, report)?;
        let index = repository.index();
        for (handle, side) in &self.sides {
            let counts: &mut DiffCounts = if *side == Side::Old.bit() {
                &mut statistics.removed
            } else {
                &mut statistics.added
            };
            match handle.kind {
                BlobKind::Data => counts.data_blobs += 1,
                BlobKind::Tree => counts.tree_blobs += 1,
            }
            match index.plaintext_length(*handle) {
                Some(bytes) => counts.bytes += bytes,
                None => report(DiffEvent::SizeUnknown(*handle)),
            }
        }
        Ok(())
    }

    /// Drops what the directories that are the same on both sides need, too. Each tree is read
    /// once, and only as long as there is something left that might be dropped.
    fn drop_common(
        &mut self,
        repository: &Repository,
        cancel: &Cancel,
        report: &mut dyn FnMut(DiffEvent),
    ) -> Result<(), RepoError> {
        while let Some((path, tree)) = self.common.pop() {
            cancel.check()?;
            if self.sides.is_empty() {
                return Ok(());
            }
            let mut problem = |problem| {
                let path = path.clone();
                report(DiffEvent::Problem { path, problem });
            };
            let plaintext = match repository.load_blob(BlobHandle::tree(tree)) {
                Ok(plaintext) => plaintext,
                Err(error) => {
                    let reason = repository.of_one_object(error)?;
                    problem(WalkProblem::TreeUnreadable { tree, reason });
                    continue;
                }
            };
            for node in TreeReader::new(plaintext) {
                let node = match node {
                    Ok(node) => node,
                    Err(reason) => {
                        problem(WalkProblem::TreeInvalid { tree, reason });
                        break;
                    }
                };
                for handle in handles(&node) {
                    self.sides.remove(&handle);
                }
                if let Some(subtree) = node.subtree
                    && self.common_seen.insert(subtree)
                {
                    let path = path.join(OsStr::from_bytes(&node.name));
                    self.common.push((path, subtree));
                }
            }
        }
        Ok(())
    }
}

/// The blobs that an entry names.
fn handles(node: &Node) -> impl Iterator<Item = BlobHandle> + '_ {
    let content = node.content.iter().flatten().copied();
    let data = content.filter(|_| node.is_file()).map(BlobHandle::data);
    let tree = node.subtree.filter(|_| node.is_directory());
    data.chain(tree.map(BlobHandle::tree))
}
