//! The `Source` port.

use std::io::{self, Read};
use std::path::PathBuf;

use outlast_format::Node;

use crate::SourceError;

/// A directory of a source, to be listed. What it means is the source's own affair: a directory on
/// disk, or one that exists only because a target lies beneath it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The path as the snapshot shows it: absolute, `/` for the root.
    pub path: PathBuf,
    /// The source's own number for a place that is not simply a directory on disk.
    pub number: Option<usize>,
    /// Where the directory is on disk.
    pub disk_path: PathBuf,
}

/// One entry, as it was when it was looked at.
#[derive(Debug, Clone)]
pub struct Found {
    /// The path as the snapshot shows it.
    pub path: PathBuf,
    /// Where it is on disk.
    pub disk_path: PathBuf,
    /// Name and metadata with extended attributes; neither content nor subtree.
    pub node: Node,
    /// For a directory: where to go on.
    pub place: Option<Place>,
}

/// The opened content of a file.
pub trait Content: Read + Send {
    /// The metadata of what was opened (not of what the name points to by now).
    fn node(&mut self) -> Result<Node, SourceError>;

    /// Fills `buffer` as far as the content goes; fewer bytes mean its end.
    fn fill(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }
}

/// Something to back up: a tree of entries. All methods may be called from many threads at once.
pub trait Source: Send + Sync {
    /// The root, which has no metadata of its own.
    fn root(&self) -> Place;

    /// The names in a directory, in increasing order of their bytes and without those that are
    /// excluded by name. An error is one of this directory.
    fn names(&self, place: &Place) -> Result<Vec<Vec<u8>>, SourceError>;

    /// Looks at one entry without following symbolic links. `None`: it is to be left out.
    fn look(&self, place: &Place, name: &[u8]) -> Result<Option<Found>, SourceError>;

    /// Opens a regular file for reading.
    fn open(&self, found: &Found) -> Result<Box<dyn Content>, SourceError>;

    /// Called when everything was read and before a snapshot is made: an error here (a command that
    /// failed) means that there must be none.
    fn finish(&self) -> Result<(), SourceError> {
        Ok(())
    }
}
