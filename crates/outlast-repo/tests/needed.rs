//! What a snapshot needs: enough to restore it, and nothing more.

#![allow(clippy::unwrap_used)]

mod support;

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use outlast_format::BlobHandle;
use outlast_object::{Id, ObjectKind, ObjectName};
use outlast_repo::{
    BackupOptions, BackupOutcome, Cancel, NeededObjects, NoObserver, ParentSnapshot, RepoError,
    Repository, SaverOptions, StoredSnapshot, backup, needed_objects, needed_objects_by_trees_of,
    with_saver,
};
use outlast_store::faults::{FaultStore, Operation};
use outlast_store::{Deletes, MemoryStore, Store};
use proptest::prelude::*;
use support::small::{
    Files, back_up, files, init_small, names, open_small, read_snapshot, small_packs,
};
use support::{MemorySource, PASSWORD, backup_options, noise};

/// A store that has only these objects of another.
fn only(store: &MemoryStore, needed: &NeededObjects) -> Arc<MemoryStore> {
    let mut contents = store.contents();
    contents.retain(|name, _| needed.contains(name));
    assert_eq!(contents.len(), needed.names().len());
    Arc::new(MemoryStore::from_contents(contents))
}

fn restore(store: &Arc<MemoryStore>, id: Id) -> Result<Files, String> {
    let repository = open_small(store.clone()).map_err(|error| error.to_string())?;
    read_snapshot(&repository, id)
}

/// With the needed objects alone a snapshot can be restored; without any one of them it cannot.
fn assert_exact(store: &MemoryStore, needed: &NeededObjects, id: Id, expected: &Files) {
    assert!(needed.names().is_sorted());
    let kept = only(store, needed);
    assert_eq!(&restore(&kept, id).unwrap(), expected);
    for name in needed.names() {
        let fewer = Arc::new(MemoryStore::from_contents(kept.contents()));
        fewer.delete(name).unwrap();
        assert!(restore(&fewer, id).is_err(), "without {name}");
    }
}

fn stored(repository: &Repository, id: Id) -> StoredSnapshot {
    let snapshot = repository.load_snapshot(id).unwrap();
    StoredSnapshot { id, snapshot }
}

fn walked(store: &Arc<MemoryStore>, id: Id) -> NeededObjects {
    let repository = open_small(store.clone()).unwrap();
    needed_objects(&repository, &[stored(&repository, id)], &Cancel::new()).unwrap()
}

/// Backs up as a process of its own, with this parent.
fn next(
    store: &Arc<MemoryStore>,
    source: &MemorySource,
    seconds: i64,
    parent: Option<Id>,
) -> BackupOutcome {
    let repository = open_small(store.clone()).unwrap();
    let parent = parent.map(|id| ParentSnapshot {
        id,
        snapshot: repository.load_snapshot(id).unwrap(),
    });
    let options = BackupOptions {
        parent,
        ..backup_options(seconds)
    };
    backup(&repository, source, &options, &NoObserver, &Cancel::new()).unwrap()
}

/// Files by number: content and time of change follow from it.
fn source_of(numbers: &[(u8, u8)]) -> MemorySource {
    let mut source = MemorySource::default().with("/always", "always", 1);
    for (place, content) in numbers {
        let path = format!("/{}/{}/{place}", place % 3, place % 2);
        let bytes = noise(usize::from(*content) * 700, u64::from(*content));
        source = source.with(&path, bytes, i64::from(*content));
    }
    source
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    /// However trees change from backup to backup, what is collected on the way is what a walk
    /// finds, and is exactly what is needed.
    #[test]
    fn what_a_backup_collects_is_exactly_what_is_needed(
        generations in prop::collection::vec(
            prop::collection::vec((0u8..12, 0u8..60), 0..12), 1..4
        ),
        with_parent in any::<bool>(),
    ) {
        let store = Arc::new(MemoryStore::new());
        init_small(store.clone());
        let mut made = Vec::new();
        for (number, list) in generations.iter().enumerate() {
            let parent = made.last().map(|(id, _)| *id).filter(|_| with_parent);
            let outcome = next(&store, &source_of(list), 1_700_000_000 + number as i64, parent);
            made.push((outcome.snapshot.unwrap().0, outcome.needed.unwrap()));
        }
        let mut all: BTreeSet<ObjectName> = BTreeSet::new();
        for (id, needed) in &made {
            prop_assert_eq!(needed, &walked(&store, *id));
            let counts = needed.counts();
            prop_assert_eq!((counts.keys, counts.snapshots), (1, 1));
            let expected = restore(&store, *id).unwrap();
            assert_exact(&store, needed, *id, &expected);
            all.extend(needed.names().iter().copied());
        }
        // Nobody stores what no snapshot needs.
        prop_assert_eq!(all.len(), store.contents().len());
        let repository = open_small(store.clone()).unwrap();
        let snapshots: Vec<_> = made.iter().map(|(id, _)| stored(&repository, *id)).collect();
        let together = needed_objects(&repository, &snapshots, &Cancel::new()).unwrap();
        prop_assert!(together.names().iter().copied().eq(all));
    }
}

