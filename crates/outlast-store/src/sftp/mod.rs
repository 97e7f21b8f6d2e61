//! A repository in a folder behind SFTP, laid out as restic does.
//!
//! The system's ssh carries it, so that the user's keys, agent, known hosts and configuration count; nothing
//! of ssh is in this program. One connection serves all threads. Objects are written under a temporary name,
//! made durable where the server can do that (OpenSSH can), and renamed by the request that replaces nothing.

mod files;
mod location;
mod packet;
mod session;
#[cfg(test)]
mod tests;
mod transport;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use outlast_object::{Id, ObjectKind, ObjectName, bytes_max};
use parking_lot::Mutex;

use self::files::{Modes, TEMPORARY_PREFIX, Written, joined};
pub use self::location::SftpLocation;
pub use self::packet::{NoSftpAnswer, SftpAnswer, SftpAttributes, SftpEntry};
use self::session::{BAD_MESSAGE, FAILURE, Fault, NOT_SUPPORTED, PERMISSION_DENIED, Session};
pub use self::transport::SftpOptions;
use self::transport::Transport;
use crate::error::Attempted;
use crate::port::list_config;
use crate::{Deletes, LockStore, ObjectInfo, Store, StoreError, Timeouts};

/// Operations at a time: as many as restic's default.
const CONNECTIONS: usize = 5;
/// Folders that are listed at a time.
const LIST_THREADS: usize = 16;
/// Entries of a folder that are taken at most.
const ENTRIES_MAX: usize = 4_000_000;
/// Temporary files older than this are of no running writer.
const LEFTOVER_AGE_MIN: Duration = Duration::from_secs(24 * 60 * 60);
/// Leftovers remembered at most between a listing and their removal.
const LEFTOVERS_MAX: usize = 10_000;

/// Makes connections.
type Connect = dyn Fn() -> Result<Transport, String> + Send + Sync;

/// A connection, and what was found out over it.
#[derive(Clone)]
struct Connection {
    session: Arc<Session>,
    modes: Modes,
}

/// A repository in a folder behind SFTP.
pub struct SftpStore {
    location: String,
    root: String,
    connect: Box<Connect>,
    idle: Duration,
    /// Whether the root was made before, so that it is never made here.
    is_there: bool,
    connections: usize,
    entries_max: usize,
    /// Whether there ever was a connection.
    has_worked: AtomicBool,
    /// Held while a connection is made, so that all threads get the same.
    current: Mutex<Option<Connection>>,
    /// Temporary files that listings came across, and when they were changed.
    leftovers: Mutex<Vec<(String, u32)>>,
}

impl SftpStore {
    /// A store at `location`. Nothing is started yet.
    pub fn new(location: &SftpLocation, options: &SftpOptions, timeouts: Timeouts) -> Self {
        let (place, options) = (location.clone(), options.clone());
        let is_there = options.is_there;
        let connect = Box::new(move || options.start(&place));
        Self {
            is_there,
            ..Self::over(location, connect, timeouts.idle)
        }
    }

    fn over(location: &SftpLocation, connect: Box<Connect>, idle: Duration) -> Self {
        Self {
            location: location.to_string(),
            root: location.path.clone(),
            connect,
            idle,
            is_there: false,
            connections: CONNECTIONS,
            entries_max: ENTRIES_MAX,
            has_worked: AtomicBool::new(false),
            current: Mutex::default(),
            leftovers: Mutex::default(),
        }
    }

    /// The same store, with another number of operations at a time.
    #[must_use]
    pub fn with_connections(self, connections: usize) -> Self {
        Self {
            connections: connections.max(1),
            ..self
        }
    }

    /// The connection, made anew if it was lost.
    fn connection(&self) -> Result<Connection, Fault> {
        let mut current = self.current.lock();
        if let Some(connection) = current.as_ref().filter(|one| one.session.is_alive()) {
            return Ok(connection.clone());
        }
        *current = None;
        let connection = self.connect_anew().map_err(|fault| match fault {
            // Where nothing worked yet, trying again would only ask for passwords again, or have the
            // server take us for somebody who guesses them.
            Fault::Lost(reason) if !self.has_worked.load(Ordering::Relaxed) => {
                Fault::Unreachable(reason)
            }
            fault => fault,
        })?;
        self.has_worked.store(true, Ordering::Relaxed);
        *current = Some(connection.clone());
        Ok(connection)
    }

