//! From the blobs that a window of files wants to ranges of packs to fetch.

use std::collections::HashMap;
use std::ops::Range;

use outlast_format::{BlobHandle, PackedBlob};
use outlast_object::Id;

use crate::{BlobIndex, BlobLocation, PackNumber};

/// Bytes between two wanted blobs that are rather read along than skipped by another request.
pub(crate) const GAP_BYTES_MAX: u64 = 128 * 1024;
/// Bytes of a range at most, unless a single blob is larger.
pub(crate) const RANGE_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// One place in one file where a blob goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BlobUse {
    /// The file, as a number of the window.
    pub file: u32,
    /// Where in the file, in bytes.
    pub offset: u64,
    /// The next use of the same blob; [`NO_USE`] at the end.
    next: u32,
}

const NO_USE: u32 = u32::MAX;

/// A blob to fetch, and from where at first.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WantedBlob {
    id: Id,
    pack: PackNumber,
    offset: u32,
    length: u32,
    uncompressed_length: u32,
    first_use: u32,
}

impl WantedBlob {
    /// The place in the pack.
    pub(crate) fn packed(&self) -> PackedBlob {
        PackedBlob {
            handle: self.handle(),
            offset: self.offset,
            length: self.length,
            uncompressed_length: self.uncompressed_length,
        }
    }

    /// The blob's name.
    pub(crate) fn handle(&self) -> BlobHandle {
        BlobHandle::data(self.id)
    }

    fn end(&self) -> u64 {
        u64::from(self.offset) + u64::from(self.length)
    }
}

/// A piece of a pack that is read in one go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RangeRead {
    /// The pack.
    pub pack: PackNumber,
    /// Where the range begins in the pack, in bytes.
    pub offset: u64,
    /// Its length in bytes.
    pub length: usize,
    /// The blobs in it, as numbers of the plan.
    pub blobs: Range<usize>,
}

/// What to fetch for a window, each blob once, in the order in which the packs are first needed.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    blobs: Vec<WantedBlob>,
    uses: Vec<BlobUse>,
    numbers: HashMap<Id, u32>,
    pack_ranks: HashMap<PackNumber, u32>,
}

impl Plan {
    /// Uses noted so far.
    #[cfg(test)]
    pub(crate) fn uses(&self) -> usize {
        self.uses.len()
    }

    /// Notes that `file` has the blob at `offset`. Of several places, a pack that is read anyway is
    /// preferred. `false` where no place is known.
    pub(crate) fn want(&mut self, index: &BlobIndex, id: Id, file: u32, offset: u64) -> bool {
        let number = match self.numbers.get(&id) {
            Some(number) => *number,
            None => match self.choose(index, id) {
                Some(location) => self.add(location),
                None => return false,
            },
        };
        let blob = &mut self.blobs[number as usize];
        let next = std::mem::replace(&mut blob.first_use, self.uses.len() as u32);
        self.uses.push(BlobUse { file, offset, next });
        true
    }

    fn choose(&self, index: &BlobIndex, id: Id) -> Option<BlobLocation> {
        let mut chosen = None;
        for location in index.find(BlobHandle::data(id)) {
            if self.pack_ranks.contains_key(&location.pack) {
                return Some(location);
            }
            chosen.get_or_insert(location);
        }
        chosen
    }

    fn add(&mut self, location: BlobLocation) -> u32 {
        let number = self.blobs.len() as u32;
        let rank = self.pack_ranks.len() as u32;
        self.pack_ranks.entry(location.pack).or_insert(rank);
        self.numbers.insert(location.blob.handle.id, number);
        self.blobs.push(WantedBlob {
            id: location.blob.handle.id,
            pack: location.pack,
            offset: location.blob.offset,
            length: location.blob.length,
            uncompressed_length: location.blob.uncompressed_length,
            first_use: NO_USE,
        });
        number
    }

    /// Puts the blobs in order and cuts them into ranges.
    pub(crate) fn into_ranges(self) -> (FetchList, Vec<RangeRead>) {
        let Plan {
            mut blobs,
            uses,
            numbers,
            pack_ranks,
        } = self;
        drop(numbers);
        blobs.sort_unstable_by_key(|blob| (pack_ranks.get(&blob.pack).copied(), blob.offset));
        let mut ranges: Vec<RangeRead> = Vec::new();
        for (number, blob) in blobs.iter().enumerate() {
            let start = u64::from(blob.offset);
            if let Some(range) = ranges.last_mut() {
                let range_end = range.offset + range.length as u64;
                let near = start <= range_end + GAP_BYTES_MAX;
                let small = blob.end().max(range_end) - range.offset <= RANGE_BYTES_MAX;
                if range.pack == blob.pack && near && small {
                    range.length = (blob.end().max(range_end) - range.offset) as usize;
                    range.blobs.end = number + 1;
                    continue;
                }
            }
            ranges.push(RangeRead {
                pack: blob.pack,
                offset: start,
                length: blob.length as usize,
                blobs: number..number + 1,
            });
        }
        (FetchList { blobs, uses }, ranges)
    }
}

