//! Writing blobs to where they belong, and finishing files.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use outlast_source::{SourceError, Target, TargetFile};
use parking_lot::Mutex;

use super::Run;
use super::file::{Decision, FileWork};
use super::finish::OddFirst;
use super::observer::{RestoreAction, RestoreProblem};
use crate::RepoError;

/// Files that are kept open between two writes at most.
const OPEN_FILES_MAX: usize = 128;
/// Zeros of at least this many bytes are not written, but reserved.
const ZEROS_BYTES_MIN: usize = 128 * 1024;
/// Zeros in pieces of this size become holes of sparse files.
const HOLE_BYTES: usize = 4096;
/// What is left of a damaged file is kept under its name with this appended.
pub(super) const DAMAGED_SUFFIX: &[u8] = b".outlast-damaged";
/// Longest name that Linux can keep.
const NAME_BYTES_MAX: usize = 255;

/// Files that are open for writing, by their ordinal.
#[derive(Debug, Default)]
pub(super) struct OpenFiles {
    state: Mutex<OpenState>,
}

#[derive(Debug, Default)]
struct OpenState {
    files: HashMap<u64, Arc<TargetFile>>,
    /// Oldest first; files that were closed meanwhile may still be among them.
    order: VecDeque<u64>,
}

impl OpenFiles {
    fn get(&self, ordinal: u64) -> Option<Arc<TargetFile>> {
        self.state.lock().files.get(&ordinal).cloned()
    }

    fn insert(&self, ordinal: u64, file: &Arc<TargetFile>) {
        let mut state = self.state.lock();
        let OpenState { files, order } = &mut *state;
        if files.insert(ordinal, Arc::clone(file)).is_none() {
            order.push_back(ordinal);
        }
        while files.len() > OPEN_FILES_MAX {
            let Some(oldest) = order.pop_front() else {
                break;
            };
            files.remove(&oldest);
        }
        // Files that were closed early leave their numbers behind.
        if order.len() > 4 * OPEN_FILES_MAX {
            order.retain(|ordinal| files.contains_key(ordinal));
        }
    }

    fn close(&self, ordinal: u64) -> Option<Arc<TargetFile>> {
        self.state.lock().files.remove(&ordinal)
    }
}

/// Opens a file that is to be written. The first time, what is in the way is removed.
fn open(run: &Run<'_>, target: &Target, file: &FileWork) -> Result<Arc<TargetFile>, SourceError> {
    if let Some(open) = run.open_files.get(file.ordinal) {
        return Ok(open);
    }
    // Two threads must not both find that there is nothing yet.
    let mut opened = file.opened.lock();
    if let Some(open) = run.open_files.get(file.ordinal) {
        return Ok(open);
    }
    let path = file.relative();
    if !*opened && !file.existed() && !file.fresh && target.stat(path)?.is_some() {
        if run.options.delete {
            target.remove(path)?;
        } else {
            target.remove_single(path)?;
        }
    }
    let open = Arc::new(target.create_file(path)?);
    if !*opened && run.options.sparse && !file.existed() {
        open.set_size(file.size)?;
    }
    *opened = true;
    run.open_files.insert(file.ordinal, &open);
    Ok(open)
}

/// Whether the bytes are so many zeros that writing them is worth avoiding.
pub(super) fn are_many_zeros(bytes: &[u8]) -> bool {
    bytes.len() >= ZEROS_BYTES_MIN && bytes.iter().all(|byte| *byte == 0)
}

/// Writes a blob to one place of a file. `are_zeros` is what [`are_many_zeros`] says of it. Failures are told; only a full target is an error.
pub(super) fn write_blob(
    run: &Run<'_>,
    file: &FileWork,
    offset: u64,
    bytes: &[u8],
    are_zeros: bool,
) -> Result<(), RepoError> {
    let Some(target) = &run.target else {
        return Ok(());
    };
    if !file.has_failed_writing() {
        let sparse = run.options.sparse && !file.existed();
        let written = open(run, target, file).and_then(|open| match sparse {
            true => write_around_zeros(&open, bytes, offset),
            false if are_zeros && open.write_zeros(offset, bytes.len() as u64) => Ok(()),
            false => open.write_at(bytes, offset),
        });
        match written {
            Ok(()) => run.reporter.bytes(bytes.len() as u64),
            Err(error) => write_failed(run, file, error)?,
        }
    }
    Ok(())
}

