//! Removing locks that were left behind.

use std::collections::HashMap;

use outlast_object::{Id, ObjectKind};
use outlast_store::StoreError;

use crate::{LockInfo, RepoError, Repository, list_locks};

/// Which locks are removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unlock {
    /// Those whose owner is gone, and those that nobody with the key can have written.
    Stale,
    /// All of them, also those of programs that are at work.
    All,
}

/// What became of the locks.
#[derive(Debug, Default)]
pub struct UnlockOutcome {
    /// Locks that are gone.
    pub removed: Vec<Id>,
    /// Locks that could not be removed.
    pub not_removed: Vec<(Id, StoreError)>,
    /// Locks that were left, because their owners may be at work.
    pub kept: Vec<LockInfo>,
}

/// Removes locks. One that cannot be read, at which restic gives up, is removed as well.
pub fn unlock(repository: &Repository, which: Unlock) -> Result<UnlockOutcome, RepoError> {
    let mut outcome = UnlockOutcome::default();
    let readable = list_locks(repository)?;
    let mut known: HashMap<Id, LockInfo> =
        readable.into_iter().map(|info| (info.id, info)).collect();
    for listed in repository.store().list_all(ObjectKind::Lock)? {
        let goes = match known.get(&listed.id) {
            Some(info) => which == Unlock::All || info.stale || info.lock.is_err(),
            // It is empty, which programs pass over, or younger than our list.
            None => which == Unlock::All,
        };
        if !goes {
            outcome.kept.extend(known.remove(&listed.id));
            continue;
        }
        match repository.store().remove_lock(&listed.id) {
            Ok(()) => outcome.removed.push(listed.id),
            Err(error) => outcome.not_removed.push((listed.id, error)),
        }
    }
    Ok(outcome)
}
