//! Walking through the trees of a snapshot, entry by entry, in the order of names.
//!
//! Memory stays bounded: only the trees between the root and the current entry are held. What is
//! damaged is reported with its path, and the walk goes on beside it.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use outlast_format::{FormatError, Node, TreeReader};
use outlast_object::Id;

use crate::{Cancel, RepoError, Repository};

/// Directories within directories at most. Deeper than any path that the system accepts.
pub const TREE_DEPTH_MAX: usize = 2048;
/// Bytes of trees held at the same time at most: two of the largest.
pub const TREE_BYTES_HELD_MAX: u64 = 2 * outlast_format::TREE_BYTES_MAX;

/// One entry of the walk.
#[derive(Debug, Clone)]
pub struct WalkEntry {
    /// The path within the snapshot: absolute, its parts joined by `/`.
    pub path: PathBuf,
    /// The entry.
    pub node: Node,
    /// The tree that lists it.
    pub tree: Id,
    /// Directories between it and the root of the walk.
    pub depth: usize,
}

/// What is wrong with a place of the snapshot.
#[derive(Debug, thiserror::Error)]
pub enum WalkProblem {
    /// The tree of a directory is missing or damaged; none of its entries is known.
    #[error("tree {tree} cannot be read: {reason}")]
    TreeUnreadable {
        /// The tree.
        tree: Id,
        /// What is wrong with it.
        reason: RepoError,
    },
    /// The rest of a directory's tree is not valid; its entries up to here are known.
    #[error("tree {tree} is not valid from here on: {reason}")]
    TreeInvalid {
        /// The tree.
        tree: Id,
        /// What is wrong with it.
        reason: FormatError,
    },
    /// An entry with a name that no file can have: it could lead anywhere.
    #[error("the entry has an impossible name {name:?} and is passed over")]
    BadName {
        /// The name, for showing.
        name: String,
    },
    /// A directory without a tree.
    #[error("the directory has no tree")]
    NoTree,
    /// A directory that contains itself.
    #[error("tree {tree} contains itself")]
    Cycle {
        /// The tree.
        tree: Id,
    },
    /// More directories within directories than [`TREE_DEPTH_MAX`].
    #[error("the directory lies deeper than {TREE_DEPTH_MAX} levels")]
    TooDeep,
    /// The trees above and at this directory are larger than [`TREE_BYTES_HELD_MAX`] together.
    #[error("the trees down to this directory have more than {TREE_BYTES_HELD_MAX} bytes")]
    TooLarge,
}

/// One step of a walk.
#[derive(Debug)]
pub enum WalkStep {
    /// An entry. A directory's own entries follow, unless [`TreeWalk::skip_directory`] is called
    /// before the next step.
    Entry(WalkEntry),
    /// All entries of this directory were seen, or as many as can be read. Comes once for each
    /// directory that was not skipped, also when its tree cannot be read.
    Leave(WalkEntry),
    /// Something is damaged; the walk goes on with what is not.
    Problem {
        /// The directory, or the entry within it, that is affected.
        path: PathBuf,
        /// What is wrong with it.
        problem: WalkProblem,
    },
}

/// Whether a name can be that of an entry of a directory.
pub fn is_valid_name(name: &[u8]) -> bool {
    !matches!(name, b"" | b"." | b"..") && !name.iter().any(|byte| matches!(byte, b'/' | 0))
}

struct Level {
    tree: Id,
    reader: TreeReader<Vec<u8>>,
    bytes: u64,
    path: PathBuf,
    /// The entry of the directory; `None` for the root of the walk.
    entry: Option<WalkEntry>,
}

/// A walk that is under way.
pub struct TreeWalk<'a> {
    repository: &'a Repository,
    cancel: &'a Cancel,
    levels: Vec<Level>,
    bytes_held: u64,
    /// A directory that was given out and whose entries come next.
    pending: Option<WalkEntry>,
    /// A directory that could not be entered and is left next.
    leaving: Option<WalkEntry>,
    root: Option<(PathBuf, Id)>,
    seen: Option<HashSet<Id>>,
}

impl std::fmt::Debug for TreeWalk<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TreeWalk at depth {}", self.levels.len())
    }
}

impl<'a> TreeWalk<'a> {
    /// A walk through all that is beneath `tree`. Paths begin at `path`, mostly `/`.
    pub fn new(repository: &'a Repository, path: &Path, tree: Id, cancel: &'a Cancel) -> Self {
        Self {
            repository,
            cancel,
            levels: Vec::new(),
            bytes_held: 0,
            pending: None,
            leaving: None,
            root: Some((path.to_owned(), tree)),
            seen: None,
        }
    }

