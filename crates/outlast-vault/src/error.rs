//! What can go wrong in a vault.

use std::io;

use outlast_custody::{NameError, RepositoryName};
use outlast_object::{ObjectName, ShapeError};

/// An error of the vault.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// Nobody may do that with this token, or there is no such token.
    #[error("not allowed with this token: {0}")]
    Forbidden(&'static str),
    /// The token is unknown, wrong or revoked.
    #[error("unknown token")]
    Unauthorised,
    /// There is no such repository.
    #[error("there is no repository {0}")]
    NoRepository(RepositoryName),
    /// There is no such object, or not at the moment asked for.
    #[error("{0} is not here")]
    NotFound(ObjectName),
    /// Other bytes are kept under this name and stay.
    #[error("{0} is kept already, with other bytes")]
    OtherBytes(ObjectName),
    /// What is on the disk under this name is not what the log says.
    #[error("{0} is damaged on the vault's disk; its operator has to look at it")]
    Damaged(ObjectName),
    /// The bytes cannot be what their name says.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// More than the repository, the token or the disk has room for.
    #[error("no room: {0}")]
    Full(&'static str),
    /// More requests than the token may make in a minute.
    #[error("too many requests with this token; the next minute begins in {seconds} s")]
    TooMany {
        /// After so many seconds it may go on.
        seconds: u64,
    },
    /// The body ended early or could not be read.
    #[error("the upload broke off: {0}")]
    Upload(io::Error),
    /// A seal names an object that is missing or damaged.
    #[error("cannot seal: {0} is missing or damaged")]
    SealIncomplete(ObjectName),
    /// The hold asked for is outside of what is allowed.
    #[error("cannot hold until then: {0}")]
    Hold(&'static str),
    /// A name that is none.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The disk failed where nothing is lost but this request.
    #[error("the disk failed: {0}")]
    Disk(#[source] io::Error),
    /// The ledger failed once; nothing is accepted until `fsck` has passed.
    #[error("the vault is read-only since its ledger failed ({0}); run `outlast-vault fsck`")]
    ReadOnly(String),
    /// The journal does not hold what it must.
    #[error("the journal is damaged: {0}")]
    Journal(String),
    /// The index cannot be used; it can be removed and is then made again.
    #[error("the index failed: {0}")]
    Index(String),
}
