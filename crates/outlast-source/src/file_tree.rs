//! File trees as a source.
//!
//! Symbolic links are never followed, but for the directories above a target, which are shown as what
//! they lead to.

use std::ffi::{CStr, OsStr};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use outlast_format::Node;
use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags, StatxAttributes, StatxFlags};
use rustix::io::Errno;

use crate::exclude::Excludes;
use crate::metadata::{Links, MetadataReader};
use crate::targets::Targets;
use crate::{Content, Found, Place, Source, SourceError};

/// What is told about entries that are backed up though something about them could not be read.
pub type Warn = Box<dyn Fn(&Path, &io::Error) + Send + Sync>;

/// How a file tree is read.
#[derive(Default)]
pub struct FileTreeOptions {
    /// What is left out.
    pub excludes: Excludes,
    /// Keep access times; otherwise the modification time stands in for them.
    pub with_atime: bool,
    /// Where warnings go.
    pub warn: Option<Warn>,
}

/// One or more files and directories with all that is beneath them.
pub struct FileTree {
    targets: Targets,
    reader: MetadataReader,
    excludes: Excludes,
    warn: Option<Warn>,
}

impl std::fmt::Debug for FileTree {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FileTree({:?})", self.targets.paths())
    }
}

impl FileTree {
    /// A tree of these targets. Relative ones are taken from the current directory.
    pub fn new(targets: &[PathBuf], options: FileTreeOptions) -> Result<Self, SourceError> {
        let FileTreeOptions {
            mut excludes,
            with_atime,
            warn,
        } = options;
        let targets = Targets::new(targets)?;
        for path in targets.paths() {
            excludes.allow_device_of(path);
        }
        Ok(Self {
            targets,
            reader: MetadataReader::new(with_atime),
            excludes,
            warn,
        })
    }

    /// The absolute paths of the targets, for the snapshot.
    pub fn paths(&self) -> &[PathBuf] {
        self.targets.paths()
    }

    fn warn(&self, path: &Path, error: &io::Error) {
        if let Some(warn) = &self.warn {
            warn(path, error);
        }
    }

    /// A directory that something mounted shows a second time beneath itself would never end.
    fn check_for_loop(&self, path: &Path, node: &Node) -> Result<(), SourceError> {
        let (flags, fields) = (AtFlags::SYMLINK_NOFOLLOW, StatxFlags::empty());
        let is_mount = rustix::fs::statx(CWD, path, flags, fields)
            .is_ok_and(|found| found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT));
        if !is_mount {
            return Ok(());
        }
        let above = path.ancestors().skip(1);
        for ancestor in above.take_while(|ancestor| self.targets.cover(ancestor)) {
            let same = rustix::fs::lstat(ancestor)
                .is_ok_and(|stat| stat.st_dev == node.device_id && stat.st_ino == node.inode);
            if same {
                return Err(SourceError::Invalid(format!(
                    "{} is {} once more, mounted there; it is left out",
                    path.display(),
                    ancestor.display()
                )));
            }
        }
        Ok(())
    }
}

/// Opens without leaving a trace in the access time, which only the owner may.
fn open_quietly(path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    match rustix::fs::open(path, flags | OFlags::NOATIME, Mode::empty()) {
        Err(Errno::PERM) => rustix::fs::open(path, flags, Mode::empty()),
        result => result,
    }
}

fn failed(operation: &'static str, path: &Path, error: Errno) -> SourceError {
    match error {
        // A symbolic link, or no directory, in place of what was found a moment ago.
        Errno::LOOP | Errno::NOTDIR | Errno::NXIO => SourceError::Changed {
            path: path.to_owned(),
            what: "its type",
        },
        error => SourceError::Io {
            operation,
            path: path.to_owned(),
            source: error.into(),
        },
    }
}

/// The names in a directory, sorted.
pub(crate) fn list(path: &Path, links: Links) -> Result<Vec<Vec<u8>>, SourceError> {
    let failed = |error| failed("list", path, error);
    let follow = match links {
        Links::Show => OFlags::NOFOLLOW,
        Links::Follow => OFlags::empty(),
    };
    let opened = open_quietly(path, OFlags::DIRECTORY | follow).map_err(failed)?;
    let mut names = Vec::new();
    for entry in Dir::new(opened).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = CStr::to_bytes(entry.file_name());
        if name != b"." && name != b".." {
            names.push(name.to_vec());
        }
    }
    names.sort_unstable();
    Ok(names)
}

