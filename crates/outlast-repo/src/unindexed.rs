//! Packs that this host has stored and no index lists yet, noted locally until one does.
//!
//! A run that is killed leaves such packs. Where packs can be read, their own headers tell the next
//! run what is in them; where they cannot, these notes do, so that nothing is uploaded twice. The notes
//! are sealed with the repository's key and may be lost at any time.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use outlast_format::{
    BlobKind, IndexBlob, IndexFile, IndexPack, PackedBlob, decode_unpacked, encode_unpacked,
};
use outlast_object::{Id, ObjectKind, ObjectName, bytes_max};

use crate::environment::random_iv;
use crate::saver::Saver;
use crate::{BlobIndex, Cancel, Notice, RepoError, Repository};

/// Name of the folder, beside the other notes.
const FOLDER: &str = "unindexed";
/// Notes that are looked at; an index is written long before there are so many.
const NOTES_MAX: usize = 100_000;

/// The notes: one file a pack.
#[derive(Debug, Default)]
pub(crate) struct Unindexed {
    folder: Option<PathBuf>,
}

impl Unindexed {
    pub(crate) fn new(notes_folder: Option<&Path>) -> Self {
        Self {
            folder: notes_folder.map(|folder| folder.join(FOLDER)),
        }
    }

    fn path(&self, repository: &Repository, pack: Id) -> Option<PathBuf> {
        let needed = !repository.store().capabilities().reads_packs;
        let folder = self.folder.as_ref().filter(|_| needed)?;
        Some(folder.join(pack.to_hex()))
    }

    /// A pack was stored. What cannot be noted is done without.
    pub(crate) fn add(
        &self,
        repository: &Repository,
        pack: Id,
        blobs: &[PackedBlob],
    ) -> Result<(), RepoError> {
        let Some(path) = self.path(repository, pack) else {
            return Ok(());
        };
        let blobs = blobs.iter().map(IndexBlob::from).collect();
        let file = IndexFile {
            packs: vec![IndexPack { id: pack, blobs }],
            ..IndexFile::default()
        };
        let version = repository.config().version;
        let sealed = encode_unpacked(&file.to_json()?, version, repository.key(), random_iv()?)?;
        let folder = path.parent().unwrap_or(&path);
        let _ = fs::create_dir_all(folder).and_then(|()| fs::write(&path, sealed));
        Ok(())
    }

    /// An index that lists these packs was stored.
    pub(crate) fn remove(&self, repository: &Repository, packs: impl Iterator<Item = Id>) {
        for pack in packs {
            let Some(path) = self.path(repository, pack) else {
                return;
            };
            // One that stays is found to be in the index the next time.
            let _ = fs::remove_file(path);
        }
    }
}

/// Adds packs to the index that this host has stored and that no index lists, if they are there.
pub(crate) fn adopt_own_packs(saver: &Saver<'_>, cancel: &Cancel) -> Result<(), RepoError> {
    let repository = saver.repository();
    let Some(folder) = &repository.unindexed().folder else {
        return Ok(());
    };
    let mut packs = 0;
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    for entry in entries.take(NOTES_MAX) {
        cancel.check()?;
        if let Some(pack) = read(repository, &entry.path())
            && adopt(saver, &pack)?
        {
            packs += 1;
            continue;
        }
        // It is of no use any more.
        let _ = fs::remove_file(entry.path());
    }
    if packs > 0 {
        repository.environment().notice(Notice::Adopted { packs });
    }
    Ok(())
}

fn read(repository: &Repository, path: &Path) -> Option<IndexPack> {
    let mut sealed = Vec::new();
    let file = File::open(path).ok()?;
    file.take(bytes_max(ObjectKind::Index))
        .read_to_end(&mut sealed)
        .ok()?;
    let json = decode_unpacked(&sealed, repository.key()).ok()?;
    IndexFile::from_json(&json).ok()?.packs.pop()
}

/// Whether the pack is there, whole and not yet known; then it is now.
fn adopt(saver: &Saver<'_>, pack: &IndexPack) -> Result<bool, RepoError> {
    let repository = saver.repository();
    if repository.index().pack_number(&pack.id).is_some() {
        return Ok(false);
    }
    let blobs = pack.blobs.iter().filter_map(|blob| blob.to_packed().ok());
    let blobs: Vec<PackedBlob> = blobs.collect();
    let mut alone = BlobIndex::new();
    let number = alone.add_pack(pack.id, &blobs);
    match repository.store().size(&ObjectName::pack(pack.id)) {
        Ok(size) if size == alone.pack_facts(number).pack_bytes() => {
            if blobs.iter().all(|blob| blob.handle.kind == BlobKind::Tree) {
                // The cache has it since it was uploaded.
                repository.store().declare_tree_packs(&[pack.id]);
            }
            saver.add_stored_pack(pack.id, &blobs)?;
            Ok(true)
        }
        Err(error) if error.is_retryable() => Err(error.into()),
        _ => Ok(false),
    }
}
