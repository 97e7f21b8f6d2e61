//! Restoring what is damaged: everything else comes back, and what is lost is named.

#![allow(clippy::unwrap_used)]

mod handmade;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use handmade::tree::noise;
use handmade::{Handmade, Seen, directory, file};
use outlast_format::{BlobHandle, BlobKind, IndexBlob, IndexFile, IndexPack, PackedBlob};
use outlast_object::{Id, ObjectKind};
use outlast_repo::{Cancel, RepoError, RestoreObserver, RestoreOptions, RestoreOutcome, restore};
use outlast_store::{Deletes, MemoryStore};

fn run(repo: &Handmade, tree: Id, target: &Path) -> (RestoreOutcome, Arc<Seen>) {
    let seen = Arc::new(Seen::default());
    let options = RestoreOptions {
        verify: true,
        ..RestoreOptions::default()
    };
    let repository = &repo.repository;
    let outcome = restore(repository, tree, target, &options, &*seen, &Cancel::new()).unwrap();
    (outcome, seen)
}

/// `/good`, `/half` of three blobs, `/other` that shares the middle one, `/last`.
struct Sample {
    repo: Handmade,
    tree: Id,
    blobs: Vec<Id>,
    pieces: Vec<Vec<u8>>,
    folder: tempfile::TempDir,
}

impl Sample {
    fn new() -> Self {
        let repo = Handmade::new();
        let pieces: Vec<Vec<u8>> = (1..6).map(|seed| noise(200_000, seed)).collect();
        let blobs = repo.blobs(&pieces);
        let tree = repo.tree(&[
            file("good", &[blobs[0]], 200_000),
            file("half", &blobs[1..4], 600_000),
            file("last", &[blobs[4]], 200_000),
            file("other", &[blobs[2]], 200_000),
        ]);
        let folder = tempfile::tempdir().unwrap();
        Self {
            repo,
            tree,
            blobs,
            pieces,
            folder,
        }
    }

    fn run(&self) -> (RestoreOutcome, Arc<Seen>) {
        run(&self.repo, self.tree, self.folder.path())
    }

    fn read(&self, name: &str) -> Option<Vec<u8>> {
        fs::read(self.folder.path().join(name)).ok()
    }

    fn middle(&self) -> BlobHandle {
        BlobHandle::data(self.blobs[2])
    }

    /// Everything but what needs the middle blob is there, and that is named.
    fn expect_middle_lost(&self) {
        let (outcome, seen) = self.run();
        assert_eq!(outcome.errors, 2, "{:?}", seen.errors());
        assert_eq!(outcome.files_verified, 2);
        assert!(self.read("good").unwrap() == self.pieces[0]);
        assert!(self.read("last").unwrap() == self.pieces[4]);
        assert!(self.read("half").is_none(), "it must not look complete");
        assert!(self.read("other").is_none(), "it must not look complete");
        let mut expected = self.pieces[1..4].concat();
        expected[200_000..400_000].fill(0);
        let kept = self.read("half.outlast-damaged").unwrap();
        assert!(kept == expected);
        let kept = self.folder.path().join("half.outlast-damaged");
        assert_eq!(fs::metadata(kept).unwrap().mode() & 0o777, 0o600);
        let errors = seen.errors().join("\n");
        assert!(
            errors.contains("/half: ") && errors.contains("/other: "),
            "{errors}"
        );
        assert!(errors.contains(&self.blobs[2].to_hex()), "{errors}");
        let lost = seen.lost();
        assert_eq!(lost.len(), 1, "{lost:?}");
        assert_eq!(lost[0].0, self.middle());
        let mut files = lost[0].1.clone();
        files.sort();
        assert_eq!(files, [Path::new("/half"), Path::new("/other")]);
    }
}

#[test]
fn a_flipped_bit_costs_only_what_needs_it() {
    let sample = Sample::new();
    sample.repo.damage(sample.middle());
    let pack = sample.repo.pack_of(sample.middle());
    sample.expect_middle_lost();
    let (_, seen) = sample.run();
    assert!(seen.errors().join("\n").contains(&pack.id().short()));
}

#[test]
fn a_truncated_pack_costs_only_what_is_cut_off() {
    let sample = Sample::new();
    let name = sample.repo.pack_of(sample.middle());
    let index = sample.repo.repository.index();
    let mut ends: Vec<(u32, Id)> = sample
        .blobs
        .iter()
        .map(|id| {
            let location = index.find(BlobHandle::data(*id)).next().unwrap();
            (location.blob.offset, *id)
        })
        .collect();
    drop(index);
    ends.sort_unstable();
    // The last two blobs are cut off, the first of them in its middle.
    let bytes = sample.repo.store.contents()[&name].to_vec();
    sample
        .repo
        .store
        .replace(&name, bytes[..ends[3].0 as usize + 1000].to_vec());
    let (outcome, seen) = sample.run();
    let lost: Vec<Id> = seen.lost().iter().map(|(handle, _)| handle.id).collect();
    assert_eq!(lost.len(), 2);
    assert!(lost.contains(&ends[3].1) && lost.contains(&ends[4].1));
    assert!(outcome.errors > 0 && outcome.files_restored > 0);
}

