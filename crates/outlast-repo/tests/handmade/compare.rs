//! Comparing two directories in everything that Linux keeps.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use outlast_object::hash;

/// All entries beneath a directory, each with all that is to be compared. Hard links are told by the
/// first name of their file.
pub fn picture(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut entries = BTreeMap::new();
    let mut first_names: BTreeMap<(u64, u64), PathBuf> = BTreeMap::new();
    let mut stack = vec![PathBuf::new()];
    let mut paths = Vec::new();
    while let Some(path) = stack.pop() {
        for entry in std::fs::read_dir(root.join(&path)).unwrap() {
            let entry = entry.unwrap();
            let child = path.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                stack.push(child.clone());
            }
            paths.push(child);
        }
    }
    paths.sort();
    for path in paths {
        let full = root.join(&path);
        let metadata = std::fs::symlink_metadata(&full).unwrap();
        let mut text = format!(
            "mode {:o} uid {} gid {} mtime {}.{:09}",
            metadata.mode(),
            metadata.uid(),
            metadata.gid(),
            metadata.mtime(),
            metadata.mtime_nsec()
        );
        if metadata.is_file() {
            let content = std::fs::read(&full).unwrap();
            text += &format!(" size {} content {}", content.len(), hash(&content).short());
            let key = (metadata.dev(), metadata.ino());
            let first = first_names.entry(key).or_insert_with(|| path.clone());
            text += &format!(" links {} first {}", metadata.nlink(), first.display());
        } else if metadata.is_symlink() {
            text += &format!(" to {:?}", std::fs::read_link(&full).unwrap());
        } else if !metadata.is_dir() {
            text += &format!(" device {}", metadata.rdev());
        }
        text += &xattrs(&full);
        entries.insert(path, text);
    }
    entries
}

fn xattrs(path: &Path) -> String {
    let mut list = vec![0; 65536];
    let length = rustix::fs::llistxattr(path, &mut list[..]).unwrap_or(0);
    let mut found = Vec::new();
    for name in list[..length].split(|byte| *byte == 0) {
        if !name.is_empty() {
            let mut value = vec![0; 65536];
            let name = std::ffi::OsStr::from_bytes(name);
            let length = rustix::fs::lgetxattr(path, name, &mut value[..]).unwrap();
            found.push(format!(" {name:?}={:?}", &value[..length]));
        }
    }
    found.sort();
    found.concat()
}

/// Fails with the first differences, if there are any.
pub fn assert_same(expected: &Path, found: &Path) {
    assert_same_but(expected, found, &[]);
}

/// As [`assert_same`], but for some paths.
pub fn assert_same_but(expected: &Path, found: &Path, but: &[&str]) {
    let (mut expected, mut found) = (picture(expected), picture(found));
    for path in but {
        expected.remove(Path::new(path));
        found.remove(Path::new(path));
    }
    let mut differences = Vec::new();
    for path in expected.keys().chain(found.keys()) {
        let (left, right) = (expected.get(path), found.get(path));
        if left != right {
            differences.push(format!(
                "{path:?}:\n  expected {left:?}\n  found    {right:?}"
            ));
        }
    }
    differences.dedup();
    differences.truncate(10);
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    assert!(!expected.is_empty());
}
