//! The one sequence by which bytes become a durable object in a folder.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use tempfile::NamedTempFile;

/// What the names of temporary files begin with, where the file system has no unnamed ones.
pub(super) const TEMPORARY_PREFIX: &str = ".outlast-tmp-";

/// Existing content is compared in blocks of this size.
const COMPARE_BLOCK_BYTES: usize = 1024 * 1024;

/// The steps of a durable write, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SyncPoint {
    /// A temporary file exists.
    Created,
    /// It has all bytes, perhaps only in memory.
    Written,
    /// The bytes are on the disk.
    FileSynced,
    /// The object's name leads to the file.
    Published,
    /// The name is on the disk too: the object is durable.
    FolderSynced,
}

impl SyncPoint {
    /// All points, in order.
    pub const ALL: [SyncPoint; 5] = [
        SyncPoint::Created,
        SyncPoint::Written,
        SyncPoint::FileSynced,
        SyncPoint::Published,
        SyncPoint::FolderSynced,
    ];
}

/// Somebody who is told of each step as it is done: tests stop the process there, or fail the step.
pub trait SyncObserver: Send + Sync {
    /// The step has been done. An error ends the write as if the operating system had reported it.
    fn reached(&self, point: SyncPoint) -> io::Result<()>;
}

/// What the file system can do, found out on the way.
#[derive(Debug, Default)]
pub(super) struct Abilities {
    pub(super) lacks_unnamed_files: AtomicBool,
}

/// What became of a write.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The bytes are there and durable.
    Durable,
    /// Other bytes have the name; they were not touched.
    OtherBytes,
}

/// Permissions of what is made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Modes {
    /// Of object files.
    pub file: u32,
    /// Of folders.
    pub folder: u32,
}

enum Temporary {
    Unnamed(File),
    Named(NamedTempFile),
}

impl Temporary {
    fn file(&self) -> &File {
        match self {
            Temporary::Unnamed(file) => file,
            Temporary::Named(file) => file.as_file(),
        }
    }
}

/// Makes `bytes` the durable content of `folder/file_name`, or finds that it already is.
///
/// Read from top to bottom; each step says what a crash right after it leaves behind.
pub(super) fn publish(
    folder: &Path,
    file_name: &str,
    bytes: &[u8],
    modes: Modes,
    abilities: &Abilities,
    observer: Option<&dyn SyncObserver>,
) -> io::Result<Outcome> {
    let reached = |point| observer.map_or(Ok(()), |observer| observer.reached(point));
    let target = folder.join(file_name);
    // Nothing is written for an object that is already there.
    if target.try_exists()? {
        return settle_existing(folder, &target, bytes);
    }

    // A crash leaves an unnamed file, which the file system frees by itself; where it has none, a
    // named one, which listings pass over and `remove_leftovers` removes.
    let temporary = create(folder, modes, abilities)?;
    reached(SyncPoint::Created)?;

    // A crash leaves the same. Any error from here on, a full disk above all, drops `temporary`,
    // which removes it.
    temporary.file().write_all(bytes)?;
    set_mode(temporary.file(), modes.file)?;
    reached(SyncPoint::Written)?;

    // A crash leaves the same: the bytes are safe, but nothing leads to them. After a failed sync
    // the file is given up, never synced again: the kernel may have dropped the pages.
    sync(temporary.file())?;
    reached(SyncPoint::FileSynced)?;

    // The name appears in one step and only if it is free. A crash leaves the whole object or, if
    // the folder had not reached the disk yet, nothing.
    match link(&temporary, &target) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return settle_existing(folder, &target, bytes);
        }
        Err(_) if matches!(temporary, Temporary::Unnamed(_)) => {
            // Unnamed files that cannot be linked (no /proc, some network file systems) are of no
            // use: once more with a named one, and with named ones from now on.
            abilities.lacks_unnamed_files.store(true, Ordering::Relaxed);
            drop(temporary);
            return publish(folder, file_name, bytes, modes, abilities, observer);
        }
        Err(error) => return Err(error),
    }
    reached(SyncPoint::Published)?;

    // From here on the object survives a loss of power. The temporary name goes first, so that
    // one sync covers both.
    drop(temporary);
    sync_folder(folder)?;
    reached(SyncPoint::FolderSynced)?;
    Ok(Outcome::Durable)
}