#[test]
fn a_missing_pack_is_named_and_a_missing_store_stops() {
    let sample = Sample::new();
    let name = sample.repo.pack_of(sample.middle());
    sample.repo.store.delete(&name).unwrap();
    let (outcome, seen) = sample.run();
    assert_eq!(outcome.files_restored, 0);
    assert_eq!(outcome.errors, 4);
    assert!(seen.errors().join("\n").contains(&name.id().short()));

    let Handmade { repository, .. } = sample.repo;
    let gone = repository.with_store(|_, _| Arc::new(MemoryStore::new()));
    let options = RestoreOptions::default();
    let (seen, cancel) = (Seen::default(), Cancel::new());
    let result = restore(
        &gone,
        sample.tree,
        sample.folder.path(),
        &options,
        &seen,
        &cancel,
    );
    assert!(matches!(result, Err(RepoError::Vanished { .. })));
}

#[test]
fn another_place_stands_in_for_a_damaged_one() {
    let sample = Sample::new();
    // A second copy of the middle blob, in a pack of its own.
    let mut renew = outlast_repo::SaverOptions::default();
    renew.renew.insert(sample.middle());
    outlast_repo::with_saver(&sample.repo.repository, renew, &Cancel::new(), |saver| {
        saver.save(BlobKind::Data, &sample.pieces[2], None)
    })
    .unwrap();
    assert_eq!(
        sample.repo.repository.index().find(sample.middle()).count(),
        2
    );
    sample.repo.damage(sample.middle());
    let (outcome, seen) = sample.run();
    assert_eq!(outcome.errors, 0, "{:?}", seen.errors());
    assert!(sample.read("half").unwrap() == sample.pieces[1..4].concat());
}

/// Puts an index in place of all others and loads it.
fn replace_index(repo: &Handmade, change: impl Fn(&mut PackedBlob)) {
    let store = &repo.store;
    let mut packs: std::collections::BTreeMap<Id, Vec<PackedBlob>> = Default::default();
    for location in repo.repository.index().iter() {
        let mut blob = location.blob;
        change(&mut blob);
        packs.entry(location.pack_id).or_default().push(blob);
    }
    for name in store.contents().keys() {
        if name.kind() == ObjectKind::Index {
            store.delete(name).unwrap();
        }
    }
    add_index(repo, packs.into_iter().collect());
}

fn add_index(repo: &Handmade, packs: Vec<(Id, Vec<PackedBlob>)>) {
    let packs = packs
        .into_iter()
        .map(|(id, blobs)| IndexPack {
            id,
            blobs: blobs.iter().map(IndexBlob::from).collect(),
        })
        .collect();
    let index = IndexFile {
        packs,
        ..IndexFile::default()
    };
    let json = index.to_json().unwrap();
    repo.repository
        .save_document(ObjectKind::Index, &json)
        .unwrap();
    repo.repository.load_index(&Cancel::new()).unwrap();
}

#[test]
fn an_index_that_names_wrong_offsets_does_no_harm() {
    let sample = Sample::new();
    let middle = sample.middle();
    replace_index(&sample.repo, |blob| {
        if blob.handle == middle {
            blob.offset += 100;
        }
    });
    let (outcome, seen) = sample.run();
    assert_eq!(outcome.errors, 0, "{:?}", seen.errors());
    assert!(sample.read("half").unwrap() == sample.pieces[1..4].concat());
}

#[test]
fn an_index_that_names_absurd_lengths_does_no_harm() {
    let sample = Sample::new();
    let middle = sample.middle();
    replace_index(&sample.repo, |blob| {
        if blob.handle == middle {
            blob.length = u32::MAX;
        }
    });
    let (outcome, seen) = sample.run();
    assert!(outcome.errors > 0);
    assert!(sample.read("half").is_none());
    assert!(seen.errors().join("\n").contains(&middle.id.to_hex()));
    assert!(sample.read("good").unwrap() == sample.pieces[0]);
}

