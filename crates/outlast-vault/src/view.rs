//! Reading: what a token may see, now or as it was.
//!
//! Objects are only ever added, and each has a position in the log. So a repository as it was at a
//! position is simply what came before it: whatever was planted later is not there.

use std::io::Read;

use outlast_custody::{ObjectList, RepositoryName, Scope, TokenId};
use outlast_log::{EntryBundle, Tile, decode_bundle, encode_bundle_entry};
use outlast_object::{Id, ObjectKind, ObjectName};

use crate::VaultError;
use crate::accept::object_path;
use crate::index::Admission;
use crate::vault::{Caller, Vault};

const HASH_BYTES: usize = 32;

/// The first `count` entries of a bundle, if it has so many.
fn first_entries(bundle: &[u8], count: usize) -> Option<Vec<u8>> {
    let entries = decode_bundle(bundle).ok()?;
    let mut bytes = Vec::new();
    for entry in entries.get(..count)? {
        encode_bundle_entry(&mut bytes, entry).ok()?;
    }
    Some(bytes)
}

/// A repository as it is now, or as it was when the log had so many entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    repository: RepositoryName,
    before: u64,
    packs: Packs,
}

/// Who reads packs through a view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Packs {
    /// A token to read with.
    All,
    /// This token, as far as its repository's setting lets it.
    Metered(TokenId),
}

impl View {
    /// The repository.
    pub fn repository(&self) -> &RepositoryName {
        &self.repository
    }

    /// Entries of the log that the view has.
    pub fn before(&self) -> u64 {
        self.before
    }
}

impl Vault {
    /// The repository as it is now.
    ///
    /// # Errors
    /// [`VaultError::Forbidden`] if the token may read nothing.
    pub fn view(&self, caller: &Caller) -> Result<View, VaultError> {
        self.view_before(caller, u64::MAX)
    }

    /// The repository as it was when the log had `before` entries.
    ///
    /// # Errors
    /// [`VaultError::Forbidden`] if the token may read nothing.
    pub fn view_before(&self, caller: &Caller, before: u64) -> Result<View, VaultError> {
        let reads_all = caller.may(Scope::Restore) || caller.may(Scope::Pull);
        if !reads_all && !caller.may(Scope::Append) && !caller.may(Scope::Enrol) {
            return Err(VaultError::Forbidden("this token reads nothing"));
        }
        Ok(View {
            repository: caller.repository().clone(),
            before,
            packs: if reads_all {
                Packs::All
            } else {
                Packs::Metered(caller.token())
            },
        })
    }

    /// The repository as it was at a time, seconds since 1970.
    ///
    /// # Errors
    /// As [`Vault::view_before`]; those of the index.
    pub fn view_at(&self, caller: &Caller, time: u64) -> Result<View, VaultError> {
        self.view_before(caller, self.index.position_at(time)?)
    }

    /// The object, if the view has it.
    ///
    /// # Errors
    /// [`VaultError::NotFound`].
    pub fn look(&self, view: &View, name: &ObjectName) -> Result<Admission, VaultError> {
        let found = self.object(&view.repository, name)?;
        found
            .filter(|admission| admission.position < view.before)
            .ok_or(VaultError::NotFound(*name))
    }

    /// The objects of a kind that the view has, ascending by id, until `visit` returns false.
    ///
    /// # Errors
    /// Those of the index.
    pub fn list(
        &self,
        view: &View,
        kind: ObjectKind,
        visit: &mut dyn FnMut(ObjectName, Admission) -> bool,
    ) -> Result<(), VaultError> {
        self.list_after(view, kind, None, visit)
    }

    /// As [`Vault::list`], from after an id on.
    ///
    /// # Errors
    /// Those of the index.
    pub fn list_after(
        &self,
        view: &View,
        kind: ObjectKind,
        after: Option<Id>,
        visit: &mut dyn FnMut(ObjectName, Admission) -> bool,
    ) -> Result<(), VaultError> {
        self.index
            .list(&view.repository, kind, after, &mut |name, admission| {
                admission.position >= view.before || visit(name, admission)
            })
    }

    /// Which of the objects the view has, in the order of the list.
    ///
    /// # Errors
    /// Those of the index.
    pub fn presence(
        &self,
        view: &View,
        list: &ObjectList,
    ) -> Result<Vec<Option<Admission>>, VaultError> {
        let found = self.index.objects(&view.repository, list.objects())?;
        let within = |admission: &Admission| admission.position < view.before;
        Ok(found
            .into_iter()
            .map(|admission| admission.filter(within))
            .collect())
    }