impl Source for FileTree {
    fn root(&self) -> Place {
        Place {
            path: PathBuf::from("/"),
            number: Some(0),
            disk_path: PathBuf::from("/"),
        }
    }

    fn names(&self, place: &Place) -> Result<Vec<Vec<u8>>, SourceError> {
        let known = self.targets.get(place.number);
        if let Some(entry) = known
            && !entry.is_whole
        {
            return Ok(entry.children.keys().cloned().collect());
        }
        let links = match known {
            Some(entry) if !entry.children.is_empty() => Links::Follow,
            _ => Links::Show,
        };
        let mut names = list(&place.disk_path, links)?;
        self.excludes.retain(&place.disk_path, &mut names);
        // Targets inside of another target are kept whatever patterns say.
        if let Some(entry) = known
            && !entry.children.is_empty()
        {
            names.extend(entry.children.keys().cloned());
            names.sort_unstable();
            names.dedup();
        }
        Ok(names)
    }

    fn look(&self, place: &Place, name: &[u8]) -> Result<Option<Found>, SourceError> {
        let text = OsStr::from_bytes(name);
        let parent = self.targets.get(place.number);
        let number = parent.and_then(|entry| entry.children.get(name).copied());
        let known = self.targets.get(number);
        let disk_path = known.map_or_else(
            || place.disk_path.join(text),
            |entry| entry.disk_path.clone(),
        );
        let is_above_target = known.is_some_and(|entry| !entry.is_whole);
        let is_directory = known.is_some_and(|entry| !entry.children.is_empty());
        let is_kept = known.is_some_and(super::targets::Entry::is_kept);
        if known.is_some()
            && !is_above_target
            && (self.excludes.excludes_path(&disk_path)
                || !is_kept && self.excludes.excludes_name(&disk_path))
        {
            return Ok(None);
        }
        let warn = |path: &Path, error: &io::Error| self.warn(path, error);
        let links = if is_directory {
            Links::Follow
        } else {
            Links::Show
        };
        let node = match self.reader.look(&disk_path, name, links, &warn) {
            // It was removed since its directory was listed. Nobody asked for it by name.
            Err(error) if error.is_not_found() && !is_kept && !is_above_target => return Ok(None),
            result => result?,
        };
        if !is_above_target {
            if !is_kept && self.excludes.excludes_node(&disk_path, &node) {
                return Ok(None);
            }
            if node.is_directory() {
                self.check_for_loop(&disk_path, &node)?;
            }
        }
        let path = place.path.join(text);
        let next = Place {
            path: path.clone(),
            number,
            disk_path: disk_path.clone(),
        };
        let place = node.is_directory().then_some(next);
        Ok(Some(Found {
            path,
            disk_path,
            node,
            place,
        }))
    }

    fn open(&self, found: &Found) -> Result<Box<dyn Content>, SourceError> {
        let path = &found.disk_path;
        // Without blocking, since the name may have become a fifo meanwhile.
        let opened = open_quietly(path, OFlags::NOFOLLOW | OFlags::NOCTTY)
            .map_err(|error| failed("open", path, error))?;
        let file = File::from(opened);
        let stat = rustix::fs::fstat(&file).map_err(|error| failed("fstat", path, error))?;
        let mut node = self.reader.node(&found.node.name, &stat);
        if node.kind != found.node.kind {
            return Err(SourceError::Changed {
                path: path.clone(),
                what: "its type",
            });
        }
        node.extended_attributes
            .clone_from(&found.node.extended_attributes);
        node.device_id = found.node.device_id;
        let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::Sequential);
        Ok(Box::new(OpenedFile { file, node }))
    }
}

struct OpenedFile {
    file: File,
    node: Node,
}

impl Read for OpenedFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read(buffer)
    }
}

impl Content for OpenedFile {
    fn node(&mut self) -> Result<Node, SourceError> {
        Ok(self.node.clone())
    }
}
