//! Reading a file: cutting it into chunks and storing them.

use std::sync::Arc;
use std::time::Duration;

use outlast_format::{BlobHandle, BlobKind, CHUNK_BYTES_MAX, CHUNK_BYTES_MIN, Node};
use outlast_object::{Id, hash};
use outlast_source::{Content, Found, SourceError};
use parking_lot::Mutex;

use super::directory::Slot;
use super::jobs::{ChunkJob, FileJob};
use super::observer::{FileFacts, ItemChange, ItemStatistics};
use super::walk::report;
use super::{Run, Workbench};
use crate::RepoError;

/// Bytes asked of the system at a time.
const READ_BYTES: usize = 1024 * 1024;

/// A file whose chunks are being stored, perhaps by several workers.
pub(super) struct OpenFile {
    found: Found,
    previous: Option<Node>,
    started: Duration,
    state: Mutex<State>,
}

struct State {
    slot: Option<Slot>,
    /// The finished entry, once the file was read to its end.
    node: Option<Node>,
    chunks: Vec<Option<Id>>,
    chunks_done: usize,
    chunks_known: usize,
    statistics: ItemStatistics,
}

/// Reads a file and stores its chunks, or hands them to idle workers.
pub(super) fn read_file(
    run: &Run<'_>,
    bench: &mut Workbench,
    job: Box<FileJob>,
) -> Result<(), RepoError> {
    let FileJob {
        found,
        previous,
        slot,
    } = *job;
    run.observer.file_started(&found.path);
    let started = run.repository.environment().clock.monotonic();
    // Metadata from before the first byte: a file that changes meanwhile is read again next time.
    let opened = run.source.open(&found).and_then(|mut content| {
        let node = content.node()?;
        Ok((content, node))
    });
    let (mut content, mut node) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            report(run, &found.path, &error);
            return slot.give_up(run, bench);
        }
    };
    node.name.clone_from(&found.node.name);
    let state = State {
        slot: Some(slot),
        node: None,
        chunks: Vec::new(),
        chunks_done: 0,
        chunks_known: 0,
        statistics: ItemStatistics::default(),
    };
    let file = Arc::new(OpenFile {
        found,
        previous,
        started,
        state: Mutex::new(state),
    });
    match read_chunks(run, bench, &file, &mut *content, node.size) {
        Ok(size) => {
            node.size = size;
            file.finish_reading(run, bench, node)
        }
        Err(ReadError::Source(error)) => {
            report(run, &file.found.path, &error);
            // Chunks that others still work on are stored for nothing; the entry is left out.
            let slot = file.state.lock().slot.take();
            slot.map_or(Ok(()), |slot| slot.give_up(run, bench))
        }
        Err(ReadError::Repository(error)) => Err(error),
    }
}

enum ReadError {
    Source(SourceError),
    Repository(RepoError),
}

impl From<RepoError> for ReadError {
    fn from(error: RepoError) -> Self {
        ReadError::Repository(error)
    }
}

/// Reads to the end; gives the number of bytes.
fn read_chunks(
    run: &Run<'_>,
    bench: &mut Workbench,
    file: &Arc<OpenFile>,
    content: &mut dyn Content,
    expected: u64,
) -> Result<u64, ReadError> {
    let mut size = 0;
    let mut buffer: Vec<u8> = Vec::new();
    let mut searched = 0;
    let mut ended = false;
    loop {
        if let Some(end) = run.chunker.boundary(&buffer, searched) {
            let rest = buffer.split_off(end);
            let chunk = std::mem::replace(&mut buffer, rest);
            searched = 0;
            file.add_chunk(run, bench, chunk)?;
            continue;
        }
        if ended {
            break;
        }
        searched = buffer.len();
        // A small file is read in one go, and its end noticed by the byte that is not there.
        let missing = expected.saturating_sub(size).saturating_add(1);
        let wanted = (missing.min(READ_BYTES as u64) as usize).max(if size > expected {
            READ_BYTES
        } else {
            1
        });
        let wanted = wanted.max(CHUNK_BYTES_MIN.min(missing as usize));
        buffer.reserve_exact(wanted.min(CHUNK_BYTES_MAX));
        buffer.resize(searched + wanted, 0);
        let filled = content.fill(&mut buffer[searched..]).map_err(|source| {
            let path = file.found.path.clone();
            ReadError::Source(SourceError::Io {
                operation: "read",
                path,
                source,
            })
        })?;
        buffer.truncate(searched + filled);
        ended = filled < wanted;
        size += filled as u64;
        run.observer.bytes_done(filled as u64);
        run.saver.check()?;
    }
    if !buffer.is_empty() {
        file.add_chunk(run, bench, buffer)?;
    }
    Ok(size)
}

