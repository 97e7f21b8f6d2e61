//! The files of a cache. Everything here may be lost, damaged or changed by other processes at any
//! time: what is read is verified, and what cannot be written is done without.

use std::collections::HashSet;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use outlast_object::{HashingReader, Id, ObjectKind, ObjectName, bytes_max, hash};
use parking_lot::{Mutex, RwLock};

use crate::StoreError;
use crate::local::open_read;
use crate::open_files::OpenFiles;

/// The version of the layout, kept in the file `version`.
pub(super) const VERSION: &str = "1";
/// What tells backup programs to leave a folder out (bford.info/cachedir).
const CACHEDIR_TAG: &str = "Signature: 8a477f597d28d172789f06886806bc55\n\
    # Whatever is in this folder can be fetched again.\n";
/// Largest note of the engine.
const NOTE_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Temporary files older than this are of no running process.
const TEMPORARY_AGE_MIN: Duration = Duration::from_secs(24 * 60 * 60);

/// The local cache of one repository: whole indexes, snapshots and tree packs, and the engine's
/// notes. Several processes may use it at once.
#[derive(Debug)]
pub struct RepositoryCache {
    folder: PathBuf,
    /// Objects whose cached bytes this process has hashed.
    verified: Mutex<HashSet<ObjectName>>,
    tree_packs: RwLock<HashSet<Id>>,
    open_files: OpenFiles,
    /// Set when a write has failed: a full or read-only disk is not tried again and again.
    gave_up_writing: AtomicBool,
}

impl RepositoryCache {
    /// Opens the cache of the repository `id` beneath `base`, and makes it if there is none.
    /// `now` is kept as the time of its last use.
    ///
    /// # Errors
    /// [`StoreError::Io`] if it cannot be made or was made by a later version. The caller does
    /// without a cache then.
    pub fn open(base: &Path, id: &Id, now: SystemTime) -> Result<Self, StoreError> {
        let folder = base.join(id.to_hex());
        let failed = |source| StoreError::Io {
            operation: "open the cache".to_owned(),
            location: folder.display().to_string(),
            source,
        };
        prepare(base, &folder, now).map_err(failed)?;
        Ok(Self {
            folder: folder.clone(),
            verified: Mutex::default(),
            tree_packs: RwLock::default(),
            open_files: OpenFiles::default(),
            gave_up_writing: AtomicBool::new(false),
        })
    }

    /// The cache's folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Keeps these packs from now on.
    pub fn declare_tree_packs(&self, packs: &[Id]) {
        self.tree_packs.write().extend(packs);
    }

    /// Whether objects of this name are kept at all.
    pub(super) fn is_wanted(&self, name: &ObjectName) -> bool {
        match name.kind() {
            ObjectKind::Index | ObjectKind::Snapshot => true,
            ObjectKind::Pack => self.tree_packs.read().contains(&name.id()),
            ObjectKind::Config | ObjectKind::Key | ObjectKind::Lock => false,
        }
    }

    /// The whole object, if it is here and undamaged.
    pub(super) fn get(&self, name: &ObjectName) -> Option<Vec<u8>> {
        let (file, size) = open_read(&self.path(name)).ok()?;
        let max = bytes_max(name.kind());
        let mut bytes = Vec::with_capacity(usize::try_from(size.min(max)).ok()?);
        let read = file.take(max).read_to_end(&mut bytes);
        if read.is_ok() && hash(&bytes) == name.id() {
            self.verified.lock().insert(*name);
            return Some(bytes);
        }
        self.remove(name);
        None
    }

    /// A range of an object, if the object is here and undamaged and has so many bytes.
    pub(super) fn get_range(
        &self,
        name: &ObjectName,
        offset: u64,
        length: usize,
    ) -> Option<Vec<u8>> {
        if !self.verify(name) {
            return None;
        }
        let (file, size) = self.open_files.open(name, &self.path(name)).ok()?;
        if offset.checked_add(length as u64)? > size {
            return None;
        }
        let mut bytes = vec![0; length];
        file.read_exact_at(&mut bytes, offset).ok()?;
        Some(bytes)
    }

    /// Whether the cached object has the right bytes; looked at once in a process.
    fn verify(&self, name: &ObjectName) -> bool {
        if self.verified.lock().contains(name) {
            return true;
        }
        let Ok((file, _)) = open_read(&self.path(name)) else {
            return false;
        };
        let mut reader = HashingReader::new(file.take(bytes_max(name.kind())));
        if io::copy(&mut reader, &mut io::sink()).is_ok() && reader.finish().0 == name.id() {
            self.verified.lock().insert(*name);
            return true;
        }
        self.remove(name);
        false
    }

    /// Whether anything can be kept, as far as is known.
    pub(super) fn can_write(&self) -> bool {
        !self.gave_up_writing.load(Ordering::Relaxed)
    }

