//! Taking many small objects at once: the steps of a single upload in the same order, but with the
//! syncs of folders and the entry into the log shared between all of them.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use outlast_custody::Event;
use outlast_object::{ObjectKind, ObjectName};
use parking_lot::Mutex;

use crate::VaultError;
use crate::accept::{Accepted, check_size, folder_of, object_path};
use crate::room::Reservation;
use crate::vault::{Caller, Vault};

/// An object with its bytes.
pub type Offered<'a> = (ObjectName, &'a [u8]);

/// How far an object came.
enum Step<'a> {
    /// Its file is there under its name, which is not durable yet; or its name is, too.
    Placed(Box<Event>, Reservation<'a>),
    /// It was refused, or was there already.
    Ended(Result<Accepted, VaultError>),
}

impl Vault {
    /// Takes objects as [`Vault::accept`] takes each, on so many threads. What becomes of one does
    /// not depend on the others. On return those that are said to be taken are durable and in the
    /// log. With one thread the sequence of operations is always the same.
    ///
    /// The answers are in the order of the objects. Packs, indexes and snapshots are taken; all
    /// else is refused, since a config is no matter of speed.
    pub fn accept_many(
        &self,
        caller: &Caller,
        objects: &[Offered<'_>],
        threads: NonZeroUsize,
    ) -> Vec<Result<Accepted, VaultError>> {
        // The second of two objects of the same name waits for what becomes of the first.
        let mut seen = HashSet::new();
        let is_first: Vec<bool> = objects.iter().map(|(name, _)| seen.insert(*name)).collect();

        // Each file becomes durable, and then gets its name. A crash leaves whole objects, named or
        // not, that the log does not know: putting them again admits them.
        let place = |at: usize| match (objects.get(at), is_first.get(at)) {
            (Some(object), Some(true)) => self.place_one(caller, object).unwrap_or_else(refused),
            _ => Step::Ended(Ok(Accepted::Provisional)),
        };
        let mut steps = in_parallel(threads, objects.len(), &place);

        // The names become durable, folder by folder. A crash leaves what the step before leaves.
        self.sync_folders(caller, objects, &mut steps, threads);

        // One batch of entries for all. Only what the log says is acknowledged.
        let mut outcomes = self.log_placed(caller, objects, steps);

        for (at, (name, bytes)) in objects.iter().enumerate() {
            if is_first.get(at) == Some(&false) {
                let length = Some(bytes.len() as u64);
                let again = check_kind(name)
                    .and_then(|()| self.accept(caller, name, length, &mut &**bytes));
                if let Some(outcome) = outcomes.get_mut(at) {
                    *outcome = again;
                }
            }
        }
        outcomes
    }

    fn place_one(
        &self,
        caller: &Caller,
        (name, bytes): &Offered<'_>,
    ) -> Result<Step<'_>, VaultError> {
        check_kind(name)?;
        self.check_put(caller, name.kind())?;
        let length = bytes.len() as u64;
        check_size(name.kind(), length)?;
        if let Some(position) = self.find_same(caller, name, Some(length), &mut &**bytes)? {
            return Ok(Step::Ended(Ok(Accepted::Known(position))));
        }
        let reservation = self.reserve(caller, length)?;
        let event = self.place(caller, name, Some(length), &mut &**bytes)?;
        Ok(Step::Placed(Box::new(event), reservation))
    }

