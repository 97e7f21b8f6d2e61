//! What can go wrong with one entry of a source, or with the whole of it.

use std::io;
use std::path::PathBuf;

/// An entry, or the source as a whole, could not be read.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// An operation of the system failed for one path.
    #[error("{operation} {}: {source}", path.display())]
    Io {
        /// What was attempted, as "open" or "list".
        operation: &'static str,
        /// The path.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The path is something else than it was a moment ago.
    #[error("{} changed while it was read: {what}", path.display())]
    Changed {
        /// The path.
        path: PathBuf,
        /// What is different.
        what: &'static str,
    },
    /// The command whose output was backed up did not succeed.
    #[error("the command failed: {0}")]
    Command(String),
    /// What was asked for cannot be a source.
    #[error("{0}")]
    Invalid(String),
}

impl SourceError {
    /// Whether the entry simply is not there (any more).
    pub fn is_not_found(&self) -> bool {
        matches!(self, SourceError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}
