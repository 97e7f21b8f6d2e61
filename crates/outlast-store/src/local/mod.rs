//! A repository in a folder, laid out as restic does.
//!
//! Objects are written by one sequence, [`publish`], which cannot overwrite anything. Files are
//! read-only and folders closed to others, unless the group may read the repository's config; then
//! the group may use it, as with restic.

mod layout;

mod publish;
#[cfg(test)]
mod tests;

use std::ffi::OsStr;
use std::fs::{self, DirBuilder};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use outlast_object::{Id, ObjectKind, ObjectName, bytes_max};
use parking_lot::Mutex;
use rustix::io::Errno;

pub use self::layout::Layout;
pub use self::publish::{SyncObserver, SyncPoint};

use self::layout::id_of;
pub(crate) use self::publish::open_read;
use self::publish::{Abilities, Modes, Outcome, TEMPORARY_PREFIX};
use crate::open_files::OpenFiles;
use crate::port::list_config;
use crate::{Deletes, LockStore, ObjectInfo, Store, StoreError};

/// Temporary files older than this are of no running writer.
const LEFTOVER_AGE_MIN: Duration = Duration::from_secs(24 * 60 * 60);
/// Leftovers remembered at most between a listing and their removal.
const LEFTOVERS_MAX: usize = 10_000;
/// Operations at a time: as many as restic's default for folders.
const CONNECTIONS: usize = 2;

/// A repository in a folder.
pub struct LocalStore {
    root: PathBuf,
    layout: Layout,
    modes: Modes,
    connections: usize,
    abilities: Abilities,
    open_files: OpenFiles,
    leftovers: Mutex<Vec<PathBuf>>,
    observer: Option<Arc<dyn SyncObserver>>,
}

/// Opens the repository folder at `path`, which need not exist yet.
///
/// # Errors
/// [`StoreError::Location`] if there is something else than a folder, or the path is empty.
pub fn open_local(path: impl AsRef<Path>) -> Result<LocalStore, StoreError> {
    LocalStore::open(path.as_ref())
}

