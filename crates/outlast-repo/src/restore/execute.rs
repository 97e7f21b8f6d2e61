//! Carrying out a window: look at what is there, fetch what is missing, write, finish.

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use outlast_format::BlobHandle;

use super::Run;
use super::existing::look_at_existing;
use super::fetch::{LostBlob, UNLISTED, fetch_range};
use super::file::{Decision, FilePart};
use super::finish::{finish_directory, make_other};
use super::plan::{FetchList, Plan, RangeRead, WantedBlob};
use super::window::Window;
use super::write::{are_many_zeros, finish_file, write_blob};
use crate::RepoError;

/// Threads at most.
const THREADS_MAX: usize = 16;
/// Files named for one lost blob at most.
const FILES_NAMED_MAX: usize = 100;

/// Runs `work` for the numbers up to `count` in several threads. The first error ends it.
pub(super) fn in_parallel(
    run: &Run<'_>,
    count: usize,
    work: impl Fn(usize) -> Result<(), RepoError> + Sync,
) -> Result<(), RepoError> {
    let next = AtomicUsize::new(0);
    let worker = || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                return Ok(());
            }
            let result = run.cancel.check().and_then(|()| work(number));
            if result.is_err() {
                // The others stop at their next step.
                next.store(count, Ordering::Relaxed);
                return result;
            }
        }
    };
    let threads = run.threads.min(count);
    if threads <= 1 {
        return worker();
    }
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        let mut result = Ok(());
        for worker in workers {
            match worker.join() {
                Ok(worked) => result = result.and(worked),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        result
    })
}

/// How many threads suit a store.
pub(super) fn threads_for(connections: usize) -> usize {
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    connections.max(cores).clamp(1, THREADS_MAX)
}

/// Carries out a window in full.
pub(super) fn execute(run: &Run<'_>, window: Window) -> Result<(), RepoError> {
    let Window {
        files,
        others,
        leaves,
        ..
    } = window;
    in_parallel(run, files.len(), |number| {
        let part = &files[number];
        if part.blobs.start == 0 {
            look_at_existing(run, &part.file)?;
        }
        Ok(())
    })?;
    let mut work = plan_files(run, &files)?;
    let (list, ranges) = std::mem::take(&mut work.plan).into_ranges();
    let ready = &work.ready;
    in_parallel(run, ready.len() + ranges.len(), |number| {
        match ready.get(number) {
            Some(file) => finish_file(run, &files[*file].file),
            None => fetch_and_write(run, &files, &list, &ranges[number - ready.len()]),
        }
    })?;
    in_parallel(run, others.len(), |number| make_other(run, &others[number]))?;
    for leave in &leaves {
        run.cancel.check()?;
        finish_directory(run, leave)?;
    }
    Ok(())
}

#[derive(Default)]
struct Work {
    plan: Plan,
    /// Files that need nothing more, by their number in the window.
    ready: Vec<usize>,
}

fn plan_files(run: &Run<'_>, files: &[FilePart]) -> Result<Work, RepoError> {
    let mut work = Work::default();
    for (number, part) in files.iter().enumerate() {
        run.cancel.check()?;
        plan_file(run, number, part, &mut work)?;
    }
    Ok(work)
}

fn plan_file(
    run: &Run<'_>,
    number: usize,
    part: &FilePart,
    work: &mut Work,
) -> Result<(), RepoError> {
    let file = &part.file;
    let writes = match file.decision.get() {
        Some(Decision::Keep) => false,
        Some(Decision::Write { .. }) => true,
        _ => return Ok(()),
    };
    let whole = part.blobs.end == file.content().len();
    if !writes || run.options.dry_run || file.content().is_empty() {
        if whole {
            if run.options.dry_run && writes {
                run.reporter.bytes(file.size);
            }
            work.ready.push(number);
        }
        return Ok(());
    }
    let mut running = part.offset;
    for blob in part.blobs.clone() {
        let Some(id) = file.content().get(blob).copied() else {
            break;
        };
        let length = super::file::blob_length(run, id)?;
        let place = file.place(blob, running);
        running = running.saturating_add(length.unwrap_or(0));
        let settled = if file.has_already(blob) {
            run.reporter.bytes(length.unwrap_or(0));
            true
        } else {
            let index = run.repository.index();
            let wanted =
                place.is_some_and(|place| work.plan.want(&index, id, number as u32, place));
            if !wanted {
                let reason = match index.contains(BlobHandle::data(id)) {
                    false => UNLISTED,
                    true => "its place in the file is unknown",
                };
                let lost = LostBlob {
                    handle: BlobHandle::data(id),
                    packs: Vec::new(),
                    reason: reason.to_owned(),
                };
                run.reporter
                    .blob_lost(&lost, std::slice::from_ref(&file.path));
                file.lose(&lost);
            }
            !wanted
        };
        if settled && file.one_done() {
            work.ready.push(number);
        }
    }
    Ok(())
}

fn fetch_and_write(
    run: &Run<'_>,
    files: &[FilePart],
    list: &FetchList,
    range: &RangeRead,
) -> Result<(), RepoError> {
    let rested = run.scratch.lock().pop();
    let mut scratch = rested.unwrap_or_default();
    let fetched = fetch_range(
        run.repository,
        range,
        list.blobs(range),
        &mut scratch,
        |blob, plaintext| {
            run.cancel.check()?;
            match plaintext.and_then(|plaintext| check_length(run, blob, plaintext)) {
                Ok(plaintext) => {
                    let are_zeros = are_many_zeros(&plaintext);
                    for used in list.uses(blob) {
                        let file = &files[used.file as usize].file;
                        write_blob(run, file, used.offset, &plaintext, are_zeros)?;
                        if file.one_done() {
                            finish_file(run, file)?;
                        }
                    }
                }
                Err(lost) => {
                    let named = list.uses(blob).take(FILES_NAMED_MAX);
                    let mut paths: Vec<PathBuf> = named
                        .map(|used| files[used.file as usize].file.path.clone())
                        .collect();
                    paths.dedup();
                    run.reporter.blob_lost(&lost, &paths);
                    for used in list.uses(blob) {
                        let file = &files[used.file as usize].file;
                        file.lose(&lost);
                        if file.one_done() {
                            finish_file(run, file)?;
                        }
                    }
                }
            }
            Ok(())
        },
    );
    run.scratch.lock().push(scratch);
    fetched
}

/// A blob of another length than all index entries say would push what follows out of its place.
fn check_length<'p>(
    run: &Run<'_>,
    blob: &WantedBlob,
    plaintext: Cow<'p, [u8]>,
) -> Result<Cow<'p, [u8]>, LostBlob> {
    let claimed = u64::from(blob.packed().plaintext_length());
    let expected = match run.odd_lengths.lock().get(&blob.handle().id) {
        Some(Some(length)) => *length,
        _ => claimed,
    };
    if plaintext.len() as u64 == expected {
        return Ok(plaintext);
    }
    Err(LostBlob {
        handle: blob.handle(),
        packs: Vec::new(),
        reason: format!(
            "it has {} bytes, but the index says {expected}; repair the index and restore again",
            plaintext.len()
        ),
    })
}
