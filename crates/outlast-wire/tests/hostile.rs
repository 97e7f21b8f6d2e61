//! Vaults that lie, break off, or want to keep a client busy: it never panics, never believes, and
//! always comes to an end.

#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use outlast_custody::{Entry, Event, IdText, ObjectList, Receipt, Seal, Start};
use outlast_log::{
    Checkpoint, Frontier, Hash, KeyKind, OfflineProof, SigningKey, TILE_WIDTH, Tile, leaf_hash,
    prove_inclusion, tree_root,
};
use outlast_object::{Id, ObjectKind, ObjectName};
use outlast_store::Clock;
use outlast_wire::batch::Batch;
use outlast_wire::{VaultClient, WireError};
use serde_json::json;

use support::*;

fn snapshot() -> ObjectName {
    ObjectName::new(ObjectKind::Snapshot, Id::from_bytes([2; 32]))
}

fn list() -> ObjectList {
    ObjectList::new([snapshot(), ObjectName::CONFIG])
}

fn batch() -> Batch {
    let mut batch = Batch::default();
    batch.push(&snapshot(), b"content").unwrap();
    batch
}

fn seal() -> Seal {
    Seal {
        repository: "web1".parse().unwrap(),
        snapshot: IdText(snapshot().id()),
        list: Some(IdText(Id::from_bytes(*list().root().as_bytes()))),
        objects: 2,
        bytes: 100,
        until: 1_800_000_000,
        verified: 1_700_000_000,
        token: None,
        previous: IdText(Id::from_bytes([0; 32])),
    }
}

/// A log of a few entries; the hashes of all its complete subtrees.
struct Log {
    entries: Vec<Vec<u8>>,
    subtrees: BTreeMap<(u8, u64), Hash>,
    frontier: Frontier,
}

impl Log {
    fn of(entries: Vec<Vec<u8>>) -> Self {
        let (mut subtrees, mut frontier) = (BTreeMap::new(), Frontier::default());
        for entry in &entries {
            frontier.push(leaf_hash(entry), |level, index, hash| {
                subtrees.insert((level, index), hash);
            });
        }
        Self {
            entries,
            subtrees,
            frontier,
        }
    }

    fn numbered(count: u64, salt: u8) -> Self {
        Self::of((0..count).map(|at| vec![salt, at as u8, 1]).collect())
    }

    fn checkpoint(&self) -> Checkpoint {
        Checkpoint {
            origin: key().verifier().name().to_owned(),
            size: self.frontier.size(),
            root: self.frontier.root(),
        }
    }

    fn note(&self) -> Vec<u8> {
        self.checkpoint().sign(&key()).unwrap().encode()
    }

    fn receipt(&self, index: u64, signer: &SigningKey) -> String {
        let hashes = prove_inclusion(index, self.frontier.size(), |level, at| {
            Ok::<_, ()>(self.subtrees[&(level, at)])
        });
        let receipt = Receipt {
            entry: self.entries[index as usize].clone(),
            proof: OfflineProof {
                extra: None,
                index,
                hashes: hashes.unwrap(),
                checkpoint: self.checkpoint().sign(signer).unwrap(),
            },
        };
        receipt.encode()
    }

    /// What a server answers for one of its paths.
    fn said(&self, path: &str) -> Said {
        if path.ends_with("/checkpoint") {
            return (200, self.note());
        }
        let Some(tile) = Tile::parse(path.trim_start_matches("/v1/log/")) else {
            return (404, Vec::new());
        };
        let first = tile.index * TILE_WIDTH;
        let hashes = (first..first + u64::from(tile.width))
            .map(|index| self.subtrees.get(&(tile.level * 8, index)));
        let bytes = hashes.flatten().flat_map(|hash| *hash.as_bytes());
        (200, bytes.collect())
    }

    fn serve(self) -> Fake {
        Fake::new(None, Box::new(move |path| self.said(path)))
    }
}

fn entry(event: Event) -> Vec<u8> {
    Entry::new(1_700_000_000, 1_700_000_000, [0; 16], event).encode()
}

