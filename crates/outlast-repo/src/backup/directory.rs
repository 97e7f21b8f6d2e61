//! Directories whose entries are still being worked on.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use outlast_format::{BlobHandle, BlobKind, Node, TreeBuilder};
use outlast_object::Id;
use parking_lot::Mutex;

use super::observer::{ItemChange, ItemStatistics};
use super::{Run, Workbench};
use crate::RepoError;

/// A directory that becomes a tree when its last entry is done.
pub(super) struct Directory {
    path: PathBuf,
    /// What to do when it is complete; `None` for the root, and once that is done.
    completion: Mutex<Option<Completion>>,
    /// One place for each name; it stays empty for what is left out.
    entries: Mutex<Vec<Option<Box<Node>>>>,
    /// Entries being worked on, and one more while the directory is being walked.
    remaining: AtomicUsize,
    started: Duration,
}

/// Where the entry of a directory goes when its tree is stored.
struct Completion {
    node: Node,
    previous: Option<Node>,
    slot: Slot,
}

/// The place of an entry in its directory. Every slot must be filled or given up.
pub(super) struct Slot {
    directory: Arc<Directory>,
    index: usize,
}

impl Directory {
    /// The root.
    pub(super) fn root(path: PathBuf, names: usize) -> Arc<Self> {
        Self::make(path, None, names, Duration::ZERO)
    }

    /// A directory whose entry goes into `slot`.
    pub(super) fn new(
        path: PathBuf,
        (node, previous): (Node, Option<Node>),
        slot: Slot,
        names: usize,
        started: Duration,
    ) -> Arc<Self> {
        Self::make(
            path,
            Some(Completion {
                node,
                previous,
                slot,
            }),
            names,
            started,
        )
    }

    fn make(
        path: PathBuf,
        completion: Option<Completion>,
        names: usize,
        started: Duration,
    ) -> Arc<Self> {
        let entries = std::iter::repeat_with(|| None).take(names).collect();
        let entries = Mutex::new(entries);
        let remaining = AtomicUsize::new(1);
        Arc::new(Self {
            path,
            completion: Mutex::new(completion),
            entries,
            remaining,
            started,
        })
    }

    /// The place of the entry with this number.
    pub(super) fn slot(self: &Arc<Self>, index: usize) -> Slot {
        self.remaining.fetch_add(1, Ordering::Relaxed);
        Slot {
            directory: Arc::clone(self),
            index,
        }
    }

    /// All entries were looked at.
    pub(super) fn walked(
        self: Arc<Self>,
        run: &Run<'_>,
        bench: &mut Workbench,
    ) -> Result<(), RepoError> {
        release(self, run, bench)
    }

    /// Stores the tree.
    fn store(&self, run: &Run<'_>, bench: &mut Workbench) -> Result<(Id, u64, u64), RepoError> {
        let entries = std::mem::take(&mut *self.entries.lock());
        let mut builder = TreeBuilder::new();
        for node in entries.into_iter().flatten() {
            builder.push(&node)?;
        }
        let bytes = builder.finish();
        let saved = run
            .saver
            .save(BlobKind::Tree, &bytes, bench.tree.as_mut())?;
        run.saver.need(BlobHandle::tree(saved.id));
        if !saved.new {
            keep_locally(run, bench, saved.id, &bytes)?;
        }
        let added = if saved.new { bytes.len() as u64 } else { 0 };
        Ok((saved.id, added, saved.stored_bytes))
    }
}

impl Slot {
    /// Puts the finished entry in its place; stores the directory if it was the last one.
    pub(super) fn fill(
        self,
        node: Node,
        run: &Run<'_>,
        bench: &mut Workbench,
    ) -> Result<(), RepoError> {
        self.directory.entries.lock()[self.index] = Some(Box::new(node));
        release(self.directory, run, bench)
    }

    /// Leaves the place empty.
    pub(super) fn give_up(self, run: &Run<'_>, bench: &mut Workbench) -> Result<(), RepoError> {
        release(self.directory, run, bench)
    }
}

/// One thing less to wait for. A directory that is complete is stored and put into its parent,
/// which may thereby be complete as well; a loop, since directories can be nested very deeply.
fn release(
    directory: Arc<Directory>,
    run: &Run<'_>,
    bench: &mut Workbench,
) -> Result<(), RepoError> {
    let mut current = directory;
    loop {
        if current.remaining.fetch_sub(1, Ordering::AcqRel) != 1 {
            return Ok(());
        }
        let (tree, added, stored) = current.store(run, bench)?;
        let completion = current.completion.lock().take();
        let Some(Completion {
            mut node,
            previous,
            slot,
        }) = completion
        else {
            *run.root.lock() = Some(tree);
            return Ok(());
        };
        node.subtree = Some(tree);
        let change = ItemChange::of(previous.as_ref(), &node);
        let now = run.repository.environment().clock.monotonic();
        let statistics = ItemStatistics {
            tree_bytes_added: added,
            tree_bytes_stored: stored,
            duration: now.saturating_sub(current.started),
            ..ItemStatistics::default()
        };
        run.counts.directory(change);
        run.observer
            .item_done(&current.path, &node, change, &statistics);
        slot.directory.entries.lock()[slot.index] = Some(Box::new(node));
        current = slot.directory;
    }
}

/// Keeps a tree that is in the repository and that the next backup could not have from anywhere: where
/// packs cannot be read and the cache does not have it.
fn keep_locally(
    run: &Run<'_>,
    bench: &mut Workbench,
    tree: Id,
    plaintext: &[u8],
) -> Result<(), RepoError> {
    let repository = run.repository;
    let complete = run.options.parent.is_some() && run.trees_denied.load(Ordering::Relaxed) == 0;
    if complete || run.options.dry_run || repository.store().capabilities().reads_packs {
        return Ok(());
    }
    match repository.load_tree(tree) {
        Err(error) if error.is_denied() => {
            let trees = repository.local_trees();
            trees.keep(repository.key(), tree, plaintext, bench.tree.as_mut())
        }
        // It is there; or still on its way, and then it gets into the cache.
        _ => Ok(()),
    }
}
