//! What others can see of a restore while it runs.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use outlast_source::SourceError;

use super::fetch::LostBlob;
use crate::WalkProblem;

/// What became of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestoreAction {
    /// A directory is complete, with its metadata.
    DirectoryRestored,
    /// A file was written that was not there before.
    FileRestored,
    /// A file that was there was brought to what the snapshot has.
    FileUpdated,
    /// A link or a special file was made.
    OtherRestored,
    /// The content was right already, or is not to be overwritten.
    Unchanged,
    /// It is not in the snapshot and was removed.
    Deleted,
}

impl RestoreAction {
    /// The word for it in messages, which is restic's.
    pub fn as_str(self) -> &'static str {
        match self {
            RestoreAction::DirectoryRestored
            | RestoreAction::FileRestored
            | RestoreAction::OtherRestored => "restored",
            RestoreAction::FileUpdated => "updated",
            RestoreAction::Unchanged => "unchanged",
            RestoreAction::Deleted => "deleted",
        }
    }
}

/// Why an entry was not restored, or not as it was.
#[derive(Debug, thiserror::Error)]
pub enum RestoreProblem {
    /// The snapshot itself is damaged here.
    #[error(transparent)]
    Snapshot(#[from] WalkProblem),
    /// The file's content cannot be had whole.
    #[error("{}", damage_text(*.blobs_lost, .lost, .kept_as))]
    Damaged {
        /// Blobs that are missing from it.
        blobs_lost: u64,
        /// The first of them.
        lost: Vec<LostBlob>,
        /// Where the rest of the content is, beneath the target.
        kept_as: Option<PathBuf>,
    },
    /// The target refused.
    #[error(transparent)]
    Target(#[from] SourceError),
    /// What was written is not what is there now.
    #[error("what is on the disk differs from the snapshot at byte {offset}")]
    Differs {
        /// Where the first blob that differs begins.
        offset: u64,
    },
    /// Another name of a file that could not be restored.
    #[error("it is another name of {}, which could not be restored", .0.display())]
    LinkLost(PathBuf),
    /// An entry of a type that this program does not know.
    #[error("entries of type {0:?} cannot be restored")]
    UnknownKind(String),
}

fn damage_text(blobs_lost: u64, lost: &[LostBlob], kept_as: &Option<PathBuf>) -> String {
    let mut text = format!("{blobs_lost} piece(s) of its content are lost: ");
    let shown: Vec<String> = lost.iter().map(LostBlob::to_string).collect();
    text.push_str(&shown.join("; "));
    if blobs_lost > lost.len() as u64 {
        text.push_str("; and more");
    }
    match kept_as {
        Some(path) => text.push_str(&format!("; what is left is in {}", path.display())),
        None => text.push_str("; nothing of it was kept"),
    }
    text
}

/// Follows a restore. All methods are called from many threads and must return quickly. Paths are
/// those within the snapshot.
pub trait RestoreObserver: Sync {
    /// One more entry, of so many bytes, is to be restored.
    fn item_planned(&self, bytes: u64) {
        let _ = bytes;
    }

    /// So many more bytes are in place.
    fn bytes_restored(&self, bytes: u64) {
        let _ = bytes;
    }

    /// An entry of so many bytes is finished.
    fn item_done(&self, path: &Path, action: RestoreAction, bytes: u64) {
        let _ = (path, action, bytes);
    }

    /// A file was verified after all was restored.
    fn file_verified(&self, path: &Path) {
        let _ = path;
    }

    /// A blob cannot be had from anywhere; these files need it.
    fn blob_lost(&self, lost: &LostBlob, files: &[PathBuf]) {
        let _ = (lost, files);
    }

    /// Something went wrong with one entry; the rest goes on.
    fn error(&self, path: &Path, problem: &RestoreProblem) {
        let _ = (path, problem);
    }
}

/// Sees nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoRestoreObserver;

impl RestoreObserver for NoRestoreObserver {}

/// What a restore did, in entries (files, directories and others) and bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RestoreOutcome {
    /// Entries that were to be restored; those skipped are counted apart.
    pub files_total: u64,
    /// Entries restored.
    pub files_restored: u64,
    /// Entries left as they were.
    pub files_skipped: u64,
    /// Entries removed.
    pub files_deleted: u64,
    /// Bytes that were to be restored.
    pub bytes_total: u64,
    /// Bytes in place.
    pub bytes_restored: u64,
    /// Bytes of files left as they were.
    pub bytes_skipped: u64,
    /// Files whose content was read back and found right.
    pub files_verified: u64,
    /// Everything that went wrong. If this is not 0 the restore is not complete.
    pub errors: u64,
}

/// Counts, and passes everything on to the observer.
pub(super) struct Reporter<'a> {
    observer: &'a dyn RestoreObserver,
    files_total: AtomicU64,
    files_restored: AtomicU64,
    files_skipped: AtomicU64,
    files_deleted: AtomicU64,
    bytes_total: AtomicU64,
    bytes_restored: AtomicU64,
    bytes_skipped: AtomicU64,
    files_verified: AtomicU64,
    errors: AtomicU64,
}

fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

impl<'a> Reporter<'a> {
    pub(super) fn new(observer: &'a dyn RestoreObserver) -> Self {
        Self {
            observer,
            files_total: AtomicU64::new(0),
            files_restored: AtomicU64::new(0),
            files_skipped: AtomicU64::new(0),
            files_deleted: AtomicU64::new(0),
            bytes_total: AtomicU64::new(0),
            bytes_restored: AtomicU64::new(0),
            bytes_skipped: AtomicU64::new(0),
            files_verified: AtomicU64::new(0),
            errors: AtomicU64::new(0),
        }
    }

    pub(super) fn planned(&self, bytes: u64) {
        add(&self.files_total, 1);
        add(&self.bytes_total, bytes);
        self.observer.item_planned(bytes);
    }

    pub(super) fn bytes(&self, bytes: u64) {
        add(&self.bytes_restored, bytes);
        self.observer.bytes_restored(bytes);
    }

    pub(super) fn done(&self, path: &Path, action: RestoreAction, bytes: u64) {
        match action {
            RestoreAction::Unchanged => {
                add(&self.files_skipped, 1);
                add(&self.bytes_skipped, bytes);
            }
            RestoreAction::Deleted => add(&self.files_deleted, 1),
            _ => add(&self.files_restored, 1),
        }
        self.observer.item_done(path, action, bytes);
    }

    pub(super) fn verified(&self, path: &Path) {
        add(&self.files_verified, 1);
        self.observer.file_verified(path);
    }

    pub(super) fn blob_lost(&self, lost: &LostBlob, files: &[PathBuf]) {
        self.observer.blob_lost(lost, files);
    }

    pub(super) fn error(&self, path: &Path, problem: impl Into<RestoreProblem>) {
        add(&self.errors, 1);
        self.observer.error(path, &problem.into());
    }

    pub(super) fn outcome(&self) -> RestoreOutcome {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        RestoreOutcome {
            files_total: get(&self.files_total),
            files_restored: get(&self.files_restored),
            files_skipped: get(&self.files_skipped),
            files_deleted: get(&self.files_deleted),
            bytes_total: get(&self.bytes_total),
            bytes_restored: get(&self.bytes_restored),
            bytes_skipped: get(&self.bytes_skipped),
            files_verified: get(&self.files_verified),
            errors: get(&self.errors),
        }
    }
}
