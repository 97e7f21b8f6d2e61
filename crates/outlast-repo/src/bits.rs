//! One bit for each entry of an index.

use std::sync::atomic::{AtomicU64, Ordering};

/// A row of bits that many threads may set at once.
#[derive(Debug)]
pub(crate) struct Bits(Vec<AtomicU64>);

impl Bits {
    /// So many bits, none of them set.
    pub(crate) fn new(length: usize) -> Self {
        let words = length.div_ceil(64);
        Self(
            std::iter::repeat_with(AtomicU64::default)
                .take(words)
                .collect(),
        )
    }

    /// Sets a bit; whether it was not set before.
    pub(crate) fn set(&self, at: usize) -> bool {
        let mask = 1 << (at % 64);
        match self.0.get(at / 64) {
            Some(word) => word.fetch_or(mask, Ordering::Relaxed) & mask == 0,
            None => false,
        }
    }

    /// Clears a bit.
    pub(crate) fn clear(&self, at: usize) {
        if let Some(word) = self.0.get(at / 64) {
            word.fetch_and(!(1 << (at % 64)), Ordering::Relaxed);
        }
    }

    /// Whether a bit is set.
    pub(crate) fn get(&self, at: usize) -> bool {
        let word = self.0.get(at / 64);
        word.is_some_and(|word| word.load(Ordering::Relaxed) & (1 << (at % 64)) != 0)
    }
}

impl Clone for Bits {
    fn clone(&self) -> Self {
        let word = |word: &AtomicU64| AtomicU64::new(word.load(Ordering::Relaxed));
        Self(self.0.iter().map(word).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_told_apart_and_what_lies_beyond_is_never_set() {
        let bits = Bits::new(130);
        assert!(bits.set(0) && bits.set(64) && bits.set(129));
        assert!(!bits.set(64));
        let copy = bits.clone();
        bits.clear(64);
        assert!(bits.get(0) && !bits.get(1) && !bits.get(64) && bits.get(129));
        assert!(copy.get(64));
        assert!(!bits.set(100_000) && !bits.get(100_000));
    }
}
