//! Reading back what was restored and comparing it with the snapshot.

use std::path::Path;

use outlast_format::Node;
use outlast_object::{Id, hash};

use super::Run;
use super::execute::in_parallel;
use super::file::{blob_length, relative};
use super::observer::RestoreProblem;
use crate::{RepoError, TreeWalk, WalkEntry, WalkStep};

/// Files compared together.
const BATCH_FILES: usize = 1024;

/// A set of file numbers, one bit each.
#[derive(Debug, Default)]
pub(super) struct FileSet(Vec<u64>);

impl FileSet {
    pub(super) fn insert(&mut self, number: u64) {
        let word = (number / 64) as usize;
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << (number % 64);
    }

    fn contains(&self, number: u64) -> bool {
        let word = self.0.get((number / 64) as usize).copied();
        word.unwrap_or(0) & (1 << (number % 64)) != 0
    }
}

/// Compares all files that were written. They are found by walking once more and counting files in
/// the same way, so that nothing but a bit for each had to be kept.
pub(super) fn verify_all(run: &Run<'_>, tree: Id) -> Result<(), RepoError> {
    let mut walk = TreeWalk::new(run.repository, Path::new("/"), tree, run.cancel);
    let mut files: u64 = 0;
    let mut batch: Vec<WalkEntry> = Vec::new();
    while let Some(step) = walk.step()? {
        match step {
            WalkStep::Entry(entry) if entry.node.is_directory() => {
                let choice = run.options.selection.choose(&entry.path);
                if !choice.selected && !choice.descend {
                    walk.skip_directory();
                }
            }
            WalkStep::Entry(entry) if entry.node.is_file() => {
                let restored = run.restored.lock().contains(files);
                files += 1;
                if restored {
                    batch.push(entry);
                }
                if batch.len() >= BATCH_FILES {
                    verify_batch(run, &std::mem::take(&mut batch))?;
                }
            }
            // Told when it was restored.
            WalkStep::Entry(_) | WalkStep::Leave(_) | WalkStep::Problem { .. } => {}
        }
    }
    verify_batch(run, &batch)
}

fn verify_batch(run: &Run<'_>, batch: &[WalkEntry]) -> Result<(), RepoError> {
    in_parallel(run, batch.len(), |number| {
        let entry = &batch[number];
        match verify_file(run, &entry.path, &entry.node)? {
            None => run.reporter.verified(&entry.path),
            Some(problem) => run.reporter.error(&entry.path, problem),
        }
        Ok(())
    })
}

fn verify_file(
    run: &Run<'_>,
    path: &Path,
    node: &Node,
) -> Result<Option<RestoreProblem>, RepoError> {
    let Some(target) = &run.target else {
        return Ok(None);
    };
    let open = match target.open_file(relative(path)) {
        Ok(Some(open)) => open,
        Ok(None) => return Ok(Some(RestoreProblem::Differs { offset: 0 })),
        Err(error) => return Ok(Some(error.into())),
    };
    let mut offset: u64 = 0;
    let mut buffer = Vec::new();
    for id in node.content.as_deref().unwrap_or_default() {
        run.cancel.check()?;
        let length = blob_length(run, *id)?.unwrap_or(0);
        buffer.resize(length.min(outlast_format::BLOB_BYTES_MAX) as usize, 0);
        match open.read_at(&mut buffer, offset) {
            Ok(filled) if filled == buffer.len() && hash(&buffer) == *id => {}
            Ok(_) => return Ok(Some(RestoreProblem::Differs { offset })),
            Err(error) => return Ok(Some(error.into())),
        }
        offset = offset.saturating_add(length);
    }
    match open.size() {
        Ok(size) if size == offset => Ok(None),
        Ok(_) => Ok(Some(RestoreProblem::Differs { offset })),
        Err(error) => Ok(Some(error.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_remember_what_was_put_in() {
        let mut set = FileSet::default();
        for number in [0, 63, 64, 1000] {
            assert!(!set.contains(number));
            set.insert(number);
            assert!(set.contains(number));
        }
        assert!(!set.contains(1) && !set.contains(999) && !set.contains(1 << 40));
    }
}
