//! With credentials that neither read packs nor remove anything: what a vault gives to hosts.

#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use outlast_format::{BlobHandle, BlobKind, IndexBlob, IndexFile, IndexPack, PackedBlob};
use outlast_object::{Id, ObjectKind, ObjectName, hash};
use outlast_repo::{
    BackupOptions, BackupOutcome, Cancel, CheckReport, Environment, Finding, NoObserver, Notice,
    ParentSnapshot, ReadData, RepoError, Repository, Severity, StoredSnapshot, TreeWalk, WalkStep,
    backup, needed_objects,
};
use outlast_store::faults::{Fault, FaultPlan, FaultStore, Operation, Pattern, Turn};
use outlast_store::{
    Cached, Capabilities, LockStore, MemoryStore, Refused, RepositoryCache, Restricted, Store,
};
use parking_lot::Mutex;
use support::small::{check_reading, files, init_small, names, open_small, small_packs};
use support::{MemorySource, PASSWORD, backup_options, noise};

type Inner = Arc<FaultStore<Arc<MemoryStore>>>;
type Vault = Arc<Restricted<Inner>>;

/// A repository in a store that behaves as a vault, and a host with a cache.
struct World {
    memory: Arc<MemoryStore>,
    inner: Inner,
    cache: tempfile::TempDir,
}

/// The host's view of it in one run.
struct Run {
    repository: Repository,
    vault: Vault,
    notices: Arc<Mutex<Vec<Notice>>>,
}

impl World {
    fn new() -> Self {
        let memory = Arc::new(MemoryStore::new());
        init_small(memory.clone());
        let inner = Arc::new(FaultStore::new(memory.clone()));
        let cache = tempfile::tempdir().unwrap();
        Self {
            memory,
            inner,
            cache,
        }
    }

    fn lose_cache(&mut self) {
        self.cache = tempfile::tempdir().unwrap();
    }

    /// Opens it with an append token.
    fn open(&self) -> Run {
        self.open_as(Restricted::new(self.inner.clone(), Capabilities::APPEND))
    }

    fn open_as(&self, vault: Restricted<Inner>) -> Run {
        self.inner.clear_trace();
        let vault = Arc::new(vault);
        let notices = Arc::new(Mutex::new(Vec::new()));
        let environment = Environment::of_this_process(notices.clone());
        let repository =
            Repository::open(vault.clone(), environment, PASSWORD, small_packs()).unwrap();
        let id = repository.config().id;
        let cache = RepositoryCache::open(self.cache.path(), &id, SystemTime::now()).unwrap();
        let repository = repository
            .with_notes_folder(cache.folder().to_owned())
            .with_store(|_, store| -> Arc<dyn LockStore> {
                Arc::new(Cached::new(store, Arc::new(cache)))
            });
        repository.load_index(&Cancel::new()).unwrap();
        Run {
            repository,
            vault,
            notices,
        }
    }

    /// Blobs that are stored more than once.
    fn stored_twice(&self) -> usize {
        let repository = open_small(self.memory.clone()).unwrap();
        let index = repository.index();
        let handles: BTreeSet<BlobHandle> = index.iter().map(|l| l.blob.handle).collect();
        index.len() - handles.len()
    }
}

impl Run {
    fn back_up(&self, source: &MemorySource, seconds: i64, parent: Option<Id>) -> BackupOutcome {
        let parent = parent.map(|id| ParentSnapshot {
            id,
            snapshot: self.repository.load_snapshot(id).unwrap(),
        });
        let options = BackupOptions {
            parent,
            adopt_packs: true,
            ..backup_options(seconds)
        };
        backup(
            &self.repository,
            source,
            &options,
            &NoObserver,
            &Cancel::new(),
        )
        .unwrap()
    }

    fn check(&self, read_data: ReadData) -> Result<CheckReport, RepoError> {
        check_reading(&self.repository, read_data)
    }

