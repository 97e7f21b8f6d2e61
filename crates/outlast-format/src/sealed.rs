//! The envelope around everything in a repository but key files: AES-256-CTR with Poly1305-AES.
//!
//! Layout: `IV (16) ‖ ciphertext ‖ MAC (16)`. The MAC covers the ciphertext; the IV enters it as
//! the nonce of Poly1305-AES (D. J. Bernstein, "The Poly1305-AES message-authentication code").

use std::fmt;

use aes::cipher::{BlockCipherEncrypt, KeyInit, KeyIvInit, StreamCipher};
use aes::{Aes128, Aes256};
use poly1305::Poly1305;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::FormatError;

/// What sealing adds to a plaintext, in bytes.
pub const SEAL_BYTES: usize = IV_BYTES + MAC_BYTES;
const IV_BYTES: usize = 16;
const MAC_BYTES: usize = 16;

type Aes256Ctr = ctr::Ctr128BE<Aes256>;

/// A key of the envelope: the repository's master key, or one derived from a password.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct MasterKey {
    encrypt: [u8; 32],
    mac_k: [u8; 16],
    mac_r: [u8; 16],
}

impl MasterKey {
    /// Bytes in a key.
    pub const LEN: usize = 64;

    /// The key made of these bytes: AES-256 key, then `k` and `r` of Poly1305-AES.
    /// They must be random or derived from a password.
    pub fn from_bytes(bytes: &[u8; MasterKey::LEN]) -> Result<Self, FormatError> {
        let mut key = Self {
            encrypt: [0; 32],
            mac_k: [0; 16],
            mac_r: [0; 16],
        };
        key.encrypt.copy_from_slice(&bytes[..32]);
        key.mac_k.copy_from_slice(&bytes[32..48]);
        key.mac_r.copy_from_slice(&bytes[48..]);
        key.check()?;
        Ok(key)
    }

    /// The AES-256 key, `k` and `r`, to be written into a key file.
    pub(crate) fn parts(&self) -> (&[u8; 32], &[u8; 16], &[u8; 16]) {
        (&self.encrypt, &self.mac_k, &self.mac_r)
    }

    fn check(&self) -> Result<(), FormatError> {
        let zero = self.encrypt == [0; 32] || self.mac_k == [0; 16] || self.mac_r == [0; 16];
        if zero {
            Err(FormatError::Zero("key"))
        } else {
            Ok(())
        }
    }

    fn mac(&self, iv: &[u8; IV_BYTES], ciphertext: &[u8]) -> [u8; MAC_BYTES] {
        let mut nonce = (*iv).into();
        Aes128::new(&self.mac_k.into()).encrypt_block(&mut nonce);
        let mut one_time_key = [0; 32];
        one_time_key[..16].copy_from_slice(&self.mac_r);
        one_time_key[16..].copy_from_slice(&nonce);
        let tag = Poly1305::new(&one_time_key.into()).compute_unpadded(ciphertext);
        one_time_key.zeroize();
        tag.into()
    }

    /// Seals `plaintext`. `iv` must be random and never used before with this key.
    pub fn seal(&self, iv: [u8; IV_BYTES], plaintext: &[u8]) -> Result<Vec<u8>, FormatError> {
        if iv == [0; IV_BYTES] {
            return Err(FormatError::Zero("initialisation vector"));
        }
        let mut sealed = Vec::with_capacity(plaintext.len() + SEAL_BYTES);
        sealed.extend_from_slice(&iv);
        sealed.extend_from_slice(plaintext);
        let mut cipher = Aes256Ctr::new(&self.encrypt.into(), &iv.into());
        cipher.apply_keystream(&mut sealed[IV_BYTES..]);
        let mac = self.mac(&iv, &sealed[IV_BYTES..]);
        sealed.extend_from_slice(&mac);
        Ok(sealed)
    }

    /// Opens what [`MasterKey::seal`] made. Nothing is decrypted before the MAC is verified.
    pub fn open(&self, sealed: &[u8]) -> Result<Vec<u8>, FormatError> {
        let (mut cipher, ciphertext) = self.authenticate(sealed)?;
        let mut plaintext = ciphertext.to_vec();
        cipher.apply_keystream(&mut plaintext);
        Ok(plaintext)
    }

    /// As [`MasterKey::open`], into `plaintext`, which must have the length of what was sealed.
    pub(crate) fn open_into(&self, sealed: &[u8], plaintext: &mut [u8]) -> Result<(), FormatError> {
        let (mut cipher, ciphertext) = self.authenticate(sealed)?;
        // The lengths are the only thing that can be wrong here, and our callers see to them.
        cipher
            .try_apply_keystream_b2b(ciphertext, plaintext)
            .map_err(|_| FormatError::TooShort {
                bytes: plaintext.len(),
            })
    }

    /// Verifies the MAC. Gives the cipher, at the beginning, and what it has to decrypt.
    fn authenticate<'a>(&self, sealed: &'a [u8]) -> Result<(Aes256Ctr, &'a [u8]), FormatError> {
        if sealed.len() < SEAL_BYTES {
            return Err(FormatError::TooShort {
                bytes: sealed.len(),
            });
        }
        let (head, mac) = sealed.split_at(sealed.len() - MAC_BYTES);
        let (iv_bytes, ciphertext) = head.split_at(IV_BYTES);
        let mut iv = [0; IV_BYTES];
        iv.copy_from_slice(iv_bytes);
        if iv == [0; IV_BYTES] {
            return Err(FormatError::Zero("initialisation vector"));
        }
        if !bool::from(self.mac(&iv, ciphertext).ct_eq(mac)) {
            return Err(FormatError::Unauthentic);
        }
        let cipher = Aes256Ctr::new(&self.encrypt.into(), &iv.into());
        Ok((cipher, ciphertext))
    }
}

/// Never shows the key.
impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key() -> MasterKey {
        let bytes: [u8; 64] = std::array::from_fn(|index| index as u8 + 1);
        MasterKey::from_bytes(&bytes).unwrap()
    }

    #[test]
    fn zero_keys_and_vectors_are_refused() {
        assert!(MasterKey::from_bytes(&[0; 64]).is_err());
        assert_eq!(
            key().seal([0; 16], b"x"),
            Err(FormatError::Zero("initialisation vector"))
        );
        assert!(key().open(&[0; 40]).is_err());
        assert_eq!(
            key().open(&[1; 31]),
            Err(FormatError::TooShort { bytes: 31 })
        );
        assert_eq!(format!("{:?}", key()), "MasterKey(..)");
    }

    proptest! {
        #[test]
        fn any_change_is_noticed(
            plaintext in proptest::collection::vec(any::<u8>(), 0..300),
            at in any::<proptest::sample::Index>(),
            bit in 0u8..8,
        ) {
            let sealed = key().seal([9; 16], &plaintext).unwrap();
            prop_assert_eq!(sealed.len(), plaintext.len() + SEAL_BYTES);
            prop_assert_eq!(&key().open(&sealed).unwrap(), &plaintext);
            let mut damaged = sealed.clone();
            damaged[at.index(sealed.len())] ^= 1 << bit;
            prop_assert_eq!(key().open(&damaged), Err(FormatError::Unauthentic));
            prop_assert!(key().open(&sealed[..sealed.len() - 1]).is_err());
        }
    }
}
