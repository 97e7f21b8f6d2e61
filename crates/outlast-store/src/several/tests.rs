//! Places that are slow, silent, away, new, behind or another's.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Instant;

use parking_lot::Mutex;

use super::*;
use crate::{MemoryStore, Restricted};

const CONFIG: &[u8] = &[7; 155];

/// A place that can be made to hang, to crawl or to fail.
#[derive(Default)]
struct Odd {
    inner: MemoryStore,
    delay: Duration,
    hangs: AtomicBool,
    fails: AtomicBool,
    garbles: bool,
    released: Mutex<Option<Receiver<()>>>,
}

impl Odd {
    fn trouble(&self, name: &ObjectName) -> Result<(), StoreError> {
        if self.hangs.load(Ordering::SeqCst) {
            // Until the test ends.
            let receiver = self.released.lock().take();
            if let Some(receiver) = receiver {
                let _ = receiver.recv();
            }
        }
        std::thread::sleep(self.delay);
        if self.fails.load(Ordering::SeqCst) {
            return Err(StoreError::Full {
                location: "odd".to_owned(),
                reason: format!("no room for {name}"),
            });
        }
        Ok(())
    }
}

impl Store for Odd {
    fn location(&self) -> String {
        "odd".to_owned()
    }
    fn prepare(&self) -> Result<(), StoreError> {
        self.inner.prepare()
    }
    fn write(&self, name: &ObjectName, bytes: &[u8]) -> Result<(), StoreError> {
        self.trouble(name)?;
        self.inner.write(name, bytes)
    }
    fn read(&self, name: &ObjectName) -> Result<Vec<u8>, StoreError> {
        let mut bytes = self.inner.read(name)?;
        if self.garbles && name.kind() != ObjectKind::Config {
            bytes.iter_mut().for_each(|byte| *byte ^= 1);
        }
        Ok(bytes)
    }
    fn read_range(&self, name: &ObjectName, at: u64, length: usize) -> Result<Vec<u8>, StoreError> {
        self.inner.read_range(name, at, length)
    }
    fn size(&self, name: &ObjectName) -> Result<u64, StoreError> {
        self.inner.size(name)
    }
    fn list(&self, kind: ObjectKind, visit: &mut dyn FnMut(ObjectInfo)) -> Result<(), StoreError> {
        self.inner.list(kind, visit)
    }
}

impl LockStore for Odd {
    fn remove_lock(&self, id: &Id) -> Result<(), StoreError> {
        self.inner.remove_lock(id)
    }
}

impl Deletes for Odd {
    fn delete(&self, name: &ObjectName) -> Result<(), StoreError> {
        self.inner.delete(name)
    }
}

fn with_config() -> MemoryStore {
    let store = MemoryStore::new();
    store.write(&ObjectName::CONFIG, CONFIG).unwrap();
    store
}

fn odd() -> Odd {
    Odd {
        inner: with_config(),
        ..Odd::default()
    }
}

fn place(name: &str, store: Arc<dyn Deletes>) -> Place {
    Place {
        name: name.to_owned(),
        connect: Box::new(move || Ok(store)),
    }
}

/// One that may add and not read.
fn blind(store: Arc<dyn Deletes>) -> Arc<dyn Deletes> {
    Arc::new(Restricted::new(store, Capabilities::APPEND))
}

fn away(name: &str) -> Place {
    let error = || StoreError::Unavailable {
        operation: "connect".to_owned(),
        location: "nowhere".to_owned(),
        reason: "no route".to_owned(),
    };
    Place {
        name: name.to_owned(),
        connect: Box::new(move || Err(error())),
    }
}

fn options() -> SeveralOptions {
    SeveralOptions {
        memory_bytes: 100_000,
        patience: Duration::from_millis(300),
        ..SeveralOptions::default()
    }
}

fn object(kind: ObjectKind, seed: u64) -> (ObjectName, Vec<u8>) {
    let bytes = hash(&seed.to_le_bytes()).as_bytes().repeat(32);
    (ObjectName::new(kind, hash(&bytes)), bytes)
}

fn put(store: &Several, kind: ObjectKind, seed: u64) -> ObjectName {
    let (name, bytes) = object(kind, seed);
    store.write(&name, &bytes).unwrap();
    name
}

