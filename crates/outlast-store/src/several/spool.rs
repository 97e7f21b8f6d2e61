//! Objects kept on this machine for places that did not take them in time.

use std::path::Path;

use outlast_object::{ObjectKind, ObjectName, hash};
use parking_lot::Mutex;

use crate::{Deletes, LocalStore, Store, StoreError};

/// Kinds that are kept. Config and keys have to come from a place.
pub const SPOOLED: [ObjectKind; 3] = [ObjectKind::Pack, ObjectKind::Index, ObjectKind::Snapshot];

/// A folder of objects in the layout of a repository, up to a number of bytes. It holds ciphertext
/// only.
pub struct Spool {
    store: LocalStore,
    bytes_max: u64,
    bytes: Mutex<u64>,
}

impl std::fmt::Debug for Spool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Spool({}, {} bytes)",
            self.store.location(),
            self.bytes()
        )
    }
}

impl Spool {
    /// The spool in this folder, which is made if it is missing.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn open(folder: &Path, bytes_max: u64) -> Result<Self, StoreError> {
        let store = LocalStore::open(folder)?;
        store.prepare()?;
        let mut bytes = 0;
        for kind in SPOOLED {
            store.list(kind, &mut |info| bytes += info.size)?;
        }
        Ok(Self {
            store,
            bytes_max,
            bytes: Mutex::new(bytes),
        })
    }

    /// Keeps an object, durably. False if there is no room for it.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn keep(&self, name: &ObjectName, bytes: &[u8]) -> Result<bool, StoreError> {
        if !SPOOLED.contains(&name.kind()) {
            return Ok(false);
        }
        if self.store.exists(name)? {
            return Ok(true);
        }
        let length = bytes.len() as u64;
        {
            let mut used = self.bytes.lock();
            if used.saturating_add(length) > self.bytes_max {
                return Ok(false);
            }
            *used += length;
        }
        match self.store.write(name, bytes) {
            Ok(()) => Ok(true),
            Err(error) => {
                let mut used = self.bytes.lock();
                *used = used.saturating_sub(length);
                match error {
                    StoreError::Full { .. } => Ok(false),
                    error => Err(error),
                }
            }
        }
    }

    /// An object that was kept, verified against its name.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] also for one that is damaged, which is as good as not there.
    pub fn read(&self, name: &ObjectName) -> Result<Vec<u8>, StoreError> {
        let bytes = self.store.read(name)?;
        if hash(&bytes) == name.id() {
            return Ok(bytes);
        }
        Err(StoreError::NotFound {
            name: *name,
            location: self.store.location(),
        })
    }

    /// Lets an object go that no place needs any more.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn release(&self, name: &ObjectName) -> Result<(), StoreError> {
        let size = match self.store.size(name) {
            Err(error) if error.is_not_found() => return Ok(()),
            result => result?,
        };
        self.store.delete(name)?;
        let mut used = self.bytes.lock();
        *used = used.saturating_sub(size);
        Ok(())
    }

    /// Everything that is kept.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn names(&self) -> Result<Vec<ObjectName>, StoreError> {
        let mut names = Vec::new();
        for kind in SPOOLED {
            self.store
                .list(kind, &mut |info| names.push(ObjectName::new(kind, info.id)))?;
        }
        Ok(names)
    }

    /// Bytes that are kept.
    pub fn bytes(&self) -> u64 {
        *self.bytes.lock()
    }
}
