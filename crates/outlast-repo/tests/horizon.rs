//! After an incident: what was added since is not relied on, and nothing that was good is stored again.

#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use outlast_format::{BlobHandle, BlobKind, IndexBlob, IndexFile, IndexPack, PackedBlob, Time};
use outlast_object::{Id, ObjectKind, ObjectName, hash};
use outlast_repo::{
    AdmissionFacts, Admitted, BackupOutcome, Cancel, Environment, NoObserver, Notice, Repository,
    TrustHorizon, backup,
};
use outlast_store::{Capabilities, LockStore, MemoryStore, Restricted, Store};
use parking_lot::Mutex;
use support::small::{files, init_small, names, open_small, read_snapshot, small_packs};
use support::{MemorySource, PASSWORD, backup_options, noise};

const KINDS: [ObjectKind; 3] = [ObjectKind::Index, ObjectKind::Pack, ObjectKind::Snapshot];

/// A store and what its log would say.
struct World {
    store: Arc<MemoryStore>,
    log: Vec<ObjectName>,
}

impl World {
    fn new() -> Self {
        let store = Arc::new(MemoryStore::new());
        init_small(store.clone());
        Self {
            store,
            log: Vec::new(),
        }
    }

    /// Notes what has come since; gives the next position.
    fn settle(&mut self) -> u64 {
        for kind in KINDS {
            let new = names(&*self.store, kind);
            let known: BTreeSet<ObjectName> = self.log.iter().copied().collect();
            self.log
                .extend(new.into_iter().filter(|name| !known.contains(name)));
        }
        self.log.len() as u64
    }

    fn facts(&self) -> AdmissionFacts {
        let fact = |(position, name): (usize, &ObjectName)| {
            let position = position as u64;
            let time = Time::utc(1_700_000_000 + position as i64, 0);
            (*name, Admitted { position, time })
        };
        AdmissionFacts::new(self.log.iter().enumerate().map(fact))
    }

    fn packs(&self) -> BTreeSet<ObjectName> {
        names(&*self.store, ObjectKind::Pack).into_iter().collect()
    }

    /// Backs up with these facts and gives what came of it, and the notices.
    fn back_up(
        &self,
        capabilities: Capabilities,
        notes: &Path,
        source: &MemorySource,
        facts: &AdmissionFacts,
    ) -> (BackupOutcome, Vec<Notice>) {
        let store: Arc<dyn LockStore> = Arc::new(Restricted::new(self.store.clone(), capabilities));
        let notices = Arc::new(Mutex::new(Vec::new()));
        let environment = Environment::of_this_process(notices.clone());
        let repository = Repository::open(store, environment, PASSWORD, small_packs())
            .unwrap()
            .with_notes_folder(notes.to_owned());
        let cancel = Cancel::new();
        repository.load_trusted_index(facts, &cancel).unwrap();
        let options = backup_options(1_700_000_500);
        let outcome = backup(&repository, source, &options, &NoObserver, &cancel).unwrap();
        let notices = notices.lock().clone();
        (outcome, notices)
    }
}

/// Puts a pack of noise into the store and an index that says it has a blob of this content, with the
/// right size.
fn plant(world: &World, content: &[u8]) {
    let repository = open_small(world.store.clone()).unwrap();
    let length = content.len() as u32 + 32;
    let blob = PackedBlob {
        handle: BlobHandle {
            kind: BlobKind::Data,
            id: hash(content),
        },
        offset: 0,
        length,
        uncompressed_length: 0,
    };
    // Header of one entry, sealed, and its length.
    let junk = noise(length as usize + 32 + 37 + 4, 99);
    let pack = ObjectName::pack(hash(&junk));
    world.store.write(&pack, &junk).unwrap();
    let mut file = IndexFile::default();
    let blobs = vec![IndexBlob::from(&blob)];
    file.packs.push(IndexPack {
        id: pack.id(),
        blobs,
    });
    let json = file.to_json().unwrap();
    repository.save_document(ObjectKind::Index, &json).unwrap();
}

fn content_of(world: &World, id: Id, path: &str) -> Result<Vec<u8>, String> {
    let repository = open_small(world.store.clone()).unwrap();
    let mut files = read_snapshot(&repository, id)?;
    Ok(files.remove(Path::new(path)).flatten().unwrap())
}

