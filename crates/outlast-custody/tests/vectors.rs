//! The test vectors of the specification, and its program that verifies receipts.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::path::{Path, PathBuf};
use std::process::Command;

use outlast_custody::{Entry, ObjectList, Receipt};
use outlast_log::{VerifierKey, tree_root};
use outlast_object::{Id, ObjectKind, ObjectName};
use serde_json::Value;

const ENTRIES: &str = include_str!("../../../spec/vectors/entries.json");
const LISTS: &str = include_str!("../../../spec/vectors/lists.json");
const RECEIPT: &str = include_str!("../../../spec/vectors/receipt.json");

fn read(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn all<'a>(vectors: &'a Value, which: &str) -> &'a [Value] {
    let found = vectors[which].as_array().unwrap();
    assert!(found.len() > 1);
    found
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap()
}

#[test]
fn entries_are_those_of_the_specification() {
    let vectors = read(ENTRIES);
    let mut leaves = Vec::new();
    for vector in all(&vectors, "valid") {
        let bytes = text(vector, "encoded").as_bytes();
        let entry = Entry::decode(bytes).unwrap();
        assert_eq!(entry.encode(), bytes);
        assert_eq!(hex::encode(entry.leaf().as_bytes()), text(vector, "leaf"));
        leaves.push(entry.leaf());
    }
    let root = tree_root(leaves);
    assert_eq!(hex::encode(root.as_bytes()), text(&vectors, "root"));
    for vector in all(&vectors, "invalid") {
        let outcome = Entry::decode(text(vector, "encoded").as_bytes());
        assert!(outcome.is_err(), "{}", text(vector, "why"));
    }
}

#[test]
fn lists_are_those_of_the_specification() {
    let vectors = read(LISTS);
    for vector in all(&vectors, "valid") {
        let bytes = hex::decode(text(vector, "encoded")).unwrap();
        let list = ObjectList::decode(&bytes).unwrap();
        let objects = vector["objects"].as_array().unwrap().iter().map(|object| {
            let kind = ObjectKind::from_folder(text(object, "kind"));
            let id: Id = text(object, "id").parse().unwrap();
            ObjectName::new(kind.unwrap_or(ObjectKind::Config), id)
        });
        assert_eq!(list, ObjectList::new(objects));
        assert_eq!(list.encode(), bytes);
        assert_eq!(hex::encode(list.root().as_bytes()), text(vector, "root"));
    }
    for vector in all(&vectors, "invalid") {
        let bytes = hex::decode(text(vector, "encoded")).unwrap();
        assert!(
            ObjectList::decode(&bytes).is_err(),
            "{}",
            text(vector, "why")
        );
    }
}

#[test]
fn the_receipt_of_the_specification_holds() {
    let vector = read(RECEIPT);
    let identity: VerifierKey = text(&vector, "identity").parse().unwrap();
    let receipt = Receipt::parse(text(&vector, "receipt")).unwrap();
    assert_eq!(receipt.encode(), text(&vector, "receipt"));
    let verified = receipt.verify(&identity, &[]).unwrap();
    let list = hex::decode(text(&vector, "list")).unwrap();
    let list = ObjectList::decode(&list).unwrap();
    verified.check_list(&list).unwrap();
    let snapshot = verified.seal().snapshot.0.to_hex();
    assert_eq!(snapshot, text(&vector, "snapshot"));
    assert_eq!(Some(verified.seal().until), vector["until"].as_u64());
    assert_eq!(Some(verified.proof().index()), vector["index"].as_u64());
    let other: VerifierKey = text(&vector, "other_identity").parse().unwrap();
    assert!(receipt.verify(&other, &[]).is_err());
}

/// Runs the program that was written from the specification alone.
fn judge(identity: &str, receipt: &str, list: &[u8]) -> (bool, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("receipt"), receipt).unwrap();
    std::fs::write(path("list"), list).unwrap();
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../spec/verify.py");
    let mut command = Command::new("python3");
    command.arg(program).arg(identity);
    let output = command.args([path("receipt"), path("list")]).output();
    let output = output.unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.success(), said + &errors)
}

fn has_python() -> bool {
    let found = std::env::var_os("PATH").is_some_and(|path| {
        std::env::split_paths(&path).any(|folder: PathBuf| folder.join("python3").exists())
    });
    if !found {
        let missing = "python3 is missing";
        assert!(
            std::env::var_os("OUTLAST_TEST_REQUIRE_TOOLS").is_none(),
            "{missing}"
        );
        println!("SKIPPED: {missing}");
    }
    found
}

#[test]
fn a_program_written_from_the_specification_believes_the_same() {
    if !has_python() {
        return;
    }
    let vector = read(RECEIPT);
    let (identity, receipt) = (text(&vector, "identity"), text(&vector, "receipt"));
    let list = hex::decode(text(&vector, "list")).unwrap();
    let (valid, said) = judge(identity, receipt, &list);
    assert!(valid && said.contains(text(&vector, "snapshot")), "{said}");
    // What we do not believe, it does not either.
    let refused = |(valid, said): (bool, String)| {
        assert!(!valid && said.contains("INVALID"), "{said}");
    };
    refused(judge(text(&vector, "other_identity"), receipt, &list));
    refused(judge(identity, receipt, &list[33..]));
    for (from, to) in [
        ("index 4", "index 5"),
        ("example\n9\n", "example\n10\n"),
        ("eefn", "eegn"),
        ("mngG", "mnhG"),
        ("eyJ2", "eyJ3"),
    ] {
        assert!(receipt.contains(from), "{from}");
        let changed = receipt.replacen(from, to, 1);
        refused(judge(identity, &changed, &list));
        let key: VerifierKey = identity.parse().unwrap();
        let ours = Receipt::parse(&changed).and_then(|receipt| receipt.verify(&key, &[]));
        assert!(ours.is_err(), "{from}");
    }
}
