//! What vaults and clients exchange and keep as evidence: batches, invites, lists, entries, receipts,
//! notes and tiles.

use std::str::from_utf8;

use outlast_custody::{Entry, Event, IdText, ObjectList, Receipt, Seal};
use outlast_log::{
    Checkpoint, EntryBundle, KeyKind, Note, OfflineProof, SigningKey, Tile, VerifiedCheckpoint,
    VerifierKey, decode_bundle, encode_bundle_entry, leaf_hash, subtree_in_tile,
};
use outlast_object::{Id, hash};
use outlast_wire::Invite;
use outlast_wire::batch::{Batch, decode};

/// The identity whose signature counts in these tests.
fn identity() -> SigningKey {
    SigningKey::from_seed("vault.example", KeyKind::Note, &[1; 32]).expect("a name that is one")
}

/// The one entry of the one log that the identity ever signed.
fn sealed() -> Vec<u8> {
    let nothing = IdText(Id::from_bytes([0; 32]));
    let seal = Seal {
        repository: "web1".parse().expect("a name"),
        snapshot: nothing,
        list: Some(nothing),
        objects: 2,
        bytes: 3,
        until: 4,
        verified: 5,
        token: None,
        previous: nothing,
    };
    Entry::new(6, 7, [8; 16], Event::Seal(seal)).encode()
}

fn checkpoint() -> Note {
    let checkpoint = Checkpoint {
        origin: identity().verifier().name().to_owned(),
        size: 1,
        root: leaf_hash(&sealed()),
    };
    checkpoint
        .sign(&identity())
        .expect("a checkpoint is signed")
}

/// The receipt for it.
pub(crate) fn true_receipt() -> String {
    let proof = OfflineProof {
        extra: None,
        index: 0,
        hashes: Vec::new(),
        checkpoint: checkpoint(),
    };
    let entry = sealed();
    Receipt { entry, proof }.encode()
}

pub(crate) fn identity_text() -> String {
    identity().verifier().to_string()
}

pub(crate) fn true_checkpoint() -> Vec<u8> {
    checkpoint().encode()
}

pub(crate) fn true_entry() -> Vec<u8> {
    sealed()
}

/// A batch of objects: what is read is written again in the same way.
pub fn batch(data: &[u8]) {
    for data in [data, &[b"outlastB", data].concat()] {
        if let Ok(objects) = decode(data) {
            let mut batch = Batch::default();
            for (name, content) in objects {
                batch
                    .push(&name, content)
                    .expect("what was read can be written");
            }
            assert_eq!(batch.as_bytes(), data);
        }
    }
}

/// An entry of a log.
pub fn entry(data: &[u8]) {
    if let Ok(entry) = Entry::decode(data) {
        assert_eq!(entry.encode(), data, "an entry has one encoding");
        let _ = entry.chain();
    }
}

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

fn base64url(bytes: &[u8]) -> String {
    let mut text = String::new();
    for part in bytes.chunks(3) {
        let mut bits = 0_u32;
        for at in 0..3 {
            bits = bits << 8 | u32::from(part.get(at).copied().unwrap_or(0));
        }
        for digit in 0..=part.len() {
            let value = bits >> (18 - 6 * digit) & 63;
            text.push(char::from(DIGITS[value as usize]));
        }
    }
    text
}

/// An invite as it is, and one whose content was made up and whose check fits.
pub fn invite(data: &[u8]) {
    let checked = [&hash(data).as_bytes()[..8], data].concat();
    let made = format!("outlast-invite-1:{}", base64url(&checked));
    for line in [from_utf8(data).ok(), Some(made.as_str())]
        .into_iter()
        .flatten()
    {
        if let Ok(invite) = line.parse::<Invite>() {
            assert_eq!(invite.encode().parse::<Invite>(), Ok(invite.clone()));
            assert!(!format!("{invite:?}").contains(&invite.secret) || invite.secret.len() < 8);
        }
    }
}

/// A note, a checkpoint and a verifier key.
pub fn note(data: &[u8]) {
    if let Ok(note) = Note::parse(data) {
        assert_eq!(note.encode(), data, "a note has one encoding");
    }
    if let Ok(verified) = VerifiedCheckpoint::open(data, &identity().verifier(), &[]) {
        assert_eq!(
            verified.checkpoint().text(),
            checkpoint().text(),
            "a forgery"
        );
    }
    if let Ok(text) = from_utf8(data) {
        if let Ok(key) = text.parse::<VerifierKey>() {
            assert_eq!(key.to_string().parse::<VerifierKey>(), Ok(key));
        }
        if let Ok(checkpoint) = Checkpoint::parse(text) {
            assert_eq!(Checkpoint::parse(&checkpoint.text()), Ok(checkpoint));
        }
    }
}

/// A list of objects.
pub fn object_list(data: &[u8]) {
    if let Ok(list) = ObjectList::decode(data) {
        assert_eq!(list.encode(), data, "a list has one encoding");
        assert_eq!(ObjectList::new(list.objects().iter().copied()), list);
        let _ = list.root();
    }
}

/// A receipt: whatever is changed about it, it never proves another seal.
pub fn receipt(data: &[u8]) {
    let Ok(text) = from_utf8(data) else {
        return;
    };
    let _ = OfflineProof::parse(text);
    if let Ok(receipt) = Receipt::parse(text) {
        assert_eq!(Receipt::parse(&receipt.encode()), Ok(receipt.clone()));
        if receipt.verify(&identity().verifier(), &[]).is_ok() {
            assert_eq!(receipt.entry, sealed(), "a forgery");
        }
    }
}

/// Paths of tiles and bundles, and their content.
pub fn tile(data: &[u8]) {
    if let Ok(path) = from_utf8(data) {
        if let Some(tile) = Tile::parse(path) {
            assert_eq!(tile.path(), path, "a tile has one path");
        }
        if let Some(bundle) = EntryBundle::parse(path) {
            assert_eq!(bundle.path(), path, "a bundle has one path");
        }
    }
    if let Ok(entries) = decode_bundle(data) {
        let mut again = Vec::new();
        for entry in entries {
            encode_bundle_entry(&mut again, entry).expect("what was read can be written");
        }
        assert_eq!(again, data);
    }
    for (level, index) in [(0, 0), (7, 1), (8, 3), (63, u64::MAX)] {
        let _ = subtree_in_tile(data, level, index);
    }
}
