//! Every form of the search finds what the plain one finds.

#![allow(clippy::unwrap_used)]

use outlast_kernels::{Form, VALUE_BITS, WINDOW_BYTES, Weights, WindowSearch};
use proptest::prelude::*;

fn next(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

/// Weights without any structure.
fn weights(seed: u64) -> Weights {
    let mut state = seed | 1;
    std::array::from_fn(|_| std::array::from_fn(|_| (next(&mut state) >> 20) as u32))
}

/// As before, but that only so many bits of the value can be other than zero: zeros are frequent.
fn frequent(seed: u64, bits: u32) -> Weights {
    let mask = (1_u32 << bits) - 1;
    weights(seed).map(|of_byte| of_byte.map(|weight| (weight & mask) << (seed % 13)))
}

fn forms() -> Vec<Form> {
    let offered = Form::ALL.into_iter().filter(|form| form.is_offered());
    offered.collect()
}

/// All positions from `from` on, one search after the other.
fn all(search: &WindowSearch, bytes: &[u8], from: usize) -> Vec<usize> {
    let mut found = Vec::new();
    let mut from = from;
    while let Some(end) = search.first(bytes, from) {
        assert!(end >= from && end <= bytes.len());
        found.push(end);
        from = end + 1;
    }
    found
}

fn agree(weights: &Weights, bytes: &[u8], from: usize) -> usize {
    let plain = WindowSearch::in_form(Form::Plain, weights).unwrap();
    let expected = all(&plain, bytes, from);
    for form in forms() {
        let search = WindowSearch::in_form(form, weights).unwrap();
        assert_eq!(all(&search, bytes, from), expected, "{form:?} from {from}");
    }
    expected.len()
}

/// The definition, bit by bit.
#[test]
fn the_plain_form_adds_up_the_weights_of_the_bits() {
    let weights = frequent(3, 4);
    let plain = WindowSearch::in_form(Form::Plain, &weights).unwrap();
    let mut state = 99;
    let bytes: Vec<u8> = (0..3000).map(|_| next(&mut state) as u8).collect();
    let is_zero = |end: usize| {
        let mut value = 0;
        for (distance, weights) in weights.iter().enumerate() {
            for (bit, weight) in weights.iter().enumerate() {
                if bytes[end - 1 - distance] >> bit & 1 == 1 {
                    value ^= weight;
                }
            }
        }
        value & ((1 << VALUE_BITS) - 1) == 0
    };
    let expected: Vec<usize> = (WINDOW_BYTES..=bytes.len())
        .filter(|end| is_zero(*end))
        .collect();
    assert!(expected.len() > 50, "{}", expected.len());
    assert_eq!(all(&plain, &bytes, 0), expected);
}

#[test]
fn long_noise() {
    let mut state = 5;
    let bytes: Vec<u8> = (0..3_000_000).map(|_| next(&mut state) as u8).collect();
    assert!(agree(&weights(11), &bytes, 0) > 0);
    assert!(agree(&frequent(12, 12), &bytes[..300_000], 1000) > 20);
}

#[test]
fn the_fast_one_is_the_fastest_that_is_offered() {
    let fast = WindowSearch::fast(&weights(1)).map(|search| search.form());
    let offered = forms().into_iter().find(|form| *form != Form::Plain);
    assert_eq!(fast, offered);
}

#[test]
fn zeros_are_found_at_every_position() {
    let bytes = [0; 1000];
    assert_eq!(agree(&weights(2), &bytes, 0), 1000 - WINDOW_BYTES + 1);
    assert_eq!(agree(&weights(2), &bytes[..WINDOW_BYTES], 0), 1);
    assert_eq!(agree(&weights(2), &bytes[..WINDOW_BYTES - 1], 0), 0);
    assert_eq!(agree(&weights(2), &[], 0), 0);
    assert_eq!(agree(&weights(2), &bytes, 1000), 1);
    assert_eq!(agree(&weights(2), &bytes, 1001), 0);
    assert_eq!(agree(&weights(2), &bytes, usize::MAX), 0);
}

proptest! {
    #[test]
    fn any_bytes_from_anywhere(
        seed in any::<u64>(),
        bits in 0..8_u32,
        bytes in proptest::collection::vec(any::<u8>(), 0..600),
        from in 0..600_usize,
        skipped in 0..64_usize,
    ) {
        // Slices that begin anywhere: nothing may depend on alignment.
        let bytes = bytes.get(skipped..).unwrap_or_default();
        agree(&frequent(seed, bits), bytes, from);
    }

    #[test]
    fn repetitive_bytes(
        seed in any::<u64>(),
        period in proptest::collection::vec(any::<u8>(), 1..130),
        length in 0..2000_usize,
        change in any::<(usize, u8)>(),
    ) {
        let mut bytes: Vec<u8> = period.into_iter().cycle().take(length).collect();
        if let Some(at) = change.0.checked_rem(length) {
            bytes[at] = change.1;
        }
        agree(&frequent(seed, 6), &bytes, 0);
    }
}
