//! Backing up: from a source to a snapshot.
//!
//! One thread walks the source in the order of names and compares it with the parent snapshot.
//! Files that have to be read go to workers; a worker takes a file through chunking, hashing,
//! look-up, compression and sealing while it is hot in its cache, and hands chunks of large files
//! to workers that have nothing to do. A directory's tree is stored by whoever finishes its last
//! entry. The snapshot is written last, when all that it needs is durable and indexed.

mod adopt;
mod directory;
mod file;
mod jobs;
mod observer;
mod parent;
mod scan;
mod scout;
mod walk;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use outlast_format::{BlobKind, Chunker, Compressor, Snapshot, SnapshotSummary, Time};
use outlast_object::Id;
use outlast_source::Source;
use parking_lot::Mutex;

pub(crate) use adopt::adopt_packs;
pub use observer::{BackupObserver, FileFacts, ItemChange, ItemStatistics, NoObserver};
pub use parent::ParentSnapshot;
pub use scan::{ScanTotals, scan};

use crate::needed::{NeededObjects, NeededPacks};
use crate::saver::{Saver, SaverOptions, with_saver};
use crate::unindexed::adopt_own_packs;
use crate::{Cancel, RepoError, Repository, SaveStatistics};
use jobs::Jobs;
use observer::Counts;

/// Files read at the same time where nothing else is asked for.
const READ_CONCURRENCY_DEFAULT: usize = 2;
/// Workers at most.
const WORKERS_MAX: usize = 64;

/// By what a file counts as changed since the parent snapshot. Size and modification time always
/// count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ChangeDetection {
    /// Another inode number does not count (nor another change time).
    pub ignore_inode: bool,
    /// Another change time does not count.
    pub ignore_ctime: bool,
}

/// What a backup is to do.
#[derive(Debug, Clone)]
pub struct BackupOptions {
    /// Time of the snapshot.
    pub time: Time,
    /// Host of the snapshot.
    pub hostname: String,
    /// Tags of the snapshot.
    pub tags: Vec<String>,
    /// Paths of the snapshot.
    pub paths: Vec<String>,
    /// Patterns that were left out, to be noted in the snapshot.
    pub excludes: Vec<String>,
    /// What to compare with; `None` reads everything.
    pub parent: Option<ParentSnapshot>,
    /// By what a file counts as changed.
    pub detection: ChangeDetection,
    /// Make no snapshot if its tree is the parent's.
    pub skip_if_unchanged: bool,
    /// Go through all motions but write nothing.
    pub dry_run: bool,
    /// Files read at the same time; `None` for the default.
    pub read_concurrency: Option<usize>,
    /// Look for packs that an interrupted run left without an index.
    pub adopt_packs: bool,
    /// Program name and version of the snapshot.
    pub program_version: String,
}

/// What a backup did.
#[derive(Debug, Clone)]
pub struct BackupOutcome {
    /// The snapshot; `None` after a dry run or when nothing had changed.
    pub snapshot: Option<(Id, Snapshot)>,
    /// The root tree.
    pub tree: Id,
    /// Numbers.
    pub summary: SnapshotSummary,
    /// What was stored.
    pub stored: SaveStatistics,
    /// Entries that could not be read and are not in the snapshot.
    pub errors: u64,
    /// The objects that the snapshot needs, or the parent where nothing had changed; `None` after a
    /// dry run. Collected on the way, without reading anything again.
    pub needed: Option<NeededObjects>,
}

/// What all threads of one backup share.
struct Run<'a> {
    repository: &'a Repository,
    source: &'a dyn Source,
    options: &'a BackupOptions,
    observer: &'a dyn BackupObserver,
    saver: &'a Saver<'a>,
    chunker: Chunker,
    jobs: Jobs,
    counts: Counts,
    root: Mutex<Option<Id>>,
    /// Trees of the parent that these credentials do not read.
    trees_denied: AtomicU32,
}

/// What one thread keeps from job to job.
struct Workbench {
    data: Option<Compressor>,
    tree: Option<Compressor>,
}

impl Workbench {
    fn new(saver: &Saver<'_>) -> Result<Self, RepoError> {
        let data = saver.compressor(BlobKind::Data)?;
        let tree = saver.compressor(BlobKind::Tree)?;
        Ok(Self { data, tree })
    }
}

