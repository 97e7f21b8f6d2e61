//! What a check can find, each naming the object that is concerned.

use outlast_format::BlobHandle;
use outlast_object::{Id, ObjectName};

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// All is there; something could be tidied up.
    Hint,
    /// Odd, and worked around; somebody should look at it.
    Warning,
    /// Something is damaged or missing.
    Error,
}

/// One thing that a check found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Finding {
    /// A key file that is no key file.
    #[error("key file {id} is not usable: {reason}")]
    BadKey {
        /// The key file.
        id: Id,
        /// What is wrong with it.
        reason: String,
    },
    /// A lock that cannot be read.
    #[error("lock {id} cannot be read: {reason}")]
    BadLock {
        /// The lock.
        id: Id,
        /// What is wrong with it.
        reason: String,
    },
    /// An index file that cannot be read.
    #[error("index {id} cannot be read: {reason}")]
    BadIndex {
        /// The index file.
        id: Id,
        /// What is wrong with it.
        reason: String,
    },
    /// A snapshot that cannot be read.
    #[error("snapshot {id} cannot be read: {reason}")]
    BadSnapshot {
        /// The snapshot.
        id: Id,
        /// What is wrong with it.
        reason: String,
    },
    /// A snapshot that claims to come from the future.
    #[error("snapshot {id} is dated in the future ({time})")]
    FutureSnapshot {
        /// The snapshot.
        id: Id,
        /// When it was made, as it claims.
        time: String,
    },
    /// Several index files say the same of a pack.
    #[error("pack {pack} is listed in {files} index files")]
    DuplicatePack {
        /// The pack.
        pack: Id,
        /// How many index files list it.
        files: u32,
    },
    /// A pack with both trees and data, which slows down caches.
    #[error("pack {pack} mixes trees and data")]
    MixedPack {
        /// The pack.
        pack: Id,
    },
    /// A pack that no index lists, most likely left by an interrupted run.
    #[error("pack {pack} is in no index ({bytes} bytes)")]
    UnreferencedPack {
        /// The pack.
        pack: Id,
        /// Its size in bytes.
        bytes: u64,
    },
    /// The pack is intact, and an index says something else about it.
    #[error("the index is wrong about pack {pack}: {problems}")]
    WrongIndex {
        /// The pack.
        pack: Id,
        /// Where the index is wrong.
        problems: PackProblems,
    },
    /// A pack that is missing or damaged.
    #[error("pack {pack} is damaged: {problems}")]
    DamagedPack {
        /// The pack.
        pack: Id,
        /// What is wrong with it.
        problems: PackProblems,
    },
    /// A pack that was read correctly only at the second try: memory, disk or network are failing.
    #[error("pack {pack} was read wrongly at first and correctly then: {problems}")]
    UnsteadyPack {
        /// The pack.
        pack: Id,
        /// What was wrong at first.
        problems: PackProblems,
    },
    /// A blob that a tree names and no index lists.
    #[error("{handle} is missing: no index lists it (needed by tree {tree})")]
    MissingBlob {
        /// The blob.
        handle: BlobHandle,
        /// A tree that needs it.
        tree: Id,
    },
    /// A tree that a snapshot needs and that is missing or damaged.
    #[error("tree {tree} cannot be read: {reason}")]
    UnreadableTree {
        /// The tree.
        tree: Id,
        /// What is wrong with it.
        reason: String,
    },
    /// Trees that these credentials do not read. What lies beneath them was not looked at.
    #[error(
        "{trees} trees were not checked, nor what lies beneath them: trees are in packs, which these \
         credentials do not read"
    )]
    TreesNotChecked {
        /// How many were met; those beneath are not known.
        trees: u64,
    },
    /// A pack that has another size than the index makes of it, and that these credentials do not
    /// read.
    #[error(
        "pack {pack} has {found} bytes instead of {expected}, and it cannot be read to see why"
    )]
    PackNotChecked {
        /// The pack.
        pack: Id,
        /// The size that follows from the index.
        expected: u64,
        /// The size it has.
        found: u64,
    },
    /// A tree with an entry that cannot be.
    #[error("tree {tree}: {reason}")]
    BadTree {
        /// The tree.
        tree: Id,
        /// What is wrong with it.
        reason: String,
    },
}

