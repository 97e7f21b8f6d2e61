//! Key files, locks and snapshots: whether each is what its name says and can be opened.

use std::collections::HashSet;

use outlast_format::{KeyFile, Snapshot};
use outlast_object::{Id, ObjectKind, ObjectName, check_shape};

use super::Finding;
use super::report::Findings;
use crate::repository::read_verified;
use crate::{Cancel, FUTURE_TOLERANCE_SECONDS, RepoError, Repository, list_locks};

/// A snapshot and what messages about it need.
#[derive(Debug, Clone)]
pub(super) struct SnapshotRoot {
    pub(super) id: Id,
    pub(super) snapshot: Snapshot,
}

pub(super) fn check_keys(
    repository: &Repository,
    findings: &Findings<'_>,
    cancel: &Cancel,
) -> Result<(), RepoError> {
    for info in repository.store().list_all(ObjectKind::Key)? {
        cancel.check()?;
        let reason = match check_key(repository, info.id) {
            Ok(()) => continue,
            Err(RepoError::Store(error)) if error.is_not_found() => continue,
            Err(error) => repository.of_one_object(error)?.to_string(),
        };
        findings.add(Finding::BadKey {
            id: info.id,
            reason,
        });
    }
    Ok(())
}

/// Whether this can be a key file, and not one that would demand absurd amounts of memory.
fn check_key(repository: &Repository, id: Id) -> Result<(), RepoError> {
    let name = ObjectName::new(ObjectKind::Key, id);
    let bytes = read_verified(repository.store(), &name)?;
    check_shape(&name, &bytes).map_err(|error| RepoError::damaged(name, error))?;
    KeyFile::from_json(&bytes).map_err(|error| RepoError::damaged(name, error))?;
    Ok(())
}

pub(super) fn check_locks(
    repository: &Repository,
    findings: &Findings<'_>,
) -> Result<(), RepoError> {
    for info in list_locks(repository)? {
        if let Err(reason) = info.lock {
            findings.add(Finding::BadLock {
                id: info.id,
                reason,
            });
        }
    }
    Ok(())
}

/// Reads all snapshots, or those that are asked for; gives those that can be read.
pub(super) fn check_snapshots(
    repository: &Repository,
    only: Option<&HashSet<Id>>,
    findings: &Findings<'_>,
    cancel: &Cancel,
) -> Result<Vec<SnapshotRoot>, RepoError> {
    let mut roots = Vec::new();
    let latest = repository.environment().clock.now().seconds() + FUTURE_TOLERANCE_SECONDS;
    for info in repository.store().list_all(ObjectKind::Snapshot)? {
        cancel.check()?;
        let id = info.id;
        if only.is_some_and(|only| !only.contains(&id)) {
            continue;
        }
        match repository.load_snapshot(id) {
            Ok(snapshot) => {
                if snapshot.time.seconds() > latest {
                    let time = snapshot.time.to_string();
                    findings.add(Finding::FutureSnapshot { id, time });
                }
                roots.push(SnapshotRoot { id, snapshot });
            }
            // Removed by somebody since it was listed.
            Err(RepoError::Store(error)) if error.is_not_found() => repository.ensure_present()?,
            Err(error) => {
                let reason = repository.of_one_object(error)?.to_string();
                findings.add(Finding::BadSnapshot { id, reason });
            }
        }
    }
    findings.totals(|totals| totals.snapshots = roots.len() as u64);
    Ok(roots)
}
