//! How a run ends: exit codes, and errors in one line with a hint.

use std::io::Write;
use std::process::ExitCode;

/// All went well.
pub const OK: u8 = 0;
/// The command failed.
pub const FAILED: u8 = 1;
/// The command was not understood.
pub const USAGE: u8 = 2;
/// There is no vault in the folder.
pub const NO_VAULT: u8 = 10;
/// Something is damaged or missing.
pub const DAMAGED: u8 = 23;

/// All codes with their meanings, for the help and the documentation.
pub const TABLE: [(u8, &str); 5] = [
    (OK, "done"),
    (FAILED, "failed; the last line of standard error says why"),
    (USAGE, "the arguments were not understood"),
    (NO_VAULT, "there is no vault in the folder"),
    (DAMAGED, "fsck or scrub found something damaged or missing"),
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

    /// The same with another code.
    pub fn code(self, code: u8) -> Self {
        Self { code, ..self }
    }

    /// The same with what to do about it.
    pub fn hint(self, hint: impl Into<String>) -> Self {
        let hint = Some(hint.into());
        Self { hint, ..self }
    }
}

impl From<outlast_vault::VaultError> for Failure {
    fn from(error: outlast_vault::VaultError) -> Self {
        Self::new(error.to_string())
    }
}

/// A line on standard error. Where that is closed there is nobody to tell.
pub fn note(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Reports the end of a run.
pub fn finish(result: Result<u8, Failure>, json: bool) -> ExitCode {
    match result {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            if json {
                let error = serde_json::json!({
                    "error": { "code": failure.code, "message": failure.message, "hint": failure.hint }
                });
                note(&error.to_string());
            } else {
                note(&format!("Fatal: {}", failure.message));
                if let Some(hint) = failure.hint {
                    note(&format!("hint: {hint}"));
                }
            }
            ExitCode::from(failure.code)
        }
    }
}
