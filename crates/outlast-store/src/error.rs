//! What can go wrong at a store.

use std::io;

use outlast_object::ObjectName;

/// An operation of a store failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no object of this name. Permanent.
    #[error("{name} does not exist in {location}")]
    NotFound {
        /// The object asked for.
        name: ObjectName,
        /// The store, without secrets.
        location: String,
    },
    /// Other bytes are kept under this name; they were not touched. Permanent.
    #[error("{name} already exists in {location} with other content; it was not overwritten")]
    AlreadyExists {
        /// The object that was to be written.
        name: ObjectName,
        /// The store, without secrets.
        location: String,
    },
    /// The object is shorter than what was asked of it. Permanent: it is damaged.
    #[error("{name} is truncated: bytes {offset} to {end} were wanted, it has {size}")]
    Truncated {
        /// The object.
        name: ObjectName,
        /// First byte wanted.
        offset: u64,
        /// End of the range wanted.
        end: u64,
        /// The size it has.
        size: u64,
    },
    /// The object is larger than any of its kind may be. Permanent.
    #[error("{name} has {size} bytes, more than the {max} that its kind may have")]
    TooLarge {
        /// The object.
        name: ObjectName,
        /// The size found.
        size: u64,
        /// The largest size accepted.
        max: u64,
    },
    /// The store refuses these credentials or this operation. Permanent.
    #[error("{location} refuses to {operation}: {reason}")]
    Denied {
        /// What was attempted, as "write data/ab…".
        operation: String,
        /// The store, without secrets.
        location: String,
        /// What the store said.
        reason: String,
    },
    /// The store removes nothing but locks, or nothing with these credentials. Permanent; nothing
    /// was removed.
    #[error("{location} removes nothing: {reason}")]
    DeletesRefused {
        /// The store, without secrets.
        location: String,
        /// What the store said.
        reason: String,
    },
    /// No space or no quota is left. Permanent until somebody makes room.
    #[error("no space is left in {location}: {reason}")]
    Full {
        /// The store, without secrets.
        location: String,
        /// What the store said.
        reason: String,
    },
    /// The store cannot be reached or failed for the moment: worth another try.
    #[error("{location} failed to {operation}: {reason}")]
    Unavailable {
        /// What was attempted.
        operation: String,
        /// The store, without secrets.
        location: String,
        /// What happened.
        reason: String,
    },
    /// A local input or output error. Permanent, unless its kind says otherwise.
    #[error("{location}: {operation}: {source}")]
    Io {
        /// What was attempted.
        operation: String,
        /// The store.
        location: String,
        /// The operating system's error.
        source: io::Error,
    },
    /// The location's text cannot be understood, or leads nowhere. Permanent.
    #[error("{0}")]
    Location(String),
}

impl StoreError {
    /// Whether the same call may succeed a little later.
    pub fn is_retryable(&self) -> bool {
        match self {
            StoreError::Unavailable { .. } => true,
            StoreError::Io { source, .. } => matches!(
                source.kind(),
                io::ErrorKind::Interrupted | io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock
            ),
            _ => false,
        }
    }

    /// Whether the object simply is not there.
    pub fn is_not_found(&self) -> bool {
        matches!(self, StoreError::NotFound { .. })
    }
}

/// What was attempted at a store: makes the errors that say so.
#[derive(Debug)]
pub(crate) struct Attempted {
    operation: String,
    location: String,
}

impl Attempted {
    /// To do what the verb says, to an object if one is named. The location has no secrets.
    pub(crate) fn new(verb: &str, name: Option<&ObjectName>, location: &str) -> Self {
        let operation = match name {
            Some(name) => format!("{verb} {name}"),
            None => verb.to_owned(),
        };
        Self {
            operation,
            location: location.to_owned(),
        }
    }

    /// It failed for the moment.
    pub(crate) fn unavailable(self, reason: impl Into<String>) -> StoreError {
        StoreError::Unavailable {
            operation: self.operation,
            location: self.location,
            reason: reason.into(),
        }
    }

    /// It was refused, and would be again.
    pub(crate) fn denied(self, reason: impl Into<String>) -> StoreError {
        StoreError::Denied {
            operation: self.operation,
            location: self.location,
            reason: reason.into(),
        }
    }

    /// There is no room.
    pub(crate) fn full(self, reason: impl Into<String>) -> StoreError {
        StoreError::Full {
            location: self.location,
            reason: reason.into(),
        }
    }

    /// There is no such object.
    pub(crate) fn not_found(self, name: &ObjectName) -> StoreError {
        StoreError::NotFound {
            name: *name,
            location: self.location,
        }
    }
}
