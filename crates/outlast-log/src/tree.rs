//! The Merkle tree of RFC 6962: hashes, roots, proofs and their verification.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

/// Most hashes in a proof: the depth of a tree of 2^63 entries, and one.
pub const HASHES_MAX: usize = 64;

/// A hash in the tree: SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash([u8; 32]);

impl Hash {
    /// The hash with these bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Reads the base64 form.
    pub fn from_base64(text: &str) -> Option<Self> {
        let bytes = STANDARD.decode(text).ok()?;
        Some(Self(bytes.try_into().ok()?))
    }
}

/// Shown in base64, as in checkpoints.
impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hash({self})")
    }
}

/// Why a proof proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// The positions make no sense: an entry beyond the end, an older tree that is larger.
    #[error("position {0} is not within a tree of {1} entries")]
    Position(u64, u64),
    /// The number of hashes is not that of a proof for these positions.
    #[error("a proof of {0} hashes does not fit")]
    Length(usize),
    /// The hashes lead to another root.
    #[error("the proof leads to another root")]
    Root,
}

/// The root of the empty tree.
pub fn empty_root() -> Hash {
    Hash(Sha256::digest([]).into())
}

/// The hash of an entry.
pub fn leaf_hash(entry: &[u8]) -> Hash {
    let mut hasher = Sha256::new();
    hasher.update([0]);
    hasher.update(entry);
    Hash(hasher.finalize().into())
}

/// The hash of two subtrees.
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut hasher = Sha256::new();
    hasher.update([1]);
    hasher.update(left.0);
    hasher.update(right.0);
    Hash(hasher.finalize().into())
}

/// The roots of the complete subtrees on the right edge of a growing tree.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Frontier {
    size: u64,
    /// Largest subtree first.
    peaks: Vec<Hash>,
}

impl Frontier {
    /// The edge of a tree of `size` entries, whose complete subtrees `read` knows by level and index.
    pub fn read<E>(size: u64, mut read: impl FnMut(u8, u64) -> Result<Hash, E>) -> Result<Self, E> {
        let mut peaks = Vec::new();
        let mut start = 0;
        for level in (0..64_u8).rev() {
            if size >> level & 1 == 1 {
                peaks.push(read(level, start >> level)?);
                start += 1 << level;
            }
        }
        Ok(Self { size, peaks })
    }

    /// Number of entries.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Adds an entry's leaf hash; tells `completed` every subtree that is complete now, as level,
    /// index and hash, from the leaf upwards.
    pub fn push(&mut self, leaf: Hash, mut completed: impl FnMut(u8, u64, Hash)) {
        let (mut hash, mut level, mut index) = (leaf, 0, self.size);
        completed(level, index, hash);
        while index & 1 == 1 {
            if let Some(left) = self.peaks.pop() {
                hash = node_hash(&left, &hash);
            }
            level += 1;
            index >>= 1;
            completed(level, index, hash);
        }
        self.peaks.push(hash);
        self.size += 1;
    }

    /// The root of the tree.
    pub fn root(&self) -> Hash {
        let mut peaks = self.peaks.iter().rev();
        match peaks.next() {
            None => empty_root(),
            Some(last) => peaks.fold(*last, |right, left| node_hash(left, &right)),
        }
    }
}

/// The root of a list of leaf hashes.
pub fn tree_root(leaves: impl IntoIterator<Item = Hash>) -> Hash {
    let mut frontier = Frontier::default();
    for leaf in leaves {
        frontier.push(leaf, |_, _, _| ());
    }
    frontier.root()
}

/// The largest power of two below `count`, which is at least 2.
const fn split(count: u64) -> u64 {
    1 << (63 - (count - 1).leading_zeros())
}

/// The hash of the entries from `start` up to `end`, which lie as the tree divides them.
fn range_hash<E>(
    start: u64,
    end: u64,
    read: &mut dyn FnMut(u8, u64) -> Result<Hash, E>,
) -> Result<Hash, E> {
    let count = end - start;
    if count == 0 {
        return Ok(empty_root());
    }
    if count.is_power_of_two() {
        let level = count.trailing_zeros() as u8;
        return read(level, start >> level);
    }
    let middle = start + split(count);
    let left = range_hash(start, middle, read)?;
    let right = range_hash(middle, end, read)?;
    Ok(node_hash(&left, &right))
}

/// The root of the tree of the first `size` entries. `read` gives the hash of the complete subtree
/// at a level and index.
pub fn root<E>(size: u64, mut read: impl FnMut(u8, u64) -> Result<Hash, E>) -> Result<Hash, E> {
    range_hash(0, size, &mut read)
}

