//! Seals and holds: what is kept until when, and the receipts that prove it.

use std::io::Read;
use std::num::NonZeroUsize;

use outlast_custody::{
    Entry, Event, Hold, IdText, LIST_OBJECTS_MAX, ObjectList, Receipt, RepositoryName, Scope, Seal,
};
use outlast_log::OfflineProof;
use outlast_object::{Id, ObjectKind, ObjectName};

use crate::VaultError;
use crate::accept::object_path;
use crate::accept_many::in_parallel;
use crate::disk::{Disk, Linked};
use crate::index::Admission;
use crate::vault::{Caller, Vault};

const NOTHING: IdText = IdText(Id::from_bytes([0; Id::LEN]));
/// A seal that is asked for again within so many seconds is the one that was made.
const REPEATED_SECONDS: u64 = 3600;
/// Names that are looked up at a time: a list has millions.
const LOOK_UP_NAMES: usize = 4096;
/// Threads that look up names of a large list. A list of one portion takes none but the caller's.
const LOOK_UP_THREADS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(3);
/// Bytes of a record in a list.
pub(crate) const LIST_RECORD_BYTES: u64 = 33;

fn list_path(repository: &RepositoryName, root: &Id) -> String {
    format!("ledger/lists/{repository}/{root}")
}

/// Reads the list that a seal covers, and checks it against the seal.
pub(crate) fn read_list(disk: &dyn Disk, seal: &Seal) -> Result<Option<ObjectList>, VaultError> {
    let Some(root) = seal.list else {
        return Ok(None);
    };
    let lost = |error: String| VaultError::Journal(format!("the list {}: {error}", root.0));
    let path = list_path(&seal.repository, &root.0);
    let reader = disk.open(&path).map_err(|error| lost(error.to_string()))?;
    let mut bytes = Vec::new();
    reader
        .take(LIST_OBJECTS_MAX as u64 * LIST_RECORD_BYTES)
        .read_to_end(&mut bytes)
        .map_err(|error| lost(error.to_string()))?;
    let list = ObjectList::decode(&bytes).map_err(|error| lost(error.to_string()))?;
    if list.root().as_bytes() == root.0.as_bytes() {
        Ok(Some(list))
    } else {
        Err(lost("it is not the one that was sealed".to_owned()))
    }
}

impl Vault {
    /// Seals a snapshot with exactly these objects, for the repository's period. Every one of them
    /// is looked for first, on the disk too.
    ///
    /// # Errors
    /// [`VaultError::SealIncomplete`] with the first object that is missing or not of its size.
    pub fn seal(
        &self,
        caller: &Caller,
        snapshot: Id,
        list: &ObjectList,
    ) -> Result<u64, VaultError> {
        caller.require(Scope::Append, "only an append token seals")?;
        let repository = caller.repository();
        let name = ObjectName::new(ObjectKind::Snapshot, snapshot);
        if !list.covers(&name) || !list.covers(&ObjectName::CONFIG) {
            return Err(VaultError::SealIncomplete(name));
        }
        let (bytes, verified) = self.check_all_there(repository, list.objects())?;
        let root = Id::from_bytes(*list.root().as_bytes());
        // The list is durable before the seal that names it. A crash leaves a list without a seal.
        let encoded = list.encode();
        let reservation = self.reserve_list(caller, encoded.len() as u64)?;
        self.keep_list(repository, &root, &encoded)?;
        let settings = self.settings(repository)?;
        let seconds = settings.hold_seconds.min(settings.hold_seconds_max);
        let seal = Seal {
            repository: repository.clone(),
            snapshot: IdText(snapshot),
            list: Some(IdText(root)),
            objects: list.objects().len() as u64,
            bytes,
            until: self.time().saturating_add(seconds),
            verified,
            token: Some(caller.token()),
            previous: NOTHING,
        };
        let index = self.commit_one(Event::Seal(seal))?;
        reservation.spend(encoded.len() as u64);
        Ok(index)
    }

    /// Looks for every object; gives their bytes, and when the one that was verified longest ago was.
    fn check_all_there(
        &self,
        repository: &RepositoryName,
        names: &[ObjectName],
    ) -> Result<(u64, u64), VaultError> {
        let portions: Vec<&[ObjectName]> = names.chunks(LOOK_UP_NAMES).collect();
        let look = |at: usize| -> Result<(u64, u64), VaultError> {
            let names = portions.get(at).copied().unwrap_or_default();
            let (mut bytes, mut verified) = (0_u64, self.time());
            let found = self.index.objects(repository, names)?;
            for (name, admission) in names.iter().zip(found) {
                let admission = self.check_there(repository, name, admission)?;
                bytes = bytes.saturating_add(admission.size);
                verified = verified.min(self.verified_at(&admission));
            }
            Ok((bytes, verified))
        };
        let (mut bytes, mut verified) = (0_u64, self.time());
        for outcome in in_parallel(LOOK_UP_THREADS, portions.len(), &look) {
            let (more, earliest) = outcome?;
            bytes = bytes.saturating_add(more);
            verified = verified.min(earliest);
        }
        Ok((bytes, verified))
    }

