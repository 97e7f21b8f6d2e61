//! The local cache: what it saves, what it survives, and how it is looked after.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use outlast_object::{Id, ObjectKind, ObjectName, hash};
use outlast_store::conformance::{self, Demands, name_of, sample_bytes};
use outlast_store::faults::{Damage, FaultStore, Operation};
use outlast_store::{
    CACHE_AGE_MAX, CACHED_PACK_BYTES_MAX, Cached, Deletes, LockStore, MemoryStore, ObjectInfo,
    RepositoryCache, Store, StoreError, list_caches, remove_old_caches,
};

type Remote = Arc<FaultStore<MemoryStore>>;

struct Fixture {
    base: tempfile::TempDir,
    remote: Remote,
}

impl Fixture {
    fn new() -> Self {
        let remote = Arc::new(FaultStore::new(MemoryStore::new()));
        Self {
            base: tempfile::tempdir().unwrap(),
            remote,
        }
    }

    /// The store as another process would open it.
    fn open(&self) -> Cached<Remote> {
        let cache = RepositoryCache::open(self.base.path(), &id(), SystemTime::now()).unwrap();
        Cached::new(Arc::clone(&self.remote), Arc::new(cache))
    }

    fn put(&self, kind: ObjectKind, bytes: &[u8]) -> ObjectName {
        let name = name_of(kind, bytes);
        self.remote.write(&name, bytes).unwrap();
        name
    }

    fn file_of(&self, name: &ObjectName) -> PathBuf {
        let hex = name.id().to_hex();
        let folder = self
            .base
            .path()
            .join(id().to_hex())
            .join(name.kind().folder());
        folder.join(&hex[..2]).join(&hex)
    }

    fn asked(&self, operation: Operation) -> usize {
        self.remote
            .trace()
            .iter()
            .filter(|traced| traced.operation == operation)
            .count()
    }
}

fn id() -> Id {
    hash(b"the repository")
}

#[test]
fn conforms() {
    let base = tempfile::tempdir().unwrap();
    conformance::run(
        Demands {
            objects: 200,
            deletes: true,
        },
        &mut |check| {
            let id = hash(check.as_bytes());
            let cache = RepositoryCache::open(base.path(), &id, SystemTime::now())?;
            Ok(Arc::new(Cached::new(MemoryStore::new(), Arc::new(cache))))
        },
    )
    .unwrap();
}

/// Declares every pack that it is asked for.
struct TreesOnly(Cached<MemoryStore>);

impl TreesOnly {
    fn declared(&self, name: &ObjectName) -> &Cached<MemoryStore> {
        self.0.declare_tree_packs(&[name.id()]);
        &self.0
    }
}

impl Store for TreesOnly {
    fn location(&self) -> String {
        self.0.location()
    }
    fn prepare(&self) -> Result<(), StoreError> {
        self.0.prepare()
    }
    fn write(&self, name: &ObjectName, bytes: &[u8]) -> Result<(), StoreError> {
        self.declared(name).write(name, bytes)
    }
    fn read(&self, name: &ObjectName) -> Result<Vec<u8>, StoreError> {
        self.declared(name).read(name)
    }
    fn read_range(&self, name: &ObjectName, at: u64, len: usize) -> Result<Vec<u8>, StoreError> {
        self.declared(name).read_range(name, at, len)
    }
    fn size(&self, name: &ObjectName) -> Result<u64, StoreError> {
        self.0.size(name)
    }
    fn list(&self, kind: ObjectKind, visit: &mut dyn FnMut(ObjectInfo)) -> Result<(), StoreError> {
        self.0.list(kind, visit)
    }
}

impl LockStore for TreesOnly {
    fn remove_lock(&self, id: &Id) -> Result<(), StoreError> {
        self.0.remove_lock(id)
    }
}

impl Deletes for TreesOnly {
    fn delete(&self, name: &ObjectName) -> Result<(), StoreError> {
        self.0.delete(name)
    }
}

#[test]
fn conforms_with_every_pack_cached() {
    let base = tempfile::tempdir().unwrap();
    conformance::run(
        Demands {
            objects: 50,
            deletes: true,
        },
        &mut |check| {
            let id = hash(check.as_bytes());
            let cache = RepositoryCache::open(base.path(), &id, SystemTime::now())?;
            Ok(Arc::new(TreesOnly(Cached::new(
                MemoryStore::new(),
                Arc::new(cache),
            ))))
        },
    )
    .unwrap();
}