/// The proof that entry `index` is in the tree of `size` entries; empty if it is not within.
pub fn prove_inclusion<E>(
    index: u64,
    size: u64,
    mut read: impl FnMut(u8, u64) -> Result<Hash, E>,
) -> Result<Vec<Hash>, E> {
    let mut proof = Vec::new();
    if index >= size {
        return Ok(proof);
    }
    let (mut start, mut end) = (0, size);
    while end - start > 1 {
        let middle = start + split(end - start);
        if index < middle {
            proof.push(range_hash(middle, end, &mut read)?);
            end = middle;
        } else {
            proof.push(range_hash(start, middle, &mut read)?);
            start = middle;
        }
    }
    proof.reverse();
    Ok(proof)
}

/// The proof that the tree of `old` entries is the beginning of that of `new` entries.
pub fn prove_consistency<E>(
    old: u64,
    new: u64,
    mut read: impl FnMut(u8, u64) -> Result<Hash, E>,
) -> Result<Vec<Hash>, E> {
    let mut proof = Vec::new();
    if old == 0 || old >= new {
        return Ok(proof);
    }
    let (mut start, mut end, mut whole) = (0, new, true);
    while old != end {
        let middle = start + split(end - start);
        if old <= middle {
            proof.push(range_hash(middle, end, &mut read)?);
            end = middle;
        } else {
            proof.push(range_hash(start, middle, &mut read)?);
            start = middle;
            whole = false;
        }
    }
    if !whole {
        proof.push(range_hash(start, end, &mut read)?);
    }
    proof.reverse();
    Ok(proof)
}

/// Checks that the entry with this leaf hash is number `index` of the tree of `size` entries with
/// this root (RFC 9162, 2.1.3.2).
///
/// # Errors
/// [`TreeError`] if the proof does not show that.
pub fn verify_inclusion(
    leaf: &Hash,
    index: u64,
    size: u64,
    proof: &[Hash],
    root: &Hash,
) -> Result<(), TreeError> {
    if index >= size {
        return Err(TreeError::Position(index, size));
    }
    let (mut at, mut last, mut hash) = (index, size - 1, *leaf);
    for step in proof {
        if last == 0 {
            return Err(TreeError::Length(proof.len()));
        }
        if at & 1 == 1 || at == last {
            hash = node_hash(step, &hash);
            while at & 1 == 0 && at != 0 {
                at >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, step);
        }
        at >>= 1;
        last >>= 1;
    }
    if last != 0 {
        return Err(TreeError::Length(proof.len()));
    }
    if hash == *root {
        Ok(())
    } else {
        Err(TreeError::Root)
    }
}

