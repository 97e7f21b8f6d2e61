//! An opened repository: a store, a key and an index.

use std::cell::Cell;
use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use outlast_format::{
    BlobHandle, BlobKind, Compression, Config, IndexFile, MasterKey, Polynomial,
    REPOSITORY_VERSION_MAX, SEAL_BYTES, ScryptCost, Snapshot, TreeReader, decode_blob,
    decode_unpacked, encode_unpacked,
};
use outlast_object::{Id, ObjectKind, ObjectName, hash};
use outlast_store::{LockStore, Store, StoreError};
use parking_lot::RwLock;

use crate::environment::{random_bytes, random_iv};
use crate::index_load::{IndexVisitor, LoadedIndex, load_index};
use crate::keys::{NewKey, add_key, search_key};
use crate::local_trees::LocalTrees;
use crate::needed::IndexFiles;
use crate::own_notes::OwnNotes;
use crate::trust::PackTrust;
use crate::unindexed::Unindexed;
use crate::{AdmissionFacts, BlobIndex, BlobLocation, Cancel, Environment, Notice, RepoError};

/// Default size of a pack in bytes.
pub(crate) const PACK_BYTES_DEFAULT: u64 = 16 * 1024 * 1024;
/// Smallest size of a pack that people can ask for.
pub(crate) const PACK_BYTES_MIN: u64 = 4 * 1024 * 1024;
/// Largest size of a pack that can be asked for.
pub(crate) const PACK_BYTES_MAX: u64 = 128 * 1024 * 1024;

/// How a repository is opened.
#[derive(Debug, Clone, Default)]
pub struct OpenOptions {
    /// Beginning of the id of the key file to try first.
    pub key_hint: Option<String>,
    /// Folder for what is remembered locally about this repository; `None` remembers nothing.
    pub notes_folder: Option<PathBuf>,
    /// Compression of new data.
    pub compression: Compression,
    /// Size of new packs in bytes; `None` for the default. Sensible are 4 to 128 MiB.
    pub pack_bytes: Option<u64>,
}

/// How a repository is made.
#[derive(Debug, Clone)]
pub struct InitOptions {
    /// Format version.
    pub version: u32,
    /// Cost of trying the password.
    pub cost: ScryptCost,
    /// Polynomial to take over from another repository; `None` for a random one.
    pub polynomial: Option<Polynomial>,
}

impl InitOptions {
    /// The newest version, a random polynomial.
    pub fn new(cost: ScryptCost) -> Self {
        Self {
            version: REPOSITORY_VERSION_MAX,
            cost,
            polynomial: None,
        }
    }
}

/// An opened repository. All methods may be called from many threads at once.
pub struct Repository {
    store: Arc<dyn LockStore>,
    environment: Environment,
    key: MasterKey,
    key_id: Id,
    config: Config,
    options: OpenOptions,
    index: RwLock<BlobIndex>,
    index_files: RwLock<IndexFiles>,
    trust: PackTrust,
    own: OwnNotes,
    local_trees: LocalTrees,
    unindexed: Unindexed,
}

impl std::fmt::Debug for Repository {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Repository({} at {})",
            self.config.id.short(),
            self.store.location()
        )
    }
}

/// Reads an object and checks that it hashes to its name. A transfer may have gone wrong, so what
/// does not fit is read once more.
pub(crate) fn read_verified(store: &dyn Store, name: &ObjectName) -> Result<Vec<u8>, RepoError> {
    let mut found = Id::default();
    for _ in 0..2 {
        let bytes = store.read(name)?;
        if name.kind() == ObjectKind::Config {
            return Ok(bytes);
        }
        found = hash(&bytes);
        if found == name.id() {
            return Ok(bytes);
        }
    }
    Err(RepoError::damaged(
        *name,
        format!("its content hashes to {found}"),
    ))
}

