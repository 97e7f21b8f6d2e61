//! What is left out of a file tree.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use outlast_format::Node;

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
    markers: Vec<Marker>,
    paths: HashSet<PathBuf>,
    bytes_max: Option<u64>,
    /// Devices that are stayed on; `None` for all.
    devices: Option<HashSet<u64>>,
}

impl Excludes {
    /// Adds a pattern; paths on disk are matched.
    pub fn add_pattern(&mut self, pattern: &[u8], fold_case: bool) -> Result<(), SourceError> {
        self.patterns.push(pattern, fold_case)
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

    /// Leaves out exactly this path and all beneath it.
    pub fn add_path(&mut self, path: PathBuf) {
        self.paths.insert(path);
    }

    /// Leaves out files larger than this.
    pub fn set_bytes_max(&mut self, bytes_max: u64) {
        self.bytes_max = Some(bytes_max);
    }

    /// Stays on the file systems of the targets.
    pub fn set_one_file_system(&mut self) {
        self.devices = Some(HashSet::new());
    }

    /// A target's own file system is one to stay on.
    pub(crate) fn allow_device_of(&mut self, target: &Path) {
        if let Some(devices) = &mut self.devices
            && let Ok(stat) = rustix::fs::lstat(target)
        {
            devices.insert(stat.st_dev);
        }
    }

    /// Whether a path is left out whatever it is.
    pub(crate) fn excludes_name(&self, path: &Path) -> bool {
        self.paths.contains(path)
            || self.patterns.matches(path)
            || self.markers.iter().any(|marker| is_marked(path, marker))
    }

    /// Whether an entry is left out for what it is.
    pub(crate) fn excludes_node(&self, path: &Path, node: &Node) -> Result<bool, SourceError> {
        if node.is_file() && self.bytes_max.is_some_and(|max| node.size > max) {
            return Ok(true);
        }
        let Some(devices) = &self.devices else {
            return Ok(false);
        };
        if devices.contains(&node.device_id) {
            return Ok(false);
        }
        // The directory on which something is mounted is kept, empty.
        let parent = path.parent().unwrap_or(path);
        let stat = rustix::fs::lstat(parent).map_err(|error| SourceError::Io {
            operation: "lstat",
            path: parent.to_owned(),
            source: error.into(),
        })?;
        Ok(!(node.is_directory() && devices.contains(&stat.st_dev)))
    }
}

fn is_marked(path: &Path, marker: &Marker) -> bool {
    if path.file_name() == Some(&marker.name) {
        return false;
    }
    let Some(parent) = path.parent() else {
        return false;
    };
    let tag = parent.join(&marker.name);
    if marker.header.is_empty() {
        return tag.symlink_metadata().is_ok();
    }
    let mut found = vec![0; marker.header.len()];
    let read = File::open(tag).and_then(|mut file| file.read_exact(&mut found));
    read.is_ok() && found == marker.header
}
