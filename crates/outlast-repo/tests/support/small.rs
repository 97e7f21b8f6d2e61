//! Small repositories in memory with several packs, and reading back what their snapshots hold.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use outlast_format::{BlobHandle, ScryptCost};
use outlast_object::Id;
use outlast_repo::{
    BackupOptions, BackupOutcome, Cancel, CheckOptions, CheckReport, Environment, InitOptions,
    NoObserver, NoProgress, Notice, OpenOptions, ReadData, RepoError, Repository, TreeWalk,
    WalkStep, backup, check,
};
use outlast_store::{LockStore, MemoryStore, Store};
use parking_lot::Mutex;

use super::{MemorySource, PASSWORD, backup_options, noise};

/// Notices that were heard.
pub type Heard = Arc<Mutex<Vec<Notice>>>;

/// Packs so small that few files make several.
pub const PACK_BYTES: u64 = 40_000;

/// Options of a repository with small packs.
pub fn small_packs() -> OpenOptions {
    OpenOptions {
        pack_bytes: Some(PACK_BYTES),
        ..OpenOptions::default()
    }
}

/// A new repository with small packs.
pub fn init_small(store: Arc<dyn LockStore>) -> Repository {
    let init = InitOptions::new(ScryptCost::RANDOM_PASSWORD);
    Repository::init(store, Environment::quiet(), PASSWORD, &init, small_packs()).unwrap()
}

/// Opens a repository with small packs and loads its index.
pub fn open_small(store: Arc<dyn LockStore>) -> Result<Repository, RepoError> {
    let (repository, _) = open_noting(store)?;
    Ok(repository)
}

/// The same, with the notices that come up.
pub fn open_noting(store: Arc<dyn LockStore>) -> Result<(Repository, Heard), RepoError> {
    let notices = Arc::new(Mutex::new(Vec::new()));
    let environment = Environment::of_this_process(notices.clone());
    let repository = Repository::open(store, environment, PASSWORD, small_packs())?;
    repository.load_index(&Cancel::new())?;
    Ok((repository, notices))
}

/// Files of several kinds, in three directories; `generation` changes some of them.
pub fn files(generation: u64) -> MemorySource {
    let mut source = MemorySource::default()
        .with("/a/empty", "", 10)
        .with("/a/same", noise(30_000, 7), 10)
        .with("/a/again/same", noise(30_000, 7), 10)
        .with(
            "/a/changing",
            noise(25_000, 100 + generation),
            generation as i64,
        )
        .with("/b/text", "all work and no play ".repeat(3000), 10);
    for number in 0..6 {
        source = source.with(&format!("/b/c/{number}"), noise(15_000, 20 + number), 10);
    }
    for number in 0..generation {
        source = source.with(
            &format!("/new/{number}"),
            noise(12_000, 40 + number),
            number as i64,
        );
    }
    source
}

/// Backs up.
pub fn back_up(
    repository: &Repository,
    source: &MemorySource,
    seconds: i64,
) -> Result<BackupOutcome, RepoError> {
    let options = BackupOptions {
        adopt_packs: true,
        ..backup_options(seconds)
    };
    backup(repository, source, &options, &NoObserver, &Cancel::new())
}

/// A store with two snapshots of small files, and their ids.
pub fn two_snapshots() -> (Arc<MemoryStore>, Vec<Id>) {
    let store = Arc::new(MemoryStore::new());
    let repository = init_small(store.clone());
    let first = back_up(&repository, &files(1), 1_700_000_000).unwrap();
    let second = back_up(&repository, &files(2), 1_700_100_000).unwrap();
    let ids = [first, second].map(|outcome| outcome.snapshot.unwrap().0);
    (store, ids.to_vec())
}

/// Everything in a snapshot: paths and contents; directories have none.
pub type Files = BTreeMap<PathBuf, Option<Vec<u8>>>;

/// Reads all that a snapshot holds; any damage is an error.
pub fn read_snapshot(repository: &Repository, id: Id) -> Result<Files, String> {
    let snapshot = repository
        .load_snapshot(id)
        .map_err(|error| error.to_string())?;
    let cancel = Cancel::new();
    let mut walk = TreeWalk::new(repository, Path::new("/"), snapshot.tree, &cancel);
    let mut files = Files::new();
    while let Some(step) = walk.step().map_err(|error| error.to_string())? {
        match step {
            WalkStep::Entry(entry) => {
                let mut content = None;
                if let Some(blobs) = &entry.node.content {
                    let bytes = content.get_or_insert_with(Vec::new);
                    for blob in blobs {
                        let piece = repository.load_blob(BlobHandle::data(*blob));
                        bytes.extend(piece.map_err(|error| error.to_string())?);
                    }
                }
                files.insert(entry.path, content);
            }
            WalkStep::Leave(_) => {}
            WalkStep::Problem { path, problem } => {
                return Err(format!("{}: {problem}", path.display()));
            }
        }
    }
    Ok(files)
}

/// All that the snapshots of a store hold, by snapshot.
pub fn read_all(store: &Arc<MemoryStore>) -> BTreeMap<Id, Files> {
    let repository = open_small(store.clone()).unwrap();
    let snapshots = repository.load_snapshots(&Cancel::new()).unwrap();
    let read = |(id, _)| (id, read_snapshot(&repository, id).unwrap());
    snapshots.into_iter().map(read).collect()
}

/// Checks everything, all bytes included.
pub fn check_all(store: Arc<dyn LockStore>) -> Result<CheckReport, RepoError> {
    check_reading(&open_small(store)?, ReadData::Everything)
}

/// Checks an opened repository.
pub fn check_reading(
    repository: &Repository,
    read_data: ReadData,
) -> Result<CheckReport, RepoError> {
    let options = CheckOptions {
        read_data,
        ..CheckOptions::default()
    };
    check(repository, &options, &NoProgress, &Cancel::new())
}

/// A copy of a store, to do damage to.
pub fn copy_of(store: &MemoryStore) -> Arc<MemoryStore> {
    Arc::new(MemoryStore::from_contents(store.contents()))
}

/// Names of all objects of a kind.
pub fn names(
    store: &dyn Store,
    kind: outlast_object::ObjectKind,
) -> Vec<outlast_object::ObjectName> {
    let infos = store.list_all(kind).unwrap();
    infos
        .iter()
        .map(|info| outlast_object::ObjectName::new(kind, info.id))
        .collect()
}