#[test]
fn indexes_and_snapshots_are_fetched_once() {
    let fixture = Fixture::new();
    for kind in [ObjectKind::Index, ObjectKind::Snapshot] {
        let name = fixture.put(kind, b"content");
        fixture.remote.clear_trace();
        for _ in 0..3 {
            assert_eq!(fixture.open().read(&name).unwrap(), b"content");
        }
        assert_eq!(fixture.asked(Operation::Read), 1);
        // What was written here need not be fetched at all.
        let written = name_of(kind, b"written");
        fixture.open().write(&written, b"written").unwrap();
        assert_eq!(fixture.open().read(&written).unwrap(), b"written");
        assert_eq!(fixture.asked(Operation::Read), 1);
    }
    // Keys, locks and the config are always asked for.
    for kind in [
        ObjectKind::Key,
        ObjectKind::Lock,
        ObjectKind::Config,
        ObjectKind::Pack,
    ] {
        let name = fixture.put(kind, b"content");
        fixture.remote.clear_trace();
        let store = fixture.open();
        store.read(&name).unwrap();
        store.read(&name).unwrap();
        store.read_range(&name, 1, 2).unwrap();
        assert_eq!(fixture.asked(Operation::Read), 2, "{kind}");
        assert_eq!(fixture.asked(Operation::ReadRange), 1, "{kind}");
    }
}

#[test]
fn tree_packs_are_fetched_whole_and_once_however_many_ask() {
    let fixture = Fixture::new();
    let bytes = sample_bytes(1, 100_000);
    let name = fixture.put(ObjectKind::Pack, &bytes);
    fixture.remote.clear_trace();
    let store = fixture.open();
    store.declare_tree_packs(&[name.id()]);
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (store, bytes, name) = (&store, &bytes, &name);
            scope.spawn(move || {
                for at in (thread * 100..90_000).step_by(9_000) {
                    let range = store.read_range(name, at as u64, 500).unwrap();
                    assert_eq!(range, bytes[at..at + 500]);
                }
            });
        }
    });
    assert_eq!(fixture.asked(Operation::Read), 1);
    assert_eq!(fixture.asked(Operation::ReadRange), 0);
    // Beyond its end the answer is the store's.
    let error = store.read_range(&name, 99_999, 2).unwrap_err();
    assert!(matches!(error, StoreError::Truncated { .. }), "{error}");

    // A tree pack written here is kept at once.
    let own = sample_bytes(2, 1000);
    let own_name = name_of(ObjectKind::Pack, &own);
    store.declare_tree_packs(&[own_name.id()]);
    store.write(&own_name, &own).unwrap();
    fixture.remote.vanish();
    assert_eq!(store.read_range(&own_name, 10, 10).unwrap(), own[10..20]);
}

#[test]
fn huge_tree_packs_are_read_in_ranges() {
    let fixture = Fixture::new();
    let bytes = vec![7; CACHED_PACK_BYTES_MAX as usize + 1];
    let name = fixture.put(ObjectKind::Pack, &bytes);
    let store = fixture.open();
    store.declare_tree_packs(&[name.id()]);
    for _ in 0..3 {
        assert_eq!(store.read_range(&name, 5, 3).unwrap(), [7; 3]);
    }
    assert_eq!(fixture.asked(Operation::Read), 0);
    assert_eq!(fixture.asked(Operation::ReadRange), 3);
    assert_eq!(fixture.asked(Operation::Size), 1);
}

