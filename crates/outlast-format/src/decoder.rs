//! Opening blobs one after the other with memory that is used again.

use std::borrow::Cow;

use outlast_object::hash;

use crate::blob::check_claimed_length;
use crate::compression::{REUSED_BYTES_MAX, decompress_into};
use crate::{BlobHandle, FormatError, MasterKey, SEAL_BYTES, decode_blob};

/// Opens, decompresses and verifies blobs, as [`decode_blob`] does, without asking for memory for each.
/// It keeps what the largest usual blob needed; blobs above 16 MiB, which no honest chunk reaches, get
/// memory of their own.
#[derive(Default)]
pub struct BlobDecoder {
    opened: Vec<u8>,
    plaintext: Vec<u8>,
}

/// Never shows what was decrypted.
impl std::fmt::Debug for BlobDecoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BlobDecoder(..)")
    }
}

impl BlobDecoder {
    /// A decoder that has no memory yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The plaintext of a blob, which hashes to the handle's id. `uncompressed_length` is 0 for blobs
    /// that are not compressed.
    pub fn decode(
        &mut self,
        handle: BlobHandle,
        sealed: &[u8],
        uncompressed_length: u32,
        key: &MasterKey,
    ) -> Result<Cow<'_, [u8]>, FormatError> {
        let length = uncompressed_length as usize;
        if sealed.len().max(length) > REUSED_BYTES_MAX {
            return decode_blob(handle, sealed, uncompressed_length, key).map(Cow::Owned);
        }
        check_claimed_length(handle, sealed, uncompressed_length)?;
        let bytes = sealed.len().saturating_sub(SEAL_BYTES);
        if self.opened.len() < bytes {
            self.opened.resize(bytes, 0);
        }
        let opened = &mut self.opened[..bytes];
        key.open_into(sealed, opened)?;
        let plaintext: &[u8] = match length {
            0 => opened,
            length => {
                decompress_into(opened, length, &mut self.plaintext)?;
                &self.plaintext
            }
        };
        let found = hash(plaintext);
        if found != handle.id {
            return Err(FormatError::BlobHash {
                expected: handle.id,
                found,
            });
        }
        Ok(Cow::Borrowed(plaintext))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Compressor, encode_blob};

    fn key() -> MasterKey {
        MasterKey::from_bytes(&std::array::from_fn(|index| index as u8 + 1)).unwrap()
    }

    #[test]
    fn what_was_decoded_before_does_not_show() {
        let mut decoder = BlobDecoder::new();
        let mut compressor = Compressor::new(3).unwrap();
        let texts: [&[u8]; 6] = [
            &[7; 100_000],
            b"short",
            b"",
            &[0; 3_000],
            b"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            &[1; 70_000],
        ];
        for text in texts {
            for compressed in [false, true] {
                let handle = BlobHandle::data(hash(text));
                let compressor = compressed.then_some(&mut compressor);
                let blob = encode_blob(handle, text, compressor, &key(), [3; 16]).unwrap();
                let length = blob.uncompressed_length;
                let decoded = decoder.decode(handle, &blob.sealed, length, &key());
                assert_eq!(&*decoded.unwrap(), text);
            }
        }
        assert_eq!(format!("{decoder:?}"), "BlobDecoder(..)");
    }

    proptest! {
        /// The decoder judges exactly as the plain function does, whatever is wrong.
        #[test]
        fn it_agrees_with_the_plain_function(
            text in proptest::collection::vec(0u8..4, 0..2000),
            claimed in 0u32..2100,
            truthful in any::<bool>(),
            damage in proptest::option::of(any::<proptest::sample::Index>()),
            other_id in any::<bool>(),
        ) {
            let mut decoder = BlobDecoder::new();
            let mut compressor = Compressor::new(1).unwrap();
            let handle = BlobHandle::data(hash(&text));
            let blob = encode_blob(handle, &text, Some(&mut compressor), &key(), [5; 16]).unwrap();
            let mut sealed = blob.sealed;
            if let Some(at) = damage {
                let at = at.index(sealed.len());
                sealed[at] ^= 1;
            }
            let handle = if other_id { BlobHandle::data(hash(b"other")) } else { handle };
            let claimed = if truthful { blob.uncompressed_length } else { claimed };
            let plain = decode_blob(handle, &sealed, claimed, &key()).ok();
            let decoded = decoder.decode(handle, &sealed, claimed, &key()).ok();
            prop_assert_eq!(decoded.map(Cow::into_owned), plain);
        }
    }
}
