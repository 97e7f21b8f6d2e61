//! The queue between the walk and the workers.

use std::collections::VecDeque;

use outlast_format::Node;
use outlast_source::Found;
use parking_lot::{Condvar, Mutex};
use std::sync::Arc;

use super::directory::Slot;
use super::file::OpenFile;

/// Files that wait for a worker.
const FILES_MAX: usize = 256;
/// Chunks that wait for a worker, for each worker; a chunk has up to 8 MiB.
const CHUNKS_PER_WORKER: usize = 1;

/// A file to be read.
pub(super) struct FileJob {
    pub(super) found: Found,
    pub(super) previous: Option<Node>,
    pub(super) slot: Slot,
}

/// A chunk of a large file to be stored.
pub(super) struct ChunkJob {
    pub(super) file: Arc<OpenFile>,
    pub(super) number: usize,
    pub(super) plaintext: Vec<u8>,
}

pub(super) enum Job {
    File(Box<FileJob>),
    Chunk(ChunkJob),
}

impl Job {
    /// Counts as being read until the guard is dropped.
    pub(super) fn guard<'a>(&self, jobs: &'a Jobs) -> Option<ReadingGuard<'a>> {
        matches!(self, Job::File(_)).then(|| ReadingGuard(jobs))
    }
}

pub(super) struct ReadingGuard<'a>(&'a Jobs);

impl Drop for ReadingGuard<'_> {
    fn drop(&mut self) {
        self.0.state.lock().reading -= 1;
        self.0.changed.notify_all();
    }
}

/// Closes the queue when dropped.
pub(super) struct CloseOnDrop<'a>(pub(super) &'a Jobs);

impl Drop for CloseOnDrop<'_> {
    fn drop(&mut self) {
        self.0.state.lock().closed = true;
        self.0.changed.notify_all();
    }
}

#[derive(Default)]
struct State {
    files: VecDeque<Box<FileJob>>,
    chunks: VecDeque<ChunkJob>,
    /// Files being read: chunks may still come from them.
    reading: usize,
    closed: bool,
    stopped: bool,
}

/// Bounded queues of files and chunks.
pub(super) struct Jobs {
    state: Mutex<State>,
    changed: Condvar,
    room: Condvar,
    workers: usize,
}

impl Jobs {
    pub(super) fn new(workers: usize) -> Self {
        Self {
            state: Mutex::new(State::default()),
            changed: Condvar::new(),
            room: Condvar::new(),
            workers,
        }
    }

    pub(super) fn workers(&self) -> usize {
        self.workers
    }

    /// Queues a file; waits while too many are queued. After a stop it is dropped.
    pub(super) fn push_file(&self, job: FileJob) {
        let mut state = self.state.lock();
        while state.files.len() >= FILES_MAX && !state.stopped {
            self.room.wait(&mut state);
        }
        if !state.stopped {
            state.files.push_back(Box::new(job));
            self.changed.notify_one();
        }
    }

    /// Queues a chunk if a worker will have time for it soon; gives it back if not.
    pub(super) fn try_push_chunk(&self, job: ChunkJob) -> Option<ChunkJob> {
        let mut state = self.state.lock();
        let busy = state.chunks.len() >= CHUNKS_PER_WORKER * self.workers;
        // While other files wait, every worker has enough to do.
        if busy || state.stopped || state.files.len() >= self.workers {
            return Some(job);
        }
        state.chunks.push_back(job);
        self.changed.notify_one();
        None
    }

    /// The next job; waits for one. `None` when there will be no more.
    pub(super) fn next(&self) -> Option<Job> {
        let mut state = self.state.lock();
        loop {
            if state.stopped {
                return None;
            }
            if let Some(job) = state.chunks.pop_front() {
                return Some(Job::Chunk(job));
            }
            if let Some(job) = state.files.pop_front() {
                state.reading += 1;
                if state.files.len() < FILES_MAX / 2 {
                    self.room.notify_one();
                }
                return Some(Job::File(job));
            }
            if state.closed && state.reading == 0 {
                return None;
            }
            self.changed.wait(&mut state);
        }
    }

    /// Drops all jobs and takes no more.
    pub(super) fn stop(&self) {
        let mut state = self.state.lock();
        state.stopped = true;
        let dropped = (
            std::mem::take(&mut state.files),
            std::mem::take(&mut state.chunks),
        );
        drop(state);
        drop(dropped);
        self.changed.notify_all();
        self.room.notify_all();
    }
}
