//! A repository behind a cache reads no tree twice.

#![allow(clippy::unwrap_used)]

mod handmade;

use std::sync::Arc;
use std::time::SystemTime;

use handmade::{Handmade, PASSWORD};
use outlast_format::BlobKind;
use outlast_object::{Id, ObjectKind};
use outlast_repo::{Cancel, Environment, OpenOptions, Repository};
use outlast_store::faults::{FaultStore, Operation};
use outlast_store::{Cached, MemoryStore, RepositoryCache};
use parking_lot::Mutex;

type Remote = Arc<FaultStore<Arc<MemoryStore>>>;

fn open(remote: &Remote, base: &std::path::Path) -> Repository {
    let environment = Environment::of_this_process(Arc::new(Mutex::new(Vec::new())));
    let options = OpenOptions::default();
    let repository = Repository::open(remote.clone(), environment, PASSWORD, options).unwrap();
    let repository = repository.with_store(|config, store| {
        let cache = RepositoryCache::open(base, &config.id, SystemTime::now()).unwrap();
        Arc::new(Cached::new(store, Arc::new(cache)))
    });
    repository.load_index(&Cancel::new()).unwrap();
    repository
}

#[test]
fn trees_and_indexes_are_fetched_once_and_data_is_not_kept() {
    let made = Handmade::new();
    let data = made.data(b"some data");
    let tree = made.tree(&[]);
    let remote: Remote = Arc::new(FaultStore::new(Arc::clone(&made.store)));
    let base = tempfile::tempdir().unwrap();
    let fetched = |kind: ObjectKind| {
        let trace = remote.trace();
        let reads = [Operation::Read, Operation::ReadRange];
        trace
            .iter()
            .filter(|t| t.kind == Some(kind) && reads.contains(&t.operation))
            .count()
    };
    let read = |repository: &Repository, kind: BlobKind, id: Id| {
        repository
            .load_blob(outlast_format::BlobHandle { kind, id })
            .unwrap()
    };
    let first = open(&remote, base.path());
    read(&first, BlobKind::Tree, tree);
    let (packs, indexes) = (fetched(ObjectKind::Pack), fetched(ObjectKind::Index));
    assert_eq!(packs, 1);
    let second = open(&remote, base.path());
    read(&second, BlobKind::Tree, tree);
    assert_eq!(fetched(ObjectKind::Pack), packs);
    assert_eq!(fetched(ObjectKind::Index), indexes);
    for _ in 0..2 {
        read(&second, BlobKind::Data, data);
    }
    assert_eq!(fetched(ObjectKind::Pack), packs + 2);
}
