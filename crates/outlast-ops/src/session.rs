//! An opened repository: its store, its cache, its lock.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use outlast_format::Compression;
use outlast_repo::{
    AdmissionFacts, Cancel, Environment, ExclusiveLock, InitOptions, LockGuard, LockMode, Notice,
    OpenOptions, RepoError, Repository, Selected, SelectionError, SnapshotFilter, SnapshotRequest,
    StoredSnapshot, resolve_admitted,
};
use outlast_store::{
    Cached, ConnectOptions, Deletes, Location, LockStore, RepositoryCache, StoreError,
};
use zeroize::Zeroizing;

/// Whether and where things are kept locally.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CacheChoice {
    /// Nothing is kept.
    Off,
    /// In this folder.
    Folder(PathBuf),
}

/// How a repository is reached and opened.
#[derive(Clone)]
pub struct SessionOptions {
    /// Where it is; none for a store that is opened beforehand, of which it is not said that it is a folder
    /// of this machine.
    pub location: Option<Location>,
    /// How the connection is made.
    pub connect: ConnectOptions,
    /// The password.
    pub password: Zeroizing<Vec<u8>>,
    /// Beginning of the id of the key file to try first.
    pub key_hint: Option<String>,
    /// The local cache.
    pub cache: CacheChoice,
    /// Compression of new data.
    pub compression: Compression,
    /// Size of new packs in bytes.
    pub pack_bytes: Option<u64>,
    /// Do not lock.
    pub no_lock: bool,
    /// How long to wait for the locks of others.
    pub retry_lock: Duration,
}

/// An opened repository.
pub struct Session {
    repository: Arc<Repository>,
    deletes: Arc<dyn Deletes>,
    cancel: Cancel,
    no_lock: bool,
    retry_lock: Duration,
    admissions: AdmissionFacts,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Session({:?})", self.repository)
    }
}

/// The folder for caches where nothing else is asked for: `$XDG_CACHE_HOME/outlast`.
pub fn default_cache_folder() -> Option<PathBuf> {
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let base = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute());
    base.or_else(home).map(|base| base.join("outlast"))
}

fn open_options(options: &SessionOptions) -> OpenOptions {
    OpenOptions {
        key_hint: options.key_hint.clone(),
        notes_folder: None,
        compression: options.compression,
        pack_bytes: options.pack_bytes,
    }
}

fn open_store(options: &SessionOptions) -> Result<Arc<dyn Deletes>, StoreError> {
    match &options.location {
        Some(location) => outlast_store::open(location, &options.connect),
        None => Err(StoreError::Location("no location is named".to_owned())),
    }
}

/// Makes a new repository and opens it.
pub fn init_session(
    options: &SessionOptions,
    init: &InitOptions,
    environment: Environment,
    cancel: &Cancel,
) -> Result<Session, RepoError> {
    let deletes = open_store(options)?;
    init_session_on(deletes, options, init, environment, cancel)
}

/// Makes a new repository in a store that is open already, and opens it.
pub fn init_session_on(
    deletes: Arc<dyn Deletes>,
    options: &SessionOptions,
    init: &InitOptions,
    environment: Environment,
    cancel: &Cancel,
) -> Result<Session, RepoError> {
    let store: Arc<dyn LockStore> = deletes.clone();
    let repository = Repository::init(
        store,
        environment,
        &options.password,
        init,
        open_options(options),
    )?;
    Ok(Session::assemble(repository, deletes, options, cancel))
}

/// Puts the local cache in front of the store. A directory on this machine needs no cache of its
/// objects, only the notes about it; a cache that cannot be used is done without.
fn with_cache(
    repository: Repository,
    deletes: Arc<dyn Deletes>,
    options: &SessionOptions,
    folder: &Path,
) -> (Repository, Arc<dyn Deletes>) {
    let id = repository.config().id;
    let cache = match RepositoryCache::open(folder, &id, SystemTime::now()) {
        Ok(cache) => Arc::new(cache),
        Err(error) => {
            let text = format!("going on without a cache: {error}");
            repository.environment().notice(Notice::Other(text));
            return (repository, deletes);
        }
    };
    let repository = repository.with_notes_folder(cache.folder().to_owned());
    if matches!(options.location, Some(Location::Local(_))) {
        return (repository, deletes);
    }
    let cached: Arc<dyn Deletes> = Arc::new(Cached::new(deletes, cache));
    let store: Arc<dyn LockStore> = cached.clone();
    (repository.with_store(|_, _| store), cached)
}

impl Session {
    /// Opens the repository. Neither lock nor index are taken yet.
    pub fn open(
        options: &SessionOptions,
        environment: Environment,
        cancel: &Cancel,
    ) -> Result<Self, RepoError> {
        let deletes = open_store(options)?;
        Self::open_on(deletes, options, environment, cancel)
    }

