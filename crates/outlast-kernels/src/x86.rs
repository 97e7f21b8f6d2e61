//! The search with carry-less multiplication on x86-64.
//!
//! A block is 64 bytes. Plane m of a block is its 64 bits m, as one word: bit t is that of byte t. The
//! product of a plane and a factor has in bit b of its low half what the block contributes at its own
//! position b, and in its high half what it contributes to the positions of the next block.

#![allow(
    unsafe_code,
    reason = "the processor's features are asked for before they are used"
)]

use std::arch::x86_64::*;

use crate::window::{TESTED_BITS, Tables, WINDOW_BYTES};

const BLOCK_BYTES: usize = 64;

/// Whether [`first_wide`] can be used.
pub fn offers_wide() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vbmi")
        && is_x86_feature_detected!("gfni")
        && is_x86_feature_detected!("vpclmulqdq")
}

/// Whether [`first_narrow`] can be used.
pub fn offers_narrow() -> bool {
    is_x86_feature_detected!("pclmulqdq") && is_x86_feature_detected!("sse4.1")
}

/// The first end from `from` on, at least a window from the start, of a window whose value is zero.
/// [`offers_wide`] must hold.
pub fn first_wide(tables: &Tables, bytes: &[u8], from: usize) -> Option<usize> {
    assert!(offers_wide(), "this processor cannot do it");
    // SAFETY: the processor has the features, as was just asked.
    unsafe { search_wide(tables, bytes, from) }
}

/// The first end from `from` on, at least a window from the start, of a window whose value is zero.
/// [`offers_narrow`] must hold.
pub fn first_narrow(tables: &Tables, bytes: &[u8], from: usize) -> Option<usize> {
    assert!(offers_narrow(), "this processor cannot do it");
    // SAFETY: the processor has the features, as was just asked.
    unsafe { search_narrow(tables, bytes, from) }
}

/// Goes through `bytes` block by block, beginning with the one that ends at `from`, of which only the last
/// position counts. `candidates` gives for a block a bit for each position that may be one; it remembers
/// what the block before contributes.
#[inline(always)]
fn search(
    tables: &Tables,
    bytes: &[u8],
    from: usize,
    mut candidates: impl FnMut(&[u8; BLOCK_BYTES]) -> u64,
) -> Option<usize> {
    let mut start = from.checked_sub(WINDOW_BYTES)?;
    let (blocks, rest) = bytes.get(start..)?.as_chunks::<BLOCK_BYTES>();
    let mut counting = 1 << (BLOCK_BYTES - 1);
    let first_of = |start: usize, mut found: u64| {
        while found != 0 {
            let end = start + found.trailing_zeros() as usize + 1;
            if tables.is_zero_at(bytes, end) {
                return Some(end);
            }
            found &= found - 1;
        }
        None
    };
    for block in blocks {
        let found = candidates(block) & counting;
        counting = u64::MAX;
        if found != 0
            && let Some(end) = first_of(start, found)
        {
            return Some(end);
        }
        start += BLOCK_BYTES;
    }
    let mut last = [0; BLOCK_BYTES];
    last[..rest.len()].copy_from_slice(rest);
    counting &= (1 << rest.len()) - 1;
    first_of(start, candidates(&last) & counting)
}