/// Packs, their index, their snapshot.
fn back_up(store: &Several, packs: u64) -> Vec<ObjectName> {
    let mut names: Vec<_> = (0..packs)
        .map(|seed| put(store, ObjectKind::Pack, seed))
        .collect();
    names.push(put(store, ObjectKind::Index, 1000));
    names.push(put(store, ObjectKind::Snapshot, 1001));
    names
}

fn has_all(store: &dyn Store, names: &[ObjectName]) -> bool {
    names.iter().all(|name| store.exists(name).unwrap())
}

/// What a place shows must be whole: an index or a snapshot only with everything before it.
fn shows_nothing_torn(store: &dyn Store, names: &[ObjectName]) -> bool {
    let shows = |name: &ObjectName| name.kind() != ObjectKind::Pack && store.exists(name).unwrap();
    !names.iter().any(shows) || has_all(store, &names[..names.len() - 2])
}

#[test]
fn everything_arrives_everywhere() {
    let stores: Vec<_> = (0..3).map(|_| Arc::new(odd())).collect();
    let places = stores.iter().enumerate();
    let places = places.map(|(at, store)| place(&at.to_string(), store.clone()));
    let several = Several::open(places.collect(), options()).unwrap();
    let names = back_up(&several, 50);
    let reports = several.finish();
    assert!(reports.iter().all(Report::is_complete), "{reports:?}");
    assert!(stores.iter().all(|store| has_all(&**store, &names)));
    // After the end nothing is taken that could be lost.
    let (name, bytes) = object(ObjectKind::Pack, 77);
    assert!(several.write(&name, &bytes).is_err());
}

/// A place that hangs costs next to nothing, and what it lacks is in the spool, to the last object.
#[test]
fn a_place_that_hangs_holds_nobody_up() {
    let folder = tempfile::tempdir().unwrap();
    let spool = Arc::new(Spool::open(folder.path(), 1 << 30).unwrap());
    let (release, released): (Sender<()>, _) = channel();
    let silent = Arc::new(Odd {
        released: Mutex::new(Some(released)),
        ..odd()
    });
    silent.hangs.store(true, Ordering::SeqCst);
    let good = Arc::new(odd());
    let places = vec![
        place("good", blind(good.clone())),
        place("silent", blind(silent.clone())),
    ];
    let options = SeveralOptions {
        spool: Some(spool.clone()),
        connections: 1,
        ..options()
    };
    let began = Instant::now();
    let several = Several::open(places, options).unwrap();
    let names = back_up(&several, 200);
    let reports = several.finish();
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    assert!(has_all(&*good, &names));
    assert!(reports[0].is_complete());
    assert_eq!(reports[1].missing, 202);
    let spooled = spool.names().unwrap();
    assert!(names.iter().all(|name| spooled.contains(name)));
    drop(release);
}

/// One that crawls gets what it can; it never shows what is not whole.
#[test]
fn a_place_that_crawls_holds_nobody_up() {
    let folder = tempfile::tempdir().unwrap();
    for spool in [
        None,
        Some(Arc::new(Spool::open(folder.path(), 50_000).unwrap())),
    ] {
        let slow = Arc::new(Odd {
            delay: Duration::from_millis(100),
            ..odd()
        });
        let good = Arc::new(odd());
        let places = vec![
            place("slow", blind(slow.clone())),
            place("good", blind(good.clone())),
        ];
        let options = SeveralOptions { spool, ..options() };
        let began = Instant::now();
        let several = Several::open(places, options).unwrap();
        let names = back_up(&several, 300);
        let reports = several.finish();
        assert!(
            began.elapsed() < Duration::from_secs(6),
            "{:?}",
            began.elapsed()
        );
        assert!(has_all(&*good, &names));
        assert!(reports[0].missing > 0 && !reports[0].is_complete());
        assert!(shows_nothing_torn(&slow.inner, &names));
    }
}

/// One that is about as fast as the others is waited for.
#[test]
fn a_place_that_lags_a_little_gets_everything() {
    let slower = Arc::new(Odd {
        delay: Duration::from_millis(6),
        ..odd()
    });
    let good = Arc::new(Odd {
        delay: Duration::from_millis(5),
        ..odd()
    });
    let places = vec![place("good", good), place("slower", slower.clone())];
    let several = Several::open(places, options()).unwrap();
    let names = back_up(&several, 100);
    let reports = several.finish();
    assert!(reports.iter().all(Report::is_complete), "{reports:?}");
    assert!(has_all(&*slower, &names));
}

