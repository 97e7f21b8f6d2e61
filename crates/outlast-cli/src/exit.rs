//! How a run ends: restic's exit codes, own ones from 20, errors in one line with a hint.

use std::process::ExitCode;

use outlast_ops::{
    ConfigurationError, CustodianError, NotKept, ProtectError, ProveError, RenewError,
};
use outlast_repo::{Cancel, RepoError};
use outlast_store::StoreError;
use outlast_wire::WireError;

use crate::render::{self, message};

/// All went well.
pub const OK: u8 = 0;
/// The command failed.
pub const FAILED: u8 = 1;
/// A snapshot was made, but some of the source could not be read.
pub const INCOMPLETE: u8 = 3;
/// There is no repository.
pub const NO_REPOSITORY: u8 = 10;
/// The repository is locked by somebody else.
pub const LOCKED: u8 = 11;
/// The password is wrong.
pub const WRONG_PASSWORD: u8 = 12;
/// Written, but not safe yet (only where it was asked for).
pub const NOT_SAFE_YET: u8 = 20;
/// A guard stopped the command: it would have lost something silently.
pub const GUARDED: u8 = 21;
/// The store removes and replaces nothing.
pub const KEPT: u8 = 22;
/// The snapshot is stored, but its custodian gave no valid receipt.
pub const NO_RECEIPT: u8 = 23;
/// Interrupted by a signal.
pub const INTERRUPTED: u8 = 130;

/// All codes with their meanings, for the documentation.
pub const TABLE: [(u8, &str); 11] = [
    (OK, "success"),
    (
        FAILED,
        "the command failed; for backup: no snapshot was made",
    ),
    (
        INCOMPLETE,
        "a snapshot was made, but some of the source could not be read",
    ),
    (NO_REPOSITORY, "there is no repository"),
    (LOCKED, "the repository is locked by somebody else"),
    (WRONG_PASSWORD, "the password is wrong"),
    (
        NOT_SAFE_YET,
        "written, but not safe yet (protect --require-safe)",
    ),
    (GUARDED, "a guard stopped the command and explains why"),
    (
        KEPT,
        "the store removes and replaces nothing (a vault); nothing was changed",
    ),
    (
        NO_RECEIPT,
        "the snapshot is stored, but its custodian gave no valid receipt",
    ),
    (INTERRUPTED, "interrupted by a signal"),
];

/// The table as a text for people.
pub fn help() -> String {
    let lines = TABLE
        .iter()
        .map(|(code, meaning)| format!("  {code:>3}  {meaning}\n"));
    format!("Exit codes:\n{}", lines.collect::<String>())
}

/// Why a run did not end well.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub code: u8,
    /// What happened, in one line.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Failure {
    /// A failure with code 1.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            code: FAILED,
            message: message.into(),
            hint: None,
        }
    }

    /// A failure with another code.
    pub fn with_code(code: u8, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            hint: None,
        }
    }

    /// The only custodian does not vouch for what was stored.
    pub fn not_kept(custodian: &str, reason: NotKept) -> Self {
        let (reason, hint) = match reason {
            NotKept::NoReceipt(error) => {
                let failure = Failure::from(error);
                (failure.message, failure.hint)
            }
            other => (other.to_string(), None),
        };
        let message =
            format!("the snapshot is stored, but {custodian} gave no valid receipt: {reason}");
        let hint = hint
            .unwrap_or_else(|| "nothing of it counts as held; run the command again".to_owned());
        Failure::with_code(NO_RECEIPT, message).hint(hint)
    }

    /// Adds what to do about it.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl From<CustodianError> for Failure {
    fn from(error: CustodianError) -> Self {
        let failure = Failure::new(error.to_string());
        match error {
            CustodianError::Store(error) | CustodianError::Wire(WireError::Store(error)) => {
                RepoError::Store(error).into()
            }
            CustodianError::Wire(WireError::LogForked { .. }) => {
                failure.hint("do not rely on this custodian; docs/custodians.md says what to do")
            }
            _ => failure,
        }
    }
}

