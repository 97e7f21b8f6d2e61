//! Output that nobody reads to its end, and commands that say nothing.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

mod support;

use std::io::Read;
use std::process::Stdio;

use support::{OUTLAST, World};

/// A world with a snapshot of many files.
fn filled() -> World {
    let world = World::new();
    for number in 0..3000 {
        let folder = number / 100;
        world.write(
            &format!("data/{folder}/a-file-with-a-long-name-{number}"),
            "x",
        );
    }
    world.write("data/large", vec![b'x'; 4_000_000]);
    world.outlast(&["init"]);
    world.outlast(&["backup", "data"]);
    world
}

/// Runs outlast, reads a few bytes of what it prints and goes away; gives its code and what it said.
fn read_a_little(world: &World, arguments: &[&str]) -> (Option<i32>, String) {
    let mut child = world
        .command(OUTLAST)
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = child.stdout.take().unwrap();
    output.read_exact(&mut [0; 10]).unwrap();
    drop(output);
    let done = child.wait_with_output().unwrap();
    (
        done.status.code(),
        String::from_utf8_lossy(&done.stderr).into_owned(),
    )
}

#[test]
fn a_reader_that_goes_away_ends_the_run_quietly() {
    let world = filled();
    for arguments in [
        &["ls", "latest"][..],
        &["ls", "--json", "latest"],
        &["dump", "latest", "/"],
        &["dump", "latest", "/data/large"],
        &["find", "a-file*"],
        &["list", "blobs"],
    ] {
        let (code, said) = read_a_little(&world, arguments);
        assert_eq!((code, said.as_str()), (Some(0), ""), "{arguments:?}");
    }
    // Nothing is left behind, locks least of all.
    assert_eq!(world.outlast(&["list", "locks"]), "");
}

#[test]
fn a_backup_goes_on_without_an_audience() {
    let world = filled();
    world.write("data/new", "new");
    let (code, said) = read_a_little(&world, &["backup", "-vv", "data"]);
    assert_eq!((code, said.as_str()), (Some(0), ""));
    assert_eq!(world.outlast(&["list", "snapshots"]).lines().count(), 2);
}

#[test]
fn a_silent_command_is_ended_when_only_outlast_is_told_to_stop() {
    let world = World::new();
    world.outlast(&["init"]);
    // It tells its number and is silent from then on.
    let script = "echo $$ > number.new; mv number.new number; exec sleep 1000";
    let arguments = ["backup", "--stdin-from-command", "--", "sh", "-c", script];
    let mut child = world
        .command(OUTLAST)
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let number = loop {
        match std::fs::read_to_string(world.join("number")) {
            Ok(number) => break number.trim().to_owned(),
            Err(_) => std::thread::yield_now(),
        }
        assert!(child.try_wait().unwrap().is_none());
    };
    world.succeeding("kill", &["-TERM", &child.id().to_string()]);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let alive = world.run("kill", &["-0", &number]);
    assert!(!alive.status.success(), "the command still runs");
    assert_eq!(world.outlast(&["list", "snapshots"]), "");
}
