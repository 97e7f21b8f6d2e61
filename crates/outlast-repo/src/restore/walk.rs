//! From the trees of a snapshot to windows of work. Directories are made on the way.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crossbeam_channel::Sender;
use outlast_format::{Node, NodeKind};
use outlast_object::Id;

use super::Run;
use super::file::{FileWork, blob_length, relative};
use super::observer::RestoreProblem;
use super::options::Overwrite;
use super::window::{Leave, Other, Window};
use crate::{RepoError, TreeWalk, WalkEntry, WalkStep};

/// Files with several names whose other names are still expected. Beyond that, names are restored
/// as files of their own.
const HARD_LINKS_MAX: usize = 1_000_000;

/// A directory whose entries are being planned.
struct OpenDirectory {
    path: PathBuf,
    /// `None` for the root.
    node: Option<Node>,
    tree: Id,
    selected: bool,
    /// Whether it exists in the target.
    made: bool,
    /// Whether it was made by this restore and so was empty.
    fresh: bool,
    /// Whether something beneath it is restored.
    has_restored: bool,
    /// Its tree is damaged, so nobody knows what belongs into it.
    damaged: bool,
}

/// The file that was first restored for an inode, and how many more names it has.
struct FirstName {
    path: PathBuf,
    names_left: u64,
}

pub(super) struct Planner<'a> {
    run: &'a Run<'a>,
    windows: Sender<Window>,
    window: Window,
    stack: Vec<OpenDirectory>,
    links: HashMap<(u64, u64), FirstName>,
    files: u64,
}

impl<'a> Planner<'a> {
    pub(super) fn new(run: &'a Run<'a>, windows: Sender<Window>) -> Self {
        Self {
            run,
            windows,
            window: Window::default(),
            stack: Vec::new(),
            links: HashMap::new(),
            files: 0,
        }
    }

    /// Plans everything beneath `tree`.
    pub(super) fn plan(mut self, tree: Id) -> Result<(), RepoError> {
        let run = self.run;
        self.stack.push(OpenDirectory {
            path: PathBuf::from("/"),
            node: None,
            tree,
            selected: false,
            made: true,
            fresh: false,
            has_restored: false,
            damaged: false,
        });
        let mut walk = TreeWalk::new(run.repository, Path::new("/"), tree, run.cancel);
        while let Some(step) = walk.step()? {
            match step {
                WalkStep::Entry(entry) if entry.node.is_directory() => {
                    if !self.directory(entry)? {
                        walk.skip_directory();
                    }
                }
                WalkStep::Entry(entry) => self.entry(entry)?,
                WalkStep::Leave(_) => self.leave()?,
                WalkStep::Problem { path, problem } => {
                    if let Some(directory) = self.stack.last_mut() {
                        directory.damaged = true;
                    }
                    run.reporter.error(&path, problem);
                }
            }
        }
        self.leave()?;
        self.flush()
    }

    fn flush(&mut self) -> Result<(), RepoError> {
        if self.window.is_empty() {
            return Ok(());
        }
        let window = std::mem::take(&mut self.window);
        // Nobody takes it when the other side has failed; its error is the one that counts.
        self.windows.send(window).map_err(|_| RepoError::Cancelled)
    }

    fn flush_if_full(&mut self) -> Result<(), RepoError> {
        if self.window.is_full() {
            self.flush()?;
        }
        Ok(())
    }

