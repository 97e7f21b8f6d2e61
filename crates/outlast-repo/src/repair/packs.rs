//! Bringing what is intact in damaged packs to safety.
//!
//! The order of changes, and what a crash after each leaves: a copy of the damaged pack in a local
//! folder; new packs with what is intact, with an index of their own (blobs that are stored twice);
//! index files that no longer list the damaged packs (the same, twice); the damaged packs go (packs
//! that no index lists).

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;

use outlast_format::{BlobHandle, EncodedBlob, PackedBlob};
use outlast_object::{Id, ObjectName};
use outlast_store::StoreError;

use super::intact::{candidates, visit_intact};
use super::rewrite_index::{Replacement, remove_files};
use crate::index_writer::IndexWriter;
use crate::{
    Cancel, NotRemoved, Progress, Removal, RepoError, Repository, Saver, SaverOptions, Stage,
    with_saver,
};

/// Bytes of a pack fetched at a time for the local copy.
const WINDOW_BYTES: u64 = 8 * 1024 * 1024;

/// Is told what becomes of each pack.
pub trait RepairPacksObserver: Progress {
    /// A copy of the pack as it is lies there now.
    fn copy_kept(&self, pack: Id, path: &Path) {
        let _ = (pack, path);
    }
    /// The pack cannot be read as a whole, so there is no complete copy of it.
    fn copy_failed(&self, pack: Id, reason: &str) {
        let _ = (pack, reason);
    }
    /// So many blobs of a pack are stored anew, and these are lost with it.
    fn pack_salvaged(&self, pack: Id, intact: usize, lost: &[BlobHandle]) {
        let _ = (pack, intact, lost);
    }
}

impl RepairPacksObserver for crate::NoProgress {}

/// What was brought to safety.
#[derive(Debug, Default)]
pub struct RepairPacksOutcome {
    /// Blobs stored anew.
    pub salvaged: u64,
    /// Blobs that were not intact. Another pack may still have them.
    pub lost: Vec<BlobHandle>,
    /// Objects that are still there though they should be gone; no index lists the packs.
    pub not_removed: Vec<NotRemoved>,
}

/// Stores what is intact in these packs anew, and removes them from the index and the store.
/// `copies` is the folder that gets a copy of each as it was, named `pack-` and its id; a file of
/// that name with other content is not touched, and stops the repair. Loads the index anew.
pub fn repair_packs(
    repository: &Repository,
    removal: &Removal<'_>,
    packs: &[Id],
    copies: &Path,
    observer: &dyn RepairPacksObserver,
    cancel: &Cancel,
) -> Result<RepairPacksOutcome, RepoError> {
    removal.check_lock()?;
    repository.ensure_present()?;
    let (files, bad_files) = repository.load_index(cancel)?;
    if !bad_files.is_empty() {
        return Err(RepoError::Refused(
            "an index cannot be read; run `repair index` first".to_owned(),
        ));
    }
    let without: HashSet<Id> = packs.iter().copied().collect();
    for pack in &without {
        cancel.check()?;
        keep_copy(repository, *pack, copies, observer)?;
    }
    observer.begin(Stage::Repack, without.len() as u64);
    let options = SaverOptions::default();
    let (outcome, _) = with_saver(repository, options, cancel, |saver| {
        let mut salvage = Salvage {
            saver,
            observer,
            done: HashSet::new(),
            outcome: RepairPacksOutcome::default(),
        };
        for pack in &without {
            cancel.check()?;
            salvage.pack(*pack)?;
            observer.advance(Stage::Repack, 1);
        }
        Ok(salvage.outcome)
    })?;
    let mut outcome = outcome;
    let writer = IndexWriter::new(repository.environment().clock.monotonic());
    let replacement = Replacement {
        repository,
        files: &files,
        without: &without,
    };
    let outdated = replacement.write(&writer, observer, cancel)?;
    writer.flush(repository)?;
    removal.check_lock()?;
    let left = remove_files(removal, &outdated, observer, cancel)?;
    if left.is_empty() {
        let names: Vec<ObjectName> = without.iter().map(|pack| ObjectName::pack(*pack)).collect();
        outcome.not_removed = removal.remove_all(&names, observer, cancel)?;
    } else {
        // Packs that an index still lists must stay.
        outcome.not_removed = left;
    }
    repository.load_index(cancel)?;
    Ok(outcome)
}

