//! Random damage all over a repository: check, restore, repair and backup return normally, whatever
//! was done to it, and what they say is true.

#![allow(clippy::unwrap_used)]

mod support;

use std::sync::{Arc, OnceLock};

use outlast_format::BlobHandle;
use outlast_object::{Id, ObjectName};
use outlast_repo::{
    Cancel, NoProgress, PruneOptions, RepairIndexOptions, RepairOriginals, RepoError, Repository,
    StoredSnapshot, prune, recover, repair_index, repair_packs, repair_snapshots,
};
use outlast_store::faults::FaultStore;
use outlast_store::{Contents, Deletes, MemoryStore, Store};
use proptest::prelude::*;
use proptest::sample::Index;
use support::small::{
    back_up, check_all, files, open_small, read_all, read_snapshot, two_snapshots,
};
use support::trial::with_removal;

/// One thing that is done to the objects of a repository.
#[derive(Debug, Clone)]
enum Mutation {
    Flip(Index, Index, u8),
    Overwrite(Index, Index, Vec<u8>),
    Truncate(Index, Index),
    Extend(Index, Vec<u8>),
    Delete(Index),
    Swap(Index, Index),
    Copy(Index, Index),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let index = any::<Index>;
    let bytes = || proptest::collection::vec(any::<u8>(), 0..64);
    prop_oneof![
        4 => (index(), index(), 0_u8..8).prop_map(|(a, b, c)| Mutation::Flip(a, b, c)),
        2 => (index(), index(), bytes()).prop_map(|(a, b, c)| Mutation::Overwrite(a, b, c)),
        2 => (index(), index()).prop_map(|(a, b)| Mutation::Truncate(a, b)),
        1 => (index(), bytes()).prop_map(|(a, b)| Mutation::Extend(a, b)),
        2 => index().prop_map(Mutation::Delete),
        2 => (index(), index()).prop_map(|(a, b)| Mutation::Swap(a, b)),
        1 => (index(), index()).prop_map(|(a, b)| Mutation::Copy(a, b)),
    ]
}

impl Mutation {
    /// Key and config are spared: without them nothing can be opened, which is another test.
    fn apply(&self, store: &MemoryStore) {
        use outlast_object::ObjectKind::{Config, Key};
        let contents = store.contents();
        let names: Vec<ObjectName> = contents
            .keys()
            .copied()
            .filter(|name| !matches!(name.kind(), Config | Key))
            .collect();
        if names.is_empty() {
            return;
        }
        let pick = |index: &Index| names[index.index(names.len())];
        let change = |at: &Index, change: &dyn Fn(&mut Vec<u8>)| {
            let name = pick(at);
            let mut bytes = contents[&name].to_vec();
            change(&mut bytes);
            store.replace(&name, bytes);
        };
        match self {
            Mutation::Flip(at, place, bit) => change(at, &|bytes| {
                if !bytes.is_empty() {
                    let place = place.index(bytes.len());
                    bytes[place] ^= 1 << bit;
                }
            }),
            Mutation::Overwrite(at, place, with) => change(at, &|bytes| {
                let place = place.index(bytes.len() + 1);
                let end = (place + with.len()).min(bytes.len());
                bytes.splice(place..end, with.iter().copied());
            }),
            Mutation::Truncate(at, place) => change(at, &|bytes| {
                let place = place.index(bytes.len() + 1);
                bytes.truncate(place);
            }),
            Mutation::Extend(at, with) => change(at, &|bytes| bytes.extend(with)),
            Mutation::Delete(at) => store.delete(&pick(at)).unwrap(),
            Mutation::Swap(one, two) => {
                let (one, two) = (pick(one), pick(two));
                store.replace(&one, contents[&two].clone());
                store.replace(&two, contents[&one].clone());
            }
            Mutation::Copy(from, to) => store.replace(&pick(to), contents[&pick(from)].clone()),
        }
    }
}

/// The sound repository that all cases begin with.
fn start() -> &'static Contents {
    static START: OnceLock<Contents> = OnceLock::new();
    START.get_or_init(|| two_snapshots().0.contents())
}

