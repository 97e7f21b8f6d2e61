//! What can go wrong with a repository.

use outlast_format::{BlobHandle, FormatError};
use outlast_object::{Id, ObjectName};
use outlast_source::SourceError;
use outlast_store::StoreError;

/// An operation on a repository failed.
#[derive(Debug, thiserror::Error)]
pub enum RepoError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no repository at this place.
    #[error("there is no repository at {location}")]
    NoRepository {
        /// The store.
        location: String,
    },
    /// The repository was there and is no longer: a disk or a share that went away.
    #[error("the repository at {location} has vanished; bring it back and run this again")]
    Vanished {
        /// The store.
        location: String,
    },
    /// There is a repository already.
    #[error("there is already a repository at {location}; nothing was changed")]
    AlreadyExists {
        /// The store.
        location: String,
    },
    /// No key file opens with the password.
    #[error("wrong password or no key found ({keys_tried} tried, {keys_skipped} unusable)")]
    WrongPassword {
        /// Key files that were tried with the password.
        keys_tried: usize,
        /// Key files that are damaged or not key files at all.
        keys_skipped: usize,
    },
    /// Key files cannot be added: those of a repository in a vault are put there when it is made.
    #[error("{location} takes no key files with these credentials: {reason}")]
    KeysRefused {
        /// The store.
        location: String,
        /// Why.
        reason: String,
    },
    /// Somebody else is using the repository in a way that excludes this.
    #[error("the repository is already locked {}by {holder}", if *.exclusive { "exclusively " } else { "" })]
    Locked {
        /// Who, where and since when.
        holder: String,
        /// Whether the other lock is exclusive.
        exclusive: bool,
        /// The lock's id.
        id: Id,
    },
    /// Our own lock could not be refreshed in time, so others may work on the repository now.
    #[error("the lock could not be refreshed; stopped, because others may change the repository")]
    LockLost,
    /// An object is not what its name says, or cannot be read with the key.
    #[error("{name} is damaged: {reason}")]
    Damaged {
        /// The object.
        name: ObjectName,
        /// What is wrong with it.
        reason: String,
    },
    /// No index knows the blob.
    #[error("{0} is missing: no index lists it")]
    BlobMissing(BlobHandle),
    /// The blob is listed, but no place has it intact.
    #[error("{handle} cannot be read: {}", reasons.join("; "))]
    BlobDamaged {
        /// The blob.
        handle: BlobHandle,
        /// What is wrong at each place.
        reasons: Vec<String>,
    },
    /// A file or directory of a snapshot cannot be had whole.
    #[error("{} is damaged: {reason}", path.display())]
    FileDamaged {
        /// The path within the snapshot.
        path: std::path::PathBuf,
        /// What is wrong, with the blob or tree.
        reason: String,
    },
    /// There is no room (or no permission to write at all) where files are restored to.
    #[error("the target of the restore takes no more data: {0}")]
    TargetFull(SourceError),
    /// Bytes do not follow the format.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// The source failed as a whole.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A snapshot could not be found or told apart.
    #[error("{0}")]
    Selection(String),
    /// It is not certain what is needed, so nothing was removed.
    #[error(transparent)]
    PruneRefused(#[from] crate::PruneRefusal),
    /// What was asked for does not fit this repository or cannot be done.
    #[error("{0}")]
    Refused(String),
    /// A file of this machine could not be read or written.
    #[error("{operation}: {source}")]
    Io {
        /// What was attempted, with the path.
        operation: String,
        /// The system's error.
        source: std::io::Error,
    },
    /// Somebody asked to stop.
    #[error("interrupted")]
    Cancelled,
}

impl RepoError {
    /// Whether credentials are not good for what was asked. Nothing need be damaged.
    pub fn is_denied(&self) -> bool {
        matches!(self, RepoError::Store(StoreError::Denied { .. }))
    }

    /// The object `name` is damaged as `error` says.
    pub fn damaged(name: ObjectName, error: impl ToString) -> Self {
        RepoError::Damaged {
            name,
            reason: error.to_string(),
        }
    }
}
