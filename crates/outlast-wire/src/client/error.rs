//! What can go wrong between a client and a vault.

use outlast_custody::ReceiptError;
use outlast_store::StoreError;

/// Why a vault's answer is of no use.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The vault cannot be reached, or is not the one whose key is pinned.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The vault refuses.
    #[error("the vault refuses: {message}")]
    Refused {
        /// Status of HTTP.
        status: u16,
        /// A word for programs.
        code: String,
        /// A sentence for people.
        message: String,
        /// The object that it is about.
        object: Option<String>,
    },
    /// The answer is not what the protocol says.
    #[error("the vault's answer makes no sense: {0}")]
    Malformed(String),
    /// The answer does not prove what it must.
    #[error("the vault's answer proves nothing: {0}")]
    Unproven(String),
    /// A receipt does not hold.
    #[error(transparent)]
    Receipt(#[from] ReceiptError),
    /// The log is not the continuation of what it was: something that was in it is gone or
    /// changed.
    #[error(
        "the vault's log is not what it was: it had {old_size} entries with root {old_root}, and now claims {new_size} that do not continue them. Keep this evidence: the custodian has dropped or rewritten something"
    )]
    LogForked {
        /// Entries that were seen before.
        old_size: u64,
        /// Their root.
        old_root: String,
        /// Entries that are claimed now.
        new_size: u64,
        /// The checkpoint that is signed now.
        evidence: Vec<u8>,
    },
}
