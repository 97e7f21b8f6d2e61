//! Files on their way in: written before they have a name, or before their name is their own.

use std::fs::File;
use std::io::{self, Write};
use std::num::NonZeroU64;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::atomic::Ordering;

use rustix::fs::{Advice, AtFlags, CWD, Mode, OFlags, RenameFlags, fadvise};
use rustix::io::Errno;

use super::path::{check_file, split};
use super::real::RealDisk;
use super::{Linked, Unnamed};

/// Objects are never written again once they have a name.
const OBJECT_MODE: Mode = Mode::from_raw_mode(0o400);

/// How many temporary names are tried, should crashed processes have left theirs.
const MAX_NAMES_TRIED: usize = 10_000;

/// A file in `incoming/`, removed when it is dropped unless it went somewhere else.
#[derive(Debug)]
pub(super) struct Incoming<'a> {
    disk: &'a RealDisk,
    file: File,
    /// Its name in `incoming/`, where the file system has no unnamed files.
    temporary: Option<String>,
    /// Bytes that were written.
    written: u64,
    /// Bytes of them that the system was told to bring to the disk.
    started: u64,
}

/// So many bytes are brought to the disk together, while more of the object arrives.
const PORTION_BYTES: u64 = 4 * 1024 * 1024;

impl<'a> Incoming<'a> {
    /// A file without a name, or with one that nobody looks at.
    pub(super) fn create(disk: &'a RealDisk) -> io::Result<Incoming<'a>> {
        if !disk.lacks_unnamed_files.load(Ordering::Relaxed) {
            let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
            match rustix::fs::openat(&disk.incoming, ".", flags, OBJECT_MODE) {
                Ok(file) => {
                    return Ok(Incoming {
                        disk,
                        file: file.into(),
                        temporary: None,
                        written: 0,
                        started: 0,
                    });
                }
                Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL | Errno::NOSYS) => {
                    disk.lacks_unnamed_files.store(true, Ordering::Relaxed);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Incoming::create_named(disk, OBJECT_MODE)
    }

    /// A file with a temporary name.
    pub(super) fn create_named(disk: &'a RealDisk, mode: Mode) -> io::Result<Incoming<'a>> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        for _ in 0..MAX_NAMES_TRIED {
            let number = disk.next_temporary.fetch_add(1, Ordering::Relaxed);
            let name = format!("{}-{number}", std::process::id());
            match rustix::fs::openat(&disk.incoming, &name, flags, mode) {
                Ok(file) => {
                    return Ok(Incoming {
                        disk,
                        file: file.into(),
                        temporary: Some(name),
                        written: 0,
                        started: 0,
                    });
                }
                Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Gives the file another name in place of whatever had it. Only for files with a temporary name.
    pub(super) fn rename_over(mut self, directory: BorrowedFd<'_>, name: &str) -> io::Result<()> {
        let temporary = self
            .temporary
            .as_deref()
            .ok_or(io::ErrorKind::Unsupported)?;
        rustix::fs::renameat(&self.disk.incoming, temporary, directory, name)?;
        self.temporary = None;
        Ok(())
    }

    fn link_named(&mut self, directory: BorrowedFd<'_>, name: &str) -> rustix::io::Result<()> {
        let Some(temporary) = self.temporary.as_deref() else {
            return link_unnamed(&self.file, directory, name);
        };
        let incoming = &self.disk.incoming;
        match rustix::fs::linkat(incoming, temporary, directory, name, AtFlags::empty()) {
            Err(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {}
            other => return other,
        }
        // No hard links here. A file system that can neither link nor rename without overwriting
        // is none for a vault: the error goes to the caller.
        let flags = RenameFlags::NOREPLACE;
        rustix::fs::renameat_with(incoming, temporary, directory, name, flags)?;
        self.temporary = None;
        Ok(())
    }
}

fn link_unnamed(file: &File, directory: BorrowedFd<'_>, name: &str) -> rustix::io::Result<()> {
    let source = format!("/proc/self/fd/{}", file.as_raw_fd());
    match rustix::fs::linkat(CWD, source, directory, name, AtFlags::SYMLINK_FOLLOW) {
        // Without /proc there is another way, which older kernels keep for root.
        Err(Errno::NOENT) => rustix::fs::linkat(file, "", directory, name, AtFlags::EMPTY_PATH),
        other => other,
    }
}

impl Write for Incoming<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.written += count as u64;
        if let Some(length) = NonZeroU64::new(self.written - self.started)
            && length.get() >= PORTION_BYTES
        {
            // Begins writing out what nobody will read soon, so that the sync at the end has less to
            // wait for. It is a hint: where it fails, the sync does everything.
            let _ = fadvise(&self.file, self.started, Some(length), Advice::DontNeed);
            self.started = self.written;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Unnamed for Incoming<'_> {
    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_all()
    }

    fn link(mut self: Box<Self>, path: &str) -> io::Result<Linked> {
        check_file(path)?;
        let (directory, name) = split(path);
        let directory = self.disk.beneath.directory(directory)?;
        match self.link_named(std::os::fd::AsFd::as_fd(&directory), name) {
            Ok(()) => Ok(Linked::New),
            Err(Errno::EXIST) => Ok(Linked::Existed),
            Err(error) => Err(error.into()),
        }
    }
}

impl Drop for Incoming<'_> {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary {
            // What cannot be removed now is removed as a leftover at the next start.
            let _ = rustix::fs::unlinkat(&self.disk.incoming, temporary, AtFlags::empty());
        }
    }
}
