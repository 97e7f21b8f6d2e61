//! What a backup shows while it runs and when it is done.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use outlast_format::Node;
use outlast_ops::BackupRun;
use outlast_repo::{BackupObserver, ItemChange, ItemStatistics, ScanTotals};
use outlast_source::SourceError;

use crate::context::Context;
use crate::render::json::{
    self, BackupStatus, BackupSummary, BackupVerboseStatus, ErrorObject, ItemError,
};
use crate::render::progress::Progress;
use crate::render::{message, units};

/// Milliseconds between two status messages for programs.
const STATUS_MILLISECONDS: u64 = 1000 / 60 * 15;

/// Shows a backup.
pub struct BackupDisplay {
    is_json: bool,
    verbosity: u8,
    start: Instant,
    progress: Progress,
    files_done: AtomicU64,
    bytes_done: AtomicU64,
    total_files: AtomicU64,
    total_bytes: AtomicU64,
    errors: AtomicU64,
    last_status: AtomicU64,
}

impl BackupDisplay {
    /// A display as the global options want it.
    pub fn new(context: &Context) -> Self {
        Self {
            is_json: context.global.json,
            verbosity: context.global.verbosity(),
            start: Instant::now(),
            progress: Progress::bytes(context.is_talkative()),
            files_done: AtomicU64::new(0),
            bytes_done: AtomicU64::new(0),
            total_files: AtomicU64::new(0),
            total_bytes: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            last_status: AtomicU64::new(0),
        }
    }

    /// Time since the beginning.
    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// Takes the progress bar away.
    pub fn clear(&self) {
        self.progress.clear();
    }

    /// So much is there, as far as is known.
    pub fn set_totals(&self, found: ScanTotals, complete: bool) {
        self.total_files.store(found.files, Ordering::Relaxed);
        self.total_bytes.store(found.bytes, Ordering::Relaxed);
        self.progress.set_total(found.bytes);
        if complete && self.is_json && self.verbosity >= 2 {
            json::print(&BackupVerboseStatus {
                message_type: "verbose_status",
                action: "scan_finished",
                item: "",
                duration: self.elapsed().as_secs_f64(),
                data_size: found.bytes,
                data_size_in_repo: 0,
                metadata_size: 0,
                metadata_size_in_repo: 0,
                total_files: found.files,
            });
        }
    }

    fn status(&self, current: Option<&Path>) {
        if !self.is_json || self.verbosity == 0 {
            return;
        }
        let now = self.elapsed().as_millis() as u64;
        let last = self.last_status.load(Ordering::Relaxed);
        let due = last == 0 || now >= last + STATUS_MILLISECONDS;
        let mine = self.last_status.compare_exchange(
            last,
            now.max(1),
            Ordering::Relaxed,
            Ordering::Relaxed,
        );
        if !due || mine.is_err() {
            return;
        }
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (total_bytes, bytes_done) = (load(&self.total_bytes), load(&self.bytes_done));
        let share = if total_bytes == 0 {
            0.0
        } else {
            (bytes_done as f64 / total_bytes as f64).min(1.0)
        };
        let seconds = now as f64 / 1000.0;
        let remaining = if share > 0.0 {
            seconds / share - seconds
        } else {
            0.0
        };
        json::print(&BackupStatus {
            message_type: "status",
            seconds_elapsed: now / 1000,
            seconds_remaining: remaining as u64,
            percent_done: share,
            total_files: load(&self.total_files),
            files_done: load(&self.files_done),
            total_bytes,
            bytes_done,
            error_count: load(&self.errors),
            current_files: current
                .iter()
                .map(|path| path.to_string_lossy().into_owned())
                .collect(),
        });
    }
}

fn action(change: ItemChange) -> &'static str {
    match change {
        ItemChange::New => "new",
        ItemChange::Changed => "modified",
        ItemChange::Unchanged => "unchanged",
    }
}

impl BackupObserver for BackupDisplay {
    fn file_started(&self, path: &Path) {
        self.status(Some(path));
    }

    fn bytes_done(&self, bytes: u64) {
        self.bytes_done.fetch_add(bytes, Ordering::Relaxed);
        self.progress.add(bytes);
    }