impl Repository {
    /// Makes a new repository: the key first, then the config, which is what makes it one.
    pub fn init(
        store: Arc<dyn LockStore>,
        environment: Environment,
        password: &[u8],
        init: &InitOptions,
        options: OpenOptions,
    ) -> Result<Self, RepoError> {
        if store.exists(&ObjectName::CONFIG)? {
            return Err(RepoError::AlreadyExists {
                location: store.location(),
            });
        }
        store.prepare()?;
        let polynomial = match init.polynomial {
            Some(polynomial) => polynomial,
            None => loop {
                if let Some(found) = Polynomial::from_random(u64::from_le_bytes(random_bytes()?)) {
                    break found;
                }
            },
        };
        let config = Config {
            version: init.version,
            id: Id::from_bytes(random_bytes()?),
            chunker_polynomial: polynomial,
        };
        config.check()?;
        let key = MasterKey::from_bytes(&random_bytes()?)?;
        let (username, hostname) = (environment.username.clone(), environment.hostname.clone());
        let new = NewKey {
            password,
            cost: init.cost,
            username: &username,
            hostname: &hostname,
        };
        let key_id = add_key(&*store, &environment, &key, &new)?;
        let sealed = config.encode(&key, random_iv()?)?;
        match store.write(&ObjectName::CONFIG, &sealed) {
            Err(StoreError::AlreadyExists { location, .. }) => {
                return Err(RepoError::AlreadyExists { location });
            }
            result => result?,
        }
        Ok(Self::assemble(
            store,
            environment,
            (key, key_id),
            config,
            options,
        ))
    }

    /// Opens a repository with a password. The index is loaded by [`Repository::load_index`].
    pub fn open(
        store: Arc<dyn LockStore>,
        environment: Environment,
        password: &[u8],
        options: OpenOptions,
    ) -> Result<Self, RepoError> {
        let sealed = match store.read(&ObjectName::CONFIG) {
            Err(error) if error.is_not_found() => {
                return Err(RepoError::NoRepository {
                    location: store.location(),
                });
            }
            result => result?,
        };
        let opened = search_key(&*store, &environment, password, options.key_hint.as_deref())?;
        let config = Config::decode(&sealed, &opened.master)
            .map_err(|error| RepoError::damaged(ObjectName::CONFIG, error))?;
        Ok(Self::assemble(
            store,
            environment,
            (opened.master, opened.id),
            config,
            options,
        ))
    }

    fn assemble(
        store: Arc<dyn LockStore>,
        environment: Environment,
        (key, key_id): (MasterKey, Id),
        config: Config,
        options: OpenOptions,
    ) -> Self {
        let trust = PackTrust::new(options.notes_folder.clone());
        let own = OwnNotes::new(options.notes_folder.clone());
        let local_trees = LocalTrees::new(options.notes_folder.as_deref());
        let unindexed = Unindexed::new(options.notes_folder.as_deref());
        let index = RwLock::new(BlobIndex::new());
        let index_files = RwLock::default();
        Self {
            store,
            environment,
            key,
            key_id,
            config,
            options,
            index,
            index_files,
            trust,
            own,
            local_trees,
            unindexed,
        }
    }

    /// Puts another store in front, such as a cache in a folder named by the repository's id.
    pub fn with_store(
        mut self,
        wrap: impl FnOnce(&Config, Arc<dyn LockStore>) -> Arc<dyn LockStore>,
    ) -> Self {
        self.store = wrap(&self.config, self.store);
        self
    }

    /// Sets the folder for what is remembered locally about this repository.
    pub fn with_notes_folder(mut self, folder: PathBuf) -> Self {
        self.trust = PackTrust::new(Some(folder.clone()));
        self.own = OwnNotes::new(Some(folder.clone()));
        self.local_trees = LocalTrees::new(Some(&folder));
        self.unindexed = Unindexed::new(Some(&folder));
        self.options.notes_folder = Some(folder);
        self
    }

    /// The store. Nothing but locks can be removed through it.
    pub fn store(&self) -> &dyn LockStore {
        &*self.store
    }

    /// The store, to be shared.
    pub fn shared_store(&self) -> Arc<dyn LockStore> {
        Arc::clone(&self.store)
    }

    /// Clock, notices, who and where.
    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// The master key.
    pub fn key(&self) -> &MasterKey {
        &self.key
    }

    /// The key file that opened the repository.
    pub fn key_id(&self) -> Id {
        self.key_id
    }

    /// The config.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// What it was opened with.
    pub fn options(&self) -> &OpenOptions {
        &self.options
    }