fn write_failed(run: &Run<'_>, file: &FileWork, error: SourceError) -> Result<(), RepoError> {
    if file.fail_writing() {
        run.target_failed(&file.path, error)?;
    }
    Ok(())
}

fn write_around_zeros(file: &TargetFile, bytes: &[u8], offset: u64) -> Result<(), SourceError> {
    let mut start = 0;
    while start < bytes.len() {
        let piece = |at: usize| &bytes[at..bytes.len().min(at + HOLE_BYTES)];
        let is_zero = |piece: &[u8]| piece.iter().all(|byte| *byte == 0);
        let mut end = start;
        while end < bytes.len() && !is_zero(piece(end)) {
            end += piece(end).len();
        }
        if end > start {
            file.write_at(&bytes[start..end], offset + start as u64)?;
        }
        start = end;
        while start < bytes.len() && is_zero(piece(start)) {
            start += piece(start).len();
        }
    }
    Ok(())
}

/// Finishes a file of which all blobs were dealt with: size, metadata, report.
pub(super) fn finish_file(run: &Run<'_>, file: &FileWork) -> Result<(), RepoError> {
    let (blobs_lost, lost) = file.lost();
    let failed = file.has_failed_writing();
    if blobs_lost > 0 || failed {
        return set_aside(run, file, blobs_lost, lost);
    }
    let action = match file.decision.get() {
        Some(Decision::Keep) => RestoreAction::Unchanged,
        Some(Decision::Write { existed: true, .. }) => RestoreAction::FileUpdated,
        Some(Decision::Write { .. }) => RestoreAction::FileRestored,
        _ => return Ok(()),
    };
    if let (Some(target), false) = (&run.target, run.options.dry_run) {
        if action != RestoreAction::Unchanged {
            let sized = open(run, target, file).and_then(|open| match open.size()? {
                size if size == file.size => Ok(()),
                _ => open.set_size(file.size),
            });
            run.open_files.close(file.ordinal);
            if let Err(error) = sized {
                write_failed(run, file, error)?;
                return set_aside(run, file, 0, Vec::new());
            }
            run.restored.lock().insert(file.ordinal);
        }
        apply_metadata(run, target, &file.path, file.relative(), &file.node)?;
    }
    run.reporter.done(&file.path, action, file.size);
    Ok(())
}

/// Puts back metadata; what fails is told.
pub(super) fn apply_metadata(
    run: &Run<'_>,
    target: &Target,
    path: &Path,
    relative: &Path,
    node: &outlast_format::Node,
) -> Result<(), RepoError> {
    for error in target.apply_metadata(relative, node, &run.options.metadata) {
        run.target_failed(path, error)?;
    }
    Ok(())
}

/// A file that lacks something must not stand where somebody takes it for whole: what is left of it
/// gets another name and stays readable for its owner alone.
fn set_aside(
    run: &Run<'_>,
    file: &FileWork,
    blobs_lost: u64,
    lost: Vec<super::fetch::LostBlob>,
) -> Result<(), RepoError> {
    run.open_files.close(file.ordinal);
    file.note_odd(run, OddFirst::Lost);
    let mut kept_as = None;
    if let (Some(target), false, true) = (&run.target, run.options.dry_run, *file.opened.lock()) {
        let path = file.relative();
        let new_name = damaged_name(path);
        match target.rename_beside(path, &new_name) {
            Ok(()) => {
                let new_path = path.with_file_name(OsStr::from_bytes(&new_name));
                run.set_aside.lock().insert(new_path.clone());
                kept_as = Some(new_path);
            }
            Err(error) => {
                run.target_failed(&file.path, error)?;
                if let Err(error) = target.remove_single(path) {
                    run.target_failed(&file.path, error)?;
                }
            }
        }
    }
    if blobs_lost > 0 {
        let problem = RestoreProblem::Damaged {
            blobs_lost,
            lost,
            kept_as,
        };
        run.reporter.error(&file.path, problem);
    }
    Ok(())
}

fn damaged_name(path: &Path) -> Vec<u8> {
    let name = path.file_name().unwrap_or_default().as_bytes();
    let kept = name.len().min(NAME_BYTES_MAX - DAMAGED_SUFFIX.len());
    [&name[..kept], DAMAGED_SUFFIX].concat()
}

/// Paths that were made to keep what is left of damaged files.
pub(super) type SetAside = Mutex<std::collections::HashSet<PathBuf>>;