    fn connect_anew(&self) -> Result<Connection, Fault> {
        let transport = (self.connect)().map_err(Fault::Unreachable)?;
        let session = Arc::new(Session::open(transport, self.idle)?);
        let modes = modes_like(&session, &joined(&self.root, "config"))?;
        Ok(Connection { session, modes })
    }

    fn error(&self, verb: &str, name: Option<&ObjectName>, fault: Fault) -> StoreError {
        let attempted = Attempted::new(verb, name, &self.location);
        match (fault, name) {
            (Fault::Lost(reason), _) => attempted.unavailable(reason),
            (Fault::Unreachable(reason), _) => {
                StoreError::Location(format!("{} cannot be reached: {reason}", self.location))
            }
            (fault, Some(name)) if fault.is_not_found() => attempted.not_found(name),
            (Fault::Refused(code, words), _) => {
                let reason = reason(code, &words);
                match code {
                    // Everything that has no word of its own, such as a full disk.
                    FAILURE => attempted.unavailable(reason),
                    _ => attempted.denied(reason),
                }
            }
        }
    }

    /// The folder of a kind, relative to the root.
    fn folder(&self, kind: ObjectKind) -> String {
        joined(&self.root, kind.folder())
    }

    /// The folder and the name of an object's file.
    fn place(&self, name: &ObjectName) -> (String, String) {
        let hex = name.id().to_hex();
        match name.kind() {
            ObjectKind::Config => (self.root.clone(), "config".to_owned()),
            ObjectKind::Pack => (joined(&self.folder(ObjectKind::Pack), &hex[..2]), hex),
            kind => (self.folder(kind), hex),
        }
    }

    fn path(&self, name: &ObjectName) -> String {
        let (folder, file) = self.place(name);
        joined(&folder, &file)
    }

    /// All folders that objects of a kind lie in, each with the first byte that their ids have, if the
    /// folder is only for these.
    fn folders(&self, kind: ObjectKind) -> Vec<(String, Option<u8>)> {
        let folder = self.folder(kind);
        match kind {
            ObjectKind::Pack => (0..=u8::MAX)
                .map(|byte| (joined(&folder, &format!("{byte:02x}")), Some(byte)))
                .collect(),
            _ => vec![(folder, None)],
        }
    }

    fn prepare_folders(&self) -> Result<(), Fault> {
        let Connection { session, modes } = self.connection()?;
        if let Err(fault) = session.stat(&self.root)
            && fault.is_not_found()
        {
            if self.is_there {
                let reason = "its folder is missing; is its disk mounted there?";
                return Err(Fault::Refused(BAD_MESSAGE, reason.to_owned()));
            }
            // Each folder above it too, as far as it is missing. Those above may be closed to us.
            let ends = self.root.match_indices('/').map(|(at, _)| at);
            let above = ends
                .filter(|at| *at > 0)
                .filter_map(|at| self.root.get(..at));
            for folder in above.chain([self.root.as_str()]) {
                if session.stat(folder).is_err() {
                    session.make_folders(&[folder.to_owned()], modes.folder)?;
                }
            }
        }
        let is_folder = |kind: &ObjectKind| *kind != ObjectKind::Config;
        let kinds = || ObjectKind::ALL.into_iter().filter(is_folder);
        let mut folders: Vec<String> = kinds().map(|kind| self.folder(kind)).collect();
        let packs = self.folders(ObjectKind::Pack);
        folders.extend(packs.into_iter().map(|(folder, _)| folder));
        session.make_folders(&folders, modes.folder)?;
        session.sync_folder(&self.folder(ObjectKind::Pack))?;
        session.sync_folder(&self.root)
    }

    fn publish(&self, name: &ObjectName, bytes: &[u8]) -> Result<Written, Fault> {
        let Connection { session, modes } = self.connection()?;
        let (folder, file) = self.place(name);
        let attempt = || session.publish(&folder, &file, bytes, modes);
        match attempt() {
            Err(fault) if fault.is_not_found() => {
                // A folder is missing. The root is never made here: if it is gone, so is the disk
                // that was mounted there.
                session.stat(&self.root)?;
                let folders = [self.folder(name.kind()), folder.clone()];
                session.make_folders(&folders, modes.folder)?;
                attempt()
            }
            other => other,
        }
    }

