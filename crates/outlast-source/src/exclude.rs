//! What is left out of a file tree.

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use outlast_format::Node;
use rustix::fs::{FileType, Mode, OFlags};

use crate::SourceError;
use crate::pattern::PatternList;

/// First bytes of a file `CACHEDIR.TAG` (Cache Directory Tagging Specification).
const CACHEDIR_TAG: &[u8] = b"Signature: 8a477f597d28d172789f06886806bc55";

/// A file whose presence says that its directory is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Marker {
    name: OsString,
    header: Vec<u8>,
}

/// What is left out of a file tree.
#[derive(Debug, Clone, Default)]
pub struct Excludes {
    patterns: PatternList,
    /// A list of its own: what one list takes back, the other may still leave out.
    patterns_of_any_case: PatternList,
    markers: Vec<Marker>,
    paths: HashSet<PathBuf>,
    bytes_max: Option<u64>,
    /// For each target, the device to stay on; `None` for all.
    devices: Option<HashMap<PathBuf, u64>>,
}

impl Excludes {
    /// Adds a pattern; paths on disk are matched. Patterns with `fold_case` form a list of their own.
    pub fn add_pattern(&mut self, pattern: &[u8], fold_case: bool) -> Result<(), SourceError> {
        if fold_case {
            self.patterns_of_any_case.push(pattern, true)
        } else {
            self.patterns.push(pattern, false)
        }
    }

    /// Leaves out the content of directories that hold a file of this name which begins with
    /// `header`; the marker itself is kept.
    pub fn add_marker(&mut self, name: &str, header: &[u8]) -> Result<(), SourceError> {
        if name.is_empty() || name.contains('/') {
            return Err(SourceError::Invalid(format!(
                "{name:?} is not the name of a file"
            )));
        }
        self.markers.push(Marker {
            name: name.into(),
            header: header.to_vec(),
        });
        Ok(())
    }

    /// Leaves out directories tagged as caches, but for the tag.
    pub fn add_caches(&mut self) {
        self.markers.push(Marker {
            name: "CACHEDIR.TAG".into(),
            header: CACHEDIR_TAG.to_vec(),
        });
    }

    /// Leaves out exactly this path and all beneath it, even where it was named as a target.
    pub fn add_path(&mut self, path: PathBuf) {
        self.paths.insert(path);
    }

    /// Leaves out files larger than this.
    pub fn set_bytes_max(&mut self, bytes_max: u64) {
        self.bytes_max = Some(bytes_max);
    }

    /// Stays, beneath each target, on the target's file system.
    pub fn set_one_file_system(&mut self) {
        self.devices = Some(HashMap::new());
    }

    /// A target's own file system is one to stay on.
    pub(crate) fn allow_device_of(&mut self, target: &Path) {
        if let Some(devices) = &mut self.devices
            && let Ok(stat) = rustix::fs::lstat(target)
        {
            devices.insert(target.to_owned(), stat.st_dev);
        }
    }

    /// Whether exactly this path is left out.
    pub(crate) fn excludes_path(&self, path: &Path) -> bool {
        self.paths.contains(path)
    }

    /// Whether a path is left out for its name or for a marker beside it.
    pub(crate) fn excludes_name(&self, path: &Path) -> bool {
        let marked = |marker: &Marker| {
            path.file_name() != Some(&marker.name)
                && path.parent().is_some_and(|parent| holds(parent, marker))
        };
        self.matches(path) || self.markers.iter().any(marked)
    }

    fn matches(&self, path: &Path) -> bool {
        self.patterns.matches(path) || self.patterns_of_any_case.matches(path)
    }

    /// Takes away the names that are left out for themselves or for a marker.
    pub(crate) fn retain(&self, directory: &Path, names: &mut Vec<Vec<u8>>) {
        for marker in &self.markers {
            if holds(directory, marker) {
                names.retain(|name| *name == marker.name.as_bytes());
            }
        }
        let no_pattern = self.patterns.is_empty() && self.patterns_of_any_case.is_empty();
        if no_pattern && self.paths.is_empty() {
            return;
        }
        let mut path = directory.join("x");
        names.retain(|name| {
            path.set_file_name(OsStr::from_bytes(name));
            !self.excludes_path(&path) && (no_pattern || !self.matches(&path))
        });
    }

    /// Whether an entry is left out for what it is.
    pub(crate) fn excludes_node(&self, path: &Path, node: &Node) -> bool {
        if node.is_file() && self.bytes_max.is_some_and(|max| node.size > max) {
            return true;
        }
        if self.is_allowed(path, node.device_id) {
            return false;
        }
        // The directory on which something is mounted is kept, empty.
        let is_mount_point = || {
            let parent = path.parent().unwrap_or(path);
            rustix::fs::lstat(parent).is_ok_and(|stat| self.is_allowed(parent, stat.st_dev))
        };
        !(node.is_directory() && is_mount_point())
    }

    /// Whether something on this device may be included there: the nearest target above decides.
    fn is_allowed(&self, path: &Path, device: u64) -> bool {
        let Some(devices) = &self.devices else {
            return true;
        };
        let nearest = path.ancestors().find_map(|path| devices.get(path));
        nearest.is_none_or(|allowed| *allowed == device)
    }
}

/// Whether a directory holds the marker. The marker is opened without blocking, since it may be a fifo.
fn holds(directory: &Path, marker: &Marker) -> bool {
    let tag = directory.join(&marker.name);
    if marker.header.is_empty() {
        return tag.symlink_metadata().is_ok();
    }
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let Ok(opened) = rustix::fs::open(&tag, flags, Mode::empty()) else {
        return false;
    };
    let is_file = rustix::fs::fstat(&opened)
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile);
    let mut found = vec![0; marker.header.len()];
    is_file && File::from(opened).read_exact(&mut found).is_ok() && found == marker.header
}
