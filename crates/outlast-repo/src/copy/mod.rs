//! Copying snapshots into another repository.
//!
//! Blobs are opened, verified and sealed with the other repository's key. A snapshot is written
//! there only when all that it needs is durable. Memory: two bits for each entry of the source's
//! index, its order by packs, and one range of a pack for each thread.

mod blobs;
mod known;

use outlast_format::Snapshot;
use outlast_object::Id;

use crate::index::EntriesByPack;
use crate::used_blobs::{MarkError, MissingBlobs, Root, UsedBlobs};
use crate::{
    Cancel, NoProgress, Notice, Progress, RepoError, Repository, SaveStatistics, SaverOptions,
    StoredSnapshot, with_saver,
};
use known::Known;

/// Snapshots are written once so many packs' worth was copied, so that a run that breaks off has
/// brought some over, and small snapshots share packs.
const BATCH_PACKS: u64 = 100;

/// Is told of each snapshot.
pub trait CopyObserver: Progress {
    /// Copying a snapshot begins.
    fn snapshot_begins(&self, snapshot: &StoredSnapshot) {
        let _ = snapshot;
    }
    /// A snapshot is passed over: the other repository has it as `existing`.
    fn snapshot_skipped(&self, snapshot: &StoredSnapshot, existing: Id) {
        let _ = (snapshot, existing);
    }
    /// A snapshot was copied and is kept as `new`.
    fn snapshot_copied(&self, snapshot: &StoredSnapshot, new: Id) {
        let _ = (snapshot, new);
    }
    /// A snapshot could not be copied; the others go on.
    fn snapshot_failed(&self, snapshot: &StoredSnapshot, error: &RepoError) {
        let _ = (snapshot, error);
    }
}

impl CopyObserver for NoProgress {}

/// What was copied.
#[derive(Debug, Default)]
pub struct CopyOutcome {
    /// Ids in the source and in the destination.
    pub copied: Vec<(Id, Id)>,
    /// Snapshots that the destination had, with their ids there.
    pub skipped: Vec<(Id, Id)>,
    /// Snapshots that could not be copied.
    pub failed: Vec<(Id, RepoError)>,
    /// What was stored in the destination.
    pub stored: SaveStatistics,
}

/// Whether both repositories cut files into the same chunks. Where they do not, what is copied
/// shares nothing with what is backed up into the destination itself.
pub fn cuts_alike(source: &Repository, destination: &Repository) -> bool {
    source.config().chunker_polynomial == destination.config().chunker_polynomial
}

struct Copying<'a> {
    source: &'a Repository,
    destination: &'a Repository,
    observer: &'a dyn CopyObserver,
    cancel: &'a Cancel,
    by_pack: EntriesByPack,
    outcome: CopyOutcome,
}

/// What of the source is needed by the snapshots so far, and what of that was not copied yet.
struct Batch {
    /// All that was met in any batch.
    used: UsedBlobs,
    snapshots: Vec<StoredSnapshot>,
}

/// Copies these snapshots. Both indexes must be loaded. Where one snapshot cannot be copied because
/// of damage, the others are.
pub fn copy(
    source: &Repository,
    destination: &Repository,
    snapshots: &[StoredSnapshot],
    observer: &dyn CopyObserver,
    cancel: &Cancel,
) -> Result<CopyOutcome, RepoError> {
    if std::ptr::eq(source, destination) {
        let text = "the source and the destination are the same repository";
        return Err(RepoError::Refused(text.to_owned()));
    }
    if !cuts_alike(source, destination) {
        let text = "the repositories cut files into different chunks, so what is copied shares nothing with what is backed up into the destination; `init --copy-chunker-params` makes repositories alike";
        let environment = destination.environment();
        environment.notice(Notice::Other(text.to_owned()));
    }
    let mut known = Known::load(destination, cancel)?;
    let mut wanted = Vec::new();
    let mut outcome = CopyOutcome::default();
    for stored in snapshots {
        if let Some(existing) = known.find(stored) {
            observer.snapshot_skipped(stored, existing);
            outcome.skipped.push((stored.id, existing));
        } else if known.add_planned(stored) {
            wanted.push(stored);
        }
    }
    if wanted.is_empty() {
        return Ok(outcome);
    }
    let mut batch = Batch {
        used: UsedBlobs::new(source),
        snapshots: Vec::new(),
    };
    let by_pack = source.index().by_pack().ok_or_else(|| {
        RepoError::Refused("the index has more than four thousand million entries".to_owned())
    })?;
    let mut copying = Copying {
        source,
        destination,
        observer,
        cancel,
        by_pack,
        outcome,
    };
    let mut rest = wanted.as_slice();
    while !rest.is_empty() {
        rest = copying.copy_batch(rest, &mut batch, u64::MAX)?;
    }
    Ok(copying.outcome)
}