/// The blobs of a plan in order, and who uses them.
#[derive(Debug)]
pub(crate) struct FetchList {
    blobs: Vec<WantedBlob>,
    uses: Vec<BlobUse>,
}

impl FetchList {
    /// The blobs of a range.
    pub(crate) fn blobs(&self, range: &RangeRead) -> &[WantedBlob] {
        &self.blobs[range.blobs.clone()]
    }

    /// Everywhere a blob goes.
    pub(crate) fn uses<'a>(&'a self, blob: &WantedBlob) -> impl Iterator<Item = BlobUse> + 'a {
        let mut at = blob.first_use;
        std::iter::from_fn(move || {
            let found = *self.uses.get(at as usize)?;
            at = found.next;
            Some(found)
        })
    }
}

#[cfg(test)]
mod tests {
    use outlast_object::hash;

    use super::*;

    const MIB: u32 = 1024 * 1024;

    fn blob(number: u32, offset: u32, length: u32) -> PackedBlob {
        PackedBlob {
            handle: BlobHandle::data(hash(&number.to_le_bytes())),
            offset,
            length,
            uncompressed_length: 0,
        }
    }

    fn id(number: u32) -> Id {
        hash(&number.to_le_bytes())
    }

    fn ranges(blobs: &[PackedBlob], wanted: &[u32]) -> Vec<(u64, usize, usize)> {
        let mut index = BlobIndex::new();
        index.add_pack(hash(b"pack"), blobs);
        let mut plan = Plan::default();
        for (file, number) in wanted.iter().enumerate() {
            assert!(plan.want(&index, id(*number), file as u32, 0));
        }
        let (_, ranges) = plan.into_ranges();
        ranges
            .into_iter()
            .map(|range| (range.offset, range.length, range.blobs.len()))
            .collect()
    }

    #[test]
    fn neighbours_are_read_together_and_far_ones_apart() {
        let gap = GAP_BYTES_MAX as u32;
        let blobs = [
            blob(0, 0, 100),
            blob(1, 100, 100),
            blob(2, 200 + gap, 100),
            blob(3, 301 + 2 * gap, 100),
        ];
        assert_eq!(ranges(&blobs, &[1, 0]), [(0, 200, 2)]);
        assert_eq!(
            ranges(&blobs, &[0, 2]),
            [(0, 100, 1), (200 + GAP_BYTES_MAX, 100, 1)]
        );
        assert_eq!(ranges(&blobs, &[1, 2]), [(100, 200 + gap as usize, 2)]);
        assert_eq!(ranges(&blobs, &[2, 3]).len(), 2);
    }

    #[test]
    fn ranges_are_bounded_but_no_blob_is_too_large() {
        let blobs = [
            blob(0, 0, 3 * MIB),
            blob(1, 3 * MIB, 5 * MIB),
            blob(2, 8 * MIB, 1),
            blob(3, 9 * MIB, 20 * MIB),
        ];
        let mib = MIB as usize;
        assert_eq!(
            ranges(&blobs, &[0, 1, 2, 3]),
            [
                (0, 8 * mib, 2),
                (8 * u64::from(MIB), 1, 1),
                (9 * u64::from(MIB), 20 * mib, 1)
            ]
        );
    }

    #[test]
    fn a_blob_is_fetched_once_for_all_its_uses() {
        let mut index = BlobIndex::new();
        index.add_pack(hash(b"one"), &[blob(0, 0, 10), blob(1, 10, 10)]);
        index.add_pack(hash(b"two"), &[blob(1, 0, 10)]);
        let mut plan = Plan::default();
        assert!(plan.want(&index, id(0), 0, 0));
        assert!(plan.want(&index, id(1), 0, 7));
        assert!(plan.want(&index, id(1), 5, 3));
        assert!(!plan.want(&index, id(2), 5, 3));
        assert_eq!(plan.uses(), 3);
        let (list, ranges) = plan.into_ranges();
        assert_eq!(ranges.len(), 1, "the pack that is read anyway is preferred");
        let blobs = list.blobs(&ranges[0]);
        let uses: Vec<_> = list
            .uses(&blobs[1])
            .map(|used| (used.file, used.offset))
            .collect();
        assert_eq!(uses, [(5, 3), (0, 7)]);
        assert_eq!(list.uses(&blobs[0]).count(), 1);
    }

    #[test]
    fn overlapping_claims_of_a_lying_index_do_no_harm() {
        let blobs = [blob(0, 0, 100), blob(1, 50, 10), blob(2, 60, u32::MAX - 60)];
        let ranges = ranges(&blobs, &[0, 1, 2]);
        assert_eq!(ranges[0], (0, 100, 2));
        assert_eq!(ranges[1].2, 1);
    }
}
