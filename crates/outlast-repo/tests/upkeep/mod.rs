//! Support for tests of the verbs that remove and rewrite: repositories in memory, what their
//! snapshots hold, and restic as a judge.

#![allow(dead_code, reason = "each test program uses a part of it")]
#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use outlast_format::{BlobHandle, Time};
use outlast_object::{Id, ObjectKind, ObjectName};
use outlast_repo::{
    Cancel, Clock, Environment, ExclusiveLock, InitOptions, NoObserver, OpenOptions, PruneOptions,
    PruneOutcome, Removal, RepoError, Repository, StoredSnapshot, TreeWalk, WalkStep, backup,
};
use outlast_store::{Contents, Deletes, LocalStore, LockStore, MemoryStore, Store};

use crate::support::{MemorySource, PASSWORD, backup_options, tools};

/// A clock that does not wait.
#[derive(Default)]
struct FastClock(AtomicU64);

impl Clock for FastClock {
    fn now(&self) -> Time {
        Time::utc(1_800_000_000, 0)
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.0.fetch_add(1, Ordering::Relaxed))
    }

    fn sleep(&self, _: Duration) {}
}

/// This process, with a clock that does not wait.
pub fn environment() -> Environment {
    Environment {
        clock: Arc::new(FastClock::default()),
        ..Environment::quiet()
    }
}

/// A new repository of this version.
pub fn init_version(store: Arc<dyn LockStore>, version: u32) -> Repository {
    let cost = outlast_format::ScryptCost::RANDOM_PASSWORD;
    let init = InitOptions {
        version,
        ..InitOptions::new(cost)
    };
    Repository::init(
        store,
        environment(),
        PASSWORD,
        &init,
        OpenOptions::default(),
    )
    .unwrap()
}

/// A new repository.
pub fn init(store: Arc<dyn LockStore>) -> Repository {
    init_version(store, 2)
}

/// Opens a repository and loads its index.
pub fn open(store: Arc<dyn LockStore>) -> Repository {
    try_open(store).unwrap()
}

/// The same, where that may fail.
pub fn try_open(store: Arc<dyn LockStore>) -> Result<Repository, RepoError> {
    let repository = Repository::open(store, environment(), PASSWORD, OpenOptions::default())?;
    repository.load_index(&Cancel::new())?;
    Ok(repository)
}

/// Backs up; gives the new snapshot's id.
pub fn back_up(repository: &Repository, source: &MemorySource, seconds: i64) -> Id {
    try_back_up(repository, source, seconds).unwrap()
}

/// The same, where that may fail.
pub fn try_back_up(
    repository: &Repository,
    source: &MemorySource,
    seconds: i64,
) -> Result<Id, RepoError> {
    let options = backup_options(seconds);
    let outcome = backup(repository, source, &options, &NoObserver, &Cancel::new())?;
    Ok(outcome.snapshot.unwrap().0)
}

