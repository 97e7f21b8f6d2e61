//! What changed between two trees: restic's `diff`.
//!
//! Both trees are read in step, name by name; a directory whose tree is the same on both sides is
//! not entered. Memory holds the trees between the root and the current directory, and 48 bytes for
//! each blob of the directories that differ. What is damaged is reported with its path, and the
//! comparison goes on beside it.

mod blobs;
mod nodes;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use outlast_format::{BlobHandle, Node, NodeKind, TreeReader};
use outlast_object::Id;
use serde::Serialize;

use crate::{
    Cancel, RepoError, Repository, TREE_BYTES_HELD_MAX, TREE_DEPTH_MAX, TreeWalk, WalkProblem,
    WalkStep, is_valid_name,
};
use blobs::{BlobMarks, Side};

/// What happened to one entry, in restic's letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Modifier {
    /// `+`: only the second tree has it.
    Added,
    /// `-`: only the first tree has it.
    Removed,
    /// `M`: a file with other content.
    Modified,
    /// `M?`: other content with all metadata the same, times included: probably bit rot.
    ModifiedSilently,
    /// `T`: it became something else, such as a file a symbolic link.
    Type,
    /// `TU`: as `T`, where metadata is compared, too.
    TypeAndMetadata,
    /// `U`: other metadata.
    Metadata,
}

impl Modifier {
    /// The letters.
    pub fn as_str(self) -> &'static str {
        match self {
            Modifier::Added => "+",
            Modifier::Removed => "-",
            Modifier::Modified => "M",
            Modifier::ModifiedSilently => "M?",
            Modifier::Type => "T",
            Modifier::TypeAndMetadata => "TU",
            Modifier::Metadata => "U",
        }
    }
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The path within the trees, absolute; it ends with a slash for a directory.
    pub path: PathBuf,
    /// What happened.
    pub modifier: Modifier,
}

/// What a comparison tells as it goes.
#[derive(Debug)]
pub enum DiffEvent {
    /// A difference.
    Change(Change),
    /// A damaged place; what lies beneath it is not compared.
    Problem {
        /// The directory, or the entry within it.
        path: PathBuf,
        /// What is wrong with it.
        problem: WalkProblem,
    },
    /// The size of a blob is missing from the sums, because no index knows the blob.
    SizeUnknown(BlobHandle),
}

/// Sums over what was added or what was removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct DiffCounts {
    /// Files.
    pub files: u64,
    /// Directories.
    pub dirs: u64,
    /// Anything else.
    pub others: u64,
    /// Blobs of content that only this side needs.
    pub data_blobs: u64,
    /// Trees that only this side needs.
    pub tree_blobs: u64,
    /// Bytes in those blobs, before compression.
    pub bytes: u64,
}

/// The sums of a comparison. As JSON, the part of restic's `statistics` message that is not names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct DiffStatistics {
    /// Files with other content.
    pub changed_files: u64,
    /// What only the second tree has.
    pub added: DiffCounts,
    /// What only the first tree has.
    pub removed: DiffCounts,
}

impl DiffCounts {
    fn count(&mut self, node: &Node) {
        match node.kind {
            NodeKind::File => self.files += 1,
            NodeKind::Directory => self.dirs += 1,
            _ => self.others += 1,
        }
    }
}

/// Compares the tree `old` with the tree `new` and reports each difference in the order of names.
/// With `metadata`, entries that differ in nothing but metadata are reported, too.
///
/// Fails if one of the two trees itself cannot be read, if the store is away, or if `cancel` asks.
pub fn diff_trees(
    repository: &Repository,
    old: Id,
    new: Id,
    metadata: bool,
    cancel: &Cancel,
    report: &mut dyn FnMut(DiffEvent),
) -> Result<DiffStatistics, RepoError> {
    let mut diff = Diff {
        repository,
        cancel,
        metadata,
        report,
        blobs: BlobMarks::default(),
        statistics: DiffStatistics::default(),
        levels: Vec::new(),
        bytes_held: 0,
    };
    diff.blobs.mark(Side::Old, BlobHandle::tree(old));
    diff.blobs.mark(Side::New, BlobHandle::tree(new));
    if old != new {
        let sides = [diff.side(old)?, diff.side(new)?];
        diff.push(PathBuf::from("/"), sides);
        while !diff.levels.is_empty() {
            cancel.check()?;
            diff.step()?;
        }
    }
    let Diff {
        blobs,
        mut statistics,
        ..
    } = diff;
    blobs.count(repository, cancel, &mut statistics, report)?;
    Ok(statistics)
}

