//! Repositories behind SFTP, at OpenSSH's real server, beside restic's own way to it.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

mod support;

use std::path::Path;

use support::kit::assert_restored;
use support::{OUTLAST, PASSWORD, World, json_lines, texts, tools};

/// A world with documents, and what names its repository and the server.
fn world(server: &Path) -> (World, Vec<String>) {
    let world = World::new();
    for number in 0..10_u32 {
        let bytes = number.to_le_bytes().repeat(200_000);
        world.write(&format!("documents/file{number}"), bytes);
    }
    let arguments = [
        "-r".to_owned(),
        format!("sftp:me@host:{}", world.join("far/repository").display()),
        "-o".to_owned(),
        format!("sftp.command={} -e", server.display()),
    ];
    (world, arguments.into())
}

/// Runs a program at the repository, which must succeed.
fn run(world: &World, program: impl AsRef<Path>, at: &[String], arguments: &[&str]) -> String {
    let mut command = world.bare_command(program.as_ref());
    command.env("RESTIC_PASSWORD", PASSWORD);
    let output = command.args(at).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", texts(&output));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn every_kind_of_verb_works_and_restic_reads_the_same_repository() {
    let Some(server) = tools::sftp_server() else {
        return;
    };
    let (world, at) = world(&server);
    let ours = |arguments: &[&str]| run(&world, OUTLAST, &at, arguments);
    ours(&["init"]);
    ours(&["backup", "documents"]);
    ours(&["check", "--read-data"]);
    ours(&["restore", "latest", "--target", "ours"]);
    assert_restored(&world, &world.join("ours"));
    for restic in [tools::restic_014(), tools::restic_019()]
        .into_iter()
        .flatten()
    {
        let theirs = |arguments: &[&str]| run(&world, &restic, &at, arguments);
        theirs(&["check", "--read-data"]);
        let _ = std::fs::remove_dir_all(world.join("theirs"));
        theirs(&["restore", "latest", "--target", "theirs"]);
        assert_restored(&world, &world.join("theirs"));
        // And on from there, both ways.
        world.write("documents/more", restic.to_str().unwrap());
        theirs(&["backup", "documents"]);
        let text = ours(&["backup", "documents", "--json"]);
        let summary = json_lines(&text).pop().unwrap();
        assert_eq!(summary["data_blobs"], 0, "{summary}");
        ours(&["forget", "--keep-last", "1", "--prune"]);
        ours(&["check", "--read-data"]);
        theirs(&["check", "--read-data"]);
    }
    // As any other location, to all that takes one.
    ours(&["export", "plain"]);
    world.outlast(&["-r", "plain", "check", "--read-data"]);
    assert_eq!(ours(&["list", "locks"]), "");
}

#[test]
fn a_kit_names_it_and_brings_everything_back() {
    let Some(server) = tools::sftp_server() else {
        return;
    };
    let (world, at) = world(&server);
    run(&world, OUTLAST, &at, &["init"]);
    run(&world, OUTLAST, &at, &["backup", "documents"]);
    let said = run(&world, OUTLAST, &at, &["kit", "--json", "--into", "paper"]);
    let text = support::kit::read_made(&world, &said).pop().unwrap();
    assert!(text.contains("restic -r sftp:me@host:"), "{text}");
    world.write("kit.txt", support::kit::lines(&text).join("\n"));
    let recover = ["recover", "--kit", "kit.txt", "latest", "--target", "back"];
    let options = at.get(2..).unwrap();
    run(&world, OUTLAST, options, &recover);
    assert_restored(&world, &world.join("back"));
}

#[test]
fn what_cannot_work_is_said() {
    let world = World::new();
    let at = ["-r", "sftp:host:/r"];
    for (option, why) in [
        ("sftp.command=/does/not/exist", "cannot be started"),
        ("sftp.command='", "not closed"),
    ] {
        let mut arguments = at.to_vec();
        arguments.extend(["-o", option, "--stuck-request-timeout", "1s", "snapshots"]);
        arguments.extend(["--insecure-no-password"]);
        let said = world.ends_with(&arguments, 1);
        assert!(said.contains(why), "{said}");
    }
    let both = ["-o", "sftp.command=x", "-o", "sftp.args=-v", "snapshots"];
    let said = world.ends_with(&[&at[..], &both].concat(), 1);
    assert!(said.contains("one of them"), "{said}");
}
