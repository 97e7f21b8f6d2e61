//! Finding one entry of a snapshot by its path, as in `snapshot:path`.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use outlast_format::Node;
use outlast_object::Id;

use crate::{RepoError, Repository};

/// Splits `snapshot:path` at the first colon; the path is empty where there is none.
pub fn split_snapshot_path(text: &str) -> (&str, &str) {
    text.split_once(':').unwrap_or((text, ""))
}

/// The entry at `path` beneath `root`; `None` for the root itself, which has no entry. A path that
/// is not there, or that leads through something that is no directory, is
/// [`RepoError::Selection`].
pub fn find_entry(
    repository: &Repository,
    root: Id,
    path: &Path,
) -> Result<Option<Node>, RepoError> {
    let mut so_far = PathBuf::from("/");
    let mut tree = root;
    let mut found = None;
    for part in plain_parts(path)? {
        if let Some(node) = &found {
            tree = tree_of(node, &so_far)?;
        }
        so_far.push(part);
        let node = find_in_tree(repository, tree, part.as_bytes())?;
        let node = node.ok_or_else(|| {
            RepoError::Selection(format!(
                "path {}: not found in the snapshot",
                so_far.display()
            ))
        })?;
        found = Some(node);
    }
    Ok(found)
}

/// The tree of the directory at `path` beneath `root`.
pub fn resolve_subfolder(repository: &Repository, root: Id, path: &Path) -> Result<Id, RepoError> {
    match find_entry(repository, root, path)? {
        None => Ok(root),
        Some(node) => tree_of(&node, path),
    }
}

fn tree_of(node: &Node, path: &Path) -> Result<Id, RepoError> {
    let refuse = || RepoError::Selection(format!("path {}: not a directory", path.display()));
    match node.subtree {
        Some(tree) if node.is_directory() => Ok(tree),
        _ => Err(refuse()),
    }
}

/// The names along a path. `..` takes back a name, as cleaning the text would, and the root has
/// nothing above it.
fn plain_parts(path: &Path) -> Result<Vec<&OsStr>, RepoError> {
    let mut parts = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => parts.push(name),
            Component::ParentDir => {
                parts.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    if parts.len() > crate::TREE_DEPTH_MAX {
        return Err(RepoError::Selection(format!(
            "the path has more than {} parts",
            crate::TREE_DEPTH_MAX
        )));
    }
    Ok(parts)
}

fn find_in_tree(repository: &Repository, tree: Id, name: &[u8]) -> Result<Option<Node>, RepoError> {
    for node in repository.load_tree(tree)? {
        let node = node?;
        match node.name.as_slice().cmp(name) {
            std::cmp::Ordering::Less => {}
            std::cmp::Ordering::Equal => return Ok(Some(node)),
            std::cmp::Ordering::Greater => break,
        }
    }
    Ok(None)
}
