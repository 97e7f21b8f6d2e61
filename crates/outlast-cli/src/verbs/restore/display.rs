//! What a restore shows while it runs and when it is done.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use outlast_repo::{
    LostBlob, RestoreAction, RestoreObserver, RestoreOptions, RestoreOutcome, RestoreProblem,
};
use serde::Serialize;

use crate::context::Context;
use crate::render::json::{self, ErrorObject, ItemError};
use crate::render::progress::Progress;
use crate::render::{message, units};

/// How often programs are told how far it has come.
const STATUS_EVERY: Duration = Duration::from_millis(250);

/// Progress of a restore.
#[derive(Debug, Default, Serialize)]
struct Status {
    message_type: &'static str,
    #[serde(skip_serializing_if = "is_zero")]
    seconds_elapsed: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    percent_done: Option<f64>,
    #[serde(skip_serializing_if = "is_zero")]
    total_files: u64,
    #[serde(skip_serializing_if = "is_zero")]
    files_restored: u64,
    #[serde(skip_serializing_if = "is_zero")]
    files_skipped: u64,
    #[serde(skip_serializing_if = "is_zero")]
    files_deleted: u64,
    #[serde(skip_serializing_if = "is_zero")]
    total_bytes: u64,
    #[serde(skip_serializing_if = "is_zero")]
    bytes_restored: u64,
    #[serde(skip_serializing_if = "is_zero")]
    bytes_skipped: u64,
}

/// One entry that was finished.
#[derive(Debug, Serialize)]
struct VerboseStatus<'a> {
    message_type: &'static str,
    action: &'static str,
    item: &'a str,
    size: u64,
}

fn is_zero(value: &u64) -> bool {
    *value == 0
}

/// Shows a restore.
pub struct RestoreDisplay {
    is_json: bool,
    verbosity: u8,
    start: Instant,
    progress: Progress,
    last_status: LastStatus,
    files_total: AtomicU64,
    files_restored: AtomicU64,
    files_skipped: AtomicU64,
    files_deleted: AtomicU64,
    bytes_total: AtomicU64,
    bytes_restored: AtomicU64,
    bytes_skipped: AtomicU64,
    verified: AtomicU64,
}

/// When a status was last written, since the beginning.
#[derive(Debug, Default)]
struct LastStatus(Mutex<Duration>);

impl LastStatus {
    /// Whether another status is due; one caller only is told so.
    fn is_due(&self, now: Duration) -> bool {
        // Somebody else is at it right now, or has panicked: no status then.
        let Ok(mut last) = self.0.try_lock() else {
            return false;
        };
        let due = now.saturating_sub(*last) >= STATUS_EVERY;
        if due {
            *last = now;
        }
        due
    }
}

fn add(counter: &AtomicU64, amount: u64) {
    counter.fetch_add(amount, Ordering::Relaxed);
}

