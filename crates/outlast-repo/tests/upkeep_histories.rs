//! Random histories of backups, forgetting and pruning: what should be there is, and nothing else.

#![allow(clippy::unwrap_used)]

mod support;
mod upkeep;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use outlast_format::BlobHandle;
use outlast_object::{Id, hash};
use outlast_repo::{MaxUnused, PruneOptions};
use outlast_store::MemoryStore;
use proptest::prelude::*;
use support::{MemorySource, noise};
use upkeep::{
    all_content, assert_index_is_true, back_up, forget, init, needed, open, prune, restics_agree_on,
};

#[derive(Debug, Clone)]
enum Step {
    /// Back up these files: numbers from 0 to 30, each with a version.
    BackUp(Vec<(u8, u8)>),
    /// Forget snapshots, chosen by number.
    Forget(Vec<usize>),
    /// Prune, leaving so many percent of unused data.
    Prune(u8),
    /// Prune and merge small packs.
    Merge,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => prop::collection::vec((0_u8..30, 0_u8..3), 1..20).prop_map(Step::BackUp),
        2 => prop::collection::vec(any::<usize>(), 1..3).prop_map(Step::Forget),
        2 => (0_u8..60).prop_map(Step::Prune),
        1 => Just(Step::Prune(0)),
        1 => Just(Step::Merge),
    ];
    prop::collection::vec(step, 3..14)
}

fn content(file: u8, version: u8) -> Vec<u8> {
    // Files of the same version and remainder have the same content.
    let seed = u64::from(file % 17) * 10 + u64::from(version);
    noise(500 + usize::from(file) * 40, seed)
}

fn run(history: &[Step], judge_by_restic: bool) {
    let store = Arc::new(MemoryStore::new());
    drop(init(store.clone()));
    let mut model: BTreeMap<Id, BTreeMap<String, Id>> = BTreeMap::new();
    for (number, step) in history.iter().enumerate() {
        let repository = open(store.clone());
        match step {
            Step::BackUp(files) => {
                let mut source = MemorySource::default();
                let mut expected = BTreeMap::new();
                for (file, version) in files {
                    let path = format!("/d{}/f{file}", file % 4);
                    let bytes = content(*file, *version);
                    expected.insert(path.clone(), hash(&bytes));
                    source = source.with(&path, bytes, i64::from(*version));
                }
                let id = back_up(&repository, &source, 1_700_000_000 + number as i64);
                model.insert(id, expected);
            }
            Step::Forget(choices) if !model.is_empty() => {
                let all: Vec<Id> = model.keys().copied().collect();
                let gone: Vec<Id> = choices.iter().map(|at| all[at % all.len()]).collect();
                forget(&repository, &*store, &gone).unwrap();
                model.retain(|id, _| !gone.contains(id));
            }
            Step::Forget(_) => {}
            Step::Prune(percent) => {
                let options = PruneOptions {
                    max_unused: MaxUnused::Percent((*percent).into()),
                    ..PruneOptions::default()
                };
                let outcome = prune(&repository, &*store, &options).unwrap();
                let statistics = outcome.preview.statistics.bytes;
                let limit = options.max_unused.bytes(statistics.used);
                assert!(statistics.remaining_unused <= limit, "{statistics:?}");
                if *percent == 0 {
                    let repository = open(store.clone());
                    let listed: Vec<BlobHandle> = repository
                        .index()
                        .iter()
                        .map(|claim| claim.blob.handle)
                        .collect();
                    assert_eq!(listed.len(), needed(&repository).len());
                    assert_eq!(
                        listed.into_iter().collect::<HashSet<_>>(),
                        needed(&repository)
                    );
                }
            }
            Step::Merge => {
                let options = PruneOptions {
                    repack_small: true,
                    ..PruneOptions::default()
                };
                prune(&repository, &*store, &options).unwrap();
            }
        }
        assert_eq!(all_content(store.clone()), model, "after step {number}");
        assert_index_is_true(store.clone());
    }
    if judge_by_restic {
        restics_agree_on(&store);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn what_should_be_there_is_and_nothing_else(history in steps()) {
        run(&history, false);
    }
}

#[test]
fn restic_agrees_after_a_long_history() {
    let mut history = Vec::new();
    for round in 0..12_u8 {
        let files = (0..20)
            .map(|file| ((file + round) % 30, round % 3))
            .collect();
        history.push(Step::BackUp(files));
        history.push(Step::Forget(vec![usize::from(round) * 7]));
        history.push(Step::Prune(round * 4));
    }
    run(&history, true);
}