/// Backs up `source`. The index must be loaded; the caller holds the lock.
///
/// Entries that cannot be read are reported to the observer and left out. A failure of the source
/// as a whole or of the store, or a request to stop, leaves no snapshot.
pub fn backup(
    repository: &Repository,
    source: &dyn Source,
    options: &BackupOptions,
    observer: &dyn BackupObserver,
    cancel: &Cancel,
) -> Result<BackupOutcome, RepoError> {
    let backup_start = repository.environment().clock.now();
    let needed = (!options.dry_run).then(|| Arc::new(NeededPacks::default()));
    let saver_options = SaverOptions {
        dry_run: options.dry_run,
        needed: needed.clone(),
        ..SaverOptions::default()
    };
    let ((tree, counts), stored) = with_saver(repository, saver_options, cancel, |saver| {
        if !options.dry_run && !repository.store().capabilities().reads_packs {
            adopt_own_packs(saver, cancel)?;
        } else if options.adopt_packs && !options.dry_run {
            adopt::adopt_packs(saver, cancel)?;
        }
        let run = Run {
            repository,
            source,
            options,
            observer,
            saver,
            chunker: Chunker::new(repository.config().chunker_polynomial),
            jobs: Jobs::new(workers(options)),
            counts: Counts::default(),
            root: Mutex::new(None),
            trees_denied: AtomicU32::new(0),
        };
        let tree = run_all(&run);
        if matches!(tree, Ok(_) | Err(RepoError::Refused(_))) {
            // A command that failed is the reason why there was nothing to read.
            source.finish()?;
        }
        let tree = tree?;
        Ok((tree, run.counts))
    })?;
    repository.local_trees().flush(repository.key())?;
    cancel.check()?;
    let summary = counts.summary(backup_start, repository.environment().clock.now(), &stored);
    let errors = counts.errors();
    let unchanged = options.skip_if_unchanged
        && options
            .parent
            .as_ref()
            .is_some_and(|parent| parent.snapshot.tree == tree);
    let mut outcome = BackupOutcome {
        snapshot: None,
        tree,
        summary,
        stored,
        errors,
        needed: None,
    };
    let Some(needed) = needed else {
        return Ok(outcome);
    };
    // Before the snapshot: one that lacks something must not be made.
    let needed = needed.finish(repository)?;
    let standing = match &options.parent {
        Some(parent) if unchanged => parent.id,
        _ => {
            let snapshot = make_snapshot(repository, options, &outcome);
            let id = repository.save_snapshot(&snapshot)?;
            outcome.snapshot = Some((id, snapshot));
            id
        }
    };
    outcome.needed = Some(needed.with_snapshot(standing));
    Ok(outcome)
}

fn workers(options: &BackupOptions) -> usize {
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    let readers = options.read_concurrency.unwrap_or(READ_CONCURRENCY_DEFAULT);
    readers.max(cores).clamp(1, WORKERS_MAX)
}

fn make_snapshot(
    repository: &Repository,
    options: &BackupOptions,
    outcome: &BackupOutcome,
) -> Snapshot {
    let environment = repository.environment();
    Snapshot {
        time: options.time,
        parent: options.parent.as_ref().map(|parent| parent.id),
        tree: outcome.tree,
        paths: options.paths.clone(),
        hostname: options.hostname.clone(),
        username: environment.username.clone(),
        uid: environment.uid,
        gid: environment.gid,
        excludes: options.excludes.clone(),
        tags: options.tags.clone(),
        original: None,
        program_version: options.program_version.clone(),
        summary: Some(outcome.summary.clone()),
    }
}

/// Walks in this thread, works in others; gives the root tree.
fn run_all(run: &Run<'_>) -> Result<Id, RepoError> {
    std::thread::scope(|scope| {
        // Also when the walk fails or panics: the workers must not wait for ever.
        let closing = jobs::CloseOnDrop(&run.jobs);
        let workers: Vec<_> = (0..run.jobs.workers())
            .map(|_| scope.spawn(|| work(run)))
            .collect();
        let walked = Workbench::new(run.saver).and_then(|mut bench| walk::walk(run, &mut bench));
        if walked.is_err() {
            run.jobs.stop();
        }
        drop(closing);
        let mut result = walked;
        for worker in workers {
            match worker.join() {
                Ok(worked) => result = result.and(worked),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        result
    })?;
    let root = *run.root.lock();
    let root = root.ok_or(RepoError::Cancelled)?;
    if run.counts.is_nothing() {
        return Err(RepoError::Refused(
            "nothing could be read, so there is nothing to make a snapshot of".to_owned(),
        ));
    }
    Ok(root)
}

/// One worker: until there are no more jobs.
fn work(run: &Run<'_>) -> Result<(), RepoError> {
    let result = Workbench::new(run.saver).and_then(|mut bench| {
        while let Some(job) = run.jobs.next() {
            let _reading = job.guard(&run.jobs);
            match job {
                jobs::Job::File(job) => file::read_file(run, &mut bench, job)?,
                jobs::Job::Chunk(job) => file::store_chunk(run, &mut bench, job)?,
            }
        }
        Ok(())
    });
    if result.is_err() {
        run.jobs.stop();
    }
    result
}

/// The path for snapshots and messages.
fn path_text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
