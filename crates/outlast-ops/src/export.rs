//! `export`: a plain restic repository folder out of any store, object by object.
//!
//! Only ciphertext is moved, so no password is needed. Every object is verified against its name
//! before it counts, those that an earlier run left in the folder too, so a run that broke off is
//! simply repeated. What names others comes after them: a folder whose export broke off has no
//! snapshot that lacks something.

use std::sync::atomic::{AtomicUsize, Ordering};

use outlast_object::{ObjectKind, ObjectName, check_shape};
use outlast_repo::Cancel;
use outlast_store::{Deletes, Store, StoreError};
use parking_lot::Mutex;

/// Objects that are moved at a time. Each is held whole, and packs can be large.
const THREADS_MAX: usize = 4;

/// Why there is no export at all.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The source has no config.
    #[error("there is no repository at {0}")]
    NoRepository(String),
    /// The folder holds something else.
    #[error("{0} holds another repository; nothing was written")]
    OtherRepository(String),
    /// One of the two places failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Interrupted.
    #[error("interrupted; the next run goes on from here")]
    Cancelled,
}

/// An object that could not be brought over.
#[derive(Debug)]
pub struct ExportFailure {
    /// The object.
    pub name: ObjectName,
    /// Why.
    pub reason: String,
}

/// What was done.
#[derive(Debug, Default)]
pub struct ExportOutcome {
    /// Objects that were written.
    pub objects_written: u64,
    /// Their size.
    pub bytes_written: u64,
    /// Objects that were there already, and are what their names say.
    pub objects_present: u64,
    /// Objects in the folder that were damaged, and were replaced by sound ones.
    pub objects_mended: u64,
    /// Objects that are missing or damaged in the source. They are not in the folder.
    pub failures: Vec<ExportFailure>,
}

/// Who is told how far it has come.
pub trait ExportObserver: Send + Sync {
    /// Now objects of this kind are brought over, so many.
    fn begin(&self, kind: ObjectKind, objects: u64);
    /// One is done.
    fn advance(&self, kind: ObjectKind);
}

/// What becomes of one object.
enum Fate {
    Written(u64),
    Mended(u64),
    Present,
    Failed(String),
}

/// Brings all objects but locks from `source` to `target`.
///
/// # Errors
/// [`ExportError`] where it cannot go on; objects that are damaged in the source are in the outcome.
pub fn export(
    source: &dyn Store,
    target: &dyn Deletes,
    observer: &dyn ExportObserver,
    cancel: &Cancel,
) -> Result<ExportOutcome, ExportError> {
    let config = match source.read(&ObjectName::CONFIG) {
        Err(error) if error.is_not_found() => {
            return Err(ExportError::NoRepository(source.location()));
        }
        result => result?,
    };
    if check_shape(&ObjectName::CONFIG, &config).is_err() {
        return Err(ExportError::NoRepository(source.location()));
    }
    match target.read(&ObjectName::CONFIG) {
        Ok(there) if there != config => {
            return Err(ExportError::OtherRepository(target.location()));
        }
        Ok(_) => {}
        Err(error) if error.is_not_found() => {
            refuse_foreign_objects(source, target)?;
            target.prepare()?;
            target.write(&ObjectName::CONFIG, &config)?;
        }
        Err(error) => return Err(error.into()),
    }
    let mut outcome = ExportOutcome::default();
    for kind in ObjectKind::ALL {
        if !matches!(kind, ObjectKind::Config | ObjectKind::Lock) {
            export_kind(kind, (source, target), observer, cancel, &mut outcome)?;
        }
    }
    Ok(outcome)
}

/// A folder without a config whose snapshots the source does not have is somebody else's damaged
/// repository, not the beginning of an export.
fn refuse_foreign_objects(source: &dyn Store, target: &dyn Deletes) -> Result<(), ExportError> {
    for kind in [ObjectKind::Key, ObjectKind::Snapshot] {
        for info in target.list_all(kind)? {
            if !source.exists(&ObjectName::new(kind, info.id))? {
                return Err(ExportError::OtherRepository(target.location()));
            }
        }
    }
    Ok(())
}

