//! Why pruning refuses to begin.

use outlast_format::BlobHandle;
use outlast_object::Id;

/// Objects that a message names; of more it gives the number.
const NAMED_MAX: usize = 10;

/// It is not certain what is needed, so nothing was removed.
#[derive(Debug, thiserror::Error)]
pub enum PruneRefusal {
    /// What this snapshot needs is not known.
    #[error(
        "snapshot {id} cannot be read ({reason}), so what it needs is not known; restore it from another copy or remove it, nothing was removed"
    )]
    UnreadableSnapshot {
        /// The snapshot.
        id: Id,
        /// What is wrong with it.
        reason: String,
    },
    /// What is beneath this tree is not known.
    #[error(
        "tree {tree}, which snapshot {snapshot} needs, cannot be read ({reason}), so what it needs is not known; run `check` and `repair snapshots`, nothing was removed"
    )]
    UnreadableTree {
        /// The tree.
        tree: Id,
        /// A snapshot that needs it.
        snapshot: Id,
        /// What is wrong with it.
        reason: String,
    },
    /// Blobs that snapshots need are in no index.
    #[error(
        "data that snapshots need is missing: {}; run `repair index`, then `repair snapshots`, nothing was removed",
        list_blobs(.blobs, *.count)
    )]
    MissingBlobs {
        /// How many times one was named.
        count: u64,
        /// The first of them, each with a snapshot that needs it.
        blobs: Vec<(BlobHandle, Id)>,
    },
    /// Packs that snapshots need are not there.
    #[error(
        "packs that snapshots need are missing: {}; run `repair index`, then `repair snapshots`, nothing was removed",
        list(.0)
    )]
    MissingPacks(Vec<Id>),
    /// Packs that snapshots need do not have the size that follows from the index.
    #[error(
        "packs that snapshots need have another size than the index says: {}; run `repair index`, nothing was removed",
        list(.0)
    )]
    WrongPackSizes(Vec<Id>),
    /// Blobs of which several copies are claimed, and none is intact.
    #[error(
        "no intact copy was found of data that snapshots need: {}; run `check --read-data`, nothing was removed",
        list(.0)
    )]
    DamagedCopies(Vec<BlobHandle>),
    /// Somebody makes snapshots in spite of the lock.
    #[error(
        "snapshots appeared during the run in spite of the lock: {}; nothing that they may need was removed",
        list(.0)
    )]
    SnapshotsAdded(Vec<Id>),
}

fn list<T: std::fmt::Display>(items: &[T]) -> String {
    let mut named: Vec<String> = items
        .iter()
        .take(NAMED_MAX)
        .map(ToString::to_string)
        .collect();
    if items.len() > NAMED_MAX {
        named.push(format!("and {} more", items.len() - NAMED_MAX));
    }
    named.join(", ")
}

fn list_blobs(blobs: &[(BlobHandle, Id)], count: u64) -> String {
    let mut named: Vec<String> = blobs
        .iter()
        .take(NAMED_MAX)
        .map(|(handle, snapshot)| format!("{handle} of snapshot {}", snapshot.short()))
        .collect();
    let left = count.saturating_sub(named.len() as u64);
    if left > 0 {
        named.push(format!("and {left} more"));
    }
    named.join(", ")
}
