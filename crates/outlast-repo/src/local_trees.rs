//! Trees kept on this machine because they can be had from nowhere else.
//!
//! Whoever may not read packs has the trees that it has uploaded in its cache. When the cache is lost,
//! the next backup reads everything again; its trees are in the repository already, so they are not
//! uploaded, and without this they would be in no cache, and every later backup would read everything
//! again as well. So they are kept here, sealed as in packs, in files that may be lost at any time.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use outlast_format::{
    BlobHandle, Compressor, MasterKey, PackBuilder, PackedBlob, decode_blob, encode_blob,
};
use outlast_object::{Id, ObjectKind, ObjectName, bytes_max, hash};
use parking_lot::Mutex;

use crate::RepoError;
use crate::environment::random_iv;
use crate::pack_read::parse_whole_pack;

/// Name of the folder, beside the other notes.
const FOLDER: &str = "local-trees";
/// A file is written when it is so large, in bytes.
const FILE_BYTES: usize = 4 * 1024 * 1024;
/// With more than so many bytes of files all is started afresh.
const FOLDER_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// The trees.
#[derive(Debug, Default)]
pub(crate) struct LocalTrees {
    folder: Option<PathBuf>,
    /// Where each lies; made when first asked for.
    known: Mutex<Option<HashMap<Id, (PathBuf, PackedBlob)>>>,
    /// What is not written yet.
    open: Mutex<Option<PackBuilder>>,
}

impl LocalTrees {
    pub(crate) fn new(notes_folder: Option<&Path>) -> Self {
        Self {
            folder: notes_folder.map(|folder| folder.join(FOLDER)),
            ..Self::default()
        }
    }

    /// A tree, if it is here and undamaged.
    pub(crate) fn read(&self, key: &MasterKey, tree: Id) -> Option<Vec<u8>> {
        let folder = self.folder.as_ref()?;
        let mut known = self.known.lock();
        let known = known.get_or_insert_with(|| look_through(folder, key));
        let (path, blob) = known.get(&tree)?;
        let mut sealed = vec![0; blob.length as usize];
        let file = File::open(path).ok()?;
        file.read_exact_at(&mut sealed, u64::from(blob.offset))
            .ok()?;
        decode_blob(blob.handle, &sealed, blob.uncompressed_length, key).ok()
    }

    /// Keeps a tree. What cannot be written is done without.
    pub(crate) fn keep(
        &self,
        key: &MasterKey,
        tree: Id,
        plaintext: &[u8],
        compressor: Option<&mut Compressor>,
    ) -> Result<(), RepoError> {
        if self.folder.is_none() {
            return Ok(());
        }
        let blob = encode_blob(
            BlobHandle::tree(tree),
            plaintext,
            compressor,
            key,
            random_iv()?,
        )?;
        let full = {
            let mut open = self.open.lock();
            let pack = open.get_or_insert_with(|| PackBuilder::with_capacity(FILE_BYTES));
            pack.push(&blob)?;
            let is_full = pack.bytes() >= FILE_BYTES || pack.is_header_full();
            if is_full { open.take() } else { None }
        };
        full.map_or(Ok(()), |pack| self.write(key, pack))
    }

    /// Writes what was kept lately.
    pub(crate) fn flush(&self, key: &MasterKey) -> Result<(), RepoError> {
        let left = self.open.lock().take();
        left.map_or(Ok(()), |pack| self.write(key, pack))
    }

    fn write(&self, key: &MasterKey, pack: PackBuilder) -> Result<(), RepoError> {
        let Some(folder) = &self.folder else {
            return Ok(());
        };
        let (bytes, _) = pack.finish(key, random_iv()?)?;
        *self.known.lock() = None;
        let total: u64 = files(folder).iter().map(|(_, size)| size).sum();
        if total > FOLDER_BYTES_MAX {
            // What cannot be removed is in the way of nobody.
            let _ = fs::remove_dir_all(folder);
        }
        let path = folder.join(hash(&bytes).to_hex());
        // A file that is torn by a crash does not read, and its trees are read again.
        let _ = fs::create_dir_all(folder).and_then(|()| fs::write(&path, &bytes));
        Ok(())
    }
}

/// The files and their sizes, in bytes.
fn files(folder: &Path) -> Vec<(PathBuf, u64)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let size = |entry: fs::DirEntry| Some((entry.path(), entry.metadata().ok()?.len()));
    entries.filter_map(size).collect()
}

/// What all files hold, by their sealed headers. Files that do not read are passed over.
fn look_through(folder: &Path, key: &MasterKey) -> HashMap<Id, (PathBuf, PackedBlob)> {
    let mut known = HashMap::new();
    for (path, _) in files(folder) {
        let mut bytes = Vec::new();
        let read = File::open(&path).and_then(|file| {
            file.take(bytes_max(ObjectKind::Pack))
                .read_to_end(&mut bytes)
        });
        let name = ObjectName::pack(hash(&bytes));
        let Ok(blobs) = read.map(|_| parse_whole_pack(&bytes, name, key)) else {
            continue;
        };
        for blob in blobs.into_iter().flatten() {
            known.insert(blob.handle.id, (path.clone(), blob));
        }
    }
    known
}
