//! Documents outside packs: index, snapshot and lock files, sealed and (in version 2) compressed.

use crate::compression::{Compressor, decompress};
use crate::{FormatError, MasterKey};

/// Largest plaintext of a document accepted.
pub const METADATA_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// First byte of a compressed document.
const COMPRESSED: u8 = 2;
/// zstd level of documents.
const LEVEL: i32 = 3;

/// Seals a JSON document for a repository of this version. The config is never compressed; it is
/// sealed with [`MasterKey::seal`] itself.
pub fn encode_unpacked(
    json: &[u8],
    repository_version: u32,
    key: &MasterKey,
    iv: [u8; 16],
) -> Result<Vec<u8>, FormatError> {
    if repository_version < 2 {
        return key.seal(iv, json);
    }
    let mut plaintext = vec![COMPRESSED];
    plaintext.extend_from_slice(&Compressor::new(LEVEL)?.compress(json)?);
    key.seal(iv, &plaintext)
}

/// Opens a document and gives its JSON. Whether it is compressed is seen from its first byte.
pub fn decode_unpacked(sealed: &[u8], key: &MasterKey) -> Result<Vec<u8>, FormatError> {
    let plaintext = key.open(sealed)?;
    match plaintext.first() {
        None | Some(b'{' | b'[') => Ok(plaintext),
        Some(&COMPRESSED) => decompress(&plaintext[1..], METADATA_BYTES_MAX),
        Some(byte) => Err(FormatError::Compression(format!("unknown encoding {byte}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_read_back() {
        let key = MasterKey::from_bytes(&[3; 64]).unwrap();
        let json = b"{\"packs\":[]}";
        for version in [1, 2] {
            let sealed = encode_unpacked(json, version, &key, [1; 16]).unwrap();
            assert_eq!(decode_unpacked(&sealed, &key).unwrap(), json);
        }
        assert_eq!(
            encode_unpacked(json, 1, &key, [1; 16]).unwrap().len(),
            json.len() + 32
        );
        let odd = key.seal([1; 16], b"\x05abc").unwrap();
        assert!(matches!(
            decode_unpacked(&odd, &key),
            Err(FormatError::Compression(_))
        ));
    }
}
