//! Lines about entries and snapshots.

use std::os::unix::ffi::OsStrExt;

use outlast_repo::{StoredSnapshot, WalkEntry};

use super::units;

/// An entry as a line of `ls` and `find`.
pub struct EntryLine<'a> {
    /// The entry.
    pub entry: &'a WalkEntry,
    /// With type, permissions, owner, size and time.
    pub long: bool,
    /// With the size in units for people.
    pub human_readable: bool,
}

impl EntryLine<'_> {
    /// The line without its end. Names are in it as they are, whatever their bytes.
    pub fn bytes(&self) -> Vec<u8> {
        let (path, node) = (self.entry.path.as_os_str().as_bytes(), &self.entry.node);
        if !self.long {
            return path.to_vec();
        }
        let size = if node.is_file() { node.size } else { 0 };
        let size = if self.human_readable {
            units::bytes(size)
        } else {
            format!("{size:>6}")
        };
        let mut line = format!(
            "{} {:>5} {:>5} {size} {} ",
            node.mode.to_go_string(),
            node.uid,
            node.gid,
            units::local_time(node.mtime)
        )
        .into_bytes();
        line.extend_from_slice(path);
        if !node.link_target.is_empty() {
            line.extend_from_slice(b" -> ");
            line.extend_from_slice(&node.link_target);
        }
        line
    }
}

/// Which snapshot this is, of what and by whom.
pub fn snapshot_line(stored: &StoredSnapshot) -> String {
    let snapshot = &stored.snapshot;
    let paths: Vec<String> = snapshot
        .paths
        .iter()
        .map(|path| crate::verbs::clean(path))
        .collect();
    format!(
        "snapshot {} of [{}] at {} by {}@{}",
        stored.id.short(),
        paths.join(" "),
        units::long_time(snapshot.time),
        crate::verbs::clean(&snapshot.username),
        crate::verbs::clean(&snapshot.hostname)
    )
}
