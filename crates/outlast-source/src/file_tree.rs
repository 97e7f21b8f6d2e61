//! File trees as a source.
//!
//! The tree of a snapshot shows each target at its absolute path, with the directories above it;
//! a relative target is shown as it was written. The directories above a target exist in the
//! snapshot only as far as they lead there.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use outlast_format::Node;
use rustix::fs::{Mode, OFlags};

use crate::exclude::Excludes;
use crate::metadata::MetadataReader;
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

/// A directory that is in the snapshot because targets lie beneath it, or a target.
#[derive(Debug, Default)]
struct Virtual {
    disk_path: PathBuf,
    children: BTreeMap<Vec<u8>, usize>,
    is_target: bool,
}

/// One or more files and directories with all that is beneath them.
pub struct FileTree {
    nodes: Vec<Virtual>,
    paths: Vec<PathBuf>,
    reader: MetadataReader,
    excludes: Excludes,
    warn: Option<Warn>,
}

impl std::fmt::Debug for FileTree {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FileTree({:?})", self.paths)
    }
}

/// The path without `.` and empty parts, `..` resolved in the text where something stands before it.
pub fn clean(path: &Path) -> PathBuf {
    let mut cleaned = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => match cleaned.components().next_back() {
                Some(Component::Normal(_)) => {
                    cleaned.pop();
                }
                Some(Component::RootDir) => {}
                _ => cleaned.push(".."),
            },
            other => cleaned.push(other),
        }
    }
    if cleaned.as_os_str().is_empty() {
        PathBuf::from(".")
    } else {
        cleaned
    }
}

fn absolute(path: &Path) -> Result<PathBuf, SourceError> {
    let absolute = std::path::absolute(path).map_err(|source| SourceError::Io {
        operation: "resolve",
        path: path.to_owned(),
        source,
    })?;
    Ok(clean(&absolute))
}

impl FileTree {
    /// A tree of these targets. Relative ones are taken from the current directory.
    pub fn new(targets: &[PathBuf], options: FileTreeOptions) -> Result<Self, SourceError> {
        let FileTreeOptions {
            mut excludes,
            with_atime,
            warn,
        } = options;
        let reader = MetadataReader::new(with_atime);
        let mut tree = Self {
            nodes: vec![Virtual::default()],
            paths: Vec::new(),
            reader,
            excludes: Excludes::default(),
            warn,
        };
        for target in targets {
            let cleaned = clean(target);
            let path = absolute(&cleaned)?;
            excludes.allow_device_of(&path);
            if !tree.paths.contains(&path) {
                tree.paths.push(path);
            }
            for target in expand(&cleaned)? {
                tree.add(&target)?;
            }
        }
        tree.excludes = excludes;
        Ok(tree)
    }

    /// The absolute paths of the targets, for the snapshot.
    pub fn paths(&self) -> &[PathBuf] {
        &self.paths
    }

    /// Adds a target, making the directories above it as far as they are not there.
    fn add(&mut self, target: &Path) -> Result<(), SourceError> {
        let mut prefix = PathBuf::new();
        let mut at = 0;
        let mut components = target.components().peekable();
        while let Some(component) = components.next() {
            prefix.push(component);
            let Component::Normal(name) = component else {
                continue;
            };
            if self.nodes[at].is_target {
                // A target above this one holds it already.
                return Ok(());
            }
            let disk_path = absolute(&prefix)?;
            at = self.child(at, name.as_bytes(), disk_path);
            if components.peek().is_none() {
                self.nodes[at].is_target = true;
                self.nodes[at].children.clear();
            }
        }
        Ok(())
    }

    /// The child of this name. Where another directory has the name already (`a` and `../a`), a
    /// number is appended.
    fn child(&mut self, parent: usize, name: &[u8], disk_path: PathBuf) -> usize {
        let mut unique = name.to_vec();
        for number in 1.. {
            match self.nodes[parent].children.get(&unique) {
                Some(&child) if self.nodes[child].disk_path == disk_path => return child,
                Some(_) => unique = [name, format!("-{number}").as_bytes()].concat(),
                None => break,
            }
        }
        let child = self.nodes.len();
        self.nodes.push(Virtual {
            disk_path,
            ..Virtual::default()
        });
        self.nodes[parent].children.insert(unique, child);
        child
    }

    fn warn(&self, path: &Path, error: &io::Error) {
        if let Some(warn) = &self.warn {
            warn(path, error);
        }
    }
}

/// A target that names no directory of its own (`.`, `..`, `/`) stands for all that is in it.
fn expand(target: &Path) -> Result<Vec<PathBuf>, SourceError> {
    if target
        .components()
        .any(|component| matches!(component, Component::Normal(_)))
    {
        return Ok(vec![target.to_owned()]);
    }
    let names = list(target)?;
    Ok(names
        .into_iter()
        .map(|name| target.join(OsStr::from_bytes(&name)))
        .collect())
}

fn list(path: &Path) -> Result<Vec<Vec<u8>>, SourceError> {
    let failed = |source| SourceError::Io {
        operation: "list",
        path: path.to_owned(),
        source,
    };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(path).map_err(failed)? {
        names.push(entry.map_err(failed)?.file_name().into_vec());
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
        if let Some(number) = place.number
            && let Some(node) = self.nodes.get(number)
            && !node.is_target
        {
            return Ok(node.children.keys().cloned().collect());
        }
        let mut names = list(&place.disk_path)?;
        names.retain(|name| {
            !self
                .excludes
                .excludes_name(&place.disk_path.join(OsStr::from_bytes(name)))
        });
        Ok(names)
    }

    fn look(&self, place: &Place, name: &[u8]) -> Result<Option<Found>, SourceError> {
        let text = OsStr::from_bytes(name);
        let parent = place.number.and_then(|number| self.nodes.get(number));
        let number = parent
            .filter(|node| !node.is_target)
            .and_then(|node| node.children.get(name).copied());
        let known = number.and_then(|number| self.nodes.get(number));
        let disk_path =
            known.map_or_else(|| place.disk_path.join(text), |node| node.disk_path.clone());
        let is_above_target = known.is_some_and(|node| !node.is_target);
        if !is_above_target && known.is_some() && self.excludes.excludes_name(&disk_path) {
            return Ok(None);
        }
        let warn = |path: &Path, error: &io::Error| self.warn(path, error);
        let node = self.reader.look(&disk_path, name, &warn)?;
        if !is_above_target && self.excludes.excludes_node(&disk_path, &node)? {
            return Ok(None);
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
        // Without blocking: the name may have become a fifo meanwhile.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let opened = rustix::fs::open(path, flags | OFlags::NOATIME, Mode::empty());
        let opened = match opened {
            // Only the owner may read without leaving a trace.
            Err(rustix::io::Errno::PERM) => rustix::fs::open(path, flags, Mode::empty()),
            result => result,
        };
        let failed = |operation, source: io::Error| SourceError::Io {
            operation,
            path: path.clone(),
            source,
        };
        let file = File::from(opened.map_err(|error| failed("open", error.into()))?);
        let stat = rustix::fs::fstat(&file).map_err(|error| failed("fstat", error.into()))?;
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