    fn check_there(
        &self,
        repository: &RepositoryName,
        name: &ObjectName,
        admission: Option<Admission>,
    ) -> Result<Admission, VaultError> {
        let admission = admission.ok_or(VaultError::SealIncomplete(*name))?;
        let damaged = self.damaged.lock();
        if !damaged.is_empty() && damaged.contains(&(repository.clone(), *name)) {
            return Err(VaultError::SealIncomplete(*name));
        }
        drop(damaged);
        let size = self.disk.size(&object_path(repository, name));
        match size.map_err(VaultError::Disk)? {
            Some(size) if size == admission.size => Ok(admission),
            _ => Err(VaultError::SealIncomplete(*name)),
        }
    }

    /// When an object was last read and found to be what its name says: at its admission, or by a
    /// scrub that found everything whole.
    fn verified_at(&self, admission: &Admission) -> u64 {
        let scrubbed = self.scrubbed().filter(|began| admission.time < *began);
        scrubbed.unwrap_or(0).max(admission.time)
    }

    fn keep_list(
        &self,
        repository: &RepositoryName,
        root: &Id,
        bytes: &[u8],
    ) -> Result<(), VaultError> {
        let path = list_path(repository, root);
        let folder = format!("ledger/lists/{repository}");
        self.disk
            .make_directories(&folder)
            .map_err(VaultError::Disk)?;
        let mut file = self.disk.create_unnamed().map_err(VaultError::Disk)?;
        file.write_all(bytes).map_err(VaultError::Disk)?;
        file.sync().map_err(VaultError::Disk)?;
        if file.link(&path).map_err(VaultError::Disk)? == Linked::Existed
            && self.disk.size(&path).map_err(VaultError::Disk)? != Some(bytes.len() as u64)
        {
            return Err(VaultError::Journal(format!("the list {root} is damaged")));
        }
        self.disk.sync_directory(&folder).map_err(VaultError::Disk)
    }

    /// The seals of a repository, each with the index of its entry, in order.
    ///
    /// # Errors
    /// Those of the index.
    pub fn seals(&self, repository: &RepositoryName) -> Result<Vec<(u64, Seal)>, VaultError> {
        let mut seals = Vec::new();
        self.seals_after(repository, None, &mut |index, seal| {
            seals.push((index, seal));
            true
        })?;
        Ok(seals)
    }

    /// The seals of a repository in order, those after an index where it is given, until `visit`
    /// returns false.
    ///
    /// # Errors
    /// Those of the index.
    pub fn seals_after(
        &self,
        repository: &RepositoryName,
        after: Option<u64>,
        visit: &mut dyn FnMut(u64, Seal) -> bool,
    ) -> Result<(), VaultError> {
        self.index
            .seals(repository, after, &mut |index, entry| match entry.event {
                Event::Seal(seal) => visit(index, seal),
                _ => true,
            })
    }

    /// The seal whose entry has this index, if it is one of the repository.
    ///
    /// # Errors
    /// Those of the index.
    pub fn seal_at(
        &self,
        repository: &RepositoryName,
        index: u64,
    ) -> Result<Option<Seal>, VaultError> {
        Ok(match self.index.seal(repository, index)? {
            Some(Entry {
                event: Event::Seal(seal),
                ..
            }) => Some(seal),
            _ => None,
        })
    }

    /// Whether the repository's owner names the objects of snapshots.
    ///
    /// # Errors
    /// Those of the index.
    pub fn has_exact_seals(&self, repository: &RepositoryName) -> Result<bool, VaultError> {
        Ok(self.index.chain(repository)?.exact_seals > 0)
    }

    /// The newest seal of the snapshot if it covers exactly these objects, and holds about as long as
    /// one that is made now.
    ///
    /// # Errors
    /// Those of the index.
    pub fn same_seal(
        &self,
        repository: &RepositoryName,
        snapshot: Id,
        list: &ObjectList,
    ) -> Result<Option<u64>, VaultError> {
        let Some(index) = self.index.newest_seal(repository, &snapshot)? else {
            return Ok(None);
        };
        let Some(seal) = self.seal_at(repository, index)? else {
            return Ok(None);
        };
        let root = IdText(Id::from_bytes(*list.root().as_bytes()));
        let settings = self.settings(repository)?;
        let seconds = settings.hold_seconds.min(settings.hold_seconds_max);
        let fresh = self.time().saturating_add(seconds);
        let suffices = seal.until.saturating_add(REPEATED_SECONDS) >= fresh;
        Ok((seal.list == Some(root) && suffices).then_some(index))
    }

