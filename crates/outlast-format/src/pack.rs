//! Packs: blobs one after the other, then a sealed header that lists them, then its length.

use outlast_object::{Id, PACK_HEADER_BYTES_MAX};

use crate::{BlobHandle, BlobKind, EncodedBlob, FormatError, MasterKey, SEAL_BYTES};

/// Bytes of the header's length at the end of a pack.
pub const PACK_LENGTH_BYTES: usize = 4;
const ENTRY_BYTES: usize = 37;
const ENTRY_COMPRESSED_BYTES: usize = 41;

/// Where a blob lies in a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackedBlob {
    /// Kind and id.
    pub handle: BlobHandle,
    /// First byte in the pack.
    pub offset: u32,
    /// Length of the sealed bytes.
    pub length: u32,
    /// Length of the plaintext where it is compressed; 0 where it is not.
    pub uncompressed_length: u32,
}

impl PackedBlob {
    /// Length of the plaintext, as claimed.
    pub fn plaintext_length(&self) -> u32 {
        match self.uncompressed_length {
            0 => self.length.saturating_sub(SEAL_BYTES as u32),
            length => length,
        }
    }

    /// First byte after the blob.
    pub fn end(&self) -> u64 {
        u64::from(self.offset) + u64::from(self.length)
    }
}

/// A pack under construction.
#[derive(Debug, Default)]
pub struct PackBuilder {
    bytes: Vec<u8>,
    blobs: Vec<PackedBlob>,
}

impl PackBuilder {
    /// An empty pack with room for `bytes`.
    pub fn with_capacity(bytes: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(bytes),
            blobs: Vec::new(),
        }
    }

    /// Whether no blob was added yet.
    pub fn is_empty(&self) -> bool {
        self.blobs.is_empty()
    }

    /// Size so far, without the header.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Whether one more entry could make the header larger than readers accept.
    pub fn is_header_full(&self) -> bool {
        let entries = (self.blobs.len() + 1) * ENTRY_COMPRESSED_BYTES;
        (entries + SEAL_BYTES) as u64 > PACK_HEADER_BYTES_MAX
    }

    /// Adds a blob.
    pub fn push(&mut self, blob: &EncodedBlob) -> Result<(), FormatError> {
        let end = (self.bytes.len() + blob.sealed.len()) as u64;
        if end > u64::from(u32::MAX) {
            let max = u64::from(u32::MAX);
            return Err(FormatError::TooLarge {
                what: "pack",
                bytes: end,
                max,
            });
        }
        self.blobs.push(PackedBlob {
            handle: blob.handle,
            offset: self.bytes.len() as u32,
            length: blob.sealed.len() as u32,
            uncompressed_length: blob.uncompressed_length,
        });
        self.bytes.extend_from_slice(&blob.sealed);
        Ok(())
    }

    /// Adds all blobs of another pack that is under construction.
    pub fn absorb(&mut self, other: &PackBuilder) -> Result<(), FormatError> {
        for blob in &other.blobs {
            let sealed = other.bytes[blob.offset as usize..blob.end() as usize].to_vec();
            let PackedBlob {
                handle,
                uncompressed_length,
                ..
            } = *blob;
            self.push(&EncodedBlob {
                handle,
                sealed,
                uncompressed_length,
            })?;
        }
        Ok(())
    }

    /// Seals the header and gives the pack's bytes and the places of its blobs.
    pub fn finish(
        mut self,
        key: &MasterKey,
        iv: [u8; 16],
    ) -> Result<(Vec<u8>, Vec<PackedBlob>), FormatError> {
        let header = key.seal(iv, &encode_header(&self.blobs))?;
        self.bytes.extend_from_slice(&header);
        self.bytes
            .extend_from_slice(&(header.len() as u32).to_le_bytes());
        Ok((self.bytes, self.blobs))
    }
}

fn encode_header(blobs: &[PackedBlob]) -> Vec<u8> {
    let mut header = Vec::with_capacity(blobs.len() * ENTRY_COMPRESSED_BYTES);
    for blob in blobs {
        let compressed = blob.uncompressed_length != 0;
        header.push(match (blob.handle.kind, compressed) {
            (BlobKind::Data, false) => 0,
            (BlobKind::Tree, false) => 1,
            (BlobKind::Data, true) => 2,
            (BlobKind::Tree, true) => 3,
        });
        header.extend_from_slice(&blob.length.to_le_bytes());
        if compressed {
            header.extend_from_slice(&blob.uncompressed_length.to_le_bytes());
        }
        header.extend_from_slice(blob.handle.id.as_bytes());
    }
    header
}

