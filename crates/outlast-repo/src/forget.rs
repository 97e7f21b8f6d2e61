//! Removing snapshots that somebody decided to forget. The decision itself is made elsewhere.

use std::collections::HashSet;

use outlast_object::{Id, ObjectKind, ObjectName};

use crate::{Cancel, NotRemoved, Progress, Removal, RepoError, Repository};

/// What became of the snapshots that were to be removed.
#[derive(Debug, Default)]
pub struct ForgetOutcome {
    /// Snapshots that are gone.
    pub removed: Vec<Id>,
    /// Snapshots that were gone before.
    pub absent: Vec<Id>,
    /// Snapshots that are still there.
    pub not_removed: Vec<NotRemoved>,
}

/// Removes exactly these snapshots, in about this order: give the oldest first, so that a run that
/// breaks off leaves the newest. Their data stays until the repository is pruned.
pub fn forget(
    repository: &Repository,
    removal: &Removal<'_>,
    snapshots: &[Id],
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<ForgetOutcome, RepoError> {
    let mut present = HashSet::new();
    repository.store().list(ObjectKind::Snapshot, &mut |info| {
        present.insert(info.id);
    })?;
    let mut outcome = ForgetOutcome::default();
    let mut names = Vec::new();
    let mut seen = HashSet::new();
    for id in snapshots.iter().filter(|id| seen.insert(**id)) {
        if present.contains(id) {
            names.push(ObjectName::new(ObjectKind::Snapshot, *id));
        } else {
            outcome.absent.push(*id);
        }
    }
    outcome.not_removed = removal.remove_all(&names, progress, cancel)?;
    let left: HashSet<ObjectName> = outcome.not_removed.iter().map(|left| left.name).collect();
    let gone = names.iter().filter(|name| !left.contains(name));
    outcome.removed = gone.map(ObjectName::id).collect();
    Ok(outcome)
}