    /// Opens an object's file; gives its size as well.
    fn read_part(
        &self,
        verb: &str,
        name: &ObjectName,
        part: impl FnOnce(u64) -> Result<(u64, usize), StoreError>,
    ) -> Result<Vec<u8>, StoreError> {
        let failed = |fault| self.error(verb, Some(name), fault);
        let connection = self.connection().map_err(failed)?;
        let open = connection.session.open_file(&self.path(name));
        let open = open.map_err(failed)?;
        let attributes = open.attributes().map_err(failed)?;
        let Some(size) = attributes
            .size
            .filter(|_| attributes.is_file() != Some(false))
        else {
            return Err(Attempted::new(verb, Some(name), &self.location).not_found(name));
        };
        let (offset, length) = part(size)?;
        let bytes = open.read(offset, length).map_err(failed)?;
        if bytes.len() < length {
            // It was cut short since we looked.
            return Err(StoreError::Truncated {
                name: *name,
                offset,
                end: offset.saturating_add(length as u64),
                size: offset.saturating_add(bytes.len() as u64),
            });
        }
        Ok(bytes)
    }

    fn list_folder(&self, folder: &str, first_byte: Option<u8>) -> Result<Vec<ObjectInfo>, Fault> {
        let session = self.connection()?.session;
        // A pack in the folder of another first byte would not be found again by its name.
        let belongs = |id: &Id| first_byte.is_none_or(|byte| id.as_bytes()[0] == byte);
        let mut found = Vec::new();
        for entry in session.entries(folder, self.entries_max)? {
            let Ok(name) = str::from_utf8(&entry.name) else {
                continue;
            };
            let Some(id) = name.parse::<Id>().ok().filter(belongs) else {
                if name.starts_with(TEMPORARY_PREFIX) {
                    self.remember_leftover(joined(folder, name), entry.attributes);
                }
                continue;
            };
            let mut known = entry.attributes;
            if known.size.is_none() || known.is_file() != Some(true) {
                // A link, or a server that says little. Removed while we list: not there.
                known = match session.stat(&joined(folder, name)) {
                    Err(fault) if fault.is_not_found() => continue,
                    known => known?,
                };
            }
            if let Some(size) = known.size.filter(|_| known.is_file() != Some(false)) {
                found.push(ObjectInfo { id, size });
            }
        }
        Ok(found)
    }

    /// Lists folders, several at a time: each costs a few round trips.
    fn list_folders(
        &self,
        folders: &[(String, Option<u8>)],
        visit: &mut dyn FnMut(ObjectInfo),
    ) -> Result<(), Fault> {
        let next = AtomicUsize::new(0);
        let (send, listed) = mpsc::sync_channel(LIST_THREADS);
        thread::scope(|scope| {
            for _ in 0..LIST_THREADS.min(folders.len()) {
                let (send, next) = (send.clone(), &next);
                scope.spawn(move || {
                    while let Some((folder, first_byte)) =
                        folders.get(next.fetch_add(1, Ordering::Relaxed))
                    {
                        // Nobody listens any more once something has failed.
                        if send.send(self.list_folder(folder, *first_byte)).is_err() {
                            return;
                        }
                    }
                });
            }
            drop(send);
            for folder in listed {
                folder?.into_iter().for_each(&mut *visit);
            }
            Ok(())
        })
    }

    fn remember_leftover(&self, path: String, known: SftpAttributes) {
        let mut leftovers = self.leftovers.lock();
        if leftovers.len() < LEFTOVERS_MAX
            && let Some(modified) = known.modified
        {
            leftovers.push((path, modified));
        }
    }

    /// Removes the temporary files of crashed writers that listings came across and that are a day older
    /// than `now`.
    fn remove_leftovers(&self, session: &Session, now: SystemTime) {
        let seen = std::mem::take(&mut *self.leftovers.lock());
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let is_old = |modified: u32| {
            let age = now.saturating_sub(Duration::from_secs(modified.into()));
            age >= LEFTOVER_AGE_MIN
        };
        for (path, _) in seen.iter().filter(|(_, modified)| is_old(*modified)) {
            // One that cannot be removed does no harm and will be found again.
            let _ = session.remove(path);
        }
    }
}

impl Store for SftpStore {
    fn location(&self) -> String {
        self.location.clone()
    }

    fn connections(&self) -> usize {
        self.connections
    }

    fn prepare(&self) -> Result<(), StoreError> {
        self.prepare_folders()
            .map_err(|fault| self.error("prepare it", None, fault))
    }