    /// The paths in a snapshot, or why it cannot be listed.
    fn list(&self, id: Id) -> Result<Vec<String>, String> {
        let tree = self.repository.load_snapshot(id).unwrap().tree;
        let cancel = Cancel::new();
        let mut walk = TreeWalk::new(&self.repository, Path::new("/"), tree, &cancel);
        let mut paths = Vec::new();
        while let Some(step) = walk.step().map_err(|error| error.to_string())? {
            match step {
                WalkStep::Entry(entry) => paths.push(entry.path.display().to_string()),
                WalkStep::Leave(_) => {}
                WalkStep::Problem { problem, .. } => return Err(problem.to_string()),
            }
        }
        Ok(paths)
    }

    /// Neither did a read of a pack reach the store, nor was one tried.
    fn assert_no_pack_was_read(&self, world: &World) {
        assert_eq!(self.vault.refused(), []);
        let reads = world.inner.trace().into_iter().filter(|traced| {
            traced.kind == Some(ObjectKind::Pack)
                && matches!(traced.operation, Operation::Read | Operation::ReadRange)
        });
        assert_eq!(reads.count(), 0);
    }
}

/// The packs that this run stored.
fn names_of_own(run: &Run) -> Vec<Id> {
    run.repository.index().packs().to_vec()
}

fn id_of(outcome: &BackupOutcome) -> Id {
    outcome.snapshot.as_ref().unwrap().0
}

#[test]
fn hosts_back_up_again_and_again_without_reading_a_pack() {
    let world = World::new();
    let first = world.open();
    let outcome = first.back_up(&files(1), 1_700_000_000, None);
    let mut parent = id_of(&outcome);
    first.assert_no_pack_was_read(&world);
    for generation in [1, 2, 3] {
        let run = world.open();
        let seconds = 1_700_000_000 + generation as i64;
        let outcome = run.back_up(&files(generation), seconds, Some(parent));
        run.assert_no_pack_was_read(&world);
        assert_eq!(run.notices.lock().as_slice(), []);
        // What has not changed is taken from the parent, not read.
        let read = outcome.summary.data_added;
        assert!(generation == 1 || read > 0);
        assert!(
            outcome.summary.files_unmodified >= 9,
            "{:?}",
            outcome.summary
        );
        parent = id_of(&outcome);
        // What it needs is known all the same, and to the host as well as to others.
        let needed = outcome.needed.unwrap();
        let whole = open_small(world.memory.clone()).unwrap();
        let snapshot = StoredSnapshot {
            id: parent,
            snapshot: whole.load_snapshot(parent).unwrap(),
        };
        let cancel = Cancel::new();
        let walked = needed_objects(&whole, std::slice::from_ref(&snapshot), &cancel).unwrap();
        assert_eq!(needed, walked);
        let run = world.open();
        assert_eq!(
            needed,
            needed_objects(&run.repository, &[snapshot], &cancel).unwrap()
        );
        run.assert_no_pack_was_read(&world);
    }
    assert_eq!(world.stored_twice(), 0);
    let report = support::small::check_all(world.memory.clone()).unwrap();
    assert!(report.is_sound());
}