#[test]
fn damaged_entries_are_dropped_and_fetched_again() {
    let fixture = Fixture::new();
    let bytes = sample_bytes(3, 1000);
    for kind in [ObjectKind::Index, ObjectKind::Snapshot, ObjectKind::Pack] {
        let name = fixture.put(kind, &bytes);
        let open = || {
            let store = fixture.open();
            store.declare_tree_packs(&[name.id()]);
            store
        };
        open().read(&name).unwrap();
        let file = fixture.file_of(&name);
        let damages: [&dyn Fn(); 4] = [
            &|| {
                let mut flipped = bytes.clone();
                flipped[999] ^= 1;
                fs::write(&file, flipped).unwrap();
            },
            &|| fs::write(&file, &bytes[..500]).unwrap(),
            &|| fs::write(&file, b"").unwrap(),
            &|| fs::remove_file(&file).unwrap(),
        ];
        for damage in damages {
            damage();
            fixture.remote.clear_trace();
            assert_eq!(open().read(&name).unwrap(), bytes);
            damage();
            assert_eq!(open().read_range(&name, 990, 10).unwrap(), bytes[990..]);
            let fetched = fixture.asked(Operation::Read) + fixture.asked(Operation::ReadRange);
            assert_eq!(fetched, 2, "{kind}");
            // A range of an index or snapshot fetches just that; the next whole read mends the rest.
            open().read(&name).unwrap();
            assert_eq!(fs::read(&file).unwrap(), bytes);
        }
    }
}

#[test]
fn what_is_damaged_at_the_store_is_passed_on_and_never_kept() {
    let fixture = Fixture::new();
    let bytes = sample_bytes(4, 1000);
    for kind in [ObjectKind::Index, ObjectKind::Pack] {
        let name = fixture.put(kind, &bytes);
        fixture.remote.damage(&name, Damage::FlippedBit(80));
        let store = fixture.open();
        store.declare_tree_packs(&[name.id()]);
        assert_ne!(store.read(&name).unwrap(), bytes);
        // The undamaged part of a pack can still be had, without fetching it whole each time.
        fixture.remote.clear_trace();
        for _ in 0..5 {
            assert_eq!(store.read_range(&name, 500, 100).unwrap(), bytes[500..600]);
        }
        assert!(fixture.asked(Operation::Read) <= 1);
        assert!(!fixture.file_of(&name).exists());
        fixture.remote.heal();
        assert_eq!(store.read(&name).unwrap(), bytes);
        assert!(fixture.file_of(&name).exists());
    }
}

#[test]
fn a_cache_that_cannot_be_written_changes_nothing() {
    let fixture = Fixture::new();
    let bytes = sample_bytes(5, 1000);
    let index = fixture.put(ObjectKind::Index, &bytes);
    let pack = fixture.put(ObjectKind::Pack, &bytes);
    let store = fixture.open();
    store.declare_tree_packs(&[pack.id()]);
    // A file where its folder should be refuses everybody, root too.
    let folder = store.cache().folder().to_owned();
    fs::remove_dir_all(&folder).unwrap();
    fs::write(&folder, b"").unwrap();
    for _ in 0..2 {
        assert_eq!(store.read(&index).unwrap(), bytes);
        assert_eq!(store.read_range(&pack, 10, 10).unwrap(), bytes[10..20]);
        let new = name_of(ObjectKind::Snapshot, b"snapshot");
        store.write(&new, b"snapshot").unwrap();
        assert_eq!(store.read(&new).unwrap(), b"snapshot");
        assert_eq!(store.list_all(ObjectKind::Snapshot).unwrap().len(), 1);
        store.delete(&new).unwrap();
    }
    assert!(!store.cache().remember("note", b"x"));
    assert_eq!(store.cache().recall("note"), None);
    assert!(RepositoryCache::open(fixture.base.path(), &id(), SystemTime::now()).is_err());
}

#[test]
fn a_cache_removed_while_in_use_is_made_anew() {
    let fixture = Fixture::new();
    let name = fixture.put(ObjectKind::Snapshot, b"snapshot");
    let store = fixture.open();
    store.read(&name).unwrap();
    fs::remove_dir_all(store.cache().folder()).unwrap();
    assert_eq!(store.read(&name).unwrap(), b"snapshot");
    assert!(fixture.file_of(&name).exists());
}

