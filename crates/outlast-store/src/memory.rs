//! A store in memory: for tests, simulations and trial runs.

use std::collections::BTreeMap;
use std::sync::Arc;

use outlast_object::{Id, ObjectKind, ObjectName, bytes_max};
use parking_lot::RwLock;

use crate::{Deletes, LockStore, ObjectInfo, Store, StoreError};

/// The objects of a store at one moment. A clone shares the bytes.
pub type Contents = BTreeMap<ObjectName, Arc<[u8]>>;

/// A store that keeps everything in memory and forgets it when it is dropped.
#[derive(Debug, Default)]
pub struct MemoryStore {
    objects: RwLock<Contents>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// A store that holds `contents`.
    pub fn from_contents(contents: Contents) -> Self {
        Self {
            objects: RwLock::new(contents),
        }
    }

    /// What the store holds now. The bytes are shared, not copied.
    pub fn contents(&self) -> Contents {
        self.objects.read().clone()
    }

    /// Puts `bytes` under `name`, whatever is there already: only tests that do damage want this.
    pub fn replace(&self, name: &ObjectName, bytes: impl Into<Arc<[u8]>>) {
        self.objects.write().insert(*name, bytes.into());
    }

    fn get(&self, name: &ObjectName) -> Result<Arc<[u8]>, StoreError> {
        let found = self.objects.read().get(name).cloned();
        found.ok_or_else(|| StoreError::NotFound {
            name: *name,
            location: self.location(),
        })
    }
}

impl Store for MemoryStore {
    fn location(&self) -> String {
        "memory".to_owned()
    }

    fn prepare(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn write(&self, name: &ObjectName, bytes: &[u8]) -> Result<(), StoreError> {
        let mut objects = self.objects.write();
        match objects.get(name) {
            Some(kept) if **kept == *bytes => Ok(()),
            Some(_) => Err(StoreError::AlreadyExists {
                name: *name,
                location: self.location(),
            }),
            None => {
                objects.insert(*name, bytes.into());
                Ok(())
            }
        }
    }

    fn read(&self, name: &ObjectName) -> Result<Vec<u8>, StoreError> {
        let bytes = self.get(name)?;
        let (size, max) = (bytes.len() as u64, bytes_max(name.kind()));
        if size > max {
            return Err(StoreError::TooLarge {
                name: *name,
                size,
                max,
            });
        }
        Ok(bytes.to_vec())
    }

    fn read_range(
        &self,
        name: &ObjectName,
        offset: u64,
        length: usize,
    ) -> Result<Vec<u8>, StoreError> {
        let bytes = self.get(name)?;
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let wanted = bytes.get(start..start.saturating_add(length));
        wanted
            .map(<[u8]>::to_vec)
            .ok_or_else(|| StoreError::Truncated {
                name: *name,
                offset,
                end: offset.saturating_add(length as u64),
                size: bytes.len() as u64,
            })
    }

    fn size(&self, name: &ObjectName) -> Result<u64, StoreError> {
        Ok(self.get(name)?.len() as u64)
    }

    fn list(&self, kind: ObjectKind, visit: &mut dyn FnMut(ObjectInfo)) -> Result<(), StoreError> {
        // The lock is given back before the visitor runs, so that it may use the store.
        let first = ObjectName::new(kind, Id::from_bytes([0; Id::LEN]));
        let infos: Vec<ObjectInfo> = self
            .objects
            .read()
            .range(first..)
            .take_while(|(name, _)| name.kind() == kind)
            .map(|(name, bytes)| ObjectInfo {
                id: name.id(),
                size: bytes.len() as u64,
            })
            .collect();
        infos.into_iter().for_each(visit);
        Ok(())
    }
}

impl LockStore for MemoryStore {
    fn remove_lock(&self, id: &Id) -> Result<(), StoreError> {
        self.delete(&ObjectName::new(ObjectKind::Lock, *id))
    }
}

impl Deletes for MemoryStore {
    fn delete(&self, name: &ObjectName) -> Result<(), StoreError> {
        self.objects.write().remove(name);
        Ok(())
    }
}
