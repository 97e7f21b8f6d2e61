//! Content-defined chunking with restic's boundaries.
//!
//! A Rabin fingerprint of the last 64 bytes, reduced by the repository's polynomial, decides where
//! a chunk ends: where its low 20 bits are zero, never before 512 KiB and always at 8 MiB. Since
//! the fingerprint depends on those 64 bytes alone, a boundary can be looked for from any position
//! on; nothing has to be remembered between calls.

use outlast_kernels::{Form, VALUE_BITS, WINDOW_BYTES, Weights, WindowSearch};

use crate::Polynomial;

/// No chunk but the last of a file is shorter.
pub const CHUNK_BYTES_MIN: usize = 512 * 1024;
/// No chunk is longer.
pub const CHUNK_BYTES_MAX: usize = 8 * 1024 * 1024;

/// One cut in 2^20 positions.
const CUT_MASK: u64 = (1 << VALUE_BITS) - 1;
const SHIFT: u32 = Polynomial::DEGREE - 8;

/// Lanes of the portable search, which the processor works on at the same time.
const LANES: usize = 4;
/// Bytes of a lane. Before each the window has to be filled.
const LANE_BYTES: usize = 16 * 1024;

/// Finds chunk boundaries for one polynomial.
#[derive(Debug, Clone)]
pub struct Chunker {
    /// What a byte contributes to the fingerprint when it leaves the window.
    leaving: Box<[u64; 256]>,
    /// What reduces a fingerprint whose top byte is the index.
    reducing: Box<[u64; 256]>,
    /// The fast way, where the processor has one.
    search: Option<WindowSearch>,
}

impl Chunker {
    /// Prepares the tables of a polynomial.
    pub fn new(polynomial: Polynomial) -> Self {
        let search = WindowSearch::fast(&weights(polynomial));
        Self::with_search(polynomial, search)
    }

    /// One that looks for boundaries in this form, `None` for the portable one, which rolls fingerprints
    /// from byte to byte. For comparisons: all find the same.
    pub fn in_form(polynomial: Polynomial, form: Option<Form>) -> Option<Self> {
        let search = match form {
            Some(form) => Some(WindowSearch::in_form(form, &weights(polynomial))?),
            None => None,
        };
        Some(Self::with_search(polynomial, search))
    }

    fn with_search(polynomial: Polynomial, search: Option<WindowSearch>) -> Self {
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
        Self {
            leaving,
            reducing,
            search,
        }
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
        let bytes = &bytes[..limit];
        let found = match &self.search {
            Some(search) => search.first(bytes, first),
            None => self.first_in_lanes(bytes, first),
        };
        found.or((limit == CHUNK_BYTES_MAX).then_some(limit))
    }

    /// The first position from `first` on at which the fingerprint says to cut. Neighbouring stretches are
    /// gone through side by side, since one waits for its tables most of the time.
    fn first_in_lanes(&self, bytes: &[u8], mut first: usize) -> Option<usize> {
        while first + LANES * LANE_BYTES <= bytes.len() {
            // The window that ends at the position, and the bytes that enter it and leave it after that.
            let start = |lane: usize| first + lane * LANE_BYTES;
            let lane_of = |start: usize| bytes[start..].first_chunk::<LANE_BYTES>();
            let mut lanes = [(&[0; LANE_BYTES], &[0; LANE_BYTES], 0); LANES];
            for (index, lane) in lanes.iter_mut().enumerate() {
                let start = start(index);
                let window = start - WINDOW_BYTES;
                *lane = (
                    lane_of(start)?,
                    lane_of(window)?,
                    self.digest(&bytes[window..start]),
                );
            }
            let mut found = [None; LANES];
            for at in 0..LANE_BYTES {
                for (found, (entering, leaving, digest)) in found.iter_mut().zip(&mut lanes) {
                    if *digest & CUT_MASK == 0 && found.is_none() {
                        *found = Some(at);
                    }
                    let old = self.leaving[usize::from(leaving[at])];
                    *digest = self.append(*digest ^ old, entering[at]);
                }
                if found[0].is_some() {
                    break;
                }
            }
            let mut found = found.iter().enumerate();
            if let Some(end) = found.find_map(|(lane, at)| at.map(|at| start(lane) + at)) {
                return Some(end);
            }
            first += LANES * LANE_BYTES;
        }
        self.first_rolling(bytes, first)
    }

    /// The first position from `first` on at which the fingerprint says to cut, byte by byte.
    fn first_rolling(&self, bytes: &[u8], first: usize) -> Option<usize> {
        // The fingerprint at a position covers the 64 bytes that end there.
        let mut digest = self.digest(bytes.get(first - WINDOW_BYTES..first)?);
        if digest & CUT_MASK == 0 {
            return Some(first);
        }
        let entering = bytes[first..].iter();
        let leaving = bytes[first - WINDOW_BYTES..].iter();
        for (position, (&byte, &old)) in entering.zip(leaving).enumerate() {
            digest = self.append(digest ^ self.leaving[usize::from(old)], byte);
            if digest & CUT_MASK == 0 {
                return Some(first + position + 1);
            }
        }
        None
    }