#[test]
fn what_the_store_no_longer_lists_is_dropped() {
    let fixture = Fixture::new();
    let store = fixture.open();
    let names: Vec<ObjectName> = [b"a", b"b", b"c"]
        .iter()
        .map(|bytes| fixture.put(ObjectKind::Index, *bytes))
        .collect();
    for name in &names {
        store.read(name).unwrap();
    }
    fixture.remote.inner().delete(&names[0]).unwrap();
    // A listing that fails drops nothing.
    fixture.remote.vanish();
    assert!(store.list_all(ObjectKind::Index).is_err());
    assert_eq!(store.cache().list(ObjectKind::Index).len(), 3);
    fixture.remote.come_back();
    assert_eq!(store.list_all(ObjectKind::Index).unwrap().len(), 2);
    assert_eq!(store.cache().list(ObjectKind::Index).len(), 2);
    assert!(store.read(&names[0]).unwrap_err().is_not_found());

    store.delete(&names[1]).unwrap();
    assert!(!fixture.file_of(&names[1]).exists());
    store.cache().retain(ObjectKind::Index, &[].into());
    assert!(!fixture.file_of(&names[2]).exists());
}

#[test]
fn notes_are_kept_whole_or_not_at_all() {
    let fixture = Fixture::new();
    let store = fixture.open();
    let cache = store.cache();
    assert_eq!(cache.recall("verified-packs"), None);
    assert!(cache.remember("verified-packs", b"one"));
    assert!(cache.remember("verified-packs", b"two"));
    assert!(cache.remember("empty", b""));
    assert_eq!(
        fixture.open().cache().recall("verified-packs").unwrap(),
        b"two"
    );
    assert_eq!(fixture.open().cache().recall("empty").unwrap(), b"");
    let file = cache.folder().join("notes/verified-packs");
    let mut bytes = fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&file, bytes).unwrap();
    assert_eq!(cache.recall("verified-packs"), None);
    for bad in ["", "../x", "A", "a/b", "a.b", &"a".repeat(65)] {
        assert!(!cache.remember(bad, b"x"), "{bad}");
        assert_eq!(cache.recall(bad), None);
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn caches_are_private_tagged_and_looked_after() {
    let base = tempfile::tempdir().unwrap();
    let base = base.path().join("cache");
    assert_eq!(list_caches(&base).unwrap(), []);
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let (old, new) = (hash(b"old"), hash(b"new"));
    let cache = RepositoryCache::open(&base, &old, now - CACHE_AGE_MAX * 2).unwrap();
    assert!(cache.remember("note", &[0; 1000]));
    // Opening sets the time of the last use; whatever is made in between does too.
    RepositoryCache::open(&base, &old, now - CACHE_AGE_MAX * 2).unwrap();
    RepositoryCache::open(&base, &new, now).unwrap();
    let tag = fs::read_to_string(base.join("CACHEDIR.TAG")).unwrap();
    assert!(tag.starts_with("Signature: 8a477f597d28d172789f06886806bc55\n"));
    assert_eq!(mode(&base), 0o700);
    assert_eq!(mode(cache.folder()), 0o700);
    assert_eq!(mode(&cache.folder().join("notes/note")), 0o600);

    // Folders that were not made as caches are none of our business.
    let foreign = base.join(hash(b"foreign").to_hex());
    fs::create_dir(&foreign).unwrap();
    fs::create_dir(base.join("documents")).unwrap();
    std::os::unix::fs::symlink(cache.folder(), base.join(hash(b"link").to_hex())).unwrap();
    let caches = list_caches(&base).unwrap();
    assert_eq!(
        caches.iter().map(|cache| cache.id).collect::<Vec<_>>(),
        [old, new]
    );
    assert!(caches[0].bytes() > 1000);
    assert_eq!(caches[0].age(now), CACHE_AGE_MAX * 2);

    let removed = remove_old_caches(&base, CACHE_AGE_MAX, now).unwrap();
    assert_eq!(removed.len(), 1);
    assert!(removed[0].1.is_ok());
    assert!(!cache.folder().exists());
    assert_eq!(list_caches(&base).unwrap().len(), 1);
    assert!(foreign.exists());

    // A cache of a later version is left alone.
    fs::write(base.join(new.to_hex()).join("version"), "99").unwrap();
    assert!(RepositoryCache::open(&base, &new, now).is_err());
}

#[test]
fn temporary_files_of_killed_processes_go() {
    let fixture = Fixture::new();
    let folder = fixture.open().cache().folder().join("tmp");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("left"), b"x").unwrap();
    fixture.open();
    assert!(folder.join("left").exists());
    let tomorrow = SystemTime::now() + Duration::from_secs(25 * 60 * 60);
    RepositoryCache::open(fixture.base.path(), &id(), tomorrow).unwrap();
    assert!(!folder.join("left").exists());
}
