//! A repaired repository loses only what was damaged, and restic agrees that it is sound again.

#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use outlast_format::{BlobHandle, BlobKind, IndexBlob, IndexFile, IndexPack};
use outlast_object::{Id, ObjectKind, ObjectName, hash};
use outlast_repo::{
    Cancel, NoProgress, RepairIndexOptions, RepairOriginals, RepoError, SnapshotFilter,
    StoredSnapshot, recover, remove_unreadable_snapshots, repair_index, repair_packs,
    repair_snapshots,
};
use outlast_store::faults::FaultStore;
use outlast_store::{Contents, Deletes, MemoryStore};
use support::small::{
    Files, check_all, copy_of, names, open_small, read_all, read_snapshot, two_snapshots,
};
use support::trial::{TrialStore, with_removal};
use support::{judge, tools};

fn on_trial(store: &MemoryStore) -> TrialStore {
    Arc::new(FaultStore::new(MemoryStore::from_contents(
        store.contents(),
    )))
}

fn stored(store: &TrialStore) -> Vec<StoredSnapshot> {
    let repository = open_small(store.clone()).unwrap();
    let snapshots = repository.load_snapshots(&Cancel::new()).unwrap();
    snapshots
        .into_iter()
        .map(|(id, snapshot)| StoredSnapshot { id, snapshot })
        .collect()
}

fn mend_index(store: &TrialStore) -> Result<(), RepoError> {
    with_removal(store, |repository, removal| {
        let options = RepairIndexOptions::default();
        repair_index(repository, removal, options, &NoProgress, &Cancel::new()).map(|_| ())
    })
}

fn mend_packs(store: &TrialStore, packs: &[Id], copies: &Path) -> Result<(), RepoError> {
    with_removal(store, |repository, removal| {
        repair_packs(
            repository,
            removal,
            packs,
            copies,
            &NoProgress,
            &Cancel::new(),
        )
        .map(|_| ())
    })
}

fn mend_snapshots(store: &TrialStore) -> Result<(), RepoError> {
    with_removal(store, |repository, removal| {
        let (snapshots, _) = repository
            .load_snapshots(&Cancel::new())?
            .into_iter()
            .map(|(id, snapshot)| (StoredSnapshot { id, snapshot }, ()))
            .unzip::<_, _, Vec<_>, Vec<_>>();
        let originals = RepairOriginals::Forget(removal);
        repair_snapshots(
            repository,
            originals,
            &snapshots,
            &NoProgress,
            &Cancel::new(),
        )
        .map(|_| ())
    })
}

fn sound(contents: &Contents, label: &str) {
    let store = Arc::new(MemoryStore::from_contents(contents.clone()));
    let report = check_all(store).unwrap();
    assert!(report.is_sound(), "{label}: {:?}", report.findings);
    if let Some(program) = tools::restic_019() {
        let mut unlocked = contents.clone();
        unlocked.retain(|name, _| name.kind() != ObjectKind::Lock);
        let (content, text) = judge::judge(&program, &unlocked, &["check", "--read-data"]);
        assert!(content, "{label}: {text}");
    }
}

fn memory(store: &TrialStore) -> Arc<MemoryStore> {
    Arc::new(MemoryStore::from_contents(store.inner().contents()))
}

#[test]
fn an_index_is_rebuilt_from_the_packs_whatever_became_of_it() {
    let (start, _) = two_snapshots();
    let before = read_all(&start);
    let index = names(&*start, ObjectKind::Index);
    for read_all_packs in [false, true] {
        for damage in 0..4 {
            let store = on_trial(&start);
            for name in &index {
                match damage {
                    0 => store.delete(name).unwrap(),
                    1 => store.inner().replace(name, vec![7; 500]),
                    2 => {
                        let bytes = store.inner().contents()[name].to_vec();
                        store.inner().replace(name, &bytes[..bytes.len() / 2]);
                    }
                    // Left as it is: nothing to do, or all of it anew.
                    _ => {}
                }
            }
            with_removal(&store, |repository, removal| {
                let options = RepairIndexOptions { read_all_packs };
                let outcome =
                    repair_index(repository, removal, options, &NoProgress, &Cancel::new())?;
                assert!(outcome.packs_damaged.is_empty() && outcome.not_removed.is_empty());
                assert_eq!(outcome.has_changes(), damage < 3 || read_all_packs);
                assert_eq!(outcome.packs_added.is_empty(), damage == 3, "{outcome:?}");
                Ok(())
            })
            .unwrap();
            let label = format!("damage {damage}, all packs {read_all_packs}");
            sound(&store.inner().contents(), &label);
            assert_eq!(read_all(&memory(&store)), before, "{label}");
        }
    }
}

/// Seals an index and plants it.
fn plant_index(store: &MemoryStore, file: &IndexFile) {
    let repository = open_small(copy_of(store)).unwrap();
    let json = file.to_json().unwrap();
    let id = repository.save_document(ObjectKind::Index, &json).unwrap();
    let name = ObjectName::new(ObjectKind::Index, id);
    let bytes = repository.store().read(&name).unwrap();
    store.replace(&name, bytes);
}

