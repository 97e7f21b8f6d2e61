//! A store as somebody sees it whose credentials are good for less than everything.
//!
//! In front of a vault it spares requests that would be refused, which the vault counts and which
//! raise alarms there. In tests it stands for the vault.

use std::sync::Arc;

use outlast_object::{Id, ObjectKind, ObjectName};
use parking_lot::Mutex;

use crate::{Capabilities, Deletes, LockStore, ObjectInfo, Store, StoreError};

/// Refusals that are remembered one by one at most.
const REFUSED_MAX: usize = 10_000;

/// Something that was asked for and refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// Reading a pack, or a part of one.
    ReadPack(Id),
    /// Adding an object.
    Add(ObjectName),
    /// Removing an object.
    Remove(ObjectName),
}

/// Refuses whatever goes beyond the capabilities, without asking the store behind.
#[derive(Debug)]
pub struct Restricted<S> {
    inner: S,
    capabilities: Capabilities,
    announced: Capabilities,
    refused: Arc<Mutex<Vec<Refused>>>,
}

impl<S> Restricted<S> {
    /// `inner`, with no more than these capabilities.
    pub fn new(inner: S, capabilities: Capabilities) -> Self {
        Self {
            inner,
            capabilities,
            announced: capabilities,
            refused: Arc::default(),
        }
    }

    /// The same, but nobody is told beforehand what will be refused: a server of which nothing is
    /// known.
    #[must_use]
    pub fn unannounced(self) -> Self {
        Self {
            announced: Capabilities::ALL,
            ..self
        }
    }

    /// What was asked for and refused so far, oldest first.
    pub fn refused(&self) -> Vec<Refused> {
        self.refused.lock().clone()
    }

    /// The store behind.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    fn note(&self, refused: Refused) {
        let mut list = self.refused.lock();
        if list.len() < REFUSED_MAX {
            list.push(refused);
        }
    }
}

impl<S: Store> Restricted<S> {
    fn check_read(&self, name: &ObjectName) -> Result<(), StoreError> {
        if name.kind() != ObjectKind::Pack || self.capabilities.reads_packs {
            return Ok(());
        }
        self.note(Refused::ReadPack(name.id()));
        Err(StoreError::Denied {
            operation: format!("read {name}"),
            location: self.location(),
            reason: "these credentials are not for reading data".to_owned(),
        })
    }

    fn check_add(&self, name: &ObjectName) -> Result<(), StoreError> {
        let reason = match name.kind() {
            ObjectKind::Lock => return Ok(()),
            _ if !self.capabilities.adds => "these credentials are for reading only",
            ObjectKind::Config | ObjectKind::Key if !self.capabilities.adds_keys => {
                "config and keys are put there once, when the repository is made"
            }
            _ => return Ok(()),
        };
        self.note(Refused::Add(*name));
        Err(StoreError::Denied {
            operation: format!("write {name}"),
            location: self.location(),
            reason: reason.to_owned(),
        })
    }
}

impl<S: Store> Store for Restricted<S> {
    fn location(&self) -> String {
        self.inner.location()
    }

    fn connections(&self) -> usize {
        self.inner.connections()
    }

    fn capabilities(&self) -> Capabilities {
        let inner = self.inner.capabilities();
        Capabilities {
            reads_packs: self.announced.reads_packs && inner.reads_packs,
            adds: self.announced.adds && inner.adds,
            adds_keys: self.announced.adds_keys && inner.adds_keys,
            removes: self.announced.removes && inner.removes,
        }
    }

    fn declare_tree_packs(&self, packs: &[Id]) {
        self.inner.declare_tree_packs(packs);
    }

    fn prepare(&self) -> Result<(), StoreError> {
        self.inner.prepare()
    }

    fn write(&self, name: &ObjectName, bytes: &[u8]) -> Result<(), StoreError> {
        self.check_add(name)?;
        self.inner.write(name, bytes)
    }

    fn read(&self, name: &ObjectName) -> Result<Vec<u8>, StoreError> {
        self.check_read(name)?;
        self.inner.read(name)
    }

    fn read_range(
        &self,
        name: &ObjectName,
        offset: u64,
        length: usize,
    ) -> Result<Vec<u8>, StoreError> {
        self.check_read(name)?;
        self.inner.read_range(name, offset, length)
    }

    fn read_range_into(
        &self,
        name: &ObjectName,
        offset: u64,
        length: usize,
        buffer: &mut Vec<u8>,
    ) -> Result<(), StoreError> {
        self.check_read(name)?;
        self.inner.read_range_into(name, offset, length, buffer)
    }

    fn size(&self, name: &ObjectName) -> Result<u64, StoreError> {
        self.inner.size(name)
    }

    fn list(&self, kind: ObjectKind, visit: &mut dyn FnMut(ObjectInfo)) -> Result<(), StoreError> {
        self.inner.list(kind, visit)
    }
}

impl<S: LockStore> LockStore for Restricted<S> {
    fn remove_lock(&self, id: &Id) -> Result<(), StoreError> {
        self.inner.remove_lock(id)
    }
}

impl<S: Deletes> Deletes for Restricted<S> {
    fn delete(&self, name: &ObjectName) -> Result<(), StoreError> {
        if name.kind() == ObjectKind::Lock || self.capabilities.removes {
            return self.inner.delete(name);
        }
        self.note(Refused::Remove(*name));
        Err(StoreError::DeletesRefused {
            location: self.location(),
            reason: "nothing is removed from a vault, whatever the credentials".to_owned(),
        })
    }
}
