//! Which packs were found to be what the index says of them.
//!
//! Whoever has the key of a repository can add an index that maps a blob, known or yet to come, to
//! a pack that does not have it; a writer that believed it would never store the blob. So before a
//! blob counts as stored, its pack's own header is looked at once, unless this host wrote the pack
//! itself. What was looked at is remembered in a local file, which may be lost at any time.
//!
//! Where the credentials do not read packs, a pack's size has to do: it follows from its entries in
//! the index, so that a pack that is not there, or to which an index adds a blob, is found out.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use outlast_format::BlobHandle;
use outlast_object::{Id, ObjectKind, ObjectName};
use outlast_store::StoreError;
use parking_lot::{Mutex, RwLock};

use crate::{
    AdmissionFacts, BlobIndex, BlobLocation, Notice, PackNumber, RepoError, Repository,
    read_pack_header,
};

/// Name of the file in the notes folder: records of a pack's id and the size that its index entries
/// made of it when it was verified. Entries that somebody adds later make another size.
const NOTES_FILE: &str = "verified-packs-2";
/// Bytes of a record: the id and the size, least byte first.
const RECORD_BYTES: usize = Id::LEN + 8;
/// A longer file is started afresh; this is more than a million packs.
const NOTES_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Memory of which packs were verified.
#[derive(Debug, Default)]
pub struct PackTrust {
    folder: Option<PathBuf>,
    verified: RwLock<HashSet<Id>>,
    /// Packs whose index entries are partly wrong, and the blobs they do have.
    mixed: RwLock<HashMap<Id, HashSet<(BlobHandle, u32)>>>,
    fresh: Mutex<Vec<(Id, u64)>>,
    /// Packs cannot be read with these credentials.
    unreadable: AtomicBool,
    /// When packs were admitted, as far as the caller knows, and what of it is trusted.
    facts: RwLock<AdmissionFacts>,
    /// Whether it was told of a pack that is not trusted.
    told: AtomicBool,
    /// Packs that have the size that the index makes of them, where more cannot be known.
    believed: RwLock<HashSet<Id>>,
    /// Sizes of all packs, listed once when they are needed; `None` where they cannot be listed.
    sizes: Mutex<Option<Option<HashMap<Id, u64>>>>,
}

impl PackTrust {
    pub(crate) fn new(folder: Option<PathBuf>) -> Self {
        Self {
            folder,
            ..Self::default()
        }
    }

    /// Relies on these facts for packs that this host did not store itself.
    pub(crate) fn rely_on(&self, facts: AdmissionFacts) {
        *self.facts.write() = facts;
    }

    /// Takes what is remembered about the packs of a freshly loaded index.
    pub(crate) fn reset(&self, index: &BlobIndex) {
        let remembered = self.read_notes();
        let mut verified = self.verified.write();
        verified.clear();
        for (number, id) in index.packs().iter().enumerate() {
            let bytes = index.pack_facts(PackNumber(number as u32)).pack_bytes();
            if remembered.get(id) == Some(&bytes) {
                verified.insert(*id);
            }
        }
        self.mixed.write().clear();
        self.believed.write().clear();
        self.told.store(false, Ordering::Relaxed);
        *self.sizes.lock() = None;
    }

    fn read_notes(&self) -> HashMap<Id, u64> {
        let mut bytes = Vec::new();
        let Some(folder) = &self.folder else {
            return HashMap::new();
        };
        if let Ok(file) = File::open(folder.join(NOTES_FILE)) {
            // A file that cannot be read merely means that packs are looked at again.
            let _ = file.take(NOTES_BYTES_MAX).read_to_end(&mut bytes);
        }
        let record = |record: &[u8; RECORD_BYTES]| {
            let (mut id, mut size) = ([0; Id::LEN], [0; 8]);
            id.copy_from_slice(&record[..Id::LEN]);
            size.copy_from_slice(&record[Id::LEN..]);
            (Id::from_bytes(id), u64::from_le_bytes(size))
        };
        let (records, _) = bytes.as_chunks::<RECORD_BYTES>();
        records.iter().map(record).collect()
    }

    /// A pack that this program stored itself, and the size that the index makes of it.
    pub(crate) fn add_own(&self, pack: Id, bytes: u64) {
        self.verified.write().insert(pack);
        self.fresh.lock().push((pack, bytes));
    }