fn claim(pack: Id, blob: Id, offset: u32, length: u32) -> IndexFile {
    let blobs = vec![IndexBlob {
        id: blob,
        kind: BlobKind::Data,
        offset,
        length,
        uncompressed_length: 0,
    }];
    let packs = vec![IndexPack { id: pack, blobs }];
    IndexFile {
        supersedes: Vec::new(),
        packs,
    }
}

#[test]
fn lies_about_packs_are_found_and_taken_out_of_the_index() {
    let (start, _) = two_snapshots();
    let before = read_all(&start);
    let real = names(&*start, ObjectKind::Pack)[0].id();
    let blob = {
        let repository = open_small(start.clone()).unwrap();
        let index = repository.index();
        let blobs = index.iter().map(|location| location.blob.handle);
        blobs
            .filter(|handle| handle.kind == BlobKind::Data)
            .min()
            .unwrap()
    };
    for lie in [
        claim(real, hash(b"a blob to come"), 0, 100),
        claim(real, blob.id, 7, 100),
        claim(real, blob.id, u32::MAX - 100, 100),
        claim(real, blob.id, 0, u32::MAX),
        claim(hash(b"no pack"), blob.id, 0, 100),
        claim(hash(b"no pack"), hash(b"no blob"), 0, 64 << 20),
    ] {
        let poisoned = copy_of(&start);
        plant_index(&poisoned, &lie);
        let report = check_all(poisoned.clone()).unwrap();
        assert!(!report.is_sound());
        assert_eq!(read_all(&poisoned), before, "whatever an index claims");
        assert!(report.affected.is_empty(), "{:?}", report.affected);
        let store = on_trial(&poisoned);
        mend_index(&store).unwrap();
        sound(&store.inner().contents(), &format!("{lie:?}"));
        assert_eq!(read_all(&memory(&store)), before);
    }
}

/// All files that can be read of each snapshot.
fn readable(store: &Arc<MemoryStore>) -> BTreeMap<Id, Files> {
    let repository = open_small(store.clone()).unwrap();
    let snapshots = repository.load_snapshots(&Cancel::new()).unwrap();
    snapshots
        .into_iter()
        .map(|(id, snapshot)| {
            let files = read_snapshot(&repository, id).unwrap_or_default();
            (snapshot.original.unwrap_or(id), files)
        })
        .collect()
}