    fn write(&self, name: &ObjectName, bytes: &[u8]) -> Result<(), StoreError> {
        match self.publish(name, bytes) {
            Ok(Written::Whole) => Ok(()),
            Ok(Written::OtherBytes) => Err(StoreError::AlreadyExists {
                name: *name,
                location: self.location(),
            }),
            Err(fault) => {
                let is_failure = matches!(fault, Fault::Refused(FAILURE, _));
                // The protocol has no word for a full disk, but servers say how much room there is.
                let room = || self.connection().ok()?.session.room(&self.root);
                let attempted = || Attempted::new("write", Some(name), &self.location);
                match fault {
                    _ if is_failure && room().is_some_and(|room| room < bytes.len() as u64) => {
                        Err(attempted().full("its file system is full"))
                    }
                    // The folder for it is missing, not the object.
                    fault if fault.is_not_found() => {
                        Err(attempted().denied("the repository's folder is missing"))
                    }
                    fault => Err(self.error("write", Some(name), fault)),
                }
            }
        }
    }

    fn read(&self, name: &ObjectName) -> Result<Vec<u8>, StoreError> {
        let max = bytes_max(name.kind());
        self.read_part("read", name, |size| {
            let length = usize::try_from(size).ok().filter(|_| size <= max);
            let length = length.ok_or(StoreError::TooLarge {
                name: *name,
                size,
                max,
            })?;
            Ok((0, length))
        })
    }

    fn read_range(
        &self,
        name: &ObjectName,
        offset: u64,
        length: usize,
    ) -> Result<Vec<u8>, StoreError> {
        self.read_part("read", name, |size| {
            // Checked before anything is asked for: the length may come from a hostile index.
            let end = offset.checked_add(length as u64);
            match end.filter(|end| *end <= size) {
                Some(_) => Ok((offset, length)),
                None => Err(StoreError::Truncated {
                    name: *name,
                    offset,
                    end: end.unwrap_or(u64::MAX),
                    size,
                }),
            }
        })
    }

    fn size(&self, name: &ObjectName) -> Result<u64, StoreError> {
        let known = self
            .connection()
            .and_then(|connection| connection.session.stat(&self.path(name)));
        let known = known.map_err(|fault| self.error("look up", Some(name), fault))?;
        let size = known.size.filter(|_| known.is_file() != Some(false));
        size.ok_or_else(|| Attempted::new("look up", Some(name), &self.location).not_found(name))
    }

    fn list(&self, kind: ObjectKind, visit: &mut dyn FnMut(ObjectInfo)) -> Result<(), StoreError> {
        if kind == ObjectKind::Config {
            return list_config(self, visit);
        }
        let listed = self.list_folders(&self.folders(kind), visit);
        listed.map_err(|fault| self.error(&format!("list {}", kind.folder()), None, fault))
    }
}

impl LockStore for SftpStore {
    fn remove_lock(&self, id: &Id) -> Result<(), StoreError> {
        self.delete(&ObjectName::new(ObjectKind::Lock, *id))
    }
}

impl Deletes for SftpStore {
    fn delete(&self, name: &ObjectName) -> Result<(), StoreError> {
        let remove = || {
            let session = self.connection()?.session;
            if name.kind() != ObjectKind::Lock && !self.leftovers.lock().is_empty() {
                self.remove_leftovers(&session, SystemTime::now());
            }
            let (folder, file) = self.place(name);
            match session.remove(&joined(&folder, &file)) {
                Err(fault) if fault.is_not_found() => return Ok(()),
                other => other?,
            }
            match name.kind() {
                // Whoever removes an index or a snapshot goes on to remove the packs it named, and
                // the disk must see these removals in the same order.
                ObjectKind::Pack | ObjectKind::Lock => Ok(()),
                _ => session.sync_folder(&folder),
            }
        };
        remove().map_err(|fault| self.error("delete", Some(name), fault))
    }
}

/// The server's words, or ours where it has none.
fn reason(code: u32, words: &str) -> String {
    match (words, code) {
        ("", PERMISSION_DENIED) => "permission denied".to_owned(),
        ("", NOT_SUPPORTED) => "the server cannot do that".to_owned(),
        ("", code) => format!("the server says {code}"),
        (words, _) => words.chars().take(200).collect(),
    }
}

/// restic's rule: files are for their owner alone, unless the group may read the config.
fn modes_like(session: &Session, config: &str) -> Result<Modes, Fault> {
    let group_reads = match session.stat(config) {
        Err(fault @ Fault::Lost(_)) => return Err(fault),
        known => known.is_ok_and(|known| known.permissions.unwrap_or(0) & 0o040 != 0),
    };
    Ok(match group_reads {
        true => Modes {
            file: 0o440,
            folder: 0o770,
        },
        false => Modes {
            file: 0o400,
            folder: 0o700,
        },
    })
}
