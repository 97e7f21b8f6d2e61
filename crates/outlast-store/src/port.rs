//! The `Store` port and the capabilities beside it.

use std::sync::Arc;

use outlast_object::{Id, ObjectKind, ObjectName};

use crate::StoreError;

/// One object in a listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectInfo {
    /// The object's id; all zero for the config.
    pub id: Id,
    /// Its size in bytes.
    pub size: u64,
}

/// What a store lets its caller do, as far as that is known before anything is tried. Locks are
/// exempt: they can always be made and removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// Packs can be read. Everything else always can.
    pub reads_packs: bool,
    /// Objects can be added.
    pub adds: bool,
    /// Key files can be added to a repository that exists.
    pub adds_keys: bool,
    /// Objects can be removed.
    pub removes: bool,
}

impl Capabilities {
    /// Everything, as far as is known: what a store says that knows nothing of itself.
    pub const ALL: Self = Self {
        reads_packs: true,
        adds: true,
        adds_keys: true,
        removes: true,
    };
    /// What a vault lets do whoever has a token to append with.
    pub const APPEND: Self = Self {
        reads_packs: false,
        adds: true,
        adds_keys: false,
        removes: false,
    };
    /// What a vault lets do whoever has a token to make the repository with.
    pub const ENROL: Self = Self {
        reads_packs: false,
        adds: true,
        adds_keys: true,
        removes: false,
    };
    /// What a vault lets do whoever has a token to restore with.
    pub const RESTORE: Self = Self {
        reads_packs: true,
        adds: false,
        adds_keys: false,
        removes: false,
    };
    /// What a vault lets do whoever has a token to append and one to restore with, or a token of
    /// both kinds.
    pub const APPEND_AND_RESTORE: Self = Self {
        reads_packs: true,
        adds: true,
        adds_keys: false,
        removes: false,
    };
}

impl Default for Capabilities {
    fn default() -> Self {
        Self::ALL
    }
}

/// A place that keeps objects.
///
/// Adapters do not retry; the `Retry` decorator does, for errors that
/// [`StoreError::is_retryable`] names. All methods may be called from many threads at once.
pub trait Store: Send + Sync {
    /// The location for messages, without passwords.
    fn location(&self) -> String;

    /// How many operations at a time suit this store.
    fn connections(&self) -> usize {
        2
    }

    /// What is known beforehand of what this store lets its caller do. What is said to be impossible
    /// is not worth trying; what is said to be possible may still be refused.
    fn capabilities(&self) -> Capabilities {
        Capabilities::ALL
    }

    /// Prepares an empty store (folders, a remote repository). Existing content is left alone, and
    /// preparing twice is no error.
    fn prepare(&self) -> Result<(), StoreError>;

    /// Keeps `bytes` under `name`. On return they are durable: they survive a loss of power.
    /// After an error or a crash the object is there whole or not at all.
    /// The same bytes again succeed; other bytes under an existing name are
    /// [`StoreError::AlreadyExists`].
    fn write(&self, name: &ObjectName, bytes: &[u8]) -> Result<(), StoreError>;

    /// The whole object. At most `outlast_object::bytes_max` bytes are read.
    fn read(&self, name: &ObjectName) -> Result<Vec<u8>, StoreError>;

    /// Exactly `length` bytes from `offset` on; fewer are [`StoreError::Truncated`].
    fn read_range(
        &self,
        name: &ObjectName,
        offset: u64,
        length: usize,
    ) -> Result<Vec<u8>, StoreError>;

    /// As [`Store::read_range`], in place of what `buffer` holds, whose memory is used again where
    /// that can be done. After an error nothing is known of what it holds.
    fn read_range_into(
        &self,
        name: &ObjectName,
        offset: u64,
        length: usize,
        buffer: &mut Vec<u8>,
    ) -> Result<(), StoreError> {
        *buffer = self.read_range(name, offset, length)?;
        Ok(())
    }

