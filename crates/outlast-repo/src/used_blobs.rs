//! Which blobs snapshots need: one bit for each entry of the index.

use outlast_format::BlobHandle;
use outlast_object::Id;
use parking_lot::{Condvar, Mutex};

use crate::bits::Bits;
use crate::index::EntryNumbers;
use crate::{BlobIndex, Cancel, Progress, RepoError, Repository, Stage, threads};

/// Threads that read trees at most.
const THREADS_MAX: usize = 8;
/// Missing blobs that are remembered by name; all are counted.
pub(crate) const MISSING_NAMED_MAX: usize = 1000;

/// A snapshot and the tree it needs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Root {
    pub(crate) snapshot: Id,
    pub(crate) tree: Id,
}

/// Blobs that trees name and no index lists.
#[derive(Debug, Default)]
pub(crate) struct MissingBlobs {
    /// How many times one was named.
    pub(crate) count: u64,
    /// The first of them, with a snapshot that needs each.
    pub(crate) named: Vec<(BlobHandle, Id)>,
}

/// A tree that a snapshot needs and that cannot be read.
#[derive(Debug)]
pub(crate) struct UnreadableTree {
    pub(crate) tree: Id,
    pub(crate) snapshot: Id,
    pub(crate) reason: RepoError,
}

/// What stops the marking.
#[derive(Debug)]
pub(crate) enum MarkError {
    /// What is needed cannot be known.
    Tree(Box<UnreadableTree>),
    /// The store is away, or somebody asked to stop.
    Stopped(RepoError),
}

/// Marks of the blobs that are needed. Of a blob with several entries the first is marked.
#[derive(Debug)]
pub(crate) struct UsedBlobs {
    pub(crate) numbers: EntryNumbers,
    pub(crate) bits: Bits,
}

struct Pending {
    tree: Id,
    root: usize,
}

#[derive(Default)]
struct State {
    stack: Vec<Pending>,
    /// Trees that are waiting or being read, for each root.
    open: Vec<u64>,
    at_work: usize,
    failure: Option<MarkError>,
    missing: MissingBlobs,
}

struct Marking<'a> {
    repository: &'a Repository,
    trees: &'a Repository,
    used: &'a UsedBlobs,
    roots: &'a [Root],
    progress: &'a dyn Progress,
    cancel: &'a Cancel,
    state: Mutex<State>,
    /// Told when `state` has more work or none is left.
    changed: Condvar,
}

impl UsedBlobs {
    /// Nothing is marked. The index must not change while this is in use.
    pub(crate) fn new(repository: &Repository) -> Self {
        let numbers = repository.index_mut().number_entries();
        let bits = Bits::new(numbers.count());
        Self { numbers, bits }
    }

    /// Marks a blob. `None`: no index lists it; otherwise whether it was not marked before.
    pub(crate) fn mark(&self, index: &BlobIndex, handle: BlobHandle) -> Option<bool> {
        let entries = index.entries_of(&self.numbers, handle);
        (!entries.is_empty()).then(|| self.bits.set(entries.start))
    }

    /// Marks all that these snapshots need. Trees that are marked already are passed over with all
    /// that is beneath them. Damage is an error, but blobs that no index lists are collected.
    pub(crate) fn mark_roots(
        &self,
        repository: &Repository,
        roots: &[Root],
        progress: &dyn Progress,
        cancel: &Cancel,
    ) -> Result<MissingBlobs, MarkError> {
        self.mark_roots_by_trees_of(repository, repository, roots, progress, cancel)
    }

    /// The same, with the trees read from `trees`, which may be another repository.
    pub(crate) fn mark_roots_by_trees_of(
        &self,
        repository: &Repository,
        trees: &Repository,
        roots: &[Root],
        progress: &dyn Progress,
        cancel: &Cancel,
    ) -> Result<MissingBlobs, MarkError> {
        progress.begin(Stage::FindUsed, roots.len() as u64);
        let marking = Marking {
            repository,
            trees,
            used: self,
            roots,
            progress,
            cancel,
            state: Mutex::new(State {
                open: vec![0; roots.len()],
                ..State::default()
            }),
            changed: Condvar::new(),
        };
        // The last comes first from the stack.
        for (number, root) in roots.iter().enumerate().rev() {
            marking.add_trees(number, &[root.tree]);
            if marking.state.lock().open[number] == 0 {
                progress.advance(Stage::FindUsed, 1);
            }
        }
        let workers = trees.store().connections().clamp(1, THREADS_MAX);
        threads::run(workers, &|| {
            marking.work();
            Ok(())
        })
        .map_err(MarkError::Stopped)?;
        let state = marking.state.into_inner();
        match state.failure {
            Some(failure) => Err(failure),
            None => Ok(state.missing),
        }
    }
}

impl Marking<'_> {
    /// Puts those trees on the stack that nobody has met yet.
    fn add_trees(&self, root: usize, trees: &[Id]) {
        let index = self.repository.index();
        let mut state = self.state.lock();
        for tree in trees {
            let handle = BlobHandle::tree(*tree);
            match self.used.mark(&index, handle) {
                Some(true) => {
                    state.open[root] += 1;
                    state.stack.push(Pending { tree: *tree, root });
                }
                Some(false) => {}
                None => state.missing.add(handle, self.roots[root].snapshot),
            }
        }
        self.changed.notify_all();
    }

    fn work(&self) {
        while let Some(pending) = self.next() {
            let result = self.visit(&pending);
            let mut state = self.state.lock();
            state.at_work -= 1;
            let open = &mut state.open[pending.root];
            *open -= 1;
            if *open == 0 {
                self.progress.advance(Stage::FindUsed, 1);
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

    fn visit(&self, pending: &Pending) -> Result<(), MarkError> {
        self.cancel.check().map_err(MarkError::Stopped)?;
        let snapshot = self.roots[pending.root].snapshot;
        let tree = pending.tree;
        let unreadable = |reason| {
            MarkError::Tree(Box::new(UnreadableTree {
                tree,
                snapshot,
                reason,
            }))
        };
        let nodes =
            self.trees
                .load_tree(tree)
                .map_err(|error| match self.trees.of_one_object(error) {
                    Ok(reason) => unreadable(reason),
                    Err(error) => MarkError::Stopped(error),
                })?;
        let (mut trees, mut data) = (Vec::new(), Vec::new());
        for node in nodes {
            let node = node.map_err(|error| unreadable(error.into()))?;
            // Whatever kind of entry names a blob: what we do not understand is kept.
            trees.extend(node.subtree);
            data.extend(node.content.unwrap_or_default());
        }
        self.mark_data(&data, snapshot);
        self.add_trees(pending.root, &trees);
        Ok(())
    }

    fn mark_data(&self, data: &[Id], snapshot: Id) {
        let index = self.repository.index();
        for id in data {
            let handle = BlobHandle::data(*id);
            if self.used.mark(&index, handle).is_none() {
                self.state.lock().missing.add(handle, snapshot);
            }
        }
    }
}

impl MissingBlobs {
    fn add(&mut self, handle: BlobHandle, snapshot: Id) {
        self.count += 1;
        if self.named.len() < MISSING_NAMED_MAX
            && !self.named.iter().any(|(known, _)| *known == handle)
        {
            self.named.push((handle, snapshot));
        }
    }
}
