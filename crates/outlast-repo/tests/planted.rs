//! Junk that somebody planted stops nobody: it is named in a notice, backups and restores go on, and
//! later backups do not rely on lies. Stock restic is shown beside it, where it stops.

#![allow(clippy::unwrap_used)]

mod support;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use outlast_format::{
    BlobHandle, BlobKind, IndexBlob, IndexFile, IndexPack, Lock, Time, encode_unpacked,
};
use outlast_object::{Id, ObjectKind, ObjectName, hash};
use outlast_repo::{
    Cancel, Finding, LockGuard, LockMode, Notice, RepoError, Severity, Unlock, unlock,
};
use outlast_store::{MemoryStore, Store};
use support::small::{
    back_up, check_all, copy_of, files, names, open_noting, open_small, read_all, read_snapshot,
    two_snapshots,
};
use support::{MemorySource, judge, noise, tools};

/// Puts bytes under the name that they hash to, as anybody can who may upload.
fn plant(store: &MemoryStore, kind: ObjectKind, bytes: &[u8]) -> Id {
    let name = ObjectName::new(kind, hash(bytes));
    store.write(&name, bytes).unwrap();
    name.id()
}

/// Seals a document with the repository's key and plants it.
fn plant_sealed(store: &MemoryStore, kind: ObjectKind, json: &[u8]) -> Id {
    let repository = open_small(copy_of(store)).unwrap();
    let sealed = encode_unpacked(json, 2, repository.key(), [5; 16]).unwrap();
    plant(store, kind, &sealed)
}

/// What stock restic does with a folder of these objects.
struct Restic {
    program: std::path::PathBuf,
    folder: tempfile::TempDir,
}

impl Restic {
    fn on(store: &MemoryStore) -> Option<Self> {
        let program = tools::restic_019()?;
        let folder = tempfile::tempdir().unwrap();
        judge::export(&store.contents(), folder.path());
        Some(Self { program, folder })
    }

    fn code(&self, arguments: &[&str]) -> Option<i32> {
        let output = judge::run(&self.program, self.folder.path(), arguments);
        output.status.code()
    }

    fn restore(&self, snapshot: &str) -> Option<i32> {
        let target = tempfile::tempdir().unwrap();
        let path = target.path().to_str().unwrap();
        self.code(&["restore", snapshot, "--target", path])
    }

    fn back_up(&self) -> Option<i32> {
        let source = tempfile::tempdir().unwrap();
        std::fs::write(source.path().join("file"), "content").unwrap();
        self.code(&["backup", source.path().to_str().unwrap()])
    }
}

/// Backs up, restores everything, and gives the notices that came up.
fn works(store: &Arc<MemoryStore>) -> Vec<Notice> {
    let before = read_all(&copy_of(store));
    let (repository, notices) = open_noting(store.clone()).unwrap();
    for mode in [LockMode::Shared, LockMode::Exclusive] {
        let lock = LockGuard::acquire(&repository, mode, Duration::ZERO, &Cancel::new());
        drop(lock.unwrap());
    }
    let outcome = back_up(&repository, &files(4), 1_700_300_000).unwrap();
    let id = outcome.snapshot.unwrap().0;
    assert!(outcome.stored.data_blobs <= 3, "{:?}", outcome.stored);
    let after = read_all(&copy_of(store));
    assert!(
        before
            .iter()
            .all(|(id, files)| after.get(id) == Some(files))
    );
    assert!(after.contains_key(&id));
    // Looking at snapshots also looks at those that were planted.
    repository.load_snapshots(&Cancel::new()).unwrap();
    let mut notices = notices.lock();
    std::mem::take(&mut *notices)
}

#[test]
fn garbage_key_files_are_named_and_passed_over() {
    let (store, _) = two_snapshots();
    let real = names(&*store, ObjectKind::Key)[0].id();
    let mut planted = Vec::new();
    let mut costly = 0;
    for number in 0..40_u64 {
        let text = match number % 4 {
            0 => noise(500, number),
            1 => format!("{{\"kdf\":\"argon{number}\"}}").into_bytes(),
            2 => key_text(1 << 40, &number.to_string()).into_bytes(),
            _ => Vec::from(&b"{"[..]).repeat(1 + number as usize),
        };
        let id = plant(&store, ObjectKind::Key, &text);
        // Those that would take long come last, when the right one was found already.
        if number % 4 == 2 {
            costly += 1;
        } else {
            planted.push(id);
        }
    }
    // One that is looked at before the real one.
    let first = (0_u64..)
        .map(|number| format!("{{\"kdf\":\"unknown\",\"username\":\"{number}\"}}"))
        .find(|text| hash(text.as_bytes()) < real)
        .unwrap();
    planted.push(plant(&store, ObjectKind::Key, first.as_bytes()));
    let notices = works(&store);
    for id in &planted {
        let is_named =
            |notice: &Notice| matches!(notice, Notice::BadKey { id: named, .. } if named == id);
        assert!(notices.iter().any(is_named), "{id}: {notices:?}");
    }
    let report = check_all(store.clone()).unwrap();
    assert!(
        report.is_sound() && report.warnings == planted.len() as u64 + costly,
        "{:?}",
        report.findings
    );
    // restic gives up at the first one that it meets before the right one; in which order it meets
    // them is up to the file system.
    let stops = |number: u64| {
        let text = format!("{{\"kdf\":\"other\",\"hostname\":\"{number}\"}}");
        plant(&store, ObjectKind::Key, text.as_bytes());
        Restic::on(&store).is_none_or(|restic| restic.code(&["snapshots"]) != Some(0))
    };
    assert!((0..100).any(stops), "restic opens it now");
}

