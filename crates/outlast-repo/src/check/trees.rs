//! Looking through all trees that snapshots need, each once, on several threads.

use std::collections::HashSet;

use outlast_format::{BlobHandle, Node, NodeKind, TREE_BYTES_MAX};
use outlast_object::Id;
use parking_lot::{Condvar, Mutex};

use super::documents::SnapshotRoot;
use super::report::Findings;
use super::{CheckObserver, Finding};
use crate::byte_budget::ByteBudget;
use crate::used_blobs::UsedBlobs;
use crate::{Cancel, RepoError, Repository, Stage, TREE_DEPTH_MAX, is_valid_name, threads};

/// Threads that read trees at most.
const THREADS_MAX: usize = 8;

/// Bytes of trees that all threads hold together, unless a single one is larger.
const BYTES_HELD_MAX: u64 = 256 * 1024 * 1024;

/// What is wrong with trees and what they need.
#[derive(Debug, Default)]
pub(super) struct TreeDamage {
    /// Blobs that no index lists, and trees that cannot be read.
    pub(super) lost: HashSet<BlobHandle>,
    /// Whether there are trees that can be read and have entries that cannot be.
    pub(super) has_bad_entries: bool,
}

struct Pending {
    tree: Id,
    root: usize,
    depth: usize,
}

#[derive(Default)]
struct State {
    stack: Vec<Pending>,
    /// Trees that are waiting or being read, for each root.
    open: Vec<u64>,
    at_work: usize,
    trees: u64,
    trees_denied: u64,
    failure: Option<RepoError>,
    damage: TreeDamage,
}

/// A look through all trees.
pub(super) struct TreeCheck<'a> {
    repository: &'a Repository,
    used: &'a UsedBlobs,
    findings: &'a Findings<'a>,
    observer: &'a dyn CheckObserver,
    cancel: &'a Cancel,
    budget: ByteBudget,
    state: Mutex<State>,
    /// Told when `state` has more work or none is left.
    changed: Condvar,
}