    /// Keeps an object, if `bytes` are what its name says. Returns whether it is here now.
    pub(super) fn put(&self, name: &ObjectName, bytes: &[u8]) -> bool {
        if !self.can_write() || hash(bytes) != name.id() {
            return false;
        }
        let kept = self.write_file(&self.path(name), &[bytes]);
        if kept.is_err() {
            self.gave_up_writing.store(true, Ordering::Relaxed);
        }
        kept.is_ok()
    }

    /// Drops an object.
    pub(super) fn remove(&self, name: &ObjectName) {
        self.verified.lock().remove(name);
        self.open_files.forget(name);
        // What cannot be removed is found damaged or missing again.
        let _ = fs::remove_file(self.path(name));
    }

    /// The objects of a kind that are here, damaged ones included.
    pub fn list(&self, kind: ObjectKind) -> HashSet<Id> {
        let mut found = HashSet::new();
        let folders = fs::read_dir(self.folder.join(kind.folder()))
            .into_iter()
            .flatten()
            .flatten();
        for folder in folders {
            let entries = fs::read_dir(folder.path()).into_iter().flatten().flatten();
            found
                .extend(entries.filter_map(|entry| entry.file_name().to_str()?.parse::<Id>().ok()));
        }
        found
    }

    /// Drops the objects of a kind that are not in `existing`: those that the store no longer has.
    pub fn retain(&self, kind: ObjectKind, existing: &HashSet<Id>) {
        for id in self.list(kind).difference(existing) {
            self.remove(&ObjectName::new(kind, *id));
        }
    }

    /// Keeps a note of the engine, such as which packs it has verified. The name consists of
    /// lower-case letters, digits and hyphens. Returns whether it was kept.
    pub fn remember(&self, note: &str, bytes: &[u8]) -> bool {
        match self.note_path(note) {
            Some(path) if bytes.len() <= NOTE_BYTES_MAX => self
                .write_file(&path, &[hash(bytes).as_bytes(), bytes])
                .is_ok(),
            _ => false,
        }
    }

    /// The note as it was last kept, if it is there and undamaged.
    pub fn recall(&self, note: &str) -> Option<Vec<u8>> {
        let path = self.note_path(note)?;
        let (mut file, _) = open_read(&path).ok()?;
        let mut expected = [0; Id::LEN];
        file.read_exact(&mut expected).ok()?;
        let mut bytes = Vec::new();
        file.take(NOTE_BYTES_MAX as u64)
            .read_to_end(&mut bytes)
            .ok()?;
        (hash(&bytes) == Id::from_bytes(expected)).then_some(bytes)
    }

    fn note_path(&self, note: &str) -> Option<PathBuf> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let fits = !note.is_empty() && note.len() <= 64 && note.bytes().all(plain);
        fits.then(|| self.folder.join("notes").join(note))
    }

    fn path(&self, name: &ObjectName) -> PathBuf {
        let hex = name.id().to_hex();
        self.folder
            .join(name.kind().folder())
            .join(&hex[..2])
            .join(hex)
    }

    /// Makes a file appear whole or not at all. It is not synced: what a loss of power damages is
    /// found out by its hash.
    fn write_file(&self, path: &Path, parts: &[&[u8]]) -> io::Result<()> {
        let temporary = self.folder.join("tmp");
        make_folders(&temporary)?;
        let mut file = tempfile::NamedTempFile::new_in(temporary)?;
        for part in parts {
            file.write_all(part)?;
        }
        path.parent().map_or(Ok(()), make_folders)?;
        file.persist(path).map_err(|error| error.error)?;
        Ok(())
    }
}

fn prepare(base: &Path, folder: &Path, now: SystemTime) -> io::Result<()> {
    make_folders(folder)?;
    write_once(&base.join("CACHEDIR.TAG"), CACHEDIR_TAG)?;
    write_once(&folder.join("version"), VERSION)?;
    let version = fs::read_to_string(folder.join("version"))?;
    if version.trim() != VERSION {
        return Err(io::Error::other("it was made by another version"));
    }
    File::open(folder)?.set_modified(now)?;
    remove_temporaries(&folder.join("tmp"), now);
    Ok(())
}

/// Temporary files of processes that were killed.
fn remove_temporaries(folder: &Path, now: SystemTime) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let changed = entry.metadata().and_then(|metadata| metadata.modified());
        let age = changed
            .ok()
            .and_then(|changed| now.duration_since(changed).ok());
        if age.is_some_and(|age| age >= TEMPORARY_AGE_MIN) {
            // One that cannot be removed does no harm.
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn make_folders(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

fn write_once(path: &Path, text: &str) -> io::Result<()> {
    if path.try_exists()? {
        return Ok(());
    }
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(text.as_bytes())?;
    // Another process may have been faster.
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}
