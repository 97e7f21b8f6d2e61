//! A disk in memory that knows what is durable, fails where it is told to, and loses its power on request.
//!
//! Everything is decided by the plan of faults and by seeds, so that a failure can be had again.

mod faults;
mod image;
mod state;
#[cfg(test)]
mod tests;

use std::io::{self, Cursor, Read, Write};

use parking_lot::Mutex;
use rustix::io::Errno;

use super::path::{check_directory, check_file, not_the_end, split};
use super::{Disk, Linked, Listed, Space, Unnamed};
pub use faults::{Fault, FaultPlan, Operation, OperationKind, PowerLost, SECTOR_BYTES};
pub use image::{SEED_DURABLE_ONLY, SEED_EVERYTHING};
use state::{Content, Entry, State};

/// Where the operations on files without a name happen, in the log of operations.
const UNNAMED_PREFIX: &str = "unnamed-";

/// A disk in memory.
#[derive(Debug)]
pub struct SimulatedDisk {
    state: Mutex<State>,
}

impl SimulatedDisk {
    /// An empty disk with room for `capacity` bytes of content.
    #[must_use]
    pub fn new(capacity: u64) -> SimulatedDisk {
        SimulatedDisk {
            state: Mutex::new(State::new(capacity)),
        }
    }

    /// Sets what will go wrong, by the numbers of operations to come.
    pub fn set_faults(&self, plan: FaultPlan) {
        self.state.lock().faults = plan;
    }

    /// Sets the room for content, in bytes; it may be less than is used.
    pub fn set_capacity(&self, capacity: u64) {
        self.state.lock().capacity = capacity;
    }

    /// Sets whether files can be made immutable here.
    pub fn set_grants_immutable(&self, grants: bool) {
        self.state.lock().grants_immutable = grants;
    }

    /// All operations so far, in their order.
    #[must_use]
    pub fn operations(&self) -> Vec<Operation> {
        self.state.lock().operations.clone()
    }

    /// How many operations there have been: the next one has the number after this.
    #[must_use]
    pub fn operation_count(&self) -> u64 {
        self.state.lock().last_operation
    }

    /// Whether the power is lost.
    #[must_use]
    pub fn has_crashed(&self) -> bool {
        self.state.lock().crashed
    }

    /// Takes the power away now.
    pub fn crash(&self) {
        self.state.lock().crashed = true;
    }

    /// The disk as it is found after a loss of power at this point: all that is durable, and of the rest
    /// what `seed` decides, names independently of content. [`SEED_DURABLE_ONLY`] and [`SEED_EVERYTHING`] are the
    /// two extremes. Faults are left behind, and operations are counted anew.
    #[must_use]
    pub fn crash_image(&self, seed: u64) -> SimulatedDisk {
        SimulatedDisk {
            state: Mutex::new(image::image(&self.state.lock(), seed)),
        }
    }

    /// Turns one bit of a file around, as rot does.
    ///
    /// # Errors
    /// If there is no such file or no such byte in it.
    pub fn flip(&self, path: &str, offset: u64) -> io::Result<()> {
        self.tamper(path, |bytes| {
            let byte = usize::try_from(offset)
                .ok()
                .and_then(|offset| bytes.get_mut(offset))
                .ok_or(io::ErrorKind::UnexpectedEof)?;
            *byte ^= 1;
            Ok(())
        })
    }

    /// Cuts a file off behind the vault's back.
    ///
    /// # Errors
    /// If there is no such file.
    pub fn cut(&self, path: &str, size: u64) -> io::Result<()> {
        self.tamper(path, |bytes| {
            bytes.truncate(usize::try_from(size).unwrap_or(usize::MAX));
            Ok(())
        })
    }

    /// Gives a file other content behind the vault's back, or makes it. Its directory must exist.
    ///
    /// # Errors
    /// If there is no such directory.
    pub fn plant(&self, path: &str, content: &[u8]) -> io::Result<()> {
        check_file(path)?;
        let mut state = self.state.lock();
        let before = state.entry(path);
        let id = state.add_file(Content::durable(content.to_vec()));
        state.set_name(path, Entry::File(id))?;
        forget_pending(&mut state, path);
        if let Some(Entry::File(before)) = before {
            state.remove_file(before);
        }
        Ok(())
    }

    /// Removes a file behind the vault's back.
    ///
    /// # Errors
    /// If there is no such file.
    pub fn remove(&self, path: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        let id = state.file_id(path)?;
        forget_pending(&mut state, path);
        let (directory, name) = split(path);
        if let Some(directory) = state.directories.get_mut(directory) {
            directory.names.remove(name);
        }
        state.remove_file(id);
        Ok(())
    }

    /// Lets every attempt to read a file fail, or lets it succeed again.
    pub fn set_unreadable(&self, path: &str, unreadable: bool) {
        let mut state = self.state.lock();
        if unreadable {
            state.unreadable.insert(path.to_owned());
        } else {
            state.unreadable.remove(path);
        }
    }