    /// The list that a seal covers, checked against the seal; none if it covers everything.
    ///
    /// # Errors
    /// [`VaultError::Journal`] if the list was lost or changed.
    pub fn sealed_list(&self, seal: &Seal) -> Result<Option<ObjectList>, VaultError> {
        read_list(&*self.disk, seal)
    }

    /// Seals everything that was admitted so far, for clients that name no objects. Nothing that
    /// such a seal covers ever becomes releasable by its absence from a list.
    ///
    /// # Errors
    /// [`VaultError::SealIncomplete`] if the snapshot is not there.
    pub fn seal_everything(&self, caller: &Caller, snapshot: Id) -> Result<u64, VaultError> {
        caller.require(Scope::Append, "only an append token seals")?;
        let repository = caller.repository();
        let name = ObjectName::new(ObjectKind::Snapshot, snapshot);
        let admission = self.object(repository, &name)?;
        let admission = self.check_there(repository, &name, admission)?;
        let settings = self.settings(repository)?;
        let chain = self.index.chain(repository)?;
        let seconds = settings.hold_seconds.min(settings.hold_seconds_max);
        let seal = Seal {
            repository: repository.clone(),
            snapshot: IdText(snapshot),
            list: None,
            objects: chain.objects,
            bytes: chain.bytes,
            until: self.time().saturating_add(seconds),
            verified: admission.time,
            token: None,
            previous: NOTHING,
        };
        self.commit_one(Event::Seal(seal))
    }

    /// Seals everything for a snapshot that has no seal yet, as long as no exact seal was ever made in
    /// the repository.
    ///
    /// # Errors
    /// As [`Vault::seal_everything`].
    pub fn seal_unless_sealed(&self, caller: &Caller, snapshot: Id) -> Result<(), VaultError> {
        let repository = caller.repository();
        if !self.has_exact_seals(repository)?
            && self.index.newest_seal(repository, &snapshot)?.is_none()
        {
            self.seal_everything(caller, snapshot)?;
        }
        Ok(())
    }

    /// Extends a seal's hold. Only the operator does that, on the machine itself.
    ///
    /// # Errors
    /// [`VaultError::Hold`] if it would be shorter, or longer than the repository's limit.
    pub fn extend(
        &self,
        repository: &RepositoryName,
        seal: u64,
        until: u64,
    ) -> Result<u64, VaultError> {
        let settings = self.settings(repository)?;
        let now = self
            .held_until(repository, seal)?
            .ok_or(VaultError::Hold("there is no such seal"))?;
        if until <= now {
            return Err(VaultError::Hold("a hold is never shortened"));
        }
        if until > self.time().saturating_add(settings.hold_seconds_max) {
            return Err(VaultError::Hold(
                "that is longer than the repository allows",
            ));
        }
        self.commit_one(Event::Hold(Hold {
            repository: repository.clone(),
            seal,
            until,
            previous: NOTHING,
        }))
    }

    /// Until when a seal holds, with its extensions, vault time; none if there is no such seal.
    ///
    /// # Errors
    /// Those of the index.
    pub fn held_until(
        &self,
        repository: &RepositoryName,
        seal: u64,
    ) -> Result<Option<u64>, VaultError> {
        let Some(made) = self.seal_at(repository, seal)? else {
            return Ok(None);
        };
        let extended = self.index.extended_until(repository, seal)?;
        Ok(Some(made.until.max(extended.unwrap_or(0))))
    }

    /// The receipt of a seal: its entry, and the proof that the log has it.
    ///
    /// # Errors
    /// [`VaultError::Hold`] if there is no such seal.
    pub fn receipt(&self, repository: &RepositoryName, seal: u64) -> Result<Receipt, VaultError> {
        let entry = self.index.seal(repository, seal)?;
        let entry = entry.ok_or(VaultError::Hold("there is no such seal"))?;
        let (hashes, checkpoint) = self.ledger.lock().prove(seal)?;
        Ok(Receipt {
            entry: entry.encode(),
            proof: OfflineProof {
                extra: None,
                index: seal,
                hashes,
                checkpoint,
            },
        })
    }

    fn commit_one(&self, event: Event) -> Result<u64, VaultError> {
        let positions = self.commit(vec![event])?;
        positions
            .first()
            .copied()
            .ok_or_else(|| VaultError::Journal("an entry has no position".to_owned()))
    }
}
