//! Pruning: nothing that is needed goes, what is not needed does, and when in doubt nothing does.

#![allow(clippy::unwrap_used)]

mod support;
mod upkeep;

use std::collections::HashSet;
use std::sync::Arc;

use outlast_format::{BlobHandle, IndexBlob, IndexFile, IndexPack, PackBuilder, PackedBlob};
use outlast_object::{Id, ObjectKind, ObjectName, hash};
use outlast_repo::{
    Cancel, MaxUnused, NoProgress, PruneOptions, PruneRefusal, RepoError, Repository, preview_prune,
};
use outlast_store::{Deletes, MemoryStore, Store};
use support::{MemorySource, noise};
use upkeep::{
    all_content, assert_index_is_true, back_up, content_of, forget, ids, init, lose, needed, open,
    prune, restic_must, restics_agree, restics_agree_on, snapshots,
};

const NOTHING_UNUSED: PruneOptions = PruneOptions {
    max_unused: MaxUnused::Bytes(0),
    max_repack_bytes: None,
    repack_cacheable_only: false,
    repack_small: false,
    repack_smaller_than: None,
    repack_uncompressed: false,
    recover_space: false,
};

fn source(files: std::ops::Range<u64>) -> MemorySource {
    let mut source = MemorySource::default();
    for number in files {
        let bytes = 20_000 + (number as usize % 7) * 100_000;
        source = source.with(
            &format!("/dir{}/f{number}", number % 5),
            noise(bytes, number),
            10,
        );
    }
    source
}

/// Three snapshots that share a part each; the first is forgotten.
fn sample(store: &Arc<MemoryStore>) -> Repository {
    let repository = init(store.clone());
    let first = back_up(&repository, &source(0..40), 1_700_000_000);
    back_up(&open(store.clone()), &source(20..60), 1_700_000_100);
    back_up(&open(store.clone()), &source(30..70), 1_700_000_200);
    let repository = open(store.clone());
    forget(&repository, &**store, &[first]).unwrap();
    repository
}

