//! Finding trees that no snapshot reaches any more, and making a snapshot of them.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};

use outlast_format::{BlobKind, Mode, Node, NodeKind, Snapshot, TreeBuilder};
use outlast_object::Id;
use parking_lot::Mutex;

use crate::backup::adopt_packs;
use crate::{
    Cancel, Notice, Progress, RepoError, Repository, Saver, SaverOptions, Stage, threads,
    with_saver,
};

/// Threads that read trees at most.
const THREADS_MAX: usize = 8;
/// The path and the tag that restic gives to such snapshots.
const RECOVERED_PATH: &str = "/recover";
const RECOVERED_TAG: &str = "recovered";

/// What was recovered.
#[derive(Debug, Clone, Default)]
pub struct RecoverOutcome {
    /// Trees that nothing reached.
    pub roots: Vec<Id>,
    /// Trees that cannot be read, and what is beneath them unless something else reaches it.
    pub unreadable: Vec<Id>,
    /// The snapshot; `None` when there was nothing to recover.
    pub snapshot: Option<Id>,
}

/// Makes a snapshot with one directory for each tree that neither a snapshot nor another tree
/// reaches. Loads the index anew, and adds packs that no index lists. Nothing is removed.
pub fn recover(
    repository: &Repository,
    program_version: &str,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<RecoverOutcome, RepoError> {
    repository.load_index(cancel)?;
    let options = SaverOptions::default();
    let (found, _) = with_saver(repository, options, cancel, |saver| {
        adopt_packs(saver, cancel)?;
        let mut outcome = find_roots(repository, progress, cancel)?;
        if outcome.roots.is_empty() {
            return Ok((outcome, None));
        }
        outcome.roots.sort_unstable();
        let tree = save_tree(saver, &outcome.roots)?;
        Ok((outcome, Some(tree)))
    })?;
    let (mut outcome, tree) = found;
    if let Some(tree) = tree {
        let snapshot = make_snapshot(repository, tree, program_version);
        outcome.snapshot = Some(repository.save_snapshot(&snapshot)?);
    }
    Ok(outcome)
}

fn find_roots(
    repository: &Repository,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<RecoverOutcome, RepoError> {
    let mut trees: Vec<Id> = {
        let index = repository.index();
        let entries = index.iter().map(|location| location.blob.handle);
        let trees = entries.filter(|handle| handle.kind == BlobKind::Tree);
        trees.map(|handle| handle.id).collect()
    };
    trees.sort_unstable();
    trees.dedup();
    progress.begin(Stage::FindUsed, trees.len() as u64);
    let reached: Mutex<HashSet<Id>> = Mutex::default();
    let unreadable: Mutex<Vec<Id>> = Mutex::default();
    let next = AtomicUsize::new(0);
    let workers = repository.store().connections().clamp(1, THREADS_MAX);
    threads::run(workers.min(trees.len().max(1)), &|| {
        while let Some(tree) = trees.get(next.fetch_add(1, Ordering::Relaxed)) {
            cancel.check()?;
            if let Err(error) = read_subtrees(repository, *tree, &reached) {
                let reason = repository.of_one_damaged_object(error)?;
                let text = format!("tree {tree} cannot be read and is not recovered: {reason}");
                repository.environment().notice(Notice::Other(text));
                unreadable.lock().push(*tree);
            }
            progress.advance(Stage::FindUsed, 1);
        }
        Ok(())
    })?;
    let mut reached = reached.into_inner();
    let unreadable = unreadable.into_inner();
    for (_, snapshot) in repository.load_snapshots(cancel)? {
        reached.insert(snapshot.tree);
    }
    let skipped: HashSet<&Id> = unreadable.iter().collect();
    let roots = trees
        .iter()
        .filter(|tree| !reached.contains(tree) && !skipped.contains(tree))
        .copied()
        .collect();
    Ok(RecoverOutcome {
        roots,
        unreadable,
        snapshot: None,
    })
}

fn read_subtrees(
    repository: &Repository,
    tree: Id,
    reached: &Mutex<HashSet<Id>>,
) -> Result<(), RepoError> {
    let mut subtrees = Vec::new();
    for node in repository.load_tree(tree)? {
        let node = node?;
        subtrees.extend(node.subtree.filter(|_| node.is_directory()));
    }
    reached.lock().extend(subtrees);
    Ok(())
}

/// One directory for each tree, named by the beginning of its id.
fn save_tree(saver: &Saver<'_>, roots: &[Id]) -> Result<Id, RepoError> {
    let now = saver.repository().environment().clock.now();
    let mut named: BTreeMap<String, Id> = BTreeMap::new();
    for root in roots {
        let short = root.short().to_string();
        let name = if named.contains_key(&short) {
            root.to_hex()
        } else {
            short
        };
        named.insert(name, *root);
    }
    let mut builder = TreeBuilder::new();
    for (name, root) in named {
        builder.push(&Node {
            name: name.into_bytes(),
            kind: NodeKind::Directory,
            mode: Mode::from_unix(0o040_755),
            mtime: now,
            atime: now,
            ctime: now,
            subtree: Some(root),
            ..Node::default()
        })?;
    }
    let mut compressor = saver.compressor(BlobKind::Tree)?;
    let saved = saver.save(BlobKind::Tree, &builder.finish(), compressor.as_mut())?;
    Ok(saved.id)
}

fn make_snapshot(repository: &Repository, tree: Id, program_version: &str) -> Snapshot {
    let environment = repository.environment();
    Snapshot {
        time: environment.clock.now(),
        parent: None,
        tree,
        paths: vec![RECOVERED_PATH.to_owned()],
        hostname: environment.hostname.clone(),
        username: environment.username.clone(),
        uid: environment.uid,
        gid: environment.gid,
        excludes: Vec::new(),
        tags: vec![RECOVERED_TAG.to_owned()],
        original: None,
        program_version: program_version.to_owned(),
        summary: None,
    }
}
