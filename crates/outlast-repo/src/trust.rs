//! Which packs were found to be what the index says of them.
//!
//! Whoever has the key of a repository can add an index that maps a blob, known or yet to come, to
//! a pack that does not have it; a writer that believed it would never store the blob. So before a
//! blob counts as stored, its pack's own header is looked at once, unless this host wrote the pack
//! itself. What was looked at is remembered in a local file, which may be lost at any time.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use outlast_format::BlobHandle;
use outlast_object::Id;
use outlast_store::StoreError;
use parking_lot::{Mutex, RwLock};

use crate::{BlobLocation, Notice, RepoError, Repository, read_pack_header};

/// Name of the file in the notes folder: ids of packs, 32 bytes each.
const NOTES_FILE: &str = "verified-packs";
/// A longer file is started afresh; this is two million packs.
const NOTES_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Memory of which packs were verified.
#[derive(Debug, Default)]
pub struct PackTrust {
    folder: Option<PathBuf>,
    verified: RwLock<HashSet<Id>>,
    /// Packs whose index entries are partly wrong, and the blobs they do have.
    mixed: RwLock<HashMap<Id, HashSet<(BlobHandle, u32)>>>,
    fresh: Mutex<Vec<Id>>,
    /// Packs cannot be read with these credentials: the index has to be believed.
    unreadable: AtomicBool,
}

impl PackTrust {
    pub(crate) fn new(folder: Option<PathBuf>) -> Self {
        Self {
            folder,
            ..Self::default()
        }
    }

    /// Takes what is remembered about the packs of a freshly loaded index.
    pub(crate) fn reset(&self, packs: &[Id]) {
        let remembered = self.read_notes();
        let mut verified = self.verified.write();
        verified.clear();
        verified.extend(packs.iter().filter(|id| remembered.contains(*id)));
        self.mixed.write().clear();
    }

    fn read_notes(&self) -> HashSet<Id> {
        let mut bytes = Vec::new();
        let Some(folder) = &self.folder else {
            return HashSet::new();
        };
        if let Ok(file) = File::open(folder.join(NOTES_FILE)) {
            // A file that cannot be read merely means that packs are looked at again.
            let _ = file.take(NOTES_BYTES_MAX).read_to_end(&mut bytes);
        }
        bytes
            .as_chunks::<{ Id::LEN }>()
            .0
            .iter()
            .map(|bytes| Id::from_bytes(*bytes))
            .collect()
    }

    /// A pack that this program stored itself.
    pub(crate) fn add_own(&self, pack: Id) {
        self.verified.write().insert(pack);
        self.fresh.lock().push(pack);
    }

    /// Appends what was verified since to the notes. Failing is no error: it costs time only.
    pub(crate) fn save(&self) {
        let fresh = std::mem::take(&mut *self.fresh.lock());
        let Some(folder) = &self.folder else { return };
        if fresh.is_empty() || fs::create_dir_all(folder).is_err() {
            return;
        }
        let path = folder.join(NOTES_FILE);
        let long = fs::metadata(&path).is_ok_and(|metadata| metadata.len() > NOTES_BYTES_MAX);
        let mut options = OpenOptions::new();
        options
            .create(true)
            .append(!long)
            .write(true)
            .truncate(long);
        let bytes: Vec<u8> = fresh.iter().flat_map(|id| *id.as_bytes()).collect();
        if let Ok(mut file) = options.open(&path) {
            let _ = file.write_all(&bytes);
        }
    }

    /// Whether all that the index says of the pack is known to be so.
    pub(crate) fn is_verified(&self, pack: &Id) -> bool {
        self.verified.read().contains(pack) || self.unreadable.load(Ordering::Relaxed)
    }

    /// Whether the blob really is where the index claims, as far as is known without looking.
    pub(crate) fn known(&self, location: &BlobLocation) -> Option<bool> {
        let pack = location.pack_id;
        if self.is_verified(&pack) {
            return Some(true);
        }
        let place = (location.blob.handle, location.blob.offset);
        let mixed = self.mixed.read();
        mixed.get(&pack).map(|blobs| blobs.contains(&place))
    }

    /// Whether the blob really is where the index claims. Looks at the pack if nobody did before.
    pub(crate) fn confirms(
        &self,
        repository: &Repository,
        location: &BlobLocation,
    ) -> Result<bool, RepoError> {
        if let Some(known) = self.known(location) {
            return Ok(known);
        }
        let pack = location.pack_id;
        let place = (location.blob.handle, location.blob.offset);
        match self.look(repository, location) {
            Ok(blobs) => Ok(blobs.is_none_or(|blobs| blobs.contains(&place))),
            Err(RepoError::Store(StoreError::Denied { .. })) => {
                // An append-only credential need not be able to read packs.
                self.unreadable.store(true, Ordering::Relaxed);
                Ok(true)
            }
            Err(RepoError::Store(error)) if error.is_retryable() => Err(error.into()),
            Err(error) => {
                let reason = error.to_string();
                repository
                    .environment()
                    .notice(Notice::PoisonedIndex { pack, reason });
                self.mixed.write().insert(pack, HashSet::new());
                Ok(false)
            }
        }
    }

    /// Reads a pack's header and compares it with all index entries of the pack. `None`: all agree.
    #[allow(clippy::type_complexity)]
    fn look(
        &self,
        repository: &Repository,
        location: &BlobLocation,
    ) -> Result<Option<HashSet<(BlobHandle, u32)>>, RepoError> {
        let pack = location.pack_id;
        let facts = repository.index().pack_facts(location.pack);
        // Where the index is right, the pack's size follows from it and need not be asked for.
        let expected = facts.pack_bytes();
        let (store, key) = (repository.store(), repository.key());
        let blobs = match read_pack_header(store, key, pack, Some(expected)) {
            Ok(blobs) => blobs,
            Err(RepoError::Store(error)) if error.is_retryable() => return Err(error.into()),
            Err(RepoError::Store(error @ StoreError::Denied { .. })) => return Err(error.into()),
            Err(_) => read_pack_header(store, key, pack, None)?,
        };
        let index = repository.index();
        let agreeing = blobs.iter().filter(|blob| {
            index
                .find(blob.handle)
                .any(|claim| claim.pack == location.pack && claim.blob == **blob)
        });
        if agreeing.count() as u32 == facts.entries {
            self.verified.write().insert(pack);
            self.fresh.lock().push(pack);
            return Ok(None);
        }
        drop(index);
        let reason = "its own header says otherwise".to_owned();
        repository
            .environment()
            .notice(Notice::PoisonedIndex { pack, reason });
        let places: HashSet<_> = blobs
            .iter()
            .map(|blob| (blob.handle, blob.offset))
            .collect();
        self.mixed.write().insert(pack, places.clone());
        Ok(Some(places))
    }
}
