//! Links, special files, and directories when all beneath them is done.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use outlast_format::NodeKind;
use outlast_object::Id;
use outlast_source::{SourceError, Target};
use parking_lot::Mutex;

use super::Run;
use super::existing::may_overwrite;
use super::file::relative;
use super::observer::{RestoreAction, RestoreProblem};
use super::window::{Leave, Other};
use super::write::apply_metadata;
use crate::{RepoError, WalkProblem};

/// What became of a file that has several names, where it is not as in the snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OddFirst {
    /// It could not be restored. What is at its place, if anything, is not what was meant.
    Lost,
    /// It was there and stays as it was.
    Kept,
}

/// Such files, by their paths within the snapshot.
pub(super) type OddFirsts = Mutex<HashMap<PathBuf, OddFirst>>;

/// Makes a link or a special file.
pub(super) fn make_other(run: &Run<'_>, other: &Other) -> Result<(), RepoError> {
    let path = relative(&other.path);
    let first = other.link_to.as_ref();
    let odd = first.and_then(|first| run.odd_firsts.lock().get(first).copied());
    if let (Some(first), Some(OddFirst::Lost)) = (first, odd) {
        let problem = RestoreProblem::LinkLost(first.clone());
        run.reporter.error(&other.path, problem);
        return Ok(());
    }
    let made = match &run.target {
        None => Ok(true),
        Some(target) => replace(run, target, path, other),
    };
    match made {
        Ok(true) => {
            // Metadata belongs to all names of a file; one that stays as it was keeps its own.
            let untouched = run.options.dry_run || odd.is_some();
            if let (Some(target), false) = (&run.target, untouched) {
                apply_metadata(run, target, &other.path, path, &other.node)?;
            }
            run.reporter
                .done(&other.path, RestoreAction::OtherRestored, 0);
        }
        Ok(false) => run.reporter.done(&other.path, RestoreAction::Unchanged, 0),
        Err(error) => run.target_failed(&other.path, error)?,
    }
    Ok(())
}

/// `false` where what is there stays.
fn replace(
    run: &Run<'_>,
    target: &Target,
    path: &Path,
    other: &Other,
) -> Result<bool, SourceError> {
    if let Some(stat) = target.stat(path)? {
        if !may_overwrite(run.options.overwrite, &other.node, &stat) {
            return Ok(false);
        }
        if run.options.dry_run {
            return Ok(true);
        }
        if run.options.delete {
            target.remove(path)?;
        } else {
            target.remove_single(path)?;
        }
    }
    if run.options.dry_run {
        return Ok(true);
    }
    match (&other.link_to, &other.node.kind) {
        (Some(first), _) => target.make_hard_link(path, relative(first))?,
        (None, NodeKind::Symlink) => target.make_symlink(path, &other.node.link_target)?,
        (None, _) => target.make_special(path, &other.node)?,
    }
    Ok(true)
}

/// Removes what does not belong into a directory, and puts back its metadata.
pub(super) fn finish_directory(run: &Run<'_>, leave: &Leave) -> Result<(), RepoError> {
    let path = relative(&leave.path);
    if let (Some(tree), Some(target)) = (leave.delete_beside, &run.target) {
        match delete_beside(run, target, &leave.path, tree) {
            Ok(()) => {}
            Err(DeleteError::Target(error)) if error.is_not_found() => {}
            Err(DeleteError::Target(error)) => run.target_failed(&leave.path, error)?,
            Err(DeleteError::Repository(error)) => return Err(error),
        }
    }
    let Some(node) = &leave.node else {
        return Ok(());
    };
    if let (Some(target), false) = (&run.target, run.options.dry_run) {
        apply_metadata(run, target, &leave.path, path, node)?;
    }
    run.reporter
        .done(&leave.path, RestoreAction::DirectoryRestored, 0);
    Ok(())
}

enum DeleteError {
    Target(SourceError),
    Repository(RepoError),
}

impl From<SourceError> for DeleteError {
    fn from(error: SourceError) -> Self {
        DeleteError::Target(error)
    }
}

impl From<RepoError> for DeleteError {
    fn from(error: RepoError) -> Self {
        DeleteError::Repository(error)
    }
}

/// Compares the names on disk with those of the tree, both sorted, and removes what the tree lacks.
/// The tree is read once more for that, so that no names need to be kept until now.
fn delete_beside(run: &Run<'_>, target: &Target, path: &Path, tree: Id) -> Result<(), DeleteError> {
    let names = target.list(relative(path))?;
    if names.is_empty() {
        return Ok(());
    }
    let mut expected = match run.repository.load_tree(tree) {
        Ok(reader) => reader.peekable(),
        Err(error) => {
            let reason = run.repository.of_one_object(error)?;
            let problem = WalkProblem::TreeUnreadable { tree, reason };
            run.reporter.error(path, RestoreProblem::Snapshot(problem));
            return Ok(());
        }
    };
    let mut unexpected = Vec::new();
    for name in names {
        while matches!(expected.peek(), Some(Ok(node)) if node.name < name) {
            expected.next();
        }
        match expected.peek() {
            Some(Ok(node)) if node.name == name => {}
            // Whoever cannot read the tree does not know what to remove.
            Some(Err(_)) => return Ok(()),
            _ => unexpected.push(name),
        }
    }
    for name in unexpected {
        run.cancel.check()?;
        let place = path.join(OsStr::from_bytes(&name));
        let kept = run.set_aside.lock().contains(relative(&place));
        if !kept && run.options.selection.choose(&place).selected {
            delete(run, target, &place)?;
        }
    }
    Ok(())
}

/// Removes an entry with all that is beneath it, and tells each.
fn delete(run: &Run<'_>, target: &Target, path: &Path) -> Result<(), DeleteError> {
    let mut found: Vec<PathBuf> = Vec::new();
    let mut stack = vec![path.to_owned()];
    while let Some(path) = stack.pop() {
        run.cancel.check()?;
        let is_directory = target.stat(relative(&path))?.is_some_and(|stat| {
            rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::Directory
        });
        if is_directory {
            let names = target.list(relative(&path))?;
            stack.extend(names.iter().map(|name| path.join(OsStr::from_bytes(name))));
        }
        found.push(path);
    }
    if !run.options.dry_run {
        target.remove(relative(path))?;
    }
    for path in found.iter().rev() {
        run.reporter.done(path, RestoreAction::Deleted, 0);
    }
    Ok(())
}
