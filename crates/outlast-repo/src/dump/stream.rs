//! Entries and their content in order, fetched ahead by other threads.
//!
//! One thread walks and asks for content, others fetch it, and the caller's thread takes everything
//! in order. All queues are bounded.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, bounded};
use outlast_format::{BlobHandle, Node};
use outlast_object::Id;

use crate::restore::fetch::{FetchScratch, fetch_range};
use crate::restore::plan::Plan;
use crate::{Cancel, RepoError, Repository, TreeWalk, WalkEntry, WalkStep};

/// Bytes of content asked for at a time, unless a single blob is larger.
const JOB_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Blobs asked for at a time.
const JOB_BLOBS_MAX: usize = 1024;
/// Entries and pieces of content that wait to be taken.
const QUEUE_ITEMS: usize = 16;
/// Threads that fetch at most.
const THREADS_MAX: usize = 8;

/// What the caller takes, in order.
pub(super) enum Item<'a> {
    /// An entry. The content of a file follows.
    Entry(&'a WalkEntry),
    /// A piece of the file's content.
    Data(&'a [u8]),
    /// The file's content was given in full.
    EndOfFile,
}

enum Queued {
    Entry(Box<WalkEntry>),
    Data(Receiver<Result<Vec<Vec<u8>>, RepoError>>),
    EndOfFile,
    Failed(RepoError),
}

struct Job {
    path: Arc<Path>,
    blobs: Vec<Id>,
    reply: Sender<Result<Vec<Vec<u8>>, RepoError>>,
}

/// What is streamed.
pub(super) enum Entries<'a> {
    /// One entry.
    One(Box<WalkEntry>),
    /// All beneath a directory, given by its path and tree.
    Beneath(&'a Path, Id),
}

/// Gives entries with their content to `take`.
pub(super) fn stream_items(
    repository: &Repository,
    cancel: &Cancel,
    entries: Entries<'_>,
    mut take: impl FnMut(Item<'_>) -> Result<(), RepoError>,
) -> Result<(), RepoError> {
    let (items, queue) = bounded::<Queued>(QUEUE_ITEMS);
    let (jobs, work) = bounded::<Job>(QUEUE_ITEMS);
    let threads = repository.store().connections().clamp(1, THREADS_MAX);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let work = work.clone();
            scope.spawn(move || {
                for job in work {
                    // Nobody waits for the answer when the caller has given up.
                    let _ = job.reply.send(fetch(repository, &job, cancel));
                }
            });
        }
        drop(work);
        scope.spawn(move || {
            let push = |entry| push_entry(repository, entry, &items, &jobs);
            let result = match entries {
                Entries::One(entry) => push(*entry),
                Entries::Beneath(path, tree) => walk_all(repository, path, tree, cancel, push),
            };
            if let Err(error) = result {
                let _ = items.send(Queued::Failed(error));
            }
        });
        // The queue ends with the thread that fills it; leaving early makes that thread fail.
        for item in queue {
            cancel.check()?;
            match item {
                Queued::Entry(entry) => take(Item::Entry(&entry))?,
                Queued::Data(answer) => {
                    let blobs = answer.recv().map_err(|_| RepoError::Cancelled)??;
                    for blob in blobs {
                        take(Item::Data(&blob))?;
                    }
                }
                Queued::EndOfFile => take(Item::EndOfFile)?,
                Queued::Failed(error) => return Err(error),
            }
        }
        Ok(())
    })
}

/// All entries beneath a tree. The first damage is an error.
fn walk_all(
    repository: &Repository,
    path: &Path,
    tree: Id,
    cancel: &Cancel,
    push: impl Fn(WalkEntry) -> Result<(), RepoError>,
) -> Result<(), RepoError> {
    let mut walk = TreeWalk::new(repository, path, tree, cancel);
    while let Some(step) = walk.step()? {
        match step {
            WalkStep::Entry(entry) => push(entry)?,
            WalkStep::Leave(_) => {}
            WalkStep::Problem { path, problem } => {
                return Err(damaged(&path, &problem.to_string()));
            }
        }
    }
    Ok(())
}

