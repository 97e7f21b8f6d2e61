//! The answers to the kernel.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{
    Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, LockOwner,
    OpenFlags, ReplyAttr, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen,
    ReplyStatfs, ReplyXattr, Request,
};
use outlast_format::{Node, NodeKind, Time};
use outlast_object::Id;
use parking_lot::{Mutex, RwLock};

use super::content::{Contents, OpenFile, Tree, Unreadable};
use super::inodes::{Inode, Inodes};
use super::layout::{Layout, Virtual};
use super::{LoadSnapshots, MountOptions};

/// How long the kernel may rely on what is in a snapshot: it never changes.
const ENTRY_TTL: Duration = Duration::from_secs(3600);
/// How long it may rely on what is above the snapshots.
const LAYOUT_TTL: Duration = Duration::from_secs(1);
/// How often snapshots are looked for anew.
const RELOAD_AFTER: Duration = Duration::from_secs(60);
const BLOCK_BYTES: u64 = 512;

impl From<Unreadable> for Errno {
    fn from(_: Unreadable) -> Self {
        Errno::EIO
    }
}

/// A directory that is being listed.
enum Listing {
    Virtual(Arc<str>, Vec<(String, FileType)>),
    Entries(Id, Arc<Tree>),
}

/// A found entry, ready for an answer.
struct FoundEntry {
    inode: Inode,
    attributes: FileAttr,
    ttl: Duration,
}

pub(super) struct SnapshotFilesystem {
    contents: Contents,
    options: MountOptions,
    load: LoadSnapshots,
    layout: RwLock<Arc<Layout>>,
    loaded_at: Mutex<Duration>,
    inodes: Inodes,
    files: Mutex<HashMap<u64, Arc<OpenFile>>>,
    listings: Mutex<HashMap<u64, Arc<Listing>>>,
    next_handle: AtomicU64,
}

impl SnapshotFilesystem {
    pub(super) fn new(
        contents: Contents,
        options: MountOptions,
        load: LoadSnapshots,
        layout: Layout,
    ) -> Self {
        let now = contents.repository.environment().clock.monotonic();
        Self {
            contents,
            options,
            load,
            layout: RwLock::new(Arc::new(layout)),
            loaded_at: Mutex::new(now),
            inodes: Inodes::new(),
            files: Mutex::default(),
            listings: Mutex::default(),
            next_handle: AtomicU64::new(1),
        }
    }

    /// Looks for new snapshots now and then. A failure leaves what is known.
    fn refresh(&self) {
        let environment = self.contents.repository.environment();
        let now = environment.clock.monotonic();
        {
            let Some(mut loaded_at) = self.loaded_at.try_lock() else {
                return;
            };
            if now.saturating_sub(*loaded_at) < RELOAD_AFTER {
                return;
            }
            *loaded_at = now;
        }
        match (self.load)() {
            Ok(snapshots) => {
                let layout = self.options.lay_out(snapshots);
                *self.layout.write() = Arc::new(layout);
            }
            Err(error) => {
                let text = format!("snapshots could not be looked for anew: {error}");
                environment.notice(outlast_repo::Notice::Other(text));
            }
        }
    }

    fn inode(&self, number: INodeNo) -> Result<Inode, Errno> {
        self.inodes.get(number.0).ok_or(Errno::ENOENT)
    }

    fn owner(&self, uid: u32, gid: u32) -> (u32, u32) {
        match self.options.owner_root {
            true => (0, 0),
            false => (uid, gid),
        }
    }

    fn own_owner(&self) -> (u32, u32) {
        let environment = self.contents.repository.environment();
        self.owner(environment.uid, environment.gid)
    }

    fn virtual_attributes(&self, number: u64, entry: &Virtual, time: Option<Time>) -> FileAttr {
        let (kind, perm, size) = match entry {
            Virtual::Link(target) => (FileType::Symlink, 0o777, target.len() as u64),
            _ => (FileType::Directory, 0o555, 0),
        };
        let time = match entry {
            Virtual::Snapshot { time, .. } => Some(*time),
            _ => time,
        };
        let time = time.map_or(UNIX_EPOCH, system_time);
        let (uid, gid) = self.own_owner();
        FileAttr {
            ino: INodeNo(number),
            size,
            blocks: size.div_ceil(BLOCK_BYTES),
            atime: time,
            mtime: time,
            ctime: time,
            crtime: time,
            kind,
            perm,
            nlink: if kind == FileType::Directory { 2 } else { 1 },
            uid,
            gid,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        }
    }