#[test]
fn without_the_cache_everything_is_read_and_nothing_is_stored_twice() {
    for announced in [true, false] {
        let mut world = World::new();
        let outcome = world.open().back_up(&files(1), 1_700_000_000, None);
        let (parent, tree) = (id_of(&outcome), outcome.tree);
        let packs = names(&*world.memory, ObjectKind::Pack);
        world.lose_cache();
        let vault = Restricted::new(world.inner.clone(), Capabilities::APPEND);
        let run = world.open_as(if announced {
            vault
        } else {
            vault.unannounced()
        });
        let outcome = run.back_up(&files(1), 1_700_000_100, Some(parent));
        assert_eq!(outcome.tree, tree);
        assert_eq!(outcome.summary.files_unmodified, 0);
        assert_eq!(names(&*world.memory, ObjectKind::Pack), packs);
        assert_eq!(world.stored_twice(), 0);
        // Said once, in one line.
        let notices = run.notices.lock().clone();
        assert_eq!(notices, [Notice::ParentNotCached], "{announced}");
        assert!(!notices[0].to_string().contains('\n'));
        if announced {
            // From then on the trees are here again.
            let parent = id_of(&outcome);
            let run = world.open();
            let outcome = run.back_up(&files(1), 1_700_000_200, Some(parent));
            assert_eq!(run.notices.lock().as_slice(), []);
            assert!(
                outcome.summary.files_unmodified >= 9,
                "{:?}",
                outcome.summary
            );
            assert!(run.list(id_of(&outcome)).unwrap().len() > 9);
            // And what changes then is found as ever.
            let outcome = world.open().back_up(&files(3), 1_700_000_300, Some(parent));
            assert!(outcome.summary.files_unmodified >= 9 && outcome.stored.data_blobs > 0);
            // Damage to what is kept here costs another reading, and no more.
            let id = run.repository.config().id.to_hex();
            let folder = world.cache.path().join(id).join("local-trees");
            for entry in std::fs::read_dir(folder).unwrap() {
                std::fs::write(entry.unwrap().path(), b"junk").unwrap();
            }
            let run = world.open();
            let outcome = run.back_up(&files(1), 1_700_000_400, Some(parent));
            assert_eq!((outcome.tree, outcome.summary.files_unmodified), (tree, 0));
            assert_eq!(run.notices.lock().as_slice(), [Notice::ParentNotCached]);
        }
        // A store that says nothing beforehand is not asked for one tree after the other.
        let tried = run.vault.refused().len();
        assert!(tried <= 12, "{tried} refusals");
    }
}

#[test]
fn snapshots_are_listed_from_the_cache_and_only_from_there() {
    let mut world = World::new();
    let run = world.open();
    let id = id_of(&run.back_up(&files(2), 1_700_000_000, None));
    let run = world.open();
    let snapshots = run.repository.load_snapshots(&Cancel::new()).unwrap();
    assert_eq!(snapshots.len(), 1);
    let paths = run.list(id).unwrap();
    assert!(paths.contains(&"/a/again/same".to_owned()), "{paths:?}");
    run.assert_no_pack_was_read(&world);
    world.lose_cache();
    let run = world.open();
    let error = run.list(id).unwrap_err();
    assert!(error.contains("not for reading data"), "{error}");
    // Data is in no cache.
    let root = run.repository.load_snapshot(id).unwrap().tree;
    let error = run
        .repository
        .load_blob(BlobHandle::tree(root))
        .unwrap_err();
    assert!(error.is_denied(), "{error}");
}

#[test]
fn a_check_says_what_it_could_not_look_at() {
    let mut world = World::new();
    let id = id_of(&world.open().back_up(&files(2), 1_700_000_000, None));
    let run = world.open();
    let report = run.check(ReadData::Nothing).unwrap();
    assert_eq!(report.findings, []);
    assert!(report.totals.trees > 0);
    run.assert_no_pack_was_read(&world);
    let error = run.check(ReadData::Everything).unwrap_err();
    assert!(matches!(error, RepoError::Refused(_)), "{error}");

    world.lose_cache();
    let report = world.open().check(ReadData::Nothing).unwrap();
    assert_eq!(report.findings, [Finding::TreesNotChecked { trees: 1 }]);
    assert_eq!(report.findings[0].severity(), Severity::Warning);
    assert!(report.is_sound() && report.affected.is_empty());
    assert_eq!(
        (report.totals.trees, report.totals.trees_not_checked),
        (0, 1)
    );

    // What can be seen without reading packs is found: one that is gone, one that is cut off.
    let packs = names(&*world.memory, ObjectKind::Pack);
    let bytes = world.memory.read(&packs[0]).unwrap();
    world.memory.replace(&packs[0], &bytes[..bytes.len() - 7]);
    outlast_store::Deletes::delete(&*world.memory, &packs[1]).unwrap();
    let report = world.open().check(ReadData::Nothing).unwrap();
    assert_eq!(report.errors, 2, "{:?}", report.findings);
    let found: BTreeSet<_> = report.findings.iter().filter_map(Finding::object).collect();
    assert_eq!(found, packs[..2].iter().copied().collect());
    assert!(
        world
            .memory
            .exists(&ObjectName::new(ObjectKind::Snapshot, id))
            .unwrap()
    );
}

/// An index that somebody planted makes nobody leave anything out, although no pack can be read to
/// see that it lies.
#[test]
fn lies_of_an_index_show_by_the_sizes_of_packs() {
    lies_show(false);
}