/// A key file that demands so much memory.
fn key_text(n: u64, username: &str) -> String {
    format!(
        r#"{{"created":"2020-01-01T00:00:00Z","username":"{username}","hostname":"h","kdf":"scrypt","N":{n},"r":8,"p":1,"salt":"{0}","data":"{0}"}}"#,
        "QUFB".repeat(22)
    )
}

#[test]
fn locks_that_cannot_be_read_or_come_from_the_future_stop_nobody() {
    let (store, _) = two_snapshots();
    let garbage = plant(&store, ObjectKind::Lock, &noise(500, 1));
    let lock = Lock {
        time: Time::utc(3_944_678_400, 0),
        exclusive: true,
        hostname: "somewhere".to_owned(),
        username: "somebody".to_owned(),
        pid: 1,
        uid: 0,
        gid: 0,
    };
    let json = lock.to_json().unwrap();
    let future = plant_sealed(&store, ObjectKind::Lock, &json);
    let notices = works(&store);
    let bad = |notice: &Notice| matches!(notice, Notice::BadLock { id, .. } if *id == garbage);
    let ahead = |notice: &Notice| matches!(notice, Notice::FutureLock { id, .. } if *id == future);
    assert!(
        notices.iter().any(bad) && notices.iter().any(ahead),
        "{notices:?}"
    );
    assert!(check_all(store.clone()).unwrap().is_sound());

    if let Some(restic) = Restic::on(&store) {
        assert_ne!(
            restic.back_up(),
            Some(0),
            "restic passes over such locks now"
        );
        assert_eq!(restic.code(&["unlock"]), Some(0));
        assert_ne!(restic.back_up(), Some(0), "restic removes such locks now");
    }
    // A lock that is held is another matter.
    let held = Lock {
        time: Time::utc(
            open_small(store.clone())
                .unwrap()
                .environment()
                .clock
                .now()
                .seconds(),
            0,
        ),
        ..lock
    };
    plant_sealed(&store, ObjectKind::Lock, &held.to_json().unwrap());
    let repository = open_small(store.clone()).unwrap();
    let refused = LockGuard::acquire(
        &repository,
        LockMode::Shared,
        Duration::ZERO,
        &Cancel::new(),
    );
    assert!(matches!(refused, Err(RepoError::Locked { .. })));
    let outcome = unlock(&repository, Unlock::Stale).unwrap();
    assert!(outcome.removed.contains(&garbage), "{outcome:?}");
}

#[test]
fn a_garbage_index_is_named_and_the_others_are_used() {
    let (store, ids) = two_snapshots();
    let planted: Vec<Id> = [noise(500, 1), Vec::new(), vec![0; 40], noise(9 << 20, 2)]
        .iter()
        .map(|bytes| plant(&store, ObjectKind::Index, bytes))
        .collect();
    let valid_and_absurd = plant_sealed(&store, ObjectKind::Index, b"[[[[[[[[");
    let notices = works(&store);
    for id in planted.into_iter().chain([valid_and_absurd]) {
        let is_named =
            |notice: &Notice| matches!(notice, Notice::BadIndex { id: named, .. } if *named == id);
        assert!(notices.iter().any(is_named), "{id}");
    }
    let report = check_all(store.clone()).unwrap();
    assert!(report.suggest_repair_index && report.affected.is_empty());
    if let Some(restic) = Restic::on(&store) {
        let id = ids[0].to_hex();
        assert_ne!(restic.restore(&id), Some(0), "restic restores past it now");
        assert_ne!(restic.back_up(), Some(0), "restic backs up past it now");
        assert_ne!(restic.code(&["check"]), Some(0));
    }
}

