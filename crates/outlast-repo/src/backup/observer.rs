//! What others can see of a backup while it runs.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use outlast_format::{Node, SnapshotSummary, Time};
use outlast_source::SourceError;

use crate::{SaveStatistics, Saved};

/// How an entry differs from the parent's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ItemChange {
    /// The parent does not have it.
    New,
    /// Content or metadata differ.
    Changed,
    /// All is as the parent has it.
    Unchanged,
}

impl ItemChange {
    pub(super) fn of(previous: Option<&Node>, now: &Node) -> Self {
        match previous {
            None => ItemChange::New,
            Some(previous) if previous.is_same(now) => ItemChange::Unchanged,
            Some(_) => ItemChange::Changed,
        }
    }
}

/// What one entry added to the repository.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ItemStatistics {
    /// New data before compression, in bytes.
    pub data_bytes_added: u64,
    /// New data as stored, in bytes.
    pub data_bytes_stored: u64,
    /// New trees before compression, in bytes.
    pub tree_bytes_added: u64,
    /// New trees as stored, in bytes.
    pub tree_bytes_stored: u64,
    /// Time it took.
    pub duration: Duration,
}

/// What is known of a file's content once it was read.
#[derive(Debug, Clone, Copy)]
pub struct FileFacts<'a> {
    /// The path as the snapshot shows it.
    pub path: &'a Path,
    /// The finished entry.
    pub node: &'a Node,
    /// The entry of the parent.
    pub previous: Option<&'a Node>,
    /// Chunks that the repository had already.
    pub chunks_known: usize,
    /// What was added; the ratio of stored to added bytes tells how compressible it was.
    pub statistics: ItemStatistics,
}

/// Follows a backup. All methods are called from many threads and must return quickly.
pub trait BackupObserver: Sync {
    /// A file is about to be read.
    fn file_started(&self, path: &Path) {
        let _ = path;
    }

    /// So many more bytes were read, or skipped because they are unchanged.
    fn bytes_done(&self, bytes: u64) {
        let _ = bytes;
    }

    /// A chunk was stored or found to be stored; its content is still in the cache.
    fn chunk_done(&self, path: &Path, number: usize, plaintext: &[u8], saved: &Saved) {
        let _ = (path, number, plaintext, saved);
    }

    /// A file's content was read.
    fn file_read(&self, facts: &FileFacts<'_>) {
        let _ = facts;
    }

    /// An entry of any kind is finished.
    fn item_done(&self, path: &Path, node: &Node, change: ItemChange, statistics: &ItemStatistics) {
        let _ = (path, node, change, statistics);
    }

    /// An entry could not be read and is left out.
    fn error(&self, path: &Path, error: &SourceError) {
        let _ = (path, error);
    }
}

/// Sees nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoObserver;

impl BackupObserver for NoObserver {}

/// The numbers of a backup's summary.
#[derive(Debug, Default)]
pub(super) struct Counts {
    files: [AtomicU64; 3],
    directories: [AtomicU64; 3],
    others: AtomicU64,
    bytes: AtomicU64,
    errors: AtomicU64,
}

fn slot(change: ItemChange) -> usize {
    match change {
        ItemChange::New => 0,
        ItemChange::Changed => 1,
        ItemChange::Unchanged => 2,
    }
}

impl Counts {
    pub(super) fn file(&self, change: ItemChange, bytes: u64) {
        self.files[slot(change)].fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn directory(&self, change: ItemChange) {
        self.directories[slot(change)].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn other(&self) {
        self.others.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn error(&self) {
        self.errors.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn errors(&self) -> u64 {
        self.errors.load(Ordering::Relaxed)
    }

    /// Whether not a single entry was read.
    pub(super) fn is_nothing(&self) -> bool {
        let all = self
            .files
            .iter()
            .chain(&self.directories)
            .chain([&self.others]);
        all.map(|counter| counter.load(Ordering::Relaxed))
            .sum::<u64>()
            == 0
    }

    pub(super) fn summary(
        &self,
        backup_start: Time,
        backup_end: Time,
        stored: &SaveStatistics,
    ) -> SnapshotSummary {
        let files = self
            .files
            .each_ref()
            .map(|counter| counter.load(Ordering::Relaxed));
        let directories = self
            .directories
            .each_ref()
            .map(|counter| counter.load(Ordering::Relaxed));
        SnapshotSummary {
            backup_start,
            backup_end,
            files_new: files[0],
            files_changed: files[1],
            files_unmodified: files[2],
            dirs_new: directories[0],
            dirs_changed: directories[1],
            dirs_unmodified: directories[2],
            data_blobs: stored.data_blobs as i64,
            tree_blobs: stored.tree_blobs as i64,
            data_added: stored.bytes_added,
            data_added_packed: stored.bytes_stored,
            total_files_processed: files.iter().sum(),
            total_bytes_processed: self.bytes.load(Ordering::Relaxed),
        }
    }
}