fn log_with(seal: Seal) -> Log {
    let software = "fake".to_owned();
    Log::of(vec![
        entry(Event::Start(Start { software })),
        entry(Event::Seal(seal)),
    ])
}

fn sealing(receipt: &str, index: u64) -> Result<(), WireError> {
    let made = json!({ "index": index, "receipt": receipt }).to_string();
    let fake = Fake::saying(200, made);
    fake.client().seal(snapshot().id(), &list()).map(drop)
}

type Change = fn(&mut Seal);

#[test]
fn only_the_right_receipt_is_believed() {
    let log = log_with(seal());
    let receipt = log.receipt(1, &key());
    sealing(&receipt, 1).unwrap();

    let unproven = |outcome: Result<(), WireError>, what: &str| {
        let is_refused = matches!(
            outcome,
            Err(WireError::Receipt(_) | WireError::Unproven(_) | WireError::Malformed(_))
        );
        assert!(is_refused, "{what}: {outcome:?}");
    };
    unproven(sealing(&receipt, 0), "another index");
    unproven(sealing("", 1), "none");
    unproven(
        sealing(&log.receipt(0, &key()), 0),
        "an entry that is no seal",
    );
    let stranger = SigningKey::from_seed("vault.example", KeyKind::Note, &[9; 32]).unwrap();
    unproven(sealing(&log.receipt(1, &stranger), 1), "another signer");
    let changes: [(&str, Change); 4] = [
        ("another snapshot", |seal| {
            seal.snapshot = IdText(Id::from_bytes([3; 32]));
        }),
        ("another repository", |seal| {
            seal.repository = "web2".parse().unwrap();
        }),
        ("another list", |seal| {
            seal.list = Some(IdText(Id::from_bytes([3; 32])));
        }),
        ("no list", |seal| seal.list = None),
    ];
    for (what, change) in changes {
        let mut other = seal();
        change(&mut other);
        unproven(sealing(&log_with(other).receipt(1, &key()), 1), what);
    }
    for cut in (0..receipt.len()).filter_map(|end| receipt.get(..end)) {
        unproven(sealing(cut, 1), "cut off");
    }
}

#[test]
fn a_sealed_list_is_the_one_that_was_sealed_and_no_longer() {
    let receipt_of = |seal: Seal| log_with(seal).receipt(1, &key());
    let asked = |seal: Seal, list: Vec<u8>| {
        let receipt = receipt_of(seal).into_bytes();
        let fake = Fake::saying_in_turn(vec![(200, receipt), (200, list)]);
        let client = fake.client();
        let sealed = client.receipt(1).unwrap();
        client.sealed_list(&sealed)
    };
    assert_eq!(asked(seal(), list().encode()).unwrap(), list());
    let other = ObjectList::new([ObjectName::CONFIG]).encode();
    assert!(asked(seal(), other).is_err());
    assert!(asked(seal(), Vec::new()).is_err());
    assert!(asked(seal(), vec![0; 40]).is_err());
    assert!(
        asked(seal(), vec![4; 33 * 3]).is_err(),
        "longer than sealed"
    );
    // Whoever signs may say any number.
    let endless = Seal {
        objects: u64::MAX,
        ..seal()
    };
    assert!(asked(endless, vec![4; 33 * 3]).is_err());
}

#[test]
fn a_log_that_goes_on_is_believed() {
    for (old, new) in [
        (0, 0),
        (0, 3),
        (1, 1),
        (1, 2),
        (3, 7),
        (4, 8),
        (7, 300),
        (255, 256),
        (256, 700),
    ] {
        let before = Log::numbered(old, 1).checkpoint();
        let fake = Log::numbered(new, 1).serve();
        let found = fake.client().checkpoint(&[&before]);
        let found = found.unwrap_or_else(|error| panic!("{old} to {new}: {error}"));
        assert_eq!(found.checkpoint().size, new);
    }
}

