//! Whatever changes a repository survives being killed at each change it makes.

#![allow(clippy::unwrap_used)]

mod support;

use std::path::Path;
use std::sync::Arc;

use outlast_format::{BlobHandle, ScryptCost};
use outlast_object::{Id, ObjectKind, ObjectName};
use outlast_repo::{
    Cancel, InitOptions, MaxUnused, NewKey, NoProgress, Originals, PruneOptions,
    RepairIndexOptions, RepairOriginals, Repository, RewriteOptions, StoredSnapshot, TagChange,
    add_key, change_tags, copy, forget, prune, recover, repair_index, repair_packs,
    repair_snapshots, rewrite,
};
use outlast_store::{Deletes, MemoryStore};
use support::PASSWORD;
use support::small::{
    back_up, check_all, copy_of, files, init_small, names, open_small, small_packs, two_snapshots,
};
use support::trial::{Trial, open_mortal, survive, with_removal};

const NOTHING_UNUSED: PruneOptions = PruneOptions {
    max_unused: MaxUnused::Bytes(0),
    max_repack_bytes: None,
    repack_cacheable_only: false,
    repack_small: false,
    repack_smaller_than: None,
    repack_uncompressed: false,
    recover_space: false,
};

fn stored(repository: &Repository) -> Vec<StoredSnapshot> {
    let snapshots = repository.load_snapshots(&Cancel::new()).unwrap();
    snapshots
        .into_iter()
        .map(|(id, snapshot)| StoredSnapshot { id, snapshot })
        .collect()
}

/// Three snapshots, of which the first is forgotten.
fn with_something_to_prune() -> Arc<MemoryStore> {
    let store = Arc::new(MemoryStore::new());
    let repository = init_small(store.clone());
    let first = back_up(&repository, &files(9), 1_700_000_000).unwrap();
    back_up(&repository, &files(1), 1_700_100_000).unwrap();
    back_up(&repository, &files(3), 1_700_200_000).unwrap();
    let first = first.snapshot.unwrap().0;
    store
        .delete(&ObjectName::new(ObjectKind::Snapshot, first))
        .unwrap();
    store
}

#[test]
fn forget_killed_at_any_change_removes_nothing_else() {
    let (store, ids) = two_snapshots();
    let mut trial = Trial::of(&store);
    trial.removable.insert(ids[0]);
    survive(&trial, |store| {
        with_removal(store, |repository, removal| {
            forget(repository, removal, &ids[..1], &NoProgress, &Cancel::new()).map(|_| ())
        })
    });
}

#[test]
fn prune_killed_at_any_change_loses_nothing() {
    let store = with_something_to_prune();
    let changes = survive(&Trial::of(&store), |store| {
        with_removal(store, |repository, removal| {
            let options = NOTHING_UNUSED;
            prune(repository, removal, &options, &NoProgress, &Cancel::new()).map(|_| ())
        })
    });
    assert!(changes > 6, "only {changes} changes were tried");
}

#[test]
fn tag_killed_at_any_change_loses_no_snapshot() {
    let (store, ids) = two_snapshots();
    let mut trial = Trial::of(&store);
    trial.removable.extend(&ids);
    survive(&trial, |store| {
        with_removal(store, |repository, removal| {
            let change = TagChange::Set(vec!["kept".to_owned()]);
            let all = stored(repository);
            change_tags(
                repository,
                removal,
                &all,
                &change,
                &mut |_, _| {},
                &Cancel::new(),
            )?;
            assert!(stored(repository).len() >= 2, "a snapshot is lost");
            Ok(())
        })
    });
}

#[test]
fn rewrite_killed_at_any_change_loses_no_snapshot() {
    let (store, ids) = two_snapshots();
    let mut trial = Trial::of(&store);
    trial.removable.extend(&ids);
    survive(&trial, |store| {
        with_removal(store, |repository, removal| {
            let all = stored(repository);
            assert!(all.len() >= 2, "a snapshot is lost");
            let options = RewriteOptions {
                hostname: Some("elsewhere".to_owned()),
                ..RewriteOptions::default()
            };
            let originals = Originals::Remove(removal);
            rewrite(
                repository,
                originals,
                &all,
                &options,
                &NoProgress,
                &Cancel::new(),
            )
            .map(|_| ())
        })
    });
}

