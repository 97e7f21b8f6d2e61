//! A repository in a folder: conformance, layouts, permissions, leftovers and crashes.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use outlast_object::{ObjectKind, ObjectName, hash};
use outlast_store::conformance::{self, Demands, name_of, sample_bytes};
use outlast_store::{
    Deletes, Layout, LocalStore, LockStore, MemoryStore, Store, StoreError, SyncObserver,
    SyncPoint, open_local,
};

fn files_below(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path.strip_prefix(folder).unwrap().display().to_string());
            }
        }
    }
    found.sort();
    found
}

#[test]
fn memory_conforms() {
    conformance::run(Demands::default(), &mut |_| {
        Ok(Arc::new(MemoryStore::new()))
    })
    .unwrap();
}

#[test]
fn folder_conforms() {
    let folder = tempfile::tempdir().unwrap();
    let demands = Demands {
        objects: 300,
        deletes: true,
    };
    conformance::run(demands, &mut |check| {
        Ok(Arc::new(open_local(
            folder.path().join(check).join("deep"),
        )?))
    })
    .unwrap();
}

#[test]
fn legacy_layout_is_found_and_continued() {
    let folder = tempfile::tempdir().unwrap();
    let demands = Demands {
        objects: 100,
        deletes: true,
    };
    conformance::run(demands, &mut |check| {
        let root = folder.path().join(check);
        let key = root.join("key");
        fs::create_dir_all(&key).unwrap();
        // What shows the layout is a key; it is not to be in the way of the suite.
        let planted = key.join(hash(b"key").to_hex());
        fs::write(&planted, b"key").unwrap();
        let store = LocalStore::open(&root)?;
        assert_eq!(store.layout(), Layout::S3Legacy);
        fs::remove_file(planted).unwrap();
        Ok(Arc::new(store))
    })
    .unwrap();

    let names = files_below(&folder.path().join("same-bytes-again"));
    let id = hash(&sample_bytes(7, 3000));
    let expected = ["config", "data/", "index/", "key/", "lock/", "snapshot/"];
    let expected: Vec<String> = expected
        .iter()
        .map(|prefix| {
            if prefix.ends_with('/') {
                format!("{prefix}{id}")
            } else {
                prefix.to_string()
            }
        })
        .collect();
    assert_eq!(names, expected);
}

#[test]
fn layout_permissions_and_prepared_folders_are_restics() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("repository");
    let store = open_local(&root).unwrap();
    store.prepare().unwrap();
    assert_eq!(fs::read_dir(root.join("data")).unwrap().count(), 256);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&root), 0o700);
    assert_eq!(mode(&root.join("data/7f")), 0o700);

    let name = name_of(ObjectKind::Pack, b"pack");
    store.write(&name, b"pack").unwrap();
    let path = root
        .join("data")
        .join(&name.id().to_hex()[..2])
        .join(name.id().to_hex());
    assert_eq!(store.path_of(&name), path);
    assert_eq!(mode(&path), 0o400);
    assert_eq!(files_below(&root).len(), 1, "a temporary file was left");
    store.delete(&name).unwrap();
    assert!(!path.exists());

    // A repository that its group may read stays so.
    store.write(&ObjectName::CONFIG, b"config").unwrap();
    fs::set_permissions(root.join("config"), fs::Permissions::from_mode(0o440)).unwrap();
    fs::remove_dir(path.parent().unwrap()).unwrap();
    let store = open_local(&root).unwrap();
    store.write(&name, b"pack").unwrap();
    assert_eq!(mode(&path), 0o440);
    assert_eq!(mode(path.parent().unwrap()) & 0o700, 0o700);
}

#[test]
fn missing_folders_are_made_but_never_the_root() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("repository");
    let store = open_local(&root).unwrap();
    let name = name_of(ObjectKind::Pack, b"pack");
    let error = store.write(&name, b"pack").unwrap_err();
    assert!(matches!(error, StoreError::Io { .. }), "{error}");
    assert!(!root.exists());
    assert!(store.list_all(ObjectKind::Pack).unwrap().is_empty());

    fs::create_dir(&root).unwrap();
    store.write(&name, b"pack").unwrap();
    assert_eq!(store.read(&name).unwrap(), b"pack");
}

