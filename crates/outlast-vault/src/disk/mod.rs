//! The disk as the vault sees it: a port with few operations, each with its promise of durability.
//!
//! `RealDisk` is a directory of the operating system. `SimulatedDisk` keeps everything in
//! memory, remembers what was made durable and what was not, fails on request at any operation,
//! and can be cut off at any of them as a loss of power would.
//!
//! Paths are relative, in the form `a/b/c`, made by the vault itself from checked names; no part of
//! one ever comes from the network unchecked.

mod beneath;
#[cfg(test)]
mod conformance;
mod incoming;
mod path;
mod real;
mod simulated;

use std::io::{self, Read, Write};

pub use path::{MAX_PART_BYTES, MAX_PATH_BYTES};
pub use real::{INCOMING, RealDisk};
pub use simulated::{
    Fault, FaultPlan, Operation, OperationKind, PowerLost, SECTOR_BYTES, SEED_DURABLE_ONLY,
    SEED_EVERYTHING, SimulatedDisk,
};

/// Free and total space of the file system, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Bytes that can still be written.
    pub free: u64,
    /// Size of the file system.
    pub total: u64,
}

/// What became of an attempt to give a file its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Linked {
    /// The file now has the name.
    New,
    /// Something else had the name already; it was left as it is.
    Existed,
}

/// A file without a name. Dropping it leaves nothing behind, and so does a crash.
pub trait Unnamed: Write + Send {
    /// Makes the content durable.
    ///
    /// # Errors
    /// After an error nothing is known of the content: the file must be given up, never synced again.
    fn sync(&mut self) -> io::Result<()>;

    /// Gives the file the name `path`, which cannot overwrite anything. The name is durable only
    /// after [`Disk::sync_directory`] of its directory.
    ///
    /// # Errors
    /// Those of the system. After one the name may or may not exist.
    fn link(self: Box<Self>, path: &str) -> io::Result<Linked>;
}

/// A disk. Methods may be called from many threads at once.
pub trait Disk: Send + Sync {
    /// A new unnamed file on the same file system as everything else.
    fn create_unnamed(&self) -> io::Result<Box<dyn Unnamed + '_>>;

    /// Makes the names in the directory durable.
    fn sync_directory(&self, path: &str) -> io::Result<()>;

    /// Makes a directory and those above it, durably; existing ones are left alone.
    fn make_directories(&self, path: &str) -> io::Result<()>;

    /// The size of a file in bytes, or none if there is no such file.
    fn size(&self, path: &str) -> io::Result<Option<u64>>;

    /// A reader from the start of the file. [`io::ErrorKind::NotFound`] if there is none.
    fn open(&self, path: &str) -> io::Result<Box<dyn Read + Send>>;

    /// At most `length` bytes from `offset` on; fewer only where the file ends.
    fn read_range(&self, path: &str, offset: u64, length: usize) -> io::Result<Vec<u8>>;

    /// The names in a directory, in no order, each with its size and whether it is a directory.
    /// A directory that does not exist is empty.
    fn list(&self, path: &str, visit: &mut dyn FnMut(Listed<'_>)) -> io::Result<()>;

    /// Writes `bytes` at `offset`, the present end of the file `path` (created if it is missing, its name
    /// durable on return), and makes them durable. Only the journal is written so.
    ///
    /// # Errors
    /// After one, any part of the bytes may or may not be there, durable or not.
    fn append(&self, path: &str, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Cuts a file off after `size` bytes, durably: the torn end of a journal.
    fn truncate(&self, path: &str, size: u64) -> io::Result<()>;

    /// Replaces the whole content of a small file of the ledger, at once and durably.
    fn replace(&self, path: &str, bytes: &[u8]) -> io::Result<()>;

    /// Sets what keeps even the owner from changing or removing the file, where the system has
    /// that and grants it. Returns whether it did.
    fn make_immutable(&self, path: &str) -> io::Result<bool>;

    /// Free and total space.
    fn space(&self) -> io::Result<Space>;
}

/// One name in a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listed<'a> {
    /// The name, without the directory. Names that are not UTF-8 are given lossily.
    pub name: &'a str,
    /// Size in bytes; of no account for a directory.
    pub size: u64,
    /// Whether it is a directory.
    pub is_directory: bool,
}
