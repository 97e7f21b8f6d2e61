//! The blob index in memory: what was loaded in one sorted row of 48 bytes a blob, what was added since in
//! 256 buckets by the first byte of the id.

use std::collections::HashMap;
use std::ops::Range;

use outlast_format::{BlobHandle, BlobKind, PACK_LENGTH_BYTES, PackedBlob, SEAL_BYTES};
use outlast_object::Id;

use crate::index_entries::{Entry, SortedEntries};

/// Number of a pack within one index in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PackNumber(pub u32);

/// Where an index claims a blob to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlobLocation {
    /// The pack, as a number of the index.
    pub pack: PackNumber,
    /// The pack's id.
    pub pack_id: Id,
    /// The place in it.
    pub blob: PackedBlob,
}

/// Entries added one by one are merged into a sorted bucket when there are this many.
const FRESH_MAX: usize = 64;

/// What the index as a whole says of one pack.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PackFacts {
    /// Index entries that name the pack.
    pub entries: u32,
    /// Where its last blob ends: where its header should begin.
    pub blobs_end: u64,
    /// Size that its sealed header should have.
    pub header_bytes: u64,
    /// Whether trees are among its blobs.
    pub has_trees: bool,
}

impl PackFacts {
    /// Takes an entry into account.
    fn count(&mut self, blob: &PackedBlob) {
        let entry_bytes = if blob.uncompressed_length == 0 {
            37
        } else {
            41
        };
        self.entries += 1;
        self.blobs_end = self.blobs_end.max(blob.end());
        self.header_bytes = self.header_bytes.max(SEAL_BYTES as u64) + entry_bytes;
        self.has_trees |= blob.handle.kind == BlobKind::Tree;
    }

    /// Size that the pack has if the index is right and complete about it.
    pub fn pack_bytes(&self) -> u64 {
        self.blobs_end + self.header_bytes + PACK_LENGTH_BYTES as u64
    }
}

/// That all entries have numbers: their places in the row.
#[derive(Debug, Clone)]
pub(crate) struct EntryNumbers {
    count: usize,
}

impl EntryNumbers {
    /// How many entries there are.
    pub(crate) fn count(&self) -> usize {
        self.count
    }
}

/// The entries of each pack: four bytes an entry.
#[derive(Debug)]
pub(crate) struct EntriesByPack {
    starts: Vec<u32>,
    entries: Vec<u32>,
}

impl EntriesByPack {
    /// Numbers of the entries of a pack, in no particular order.
    pub(crate) fn of(&self, pack: PackNumber) -> &[u32] {
        let at = pack.0 as usize;
        match (self.starts.get(at), self.starts.get(at + 1)) {
            (Some(start), Some(end)) => &self.entries[*start as usize..*end as usize],
            _ => &[],
        }
    }
}

#[derive(Debug, Default)]
struct Bucket {
    sorted: Vec<Entry>,
    fresh: Vec<Entry>,
}

impl Bucket {
    fn settle(&mut self) {
        if !self.fresh.is_empty() {
            self.sorted.append(&mut self.fresh);
            // Most of it is in order already: this form of sorting sees that.
            self.sorted.sort_by_key(Entry::sort_key);
            self.sorted.dedup();
        }
    }

    /// Gives everything, and is empty then.
    fn take(&mut self) -> Vec<Entry> {
        let Bucket { mut sorted, fresh } = std::mem::take(self);
        sorted.extend(fresh);
        sorted
    }

    fn find(&self, id: [u8; 32]) -> impl Iterator<Item = &Entry> {
        let first = self.sorted.partition_point(|entry| *entry.id() < id);
        let sorted = self.sorted[first..]
            .iter()
            .take_while(move |entry| *entry.id() == id);
        sorted.chain(self.fresh.iter().filter(move |entry| *entry.id() == id))
    }
}

/// All that the index files say, as hints: several places may be claimed for one blob.
#[derive(Debug)]
pub struct BlobIndex {
    loaded: SortedEntries,
    buckets: Vec<Bucket>,
    packs: Vec<Id>,
    facts: Vec<PackFacts>,
    numbers: HashMap<Id, PackNumber>,
}

impl Default for BlobIndex {
    fn default() -> Self {
        Self::new()
    }
}

impl BlobIndex {
    /// An empty index.
    pub fn new() -> Self {
        Self {
            loaded: SortedEntries::default(),
            buckets: std::iter::repeat_with(Bucket::default).take(256).collect(),
            packs: Vec::new(),
            facts: Vec::new(),
            numbers: HashMap::new(),
        }
    }

    /// Adds what one index says of one pack. A blob that is listed twice alike is kept once.
    pub fn add_pack(&mut self, id: Id, blobs: &[PackedBlob]) -> PackNumber {
        let number = self.number_of(id);
        for blob in blobs {
            self.add_entry(number, blob);
        }
        number
    }

    /// The number of a pack, which may be new.
    pub(crate) fn number_of(&mut self, id: Id) -> PackNumber {
        let next = PackNumber(self.packs.len() as u32);
        let number = *self.numbers.entry(id).or_insert(next);
        if number == next {
            self.packs.push(id);
            self.facts.push(PackFacts::default());
        }
        number
    }

