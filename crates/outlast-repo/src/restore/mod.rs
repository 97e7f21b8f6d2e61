//! Restoring: from a tree of the repository to a directory.
//!
//! One thread walks the snapshot and cuts it into windows of bounded size; each window is looked at
//! as a whole: every blob it needs is fetched once, in ranges of packs, and goes to all its places
//! as soon as it is there, out of order and in parallel. Directories get their metadata when all
//! beneath them is done.
//!
//! Damage is told and does not stop the rest. A file that lacks something never stands under its own
//! name: what is left of it is kept beside, with `.outlast-damaged` appended to its name, readable for its
//! owner alone. (restic leaves such a file in place, with zeros where it lacks something and with the
//! original's size and time; whoever starts a database on it finds out much later.) An older version
//! of the file that was there before and could not be brought up to date stays.
//!
//! Nothing is written outside of the target: `outlast_source::Target` answers for that. An
//! interrupted restore is simply run again; what is right already is kept.

pub(crate) mod fetch;
mod file;
mod observer;
mod options;
pub(crate) mod plan;

mod execute;
mod existing;
mod finish;
mod verify;
mod walk;
mod window;
mod write;

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::Path;

use outlast_object::Id;
use outlast_source::{SourceError, Target};
use parking_lot::Mutex;

pub use fetch::LostBlob;
pub use observer::{
    NoRestoreObserver, RestoreAction, RestoreObserver, RestoreOutcome, RestoreProblem,
};
pub use options::{Overwrite, ParseOverwriteError, RestoreOptions, RestoreSelection};

use crate::{Cancel, RepoError, Repository};
use observer::Reporter;

/// Windows that wait for being carried out.
const WINDOWS_AHEAD: usize = 1;

/// What all threads of one restore share.
struct Run<'a> {
    repository: &'a Repository,
    /// `None` in a dry run to a place that does not exist.
    target: Option<Target>,
    options: &'a RestoreOptions,
    reporter: Reporter<'a>,
    cancel: &'a Cancel,
    threads: usize,
    open_files: write::OpenFiles,
    /// Memory of threads that rest between two ranges.
    scratch: Mutex<Vec<fetch::FetchScratch>>,
    set_aside: write::SetAside,
    /// Files with several names that are not as in the snapshot.
    odd_firsts: finish::OddFirsts,
    restored: Mutex<verify::FileSet>,
    /// True lengths of blobs about which index entries contradict each other.
    odd_lengths: Mutex<HashMap<Id, Option<u64>>>,
}

impl Run<'_> {
    /// Tells a failure of the target, or stops if nothing more can be written at all.
    fn target_failed(&self, path: &Path, error: SourceError) -> Result<(), RepoError> {
        if let SourceError::Io { source, .. } = &error
            && matches!(
                source.kind(),
                io::ErrorKind::StorageFull
                    | io::ErrorKind::QuotaExceeded
                    | io::ErrorKind::ReadOnlyFilesystem
            )
        {
            return Err(RepoError::TargetFull(error));
        }
        self.reporter.error(path, error);
        Ok(())
    }
}

/// Restores what is beneath `tree` into the directory `target`, which is made if need be. The index
/// must be loaded; the caller holds the lock.
///
/// Whatever goes wrong with single entries is told to the observer and counted in the outcome, whose
/// `errors` the caller must look at. An error is returned when nothing more can be done: the store
/// is away, the target is full, or somebody asked to stop.
pub fn restore(
    repository: &Repository,
    tree: Id,
    target: &Path,
    options: &RestoreOptions,
    observer: &dyn RestoreObserver,
    cancel: &Cancel,
) -> Result<RestoreOutcome, RepoError> {
    check_options(target, options)?;
    let target = match options.dry_run && !target.is_dir() {
        true => None,
        false => Some(Target::open(target)?),
    };
    let run = Run {
        repository,
        target,
        options,
        reporter: Reporter::new(observer),
        cancel,
        threads: execute::threads_for(repository.store().connections()),
        open_files: write::OpenFiles::default(),
        scratch: Mutex::default(),
        set_aside: Mutex::new(HashSet::new()),
        odd_firsts: Mutex::default(),
        restored: Mutex::default(),
        odd_lengths: Mutex::default(),
    };
    restore_all(&run, tree)?;
    if options.verify {
        verify::verify_all(&run, tree)?;
    }
    Ok(run.reporter.outcome())
}

fn check_options(target: &Path, options: &RestoreOptions) -> Result<(), RepoError> {
    if options.delete && options.selection.is_all() && target == Path::new("/") {
        return Err(RepoError::Refused(
            "deleting beneath / needs patterns that say what may be deleted".to_owned(),
        ));
    }
    if options.dry_run && options.verify {
        return Err(RepoError::Refused(
            "a dry run writes nothing that could be verified".to_owned(),
        ));
    }
    Ok(())
}

/// Plans in one thread, carries out in others.
fn restore_all(run: &Run<'_>, tree: Id) -> Result<(), RepoError> {
    let (windows, queue) = crossbeam_channel::bounded(WINDOWS_AHEAD);
    std::thread::scope(|scope| {
        let planner = scope.spawn(|| walk::Planner::new(run, windows).plan(tree));
        let mut executed = Ok(());
        for window in queue {
            executed = execute::execute(run, window);
            if executed.is_err() {
                break;
            }
        }
        // The queue is gone by now, so a planner that is still at work stops.
        match planner.join() {
            Ok(planned) => executed.and(planned),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}
