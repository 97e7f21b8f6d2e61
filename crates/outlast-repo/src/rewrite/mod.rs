//! Changing snapshots after the fact: leaving out files, giving another host or time.
//!
//! A rewritten snapshot is a new one that names the old one as its original. The old one goes only
//! when the new one is durable, and only where that was asked for.

mod trees;

use outlast_format::{Snapshot, SnapshotSummary, Time};
use outlast_object::Id;
use outlast_source::pattern::PatternList;

use crate::tag::replace;
use crate::{
    Cancel, NoProgress, Progress, Removal, RepoError, Repository, SaverOptions, Stage,
    StoredSnapshot, with_saver,
};
use trees::{Rewritten, rewrite_tree};

/// The tag of rewritten snapshots beside which the old ones remain.
const REWRITE_TAG: &str = "rewrite";

/// Which entries remain. Lists are asked one by one, so a negated pattern takes back only what its
/// own list matched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TreeFilter {
    /// All but those that a list matches.
    Exclude(Vec<PatternList>),
    /// Only those that a list matches, and the directories that lead to them.
    Include(Vec<PatternList>),
}

/// What is changed.
#[derive(Debug, Clone, Default)]
pub struct RewriteOptions {
    /// Which entries remain; `None` for all.
    pub filter: Option<TreeFilter>,
    /// The host that is named from now on.
    pub hostname: Option<String>,
    /// The time that is named from now on.
    pub time: Option<Time>,
    /// Count files and bytes for snapshots that do not have these figures.
    pub summary: bool,
    /// Change nothing, only say what would be.
    pub dry_run: bool,
}

/// What becomes of the snapshots that were rewritten.
#[derive(Debug, Clone, Copy)]
pub enum Originals<'a> {
    /// They stay; the new ones get the tag `rewrite`.
    Keep,
    /// They are removed, each when its successor is durable.
    Remove(&'a Removal<'a>),
}

/// Is told of each snapshot.
pub trait RewriteObserver: Progress {
    /// A snapshot was rewritten and is kept as `new`; `None` in a dry run.
    fn snapshot_rewritten(&self, snapshot: &StoredSnapshot, new: Option<Id>) {
        let _ = (snapshot, new);
    }
    /// Nothing of a snapshot needed to change.
    fn snapshot_unchanged(&self, snapshot: &StoredSnapshot) {
        let _ = snapshot;
    }
    /// A snapshot could not be rewritten and is as it was.
    fn snapshot_failed(&self, snapshot: &StoredSnapshot, error: &RepoError) {
        let _ = (snapshot, error);
    }
}

impl RewriteObserver for NoProgress {}

/// What was rewritten.
#[derive(Debug, Default)]
pub struct RewriteOutcome {
    /// Old ids and new ones; no new ones in a dry run.
    pub changed: Vec<(Id, Option<Id>)>,
    /// Snapshots of which nothing needed to change.
    pub unchanged: Vec<Id>,
    /// Snapshots that could not be rewritten. The old ones are still there.
    pub failed: Vec<(Id, RepoError)>,
}

/// Rewrites snapshots. The index must be loaded. What fails for one does not stop the others, unless
/// a store is away.
pub fn rewrite(
    repository: &Repository,
    originals: Originals<'_>,
    snapshots: &[StoredSnapshot],
    options: &RewriteOptions,
    observer: &dyn RewriteObserver,
    cancel: &Cancel,
) -> Result<RewriteOutcome, RepoError> {
    observer.begin(Stage::Rewrite, snapshots.len() as u64);
    let mut outcome = RewriteOutcome::default();
    for stored in snapshots {
        cancel.check()?;
        match rewrite_one(repository, originals, stored, options, cancel) {
            Ok(Some(new)) => {
                observer.snapshot_rewritten(stored, new);
                outcome.changed.push((stored.id, new));
            }
            Ok(None) => {
                observer.snapshot_unchanged(stored);
                outcome.unchanged.push(stored.id);
            }
            Err(error @ (RepoError::Refused(_) | RepoError::Selection(_))) => {
                observer.snapshot_failed(stored, &error);
                outcome.failed.push((stored.id, error));
            }
            Err(error) => {
                let error = repository.of_one_object(error)?;
                observer.snapshot_failed(stored, &error);
                outcome.failed.push((stored.id, error));
            }
        }
        observer.advance(Stage::Rewrite, 1);
    }
    Ok(outcome)
}

/// `None`: nothing needs to change. Otherwise the new id, or `Some(None)` in a dry run.
fn rewrite_one(
    repository: &Repository,
    originals: Originals<'_>,
    stored: &StoredSnapshot,
    options: &RewriteOptions,
    cancel: &Cancel,
) -> Result<Option<Option<Id>>, RepoError> {
    let old = &stored.snapshot;
    let mut new = old.clone();
    if options.filter.is_some() || options.summary {
        let saver_options = SaverOptions {
            dry_run: options.dry_run,
            ..SaverOptions::default()
        };
        let (rewritten, _) = with_saver(repository, saver_options, cancel, |saver| {
            rewrite_tree(saver, old.tree, options.filter.as_ref(), cancel)
        })?;
        let Some(Rewritten { tree, files, bytes }) = rewritten else {
            // Nothing would remain: as in restic, the snapshot stays as it is.
            return Ok(None);
        };
        new.tree = tree;
        new.summary = Some(SnapshotSummary {
            total_files_processed: files,
            total_bytes_processed: bytes,
            ..old.summary.clone().unwrap_or_else(empty_summary)
        });
    }
    let renamed = options.hostname.is_some() || options.time.is_some();
    if !renamed && new == *old {
        return Ok(None);
    }
    if options.dry_run {
        return Ok(Some(None));
    }
    new.original = Some(stored.id);
    new.time = options.time.unwrap_or(new.time);
    if let Some(hostname) = &options.hostname {
        new.hostname.clone_from(hostname);
    }
    save(repository, originals, stored.id, new).map(|id| Some(Some(id)))
}

fn save(
    repository: &Repository,
    originals: Originals<'_>,
    old: Id,
    mut new: Snapshot,
) -> Result<Id, RepoError> {
    match originals {
        Originals::Remove(removal) => replace(repository, removal, old, &new),
        Originals::Keep => {
            if !new.tags.iter().any(|tag| tag == REWRITE_TAG) {
                new.tags.push(REWRITE_TAG.to_owned());
            }
            repository.save_snapshot(&new)
        }
    }
}

/// What restic writes for a snapshot without figures: nothing but the counts that follow.
fn empty_summary() -> SnapshotSummary {
    SnapshotSummary {
        backup_start: Time::ZERO,
        backup_end: Time::ZERO,
        files_new: 0,
        files_changed: 0,
        files_unmodified: 0,
        dirs_new: 0,
        dirs_changed: 0,
        dirs_unmodified: 0,
        data_blobs: 0,
        tree_blobs: 0,
        data_added: 0,
        data_added_packed: 0,
        total_files_processed: 0,
        total_bytes_processed: 0,
    }
}