#[test]
fn what_was_planted_after_the_horizon_leaves_nothing_out() {
    let victim = noise(20_000, 77);
    for capabilities in [Capabilities::APPEND, Capabilities::ALL] {
        let mut world = World::new();
        let notes = tempfile::tempdir().unwrap();
        let nobody = tempfile::tempdir().unwrap();
        let facts = AdmissionFacts::default();
        world.back_up(capabilities, notes.path(), &files(1), &facts);
        let horizon = TrustHorizon::Position(world.settle());
        plant(&world, &victim);
        world.settle();
        let before = world.packs();
        let facts = world.facts().with_horizon(horizon);
        let source = files(1).with("/victim", victim.clone(), 5);
        // On a host that remembers nothing.
        let (outcome, notices) = world.back_up(capabilities, nobody.path(), &source, &facts);
        assert_eq!(notices, [Notice::BeyondHorizon { indexes: 1 }]);
        let id = outcome.snapshot.unwrap().0;
        assert_eq!(content_of(&world, id, "/victim").unwrap(), victim);
        // Of what was there before the horizon nothing is stored again: the victim alone is new.
        assert_eq!(outcome.stored.data_blobs, 1, "{:?}", outcome.stored);
        assert!(world.packs().len() > before.len());
    }
}

/// The attack that the horizon is for: without it, an intruder who had the key makes a host that may
/// not read packs leave out what is claimed to be there.
#[test]
fn the_planting_is_a_real_one() {
    let victim = noise(20_000, 77);
    let world = World::new();
    plant(&world, &victim);
    let nobody = tempfile::tempdir().unwrap();
    let source = MemorySource::default().with("/victim", victim, 5);
    let facts = AdmissionFacts::default();
    let (outcome, _) = world.back_up(Capabilities::APPEND, nobody.path(), &source, &facts);
    assert_eq!(outcome.stored.data_blobs, 0);
    let id = outcome.snapshot.unwrap().0;
    assert!(content_of(&world, id, "/victim").is_err());
    // Whoever may read packs sees through it.
    let nobody = tempfile::tempdir().unwrap();
    let (outcome, _) = world.back_up(Capabilities::ALL, nobody.path(), &source, &facts);
    assert_eq!(outcome.stored.data_blobs, 1);
}

/// Where no incident is known, everything that was admitted counts, as far as it is plausible.
#[test]
fn without_a_horizon_what_the_store_admitted_is_relied_on() {
    let mut world = World::new();
    let notes = tempfile::tempdir().unwrap();
    let facts = AdmissionFacts::default();
    world.back_up(Capabilities::APPEND, notes.path(), &files(1), &facts);
    world.settle();
    let nobody = tempfile::tempdir().unwrap();
    let (outcome, notices) = world.back_up(
        Capabilities::APPEND,
        nobody.path(),
        &files(1),
        &world.facts(),
    );
    assert_eq!(
        (outcome.stored.data_blobs, notices.as_slice()),
        (0, &[][..])
    );
    // Packs of which the log knows nothing are none to rely on.
    let mut other = World::new();
    other.back_up(Capabilities::ALL, notes.path(), &files(3), &facts);
    other.settle();
    let nobody = tempfile::tempdir().unwrap();
    let (outcome, notices) = world.back_up(
        Capabilities::APPEND,
        nobody.path(),
        &files(1),
        &other.facts(),
    );
    assert!(outcome.stored.data_blobs > 0);
    assert!(
        matches!(notices.as_slice(), [Notice::PackBeyondHorizon { .. }]),
        "{notices:?}"
    );
}

/// What this host has stored since the incident is its own, and is not stored again.
#[test]
fn what_the_host_stored_itself_counts_on_both_sides_of_the_horizon() {
    let mut world = World::new();
    let notes = tempfile::tempdir().unwrap();
    let nothing = AdmissionFacts::default();
    world.back_up(Capabilities::APPEND, notes.path(), &files(1), &nothing);
    let horizon = TrustHorizon::Position(world.settle());
    for _ in 0..2 {
        let facts = world.facts().with_horizon(horizon);
        world.back_up(Capabilities::APPEND, notes.path(), &files(3), &facts);
        world.settle();
    }
    let facts = world.facts().with_horizon(horizon);
    let (outcome, notices) = world.back_up(Capabilities::APPEND, notes.path(), &files(3), &facts);
    assert_eq!(
        (outcome.stored.data_blobs, outcome.stored.tree_blobs),
        (0, 0)
    );
    assert_eq!(notices, []);
    // Another host, or this one after it was set up anew, stores what came later afresh.
    let nobody = tempfile::tempdir().unwrap();
    let (outcome, _) = world.back_up(Capabilities::APPEND, nobody.path(), &files(3), &facts);
    assert!(outcome.stored.data_blobs > 0);
    let id = outcome.snapshot.unwrap().0;
    assert!(content_of(&world, id, "/new/2").is_ok());
}
