//! Messages for programs, in restic's shapes.

use outlast_format::{Snapshot, Time};
use outlast_object::Id;
use serde::Serialize;

use super::message;

/// One message, as one line.
pub fn print<T: Serialize>(value: &T) {
    match outlast_format::to_go_json(value) {
        Ok(json) => message::line(String::from_utf8_lossy(&json)),
        Err(error) => message::error(&error.to_string()),
    }
}

/// A document that is a list, written item by item; nothing at all where no JSON is wanted.
pub struct List {
    is_json: bool,
    is_empty: bool,
}

impl List {
    /// Opens the list.
    pub fn begin(is_json: bool) -> Self {
        if is_json {
            message::bytes(b"[");
        }
        Self {
            is_json,
            is_empty: true,
        }
    }

    /// Adds an item.
    pub fn push<T: Serialize>(&mut self, value: &T) {
        if !self.is_json {
            return;
        }
        match outlast_format::to_go_json(value) {
            Ok(json) => {
                if !self.is_empty {
                    message::bytes(b",");
                }
                message::bytes(&json);
                self.is_empty = false;
            }
            Err(error) => message::error(&error.to_string()),
        }
    }

    /// Closes the list.
    pub fn end(self) {
        if self.is_json {
            message::bytes(b"]\n");
        }
    }
}

/// One message on standard error.
pub fn print_error<T: Serialize>(value: &T) {
    if let Ok(json) = outlast_format::to_go_json(value) {
        use std::io::Write;
        let mut output = std::io::stderr().lock();
        // Where standard error is closed there is nobody to tell.
        let _ = output
            .write_all(&json)
            .and_then(|()| output.write_all(b"\n"));
    }
}

#[derive(Serialize)]
struct ExitError<'a> {
    message_type: &'a str,
    code: u8,
    message: &'a str,
}

/// The end of a run that failed.
pub fn exit_error(code: u8, text: &str) {
    exit_text(code, &format!("Fatal: {text}"));
}

/// The end of a run that did its work in part.
pub fn exit_message(code: u8, text: &str) {
    exit_text(code, &format!("Warning: {text}"));
}

fn exit_text(code: u8, message: &str) {
    print_error(&ExitError {
        message_type: "exit_error",
        code,
        message,
    });
}

/// A snapshot in lists.
#[derive(Debug, Serialize)]
pub struct SnapshotItem<'a> {
    /// The document.
    #[serde(flatten)]
    pub snapshot: &'a Snapshot,
    /// The id.
    pub id: Id,
    /// Its first eight digits.
    pub short_id: String,
}

impl<'a> SnapshotItem<'a> {
    /// A snapshot with its id.
    pub fn new(id: Id, snapshot: &'a Snapshot) -> Self {
        Self {
            snapshot,
            id,
            short_id: id.short(),
        }
    }
}

/// Progress of a backup.
#[derive(Debug, Default, Serialize)]
pub struct BackupStatus {
    pub message_type: &'static str,
    #[serde(skip_serializing_if = "is_zero")]
    pub seconds_elapsed: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub seconds_remaining: u64,
    pub percent_done: f64,
    #[serde(skip_serializing_if = "is_zero")]
    pub total_files: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub files_done: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub total_bytes: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub bytes_done: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub error_count: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub current_files: Vec<String>,
}

/// One entry of a backup that was finished.
#[derive(Debug, Serialize)]
pub struct BackupVerboseStatus<'a> {
    pub message_type: &'static str,
    pub action: &'static str,
    pub item: &'a str,
    pub duration: f64,
    pub data_size: u64,
    pub data_size_in_repo: u64,
    pub metadata_size: u64,
    pub metadata_size_in_repo: u64,
    pub total_files: u64,
}

/// The cause of an error, as restic nests it.
#[derive(Debug, Serialize)]
pub struct ErrorObject {
    pub message: String,
}

/// An entry that could not be read or written.
#[derive(Debug, Serialize)]
pub struct ItemError<'a> {
    pub message_type: &'static str,
    pub error: ErrorObject,
    pub during: &'static str,
    pub item: &'a str,
}

/// What a backup did.
#[derive(Debug, Serialize)]
pub struct BackupSummary {
    pub message_type: &'static str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
    pub files_new: u64,
    pub files_changed: u64,
    pub files_unmodified: u64,
    pub dirs_new: u64,
    pub dirs_changed: u64,
    pub dirs_unmodified: u64,
    pub data_blobs: i64,
    pub tree_blobs: i64,
    pub data_added: u64,
    pub data_added_packed: u64,
    pub total_files_processed: u64,
    pub total_bytes_processed: u64,
    pub total_duration: f64,
    pub backup_start: Time,
    pub backup_end: Time,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot_id: Option<Id>,
}

fn is_zero(value: &u64) -> bool {
    *value == 0
}
