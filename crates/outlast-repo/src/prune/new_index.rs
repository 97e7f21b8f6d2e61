//! Replacing the index by one that no longer lists the packs that will go.

use outlast_format::{IndexBlob, IndexFile, IndexPack, PackedBlob};
use outlast_object::{Id, ObjectKind, ObjectName};
use outlast_store::StoreError;

use super::plan::Plan;
use crate::bits::Bits;
use crate::index_load::read_index;
use crate::index_writer::{INDEX_BLOBS_MAX, IndexWriter};
use crate::{
    BlobIndex, Cancel, Notice, PackNumber, Progress, Removal, RepoError, Repository, Stage,
};

/// Index files with fewer blobs are merged when the index is rewritten anyhow.
const SMALL_FILE_BLOBS: usize = INDEX_BLOBS_MAX / 4;

/// All that rewriting needs.
pub(super) struct Rewriting<'a> {
    pub(super) repository: &'a Repository,
    pub(super) removal: &'a Removal<'a>,
    pub(super) plan: &'a Plan,
    /// The index as it was planned with.
    pub(super) index: &'a BlobIndex,
    pub(super) progress: &'a dyn Progress,
    pub(super) cancel: &'a Cancel,
}

/// Writes new index files, then removes the old ones that list packs which will go. When it
/// succeeds, no index lists such a pack. When it fails, each index lists only packs that exist.
///
/// With `in_place_if_full`, where there is no room for new files, each old one is removed before
/// its successor is written.
pub(super) fn rewrite_index(
    rewriting: &Rewriting<'_>,
    in_place_if_full: bool,
) -> Result<(), RepoError> {
    match rewriting.write_new() {
        Ok(old) => rewriting.remove_old(&old),
        Err(RepoError::Store(StoreError::Full { .. })) if in_place_if_full => {
            let text = "there is no room for a new index; replacing the old one piece by piece";
            let environment = rewriting.repository.environment();
            environment.notice(Notice::Other(text.to_owned()));
            rewriting.replace_in_place()
        }
        Err(error) => Err(error),
    }
}

impl Rewriting<'_> {
    /// Writes the successors of all files that need one; gives those files.
    fn write_new(&self) -> Result<Vec<Id>, RepoError> {
        let files = &self.plan.index_files;
        self.progress.begin(Stage::RewriteIndex, files.len() as u64);
        let writer = IndexWriter::new(self.repository.environment().clock.monotonic());
        let written = Bits::new(self.index.packs().len());
        let mut old = Vec::new();
        for id in files {
            self.cancel.check()?;
            self.removal.check_lock()?;
            let file = read_index(self.repository, *id)?;
            if self.is_outdated(&file) {
                for (pack, blobs) in self.staying(&file, &written) {
                    writer.add(self.repository, pack, &blobs)?;
                }
                old.push(*id);
            }
            self.progress.advance(Stage::RewriteIndex, 1);
        }
        writer.flush(self.repository)?;
        Ok(old)
    }

    fn is_outdated(&self, file: &IndexFile) -> bool {
        let goes = |pack: &IndexPack| {
            let number = self.index.pack_number(&pack.id);
            number.is_none_or(|number| self.plan.goes(number))
        };
        let blobs: usize = file.packs.iter().map(|pack| pack.blobs.len()).sum();
        blobs < SMALL_FILE_BLOBS || !file.supersedes.is_empty() || file.packs.iter().any(goes)
    }

    /// The packs of a file that stay and were not written before, with all that any file says of
    /// them.
    fn staying<'f>(
        &'f self,
        file: &'f IndexFile,
        written: &'f Bits,
    ) -> impl Iterator<Item = (Id, Vec<PackedBlob>)> + 'f {
        file.packs.iter().filter_map(move |pack| {
            let number = self.index.pack_number(&pack.id)?;
            let blobs = self.blobs_of(number);
            let wanted =
                !self.plan.goes(number) && !blobs.is_empty() && written.set(number.0 as usize);
            wanted.then_some((pack.id, blobs))
        })
    }

    fn blobs_of(&self, pack: PackNumber) -> Vec<PackedBlob> {
        let entries = self.plan.by_pack.of(pack).iter();
        let mut blobs: Vec<PackedBlob> = entries
            .filter_map(|number| {
                self.index
                    .entry_at(&self.plan.used.numbers, *number as usize)
            })
            .map(|location| location.blob)
            .collect();
        blobs.sort_unstable_by_key(|blob| blob.offset);
        blobs
    }

    fn remove_old(&self, old: &[Id]) -> Result<(), RepoError> {
        let names: Vec<ObjectName> = old
            .iter()
            .map(|id| ObjectName::new(ObjectKind::Index, *id))
            .collect();
        let left = self
            .removal
            .remove_all(&names, self.progress, self.cancel)?;
        match left.into_iter().find_map(|left| left.error) {
            // Packs that an index still lists must stay.
            Some(error) => Err(error.into()),
            None => Ok(()),
        }
    }

    fn replace_in_place(&self) -> Result<(), RepoError> {
        let written = Bits::new(self.index.packs().len());
        for id in &self.plan.index_files {
            self.cancel.check()?;
            let file = read_index(self.repository, *id)?;
            if !self.is_outdated(&file) {
                continue;
            }
            let packs = self.staying(&file, &written).map(|(id, blobs)| IndexPack {
                id,
                blobs: blobs.iter().map(IndexBlob::from).collect(),
            });
            let successor = IndexFile {
                supersedes: Vec::new(),
                packs: packs.collect(),
            };
            let json = successor.to_json()?;
            self.removal
                .remove(&ObjectName::new(ObjectKind::Index, *id))?;
            if !successor.packs.is_empty() {
                self.repository.save_document(ObjectKind::Index, &json)?;
            }
        }
        Ok(())
    }
}