fn stored(repository: &Repository) -> Vec<StoredSnapshot> {
    let snapshots = repository.load_snapshots(&Cancel::new()).unwrap();
    snapshots
        .into_iter()
        .map(|(id, snapshot)| StoredSnapshot { id, snapshot })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 40,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn what_a_check_says_of_damage_is_true(mutations in proptest::collection::vec(mutation(), 1..6)) {
        let sound = Arc::new(MemoryStore::from_contents(start().clone()));
        let store = Arc::new(MemoryStore::from_contents(start().clone()));
        for mutation in &mutations {
            mutation.apply(&store);
        }
        let report = check_all(store.clone()).unwrap();
        let before = read_all(&sound);
        let repository = open_small(store.clone()).unwrap();
        for (id, _) in repository.load_snapshots(&Cancel::new()).unwrap() {
            let affected = report.affected.iter().any(|one| one.id == id);
            match read_snapshot(&repository, id) {
                Ok(files) => {
                    prop_assert!(!affected, "snapshot {} is not affected", id);
                    prop_assert_eq!(Some(&files), before.get(&id), "other content");
                }
                Err(reason) => prop_assert!(affected, "snapshot {} is affected: {}", id, reason),
            }
        }
        let as_it_was = start()
            .iter()
            .all(|(name, bytes)| store.contents().get(name) == Some(bytes));
        prop_assert!(as_it_was || !report.is_sound() || report.totals.snapshots < 2);
    }

    #[test]
    fn repair_ends_and_leaves_a_sound_repository(
        mutations in proptest::collection::vec(mutation(), 1..6),
    ) {
        let damaged = MemoryStore::from_contents(start().clone());
        for mutation in &mutations {
            mutation.apply(&damaged);
        }
        let before = readable(&damaged.contents());
        let store = Arc::new(FaultStore::new(damaged));
        let copies = tempfile::tempdir().unwrap();
        with_removal(&store, |repository, removal| {
            let cancel = Cancel::new();
            let options = RepairIndexOptions::default();
            repair_index(repository, removal, options, &NoProgress, &cancel)?;
            let report = support::small::check_reading(repository, outlast_repo::ReadData::Everything)?;
            let packs = &report.broken_packs;
            repair_packs(repository, removal, packs, copies.path(), &NoProgress, &cancel)?;
            // Before snapshots are repaired, or it would recover what was replaced.
            recover(repository, "outlast test", &NoProgress, &cancel)?;
            let originals = RepairOriginals::Forget(removal);
            let all = stored(repository);
            repair_snapshots(repository, originals, &all, &NoProgress, &cancel)?;
            outlast_repo::remove_unreadable_snapshots(repository, removal, &report.broken_snapshots, &cancel)?;
            back_up(repository, &files(3), 1_700_500_000)?;
            Ok(())
        }).unwrap();
        let left = Arc::new(MemoryStore::from_contents(store.inner().contents()));
        let report = check_all(left.clone()).unwrap();
        prop_assert!(report.is_sound(), "{:?}", report.findings);
        let after = readable(&left.contents());
        for (id, pieces) in before {
            prop_assert!(pieces.iter().all(|piece| after.values().any(|kept| kept.contains(piece))), "of snapshot {}", id);
        }
        with_removal(&store, |repository, removal| {
            let options = PruneOptions::default();
            prune(repository, removal, &options, &NoProgress, &Cancel::new()).map(|_| ())
        }).unwrap();
        let left = Arc::new(MemoryStore::from_contents(store.inner().contents()));
        prop_assert!(check_all(left).unwrap().is_sound());
    }

    #[test]
    fn whatever_the_objects_hold_opening_ends(mutations in proptest::collection::vec(mutation(), 1..6), place in any::<Index>(), bit in 0_u8..8) {
        let store = Arc::new(MemoryStore::from_contents(start().clone()));
        for mutation in &mutations {
            mutation.apply(&store);
        }
        // Also the key or the config.
        let names: Vec<ObjectName> = store.contents().keys().copied().collect();
        for name in names {
            if matches!(name.kind(), outlast_object::ObjectKind::Config | outlast_object::ObjectKind::Key) {
                let mut bytes = store.read(&name).unwrap();
                let at = place.index(bytes.len());
                bytes[at] ^= 1 << bit;
                store.replace(&name, bytes);
                break;
            }
        }
        match open_small(store) {
            Ok(repository) => {
                support::small::check_reading(&repository, outlast_repo::ReadData::Nothing).unwrap();
            }
            Err(RepoError::WrongPassword { .. } | RepoError::Damaged { .. }) => {}
            Err(error) => prop_assert!(false, "{}", error),
        }
    }
}

/// The data blobs that snapshots need and that can be read, by the snapshot they are of.
fn readable(contents: &Contents) -> std::collections::BTreeMap<Id, Vec<Id>> {
    use outlast_repo::{TreeWalk, WalkStep};
    let store = Arc::new(MemoryStore::from_contents(contents.clone()));
    let repository = open_small(store).unwrap();
    let cancel = Cancel::new();
    let mut all = std::collections::BTreeMap::new();
    for one in stored(&repository) {
        let root = std::path::Path::new("/");
        let mut walk = TreeWalk::new(&repository, root, one.snapshot.tree, &cancel);
        let mut pieces: Vec<Id> = Vec::new();
        while let Some(step) = walk.step().unwrap() {
            if let WalkStep::Entry(entry) = step {
                let content = entry.node.content.unwrap_or_default().into_iter();
                pieces.extend(
                    content.filter(|id| repository.load_blob(BlobHandle::data(*id)).is_ok()),
                );
            }
        }
        all.insert(one.id, pieces);
    }
    all
}
