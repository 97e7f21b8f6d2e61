//! Storing blobs: look-up, compression, sealing, packing, upload, index.
//!
//! Order of what becomes durable: packs, then the index files that name them, then (by the caller)
//! a snapshot. A crash in between leaves packs or indexes that nobody needs yet, never a snapshot
//! that lacks something.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_channel::{Receiver, Sender, bounded};
use outlast_format::{
    BlobHandle, BlobKind, Compressor, EncodedBlob, PackBuilder, PackedBlob, encode_blob,
};
use outlast_object::{Id, ObjectName, hash};
use outlast_store::StoreError;
use parking_lot::Mutex;

use crate::environment::random_iv;
use crate::index_writer::IndexWriter;
use crate::needed::{EntryPacks, NeededPacks};
use crate::packer::Packers;
use crate::{BlobLocation, Cancel, RepoError, Repository};

/// Packs that wait for an upload thread.
const UPLOAD_QUEUE: usize = 1;
/// Upload threads at most.
const UPLOAD_THREADS_MAX: usize = 16;
/// zstd level of trees where data is not compressed.
const TREE_LEVEL: i32 = 3;

/// How blobs are stored.
#[derive(Debug, Clone, Default)]
pub struct SaverOptions {
    /// Go through all motions but write nothing.
    pub dry_run: bool,
    /// Blobs that are stored again though an index lists them.
    pub renew: HashSet<BlobHandle>,
    /// Is told in which packs blobs end up; it has to be told which blobs are needed.
    pub needed: Option<Arc<NeededPacks>>,
}

/// What became of a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Saved {
    /// The blob's id.
    pub id: Id,
    /// Whether it was not there before.
    pub new: bool,
    /// Bytes it takes in the repository, if new.
    pub stored_bytes: u64,
}

/// What a saver has stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SaveStatistics {
    /// New data blobs.
    pub data_blobs: u64,
    /// New tree blobs.
    pub tree_blobs: u64,
    /// Their plaintext bytes.
    pub bytes_added: u64,
    /// Their bytes in the repository.
    pub bytes_stored: u64,
    /// Of `bytes_added`, those of trees.
    pub tree_bytes_added: u64,
    /// Of `bytes_stored`, those of trees.
    pub tree_bytes_stored: u64,
    /// Packs written.
    pub packs: u64,
}

#[derive(Debug, Default)]
struct Counters {
    blobs: [AtomicU64; 2],
    added: [AtomicU64; 2],
    stored: [AtomicU64; 2],
    packs: AtomicU64,
}

/// Stores blobs in a repository; shared by all workers. Made by [`with_saver`].
pub struct Saver<'a> {
    repository: &'a Repository,
    options: SaverOptions,
    cancel: &'a Cancel,
    packers: Packers,
    in_flight: Mutex<HashSet<BlobHandle>>,
    uploads: Sender<PackBuilder>,
    index_writer: IndexWriter,
    counters: Counters,
    failure: Mutex<Option<RepoError>>,
    /// Set once an upload has failed, so that everybody stops soon.
    failed: Cancel,
}

impl std::fmt::Debug for Saver<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Saver({:?})", self.repository)
    }
}

struct StopOnDrop<'a>(&'a Cancel);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

fn slot(kind: BlobKind) -> usize {
    match kind {
        BlobKind::Data => 0,
        BlobKind::Tree => 1,
    }
}