/// Locks, runs and unlocks.
pub fn with_removal<T>(
    repository: &Repository,
    deletes: &dyn Deletes,
    work: impl FnOnce(&Removal<'_>) -> Result<T, RepoError>,
) -> Result<T, RepoError> {
    let lock = ExclusiveLock::acquire(repository, Duration::ZERO, &Cancel::new())?;
    work(&Removal::new(repository, deletes, &lock)?)
}

/// Prunes.
pub fn prune(
    repository: &Repository,
    deletes: &dyn Deletes,
    options: &PruneOptions,
) -> Result<PruneOutcome, RepoError> {
    with_removal(repository, deletes, |removal| {
        outlast_repo::prune(
            repository,
            removal,
            options,
            &outlast_repo::NoProgress,
            &Cancel::new(),
        )
    })
}

/// Forgets snapshots.
pub fn forget(repository: &Repository, deletes: &dyn Deletes, ids: &[Id]) -> Result<(), RepoError> {
    with_removal(repository, deletes, |removal| {
        let progress = outlast_repo::NoProgress;
        outlast_repo::forget(repository, removal, ids, &progress, &Cancel::new()).map(drop)
    })
}

/// All snapshots with their ids.
pub fn snapshots(repository: &Repository) -> Vec<StoredSnapshot> {
    let all = repository.load_snapshots(&Cancel::new()).unwrap();
    all.into_iter().map(StoredSnapshot::from).collect()
}

/// Hash of each file's content by its path, read from the store blob by blob.
pub fn content_of(repository: &Repository, tree: Id) -> BTreeMap<String, Id> {
    let cancel = Cancel::new();
    let mut walk = TreeWalk::new(repository, Path::new("/"), tree, &cancel);
    let mut content = BTreeMap::new();
    while let Some(step) = walk.step().unwrap() {
        match step {
            WalkStep::Entry(entry) if entry.node.is_file() => {
                let mut bytes = Vec::new();
                for id in entry.node.content.unwrap_or_default() {
                    bytes.extend(repository.load_blob(BlobHandle::data(id)).unwrap());
                }
                let path = entry.path.to_string_lossy().into_owned();
                content.insert(path, outlast_object::hash(&bytes));
            }
            WalkStep::Problem { path, problem } => panic!("{}: {problem}", path.display()),
            _ => {}
        }
    }
    content
}

/// All blobs that snapshots need.
pub fn needed(repository: &Repository) -> HashSet<BlobHandle> {
    let cancel = Cancel::new();
    let mut needed = HashSet::new();
    for stored in snapshots(repository) {
        let tree = stored.snapshot.tree;
        needed.insert(BlobHandle::tree(tree));
        let mut walk = TreeWalk::new(repository, "/".as_ref(), tree, &cancel);
        while let Some(step) = walk.step().unwrap() {
            if let WalkStep::Entry(entry) = step {
                needed.extend(entry.node.subtree.map(BlobHandle::tree));
                let data = entry.node.content.unwrap_or_default();
                needed.extend(data.into_iter().map(BlobHandle::data));
            }
        }
    }
    needed
}

/// What all snapshots of a store hold.
pub fn all_content(store: Arc<dyn LockStore>) -> BTreeMap<Id, BTreeMap<String, Id>> {
    let repository = open(store);
    let mut all = BTreeMap::new();
    for stored in snapshots(&repository) {
        all.insert(stored.id, content_of(&repository, stored.snapshot.tree));
    }
    all
}

/// Fails unless every index entry names a place that is there: a pack with that size whose header
/// lists that blob.
pub fn assert_index_is_true(store: Arc<dyn LockStore>) {
    let repository = open(Arc::clone(&store));
    let index = repository.index();
    for location in index.iter() {
        let pack = location.pack_id;
        let header = outlast_repo::read_pack_header(&*store, repository.key(), pack, None).unwrap();
        assert!(header.contains(&location.blob), "{location:?}");
    }
}

/// Ids of all objects of a kind.
pub fn ids(store: &dyn Store, kind: ObjectKind) -> Vec<Id> {
    let infos = store.list_all(kind).unwrap();
    infos.iter().map(|info| info.id).collect()
}

/// Writes what a store in memory holds into a folder.
pub fn export(contents: &Contents, folder: &Path) {
    let local = LocalStore::open(folder).unwrap();
    local.prepare().unwrap();
    for (name, bytes) in contents {
        local.write(name, bytes).unwrap();
    }
}

/// Runs restic 0.19 on a folder; `None` where it is missing.
pub fn restic(folder: &Path, arguments: &[&str]) -> Option<Output> {
    let program = tools::restic_019()?;
    Some(run_restic(&program, folder, arguments))
}

/// Runs a restic.
pub fn run_restic(program: &Path, folder: &Path, arguments: &[&str]) -> Output {
    Command::new(program)
        .args(["--no-cache", "-r"])
        .arg(folder)
        .args(arguments)
        .env("RESTIC_PASSWORD", std::str::from_utf8(PASSWORD).unwrap())
        .env(
            "RESTIC_FROM_PASSWORD",
            std::str::from_utf8(PASSWORD).unwrap(),
        )
        .output()
        .unwrap()
}

/// Runs restic and fails unless it succeeds; gives its output.
pub fn restic_must(folder: &Path, arguments: &[&str]) -> Option<String> {
    let output = restic(folder, arguments)?;
    assert!(
        output.status.success(),
        "{arguments:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Some(String::from_utf8(output.stdout).unwrap())
}

/// Fails unless both restics find the whole repository in order.
pub fn restics_agree(folder: &Path) {
    for program in [tools::restic_019(), tools::restic_014()]
        .into_iter()
        .flatten()
    {
        let output = run_restic(&program, folder, &["check", "--read-data"]);
        assert!(
            output.status.success(),
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

/// The same for a store in memory.
pub fn restics_agree_on(store: &MemoryStore) {
    let folder = tempfile::tempdir().unwrap();
    export(&store.contents(), folder.path());
    restics_agree(folder.path());
}

/// Removes an object behind everybody's back.
pub fn lose(store: &MemoryStore, kind: ObjectKind, id: Id) {
    store.delete(&ObjectName::new(kind, id)).unwrap();
}