#[test]
fn a_poisoned_index_does_not_hide_the_right_place() {
    let sample = Sample::new();
    let middle = sample.middle();
    let elsewhere = sample.repo.pack_of(BlobHandle::tree(sample.tree));
    for (offset, length) in [(0, 5000), (3, 100), (u32::MAX, 100)] {
        let lie = PackedBlob {
            handle: middle,
            offset,
            length,
            uncompressed_length: 77,
        };
        add_index(&sample.repo, vec![(elsewhere.id(), vec![lie])]);
    }
    add_index(
        &sample.repo,
        vec![(
            Id::from_bytes([3; 32]),
            vec![PackedBlob {
                handle: middle,
                offset: 0,
                length: 200_032,
                uncompressed_length: 0,
            }],
        )],
    );
    let (outcome, seen) = sample.run();
    assert_eq!(outcome.errors, 0, "{:?}", seen.errors());
    assert!(sample.read("half").unwrap() == sample.pieces[1..4].concat());
    assert!(sample.read("other").unwrap() == sample.pieces[2]);
}

#[test]
fn a_blob_in_no_index_leaves_the_rest_in_place() {
    let sample = Sample::new();
    let nothing = Id::from_bytes([9; 32]);
    let blobs = [sample.blobs[1], nothing, sample.blobs[3]];
    let tree = sample.repo.tree(&[file("half", &blobs, 600_000)]);
    let (outcome, seen) = run(&sample.repo, tree, sample.folder.path());
    assert_eq!(outcome.errors, 1);
    assert!(
        seen.errors()[0].contains("no index lists it"),
        "{:?}",
        seen.errors()
    );
    let kept = sample.read("half.outlast-damaged").unwrap();
    assert!(kept[..200_000] == sample.pieces[1]);
    assert!(kept[400_000..] == sample.pieces[3]);
    assert_eq!(seen.lost().len(), 1);
}

#[test]
fn swapped_blobs_are_not_taken_for_each_other() {
    let sample = Sample::new();
    let (a, b) = (BlobHandle::data(sample.blobs[1]), sample.middle());
    let index = sample.repo.repository.index();
    let place = |handle| index.find(handle).next().unwrap().blob;
    let (place_a, place_b) = (place(a), place(b));
    drop(index);
    replace_index(&sample.repo, |blob| {
        let place = if blob.handle == a {
            place_b
        } else if blob.handle == b {
            place_a
        } else {
            return;
        };
        blob.offset = place.offset;
    });
    let (outcome, seen) = sample.run();
    assert_eq!(outcome.errors, 0, "{:?}", seen.errors());
    assert!(sample.read("half").unwrap() == sample.pieces[1..4].concat());
}

#[test]
fn damaged_trees_cost_only_what_is_beneath_them() {
    let sample = Sample::new();
    let repo = &sample.repo;
    let hurt = repo.tree(&[file("x", &[sample.blobs[0]], 200_000)]);
    let cut = repo.raw_tree(r#"{"nodes":[{"name":"first","type":"file","content":[]},{"na"#);
    let root = repo.tree(&[
        directory("cut", cut),
        directory("gone", Id::from_bytes([8; 32])),
        directory("hurt", hurt),
        file("whole", &[sample.blobs[0]], 200_000),
    ]);
    repo.damage(BlobHandle::tree(hurt));
    // What is beside the damage must not be deleted: nobody knows what belongs there.
    let target = sample.folder.path();
    fs::create_dir(target.join("hurt")).unwrap();
    fs::write(target.join("hurt/x"), "older").unwrap();
    let options = RestoreOptions {
        delete: true,
        ..RestoreOptions::default()
    };
    let (seen, cancel) = (Seen::default(), Cancel::new());
    let outcome = restore(&repo.repository, root, target, &options, &seen, &cancel).unwrap();
    assert_eq!(outcome.errors, 3, "{:?}", seen.errors());
    assert!(sample.read("whole").unwrap() == sample.pieces[0]);
    assert_eq!(sample.read("cut/first").unwrap(), b"");
    assert_eq!(sample.read("hurt/x").unwrap(), b"older");
    assert!(target.join("gone").is_dir());
    assert_eq!(
        fs::metadata(target.join("hurt")).unwrap().mtime(),
        1_500_000_000
    );
}

#[test]
fn a_full_target_stops_with_a_clear_error() {
    // A device that is always full stands in the way of writing only if it is the file itself, so a
    // small file system is asked for; without the rights to mount one there is nothing to test.
    let folder = tempfile::tempdir().unwrap();
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=300k", "none"])
        .arg(folder.path())
        .status();
    if !mounted.is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED: a small file system cannot be mounted here");
        return;
    }
    let sample = Sample::new();
    let options = RestoreOptions::default();
    let (seen, cancel) = (Seen::default(), Cancel::new());
    let repository = &sample.repo.repository;
    let result = restore(
        repository,
        sample.tree,
        folder.path(),
        &options,
        &seen,
        &cancel,
    );
    let unmounted = std::process::Command::new("umount")
        .arg(folder.path())
        .status();
    assert!(unmounted.unwrap().success());
    let Err(error @ RepoError::TargetFull(_)) = result else {
        panic!("{result:?}");
    };
    assert!(error.to_string().contains("takes no more data"), "{error}");
}