    /// Whether to go on beneath the directory.
    fn directory(&mut self, entry: WalkEntry) -> Result<bool, RepoError> {
        let choice = self.run.options.selection.choose(&entry.path);
        if !choice.selected && !choice.descend {
            return Ok(false);
        }
        let Some(tree) = entry.node.subtree else {
            // The walk reports it.
            self.push(entry, Id::default(), false);
            return Ok(true);
        };
        self.push(entry, tree, choice.selected);
        if choice.selected {
            self.run.reporter.planned(0);
            if !self.make_directories()? {
                self.stack.pop();
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn push(&mut self, entry: WalkEntry, tree: Id, selected: bool) {
        self.stack.push(OpenDirectory {
            path: entry.path,
            node: Some(entry.node),
            tree,
            selected,
            made: false,
            fresh: false,
            has_restored: false,
            damaged: false,
        });
    }

    /// Makes the directories down to the current one. `false` where one cannot be made.
    fn make_directories(&mut self) -> Result<bool, RepoError> {
        let first = self.stack.iter().position(|directory| !directory.made);
        let Some(first) = first else { return Ok(true) };
        for number in first..self.stack.len() {
            let parent_fresh = number > 0 && self.stack[number - 1].fresh;
            let directory = &mut self.stack[number];
            match make_directory(self.run, relative(&directory.path)) {
                Ok(made) => {
                    directory.made = true;
                    directory.fresh = made || parent_fresh;
                }
                Err(error) => {
                    self.run.target_failed(&directory.path, error)?;
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    fn leave(&mut self) -> Result<(), RepoError> {
        let Some(directory) = self.stack.pop() else {
            return Ok(());
        };
        let involved = directory.selected || directory.has_restored;
        if involved && let Some(parent) = self.stack.last_mut() {
            parent.has_restored = true;
        }
        if !involved || !directory.made {
            return Ok(());
        }
        let delete = self.run.options.delete && !directory.damaged && !directory.fresh;
        self.window.leaves.push(Leave {
            path: directory.path,
            node: directory.node,
            delete_beside: delete.then_some(directory.tree),
        });
        self.flush_if_full()
    }

    fn entry(&mut self, entry: WalkEntry) -> Result<(), RepoError> {
        let run = self.run;
        let ordinal = self.files;
        if entry.node.is_file() {
            self.files += 1;
        }
        if !run.options.selection.choose(&entry.path).selected {
            return Ok(());
        }
        if let NodeKind::Other(kind) = &entry.node.kind {
            let problem = RestoreProblem::UnknownKind(kind.clone());
            run.reporter.error(&entry.path, problem);
            return Ok(());
        }
        if !self.make_directories()? {
            return Ok(());
        }
        let fresh = match self.stack.last_mut() {
            Some(directory) => {
                directory.has_restored = true;
                directory.fresh
            }
            None => false,
        };
        let link_to = self.first_name(&entry);
        if !entry.node.is_file() || link_to.is_some() {
            run.reporter.planned(0);
            self.window.others.push(Other {
                path: entry.path,
                node: entry.node,
                link_to,
            });
            return self.flush_if_full();
        }
        self.file(FileWork::new(run, entry.path, entry.node, ordinal, fresh)?)
    }

    /// For a further name of a file: the first. Otherwise the file is remembered if it has more.
    fn first_name(&mut self, entry: &WalkEntry) -> Option<PathBuf> {
        let node = &entry.node;
        if !node.is_file() || node.links < 2 || node.inode == 0 {
            return None;
        }
        let key = (node.device_id, node.inode);
        if let Some(first) = self.links.get_mut(&key) {
            first.names_left = first.names_left.saturating_sub(1);
            if first.names_left == 0 {
                return self.links.remove(&key).map(|first| first.path);
            }
            return Some(first.path.clone());
        }
        if self.links.len() < HARD_LINKS_MAX {
            let first = FirstName {
                path: entry.path.clone(),
                names_left: node.links - 1,
            };
            self.links.insert(key, first);
        }
        None
    }

    fn file(&mut self, file: FileWork) -> Result<(), RepoError> {
        let file = Arc::new(file);
        let count = file.content().len();
        let (mut next, mut offset) = (0, 0);
        loop {
            let end = self.window.add_file(&file, next, offset);
            self.flush_if_full()?;
            if end == count {
                return Ok(());
            }
            for id in &file.content()[next..end] {
                offset += blob_length(self.run, *id)?.unwrap_or(0);
            }
            next = end;
        }
    }
}

/// Makes a directory; something else of that name gives way. Whether it was made.
fn make_directory(run: &Run<'_>, path: &Path) -> Result<bool, outlast_source::SourceError> {
    let Some(target) = run.target.as_ref() else {
        return Ok(true);
    };
    if run.options.dry_run {
        return Ok(target.stat(path)?.is_none());
    }
    match target.make_directory(path) {
        Err(error) if is_in_the_way(&error) && run.options.overwrite != Overwrite::Never => {
            target.remove_single(path)?;
            target.make_directory(path)
        }
        result => result,
    }
}

fn is_in_the_way(error: &outlast_source::SourceError) -> bool {
    matches!(error, outlast_source::SourceError::Io { source, .. }
        if source.kind() == std::io::ErrorKind::AlreadyExists)
}
