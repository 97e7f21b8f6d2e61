//! What people should know though the work goes on.

use outlast_object::{Id, ObjectName};

/// Something odd that was worked around. Shown as a warning.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Notice {
    /// A key file that is no key file; it was passed over.
    #[error("key file {id} is not usable and was passed over: {reason}")]
    BadKey {
        /// The key file.
        id: Id,
        /// What is wrong with it.
        reason: String,
    },
    /// A lock that cannot be read; it was passed over.
    #[error("lock {id} cannot be read and was passed over: {reason}")]
    BadLock {
        /// The lock.
        id: Id,
        /// What is wrong with it.
        reason: String,
    },
    /// A lock that claims to come from the future; it was passed over.
    #[error("lock {id} of {holder} is dated in the future ({time}) and was passed over")]
    FutureLock {
        /// The lock.
        id: Id,
        /// Who made it, as it claims.
        holder: String,
        /// When, as it claims.
        time: String,
    },
    /// An index that cannot be read; the others are used.
    #[error("index {id} cannot be read and was passed over: {reason}")]
    BadIndex {
        /// The index.
        id: Id,
        /// What is wrong with it.
        reason: String,
    },
    /// A snapshot that cannot be read; the others are used.
    #[error("snapshot {id} cannot be read and was passed over: {reason}")]
    BadSnapshot {
        /// The snapshot.
        id: Id,
        /// What is wrong with it.
        reason: String,
    },
    /// An index says that blobs are in a pack which does not list them; they are not relied on.
    #[error(
        "an index lists blobs in pack {pack} that are not there; they are stored again: {reason}"
    )]
    PoisonedIndex {
        /// The pack.
        pack: Id,
        /// What is wrong.
        reason: String,
    },
    /// The parent cannot be used; files are read again.
    #[error("the parent snapshot's {object} cannot be read ({reason}); files are read again")]
    BadParent {
        /// What of it.
        object: String,
        /// What is wrong.
        reason: String,
    },
    /// Index files were admitted after the trust horizon.
    #[error(
        "{indexes} index files were added after the trust horizon; what only they list is stored again"
    )]
    BeyondHorizon {
        /// How many.
        indexes: usize,
    },
    /// Packs that an index lists were admitted after the trust horizon, or never; told once.
    #[error(
        "pack {pack}, and perhaps others, was not admitted before the trust horizon and cannot be \
         read; what is in such packs is stored again"
    )]
    PackBeyondHorizon {
        /// The first that was met.
        pack: Id,
    },
    /// The parent's trees are neither in the local cache nor to be had; files are read again.
    #[error(
        "trees of the parent snapshot are not in the local cache, and these credentials do not read \
         packs: the files beneath are read again, and nothing is stored twice"
    )]
    ParentNotCached,
    /// An object is damaged.
    #[error("{name} is damaged: {reason}")]
    Damaged {
        /// The object.
        name: ObjectName,
        /// What is wrong with it.
        reason: String,
    },
    /// Packs of an interrupted run were found and are used.
    #[error("{packs} packs of an interrupted run were found and will be used")]
    Adopted {
        /// How many.
        packs: usize,
    },
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

/// Where notices go.
pub trait Notices: Send + Sync {
    /// Takes one notice.
    fn notice(&self, notice: Notice);
}

/// Drops all notices.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Notices for Silent {
    fn notice(&self, _: Notice) {}
}

impl Notices for parking_lot::Mutex<Vec<Notice>> {
    fn notice(&self, notice: Notice) {
        self.lock().push(notice);
    }
}
