//! Packs under construction: two at a time for each kind of blob, filled at random.
//!
//! Which of two packs a blob goes into is left to chance, so that the sizes of packs tell less
//! about where the chunks of a file were cut (Alexeev et al., "Chunking attacks on file backup
//! services using content-defined chunking", 2025; restic does the same).

use outlast_format::{BlobKind, CHUNK_BYTES_MAX, EncodedBlob, FormatError, PackBuilder};
use parking_lot::Mutex;

use crate::RepoError;
use crate::environment::random_bytes;

const OPEN_PACKS: usize = 2;

/// The open packs of one kind.
#[derive(Debug)]
pub(crate) struct Packer {
    open: Mutex<[Option<PackBuilder>; OPEN_PACKS]>,
    pack_bytes: usize,
}

impl Packer {
    pub(crate) fn new(pack_bytes: u64) -> Self {
        Self {
            open: Mutex::new([None, None]),
            pack_bytes: pack_bytes as usize,
        }
    }

    /// Adds a blob; gives back a pack that has become full.
    pub(crate) fn add(&self, blob: &EncodedBlob) -> Result<Option<PackBuilder>, RepoError> {
        let choice = usize::from(random_bytes::<1>()?[0]) % OPEN_PACKS;
        if blob.sealed.len() >= self.pack_bytes {
            let mut own = PackBuilder::with_capacity(blob.sealed.len() + 256);
            own.push(blob)?;
            return Ok(Some(own));
        }
        let mut open = self.open.lock();
        let slot = &mut open[choice];
        // Room for a last chunk that goes beyond the size; memory not written to costs nothing.
        let room = self.pack_bytes + CHUNK_BYTES_MAX;
        let pack = slot.get_or_insert_with(|| PackBuilder::with_capacity(room));
        pack.push(blob)?;
        let full = pack.bytes() >= self.pack_bytes || pack.is_header_full();
        Ok(if full { slot.take() } else { None })
    }

    /// Takes all that is left, merged where it fits into one pack.
    pub(crate) fn take_all(&self) -> Result<Vec<PackBuilder>, FormatError> {
        let mut left: Vec<PackBuilder> = self
            .open
            .lock()
            .iter_mut()
            .filter_map(Option::take)
            .collect();
        if let [first, second] = left.as_slice()
            && first.bytes() + second.bytes() <= self.pack_bytes
            && let (Some(mut second), Some(first)) = (left.pop(), left.pop())
        {
            second.absorb(&first)?;
            left.push(second);
        }
        Ok(left)
    }
}

/// One packer for each kind of blob: data and trees must not share a pack.
#[derive(Debug)]
pub(crate) struct Packers {
    data: Packer,
    tree: Packer,
}

impl Packers {
    pub(crate) fn new(pack_bytes: u64) -> Self {
        Self {
            data: Packer::new(pack_bytes),
            tree: Packer::new(pack_bytes),
        }
    }

    pub(crate) fn of(&self, kind: BlobKind) -> &Packer {
        match kind {
            BlobKind::Data => &self.data,
            BlobKind::Tree => &self.tree,
        }
    }
}
