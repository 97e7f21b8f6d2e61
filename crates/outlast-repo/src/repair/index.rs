//! Making the index say what is true: what it says of packs is compared with the packs themselves.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};

use outlast_format::PackedBlob;
use outlast_object::{Id, ObjectKind};
use parking_lot::Mutex;

use super::intact::{candidates, visit_intact};
use super::rewrite_index::{Replacement, remove_files};
use crate::index::{EntriesByPack, EntryNumbers};
use crate::index_load::fingerprint;
use crate::index_writer::IndexWriter;
use crate::presence::is_of_content;
use crate::{
    Cancel, NotRemoved, PackNumber, Progress, Removal, RepoError, Repository, Stage,
    read_pack_header, threads,
};

/// Threads that read packs at most.
const THREADS_MAX: usize = 8;

/// How thorough the repair is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RepairIndexOptions {
    /// Look into all packs, and believe no index at all.
    pub read_all_packs: bool,
}

/// What was wrong with the index and is right now.
#[derive(Debug, Default)]
pub struct RepairIndexOutcome {
    /// Packs that no index listed.
    pub packs_added: Vec<Id>,
    /// Packs of which the index said something else than they do themselves.
    pub packs_corrected: Vec<Id>,
    /// Packs that are gone; the index no longer lists them.
    pub packs_gone: Vec<Id>,
    /// Packs whose own header cannot be read. The index lists those of their blobs that are intact;
    /// `repair packs` brings these to safety.
    pub packs_damaged: Vec<(Id, String)>,
    /// Index files that could not be read and were removed.
    pub bad_files: Vec<Id>,
    /// Index files that were replaced.
    pub files_replaced: usize,
    /// Index files that are still there though they should be gone.
    pub not_removed: Vec<NotRemoved>,
}

impl RepairIndexOutcome {
    /// Whether anything had to be done.
    pub fn has_changes(&self) -> bool {
        self.files_replaced > 0 || !self.bad_files.is_empty() || !self.packs_added.is_empty()
    }
}

/// Makes the index say what the packs say of themselves. Loads the index anew, before and after.
///
/// Only the headers of packs are read about which the index says nothing, or something that cannot
/// be right. New index files are durable before old ones are removed.
pub fn repair_index(
    repository: &Repository,
    removal: &Removal<'_>,
    options: RepairIndexOptions,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<RepairIndexOutcome, RepoError> {
    removal.check_lock()?;
    repository.ensure_present()?;
    let state = IndexState::load(repository, cancel)?;
    let mut outcome = RepairIndexOutcome {
        bad_files: state.bad_files.clone(),
        ..RepairIndexOutcome::default()
    };
    let sizes = pack_sizes(repository)?;
    let mut without: HashSet<Id> = HashSet::new();
    let mut unread: Vec<(Id, u64)> = Vec::new();
    for (pack, size) in &sizes {
        match repository.index().pack_number(pack) {
            Some(number)
                if !options.read_all_packs
                    && *size == expected_bytes(repository, number)
                    && !state.contradicted.contains(pack) => {}
            _ => {
                without.insert(*pack);
                unread.push((*pack, *size));
            }
        }
    }
    for pack in repository.index().packs() {
        if !sizes.contains_key(pack) {
            without.insert(*pack);
            outcome.packs_gone.push(*pack);
        }
    }
    let writer = IndexWriter::new(repository.environment().clock.monotonic());
    let replacement = Replacement {
        repository,
        files: &state.files,
        without: &without,
    };
    unread.sort_unstable();
    let numbers = repository.index_mut().number_entries();
    let by_pack = repository.index().by_pack().ok_or_else(|| {
        RepoError::Refused("the index has more entries than can be repaired".to_owned())
    })?;
    let reading = Reading {
        repository,
        writer: &writer,
        numbers,
        by_pack,
        outcome: Mutex::new(&mut outcome),
        cancel,
    };
    reading.read_all(&unread, progress)?;
    let outdated = replacement.write(&writer, progress, cancel)?;
    writer.flush(repository)?;
    cancel.check()?;
    removal.check_lock()?;
    outcome.files_replaced = outdated.len();
    let obsolete: Vec<Id> = outdated.into_iter().chain(state.bad_files).collect();
    outcome.not_removed = remove_files(removal, &obsolete, progress, cancel)?;
    repository.load_index(cancel)?;
    outcome.packs_added.sort_unstable();
    outcome.packs_corrected.sort_unstable();
    outcome.packs_damaged.sort_unstable();
    outcome.packs_gone.sort_unstable();
    Ok(outcome)
}

fn expected_bytes(repository: &Repository, pack: PackNumber) -> u64 {
    repository.index().pack_facts(pack).pack_bytes()
}

fn pack_sizes(repository: &Repository) -> Result<HashMap<Id, u64>, RepoError> {
    let mut sizes = HashMap::new();
    repository.store().list(ObjectKind::Pack, &mut |info| {
        sizes.insert(info.id, info.size);
    })?;
    if sizes.is_empty() {
        // A disk that went away must not look like one without packs.
        repository.ensure_present()?;
    }
    Ok(sizes)
}

/// What is known of the index files.
struct IndexState {
    files: Vec<Id>,
    /// Files that are no index files, whatever they are.
    bad_files: Vec<Id>,
    /// Packs of which several files say different things.
    contradicted: HashSet<Id>,
}

impl IndexState {
    /// [`RepoError::Refused`] where a file cannot be read for another reason than its content: it may
    /// be all right.
    fn load(repository: &Repository, cancel: &Cancel) -> Result<Self, RepoError> {
        let unreadable = Mutex::new(None);
        let claims: Mutex<HashMap<Id, Id>> = Mutex::default();
        let contradicted: Mutex<HashSet<Id>> = Mutex::default();
        let (files, bad_files) = repository.load_index_showing(cancel, &|id, file| match file {
            Ok(file) => {
                for pack in &file.packs {
                    let claim = fingerprint(pack);
                    let mut claims = claims.lock();
                    if *claims.entry(pack.id).or_insert(claim) != claim {
                        contradicted.lock().insert(pack.id);
                    }
                }
            }
            Err(RepoError::Store(error)) if !is_of_content(error) => {
                let reason = format!("index {id} cannot be read, and may be intact: {error}");
                unreadable.lock().get_or_insert(reason);
            }
            Err(_) => {}
        })?;
        match unreadable.into_inner() {
            Some(reason) => Err(RepoError::Refused(reason)),
            None => Ok(Self {
                files,
                bad_files,
                contradicted: contradicted.into_inner(),
            }),
        }
    }
}

struct Reading<'a> {
    repository: &'a Repository,
    writer: &'a IndexWriter,
    numbers: EntryNumbers,
    by_pack: EntriesByPack,
    outcome: Mutex<&'a mut RepairIndexOutcome>,
    cancel: &'a Cancel,
}

