//! A backup that is killed at any change it makes leaves a sound repository, and the next one uses
//! what was stored.

#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use outlast_object::{ObjectKind, ObjectName};
use outlast_repo::{Cancel, LockGuard, LockMode, RepoError};
use outlast_store::faults::{Fault, FaultPlan, FaultStore, Moment, Operation, Pattern, Turn};
use outlast_store::{MemoryStore, StoreError};
use support::small::{back_up, check_all, copy_of, files, open_small, read_all, two_snapshots};
use support::trial::{Trial, TrialStore, open_mortal, survive};

fn third_backup(store: &TrialStore) -> Result<(), RepoError> {
    let repository = open_mortal(store.clone())?;
    let _lock = LockGuard::acquire(
        &repository,
        LockMode::Shared,
        Duration::ZERO,
        &Cancel::new(),
    )?;
    back_up(&repository, &files(5), 1_700_200_000).map(|_| ())
}

#[test]
fn a_backup_killed_at_any_change_harms_nothing() {
    let (store, _) = two_snapshots();
    let changes = survive(&Trial::of(&store), third_backup);
    assert!(changes >= 6, "only {changes} changes were tried");
}

#[test]
fn the_next_backup_stores_nothing_that_was_stored() {
    let (start, _) = two_snapshots();
    for number in 1.. {
        let mut happened = false;
        for moment in Moment::ALL {
            let inner = MemoryStore::from_contents(start.contents());
            let plan = FaultPlan::at_change(number, moment);
            let store = Arc::new(FaultStore::with_plan(inner, plan));
            let _ = third_backup(&store);
            if store.trace().iter().all(|traced| traced.fault.is_none()) {
                continue;
            }
            happened = true;
            store.set_plan(FaultPlan::none());
            third_backup(&store).unwrap();
            let contents = store.inner().contents();
            let repository = open_small(Arc::new(MemoryStore::from_contents(contents))).unwrap();
            let index = repository.index();
            let distinct: BTreeSet<_> = index.iter().map(|location| location.blob.handle).collect();
            assert_eq!(index.len(), distinct.len(), "{moment:?} change {number}");
        }
        if !happened {
            return;
        }
    }
}

#[test]
fn a_full_store_is_told_as_such_and_stays_valid() {
    let (start, _) = two_snapshots();
    let before = read_all(&start);
    for room in [0, 1, 1000, 20_000, 50_000] {
        let store = Arc::new(FaultStore::new(MemoryStore::from_contents(
            start.contents(),
        )));
        store.set_room(Some(room));
        let error = third_backup(&store).unwrap_err();
        let is_full = matches!(error, RepoError::Store(StoreError::Full { .. }));
        assert!(is_full, "{room}: {error}");
        assert!(error.to_string().contains("no space is left"), "{error}");
        let left = Arc::new(MemoryStore::from_contents(store.inner().contents()));
        let report = check_all(left.clone()).unwrap();
        assert!(report.is_sound(), "{room}: {:?}", report.findings);
        assert_eq!(read_all(&left), before);
        store.set_room(None);
        third_backup(&store).unwrap();
    }
}

#[test]
fn a_store_that_vanishes_is_told_as_such_and_is_valid_when_it_comes_back() {
    let (start, _) = two_snapshots();
    let before = read_all(&start);
    let operations = {
        let store = Arc::new(FaultStore::new(MemoryStore::from_contents(
            start.contents(),
        )));
        third_backup(&store).unwrap();
        store.trace().len()
    };
    for turn in 1..=operations {
        let plan = FaultPlan::one(Pattern::any(), Turn::From(turn), Fault::FailBefore);
        let inner = MemoryStore::from_contents(start.contents());
        let store = Arc::new(FaultStore::with_plan(inner, plan));
        match third_backup(&store) {
            Ok(()) => {
                // All was done but for taking the lock away.
                let last = store.trace().pop().unwrap();
                assert_eq!(last.operation, Operation::RemoveLock, "{turn}");
            }
            Err(error) => {
                let unavailable = matches!(error, RepoError::Store(StoreError::Unavailable { .. }));
                assert!(unavailable, "{turn}: {error}");
            }
        }
        let left = Arc::new(MemoryStore::from_contents(store.inner().contents()));
        assert!(check_all(left.clone()).unwrap().is_sound());
        for (id, files) in &before {
            assert_eq!(read_all(&left).get(id), Some(files));
        }
    }
}

#[test]
fn an_empty_folder_in_place_of_the_repository_is_no_damage() {
    let (start, _) = two_snapshots();
    let store = Arc::new(FaultStore::new(MemoryStore::from_contents(
        start.contents(),
    )));
    let repository = open_mortal(store.clone()).unwrap();
    // As when a disk is unmounted while the program runs.
    for name in start.contents().keys() {
        store.damage(name, outlast_store::faults::Damage::Missing);
    }
    let error = support::small::check_reading(&repository, outlast_repo::ReadData::Everything);
    assert!(
        matches!(error, Err(RepoError::Vanished { .. })),
        "{error:?}"
    );
    let copy = copy_of(&start);
    use outlast_store::Deletes;
    copy.delete(&ObjectName::CONFIG).unwrap();
    assert!(matches!(
        open_small(copy),
        Err(RepoError::NoRepository { .. })
    ));
    assert!(
        start
            .contents()
            .keys()
            .any(|name| name.kind() == ObjectKind::Pack)
    );
}