    /// Opens the repository in a store that is open already.
    pub fn open_on(
        deletes: Arc<dyn Deletes>,
        options: &SessionOptions,
        environment: Environment,
        cancel: &Cancel,
    ) -> Result<Self, RepoError> {
        let store: Arc<dyn LockStore> = deletes.clone();
        let repository =
            Repository::open(store, environment, &options.password, open_options(options))?;
        Ok(Self::assemble(repository, deletes, options, cancel))
    }

    fn assemble(
        repository: Repository,
        deletes: Arc<dyn Deletes>,
        options: &SessionOptions,
        cancel: &Cancel,
    ) -> Self {
        let (repository, deletes) = match &options.cache {
            CacheChoice::Off => (repository, deletes),
            CacheChoice::Folder(folder) => with_cache(repository, deletes, options, folder),
        };
        Self {
            repository: Arc::new(repository),
            deletes,
            cancel: cancel.clone(),
            no_lock: options.no_lock,
            retry_lock: options.retry_lock,
            admissions: AdmissionFacts::default(),
        }
    }

    /// The same, knowing when its store admitted what: `latest` is then the last snapshot admitted, and
    /// a backup relies on what was admitted before the trust horizon, if there is one.
    #[must_use]
    pub fn with_admissions(self, admissions: AdmissionFacts) -> Self {
        Self { admissions, ..self }
    }

    /// When the store admitted what, as far as is known.
    pub fn admissions(&self) -> &AdmissionFacts {
        &self.admissions
    }

    /// The snapshot that is asked for, `latest` by what is known of admissions.
    ///
    /// # Errors
    /// [`SelectionError`] if there is none, or more than one.
    pub fn resolve<'a>(
        &self,
        list: &[&'a StoredSnapshot],
        request: &SnapshotRequest,
        filter: &SnapshotFilter,
    ) -> Result<Selected<'a>, SelectionError> {
        let now = self.repository.environment().clock.now();
        resolve_admitted(list, request, filter, now, &self.admissions)
    }

    /// The repository, to be shared with what outlives a call, as a mount.
    pub fn shared_repository(&self) -> Arc<Repository> {
        Arc::clone(&self.repository)
    }

    /// The repository.
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// The store as one from which things can be removed.
    pub fn deletes(&self) -> &dyn Deletes {
        &*self.deletes
    }

    /// The request to stop.
    pub fn cancel(&self) -> &Cancel {
        &self.cancel
    }

    /// Takes a shared lock, unless none is wanted.
    pub fn lock_shared(&self) -> Result<Option<LockGuard>, RepoError> {
        if self.no_lock {
            return Ok(None);
        }
        LockGuard::acquire(
            &self.repository,
            LockMode::Shared,
            self.retry_lock,
            &self.cancel,
        )
        .map(Some)
    }

    /// Takes a shared lock for reading; where none can be written, the work goes on without.
    pub fn lock_for_reading(&self) -> Result<Option<LockGuard>, RepoError> {
        match self.lock_shared() {
            Err(RepoError::Store(error)) if !error.is_retryable() => {
                let text = format!("no lock could be made, going on without: {error}");
                self.repository.environment().notice(Notice::Other(text));
                Ok(None)
            }
            result => result,
        }
    }

    /// Takes the lock that excludes everybody else. There is no way around it: what removes needs it.
    /// Where nothing can be removed, that is said at once, and no lock is taken.
    pub fn lock_exclusive(&self) -> Result<ExclusiveLock, RepoError> {
        outlast_repo::ensure_removes(self.repository.store())?;
        ExclusiveLock::acquire(&self.repository, self.retry_lock, &self.cancel)
    }

    /// Loads what of the index is relied on to say what is stored already.
    pub fn load_trusted_index(&self) -> Result<(), RepoError> {
        let loaded = self
            .repository
            .load_trusted_index(&self.admissions, &self.cancel);
        loaded.map(|_| ())
    }

    /// Loads the index.
    pub fn load_index(&self) -> Result<(), RepoError> {
        self.repository.load_index(&self.cancel).map(|_| ())
    }
}

/// All snapshots of a repository that can be read.
pub fn stored_snapshots(
    repository: &Repository,
    cancel: &Cancel,
) -> Result<Vec<StoredSnapshot>, RepoError> {
    let snapshots = repository.load_snapshots(cancel)?;
    Ok(snapshots
        .into_iter()
        .map(|(id, snapshot)| StoredSnapshot { id, snapshot })
        .collect())
}

/// Whether a path lies in a folder or is the folder.
pub(crate) fn is_within(path: &Path, folder: &Path) -> bool {
    path.starts_with(folder)
}
