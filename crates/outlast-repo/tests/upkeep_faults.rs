//! Killed at any change to the store, or told that a change failed which was made: what was there
//! still restores, each index tells the truth, and the same again succeeds.

#![allow(clippy::unwrap_used)]

mod support;
mod upkeep;

use std::collections::BTreeMap;
use std::sync::Arc;

use outlast_object::{Id, ObjectKind};
use outlast_repo::{
    Cancel, MaxUnused, NoProgress, Originals, PruneOptions, PruneRefusal, RepoError, Repository,
    RewriteOptions, StoredSnapshot, TagChange, TreeFilter,
};
use outlast_source::pattern::PatternList;
use outlast_store::faults::{FaultPlan, FaultStore, Moment};
use outlast_store::{Contents, MemoryStore, StoreError};
use support::{MemorySource, noise};
use upkeep::{
    all_content, assert_index_is_true, back_up, forget, ids, init, lose, open, prune,
    restics_agree_on, snapshots, try_open, with_removal,
};

type Faulty = FaultStore<MemoryStore>;
type Contained = BTreeMap<Id, BTreeMap<String, Id>>;

fn source(files: std::ops::Range<u64>) -> MemorySource {
    let mut source = MemorySource::default();
    for number in files {
        let path = format!("/dir{}/f{number}", number % 3);
        source = source.with(&path, noise(3000 + number as usize, number), 10);
    }
    source
}

/// Three snapshots that share a part each.
fn sample() -> Arc<MemoryStore> {
    let store = Arc::new(MemoryStore::new());
    back_up(&init(store.clone()), &source(0..8), 1_700_000_000);
    back_up(&open(store.clone()), &source(4..12), 1_700_000_100);
    back_up(&open(store.clone()), &source(6..14), 1_700_000_200);
    store
}

/// Tries each moment of each change that `work` makes to the store. `judge` sees what is left.
fn try_everywhere(
    start: &Contents,
    work: &dyn Fn(&Repository, &Faulty) -> Result<(), RepoError>,
    judge: &dyn Fn(&Arc<MemoryStore>),
) {
    let mut tried = 0;
    for moment in Moment::ALL {
        for change in 1.. {
            let faulty = Arc::new(Faulty::new(MemoryStore::from_contents(start.clone())));
            let repository = open(faulty.clone());
            faulty.set_plan(FaultPlan::at_change(change, moment));
            faulty.clear_trace();
            let result = work(&repository, &faulty);
            drop(repository);
            if faulty.changes() < change {
                result.unwrap();
                break;
            }
            tried += 1;
            let left = Arc::new(MemoryStore::from_contents(faulty.inner().contents()));
            for lock in ids(&*left, ObjectKind::Lock) {
                lose(&left, ObjectKind::Lock, lock);
            }
            judge(&left);
            assert_index_is_true(left.clone());
            // What a store shows that tears writes is for `repair` to mend, and not for restic.
            if moment != Moment::During && tried % 7 == 0 {
                restics_agree_on(&left);
            }
            match work_again(&left, work) {
                Ok(()) => judge(&left),
                Err(RepoError::PruneRefused(PruneRefusal::UnreadableSnapshot { .. }))
                    if moment == Moment::During =>
                {
                    judge(&left)
                }
                Err(RepoError::Store(StoreError::AlreadyExists { .. }))
                    if moment == Moment::During => {}
                Err(error) => panic!("change {change}, {moment:?}: {error}"),
            }
        }
    }
    assert!(tried > 8, "{tried}");
}

fn work_again(
    left: &Arc<MemoryStore>,
    work: &dyn Fn(&Repository, &Faulty) -> Result<(), RepoError>,
) -> Result<(), RepoError> {
    let faulty = Arc::new(Faulty::new(MemoryStore::from_contents(left.contents())));
    let result = try_open(faulty.clone()).and_then(|repository| work(&repository, &faulty));
    let after = faulty.inner().contents();
    for name in left
        .contents()
        .keys()
        .filter(|name| !after.contains_key(name))
    {
        lose(left, name.kind(), name.id());
    }
    for (name, bytes) in after {
        left.replace(&name, bytes);
    }
    result
}

#[test]
fn pruning() {
    let store = sample();
    let oldest = oldest(&store);
    upkeep::forget(&open(store.clone()), &*store, &[oldest]).unwrap();
    let before = all_content(store.clone());
    let options = PruneOptions {
        max_unused: MaxUnused::Bytes(0),
        ..PruneOptions::default()
    };
    let work = |repository: &Repository, store: &Faulty| {
        upkeep::prune(repository, store, &options).map(drop)
    };
    let judge = |store: &Arc<MemoryStore>| assert_eq!(all_content(store.clone()), before);
    try_everywhere(&store.contents(), &work, &judge);
}

fn oldest(store: &Arc<MemoryStore>) -> Id {
    let mut all = snapshots(&open(store.clone()));
    all.sort_by_key(|stored| stored.snapshot.time.instant());
    all[0].id
}