    /// The object's size in bytes.
    fn size(&self, name: &ObjectName) -> Result<u64, StoreError>;

    /// Calls `visit` for every object of a kind, in no particular order. Files that do not have an
    /// object's name are passed over. An empty or missing folder has no objects.
    fn list(&self, kind: ObjectKind, visit: &mut dyn FnMut(ObjectInfo)) -> Result<(), StoreError>;

    /// A hint: these packs hold trees, which are small, and are read again and again. A cache keeps
    /// them; everything else ignores this.
    fn declare_tree_packs(&self, packs: &[Id]) {
        let _ = packs;
    }

    /// Whether the object exists.
    fn exists(&self, name: &ObjectName) -> Result<bool, StoreError> {
        match self.size(name) {
            Ok(_) => Ok(true),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// All objects of a kind, sorted by id.
    fn list_all(&self, kind: ObjectKind) -> Result<Vec<ObjectInfo>, StoreError> {
        let mut all = Vec::new();
        self.list(kind, &mut |info| all.push(info))?;
        all.sort_unstable();
        Ok(all)
    }
}

/// Lists the config, which has a place of its own in every store, by looking it up.
pub(crate) fn list_config(
    store: &impl Store,
    visit: &mut dyn FnMut(ObjectInfo),
) -> Result<(), StoreError> {
    match store.size(&ObjectName::CONFIG) {
        Ok(size) => {
            let id = ObjectName::CONFIG.id();
            visit(ObjectInfo { id, size });
            Ok(())
        }
        Err(error) if error.is_not_found() => Ok(()),
        Err(error) => Err(error),
    }
}

/// A store in which locks, and nothing else, can be removed.
pub trait LockStore: Store {
    /// Removes a lock. A lock that is not there is no error.
    fn remove_lock(&self, id: &Id) -> Result<(), StoreError>;
}

/// A store in which everything can be removed. Backup code never gets one.
pub trait Deletes: LockStore {
    /// Removes an object. One that is not there is no error.
    fn delete(&self, name: &ObjectName) -> Result<(), StoreError>;
}

impl<S: Store + ?Sized> Store for Arc<S> {
    fn location(&self) -> String {
        (**self).location()
    }
    fn connections(&self) -> usize {
        (**self).connections()
    }
    fn capabilities(&self) -> Capabilities {
        (**self).capabilities()
    }
    fn prepare(&self) -> Result<(), StoreError> {
        (**self).prepare()
    }
    fn write(&self, name: &ObjectName, bytes: &[u8]) -> Result<(), StoreError> {
        (**self).write(name, bytes)
    }
    fn read(&self, name: &ObjectName) -> Result<Vec<u8>, StoreError> {
        (**self).read(name)
    }
    fn read_range(
        &self,
        name: &ObjectName,
        offset: u64,
        length: usize,
    ) -> Result<Vec<u8>, StoreError> {
        (**self).read_range(name, offset, length)
    }
    fn read_range_into(
        &self,
        name: &ObjectName,
        offset: u64,
        length: usize,
        buffer: &mut Vec<u8>,
    ) -> Result<(), StoreError> {
        (**self).read_range_into(name, offset, length, buffer)
    }
    fn size(&self, name: &ObjectName) -> Result<u64, StoreError> {
        (**self).size(name)
    }
    fn list(&self, kind: ObjectKind, visit: &mut dyn FnMut(ObjectInfo)) -> Result<(), StoreError> {
        (**self).list(kind, visit)
    }
    fn declare_tree_packs(&self, packs: &[Id]) {
        (**self).declare_tree_packs(packs);
    }
}

impl<S: LockStore + ?Sized> LockStore for Arc<S> {
    fn remove_lock(&self, id: &Id) -> Result<(), StoreError> {
        (**self).remove_lock(id)
    }
}

impl<S: Deletes + ?Sized> Deletes for Arc<S> {
    fn delete(&self, name: &ObjectName) -> Result<(), StoreError> {
        (**self).delete(name)
    }
}