/// Wherever one place fails, the other has everything, and the spool what the first lacks.
#[test]
fn a_place_that_fails_at_any_moment_is_left_out() {
    for fails_at in 0..8 {
        let folder = tempfile::tempdir().unwrap();
        let spool = Arc::new(Spool::open(folder.path(), 1 << 30).unwrap());
        let failing = Arc::new(odd());
        let good = Arc::new(odd());
        let places = vec![
            place("failing", blind(failing.clone())),
            place("good", blind(good.clone())),
        ];
        let options = SeveralOptions {
            spool: Some(spool.clone()),
            ..options()
        };
        let several = Several::open(places, options).unwrap();
        let mut names = Vec::new();
        for seed in 0..8 {
            if seed == fails_at {
                failing.fails.store(true, Ordering::SeqCst);
            }
            names.push(put(&several, ObjectKind::Pack, seed));
        }
        names.push(put(&several, ObjectKind::Index, 1000));
        names.push(put(&several, ObjectKind::Snapshot, 1001));
        let reports = several.finish();
        assert!(has_all(&*good, &names));
        assert!(!reports[0].is_complete());
        let spooled = spool.names().unwrap();
        for name in &names {
            let there = failing.exists(name).unwrap() || spooled.contains(name);
            assert!(there, "{fails_at}: {name} is nowhere");
        }
        assert!(shows_nothing_torn(&*failing, &names));
        let reason = format!("{:?}", reports[0].standing);
        assert!(reason.contains("no room"), "{reason}");
    }
}

#[test]
fn if_every_place_fails_so_does_the_write() {
    let stores = [Arc::new(odd()), Arc::new(odd())];
    let places = stores.iter().map(|store| place("x", store.clone()));
    let several = Several::open(places.collect(), options()).unwrap();
    put(&several, ObjectKind::Pack, 1);
    for store in &stores {
        store.fails.store(true, Ordering::SeqCst);
    }
    let (name, bytes) = object(ObjectKind::Pack, 2);
    let error = several.write(&name, &bytes).unwrap_err();
    assert!(error.to_string().contains("no room"), "{error}");
    let (name, bytes) = object(ObjectKind::Pack, 3);
    assert!(several.write(&name, &bytes).is_err());
}

#[test]
fn a_place_that_is_away_from_the_start_misses_everything() {
    let folder = tempfile::tempdir().unwrap();
    let spool = Arc::new(Spool::open(folder.path(), 1 << 30).unwrap());
    let good = Arc::new(odd());
    let places = vec![away("gone"), place("good", blind(good.clone()))];
    let options = SeveralOptions {
        spool: Some(spool.clone()),
        ..options()
    };
    let several = Several::open(places, options).unwrap();
    assert_eq!(several.primary(), "good");
    let names = back_up(&several, 10);
    let reports = several.finish();
    assert_eq!((reports[0].missing, reports[1].missing), (12, 0));
    assert_eq!(spool.names().unwrap().len(), names.len());
    let nobody = Several::open(vec![away("a"), away("b")], self::options());
    assert!(nobody.is_err_and(|error| error.to_string().contains("a: nowhere")));
}

/// Where another place can be read, nothing is kept on this machine.
#[test]
fn what_can_be_read_back_is_not_spooled() {
    let folder = tempfile::tempdir().unwrap();
    let spool = Arc::new(Spool::open(folder.path(), 1 << 30).unwrap());
    let places = vec![away("gone"), place("good", Arc::new(odd()))];
    let options = SeveralOptions {
        spool: Some(spool.clone()),
        ..options()
    };
    let several = Several::open(places, options).unwrap();
    back_up(&several, 10);
    several.finish();
    assert_eq!(spool.bytes(), 0);
}