    /// Changes the content of a file, durably, whatever its flags say.
    fn tamper(
        &self,
        path: &str,
        change: impl FnOnce(&mut Vec<u8>) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut state = self.state.lock();
        let id = state.file_id(path)?;
        let content = state.files.get_mut(&id).ok_or(Errno::STALE)?;
        let mut bytes = content.bytes.clone();
        let before = bytes.len() as u64;
        change(&mut bytes)?;
        let after = bytes.len() as u64;
        let immutable = content.immutable;
        *content = Content::durable(bytes);
        content.immutable = immutable;
        state.used = state.used - before + after;
        Ok(())
    }
}

/// What is under the name now is what the disk has.
fn forget_pending(state: &mut State, path: &str) {
    let (directory, name) = split(path);
    if let Some(directory) = state.directories.get_mut(directory) {
        directory.pending.remove(name);
    }
}

/// The id of a file that may be written.
fn writable(state: &State, path: &str) -> io::Result<u64> {
    let id = state.file_id(path)?;
    match state.files.get(&id) {
        Some(content) if content.immutable => Err(Errno::PERM.into()),
        _ => Ok(id),
    }
}

impl Disk for SimulatedDisk {
    fn create_unnamed(&self) -> io::Result<Box<dyn Unnamed + '_>> {
        let mut state = self.state.lock();
        let path = format!("{UNNAMED_PREFIX}{}", state.next_file + 1);
        let course = state.begin(OperationKind::Create, &path)?;
        state.end(course)?;
        let id = state.add_file(Content::default());
        Ok(Box::new(SimulatedFile {
            disk: self,
            id,
            has_name: false,
        }))
    }

    fn sync_directory(&self, path: &str) -> io::Result<()> {
        check_directory(path)?;
        let mut state = self.state.lock();
        let course = state.begin(OperationKind::SyncDirectory, path)?;
        if !state.directories.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        if course.durable {
            state.sync_names(path)?;
        }
        state.end(course)
    }

    fn make_directories(&self, path: &str) -> io::Result<()> {
        check_directory(path)?;
        let mut state = self.state.lock();
        state.check_power()?;
        let ends = path.match_indices('/').map(|(end, _)| end);
        for end in ends.chain((!path.is_empty()).then_some(path.len())) {
            let (here, parent) = (&path[..end], split(&path[..end]).0);
            let is_pending = |state: &State| {
                let pending = state.directories.get(parent).map(|names| &names.pending);
                pending.is_some_and(|pending| pending.contains_key(split(here).1))
            };
            match state.entry(here) {
                Some(Entry::File(_)) => return Err(Errno::NOTDIR.into()),
                // Whoever made it may have failed to make it durable.
                Some(Entry::Directory) if !is_pending(&state) => {}
                _ => {
                    let course = state.begin(OperationKind::MakeDirectory, here)?;
                    state.set_name(here, Entry::Directory)?;
                    if course.durable {
                        state.sync_names(parent)?;
                    }
                    state.end(course)?;
                }
            }
        }
        Ok(())
    }

    fn size(&self, path: &str) -> io::Result<Option<u64>> {
        check_file(path)?;
        let state = self.state.lock();
        state.check_power()?;
        Ok(match state.entry(path) {
            Some(Entry::File(id)) => state.files.get(&id).map(|file| file.bytes.len() as u64),
            _ => None,
        })
    }

    fn open(&self, path: &str) -> io::Result<Box<dyn Read + Send>> {
        check_file(path)?;
        let bytes = self.state.lock().readable(path)?.bytes.clone();
        Ok(Box::new(Cursor::new(bytes)))
    }

    fn read_range(&self, path: &str, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        check_file(path)?;
        let state = self.state.lock();
        let bytes = &state.readable(path)?.bytes;
        let start = usize::try_from(offset)
            .unwrap_or(usize::MAX)
            .min(bytes.len());
        let end = start.saturating_add(length).min(bytes.len());
        Ok(bytes[start..end].to_vec())
    }

    fn list(&self, path: &str, visit: &mut dyn FnMut(Listed<'_>)) -> io::Result<()> {
        check_directory(path)?;
        // Copied, so that the visitor may use the disk.
        let mut found = Vec::new();
        {
            let state = self.state.lock();
            state.check_power()?;
            match (state.directories.get(path), state.entry(path)) {
                (Some(directory), _) => {
                    for (name, entry) in &directory.names {
                        let size = match entry {
                            Entry::Directory => 0,
                            Entry::File(id) => state
                                .files
                                .get(id)
                                .map_or(0, |file| file.bytes.len() as u64),
                        };
                        found.push((name.clone(), size, *entry == Entry::Directory));
                    }
                }
                (None, None) => {}
                (None, Some(_)) => return Err(Errno::NOTDIR.into()),
            }
        }
        for (name, size, is_directory) in found {
            visit(Listed {
                name: &name,
                size,
                is_directory,
            });
        }
        Ok(())
    }

    fn append(&self, path: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        check_file(path)?;
        let mut state = self.state.lock();
        let course = state.begin(OperationKind::Append, path)?;
        let size = match state.entry(path) {
            None if state.directories.contains_key(split(path).0) => 0,
            _ => {
                let id = writable(&state, path)?;
                state
                    .files
                    .get(&id)
                    .map_or(0, |file| file.bytes.len() as u64)
            }
        };
        if size != offset {
            return Err(not_the_end(offset, size));
        }
        state.check_space(bytes)?;
        let id = if let Some(Entry::File(id)) = state.entry(path) {
            id
        } else {
            let id = state.add_file(Content::default());
            state.set_name(path, Entry::File(id))?;
            id
        };
        state.extend(id, course.arriving(bytes))?;
        if let Some(content) = state.files.get_mut(&id) {
            content.sync(course.durable);
        }
        if course.durable {
            state.sync_names(split(path).0)?;
        }
        state.end(course)
    }

    fn truncate(&self, path: &str, size: u64) -> io::Result<()> {
        check_file(path)?;
        let mut state = self.state.lock();
        let course = state.begin(OperationKind::Truncate, path)?;
        let id = writable(&state, path)?;
        let content = state.files.get_mut(&id).ok_or(Errno::STALE)?;
        let present = content.bytes.len() as u64;
        if size > present {
            return Err(not_the_end(size, present));
        }
        content.truncate(usize::try_from(size).unwrap_or(usize::MAX));
        content.sync(course.durable);
        state.used -= present - size;
        state.end(course)
    }

    fn replace(&self, path: &str, bytes: &[u8]) -> io::Result<()> {
        check_file(path)?;
        let mut state = self.state.lock();
        let course = state.begin(OperationKind::Replace, path)?;
        if state.entry(path).is_some() {
            writable(&state, path)?;
        }
        state.check_space(bytes)?;
        // What was written only in part never gets the name.
        if course.arriving(bytes).len() < bytes.len() {
            return state.end(course);
        }
        let directory = split(path).0;
        if !state.directories.contains_key(directory) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let unsynced = match state.entry(path) {
            Some(Entry::File(id)) => Some(id),
            _ => None,
        };
        let id = state.add_file(Content::durable(bytes.to_vec()));
        state.set_name(path, Entry::File(id))?;
        drop_unreachable(&mut state, path, unsynced);
        if course.durable {
            state.sync_names(directory)?;
        }
        state.end(course)
    }

    fn make_immutable(&self, path: &str) -> io::Result<bool> {
        check_file(path)?;
        let mut state = self.state.lock();
        let course = state.begin(OperationKind::MakeImmutable, path)?;
        let id = state.file_id(path)?;
        let grants = state.grants_immutable;
        let content = state.files.get_mut(&id).ok_or(Errno::STALE)?;
        content.immutable |= grants;
        state.end(course)?;
        Ok(grants)
    }

    fn space(&self) -> io::Result<Space> {
        let state = self.state.lock();
        state.check_power()?;
        Ok(Space {
            free: state.capacity.saturating_sub(state.used),
            total: state.capacity,
        })
    }
}