#[test]
fn foreign_names_are_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_local(folder.path()).unwrap();
    store.prepare().unwrap();
    let name = name_of(ObjectKind::Snapshot, b"snapshot");
    store.write(&name, b"snapshot").unwrap();
    let snapshots = folder.path().join("snapshots");
    let hex = hash(b"other").to_hex();
    for foreign in [
        "README",
        ".hidden",
        &hex[1..],
        &hex.to_uppercase(),
        &format!("{hex}-tmp-1"),
    ] {
        fs::write(snapshots.join(foreign), b"x").unwrap();
    }
    fs::create_dir(snapshots.join(&hex)).unwrap();
    std::os::unix::fs::symlink("/nowhere", snapshots.join(hash(b"dangling").to_hex())).unwrap();
    assert_eq!(store.list_all(ObjectKind::Snapshot).unwrap().len(), 1);
    let planted = ObjectName::new(ObjectKind::Snapshot, hash(b"other"));
    assert!(store.size(&planted).unwrap_err().is_not_found());

    // A pack in a wrong folder could not be found again by its name, so it is not listed.
    let hex = hash(b"pack").to_hex();
    let wrong = if hex.starts_with("00") { "01" } else { "00" };
    fs::write(folder.path().join("data").join(wrong).join(&hex), b"pack").unwrap();
    fs::write(folder.path().join("data").join(&hex), b"pack").unwrap();
    assert!(store.list_all(ObjectKind::Pack).unwrap().is_empty());
}

#[test]
fn special_files_neither_block_nor_pass() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_local(folder.path()).unwrap();
    store.prepare().unwrap();
    let name = name_of(ObjectKind::Index, b"index");
    let status = Command::new("mkfifo")
        .arg(store.path_of(&name))
        .status()
        .unwrap();
    assert!(status.success());
    assert!(store.read(&name).is_err());
    assert!(store.read_range(&name, 0, 1).is_err());
    assert!(store.write(&name, b"index").is_err());
    assert!(store.list_all(ObjectKind::Index).unwrap().is_empty());
}

#[test]
fn objects_too_large_for_their_kind_are_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_local(folder.path()).unwrap();
    store.prepare().unwrap();
    let name = name_of(ObjectKind::Lock, b"lock");
    let file = fs::File::create(store.path_of(&name)).unwrap();
    file.set_len(1 << 40).unwrap();
    assert!(matches!(
        store.read(&name),
        Err(StoreError::TooLarge { .. })
    ));
}

#[test]
fn a_symlinked_repository_and_a_file_in_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let real = folder.path().join("real");
    open_local(&real).unwrap().prepare().unwrap();
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(&real, &link).unwrap();
    let store = open_local(&link).unwrap();
    let name = name_of(ObjectKind::Key, b"key");
    store.write(&name, b"key").unwrap();
    assert_eq!(open_local(&real).unwrap().read(&name).unwrap(), b"key");

    let file = folder.path().join("file");
    fs::write(&file, b"x").unwrap();
    assert!(matches!(open_local(&file), Err(StoreError::Location(_))));
    assert!(matches!(open_local(""), Err(StoreError::Location(_))));
}

#[test]
fn changes_behind_our_back_are_seen() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_local(folder.path()).unwrap();
    store.prepare().unwrap();
    let name = name_of(ObjectKind::Pack, b"0123456789");
    store.write(&name, b"0123456789").unwrap();
    assert_eq!(store.read_range(&name, 2, 3).unwrap(), b"234");
    let path = store.path_of(&name);
    fs::remove_file(&path).unwrap();
    assert!(store.read_range(&name, 2, 3).unwrap_err().is_not_found());
    fs::write(&path, b"01234x").unwrap();
    assert_eq!(store.read_range(&name, 3, 3).unwrap(), b"34x");
    let error = store.read_range(&name, 3, 4).unwrap_err();
    assert!(
        matches!(error, StoreError::Truncated { size: 6, .. }),
        "{error}"
    );
}