    fn add_entry(&mut self, number: PackNumber, blob: &PackedBlob) {
        let entry = Entry::new(number, blob);
        let bucket = usize::from(entry.id()[0]);
        let loaded = &self.loaded.row()[self.loaded.find(entry.id())];
        let added = self.buckets[bucket].find(*entry.id());
        if loaded.iter().chain(added).any(|known| *known == entry) {
            return;
        }
        let bucket = &mut self.buckets[bucket];
        bucket.fresh.push(entry);
        // Sorting a bucket costs in proportion to its size; so does what may wait for it.
        if bucket.fresh.len() > FRESH_MAX.max(bucket.sorted.len() / 8) {
            bucket.settle();
        }
        self.facts[number.0 as usize].count(blob);
    }

    /// Adds what was loaded, in any order, of packs that have numbers already. An entry that is there
    /// more than once is kept once.
    pub(crate) fn add_loaded(&mut self, mut parts: Vec<Vec<Entry>>) {
        parts.extend(self.buckets.iter_mut().map(Bucket::take));
        self.loaded.add(parts);
        self.facts.fill(PackFacts::default());
        for entry in self.loaded.row() {
            if let Some(facts) = self.facts.get_mut(entry.pack().0 as usize) {
                facts.count(&entry.blob());
            }
        }
    }

    /// Sorts what was added lately and gives back spare memory.
    pub fn settle(&mut self) {
        let parts = self.buckets.iter_mut().map(Bucket::take).collect();
        self.loaded.add(parts);
    }

    /// Numbers for all entries, in the order of [`BlobIndex::iter`]: first by id, then by kind. They
    /// hold until something is added. Settles first.
    pub(crate) fn number_entries(&mut self) -> EntryNumbers {
        self.settle();
        EntryNumbers {
            count: self.loaded.row().len(),
        }
    }

    /// The numbers of all entries of a blob; they follow each other.
    pub(crate) fn entries_of(&self, _: &EntryNumbers, handle: BlobHandle) -> Range<usize> {
        let found = self.loaded.find(handle.id.as_bytes());
        let row = &self.loaded.row()[found.clone()];
        let first = row.partition_point(|entry| entry.kind() < handle.kind);
        let alike = row[first..].iter();
        let count = alike
            .take_while(|entry| entry.kind() == handle.kind)
            .count();
        let start = found.start + first;
        start..start + count
    }

    /// The entry of a number.
    pub(crate) fn entry_at(&self, _: &EntryNumbers, number: usize) -> Option<BlobLocation> {
        let entry = self.loaded.row().get(number)?;
        Some(self.location(entry))
    }

    /// The entries of each pack. `None` beyond four thousand million entries.
    pub(crate) fn by_pack(&self) -> Option<EntriesByPack> {
        u32::try_from(self.len()).ok()?;
        let mut starts = vec![0_u32; self.packs.len() + 1];
        for location in self.iter() {
            starts[location.pack.0 as usize + 1] += 1;
        }
        for pack in 0..self.packs.len() {
            starts[pack + 1] += starts[pack];
        }
        let mut next = starts.clone();
        let mut entries = vec![0; self.len()];
        for (number, location) in self.iter().enumerate() {
            let at = &mut next[location.pack.0 as usize];
            *entries.get_mut(*at as usize)? = number as u32;
            *at += 1;
        }
        Some(EntriesByPack { starts, entries })
    }

    /// Forgets all entries of the packs that `keep` does not want. The packs keep their numbers.
    pub(crate) fn retain_packs(&mut self, keep: impl Fn(PackNumber) -> bool) {
        self.settle();
        self.loaded.retain(|entry| keep(entry.pack()));
        for (number, facts) in self.facts.iter_mut().enumerate() {
            if !keep(PackNumber(number as u32)) {
                *facts = PackFacts::default();
            }
        }
    }

