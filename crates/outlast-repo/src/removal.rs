//! Removing objects: the one way in which the engine ever removes anything but locks.
//!
//! A [`Removal`] can only be made from a store that can delete and an [`ExclusiveLock`], both of the
//! very repository. Backup code has neither.

use std::sync::atomic::{AtomicUsize, Ordering};

use outlast_format::Config;
use outlast_object::{Id, ObjectName};
use outlast_store::{Deletes, Store, StoreError};
use parking_lot::Mutex;

use crate::environment::random_bytes;
use crate::{Cancel, ExclusiveLock, Progress, RepoError, Repository, Stage};

/// Threads that remove objects at most.
const THREADS_MAX: usize = 8;
/// After so many failures nothing more is tried: the store is away or does not let us.
const FAILURES_MAX: usize = 10;

/// The right to remove objects of a repository.
#[derive(Clone, Copy)]
pub struct Removal<'a> {
    deletes: &'a dyn Deletes,
    lock: &'a ExclusiveLock,
}

impl std::fmt::Debug for Removal<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Removal(from {})", self.deletes.location())
    }
}

/// An object that is still there though it should have been removed.
#[derive(Debug)]
pub struct NotRemoved {
    /// The object.
    pub name: ObjectName,
    /// Why; `None` where it was not tried, because too much else had failed.
    pub error: Option<StoreError>,
}

impl<'a> Removal<'a> {
    /// Whoever is to remove something finds out here, before anything is done, whether the store
    /// removes anything at all.
    ///
    /// # Errors
    /// [`StoreError::DeletesRefused`] where it does not; [`RepoError::Refused`] where the store or the
    /// lock is not the repository's.
    pub fn new(
        repository: &Repository,
        deletes: &'a dyn Deletes,
        lock: &'a ExclusiveLock,
    ) -> Result<Self, RepoError> {
        ensure_removes(deletes)?;
        let config = Config::decode(&deletes.read(&ObjectName::CONFIG)?, repository.key())
            .map_err(|error| RepoError::damaged(ObjectName::CONFIG, error))?;
        if config.id != repository.config().id || !lock.is_of(repository) {
            return Err(RepoError::Refused(format!(
                "the lock or the store at {} belongs to another repository; nothing was removed",
                deletes.location()
            )));
        }
        probe(deletes)?;
        Ok(Self { deletes, lock })
    }

    /// [`RepoError::LockLost`] when others may be using the repository by now.
    pub fn check_lock(&self) -> Result<(), RepoError> {
        self.lock.check()
    }

    /// Removes one object. Success means that it is gone.
    pub(crate) fn remove(&self, name: &ObjectName) -> Result<(), RepoError> {
        self.check_lock()?;
        Ok(self.try_remove(name)?)
    }

    fn try_remove(&self, name: &ObjectName) -> Result<(), StoreError> {
        match self.deletes.delete(name) {
            Ok(()) => Ok(()),
            // It may have been done all the same.
            Err(error) => match self.deletes.exists(name) {
                Ok(false) => Ok(()),
                _ => Err(error),
            },
        }
    }

    /// Removes objects, in about this order, and gives those that are still there. Stops with an
    /// error when asked to or when the lock is lost.
    pub(crate) fn remove_all(
        &self,
        names: &[ObjectName],
        progress: &dyn Progress,
        cancel: &Cancel,
    ) -> Result<Vec<NotRemoved>, RepoError> {
        progress.begin(Stage::Remove, names.len() as u64);
        let next = AtomicUsize::new(0);
        let failures = Mutex::new(Vec::new());
        let work = || {
            while let Some(name) = names.get(next.fetch_add(1, Ordering::Relaxed)) {
                cancel.check()?;
                self.check_lock()?;
                let error = if failures.lock().len() >= FAILURES_MAX {
                    None
                } else {
                    match self.try_remove(name) {
                        Ok(()) => {
                            progress.advance(Stage::Remove, 1);
                            continue;
                        }
                        Err(error) => Some(error),
                    }
                };
                failures.lock().push(NotRemoved { name: *name, error });
            }
            Ok::<(), RepoError>(())
        };
        let connections = self.deletes.connections().clamp(1, THREADS_MAX);
        crate::threads::run(connections.min(names.len().max(1)), &work)?;
        Ok(failures.into_inner())
    }
}

/// [`StoreError::DeletesRefused`] where it is known beforehand that the store removes nothing.
pub fn ensure_removes(store: &dyn Store) -> Result<(), RepoError> {
    if store.capabilities().removes {
        return Ok(());
    }
    let error = StoreError::DeletesRefused {
        location: store.location(),
        reason: "nothing is removed or replaced there, whatever the credentials".to_owned(),
    };
    Err(error.into())
}

/// Asks to remove something that does not exist. A store in append-only mode refuses that as well,
/// and everybody else does nothing.
fn probe(deletes: &dyn Deletes) -> Result<(), RepoError> {
    let nothing = ObjectName::pack(Id::from_bytes(random_bytes()?));
    Ok(deletes.delete(&nothing)?)
}