/// Gives up a file that was replaced before its name had reached the disk.
fn drop_unreachable(state: &mut State, path: &str, replaced: Option<u64>) {
    let (directory, name) = split(path);
    let on_disk = state
        .directories
        .get(directory)
        .and_then(|directory| directory.pending.get(name).copied().flatten());
    if let Some(id) = replaced
        && on_disk != Some(Entry::File(id))
    {
        state.remove_file(id);
    }
}

/// A file of a [`SimulatedDisk`] without a name.
struct SimulatedFile<'a> {
    disk: &'a SimulatedDisk,
    id: u64,
    has_name: bool,
}

impl SimulatedFile<'_> {
    fn place(&self) -> String {
        format!("{UNNAMED_PREFIX}{}", self.id)
    }
}

impl Write for SimulatedFile<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.disk.state.lock();
        let course = state.begin(OperationKind::Write, &self.place())?;
        state.check_space(bytes)?;
        state.extend(self.id, course.arriving(bytes))?;
        state.end(course)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.disk.state.lock().check_power()
    }
}

impl Unnamed for SimulatedFile<'_> {
    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.disk.state.lock();
        let id = self.id;
        let began = state.begin(OperationKind::Sync, &self.place());
        let content = state.files.get_mut(&id).ok_or(Errno::STALE)?;
        content.sync(began.as_ref().is_ok_and(|course| course.durable));
        state.end(began?)
    }

    fn link(mut self: Box<Self>, path: &str) -> io::Result<Linked> {
        check_file(path)?;
        // A reference of its own, so that the lock is not tied to `self`.
        let disk = self.disk;
        let mut state = disk.state.lock();
        let course = state.begin(OperationKind::Link, path)?;
        if state.entry(path).is_some() {
            state.end(course)?;
            // Dropping the file takes the lock too.
            drop(state);
            return Ok(Linked::Existed);
        }
        state.set_name(path, Entry::File(self.id))?;
        self.has_name = true;
        state.end(course)?;
        Ok(Linked::New)
    }
}

impl Drop for SimulatedFile<'_> {
    fn drop(&mut self) {
        if !self.has_name {
            self.disk.state.lock().remove_file(self.id);
        }
    }
}
