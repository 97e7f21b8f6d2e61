//! Putting things back: a directory beneath which everything is made, and nothing outside of it.
//!
//! Paths come from repositories that somebody else may have written, and the directory may change
//! while we write. So every path is resolved by the kernel beneath the root without following a
//! single symbolic link (`openat2` with `RESOLVE_BENEATH` and `RESOLVE_NO_SYMLINKS`), and the last
//! part is only ever used relative to its directory.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use outlast_format::{Node, NodeKind};
use parking_lot::Mutex;
use rustix::fs::{self, AtFlags, Dir, FallocateFlags, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use crate::SourceError;

mod metadata;

pub use metadata::MetadataOptions;

/// Longest name of one entry that Linux can keep.
const NAME_BYTES_MAX: usize = 255;

/// Refuses names that could lead anywhere else than into their directory.
pub fn check_name(name: &[u8]) -> Result<(), SourceError> {
    let bad = name.is_empty()
        || name == b"."
        || name == b".."
        || name.len() > NAME_BYTES_MAX
        || name.iter().any(|byte| matches!(byte, b'/' | 0));
    if bad {
        let shown = String::from_utf8_lossy(&name[..name.len().min(80)]).into_owned();
        return Err(SourceError::Invalid(format!(
            "{shown:?} is not a name that a file can have"
        )));
    }
    Ok(())
}

/// A directory beneath which everything is made. All methods may be called from many threads at
/// once; paths are relative to it.
#[derive(Debug)]
pub struct Target {
    root: Arc<OwnedFd>,
    path: PathBuf,
    is_root_user: bool,
    last_parent: Mutex<Option<(PathBuf, Arc<OwnedFd>)>>,
}

/// A file being written, at any places in any order.
#[derive(Debug)]
pub struct TargetFile {
    file: File,
    path: PathBuf,
}

const DIRECTORY: OFlags = OFlags::PATH
    .union(OFlags::DIRECTORY)
    .union(OFlags::CLOEXEC)
    .union(OFlags::NOFOLLOW);
const BENEATH: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS);

impl Target {
    /// Opens the directory, making it and those above it if need be, for the owner alone: what comes
    /// back may be secret. The path itself may lead through symbolic links: it is what the user asked
    /// for.
    pub fn open(path: &Path) -> Result<Self, SourceError> {
        let failed = |operation, source| SourceError::Io {
            operation,
            path: path.to_owned(),
            source,
        };
        let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
        made.map_err(|error| failed("create", error))?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root =
            fs::open(path, flags, Mode::empty()).map_err(|error| failed("open", error.into()))?;
        Ok(Self {
            root: Arc::new(root),
            path: path.to_owned(),
            is_root_user: rustix::process::geteuid().is_root(),
            last_parent: Mutex::new(None),
        })
    }