fn damaged(path: &Path, reason: &str) -> RepoError {
    RepoError::FileDamaged {
        path: path.to_owned(),
        reason: reason.to_owned(),
    }
}

fn push_entry(
    repository: &Repository,
    entry: WalkEntry,
    items: &Sender<Queued>,
    jobs: &Sender<Job>,
) -> Result<(), RepoError> {
    let gone = |_| RepoError::Cancelled;
    let content = match &entry.node.content {
        Some(content) if entry.node.is_file() => content.clone(),
        _ if entry.node.is_file() => Vec::new(),
        _ => {
            return items
                .send(Queued::Entry(Box::new(entry)))
                .map_err(|_| RepoError::Cancelled);
        }
    };
    let lengths = lengths(repository, &entry.path, &entry.node, &content)?;
    let path: Arc<Path> = entry.path.as_path().into();
    items.send(Queued::Entry(Box::new(entry))).map_err(gone)?;
    let mut rest: VecDeque<(Id, u64)> = content.into_iter().zip(lengths).collect();
    while !rest.is_empty() {
        let mut blobs = Vec::new();
        let mut bytes = 0;
        while let Some((id, length)) = rest.front().copied() {
            let fits = bytes + length <= JOB_BYTES_MAX && blobs.len() < JOB_BLOBS_MAX;
            if !blobs.is_empty() && !fits {
                break;
            }
            bytes += length;
            blobs.push(id);
            rest.pop_front();
        }
        let (reply, answer) = bounded(1);
        let path = Arc::clone(&path);
        // The place in the queue first: it is what keeps the number of jobs down.
        items.send(Queued::Data(answer)).map_err(gone)?;
        jobs.send(Job { path, blobs, reply })
            .map_err(|_| RepoError::Cancelled)?;
    }
    items.send(Queued::EndOfFile).map_err(gone)
}

/// The lengths of a file's blobs. An archive names a file's size before its content, so what is
/// known not to fit is refused here.
fn lengths(
    repository: &Repository,
    path: &Path,
    node: &Node,
    content: &[Id],
) -> Result<Vec<u64>, RepoError> {
    let index = repository.index();
    let mut lengths = Vec::with_capacity(content.len());
    for id in content {
        let handle = BlobHandle::data(*id);
        let Some(length) = index.plaintext_length(handle) else {
            return Err(damaged(path, &RepoError::BlobMissing(handle).to_string()));
        };
        lengths.push(length);
    }
    let sum: u64 = lengths.iter().sum();
    if sum != node.size {
        let reason = format!("its size is {} bytes, but its content {sum}", node.size);
        return Err(damaged(path, &reason));
    }
    Ok(lengths)
}

fn fetch(repository: &Repository, job: &Job, cancel: &Cancel) -> Result<Vec<Vec<u8>>, RepoError> {
    let mut plan = Plan::default();
    {
        let index = repository.index();
        for (number, id) in job.blobs.iter().enumerate() {
            if !plan.want(&index, *id, 0, number as u64) {
                let missing = RepoError::BlobMissing(BlobHandle::data(*id));
                return Err(damaged(&job.path, &missing.to_string()));
            }
        }
    }
    let mut plaintexts = vec![Vec::new(); job.blobs.len()];
    let (list, ranges) = plan.into_ranges();
    let mut scratch = FetchScratch::default();
    for range in ranges {
        cancel.check()?;
        let blobs = list.blobs(&range);
        fetch_range(
            repository,
            &range,
            blobs,
            &mut scratch,
            |blob, plaintext| {
                let plaintext = plaintext.map_err(|lost| damaged(&job.path, &lost.to_string()))?;
                let plaintext = plaintext.into_owned();
                let mut uses = list.uses(blob).peekable();
                while let Some(used) = uses.next() {
                    if let Some(slot) = plaintexts.get_mut(used.offset as usize) {
                        if uses.peek().is_none() {
                            *slot = plaintext;
                            break;
                        }
                        slot.clone_from(&plaintext);
                    }
                }
                Ok(())
            },
        )?;
    }
    Ok(plaintexts)
}
