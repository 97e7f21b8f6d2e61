//! Content-defined chunking with restic's boundaries.
//!
//! A Rabin fingerprint of the last 64 bytes, reduced by the repository's polynomial, decides where
//! a chunk ends: where its low 20 bits are zero, never before 512 KiB and always at 8 MiB. Since
//! the fingerprint depends on those 64 bytes alone, a boundary can be looked for from any position
//! on; nothing has to be remembered between calls.

use crate::Polynomial;

/// No chunk but the last of a file is shorter.
pub const CHUNK_BYTES_MIN: usize = 512 * 1024;
/// No chunk is longer.
pub const CHUNK_BYTES_MAX: usize = 8 * 1024 * 1024;

const WINDOW_BYTES: usize = 64;
/// One cut in 2^20 positions.
const CUT_MASK: u64 = (1 << 20) - 1;
const SHIFT: u32 = Polynomial::DEGREE - 8;

/// Finds chunk boundaries for one polynomial.
#[derive(Debug, Clone)]
pub struct Chunker {
    /// What a byte contributes to the fingerprint when it leaves the window.
    leaving: Box<[u64; 256]>,
    /// What reduces a fingerprint whose top byte is the index.
    reducing: Box<[u64; 256]>,
}

impl Chunker {
    /// Prepares the tables of a polynomial.
    pub fn new(polynomial: Polynomial) -> Self {
        let mut leaving = Box::new([0; 256]);
        let mut reducing = Box::new([0; 256]);
        for byte in 0..256_usize {
            let mut digest = polynomial.reduce(byte as u128);
            for _ in 1..WINDOW_BYTES {
                digest = polynomial.reduce(u128::from(digest) << 8);
            }
            leaving[byte] = digest;
            let top = (byte as u64) << Polynomial::DEGREE;
            reducing[byte] = polynomial.reduce(u128::from(top)) | top;
        }
        Self { leaving, reducing }
    }

    /// Where the chunk that starts at the first byte of `bytes` ends.
    ///
    /// `None` means that no boundary is within `bytes`: read more and ask again, with `searched`
    /// set to how many bytes were looked at before. At the end of a file the rest is the last
    /// chunk.
    pub fn boundary(&self, bytes: &[u8], searched: usize) -> Option<usize> {
        let limit = bytes.len().min(CHUNK_BYTES_MAX);
        let first = CHUNK_BYTES_MIN.max(searched + 1);
        if first > limit {
            return None;
        }
        // The fingerprint at a position covers the 64 bytes that end there.
        let mut digest = 0;
        for &byte in &bytes[first - WINDOW_BYTES..first] {
            digest = self.append(digest, byte);
        }
        if digest & CUT_MASK == 0 {
            return Some(first);
        }
        let entering = bytes[first..limit].iter();
        let leaving = bytes[first - WINDOW_BYTES..].iter();
        for (position, (&byte, &old)) in entering.zip(leaving).enumerate() {
            digest = self.append(digest ^ self.leaving[usize::from(old)], byte);
            if digest & CUT_MASK == 0 {
                return Some(first + position + 1);
            }
        }
        (limit == CHUNK_BYTES_MAX).then_some(limit)
    }

    #[inline]
    fn append(&self, digest: u64, byte: u8) -> u64 {
        let top = (digest >> SHIFT) as u8;
        (digest << 8 | u64::from(byte)) ^ self.reducing[usize::from(top)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition, byte by byte, with a window as the format's description has it.
    fn reference_boundary(polynomial: Polynomial, bytes: &[u8]) -> Option<usize> {
        let chunker = Chunker::new(polynomial);
        let mut window = [0_u8; WINDOW_BYTES];
        let mut at = 0;
        let mut digest = 0;
        let mut slide = |byte: u8| {
            digest = chunker.append(digest ^ chunker.leaving[usize::from(window[at])], byte);
            window[at] = byte;
            at = (at + 1) % WINDOW_BYTES;
            digest
        };
        slide(1);
        for (index, &byte) in bytes.iter().enumerate() {
            let digest = slide(byte);
            let count = index + 1;
            if count >= CHUNK_BYTES_MIN && (digest & CUT_MASK == 0 || count >= CHUNK_BYTES_MAX) {
                return Some(count);
            }
        }
        None
    }

    fn noise(bytes: usize, mut seed: u64) -> Vec<u8> {
        let mut noise = Vec::with_capacity(bytes + 8);
        while noise.len() < bytes {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            noise.extend_from_slice(&seed.to_le_bytes());
        }
        noise.truncate(bytes);
        noise
    }

    fn polynomial() -> Polynomial {
        Polynomial::new(0x003D_A335_8B4D_C173).unwrap()
    }

    #[test]
    fn boundaries_are_those_of_the_definition() {
        let chunker = Chunker::new(polynomial());
        let data = noise(24 << 20, 42);
        let mut rest = &data[..];
        let mut chunks = 0;
        while let Some(end) = chunker.boundary(rest, 0) {
            assert_eq!(reference_boundary(polynomial(), rest), Some(end));
            rest = &rest[end..];
            chunks += 1;
        }
        assert_eq!(reference_boundary(polynomial(), rest), None);
        assert!(chunks > 5, "{chunks}");
    }

    #[test]
    fn asking_in_pieces_finds_the_same_boundary() {
        let chunker = Chunker::new(polynomial());
        let data = noise(9 << 20, 7);
        let expected = chunker.boundary(&data, 0).unwrap();
        for step in [
            1 << 16,
            100_003,
            CHUNK_BYTES_MIN,
            CHUNK_BYTES_MIN - 1,
            CHUNK_BYTES_MIN + 1,
        ] {
            let mut length = 0;
            let found = loop {
                let searched = length;
                length = (length + step).min(data.len());
                if let Some(end) = chunker.boundary(&data[..length], searched) {
                    break end;
                }
            };
            assert_eq!(found, expected, "step {step}");
        }
    }

    #[test]
    fn zeros_cut_at_the_least_and_nothing_is_longer_than_the_most() {
        let chunker = Chunker::new(polynomial());
        assert_eq!(chunker.boundary(&vec![0; CHUNK_BYTES_MIN - 1], 0), None);
        assert_eq!(
            chunker.boundary(&vec![0; CHUNK_BYTES_MIN], 0),
            Some(CHUNK_BYTES_MIN)
        );
        let ones = vec![1; CHUNK_BYTES_MAX + 10];
        assert_eq!(chunker.boundary(&ones, 0), Some(CHUNK_BYTES_MAX));
        assert_eq!(chunker.boundary(&ones[..CHUNK_BYTES_MAX - 1], 0), None);
        assert_eq!(
            chunker.boundary(&ones, CHUNK_BYTES_MAX - 1),
            Some(CHUNK_BYTES_MAX)
        );
    }
}
