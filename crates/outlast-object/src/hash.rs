//! Hashing of bytes in memory and of streams on their way.

use std::io::{self, Read};

use sha2::{Digest, Sha256};

use crate::Id;

/// The SHA-256 of `bytes`.
pub fn hash(bytes: &[u8]) -> Id {
    Id::from_bytes(Sha256::digest(bytes).into())
}

/// Hashes bytes that come piece by piece.
#[derive(Debug, Clone, Default)]
pub struct Hasher(Sha256);

impl Hasher {
    /// Nothing was hashed yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Hashes what comes next.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The SHA-256 of all pieces together.
    pub fn finish(self) -> Id {
        Id::from_bytes(self.0.finalize().into())
    }
}

/// A reader that hashes and counts whatever is read through it.
#[derive(Debug)]
pub struct HashingReader<R> {
    inner: R,
    hasher: Sha256,
    bytes_read: u64,
}

impl<R: Read> HashingReader<R> {
    /// Hashes what will be read from `inner`.
    pub fn new(inner: R) -> Self {
        Self {
            inner,
            hasher: Sha256::new(),
            bytes_read: 0,
        }
    }

    /// The number of bytes read so far.
    pub fn bytes_read(&self) -> u64 {
        self.bytes_read
    }

    /// The hash of all that was read until now.
    pub fn hash_so_far(&self) -> Id {
        Id::from_bytes(self.hasher.clone().finalize().into())
    }

    /// The hash of all that was read, and how many bytes that was.
    pub fn finish(self) -> (Id, u64) {
        (
            Id::from_bytes(self.hasher.finalize().into()),
            self.bytes_read,
        )
    }
}

impl<R: Read> Read for HashingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        self.bytes_read += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_digest_and_stream_agree() {
        let id = hash(b"abc");
        assert_eq!(
            id.to_hex(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        let mut hasher = Hasher::new();
        hasher.update(b"a");
        hasher.update(b"bc");
        assert_eq!(hasher.finish(), id);
        let mut reader = HashingReader::new(&b"abc"[..]);
        io::copy(&mut reader, &mut io::sink()).unwrap();
        assert_eq!(reader.finish(), (id, 3));
    }
}
