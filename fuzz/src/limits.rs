//! Decoders of lengths: packs, blobs, compressed data.

use outlast_format::{
    BlobHandle, Compressor, PACK_LENGTH_BYTES, SEAL_BYTES, decode_blob, decompress,
    parse_pack_header,
};
use outlast_object::{Id, ObjectKind, ObjectName, check_shape, hash};

use crate::{IV, key};

/// What decompressed input may become.
const DECOMPRESSED_BYTES_MAX: u64 = 1 << 20;

/// The level that shows most of the compressor in little time.
const LEVEL: i32 = 3;

/// Splits off a number.
fn number(data: &[u8]) -> (u32, &[u8]) {
    match data.split_first_chunk::<4>() {
        Some((bytes, rest)) => (u32::from_le_bytes(*bytes), rest),
        None => (0, data),
    }
}

/// The header of a pack: the input is what stands inside the seal.
pub fn pack_header(data: &[u8]) {
    let (extra, header) = number(data);
    let key = key();
    let sealed = key.seal(IV, header).expect("anything can be sealed");
    let header_bytes = (sealed.len() + PACK_LENGTH_BYTES) as u64;

    // Once with a pack of any size, and once with one that fits if the header is well-formed.
    let lengths = listed_bytes(header);
    for pack_bytes in [u64::from(extra), header_bytes + lengths] {
        let Ok(blobs) = parse_pack_header(&sealed, pack_bytes, &key) else {
            continue;
        };
        let mut end = 0;
        for blob in &blobs {
            assert_eq!(u64::from(blob.offset), end, "blobs follow each other");
            assert!(blob.length as usize >= SEAL_BYTES);
            end = blob.end();
        }
        assert_eq!(end + header_bytes, pack_bytes, "blobs fill the pack");
    }
    let _ = parse_pack_header(data, u64::from(extra), &key);
}

/// The sum of the lengths in a well-formed header.
fn listed_bytes(mut header: &[u8]) -> u64 {
    let mut sum = 0;
    while header.len() >= 5 {
        sum += u64::from(number(&header[1..]).0);
        let entry = if header[0] & 2 == 0 { 37 } else { 41 };
        header = header.get(entry..).unwrap_or_default();
    }
    sum
}

/// A blob: the input is what stands inside the seal, after the length that an index claims.
pub fn blob(data: &[u8]) {
    let (claimed, content) = number(data);
    let claimed = claimed % (DECOMPRESSED_BYTES_MAX as u32);
    let key = key();
    let sealed = key.seal(IV, content).expect("anything can be sealed");
    for handle in [
        BlobHandle::data(hash(content)),
        BlobHandle::tree(Id::default()),
    ] {
        if let Ok(plaintext) = decode_blob(handle, &sealed, claimed, &key) {
            assert_eq!(hash(&plaintext), handle.id, "a blob is what its id says");
        }
    }
    let plain = decode_blob(BlobHandle::data(hash(content)), &sealed, 0, &key);
    assert_eq!(plain.as_deref(), Ok(content));
}

/// Compressed data, with a limit on what may come out.
pub fn zstd(data: &[u8]) {
    if let Ok(plaintext) = decompress(data, DECOMPRESSED_BYTES_MAX) {
        assert!(plaintext.len() as u64 <= DECOMPRESSED_BYTES_MAX);
    }
    let compressed = Compressor::new(LEVEL)
        .and_then(|mut compressor| compressor.compress(data))
        .expect("anything can be compressed");
    assert_eq!(
        decompress(&compressed, data.len() as u64).as_deref(),
        Ok(data)
    );
    if !data.is_empty() {
        let too_little = decompress(&compressed, data.len() as u64 - 1);
        assert!(too_little.is_err(), "the limit holds");
    }
}

/// The checks of shape that need no key.
pub fn shape(data: &[u8]) {
    for kind in [
        ObjectKind::Config,
        ObjectKind::Key,
        ObjectKind::Lock,
        ObjectKind::Snapshot,
        ObjectKind::Index,
        ObjectKind::Pack,
    ] {
        let name = ObjectName::new(kind, hash(data));
        let _ = check_shape(&name, data);
    }
}