    /// Syncs each folder that got a name once. Where that fails, nothing in the folder is taken.
    fn sync_folders(
        &self,
        caller: &Caller,
        objects: &[Offered<'_>],
        steps: &mut [Step<'_>],
        threads: NonZeroUsize,
    ) {
        let mut folders: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (at, ((name, _), step)) in objects.iter().zip(steps.iter()).enumerate() {
            if matches!(step, Step::Placed(..)) {
                let path = object_path(caller.repository(), name);
                let folder = folder_of(&path).to_owned();
                folders.entry(folder).or_default().push(at);
            }
        }
        let folders: Vec<(String, Vec<usize>)> = folders.into_iter().collect();
        let sync = |at: usize| match folders.get(at) {
            Some((folder, _)) => self.disk.sync_directory(folder),
            None => Ok(()),
        };
        let outcomes = in_parallel(threads, folders.len(), &sync);
        for ((_, members), outcome) in folders.iter().zip(outcomes) {
            let Err(error) = outcome else {
                continue;
            };
            for at in members {
                if let Some(step) = steps.get_mut(*at) {
                    let again = io::Error::new(error.kind(), error.to_string());
                    *step = refused(VaultError::Disk(again));
                }
            }
        }
    }

    fn log_placed(
        &self,
        caller: &Caller,
        objects: &[Offered<'_>],
        steps: Vec<Step<'_>>,
    ) -> Vec<Result<Accepted, VaultError>> {
        let (mut events, mut placed) = (Vec::new(), Vec::new());
        let mut outcomes = Vec::with_capacity(steps.len());
        for (step, (name, bytes)) in steps.into_iter().zip(objects) {
            outcomes.push(match step {
                Step::Ended(outcome) => outcome,
                Step::Placed(event, reservation) => {
                    events.push(*event);
                    placed.push((outcomes.len(), name, bytes.len() as u64, reservation));
                    Ok(Accepted::Provisional)
                }
            });
        }
        if events.is_empty() {
            return outcomes;
        }
        match self.commit(events) {
            Ok(positions) => {
                for ((at, name, bytes, reservation), position) in placed.into_iter().zip(positions)
                {
                    reservation.spend(bytes);
                    self.protect(caller.repository(), name);
                    if let Some(outcome) = outcomes.get_mut(at) {
                        *outcome = Ok(Accepted::New(position));
                    }
                }
            }
            Err(error) => {
                // The same for each of them.
                let again = || match &error {
                    VaultError::Full(why) => VaultError::Full(why),
                    VaultError::ReadOnly(reason) => VaultError::ReadOnly(reason.clone()),
                    other => VaultError::ReadOnly(other.to_string()),
                };
                for (at, ..) in placed {
                    if let Some(outcome) = outcomes.get_mut(at) {
                        *outcome = Err(again());
                    }
                }
            }
        }
        outcomes
    }
}

fn refused<'a>(error: VaultError) -> Step<'a> {
    Step::Ended(Err(error))
}

fn check_kind(name: &ObjectName) -> Result<(), VaultError> {
    match name.kind() {
        ObjectKind::Pack | ObjectKind::Index | ObjectKind::Snapshot => Ok(()),
        ObjectKind::Config | ObjectKind::Key | ObjectKind::Lock => Err(VaultError::Forbidden(
            "only packs, indexes and snapshots come in batches",
        )),
    }
}

/// What `work` gives for each number below `count`, in order. Numbers are handed out one by one, so
/// that a slow one holds up nobody but its own thread.
pub(crate) fn in_parallel<T: Send>(
    threads: NonZeroUsize,
    count: usize,
    work: &(dyn Fn(usize) -> T + Sync),
) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let all: Mutex<Vec<(usize, T)>> = Mutex::new(Vec::with_capacity(count));
    let run = || {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            if at >= count {
                return;
            }
            let outcome = work(at);
            all.lock().push((at, outcome));
        }
    };
    thread::scope(|scope| {
        for _ in 1..threads.get().min(count) {
            // Without a thread the others do its share.
            let _ = thread::Builder::new().spawn_scoped(scope, run);
        }
        run();
    });
    let mut all = all.into_inner();
    all.sort_unstable_by_key(|(at, _)| *at);
    all.into_iter().map(|(_, outcome)| outcome).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_done_once_and_told_in_order() {
        for threads in [1, 3, 50] {
            for count in [0, 1, 2, 100] {
                let done = AtomicUsize::new(0);
                let work = |at: usize| {
                    done.fetch_add(1, Ordering::Relaxed);
                    at * 2
                };
                let found = in_parallel(NonZeroUsize::new(threads).unwrap(), count, &work);
                assert_eq!(found, (0..count).map(|at| at * 2).collect::<Vec<_>>());
                assert_eq!(done.into_inner(), count);
            }
        }
    }
}