    /// The directory's path, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn failed(
        &self,
        operation: &'static str,
        path: &Path,
        error: impl Into<io::Error>,
    ) -> SourceError {
        SourceError::Io {
            operation,
            path: self.path.join(path),
            source: error.into(),
        }
    }

    /// Opens a directory beneath the root.
    fn directory(&self, path: &Path) -> Result<Arc<OwnedFd>, SourceError> {
        if path.as_os_str().is_empty() {
            return Ok(Arc::clone(&self.root));
        }
        if let Some((last, fd)) = &*self.last_parent.lock()
            && last == path
        {
            return Ok(Arc::clone(fd));
        }
        let opened = match fs::openat2(&*self.root, path, DIRECTORY, Mode::empty(), BENEATH) {
            // Filters of containers that do not know the call say that it is not permitted.
            Err(Errno::NOSYS | Errno::PERM) => self.directory_step_by_step(path),
            result => result,
        };
        let fd = Arc::new(opened.map_err(|error| self.failed("open directory", path, error))?);
        *self.last_parent.lock() = Some((path.to_owned(), Arc::clone(&fd)));
        Ok(fd)
    }

    /// Where there is no `openat2`: part by part, none of which may be a symbolic link.
    fn directory_step_by_step(&self, path: &Path) -> Result<OwnedFd, Errno> {
        let mut current = fs::openat(&*self.root, ".", DIRECTORY, Mode::empty())?;
        for component in path.components() {
            let Component::Normal(name) = component else {
                return Err(Errno::XDEV);
            };
            current = fs::openat(&current, name, DIRECTORY, Mode::empty())?;
        }
        Ok(current)
    }

    /// The directory of a path, and the path's last part.
    fn parent<'a>(
        &self,
        path: &'a Path,
    ) -> Result<(Arc<OwnedFd>, &'a std::ffi::OsStr), SourceError> {
        let invalid = || {
            SourceError::Invalid(format!(
                "{} does not lead beneath the target",
                path.display()
            ))
        };
        if path
            .components()
            .any(|component| !matches!(component, Component::Normal(_)))
        {
            return Err(invalid());
        }
        let name = path.file_name().ok_or_else(invalid)?;
        check_name(name.as_bytes())?;
        Ok((
            self.directory(path.parent().unwrap_or(Path::new("")))?,
            name,
        ))
    }

    /// What is there, links not followed; `None` for nothing.
    pub fn stat(&self, path: &Path) -> Result<Option<Stat>, SourceError> {
        let (parent, name) = match self.parent(path) {
            Err(error) if error.is_not_found() => return Ok(None),
            result => result?,
        };
        match fs::statat(&*parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(self.failed("stat", path, error)),
        }
    }

    /// The names in a directory beneath the root, sorted; the empty path is the root.
    pub fn list(&self, path: &Path) -> Result<Vec<Vec<u8>>, SourceError> {
        let directory = self.directory(path)?;
        let failed = |error| self.failed("list", path, error);
        let mut names = Vec::new();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let readable = fs::openat(&*directory, ".", flags, Mode::empty()).map_err(failed)?;
        for entry in Dir::new(readable).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                names.push(name.to_vec());
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// Makes a directory for the owner alone unless there is one. Whether it was made.
    pub fn make_directory(&self, path: &Path) -> Result<bool, SourceError> {
        let (parent, name) = self.parent(path)?;
        match fs::mkdirat(&*parent, name, Mode::RWXU) {
            Ok(()) => Ok(true),
            Err(Errno::EXIST) => {
                let stat = fs::statat(&*parent, name, AtFlags::SYMLINK_NOFOLLOW)
                    .map_err(|error| self.failed("stat", path, error))?;
                if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                    return Ok(false);
                }
                Err(self.failed("make directory", path, Errno::EXIST))
            }
            Err(error) => Err(self.failed("make directory", path, error)),
        }
    }

    /// Opens a file for writing, making it if there is none. What it holds already stays, so that
    /// parts which are right need not be written. A file with other names (hard links) is replaced,
    /// since those must not change.
    pub fn create_file(&self, path: &Path) -> Result<TargetFile, SourceError> {
        let (parent, name) = self.parent(path)?;
        let failed = |error| self.failed("create", path, error);
        let flags =
            OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let mode = Mode::RUSR | Mode::WUSR;
        let opened = match fs::openat(&*parent, name, flags, mode) {
            Ok(fd) => {
                let stat = fs::fstat(&fd).map_err(failed)?;
                let plain = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
                if plain && stat.st_nlink == 1 {
                    Some(fd)
                } else {
                    None
                }
            }
            Err(Errno::ACCESS | Errno::LOOP | Errno::TXTBSY | Errno::NXIO | Errno::ISDIR) => None,
            Err(error) => return Err(failed(error)),
        };
        let fd = match opened {
            Some(fd) => fd,
            None => {
                self.remove(path)?;
                fs::openat(&*parent, name, flags | OFlags::EXCL, mode).map_err(failed)?
            }
        };
        Ok(TargetFile {
            file: File::from(fd),
            path: self.path.join(path),
        })
    }

    /// Opens an existing regular file for reading; `None` if there is none.
    pub fn open_file(&self, path: &Path) -> Result<Option<TargetFile>, SourceError> {
        let (parent, name) = match self.parent(path) {
            Err(error) if error.is_not_found() => return Ok(None),
            result => result?,
        };
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let fd = match fs::openat(&*parent, name, flags, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::NOENT | Errno::LOOP | Errno::NXIO) => return Ok(None),
            Err(error) => return Err(self.failed("open", path, error)),
        };
        let stat = fs::fstat(&fd).map_err(|error| self.failed("stat", path, error))?;
        let plain = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        Ok(plain.then(|| TargetFile {
            file: File::from(fd),
            path: self.path.join(path),
        }))
    }

    /// Makes a symbolic link; where it points is of no concern here, since we never follow it.
    pub fn make_symlink(&self, path: &Path, points_to: &[u8]) -> Result<(), SourceError> {
        let (parent, name) = self.parent(path)?;
        fs::symlinkat(points_to, &*parent, name)
            .map_err(|error| self.failed("make link", path, error))
    }

    /// Makes another name for a file that was restored before.
    pub fn make_hard_link(&self, path: &Path, existing: &Path) -> Result<(), SourceError> {
        let (from, from_name) = self.parent(existing)?;
        let (to, to_name) = self.parent(path)?;
        fs::linkat(&*from, from_name, &*to, to_name, AtFlags::empty())
            .map_err(|error| self.failed("make hard link", path, error))
    }

    /// Makes a fifo, a socket or a device.
    pub fn make_special(&self, path: &Path, node: &Node) -> Result<(), SourceError> {
        let (parent, name) = self.parent(path)?;
        let file_type = match node.kind {
            NodeKind::Fifo => FileType::Fifo,
            NodeKind::Socket => FileType::Socket,
            NodeKind::BlockDevice => FileType::BlockDevice,
            NodeKind::CharacterDevice => FileType::CharacterDevice,
            _ => {
                let text = format!("{}: a {} cannot be made", path.display(), node.kind);
                return Err(SourceError::Invalid(text));
            }
        };
        let mode = Mode::RUSR | Mode::WUSR;
        fs::mknodat(&*parent, name, file_type, mode, node.device)
            .map_err(|error| self.failed("make special file", path, error))
    }

    /// Removes whatever is there, directories with all that is in them. Nothing is no error.
    pub fn remove(&self, path: &Path) -> Result<(), SourceError> {
        let (parent, name) = match self.parent(path) {
            Err(error) if error.is_not_found() => return Ok(()),
            result => result?,
        };
        match fs::unlinkat(&*parent, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            Err(Errno::ISDIR) => {}
            Err(error) => return Err(self.failed("remove", path, error)),
        }
        // Children first; a stack of our own, since directories can be nested very deeply.
        let mut stack = vec![(path.to_owned(), false)];
        while let Some((path, emptied)) = stack.pop() {
            let (parent, name) = self.parent(&path)?;
            let flags = if emptied {
                AtFlags::REMOVEDIR
            } else {
                AtFlags::empty()
            };
            match fs::unlinkat(&*parent, name, flags) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(Errno::ISDIR) if !emptied => {
                    let names = self.list(&path)?;
                    stack.push((path.clone(), true));
                    let child = |name: Vec<u8>| path.join(std::ffi::OsStr::from_bytes(&name));
                    stack.extend(names.into_iter().map(|name| (child(name), false)));
                }
                Err(error) => return Err(self.failed("remove", &path, error)),
            }
        }
        *self.last_parent.lock() = None;
        Ok(())
    }

    /// Removes a file, a link or an empty directory. Nothing is no error; a directory with entries is.
    pub fn remove_single(&self, path: &Path) -> Result<(), SourceError> {
        let (parent, name) = match self.parent(path) {
            Err(error) if error.is_not_found() => return Ok(()),
            result => result?,
        };
        let result = match fs::unlinkat(&*parent, name, AtFlags::empty()) {
            Err(Errno::ISDIR) => {
                *self.last_parent.lock() = None;
                fs::unlinkat(&*parent, name, AtFlags::REMOVEDIR)
            }
            result => result,
        };
        match result {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(self.failed("remove", path, error)),
        }
    }

    /// Gives a file another name in its directory, in place of what has that name already.
    pub fn rename_beside(&self, path: &Path, new_name: &[u8]) -> Result<(), SourceError> {
        check_name(new_name)?;
        let (parent, name) = self.parent(path)?;
        let new_name = std::ffi::OsStr::from_bytes(new_name);
        fs::renameat(&*parent, name, &*parent, new_name)
            .map_err(|error| self.failed("rename", path, error))
    }
}