    /// Visits the entries of each tree only where it is met first. Costs 32 bytes a tree.
    pub fn each_tree_once(mut self) -> Self {
        self.seen = Some(HashSet::new());
        self
    }

    /// Passes over the entries of the directory that was given out last; it is not left either.
    pub fn skip_directory(&mut self) {
        self.pending = None;
    }

    /// The next step; `None` at the end. An error stops the walk for good: the store is away or
    /// somebody asked to stop.
    pub fn step(&mut self) -> Result<Option<WalkStep>, RepoError> {
        self.cancel.check()?;
        if let Some((path, tree)) = self.root.take()
            && let Some(problem) = self.enter(path.clone(), tree, None)?
        {
            return Ok(Some(WalkStep::Problem { path, problem }));
        }
        if let Some(entry) = self.leaving.take() {
            return Ok(Some(WalkStep::Leave(entry)));
        }
        if let Some(step) = self.enter_pending()? {
            return Ok(Some(step));
        }
        let Some(level) = self.levels.last_mut() else {
            return Ok(None);
        };
        match level.reader.next() {
            Some(Ok(node)) => Ok(Some(self.entry(node))),
            Some(Err(reason)) => Ok(Some(WalkStep::Problem {
                path: level.path.clone(),
                problem: WalkProblem::TreeInvalid {
                    tree: level.tree,
                    reason,
                },
            })),
            None => Ok(self.leave()),
        }
    }

    fn entry(&mut self, node: Node) -> WalkStep {
        let depth = self.levels.len().saturating_sub(1);
        let (directory, tree) = match self.levels.last() {
            Some(level) => (level.path.as_path(), level.tree),
            None => (Path::new("/"), Id::default()),
        };
        if !is_valid_name(&node.name) {
            return WalkStep::Problem {
                path: directory.to_owned(),
                problem: WalkProblem::BadName {
                    name: node.name_lossy(),
                },
            };
        }
        let entry = WalkEntry {
            path: directory.join(OsStr::from_bytes(&node.name)),
            node,
            tree,
            depth,
        };
        if entry.node.is_directory() {
            self.pending = Some(entry.clone());
        }
        WalkStep::Entry(entry)
    }

    fn enter_pending(&mut self) -> Result<Option<WalkStep>, RepoError> {
        let Some(entry) = self.pending.take() else {
            return Ok(None);
        };
        let path = entry.path.clone();
        let problem = match entry.node.subtree {
            None => Some(WalkProblem::NoTree),
            Some(tree) => self.enter(path.clone(), tree, Some(&entry))?,
        };
        if problem.is_some() {
            self.leaving = Some(entry);
        }
        Ok(problem.map(|problem| WalkStep::Problem { path, problem }))
    }

    /// Goes down into a tree, or says why not.
    fn enter(
        &mut self,
        path: PathBuf,
        tree: Id,
        entry: Option<&WalkEntry>,
    ) -> Result<Option<WalkProblem>, RepoError> {
        if self.levels.len() >= TREE_DEPTH_MAX {
            return Ok(Some(WalkProblem::TooDeep));
        }
        if self.levels.iter().any(|level| level.tree == tree) {
            return Ok(Some(WalkProblem::Cycle { tree }));
        }
        let again = self.seen.as_mut().is_some_and(|seen| !seen.insert(tree));
        let plaintext = if again {
            // Seen before: as if it were empty.
            b"{}".to_vec()
        } else {
            match self.load(tree)? {
                Ok(plaintext) => plaintext,
                Err(reason) => return Ok(Some(WalkProblem::TreeUnreadable { tree, reason })),
            }
        };
        let bytes = plaintext.len() as u64;
        if self.bytes_held + bytes > TREE_BYTES_HELD_MAX {
            return Ok(Some(WalkProblem::TooLarge));
        }
        self.bytes_held += bytes;
        self.levels.push(Level {
            tree,
            reader: TreeReader::new(plaintext),
            bytes,
            path,
            entry: entry.cloned(),
        });
        Ok(None)
    }

    /// Loads a tree. The outer error stops the walk, the inner one is of this tree only.
    fn load(&self, tree: Id) -> Result<Result<Vec<u8>, RepoError>, RepoError> {
        match self
            .repository
            .load_blob(outlast_format::BlobHandle::tree(tree))
        {
            Ok(plaintext) => Ok(Ok(plaintext)),
            Err(error) => self.repository.of_one_object(error).map(Err),
        }
    }

    fn leave(&mut self) -> Option<WalkStep> {
        let level = self.levels.pop()?;
        self.bytes_held -= level.bytes;
        level.entry.map(WalkStep::Leave)
    }
}