/// One of two trees that are read in step.
struct TreeSide {
    tree: Id,
    reader: TreeReader<Vec<u8>>,
    ahead: Option<Node>,
    bytes: u64,
}

struct Level {
    path: PathBuf,
    sides: [TreeSide; 2],
}

struct Diff<'d> {
    repository: &'d Repository,
    cancel: &'d Cancel,
    metadata: bool,
    report: &'d mut dyn FnMut(DiffEvent),
    blobs: BlobMarks,
    statistics: DiffStatistics,
    levels: Vec<Level>,
    bytes_held: u64,
}

/// An entry that one or both sides have.
type Pair = (Option<Node>, Option<Node>);

impl Diff<'_> {
    fn side(&self, tree: Id) -> Result<TreeSide, RepoError> {
        let plaintext = self.repository.load_blob(BlobHandle::tree(tree))?;
        Ok(TreeSide {
            tree,
            bytes: plaintext.len() as u64,
            reader: TreeReader::new(plaintext),
            ahead: None,
        })
    }

    fn push(&mut self, path: PathBuf, sides: [TreeSide; 2]) {
        self.bytes_held += sides.iter().map(|side| side.bytes).sum::<u64>();
        self.levels.push(Level { path, sides });
    }

    fn problem(&mut self, path: PathBuf, problem: WalkProblem) {
        (self.report)(DiffEvent::Problem { path, problem });
    }

    fn change(&mut self, path: &Path, node: &Node, modifier: Modifier) {
        let mut path = path.to_owned();
        if node.is_directory() {
            // Adds the slash at the end.
            path.push("");
        }
        (self.report)(DiffEvent::Change(Change { path, modifier }));
    }

    /// Compares the next entry of the innermost directory, or leaves it.
    fn step(&mut self) -> Result<(), RepoError> {
        let Some(level) = self.levels.last_mut() else {
            return Ok(());
        };
        let directory = level.path.clone();
        let pair = match next_pair(&mut level.sides) {
            Ok(pair) => pair,
            Err(problem) => {
                // The rest of one side is unknown: comparing the other with nothing would mislead.
                self.leave();
                self.problem(directory, problem);
                return Ok(());
            }
        };
        let Some(name) = pair.0.as_ref().or(pair.1.as_ref()).map(|n| n.name.clone()) else {
            self.leave();
            return Ok(());
        };
        if !is_valid_name(&name) {
            let name = String::from_utf8_lossy(&name).into_owned();
            self.problem(directory, WalkProblem::BadName { name });
            return Ok(());
        }
        let path = directory.join(OsStr::from_bytes(&name));
        match pair {
            (Some(old), Some(new)) => self.compare(&path, &old, &new),
            (Some(old), None) => self.one_sided(&path, &old, Side::Old),
            (None, Some(new)) => self.one_sided(&path, &new, Side::New),
            (None, None) => Ok(()),
        }
    }

    fn leave(&mut self) {
        if let Some(level) = self.levels.pop() {
            self.bytes_held -= level.sides.iter().map(|side| side.bytes).sum::<u64>();
        }
    }

    fn compare(&mut self, path: &Path, old: &Node, new: &Node) -> Result<(), RepoError> {
        self.blobs.mark_node(Side::Old, old);
        self.blobs.mark_node(Side::New, new);
        let kinds_differ = old.kind != new.kind;
        let contents_differ = old.is_file() && new.is_file() && old.content != new.content;
        let modifier = if contents_differ {
            self.statistics.changed_files += 1;
            Some(if nodes::same_but_for_content(old, new) {
                Modifier::ModifiedSilently
            } else {
                Modifier::Modified
            })
        } else {
            let update = self.metadata && !nodes::same(old, new);
            match (kinds_differ, update) {
                (true, true) => Some(Modifier::TypeAndMetadata),
                (true, false) => Some(Modifier::Type),
                (false, true) => Some(Modifier::Metadata),
                (false, false) => None,
            }
        };
        if let Some(modifier) = modifier {
            self.change(path, new, modifier);
        }
        if old.is_directory() && new.is_directory() {
            self.enter(path, old.subtree, new.subtree)?;
        }
        Ok(())
    }

    /// Goes into a directory that both sides have.
    fn enter(&mut self, path: &Path, old: Option<Id>, new: Option<Id>) -> Result<(), RepoError> {
        let (Some(old), Some(new)) = (old, new) else {
            self.problem(path.to_owned(), WalkProblem::NoTree);
            return Ok(());
        };
        if old == new {
            self.blobs.mark_common(path, old);
            return Ok(());
        }
        if self.levels.len() >= TREE_DEPTH_MAX {
            self.problem(path.to_owned(), WalkProblem::TooDeep);
            return Ok(());
        }
        let is_same = |level: &Level| level.sides[0].tree == old && level.sides[1].tree == new;
        if self.levels.iter().any(is_same) {
            self.problem(path.to_owned(), WalkProblem::Cycle { tree: old });
            return Ok(());
        }
        let mut sides = Vec::new();
        for tree in [old, new] {
            match self.side(tree) {
                Ok(side) => sides.push(side),
                Err(error) => {
                    let reason = self.repository.of_one_object(error)?;
                    let problem = WalkProblem::TreeUnreadable { tree, reason };
                    self.problem(path.to_owned(), problem);
                    return Ok(());
                }
            }
        }
        let bytes: u64 = sides.iter().map(|side| side.bytes).sum();
        if self.bytes_held + bytes > TREE_BYTES_HELD_MAX {
            self.problem(path.to_owned(), WalkProblem::TooLarge);
            return Ok(());
        }
        if let Ok(sides) = <[TreeSide; 2]>::try_from(sides) {
            self.push(path.to_owned(), sides);
        }
        Ok(())
    }

    /// Reports an entry that one side lacks, with all that is beneath it.
    fn one_sided(&mut self, path: &Path, node: &Node, side: Side) -> Result<(), RepoError> {
        self.note_one_sided(path, node, side);
        let Some(tree) = node.subtree.filter(|_| node.is_directory()) else {
            if node.is_directory() {
                self.problem(path.to_owned(), WalkProblem::NoTree);
            }
            return Ok(());
        };
        let mut walk = TreeWalk::new(self.repository, path, tree, self.cancel);
        while let Some(step) = walk.step()? {
            match step {
                WalkStep::Entry(entry) => self.note_one_sided(&entry.path, &entry.node, side),
                WalkStep::Leave(_) => {}
                WalkStep::Problem { path, problem } => self.problem(path, problem),
            }
        }
        Ok(())
    }

    fn note_one_sided(&mut self, path: &Path, node: &Node, side: Side) {
        let (modifier, counts) = match side {
            Side::Old => (Modifier::Removed, &mut self.statistics.removed),
            Side::New => (Modifier::Added, &mut self.statistics.added),
        };
        counts.count(node);
        self.blobs.mark_node(side, node);
        self.change(path, node, modifier);
    }
}

/// The next name of two directories, with the entries that have it; nothing at the end of both.
fn next_pair(sides: &mut [TreeSide; 2]) -> Result<Pair, WalkProblem> {
    for side in sides.iter_mut() {
        if side.ahead.is_none() {
            let next = side.reader.next().transpose();
            side.ahead = next.map_err(|reason| WalkProblem::TreeInvalid {
                tree: side.tree,
                reason,
            })?;
        }
    }
    let [old, new] = sides;
    let order = match (&old.ahead, &new.ahead) {
        (Some(old), Some(new)) => old.name.cmp(&new.name),
        (Some(_), None) => std::cmp::Ordering::Less,
        _ => std::cmp::Ordering::Greater,
    };
    let from_old = order.is_le().then(|| old.ahead.take()).flatten();
    let from_new = order.is_ge().then(|| new.ahead.take()).flatten();
    Ok((from_old, from_new))
}
