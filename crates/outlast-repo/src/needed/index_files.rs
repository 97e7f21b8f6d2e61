//! Which index file lists which pack, and whether it lists all of it.

use std::collections::HashMap;

use outlast_format::PackedBlob;
use outlast_object::Id;

use crate::{BlobIndex, PackNumber};

/// What an index file says of a pack: 12 bytes in memory.
#[derive(Debug, Clone, Copy)]
struct Listing {
    pack: PackNumber,
    file: u32,
    /// Different entries.
    entries: u32,
}

/// The index files that an index in memory was made of.
#[derive(Debug, Default)]
pub(crate) struct IndexFiles {
    files: Vec<Id>,
    listings: Vec<Listing>,
}

impl IndexFiles {
    /// Begins an index file; what it lists is added with the number.
    pub(crate) fn begin(&mut self, file: Id) -> u32 {
        self.files.push(file);
        (self.files.len() - 1) as u32
    }

    /// The file lists these blobs of a pack.
    pub(crate) fn add(&mut self, file: u32, pack: PackNumber, blobs: &[PackedBlob]) {
        self.add_counted(file, pack, distinct(blobs));
    }

    /// The same, where it is known how many different entries that are.
    pub(crate) fn add_counted(&mut self, file: u32, pack: PackNumber, entries: u32) {
        self.listings.push(Listing {
            pack,
            file,
            entries,
        });
    }

    /// Files that list these packs, sorted by id: of each pack one that lists all that any lists of
    /// it, or, where there is none, every file that names it.
    pub(crate) fn covering(&self, index: &BlobIndex, packs: &[PackNumber]) -> Vec<Id> {
        let mut wanted = vec![false; index.packs().len()];
        for pack in packs {
            if let Some(wanted) = wanted.get_mut(pack.0 as usize) {
                *wanted = true;
            }
        }
        let is_wanted = |listing: &&Listing| wanted.get(listing.pack.0 as usize) == Some(&true);
        let mut listings: Vec<Listing> = self.listings.iter().filter(is_wanted).copied().collect();
        listings.sort_unstable_by_key(|listing| (listing.pack, self.id(listing.file)));
        let is_whole =
            |listing: &&Listing| listing.entries == index.pack_facts(listing.pack).entries;
        let mut covers: HashMap<Id, usize> = HashMap::new();
        for listing in listings.iter().filter(is_whole) {
            *covers.entry(self.id(listing.file)).or_default() += 1;
        }
        let mut chosen: Vec<Id> = Vec::new();
        let of_packs = || listings.chunk_by(|a, b| a.pack == b.pack);
        let whole = |listings: &[Listing]| -> Vec<Id> {
            let whole = listings.iter().filter(is_whole);
            whole.map(|listing| self.id(listing.file)).collect()
        };
        for listings in of_packs() {
            match whole(listings).as_slice() {
                [] => chosen.extend(listings.iter().map(|listing| self.id(listing.file))),
                [only] => chosen.push(*only),
                _ => {}
            }
        }
        chosen.sort_unstable();
        chosen.dedup();
        for listings in of_packs() {
            let whole = whole(listings);
            if whole.len() > 1 && !whole.iter().any(|id| chosen.binary_search(id).is_ok()) {
                let most = whole.iter().max_by_key(|id| (covers.get(*id), **id));
                let Some(id) = most else { continue };
                let at = chosen.partition_point(|known| known < id);
                chosen.insert(at, *id);
            }
        }
        chosen
    }

    fn id(&self, file: u32) -> Id {
        self.files.get(file as usize).copied().unwrap_or_default()
    }
}

/// How many different entries there are. Programs list blobs in the order in which they lie in the
/// pack; a list in another order, which may be meant to look like more than it is, is sorted.
pub(crate) fn distinct(blobs: &[PackedBlob]) -> u32 {
    if blobs.is_sorted_by(|a, b| a.offset < b.offset) {
        return blobs.len() as u32;
    }
    let key = |blob: &PackedBlob| {
        (
            blob.offset,
            blob.handle,
            blob.length,
            blob.uncompressed_length,
        )
    };
    let mut sorted: Vec<_> = blobs.iter().map(key).collect();
    sorted.sort_unstable();
    sorted.dedup();
    sorted.len() as u32
}

#[cfg(test)]
mod tests {
    use outlast_format::BlobHandle;
    use outlast_object::hash;

    use super::*;

    fn blobs(numbers: &[u32]) -> Vec<PackedBlob> {
        let blob = |number: &u32| PackedBlob {
            handle: BlobHandle::data(hash(&number.to_le_bytes())),
            offset: number * 100,
            length: 100,
            uncompressed_length: 0,
        };
        numbers.iter().map(blob).collect()
    }

    fn cover(files: &[&[(u8, &[u32])]], packs: &[u8]) -> Vec<usize> {
        let mut index = BlobIndex::new();
        let mut known = IndexFiles::default();
        let ids: Vec<Id> = (0..files.len())
            .map(|n| Id::from_bytes([n as u8 + 1; 32]))
            .collect();
        for (id, file) in ids.iter().zip(files) {
            let number = known.begin(*id);
            for (pack, list) in *file {
                let list = blobs(list);
                let pack = index.add_pack(hash(&[*pack]), &list);
                known.add(number, pack, &list);
            }
        }
        let packs: Vec<PackNumber> = packs
            .iter()
            .map(|pack| index.pack_number(&hash(&[*pack])).unwrap())
            .collect();
        let chosen = known.covering(&index, &packs);
        chosen
            .iter()
            .map(|id| ids.iter().position(|known| known == id).unwrap())
            .collect()
    }

    #[test]
    fn each_pack_is_covered_by_a_file_that_lists_all_of_it() {
        let one: &[(u8, &[u32])] = &[(1, &[0, 1]), (2, &[2])];
        let two: &[(u8, &[u32])] = &[(3, &[3])];
        assert_eq!(cover(&[one, two], &[1]), [0]);
        assert_eq!(cover(&[one, two], &[3, 2]), [0, 1]);
        // A file that names a pack and lists a part of it does not count, also with repetitions.
        let part: &[(u8, &[u32])] = &[(1, &[1, 1])];
        assert_eq!(cover(&[part, one], &[1]), [1]);
        // Where every file lacks something, all are taken.
        let other: &[(u8, &[u32])] = &[(1, &[0])];
        assert_eq!(cover(&[part, other], &[1]), [0, 1]);
    }

    #[test]
    fn files_that_are_taken_anyway_and_those_that_cover_more_come_first() {
        let both: &[(u8, &[u32])] = &[(1, &[0]), (2, &[1])];
        let first: &[(u8, &[u32])] = &[(1, &[0])];
        let more: &[(u8, &[u32])] = &[(2, &[1]), (3, &[2])];
        assert_eq!(cover(&[both, first], &[1, 2]), [0]);
        assert_eq!(cover(&[first, both], &[1]), [1]);
        assert_eq!(cover(&[first, both, more], &[2, 3]), [2]);
    }
}
