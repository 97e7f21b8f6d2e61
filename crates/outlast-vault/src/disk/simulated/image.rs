//! What a loss of power leaves.

use super::super::path::MAX_PATH_BYTES;
use super::faults::SECTOR_BYTES;
use super::state::{Content, Directory, Entry, State};

/// The image of this seed holds what is durable and nothing else.
pub const SEED_DURABLE_ONLY: u64 = 0;

/// The image of this seed holds everything, as if there had been time to write it all.
pub const SEED_EVERYTHING: u64 = 1;

/// Decides what survives.
enum Luck {
    Nothing,
    Everything,
    Random(u64),
}

impl Luck {
    fn new(seed: u64) -> Luck {
        match seed {
            SEED_DURABLE_ONLY => Luck::Nothing,
            SEED_EVERYTHING => Luck::Everything,
            // Neighbouring seeds shall not begin alike; the generator must not start from zero.
            seed => Luck::Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
        }
    }

    /// A number below `bound`, which is not zero. Without luck it is zero; with all of it the highest.
    fn below(&mut self, bound: usize) -> usize {
        match self {
            Luck::Nothing => 0,
            Luck::Everything => bound - 1,
            Luck::Random(state) => {
                // xorshift64*
                *state ^= *state >> 12;
                *state ^= *state << 25;
                *state ^= *state >> 27;
                let mixed = state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32;
                usize::try_from(mixed).unwrap_or(0) % bound
            }
        }
    }

    fn content(&mut self, content: &Content) -> Vec<u8> {
        if content.is_durable() {
            return content.bytes.clone();
        }
        let shared = content.shared();
        let (old, new) = content.bytes.split_at(shared);
        match self.below(5) {
            0 => content.durable_bytes(),
            // The size is there and the bytes are not.
            1 => [old, &vec![0; new.len()]].concat(),
            // Some sectors have arrived, in order.
            2 => {
                let end = (self.sectors(shared, new.len())).min(content.bytes.len());
                content.bytes[..end].to_vec()
            }
            // Some sectors hold what was on the disk before.
            3 => {
                let mut bytes = content.bytes.clone();
                for sector in bytes[shared..].chunks_mut(SECTOR_BYTES) {
                    if self.below(2) == 0 {
                        sector.fill_with(|| self.below(256).to_le_bytes()[0]);
                    }
                }
                bytes
            }
            _ => content.bytes.clone(),
        }
    }

    /// The end of a torn write, at a multiple of the sector size.
    fn sectors(&mut self, start: usize, length: usize) -> usize {
        let first = start / SECTOR_BYTES;
        let last = (start + length) / SECTOR_BYTES;
        let end = first + self.below(last - first + 1);
        (end * SECTOR_BYTES).max(start)
    }
}

/// A disk that has all durable state of another, and of the rest what luck decides.
pub(super) fn image(state: &State, seed: u64) -> State {
    let mut luck = Luck::new(seed);
    let mut left = State::new(state.capacity);
    left.grants_immutable = state.grants_immutable;
    // A directory comes before what is in it.
    for (path, directory) in &state.directories {
        if !left.directories.contains_key(path) {
            continue;
        }
        for (name, entry) in survivors(directory, &mut luck) {
            let mut whole = String::with_capacity(MAX_PATH_BYTES);
            if !path.is_empty() {
                whole.push_str(path);
                whole.push('/');
            }
            whole.push_str(name);
            let entry = match entry {
                Entry::Directory => {
                    left.directories.insert(whole, Directory::default());
                    Entry::Directory
                }
                Entry::File(id) => {
                    let Some(content) = state.files.get(&id) else {
                        continue;
                    };
                    let mut copy = Content::durable(luck.content(content));
                    copy.immutable = content.immutable;
                    Entry::File(left.add_file(copy))
                }
            };
            if let Some(directory) = left.directories.get_mut(path) {
                directory.names.insert(name.to_owned(), entry);
            }
        }
    }
    left
}

fn survivors<'a>(directory: &'a Directory, luck: &mut Luck) -> Vec<(&'a str, Entry)> {
    let mut survivors = Vec::with_capacity(directory.names.len());
    for (name, entry) in &directory.names {
        let chosen = match directory.pending.get(name) {
            Some(before) if luck.below(2) == 0 => *before,
            _ => Some(*entry),
        };
        if let Some(entry) = chosen {
            survivors.push((name.as_str(), entry));
        }
    }
    survivors
}