/// Stores a chunk that another worker cut.
pub(super) fn store_chunk(
    run: &Run<'_>,
    bench: &mut Workbench,
    job: ChunkJob,
) -> Result<(), RepoError> {
    job.file.store(run, bench, job.number, &job.plaintext)
}

impl OpenFile {
    fn add_chunk(
        self: &Arc<Self>,
        run: &Run<'_>,
        bench: &mut Workbench,
        plaintext: Vec<u8>,
    ) -> Result<(), RepoError> {
        let number = {
            let mut state = self.state.lock();
            state.chunks.push(None);
            state.chunks.len() - 1
        };
        let job = ChunkJob {
            file: Arc::clone(self),
            number,
            plaintext,
        };
        match run.jobs.try_push_chunk(job) {
            None => Ok(()),
            Some(job) => self.store(run, bench, number, &job.plaintext),
        }
    }

    fn store(
        &self,
        run: &Run<'_>,
        bench: &mut Workbench,
        number: usize,
        plaintext: &[u8],
    ) -> Result<(), RepoError> {
        let handle = BlobHandle {
            kind: BlobKind::Data,
            id: hash(plaintext),
        };
        let saved = run.saver.save_as(handle, plaintext, bench.data.as_mut())?;
        run.observer
            .chunk_done(&self.found.path, number, plaintext, &saved);
        {
            let mut state = self.state.lock();
            state.chunks[number] = Some(saved.id);
            state.chunks_done += 1;
            if saved.new {
                state.statistics.data_bytes_added += plaintext.len() as u64;
                state.statistics.data_bytes_stored += saved.stored_bytes;
            } else {
                state.chunks_known += 1;
            }
        }
        self.finish_if_done(run, bench)
    }

    fn finish_reading(
        &self,
        run: &Run<'_>,
        bench: &mut Workbench,
        node: Node,
    ) -> Result<(), RepoError> {
        self.state.lock().node = Some(node);
        self.finish_if_done(run, bench)
    }

    /// Whoever stores the last chunk, or reads the end after that, finishes the entry.
    fn finish_if_done(&self, run: &Run<'_>, bench: &mut Workbench) -> Result<(), RepoError> {
        let (mut node, slot, chunks, chunks_known, mut statistics) = {
            let mut state = self.state.lock();
            if state.chunks_done != state.chunks.len() {
                return Ok(());
            }
            let Some(node) = state.node.take() else {
                return Ok(());
            };
            let Some(slot) = state.slot.take() else {
                return Ok(());
            };
            (
                node,
                slot,
                std::mem::take(&mut state.chunks),
                state.chunks_known,
                state.statistics,
            )
        };
        let content: Vec<Id> = chunks.into_iter().flatten().collect();
        // Only now: chunks of a file that cannot be read to its end are needed by nobody.
        for id in &content {
            run.saver.need(BlobHandle::data(*id));
        }
        node.content = Some(content);
        let now = run.repository.environment().clock.monotonic();
        statistics.duration = now.saturating_sub(self.started);
        let change = ItemChange::of(self.previous.as_ref(), &node);
        let (path, previous) = (&self.found.path, self.previous.as_ref());
        run.observer.file_read(&FileFacts {
            path,
            node: &node,
            previous,
            chunks_known,
            statistics,
        });
        run.counts.file(change, node.size);
        run.observer.item_done(path, &node, change, &statistics);
        slot.fill(node, run, bench)
    }
}
