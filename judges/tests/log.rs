//! Our transparency logs against an independent implementation of the same specifications: trees,
//! tiles, proofs, notes, checkpoints. Both directions, and what one refuses the other does too.

use std::cell::RefCell;

use outlast_log as ours;
use signed_note::{Note, Signer, StandardSigner, StandardVerifier, VerifierList};
use tlog_tiles as theirs;
use tlog_tiles::HashReader;

/// Largest tree that is compared whole.
const ENTRIES: u64 = 600;

/// The other implementation's store of hashes.
#[derive(Default)]
struct Stored(RefCell<Vec<theirs::Hash>>);

impl HashReader for Stored {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<theirs::Hash>, theirs::Error> {
        let hashes = self.0.borrow();
        Ok(indexes
            .iter()
            .map(|index| hashes[*index as usize])
            .collect())
    }
}

fn entry(index: u64) -> Vec<u8> {
    format!("entry number {index}").into_bytes()
}

/// All subtrees that are complete, as our tiles would give them.
struct Subtrees(Vec<Vec<ours::Hash>>);

impl Subtrees {
    fn of(entries: u64) -> Self {
        let mut frontier = ours::Frontier::default();
        let mut levels: Vec<Vec<ours::Hash>> = Vec::new();
        for index in 0..entries {
            frontier.push(ours::leaf_hash(&entry(index)), |level, _, hash| {
                let level = usize::from(level);
                if levels.len() <= level {
                    levels.push(Vec::new());
                }
                levels[level].push(hash);
            });
        }
        Self(levels)
    }

    fn read(&self, level: u8, index: u64) -> Result<ours::Hash, ()> {
        Ok(self.0[usize::from(level)][index as usize])
    }
}

fn their_tree(entries: u64) -> Stored {
    let stored = Stored::default();
    for index in 0..entries {
        let new = theirs::stored_hashes(index, &entry(index), &stored).unwrap();
        stored.0.borrow_mut().extend(new);
    }
    stored
}

fn same(ours: &ours::Hash, theirs: &theirs::Hash) -> bool {
    *ours.as_bytes() == theirs.0
}

#[test]
fn roots_are_the_same() {
    let (subtrees, stored) = (Subtrees::of(ENTRIES), their_tree(ENTRIES));
    for size in 0..=ENTRIES {
        let root = ours::root(size, |level, index| subtrees.read(level, index)).unwrap();
        let judged = theirs::tree_hash(size, &stored).unwrap();
        assert!(same(&root, &judged), "{size}");
    }
}

#[test]
fn proofs_of_inclusion_are_believed_in_both_directions() {
    let (subtrees, stored) = (Subtrees::of(ENTRIES), their_tree(ENTRIES));
    for size in [1, 2, 3, 7, 8, 9, 255, 256, 257, 511, ENTRIES] {
        let root = theirs::tree_hash(size, &stored).unwrap();
        let our_root = ours::Hash::from_bytes(root.0);
        for index in 0..size {
            let leaf = ours::leaf_hash(&entry(index));
            let proof = ours::prove_inclusion(index, size, |level, at| subtrees.read(level, at));
            let proof = proof.unwrap();
            let judged: Vec<theirs::Hash> = proof
                .iter()
                .map(|hash| theirs::Hash(*hash.as_bytes()))
                .collect();
            let their_leaf = theirs::record_hash(&entry(index));
            theirs::check_record(&judged, size, root, index, their_leaf).unwrap();
            assert_eq!(theirs::prove_record(size, index, &stored).unwrap(), judged);
            ours::verify_inclusion(&leaf, index, size, &proof, &our_root).unwrap();
            // Another entry is refused by both.
            let other = theirs::record_hash(b"another");
            assert!(theirs::check_record(&judged, size, root, index, other).is_err());
            let other = ours::leaf_hash(b"another");
            assert!(ours::verify_inclusion(&other, index, size, &proof, &our_root).is_err());
        }
    }
}