#[test]
fn garbage_snapshots_and_those_of_the_year_2095_are_named() {
    let (store, ids) = two_snapshots();
    let garbage = plant(&store, ObjectKind::Snapshot, &noise(500, 3));
    let repository = open_small(store.clone()).unwrap();
    let mut snapshot = repository.load_snapshot(ids[0]).unwrap();
    snapshot.time = Time::utc(3_944_678_400, 0);
    let future = repository.save_snapshot(&snapshot).unwrap();
    let notices = works(&store);
    let bad = |notice: &Notice| matches!(notice, Notice::BadSnapshot { id, .. } if *id == garbage);
    assert!(notices.iter().any(bad), "{notices:?}");
    let report = check_all(store.clone()).unwrap();
    assert_eq!(report.broken_snapshots, vec![garbage]);
    let ahead =
        |finding: &&Finding| matches!(finding, Finding::FutureSnapshot { id, .. } if *id == future);
    let found = report.findings.iter().find(ahead).unwrap();
    assert_eq!(found.severity(), Severity::Warning);
    if let Some(restic) = Restic::on(&store) {
        assert_ne!(
            restic.restore("latest"),
            Some(0),
            "restic restores past it now"
        );
        assert_eq!(restic.restore(&ids[1].to_hex()), Some(0));
    }
}

#[test]
fn garbage_packs_are_left_alone() {
    let (store, _) = two_snapshots();
    for bytes in [noise(500, 1), Vec::new(), vec![0xff; 100], vec![0; 1 << 20]] {
        plant(&store, ObjectKind::Pack, &bytes);
    }
    assert_eq!(works(&store), Vec::new());
    let report = check_all(store).unwrap();
    assert!(
        report.is_sound() && report.hints >= 4,
        "{:?}",
        report.findings
    );
}

fn claim(pack: Id, blob: Id, length: u32) -> Vec<u8> {
    let blobs = vec![IndexBlob {
        id: blob,
        kind: BlobKind::Data,
        offset: 0,
        length,
        uncompressed_length: 0,
    }];
    let file = IndexFile {
        supersedes: Vec::new(),
        packs: vec![IndexPack { id: pack, blobs }],
    };
    file.to_json().unwrap()
}

#[test]
fn blobs_that_an_index_claims_to_be_elsewhere_are_stored_and_found_all_the_same() {
    let secret = noise(20_000, 77);
    let coming = hash(&secret);
    let (start, ids) = two_snapshots();
    let real = names(&*start, ObjectKind::Pack)[0].id();
    let known: Vec<Id> = {
        let repository = open_small(start.clone()).unwrap();
        let index = repository.index();
        let blobs = index.iter().map(|location| location.blob.handle);
        blobs
            .filter(|handle| handle.kind == BlobKind::Data)
            .map(|handle| handle.id)
            .collect()
    };
    for pack in [real, hash(b"a pack that is not there")] {
        let store = copy_of(&start);
        plant_sealed(&store, ObjectKind::Index, &claim(pack, coming, 20_032));
        for id in &known {
            plant_sealed(&store, ObjectKind::Index, &claim(pack, *id, 15_032));
        }
        let (repository, notices) = open_noting(store.clone()).unwrap();
        let source = MemorySource::default().with("/secret", secret.clone(), 10);
        let outcome = back_up(&repository, &source, 1_700_300_000).unwrap();
        assert_eq!(outcome.stored.data_blobs, 1, "the lie was believed");
        let id = outcome.snapshot.unwrap().0;
        let poisoned = |notice: &Notice| matches!(notice, Notice::PoisonedIndex { pack: named, .. } if *named == pack);
        assert!(notices.lock().iter().any(poisoned), "{notices:?}");
        for id in ids.iter().chain([&id]) {
            let repository = open_small(store.clone()).unwrap();
            read_snapshot(&repository, *id).unwrap();
        }
        let unharmed = open_small(store).unwrap();
        assert_eq!(
            unharmed.load_blob(BlobHandle::data(coming)).unwrap(),
            secret
        );
    }

    // restic believes it: its backup succeeds, and what it backed up is gone.
    plant_sealed(&start, ObjectKind::Index, &claim(real, coming, 20_032));
    if let Some(restic) = Restic::on(&start) {
        let source = tempfile::tempdir().unwrap();
        std::fs::write(source.path().join("secret"), &secret).unwrap();
        let path = source.path().to_str().unwrap();
        assert_eq!(
            restic.code(&["backup", path, "--host", "poisoned"]),
            Some(0)
        );
        let target = tempfile::tempdir().unwrap();
        let to = target.path().to_str().unwrap();
        let arguments = ["restore", "latest", "--host", "poisoned", "--target", to];
        assert_ne!(restic.code(&arguments), Some(0), "restic noticed the lie");
        let restored = target
            .path()
            .join(Path::new(path).strip_prefix("/").unwrap());
        let restored = std::fs::read(restored.join("secret"));
        assert_ne!(
            restored.ok(),
            Some(secret),
            "restic restored it all the same"
        );
    }
}
