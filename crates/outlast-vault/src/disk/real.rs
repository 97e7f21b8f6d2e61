//! A disk that is a directory of the operating system.

use std::collections::HashSet;
use std::fs::{DirBuilder, File};
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64};

use parking_lot::Mutex;
use rustix::fs::{AtFlags, Dir, FileType, IFlags, Mode, OFlags};
use rustix::io::Errno;

use super::beneath::Beneath;
use super::incoming::Incoming;
use super::path::{check_directory, check_file, not_the_end, split};
use super::{Disk, Listed, Space, Unnamed};

/// Where files are before they have a name.
pub const INCOMING: &str = "incoming";

/// Files of the ledger: the vault alone reads and writes them.
const LEDGER_MODE: Mode = Mode::from_raw_mode(0o600);

/// Directories are the vault's alone.
const DIRECTORY_MODE: u32 = 0o700;

/// How many names are remembered as durable, so that they need not be synced once more. Beyond
/// that they are forgotten, which costs a few syncs and no safety.
const MAX_REMEMBERED_NAMES: usize = 100_000;

/// A directory of the operating system, below which everything stays.
#[derive(Debug)]
pub struct RealDisk {
    pub(super) beneath: Beneath,
    pub(super) incoming: OwnedFd,
    pub(super) lacks_unnamed_files: AtomicBool,
    pub(super) next_temporary: AtomicU64,
    // Names that this process made durable itself. That a name exists says nothing: whoever made
    // it may not have synced it yet.
    durable_names: Mutex<HashSet<String>>,
}

impl RealDisk {
    /// Opens the directory `root` and makes it and its `incoming/` where they are missing.
    ///
    /// # Errors
    /// Those of the system.
    pub fn open(root: &Path) -> io::Result<RealDisk> {
        match DirBuilder::new().mode(DIRECTORY_MODE).create(root) {
            Ok(()) => match root.parent() {
                Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all()?,
                _ => File::open(".")?.sync_all()?,
            },
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        let opened = rustix::fs::open(root, flags, Mode::empty())?;
        let beneath = Beneath::new(opened);
        let mode = Mode::from_raw_mode(DIRECTORY_MODE);
        match rustix::fs::mkdirat(beneath.root(), INCOMING, mode) {
            Ok(()) => rustix::fs::fsync(beneath.root())?,
            Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        let incoming = beneath.directory(INCOMING)?;
        Ok(RealDisk {
            beneath,
            incoming,
            lacks_unnamed_files: AtomicBool::new(false),
            next_temporary: AtomicU64::new(0),
            durable_names: Mutex::default(),
        })
    }

    /// Removes what crashes left in `incoming/`. Only for the one process that writes to this disk, and before it
    /// begins: what others are writing there would be removed too. Returns how many there were.
    ///
    /// # Errors
    /// Those of the system.
    pub fn remove_leftovers(&self) -> io::Result<usize> {
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.incoming)? {
            let entry = entry?;
            if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
                names.push(entry.file_name().to_owned());
            }
        }
        for name in &names {
            rustix::fs::unlinkat(&self.incoming, name, AtFlags::empty())?;
        }
        Ok(names.len())
    }

    /// Opens a regular file for reading; its size in bytes comes along.
    fn open_file(&self, path: &str) -> io::Result<(File, u64)> {
        check_file(path)?;
        let file = File::from(self.beneath.open(path, OFlags::RDONLY, Mode::empty())?);
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(not_a_file());
        }
        Ok((file, metadata.len()))
    }

    /// Opens a file of the ledger for writing.
    fn open_for_writing(&self, path: &str, flags: OFlags) -> io::Result<(File, u64)> {
        check_file(path)?;
        let flags = OFlags::WRONLY | flags;
        let mode = if flags.contains(OFlags::CREATE) {
            LEDGER_MODE
        } else {
            Mode::empty()
        };
        let file = File::from(self.beneath.open(path, flags, mode)?);
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(not_a_file());
        }
        Ok((file, metadata.len()))
    }

    /// Makes the name of a file or directory durable, unless this process already has.
    fn make_name_durable(&self, path: &str, is_new: bool) -> io::Result<()> {
        if !is_new && self.durable_names.lock().contains(path) {
            return Ok(());
        }
        self.sync_directory(split(path).0)?;
        let mut names = self.durable_names.lock();
        if names.len() >= MAX_REMEMBERED_NAMES {
            names.clear();
        }
        names.insert(path.to_owned());
        Ok(())
    }
}