/// Makes a folder inside an existing one, durably. One that exists is left as it is.
pub(super) fn make_folder(folder: &Path, modes: Modes) -> io::Result<()> {
    match DirBuilder::new().mode(modes.folder).create(folder) {
        Ok(()) => folder.parent().map_or(Ok(()), sync_folder),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// Makes the names in a folder durable.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    // An empty path is the parent of a relative one: the working directory.
    let folder = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    };
    sync(&File::open(folder)?)
}

/// Opens a file for reading. Never blocks, whatever somebody put at the path.
pub(crate) fn open_read(path: &Path) -> io::Result<(File, u64)> {
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = fs::OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "not a regular file",
        ));
    }
    Ok((file, metadata.len()))
}

fn create(folder: &Path, modes: Modes, abilities: &Abilities) -> io::Result<Temporary> {
    if !abilities.lacks_unnamed_files.load(Ordering::Relaxed) {
        let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
        match rustix::fs::openat(CWD, folder, flags, Mode::from_raw_mode(modes.file)) {
            Ok(file) => return Ok(Temporary::Unnamed(file.into())),
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL | Errno::NOSYS) => {
                abilities.lacks_unnamed_files.store(true, Ordering::Relaxed);
            }
            Err(error) => return Err(error.into()),
        }
    }
    let named = tempfile::Builder::new()
        .prefix(TEMPORARY_PREFIX)
        .tempfile_in(folder)?;
    Ok(Temporary::Named(named))
}

fn link(temporary: &Temporary, target: &Path) -> io::Result<()> {
    match temporary {
        Temporary::Unnamed(file) => {
            let source = format!("/proc/self/fd/{}", file.as_raw_fd());
            rustix::fs::linkat(CWD, source, CWD, target, AtFlags::SYMLINK_FOLLOW)?;
            Ok(())
        }
        Temporary::Named(file) => {
            match rustix::fs::linkat(CWD, file.path(), CWD, target, AtFlags::empty()) {
                Err(
                    Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL | Errno::MLINK,
                ) => rename_new(file.path(), target),
                other => Ok(other?),
            }
        }
    }
}

/// Publishes on a file system without hard links.
pub(super) fn rename_new(source: &Path, target: &Path) -> io::Result<()> {
    match rustix::fs::renameat_with(CWD, source, CWD, target, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
            // Nothing better is left here than to look first. Between the look and the rename
            // somebody could only put the same object: its name is the hash of its bytes.
            if target.try_exists()? {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            fs::rename(source, target)
        }
        other => Ok(other?),
    }
}

/// The name is taken: fine if by the same bytes, once they are surely durable. Another writer may
/// have linked the file and not have synced the folder yet.
fn settle_existing(folder: &Path, target: &Path, bytes: &[u8]) -> io::Result<Outcome> {
    let (file, size) = open_read(target)?;
    if size != bytes.len() as u64 || !same_bytes(&file, bytes)? {
        return Ok(Outcome::OtherBytes);
    }
    sync(&file)?;
    sync_folder(folder)?;
    Ok(Outcome::Durable)
}

fn same_bytes(file: &File, bytes: &[u8]) -> io::Result<bool> {
    let mut block = vec![0; COMPARE_BLOCK_BYTES.min(bytes.len())];
    let mut offset = 0;
    for expected in bytes.chunks(COMPARE_BLOCK_BYTES) {
        let found = &mut block[..expected.len()];
        match file.read_exact_at(found, offset) {
            Ok(()) if *found == *expected => offset += expected.len() as u64,
            Ok(()) => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

/// Read-only files guard against accidents, no more: a file system that knows no permissions
/// (a memory stick, a network share) is no reason to fail.
fn set_mode(file: &File, mode: u32) -> io::Result<()> {
    match rustix::fs::fchmod(file, Mode::from_raw_mode(mode)) {
        Ok(()) | Err(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Syncs, where the file system knows what that is.
fn sync(file: &File) -> io::Result<()> {
    match rustix::fs::fsync(file) {
        Ok(()) | Err(Errno::OPNOTSUPP | Errno::INVAL) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
