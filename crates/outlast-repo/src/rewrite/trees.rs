//! Writing the trees of a snapshot again without what is left out.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use outlast_format::{BlobHandle, BlobKind, Compressor, Node, TreeBuilder, TreeReader};
use outlast_object::Id;

use super::TreeFilter;
use crate::{Cancel, RepoError, Saver, TREE_BYTES_HELD_MAX, TREE_DEPTH_MAX, is_valid_name};

/// What became of a root tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rewritten {
    pub(super) tree: Id,
    /// Files that remain.
    pub(super) files: u64,
    /// Bytes of these files.
    pub(super) bytes: u64,
}

impl TreeFilter {
    fn keeps(&self, path: &Path, node: &Node) -> bool {
        match self {
            TreeFilter::Exclude(lists) => !lists.iter().any(|list| list.matches(path)),
            TreeFilter::Include(lists) => lists.iter().any(|list| {
                list.matches(path) || (node.is_directory() && list.child_may_match(path))
            }),
        }
    }

    /// Whether a directory remains though nothing in it does.
    fn keeps_empty(&self, path: &Path) -> bool {
        match self {
            TreeFilter::Exclude(_) => true,
            TreeFilter::Include(lists) => lists.iter().any(|list| list.matches(path)),
        }
    }
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
    entries: usize,
}

struct Rewriting<'a, 's> {
    saver: &'a Saver<'s>,
    filter: Option<&'a TreeFilter>,
    compressor: Option<Compressor>,
    /// From the root down to the current directory; a stack of our own, because a snapshot may
    /// nest directories deeper than a thread's stack would bear.
    levels: Vec<Level>,
    bytes_held: u64,
}

/// Writes a tree and all beneath it again. `None` where nothing would remain. A tree that says more
/// than this program understands is refused, since it would say less afterwards.
pub(super) fn rewrite_tree(
    saver: &Saver<'_>,
    root: Id,
    filter: Option<&TreeFilter>,
    cancel: &Cancel,
) -> Result<Option<Rewritten>, RepoError> {
    let mut rewriting = Rewriting {
        saver,
        filter,
        compressor: saver.compressor(BlobKind::Tree)?,
        levels: Vec::new(),
        bytes_held: 0,
    };
    let (mut files, mut bytes) = (0, 0);
    rewriting.enter(root, PathBuf::from("/"), None)?;
    loop {
        cancel.check()?;
        let Some(level) = rewriting.levels.last_mut() else {
            return Ok(None);
        };
        let Some(node) = level.reader.next().transpose()? else {
            let (tree, entry) = rewriting.leave()?;
            match (rewriting.levels.last_mut(), tree, entry) {
                (None, tree, _) => {
                    return Ok(tree.map(|tree| Rewritten { tree, files, bytes }));
                }
                (Some(parent), Some(tree), Some(mut node)) => {
                    node.subtree = Some(tree);
                    parent.push(&node)?;
                }
                // Nothing remains of the directory.
                _ => {}
            }
            continue;
        };
        let path = level.path_of(&node)?;
        if filter.is_some_and(|filter| !filter.keeps(&path, &node)) {
            continue;
        }
        if node.is_directory() {
            let tree = node.subtree.ok_or_else(|| {
                RepoError::Refused(format!("the directory {} has no tree", path.display()))
            })?;
            rewriting.enter(tree, path, Some(node))?;
            continue;
        }
        if node.is_file() {
            files += 1;
            bytes += node.size;
        }
        level.push(&node)?;
    }
}

impl Level {
    fn path_of(&self, node: &Node) -> Result<PathBuf, RepoError> {
        if is_valid_name(&node.name) {
            return Ok(self.path.join(OsStr::from_bytes(&node.name)));
        }
        Err(RepoError::Refused(format!(
            "{} has an entry with the impossible name {:?}",
            self.path.display(),
            node.name_lossy()
        )))
    }

    fn push(&mut self, node: &Node) -> Result<(), RepoError> {
        self.builder.push(node)?;
        self.entries += 1;
        Ok(())
    }
}

impl Rewriting<'_, '_> {
    fn enter(&mut self, tree: Id, path: PathBuf, entry: Option<Node>) -> Result<(), RepoError> {
        let refuse =
            |reason: &str| Err(RepoError::Refused(format!("{}: {reason}", path.display())));
        if self.levels.len() >= TREE_DEPTH_MAX {
            return refuse("the directory lies too deep");
        }
        if self.levels.iter().any(|level| level.tree == tree) {
            return refuse("the directory contains itself");
        }
        let plaintext = self.saver.repository().load_blob(BlobHandle::tree(tree))?;
        let bytes = plaintext.len() as u64;
        if self.bytes_held + bytes > TREE_BYTES_HELD_MAX {
            return refuse("the trees down to the directory are too large together");
        }
        if !is_written_alike(&plaintext)? {
            return refuse("the tree cannot be written again without losing information");
        }
        self.bytes_held += bytes;
        self.levels.push(Level {
            tree,
            path,
            entry,
            reader: TreeReader::new(plaintext),
            bytes,
            builder: TreeBuilder::new(),
            entries: 0,
        });
        Ok(())
    }

    /// Stores the tree that is done; gives its new id, if anything of it remains, and its entry.
    fn leave(&mut self) -> Result<(Option<Id>, Option<Node>), RepoError> {
        let Some(level) = self.levels.pop() else {
            return Ok((None, None));
        };
        self.bytes_held -= level.bytes;
        let keeps_empty = self
            .filter
            .is_none_or(|filter| filter.keeps_empty(&level.path));
        if level.entries == 0 && !keeps_empty {
            return Ok((None, level.entry));
        }
        let plaintext = level.builder.finish();
        let saved = self
            .saver
            .save(BlobKind::Tree, &plaintext, self.compressor.as_mut())?;
        Ok((Some(saved.id), level.entry))
    }
}

/// Whether the tree, written again unchanged, has the same bytes.
fn is_written_alike(plaintext: &[u8]) -> Result<bool, RepoError> {
    let mut builder = TreeBuilder::new();
    for node in TreeReader::new(plaintext) {
        builder.push(&node?)?;
    }
    Ok(builder.finish() == plaintext)
}
