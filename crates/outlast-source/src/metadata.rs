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
use rustix::io::Errno;

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

/// What to make of a symbolic link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Links {
    /// It is itself the entry.
    Show,
    /// The entry is what it leads to.
    Follow,
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

    /// The complete node of a path. Extended attributes that cannot be read are told to `warn` and
    /// left out.
    pub(crate) fn look(
        &self,
        path: &Path,
        name: &[u8],
        links: Links,
        warn: &dyn Fn(&Path, &io::Error),
    ) -> Result<Node, SourceError> {
        let failed = |operation, error: Errno| SourceError::Io {
            operation,
            path: path.to_owned(),
            source: error.into(),
        };
        let stat = match links {
            Links::Show => fs::lstat(path),
            Links::Follow => fs::stat(path),
        };
        let stat = stat.map_err(|error| failed("stat", error))?;
        let mut node = self.node(name, &stat);
        if node.kind == NodeKind::Symlink {
            let target =
                fs::readlink(path, Vec::new()).map_err(|error| failed("readlink", error))?;
            node.link_target = target.into_bytes();
        }
        let attributes = ExtendedAttributes { path, links };
        match attributes.read(&mut |error| warn(path, error)) {
            Ok(found) => node.extended_attributes = found,
            // The directories above a target may belong to others.
            Err(Errno::ACCESS | Errno::PERM) if links == Links::Follow => {}
            Err(error) => warn(path, &explained("its extended attributes", error)),
        }
        Ok(node)
    }
}

fn explained(what: &str, error: Errno) -> io::Error {
    let error = io::Error::from(error);
    io::Error::new(error.kind(), format!("{what} cannot be read: {error}"))
}

/// The extended attributes of one path.
struct ExtendedAttributes<'a> {
    path: &'a Path,
    links: Links,
}

impl ExtendedAttributes<'_> {
    fn list(&self, buffer: &mut [u8]) -> Result<usize, Errno> {
        match self.links {
            Links::Show => fs::llistxattr(self.path, buffer),
            Links::Follow => fs::listxattr(self.path, buffer),
        }
    }

    fn get(&self, name: &[u8], buffer: &mut [u8]) -> Result<usize, Errno> {
        let name = OsStr::from_bytes(name);
        match self.links {
            Links::Show => fs::lgetxattr(self.path, name, buffer),
            Links::Follow => fs::getxattr(self.path, name, buffer),
        }
    }

    /// All of them, in the order in which the system lists them. One that cannot be read is told to
    /// `warn`; that there can be none is no error.
    fn read(&self, warn: &mut dyn FnMut(&io::Error)) -> Result<Vec<ExtendedAttribute>, Errno> {
        // Most files have none: a small buffer tells so in one call.
        let mut small = [0; 1024];
        let mut large = Vec::new();
        let list = match self.list(&mut small) {
            Ok(length) => &small[..length],
            Err(Errno::RANGE) => {
                large.resize(XATTR_LIST_BYTES_MAX, 0);
                let length = self.list(&mut large)?;
                &large[..length]
            }
            Err(Errno::NOTSUP | Errno::NODATA) => &[],
            Err(error) => return Err(error),
        };
        let mut attributes = Vec::new();
        for name in list
            .split(|&byte| byte == 0)
            .filter(|name| !name.is_empty())
        {
            let text = String::from_utf8_lossy(name).into_owned();
            match self.value(name) {
                Ok(value) => attributes.push(ExtendedAttribute {
                    name: text,
                    value: Some(value),
                }),
                // Removed since it was listed.
                Err(Errno::NODATA) => {}
                Err(error) => warn(&explained(&format!("extended attribute {text}"), error)),
            }
        }
        Ok(attributes)
    }

    fn value(&self, name: &[u8]) -> Result<Vec<u8>, Errno> {
        let mut value = vec![0; 512];
        let length = match self.get(name, &mut value) {
            Err(Errno::RANGE) => {
                value.resize(XATTR_VALUE_BYTES_MAX, 0);
                self.get(name, &mut value)?
            }
            result => result?,
        };
        value.truncate(length);
        value.shrink_to_fit();
        Ok(value)
    }
}
