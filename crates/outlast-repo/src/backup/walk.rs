//! The walk through the source, in the order of names, in step with the parent snapshot.

use std::sync::Arc;

use outlast_format::{BlobHandle, Node};
use outlast_source::{Found, Place, SourceError};

use super::directory::Directory;
use super::jobs::FileJob;
use super::observer::{ItemChange, ItemStatistics};
use super::parent::{ParentTree, is_unchanged};
use super::{Run, Workbench};
use crate::needed::EntryPacks;
use crate::{Notice, RepoError};

/// Directories nested deeper than this are an error of the entry; no system can make them by path.
const DEPTH_MAX: usize = 8192;

/// A directory on the way from the root to where the walk is.
struct Level {
    place: Place,
    names: std::iter::Enumerate<std::vec::IntoIter<Vec<u8>>>,
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
    let mut levels = vec![Level {
        directory: Directory::root(place.path.clone(), names.len()),
        place,
        names: names.into_iter().enumerate(),
        parent: ParentTree::open(run, tree),
    }];
    loop {
        let depth = levels.len();
        let Some(level) = levels.last_mut() else {
            return Ok(());
        };
        run.saver.check()?;
        let Some((index, name)) = level.names.next() else {
            if let Some(level) = levels.pop() {
                level.directory.walked(run, bench)?;
            }
            continue;
        };
        let found = match run.source.look(&level.place, &name) {
            Ok(Some(found)) => found,
            Ok(None) => continue,
            Err(error) => {
                let path = level.place.path.join(bytes_to_path(&name));
                report(run, &path, &error);
                continue;
            }
        };
        let previous = level.parent.find(run, &name);
        if found.node.is_directory() {
            if depth >= DEPTH_MAX {
                let error = SourceError::Invalid("directories are nested too deeply".to_owned());
                report(run, &found.path, &error);
            } else if let Some(next) = enter(run, level, index, found, previous) {
                levels.push(next);
            }
        } else {
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
    }
}

fn bytes_to_path(name: &[u8]) -> &std::path::Path {
    use std::os::unix::ffi::OsStrExt;
    std::path::Path::new(std::ffi::OsStr::from_bytes(name))
}

/// Tells of an entry that is left out.
pub(super) fn report(run: &Run<'_>, path: &std::path::Path, error: &SourceError) {
    run.counts.error();
    run.observer.error(path, error);
}

fn enter(
    run: &Run<'_>,
    level: &Level,
    index: usize,
    found: Found,
    previous: Option<Node>,
) -> Option<Level> {
    let started = run.repository.environment().clock.monotonic();
    let place = found.place?;
    let names = match run.source.names(&place) {
        Ok(names) => names,
        Err(error) => {
            report(run, &found.path, &error);
            return None;
        }
    };
    let tree = previous
        .as_ref()
        .filter(|node| node.is_directory())
        .and_then(|node| node.subtree);
    let slot = level.directory.slot(index);
    let count = names.len();
    let directory = Directory::new(found.path, (found.node, previous), slot, count, started);
    let parent = ParentTree::open(run, tree);
    Some(Level {
        place,
        names: names.into_iter().enumerate(),
        parent,
        directory,
    })
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
