//! The journal: the log's entries as they became durable, batch by batch. The one thing on which
//! everything else in the ledger rests.
//!
//! A segment is a file of frames. A frame is the length of its payload (4 bytes, little-endian),
//! its kind (1 entry, 2 checkpoint), the payload, and the first 8 bytes of the SHA-256 of kind and
//! payload. A batch is some entries and the checkpoint over everything up to them, appended in one
//! write: what does not end in a checkpoint was never acknowledged.

use outlast_custody::{ENTRY_BYTES_MAX, Entry};
use outlast_object::hash;

use crate::VaultError;

/// Entries after which a new segment begins.
pub const SEGMENT_ENTRIES: u64 = 65_536;
/// Longest checkpoint, in bytes.
const CHECKPOINT_BYTES_MAX: usize = 64 * 1024;
const CHECK_BYTES: usize = 8;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Entry = 1,
    Checkpoint = 2,
}

/// The path of the segment whose first entry has this index.
pub fn segment_path(first: u64) -> String {
    format!("ledger/journal/{first:016x}")
}

/// A batch as it is written.
#[derive(Debug, Default)]
pub struct Writer {
    bytes: Vec<u8>,
    offsets: Vec<u64>,
}

impl Writer {
    fn frame(&mut self, kind: Kind, payload: &[u8]) {
        self.bytes
            .extend_from_slice(&(payload.len() as u32).to_le_bytes());
        let start = self.bytes.len();
        self.bytes.push(kind as u8);
        self.bytes.extend_from_slice(payload);
        let check = hash(&self.bytes[start..]);
        self.bytes
            .extend_from_slice(&check.as_bytes()[..CHECK_BYTES]);
    }

    /// Adds an entry.
    pub fn entry(&mut self, entry: &[u8]) {
        self.offsets.push(self.bytes.len() as u64);
        self.frame(Kind::Entry, entry);
    }

    /// Ends the batch; gives its bytes and where in them each entry starts.
    pub fn finish(mut self, checkpoint: &[u8]) -> (Vec<u8>, Vec<u64>) {
        self.frame(Kind::Checkpoint, checkpoint);
        (self.bytes, self.offsets)
    }
}

/// A batch as it is read back.
#[derive(Debug)]
pub struct Batch {
    /// The entries.
    pub entries: Vec<Entry>,
    /// The bytes of each.
    pub encoded: Vec<Vec<u8>>,
    /// Where in the segment each starts.
    pub offsets: Vec<u64>,
    /// The checkpoint.
    pub checkpoint: Vec<u8>,
    /// Where in the segment the batch ends.
    pub end: u64,
}

/// Reads frames out of the bytes of a segment.
pub struct Reader<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    /// Reads from `offset` on.
    pub fn new(bytes: &'a [u8], offset: u64) -> Self {
        Self {
            bytes,
            offset: usize::try_from(offset).unwrap_or(usize::MAX),
        }
    }

    /// The next whole frame, or none where the bytes end or are not one.
    fn frame(&mut self) -> Option<(u8, &'a [u8], usize)> {
        let start = self.offset;
        let rest = self.bytes.get(start..)?;
        let (length, rest) = rest.split_first_chunk()?;
        let length = u32::from_le_bytes(*length) as usize;
        if length > ENTRY_BYTES_MAX.max(CHECKPOINT_BYTES_MAX) {
            return None;
        }
        let (body, rest) = rest.split_at_checked(1 + length)?;
        let (check, _) = rest.split_at_checked(CHECK_BYTES)?;
        if hash(body).as_bytes()[..CHECK_BYTES] != *check {
            return None;
        }
        self.offset = start + 4 + body.len() + CHECK_BYTES;
        let (kind, payload) = body.split_first()?;
        Some((*kind, payload, start))
    }

    /// The next entry's bytes, with checkpoints passed over. For reading bundles back.
    pub fn next_entry(&mut self) -> Option<&'a [u8]> {
        loop {
            let (kind, payload, _) = self.frame()?;
            if kind == Kind::Entry as u8 {
                return Some(payload);
            }
        }
    }

    /// The next whole batch; none at the end, where a torn one may follow.
    ///
    /// # Errors
    /// [`VaultError::Journal`] for a frame that is whole but holds what is no entry.
    pub fn next_batch(&mut self) -> Result<Option<Batch>, VaultError> {
        let mut batch = Batch {
            entries: Vec::new(),
            encoded: Vec::new(),
            offsets: Vec::new(),
            checkpoint: Vec::new(),
            end: 0,
        };
        loop {
            let Some((kind, payload, start)) = self.frame() else {
                return Ok(None);
            };
            if kind == Kind::Checkpoint as u8 {
                batch.checkpoint = payload.to_vec();
                batch.end = self.offset as u64;
                return Ok(Some(batch));
            }
            let entry =
                Entry::decode(payload).map_err(|error| VaultError::Journal(error.to_string()))?;
            batch.entries.push(entry);
            batch.encoded.push(payload.to_vec());
            batch.offsets.push(start as u64);
        }
    }
}

#[cfg(test)]
mod tests {
    use outlast_custody::{Event, Start};

    use super::*;

    fn entry(time: u64) -> Entry {
        let software = "test".to_owned();
        Entry::new(time, time, [0; 16], Event::Start(Start { software }))
    }

    #[test]
    fn every_torn_or_changed_batch_is_left_out() {
        let mut writer = Writer::default();
        writer.entry(&entry(1).encode());
        let (first, _) = writer.finish(b"checkpoint");
        let mut writer = Writer::default();
        writer.entry(&entry(2).encode());
        writer.entry(&entry(3).encode());
        let (second, offsets) = writer.finish(b"another");
        let both = [first.as_slice(), &second].concat();

        let mut reader = Reader::new(&both, 0);
        assert_eq!(reader.next_batch().unwrap().unwrap().entries, [entry(1)]);
        let batch = reader.next_batch().unwrap().unwrap();
        assert_eq!(batch.entries, [entry(2), entry(3)]);
        assert_eq!(batch.end, both.len() as u64);
        assert_eq!(batch.offsets[1], first.len() as u64 + offsets[1]);
        assert!(reader.next_batch().unwrap().is_none());

        for length in first.len()..both.len() {
            let mut reader = Reader::new(&both[..length], 0);
            assert!(reader.next_batch().unwrap().is_some());
            assert!(reader.next_batch().unwrap().is_none(), "{length}");
        }
        for at in 0..first.len() {
            let mut changed = first.clone();
            changed[at] ^= 0x10;
            let outcome = Reader::new(&changed, 0).next_batch();
            assert!(!matches!(outcome, Ok(Some(_))), "{at}");
        }
    }
}