/// A blob that is stored in several packs needs one of them.
#[test]
fn of_several_places_of_a_blob_one_is_listed() {
    let store = Arc::new(MemoryStore::new());
    init_small(store.clone());
    let first = next(&store, &files(1), 1_700_000_000, None);
    let id = first.snapshot.unwrap().0;
    let expected = restore(&store, id).unwrap();
    // Every second blob is stored once more.
    let repository = open_small(store.clone()).unwrap();
    let handles: HashSet<BlobHandle> = repository
        .index()
        .iter()
        .map(|location| location.blob.handle)
        .filter(|handle| handle.id.as_bytes()[0] % 2 == 0)
        .collect();
    assert!(handles.len() > 3);
    let options = SaverOptions {
        renew: handles.clone(),
        ..SaverOptions::default()
    };
    with_saver(&repository, options, &Cancel::new(), |saver| {
        for handle in &handles {
            let bytes = repository.load_blob(*handle)?;
            saver.save_as(*handle, &bytes, None)?;
        }
        Ok(())
    })
    .unwrap();
    for needed in [
        walked(&store, id),
        next(&store, &files(1), 1_700_000_100, Some(id))
            .needed
            .unwrap(),
    ] {
        let snapshot = needed
            .names()
            .iter()
            .find(|n| n.kind() == ObjectKind::Snapshot);
        assert_exact(&store, &needed, snapshot.unwrap().id(), &expected);
    }
}

/// An index that claims a blob to be in a pack that does not have it does not get that pack listed
/// instead of the real one.
#[test]
fn a_lying_index_does_not_shift_the_list() {
    let store = Arc::new(MemoryStore::new());
    init_small(store.clone());
    let first = next(&store, &files(1), 1_700_000_000, None);
    let second = next(&store, &files(2), 1_700_000_100, None);
    let (id, expected) = {
        let id = first.snapshot.unwrap().0;
        (id, restore(&store, id).unwrap())
    };
    let repository = open_small(store.clone()).unwrap();
    let before = walked(&store, id);
    let packs = |needed: &NeededObjects| -> BTreeSet<ObjectName> {
        let packs = needed.names().iter();
        packs
            .filter(|n| n.kind() == ObjectKind::Pack)
            .copied()
            .collect()
    };
    let decoy = *packs(&second.needed.unwrap())
        .difference(&packs(&before))
        .next()
        .unwrap();
    // Every blob of the first snapshot is said to be in a pack of the second.
    let mut lie = outlast_format::IndexFile::default();
    let blobs = repository
        .index()
        .iter()
        .filter(|location| packs(&before).contains(&ObjectName::pack(location.pack_id)))
        .map(|location| outlast_format::IndexBlob::from(&location.blob))
        .collect();
    lie.packs.push(outlast_format::IndexPack {
        id: decoy.id(),
        blobs,
    });
    let json = lie.to_json().unwrap();
    repository.save_document(ObjectKind::Index, &json).unwrap();
    let needed = walked(&store, id);
    assert_eq!(packs(&needed), packs(&before));
    assert_exact(&store, &needed, id, &expected);
}