impl Reading<'_> {
    fn read_all(&self, packs: &[(Id, u64)], progress: &dyn Progress) -> Result<(), RepoError> {
        progress.begin(Stage::ReadHeaders, packs.len() as u64);
        let next = AtomicUsize::new(0);
        let connections = self.repository.store().connections();
        let wanted = connections.clamp(1, THREADS_MAX).min(packs.len().max(1));
        threads::run(wanted, &|| {
            while let Some((pack, size)) = packs.get(next.fetch_add(1, Ordering::Relaxed)) {
                self.cancel.check()?;
                self.read(*pack, *size)?;
                progress.advance(Stage::ReadHeaders, 1);
            }
            Ok(())
        })
    }

    fn read(&self, pack: Id, size: u64) -> Result<(), RepoError> {
        let repository = self.repository;
        let claims = self.claims(pack);
        let (store, key) = (repository.store(), repository.key());
        let blobs = match read_pack_header(store, key, pack, Some(size)) {
            Ok(blobs) => {
                let mut outcome = self.outcome.lock();
                if claims.is_empty() {
                    outcome.packs_added.push(pack);
                } else if !is_same(&claims, &blobs) {
                    outcome.packs_corrected.push(pack);
                }
                blobs
            }
            // Removed by somebody since it was listed.
            Err(RepoError::Store(error)) if error.is_not_found() => {
                repository.ensure_present()?;
                return Ok(());
            }
            Err(error) => {
                let reason = repository.of_one_damaged_object(error)?.to_string();
                self.outcome.lock().packs_damaged.push((pack, reason));
                self.intact(pack, size, claims)?
            }
        };
        if blobs.is_empty() {
            return Ok(());
        }
        self.writer.add(repository, pack, &blobs)
    }

    fn claims(&self, pack: Id) -> Vec<PackedBlob> {
        let index = self.repository.index();
        let Some(number) = index.pack_number(&pack) else {
            return Vec::new();
        };
        let entries = self.by_pack.of(number).iter();
        entries
            .filter_map(|entry| index.entry_at(&self.numbers, *entry as usize))
            .map(|location| location.blob)
            .collect()
    }

    /// Those of the index's claims that turn out to be true.
    fn intact(
        &self,
        pack: Id,
        size: u64,
        claims: Vec<PackedBlob>,
    ) -> Result<Vec<PackedBlob>, RepoError> {
        let places = candidates(self.repository, pack, size, claims)?;
        let mut intact = Vec::new();
        visit_intact(self.repository, pack, places, &mut |blob, _| {
            intact.push(*blob);
            Ok(())
        })?;
        Ok(intact)
    }
}

fn is_same(claims: &[PackedBlob], blobs: &[PackedBlob]) -> bool {
    let sorted = |blobs: &[PackedBlob]| {
        let mut blobs = blobs.to_vec();
        blobs.sort_unstable_by_key(|blob| (blob.offset, blob.handle));
        blobs
    };
    sorted(claims) == sorted(blobs)
}
