//! Entries of the index in memory, sorted: 48 bytes a blob in one row, and a table of where each first
//! two bytes of an id begin.
//!
//! A row of ten million is 458 MiB, so it is sorted in place, and it grows without being copied: memory of
//! that size is given back and extended by pages.

use std::collections::VecDeque;
use std::ops::Range;

use outlast_format::{BlobHandle, BlobKind, PackedBlob};
use outlast_object::Id;
use parking_lot::Mutex;

use crate::PackNumber;

/// The top bit of the pack number tells trees from data.
const TREE_BIT: u32 = 1 << 31;
/// Rows shorter than this are sorted by one thread.
const PARALLEL_MIN: usize = 1 << 16;
/// Threads that sort.
const THREADS_MAX: usize = 8;
/// Entries that are moved from one row to another at a time: what is in both meanwhile.
const MOVED: usize = 1 << 16;
/// Different values of the first two bytes of an id.
const STARTS: usize = 1 << 16;

/// What an index claims of one blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    id: [u8; 32],
    pack_and_kind: u32,
    offset: u32,
    length: u32,
    uncompressed_length: u32,
}

impl Entry {
    pub(crate) fn new(pack: PackNumber, blob: &PackedBlob) -> Self {
        let kind = if blob.handle.kind == BlobKind::Tree {
            TREE_BIT
        } else {
            0
        };
        Self {
            id: *blob.handle.id.as_bytes(),
            pack_and_kind: pack.0 | kind,
            offset: blob.offset,
            length: blob.length,
            uncompressed_length: blob.uncompressed_length,
        }
    }

    pub(crate) fn id(&self) -> &[u8; 32] {
        &self.id
    }

    pub(crate) fn kind(&self) -> BlobKind {
        if self.pack_and_kind & TREE_BIT == 0 {
            BlobKind::Data
        } else {
            BlobKind::Tree
        }
    }

    pub(crate) fn pack(&self) -> PackNumber {
        PackNumber(self.pack_and_kind & !TREE_BIT)
    }

    pub(crate) fn blob(&self) -> PackedBlob {
        PackedBlob {
            handle: BlobHandle {
                kind: self.kind(),
                id: Id::from_bytes(self.id),
            },
            offset: self.offset,
            length: self.length,
            uncompressed_length: self.uncompressed_length,
        }
    }

    /// By id, then by kind, then by place; entries that differ have different keys.
    pub(crate) fn sort_key(&self) -> ([u8; 32], u32, u32, u32, u32) {
        (
            self.id,
            self.pack_and_kind,
            self.offset,
            self.length,
            self.uncompressed_length,
        )
    }

    fn compare(&self, other: &Self) -> std::cmp::Ordering {
        // Most entries differ in the first bytes: one comparison of numbers.
        let first = |entry: &Self| u64::from_be_bytes(first_eight(&entry.id));
        let order = first(self).cmp(&first(other));
        order.then_with(|| self.sort_key().cmp(&other.sort_key()))
    }

    fn start(&self) -> usize {
        start_of(&self.id)
    }
}

fn first_eight(id: &[u8; 32]) -> [u8; 8] {
    let [a, b, c, d, e, f, g, h, ..] = *id;
    [a, b, c, d, e, f, g, h]
}

fn start_of(id: &[u8; 32]) -> usize {
    usize::from(u16::from_be_bytes([id[0], id[1]]))
}

/// Entries in order, each once.
#[derive(Debug, Default)]
pub(crate) struct SortedEntries {
    row: Vec<Entry>,
    /// Where entries begin by the first two bytes of their ids; empty as long as the row is.
    starts: Vec<u32>,
}

impl SortedEntries {
    /// All of them.
    pub(crate) fn row(&self) -> &[Entry] {
        &self.row
    }

    /// Entries that the row's memory has room for.
    pub(crate) fn capacity(&self) -> usize {
        self.row.capacity()
    }

    /// All entries of an id: their places in the row.
    pub(crate) fn find(&self, id: &[u8; 32]) -> Range<usize> {
        let start = start_of(id);
        let (Some(from), Some(to)) = (self.starts.get(start), self.starts.get(start + 1)) else {
            return 0..0;
        };
        let (from, to) = (*from as usize, *to as usize);
        let first = from + self.row[from..to].partition_point(|entry| entry.id < *id);
        let alike = self.row[first..to].iter();
        first..first + alike.take_while(|entry| entry.id == *id).count()
    }

    /// Adds entries in any order, then sorts all. More than four thousand million are not taken.
    pub(crate) fn add(&mut self, parts: Vec<Vec<Entry>>) {
        let parts: Vec<Vec<Entry>> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        if parts.is_empty() {
            return;
        }
        for part in parts {
            append(&mut self.row, part);
        }
        self.row.truncate(u32::MAX as usize);
        sort(&mut self.row);
        self.row.dedup();
        self.row.shrink_to_fit();
        self.find_starts();
    }

    /// Keeps only what is wanted.
    pub(crate) fn retain(&mut self, keep: impl Fn(&Entry) -> bool) {
        self.row.retain(keep);
        self.find_starts();
    }

    fn find_starts(&mut self) {
        self.starts.clear();
        if self.row.is_empty() {
            return;
        }
        self.starts.resize(STARTS + 1, 0);
        for entry in &self.row {
            self.starts[entry.start() + 1] += 1;
        }
        for start in 0..STARTS {
            self.starts[start + 1] += self.starts[start];
        }
    }
}

