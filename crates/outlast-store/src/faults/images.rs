//! A store in memory that remembers every state it has been in.

use std::sync::Arc;

use outlast_object::{Id, ObjectKind, ObjectName};
use parking_lot::Mutex;

use crate::{Contents, Deletes, LockStore, MemoryStore, ObjectInfo, Store, StoreError};

/// A store in memory that keeps an image of its content after every change: what would be found
/// after a crash there. Images share their bytes, so they cost little.
#[derive(Debug, Default)]
pub struct CrashImageStore {
    start: Contents,
    current: MemoryStore,
    /// Guards the order: a change and its entry here are made under this lock.
    changes: Mutex<Vec<Change>>,
}

#[derive(Debug, Clone)]
enum Change {
    Put(ObjectName, Arc<[u8]>),
    Removed(ObjectName),
}

impl CrashImageStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// A store that begins with `contents`, its first image.
    pub fn from_contents(contents: Contents) -> Self {
        let current = MemoryStore::from_contents(contents.clone());
        Self {
            start: contents,
            current,
            changes: Mutex::default(),
        }
    }

    /// What the store holds now.
    pub fn contents(&self) -> Contents {
        self.current.contents()
    }

    /// The content at the start and after every change since, oldest first.
    pub fn images(&self) -> Vec<Contents> {
        let mut image = self.start.clone();
        let mut images = vec![image.clone()];
        for change in self.changes.lock().iter() {
            match change {
                Change::Put(name, bytes) => image.insert(*name, Arc::clone(bytes)),
                Change::Removed(name) => image.remove(name),
            };
            images.push(image.clone());
        }
        images
    }

    /// The content before every write, with the first `visible` bytes of it under its name: what a
    /// store that tears writes would show. Oldest first.
    pub fn torn_images(&self, visible: usize) -> Vec<Contents> {
        let mut images = self.images();
        images.pop();
        let changes = self.changes.lock();
        let torn = images
            .into_iter()
            .zip(changes.iter())
            .filter_map(|(mut image, change)| {
                let Change::Put(name, bytes) = change else {
                    return None;
                };
                image.insert(*name, bytes[..visible.min(bytes.len())].into());
                Some(image)
            });
        torn.collect()
    }
}

impl Store for CrashImageStore {
    fn location(&self) -> String {
        self.current.location()
    }

    fn prepare(&self) -> Result<(), StoreError> {
        self.current.prepare()
    }

    fn write(&self, name: &ObjectName, bytes: &[u8]) -> Result<(), StoreError> {
        let mut changes = self.changes.lock();
        let is_new = !self.current.exists(name)?;
        self.current.write(name, bytes)?;
        if is_new {
            changes.push(Change::Put(*name, bytes.into()));
        }
        Ok(())
    }

    fn read(&self, name: &ObjectName) -> Result<Vec<u8>, StoreError> {
        self.current.read(name)
    }

    fn read_range(
        &self,
        name: &ObjectName,
        offset: u64,
        length: usize,
    ) -> Result<Vec<u8>, StoreError> {
        self.current.read_range(name, offset, length)
    }

    fn size(&self, name: &ObjectName) -> Result<u64, StoreError> {
        self.current.size(name)
    }

    fn list(&self, kind: ObjectKind, visit: &mut dyn FnMut(ObjectInfo)) -> Result<(), StoreError> {
        self.current.list(kind, visit)
    }
}

impl LockStore for CrashImageStore {
    fn remove_lock(&self, id: &Id) -> Result<(), StoreError> {
        self.delete(&ObjectName::new(ObjectKind::Lock, *id))
    }
}

impl Deletes for CrashImageStore {
    fn delete(&self, name: &ObjectName) -> Result<(), StoreError> {
        let mut changes = self.changes.lock();
        let was_there = self.current.exists(name)?;
        self.current.delete(name)?;
        if was_there {
            changes.push(Change::Removed(*name));
        }
        Ok(())
    }
}