fn refusal(result: Result<outlast_repo::PruneOutcome, RepoError>) -> PruneRefusal {
    match result {
        Err(RepoError::PruneRefused(refusal)) => refusal,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_not_needed_goes_and_the_rest_stays() {
    let store = Arc::new(MemoryStore::new());
    let repository = sample(&store);
    let before = all_content(store.clone());
    let outcome = prune(&repository, &*store, &NOTHING_UNUSED).unwrap();
    let statistics = outcome.preview.statistics;
    assert!(
        statistics.blobs.repack_remove + statistics.blobs.remove > 20,
        "{statistics:?}"
    );
    assert_eq!(statistics.bytes.remaining_unused, 0);
    assert!(outcome.not_removed.is_empty());
    assert_eq!(all_content(store.clone()), before);
    assert_index_is_true(store.clone());
    assert!(ids(&*store, ObjectKind::Lock).is_empty());
    restics_agree_on(&store);
    // The index in memory is the one that was written.
    let fresh = open(store.clone());
    assert_eq!(repository.index().len(), fresh.index().len());
    for location in fresh.index().iter() {
        assert!(repository.index().contains(location.blob.handle));
    }
    // Nothing is left to do.
    let again = prune(&fresh, &*store, &NOTHING_UNUSED).unwrap();
    let statistics = again.preview.statistics;
    assert_eq!(
        (statistics.packs.repack, statistics.packs.remove_total),
        (0, 0)
    );
    // And a backup of what is there stores nothing anew.
    let packs = ids(&*store, ObjectKind::Pack);
    back_up(&open(store.clone()), &source(30..70), 1_700_000_300);
    assert_eq!(ids(&*store, ObjectKind::Pack), packs);
}

#[test]
fn a_preview_changes_nothing_and_tells_what_would_be() {
    let store = Arc::new(MemoryStore::new());
    let repository = sample(&store);
    let contents = store.contents();
    let (none, cancel) = (HashSet::new(), Cancel::new());
    let preview = preview_prune(&repository, &NOTHING_UNUSED, &none, &NoProgress, &cancel).unwrap();
    assert!(store.contents() == contents);
    let outcome = prune(&repository, &*store, &NOTHING_UNUSED).unwrap();
    assert_eq!(outcome.preview.statistics, preview.statistics);
    // As if all snapshots were gone, everything would go.
    let all: HashSet<Id> = ids(&*store, ObjectKind::Snapshot).into_iter().collect();
    let preview = preview_prune(&repository, &NOTHING_UNUSED, &all, &NoProgress, &cancel).unwrap();
    assert_eq!(preview.statistics.blobs.used, 0);
    assert_eq!(preview.unused.len(), ids(&*store, ObjectKind::Pack).len());
}

#[test]
fn limits_are_kept() {
    let store = Arc::new(MemoryStore::new());
    let repository = sample(&store);
    let run = |options: &PruneOptions| {
        preview_prune(
            &repository,
            options,
            &HashSet::new(),
            &NoProgress,
            &Cancel::new(),
        )
        .unwrap()
        .statistics
    };
    let all = run(&NOTHING_UNUSED);
    assert!(all.packs.repack > 0);
    let none = run(&PruneOptions {
        max_repack_bytes: Some(0),
        ..NOTHING_UNUSED
    });
    assert_eq!(none.packs.repack, 0);
    let cacheable = run(&PruneOptions {
        repack_cacheable_only: true,
        ..NOTHING_UNUSED
    });
    assert!(cacheable.bytes.repack < all.bytes.repack);
    let refused = PruneOptions {
        repack_smaller_than: Some(1 << 40),
        ..NOTHING_UNUSED
    };
    assert!(matches!(
        prune(&repository, &*store, &refused),
        Err(RepoError::Refused(_))
    ));
}

#[test]
fn packs_that_no_index_lists_go() {
    let store = Arc::new(MemoryStore::new());
    let repository = sample(&store);
    let before = all_content(store.clone());
    let stray = noise(5000, 99);
    let name = ObjectName::pack(hash(&stray));
    store.write(&name, &stray).unwrap();
    let outcome = prune(&repository, &*store, &NOTHING_UNUSED).unwrap();
    assert_eq!(outcome.preview.unreferenced, [name.id()]);
    assert!(!store.exists(&name).unwrap());
    assert_eq!(all_content(store), before);
}

#[test]
fn doubt_refuses_and_removes_nothing() {
    let store = Arc::new(MemoryStore::new());
    drop(sample(&store));
    let contents = store.contents();
    let start = || {
        let store = Arc::new(MemoryStore::from_contents(contents.clone()));
        (open(store.clone()), store)
    };
    let unchanged = |store: &MemoryStore, before: &outlast_store::Contents| {
        assert!(store.contents() == *before);
    };

    // A snapshot that cannot be read.
    let (repository, store) = start();
    let junk = noise(300, 3);
    store
        .write(&ObjectName::new(ObjectKind::Snapshot, hash(&junk)), &junk)
        .unwrap();
    let before = store.contents();
    let found = refusal(prune(&repository, &*store, &NOTHING_UNUSED));
    assert!(matches!(found, PruneRefusal::UnreadableSnapshot { id, .. } if id == hash(&junk)));
    unchanged(&store, &before);

    // An index that cannot be read stops nobody, but packs that only it may list stay.
    let (repository, store) = start();
    let index = ObjectName::new(ObjectKind::Index, hash(&junk));
    let unlisted = ObjectName::pack(hash(&junk));
    for name in [index, unlisted] {
        store.write(&name, &junk).unwrap();
    }
    prune(&repository, &*store, &NOTHING_UNUSED).unwrap();
    for name in [index, unlisted] {
        assert_eq!(store.read(&name).unwrap(), junk, "{name}");
    }

    // A tree pack that is gone, and one that is damaged.
    let (repository, store) = start();
    let tree = snapshots(&repository)[0].snapshot.tree;
    let pack = repository
        .index()
        .find(BlobHandle::tree(tree))
        .next()
        .unwrap()
        .pack_id;
    let bytes = store.read(&ObjectName::pack(pack)).unwrap();
    lose(&store, ObjectKind::Pack, pack);
    let before = store.contents();
    let found = refusal(prune(&repository, &*store, &NOTHING_UNUSED));
    assert!(
        matches!(found, PruneRefusal::UnreadableTree { .. }),
        "{found}"
    );
    unchanged(&store, &before);
    let mut damaged = bytes.clone();
    damaged.iter_mut().for_each(|byte| *byte ^= 1);
    store.replace(&ObjectName::pack(pack), damaged);
    let before = store.contents();
    let found = refusal(prune(&repository, &*store, &NOTHING_UNUSED));
    assert!(
        matches!(found, PruneRefusal::UnreadableTree { .. }),
        "{found}"
    );
    unchanged(&store, &before);

    // A data pack that is gone, and one that is shorter than it should be.
    let (repository, store) = start();
    let data = data_pack_in_use(&repository);
    let bytes = store.read(&ObjectName::pack(data)).unwrap();
    lose(&store, ObjectKind::Pack, data);
    let before = store.contents();
    let found = refusal(prune(&repository, &*store, &NOTHING_UNUSED));
    assert!(matches!(found, PruneRefusal::MissingPacks(ids) if ids == [data]));
    unchanged(&store, &before);
    store.replace(&ObjectName::pack(data), &bytes[..bytes.len() - 1]);
    let before = store.contents();
    let found = refusal(prune(&repository, &*store, &NOTHING_UNUSED));
    assert!(matches!(found, PruneRefusal::WrongPackSizes(ids) if ids == [data]));
    unchanged(&store, &before);

    // An index that is gone.
    let (repository, store) = start();
    lose(
        &store,
        ObjectKind::Index,
        ids(&*store, ObjectKind::Index)[0],
    );
    let before = store.contents();
    let result = prune(&repository, &*store, &NOTHING_UNUSED);
    assert!(matches!(
        refusal(result),
        PruneRefusal::MissingBlobs { .. } | PruneRefusal::UnreadableTree { .. }
    ));
    unchanged(&store, &before);
}

/// The pack of a file's first blob.
fn data_pack_in_use(repository: &Repository) -> Id {
    let tree = snapshots(repository)[0].snapshot.tree;
    let entry = outlast_repo::find_entry(repository, tree, "/dir0/f30".as_ref());
    let node = entry.unwrap().unwrap();
    let handle = BlobHandle::data(node.content.unwrap()[0]);
    repository.index().find(handle).next().unwrap().pack_id
}

/// A pack whose header claims blobs that it does not have, with an index that lists it.
fn plant(repository: &Repository, store: &MemoryStore, handles: &[PackedBlob]) -> Id {
    let mut builder = PackBuilder::default();
    for blob in handles {
        let encoded = outlast_format::EncodedBlob {
            handle: blob.handle,
            sealed: noise(blob.length as usize, 1),
            uncompressed_length: blob.uncompressed_length,
        };
        builder.push(&encoded).unwrap();
    }
    let (bytes, blobs) = builder.finish(repository.key(), [7; 16]).unwrap();
    let id = hash(&bytes);
    store.write(&ObjectName::pack(id), &bytes).unwrap();
    let file = IndexFile {
        supersedes: Vec::new(),
        packs: vec![IndexPack {
            id,
            blobs: blobs.iter().map(IndexBlob::from).collect(),
        }],
    };
    let json = file.to_json().unwrap();
    repository.save_document(ObjectKind::Index, &json).unwrap();
    id
}

#[test]
fn a_planted_pack_that_claims_everything_does_not_push_out_the_real_ones() {
    let store = Arc::new(MemoryStore::new());
    let repository = sample(&store);
    let before = all_content(store.clone());
    // It looks like the fruit of an interrupted run: nothing but copies of what is needed.
    let needed = needed(&repository);
    let mut claims: Vec<PackedBlob> = repository.index().iter().map(|claim| claim.blob).collect();
    claims.retain(|blob| needed.contains(&blob.handle));
    let (data, trees): (Vec<PackedBlob>, Vec<PackedBlob>) = claims
        .into_iter()
        .partition(|blob| blob.handle.kind == outlast_format::BlobKind::Data);
    let planted = [
        plant(&repository, &store, &data),
        plant(&repository, &store, &trees),
    ];
    let repository = open(store.clone());
    prune(&repository, &*store, &NOTHING_UNUSED).unwrap();
    assert_eq!(all_content(store.clone()), before);
    for id in planted {
        assert!(!store.exists(&ObjectName::pack(id)).unwrap());
    }
    assert_index_is_true(store.clone());
    restics_agree_on(&store);
}

#[test]
fn a_claim_about_a_pack_that_is_not_there_is_forgotten() {
    let store = Arc::new(MemoryStore::new());
    let repository = sample(&store);
    let before = all_content(store.clone());
    let claims: Vec<PackedBlob> = repository.index().iter().map(|claim| claim.blob).collect();
    let planted = plant(&repository, &store, &claims);
    lose(&store, ObjectKind::Pack, planted);
    let repository = open(store.clone());
    let outcome = prune(&repository, &*store, &NOTHING_UNUSED).unwrap();
    assert_eq!(outcome.preview.missing, [planted]);
    assert_eq!(all_content(store.clone()), before);
    restics_agree_on(&store);
}

#[test]
fn copies_are_reduced_to_one_that_is_intact() {
    let store = Arc::new(MemoryStore::new());
    let repository = sample(&store);
    let before = all_content(store.clone());
    // The same packs again: what a run leaves that stored everything twice.
    let renew: HashSet<BlobHandle> = repository
        .index()
        .iter()
        .map(|claim| claim.blob.handle)
        .collect();
    let options = outlast_repo::SaverOptions {
        renew: renew.clone(),
        ..outlast_repo::SaverOptions::default()
    };
    let cancel = Cancel::new();
    outlast_repo::with_saver(&repository, options, &cancel, |saver| {
        for handle in &renew {
            saver.save_as(*handle, &repository.load_blob(*handle)?, None)?;
        }
        Ok(())
    })
    .unwrap();
    let repository = open(store.clone());
    let outcome = prune(&repository, &*store, &NOTHING_UNUSED).unwrap();
    assert!(outcome.preview.statistics.blobs.duplicate > 50);
    assert_eq!(all_content(store.clone()), before);
    let handles: HashSet<BlobHandle> = repository
        .index()
        .iter()
        .map(|claim| claim.blob.handle)
        .collect();
    assert_eq!(handles.len(), repository.index().len());
    restics_agree_on(&store);
}

#[test]
fn restic_agrees_on_what_is_used_and_prunes_what_we_wrote() {
    let store = Arc::new(MemoryStore::new());
    let repository = sample(&store);
    let before = all_content(store.clone());
    let options = PruneOptions::default();
    let (none, cancel) = (HashSet::new(), Cancel::new());
    let ours = preview_prune(&repository, &options, &none, &NoProgress, &cancel).unwrap();
    let folder = tempfile::tempdir().unwrap();
    upkeep::export(&store.contents(), folder.path());
    let Some(text) = restic_must(folder.path(), &["prune", "--dry-run", "--json", "-v"]) else {
        return;
    };
    // restic 0.19.1 has no JSON here, so its lines are read.
    let lines = figures_in(&text);
    let blobs = ours.statistics.blobs;
    assert_eq!(lines("used:"), Some(blobs.used), "{text}");
    assert_eq!(lines("unused:"), Some(blobs.unused), "{text}");
    assert_eq!(lines("to repack:"), Some(blobs.repack), "{text}");
    assert_eq!(lines("this removes:"), Some(blobs.repack_remove), "{text}");
    assert_eq!(lines("total prune:"), Some(blobs.remove_total), "{text}");
    let packs = ours.statistics.packs;
    assert_eq!(lines("totally used packs:"), Some(packs.used), "{text}");
    assert_eq!(
        lines("partly used packs:"),
        Some(packs.partly_used),
        "{text}"
    );
    assert_eq!(lines("unused packs:"), Some(packs.unused), "{text}");
    assert_eq!(lines("to keep:"), Some(packs.keep), "{text}");

    restic_must(folder.path(), &["prune", "--max-unused", "0"]);
    restics_agree(folder.path());
    let local: Arc<outlast_store::LocalStore> =
        Arc::new(outlast_store::LocalStore::open(folder.path()).unwrap());
    assert_eq!(all_content(local.clone()), before);
    let repository = open(local.clone());
    let outcome = prune(&repository, &*local, &NOTHING_UNUSED).unwrap();
    let packs = outcome.preview.statistics.packs;
    assert_eq!((packs.repack, packs.remove_total), (0, 0));
}

/// Looks up the number behind a word in restic's figures.
fn figures_in(text: &str) -> impl Fn(&str) -> Option<u64> + '_ {
    move |word| {
        let line = text.lines().find(|line| line.starts_with(word))?;
        line[word.len()..].split_whitespace().next()?.parse().ok()
    }
}

#[test]
fn uncompressed_trees_of_an_upgraded_repository_are_compressed() {
    let store = Arc::new(MemoryStore::new());
    let repository = upkeep::init_version(store.clone(), 1);
    back_up(
        &repository,
        &source(0..5).with("/text", "text ".repeat(5000), 3),
        1_700_000_000,
    );
    let before = all_content(store.clone());
    let folder = tempfile::tempdir().unwrap();
    upkeep::with_removal(&repository, &*store, |removal| {
        outlast_repo::upgrade(&repository, removal, folder.path())
    })
    .unwrap();
    let repository = open(store.clone());
    assert_eq!(repository.config().version, 2);
    prune(&repository, &*store, &PruneOptions::default()).unwrap();
    let uncompressed = |repository: &Repository| -> (usize, usize) {
        let index = repository.index();
        let plain = || {
            index
                .iter()
                .filter(|claim| claim.blob.uncompressed_length == 0)
        };
        let trees =
            plain().filter(|claim| claim.blob.handle.kind == outlast_format::BlobKind::Tree);
        (plain().count(), trees.count())
    };
    assert!(uncompressed(&repository).0 > 0);
    assert_eq!(uncompressed(&repository).1, 0);
    let options = PruneOptions {
        repack_uncompressed: true,
        ..PruneOptions::default()
    };
    prune(&repository, &*store, &options).unwrap();
    assert_eq!(uncompressed(&repository), (0, 0));
    assert_eq!(all_content(store.clone()), before);
    restics_agree_on(&store);
}

#[test]
fn an_exclusive_lock_of_the_very_repository_is_needed() {
    let store = Arc::new(MemoryStore::new());
    let repository = sample(&store);
    let other_store = Arc::new(MemoryStore::new());
    let other = init(other_store.clone());
    let cancel = Cancel::new();
    let lock =
        outlast_repo::ExclusiveLock::acquire(&other, std::time::Duration::ZERO, &cancel).unwrap();
    let made = outlast_repo::Removal::new(&repository, &*store, &lock);
    assert!(matches!(made, Err(RepoError::Refused(_))));
    drop(lock);
    let lock =
        outlast_repo::ExclusiveLock::acquire(&repository, std::time::Duration::ZERO, &cancel)
            .unwrap();
    assert!(outlast_repo::Removal::new(&repository, &*other_store, &lock).is_err());
    // Nobody else gets in meanwhile.
    assert!(matches!(
        prune(&open(store.clone()), &*store, &NOTHING_UNUSED),
        Err(RepoError::Locked { .. })
    ));
    assert!(!content_of(&repository, snapshots(&repository)[0].snapshot.tree).is_empty());
    let _: &dyn Deletes = &*store;
}
