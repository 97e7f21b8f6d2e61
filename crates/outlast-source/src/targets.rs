//! Where the targets of a backup appear in the tree of the snapshot.
//!
//! Each target is shown at its absolute path, with the directories above it; a relative one as it was
//! written, without what leads upwards. The directories above a target exist in the snapshot only as
//! far as they lead there. What was named by the user is kept whatever patterns say.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use crate::SourceError;
use crate::file_tree::list;
use crate::metadata::Links;

/// A target, or a directory that targets lie beneath.
#[derive(Debug, Default)]
pub(crate) struct Entry {
    /// Where it is on disk.
    pub(crate) disk_path: PathBuf,
    /// What is in it, as far as it has a number of its own.
    pub(crate) children: BTreeMap<Vec<u8>, usize>,
    /// It is a target or beneath one: all that is in it belongs to the snapshot.
    pub(crate) is_whole: bool,
    /// The user named it.
    pub(crate) is_named: bool,
}

impl Entry {
    /// Whether patterns do not apply to it.
    pub(crate) fn is_kept(&self) -> bool {
        self.is_named || !self.children.is_empty()
    }
}

/// All targets. Entries are known by their numbers; 0 is the root.
#[derive(Debug)]
pub(crate) struct Targets {
    entries: Vec<Entry>,
    paths: Vec<PathBuf>,
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

impl Targets {
    /// Relative targets are taken from the current directory.
    pub(crate) fn new(targets: &[PathBuf]) -> Result<Self, SourceError> {
        let mut all = Self {
            entries: vec![Entry::default()],
            paths: Vec::new(),
        };
        let here = if targets.iter().all(|target| target.is_absolute()) {
            PathBuf::new()
        } else {
            std::env::current_dir().map_err(|source| SourceError::Io {
                operation: "find out",
                path: PathBuf::from("."),
                source,
            })?
        };
        for target in targets {
            if target.as_os_str().is_empty() {
                return Err(SourceError::Invalid(
                    "the empty path names no file".to_owned(),
                ));
            }
            let target = clean(target);
            let path = clean(&here.join(&target));
            if !all.paths.contains(&path) {
                all.paths.push(path);
            }
            let is_directory_name = |part| matches!(part, Component::Normal(_));
            if target.components().any(is_directory_name) {
                all.add(&here, &target, true);
                continue;
            }
            // A target that has no name of its own (`.`, `..`, `/`) stands for all that is in it.
            for name in list(&target, Links::Show)? {
                all.add(&here, &target.join(OsStr::from_bytes(&name)), false);
            }
        }
        Ok(all)
    }

    /// The absolute paths of the targets, each once.
    pub(crate) fn paths(&self) -> &[PathBuf] {
        &self.paths
    }

    pub(crate) fn get(&self, number: Option<usize>) -> Option<&Entry> {
        self.entries.get(number?)
    }

    /// Whether a path on disk is a target or beneath one.
    pub(crate) fn cover(&self, path: &Path) -> bool {
        self.paths.iter().any(|target| path.starts_with(target))
    }

    fn add(&mut self, here: &Path, target: &Path, is_named: bool) {
        let mut prefix = PathBuf::new();
        let mut at = 0;
        for component in target.components() {
            prefix.push(component);
            if let Component::Normal(name) = component {
                at = self.child(at, name.as_bytes(), clean(&here.join(&prefix)));
            }
        }
        self.entries[at].is_named |= is_named;
        let mut whole = vec![at];
        while let Some(at) = whole.pop() {
            self.entries[at].is_whole = true;
            whole.extend(self.entries[at].children.values());
        }
    }

    /// The child of this name. Where another directory has the name already (`a` and `../a`), a
    /// number is appended.
    fn child(&mut self, parent: usize, name: &[u8], disk_path: PathBuf) -> usize {
        let mut unique = name.to_vec();
        for number in 1.. {
            match self.entries[parent].children.get(&unique) {
                Some(&child) if self.entries[child].disk_path == disk_path => return child,
                Some(_) => unique = [name, format!("-{number}").as_bytes()].concat(),
                None => break,
            }
        }
        let child = self.entries.len();
        let is_whole = self.entries[parent].is_whole;
        self.entries.push(Entry {
            disk_path,
            is_whole,
            ..Entry::default()
        });
        self.entries[parent].children.insert(unique, child);
        child
    }
}