#[test]
fn forgetting() {
    let store = sample();
    let before = all_content(store.clone());
    let gone: Vec<Id> = before.keys().take(2).copied().collect();
    let work = |repository: &Repository, store: &Faulty| forget(repository, store, &gone);
    let judge = |store: &Arc<MemoryStore>| {
        let left = all_content(store.clone());
        assert!(left.iter().all(|(id, content)| before[id] == *content));
        assert!(
            before
                .keys()
                .filter(|id| !left.contains_key(id))
                .all(|id| gone.contains(id))
        );
    };
    try_everywhere(&store.contents(), &work, &judge);
}

/// Every snapshot is there, or one that names it as its original and has what `expected` says.
fn assert_replaced(store: &Arc<MemoryStore>, before: &Contained, expected: &Contained) {
    let after = all_content(store.clone());
    let left = snapshots(&open(store.clone()));
    for (id, content) in before {
        let kept = after.get(id) == Some(content);
        let successor = left
            .iter()
            .find(|stored| stored.snapshot.original == Some(*id));
        let replaced = successor.is_some_and(|new| after[&new.id] == expected[id]);
        assert!(kept || replaced, "{id}");
    }
}

#[test]
fn tagging() {
    let store = sample();
    let before = all_content(store.clone());
    let work = |repository: &Repository, store: &Faulty| {
        let change = TagChange::Edit {
            add: vec!["new".to_owned()],
            remove: Vec::new(),
        };
        let all = snapshots(repository);
        let outcome = with_removal(repository, store, |removal| {
            let cancel = Cancel::new();
            outlast_repo::change_tags(repository, removal, &all, &change, &mut |_, _| {}, &cancel)
        })?;
        outcome
            .failed
            .into_iter()
            .next()
            .map_or(Ok(()), |failed| Err(failed.1))
    };
    let judge = |store: &Arc<MemoryStore>| assert_replaced(store, &before, &before);
    try_everywhere(&store.contents(), &work, &judge);
}

#[test]
fn rewriting() {
    let store = sample();
    let before = all_content(store.clone());
    let expected: Contained = before
        .iter()
        .map(|(id, content)| {
            let left = content
                .iter()
                .filter(|(path, _)| !path.starts_with("/dir1"));
            (*id, left.map(|(path, id)| (path.clone(), *id)).collect())
        })
        .collect();
    let work = |repository: &Repository, store: &Faulty| {
        let mut list = PatternList::new();
        list.push(b"/dir1", false).unwrap();
        let options = RewriteOptions {
            filter: Some(TreeFilter::Exclude(vec![list])),
            ..RewriteOptions::default()
        };
        let all: Vec<StoredSnapshot> = snapshots(repository);
        let outcome = with_removal(repository, store, |removal| {
            let originals = Originals::Remove(removal);
            let cancel = Cancel::new();
            outlast_repo::rewrite(repository, originals, &all, &options, &NoProgress, &cancel)
        })?;
        outcome
            .failed
            .into_iter()
            .next()
            .map_or(Ok(()), |failed| Err(failed.1))
    };
    let judge = |store: &Arc<MemoryStore>| assert_replaced(store, &before, &expected);
    try_everywhere(&store.contents(), &work, &judge);
}

#[test]
fn copying() {
    let from = sample();
    let from_content = all_content(from.clone());
    let to = Arc::new(MemoryStore::new());
    back_up(&init(to.clone()), &source(5..9), 1_700_000_000);
    let before = all_content(to.clone());
    let work = |destination: &Repository, _: &Faulty| {
        let from = open(from.clone());
        let all = snapshots(&from);
        let cancel = Cancel::new();
        let outcome = outlast_repo::copy(&from, destination, &all, &NoProgress, &cancel)?;
        outcome
            .failed
            .into_iter()
            .next()
            .map_or(Ok(()), |failed| Err(failed.1))
    };
    let judge = |store: &Arc<MemoryStore>| {
        let after = all_content(store.clone());
        assert!(
            before
                .iter()
                .all(|(id, content)| after.get(id) == Some(content))
        );
        for stored in snapshots(&open(store.clone())) {
            if let Some(original) = stored.snapshot.original {
                assert_eq!(after[&stored.id], from_content[&original]);
            }
        }
    };
    try_everywhere(&to.contents(), &work, &judge);
}

#[test]
fn a_full_store_is_pruned_all_the_same() {
    let store = sample();
    let oldest = oldest(&store);
    forget(&open(store.clone()), &*store, &[oldest]).unwrap();
    let before = all_content(store.clone());
    let faulty = Arc::new(Faulty::new(MemoryStore::from_contents(store.contents())));
    let repository = open(faulty.clone());
    let options = PruneOptions {
        max_unused: MaxUnused::Bytes(0),
        ..PruneOptions::default()
    };
    // Room for a lock, and for nothing else.
    faulty.set_room(Some(1000));
    let result = prune(&repository, &*faulty, &options);
    assert!(
        matches!(result, Err(RepoError::Store(StoreError::Full { .. }))),
        "{result:?}"
    );
    assert_eq!(all_content(faulty.clone()), before);
    faulty.set_room(None);
    let repository = open(faulty.clone());
    let options = PruneOptions {
        recover_space: true,
        ..options
    };
    prune(&repository, &*faulty, &options).unwrap();
    assert_eq!(all_content(faulty.clone()), before);
    assert_index_is_true(faulty);
}