impl TargetFile {
    fn failed(&self, operation: &'static str, source: io::Error) -> SourceError {
        SourceError::Io {
            operation,
            path: self.path.clone(),
            source,
        }
    }

    /// Writes all of `bytes` at `offset`.
    pub fn write_at(&self, bytes: &[u8], offset: u64) -> Result<(), SourceError> {
        self.file
            .write_all_at(bytes, offset)
            .map_err(|error| self.failed("write", error))
    }

    /// Makes `bytes` bytes from `offset` on zeros that have their room on the disk, without writing
    /// them. `false` where the file system cannot do that; then nothing was changed that matters.
    pub fn write_zeros(&self, offset: u64, bytes: u64) -> bool {
        fs::fallocate(&self.file, FallocateFlags::ZERO_RANGE, offset, bytes).is_ok()
    }

    /// Fills `buffer` from `offset` on as far as the file goes.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize, SourceError> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self
                .file
                .read_at(&mut buffer[filled..], offset + filled as u64)
            {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.failed("read", error)),
            }
        }
        Ok(filled)
    }

    /// The file's size in bytes.
    pub fn size(&self) -> Result<u64, SourceError> {
        Ok(self
            .file
            .metadata()
            .map_err(|error| self.failed("stat", error))?
            .len())
    }

    /// Makes the file this long: cut off, or filled with zeros that take no space.
    pub fn set_size(&self, bytes: u64) -> Result<(), SourceError> {
        self.file
            .set_len(bytes)
            .map_err(|error| self.failed("set size", error))
    }
}
