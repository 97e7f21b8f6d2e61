//! Opening files below a directory, without ever leaving it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::path;

/// How often an opening is tried again that the kernel could not finish safely because something
/// was renamed meanwhile.
const MAX_ATTEMPTS: usize = 8;

/// A directory below which everything stays.
#[derive(Debug)]
pub(super) struct Beneath {
    root: OwnedFd,
    lacks_openat2: AtomicBool,
}

impl Beneath {
    pub(super) fn new(root: OwnedFd) -> Beneath {
        Beneath {
            root,
            lacks_openat2: AtomicBool::new(false),
        }
    }

    pub(super) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// Opens a checked path; an empty one is the root itself. Never follows a symbolic link and
    /// never waits, whatever somebody put there.
    pub(super) fn open(&self, path: &str, flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
        let path = if path.is_empty() { "." } else { path };
        let mut flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        // Looking never waits, and takes no flag to say so.
        if !flags.contains(OFlags::PATH) {
            flags |= OFlags::NONBLOCK;
        }
        if !self.lacks_openat2.load(Ordering::Relaxed) {
            for _ in 0..MAX_ATTEMPTS {
                let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
                match rustix::fs::openat2(&self.root, path, flags, mode, resolve) {
                    Err(Errno::AGAIN | Errno::INTR) => {}
                    // Old kernels do not have the call, and some containers refuse it.
                    Err(Errno::NOSYS | Errno::PERM) => {
                        let opened = self.open_by_parts(path, flags, mode)?;
                        self.lacks_openat2.store(true, Ordering::Relaxed);
                        return Ok(opened);
                    }
                    other => return Ok(other?),
                }
            }
        }
        self.open_by_parts(path, flags, mode)
    }

    /// The same without `openat2`: one part at a time, none of which may be a link.
    fn open_by_parts(&self, path: &str, flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
        let (directory, name) = path::split(path);
        let mut held: Option<OwnedFd> = None;
        let step = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        for part in directory.split('/').filter(|part| !part.is_empty()) {
            let at = held.as_ref().map_or(self.root.as_fd(), OwnedFd::as_fd);
            held = Some(rustix::fs::openat(at, part, step, Mode::empty())?);
        }
        let at = held.as_ref().map_or(self.root.as_fd(), OwnedFd::as_fd);
        Ok(rustix::fs::openat(at, name, flags, mode)?)
    }

    /// Opens a directory.
    pub(super) fn directory(&self, path: &str) -> io::Result<OwnedFd> {
        self.open(path, OFlags::DIRECTORY | OFlags::RDONLY, Mode::empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn no_way_of_opening_follows_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        fs::create_dir_all(root.join("inside")).unwrap();
        fs::write(folder.path().join("secret"), b"x").unwrap();
        fs::write(root.join("inside/file"), b"x").unwrap();
        symlink("../secret", root.join("link")).unwrap();
        symlink("..", root.join("up")).unwrap();
        for lacks in [false, true] {
            let beneath = Beneath::new(fs::File::open(&root).unwrap().into());
            beneath.lacks_openat2.store(lacks, Ordering::Relaxed);
            let open = |path| beneath.open(path, OFlags::RDONLY, Mode::empty());
            open("inside/file").unwrap();
            for path in ["link", "up/secret", "up/root/inside/file"] {
                assert!(open(path).is_err(), "{path}");
            }
            beneath.directory("").unwrap();
            assert!(beneath.directory("up").is_err());
        }
    }
}
