//! What can be wrong with the bytes of a repository.

use outlast_object::Id;

/// Bytes are not what the format says they must be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// The seal does not fit: damaged, or sealed with another key.
    #[error("the content was changed or sealed with another key (its MAC does not match)")]
    Unauthentic,
    /// Too short to be sealed at all.
    #[error("{bytes} bytes are too few to be a sealed object")]
    TooShort {
        /// The size found.
        bytes: usize,
    },
    /// An initialisation vector or a key of nothing but zeros, which no writer makes.
    #[error("an all-zero {0} is not valid")]
    Zero(&'static str),
    /// A document that is not the JSON expected.
    #[error("the {what} is not valid: {reason}")]
    Json {
        /// Which document.
        what: &'static str,
        /// What the parser said.
        reason: String,
    },
    /// Compressed bytes that do not decompress to what was announced.
    #[error("decompression failed: {0}")]
    Compression(String),
    /// Larger than any reader should accept.
    #[error("the {what} has {bytes} bytes, more than the {max} accepted")]
    TooLarge {
        /// What was being read.
        what: &'static str,
        /// The size claimed or found.
        bytes: u64,
        /// The limit.
        max: u64,
    },
    /// A pack whose header does not describe it.
    #[error("the pack header is not valid: {0}")]
    PackHeader(String),
    /// A blob whose plaintext hashes to something else.
    #[error("the blob's content hashes to {found}, expected {expected}")]
    BlobHash {
        /// The id asked for.
        expected: Id,
        /// The hash of what was there.
        found: Id,
    },
    /// Tree entries that are not in strictly increasing order of their names.
    #[error("the tree's entries are not in order at {name:?}")]
    TreeOrder {
        /// The name at which the order breaks.
        name: String,
    },
    /// A repository version this program does not know.
    #[error("repository version {0} is not supported")]
    Version(u32),
    /// The chunker polynomial is not irreducible or has the wrong degree.
    #[error("the chunker polynomial {0} is not usable")]
    Polynomial(String),
    /// A key file with parameters that nobody should follow.
    #[error("the key file is not usable: {0}")]
    KeyFile(String),
}

impl FormatError {
    /// A JSON error about the document `what`.
    pub(crate) fn json(what: &'static str, error: &serde_json::Error) -> Self {
        FormatError::Json {
            what,
            reason: error.to_string(),
        }
    }
}