#[test]
fn names_of_damaged_files_stay_within_limits() {
    let sample = Sample::new();
    let long = "l".repeat(255);
    let tree = sample
        .repo
        .tree(&[file(&long, &sample.blobs[1..3], 400_000)]);
    sample.repo.damage(sample.middle());
    let (outcome, _) = run(&sample.repo, tree, sample.folder.path());
    assert_eq!(outcome.errors, 1);
    assert!(sample.read(&long).is_none());
    let kept = format!("{}.outlast-damaged", "l".repeat(255 - 16));
    assert!(sample.read(&kept).is_some());
}

#[test]
fn other_names_of_a_lost_file_are_lost_with_it() {
    let sample = Sample::new();
    let names = |name: &str| {
        let mut node = file(name, &[sample.blobs[2]], 200_000);
        (node.links, node.inode, node.device_id) = (2, 77, 5);
        node
    };
    let tree = sample.repo.tree(&[names("a"), names("b")]);
    sample.repo.damage(sample.middle());
    // An older version is there: it must not be taken for the file, nor get its time.
    let target = sample.folder.path();
    fs::write(target.join("a"), "older").unwrap();
    let before = fs::metadata(target.join("a")).unwrap().mtime();
    let (outcome, seen) = run(&sample.repo, tree, target);
    assert_eq!(outcome.errors, 2);
    assert!(
        seen.errors()
            .join("\n")
            .contains("/b: it is another name of /a")
    );
    assert!(sample.read("b").is_none());
    assert_eq!(sample.read("a").unwrap(), b"older");
    assert_eq!(fs::metadata(target.join("a")).unwrap().mtime(), before);
}

#[test]
fn a_file_that_stays_keeps_its_metadata_when_it_gets_another_name() {
    let sample = Sample::new();
    let names = |name: &str| {
        let mut node = file(name, &[sample.blobs[2]], 200_000);
        (node.links, node.inode, node.device_id) = (2, 77, 5);
        node
    };
    let tree = sample.repo.tree(&[names("a"), names("b")]);
    let target = sample.folder.path();
    fs::write(target.join("a"), "mine").unwrap();
    let before = fs::metadata(target.join("a")).unwrap().mtime();
    let options = RestoreOptions {
        overwrite: outlast_repo::Overwrite::Never,
        ..RestoreOptions::default()
    };
    let (seen, cancel) = (Seen::default(), Cancel::new());
    let repository = &sample.repo.repository;
    let outcome = restore(repository, tree, target, &options, &seen, &cancel).unwrap();
    assert_eq!(outcome.errors, 0);
    assert_eq!(sample.read("b").unwrap(), b"mine");
    assert_eq!(fs::metadata(target.join("a")).unwrap().mtime(), before);
}

/// Takes the whole store away once something was restored.
struct Unplug<'a>(&'a MemoryStore);

impl RestoreObserver for Unplug<'_> {
    fn bytes_restored(&self, _: u64) {
        for name in self.0.contents().keys() {
            self.0.delete(name).unwrap();
        }
    }
}

#[test]
fn a_store_that_goes_away_meanwhile_stops_and_leaves_nothing_that_looks_complete() {
    let repo = Handmade::new();
    // Packs of their own, so that some are still to be fetched.
    let blobs: Vec<Id> = (0..20).map(|seed| repo.data(&noise(1000, seed))).collect();
    let files: Vec<_> = blobs
        .iter()
        .enumerate()
        .map(|(number, id)| file(&format!("{number:02}"), &[*id, blobs[19]], 2000))
        .collect();
    let tree = repo.tree(&files);
    let folder = tempfile::tempdir().unwrap();
    let options = RestoreOptions::default();
    let (observer, cancel) = (Unplug(&repo.store), Cancel::new());
    let repository = &repo.repository;
    let result = restore(
        repository,
        tree,
        folder.path(),
        &options,
        &observer,
        &cancel,
    );
    assert!(
        matches!(result, Err(RepoError::Vanished { .. })),
        "{result:?}"
    );
    let mut complete = 0;
    for number in 0..files.len() {
        let path = folder.path().join(format!("{number:02}"));
        let Ok(metadata) = fs::metadata(&path) else {
            continue;
        };
        // A worker that had its packs in hand already may have finished its file: then all of it is
        // there. Anything else has neither the mode nor the time of the snapshot.
        if metadata.mtime() == 1_600_000_000 || metadata.mode() & 0o777 != 0o600 {
            let expected = [noise(1000, number as u64), noise(1000, 19)].concat();
            assert_eq!(fs::read(&path).unwrap(), expected, "{number}");
            complete += 1;
        }
    }
    assert!(complete < files.len());
}
