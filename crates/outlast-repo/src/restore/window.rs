//! What is restored together: a bounded number of entries, in the order of the snapshot.

use std::path::PathBuf;
use std::sync::Arc;

use outlast_format::Node;
use outlast_object::Id;

use super::file::{FilePart, FileWork};

/// Entries of a window at most. More let more blobs of one pack be fetched together; an entry takes
/// about a kilobyte while it waits, and three windows exist at a time.
pub(super) const WINDOW_ENTRIES_MAX: usize = 16 * 1024;
/// Blobs of files in a window at most, about 100 bytes each. Larger files go through several
/// windows.
pub(super) const WINDOW_BLOBS_MAX: usize = 128 * 1024;

/// A link or a special file.
#[derive(Debug)]
pub(super) struct Other {
    pub path: PathBuf,
    pub node: Node,
    /// For a hard link: the file that was restored before.
    pub link_to: Option<PathBuf>,
}

/// A directory of which everything was planned.
#[derive(Debug)]
pub(super) struct Leave {
    pub path: PathBuf,
    /// Its entry; `None` for the root.
    pub node: Option<Node>,
    /// Its tree, if what is not in it is to be removed.
    pub delete_beside: Option<Id>,
}

/// A piece of work, in the order of the snapshot.
#[derive(Debug, Default)]
pub(super) struct Window {
    pub files: Vec<FilePart>,
    pub others: Vec<Other>,
    pub leaves: Vec<Leave>,
    blobs: usize,
}

impl Window {
    pub(super) fn is_full(&self) -> bool {
        self.files.len() + self.others.len() + self.leaves.len() >= WINDOW_ENTRIES_MAX
            || self.blobs >= WINDOW_BLOBS_MAX
    }

    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty() && self.others.is_empty() && self.leaves.is_empty()
    }

    /// Adds as many blobs of a file as there is room for, beginning with number `from`, which goes
    /// to `offset`. Gives the number of the first blob that did not fit.
    pub(super) fn add_file(&mut self, file: &Arc<FileWork>, from: usize, offset: u64) -> usize {
        let room = WINDOW_BLOBS_MAX.saturating_sub(self.blobs);
        let end = file.content().len().min(from.saturating_add(room));
        self.blobs += end - from;
        self.files.push(FilePart {
            file: Arc::clone(file),
            blobs: from..end,
            offset,
        });
        end
    }
}
