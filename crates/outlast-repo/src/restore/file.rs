//! A file being restored, from planning to its last byte.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use outlast_format::{BlobHandle, Node};
use outlast_object::Id;
use parking_lot::Mutex;

use super::Run;
use super::fetch::{LostBlob, load_anywhere};
use super::finish::OddFirst;
use crate::RepoError;

/// Lost blobs named for one file at most.
const LOST_NAMED_MAX: usize = 8;

/// What is done with a file.
#[derive(Debug)]
pub(super) enum Decision {
    /// It stays as it is, its metadata included.
    Skip,
    /// Its content is right already; its metadata is put back.
    Keep,
    /// Content is written.
    Write {
        /// Whether there was a file.
        existed: bool,
        /// Blobs that are right already, by their number.
        matches: Vec<bool>,
    },
    /// It cannot be restored; that was told already.
    Failed,
}

/// A file that is to be restored.
#[derive(Debug)]
pub(super) struct FileWork {
    /// The path within the snapshot.
    pub path: PathBuf,
    /// The entry.
    pub node: Node,
    /// How many files came before it in the snapshot.
    pub ordinal: u64,
    /// The directory was made by this restore, so nothing can be there yet.
    pub fresh: bool,
    /// Size of the content in bytes.
    pub size: u64,
    /// Where each blob goes, where that does not simply follow from their lengths because some are
    /// unknown. `None` where nobody knows.
    holes: Option<Vec<Option<u64>>>,
    /// What is done with it, once somebody looked.
    pub decision: OnceLock<Decision>,
    /// Whether it was opened for writing before.
    pub opened: Mutex<bool>,
    /// Blobs that are not dealt with yet.
    left: AtomicU64,
    damage: Mutex<Damage>,
}

#[derive(Debug, Default)]
struct Damage {
    blobs_lost: u64,
    lost: Vec<LostBlob>,
    /// Writing failed; that was told already.
    write_failed: bool,
}

/// Blobs of a file that belong to one window.
#[derive(Debug)]
pub(super) struct FilePart {
    pub file: Arc<FileWork>,
    pub blobs: Range<usize>,
    /// Where the first of the blobs goes.
    pub offset: u64,
}

impl FileWork {
    /// Works out where everything goes.
    pub(super) fn new(
        run: &Run<'_>,
        path: PathBuf,
        node: Node,
        ordinal: u64,
        fresh: bool,
    ) -> Result<Self, RepoError> {
        let content = node.content.as_deref().unwrap_or_default();
        let mut sum: u64 = 0;
        let mut unknown = false;
        for id in content {
            match blob_length(run, *id)? {
                Some(length) => sum = sum.saturating_add(length),
                None => unknown = true,
            }
        }
        let holes = if unknown {
            let lengths = content.iter().map(|id| blob_length(run, *id));
            let lengths = lengths.collect::<Result<Vec<_>, _>>()?;
            Some(layout_around_holes(&lengths, node.size))
        } else {
            None
        };
        Ok(Self {
            size: if unknown { node.size } else { sum },
            left: AtomicU64::new(content.len() as u64),
            path,
            node,
            ordinal,
            fresh,
            holes,
            decision: OnceLock::new(),
            opened: Mutex::new(false),
            damage: Mutex::default(),
        })
    }

    /// The blobs of the content.
    pub(super) fn content(&self) -> &[Id] {
        self.node.content.as_deref().unwrap_or_default()
    }

    /// The path beneath the target.
    pub(super) fn relative(&self) -> &Path {
        relative(&self.path)
    }

    /// Where the blob goes that would follow at `running` if all lengths were known.
    pub(super) fn place(&self, number: usize, running: u64) -> Option<u64> {
        match &self.holes {
            None => Some(running),
            Some(places) => places.get(number).copied().flatten(),
        }
    }

    /// Whether the blob is in the file that was there before.
    pub(super) fn has_already(&self, number: usize) -> bool {
        match self.decision.get() {
            Some(Decision::Write { matches, .. }) => matches.get(number).copied().unwrap_or(false),
            _ => false,
        }
    }

