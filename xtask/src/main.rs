//! Development tasks of this repository, started as `cargo xtask <task>`.
//!
//! `ci` is the whole test run; `tidy` checks what the compiler does not; `tools` fetches the real
//! restic, rustic and rest-server that judge us; `fuzz` feeds junk to every decoder; `bench`
//! measures us beside others; `docs` checks the documents against the program.

#![allow(clippy::print_stdout, clippy::print_stderr)]

mod bench;
mod ci;
mod docs;
mod fuzz;
mod process;
mod tidy;
mod tools;
mod workspace;

use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask <task>

  ci                everything: formatting, lints, tidy, documentation, fuzzing, all tests
  tidy              crate edges, dependency closures, licences, source habits, links
  tools             put restic 0.14 and 0.19, rest-server and rustic into target/tools
  fuzz [SECONDS]    feed generated input to every decoder (default 20 seconds in all)
  fuzz --coverage [SECONDS]
                    the same with libFuzzer and coverage feedback; needs a C++ compiler
  sim [OPTIONS]     10,000 attackers against what survivability predicts; --help says more
  docs              check the documents against the program
  bench-compare [OPTIONS]
                    outlast beside restic, rustic, borg, bupstash, kopia and cp; --help says more
  bench guard       instructions of small fixed work beside what is written down
  bench vault       a vault beside rest-server and the disk
  bench several     a backup to three vaults beside the same to one
  bench index       time and memory of loading an index of ten million blobs
  bench kernels     how fast one core finds boundaries of chunks, and hashes
";

/// Runs the simulation: ten thousand worlds take some minutes.
fn sim(options: &[String]) -> Result<(), String> {
    let mut arguments = vec!["run", "--package", "outlast-sim", "--"];
    arguments.extend(options.iter().map(String::as_str));
    process::show(process::cargo(&arguments))
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let rest = arguments.get(1..).unwrap_or_default();
    let outcome = match arguments.first().map(String::as_str) {
        Some("ci") => ci::run(),
        Some("tidy") => tidy::run(),
        Some("tools") => tools::run(),
        Some("fuzz") => fuzz::run(rest),
        Some("sim") => sim(rest),
        Some("docs") => docs::run(),
        Some("bench-compare") => bench::run_compare(rest),
        Some("bench") => bench::run(rest),
        _ => {
            eprint!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}
