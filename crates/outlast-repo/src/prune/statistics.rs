//! Figures of pruning, under the names of restic's JSON.

use serde::Serialize;

/// What is there, what goes and what remains.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct PruneStatistics {
    /// Numbers of blobs.
    pub blobs: PruneBlobs,
    /// Bytes of sealed blobs, without the headers of packs.
    pub bytes: PruneBytes,
    /// Numbers of packs.
    #[serde(rename = "packfiles")]
    pub packs: PrunePacks,
}

/// Numbers of blobs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct PruneBlobs {
    /// Blobs that snapshots need.
    pub used: u64,
    /// Further copies of these.
    pub duplicate: u64,
    /// Blobs that nobody needs.
    pub unused: u64,
    /// All.
    pub total: u64,
    /// Blobs in packs that are repacked.
    pub repack: u64,
    /// Those of them that go.
    pub repack_remove: u64,
    /// Blobs in packs that are removed as a whole.
    pub remove: u64,
    /// All that go.
    pub remove_total: u64,
    /// All that remain.
    pub remaining: u64,
}

/// Bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct PruneBytes {
    /// Of blobs that snapshots need.
    pub used: u64,
    /// Of further copies of these.
    pub duplicate: u64,
    /// Of blobs that nobody needs.
    pub unused: u64,
    /// Of packs that no index lists.
    pub unreferenced: u64,
    /// Of packs that hold blobs which are not compressed, and that are not repacked.
    pub uncompressed: u64,
    /// All.
    pub total: u64,
    /// Of packs that are repacked.
    pub repack: u64,
    /// What of these goes.
    pub repack_remove: u64,
    /// Of packs that are removed as a whole.
    pub remove: u64,
    /// All that goes.
    pub remove_total: u64,
    /// All that remains.
    pub remaining: u64,
    /// Nobody needs it and it remains.
    pub remaining_unused: u64,
}

/// Numbers of packs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct PrunePacks {
    /// All of whose blobs are needed.
    pub used: u64,
    /// Of which nothing is needed.
    pub unused: u64,
    /// Some of whose blobs are needed.
    pub partly_used: u64,
    /// That no index lists.
    pub unreferenced: u64,
    /// All.
    pub total: u64,
    /// That stay as they are.
    pub keep: u64,
    /// That are repacked.
    pub repack: u64,
    /// That are removed because nothing in them is needed.
    pub remove: u64,
    /// That are removed, those that no index lists included.
    pub remove_total: u64,
}

impl PruneStatistics {
    /// Fills in the sums.
    pub(super) fn sum_up(&mut self) {
        let unused_left = self.unused_left();
        let (blobs, bytes, packs) = (&mut self.blobs, &mut self.bytes, &mut self.packs);
        blobs.total = blobs.used + blobs.unused + blobs.duplicate;
        blobs.remove_total = blobs.remove + blobs.repack_remove;
        blobs.remaining = blobs.total.saturating_sub(blobs.remove_total);
        bytes.total = bytes.used + bytes.duplicate + bytes.unused + bytes.unreferenced;
        bytes.remove_total = bytes.remove + bytes.repack_remove + bytes.unreferenced;
        bytes.remaining = bytes.total.saturating_sub(bytes.remove_total);
        bytes.remaining_unused = unused_left;
        packs.total = packs.used + packs.partly_used + packs.unused + packs.unreferenced;
        packs.remove_total = packs.unreferenced + packs.remove;
    }

    /// Bytes that nobody needs and that are not yet marked to go.
    pub(super) fn unused_left(&self) -> u64 {
        let bytes = &self.bytes;
        (bytes.duplicate + bytes.unused).saturating_sub(bytes.remove + bytes.repack_remove)
    }
}
