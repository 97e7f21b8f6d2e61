//! `export`: a plain repository folder out of other places, which stock restic then reads.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

mod support;

use outlast_object::{ObjectKind, ObjectName};
use outlast_store::{LocalStore, Store};
use support::{OUTLAST, World, json_lines, tools};

/// A repository with two snapshots in a folder.
fn filled() -> World {
    let world = World::new();
    world.outlast(&["init"]);
    for number in 0..5_u32 {
        let bytes = number.to_le_bytes().repeat(60_000);
        world.write(&format!("data/file{number}"), bytes);
    }
    world.outlast(&["backup", "data"]);
    world.write("data/more", "more");
    world.outlast(&["backup", "data"]);
    world
}

#[test]
fn an_export_is_a_repository_that_restic_reads() {
    let world = filled();
    let mut command = world.bare_command(OUTLAST);
    // No password is known here, and none is needed.
    let made = command
        .args(["-r", "repository", "export", "out", "--json"])
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let text = String::from_utf8(made.stdout).unwrap();
    let summary = json_lines(&text).pop().unwrap();
    assert_eq!(summary["message_type"], "summary");
    assert_eq!(summary["objects_failed"], 0);
    world.outlast(&["-r", "out", "check", "--read-data"]);
    for restic in [tools::restic_014(), tools::restic_019()]
        .into_iter()
        .flatten()
    {
        let said = world.succeeding(
            &restic,
            &["-r", "out", "--no-cache", "check", "--read-data"],
        );
        assert!(said.contains("no errors were found"), "{said}");
    }
}

#[test]
fn an_export_is_completed_from_whatever_copy_has_the_rest() {
    let world = filled();
    let store = LocalStore::open(&world.join("repository")).unwrap();
    let packs = store.list_all(ObjectKind::Pack).unwrap();
    let pack = ObjectName::pack(packs[0].id);
    world.outlast(&["export", "copy"]);
    // One copy has a pack that rotted.
    let hex = pack.id().to_hex();
    let path = world.join(&format!("copy/data/{}/{hex}", &hex[..2]));
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[10] ^= 1;
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, bytes).unwrap();
    let output = world.run(OUTLAST, &["-r", "copy", "export", "out"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains(&hex), "{said}");
    assert!(
        !world
            .join(&format!("out/data/{}/{hex}", &hex[..2]))
            .exists()
    );
    let said = world.outlast(&["export", "out"]);
    assert!(said.contains("1 objects written"), "{said}");
    world.outlast(&["-r", "out", "check", "--read-data"]);
    // Another repository does not go into it.
    let other = filled();
    let from = other.join("repository");
    let from = from.to_str().unwrap();
    let output = world.run(OUTLAST, &["-r", from, "export", "out"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("another repository"), "{said}");
    let output = world.run(OUTLAST, &["-r", "nowhere", "export", "out"]);
    assert_eq!(output.status.code(), Some(10), "{output:?}");
}