#[test]
fn a_log_with_another_past_is_convicted_by_its_own_signature() {
    for (old, new) in [
        (1, 1),
        (1, 2),
        (3, 7),
        (4, 8),
        (7, 300),
        (300, 7),
        (256, 700),
    ] {
        let before = Log::numbered(old, 1).checkpoint();
        let log = Log::numbered(new, 2);
        let note = log.note();
        let fake = log.serve();
        match fake.client().checkpoint(&[&before]) {
            Err(WireError::LogForked {
                old_size,
                new_size,
                evidence,
                ..
            }) => {
                assert_eq!((old_size, new_size), (old, new));
                assert_eq!(evidence, note);
            }
            other => panic!("{old} to {new}: {other:?}"),
        }
    }
}

#[test]
fn false_tiles_convict_nobody_and_prove_nothing() {
    let before = Log::numbered(3, 1).checkpoint();
    for tile in [
        vec![],
        vec![7; 32],
        vec![7; 7 * 32],
        vec![7; 8192],
        vec![7; 8193],
        vec![7; 100],
    ] {
        let log = Log::numbered(7, 1);
        let fake = Fake::new(
            None,
            Box::new(move |path| match path.ends_with("/checkpoint") {
                true => log.said(path),
                false => (200, tile.clone()),
            }),
        );
        let outcome = fake.client().checkpoint(&[&before]);
        assert!(
            matches!(
                outcome,
                Err(WireError::Unproven(_) | WireError::Malformed(_) | WireError::Store(_))
            ),
            "{outcome:?}"
        );
    }
}

#[test]
fn a_checkpoint_of_impossible_size_keeps_nobody_busy() {
    let before = Log::numbered(3, 1).checkpoint();
    for size in [u64::MAX, 1 << 63, (1 << 63) + 1] {
        let endless = Checkpoint {
            size,
            ..Log::numbered(7, 1).checkpoint()
        };
        let Ok(note) = endless.sign(&key()) else {
            continue;
        };
        let note = note.encode();
        let fake = Fake::new(
            None,
            Box::new(move |path| match path.ends_with("/checkpoint") {
                true => (200, note.clone()),
                false => (200, vec![7; 8192]),
            }),
        );
        assert!(fake.client().checkpoint(&[&before]).is_err());
        assert!(fake.requests() < 1000, "{}", fake.requests());
    }
}

#[test]
fn a_checkpoint_that_is_none_is_no_checkpoint() {
    let note = Log::numbered(3, 1).note();
    let text = String::from_utf8(note).unwrap();
    for said in [
        String::new(),
        text[..text.len() / 2].to_owned(),
        text.replace("\n3\n", "\n4\n"),
        text.replace("vault.example", "other.example"),
    ] {
        let fake = Fake::saying(200, said.clone());
        let outcome = fake.client().checkpoint(&[]);
        assert!(matches!(outcome, Err(WireError::Unproven(_))), "{said}");
    }
}

/// Every call.
fn all_fail(client: &VaultClient, what: &str) {
    assert!(client.state().is_err(), "state: {what}");
    assert!(client.presence(&list()).is_err(), "presence: {what}");
    assert!(client.objects(ObjectKind::Pack).is_err(), "objects: {what}");
    assert!(client.put_batch(&batch()).is_err(), "batch: {what}");
    let sealed = client.seal(snapshot().id(), &list());
    assert!(sealed.is_err(), "seal: {what}");
    assert!(client.seals(None).is_err(), "seals: {what}");
    assert!(client.receipt(1).is_err(), "receipt: {what}");
    assert!(client.checkpoint(&[]).is_err(), "checkpoint: {what}");
}

#[test]
fn answers_that_make_no_sense_are_no_answers() {
    for said in [
        "",
        "null",
        "{}",
        "[]",
        "[null]",
        "[null,null,null]",
        "{\"objects\":[],\"next\":\"00\"}",
        "{\"objects\":[],\"seals\":[],\"next\":7}",
        "\u{0}\u{1}",
        "<html>",
        "{\"index\":1,\"receipt\":\"\"}",
        "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
    ] {
        all_fail(&Fake::saying(200, said).client(), said);
    }
    all_fail(&Fake::saying(200, vec![b'['; 17 << 20]).client(), "long");
    all_fail(&Fake::saying(200, vec![0xff; 100]).client(), "no text");
}

