//! Damage of every kind of object: a check names it, and says which files of which snapshots it
//! concerns; whatever is not damaged can still be read.

#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use outlast_format::BlobHandle;
use outlast_object::{ObjectKind, ObjectName, hash};
use outlast_repo::{Cancel, CheckReport, Finding, Loss, ReadData, RepoError, Repository, Severity};
use outlast_store::{Deletes, MemoryStore};
use support::small::{
    check_all, check_reading, copy_of, names, open_small, read_snapshot, two_snapshots,
};

fn errors(report: &CheckReport) -> Vec<&Finding> {
    let all = report.findings.iter();
    all.filter(|finding| finding.severity() == Severity::Error)
        .collect()
}

/// Offsets to do damage at: the first bytes, the last, and some between.
fn offsets(length: usize) -> Vec<usize> {
    let mut offsets = vec![0, 15, 16, length / 3, length / 2, length - 17, length - 5];
    offsets.extend([length - 4, length - 1]);
    offsets
}

/// The first data blob of a file and where it lies.
fn piece_of(repository: &Repository, snapshot: outlast_object::Id, path: &str) -> BlobHandle {
    let tree = repository.load_snapshot(snapshot).unwrap().tree;
    let node = outlast_repo::find_entry(repository, tree, Path::new(path)).unwrap();
    BlobHandle::data(node.unwrap().content.unwrap()[0])
}

#[test]
fn a_sound_repository_has_no_findings() {
    let (store, _) = two_snapshots();
    let report = check_all(store.clone()).unwrap();
    assert_eq!(report.findings, Vec::new());
    assert!(report.is_sound() && report.affected.is_empty());
    assert_eq!(report.totals.snapshots, 2);
    assert_eq!(report.totals.packs, report.totals.packs_read);
    assert!(report.totals.packs > 4, "{:?}", report.totals);
    let bytes: u64 = names(&*store, ObjectKind::Pack)
        .iter()
        .map(|name| store.contents()[name].len() as u64)
        .sum();
    assert_eq!(report.totals.bytes_read, bytes);
}

#[test]
fn a_flipped_bit_anywhere_in_any_object_is_named() {
    let (store, _) = two_snapshots();
    for kind in [
        ObjectKind::Key,
        ObjectKind::Snapshot,
        ObjectKind::Index,
        ObjectKind::Pack,
    ] {
        for name in names(&*store, kind) {
            let original = store.contents()[&name].to_vec();
            for offset in offsets(original.len()) {
                let damaged = copy_of(&store);
                let mut bytes = original.clone();
                bytes[offset] ^= 1 << (offset % 8);
                damaged.replace(&name, bytes);
                if kind == ObjectKind::Key {
                    let error = open_small(damaged).unwrap_err();
                    assert!(matches!(error, RepoError::WrongPassword { .. }), "{error}");
                    continue;
                }
                let report = check_all(damaged).unwrap();
                let named = report
                    .findings
                    .iter()
                    .any(|finding| finding.object() == Some(name));
                assert!(named, "{name} at {offset}: {:?}", report.findings);
                assert!(!report.is_sound(), "{name} at {offset}");
            }
        }
    }
}

#[test]
fn the_files_that_a_damaged_blob_belongs_to_are_named_and_no_others() {
    let (store, ids) = two_snapshots();
    let repository = open_small(store.clone()).unwrap();
    let handle = piece_of(&repository, ids[0], "/a/same");
    let location = repository.index().find(handle).next().unwrap();
    let name = ObjectName::pack(location.pack_id);
    let mut bytes = store.contents()[&name].to_vec();
    bytes[location.blob.offset as usize + 100] ^= 8;
    store.replace(&name, bytes);

    let report = check_all(store.clone()).unwrap();
    assert_eq!(report.broken_packs, vec![location.pack_id]);
    assert_eq!(report.errors, 1, "{:?}", report.findings);
    let affected: BTreeSet<_> = report.affected.iter().map(|one| one.id).collect();
    assert_eq!(affected, ids.iter().copied().collect());
    for snapshot in &report.affected {
        let paths: Vec<_> = snapshot.paths.iter().map(|one| one.path.clone()).collect();
        let same = ["/a/again/same", "/a/same"].map(PathBuf::from);
        assert_eq!((snapshot.count, paths), (2, same.to_vec()));
        let Loss::Content {
            first,
            blobs,
            total,
            pack,
        } = &snapshot.paths[0].loss
        else {
            panic!("{:?}", snapshot.paths[0])
        };
        assert_eq!((*first, *blobs, *total), (handle.id, 1, 1));
        assert_eq!(*pack, Some(location.pack_id));
    }
    // Without reading data nobody can know.
    let repository = open_small(store).unwrap();
    let report = check_reading(&repository, ReadData::Nothing).unwrap();
    assert!(report.is_sound());
}

