//! What no honest program writes and whoever has the key can: a check names it, takes bounded memory
//! and always ends, and reading goes on beside it.

#![allow(clippy::unwrap_used)]

mod handmade;
mod support;

use std::path::Path;

use handmade::{Handmade, directory, file};
use outlast_format::{
    BlobHandle, BlobKind, Compressor, EncodedBlob, IndexBlob, IndexFile, IndexPack, Node, NodeKind,
    PackBuilder, encode_unpacked,
};
use outlast_object::{Id, ObjectKind, ObjectName, hash};
use outlast_repo::{
    Cancel, CheckOptions, CheckReport, Finding, Loss, NoProgress, ReadData, TREE_DEPTH_MAX, check,
};
use outlast_store::{Deletes, Store};

fn check_all(made: &Handmade) -> CheckReport {
    let options = CheckOptions {
        read_data: ReadData::Everything,
        ..CheckOptions::default()
    };
    check(&made.repository, &options, &NoProgress, &Cancel::new()).unwrap()
}

fn is_named(report: &CheckReport, text: &str) -> bool {
    let mut findings = report.findings.iter();
    findings.any(|finding| finding.to_string().contains(text))
}

/// Plants bytes under the name that they hash to.
fn plant(made: &Handmade, kind: ObjectKind, bytes: &[u8]) -> Id {
    let name = ObjectName::new(kind, hash(bytes));
    made.store.write(&name, bytes).unwrap();
    name.id()
}

#[test]
fn entries_that_cannot_be_are_named_with_their_directory() {
    let made = Handmade::new();
    let content = made.data(b"content");
    let good = || file("good", &[content], 7);
    let without_content = Node {
        content: None,
        ..file("none", &[], 0)
    };
    let without_tree = Node {
        subtree: None,
        ..directory("none", content)
    };
    let unknown = Node {
        kind: NodeKind::Other("door".to_owned()),
        ..file("odd", &[], 0)
    };
    let null = Id::default();
    for (node, expected) in [
        (file("", &[content], 7), "impossible name"),
        (file(".", &[content], 7), "impossible name"),
        (file("..", &[content], 7), "impossible name"),
        (file("../x", &[content], 7), "impossible name"),
        (file("/etc/passwd", &[content], 7), "impossible name"),
        (file("a\0b", &[content], 7), "impossible name"),
        (without_content, "no content"),
        (without_tree, "no tree"),
        (unknown, "unknown kind"),
        (directory("null", null), "no tree"),
        (file("null", &[null], 1), "no index lists it"),
        (file("lost", &[hash(b"?")], 1), "no index lists it"),
        (directory("lost", hash(b"?")), "no index lists it"),
        (directory("data", content), "no index lists it"),
    ] {
        let made = Handmade::new();
        let kept = made.data(b"content");
        assert_eq!(kept, content);
        let sub = made.odd_tree(std::slice::from_ref(&node));
        let root = made.odd_tree(&[directory("d", sub), good()]);
        let id = made.snapshot(root);
        let report = check_all(&made);
        assert!(
            !report.is_sound() && is_named(&report, expected),
            "{node:?}: {:?}",
            report.findings
        );
        assert_eq!(report.affected.len(), 1, "{node:?}");
        let affected = &report.affected[0];
        assert_eq!(
            (affected.id, affected.count),
            (id, 1),
            "{node:?}: {affected:?}"
        );
        assert!(affected.paths[0].path.starts_with("/d"), "{affected:?}");
    }
}

#[test]
fn trees_that_are_no_trees_are_named() {
    for json in [
        "",
        "null",
        "[]",
        "{\"nodes\":[{}",
        "{\"nodes\":[{\"name\":\"a\"},{\"name\":\"a\"}]}",
        "{\"nodes\":[{\"name\":\"b\",\"type\":\"file\",\"content\":[]},{\"name\":\"a\"}]}",
        "{\"nodes\":[{\"name\":\"a\",\"type\":\"file\",\"content\":[\"xyz\"]}]}",
        "{\"nodes\":[{\"name\":\"a\",\"type\":\"file\",\"size\":-1}]}",
    ] {
        let made = Handmade::new();
        let bad = made.raw_tree(json);
        made.snapshot(made.tree(&[directory("d", bad)]));
        let report = check_all(&made);
        assert!(!report.is_sound(), "{json}");
        let path = &report.affected[0].paths[0].path;
        assert!(path.starts_with("/d"), "{json}: {path:?}");
    }
}