    fn entry_attributes(&self, number: u64, node: &Node) -> FileAttr {
        let kind = file_type(node).unwrap_or(FileType::RegularFile);
        let size = match kind {
            FileType::RegularFile => node.size,
            FileType::Symlink => node.link_target.len() as u64,
            _ => 0,
        };
        let nlink = match kind {
            FileType::Directory => 2,
            _ => u32::try_from(node.links.max(1)).unwrap_or(u32::MAX),
        };
        let (uid, gid) = self.owner(node.uid, node.gid);
        FileAttr {
            ino: INodeNo(number),
            size,
            blocks: size.div_ceil(BLOCK_BYTES),
            atime: system_time(node.atime),
            mtime: system_time(node.mtime),
            ctime: system_time(node.ctime),
            crtime: system_time(node.ctime),
            kind,
            perm: node.mode.permissions() as u16,
            nlink,
            uid,
            gid,
            rdev: node.device as u32,
            blksize: 4096,
            flags: 0,
        }
    }

    fn find_virtual(&self, path: &str) -> Result<FoundEntry, Errno> {
        let layout = Arc::clone(&self.layout.read());
        let entry = layout.get(path).ok_or(Errno::ENOENT)?;
        let number = self.inodes.of_virtual(path);
        Ok(FoundEntry {
            attributes: self.virtual_attributes(number, &entry, layout.time),
            inode: Inode::Virtual(path.into()),
            ttl: LAYOUT_TTL,
        })
    }

    fn find_entry(&self, parent: u64, snapshot: Id, node: &Arc<Node>) -> FoundEntry {
        let number = self.inodes.of_entry(parent, &snapshot, node);
        FoundEntry {
            attributes: self.entry_attributes(number, node),
            inode: Inode::Entry {
                snapshot,
                node: Arc::clone(node),
            },
            ttl: ENTRY_TTL,
        }
    }

    /// The snapshot and the tree of a directory within one; `None` above the snapshots.
    fn tree_of(&self, inode: &Inode) -> Result<Option<(Id, Arc<Tree>)>, Errno> {
        let (snapshot, tree) = match inode {
            Inode::Virtual(path) => match self.layout.read().get(path).as_deref() {
                Some(Virtual::Snapshot { id, tree, .. }) => (*id, *tree),
                Some(Virtual::Directory(_)) => return Ok(None),
                Some(Virtual::Link(_)) => return Err(Errno::ENOTDIR),
                None => return Err(Errno::ENOENT),
            },
            Inode::Entry { snapshot, node } if node.is_directory() => {
                (*snapshot, node.subtree.ok_or(Errno::EIO)?)
            }
            Inode::Entry { .. } => return Err(Errno::ENOTDIR),
        };
        Ok(Some((snapshot, self.contents.tree(tree)?)))
    }

    fn look_up(&self, parent: INodeNo, name: &OsStr) -> Result<FoundEntry, Errno> {
        self.refresh();
        let inode = self.inode(parent)?;
        let found = match (self.tree_of(&inode)?, inode) {
            (Some((snapshot, tree)), _) => {
                let node = tree.find(name.as_bytes()).ok_or(Errno::ENOENT)?;
                file_type(node).ok_or(Errno::ENOENT)?;
                self.find_entry(parent.0, snapshot, node)
            }
            (None, Inode::Virtual(path)) => {
                let name = name.to_str().ok_or(Errno::ENOENT)?;
                self.find_virtual(&child(&path, name))?
            }
            (None, Inode::Entry { .. }) => return Err(Errno::ENOTDIR),
        };
        let number = found.attributes.ino.0;
        self.inodes.remember(number, found.inode.clone());
        Ok(found)
    }

    fn attributes(&self, number: INodeNo) -> Result<(FileAttr, Duration), Errno> {
        match self.inode(number)? {
            Inode::Virtual(path) => {
                let found = self.find_virtual(&path)?;
                Ok((found.attributes, found.ttl))
            }
            Inode::Entry { node, .. } => Ok((self.entry_attributes(number.0, &node), ENTRY_TTL)),
        }
    }

