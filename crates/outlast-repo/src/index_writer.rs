//! Writing index files for packs that are stored.

use std::time::Duration;

use outlast_format::{IndexBlob, IndexFile, IndexPack, PackedBlob};
use outlast_object::{Id, ObjectKind};
use parking_lot::Mutex;

use crate::{RepoError, Repository};

/// Blobs in one index file.
pub(crate) const INDEX_BLOBS_MAX: usize = 50_000;
/// Time after which the first index file of a run is written though it is not full, so that an
/// interrupted run is not lost; doubled from file to file.
const FIRST_INTERVAL: Duration = Duration::from_secs(30);
/// Longest time between two index files.
const INTERVAL_MAX: Duration = Duration::from_secs(600);

#[derive(Debug)]
struct State {
    file: IndexFile,
    blobs: usize,
    last_written: Duration,
    interval: Duration,
}

/// Collects what lies where and writes index files when they are full or old enough.
#[derive(Debug)]
pub(crate) struct IndexWriter(Mutex<State>);

impl IndexWriter {
    pub(crate) fn new(now: Duration) -> Self {
        Self(Mutex::new(State {
            file: IndexFile::default(),
            blobs: 0,
            last_written: now,
            interval: FIRST_INTERVAL,
        }))
    }

    /// Adds a pack that is durable in the store.
    pub(crate) fn add(
        &self,
        repository: &Repository,
        pack: Id,
        blobs: &[PackedBlob],
    ) -> Result<(), RepoError> {
        let full = {
            let mut state = self.0.lock();
            state.blobs += blobs.len();
            let blobs = blobs.iter().map(IndexBlob::from).collect();
            state.file.packs.push(IndexPack { id: pack, blobs });
            let age = repository
                .environment()
                .clock
                .monotonic()
                .saturating_sub(state.last_written);
            if state.blobs >= INDEX_BLOBS_MAX || age >= state.interval {
                state.take(repository)
            } else {
                return Ok(());
            }
        };
        Self::write(repository, full)
    }

    /// Writes what was collected.
    pub(crate) fn flush(&self, repository: &Repository) -> Result<(), RepoError> {
        let file = self.0.lock().take(repository);
        if file.packs.is_empty() {
            return Ok(());
        }
        Self::write(repository, file)
    }

    fn write(repository: &Repository, file: IndexFile) -> Result<(), RepoError> {
        let id = repository.save_document(ObjectKind::Index, &file.to_json()?)?;
        repository.note_index_file(id, &file);
        let packs = file.packs.iter().map(|pack| pack.id);
        repository.unindexed().remove(repository, packs);
        Ok(())
    }
}

impl State {
    fn take(&mut self, repository: &Repository) -> IndexFile {
        self.blobs = 0;
        self.last_written = repository.environment().clock.monotonic();
        self.interval = (self.interval * 2).min(INTERVAL_MAX);
        std::mem::take(&mut self.file)
    }
}