#[test]
fn a_listing_comes_to_an_end() {
    let row = |byte: u8| {
        let id = Id::from_bytes([byte; 32]);
        json!({ "id": id.to_hex(), "size": 1, "position": 1, "time": 1 })
    };
    let id = |byte: u8| Id::from_bytes([byte; 32]).to_hex();
    for page in [
        json!({ "objects": [row(1)], "next": id(1) }),
        json!({ "objects": [], "next": id(1) }),
        json!({ "objects": [row(2), row(1)], "next": null }),
        json!({ "objects": [row(1), row(1)], "next": null }),
        json!({ "objects": [row(1)], "next": id(9) }),
    ] {
        let fake = Fake::saying(200, page.to_string());
        let outcome = fake.client().objects(ObjectKind::Pack);
        assert!(matches!(outcome, Err(WireError::Malformed(_))), "{page}");
        assert!(fake.requests() <= 2);
    }
    let first = json!({ "objects": [row(1)], "next": id(1) }).to_string();
    let second = json!({ "objects": [row(2)], "next": null, "more": 1 }).to_string();
    let fake = Fake::saying_in_turn(vec![(200, first.into()), (200, second.into())]);
    let rows = fake.client().objects(ObjectKind::Pack).unwrap();
    assert_eq!(rows.len(), 2, "unknown fields are ignored");
}

#[test]
fn refusals_are_told_and_cannot_paint_the_terminal() {
    let said = json!({ "error": { "code": "bad\u{1b}[2J", "message": "\u{7}no".repeat(1000) } });
    let fake = Fake::saying(409, said.to_string());
    let Err(WireError::Refused {
        status,
        code,
        message,
        ..
    }) = fake.client().state()
    else {
        panic!("not refused")
    };
    assert_eq!(status, 409);
    assert!(!code.contains('\u{1b}') && !message.contains('\u{7}'));
    assert!(message.len() < 4000);
    for (status, said) in [(404, "what?"), (500, ""), (200, "what?"), (302, "")] {
        let fake = Fake::saying(status, said);
        all_fail(&fake.client(), &format!("{status} {said}"));
        // A vault that redirects is none: credentials stay here.
        assert_eq!(fake.requests(), 8, "{status} {said}");
    }
}

#[test]
fn a_vault_that_is_busy_is_asked_again_a_few_times() {
    let busy = || {
        let said = json!({ "error": { "code": "busy", "message": "later" } });
        (503, said.to_string().into_bytes())
    };
    let found = (
        200,
        b"[null,{\"size\":1,\"position\":2,\"time\":3}]".to_vec(),
    );
    let fake = Fake::saying_in_turn(vec![busy(), busy(), found]);
    let presence = fake.client().presence(&list()).unwrap();
    assert_eq!(presence.iter().flatten().count(), 1);
    assert_eq!(fake.requests(), 3);
    let fake = Fake::saying_in_turn(vec![busy()]);
    let outcome = fake.client().presence(&list());
    assert!(matches!(outcome, Err(WireError::Refused { code, .. }) if code == "busy"));
    assert_eq!(fake.requests(), 3);

    // Who has asked too much waits until the next minute.
    let said = json!({ "error": { "code": "too_many", "message": "wait" } });
    let fake = Fake::saying(429, said.to_string());
    let clock = Arc::new(Hasty::default());
    let client = fake
        .client()
        .with_clock(Arc::clone(&clock) as Arc<dyn Clock>);
    assert!(client.presence(&list()).is_err());
    assert_eq!(clock.now(), Duration::from_secs(60));
}

#[test]
fn a_root_over_nothing_is_that_of_an_empty_log() {
    // What the other tests rest on.
    assert_eq!(Log::numbered(0, 1).frontier.root(), tree_root([]));
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(40))]

    #[test]
    fn junk_is_answered_with_an_error(status in 200_u16..600, said in proptest::collection::vec(0_u8..=255, 0..300)) {
        // Statuses below 300 count as success, and a response without a body is a case of its own.
        proptest::prop_assume!(status != 204 && status != 205 && status != 304);
        all_fail(&Fake::saying(status, said).client(), "junk");
    }
}