#[test]
fn a_missing_or_truncated_pack_is_noticed_without_reading_data() {
    let (store, _) = two_snapshots();
    for name in names(&*store, ObjectKind::Pack) {
        let missing = copy_of(&store);
        missing.delete(&name).unwrap();
        let truncated = copy_of(&store);
        let bytes = store.contents()[&name].to_vec();
        truncated.replace(&name, &bytes[..bytes.len() / 2]);
        let longer = copy_of(&store);
        longer.replace(&name, [bytes.as_slice(), b"more"].concat());
        for damaged in [missing, truncated, longer] {
            let repository = open_small(damaged.clone()).unwrap();
            let report = check_reading(&repository, ReadData::Nothing).unwrap();
            assert_eq!(
                report.broken_packs,
                vec![name.id()],
                "{:?}",
                report.findings
            );
            assert_affected_is_true(&damaged, &report);
        }
    }
}

/// What the report says is lost cannot be read, and all else can.
fn assert_affected_is_true(store: &Arc<MemoryStore>, report: &CheckReport) {
    let repository = open_small(store.clone()).unwrap();
    for (id, snapshot) in repository.load_snapshots(&Cancel::new()).unwrap() {
        let affected = report.affected.iter().find(|one| one.id == id);
        let intact = read_snapshot(&repository, id).is_ok();
        assert_eq!(intact, affected.is_none(), "snapshot {id}: {affected:?}");
        let Some(affected) = affected else { continue };
        assert_eq!(affected.count, affected.paths.len() as u64);
        for one in &affected.paths {
            if one.path == Path::new("/") {
                continue;
            }
            let found = outlast_repo::find_entry(&repository, snapshot.tree, &one.path);
            let node = found.unwrap().unwrap();
            let blobs = node.content.clone().unwrap_or_default();
            let readable = blobs
                .iter()
                .all(|blob| repository.load_blob(BlobHandle::data(*blob)).is_ok());
            let tree = node
                .subtree
                .is_none_or(|tree| repository.load_tree(tree).is_ok());
            assert!(!(readable && tree), "{one:?} can be read");
        }
    }
}

#[test]
fn swapped_objects_are_both_named() {
    let (store, _) = two_snapshots();
    for kind in [ObjectKind::Pack, ObjectKind::Snapshot, ObjectKind::Index] {
        let names = names(&*store, kind);
        let swapped = copy_of(&store);
        let contents = store.contents();
        swapped.replace(&names[0], contents[&names[1]].clone());
        swapped.replace(&names[1], contents[&names[0]].clone());
        let report = check_all(swapped).unwrap();
        let named: BTreeSet<_> = errors(&report)
            .iter()
            .filter_map(|finding| finding.object())
            .collect();
        for name in &names[..2] {
            assert!(named.contains(name), "{name}: {:?}", report.findings);
        }
    }
}

#[test]
fn a_missing_index_leaves_packs_that_nobody_lists_and_blobs_that_are_missing() {
    let (store, _) = two_snapshots();
    for name in names(&*store, ObjectKind::Index) {
        let damaged = copy_of(&store);
        damaged.delete(&name).unwrap();
        let report = check_all(damaged).unwrap();
        assert!(!report.is_sound());
        assert!(report.suggest_prune || report.totals.unreferenced_packs > 0);
        let missing = |finding: &&Finding| matches!(finding, Finding::MissingBlob { .. });
        assert!(errors(&report).iter().any(missing), "{:?}", report.findings);
    }
}

#[test]
fn objects_of_absurd_sizes_are_named() {
    let (store, _) = two_snapshots();
    for kind in [ObjectKind::Pack, ObjectKind::Snapshot, ObjectKind::Index] {
        for bytes in [Vec::new(), vec![0; 3], vec![0xff; 40], vec![7; 20 << 20]] {
            let damaged = copy_of(&store);
            // Under its own hash and under a name that is taken.
            let planted = ObjectName::new(kind, hash(&bytes));
            damaged.replace(&planted, bytes.clone());
            let report = check_all(damaged.clone()).unwrap();
            let found = report
                .findings
                .iter()
                .find(|finding| finding.object() == Some(planted));
            let severity = found.map(Finding::severity);
            let expected = match kind {
                ObjectKind::Pack => Severity::Hint,
                _ => Severity::Error,
            };
            assert_eq!(severity, Some(expected), "{:?}", report.findings);
            assert!(report.affected.is_empty());
            let taken = names(&*store, kind)[0];
            damaged.replace(&taken, bytes);
            assert!(!check_all(damaged).unwrap().is_sound());
        }
    }
}
