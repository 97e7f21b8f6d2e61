//! One repository at several places at once.
//!
//! Every object is handed to each place, which takes it at its own pace. A write returns when one
//! place has the object durably; the others follow in the background. What a place does not have
//! yet is kept in memory up to a bound, then in a [`Spool`] if there is one, and else left out for
//! that place: it has to be completed later. A place that misses something never gets an index or
//! a snapshot after it, so that what it shows is always whole.
//!
//! Order: before an index or snapshot is written anywhere, every pack before it is durable at each
//! place that will get it, or in the spool, or the place is known to miss it. So a crash leaves
//! nothing that only the memory of this process knew.

mod joining;
mod member;
mod queue;
mod room;
mod spool;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use outlast_object::{Id, ObjectKind, ObjectName, hash};

pub use self::queue::{Report, Standing};
pub use self::spool::Spool;

use self::queue::Shared;
use crate::{Capabilities, Deletes, LockStore, ObjectInfo, Store, StoreError};

/// Opens a place. Runs in a thread of its own, so that one that does not answer delays nobody.
pub type Connect = Box<dyn FnOnce() -> Result<Arc<dyn Deletes>, StoreError> + Send>;

/// A place, and how it is reached.
pub struct Place {
    /// Its name, for messages.
    pub name: String,
    /// How it is reached.
    pub connect: Connect,
}

/// Bounds and patience.
#[derive(Debug, Clone)]
pub struct SeveralOptions {
    /// Bytes of objects that wait in memory for some place. What is being sent at the moment comes on
    /// top.
    pub memory_bytes: u64,
    /// Objects sent to one place at a time.
    pub connections: usize,
    /// How long places may take to answer at first, once one of them has.
    pub gathering: Duration,
    /// How long is waited for places that lag before something is written to the spool, and at the
    /// end; longer where [`SeveralOptions::lag_share`] says so.
    pub patience: Duration,
    /// The share of the time that was worked by which places may be late at the end.
    pub lag_share: f64,
    /// Where objects are kept for places that lag or are away.
    pub spool: Option<Arc<Spool>>,
}

impl Default for SeveralOptions {
    fn default() -> Self {
        Self {
            memory_bytes: 128 * 1024 * 1024,
            connections: 3,
            gathering: Duration::from_secs(1),
            patience: Duration::from_secs(1),
            lag_share: 0.25,
            spool: None,
        }
    }
}

/// Several places as one store.
pub struct Several {
    shared: Arc<Shared>,
    primary: usize,
    connections: usize,
}

impl Several {
    /// Goes to all places at once. Returns when one of them has the repository and the others have
    /// answered or had their time; those that answer later still join.
    ///
    /// A place that has no repository yet gets keys and config from one that has. Where none has
    /// one, all are taken as new.
    ///
    /// # Errors
    /// That of the first place, if none can be used.
    pub fn open(places: Vec<Place>, options: SeveralOptions) -> Result<Self, StoreError> {
        let connections = options.connections.max(1);
        let names = places.iter().map(|place| place.name.clone()).collect();
        let shared = Arc::new(Shared::new(names, options));
        for (at, place) in places.into_iter().enumerate() {
            let shared = Arc::clone(&shared);
            thread::spawn(move || member::run(&shared, at, place.connect));
        }
        let primary = shared.gather()?;
        Ok(Self {
            shared,
            primary,
            connections,
        })
    }

    /// The name of the place that is read from.
    pub fn primary(&self) -> String {
        self.shared.name(self.primary)
    }

    /// Waits for places that lag, as long as that is worth it, and says how each stands. What is
    /// left then is in the spool, or missing at that place.
    pub fn finish(&self) -> Vec<Report> {
        self.shared.finish()
    }

    /// How each place stands now.
    pub fn reports(&self) -> Vec<Report> {
        self.shared.reports()
    }

    /// The store of a place, if it has answered.
    pub fn place(&self, name: &str) -> Option<Arc<dyn Deletes>> {
        self.shared.place(name)
    }

    /// Asks the primary place, and the others where it fails. The primary's error is given if all
    /// fail.
    fn ask<T>(
        &self,
        question: &dyn Fn(&dyn Deletes) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut first = None;
        for at in self.shared.order(self.primary) {
            let Some(store) = self.shared.store(at) else {
                continue;
            };
            match question(&*store) {
                Ok(answer) => return Ok(answer),
                Err(error) => first = first.or(Some(error)),
            }
        }
        Err(first.unwrap_or_else(|| StoreError::Unavailable {
            operation: "answer".to_owned(),
            location: self.location(),
            reason: "no place can be reached".to_owned(),
        }))
    }
}

impl Store for Several {
    fn location(&self) -> String {
        self.shared.names().join(" + ")
    }

    fn connections(&self) -> usize {
        self.connections
    }

    fn capabilities(&self) -> Capabilities {
        let all = self.shared.capabilities();
        Capabilities {
            reads_packs: all.iter().any(|one| one.reads_packs),
            adds: all.iter().any(|one| one.adds),
            adds_keys: all.iter().any(|one| one.adds_keys),
            removes: false,
        }
    }

    fn prepare(&self) -> Result<(), StoreError> {
        // Each place is prepared when it joins.
        Ok(())
    }

    fn write(&self, name: &ObjectName, bytes: &[u8]) -> Result<(), StoreError> {
        if name.kind() == ObjectKind::Lock {
            return self.ask(&|store| store.write(name, bytes));
        }
        self.shared.write(name, bytes)
    }

    fn read(&self, name: &ObjectName) -> Result<Vec<u8>, StoreError> {
        self.ask(&|store| {
            let bytes = store.read(name)?;
            // Garbage at one place is no reason not to have it from another.
            if name.kind() != ObjectKind::Config && hash(&bytes) != name.id() {
                return Err(StoreError::Unavailable {
                    operation: format!("read {name}"),
                    location: store.location(),
                    reason: "it is damaged there".to_owned(),
                });
            }
            Ok(bytes)
        })
    }

    fn read_range(
        &self,
        name: &ObjectName,
        offset: u64,
        length: usize,
    ) -> Result<Vec<u8>, StoreError> {
        self.ask(&|store| store.read_range(name, offset, length))
    }

    fn size(&self, name: &ObjectName) -> Result<u64, StoreError> {
        self.ask(&|store| store.size(name))
    }

    fn list(&self, kind: ObjectKind, visit: &mut dyn FnMut(ObjectInfo)) -> Result<(), StoreError> {
        let all = self.ask(&|store| store.list_all(kind))?;
        all.into_iter().for_each(visit);
        Ok(())
    }
}

impl LockStore for Several {
    fn remove_lock(&self, id: &Id) -> Result<(), StoreError> {
        self.ask(&|store| store.remove_lock(id))
    }
}

impl Deletes for Several {
    fn delete(&self, name: &ObjectName) -> Result<(), StoreError> {
        if name.kind() == ObjectKind::Lock {
            return self.remove_lock(&name.id());
        }
        Err(StoreError::DeletesRefused {
            location: self.location(),
            reason: "several custodians keep it, and each has its own rules; name one".to_owned(),
        })
    }
}

impl Drop for Several {
    fn drop(&mut self) {
        self.shared.stop();
    }
}