#[test]
fn leftovers_are_not_listed_and_go_when_they_are_old() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_local(folder.path()).unwrap();
    store.prepare().unwrap();
    let leftover = folder.path().join("snapshots/.outlast-tmp-abc");
    let foreign = folder.path().join("snapshots/.other-tmp-abc");
    fs::write(&leftover, b"half").unwrap();
    fs::write(&foreign, b"half").unwrap();
    assert!(store.list_all(ObjectKind::Snapshot).unwrap().is_empty());
    // Fresh ones may be of a running writer.
    assert_eq!(store.remove_leftovers(SystemTime::now()), 0);
    assert!(leftover.exists());
    store.list_all(ObjectKind::Snapshot).unwrap();
    let tomorrow = SystemTime::now() + Duration::from_secs(25 * 60 * 60);
    assert_eq!(store.remove_leftovers(tomorrow), 1);
    assert!(!leftover.exists());
    assert!(
        foreign.exists(),
        "only our own leftovers are ours to remove"
    );

    // Removing locks, which backups do, never cleans; deleting does.
    let file = fs::File::create(&leftover).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(25 * 60 * 60))
        .unwrap();
    store.list_all(ObjectKind::Snapshot).unwrap();
    store.remove_lock(&hash(b"lock")).unwrap();
    assert!(leftover.exists());
    store.delete(&name_of(ObjectKind::Pack, b"pack")).unwrap();
    assert!(!leftover.exists());
}

struct FailAt(SyncPoint);

impl SyncObserver for FailAt {
    fn reached(&self, point: SyncPoint) -> io::Result<()> {
        if point == self.0 {
            Err(io::Error::other("injected"))
        } else {
            Ok(())
        }
    }
}

#[test]
fn a_failed_step_leaves_the_object_whole_or_absent() {
    for point in SyncPoint::ALL {
        let folder = tempfile::tempdir().unwrap();
        let failing = open_local(folder.path())
            .unwrap()
            .with_observer(Arc::new(FailAt(point)));
        failing.prepare().unwrap();
        let bytes = sample_bytes(1, 100_000);
        let name = name_of(ObjectKind::Pack, &bytes);
        assert!(failing.write(&name, &bytes).is_err(), "{point:?}");
        let store = open_local(folder.path()).unwrap();
        assert_eq!(
            store.exists(&name).unwrap(),
            point >= SyncPoint::Published,
            "{point:?}"
        );
        assert_eq!(
            files_below(folder.path()).len(),
            usize::from(point >= SyncPoint::Published)
        );
        // The next try succeeds, whatever the first one did.
        store.write(&name, &bytes).unwrap();
        assert_eq!(store.read(&name).unwrap(), bytes);
    }
}

struct AbortAt(SyncPoint);

impl SyncObserver for AbortAt {
    fn reached(&self, point: SyncPoint) -> io::Result<()> {
        if point == self.0 {
            std::process::abort();
        }
        Ok(())
    }
}

const CRASH_FOLDER: &str = "OUTLAST_TEST_CRASH_FOLDER";
const CRASH_POINT: &str = "OUTLAST_TEST_CRASH_POINT";

/// The victim of the next test: does nothing unless that test starts it as a process of its own.
#[test]
fn crash_victim() {
    let (Ok(folder), Ok(point)) = (std::env::var(CRASH_FOLDER), std::env::var(CRASH_POINT)) else {
        return;
    };
    let point = SyncPoint::ALL[point.parse::<usize>().unwrap()];
    let store = open_local(folder)
        .unwrap()
        .with_observer(Arc::new(AbortAt(point)));
    let bytes = sample_bytes(1, 100_000);
    let _ = store.write(&name_of(ObjectKind::Pack, &bytes), &bytes);
    unreachable!("the write came past {point:?}");
}