/// Checks that the tree of `old` entries is the beginning of that of `new` entries (RFC 9162,
/// 2.1.4.2).
///
/// # Errors
/// [`TreeError`] if the proof does not show that.
pub fn verify_consistency(
    old: u64,
    old_root: &Hash,
    new: u64,
    new_root: &Hash,
    proof: &[Hash],
) -> Result<(), TreeError> {
    let wrong_length = Err(TreeError::Length(proof.len()));
    if old > new {
        return Err(TreeError::Position(old, new));
    }
    if old == 0 || old == new {
        let same = old == 0 && *old_root == empty_root() || old == new && old_root == new_root;
        return match (proof.is_empty(), same) {
            (false, _) => wrong_length,
            (true, false) => Err(TreeError::Root),
            (true, true) => Ok(()),
        };
    }
    let (mut at, mut last) = (old - 1, new - 1);
    while at & 1 == 1 {
        at >>= 1;
        last >>= 1;
    }
    let mut steps = proof.iter();
    let first = if old.is_power_of_two() {
        *old_root
    } else {
        match steps.next() {
            Some(first) => *first,
            None => return wrong_length,
        }
    };
    let (mut old_hash, mut new_hash) = (first, first);
    for step in steps {
        if last == 0 {
            return wrong_length;
        }
        if at & 1 == 1 || at == last {
            old_hash = node_hash(step, &old_hash);
            new_hash = node_hash(step, &new_hash);
            while at & 1 == 0 && at != 0 {
                at >>= 1;
                last >>= 1;
            }
        } else {
            new_hash = node_hash(&new_hash, step);
        }
        at >>= 1;
        last >>= 1;
    }
    if last != 0 {
        return wrong_length;
    }
    if old_hash == *old_root && new_hash == *new_root {
        Ok(())
    } else {
        Err(TreeError::Root)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::convert::Infallible;

    use super::*;

    /// The definition of RFC 6962, 2.1, word for word.
    fn by_definition(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => empty_root(),
            [leaf] => *leaf,
            _ => {
                let (left, right) = leaves.split_at(split(leaves.len() as u64) as usize);
                node_hash(&by_definition(left), &by_definition(right))
            }
        }
    }

    struct Sample {
        leaves: Vec<Hash>,
        stored: HashMap<(u8, u64), Hash>,
    }

    impl Sample {
        fn new(count: u64) -> Self {
            let leaves: Vec<_> = (0..count)
                .map(|number| leaf_hash(&number.to_le_bytes()))
                .collect();
            let mut stored = HashMap::new();
            let mut frontier = Frontier::default();
            for leaf in &leaves {
                frontier.push(*leaf, |level, index, hash| {
                    stored.insert((level, index), hash);
                });
            }
            Self { leaves, stored }
        }

        fn read(&self, level: u8, index: u64) -> Result<Hash, Infallible> {
            Ok(self.stored[&(level, index)])
        }

        fn root(&self, size: u64) -> Hash {
            by_definition(&self.leaves[..size as usize])
        }
    }

    #[test]
    fn roots_are_those_of_the_definition() {
        assert_eq!(
            empty_root().to_string(),
            "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
        );
        let sample = Sample::new(300);
        for size in 0..300 {
            let expected = sample.root(size);
            let leaves = sample.leaves[..size as usize].iter().copied();
            assert_eq!(tree_root(leaves), expected);
            assert_eq!(
                root(size, |level, index| sample.read(level, index)),
                Ok(expected)
            );
            let edge = Frontier::read(size, |level, index| sample.read(level, index)).unwrap();
            assert_eq!((edge.size(), edge.root()), (size, expected));
        }
    }

    #[test]
    fn every_entry_is_shown_and_no_other() {
        let sample = Sample::new(70);
        for size in 1..70 {
            let root = sample.root(size);
            for index in 0..size {
                let proof = prove_inclusion(index, size, |l, i| sample.read(l, i)).unwrap();
                let leaf = &sample.leaves[index as usize];
                assert_eq!(verify_inclusion(leaf, index, size, &proof, &root), Ok(()));
                let other = leaf_hash(b"other");
                assert!(verify_inclusion(&other, index, size, &proof, &root).is_err());
                for wrong in (0..size + 2).filter(|wrong| *wrong != index) {
                    assert!(verify_inclusion(leaf, wrong, size, &proof, &root).is_err());
                }
                for number in 0..proof.len() {
                    let mut changed = proof.clone();
                    changed[number] = other;
                    assert!(verify_inclusion(leaf, index, size, &changed, &root).is_err());
                    changed.remove(number);
                    assert!(verify_inclusion(leaf, index, size, &changed, &root).is_err());
                }
                let longer = [proof.as_slice(), &[other]].concat();
                assert!(verify_inclusion(leaf, index, size, &longer, &root).is_err());
            }
        }
    }

    #[test]
    fn every_beginning_is_shown_and_nothing_else() {
        let sample = Sample::new(70);
        let other = leaf_hash(b"other");
        for new in 0..70 {
            for old in 0..=new {
                let proof = prove_consistency(old, new, |l, i| sample.read(l, i)).unwrap();
                let (old_root, new_root) = (sample.root(old), sample.root(new));
                let verify = |old_root, new_root, proof: &[Hash]| {
                    verify_consistency(old, old_root, new, new_root, proof)
                };
                assert_eq!(verify(&old_root, &new_root, &proof), Ok(()), "{old} {new}");
                assert!(verify(&other, &new_root, &proof).is_err());
                if old > 0 {
                    assert!(verify(&old_root, &other, &proof).is_err());
                }
                for number in 0..proof.len() {
                    let mut changed = proof.clone();
                    changed[number] = other;
                    assert!(verify(&old_root, &new_root, &changed).is_err());
                    changed.remove(number);
                    assert!(verify(&old_root, &new_root, &changed).is_err());
                }
                let longer = [proof.as_slice(), &[other]].concat();
                assert!(verify(&old_root, &new_root, &longer).is_err());
            }
        }
        let root = sample.root(5);
        assert!(verify_consistency(6, &root, 5, &root, &[]).is_err());
    }

    #[test]
    fn positions_at_the_ends_of_numbers_are_answered() {
        let hash = leaf_hash(b"");
        let proof = vec![hash; 70];
        for index in [0, 1, u64::MAX - 1, u64::MAX] {
            let _ = verify_inclusion(&hash, index, u64::MAX, &proof, &hash);
            let _ = verify_consistency(index, &hash, u64::MAX, &hash, &proof);
        }
    }
}
