//! The walk through the source, in the order of names, in step with the parent snapshot.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;

use outlast_format::{BlobHandle, Node};
use outlast_source::{Found, SourceError};

use super::directory::Directory;
use super::jobs::FileJob;
use super::observer::{ItemChange, ItemStatistics};
use super::parent::{ParentTree, is_unchanged};
use super::scout::{BATCHES_AHEAD, Sighting, Sightings, path_of, scout};
use super::{Run, Workbench};
use crate::needed::EntryPacks;
use crate::{Notice, RepoError};

/// A directory on the way from the root to where the walk is.
struct Level {
    path: PathBuf,
    parent: ParentTree,
    directory: Arc<Directory>,
}

/// Walks the whole source.
pub(super) fn walk(run: &Run<'_>, bench: &mut Workbench) -> Result<(), RepoError> {
    let place = run.source.root();
    let names = run.source.names(&place)?;
    let tree = run
        .options
        .parent
        .as_ref()
        .map(|parent| parent.snapshot.tree);
    let root = Level {
        directory: Directory::root(place.path.clone(), names.len()),
        path: place.path.clone(),
        parent: ParentTree::open(run, tree),
    };
    std::thread::scope(|scope| {
        // When the walk ends early the receiver is gone, and the scout ends too.
        let (to, from) = sync_channel(BATCHES_AHEAD);
        scope.spawn(move || scout(run.source, place, names, &to));
        follow(run, bench, root, Sightings::new(from))
    })
}

/// Goes through what the scout saw.
fn follow(
    run: &Run<'_>,
    bench: &mut Workbench,
    root: Level,
    mut sightings: Sightings,
) -> Result<(), RepoError> {
    let mut levels = vec![root];
    while let Some(level) = levels.last_mut() {
        run.saver.check()?;
        // A scout that is gone has panicked, which ends the scope that it runs in.
        let (index, name, found, below) = match sightings.next().ok_or(RepoError::Cancelled)? {
            Sighting::Left => {
                if let Some(level) = levels.pop() {
                    level.directory.walked(run, bench)?;
                }
                continue;
            }
            Sighting::Entry {
                index,
                name,
                found,
                below,
            } => (index, name, found, below),
        };
        let found = match found {
            Ok(Some(found)) => found,
            Ok(None) => continue,
            Err(error) => {
                report(run, &path_of(&level.path, &name), &error);
                continue;
            }
        };
        let previous = level.parent.find(run, &name);
        if found.node.is_directory() {
            match below {
                Some(Ok(count)) => {
                    let next = enter(run, level, (index, count), found, previous);
                    levels.push(next);
                }
                Some(Err(error)) => report(run, &found.path, &error),
                None => {}
            }
            continue;
        }
        let slot = level.directory.slot(index);
        if found.node.is_file() {
            visit_file(run, bench, found, previous, slot)?;
        } else {
            let change = ItemChange::of(previous.as_ref(), &found.node);
            run.counts.other();
            let statistics = ItemStatistics::default();
            run.observer
                .item_done(&found.path, &found.node, change, &statistics);
            slot.fill(found.node, run, bench)?;
        }
    }
    Ok(())
}

/// Tells of an entry that is left out.
pub(super) fn report(run: &Run<'_>, path: &std::path::Path, error: &SourceError) {
    run.counts.error();
    run.observer.error(path, error);
}

fn enter(
    run: &Run<'_>,
    level: &Level,
    (index, count): (usize, usize),
    found: Found,
    previous: Option<Node>,
) -> Level {
    let started = run.repository.environment().clock.monotonic();
    let tree = previous
        .as_ref()
        .filter(|node| node.is_directory())
        .and_then(|node| node.subtree);
    let slot = level.directory.slot(index);
    let path = found.path.clone();
    let directory = Directory::new(found.path, (found.node, previous), slot, count, started);
    Level {
        path,
        parent: ParentTree::open(run, tree),
        directory,
    }
}

/// Takes over the parent's content of a file that did not change, or has it read.
fn visit_file(
    run: &Run<'_>,
    bench: &mut Workbench,
    found: Found,
    previous: Option<Node>,
    slot: super::directory::Slot,
) -> Result<(), RepoError> {
    if let Some(before) = &previous
        && is_unchanged(&found.node, before, run.options.detection)
    {
        if let Some(packs) = content_is_stored(run, before)? {
            run.saver.need_entry(packs);
            let mut node = found.node;
            node.content = before.content.clone();
            let change = ItemChange::of(Some(before), &node);
            run.counts.file(change, node.size);
            run.observer.bytes_done(node.size);
            run.observer
                .item_done(&found.path, &node, change, &ItemStatistics::default());
            return slot.fill(node, run, bench);
        }
        let object = format!("content of {}", super::path_text(&found.path));
        let reason = "some of it is not in the repository".to_owned();
        run.repository
            .environment()
            .notice(Notice::BadParent { object, reason });
    }
    run.jobs.push_file(FileJob {
        found,
        previous,
        slot,
    });
    Ok(())
}

/// Where all of a file's content is; `None` if some of it is not stored.
fn content_is_stored(run: &Run<'_>, node: &Node) -> Result<Option<EntryPacks>, RepoError> {
    let mut packs = EntryPacks::default();
    for id in node.content.iter().flatten() {
        if !run.saver.is_stored_at(BlobHandle::data(*id), &mut packs)? {
            return Ok(None);
        }
    }
    Ok(Some(packs))
}