impl<'a> TreeCheck<'a> {
    pub(super) fn new(
        repository: &'a Repository,
        used: &'a UsedBlobs,
        findings: &'a Findings<'a>,
        observer: &'a dyn CheckObserver,
        cancel: &'a Cancel,
    ) -> Self {
        Self {
            repository,
            used,
            findings,
            observer,
            cancel,
            budget: ByteBudget::new(BYTES_HELD_MAX),
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    /// Looks through everything beneath `roots`, and marks what they need.
    pub(super) fn run(self, roots: &[SnapshotRoot]) -> Result<TreeDamage, RepoError> {
        self.observer.begin(Stage::CheckTrees, roots.len() as u64);
        self.state.lock().open = vec![0; roots.len()];
        // The last comes first from the stack.
        for (number, root) in roots.iter().enumerate().rev() {
            let tree = root.snapshot.tree;
            self.add_trees(number, 0, &[tree], tree);
            if self.state.lock().open[number] == 0 {
                self.observer.advance(Stage::CheckTrees, 1);
            }
        }
        let workers = self.repository.store().connections().clamp(1, THREADS_MAX);
        threads::run(workers, &|| {
            self.work();
            Ok(())
        })?;
        let state = self.state.into_inner();
        let (read, denied) = (state.trees - state.trees_denied, state.trees_denied);
        self.findings.totals(|totals| {
            totals.trees = read;
            totals.trees_not_checked = denied;
        });
        if denied > 0 {
            self.findings
                .add(Finding::TreesNotChecked { trees: denied });
        }
        match state.failure {
            Some(failure) => Err(failure),
            None => Ok(state.damage),
        }
    }

    /// Puts those trees on the stack that nobody has met yet. `parent` needs them.
    fn add_trees(&self, root: usize, depth: usize, trees: &[Id], parent: Id) {
        for tree in trees {
            let handle = BlobHandle::tree(*tree);
            let marked = self.used.mark(&self.repository.index(), handle);
            let mut state = self.state.lock();
            match marked {
                Some(true) => {
                    state.open[root] += 1;
                    state.stack.push(Pending {
                        tree: *tree,
                        root,
                        depth,
                    });
                    self.changed.notify_one();
                }
                Some(false) => {}
                None => self.missing(&mut state, handle, parent),
            }
        }
    }

    fn missing(&self, state: &mut State, handle: BlobHandle, tree: Id) {
        if state.damage.lost.insert(handle) {
            self.findings.add(Finding::MissingBlob { handle, tree });
        }
    }

    fn work(&self) {
        while let Some(pending) = self.next() {
            let result = self.visit(&pending);
            let mut state = self.state.lock();
            state.at_work -= 1;
            state.trees += 1;
            let open = &mut state.open[pending.root];
            *open -= 1;
            if *open == 0 {
                self.observer.advance(Stage::CheckTrees, 1);
            }
            if let Err(error) = result {
                state.failure.get_or_insert(error);
                state.stack.clear();
            }
            self.changed.notify_all();
        }
    }

    /// The next tree; waits for others who may yet find some. `None` when all is done.
    fn next(&self) -> Option<Pending> {
        let mut state = self.state.lock();
        loop {
            if state.failure.is_some() {
                return None;
            }
            if let Some(pending) = state.stack.pop() {
                state.at_work += 1;
                return Some(pending);
            }
            if state.at_work == 0 {
                return None;
            }
            self.changed.wait(&mut state);
        }
    }

    fn visit(&self, pending: &Pending) -> Result<(), RepoError> {
        self.cancel.check()?;
        let tree = pending.tree;
        let _held = self.budget.take(self.bytes_of(tree));
        let nodes = match self.repository.load_tree(tree) {
            Ok(nodes) => nodes,
            Err(error) if error.is_denied() => {
                self.state.lock().trees_denied += 1;
                return Ok(());
            }
            Err(error) => {
                let reason = self.repository.of_one_object(error)?.to_string();
                self.findings.add(Finding::UnreadableTree { tree, reason });
                let lost = &mut self.state.lock().damage.lost;
                lost.insert(BlobHandle::tree(tree));
                return Ok(());
            }
        };
        if pending.depth == TREE_DEPTH_MAX {
            let reason = format!("it lies deeper than {TREE_DEPTH_MAX} directories");
            self.bad(tree, reason);
        }
        let mut subtrees = Vec::new();
        for node in nodes {
            match node {
                Ok(node) => {
                    self.check_name(tree, &node);
                    self.check_node(tree, &node);
                    let subtree = node.subtree.filter(|tree| *tree != Id::default());
                    subtrees.extend(subtree.filter(|_| node.is_directory()));
                }
                Err(error) => self.bad(tree, error.to_string()),
            }
        }
        self.add_trees(pending.root, pending.depth + 1, &subtrees, tree);
        Ok(())
    }

    /// The most that a tree can take in memory by what the index claims; more than that is never
    /// unpacked.
    fn bytes_of(&self, tree: Id) -> u64 {
        let index = self.repository.index();
        let places = index.find(BlobHandle::tree(tree));
        let bytes = places.map(|place| u64::from(place.blob.plaintext_length()));
        bytes.max().unwrap_or_default().min(TREE_BYTES_MAX)
    }

    fn bad(&self, tree: Id, reason: String) {
        self.state.lock().damage.has_bad_entries = true;
        self.findings.add(Finding::BadTree { tree, reason });
    }

    fn check_name(&self, tree: Id, node: &Node) {
        if !is_valid_name(&node.name) {
            let reason = format!("an entry has the impossible name {:?}", node.name_lossy());
            self.bad(tree, reason);
        }
    }

    fn check_node(&self, tree: Id, node: &Node) {
        let name = || node.name_lossy();
        match &node.kind {
            NodeKind::File => match &node.content {
                None => self.bad(tree, format!("the file {:?} has no content", name())),
                Some(content) => self.check_content(tree, content),
            },
            NodeKind::Directory if node.subtree.is_none_or(|subtree| subtree == Id::default()) => {
                self.bad(tree, format!("the directory {:?} has no tree", name()));
            }
            NodeKind::Other(kind) => {
                let reason = format!("{:?} is of the unknown kind {kind:?}", name());
                self.bad(tree, reason);
            }
            _ => {}
        }
    }

    fn check_content(&self, tree: Id, content: &[Id]) {
        let index = self.repository.index();
        for id in content {
            let handle = BlobHandle::data(*id);
            if self.used.mark(&index, handle).is_none() {
                self.missing(&mut self.state.lock(), handle, tree);
            }
        }
    }
}
