//! What a simulated disk holds: for every file and every name, what can be seen and what is durable.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use rustix::io::Errno;

use super::super::path::split;
use super::faults::{Course, End, FaultPlan, Operation, OperationKind, PowerLost, Stopped};

/// How many operations are kept in the log; later ones still have their numbers.
pub(super) const MAX_LOGGED_OPERATIONS: usize = 1_000_000;

/// The content of a file. Its durable content is `bytes[..shared]` and then `durable_tail`, so that adding
/// to a long file copies nothing.
#[derive(Debug, Clone, Default)]
pub(super) struct Content {
    pub(super) bytes: Vec<u8>,
    shared: usize,
    durable_tail: Vec<u8>,
    /// A sync has failed: what was not durable then never will be.
    lost: bool,
    pub(super) immutable: bool,
}

impl Content {
    /// Content that is durable as it is.
    pub(super) fn durable(bytes: Vec<u8>) -> Content {
        Content {
            shared: bytes.len(),
            bytes,
            ..Content::default()
        }
    }

    pub(super) fn truncate(&mut self, size: usize) {
        if size < self.shared {
            let mut tail = self.bytes[size..self.shared].to_vec();
            tail.append(&mut self.durable_tail);
            self.durable_tail = tail;
            self.shared = size;
        }
        self.bytes.truncate(size);
    }

    /// Makes the content durable or, unless that `succeeds`, impossible to be made durable.
    pub(super) fn sync(&mut self, succeeds: bool) {
        if succeeds && !self.lost {
            self.shared = self.bytes.len();
            self.durable_tail.clear();
        }
        self.lost |= !succeeds;
    }

    pub(super) fn durable_bytes(&self) -> Vec<u8> {
        [&self.bytes[..self.shared], &self.durable_tail].concat()
    }

    /// How many bytes at the start are the same in memory and on the disk.
    pub(super) fn shared(&self) -> usize {
        self.shared
    }

    pub(super) fn is_durable(&self) -> bool {
        self.shared == self.bytes.len() && self.durable_tail.is_empty()
    }
}

/// What a name leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entry {
    Directory,
    File(u64),
}

/// The names in a directory.
#[derive(Debug, Clone, Default)]
pub(super) struct Directory {
    pub(super) names: BTreeMap<String, Entry>,
    /// Names that changed since the directory was synced, with what the disk has under them.
    pub(super) pending: BTreeMap<String, Option<Entry>>,
}

#[derive(Debug)]
pub(super) struct State {
    /// By path; the root is the empty one.
    pub(super) directories: BTreeMap<String, Directory>,
    pub(super) files: BTreeMap<u64, Content>,
    pub(super) next_file: u64,
    pub(super) used: u64,
    pub(super) capacity: u64,
    pub(super) grants_immutable: bool,
    pub(super) unreadable: BTreeSet<String>,
    pub(super) faults: FaultPlan,
    pub(super) operations: Vec<Operation>,
    pub(super) last_operation: u64,
    pub(super) crashed: bool,
}

impl State {
    pub(super) fn new(capacity: u64) -> State {
        State {
            directories: BTreeMap::from([(String::new(), Directory::default())]),
            files: BTreeMap::new(),
            next_file: 0,
            used: 0,
            capacity,
            grants_immutable: true,
            unreadable: BTreeSet::new(),
            faults: FaultPlan::none(),
            operations: Vec::new(),
            last_operation: 0,
            crashed: false,
        }
    }

    pub(super) fn check_power(&self) -> io::Result<()> {
        if self.crashed {
            return Err(PowerLost.into());
        }
        Ok(())
    }

    /// Counts an operation and says how it goes.
    pub(super) fn begin(&mut self, kind: OperationKind, path: &str) -> io::Result<Course> {
        self.check_power()?;
        self.last_operation += 1;
        let number = self.last_operation;
        if self.operations.len() < MAX_LOGGED_OPERATIONS {
            let path = path.to_owned();
            self.operations.push(Operation { number, kind, path });
        }
        self.faults
            .course(number, kind)
            .map_err(|stopped| match stopped {
                Stopped::Error(error) => error.into(),
                Stopped::Crash => {
                    self.crashed = true;
                    PowerLost.into()
                }
            })
    }

    /// What is told of an operation that has been done.
    pub(super) fn end(&mut self, course: Course) -> io::Result<()> {
        match course.end {
            End::Reported => Ok(()),
            End::Error => Err(Errno::IO.into()),
            End::Crash => {
                self.crashed = true;
                Err(PowerLost.into())
            }
        }
    }

    pub(super) fn add_file(&mut self, content: Content) -> u64 {
        self.next_file += 1;
        self.used += content.bytes.len() as u64;
        self.files.insert(self.next_file, content);
        self.next_file
    }

    pub(super) fn remove_file(&mut self, id: u64) {
        if let Some(content) = self.files.remove(&id) {
            self.used -= content.bytes.len() as u64;
        }
    }

    pub(super) fn check_space(&self, bytes: &[u8]) -> io::Result<()> {
        if bytes.len() as u64 > self.capacity.saturating_sub(self.used) {
            return Err(Errno::NOSPC.into());
        }
        Ok(())
    }

    /// Adds bytes to the end of a file.
    pub(super) fn extend(&mut self, id: u64, bytes: &[u8]) -> io::Result<()> {
        let content = self.files.get_mut(&id).ok_or(Errno::STALE)?;
        content.bytes.extend_from_slice(bytes);
        self.used += bytes.len() as u64;
        Ok(())
    }

    pub(super) fn entry(&self, path: &str) -> Option<Entry> {
        if path.is_empty() {
            return Some(Entry::Directory);
        }
        let (directory, name) = split(path);
        self.directories.get(directory)?.names.get(name).copied()
    }

    pub(super) fn file_id(&self, path: &str) -> io::Result<u64> {
        match self.entry(path) {
            Some(Entry::File(id)) => Ok(id),
            Some(Entry::Directory) => Err(Errno::ISDIR.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// The content of a file that is to be read.
    pub(super) fn readable(&self, path: &str) -> io::Result<&Content> {
        self.check_power()?;
        let id = self.file_id(path)?;
        if self.unreadable.contains(path) {
            return Err(Errno::IO.into());
        }
        Ok(self.files.get(&id).ok_or(Errno::STALE)?)
    }

    /// Lets a name lead somewhere, in memory.
    pub(super) fn set_name(&mut self, path: &str, entry: Entry) -> io::Result<()> {
        let (directory, name) = split(path);
        let directory = self
            .directories
            .get_mut(directory)
            .ok_or(io::ErrorKind::NotFound)?;
        let before = directory.names.insert(name.to_owned(), entry);
        // What the disk has is what was there when the name first changed.
        directory.pending.entry(name.to_owned()).or_insert(before);
        if entry == Entry::Directory {
            self.directories.entry(path.to_owned()).or_default();
        }
        Ok(())
    }

    /// Makes the names in a directory durable.
    pub(super) fn sync_names(&mut self, path: &str) -> io::Result<()> {
        let directory = self
            .directories
            .get_mut(path)
            .ok_or(io::ErrorKind::NotFound)?;
        for (name, before) in std::mem::take(&mut directory.pending) {
            let now = self.directories[path].names.get(&name).copied();
            match before {
                Some(Entry::File(id)) if now != before => self.remove_file(id),
                _ => {}
            }
        }
        Ok(())
    }
}
