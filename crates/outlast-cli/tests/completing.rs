//! What is shown while a custodian that was just added gets everything from before.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that cannot be set up has failed"
)]

mod support;

use std::process::{Command, Output};

use support::{OUTLAST, World, json_lines, texts};

/// A repository on the machine itself with two backups, and a disk that has nothing yet.
fn world() -> World {
    let world = World::new();
    world.write("documents/first", vec![1; 3_000_000]);
    world.succeeds(&["protect", "documents"]);
    let location = format!("disk:{}", world.join("usb").display());
    world.succeeds(&["custodian", "add", &location]);
    world.write("documents/second", "second");
    world
}

/// Runs outlast on a terminal; none where no program makes one.
fn on_a_terminal(world: &World, arguments: &str) -> Option<Output> {
    if Command::new("script").arg("--version").output().is_err() {
        let missing = "`script` of bsdutils or util-linux is not installed";
        assert!(
            std::env::var_os("OUTLAST_TEST_REQUIRE_TOOLS").is_none(),
            "{missing}"
        );
        eprintln!("SKIPPED: {missing}");
        return None;
    }
    let line = format!("stty cols 160; exec {OUTLAST} {arguments}");
    let mut command = world.bare_command("script");
    let command = command.args(["-q", "-e", "-c", &line, "typescript"]);
    Some(command.env("TERM", "xterm").output().unwrap())
}

#[test]
fn a_terminal_sees_how_far_the_first_copy_is() {
    let world = world();
    let Some(output) = on_a_terminal(&world, "protect") else {
        return;
    };
    let said = texts(&output);
    assert!(output.status.success(), "{said}");
    assert!(said.contains(" objects to usb"), "{said}");
    assert!(said.contains("left "), "{said}");
    assert!(said.contains("usb has everything now: "), "{said}");

    // The same when it is asked for.
    std::fs::remove_dir_all(world.join("usb/snapshots")).unwrap();
    std::fs::remove_dir_all(world.join("usb/data")).unwrap();
    let output = on_a_terminal(&world, "sync").unwrap();
    let said = texts(&output);
    assert!(said.contains(" objects to usb"), "{said}");
}

#[test]
fn programs_get_only_their_messages() {
    let world = world();
    let known = ["summary", "status", "custodian", "receipt", "verdict"];
    for line in json_lines(&world.succeeds(&["--json", "protect"])) {
        let kind = line["message_type"].as_str().unwrap();
        assert!(known.contains(&kind), "{line}");
    }
    // Nobody looks at a bar where there is no terminal, and nothing at all is said if asked for.
    world.write("documents/third", "third");
    let location = format!("disk:{}", world.join("second").display());
    world.succeeds(&["custodian", "add", &location]);
    let output = world.run_bare(&["protect", "--quiet"]);
    assert!(output.status.success(), "{}", texts(&output));
    assert!(!texts(&output).contains("objects"), "{}", texts(&output));
}