#[test]
fn a_backup_collects_without_reading_packs() {
    let memory = Arc::new(MemoryStore::new());
    init_small(memory.clone());
    next(&memory, &files(1), 1_700_000_000, None);
    let store = Arc::new(FaultStore::new(memory.clone()));
    let options = small_packs();
    let repository = Repository::open(
        store.clone(),
        outlast_repo::Environment::quiet(),
        PASSWORD,
        options,
    )
    .unwrap();
    repository.load_index(&Cancel::new()).unwrap();
    // Own packs need not be looked at; without a parent nothing of a pack is read.
    let source = MemorySource::default().with("/new", noise(100_000, 9), 1);
    let outcome = back_up(&repository, &source, 1_700_000_100).unwrap();
    let reads = store.trace().into_iter().filter(|traced| {
        traced.kind == Some(ObjectKind::Pack)
            && matches!(traced.operation, Operation::Read | Operation::ReadRange)
    });
    assert_eq!(reads.count(), 0);
    let id = outcome.snapshot.unwrap().0;
    assert_eq!(outcome.needed.unwrap(), walked(&memory, id));
}

#[test]
fn where_nothing_changed_the_parents_objects_are_needed() {
    let store = Arc::new(MemoryStore::new());
    init_small(store.clone());
    let first = next(&store, &files(1), 1_700_000_000, None);
    let (id, snapshot) = first.snapshot.unwrap();
    let repository = open_small(store.clone()).unwrap();
    let options = BackupOptions {
        parent: Some(ParentSnapshot { id, snapshot }),
        skip_if_unchanged: true,
        ..backup_options(1_700_000_100)
    };
    let cancel = Cancel::new();
    let outcome = backup(&repository, &files(1), &options, &NoObserver, &cancel).unwrap();
    assert!(outcome.snapshot.is_none());
    assert_eq!(outcome.needed, first.needed);
    let options = BackupOptions {
        dry_run: true,
        ..options
    };
    let outcome = backup(&repository, &files(2), &options, &NoObserver, &cancel).unwrap();
    assert_eq!(outcome.needed, None);
}

#[test]
fn usable_keys_are_needed_and_planted_junk_is_not() {
    let store = Arc::new(MemoryStore::new());
    let repository = init_small(store.clone());
    let new = outlast_repo::NewKey {
        password: b"second",
        cost: outlast_format::ScryptCost::RANDOM_PASSWORD,
        username: "u",
        hostname: "h",
    };
    outlast_repo::add_verified_key(&repository, &new).unwrap();
    let good = names(&*store, ObjectKind::Key);
    let junk = ObjectName::new(ObjectKind::Key, outlast_object::hash(b"junk"));
    store.write(&junk, b"junk").unwrap();
    let outcome = next(&store, &files(1), 1_700_000_000, None);
    let needed = outcome.needed.unwrap();
    assert!(good.iter().all(|name| needed.contains(name)));
    assert_eq!(needed.counts().keys, 2);
}

#[test]
fn what_no_index_lists_is_an_error() {
    let store = Arc::new(MemoryStore::new());
    init_small(store.clone());
    let outcome = next(&store, &files(1), 1_700_000_000, None);
    let id = outcome.snapshot.unwrap().0;
    let good = open_small(store.clone()).unwrap();
    for name in names(&*store, ObjectKind::Index) {
        store.delete(&name).unwrap();
    }
    let empty = open_small(store.clone()).unwrap();
    let snapshot = [stored(&empty, id)];
    let cancel = Cancel::new();
    let error = needed_objects(&empty, &snapshot, &cancel).unwrap_err();
    assert!(matches!(error, RepoError::BlobMissing(_)), "{error}");
    // Trees that can be read elsewhere do not help where their blobs are not.
    let error = needed_objects_by_trees_of(&empty, &good, &snapshot, &cancel).unwrap_err();
    assert!(matches!(error, RepoError::BlobMissing(_)), "{error}");
}

/// Several workers meet a blob at once whose pack nobody has looked at yet: one looks, and the
/// others must not take it for missing.
#[test]
fn files_of_the_same_content_are_collected_by_many_workers_at_once() {
    let store = Arc::new(MemoryStore::new());
    init_small(store.clone());
    let mut source = MemorySource::default();
    for number in 0..40 {
        source = source.with(&format!("/{number}"), noise(3000, number / 8), 1);
    }
    next(&store, &source, 1_700_000_000, None);
    for seconds in 1..40 {
        let repository = open_small(store.clone()).unwrap();
        let options = BackupOptions {
            read_concurrency: Some(16),
            ..backup_options(1_700_000_000 + seconds)
        };
        let cancel = Cancel::new();
        let outcome = backup(&repository, &source, &options, &NoObserver, &cancel).unwrap();
        let id = outcome.snapshot.unwrap().0;
        assert_eq!(outcome.needed.unwrap(), walked(&store, id));
    }
}