struct Salvage<'a, 's> {
    saver: &'a Saver<'s>,
    observer: &'a dyn RepairPacksObserver,
    done: HashSet<BlobHandle>,
    outcome: RepairPacksOutcome,
}

impl Salvage<'_, '_> {
    fn pack(&mut self, pack: Id) -> Result<(), RepoError> {
        let repository = self.saver.repository();
        let claims = claims(repository, pack);
        let wanted: HashSet<BlobHandle> = claims.iter().map(|blob| blob.handle).collect();
        let size = match repository.store().size(&ObjectName::pack(pack)) {
            Ok(size) => size,
            Err(error) => {
                repository.of_one_damaged_object(error.into())?;
                0
            }
        };
        let mut places = candidates(repository, pack, size, claims)?;
        places.retain(|blob| !self.done.contains(&blob.handle));
        let (saver, done) = (self.saver, &mut self.done);
        let before = done.len();
        visit_intact(repository, pack, places, &mut |blob, sealed| {
            if !done.insert(blob.handle) {
                return Ok(());
            }
            let encoded = EncodedBlob {
                handle: blob.handle,
                sealed: sealed.to_vec(),
                uncompressed_length: blob.uncompressed_length,
            };
            saver.save_encoded(&encoded, u64::from(blob.plaintext_length()))?;
            Ok(())
        })?;
        let intact = done.len() - before;
        let mut lost: Vec<BlobHandle> = wanted
            .into_iter()
            .filter(|handle| !done.contains(handle))
            .collect();
        lost.sort_unstable();
        self.observer.pack_salvaged(pack, intact, &lost);
        self.outcome.salvaged += intact as u64;
        self.outcome.lost.extend(lost);
        Ok(())
    }
}

fn claims(repository: &Repository, pack: Id) -> Vec<PackedBlob> {
    let index = repository.index();
    let Some(number) = index.pack_number(&pack) else {
        return Vec::new();
    };
    // Damaged packs are few; a table of all would be large.
    let entries = index.iter().filter(|location| location.pack == number);
    entries.map(|location| location.blob).collect()
}

/// Copies a pack to a local folder, as it is.
fn keep_copy(
    repository: &Repository,
    pack: Id,
    folder: &Path,
    observer: &dyn RepairPacksObserver,
) -> Result<(), RepoError> {
    let path = folder.join(format!("pack-{pack}"));
    let name = ObjectName::pack(pack);
    let failed = |source: io::Error| RepoError::Io {
        operation: format!("keep a copy of pack {pack} as {}", path.display()),
        source,
    };
    let size = match repository.store().size(&name) {
        Ok(size) => size,
        Err(error) => return no_copy(repository, pack, error, observer),
    };
    let mut file = match OpenOptions::new().write(true).create_new(true).open(&path) {
        Ok(file) => Some(file),
        // Most likely a copy that an interrupted run made: then it has to be the same.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => None,
        Err(error) => return Err(failed(error)),
    };
    let mut present = match &file {
        Some(_) => None,
        None => Some(File::open(&path).map_err(failed)?),
    };
    let mut offset = 0;
    while offset < size {
        let length = (size - offset).min(WINDOW_BYTES);
        let bytes = match repository
            .store()
            .read_range(&name, offset, length as usize)
        {
            Ok(bytes) => bytes,
            Err(error) => {
                drop(file.take());
                // Half a copy would be taken for a whole one. Failing to remove it is harmless.
                if present.is_none() {
                    let _ = fs::remove_file(&path);
                }
                return no_copy(repository, pack, error, observer);
            }
        };
        if let Some(file) = &mut file {
            file.write_all(&bytes).map_err(failed)?;
        }
        if let Some(present) = &mut present {
            let mut kept = Vec::new();
            present
                .take(length)
                .read_to_end(&mut kept)
                .map_err(failed)?;
            if kept != bytes {
                return Err(RepoError::Refused(format!(
                    "{} holds something else than pack {pack}; move it away first",
                    path.display()
                )));
            }
        }
        offset += length;
    }
    if let Some(file) = file {
        file.sync_all().map_err(failed)?;
    }
    observer.copy_kept(pack, &path);
    Ok(())
}

fn no_copy(
    repository: &Repository,
    pack: Id,
    error: StoreError,
    observer: &dyn RepairPacksObserver,
) -> Result<(), RepoError> {
    let reason = repository.of_one_damaged_object(error.into())?;
    observer.copy_failed(pack, &reason.to_string());
    Ok(())
}