#[test]
fn a_tree_that_would_contain_itself_is_a_tree_that_cannot_be_read() {
    // A cycle would need a hash that contains itself; so an index has to lie about one.
    let made = Handmade::new();
    let inner = made.tree(&[]);
    let middle = made.tree(&[directory("again", hash(b"the root"))]);
    let root = hash(b"the root");
    made.snapshot(made.tree(&[directory("a", middle), directory("b", inner)]));
    let place = made
        .repository
        .index()
        .find(BlobHandle::tree(middle))
        .next()
        .unwrap();
    let blob = IndexBlob {
        id: root,
        ..IndexBlob::from(&place.blob)
    };
    let lie = IndexFile {
        supersedes: Vec::new(),
        packs: vec![IndexPack {
            id: place.pack_id,
            blobs: vec![blob],
        }],
    };
    let sealed = encode_unpacked(&lie.to_json().unwrap(), 2, made.key(), [3; 16]).unwrap();
    plant(&made, ObjectKind::Index, &sealed);
    let report = check_all(&made);
    let unreadable = |finding: &Finding| matches!(finding, Finding::UnreadableTree { tree, .. } if *tree == root);
    assert!(
        report.findings.iter().any(unreadable),
        "{:?}",
        report.findings
    );
    let paths: Vec<_> = report.affected[0]
        .paths
        .iter()
        .map(|one| one.path.clone())
        .collect();
    assert_eq!(paths, vec![Path::new("/a/again")]);
}

#[test]
fn trees_deeper_than_any_path_are_named_and_the_check_ends() {
    let made = Handmade::new();
    made.snapshot(made.nested(made.tree(&[]), TREE_DEPTH_MAX * 3));
    let report = check_all(&made);
    assert!(is_named(&report, "deeper"), "{:?}", report.findings);
    assert_eq!(report.affected.len(), 1);
}

#[test]
fn a_few_trees_that_make_up_endless_paths_are_looked_at_once() {
    let made = Handmade::new();
    let lost = hash(b"lost");
    let mut tree = made.tree(&[file("f", &[lost], 1)]);
    let levels = 200;
    for _ in 0..levels {
        tree = made.tree(&[directory("a", tree), directory("b", tree)]);
    }
    made.snapshot(tree);
    let report = check_all(&made);
    assert_eq!(report.totals.trees, levels + 1);
    let affected = &report.affected[0];
    // There are two to the power of two hundred such files.
    assert_eq!(affected.count, u64::MAX);
    assert_eq!(
        affected.paths.len(),
        CheckOptions::default().paths_per_snapshot
    );
    assert!(matches!(affected.paths[0].loss, Loss::Content { first, .. } if first == lost));
}

/// Plants a pack with one blob, and an index that tells the truth about it.
fn plant_blob(made: &Handmade, blob: EncodedBlob) -> Id {
    let mut pack = PackBuilder::default();
    pack.push(&blob).unwrap();
    let (bytes, blobs) = pack.finish(made.key(), [9; 16]).unwrap();
    let pack = plant(made, ObjectKind::Pack, &bytes);
    let index = IndexFile {
        supersedes: Vec::new(),
        packs: vec![IndexPack {
            id: pack,
            blobs: blobs.iter().map(IndexBlob::from).collect(),
        }],
    };
    let sealed = encode_unpacked(&index.to_json().unwrap(), 2, made.key(), [4; 16]).unwrap();
    plant(made, ObjectKind::Index, &sealed);
    pack
}

#[test]
fn compression_bombs_are_named_and_not_unpacked() {
    let zeros = vec![0; 100 << 20];
    let bomb = Compressor::new(1).unwrap().compress(&zeros).unwrap();
    for (kind, claimed) in [
        (BlobKind::Data, 1000),
        (BlobKind::Data, 100 << 20),
        (BlobKind::Data, u32::MAX),
        (BlobKind::Tree, 1000),
        (BlobKind::Tree, u32::MAX),
    ] {
        let made = Handmade::new();
        let handle = BlobHandle {
            kind,
            id: hash(b"whatever it claims to be"),
        };
        let pack = plant_blob(
            &made,
            EncodedBlob {
                handle,
                sealed: made.key().seal([8; 16], &bomb).unwrap(),
                uncompressed_length: claimed,
            },
        );
        let node = match kind {
            BlobKind::Data => file("f", &[handle.id], 1),
            BlobKind::Tree => directory("f", handle.id),
        };
        made.snapshot(made.tree(&[node]));
        let report = check_all(&made);
        assert_eq!(report.broken_packs, vec![pack], "{:?}", report.findings);
        assert_eq!(report.affected[0].paths[0].path, Path::new("/f"));
    }
}

#[test]
fn documents_that_unpack_to_more_than_any_document_are_named() {
    let zeros = vec![b' '; 300 << 20];
    let mut plaintext = vec![2];
    plaintext.extend(Compressor::new(1).unwrap().compress(&zeros).unwrap());
    drop(zeros);
    let made = Handmade::new();
    let sealed = made.key().seal([8; 16], &plaintext).unwrap();
    let index = plant(&made, ObjectKind::Index, &sealed);
    let snapshot = plant(&made, ObjectKind::Snapshot, &sealed);
    let lock = plant(&made, ObjectKind::Lock, &sealed);
    let report = check_all(&made);
    for (kind, id) in [
        (ObjectKind::Index, index),
        (ObjectKind::Snapshot, snapshot),
        (ObjectKind::Lock, lock),
    ] {
        let name = ObjectName::new(kind, id);
        assert!(
            report
                .findings
                .iter()
                .any(|finding| finding.object() == Some(name)),
            "{name}"
        );
        made.store.delete(&name).unwrap();
    }
    assert!(check_all(&made).is_sound());
}
