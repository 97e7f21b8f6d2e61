//! `cargo xtask ci`: everything that must hold before a change is taken.
//!
//! The steps that need nothing but the compiler run while rustic is being built. The tests come
//! last, so that their numbers are the last thing shown.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Instant;

use crate::{bench, fuzz, process, tidy, tools};

/// How long the decoders are fed with generated input, in seconds.
const FUZZ_SECONDS: u64 = 20;

/// What the test programs reported, added up.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Counts {
    passed: u64,
    failed: u64,
    skipped: u64,
}

/// The task. Goes on after a failed step, to report everything in one run.
pub fn run() -> Result<(), String> {
    let start = Instant::now();
    let mut failures = Vec::new();
    let mut step = |name: &str, outcome: Result<(), String>| match outcome {
        Ok(()) => println!("== {name}: fine, after {} s", start.elapsed().as_secs()),
        Err(problem) => {
            println!("== {name}: FAILED\n{problem}");
            failures.push(name.to_string());
        }
    };

    let rustic = thread::spawn(tools::provide_rustic);
    step("tools", tools::provide_quick());
    step("format", cargo(&["fmt", "--all", "--check"]));
    step("tidy", tidy::run());
    step("lints", lints());
    step("build", cargo(&["test", "--workspace", "--no-run"]));
    step("documentation", documentation());
    step("decoders", fuzz::short(FUZZ_SECONDS));
    step("instructions", bench::guard());
    let mut judged = Counts::default();
    step("judges", run_tests(&mut judges(), &mut judged));
    let rustic = rustic
        .join()
        .unwrap_or_else(|_| Err("the thread that built rustic panicked".to_string()));
    step("rustic", rustic);

    let mut counts = judged;
    step("tests", tests(&mut counts));

    let summary = format!(
        "{} passed, {} failed, {} skipped",
        counts.passed, counts.failed, counts.skipped
    );
    if failures.is_empty() {
        println!(
            "== everything is fine, after {} s",
            start.elapsed().as_secs()
        );
        println!("{summary}");
        Ok(())
    } else {
        println!("{summary}");
        Err(format!("these steps failed: {}", failures.join(", ")))
    }
}

fn cargo(arguments: &[&str]) -> Result<(), String> {
    process::show(process::cargo(arguments))
}

fn lints() -> Result<(), String> {
    cargo(&[
        "clippy",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ])
}

fn documentation() -> Result<(), String> {
    let mut command = process::cargo(&["doc", "--workspace", "--no-deps", "--quiet"]);
    command.env("RUSTDOCFLAGS", "-D warnings");
    process::show(command)
}

/// Runs all tests. A judge that is missing is a failure here, not something to pass over.
fn tests(counts: &mut Counts) -> Result<(), String> {
    let mut command = process::cargo(&["test", "--workspace", "--no-fail-fast"]);
    command.env("OUTLAST_TEST_REQUIRE_TOOLS", "1");
    run_tests(&mut command, counts)
}

/// The tests against independent implementations, which are a workspace of their own.
fn judges() -> Command {
    process::cargo(&[
        "test",
        "--manifest-path",
        "judges/Cargo.toml",
        "--target-dir",
        "target/judges",
        "--locked",
    ])
}

fn run_tests(command: &mut Command, counts: &mut Counts) -> Result<(), String> {
    command.stdout(Stdio::piped());
    let text = process::describe(command);
    eprintln!("+ {text}");
    let mut child = command
        .spawn()
        .map_err(|error| format!("{text}: {error}"))?;
    if let Some(output) = child.stdout.take() {
        for line in BufReader::new(output).split(b'\n') {
            let line = line.map_err(|error| format!("{text}: {error}"))?;
            let line = String::from_utf8_lossy(&line);
            println!("{line}");
            counts.add(&line);
        }
    }
    let status = child.wait().map_err(|error| format!("{text}: {error}"))?;
    if !status.success() {
        return Err(format!("{text}: {status}"));
    }
    if counts.passed == 0 {
        return Err("no test ran".to_string());
    }
    Ok(())
}

impl Counts {
    /// Adds a line such as `test result: ok. 12 passed; 0 failed; 1 ignored; …`.
    fn add(&mut self, line: &str) {
        let Some(rest) = line.strip_prefix("test result: ") else {
            return;
        };
        for part in rest.split([';', '.']) {
            let mut words = part.split_whitespace();
            let number = words.next().and_then(|word| word.parse::<u64>().ok());
            if let (Some(number), Some(what)) = (number, words.next()) {
                match what {
                    "passed" => self.passed += number,
                    "failed" => self.failed += number,
                    "ignored" => self.skipped += number,
                    _ => {}
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_added_up() {
        let mut counts = Counts::default();
        counts.add("running 3 tests");
        counts.add("test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 1.20s");
        counts.add("test result: FAILED. 2 passed; 3 failed; 0 ignored; 0 measured; 7 filtered out; finished in 0.00s");
        let expected = Counts {
            passed: 14,
            failed: 3,
            skipped: 1,
        };
        assert_eq!(counts, expected);
    }
}
