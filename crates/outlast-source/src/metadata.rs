//! Metadata of what is on disk, as restic writes it.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use jiff::tz::TimeZone;
use outlast_format::{ExtendedAttribute, Mode, Node, NodeKind, Time, TypeBits};
use parking_lot::Mutex;
use rustix::fs::{self, Stat};

use crate::SourceError;

/// Names of extended attributes of one file, in bytes.
const XATTR_LIST_BYTES_MAX: usize = 64 * 1024;
/// Value of one extended attribute, in bytes.
const XATTR_VALUE_BYTES_MAX: usize = 64 * 1024;

/// Name of the user who runs this; empty if nobody knows it.
pub fn current_user_name() -> String {
    let name = uzers::get_user_by_uid(rustix::process::getuid().as_raw());
    name.map(|user| user.name().to_string_lossy().into_owned())
        .unwrap_or_default()
}

/// Turns what the system says of a file into a node.
#[derive(Debug)]
pub(crate) struct MetadataReader {
    zone: TimeZone,
    users: Mutex<HashMap<u32, String>>,
    groups: Mutex<HashMap<u32, String>>,
    with_atime: bool,
}

impl MetadataReader {
    pub(crate) fn new(with_atime: bool) -> Self {
        let (users, groups) = (Mutex::default(), Mutex::default());
        Self {
            zone: TimeZone::system(),
            users,
            groups,
            with_atime,
        }
    }

    fn time(&self, seconds: i64, nanos: u64) -> Time {
        let offset = jiff::Timestamp::from_second(seconds)
            .map_or(0, |timestamp| self.zone.to_offset(timestamp).seconds());
        Time::new(seconds, nanos as u32, offset)
    }

    fn user(&self, uid: u32) -> String {
        let mut users = self.users.lock();
        let name = users.entry(uid).or_insert_with(|| {
            let user = uzers::get_user_by_uid(uid);
            user.map(|user| user.name().to_string_lossy().into_owned())
                .unwrap_or_default()
        });
        name.clone()
    }

    fn group(&self, gid: u32) -> String {
        let mut groups = self.groups.lock();
        let name = groups.entry(gid).or_insert_with(|| {
            let group = uzers::get_group_by_gid(gid);
            group
                .map(|group| group.name().to_string_lossy().into_owned())
                .unwrap_or_default()
        });
        name.clone()
    }

    /// The node of what `stat` describes, without link target and extended attributes.
    #[allow(
        clippy::unnecessary_cast,
        reason = "the types differ between architectures"
    )]
    pub(crate) fn node(&self, name: &[u8], stat: &Stat) -> Node {
        let mode = Mode::from_unix(stat.st_mode);
        let kind = match mode.type_bits() {
            TypeBits::File => NodeKind::File,
            TypeBits::Directory => NodeKind::Directory,
            TypeBits::Symlink => NodeKind::Symlink,
            TypeBits::BlockDevice => NodeKind::BlockDevice,
            TypeBits::CharacterDevice => NodeKind::CharacterDevice,
            TypeBits::Fifo => NodeKind::Fifo,
            TypeBits::Socket => NodeKind::Socket,
            TypeBits::Other => NodeKind::Other("irregular".to_owned()),
        };
        let mtime = self.time(stat.st_mtime as i64, stat.st_mtime_nsec as u64);
        let atime = self.time(stat.st_atime as i64, stat.st_atime_nsec as u64);
        let is_device = matches!(kind, NodeKind::BlockDevice | NodeKind::CharacterDevice);
        let has_links = is_device || matches!(kind, NodeKind::File | NodeKind::Symlink);
        Node {
            name: name.to_vec(),
            mode,
            mtime,
            atime: if self.with_atime { atime } else { mtime },
            ctime: self.time(stat.st_ctime as i64, stat.st_ctime_nsec as u64),
            uid: stat.st_uid,
            gid: stat.st_gid,
            user: self.user(stat.st_uid),
            group: self.group(stat.st_gid),
            inode: stat.st_ino as u64,
            device_id: stat.st_dev as u64,
            size: if kind == NodeKind::File {
                stat.st_size as u64
            } else {
                0
            },
            // restic keeps no number of links of directories, fifos and sockets.
            links: if has_links { stat.st_nlink as u64 } else { 0 },
            device: if is_device { stat.st_rdev as u64 } else { 0 },
            kind,
            ..Node::default()
        }
    }

    /// The complete node of a path; symbolic links are not followed. Extended attributes that
    /// cannot be read are told to `warn` and left out.
    pub(crate) fn look(
        &self,
        path: &Path,
        name: &[u8],
        warn: &dyn Fn(&Path, &io::Error),
    ) -> Result<Node, SourceError> {
        let failed = |operation, error: rustix::io::Errno| SourceError::Io {
            operation,
            path: path.to_owned(),
            source: error.into(),
        };
        let stat = fs::lstat(path).map_err(|error| failed("lstat", error))?;
        let mut node = self.node(name, &stat);
        if node.kind == NodeKind::Symlink {
            let target =
                fs::readlink(path, Vec::new()).map_err(|error| failed("readlink", error))?;
            node.link_target = target.into_bytes();
        }
        match read_xattrs(path) {
            Ok(attributes) => node.extended_attributes = attributes,
            Err(error) => warn(path, &error),
        }
        Ok(node)
    }
}

fn read_xattrs(path: &Path) -> io::Result<Vec<ExtendedAttribute>> {
    // Most files have none: a small buffer tells so in one call.
    let mut list = vec![0; 1024];
    let length = match fs::llistxattr(path, &mut list[..]) {
        Ok(length) => length,
        Err(rustix::io::Errno::RANGE) => {
            list.resize(XATTR_LIST_BYTES_MAX, 0);
            fs::llistxattr(path, &mut list[..])?
        }
        Err(rustix::io::Errno::NOTSUP) => 0,
        Err(error) => return Err(error.into()),
    };
    let mut attributes = Vec::new();
    for name in list[..length]
        .split(|&byte| byte == 0)
        .filter(|name| !name.is_empty())
    {
        let mut value = vec![0; 512];
        let length = match fs::lgetxattr(path, OsStr::from_bytes(name), &mut value[..]) {
            Ok(length) => length,
            Err(rustix::io::Errno::RANGE) => {
                value.resize(XATTR_VALUE_BYTES_MAX, 0);
                fs::lgetxattr(path, OsStr::from_bytes(name), &mut value[..])?
            }
            // Removed since it was listed.
            Err(rustix::io::Errno::NODATA) => continue,
            Err(error) => return Err(error.into()),
        };
        value.truncate(length);
        let name = String::from_utf8_lossy(name).into_owned();
        attributes.push(ExtendedAttribute {
            name,
            value: Some(value),
        });
    }
    Ok(attributes)
}