    /// Appends what was verified since to the notes. Failing is no error: it costs time only.
    pub(crate) fn save(&self) {
        let fresh = std::mem::take(&mut *self.fresh.lock());
        let Some(folder) = &self.folder else { return };
        if fresh.is_empty() || fs::create_dir_all(folder).is_err() {
            return;
        }
        let path = folder.join(NOTES_FILE);
        // A torn record, left by a crash, would shift all that follow.
        let unfit =
            |bytes: u64| bytes > NOTES_BYTES_MAX || !bytes.is_multiple_of(RECORD_BYTES as u64);
        let long = fs::metadata(&path).is_ok_and(|metadata| unfit(metadata.len()));
        let mut options = OpenOptions::new();
        options
            .create(true)
            .append(!long)
            .write(true)
            .truncate(long);
        let mut bytes = Vec::with_capacity(fresh.len() * RECORD_BYTES);
        for (id, size) in fresh {
            bytes.extend_from_slice(id.as_bytes());
            bytes.extend_from_slice(&size.to_le_bytes());
        }
        if let Ok(mut file) = options.open(&path) {
            let _ = file.write_all(&bytes);
        }
    }

    /// Whether all that the index says of the pack is known to be so.
    pub(crate) fn is_verified(&self, pack: &Id) -> bool {
        self.verified.read().contains(pack) || self.believed.read().contains(pack)
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
        let announced = repository.store().capabilities().reads_packs;
        let reads = announced && !self.unreadable.load(Ordering::Relaxed);
        let (is_trusted, has_horizon) = {
            let facts = self.facts.read();
            let name = ObjectName::pack(pack);
            (facts.is_trusted(&name), facts.horizon().is_some())
        };
        if is_trusted && (has_horizon || !reads) {
            // Admitted when all was well. That nothing was added since to what indexes say of it shows
            // by its size.
            return self.has_expected_size(repository, location);
        }
        // What came after an incident may have a header that is right about worthless content.
        if has_horizon || !reads {
            return self.believes(repository, location);
        }
        match self.look(repository, location) {
            Ok(blobs) => Ok(blobs.is_none_or(|blobs| blobs.contains(&place))),
            Err(RepoError::Store(StoreError::Denied { .. })) => {
                self.unreadable.store(true, Ordering::Relaxed);
                self.believes(repository, location)
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

    /// Whether to rely on a pack that can neither be read nor is known to have been admitted in time.
    fn believes(
        &self,
        repository: &Repository,
        location: &BlobLocation,
    ) -> Result<bool, RepoError> {
        let facts = self.facts.read();
        if facts.horizon().is_none() && !facts.knows(ObjectKind::Pack) {
            drop(facts);
            return self.has_expected_size(repository, location);
        }
        drop(facts);
        let pack = location.pack_id;
        self.mixed.write().insert(pack, HashSet::new());
        if !self.told.swap(true, Ordering::Relaxed) {
            let notice = Notice::PackBeyondHorizon { pack };
            repository.environment().notice(notice);
        }
        Ok(false)
    }

    /// Whether a pack that cannot be read is as large as its entries in the index make it. If not,
    /// nothing that an index says of it is relied on.
    fn has_expected_size(
        &self,
        repository: &Repository,
        location: &BlobLocation,
    ) -> Result<bool, RepoError> {
        let pack = location.pack_id;
        let expected = repository.index().pack_facts(location.pack).pack_bytes();
        let mut listed = self.sizes.lock();
        let sizes = match &mut *listed {
            Some(sizes) => sizes,
            None => listed.insert(list_sizes(repository)?),
        };
        let found = sizes.as_ref().map(|sizes| sizes.get(&pack).copied());
        drop(listed);
        let reason = match found {
            // Not even sizes are told: the index has to be believed.
            None => None,
            Some(Some(found)) if found == expected => None,
            Some(Some(found)) => Some(format!("it has {found} bytes instead of {expected}")),
            Some(None) => Some("it does not exist".to_owned()),
        };
        let Some(reason) = reason else {
            self.believed.write().insert(pack);
            return Ok(true);
        };
        if self.mixed.write().insert(pack, HashSet::new()).is_none() {
            let notice = Notice::PoisonedIndex { pack, reason };
            repository.environment().notice(notice);
        }
        Ok(false)
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
            self.fresh.lock().push((pack, expected));
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

/// The sizes of all packs; `None` where the store does not tell them.
fn list_sizes(repository: &Repository) -> Result<Option<HashMap<Id, u64>>, RepoError> {
    let mut sizes = HashMap::new();
    let listed = repository.store().list(ObjectKind::Pack, &mut |info| {
        sizes.insert(info.id, info.size);
    });
    match listed {
        Ok(()) => Ok(Some(sizes)),
        Err(StoreError::Denied { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