/// Opens a pack's sealed header (without the length that follows it) and checks that the blobs it
/// lists fill the pack of `pack_bytes` exactly.
pub fn parse_pack_header(
    sealed_header: &[u8],
    pack_bytes: u64,
    key: &MasterKey,
) -> Result<Vec<PackedBlob>, FormatError> {
    let bad = |reason: &str| FormatError::PackHeader(reason.to_owned());
    let plain = key.open(sealed_header)?;
    let blobs_end = pack_bytes
        .checked_sub((sealed_header.len() + PACK_LENGTH_BYTES) as u64)
        .ok_or_else(|| bad("it is longer than the pack"))?;
    let mut blobs = Vec::with_capacity(plain.len() / ENTRY_BYTES);
    let mut rest = &plain[..];
    let mut offset: u64 = 0;
    while !rest.is_empty() {
        let (blob, after) = parse_entry(rest, offset)?;
        offset = blob.end();
        if offset > blobs_end {
            return Err(bad("its blobs reach beyond the pack"));
        }
        blobs.push(blob);
        rest = after;
    }
    if blobs.is_empty() {
        return Err(bad("it lists no blobs"));
    }
    if offset != blobs_end {
        return Err(bad("its blobs do not fill the pack"));
    }
    Ok(blobs)
}

fn parse_entry(bytes: &[u8], offset: u64) -> Result<(PackedBlob, &[u8]), FormatError> {
    let bad = |reason: &str| FormatError::PackHeader(reason.to_owned());
    let (kind, compressed) = match bytes[0] {
        0 => (BlobKind::Data, false),
        1 => (BlobKind::Tree, false),
        2 => (BlobKind::Data, true),
        3 => (BlobKind::Tree, true),
        _ => return Err(bad("a blob of unknown type")),
    };
    let size = if compressed {
        ENTRY_COMPRESSED_BYTES
    } else {
        ENTRY_BYTES
    };
    let (entry, rest) = bytes
        .split_at_checked(size)
        .ok_or_else(|| bad("it is cut off"))?;
    let number =
        |at: usize| u32::from_le_bytes([entry[at], entry[at + 1], entry[at + 2], entry[at + 3]]);
    let length = number(1);
    if (length as usize) < SEAL_BYTES {
        return Err(bad("a blob shorter than its seal"));
    }
    let mut id = [0; Id::LEN];
    id.copy_from_slice(&entry[size - Id::LEN..]);
    let offset = u32::try_from(offset).map_err(|_| bad("a blob beyond four gigabytes"))?;
    let handle = BlobHandle {
        kind,
        id: Id::from_bytes(id),
    };
    let uncompressed_length = if compressed { number(5) } else { 0 };
    Ok((
        PackedBlob {
            handle,
            offset,
            length,
            uncompressed_length,
        },
        rest,
    ))
}

#[cfg(test)]
mod tests {
    use outlast_object::{ObjectKind, ObjectName, check_shape, hash};

    use super::*;
    use crate::{Compressor, decode_blob, encode_blob};

    fn key() -> MasterKey {
        MasterKey::from_bytes(&[3; 64]).unwrap()
    }

    fn sample() -> (Vec<u8>, Vec<PackedBlob>) {
        let mut builder = PackBuilder::default();
        let mut compressor = Compressor::new(3).unwrap();
        for (kind, text) in [
            (BlobKind::Data, b"a".repeat(1000)),
            (BlobKind::Data, Vec::new()),
            (BlobKind::Tree, b"{\"nodes\":[]}\n".to_vec()),
        ] {
            let handle = BlobHandle {
                kind,
                id: hash(&text),
            };
            let blob = encode_blob(handle, &text, Some(&mut compressor), &key(), [1; 16]).unwrap();
            builder.push(&blob).unwrap();
        }
        builder.finish(&key(), [2; 16]).unwrap()
    }

    fn header_of(pack: &[u8]) -> &[u8] {
        let (rest, length) = pack.split_at(pack.len() - 4);
        let length = u32::from_le_bytes(length.try_into().unwrap()) as usize;
        &rest[rest.len() - length..]
    }

    #[test]
    fn packs_read_back() {
        let (pack, blobs) = sample();
        assert_eq!(
            check_shape(&ObjectName::new(ObjectKind::Pack, hash(&pack)), &pack),
            Ok(())
        );
        let read = parse_pack_header(header_of(&pack), pack.len() as u64, &key()).unwrap();
        assert_eq!(read, blobs);
        assert_eq!(read[0].plaintext_length(), 1000);
        for blob in read {
            let sealed = &pack[blob.offset as usize..blob.end() as usize];
            decode_blob(blob.handle, sealed, blob.uncompressed_length, &key()).unwrap();
            let other = BlobHandle::data(hash(b"other"));
            assert!(decode_blob(other, sealed, blob.uncompressed_length, &key()).is_err());
        }
    }

    #[test]
    fn headers_that_do_not_fit_are_refused() {
        let (pack, blobs) = sample();
        let header = header_of(&pack);
        for size in [
            0,
            header.len() as u64,
            pack.len() as u64 - 1,
            pack.len() as u64 + 1,
        ] {
            assert!(parse_pack_header(header, size, &key()).is_err(), "{size}");
        }
        let mut plain = encode_header(&blobs);
        for plain in [
            plain[..plain.len() - 1].to_vec(),
            Vec::new(),
            vec![9; 37],
            {
                plain[1..5].copy_from_slice(&u32::MAX.to_le_bytes());
                plain
            },
        ] {
            let sealed = key().seal([4; 16], &plain).unwrap();
            assert!(parse_pack_header(&sealed, pack.len() as u64, &key()).is_err());
        }
    }
}