impl Disk for RealDisk {
    fn create_unnamed(&self) -> io::Result<Box<dyn Unnamed + '_>> {
        Ok(Box::new(Incoming::create(self)?))
    }

    fn sync_directory(&self, path: &str) -> io::Result<()> {
        check_directory(path)?;
        Ok(rustix::fs::fsync(self.beneath.directory(path)?)?)
    }

    fn make_directories(&self, path: &str) -> io::Result<()> {
        check_directory(path)?;
        let ends = path.match_indices('/').map(|(end, _)| end);
        for end in ends.chain((!path.is_empty()).then_some(path.len())) {
            let here = &path[..end];
            let (parent, name) = split(here);
            let parent = self.beneath.directory(parent)?;
            let mode = Mode::from_raw_mode(DIRECTORY_MODE);
            let is_new = match rustix::fs::mkdirat(&parent, name, mode) {
                Ok(()) => true,
                Err(Errno::EXIST) => {
                    self.beneath.directory(here)?;
                    false
                }
                // Where making directories is forbidden, an existing one is still fine.
                Err(error) => {
                    self.beneath.directory(here).map_err(|_| error)?;
                    false
                }
            };
            self.make_name_durable(here, is_new)?;
        }
        Ok(())
    }

    fn size(&self, path: &str) -> io::Result<Option<u64>> {
        check_file(path)?;
        let file = match self.beneath.open(path, OFlags::PATH, Mode::empty()) {
            Ok(file) => file,
            Err(error) if is_missing(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        let stat = rustix::fs::fstat(file)?;
        let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        Ok(is_file.then(|| u64::try_from(stat.st_size).unwrap_or(0)))
    }

    fn open(&self, path: &str) -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(self.open_file(path)?.0))
    }

    fn read_range(&self, path: &str, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let (file, size) = self.open_file(path)?;
        let available = usize::try_from(size.saturating_sub(offset)).unwrap_or(usize::MAX);
        let mut bytes = vec![0; length.min(available)];
        let mut filled = 0;
        while filled < bytes.len() {
            match file.read_at(&mut bytes[filled..], offset + filled as u64) {
                // Somebody cut the file off meanwhile.
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        bytes.truncate(filled);
        Ok(bytes)
    }

    fn list(&self, path: &str, visit: &mut dyn FnMut(Listed<'_>)) -> io::Result<()> {
        check_directory(path)?;
        let directory = match self.beneath.directory(path) {
            Ok(directory) => directory,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        for entry in Dir::read_from(&directory)? {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let stat = match rustix::fs::statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => stat,
                // Gone since the directory was read.
                Err(Errno::NOENT) => continue,
                Err(error) => return Err(error.into()),
            };
            visit(Listed {
                name: &name.to_string_lossy(),
                size: u64::try_from(stat.st_size).unwrap_or(0),
                is_directory: FileType::from_raw_mode(stat.st_mode) == FileType::Directory,
            });
        }
        Ok(())
    }

    fn append(&self, path: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let (file, size) = self.open_for_writing(path, OFlags::CREATE)?;
        // Nothing that is there is ever written over.
        if size != offset {
            return Err(not_the_end(offset, size));
        }
        file.write_all_at(bytes, offset)?;
        // The size is part of what `fdatasync` makes durable; times are not, and nobody needs them.
        rustix::fs::fdatasync(&file)?;
        self.make_name_durable(path, size == 0)
    }

    fn truncate(&self, path: &str, size: u64) -> io::Result<()> {
        let (file, present) = self.open_for_writing(path, OFlags::empty())?;
        if size > present {
            return Err(not_the_end(size, present));
        }
        file.set_len(size)?;
        file.sync_all()
    }

    fn replace(&self, path: &str, bytes: &[u8]) -> io::Result<()> {
        check_file(path)?;
        let (directory, name) = split(path);
        let directory = self.beneath.directory(directory)?;
        let temporary = Incoming::create_named(self, LEDGER_MODE)?;
        temporary.file().write_all_at(bytes, 0)?;
        temporary.file().sync_all()?;
        // A crash up to here leaves the old content, from here on the old or the new, never a mixture.
        temporary.rename_over(directory.as_fd(), name)?;
        Ok(rustix::fs::fsync(directory)?)
    }

    fn make_immutable(&self, path: &str) -> io::Result<bool> {
        let (file, _) = self.open_file(path)?;
        let set = rustix::fs::ioctl_getflags(&file).and_then(|flags| {
            rustix::fs::ioctl_setflags(&file, flags | IFlags::IMMUTABLE)?;
            rustix::fs::ioctl_getflags(&file)
        });
        match set {
            Ok(flags) => Ok(flags.contains(IFlags::IMMUTABLE)),
            // The file system does not have it, or this process has not the right.
            Err(
                Errno::PERM
                | Errno::ACCESS
                | Errno::NOTTY
                | Errno::OPNOTSUPP
                | Errno::INVAL
                | Errno::NOSYS,
            ) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn space(&self) -> io::Result<Space> {
        let facts = rustix::fs::fstatvfs(self.beneath.root())?;
        Ok(Space {
            free: facts.f_bavail.saturating_mul(facts.f_frsize),
            total: facts.f_blocks.saturating_mul(facts.f_frsize),
        })
    }
}

/// Whether a path leads to nothing of ours: a part of it is missing, no directory, or a link.
fn is_missing(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP)
    )
}

fn not_a_file() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")
}

#[cfg(test)]
mod tests;
