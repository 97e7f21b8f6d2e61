//! Changing inputs at random, repeatably.

/// A small generator of numbers (SplitMix64): fast, seeded, and good enough to vary inputs.
#[derive(Debug, Clone)]
pub struct Random {
    state: u64,
}

impl Random {
    /// The sequence of a seed.
    pub fn new(seed: u64) -> Self {
        Random { state: seed }
    }

    /// The next number.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`, which must not be zero.
    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }
}

/// Pieces of text on which decoders of JSON, numbers and times turn.
const WORDS: &[&[u8]] = &[
    b"null",
    b"true",
    b"-1",
    b"1e999",
    b"18446744073709551616",
    b"4294967295",
    b"{",
    b"}",
    b"[[[[[[[[",
    b"\"",
    b"\\",
    b"\\u0000",
    b"\\ud800",
    b"\\x00",
    b"\xff\xfe",
    b"../",
    b"/",
    b"\0",
    b"0001-01-01T00:00:00Z",
    b"9999-12-31T23:59:59.999999999-23:59",
    b"{\"nodes\":[",
];

/// Bytes at which lengths and signs turn.
const BYTES: &[u8] = &[0, 1, 0x7f, 0x80, 0xff, b' ', b'"', b'{', b'0', b'9'];

/// Length beyond which inputs do not grow.
const LENGTH_MAX: usize = 64 * 1024;

/// How many changes are made to one input at most.
const CHANGES_MAX: usize = 8;

/// Makes new inputs out of known ones.
#[derive(Debug)]
pub struct Mutator {
    random: Random,
    inputs: Vec<Vec<u8>>,
}

impl Mutator {
    /// A sequence of inputs that begins with `inputs` in mind.
    pub fn new(seed: u64, inputs: Vec<Vec<u8>>) -> Self {
        Mutator {
            random: Random::new(seed),
            inputs,
        }
    }

    /// The next input.
    pub fn next_input(&mut self) -> Vec<u8> {
        let mut input = match self.inputs.len() {
            0 => Vec::new(),
            count => self.inputs[self.random.below(count)].clone(),
        };
        for _ in 0..=self.random.below(CHANGES_MAX) {
            self.change(&mut input);
        }
        input.truncate(LENGTH_MAX);
        input
    }

    fn change(&mut self, input: &mut Vec<u8>) {
        let place = self.random.below(input.len() + 1);
        let length = self.random.below(32).min(input.len() - place);
        let range = place..place + length;
        match self.random.below(9) {
            0 if place < input.len() => input[place] ^= 1 << self.random.below(8),
            1 if place < input.len() => input[place] = BYTES[self.random.below(BYTES.len())],
            2 => drop(input.drain(range)),
            3 => {
                let piece = input[range].to_vec();
                input.splice(place..place, piece);
            }
            4 => {
                let word = WORDS[self.random.below(WORDS.len())];
                input.splice(place..place, word.iter().copied());
            }
            5 => input.truncate(place),
            6 if !self.inputs.is_empty() => {
                let other = &self.inputs[self.random.below(self.inputs.len())];
                let start = self.random.below(other.len() + 1);
                input.truncate(place);
                input.extend_from_slice(&other[start..]);
            }
            7 => {
                let noise = self.random.next().to_le_bytes();
                let count = 1 + self.random.below(noise.len());
                input.splice(range, noise[..count].iter().copied());
            }
            _ => {
                let piece = input[range].to_vec();
                let times = self.random.below(64);
                input.splice(place..place, piece.repeat(times));
            }
        }
    }
}
