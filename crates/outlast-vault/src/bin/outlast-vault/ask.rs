//! What an operator can ask a vault for, and what it answers: between the command line and the
//! process that has the vault open.

use outlast_custody::{Entry, RepositoryName, Scope, Seal, Settings, TokenId};
use serde::{Deserialize, Serialize};

/// What is asked for.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case", deny_unknown_fields)]
pub enum Ask {
    /// Add a repository.
    RepositoryAdd {
        /// Its name.
        repository: RepositoryName,
        /// What holds for it.
        settings: SettingChanges,
    },
    /// Change what holds for what comes from now on.
    RepositorySet {
        /// Its name.
        repository: RepositoryName,
        /// What changes.
        settings: SettingChanges,
    },
    /// All repositories.
    RepositoryList,
    /// Make a token.
    TokenAdd(NewToken),
    /// Revoke a token.
    TokenRevoke {
        /// The token.
        token: TokenId,
    },
    /// All tokens.
    TokenList,
    /// Make a token and the line that brings it, with everything else that is needed, to a client.
    Invite(NewToken),
    /// The seals of a repository.
    Seals {
        /// The repository.
        repository: RepositoryName,
    },
    /// Extend the hold of a seal.
    Hold {
        /// The repository.
        repository: RepositoryName,
        /// Index of the seal's entry.
        seal: u64,
        /// Until when, seconds since 1970.
        until: u64,
    },
    /// How the vault is.
    Status,
    /// Entries of the log.
    Log {
        /// The first; without, the last `count`.
        first: Option<u64>,
        /// How many at most.
        count: u64,
    },
    /// Read everything through now.
    Scrub {
        /// As fast as the disk is.
        unlimited: bool,
    },
}

/// A token to be made.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewToken {
    /// Its repository.
    pub repository: RepositoryName,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// For whom it is.
    pub label: String,
    /// Bytes that it may put in a day; zero for no limit.
    pub put_bytes_daily: u64,
    /// Requests a minute; zero for no limit.
    pub requests_per_minute: u32,
}

/// Settings of a repository; what is not given stays, or is as the configuration has it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SettingChanges {
    /// Most that it may take, bytes.
    pub quota_bytes: Option<u64>,
    /// How long everything is held from its admission, seconds.
    pub hold_seconds_min: Option<u64>,
    /// How long a seal holds, seconds.
    pub hold_seconds: Option<u64>,
    /// The longest hold that can be asked for, seconds.
    pub hold_seconds_max: Option<u64>,
    /// Bytes of packs that an append token may read in a day.
    pub append_read_bytes_daily: Option<u64>,
}

impl SettingChanges {
    /// The settings with the changes.
    pub fn over(&self, settings: &Settings) -> Settings {
        Settings {
            quota_bytes: self.quota_bytes.unwrap_or(settings.quota_bytes),
            hold_seconds_min: self.hold_seconds_min.unwrap_or(settings.hold_seconds_min),
            hold_seconds: self.hold_seconds.unwrap_or(settings.hold_seconds),
            hold_seconds_max: self.hold_seconds_max.unwrap_or(settings.hold_seconds_max),
            append_read_bytes_daily: self
                .append_read_bytes_daily
                .unwrap_or(settings.append_read_bytes_daily),
        }
    }
}

/// What the vault says.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// The repository, as it is now.
    Repository(Repository),
    /// All repositories.
    Repositories(Vec<Repository>),
    /// A token, with its secret, this once.
    Token {
        /// Its public part: the user name.
        token: TokenId,
        /// Its secret: the password.
        secret: String,
    },
    /// All tokens.
    Tokens(Vec<Token>),
    /// An invite.
    Invite {
        /// The line.
        invite: String,
        /// The repository was made for it.
        is_new_repository: bool,
    },
    /// It was done, as the entry with this index.
    Entered {
        /// The index.
        index: u64,
    },
    /// It was done.
    Done,
    /// The seals.
    Seals(Vec<SealRow>),
    /// How the vault is.
    Status(Box<Status>),
    /// Entries.
    Entries(Vec<(u64, Entry)>),
    /// Everything was read through.
    Scrubbed(Scrubbed),
}

/// A repository.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Repository {
    /// Its name.
    pub repository: RepositoryName,
    /// Objects kept.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Seals made.
    pub seals: u64,
    /// Whether its owner names the objects of each snapshot. Until then nothing becomes releasable.
    pub has_exact_seals: bool,
    /// What holds for it.
    pub settings: Settings,
}

/// A token, without its secret.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Token {
    /// Its public part.
    pub token: TokenId,
    /// Its repository.
    pub repository: RepositoryName,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// For whom it was made.
    pub label: String,
    /// Whether it is revoked.
    pub is_revoked: bool,
}

/// A seal.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SealRow {
    /// Index of its entry.
    pub index: u64,
    /// Until when it holds, with extensions, vault time.
    pub until: u64,
    /// The seal.
    pub seal: Seal,
}

/// How a vault is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Status {
    /// Program and version.
    pub software: String,
    /// The identity, as a verifier key.
    pub identity: String,
    /// The pin of the TLS certificate, hexadecimal; none without TLS.
    pub pin: Option<String>,
    /// By what others reach it.
    pub addresses: Vec<String>,
    /// Whether it serves now.
    pub is_serving: bool,
    /// Why it takes nothing, if so.
    pub read_only: Option<String>,
    /// The vault's time, seconds since 1970.
    pub time: u64,
    /// The system's clock, seconds since 1970.
    pub clock: u64,
    /// Entries in the log.
    pub log_entries: u64,
    /// When everything was last read through: vault time at its beginning.
    pub last_scrub: Option<u64>,
    /// Objects that were found damaged or missing since the vault was opened.
    pub damaged_objects: u64,
    /// Free bytes on its disk.
    pub disk_free_bytes: u64,
    /// Bytes of its disk.
    pub disk_total_bytes: u64,
    /// Repositories.
    pub repositories: Vec<Repository>,
}

/// What came of reading everything through.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Scrubbed {
    /// Objects read.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What is missing or damaged.
    pub damaged: Vec<String>,
}

/// What came of a check.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Checked {
    /// Whether nothing is lost.
    pub is_clean: bool,
    /// Whether the ledger can be trusted.
    pub is_ledger_sound: bool,
    /// Entries read.
    pub entries: u64,
    /// Seals checked.
    pub seals: u64,
    /// Objects looked at.
    pub objects: u64,
    /// Bytes read of them.
    pub bytes_read: u64,
    /// How many findings are harmless.
    pub harmless: u64,
    /// Findings, the first thousand.
    pub findings: Vec<String>,
}

/// One line of what goes back over the control socket.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// It is being worked on.
    Progress {
        /// So much is done.
        done: u64,
        /// Of so much.
        total: u64,
    },
    /// The answer; nothing follows.
    Answer(Answer),
    /// It failed; nothing follows.
    Failed {
        /// Why.
        message: String,
        /// What to do about it.
        hint: Option<String>,
    },
}