    /// A file of the log in its tiled layout: `checkpoint`, a tile or a bundle of entries; none if
    /// there is no such file. Bundles name repositories and objects, so they are for tokens that
    /// may pull.
    ///
    /// # Errors
    /// [`VaultError::Forbidden`] for a bundle without such a token; [`VaultError::Journal`] if the
    /// file should be there and cannot be read.
    pub fn log_file(
        &self,
        caller: Option<&Caller>,
        path: &str,
    ) -> Result<Option<Vec<u8>>, VaultError> {
        let ledger = self.ledger.lock();
        if path == "checkpoint" {
            return Ok(Some(ledger.checkpoint().to_vec()));
        }
        if let Some(tile) = Tile::parse(path) {
            let bytes = ledger.tile(&tile)?;
            return Ok(bytes.and_then(|bytes| {
                bytes
                    .get(..usize::from(tile.width) * HASH_BYTES)
                    .map(<[u8]>::to_vec)
            }));
        }
        let Some(bundle) = EntryBundle::parse(path) else {
            return Ok(None);
        };
        if !caller.is_some_and(|caller| caller.may(Scope::Pull)) {
            return Err(VaultError::Forbidden("only a pull token reads log entries"));
        }
        let bytes = ledger.bundle(bundle.index)?;
        Ok(bytes.and_then(|bytes| first_entries(&bytes, usize::from(bundle.width))))
    }

    /// The object, if the view has it and so many bytes of it may be read.
    fn check_read(
        &self,
        view: &View,
        name: &ObjectName,
        bytes: impl FnOnce(&Admission) -> u64,
    ) -> Result<Admission, VaultError> {
        let admission = self.look(view, name)?;
        if let (ObjectKind::Pack, Packs::Metered(token)) = (name.kind(), view.packs) {
            let most = self.settings(&view.repository)?.append_read_bytes_daily;
            self.count_pack_read(token, most, bytes(&admission))?;
        }
        Ok(admission)
    }

    /// Whether so many bytes of an object could be read now; nothing is counted as read.
    ///
    /// # Errors
    /// [`VaultError::NotFound`], [`VaultError::Forbidden`].
    pub fn may_read(&self, view: &View, name: &ObjectName, bytes: u64) -> Result<(), VaultError> {
        self.check_read(view, name, |_| bytes)?;
        if let (ObjectKind::Pack, Packs::Metered(token)) = (name.kind(), view.packs) {
            self.uncount_pack_read(token, bytes);
        }
        Ok(())
    }

    /// How many bytes of an object are on the disk: fewer than were admitted where it was cut, none
    /// where it was lost or something else stands in its place.
    ///
    /// # Errors
    /// [`VaultError::Disk`].
    pub fn size_left(
        &self,
        view: &View,
        name: &ObjectName,
        admission: &Admission,
    ) -> Result<Option<u64>, VaultError> {
        let size = self.disk.size(&object_path(&view.repository, name));
        let size = size.map_err(VaultError::Disk)?;
        Ok(size.map(|size| size.min(admission.size)))
    }

    /// The whole object as it is on the disk, and its size there. It is not compared with its name:
    /// whoever reads it does that, and what is damaged in one place may be whole in another.
    ///
    /// # Errors
    /// [`VaultError::NotFound`], also where the object was lost on the disk;
    /// [`VaultError::Forbidden`]; [`VaultError::Disk`].
    pub fn read(
        &self,
        view: &View,
        name: &ObjectName,
    ) -> Result<(Box<dyn Read + Send>, u64), VaultError> {
        let admission = self.check_read(view, name, |admission| admission.size)?;
        let size = self.size_left(view, name, &admission)?;
        let size = size.ok_or(VaultError::NotFound(*name))?;
        let path = object_path(&view.repository, name);
        let reader = self.disk.open(&path).map_err(VaultError::Disk)?;
        Ok((reader, size))
    }

    /// At most `length` bytes of the object from `offset` on.
    ///
    /// # Errors
    /// As [`Vault::read`].
    pub fn read_range(
        &self,
        view: &View,
        name: &ObjectName,
        offset: u64,
        length: usize,
    ) -> Result<Vec<u8>, VaultError> {
        self.check_read(view, name, |admission| {
            admission.size.saturating_sub(offset).min(length as u64)
        })?;
        let path = object_path(&view.repository, name);
        self.disk
            .read_range(&path, offset, length)
            .map_err(VaultError::Disk)
    }
}
