//! File systems that can do less: without unnamed files, without hard links.

use std::fs;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use outlast_object::{ObjectKind, hash};

use super::publish::rename_new;
use super::*;
use crate::conformance::{self, Demands, name_of};

fn with_named_files(root: &Path) -> LocalStore {
    let store = LocalStore::open(root).unwrap();
    store
        .abilities
        .lacks_unnamed_files
        .store(true, Ordering::Relaxed);
    store
}

#[test]
fn folder_with_named_temporary_files_conforms() {
    let folder = tempfile::tempdir().unwrap();
    let demands = Demands {
        objects: 100,
        deletes: true,
    };
    conformance::run(demands, &mut |check| {
        Ok(Arc::new(with_named_files(&folder.path().join(check))))
    })
    .unwrap();
}

struct FailAt(SyncPoint);

impl SyncObserver for FailAt {
    fn reached(&self, point: SyncPoint) -> io::Result<()> {
        if point == self.0 {
            Err(Errno::NOSPC.into())
        } else {
            Ok(())
        }
    }
}

#[test]
fn named_temporary_files_go_after_every_failure() {
    for point in SyncPoint::ALL {
        let folder = tempfile::tempdir().unwrap();
        let store = with_named_files(folder.path()).with_observer(Arc::new(FailAt(point)));
        store.prepare().unwrap();
        let name = name_of(ObjectKind::Snapshot, b"snapshot");
        let error = store.write(&name, b"snapshot").unwrap_err();
        assert!(matches!(error, StoreError::Full { .. }), "{error}");
        let left = fs::read_dir(folder.path().join("snapshots"))
            .unwrap()
            .count();
        assert_eq!(
            left,
            usize::from(point >= SyncPoint::Published),
            "{point:?}"
        );
    }
}

#[test]
fn renaming_overwrites_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (source, target) = (folder.path().join("source"), folder.path().join("target"));
    fs::write(&source, b"new").unwrap();
    rename_new(&source, &target).unwrap();
    fs::write(&source, b"newer").unwrap();
    let error = rename_new(&source, &target).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(fs::read(&target).unwrap(), b"new");
}

#[test]
fn the_layout_goes_by_the_keys() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    assert_eq!(Layout::detect(root), Layout::Default);
    fs::create_dir_all(root.join("key")).unwrap();
    fs::write(root.join("key/README"), b"x").unwrap();
    assert_eq!(Layout::detect(root), Layout::Default);
    fs::write(root.join("key").join(hash(b"key").to_hex()), b"key").unwrap();
    assert_eq!(Layout::detect(root), Layout::S3Legacy);
    // With keys in both places it is a default repository: a planted `key` folder hides nothing.
    fs::create_dir_all(root.join("keys")).unwrap();
    fs::write(root.join("keys").join(hash(b"key").to_hex()), b"key").unwrap();
    assert_eq!(Layout::detect(root), Layout::Default);
}