impl LocalStore {
    /// Opens the repository folder at `path`, which need not exist yet.
    ///
    /// # Errors
    /// [`StoreError::Location`] if there is something else than a folder, or the path is empty.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        if path.as_os_str().is_empty() {
            return Err(StoreError::Location(
                "the repository's path is empty".to_owned(),
            ));
        }
        if fs::metadata(path).is_ok_and(|metadata| !metadata.is_dir()) {
            let message = format!("{} is not a folder", path.display());
            return Err(StoreError::Location(message));
        }
        Ok(Self {
            root: path.to_owned(),
            layout: Layout::detect(path),
            modes: modes_like(&path.join("config")),
            connections: CONNECTIONS,
            abilities: Abilities::default(),
            open_files: OpenFiles::default(),
            leftovers: Mutex::default(),
            observer: None,
        })
    }

    /// The same store, with another number of operations at a time.
    #[must_use]
    pub fn with_connections(self, connections: usize) -> Self {
        Self {
            connections: connections.max(1),
            ..self
        }
    }

    /// The same store, with somebody who watches, and may break, each step of a durable write.
    #[must_use]
    pub fn with_observer(self, observer: Arc<dyn SyncObserver>) -> Self {
        Self {
            observer: Some(observer),
            ..self
        }
    }

    /// The layout found.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Where the object's file is or would be.
    pub fn path_of(&self, name: &ObjectName) -> PathBuf {
        self.layout.path(&self.root, name)
    }

    /// Removes the temporary files of crashed writers that earlier listings came across and that
    /// are a day older than `now`. [`Deletes::delete`] does so by itself. Returns their number.
    pub fn remove_leftovers(&self, now: SystemTime) -> usize {
        let seen = std::mem::take(&mut *self.leftovers.lock());
        let is_old = |path: &PathBuf| {
            let changed = fs::symlink_metadata(path).and_then(|metadata| metadata.modified());
            let age = changed
                .ok()
                .and_then(|changed| now.duration_since(changed).ok());
            age.is_some_and(|age| age >= LEFTOVER_AGE_MIN)
        };
        // One that cannot be removed does no harm and will be found again.
        seen.iter()
            .filter(|path| is_old(path) && fs::remove_file(path).is_ok())
            .count()
    }

    fn error(&self, operation: String, source: io::Error) -> StoreError {
        let location = self.location();
        let reason = source.to_string();
        match Errno::from_io_error(&source) {
            Some(Errno::NOSPC | Errno::DQUOT) => StoreError::Full { location, reason },
            Some(Errno::ACCESS | Errno::PERM | Errno::ROFS) => StoreError::Denied {
                operation,
                location,
                reason,
            },
            _ => StoreError::Io {
                operation,
                location,
                source,
            },
        }
    }

    fn read_error(&self, verb: &str, name: &ObjectName, source: io::Error) -> StoreError {
        match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => StoreError::NotFound {
                name: *name,
                location: self.location(),
            },
            _ => self.error(format!("{verb} {name}"), source),
        }
    }

    fn prepare_folders(&self) -> io::Result<()> {
        if !self.root.try_exists()? {
            DirBuilder::new()
                .recursive(true)
                .mode(self.modes.folder)
                .create(&self.root)?;
            self.root.parent().map_or(Ok(()), publish::sync_folder)?;
        }
        let modes = self.modes;
        let make = |folder: &Path| match DirBuilder::new().mode(modes.folder).create(folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => Ok(()),
        };
        for kind in ObjectKind::ALL
            .into_iter()
            .filter(|kind| *kind != ObjectKind::Config)
        {
            let folder = self.root.join(self.layout.folder(kind));
            make(&folder)?;
            if self.layout.has_subfolders(kind) {
                for (subfolder, _) in self.layout.object_folders(&self.root, kind) {
                    make(&subfolder)?;
                }
                publish::sync_folder(&folder)?;
            }
        }
        publish::sync_folder(&self.root)
    }

    fn publish(&self, name: &ObjectName, bytes: &[u8]) -> io::Result<Outcome> {
        let path = self.path_of(name);
        let (Some(folder), Some(file_name)) =
            (path.parent(), path.file_name().and_then(OsStr::to_str))
        else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let observer = self.observer.as_deref();
        let attempt = || {
            publish::publish(
                folder,
                file_name,
                bytes,
                self.modes,
                &self.abilities,
                observer,
            )
        };
        match attempt() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // A folder is missing. The root is never made here: if it is gone, so is the disk
                // that was mounted there.
                fs::metadata(&self.root)?;
                let missing: Vec<_> = folder
                    .ancestors()
                    .take_while(|path| *path != self.root)
                    .collect();
                for folder in missing.into_iter().rev() {
                    publish::make_folder(folder, self.modes)?;
                }
                attempt()
            }
            other => other,
        }
    }

    fn list_folder(
        &self,
        folder: &Path,
        first_byte: Option<u8>,
        visit: &mut dyn FnMut(ObjectInfo),
    ) -> io::Result<()> {
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        // A pack in the folder of another first byte would not be found again by its name.
        let belongs = |id: &Id| first_byte.is_none_or(|byte| id.as_bytes()[0] == byte);
        for entry in entries {
            let entry = entry?;
            let file_name = entry.file_name();
            if let Some(id) = id_of(file_name.as_encoded_bytes()).filter(belongs) {
                // Removed while we list, or a dangling link: not there.
                match fs::metadata(entry.path()) {
                    Ok(metadata) if metadata.is_file() => {
                        visit(ObjectInfo {
                            id,
                            size: metadata.len(),
                        });
                    }
                    Ok(_) => {}
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(error),
                }
            } else if file_name
                .as_encoded_bytes()
                .starts_with(TEMPORARY_PREFIX.as_bytes())
            {
                let mut leftovers = self.leftovers.lock();
                if leftovers.len() < LEFTOVERS_MAX {
                    leftovers.push(entry.path());
                }
            }
        }
        Ok(())
    }

    fn remove_file(&self, name: &ObjectName) -> io::Result<()> {
        let path = self.path_of(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                // Some network shares do not remove files that are marked read-only.
                let mode = self.modes.file | 0o200;
                fs::set_permissions(&path, fs::Permissions::from_mode(mode)).map_err(|_| error)?;
                fs::remove_file(&path)?;
            }
            other => other?,
        }
        match (name.kind(), path.parent()) {
            // Whoever removes an index or a snapshot goes on to remove the packs it named, and the
            // disk must see these removals in the same order.
            (ObjectKind::Pack | ObjectKind::Lock, _) | (_, None) => Ok(()),
            (_, Some(folder)) => publish::sync_folder(folder),
        }
    }
}

impl Store for LocalStore {
    fn location(&self) -> String {
        self.root.display().to_string()
    }

    fn connections(&self) -> usize {
        self.connections
    }