    fn link_target(&self, number: INodeNo) -> Result<Vec<u8>, Errno> {
        match self.inode(number)? {
            Inode::Virtual(path) => match self.layout.read().get(&path).as_deref() {
                Some(Virtual::Link(target)) => Ok(target.clone().into_bytes()),
                _ => Err(Errno::EINVAL),
            },
            Inode::Entry { node, .. } if node.kind == NodeKind::Symlink => {
                Ok(node.link_target.clone())
            }
            Inode::Entry { .. } => Err(Errno::EINVAL),
        }
    }

    fn open_listing(&self, number: INodeNo) -> Result<u64, Errno> {
        self.refresh();
        let inode = self.inode(number)?;
        let listing = match (self.tree_of(&inode)?, inode) {
            (Some((snapshot, tree)), _) => Listing::Entries(snapshot, tree),
            (None, Inode::Virtual(path)) => {
                let layout = Arc::clone(&self.layout.read());
                let mut names = Vec::new();
                if let Some(Virtual::Directory(found)) = layout.get(&path).as_deref() {
                    for name in found {
                        let link = matches!(
                            layout.get(&child(&path, name)).as_deref(),
                            Some(Virtual::Link(_))
                        );
                        let kind = if link {
                            FileType::Symlink
                        } else {
                            FileType::Directory
                        };
                        names.push((name.clone(), kind));
                    }
                }
                Listing::Virtual(path, names)
            }
            (None, Inode::Entry { .. }) => return Err(Errno::ENOTDIR),
        };
        let handle = self.next_handle.fetch_add(1, Ordering::Relaxed);
        self.listings.lock().insert(handle, Arc::new(listing));
        Ok(handle)
    }

    fn list(
        &self,
        number: INodeNo,
        handle: u64,
        offset: u64,
        reply: &mut ReplyDirectory,
    ) -> Result<(), Errno> {
        let listing = self.listings.lock().get(&handle).cloned();
        let listing = listing.ok_or(Errno::EBADF)?;
        let count = match &*listing {
            Listing::Virtual(_, names) => names.len(),
            Listing::Entries(_, tree) => tree.nodes.len(),
        };
        let first = usize::try_from(offset).unwrap_or(usize::MAX);
        for position in first..count + 2 {
            let next = position as u64 + 1;
            let full = match (position, &*listing) {
                (0, _) => reply.add(number, next, FileType::Directory, "."),
                (1, _) => reply.add(number, next, FileType::Directory, ".."),
                (_, Listing::Virtual(path, names)) => {
                    let (name, kind) = &names[position - 2];
                    let inode = self.inodes.of_virtual(&child(path, name));
                    reply.add(INodeNo(inode), next, *kind, name)
                }
                (_, Listing::Entries(snapshot, tree)) => {
                    let node = &tree.nodes[position - 2];
                    // Entries of unknown types are not shown.
                    let Some(kind) = file_type(node) else {
                        continue;
                    };
                    let inode = self.inodes.of_entry(number.0, snapshot, node);
                    reply.add(INodeNo(inode), next, kind, OsStr::from_bytes(&node.name))
                }
            };
            if full {
                break;
            }
        }
        Ok(())
    }

    fn open_file(&self, number: INodeNo) -> Result<u64, Errno> {
        let Inode::Entry { node, .. } = self.inode(number)? else {
            return Err(Errno::EISDIR);
        };
        if !node.is_file() {
            return Err(Errno::EINVAL);
        }
        let file = self.contents.open(&node)?;
        let handle = self.next_handle.fetch_add(1, Ordering::Relaxed);
        self.files.lock().insert(handle, Arc::new(file));
        Ok(handle)
    }

    fn xattr(&self, number: INodeNo, name: &OsStr) -> Result<Vec<u8>, Errno> {
        let Inode::Entry { node, .. } = self.inode(number)? else {
            return Err(Errno::ENODATA);
        };
        let mut attributes = node.extended_attributes.iter();
        let found = attributes.find(|attribute| attribute.name.as_bytes() == name.as_bytes());
        let attribute = found.ok_or(Errno::ENODATA)?;
        Ok(attribute.value.clone().unwrap_or_default())
    }