    /// All places claimed for a blob.
    pub fn find(&self, handle: BlobHandle) -> impl Iterator<Item = BlobLocation> + '_ {
        let kind = handle.kind;
        let id = *handle.id.as_bytes();
        let bucket = &self.buckets[usize::from(id[0])];
        let loaded = &self.loaded.row()[self.loaded.find(&id)];
        let added = bucket.find(id);
        let entries = loaded.iter().chain(added);
        entries
            .filter(move |entry| entry.kind() == kind)
            .map(|entry| self.location(entry))
    }

    fn location(&self, entry: &Entry) -> BlobLocation {
        let pack = entry.pack();
        BlobLocation {
            pack,
            pack_id: self.packs[pack.0 as usize],
            blob: entry.blob(),
        }
    }

    /// Whether any place is claimed for a blob.
    pub fn contains(&self, handle: BlobHandle) -> bool {
        self.find(handle).next().is_some()
    }

    /// Length of a blob's plaintext, as the index claims.
    pub fn plaintext_length(&self, handle: BlobHandle) -> Option<u64> {
        self.find(handle)
            .next()
            .map(|location| location.blob.plaintext_length().into())
    }

    /// All entries, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = BlobLocation> + '_ {
        let buckets = self.buckets.iter();
        let added = buckets.flat_map(|bucket| bucket.sorted.iter().chain(&bucket.fresh));
        let entries = self.loaded.row().iter().chain(added);
        entries.map(|entry| self.location(entry))
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        let added = |bucket: &Bucket| bucket.sorted.len() + bucket.fresh.len();
        self.loaded.row().len() + self.buckets.iter().map(added).sum::<usize>()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.packs.is_empty()
    }

    /// All packs, in the order of their numbers.
    pub fn packs(&self) -> &[Id] {
        &self.packs
    }

    /// The number of a pack.
    pub fn pack_number(&self, id: &Id) -> Option<PackNumber> {
        self.numbers.get(id).copied()
    }

    /// What the index as a whole says of a pack.
    pub fn pack_facts(&self, pack: PackNumber) -> PackFacts {
        self.facts.get(pack.0 as usize).copied().unwrap_or_default()
    }

    /// Bytes of memory that entries take, for tests and `stats`.
    pub fn entry_bytes(&self) -> usize {
        let capacity = |bucket: &Bucket| bucket.sorted.capacity() + bucket.fresh.capacity();
        let added: usize = self.buckets.iter().map(capacity).sum();
        (self.loaded.capacity() + added) * size_of::<Entry>()
    }
}

#[cfg(test)]
mod tests {
    use outlast_object::hash;

    use super::*;

    fn blob(number: u32, kind: BlobKind) -> PackedBlob {
        let handle = BlobHandle {
            kind,
            id: hash(&number.to_le_bytes()),
        };
        PackedBlob {
            handle,
            offset: number,
            length: 100,
            uncompressed_length: 0,
        }
    }

    #[test]
    fn every_place_is_found_and_kinds_are_told_apart() {
        let mut index = BlobIndex::new();
        let packs: Vec<Id> = (0..3_u8).map(|byte| hash(&[byte])).collect();
        for number in 0..20_000 {
            index.add_pack(packs[number as usize % 3], &[blob(number, BlobKind::Data)]);
        }
        index.add_pack(
            packs[2],
            &[blob(0, BlobKind::Data), blob(0, BlobKind::Data)],
        );
        index.add_pack(packs[1], &[blob(5, BlobKind::Tree)]);
        for settled in [false, true] {
            if settled {
                index.settle();
            }
            assert_eq!(index.len(), 20_002);
            for number in 0..20_000 {
                assert!(
                    index.contains(blob(number, BlobKind::Data).handle),
                    "{number}"
                );
            }
            assert_eq!(index.find(blob(0, BlobKind::Data).handle).count(), 2);
            assert_eq!(index.find(blob(5, BlobKind::Tree).handle).count(), 1);
            assert!(!index.contains(blob(6, BlobKind::Tree).handle));
            assert!(!index.contains(blob(20_001, BlobKind::Data).handle));
        }
        assert!(index.pack_facts(PackNumber(1)).has_trees);
        assert!(!index.pack_facts(PackNumber(0)).has_trees);
    }

    #[test]
    fn entries_are_numbered_and_found_by_pack() {
        let mut index = BlobIndex::new();
        let packs: Vec<Id> = (0..3_u8).map(|byte| hash(&[byte])).collect();
        for number in 0..1000 {
            let kind = [BlobKind::Data, BlobKind::Tree][number as usize % 2];
            index.add_pack(packs[number as usize % 3], &[blob(number, kind)]);
            index.add_pack(packs[0], &[blob(number, BlobKind::Data)]);
        }
        let numbers = index.number_entries();
        assert_eq!(numbers.count(), index.len());
        for (number, location) in index.iter().enumerate() {
            assert_eq!(index.entry_at(&numbers, number), Some(location));
            let entries = index.entries_of(&numbers, location.blob.handle);
            assert!(entries.contains(&number));
            assert_eq!(entries.len(), index.find(location.blob.handle).count());
        }
        assert_eq!(index.entry_at(&numbers, numbers.count()), None);
        assert!(
            index
                .entries_of(&numbers, blob(7777, BlobKind::Data).handle)
                .is_empty()
        );
        let by_pack = index.by_pack().unwrap();
        let mut seen = 0;
        for pack in 0..3 {
            for number in by_pack.of(PackNumber(pack)) {
                let location = index.entry_at(&numbers, *number as usize).unwrap();
                assert_eq!(location.pack, PackNumber(pack));
                seen += 1;
            }
        }
        assert_eq!(seen, index.len());
        index.retain_packs(|pack| pack.0 == 1);
        assert!(index.iter().all(|location| location.pack.0 == 1));
        assert_eq!(index.len(), 333);
    }

    #[test]
    fn a_blob_takes_48_bytes() {
        assert_eq!(size_of::<Entry>(), 48);
        let mut index = BlobIndex::new();
        for number in 0..100_000 {
            index.add_pack(
                Id::from_bytes([(number / 1000) as u8; 32]),
                &[blob(number, BlobKind::Data)],
            );
        }
        index.settle();
        assert_eq!(index.entry_bytes(), 100_000 * 48);
    }
}