#[test]
fn a_crash_at_any_step_leaves_the_object_whole_or_absent() {
    for (index, point) in SyncPoint::ALL.into_iter().enumerate() {
        let folder = tempfile::tempdir().unwrap();
        let store = open_local(folder.path()).unwrap();
        store.prepare().unwrap();
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "crash_victim", "--nocapture"])
            .env(CRASH_FOLDER, folder.path())
            .env(CRASH_POINT, index.to_string())
            .output()
            .unwrap();
        assert!(!output.status.success(), "{point:?}: the victim lived");
        let bytes = sample_bytes(1, 100_000);
        let name = name_of(ObjectKind::Pack, &bytes);
        match store.read(&name) {
            Ok(found) => assert!(found == bytes && point >= SyncPoint::Published, "{point:?}"),
            Err(error) => assert!(error.is_not_found() && point < SyncPoint::Published),
        }
        assert_eq!(
            store.list_all(ObjectKind::Pack).unwrap().len(),
            usize::from(point >= SyncPoint::Published)
        );
        store.write(&name, &bytes).unwrap();
        assert_eq!(store.read(&name).unwrap(), bytes);
    }
}

/// Unmounts when dropped.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount(options: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let status = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "none"])
            .arg(folder.path())
            .output();
        if status.is_ok_and(|output| output.status.success()) {
            return Some(Self(folder));
        }
        println!("SKIPPED: this test needs the right to mount a tmpfs");
        None
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).output();
    }
}

#[test]
fn a_full_disk_says_so_and_keeps_nothing_of_the_object() {
    let Some(disk) = SmallDisk::mount("size=1m") else {
        return;
    };
    let root = disk.0.path().join("repository");
    let store = open_local(&root).unwrap();
    store.prepare().unwrap();
    let small = sample_bytes(1, 1000);
    store
        .write(&name_of(ObjectKind::Index, &small), &small)
        .unwrap();
    let large = sample_bytes(2, 2 * 1024 * 1024);
    let name = name_of(ObjectKind::Pack, &large);
    for _ in 0..3 {
        let error = store.write(&name, &large).unwrap_err();
        assert!(matches!(error, StoreError::Full { .. }), "{error:?}");
        assert!(!error.is_retryable());
    }
    assert!(!store.exists(&name).unwrap());
    assert_eq!(files_below(&root).len(), 1, "the temporary file was left");
    // Its space is free again.
    let medium = sample_bytes(3, 500_000);
    store
        .write(&name_of(ObjectKind::Pack, &medium), &medium)
        .unwrap();
}

#[test]
fn a_disk_without_inodes_left_is_full_too() {
    let Some(disk) = SmallDisk::mount("nr_inodes=270") else {
        return;
    };
    let store = open_local(disk.0.path()).unwrap();
    store.prepare().unwrap();
    let error = (0..300u64)
        .find_map(|seed| {
            let bytes = seed.to_le_bytes();
            store
                .write(&name_of(ObjectKind::Snapshot, &bytes), &bytes)
                .err()
        })
        .unwrap();
    assert!(matches!(error, StoreError::Full { .. }), "{error:?}");
}

#[test]
fn a_read_only_disk_denies() {
    let Some(disk) = SmallDisk::mount("size=1m") else {
        return;
    };
    let store = open_local(disk.0.path()).unwrap();
    store.prepare().unwrap();
    let name = name_of(ObjectKind::Lock, b"lock");
    store.write(&name, b"lock").unwrap();
    let remount = Command::new("mount")
        .args(["-o", "remount,ro"])
        .arg(disk.0.path())
        .status();
    assert!(remount.unwrap().success());
    assert_eq!(store.read(&name).unwrap(), b"lock");
    let other = name_of(ObjectKind::Lock, b"other");
    assert!(matches!(
        store.write(&other, b"other"),
        Err(StoreError::Denied { .. })
    ));
    assert!(matches!(
        store.delete(&name),
        Err(StoreError::Denied { .. })
    ));
}