/// Not even packs that the host wrote itself are believed to have what an index adds later.
#[test]
fn lies_about_own_packs_show_as_well() {
    lies_show(true);
}

fn lies_show(with_cache: bool) {
    let mut world = World::new();
    let run = world.open();
    run.back_up(&files(1), 1_700_000_000, None);
    let content = noise(20_000, 77);
    let handle = BlobHandle {
        kind: BlobKind::Data,
        id: hash(&content),
    };
    let lie = |pack: Id| {
        let blob = PackedBlob {
            handle,
            offset: 0,
            length: 20_037,
            uncompressed_length: 0,
        };
        let mut file = IndexFile::default();
        let blobs = vec![IndexBlob::from(&blob)];
        file.packs.push(IndexPack { id: pack, blobs });
        let json = file.to_json().unwrap();
        run.repository
            .save_document(ObjectKind::Index, &json)
            .unwrap();
    };
    // That a pack of the host's own has it, that a pack of others does, that one which is not
    // there does.
    let other = open_small(world.memory.clone()).unwrap();
    let source = MemorySource::default().with("/other", noise(50_000, 5), 1);
    let options = backup_options(1_700_000_050);
    backup(&other, &source, &options, &NoObserver, &Cancel::new()).unwrap();
    let packs = names(&*world.memory, ObjectKind::Pack);
    let own = names_of_own(&run);
    if with_cache {
        own.iter().for_each(|pack| lie(*pack));
    } else {
        packs.iter().for_each(|pack| lie(pack.id()));
        lie(hash(b"no pack"));
    }

    let source = files(1).with("/victim", content, 5);
    if !with_cache {
        world.lose_cache();
    }
    let run = world.open();
    let outcome = run.back_up(&source, 1_700_000_100, None);
    assert!(
        run.notices
            .lock()
            .iter()
            .any(|n| matches!(n, Notice::PoisonedIndex { .. }))
    );
    assert!(
        run.vault
            .refused()
            .iter()
            .all(|r| !matches!(r, Refused::ReadPack(_)))
    );
    let whole = open_small(world.memory.clone()).unwrap();
    let read = support::small::read_snapshot(&whole, id_of(&outcome)).unwrap();
    assert_eq!(read[Path::new("/victim")].as_ref().unwrap().len(), 20_000);
}

/// What a killed run has stored is used by the next one, though its packs cannot be read.
#[test]
fn the_packs_of_a_killed_run_are_not_uploaded_again() {
    let world = World::new();
    let run = world.open();
    let pattern = Pattern::operation(Operation::Write).of(ObjectKind::Index);
    let plan = FaultPlan::one(pattern, Turn::From(1), Fault::CrashBefore);
    world.inner.set_plan(plan);
    let options = backup_options(1_700_000_000);
    let killed = backup(
        &run.repository,
        &files(3),
        &options,
        &NoObserver,
        &Cancel::new(),
    );
    assert!(killed.is_err());
    world.inner.set_plan(FaultPlan::none());
    let left = names(&*world.memory, ObjectKind::Pack);
    assert!(!left.is_empty());
    // Of one pack the store has lost a part; that one is stored anew.
    let bytes = world.memory.read(&left[0]).unwrap();
    world.memory.replace(&left[0], &bytes[..bytes.len() - 1]);
    let run = world.open();
    let outcome = run.back_up(&files(3), 1_700_000_100, None);
    run.assert_no_pack_was_read(&world);
    let notices = run.notices.lock().clone();
    assert_eq!(
        notices,
        [Notice::Adopted {
            packs: left.len() - 1
        }]
    );
    assert_eq!(world.stored_twice(), 0);
    world.memory.replace(&left[0], bytes);
    let whole = open_small(world.memory.clone()).unwrap();
    assert!(support::small::read_snapshot(&whole, id_of(&outcome)).is_ok());
    // Nothing is left over for the run after that.
    let run = world.open();
    run.back_up(&files(3), 1_700_000_200, Some(id_of(&outcome)));
    assert_eq!(run.notices.lock().as_slice(), []);
}