#[test]
fn repairing_packs_and_snapshots_loses_only_the_files_that_were_damaged() {
    let (start, _) = two_snapshots();
    let before = read_all(&start);
    for name in names(&*start, ObjectKind::Pack) {
        let bytes = start.contents()[&name].to_vec();
        for damage in 0..4 {
            let damaged = copy_of(&start);
            let mut broken = bytes.clone();
            match damage {
                0 => broken[bytes.len() / 3] ^= 1,
                1 => broken.truncate(bytes.len() / 2),
                2 => *broken.last_mut().unwrap() ^= 0x40,
                _ => broken.clear(),
            }
            damaged.replace(&name, broken.clone());
            let report = check_all(damaged.clone()).unwrap();
            assert_eq!(report.broken_packs, vec![name.id()]);
            let store = on_trial(&damaged);
            let copies = tempfile::tempdir().unwrap();
            mend_packs(&store, &report.broken_packs, copies.path()).unwrap();
            let copy = copies.path().join(format!("pack-{}", name.id()));
            assert_eq!(std::fs::read(copy).unwrap(), broken);
            mend_snapshots(&store).unwrap();
            let label = format!("{name}, damage {damage}");
            sound(&store.inner().contents(), &label);

            let now = readable(&memory(&store));
            for (id, files) in &before {
                let affected = report.affected.iter().find(|one| one.id == *id);
                let kept = now.get(id).cloned().unwrap_or_default();
                let is_affected = |path: &Path| {
                    affected.is_some_and(|affected| {
                        let mut paths = affected.paths.iter();
                        paths.any(|one| path.starts_with(&one.path))
                    })
                };
                for (path, content) in files {
                    if !is_affected(path) {
                        assert_eq!(kept.get(path), Some(content), "{label}: {path:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_sound_repository_is_left_alone() {
    let (start, _) = two_snapshots();
    let store = on_trial(&start);
    mend_index(&store).unwrap();
    mend_snapshots(&store).unwrap();
    assert_eq!(store.inner().contents(), start.contents());
}

#[test]
fn a_dry_run_changes_nothing_and_without_forget_nothing_is_removed() {
    let (start, ids) = two_snapshots();
    let repository = open_small(start.clone()).unwrap();
    let root = repository.load_snapshot(ids[1]).unwrap().tree;
    let node = outlast_repo::find_entry(&repository, root, Path::new("/b/text")).unwrap();
    let lost = BlobHandle::data(node.unwrap().content.unwrap()[0]);
    let pack = repository.index().find(lost).next().unwrap().pack_id;
    let store = on_trial(&start);
    store.delete(&ObjectName::pack(pack)).unwrap();
    mend_index(&store).unwrap();
    let image = store.inner().contents();
    let snapshots = stored(&store);
    let repository = open_small(store.clone()).unwrap();
    let mend = |originals| {
        repair_snapshots(
            &repository,
            originals,
            &snapshots,
            &NoProgress,
            &Cancel::new(),
        )
        .unwrap()
    };
    let outcome = mend(RepairOriginals::DryRun);
    assert!(!outcome.repaired.is_empty());
    assert!(outcome.repaired.iter().all(|(_, new)| new.is_none()));
    assert_eq!(store.inner().contents(), image);
    let outcome = mend(RepairOriginals::Keep);
    let kept = stored(&store);
    assert_eq!(kept.len(), snapshots.len() + outcome.repaired.len());
    for (old, new) in outcome.repaired {
        let new = kept.iter().find(|one| Some(one.id) == new).unwrap();
        assert_eq!(new.snapshot.original, Some(old));
        assert_eq!(new.snapshot.tags, vec!["repaired"]);
    }
    for name in image.keys() {
        assert!(store.inner().contents().contains_key(name), "{name}");
    }
}

#[test]
fn only_what_cannot_be_read_is_removed_by_name() {
    let (start, ids) = two_snapshots();
    let garbage = ObjectName::new(ObjectKind::Snapshot, hash(b"junk"));
    start.replace(
        &garbage,
        *b"garbage, as can be planted without any key at all",
    );
    let store = on_trial(&start);
    with_removal(&store, |repository, removal| {
        let asked = [ids[0], garbage.id()];
        let removed = remove_unreadable_snapshots(repository, removal, &asked, &Cancel::new())?;
        assert_eq!(removed, vec![garbage.id()]);
        Ok(())
    })
    .unwrap();
    assert_eq!(stored(&store).len(), 2);
    sound(&store.inner().contents(), "without the garbage");
}

#[test]
fn a_copy_of_another_content_is_not_overwritten_and_stops_the_repair() {
    let (start, _) = two_snapshots();
    let name = names(&*start, ObjectKind::Pack)[0];
    let copies = tempfile::tempdir().unwrap();
    let path = copies.path().join(format!("pack-{}", name.id()));
    std::fs::write(&path, "the only copy of something else").unwrap();
    let store = on_trial(&start);
    let error = mend_packs(&store, &[name.id()], copies.path()).unwrap_err();
    assert!(matches!(error, RepoError::Refused(_)), "{error}");
    let mut left = store.inner().contents();
    left.retain(|name, _| name.kind() != ObjectKind::Lock);
    assert_eq!(left, start.contents());
    assert_eq!(
        std::fs::read(&path).unwrap(),
        b"the only copy of something else"
    );
    // A copy that an interrupted run made is as good as a new one.
    std::fs::write(&path, &start.contents()[&name]).unwrap();
    mend_packs(&store, &[name.id()], copies.path()).unwrap();
    sound(&store.inner().contents(), "after the repair");
    assert_eq!(read_all(&memory(&store)), read_all(&start));
}

#[test]
fn trees_that_no_snapshot_reaches_are_recovered() {
    let (start, ids) = two_snapshots();
    let before = read_all(&start);
    let store = on_trial(&start);
    for id in &ids {
        store
            .delete(&ObjectName::new(ObjectKind::Snapshot, *id))
            .unwrap();
    }
    // Also from packs that no index lists any more.
    for name in names(&*start, ObjectKind::Index) {
        store.delete(&name).unwrap();
    }
    let repository = open_small(store.clone()).unwrap();
    let outcome = recover(&repository, "outlast test", &NoProgress, &Cancel::new()).unwrap();
    assert_eq!(outcome.roots.len(), 2);
    let id = outcome.snapshot.unwrap();
    let recovered = read_snapshot(&repository, id).unwrap();
    for files in before.values() {
        let found = outcome.roots.iter().any(|root| {
            let folder = Path::new("/").join(root.short());
            files.iter().all(|(path, content)| {
                let path = folder.join(path.strip_prefix("/").unwrap());
                recovered.get(&path) == Some(content)
            })
        });
        assert!(found);
    }
    let snapshot = repository.load_snapshot(id).unwrap();
    assert_eq!(snapshot.tags, vec!["recovered"]);
    sound(&store.inner().contents(), "recovered");
    // Once more there is nothing to recover.
    let again = recover(&repository, "outlast test", &NoProgress, &Cancel::new()).unwrap();
    assert!(again.roots.is_empty() && again.snapshot.is_none());
    let filter = SnapshotFilter::default();
    assert_eq!(stored(&store).len(), 1, "{filter:?}");
}
