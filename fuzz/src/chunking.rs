//! The chunker, beside an implementation that follows the definition word by word.

use outlast_format::{CHUNK_BYTES_MAX, CHUNK_BYTES_MIN, Chunker, Polynomial};

use crate::Random;

/// Size of the data made from an input.
const DATA_BYTES_MAX: usize = 3 * CHUNK_BYTES_MIN;

/// A known irreducible polynomial of degree 53.
const POLYNOMIAL: u64 = 0x3D_A335_8B4D_C173;

const WINDOW_BYTES: usize = 64;
const CUT_MASK: u64 = (1 << 20) - 1;

/// The remainder of what a window's bytes spell, bit by bit.
fn fingerprint(window: &[u8], polynomial: u64) -> u64 {
    let mut remainder = 0;
    for byte in window {
        for bit in (0..8).rev() {
            remainder = (remainder << 1) | u64::from(byte >> bit & 1);
            if remainder >> Polynomial::DEGREE & 1 == 1 {
                remainder ^= polynomial;
            }
        }
    }
    remainder
}

/// Compares boundaries found at once, and piece by piece, with the definition.
pub fn chunker(data: &[u8]) {
    let polynomial = Polynomial::new(POLYNOMIAL).expect("the polynomial is irreducible");
    let chunker = Chunker::new(polynomial);
    let content = expand(data);

    let boundary = chunker.boundary(&content, 0);
    if let Some(end) = boundary {
        assert!((CHUNK_BYTES_MIN..=CHUNK_BYTES_MAX).contains(&end));
        if end < CHUNK_BYTES_MAX {
            let window = &content[end - WINDOW_BYTES..end];
            assert_eq!(fingerprint(window, POLYNOMIAL) & CUT_MASK, 0);
        }
    }
    // Looking at every position by the definition is slow: a sample of them must not be a cut.
    let searched = boundary.unwrap_or(content.len() + 1);
    let step = 1 + usize::from(data.first().copied().unwrap_or(0)) * 16 + 997;
    for end in (CHUNK_BYTES_MIN..searched.min(content.len())).step_by(step) {
        let window = &content[end - WINDOW_BYTES..end];
        assert_ne!(
            fingerprint(window, POLYNOMIAL) & CUT_MASK,
            0,
            "missed at {end}"
        );
    }

    let mut seen = 0;
    let pieces = 3 + data.len() % 5;
    for piece in 1..=pieces {
        let end = content.len() * piece / pieces;
        let found = chunker.boundary(&content[..end], seen);
        if found.is_some() || piece == pieces {
            assert_eq!(found, boundary, "pieces change nothing");
            return;
        }
        seen = end;
    }
}

/// Makes data long enough to be cut: the input, runs of zeros, and noise that it seeds.
fn expand(data: &[u8]) -> Vec<u8> {
    let seed = data.iter().fold(1_u64, |sum, byte| {
        sum.wrapping_mul(0x100_0193) ^ u64::from(*byte)
    });
    let mut random = Random::new(seed);
    let length = random.below(DATA_BYTES_MAX);
    let mut content = data.to_vec();
    if random.below(8) == 0 {
        content.resize(CHUNK_BYTES_MIN, 0);
    }
    while content.len() < length {
        content.extend_from_slice(&random.next().to_le_bytes());
    }
    content
}