#[test]
fn a_new_place_gets_keys_and_config_and_shows_nothing_before_it_has_everything() {
    let old = Arc::new(odd());
    let (key, key_bytes) = object(ObjectKind::Key, 5);
    let (index, index_bytes) = object(ObjectKind::Index, 6);
    old.write(&key, &key_bytes).unwrap();
    old.write(&index, &index_bytes).unwrap();
    let new = Arc::new(Odd::default());
    let places = vec![place("new", new.clone()), place("old", old.clone())];
    let several = Several::open(places, options()).unwrap();
    assert_eq!(several.primary(), "old");
    let names = back_up(&several, 5);
    let reports = several.finish();
    assert!(reports[0].was_behind && !reports[0].is_complete());
    assert!(has_all(&*new, &[ObjectName::CONFIG, key]));
    assert!(has_all(&*new, &names[..5]));
    assert!(!new.exists(&names[5]).unwrap() && !new.exists(&names[6]).unwrap());
}

#[test]
fn a_place_with_another_repository_is_left_alone() {
    let other = Arc::new(MemoryStore::new());
    other.write(&ObjectName::CONFIG, &[8; 155]).unwrap();
    let places = vec![place("own", Arc::new(odd())), place("other", other.clone())];
    let several = Several::open(places, options()).unwrap();
    let names = back_up(&several, 5);
    let reports = several.finish();
    assert!(format!("{:?}", reports[1].standing).contains("another repository"));
    assert!(!names.iter().any(|name| other.exists(name).unwrap()));
}

#[test]
fn a_new_repository_is_made_at_all_places() {
    let stores = [Arc::new(Odd::default()), Arc::new(Odd::default())];
    let places = stores.iter().map(|store| place("x", store.clone()));
    let several = Several::open(places.collect(), options()).unwrap();
    assert!(!several.exists(&ObjectName::CONFIG).unwrap());
    let key = put(&several, ObjectKind::Key, 1);
    several.write(&ObjectName::CONFIG, CONFIG).unwrap();
    let mut names = back_up(&several, 5);
    names.extend([key, ObjectName::CONFIG]);
    assert!(several.finish().iter().all(Report::is_complete));
    assert!(stores.iter().all(|store| has_all(&**store, &names)));
}

#[test]
fn garbage_at_one_place_is_read_from_another() {
    let bad = Arc::new(Odd {
        garbles: true,
        ..odd()
    });
    let good = Arc::new(odd());
    let (name, bytes) = object(ObjectKind::Index, 1);
    bad.write(&name, &bytes).unwrap();
    good.write(&name, &bytes).unwrap();
    let places = vec![place("bad", bad), place("good", good)];
    let several = Several::open(places, options()).unwrap();
    assert_eq!(several.read(&name).unwrap(), bytes);
}

#[test]
fn nothing_but_locks_is_removed() {
    let store = Arc::new(odd());
    let several = Several::open(vec![place("x", store.clone())], options()).unwrap();
    let pack = put(&several, ObjectKind::Pack, 1);
    let error = several.delete(&pack).unwrap_err();
    assert!(matches!(error, StoreError::DeletesRefused { .. }));
    let lock = put(&several, ObjectKind::Lock, 1);
    several.delete(&lock).unwrap();
    assert!(!store.exists(&lock).unwrap() && store.exists(&pack).unwrap());
}

#[test]
fn a_spool_is_bounded_and_verifies_what_it_gives() {
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool::open(folder.path(), 2000).unwrap();
    let (name, bytes) = object(ObjectKind::Pack, 1);
    assert!(spool.keep(&name, &bytes).unwrap() && spool.keep(&name, &bytes).unwrap());
    let (second, more) = object(ObjectKind::Pack, 2);
    assert!(!spool.keep(&second, &more).unwrap());
    assert_eq!(spool.bytes(), bytes.len() as u64);
    assert_eq!(spool.read(&name).unwrap(), bytes);
    let path = crate::LocalStore::open(folder.path())
        .unwrap()
        .path_of(&name);
    let again = Spool::open(folder.path(), 2000).unwrap();
    assert_eq!(again.bytes(), bytes.len() as u64);
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, b"rotten").unwrap();
    assert!(again.read(&name).unwrap_err().is_not_found());
    again.release(&name).unwrap();
    assert!(again.names().unwrap().is_empty() && !path.exists());
    let spool = Spool::open(folder.path(), 2000).unwrap();
    assert!(spool.keep(&second, &more).unwrap());
}
