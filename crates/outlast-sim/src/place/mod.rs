//! The places where custodians keep copies, as the simulation runs them.

mod bucket;
mod vault;

use std::collections::BTreeMap;

use outlast_object::ObjectName;

pub use bucket::{Bucket, Denied, Lock};
pub use vault::VaultMachine;

/// What a custodian runs.
pub enum Machine {
    /// A vault.
    Vault(Box<VaultMachine>),
    /// A bucket.
    Bucket(Bucket),
    /// A disk or a directory: whoever reaches it does as he likes.
    Folder(BTreeMap<ObjectName, Vec<u8>>),
    /// Nothing any more.
    Gone,
}

/// A custodian's place, and what the client remembers of it.
pub struct Place {
    /// What it runs.
    pub machine: Machine,
    /// What the place acknowledged, each with its version.
    pub stored: BTreeMap<ObjectName, u64>,
    /// For the planted bug: buckets are read by name.
    pub reads_by_name: bool,
}

impl Place {
    /// A place.
    pub fn new(machine: Machine, reads_by_name: bool) -> Self {
        Self {
            machine,
            stored: BTreeMap::new(),
            reads_by_name,
        }
    }

    /// Puts objects that it has not acknowledged yet.
    pub fn put(&mut self, objects: &[(ObjectName, &[u8])], retain: u64, now: u64) {
        let missing: Vec<_> = objects
            .iter()
            .filter(|(name, _)| !self.stored.contains_key(name))
            .copied()
            .collect();
        match &mut self.machine {
            Machine::Vault(vault) => {
                let taken = vault.put(&missing);
                self.stored.extend(taken.into_iter().map(|name| (name, 0)));
            }
            Machine::Bucket(bucket) => {
                for (name, bytes) in missing {
                    let version = bucket.put(name, Some(bytes), Some(retain), now);
                    self.stored.insert(name, version);
                }
            }
            Machine::Folder(folder) => {
                for (name, bytes) in missing {
                    folder.insert(name, bytes.to_vec());
                    self.stored.insert(name, 0);
                }
            }
            Machine::Gone => {}
        }
    }

    /// Whether the object is there with these bytes, as a restore would read it.
    pub fn has(&self, name: &ObjectName, bytes: &[u8]) -> bool {
        match &self.machine {
            Machine::Vault(vault) => vault.read(name, false).is_some_and(|found| found == bytes),
            Machine::Bucket(bucket) => {
                let found = if self.reads_by_name {
                    bucket.get(name)
                } else {
                    let version = self.stored.get(name);
                    version.and_then(|version| bucket.get_version(name, *version))
                };
                found == Some(bytes)
            }
            Machine::Folder(folder) => folder.get(name).is_some_and(|found| found == bytes),
            Machine::Gone => false,
        }
    }

    /// Until when the object is retained, at a bucket.
    pub fn retention(&self, name: &ObjectName) -> Option<u64> {
        match &self.machine {
            Machine::Bucket(bucket) => bucket.retention(name, *self.stored.get(name)?),
            _ => None,
        }
    }
}