    fn prepare(&self) -> Result<(), StoreError> {
        self.prepare_folders()
            .map_err(|error| self.error("prepare it".to_owned(), error))
    }

    fn write(&self, name: &ObjectName, bytes: &[u8]) -> Result<(), StoreError> {
        match self.publish(name, bytes) {
            Ok(Outcome::Durable) => Ok(()),
            Ok(Outcome::OtherBytes) => Err(StoreError::AlreadyExists {
                name: *name,
                location: self.location(),
            }),
            Err(error) => Err(self.error(format!("write {name}"), error)),
        }
    }

    fn read(&self, name: &ObjectName) -> Result<Vec<u8>, StoreError> {
        let failed = |error| self.read_error("read", name, error);
        let max = bytes_max(name.kind());
        let (file, size) = publish::open_read(&self.path_of(name)).map_err(failed)?;
        if size > max {
            return Err(StoreError::TooLarge {
                name: *name,
                size,
                max,
            });
        }
        let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
        // The size was looked up before: nobody may stretch the file meanwhile.
        file.take(max + 1).read_to_end(&mut bytes).map_err(failed)?;
        let size = bytes.len() as u64;
        if size > max {
            return Err(StoreError::TooLarge {
                name: *name,
                size,
                max,
            });
        }
        Ok(bytes)
    }

    fn read_range(
        &self,
        name: &ObjectName,
        offset: u64,
        length: usize,
    ) -> Result<Vec<u8>, StoreError> {
        let mut bytes = Vec::new();
        self.read_range_into(name, offset, length, &mut bytes)?;
        Ok(bytes)
    }

    fn read_range_into(
        &self,
        name: &ObjectName,
        offset: u64,
        length: usize,
        buffer: &mut Vec<u8>,
    ) -> Result<(), StoreError> {
        let failed = |error| self.read_error("read", name, error);
        let (file, size) = self
            .open_files
            .open(name, &self.path_of(name))
            .map_err(failed)?;
        // Checked before anything is allocated: the length may come from a hostile index.
        let end = offset.saturating_add(length as u64);
        if end > size {
            return Err(StoreError::Truncated {
                name: *name,
                offset,
                end,
                size,
            });
        }
        if buffer.capacity() < length {
            // Zeroed by the system, where it can do that for nothing.
            *buffer = vec![0; length];
        }
        buffer.resize(length, 0);
        file.read_exact_at(buffer, offset).map_err(failed)
    }

    fn size(&self, name: &ObjectName) -> Result<u64, StoreError> {
        match fs::metadata(self.path_of(name)) {
            Ok(metadata) if metadata.is_file() => Ok(metadata.len()),
            Ok(_) => Err(StoreError::NotFound {
                name: *name,
                location: self.location(),
            }),
            Err(error) => Err(self.read_error("look up", name, error)),
        }
    }

    fn list(&self, kind: ObjectKind, visit: &mut dyn FnMut(ObjectInfo)) -> Result<(), StoreError> {
        if kind == ObjectKind::Config {
            return list_config(self, visit);
        }
        for (folder, first_byte) in self.layout.object_folders(&self.root, kind) {
            let listed = self.list_folder(&folder, first_byte, visit);
            listed.map_err(|error| self.error(format!("list {}", kind.folder()), error))?;
        }
        Ok(())
    }
}

impl LockStore for LocalStore {
    fn remove_lock(&self, id: &Id) -> Result<(), StoreError> {
        self.delete(&ObjectName::new(ObjectKind::Lock, *id))
    }
}

impl Deletes for LocalStore {
    fn delete(&self, name: &ObjectName) -> Result<(), StoreError> {
        self.open_files.forget(name);
        if name.kind() != ObjectKind::Lock && !self.leftovers.lock().is_empty() {
            self.remove_leftovers(SystemTime::now());
        }
        match self.remove_file(name) {
            Err(error)
                if !matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                Err(self.error(format!("delete {name}"), error))
            }
            _ => Ok(()),
        }
    }
}

/// restic's rule: files are for their owner alone, unless the group may read the config.
fn modes_like(config: &Path) -> Modes {
    let group_reads =
        fs::metadata(config).is_ok_and(|metadata| metadata.permissions().mode() & 0o040 != 0);
    if group_reads {
        Modes {
            file: 0o440,
            folder: 0o770,
        }
    } else {
        Modes {
            file: 0o400,
            folder: 0o700,
        }
    }
}