#[test]
fn proofs_of_consistency_are_believed_in_both_directions() {
    let (subtrees, stored) = (Subtrees::of(ENTRIES), their_tree(ENTRIES));
    for new in [1, 2, 3, 8, 100, 256, 257, 300, ENTRIES] {
        let new_root = theirs::tree_hash(new, &stored).unwrap();
        for old in 1..=new {
            let old_root = theirs::tree_hash(old, &stored).unwrap();
            let proof = ours::prove_consistency(old, new, |level, at| subtrees.read(level, at));
            let proof = proof.unwrap();
            let judged: Vec<theirs::Hash> = proof
                .iter()
                .map(|hash| theirs::Hash(*hash.as_bytes()))
                .collect();
            theirs::check_tree(&judged, new, new_root, old, old_root).unwrap();
            assert_eq!(theirs::prove_tree(new, old, &stored).unwrap(), judged);
            let (ours_old, ours_new) = (
                ours::Hash::from_bytes(old_root.0),
                ours::Hash::from_bytes(new_root.0),
            );
            ours::verify_consistency(old, &ours_old, new, &ours_new, &proof).unwrap();
            if old < new {
                let forked = theirs::record_hash(b"forked");
                assert!(theirs::check_tree(&judged, new, new_root, old, forked).is_err());
                let forked = ours::leaf_hash(b"forked");
                let refused = ours::verify_consistency(old, &forked, new, &ours_new, &proof);
                assert!(refused.is_err());
            }
        }
    }
}

#[test]
fn tiles_have_the_same_paths_and_hashes() {
    let (subtrees, stored) = (Subtrees::of(ENTRIES), their_tree(ENTRIES));
    for tile in theirs::Tile::new_tiles(8, 0, ENTRIES) {
        let width = u16::try_from(tile.width()).unwrap();
        let (level, index) = (tile.level(), tile.level_index());
        let ours = ours::Tile {
            level,
            index,
            width,
        };
        // Theirs names the height of tiles too, as an older layout has it.
        let path = tile.path().replacen("tile/8/", "tile/", 1);
        assert_eq!(ours.path(), path);
        assert_eq!(ours::Tile::parse(&path), Some(ours));
        let data = tile.read_data(&stored).unwrap();
        for (at, hash) in data.chunks(32).enumerate() {
            let number = index * 256 + at as u64;
            let expected = subtrees.read(8 * level, number).unwrap();
            assert_eq!(expected.as_bytes().as_slice(), hash);
            assert_eq!(
                ours::subtree_in_tile(&data, 8 * level, number),
                Ok(expected)
            );
        }
    }
}

fn our_key(name: &str, seed: u8) -> ours::SigningKey {
    ours::SigningKey::from_seed(name, ours::KeyKind::Note, &[seed; 32]).unwrap()
}

#[test]
fn keys_and_notes_are_understood_in_both_directions() {
    let key = our_key("vault.example/log", 7);
    let signer = StandardSigner::new(&key.to_secret_text()).unwrap();
    let verifier = StandardVerifier::new(&key.verifier().to_string()).unwrap();
    assert_eq!(signer.key_id(), key.verifier().id());
    let known = VerifierList::new(vec![Box::new(verifier)]);

    // What we sign.
    let checkpoint = ours::Checkpoint {
        origin: "vault.example/log".to_owned(),
        size: 12_345,
        root: ours::leaf_hash(b"root"),
    };
    let ours_signed = checkpoint.sign(&key).unwrap().encode();
    let note = Note::from_bytes(&ours_signed).unwrap();
    let (verified, unverified) = note.verify(&known).unwrap();
    assert_eq!((verified.len(), unverified.len()), (1, 0));
    let judged = theirs::Checkpoint::from_bytes(note.text()).unwrap();
    assert_eq!(
        (judged.origin(), judged.size()),
        ("vault.example/log", 12_345)
    );
    assert!(same(&checkpoint.root, judged.hash()));
    assert_eq!(judged.to_bytes(), checkpoint.text().as_bytes());

    // What they sign.
    let mut note = Note::new(&judged.to_bytes(), &[]).unwrap();
    note.add_sigs(&[&signer]).unwrap();
    let theirs_signed = note.to_bytes();
    assert_eq!(theirs_signed, ours_signed);
    let verified = ours::VerifiedCheckpoint::open(&theirs_signed, &key.verifier(), &[]).unwrap();
    assert_eq!(*verified.checkpoint(), checkpoint);

    // What is changed anywhere, neither believes.
    for at in 0..ours_signed.len() {
        let mut changed = ours_signed.clone();
        changed[at] ^= 1;
        let judged = Note::from_bytes(&changed).and_then(|note| note.verify(&known).map(drop));
        let opened = ours::VerifiedCheckpoint::open(&changed, &key.verifier(), &[]);
        assert!(judged.is_err() && opened.is_err(), "byte {at}");
    }
}
