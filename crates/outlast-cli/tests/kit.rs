//! The recovery kit: printed, typed again with mistakes, split, and followed to the letter.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that cannot be set up has failed"
)]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use support::kit::{assert_restored, commands, filled, follow, lines, make, succeeds};
use support::{OUTLAST, PASSWORD, World, texts, tools};

#[test]
fn a_kit_outlives_a_change_of_the_password_and_brings_everything_back() {
    let world = filled();
    let text = make(&world, &["--note", "call Ada"]).pop().unwrap();
    assert!(text.contains("call Ada"));
    assert!(text.contains("worth as much as the backups"));
    assert!(!text.contains(PASSWORD), "the kit has a key of its own");
    world.write("new", "another password");
    world.outlast(&["key", "passwd", "--new-password-file", "new"]);

    let clean = World::new();
    clean.write("kit.txt", lines(&text).join("\n"));
    let said = succeeds(&clean, &["kit", "--check", "kit.txt"]);
    assert!(
        said.contains("the kit is good: all 1 copies open"),
        "{said}"
    );
    let said = succeeds(&clean, &["recover", "--kit", "kit.txt"]);
    assert!(
        said.contains("documents") && said.contains("at repository"),
        "{said}"
    );
    succeeds(
        &clean,
        &["recover", "--kit", "kit.txt", "latest", "--target", "out"],
    );
    assert_restored(&world, &clean.join("out"));
    // The whole page does as well, as does standard input.
    clean.write("page.txt", &text);
    succeeds(&clean, &["kit", "--check", "page.txt"]);
    let mut command = clean.bare_command(OUTLAST);
    let page = fs::File::open(clean.join("page.txt")).unwrap();
    let output = command
        .args(["kit", "--check", "-"])
        .stdin(page)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", texts(&output));
    // What is needed by hand.
    succeeds(
        &clean,
        &["recover", "--kit", "kit.txt", "--password-to", "pw"],
    );
    let repository = world.join("repository");
    let repository = repository.to_str().unwrap();
    succeeds(&clean, &["-r", repository, "-p", "pw", "snapshots"]);
    let mode = fs::metadata(clean.join("pw")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    clean.ends_with(&["recover", "--kit", "kit.txt", "latest"], 1);
    let said = clean.ends_with(
        &["recover", "--kit", "kit.txt", "abcdef12", "--target", "x"],
        1,
    );
    assert!(said.contains("no copy has the snapshot"), "{said}");
}

#[test]
fn the_printed_commands_work_as_they_stand_with_stock_restic() {
    let world = filled();
    let own = make(&world, &[]).pop().unwrap();
    let existing = make(&world, &["--existing-password"]).pop().unwrap();
    assert!(existing.contains(PASSWORD));
    for restic in [tools::restic_014(), tools::restic_019()]
        .into_iter()
        .flatten()
    {
        for text in [&own, &existing] {
            let clean = World::new();
            let said = follow(&clean, &restic, &commands(text));
            assert!(said.contains("documents"), "{said}");
            assert_restored(&world, &clean.join("restored-C1"));
        }
    }
}

#[test]
fn each_mistake_is_named_with_its_line() {
    let world = filled();
    let text = make(&world, &[]).pop().unwrap();
    let good = lines(&text);
    let check = |typed: &[String], code: i32| {
        world.write("typed", typed.join("\n"));
        world.ends_with(&["kit", "--check", "typed"], code)
    };
    let sloppy: Vec<String> = good
        .iter()
        .map(|line| {
            line.to_lowercase()
                .replace('0', "o")
                .replace('1', "l")
                .replace(' ', "")
        })
        .collect();
    check(&sloppy, 0);
    let mut wrong = good.clone();
    let at = wrong[1].find(':').unwrap() + 2;
    let other = if wrong[1].as_bytes()[at] == b'7' {
        "8"
    } else {
        "7"
    };
    wrong[1].replace_range(at..=at, other);
    let said = check(&wrong, 1);
    assert!(
        said.contains("line K-2 is mistyped, probably in its group 1"),
        "{said}"
    );
    let said = check(&good[1..], 1);
    assert!(said.contains("line K-1 is missing"), "{said}");
    let mut short = good.clone();
    short[0].truncate(20);
    let said = check(&short, 1);
    assert!(said.contains("line K-1 is too short"), "{said}");
    let said = check(&["hello".to_owned()], 1);
    assert!(said.contains("no line of a kit"), "{said}");
    // A kit whose key is good and whose copy is not says which.
    let mut wrong = good.clone();
    let last = wrong.len() - 1;
    wrong[last] = wrong[last].replace("  ", "  X");
    let said = check(&wrong, 1);
    assert!(said.contains("line C1-"), "{said}");
    let copy = world.join("repository");
    let copy = copy.to_str().unwrap();
    succeeds(
        &world,
        &[
            "recover", "--kit", "typed", "--copy", copy, "latest", "--target", "out",
        ],
    );
    // Lines of two kits together.
    let other = lines(&make(&world, &[]).pop().unwrap());
    let mixed: Vec<String> = good.iter().chain(&other).cloned().collect();
    let said = check(&mixed, 1);
    assert!(said.contains("different kits"), "{said}");
    // The kit of another repository whose copy went where this one was.
    let foreign = filled();
    let theirs = make(&foreign, &[]).pop().unwrap();
    fs::remove_dir_all(world.join("repository")).unwrap();
    fs::rename(foreign.join("repository"), world.join("repository")).unwrap();
    let said = check(&good, 1);
    assert!(said.contains("the kit's key does not open it"), "{said}");
    let said = check(&lines(&theirs), 1);
    assert!(said.contains("could not be reached"), "{said}");
}

#[test]
fn two_of_three_sheets_are_enough_and_a_wrong_one_is_named() {
    let world = filled();
    let sheets = make(&world, &["--split", "2/3"]);
    let others = make(&world, &["--split", "2/3"]);
    assert_eq!(sheets.len(), 3);
    for (name, text) in ["a", "b", "c"].iter().zip(&sheets) {
        world.write(name, lines(text).join("\n"));
    }
    world.write("foreign", lines(&others[1]).join("\n"));
    for (first, second) in [("a", "b"), ("b", "c"), ("c", "a")] {
        succeeds(&world, &["kit", "--check", first, second]);
        let both = format!(
            "{}\n{}",
            lines(&sheets[0]).join("\n"),
            lines(&sheets[2]).join("\n")
        );
        world.write("both", both);
        succeeds(&world, &["kit", "--check", "both"]);
    }
    let said = world.ends_with(&["kit", "--check", "b"], 1);
    assert!(said.contains("find 1 more"), "{said}");
    let said = world.ends_with(&["kit", "--check", "a", "foreign"], 1);
    assert!(
        said.contains("foreign: ") && said.contains("of another kit"),
        "{said}"
    );
    let target = ["latest", "--target", "out"];
    let mut arguments = vec!["recover", "--kit", "a", "--kit", "foreign", "--kit", "c"];
    arguments.extend(target);
    let said = succeeds(&world, &arguments);
    assert!(said.contains("S2 is of another kit"), "{said}");
    assert_restored(&world, &world.join("out"));
    world.ends_with(&["kit", "--existing-password", "--split", "4/3"], 1);
    // The program on the sheet makes the same password without outlast.
    let program: Vec<&str> = sheets[0]
        .lines()
        .filter_map(|line| line.strip_prefix('|'))
        .map(|line| line.strip_prefix(' ').unwrap_or(line))
        .collect();
    world.write("join.py", program.join("\n") + "\n");
    let Ok(python) = Command::new("python3").arg("--version").output() else {
        eprintln!("SKIPPED: there is no python3");
        return;
    };
    assert!(python.status.success());
    let typed = fs::File::open(world.join("both")).unwrap();
    let joined = Command::new("python3")
        .arg(world.join("join.py"))
        .stdin(typed)
        .output()
        .unwrap();
    succeeds(&world, &["recover", "--kit", "both", "--password-to", "pw"]);
    let password = fs::read(world.join("pw")).unwrap();
    assert_eq!(joined.stdout, password, "{}", texts(&joined));
}
