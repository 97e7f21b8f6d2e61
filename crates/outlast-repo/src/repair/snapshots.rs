//! Making snapshots whole again by leaving out what is lost.
//!
//! A repaired snapshot is a new one that names the old one as its original. The old one goes only
//! when the new one is durable, and only where that was asked for.

use std::collections::HashMap;

use outlast_object::{Id, ObjectKind, ObjectName};

use super::trees::{TreeRepair, Trimmed};
use crate::presence::is_of_content;
use crate::tag::replace;
use crate::{
    Cancel, NoProgress, Progress, Removal, RepoError, Repository, SaverOptions, Stage,
    StoredSnapshot, with_saver,
};

/// The tag of repaired snapshots beside which the old ones remain.
const REPAIRED_TAG: &str = "repaired";

/// What becomes of the snapshots that were damaged.
#[derive(Debug, Clone, Copy)]
pub enum RepairOriginals<'a> {
    /// Nothing is written at all; it is only said what would be.
    DryRun,
    /// They stay; the new ones get the tag `repaired`.
    Keep,
    /// They are removed, each when its successor is durable.
    Forget(&'a Removal<'a>),
}

/// Is told of each snapshot.
pub trait RepairSnapshotsObserver: Progress {
    /// Something of the snapshot is lost and is left out. Of a directory that several snapshots
    /// share, this is told once.
    fn trimmed(&self, snapshot: Id, what: &Trimmed) {
        let _ = (snapshot, what);
    }
    /// The snapshot was repaired and is kept as `new`; `None` in a dry run.
    fn snapshot_repaired(&self, snapshot: &StoredSnapshot, new: Option<Id>) {
        let _ = (snapshot, new);
    }
    /// Nothing at all remains of the snapshot. Whether it was removed, or would be.
    fn snapshot_lost(&self, snapshot: &StoredSnapshot, removed: bool) {
        let _ = (snapshot, removed);
    }
}

impl RepairSnapshotsObserver for NoProgress {}

/// What was repaired.
#[derive(Debug, Default)]
pub struct RepairSnapshotsOutcome {
    /// Old ids and new ones; no new ones in a dry run.
    pub repaired: Vec<(Id, Option<Id>)>,
    /// Snapshots without damage.
    pub intact: Vec<Id>,
    /// Snapshots of which nothing remains. They are removed only where originals are forgotten.
    pub lost: Vec<Id>,
}

/// Repairs snapshots. The index must be loaded, and right: what it does not list is taken for lost,
/// so run `repair index` first.
pub fn repair_snapshots(
    repository: &Repository,
    originals: RepairOriginals<'_>,
    snapshots: &[StoredSnapshot],
    observer: &dyn RepairSnapshotsObserver,
    cancel: &Cancel,
) -> Result<RepairSnapshotsOutcome, RepoError> {
    observer.begin(Stage::Rewrite, snapshots.len() as u64);
    let mut outcome = RepairSnapshotsOutcome::default();
    let mut done = HashMap::new();
    for stored in snapshots {
        cancel.check()?;
        repair_one(
            repository,
            originals,
            stored,
            &mut done,
            &mut outcome,
            (observer, cancel),
        )?;
        observer.advance(Stage::Rewrite, 1);
    }
    Ok(outcome)
}

fn repair_one(
    repository: &Repository,
    originals: RepairOriginals<'_>,
    stored: &StoredSnapshot,
    done: &mut HashMap<Id, Id>,
    outcome: &mut RepairSnapshotsOutcome,
    (observer, cancel): (&dyn RepairSnapshotsObserver, &Cancel),
) -> Result<(), RepoError> {
    let options = SaverOptions {
        dry_run: matches!(originals, RepairOriginals::DryRun),
        ..SaverOptions::default()
    };
    let (tree, _) = with_saver(repository, options, cancel, |saver| {
        let mut report = |what: Trimmed| observer.trimmed(stored.id, &what);
        TreeRepair::new(saver, done, &mut report)?.repair(stored.snapshot.tree, cancel)
    })?;
    let Some(tree) = tree else {
        let removed = matches!(originals, RepairOriginals::Forget(_));
        if let RepairOriginals::Forget(removal) = originals {
            removal.remove(&ObjectName::new(ObjectKind::Snapshot, stored.id))?;
        }
        observer.snapshot_lost(stored, removed);
        outcome.lost.push(stored.id);
        return Ok(());
    };
    if tree == stored.snapshot.tree {
        outcome.intact.push(stored.id);
        return Ok(());
    }
    let mut new = stored.snapshot.clone();
    new.original = Some(stored.id);
    new.tree = tree;
    let id = match originals {
        RepairOriginals::DryRun => None,
        RepairOriginals::Keep => {
            if !new.tags.iter().any(|tag| tag == REPAIRED_TAG) {
                new.tags.push(REPAIRED_TAG.to_owned());
            }
            Some(repository.save_snapshot(&new)?)
        }
        RepairOriginals::Forget(removal) => Some(replace(repository, removal, stored.id, &new)?),
    };
    observer.snapshot_repaired(stored, id);
    outcome.repaired.push((stored.id, id));
    Ok(())
}

/// Removes snapshots that were asked for by name and that cannot be read. Those that can be read are
/// not touched; gives those that were removed.
pub fn remove_unreadable_snapshots(
    repository: &Repository,
    removal: &Removal<'_>,
    snapshots: &[Id],
    cancel: &Cancel,
) -> Result<Vec<Id>, RepoError> {
    let mut removed = Vec::new();
    for id in snapshots {
        cancel.check()?;
        match repository.load_snapshot(*id) {
            Ok(_) => continue,
            Err(RepoError::Damaged { .. } | RepoError::Format(_)) => repository.ensure_present()?,
            Err(RepoError::Store(error)) if is_of_content(&error) => repository.ensure_present()?,
            // It may be intact, and only out of reach.
            Err(error) => return Err(error),
        }
        removal.remove(&ObjectName::new(ObjectKind::Snapshot, *id))?;
        removed.push(*id);
    }
    Ok(removed)
}