#[target_feature(enable = "avx512f,avx512bw,avx512vbmi,gfni,vpclmulqdq")]
fn search_wide(tables: &Tables, bytes: &[u8], from: usize) -> Option<usize> {
    let factor = |k: usize, m: usize| tables.factors[k][m].cast_signed();
    // For each plane: lane l has the factors of bits l and l + 4 of the value.
    let factors: [__m512i; 8] = std::array::from_fn(|m| {
        let of = |k| factor(k, m);
        _mm512_set_epi64(of(7), of(3), of(6), of(2), of(5), of(1), of(4), of(0))
    });
    let mut before = _mm512_setzero_si512();
    search(tables, bytes, from, |block| {
        let planes = planes(block);
        let mut low = _mm512_setzero_si512();
        let mut high = _mm512_setzero_si512();
        macro_rules! add_plane {
            ($($m:literal)*) => { $(
                let plane = _mm512_permutexvar_epi64(_mm512_set1_epi64($m), planes);
                low = _mm512_xor_si512(low, _mm512_clmulepi64_epi128::<0x00>(factors[$m], plane));
                high = _mm512_xor_si512(high, _mm512_clmulepi64_epi128::<0x01>(factors[$m], plane));
            )* };
        }
        add_plane!(0 1 2 3 4 5 6 7);
        // Low halves of the products for all eight bits in one register, high halves in another.
        let here = _mm512_unpacklo_epi64(low, high);
        let value = _mm512_xor_si512(here, before);
        before = _mm512_unpackhi_epi64(low, high);
        !_mm512_reduce_or_epi64(value).cast_unsigned()
    })
}

/// The eight planes of a block, plane m in word m.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi,gfni")]
fn planes(block: &[u8; BLOCK_BYTES]) -> __m512i {
    // SAFETY: a block has the 64 bytes that are read, and the load asks for no alignment.
    let bytes = unsafe { _mm512_loadu_si512(block.as_ptr().cast()) };
    // The affine transformation of the unit vectors by eight bytes taken as a matrix of bits is the
    // transposed matrix: byte i has the bits i of the eight bytes, that of the first byte on top.
    let units = _mm512_set1_epi64(0x8040_2010_0804_0201_u64.cast_signed());
    let transposed = _mm512_gf2p8affine_epi64_epi8::<0>(units, bytes);
    // Byte i of each word goes to word i.
    let gather: [u8; 64] = std::array::from_fn(|at| (at % 8 * 8 + at / 8) as u8);
    // SAFETY: the array has the 64 bytes that are read, and the load asks for no alignment.
    let gather = unsafe { _mm512_loadu_si512(gather.as_ptr().cast()) };
    let planes = _mm512_permutexvar_epi8(gather, transposed);
    // The same once more turns the bits of each byte round: the first byte's bit to the bottom.
    let reversal = _mm512_set1_epi64(0x8040_2010_0804_0201_u64.cast_signed());
    _mm512_gf2p8affine_epi64_epi8::<0>(planes, reversal)
}

#[target_feature(enable = "pclmulqdq,sse4.1")]
fn search_narrow(tables: &Tables, bytes: &[u8], from: usize) -> Option<usize> {
    let factors: [[__m128i; 8]; TESTED_BITS] = std::array::from_fn(|k| {
        std::array::from_fn(|m| _mm_set_epi64x(0, tables.factors[k][m].cast_signed()))
    });
    let mut before = [0; TESTED_BITS];
    search(tables, bytes, from, |block| {
        let mut parts: [__m128i; 4] = std::array::from_fn(|part| {
            let bytes = &block[part * 16..][..16];
            // SAFETY: the slice has the 16 bytes that are read, and the load asks for no alignment.
            unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
        });
        let mut products = [_mm_setzero_si128(); TESTED_BITS];
        for m in (0..8).rev() {
            let mut plane = 0;
            for (part, bytes) in parts.iter_mut().enumerate() {
                let bits = _mm_movemask_epi8(*bytes).cast_unsigned();
                plane |= u64::from(bits) << (part * 16);
                // The next lower bit of each byte goes to the top.
                *bytes = _mm_add_epi8(*bytes, *bytes);
            }
            let plane = _mm_cvtsi64_si128(plane.cast_signed());
            for (product, factors) in products.iter_mut().zip(&factors) {
                let more = _mm_clmulepi64_si128::<0x00>(factors[m], plane);
                *product = _mm_xor_si128(*product, more);
            }
        }
        let mut value = 0;
        for (product, before) in products.into_iter().zip(&mut before) {
            value |= _mm_cvtsi128_si64(product).cast_unsigned() ^ *before;
            *before = _mm_extract_epi64::<1>(product).cast_unsigned();
        }
        !value
    })
}