impl Finding {
    /// How bad it is.
    pub fn severity(&self) -> Severity {
        match self {
            Finding::DuplicatePack { .. }
            | Finding::MixedPack { .. }
            | Finding::UnreferencedPack { .. } => Severity::Hint,
            Finding::BadKey { .. }
            | Finding::BadLock { .. }
            | Finding::FutureSnapshot { .. }
            | Finding::TreesNotChecked { .. } => Severity::Warning,
            _ => Severity::Error,
        }
    }

    /// The object that is concerned; for trees and blobs there is none.
    pub fn object(&self) -> Option<ObjectName> {
        use outlast_object::ObjectKind::{Index, Key, Lock, Pack, Snapshot};
        let (kind, id) = match self {
            Finding::BadKey { id, .. } => (Key, id),
            Finding::BadLock { id, .. } => (Lock, id),
            Finding::BadIndex { id, .. } => (Index, id),
            Finding::BadSnapshot { id, .. } | Finding::FutureSnapshot { id, .. } => (Snapshot, id),
            Finding::DuplicatePack { pack, .. }
            | Finding::MixedPack { pack }
            | Finding::UnreferencedPack { pack, .. }
            | Finding::WrongIndex { pack, .. }
            | Finding::DamagedPack { pack, .. }
            | Finding::PackNotChecked { pack, .. }
            | Finding::UnsteadyPack { pack, .. } => (Pack, pack),
            Finding::MissingBlob { .. }
            | Finding::UnreadableTree { .. }
            | Finding::TreesNotChecked { .. }
            | Finding::BadTree { .. } => return None,
        };
        Some(ObjectName::new(kind, *id))
    }
}

/// One thing that is wrong with a pack.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PackProblem {
    /// It is gone.
    #[error("it does not exist")]
    Missing,
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Unreadable(String),
    /// Another size than its index entries make up.
    #[error("it has {found} bytes instead of {expected}")]
    Size {
        /// The size that follows from the index.
        expected: u64,
        /// The size it has.
        found: u64,
    },
    /// Its bytes do not hash to its name.
    #[error("its content hashes to {0}")]
    Hash(Id),
    /// Its header cannot be read.
    #[error("its header is damaged: {0}")]
    Header(String),
    /// A blob in it is damaged.
    #[error("{handle}: {reason}")]
    Blob {
        /// The blob.
        handle: BlobHandle,
        /// What is wrong with it.
        reason: String,
    },
    /// Its header lists a blob that the index does not list there.
    #[error("the index does not list its {0}")]
    NotInIndex(BlobHandle),
    /// The index lists a blob at a place where the pack does not have it.
    #[error("the index lists {0}, which is not at that place")]
    NotInPack(BlobHandle),
    /// Index files contradict each other.
    #[error("index files say different things about it")]
    Contradiction,
}

impl PackProblem {
    /// Whether the pack itself is sound and only an index is wrong about it.
    pub(super) fn is_of_index(&self) -> bool {
        matches!(
            self,
            PackProblem::Size { .. }
                | PackProblem::NotInIndex(_)
                | PackProblem::NotInPack(_)
                | PackProblem::Contradiction
        )
    }
}

/// Problems that are named for one pack.
const PROBLEMS_MAX: usize = 10;

/// What is wrong with one pack: the first problems, and how many more there are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PackProblems {
    /// The first of them.
    pub named: Vec<PackProblem>,
    /// How many more there are.
    pub more: u64,
}

impl PackProblems {
    pub(super) fn one(problem: PackProblem) -> Self {
        Self {
            named: vec![problem],
            more: 0,
        }
    }

    pub(super) fn add(&mut self, problem: PackProblem) {
        if self.named.len() < PROBLEMS_MAX {
            self.named.push(problem);
        } else {
            self.more += 1;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.named.is_empty()
    }
}

impl std::fmt::Display for PackProblems {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (number, problem) in self.named.iter().enumerate() {
            let separator = if number == 0 { "" } else { "; " };
            write!(f, "{separator}{problem}")?;
        }
        match self.more {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}