    fn digest(&self, window: &[u8]) -> u64 {
        let append = |digest, byte: &u8| self.append(digest, *byte);
        window.iter().fold(0, append)
    }

    #[inline]
    fn append(&self, digest: u64, byte: u8) -> u64 {
        let top = (digest >> SHIFT) as u8;
        (digest << 8 | u64::from(byte)) ^ self.reducing[usize::from(top)]
    }
}

/// What each bit of a window contributes to its fingerprint.
fn weights(polynomial: Polynomial) -> Weights {
    let mut power = 1;
    std::array::from_fn(|_| {
        std::array::from_fn(|_| {
            let weight = power as u32;
            power = polynomial.reduce(u128::from(power) << 1);
            weight
        })
    })
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

    /// A chunker in every form that this processor offers.
    fn in_all_forms(polynomial: Polynomial) -> Vec<Chunker> {
        let forms = Form::ALL.map(Some).into_iter().chain([None]);
        forms
            .filter_map(|form| Chunker::in_form(polynomial, form))
            .collect()
    }

    fn random_polynomial(seed: &mut u64) -> Polynomial {
        loop {
            *seed = seed
                .wrapping_mul(0x5851_F42D_4C95_7F2D)
                .wrapping_add(0x1405_7B7E_F767_814F);
            if let Some(polynomial) = Polynomial::from_random(*seed >> 7) {
                return polynomial;
            }
        }
    }

    /// A window whose fingerprint says to cut, by trying.
    fn cutting_window(chunker: &Chunker, mut seed: u64) -> [u8; WINDOW_BYTES] {
        let mut window: [u8; WINDOW_BYTES] = noise(WINDOW_BYTES, seed).try_into().unwrap();
        while chunker.digest(&window) & CUT_MASK != 0 {
            seed = seed.wrapping_add(1);
            window[20..28].copy_from_slice(&seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes());
        }
        window
    }

    #[test]
    fn every_form_finds_the_same_for_any_polynomial() {
        let mut seed = 77;
        for round in 0..6 {
            let polynomial = random_polynomial(&mut seed);
            let data = noise(CHUNK_BYTES_MAX / 2, seed | 1);
            let periodic: Vec<u8> = data[..1000 + round]
                .iter()
                .copied()
                .cycle()
                .take(1 << 20)
                .collect();
            let chunkers = in_all_forms(polynomial);
            for bytes in [
                &data[..],
                &periodic,
                &data[round..CHUNK_BYTES_MIN + 100 + round],
            ] {
                let expected = reference_boundary(polynomial, bytes);
                for chunker in &chunkers {
                    assert_eq!(chunker.boundary(bytes, 0), expected, "{chunker:?}");
                }
            }
        }
    }

    /// Cuts where a search may miss them: around the least and the greatest length, at the seams of lanes
    /// and blocks, at the end of what was read.
    #[test]
    fn cuts_are_found_wherever_they_are() {
        let chunkers = in_all_forms(polynomial());
        let window = cutting_window(&chunkers[0], 3);
        // Such bytes never say to cut by themselves, as the first assertion shows.
        let mut bytes = vec![0x55; CHUNK_BYTES_MAX + 100];
        assert_eq!(chunkers[0].boundary(&bytes, 0), Some(CHUNK_BYTES_MAX));
        let seam = CHUNK_BYTES_MIN + LANES * LANE_BYTES;
        let mut ends = vec![CHUNK_BYTES_MAX - 1, CHUNK_BYTES_MAX, CHUNK_BYTES_MAX + 1];
        for near in [
            CHUNK_BYTES_MIN,
            CHUNK_BYTES_MIN + LANE_BYTES,
            seam,
            seam + LANE_BYTES,
        ] {
            ends.extend((near - 66..near + 66).step_by(3));
        }
        // The plain form of the search is too slow to go through eight MiB so often.
        let is_plain = |chunker: &Chunker| {
            let search = chunker.search.as_ref();
            search.is_some_and(|search| search.form() == Form::Plain)
        };
        for end in ends {
            bytes[end - WINDOW_BYTES..end].copy_from_slice(&window);
            let is_cut = (CHUNK_BYTES_MIN..=CHUNK_BYTES_MAX).contains(&end);
            let expected = if is_cut { end } else { CHUNK_BYTES_MAX };
            for chunker in &chunkers {
                if expected == CHUNK_BYTES_MAX && is_plain(chunker) {
                    continue;
                }
                assert_eq!(chunker.boundary(&bytes, 0), Some(expected), "{chunker:?}");
                assert_eq!(chunker.boundary(&bytes[..expected], 0), Some(expected));
                assert_eq!(chunker.boundary(&bytes[..expected - 1], 0), None);
                assert_eq!(
                    chunker.boundary(&bytes[..expected], expected - 1),
                    Some(expected)
                );
            }
            bytes[end - WINDOW_BYTES..end].fill(0x55);
        }
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