    /// Notes, for its other names, that the file is not as in the snapshot.
    pub(super) fn note_odd(&self, run: &Run<'_>, state: OddFirst) {
        if self.node.links > 1 {
            run.odd_firsts.lock().insert(self.path.clone(), state);
        }
    }

    /// Whether there was a file before.
    pub(super) fn existed(&self) -> bool {
        matches!(
            self.decision.get(),
            Some(Decision::Write { existed: true, .. })
        )
    }

    /// Notes that one more blob is dealt with. `true` for the last.
    pub(super) fn one_done(&self) -> bool {
        self.left.fetch_sub(1, Ordering::AcqRel) == 1
    }

    pub(super) fn lose(&self, lost: &LostBlob) {
        let mut damage = self.damage.lock();
        damage.blobs_lost += 1;
        if damage.lost.len() < LOST_NAMED_MAX {
            damage.lost.push(lost.clone());
        }
    }

    pub(super) fn fail_writing(&self) -> bool {
        !std::mem::replace(&mut self.damage.lock().write_failed, true)
    }

    pub(super) fn has_failed_writing(&self) -> bool {
        self.damage.lock().write_failed
    }

    /// Number of lost blobs and the first of them.
    pub(super) fn lost(&self) -> (u64, Vec<LostBlob>) {
        let damage = self.damage.lock();
        (damage.blobs_lost, damage.lost.clone())
    }
}

/// A path of the snapshot as one beneath the target.
pub(super) fn relative(path: &Path) -> &Path {
    path.strip_prefix("/").unwrap_or(path)
}

/// The length of a blob's plaintext. Where index entries contradict each other the blob itself is
/// asked. `None` where nobody knows.
pub(super) fn blob_length(run: &Run<'_>, id: Id) -> Result<Option<u64>, RepoError> {
    let handle = BlobHandle::data(id);
    let (first, agreed) = {
        let index = run.repository.index();
        let mut claims = index
            .find(handle)
            .map(|location| u64::from(location.blob.plaintext_length()));
        let Some(first) = claims.next() else {
            return Ok(None);
        };
        (first, claims.all(|length| length == first))
    };
    if agreed {
        return Ok(Some(first));
    }
    if let Some(length) = run.odd_lengths.lock().get(&id) {
        return Ok(*length);
    }
    let plaintext = load_anywhere(run.repository, handle)?;
    let length = plaintext.ok().map(|plaintext| plaintext.len() as u64);
    run.odd_lengths.lock().insert(id, length);
    Ok(length)
}

/// Where blobs go when the lengths of some are unknown: those before the first gap follow from the
/// beginning, those after the last from the end, and between two gaps nobody knows.
fn layout_around_holes(lengths: &[Option<u64>], size: u64) -> Vec<Option<u64>> {
    let mut places = vec![None; lengths.len()];
    let mut at: u64 = 0;
    for (place, length) in places.iter_mut().zip(lengths) {
        let Some(length) = length else { break };
        *place = Some(at);
        at = at.saturating_add(*length);
    }
    let mut end = size;
    for (place, length) in places.iter_mut().zip(lengths).rev() {
        let Some(start) = length.and_then(|length| end.checked_sub(length)) else {
            break;
        };
        *place = Some(start);
        end = start;
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_around_gaps_keeps_its_place() {
        let layout = |lengths: &[Option<u64>], size| layout_around_holes(lengths, size);
        assert_eq!(
            layout(&[Some(3), None, Some(4), Some(5)], 20),
            [Some(0), None, Some(11), Some(15)]
        );
        assert_eq!(
            layout(&[Some(3), None, Some(4), None, Some(5)], 20),
            [Some(0), None, None, None, Some(15)]
        );
        assert_eq!(layout(&[None], 20), [None]);
        // A size that cannot be true places nothing outside.
        assert_eq!(layout(&[None, Some(30)], 20), [None, None]);
    }
}