fn load(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

impl RestoreDisplay {
    /// A display as the global options want it.
    pub fn new(context: &Context) -> Self {
        Self {
            is_json: context.global.json,
            verbosity: context.global.verbosity(),
            start: Instant::now(),
            progress: Progress::bytes(context.is_talkative()),
            last_status: LastStatus::default(),
            files_total: AtomicU64::new(0),
            files_restored: AtomicU64::new(0),
            files_skipped: AtomicU64::new(0),
            files_deleted: AtomicU64::new(0),
            bytes_total: AtomicU64::new(0),
            bytes_restored: AtomicU64::new(0),
            bytes_skipped: AtomicU64::new(0),
            verified: AtomicU64::new(0),
        }
    }

    /// Takes the progress bar away.
    pub fn clear(&self) {
        self.progress.clear();
    }

    fn status(&self) {
        let now = self.start.elapsed();
        if !self.is_json || self.verbosity == 0 || !self.last_status.is_due(now) {
            return;
        }
        let (total_bytes, bytes_restored) = (load(&self.bytes_total), load(&self.bytes_restored));
        let percent_done = match total_bytes {
            0 => 0.0,
            total => (bytes_restored as f64 / total as f64).min(1.0),
        };
        json::print(&Status {
            message_type: "status",
            seconds_elapsed: now.as_secs(),
            percent_done: Some(percent_done),
            total_files: load(&self.files_total),
            files_restored: load(&self.files_restored),
            files_skipped: load(&self.files_skipped),
            files_deleted: load(&self.files_deleted),
            total_bytes,
            bytes_restored,
            bytes_skipped: load(&self.bytes_skipped),
        });
    }

    /// Shows what was done.
    pub fn print_summary(&self, outcome: &RestoreOutcome, options: &RestoreOptions) {
        if self.is_json {
            json::print(&Status {
                message_type: "summary",
                seconds_elapsed: self.start.elapsed().as_secs(),
                percent_done: None,
                total_files: outcome.files_total,
                files_restored: outcome.files_restored,
                files_skipped: outcome.files_skipped,
                files_deleted: outcome.files_deleted,
                total_bytes: outcome.bytes_total,
                bytes_restored: outcome.bytes_restored,
                bytes_skipped: outcome.bytes_skipped,
            });
            return;
        }
        if self.verbosity == 0 {
            return;
        }
        let is_all = outcome.files_restored == outcome.files_total
            && outcome.bytes_restored == outcome.bytes_total;
        let mut text = if is_all {
            format!(
                "Summary: Restored {} files/dirs ({})",
                outcome.files_total,
                units::bytes(outcome.bytes_total)
            )
        } else {
            format!(
                "Summary: Restored {} / {} files/dirs ({} / {})",
                outcome.files_restored,
                outcome.files_total,
                units::bytes(outcome.bytes_restored),
                units::bytes(outcome.bytes_total)
            )
        };
        text.push_str(&format!(" in {}", units::duration(self.start.elapsed())));
        if outcome.files_skipped > 0 {
            text.push_str(&format!(
                ", skipped {} files/dirs {}",
                outcome.files_skipped,
                units::bytes(outcome.bytes_skipped)
            ));
        }
        if outcome.files_deleted > 0 {
            text.push_str(&format!(", deleted {} files/dirs", outcome.files_deleted));
        }
        message::line(text);
        if options.verify {
            message::line(format!("verified {} files", outcome.files_verified));
        }
    }
}

impl RestoreObserver for RestoreDisplay {
    fn item_planned(&self, bytes: u64) {
        add(&self.files_total, 1);
        let total = self.bytes_total.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.progress.set_total(total);
        self.status();
    }

    fn bytes_restored(&self, bytes: u64) {
        add(&self.bytes_restored, bytes);
        self.progress.add(bytes);
        self.status();
    }

    fn item_done(&self, path: &Path, action: RestoreAction, bytes: u64) {
        match action {
            RestoreAction::Unchanged => {
                add(&self.files_skipped, 1);
                add(&self.bytes_skipped, bytes);
            }
            RestoreAction::Deleted => add(&self.files_deleted, 1),
            _ => add(&self.files_restored, 1),
        }
        if self.verbosity < 2 {
            return;
        }
        let item = path.to_string_lossy();
        if self.is_json {
            json::print(&VerboseStatus {
                message_type: "verbose_status",
                action: action.as_str(),
                item: &item,
                size: bytes,
            });
        } else if self.verbosity > 2 || action != RestoreAction::Unchanged {
            let item = crate::verbs::clean(&item);
            let size = match action {
                RestoreAction::FileRestored | RestoreAction::FileUpdated => {
                    format!(" with size {}", units::bytes(bytes))
                }
                _ => String::new(),
            };
            self.progress
                .suspend(|| message::line(format!("{:<9} {item}{size}", action.as_str())));
        }
    }

    fn file_verified(&self, _: &Path) {
        add(&self.verified, 1);
        if !self.is_json {
            let verified = load(&self.verified);
            self.progress
                .set_message(format!("{verified} files verified"));
        }
    }

    fn blob_lost(&self, lost: &LostBlob, files: &[PathBuf]) {
        let files: Vec<String> = files
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        self.progress
            .suspend(|| message::warning(&format!("{lost}; needed by {}", files.join(", "))));
    }

    fn error(&self, path: &Path, problem: &RestoreProblem) {
        if self.is_json {
            json::print_error(&ItemError {
                message_type: "error",
                error: ErrorObject {
                    message: problem.to_string(),
                },
                during: "restore",
                item: &path.to_string_lossy(),
            });
        } else {
            self.progress
                .suspend(|| message::warning(&format!("{}: {problem}", path.display())));
        }
    }
}
