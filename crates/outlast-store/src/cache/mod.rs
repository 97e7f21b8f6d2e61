//! A local cache of what is read again and again: indexes, snapshots and tree packs.
//!
//! [`Cached`] is the decorator, [`RepositoryCache`] the files behind it. What comes from the cache
//! has been verified by its hash; a cache that fails is never an error of the operation.

mod folder;
mod maintenance;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use outlast_object::{Id, ObjectKind, ObjectName};
use parking_lot::Mutex;

pub use self::folder::RepositoryCache;
pub use self::maintenance::{CACHE_AGE_MAX, CacheInfo, list_caches, remove_old_caches};

use crate::{Capabilities, Deletes, LockStore, ObjectInfo, Store, StoreError};

/// Larger tree packs are not fetched whole for the sake of one tree.
pub const CACHED_PACK_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// A store with a cache in front.
pub struct Cached<S> {
    inner: S,
    cache: Arc<RepositoryCache>,
    /// Packs that are being fetched, so that many readers of one pack fetch it once.
    fetching: Mutex<HashMap<Id, Arc<Mutex<()>>>>,
    /// Packs that turned out too large, damaged or impossible to keep: only their ranges are read.
    uncacheable: Mutex<HashSet<Id>>,
}

impl<S> Cached<S> {
    /// Puts `cache` in front of `inner`.
    pub fn new(inner: S, cache: Arc<RepositoryCache>) -> Self {
        Self {
            inner,
            cache,
            fetching: Mutex::default(),
            uncacheable: Mutex::default(),
        }
    }

    /// The cache.
    pub fn cache(&self) -> &Arc<RepositoryCache> {
        &self.cache
    }
}

impl<S: Store> Cached<S> {
    /// A range of a tree pack that is not in the cache: fetches the whole pack.
    fn fetch_range(
        &self,
        name: &ObjectName,
        offset: u64,
        length: usize,
    ) -> Result<Vec<u8>, StoreError> {
        let id = name.id();
        let turn = Arc::clone(self.fetching.lock().entry(id).or_default());
        let _guard = turn.lock();
        // Whoever had the turn before may have brought it.
        if let Some(bytes) = self.cache.get_range(name, offset, length) {
            return Ok(bytes);
        }
        let readable = self.inner.capabilities().reads_packs;
        if !readable || !self.cache.can_write() || self.uncacheable.lock().contains(&id) {
            return self.inner.read_range(name, offset, length);
        }
        let whole = match self.inner.size(name)? {
            size if size > CACHED_PACK_BYTES_MAX => None,
            _ => match self.inner.read(name) {
                Ok(bytes) => Some(bytes),
                Err(error @ StoreError::Denied { .. }) => return Err(error),
                Err(error) if error.is_retryable() => return Err(error),
                // Perhaps the wanted range can be had.
                Err(_) => None,
            },
        };
        let kept = whole
            .as_ref()
            .is_some_and(|bytes| self.cache.put(name, bytes));
        if !kept {
            self.uncacheable.lock().insert(id);
        }
        self.fetching.lock().remove(&id);
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let range = start..start.saturating_add(length);
        match whole.as_ref().and_then(|bytes| bytes.get(range)) {
            Some(bytes) => Ok(bytes.to_vec()),
            None => self.inner.read_range(name, offset, length),
        }
    }
}

impl<S: Store> Store for Cached<S> {
    fn location(&self) -> String {
        self.inner.location()
    }

    fn connections(&self) -> usize {
        self.inner.connections()
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn declare_tree_packs(&self, packs: &[Id]) {
        self.cache.declare_tree_packs(packs);
        self.inner.declare_tree_packs(packs);
    }

    fn prepare(&self) -> Result<(), StoreError> {
        self.inner.prepare()
    }

    fn write(&self, name: &ObjectName, bytes: &[u8]) -> Result<(), StoreError> {
        self.inner.write(name, bytes)?;
        if self.cache.is_wanted(name) {
            self.cache.put(name, bytes);
        }
        Ok(())
    }

    fn read(&self, name: &ObjectName) -> Result<Vec<u8>, StoreError> {
        if !self.cache.is_wanted(name) {
            return self.inner.read(name);
        }
        if let Some(bytes) = self.cache.get(name) {
            return Ok(bytes);
        }
        let bytes = self.inner.read(name)?;
        self.cache.put(name, &bytes);
        Ok(bytes)
    }

    fn read_range(
        &self,
        name: &ObjectName,
        offset: u64,
        length: usize,
    ) -> Result<Vec<u8>, StoreError> {
        if !self.cache.is_wanted(name) {
            return self.inner.read_range(name, offset, length);
        }
        match self.cache.get_range(name, offset, length) {
            Some(bytes) => Ok(bytes),
            None if name.kind() == ObjectKind::Pack => self.fetch_range(name, offset, length),
            None => self.inner.read_range(name, offset, length),
        }
    }

    fn read_range_into(
        &self,
        name: &ObjectName,
        offset: u64,
        length: usize,
        buffer: &mut Vec<u8>,
    ) -> Result<(), StoreError> {
        if !self.cache.is_wanted(name) {
            return self.inner.read_range_into(name, offset, length, buffer);
        }
        *buffer = self.read_range(name, offset, length)?;
        Ok(())
    }

    fn size(&self, name: &ObjectName) -> Result<u64, StoreError> {
        self.inner.size(name)
    }

    /// Lists the store. What the cache has and the store no longer lists is dropped.
    fn list(&self, kind: ObjectKind, visit: &mut dyn FnMut(ObjectInfo)) -> Result<(), StoreError> {
        let mut unseen = match kind {
            ObjectKind::Index | ObjectKind::Snapshot | ObjectKind::Pack => self.cache.list(kind),
            ObjectKind::Config | ObjectKind::Key | ObjectKind::Lock => HashSet::new(),
        };
        self.inner.list(kind, &mut |info| {
            unseen.remove(&info.id);
            visit(info);
        })?;
        for id in unseen {
            self.cache.remove(&ObjectName::new(kind, id));
        }
        Ok(())
    }
}

impl<S: LockStore> LockStore for Cached<S> {
    fn remove_lock(&self, id: &Id) -> Result<(), StoreError> {
        self.inner.remove_lock(id)
    }
}

impl<S: Deletes> Deletes for Cached<S> {
    fn delete(&self, name: &ObjectName) -> Result<(), StoreError> {
        // Also where the store fails: whether the object is still there is unknown then.
        self.cache.remove(name);
        self.inner.delete(name)
    }
}