/// Moves entries from the end of one row to the end of another, giving memory back on the way.
fn append(row: &mut Vec<Entry>, mut part: Vec<Entry>) {
    if row.is_empty() {
        *row = part;
        return;
    }
    row.reserve_exact(part.len());
    while !part.is_empty() {
        let from = part.len().saturating_sub(MOVED);
        row.extend_from_slice(&part[from..]);
        part.truncate(from);
        part.shrink_to_fit();
    }
}

/// Sorts in place: by the first byte in one pass, then what begins alike by several threads.
fn sort(row: &mut [Entry]) {
    if row.len() < PARALLEL_MIN {
        row.sort_unstable_by(Entry::compare);
        return;
    }
    let mut rest = row;
    let mut slices = VecDeque::new();
    for count in partition(rest, 0) {
        let (slice, after) = rest.split_at_mut(count);
        slices.push_back(slice);
        rest = after;
    }
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let slices = Mutex::new(slices);
    std::thread::scope(|scope| {
        for _ in 0..threads.min(THREADS_MAX) {
            scope.spawn(|| {
                loop {
                    let Some(mut slice) = slices.lock().pop_front() else {
                        return;
                    };
                    for count in partition(slice, 1) {
                        let (alike, after) = slice.split_at_mut(count);
                        alike.sort_unstable_by(Entry::compare);
                        slice = after;
                    }
                }
            });
        }
    });
}

/// Puts entries in the order of one byte of their ids, in place, and gives how many have each value. Each
/// entry is swapped to where its value goes on next, until the one that belongs here has come.
fn partition(row: &mut [Entry], byte: usize) -> [usize; 256] {
    let value = |entry: &Entry| usize::from(entry.id[byte]);
    let mut counts = [0; 256];
    for entry in row.iter() {
        counts[value(entry)] += 1;
    }
    let (mut next, mut ends) = ([0; 256], [0; 256]);
    let mut sum = 0;
    for (bucket, count) in counts.iter().enumerate() {
        next[bucket] = sum;
        sum += count;
        ends[bucket] = sum;
    }
    for bucket in 0..256 {
        while next[bucket] < ends[bucket] {
            let at = next[bucket];
            let target = value(&row[at]);
            row.swap(at, next[target]);
            next[target] += 1;
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use outlast_object::hash;
    use proptest::prelude::*;

    use super::*;

    fn entry(id: [u8; 32], pack: u32, offset: u32) -> Entry {
        let blob = PackedBlob {
            handle: BlobHandle::data(Id::from_bytes(id)),
            offset,
            length: 100,
            uncompressed_length: 0,
        };
        Entry::new(PackNumber(pack), &blob)
    }

    #[test]
    fn long_rows_are_sorted_by_several_threads() {
        let number = |number: u32| entry(*hash(&number.to_le_bytes()).as_bytes(), number, 1);
        let half = PARALLEL_MIN as u32;
        let mut sorted = SortedEntries::default();
        sorted.add(vec![
            (0..half).map(number).collect(),
            (half / 2..2 * half).map(number).collect(),
            Vec::new(),
        ]);
        assert_eq!(sorted.row().len(), 2 * PARALLEL_MIN);
        assert_eq!(sorted.capacity(), 2 * PARALLEL_MIN);
        assert!(sorted.row().is_sorted_by_key(|entry| entry.sort_key()));
        for wanted in 0..2 * half {
            let found = sorted.find(number(wanted).id());
            assert_eq!(sorted.row()[found], [number(wanted)]);
        }
        let missing = hash(&(2 * half).to_le_bytes());
        assert!(sorted.find(missing.as_bytes()).is_empty());
        sorted.retain(|entry| entry.pack().0 < 10);
        assert_eq!(sorted.row().len(), 10);
        assert_eq!(sorted.find(number(3).id()).len(), 1);
        assert!(sorted.find(number(30).id()).is_empty());
    }

    #[test]
    fn nothing_is_found_where_nothing_is() {
        let mut sorted = SortedEntries::default();
        assert!(sorted.find(&[0; 32]).is_empty());
        sorted.add(vec![Vec::new()]);
        assert!(sorted.find(&[255; 32]).is_empty());
        sorted.add(vec![vec![entry([255; 32], 1, 2), entry([255; 32], 0, 2)]]);
        assert_eq!(sorted.find(&[255; 32]), 0..2);
        assert!(sorted.find(&[254; 32]).is_empty());
        sorted.retain(|_| false);
        assert!(sorted.find(&[255; 32]).is_empty());
    }

    proptest! {
        /// Ids that differ in one byte only, wherever that is: what somebody might make on purpose.
        #[test]
        fn it_is_the_set_of_what_was_added(
            parts in prop::collection::vec(
                prop::collection::vec((0_usize..32, 0_u8..4, 0_u32..3, 0_u32..3), 0..60),
                0..4,
            ),
        ) {
            let make = |(at, value, pack, offset): &(usize, u8, u32, u32)| {
                let mut id = [7; 32];
                id[*at] = *value;
                entry(id, *pack, *offset)
            };
            let parts: Vec<Vec<Entry>> =
                parts.iter().map(|part| part.iter().map(make).collect()).collect();
            let model: std::collections::BTreeSet<_> =
                parts.iter().flatten().map(Entry::sort_key).collect();
            let mut sorted = SortedEntries::default();
            for part in &parts {
                sorted.add(vec![part.clone()]);
            }
            let keys: Vec<_> = sorted.row().iter().map(Entry::sort_key).collect();
            prop_assert_eq!(keys, model.into_iter().collect::<Vec<_>>());
            for entry in parts.iter().flatten() {
                let found = sorted.find(entry.id());
                prop_assert!(sorted.row()[found].contains(entry));
            }
        }
    }
}
