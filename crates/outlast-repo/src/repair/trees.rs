//! Writing the trees of a snapshot again without what is lost.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use outlast_format::{BlobHandle, BlobKind, Compressor, Node, NodeKind, TreeBuilder, TreeReader};
use outlast_object::Id;

use crate::{Cancel, RepoError, Saver, TREE_BYTES_HELD_MAX, TREE_DEPTH_MAX, is_valid_name};

/// What was taken away from a snapshot, because it is lost.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Trimmed {
    /// Pieces of a file's content.
    #[error("file {}: removed missing content ({lost} of {total} pieces)", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// Pieces that are lost.
        lost: usize,
        /// Pieces there were.
        total: usize,
    },
    /// Nothing; only the size that was named was not that of the content.
    #[error("file {}: fixed incorrect size", path.display())]
    Size {
        /// The file.
        path: PathBuf,
    },
    /// All that was in a directory.
    #[error("directory {}: replaced with an empty directory ({reason})", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The rest of the entries of a directory.
    #[error("directory {}: removed unreadable entries ({reason})", path.display())]
    Entries {
        /// The directory.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// An entry with an impossible name or of an unknown kind.
    #[error("{}: removed an entry that cannot be ({reason})", path.display())]
    Entry {
        /// The entry, or its directory where it has an impossible name.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

/// A tree that is being written again.
struct Level {
    tree: Id,
    path: PathBuf,
    /// The entry of the directory; `None` for the root.
    entry: Option<Node>,
    reader: TreeReader<Vec<u8>>,
    bytes: u64,
    builder: TreeBuilder,
    changed: bool,
}

/// Repairs trees; remembers those that it has seen.
pub(super) struct TreeRepair<'a, 's> {
    saver: &'a Saver<'s>,
    compressor: Option<Compressor>,
    /// What became of each tree.
    done: &'a mut HashMap<Id, Id>,
    report: &'a mut dyn FnMut(Trimmed),
    levels: Vec<Level>,
    bytes_held: u64,
}

/// How a directory's tree comes in.
enum Entered {
    /// Its entries come next.
    Open,
    /// It was repaired before, or is left as it is.
    Known(Id),
    /// It cannot be read.
    Lost(String),
}

impl<'a, 's> TreeRepair<'a, 's> {
    pub(super) fn new(
        saver: &'a Saver<'s>,
        done: &'a mut HashMap<Id, Id>,
        report: &'a mut dyn FnMut(Trimmed),
    ) -> Result<Self, RepoError> {
        Ok(Self {
            saver,
            compressor: saver.compressor(BlobKind::Tree)?,
            done,
            report,
            levels: Vec::new(),
            bytes_held: 0,
        })
    }

    /// The repaired tree. `None` if the root itself cannot be read, so that nothing remains. Trees
    /// without damage stay as they are, to the byte.
    pub(super) fn repair(mut self, root: Id, cancel: &Cancel) -> Result<Option<Id>, RepoError> {
        match self.enter(root, PathBuf::from("/"), None)? {
            Entered::Open => {}
            Entered::Known(tree) => return Ok(Some(tree)),
            Entered::Lost(reason) => {
                let path = PathBuf::from("/");
                (self.report)(Trimmed::Directory { path, reason });
                return Ok(None);
            }
        }
        loop {
            cancel.check()?;
            let Some(level) = self.levels.last_mut() else {
                return Ok(None);
            };
            match level.reader.next() {
                Some(Ok(node)) => self.entry(node)?,
                Some(Err(error)) => {
                    level.changed = true;
                    let (path, reason) = (level.path.clone(), error.to_string());
                    (self.report)(Trimmed::Entries { path, reason });
                }
                None => {
                    if let Some(root) = self.leave()? {
                        return Ok(Some(root));
                    }
                }
            }
        }
    }

    fn entry(&mut self, mut node: Node) -> Result<(), RepoError> {
        let Some(level) = self.levels.last_mut() else {
            return Ok(());
        };
        if !is_valid_name(&node.name) {
            level.changed = true;
            let reason = format!("its name is {:?}", node.name_lossy());
            let path = level.path.clone();
            (self.report)(Trimmed::Entry { path, reason });
            return Ok(());
        }
        let path = level.path.join(OsStr::from_bytes(&node.name));
        if let NodeKind::Other(kind) = &node.kind {
            level.changed = true;
            let reason = format!("it is of the unknown kind {kind:?}");
            (self.report)(Trimmed::Entry { path, reason });
            return Ok(());
        }
        if node.is_directory() {
            return self.directory(node, path);
        }
        let changed = node.is_file() && self.trim_content(&mut node, &path)?;
        self.push(&node, changed)
    }

    fn push(&mut self, node: &Node, changed: bool) -> Result<(), RepoError> {
        if let Some(level) = self.levels.last_mut() {
            level.builder.push(node)?;
            level.changed |= changed;
        }
        Ok(())
    }

    /// Takes away the pieces that no index lists; whether anything changed.
    fn trim_content(&mut self, node: &mut Node, path: &Path) -> Result<bool, RepoError> {
        let content = node.content.take();
        let had_list = content.is_some();
        let content = content.unwrap_or_default();
        let total = content.len();
        let mut size = 0_u64;
        let mut kept = Vec::with_capacity(total);
        for id in content {
            if let Some(bytes) = self.length_of(BlobHandle::data(id))? {
                size = size.saturating_add(bytes);
                kept.push(id);
            }
        }
        let lost = total - kept.len();
        let path = path.to_owned();
        if lost > 0 || !had_list {
            (self.report)(Trimmed::Content { path, lost, total });
        } else if size != node.size {
            (self.report)(Trimmed::Size { path });
        }
        let changed = lost > 0 || !had_list || size != node.size;
        node.content = Some(kept);
        node.size = size;
        Ok(changed)
    }

    /// Length of a blob's plaintext; `None` where no index lists it. Where entries contradict each
    /// other, one of them is a lie, and the blob itself is asked.
    fn length_of(&self, handle: BlobHandle) -> Result<Option<u64>, RepoError> {
        let repository = self.saver.repository();
        let claims: Vec<u64> = {
            let index = repository.index();
            let places = index.find(handle);
            places
                .map(|place| place.blob.plaintext_length().into())
                .collect()
        };
        let Some(first) = claims.first() else {
            return Ok(None);
        };
        if claims.iter().all(|claim| claim == first) {
            return Ok(Some(*first));
        }
        match repository.load_blob(handle) {
            Ok(plaintext) => Ok(Some(plaintext.len() as u64)),
            Err(error) => {
                repository.of_one_damaged_object(error)?;
                Ok(Some(*first))
            }
        }
    }

    fn directory(&mut self, mut node: Node, path: PathBuf) -> Result<(), RepoError> {
        let entered = match node.subtree {
            Some(tree) => self.enter(tree, path.clone(), Some(&node))?,
            None => Entered::Lost("it has no tree".to_owned()),
        };
        let tree = match entered {
            Entered::Open => return Ok(()),
            Entered::Known(tree) => tree,
            Entered::Lost(reason) => {
                (self.report)(Trimmed::Directory { path, reason });
                self.save(&TreeBuilder::new().finish())?
            }
        };
        let changed = node.subtree != Some(tree);
        node.subtree = Some(tree);
        self.push(&node, changed)
    }

    fn enter(
        &mut self,
        tree: Id,
        path: PathBuf,
        entry: Option<&Node>,
    ) -> Result<Entered, RepoError> {
        if let Some(known) = self.done.get(&tree) {
            return Ok(Entered::Known(*known));
        }
        // Nobody can restore from there, but it is not known to be damaged either.
        if self.levels.len() >= TREE_DEPTH_MAX || self.levels.iter().any(|level| level.tree == tree)
        {
            return Ok(Entered::Known(tree));
        }
        let repository = self.saver.repository();
        let plaintext = match repository.load_blob(BlobHandle::tree(tree)) {
            Ok(plaintext) => plaintext,
            Err(error) => {
                let reason = repository.of_one_damaged_object(error)?.to_string();
                return Ok(Entered::Lost(reason));
            }
        };
        let bytes = plaintext.len() as u64;
        if self.bytes_held + bytes > TREE_BYTES_HELD_MAX {
            return Ok(Entered::Known(tree));
        }
        self.bytes_held += bytes;
        self.levels.push(Level {
            tree,
            path,
            entry: entry.cloned(),
            reader: TreeReader::new(plaintext),
            bytes,
            builder: TreeBuilder::new(),
            changed: false,
        });
        Ok(Entered::Open)
    }

    /// Finishes the current tree; gives the root's id when it was the root.
    fn leave(&mut self) -> Result<Option<Id>, RepoError> {
        let Some(level) = self.levels.pop() else {
            return Ok(None);
        };
        self.bytes_held -= level.bytes;
        let tree = if level.changed {
            self.save(&level.builder.finish())?
        } else {
            level.tree
        };
        self.done.insert(level.tree, tree);
        let Some(mut node) = level.entry else {
            return Ok(Some(tree));
        };
        node.subtree = Some(tree);
        self.push(&node, level.changed)?;
        Ok(None)
    }

    fn save(&mut self, plaintext: &[u8]) -> Result<Id, RepoError> {
        let compressor = self.compressor.as_mut();
        Ok(self.saver.save(BlobKind::Tree, plaintext, compressor)?.id)
    }
}