fn export_kind(
    kind: ObjectKind,
    (source, target): (&dyn Store, &dyn Deletes),
    observer: &dyn ExportObserver,
    cancel: &Cancel,
    outcome: &mut ExportOutcome,
) -> Result<(), ExportError> {
    let listed = source.list_all(kind)?;
    observer.begin(kind, listed.len() as u64);
    let next = AtomicUsize::new(0);
    let shared = Mutex::new((std::mem::take(outcome), None));
    let workers = source
        .connections()
        .clamp(1, THREADS_MAX)
        .min(listed.len().max(1));
    let work = || {
        while let Some(info) = listed.get(next.fetch_add(1, Ordering::Relaxed)) {
            if cancel.is_cancelled() || shared.lock().1.is_some() {
                return;
            }
            let name = ObjectName::new(kind, info.id);
            let fate = export_object(source, target, &name);
            observer.advance(kind);
            let mut shared = shared.lock();
            let (outcome, stopped) = &mut *shared;
            match fate {
                Ok(Fate::Written(bytes)) => {
                    outcome.objects_written += 1;
                    outcome.bytes_written += bytes;
                }
                Ok(Fate::Mended(bytes)) => {
                    outcome.objects_mended += 1;
                    outcome.bytes_written += bytes;
                }
                Ok(Fate::Present) => outcome.objects_present += 1,
                Ok(Fate::Failed(reason)) => outcome.failures.push(ExportFailure { name, reason }),
                Err(error) => *stopped = Some(error),
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..workers {
            scope.spawn(work);
        }
        work();
    });
    let (done, stopped) = shared.into_inner();
    *outcome = done;
    match stopped {
        Some(error) => Err(error.into()),
        None if cancel.is_cancelled() => Err(ExportError::Cancelled),
        None => Ok(()),
    }
}

/// Errors are those of the target, and of a source that is away; a source whose object is missing or
/// damaged costs that object only.
fn export_object(
    source: &dyn Store,
    target: &dyn Deletes,
    name: &ObjectName,
) -> Result<Fate, StoreError> {
    let damaged = match target.read(name) {
        Ok(bytes) if check_shape(name, &bytes).is_ok() => return Ok(Fate::Present),
        Ok(_) => true,
        Err(error) if error.is_not_found() => false,
        // Too large to be what it says.
        Err(StoreError::TooLarge { .. } | StoreError::Truncated { .. }) => true,
        Err(error) => return Err(error),
    };
    let bytes = match source.read(name) {
        Ok(bytes) => bytes,
        Err(error) if error.is_retryable() => return Err(error),
        Err(StoreError::Denied {
            operation,
            location,
            reason,
        }) => {
            return Err(StoreError::Denied {
                operation,
                location,
                reason,
            });
        }
        Err(error) => return Ok(Fate::Failed(error.to_string())),
    };
    if let Err(error) = check_shape(name, &bytes) {
        return Ok(Fate::Failed(error.to_string()));
    }
    if damaged {
        // A crash here leaves the object missing, and the next run brings it.
        target.delete(name)?;
    }
    target.write(name, &bytes)?;
    let size = bytes.len() as u64;
    Ok(if damaged {
        Fate::Mended(size)
    } else {
        Fate::Written(size)
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use outlast_object::hash;
    use outlast_store::{LocalStore, MemoryStore};

    use super::*;

    struct Quiet;

    impl ExportObserver for Quiet {
        fn begin(&self, _: ObjectKind, _: u64) {}
        fn advance(&self, _: ObjectKind) {}
    }

    fn put(store: &dyn Store, kind: ObjectKind, number: u8) -> ObjectName {
        let bytes = [number; 100];
        let name = ObjectName::new(kind, hash(&bytes));
        store.write(&name, &bytes).unwrap();
        name
    }

    fn source() -> MemoryStore {
        let store = MemoryStore::new();
        store.write(&ObjectName::CONFIG, &[9; 100]).unwrap();
        for number in 0..20 {
            put(&store, ObjectKind::Index, number);
            put(&store, ObjectKind::Snapshot, number + 100);
        }
        put(&store, ObjectKind::Lock, 50);
        store
    }

    fn run(source: &MemoryStore, target: &LocalStore) -> Result<ExportOutcome, ExportError> {
        export(source, target, &Quiet, &Cancel::new())
    }

    #[test]
    fn everything_but_locks_comes_over_and_comes_once() {
        let (source, folder) = (source(), tempfile::tempdir().unwrap());
        let target = LocalStore::open(&folder.path().join("out")).unwrap();
        let first = run(&source, &target).unwrap();
        assert_eq!((first.objects_written, first.objects_present), (40, 0));
        assert!(target.list_all(ObjectKind::Lock).unwrap().is_empty());
        let again = run(&source, &target).unwrap();
        assert_eq!((again.objects_written, again.objects_present), (0, 40));
    }

    #[test]
    fn what_is_damaged_at_the_source_is_named_and_left_out() {
        let (source, folder) = (source(), tempfile::tempdir().unwrap());
        let wrong = ObjectName::new(ObjectKind::Index, hash(b"something else"));
        source.write(&wrong, &[1; 64]).unwrap();
        let target = LocalStore::open(folder.path()).unwrap();
        let outcome = run(&source, &target).unwrap();
        assert_eq!(outcome.objects_written, 40);
        assert_eq!(outcome.failures.len(), 1);
        assert_eq!(outcome.failures[0].name, wrong);
        assert!(!target.exists(&wrong).unwrap());
    }

    #[test]
    fn what_rotted_in_the_folder_is_replaced() {
        let (source, folder) = (source(), tempfile::tempdir().unwrap());
        let target = LocalStore::open(folder.path()).unwrap();
        run(&source, &target).unwrap();
        let name = put(&source, ObjectKind::Index, 3);
        target.delete(&name).unwrap();
        target.write(&name, b"rotten").unwrap();
        let outcome = run(&source, &target).unwrap();
        assert_eq!((outcome.objects_mended, outcome.objects_present), (1, 39));
        assert_eq!(target.read(&name).unwrap(), [3; 100]);
    }

    #[test]
    fn a_folder_of_another_repository_is_left_alone() {
        let (source, folder) = (source(), tempfile::tempdir().unwrap());
        let target = LocalStore::open(folder.path()).unwrap();
        target.prepare().unwrap();
        let foreign = put(&target, ObjectKind::Snapshot, 77);
        let outcome = run(&source, &target);
        assert!(matches!(outcome, Err(ExportError::OtherRepository(_))));
        target.delete(&foreign).unwrap();
        target.write(&ObjectName::CONFIG, &[8; 100]).unwrap();
        let outcome = run(&source, &target);
        assert!(matches!(outcome, Err(ExportError::OtherRepository(_))));
        assert!(target.list_all(ObjectKind::Index).unwrap().is_empty());
        let nothing = MemoryStore::new();
        let outcome = run(&nothing, &target);
        assert!(matches!(outcome, Err(ExportError::NoRepository(_))));
    }
}
