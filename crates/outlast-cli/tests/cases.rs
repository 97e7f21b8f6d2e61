//! The program as people meet it: commands and what they print, as plain text in `tests/cases`.
//!
//! Each file is one session in a home of its own. A line `$ COMMAND` runs a command in `sh`; the
//! lines after it say what must come: `> ` standard output, `! ` standard error, `= ` the exit code
//! where it is not 0. `[..]` stands for any text within a line, and a line that is `...` for any
//! lines. What is not mentioned must not come. `# ` begins a remark.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

mod support;

use std::path::Path;

use support::{OUTLAST, World};

#[derive(Default)]
struct Step {
    line: usize,
    command: String,
    stdout: Vec<String>,
    stderr: Vec<String>,
    code: i32,
}

fn steps(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if let Some(command) = line.strip_prefix("$ ") {
            steps.push(Step {
                line: number + 1,
                command: command.to_owned(),
                ..Step::default()
            });
            continue;
        }
        let Some(step) = steps.last_mut() else {
            assert!(line.is_empty() || line.starts_with('#'), "{line:?}");
            continue;
        };
        match line.split_at(line.len().min(1)) {
            (">", rest) => step
                .stdout
                .push(rest.strip_prefix(' ').unwrap_or(rest).to_owned()),
            ("!", rest) => step
                .stderr
                .push(rest.strip_prefix(' ').unwrap_or(rest).to_owned()),
            ("=", rest) => step.code = rest.trim().parse().unwrap(),
            ("" | "#", _) => {}
            _ => panic!("line {}: {line:?} is none of $ > ! = #", number + 1),
        }
    }
    steps
}

/// Whether a line is what the pattern wants.
fn line_matches(pattern: &str, line: &str) -> bool {
    match pattern.split_once("[..]") {
        None => pattern == line,
        Some((start, rest)) => {
            let Some(after) = line.strip_prefix(start) else {
                return false;
            };
            let mut ends = (0..=after.len()).filter(|at| after.is_char_boundary(*at));
            ends.any(|at| line_matches(rest, &after[at..]))
        }
    }
}

fn matches(patterns: &[String], lines: &[&str]) -> bool {
    match patterns.split_first() {
        None => lines.is_empty(),
        Some((pattern, rest)) if pattern == "..." => {
            (0..=lines.len()).any(|skipped| matches(rest, &lines[skipped..]))
        }
        Some((pattern, rest)) => lines
            .split_first()
            .is_some_and(|(line, others)| line_matches(pattern, line) && matches(rest, others)),
    }
}

fn run(file: &Path) {
    let world = World::new();
    let programs = Path::new(OUTLAST).parent().unwrap();
    let path = std::env::var("PATH").unwrap_or_default();
    for step in steps(&std::fs::read_to_string(file).unwrap()) {
        let mut command = world.bare_command("sh");
        command
            .env("PATH", format!("{}:{path}", programs.display()))
            .args(["-c", &step.command]);
        let output = command.output().unwrap();
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        let good = matches(&step.stdout, &stdout.lines().collect::<Vec<_>>())
            && matches(&step.stderr, &stderr.lines().collect::<Vec<_>>())
            && output.status.code() == Some(step.code);
        assert!(
            good,
            "{}:{}: {}\nwanted: {} with\n{}\n{}\ngot: {:?} with\n{stdout}\n{stderr}",
            file.display(),
            step.line,
            step.command,
            step.code,
            step.stdout.join("\n"),
            step.stderr.join("\n"),
            output.status.code()
        );
    }
}

#[test]
fn every_case_goes_as_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert!(!files.is_empty());
    for file in files {
        run(&file);
    }
}

#[test]
fn a_case_can_fail() {
    let owned = |list: &[&str]| {
        list.iter()
            .map(|text| (*text).to_owned())
            .collect::<Vec<_>>()
    };
    assert!(matches(&owned(&["a[..]c", "..."]), &["abc", "x", "y"]));
    assert!(matches(&owned(&["...", "z"]), &["z"]));
    assert!(!matches(&owned(&["a[..]c"]), &["abd"]));
    assert!(!matches(&owned(&["a"]), &["a", "b"]));
    assert!(!matches(&owned(&["a", "b"]), &["a"]));
    assert!(!matches(&[], &["unexpected"]));
}