    /// The index, for reading. Hold the guard shortly while a backup runs.
    pub fn index(&self) -> parking_lot::RwLockReadGuard<'_, BlobIndex> {
        self.index.read()
    }

    /// The index, for adding what was stored.
    pub(crate) fn index_mut(&self) -> parking_lot::RwLockWriteGuard<'_, BlobIndex> {
        self.index.write()
    }

    /// The snapshots that this host has made itself, as far as it remembers.
    pub fn own_snapshots(&self) -> HashSet<Id> {
        self.own.read(ObjectKind::Snapshot)
    }

    /// Trees that can be had from nowhere else.
    pub(crate) fn local_trees(&self) -> &LocalTrees {
        &self.local_trees
    }

    /// Packs that no index lists yet.
    pub(crate) fn unindexed(&self) -> &Unindexed {
        &self.unindexed
    }

    /// Which index file lists which packs.
    pub(crate) fn index_files(&self) -> parking_lot::RwLockReadGuard<'_, IndexFiles> {
        self.index_files.read()
    }

    /// Notes an index file that was stored for packs that are in the index.
    pub(crate) fn note_index_file(&self, id: Id, file: &IndexFile) {
        self.own.add(&ObjectName::new(ObjectKind::Index, id));
        let index = self.index.read();
        let mut files = self.index_files.write();
        let number = files.begin(id);
        for pack in &file.packs {
            let packed = pack.blobs.iter().filter_map(|blob| blob.to_packed().ok());
            if let Some(pack) = index.pack_number(&pack.id) {
                files.add(number, pack, &packed.collect::<Vec<_>>());
            }
        }
    }

    /// Which packs were found to be what the index says of them.
    pub(crate) fn trust(&self) -> &PackTrust {
        &self.trust
    }

    /// Size at which packs are full, in bytes. What people may ask for is decided where they ask:
    /// small packs are slow, but they are valid.
    pub fn pack_bytes(&self) -> u64 {
        self.options
            .pack_bytes
            .unwrap_or(PACK_BYTES_DEFAULT)
            .clamp(1, PACK_BYTES_MAX)
    }

    /// Loads all index files. Gives the files read and those passed over because of damage.
    pub fn load_index(&self, cancel: &Cancel) -> Result<(Vec<Id>, Vec<Id>), RepoError> {
        self.load_index_showing(cancel, &|_, _| {})
    }

    /// The same, and shows each file to `visit`.
    pub(crate) fn load_index_showing(
        &self,
        cancel: &Cancel,
        visit: IndexVisitor<'_>,
    ) -> Result<(Vec<Id>, Vec<Id>), RepoError> {
        let loaded = load_index(self, cancel, visit, &|_| true)?;
        self.take_index(loaded, AdmissionFacts::default())
    }

    /// Loads what of the index is relied on to say what is stored already, for whoever adds to the
    /// repository. With a trust horizon that is index files admitted before it and those that this
    /// host has written itself; what only others list is unknown then, and stored again.
    pub fn load_trusted_index(
        &self,
        facts: &AdmissionFacts,
        cancel: &Cancel,
    ) -> Result<(Vec<Id>, Vec<Id>), RepoError> {
        let own = match facts.horizon() {
            Some(_) => self.own.read(ObjectKind::Index),
            None => HashSet::new(),
        };
        let name = |id: &Id| ObjectName::new(ObjectKind::Index, *id);
        let passed_over = Cell::new(0_usize);
        let wanted = |id: &Id| {
            let is_wanted =
                facts.horizon().is_none() || facts.is_trusted(&name(id)) || own.contains(id);
            passed_over.set(passed_over.get() + usize::from(!is_wanted));
            is_wanted
        };
        let loaded = load_index(self, cancel, &|_, _| {}, &wanted)?;
        if passed_over.get() > 0 {
            self.environment.notice(Notice::BeyondHorizon {
                indexes: passed_over.get(),
            });
        }
        self.take_index(loaded, facts.clone())
    }

    fn take_index(
        &self,
        loaded: LoadedIndex,
        facts: AdmissionFacts,
    ) -> Result<(Vec<Id>, Vec<Id>), RepoError> {
        self.trust.rely_on(facts);
        self.trust.reset(&loaded.index);
        *self.index.write() = loaded.index;
        *self.index_files.write() = loaded.index_files;
        Ok((loaded.files, loaded.bad_files))
    }

    /// Seals and stores a document; gives its id.
    pub fn save_document(&self, kind: ObjectKind, json: &[u8]) -> Result<Id, RepoError> {
        let sealed = encode_unpacked(json, self.config.version, &self.key, random_iv()?)?;
        let id = hash(&sealed);
        self.store.write(&ObjectName::new(kind, id), &sealed)?;
        Ok(id)
    }

    /// Reads, verifies and opens a document.
    pub fn load_document(&self, kind: ObjectKind, id: Id) -> Result<Vec<u8>, RepoError> {
        let name = ObjectName::new(kind, id);
        let bytes = read_verified(&*self.store, &name)?;
        decode_unpacked(&bytes, &self.key).map_err(|error| RepoError::damaged(name, error))
    }

    /// One snapshot.
    pub fn load_snapshot(&self, id: Id) -> Result<Snapshot, RepoError> {
        let json = self.load_document(ObjectKind::Snapshot, id)?;
        let name = ObjectName::new(ObjectKind::Snapshot, id);
        Snapshot::from_json(&json).map_err(|error| RepoError::damaged(name, error))
    }

    /// Stores a snapshot. All that it needs must be durable before.
    pub fn save_snapshot(&self, snapshot: &Snapshot) -> Result<Id, RepoError> {
        let id = self.save_document(ObjectKind::Snapshot, &snapshot.to_json()?)?;
        self.own.add(&ObjectName::new(ObjectKind::Snapshot, id));
        Ok(id)
    }

    /// All snapshots that can be read, sorted by id; others are passed over with a notice.
    pub fn load_snapshots(&self, cancel: &Cancel) -> Result<Vec<(Id, Snapshot)>, RepoError> {
        let mut snapshots = Vec::new();
        for info in self.store.list_all(ObjectKind::Snapshot)? {
            cancel.check()?;
            match self.load_snapshot(info.id) {
                Ok(snapshot) => snapshots.push((info.id, snapshot)),
                // Removed by somebody since it was listed.
                Err(RepoError::Store(error)) if error.is_not_found() => {}
                Err(RepoError::Store(error @ StoreError::Denied { .. })) => {
                    return Err(error.into());
                }
                Err(error) => {
                    let reason = self.of_one_object(error)?.to_string();
                    self.environment.notice(Notice::BadSnapshot {
                        id: info.id,
                        reason,
                    });
                }
            }
        }
        Ok(snapshots)
    }

    /// Reads a blob from whichever place has it intact. Credentials that do not read packs are
    /// [`StoreError::Denied`], unless a cache has it.
    pub fn load_blob(&self, handle: BlobHandle) -> Result<Vec<u8>, RepoError> {
        let locations: Vec<BlobLocation> = self.index.read().find(handle).collect();
        if locations.is_empty() {
            return Err(RepoError::BlobMissing(handle));
        }
        let mut reasons = Vec::new();
        let mut denied = None;
        for location in &locations {
            match self.load_blob_at(location) {
                Ok(plaintext) => return Ok(plaintext),
                // Trying elsewhere does not help while the store is away.
                Err(RepoError::Store(error)) if error.is_retryable() => return Err(error.into()),
                Err(RepoError::Store(error @ StoreError::Denied { .. })) => denied = Some(error),
                Err(error) => {
                    reasons.push(format!("in pack {}: {error}", location.pack_id.short()))
                }
            }
        }
        // Where these credentials do not read packs, nothing is known to be damaged.
        if let Some(error) = denied {
            let local = match handle.kind {
                BlobKind::Tree => self.local_trees.read(&self.key, handle.id),
                BlobKind::Data => None,
            };
            return local.ok_or_else(|| error.into());
        }
        if let Some(plaintext) = self.salvage_blob(handle, &locations)? {
            return Ok(plaintext);
        }
        Err(RepoError::BlobDamaged { handle, reasons })
    }

    /// Reads a blob from one place.
    pub fn load_blob_at(&self, location: &BlobLocation) -> Result<Vec<u8>, RepoError> {
        let name = ObjectName::pack(location.pack_id);
        let blob = &location.blob;
        // An index that claims absurd lengths must not make us ask for memory.
        if u64::from(blob.length) > blob.handle.kind.bytes_max() + SEAL_BYTES as u64 {
            let reason = format!("{}: {} bytes are claimed", blob.handle, blob.length);
            return Err(RepoError::damaged(name, reason));
        }
        let sealed = self
            .store
            .read_range(&name, u64::from(blob.offset), blob.length as usize)?;
        decode_blob(blob.handle, &sealed, blob.uncompressed_length, &self.key)
            .map_err(|error| RepoError::damaged(name, format!("{}: {error}", blob.handle)))
    }

    /// Reads a tree.
    pub fn load_tree(&self, id: Id) -> Result<TreeReader<Vec<u8>>, RepoError> {
        Ok(TreeReader::new(self.load_blob(BlobHandle::tree(id))?))
    }
}
