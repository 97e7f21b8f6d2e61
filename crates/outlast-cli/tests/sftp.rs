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

/// A directory on another machine is a custodian as a directory here is: written to, completed, read back,
/// and as good as lost with this machine's keys.
#[test]
fn a_directory_on_another_machine_is_a_custodian() {
    let Some(server) = tools::sftp_server() else {
        return;
    };
    let (world, at) = world(&server);
    let option = at.get(3).unwrap();
    let far = world.join("far/repository");
    let address = format!("sftp:me@host.example:{}", far.display());
    // Who does not let us in is not added.
    let nobody = ["-o", "sftp.command=false", "custodian", "add", &address];
    let said = world.ends_with(&nobody, 1);
    assert!(said.contains("cannot be reached"), "{said}");
    assert!(said.contains("--no-check"), "{said}");
    assert!(
        world
            .succeeds(&["custodian", "list"])
            .contains("no custodian")
    );

    let documents = world.join("documents").display().to_string();
    world.succeeds(&["protect", &documents]);
    let said = world.succeeds(&["-o", option, "custodian", "add", &address]);
    assert!(said.contains("added host.example"), "{said}");
    let listed = world.succeeds(&["custodian", "list"]);
    assert!(listed.contains("directory:host.example"), "{listed}");
    assert!(listed.contains("on another machine"), "{listed}");
    world.write("documents/more", "more");
    let said = world.ends_with(&["protect"], 0);
    assert!(said.contains("evidence: host.example keeps all"), "{said}");
    assert!(said.contains("NOT SAFE YET"), "{said}");

    // It counts where a policy says so.
    let file = world.join(".config/outlast/outlast.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let second = world.join("usb");
    let disk = format!("disk:{}", second.display());
    world.succeeds(&["custodian", "add", &disk]);
    let policy = r#"
[custody]
require = "both"
[custody.custodians."host.example"]
party = "a friend"
[custody.custodians.usb]
party = "we"
[custody.groups.both]
need = "all"
of = ["host.example", "usb"]
[custody.evidence.directory]
age_days_max = 45
[custody.evidence.disk]
age_days_max = 45
"#;
    std::fs::write(&file, format!("{text}{policy}")).unwrap();
    let said = world.ends_with(&["protect"], 0);
    assert!(said.contains("SAFE: host.example, usb"), "{said}");
    let status = world.succeeds(&["status"]);
    assert!(status.contains("host.exam"), "{status}");

    // What it missed is completed later.
    let away = world.join("away");
    std::fs::rename(&far, &away).unwrap();
    world.write("documents/again", "again");
    let said = world.ends_with(&["protect"], 20);
    assert!(said.contains("NOT SAFE YET"), "{said}");
    assert!(!far.exists(), "nothing is made where it was");
    std::fs::rename(&away, &far).unwrap();
    let said = world.succeeds(&["sync"]);
    assert!(said.contains("host.example has everything now"), "{said}");
    let status = json_lines(&world.succeeds(&["--json", "status"]));
    assert_eq!(status.last().unwrap()["safe"], true, "{status:#?}");

    // Alone, it restores everything; and this machine could destroy it, which is told.
    let password = world.join(".config/outlast/repository.key");
    let password = password.display().to_string();
    let start = ["-r", "directory:host.example", "-p", &password];
    let restore = ["restore", "latest", "--target", "back"];
    world.succeeds(&[&start[..], &restore].concat());
    assert_restored(&world, &world.join("back"));
    world.succeeds(&[&start[..], &["check", "--read-data"]].concat());
    let said = world.ends_with(&["prove"], 20);
    for what in ["remove an object", "replace an object by other bytes"] {
        let line = format!("host.example: {what}");
        assert!(said.contains(&line), "{said}");
    }
    world.succeeds(&[&start[..], &["check", "--read-data"]].concat());

    // Bytes that rotted there are found when they are read back.
    let pack = std::fs::read_dir(far.join("data"))
        .unwrap()
        .find_map(|folder| std::fs::read_dir(folder.unwrap().path()).unwrap().next())
        .unwrap();
    let pack = pack.unwrap().path();
    std::fs::remove_file(&pack).unwrap();
    std::fs::write(&pack, "rotten").unwrap();
    let said = texts(&world.run_bare(&[&start[..], &["check", "--read-data"]].concat()));
    assert!(said.contains("rror"), "{said}");
}