impl From<RepoError> for Failure {
    fn from(error: RepoError) -> Self {
        let failure = Failure::new(error.to_string());
        match &error {
            RepoError::NoRepository { .. } => Failure { code: NO_REPOSITORY, ..failure }
                .hint("check the location; `outlast init` makes a new repository there"),
            RepoError::Locked { .. } => Failure { code: LOCKED, ..failure }.hint(
                "wait for it with --retry-lock 5m; if its program is gone, `outlast unlock` removes the lock",
            ),
            RepoError::WrongPassword { .. } => Failure { code: WRONG_PASSWORD, ..failure }
                .hint("check --password-file, --password-command or RESTIC_PASSWORD"),
            RepoError::Cancelled => Failure { code: INTERRUPTED, ..failure }
                .hint("what was stored so far is kept; the next run goes on from there"),
            RepoError::Damaged { .. } | RepoError::BlobDamaged { .. } | RepoError::BlobMissing(_) => failure
                .hint("`outlast check --read-data` tells what is affected; docs/damage.md what to do"),
            RepoError::Store(StoreError::DeletesRefused { .. }) => Failure { code: KEPT, ..failure }
                .hint("docs/vault-verbs.md says what each verb does where nothing is removed"),
            RepoError::KeysRefused { .. } => Failure { code: KEPT, ..failure }.hint(
                "keys are put into a vault with a token to enrol, before its config; for another \
                 password make another repository there and copy into it",
            ),
            RepoError::Store(StoreError::Denied { .. }) if failure.message.contains("to read data/") => failure
                .hint("in a vault, data is read with a token to restore; a token to append is for backing up"),
            RepoError::Store(StoreError::Full { .. }) => failure
                .hint("make room and run the command again: what was stored is kept and used"),
            RepoError::Store(StoreError::Unavailable { .. }) => failure
                .hint("check the network and the server, then run the command again: what was stored is used"),
            _ => failure,
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        RepoError::from(error).into()
    }
}

impl From<ConfigurationError> for Failure {
    fn from(error: ConfigurationError) -> Self {
        Failure::new(error.to_string())
    }
}

impl From<RenewError> for Failure {
    fn from(error: RenewError) -> Self {
        match error {
            RenewError::Custodian(error) => error.into(),
            other => Failure::new(other.to_string()),
        }
    }
}

impl From<ProveError> for Failure {
    fn from(error: ProveError) -> Self {
        match error {
            ProveError::Custodian(error) => error.into(),
            ProveError::Configuration(error) => error.into(),
            other => Failure::new(other.to_string()),
        }
    }
}

impl From<ProtectError> for Failure {
    fn from(error: ProtectError) -> Self {
        let text = error.to_string();
        match error {
            ProtectError::Repository(error) => error.into(),
            ProtectError::Custodian(error) => error.into(),
            ProtectError::NothingToProtect => Failure::new(text).hint("for example: outlast protect ~/Documents"),
            ProtectError::PasswordLost { .. } => Failure::new(text).hint(
                "put the password file back from your copy of it; without it nobody can read the repository",
            ),
            _ => Failure::new(text),
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Failure::new(error.to_string())
    }
}

/// The end of a run whose arguments could not be understood, or that asked for help.
pub fn usage(error: &clap::Error) -> ExitCode {
    if error.use_stderr() && std::env::args_os().any(|argument| argument == "--json") {
        let text = error.to_string();
        let first = text.lines().next().unwrap_or_default();
        render::json::exit_error(FAILED, first.strip_prefix("error: ").unwrap_or(first));
        return ExitCode::from(FAILED);
    }
    // Printing may fail when nobody listens any more; there is nobody to tell then.
    let _ = error.print();
    ExitCode::from(if error.use_stderr() { FAILED } else { OK })
}

/// Tells of a failure and gives the code of the process.
pub fn finish(result: Result<u8, Failure>, json: bool, cancel: &Cancel) -> ExitCode {
    let failure = match result {
        Ok(code) => return ExitCode::from(code),
        Err(_) if message::ended_unheard() => return ExitCode::from(OK),
        Err(failure) => failure,
    };
    let code = if cancel.is_cancelled() {
        INTERRUPTED
    } else {
        failure.code
    };
    if json {
        render::json::exit_error(code, &failure.message);
    } else {
        message::error(&failure.message);
        if let Some(hint) = &failure.hint {
            message::hint(hint);
        }
    }
    ExitCode::from(code)
}