impl Copying<'_> {
    /// Copies as many snapshots as make a batch; gives those that are left. When the batch fails
    /// because of damage, its snapshots are tried one by one.
    fn copy_batch<'s>(
        &mut self,
        snapshots: &'s [&'s StoredSnapshot],
        batch: &mut Batch,
        snapshots_max: u64,
    ) -> Result<&'s [&'s StoredSnapshot], RepoError> {
        let before = batch.used.bits.clone();
        let target = self.destination.pack_bytes() * BATCH_PACKS;
        let mut done = 0;
        let mut missing = Vec::new();
        batch.snapshots.clear();
        let result = with_saver(
            self.destination,
            SaverOptions::default(),
            self.cancel,
            |saver| {
                for stored in snapshots {
                    let copied = saver.statistics().bytes_stored;
                    if done as u64 >= snapshots_max || (done > 0 && copied >= target) {
                        break;
                    }
                    done += 1;
                    self.observer.snapshot_begins(stored);
                    let earlier = batch.used.bits.clone();
                    match self.find_needed(stored, &batch.used) {
                        Ok(found) => missing.extend(found.named),
                        Err(error) => {
                            batch.used.bits = earlier;
                            self.fail(stored, error)?;
                            continue;
                        }
                    }
                    blobs::copy_marked(self, &batch.used, &earlier, saver)?;
                    batch.snapshots.push((*stored).clone());
                }
                Ok(())
            },
        );
        // What one snapshot lacks, others of the batch may lack as well: trees are visited once.
        let result = result.and_then(|((), stored)| {
            add(&mut self.outcome.stored, &stored);
            let index = self.destination.index();
            match missing.iter().find(|(handle, _)| !index.contains(*handle)) {
                Some((handle, _)) => Err(RepoError::BlobMissing(*handle)),
                None => Ok(()),
            }
        });
        match result {
            Ok(()) => {
                for stored in std::mem::take(&mut batch.snapshots) {
                    self.save(&stored)?;
                }
                Ok(&snapshots[done..])
            }
            // Neither store gets better by going on.
            Err(error @ RepoError::Store(_)) => Err(error),
            Err(error) => {
                let error = self.source.of_one_object(error)?;
                self.destination.ensure_present()?;
                batch.used.bits = before;
                if done <= 1 {
                    self.fail(snapshots[0], error)?;
                    return Ok(&snapshots[1..]);
                }
                let mut rest = &snapshots[..done];
                while !rest.is_empty() {
                    rest = self.copy_batch(rest, batch, 1)?;
                }
                Ok(&snapshots[done..])
            }
        }
    }

    /// Marks what a snapshot needs of the source; gives what the source does not have.
    fn find_needed(
        &self,
        stored: &StoredSnapshot,
        used: &UsedBlobs,
    ) -> Result<MissingBlobs, RepoError> {
        let root = Root {
            snapshot: stored.id,
            tree: stored.snapshot.tree,
        };
        let marked = used.mark_roots(self.source, &[root], &NoProgress, self.cancel);
        let missing = marked.map_err(|error| match error {
            MarkError::Tree(tree) => tree.reason,
            MarkError::Stopped(error) => error,
        })?;
        match missing.named.first() {
            Some((handle, _)) if missing.count > missing.named.len() as u64 => {
                Err(RepoError::BlobMissing(*handle))
            }
            _ => Ok(missing),
        }
    }

    fn save(&mut self, stored: &StoredSnapshot) -> Result<(), RepoError> {
        let copy = Snapshot {
            // The parent means nothing there.
            parent: None,
            original: Some(stored.snapshot.original.unwrap_or(stored.id)),
            ..stored.snapshot.clone()
        };
        let id = self.destination.save_snapshot(&copy)?;
        self.observer.snapshot_copied(stored, id);
        self.outcome.copied.push((stored.id, id));
        Ok(())
    }

    /// Notes the failure, unless it concerns more than this snapshot.
    fn fail(&mut self, stored: &StoredSnapshot, error: RepoError) -> Result<(), RepoError> {
        let error = self.source.of_one_object(error)?;
        self.observer.snapshot_failed(stored, &error);
        self.outcome.failed.push((stored.id, error));
        Ok(())
    }
}

fn add(sum: &mut SaveStatistics, more: &SaveStatistics) {
    sum.data_blobs += more.data_blobs;
    sum.tree_blobs += more.tree_blobs;
    sum.bytes_added += more.bytes_added;
    sum.bytes_stored += more.bytes_stored;
    sum.tree_bytes_added += more.tree_bytes_added;
    sum.tree_bytes_stored += more.tree_bytes_stored;
    sum.packs += more.packs;
}