    fn item_done(&self, path: &Path, node: &Node, change: ItemChange, statistics: &ItemStatistics) {
        if node.is_file() {
            self.files_done.fetch_add(1, Ordering::Relaxed);
        }
        if self.verbosity < 2 || !(node.is_file() || node.is_directory()) {
            return;
        }
        let mut item = path.to_string_lossy().into_owned();
        if node.is_directory() {
            item.push('/');
        }
        if self.is_json {
            json::print(&BackupVerboseStatus {
                message_type: "verbose_status",
                action: action(change),
                item: &item,
                duration: statistics.duration.as_secs_f64(),
                data_size: statistics.data_bytes_added,
                data_size_in_repo: statistics.data_bytes_stored,
                metadata_size: statistics.tree_bytes_added,
                metadata_size_in_repo: statistics.tree_bytes_stored,
                total_files: 0,
            });
        } else if self.verbosity > 2 || change != ItemChange::Unchanged {
            let added = units::bytes(statistics.data_bytes_added + statistics.tree_bytes_added);
            let item = crate::verbs::clean(&item);
            self.progress
                .suspend(|| message::line(format!("{:<9} {item}, {added} added", action(change))));
        }
    }

    fn error(&self, path: &Path, error: &SourceError) {
        self.errors.fetch_add(1, Ordering::Relaxed);
        if self.is_json {
            json::print_error(&ItemError {
                message_type: "error",
                error: ErrorObject {
                    message: error.to_string(),
                },
                during: "archival",
                item: &path.to_string_lossy(),
            });
        } else {
            self.progress
                .suspend(|| message::warning(&error.to_string()));
        }
    }
}

/// Shows what a backup did.
pub fn print_summary(context: &Context, run: &BackupRun, dry_run: bool, elapsed: Duration) {
    let summary = &run.outcome.summary;
    let snapshot_id = run.outcome.snapshot.as_ref().map(|(id, _)| *id);
    if context.global.json {
        json::print(&BackupSummary {
            message_type: "summary",
            dry_run,
            files_new: summary.files_new,
            files_changed: summary.files_changed,
            files_unmodified: summary.files_unmodified,
            dirs_new: summary.dirs_new,
            dirs_changed: summary.dirs_changed,
            dirs_unmodified: summary.dirs_unmodified,
            data_blobs: summary.data_blobs,
            tree_blobs: summary.tree_blobs,
            data_added: summary.data_added,
            data_added_packed: summary.data_added_packed,
            total_files_processed: summary.total_files_processed,
            total_bytes_processed: summary.total_bytes_processed,
            total_duration: elapsed.as_secs_f64(),
            backup_start: summary.backup_start,
            backup_end: summary.backup_end,
            snapshot_id,
        });
        return;
    }
    if !context.is_talkative() {
        return;
    }
    match &run.parent {
        Some(parent) => message::line(format!("using parent snapshot {}", parent.id.short())),
        None => message::line("no parent snapshot found, all files were read"),
    }
    message::line("");
    let row = |what: &str, new: u64, changed: u64, unmodified: u64| {
        format!("{what:<12}{new:>5} new, {changed:>5} changed, {unmodified:>5} unmodified")
    };
    message::line(row(
        "Files:",
        summary.files_new,
        summary.files_changed,
        summary.files_unmodified,
    ));
    message::line(row(
        "Dirs:",
        summary.dirs_new,
        summary.dirs_changed,
        summary.dirs_unmodified,
    ));
    let (added, stored) = (
        units::bytes(summary.data_added),
        units::bytes(summary.data_added_packed),
    );
    let verb = if dry_run { "Would add" } else { "Added" };
    message::line(format!(
        "{verb} to the repository: {added} ({stored} stored)"
    ));
    message::line("");
    message::line(format!(
        "processed {} files, {} in {}",
        summary.total_files_processed,
        units::bytes(summary.total_bytes_processed),
        units::duration(elapsed)
    ));
    match snapshot_id {
        Some(id) => message::line(format!("snapshot {} saved", id.short())),
        None if dry_run => {}
        None => message::line("no snapshot was made: nothing changed since the parent"),
    }
}