    fn xattr_names(&self, number: INodeNo) -> Result<Vec<u8>, Errno> {
        let mut names = Vec::new();
        if let Inode::Entry { node, .. } = self.inode(number)? {
            for attribute in &node.extended_attributes {
                names.extend_from_slice(attribute.name.as_bytes());
                names.push(0);
            }
        }
        Ok(names)
    }
}

fn child(path: &str, name: &str) -> String {
    match path {
        "" => name.to_owned(),
        path => format!("{path}/{name}"),
    }
}

/// `None` for types that this program does not know.
fn file_type(node: &Node) -> Option<FileType> {
    Some(match node.kind {
        NodeKind::File => FileType::RegularFile,
        NodeKind::Directory => FileType::Directory,
        NodeKind::Symlink => FileType::Symlink,
        NodeKind::BlockDevice => FileType::BlockDevice,
        NodeKind::CharacterDevice => FileType::CharDevice,
        NodeKind::Fifo => FileType::NamedPipe,
        NodeKind::Socket => FileType::Socket,
        NodeKind::Other(_) => return None,
    })
}

fn system_time(time: Time) -> SystemTime {
    let (seconds, nanos) = time.instant();
    let whole = Duration::from_secs(seconds.unsigned_abs());
    let base = match seconds < 0 {
        true => UNIX_EPOCH.checked_sub(whole),
        false => UNIX_EPOCH.checked_add(whole),
    };
    base.and_then(|base| base.checked_add(Duration::from_nanos(nanos.into())))
        .unwrap_or(UNIX_EPOCH)
}

fn answer_xattr(reply: ReplyXattr, size: u32, result: Result<Vec<u8>, Errno>) {
    match result {
        Err(error) => reply.error(error),
        Ok(bytes) if size == 0 => reply.size(bytes.len() as u32),
        Ok(bytes) if bytes.len() > size as usize => reply.error(Errno::ERANGE),
        Ok(bytes) => reply.data(&bytes),
    }
}

impl Filesystem for SnapshotFilesystem {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match self.look_up(parent, name) {
            Ok(found) => reply.entry(&found.ttl, &found.attributes, Generation(0)),
            Err(error) => reply.error(error),
        }
    }

    fn forget(&self, _: &Request, number: INodeNo, lookups: u64) {
        self.inodes.forget(number.0, lookups);
    }

    fn getattr(&self, _: &Request, number: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.attributes(number) {
            Ok((attributes, ttl)) => reply.attr(&ttl, &attributes),
            Err(error) => reply.error(error),
        }
    }

    fn readlink(&self, _: &Request, number: INodeNo, reply: ReplyData) {
        match self.link_target(number) {
            Ok(target) => reply.data(&target),
            Err(error) => reply.error(error),
        }
    }

    fn opendir(&self, _: &Request, number: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        match self.open_listing(number) {
            Ok(handle) => reply.opened(FileHandle(handle), FopenFlags::empty()),
            Err(error) => reply.error(error),
        }
    }

    fn readdir(
        &self,
        _: &Request,
        number: INodeNo,
        handle: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        match self.list(number, handle.0, offset, &mut reply) {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(error),
        }
    }

    fn releasedir(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        _: OpenFlags,
        reply: ReplyEmpty,
    ) {
        self.listings.lock().remove(&handle.0);
        reply.ok();
    }

    fn open(&self, _: &Request, number: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        match self.open_file(number) {
            Ok(handle) => reply.opened(FileHandle(handle), FopenFlags::FOPEN_KEEP_CACHE),
            Err(error) => reply.error(error),
        }
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let file = self.files.lock().get(&handle.0).cloned();
        let Some(file) = file else {
            return reply.error(Errno::EBADF);
        };
        match self.contents.read(&file, offset, size as usize) {
            Ok(bytes) => reply.data(&bytes),
            Err(error) => reply.error(error.into()),
        }
    }

    fn release(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        self.files.lock().remove(&handle.0);
        reply.ok();
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        reply.statfs(0, 0, 0, 0, 0, 4096, 255, 4096);
    }

    fn getxattr(&self, _: &Request, number: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        answer_xattr(reply, size, self.xattr(number, name));
    }

    fn listxattr(&self, _: &Request, number: INodeNo, size: u32, reply: ReplyXattr) {
        answer_xattr(reply, size, self.xattr_names(number));
    }
}
