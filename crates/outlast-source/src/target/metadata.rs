//! Putting back owners, extended attributes, modes and times.

use std::ffi::OsStr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use outlast_format::{ExtendedAttribute, Node, NodeKind};
use rustix::fs::{self, AtFlags, FileType, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;

use super::Target;
use crate::SourceError;

/// Names of extended attributes of one file, in bytes.
const XATTR_LIST_BYTES_MAX: usize = 64 * 1024;

/// What of a node's metadata is put back.
#[derive(Debug, Clone, Default)]
pub struct MetadataOptions {
    /// Owner and group by their names, where those exist here; otherwise by number.
    pub ownership_by_name: bool,
    /// Extended attributes that are not put back, as names with `*`.
    pub excluded_xattrs: crate::pattern::PatternList,
    /// If not empty: only these extended attributes are put back.
    pub included_xattrs: crate::pattern::PatternList,
}

impl MetadataOptions {
    fn wants_xattr(&self, name: &Path) -> bool {
        let included = self.included_xattrs.is_empty() || self.included_xattrs.matches(name);
        included && !self.excluded_xattrs.matches(name)
    }
}

impl Target {
    /// Puts back owner, extended attributes, mode and times, in the order in which none undoes
    /// another: a change of owner clears set-uid bits and capabilities, a mode can forbid its owner
    /// to set attributes, and times come last.
    /// Each failure is told; the rest goes on.
    pub fn apply_metadata(
        &self,
        path: &Path,
        node: &Node,
        options: &MetadataOptions,
    ) -> Vec<SourceError> {
        let mut errors = Vec::new();
        let (parent, name) = match self.parent(path) {
            Ok(found) => found,
            Err(error) => return vec![error],
        };
        let mut note = |operation, result: Result<(), Errno>| {
            if let Err(error) = result {
                errors.push(self.failed(operation, path, error));
            }
        };
        note("set owner", self.set_owner(&parent, name, node, options));
        for attribute in &node.extended_attributes {
            let attribute_name = Path::new(&attribute.name);
            if options.wants_xattr(attribute_name) {
                let value = attribute.value.as_deref().unwrap_or_default();
                let place = through_parent(&parent, name);
                let result = fs::lsetxattr(&place, &attribute.name, value, fs::XattrFlags::empty());
                // Only root may set those of other name spaces than `user`.
                let forgiven = !self.is_root_user && !attribute.name.starts_with("user.");
                match result {
                    Err(Errno::PERM | Errno::NOTSUP) if forgiven => {}
                    result => note("set extended attribute", result),
                }
            }
        }
        let unexpected = remove_other_xattrs(&parent, name, node, options);
        note("remove extended attribute", unexpected);
        if node.kind != NodeKind::Symlink {
            note("set mode", set_mode(&parent, name, node));
        }
        note("set times", set_times(&parent, name, node));
        errors
    }

    fn set_owner(
        &self,
        parent: &OwnedFd,
        name: &OsStr,
        node: &Node,
        options: &MetadataOptions,
    ) -> Result<(), Errno> {
        let (mut uid, mut gid) = (node.uid, node.gid);
        if options.ownership_by_name {
            let user = uzers::get_user_by_name(&node.user).map(|user| user.uid());
            let group = uzers::get_group_by_name(&node.group).map(|group| group.gid());
            (uid, gid) = (user.unwrap_or(uid), group.unwrap_or(gid));
        }
        // The largest number means "leave as it is" to the system.
        let owner = (uid != u32::MAX).then(|| Uid::from_raw(uid));
        let group = (gid != u32::MAX).then(|| Gid::from_raw(gid));
        match fs::chownat(parent, name, owner, group, AtFlags::SYMLINK_NOFOLLOW) {
            // Only root may give files away; others keep what they restore.
            Err(Errno::PERM) if !self.is_root_user => Ok(()),
            result => result,
        }
    }
}

/// The entry's path through the open directory, for calls that know paths only. The last part is
/// never followed by the calls that get it.
fn through_parent(parent: &OwnedFd, name: &OsStr) -> PathBuf {
    Path::new("/proc/self/fd")
        .join(parent.as_raw_fd().to_string())
        .join(name)
}

/// There is no way to change the mode of a name without following it, so the entry is opened as a
/// mere place first, and looked at: a symbolic link put there meanwhile is refused.
fn set_mode(parent: &OwnedFd, name: &OsStr, node: &Node) -> Result<(), Errno> {
    let place = fs::openat(
        parent,
        name,
        OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let stat = fs::fstat(&place)?;
    if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink {
        return Err(Errno::LOOP);
    }
    let mode = Mode::from_raw_mode(node.mode.permissions());
    fs::chmod(
        Path::new("/proc/self/fd").join(place.as_raw_fd().to_string()),
        mode,
    )
}

/// Removes attributes that the node does not have, such as access control lists that a new file takes
/// over from its directory. Those of the name space `security` belong to the system.
fn remove_other_xattrs(
    parent: &OwnedFd,
    name: &OsStr,
    node: &Node,
    options: &MetadataOptions,
) -> Result<(), Errno> {
    let place = through_parent(parent, name);
    let mut list = vec![0; 1024];
    let length = match fs::llistxattr(&place, &mut list[..]) {
        Ok(length) => length,
        Err(Errno::RANGE) => {
            list.resize(XATTR_LIST_BYTES_MAX, 0);
            fs::llistxattr(&place, &mut list[..])?
        }
        Err(Errno::NOTSUP) => 0,
        Err(error) => return Err(error),
    };
    for found in list[..length].split(|byte| *byte == 0) {
        let expected = |attribute: &ExtendedAttribute| attribute.name.as_bytes() == found;
        let found_name = OsStr::from_bytes(found);
        let keep = found.is_empty()
            || found.starts_with(b"security.")
            || node.extended_attributes.iter().any(expected)
            || !options.wants_xattr(Path::new(found_name));
        if !keep {
            match fs::lremovexattr(&place, found_name) {
                Ok(()) | Err(Errno::NODATA | Errno::PERM | Errno::NOTSUP) => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

fn set_times(parent: &OwnedFd, name: &OsStr, node: &Node) -> Result<(), Errno> {
    let time = |time: outlast_format::Time| fs::Timespec {
        tv_sec: time.seconds(),
        tv_nsec: i64::from(time.nanos()) as _,
    };
    let times = fs::Timestamps {
        last_access: time(node.atime),
        last_modification: time(node.mtime),
    };
    fs::utimensat(parent, name, &times, AtFlags::SYMLINK_NOFOLLOW)
}
