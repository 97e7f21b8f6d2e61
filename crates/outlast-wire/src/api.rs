//! The types of the API under `/v1`, as JSON. Whoever reads answers ignores fields that it does not
//! know, so that a newer vault can say more.

use outlast_custody::{IdText, RepositoryName, Scope, Seal, Settings};
use serde::{Deserialize, Serialize};

/// Most names in one question after presence, and in one page of a listing.
pub const NAMES_MAX: usize = 10_000;
/// Most seals in one page.
pub const SEALS_MAX: usize = 1000;
/// Longest JSON answer, in bytes.
pub const ANSWER_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// An answer that is no success.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// What it is.
    pub error: ErrorDetail,
}

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorDetail {
    /// A word for programs.
    pub code: String,
    /// A sentence for people.
    pub message: String,
    /// The object that it is about, as `folder/id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
}

/// How a repository is, to whoever has a token of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepositoryState {
    /// Its name.
    pub repository: RepositoryName,
    /// What holds for it.
    pub settings: Settings,
    /// Objects kept.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Whether an exact seal was ever made.
    pub has_exact_seals: bool,
    /// What the token may do.
    pub scopes: Vec<Scope>,
    /// The vault's time, seconds since 1970.
    pub time: u64,
    /// Entries in the vault's log.
    pub log_entries: u64,
    /// The vault's identity, a verifier key. Nothing is to be verified with it: the pinned one
    /// counts.
    pub identity: String,
    /// Why the vault takes nothing, if so.
    pub read_only: Option<String>,
    /// Program and version.
    pub software: String,
}

/// An object that is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Presence {
    /// Its size in bytes.
    pub size: u64,
    /// Index of the entry that admitted it.
    pub position: u64,
    /// Vault time of its admission, seconds since 1970.
    pub time: u64,
}

/// An object in a listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectRow {
    /// Its id.
    pub id: IdText,
    /// When it came.
    #[serde(flatten)]
    pub presence: Presence,
}

/// A page of a listing, ascending by id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectPage {
    /// Objects.
    pub objects: Vec<ObjectRow>,
    /// There are more after this id.
    pub next: Option<IdText>,
}

/// What became of an object of a batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// It is kept now.
    Stored {
        /// Index of its entry.
        position: u64,
    },
    /// It was kept already.
    Known {
        /// Index of its entry.
        position: u64,
    },
    /// It was not taken.
    Refused(ErrorDetail),
}

/// A seal that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealMade {
    /// Index of its entry.
    pub index: u64,
    /// The receipt.
    pub receipt: String,
}

/// A seal in a listing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealRow {
    /// Index of its entry.
    pub index: u64,
    /// Until when it holds, with extensions, vault time.
    pub until: u64,
    /// What it says.
    pub seal: Seal,
}

/// A page of seals, in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealPage {
    /// Seals.
    pub seals: Vec<SealRow>,
    /// There are more after this index.
    pub next: Option<u64>,
}