#[test]
fn copy_killed_at_any_change_harms_neither_repository() {
    let (source, _) = two_snapshots();
    let from = open_small(source.clone()).unwrap();
    let target = Arc::new(MemoryStore::new());
    let init = InitOptions {
        polynomial: Some(from.config().chunker_polynomial),
        ..InitOptions::new(ScryptCost::RANDOM_PASSWORD)
    };
    let environment = outlast_repo::Environment::quiet();
    let to = Repository::init(target.clone(), environment, PASSWORD, &init, small_packs()).unwrap();
    back_up(&to, &files(1), 1_700_000_000).unwrap();
    let before = source.contents();
    survive(&Trial::of(&target), |store| {
        let to = open_mortal(store.clone())?;
        copy(&from, &to, &stored(&from), &NoProgress, &Cancel::new()).map(|_| ())
    });
    assert_eq!(source.contents(), before);
}

#[test]
fn a_key_added_and_killed_at_any_change_locks_nobody_out() {
    let (store, _) = two_snapshots();
    survive(&Trial::of(&store), |store| {
        let repository = open_mortal(store.clone())?;
        let new = NewKey {
            password: b"another password",
            cost: ScryptCost::RANDOM_PASSWORD,
            username: "somebody",
            hostname: "somewhere",
        };
        let (environment, key) = (repository.environment(), repository.key());
        add_key(repository.store(), environment, key, &new).map(|_| ())
    });
}

#[test]
fn repair_of_the_index_killed_at_any_change_loses_nothing() {
    let (store, _) = two_snapshots();
    let index = names(&*store, ObjectKind::Index);
    store.delete(&index[0]).unwrap();
    store.replace(&index[1], vec![9; 300]);
    let trial = Trial {
        is_repair: true,
        ..Trial::of(&store)
    };
    survive(&trial, |store| {
        with_removal(store, |repository, removal| {
            let options = RepairIndexOptions::default();
            repair_index(repository, removal, options, &NoProgress, &Cancel::new()).map(|_| ())
        })
    });
    // All of it anew, though nothing is wrong.
    let (store, _) = two_snapshots();
    survive(&Trial::of(&store), |store| {
        with_removal(store, |repository, removal| {
            let options = RepairIndexOptions {
                read_all_packs: true,
            };
            repair_index(repository, removal, options, &NoProgress, &Cancel::new()).map(|_| ())
        })
    });
}

/// A repository of which the pack of one file is damaged, and that pack.
fn with_damaged_pack() -> (Arc<MemoryStore>, Id) {
    let (start, ids) = two_snapshots();
    let repository = open_small(start.clone()).unwrap();
    let root = repository.load_snapshot(ids[1]).unwrap().tree;
    let node = outlast_repo::find_entry(&repository, root, Path::new("/new/1")).unwrap();
    let blob = BlobHandle::data(node.unwrap().content.unwrap()[0]);
    let place = repository.index().find(blob).next().unwrap();
    let name = ObjectName::pack(place.pack_id);
    let damaged = copy_of(&start);
    let mut bytes = start.contents()[&name].to_vec();
    bytes[place.blob.offset as usize + 40] ^= 1;
    damaged.replace(&name, bytes);
    (damaged, place.pack_id)
}

#[test]
fn repair_of_packs_and_snapshots_killed_at_any_change_loses_nothing_else() {
    let (store, pack) = with_damaged_pack();
    assert_eq!(check_all(store.clone()).unwrap().broken_packs, vec![pack]);
    let copies = tempfile::tempdir().unwrap();
    let trial = Trial {
        is_repair: true,
        ..Trial::of(&store)
    };
    let cancel = Cancel::new();
    survive(&trial, |store| {
        with_removal(store, |repository, removal| {
            repair_packs(
                repository,
                removal,
                &[pack],
                copies.path(),
                &NoProgress,
                &cancel,
            )?;
            let all = stored(repository);
            assert!(all.len() >= 2, "a snapshot is lost");
            let originals = RepairOriginals::Forget(removal);
            repair_snapshots(repository, originals, &all, &NoProgress, &cancel).map(|_| ())
        })
    });
}

#[test]
fn recover_killed_at_any_change_harms_nothing() {
    let (store, ids) = two_snapshots();
    store
        .delete(&ObjectName::new(ObjectKind::Snapshot, ids[0]))
        .unwrap();
    store.delete(&names(&*store, ObjectKind::Index)[0]).unwrap();
    let trial = Trial {
        is_repair: true,
        ..Trial::of(&store)
    };
    survive(&trial, |store| {
        let repository = open_mortal(store.clone())?;
        recover(&repository, "outlast test", &NoProgress, &Cancel::new()).map(|_| ())
    });
}