/// Runs `work` with a saver. When it succeeds, all that was saved is durable and indexed on return.
/// When it fails, what is durable already is indexed as far as possible, so that the next run can
/// use it, and the first error is returned.
pub fn with_saver<T>(
    repository: &Repository,
    options: SaverOptions,
    cancel: &Cancel,
    work: impl FnOnce(&Saver<'_>) -> Result<T, RepoError>,
) -> Result<(T, SaveStatistics), RepoError> {
    if !options.dry_run && !repository.store().capabilities().adds {
        let error = StoreError::Denied {
            operation: "add anything".to_owned(),
            location: repository.store().location(),
            reason: "these credentials are for reading only".to_owned(),
        };
        return Err(error.into());
    }
    let (uploads, queue) = bounded(UPLOAD_QUEUE);
    let saver = Saver {
        repository,
        options,
        cancel,
        packers: Packers::new(repository.pack_bytes()),
        in_flight: Mutex::new(HashSet::new()),
        uploads,
        index_writer: IndexWriter::new(repository.environment().clock.monotonic()),
        counters: Counters::default(),
        failure: Mutex::new(None),
        failed: Cancel::new(),
    };
    let threads = repository
        .store()
        .connections()
        .clamp(1, UPLOAD_THREADS_MAX);
    let stop = Cancel::new();
    let result = std::thread::scope(|scope| {
        // Also when `work` panics: the workers must not wait for ever.
        let _stop = StopOnDrop(&stop);
        let workers: Vec<_> = (0..threads)
            .map(|_| scope.spawn(|| saver.upload_all(&queue, &stop)))
            .collect();
        let result = work(&saver).and_then(|value| saver.hand_over_rest().map(|()| value));
        if result.is_err() {
            saver.failed.cancel();
        }
        // Each worker ends when the queue is empty and it was told that nothing more comes.
        stop.cancel();
        for worker in workers {
            if let Err(panic) = worker.join() {
                std::panic::resume_unwind(panic);
            }
        }
        result
    });
    let failure = saver.failure.lock().take();
    let result = match (failure, result) {
        (Some(failure), _) => Err(failure),
        (None, result) => result,
    };
    // Also after a failure: what is stored should not have to be stored again.
    let indexed = if saver.options.dry_run {
        Ok(())
    } else {
        saver.index_writer.flush(repository)
    };
    repository.trust().save();
    let value = result?;
    indexed?;
    Ok((value, saver.statistics()))
}

impl Saver<'_> {
    /// The repository that is written to.
    pub fn repository(&self) -> &Repository {
        self.repository
    }

    /// The compressor that blobs of a kind get, or `None` where they are not compressed. Keep one
    /// for each thread.
    pub fn compressor(&self, kind: BlobKind) -> Result<Option<Compressor>, RepoError> {
        if self.repository.config().version < 2 {
            return Ok(None);
        }
        let level = self.repository.options().compression.level();
        let level = if kind == BlobKind::Tree {
            Some(level.unwrap_or(TREE_LEVEL))
        } else {
            level
        };
        Ok(level.map(Compressor::new).transpose()?)
    }

    /// [`RepoError::Cancelled`] if work should stop: on request, or because an upload failed.
    pub fn check(&self) -> Result<(), RepoError> {
        self.cancel.check()?;
        self.failed.check()
    }

    /// Stores a blob unless it is there already.
    pub fn save(
        &self,
        kind: BlobKind,
        plaintext: &[u8],
        compressor: Option<&mut Compressor>,
    ) -> Result<Saved, RepoError> {
        let handle = BlobHandle {
            kind,
            id: hash(plaintext),
        };
        self.save_as(handle, plaintext, compressor)
    }

    /// Stores a blob whose id is known, unless it is there already.
    pub fn save_as(
        &self,
        handle: BlobHandle,
        plaintext: &[u8],
        compressor: Option<&mut Compressor>,
    ) -> Result<Saved, RepoError> {
        self.check()?;
        let old = Saved {
            id: handle.id,
            new: false,
            stored_bytes: 0,
        };
        if !self.in_flight.lock().insert(handle) {
            return Ok(old);
        }
        // From here on this thread alone deals with the blob.
        if !self.options.renew.contains(&handle) && self.is_stored(handle)? {
            self.in_flight.lock().remove(&handle);
            return Ok(old);
        }
        let key = self.repository.key();
        let encoded = encode_blob(handle, plaintext, compressor, key, random_iv()?)?;
        self.save_encoded(&encoded, plaintext.len() as u64)
    }

    /// Stores a blob that is sealed already with this repository's key.
    pub fn save_encoded(
        &self,
        encoded: &EncodedBlob,
        plaintext_bytes: u64,
    ) -> Result<Saved, RepoError> {
        let kind = encoded.handle.kind;
        let stored_bytes = encoded.sealed.len() as u64;
        self.counters.blobs[slot(kind)].fetch_add(1, Ordering::Relaxed);
        self.counters.added[slot(kind)].fetch_add(plaintext_bytes, Ordering::Relaxed);
        self.counters.stored[slot(kind)].fetch_add(stored_bytes, Ordering::Relaxed);
        if !self.options.dry_run
            && let Some(full) = self.packers.of(kind).add(encoded)?
        {
            self.hand_over(full)?;
        }
        Ok(Saved {
            id: encoded.handle.id,
            new: true,
            stored_bytes,
        })
    }

    /// Whether a blob is stored, in a pack that is known to have it.
    pub fn is_stored(&self, handle: BlobHandle) -> Result<bool, RepoError> {
        let claims: Vec<BlobLocation> = self.repository.index().find(handle).collect();
        for claim in &claims {
            if self.repository.trust().confirms(self.repository, claim)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The same, and adds to `entry` where it is.
    pub(crate) fn is_stored_at(
        &self,
        handle: BlobHandle,
        entry: &mut EntryPacks,
    ) -> Result<bool, RepoError> {
        let claims: Vec<BlobLocation> = self.repository.index().find(handle).collect();
        let trust = self.repository.trust();
        for claim in &claims {
            if trust.confirms(self.repository, claim)? {
                entry.add(trust, &claims);
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Notes that the snapshot needs a blob that was saved.
    pub(crate) fn need(&self, handle: BlobHandle) {
        if let Some(needed) = &self.options.needed {
            needed.add_blob(self.repository, handle);
        }
    }

    /// Notes that the snapshot needs all blobs of an entry.
    pub(crate) fn need_entry(&self, entry: EntryPacks) {
        if let Some(needed) = &self.options.needed {
            needed.add_entry(entry);
        }
    }

    /// What was stored so far.
    pub fn statistics(&self) -> SaveStatistics {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let Counters {
            blobs,
            added,
            stored,
            packs,
        } = &self.counters;
        SaveStatistics {
            data_blobs: get(&blobs[0]),
            tree_blobs: get(&blobs[1]),
            bytes_added: get(&added[0]) + get(&added[1]),
            bytes_stored: get(&stored[0]) + get(&stored[1]),
            tree_bytes_added: get(&added[1]),
            tree_bytes_stored: get(&stored[1]),
            packs: get(packs),
        }
    }

    fn hand_over(&self, pack: PackBuilder) -> Result<(), RepoError> {
        let mut pack = pack;
        // Waiting in steps notices when the workers have given up.
        loop {
            self.check()?;
            match self
                .uploads
                .send_timeout(pack, std::time::Duration::from_millis(200))
            {
                Ok(()) => return Ok(()),
                Err(crossbeam_channel::SendTimeoutError::Timeout(back)) => pack = back,
                Err(crossbeam_channel::SendTimeoutError::Disconnected(_)) => {
                    return Err(RepoError::Cancelled);
                }
            }
        }
    }

    fn hand_over_rest(&self) -> Result<(), RepoError> {
        for kind in [BlobKind::Data, BlobKind::Tree] {
            for pack in self.packers.of(kind).take_all()? {
                self.hand_over(pack)?;
            }
        }
        Ok(())
    }

    fn upload_all(&self, queue: &Receiver<PackBuilder>, stop: &Cancel) {
        loop {
            let pack = match queue.recv_timeout(std::time::Duration::from_millis(20)) {
                Ok(pack) => pack,
                Err(_) if stop.is_cancelled() && queue.is_empty() => return,
                Err(_) => continue,
            };
            if self.failed.is_cancelled() {
                continue;
            }
            if let Err(error) = self.upload(pack) {
                self.failure.lock().get_or_insert(error);
                self.failed.cancel();
            }
        }
    }

    fn upload(&self, pack: PackBuilder) -> Result<(), RepoError> {
        let repository = self.repository;
        let (bytes, blobs) = pack.finish(repository.key(), random_iv()?)?;
        let id = hash(&bytes);
        if blobs.iter().all(|blob| blob.handle.kind == BlobKind::Tree) {
            repository.store().declare_tree_packs(&[id]);
        }
        repository.store().write(&ObjectName::pack(id), &bytes)?;
        repository.unindexed().add(repository, id, &blobs)?;
        drop(bytes);
        self.counters.packs.fetch_add(1, Ordering::Relaxed);
        self.add_stored_pack(id, &blobs)
    }

    /// Makes a pack known that is durable in the store and whose blobs are known to be right.
    pub(crate) fn add_stored_pack(&self, id: Id, blobs: &[PackedBlob]) -> Result<(), RepoError> {
        let (number, bytes) = {
            let mut index = self.repository.index_mut();
            let number = index.add_pack(id, blobs);
            (number, index.pack_facts(number).pack_bytes())
        };
        self.repository.trust().add_own(id, bytes);
        {
            // Only now, when the index answers for them.
            let mut in_flight = self.in_flight.lock();
            for blob in blobs {
                in_flight.remove(&blob.handle);
            }
        }
        if let Some(needed) = &self.options.needed {
            needed.pack_stored(number, blobs);
        }
        self.index_writer.add(self.repository, id, blobs)
    }
}
