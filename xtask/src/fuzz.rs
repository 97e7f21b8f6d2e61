//! `cargo xtask fuzz`: generated input for every decoder.
//!
//! The short run mutates known inputs and needs nothing but the stable compiler. The run with
//! coverage builds the libFuzzer targets, without sanitizers, so that stable will do there too;
//! with a nightly compiler and cargo-fuzz, `cargo fuzz run TARGET` works as everywhere.

use std::fs;
use std::process::Command;

use crate::{process, workspace};

const SECONDS_DEFAULT: u64 = 20;

/// Memory that a run may map, in KiB. A decoder that believes a length aborts here.
const MEMORY_KIB_MAX: u64 = 3 * 1024 * 1024;

/// The same limit for libFuzzer, which looks at what is in use, in MiB.
const MEMORY_MIB_MAX: u64 = 1024;

/// What cargo-fuzz passes to the compiler for coverage, all of it accepted by stable.
const COVERAGE_FLAGS: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares \
    -Ccodegen-units=1 --cfg fuzzing";

/// The task.
pub fn run(arguments: &[String]) -> Result<(), String> {
    let mut with_coverage = false;
    let mut seconds = SECONDS_DEFAULT;
    for argument in arguments {
        if argument == "--coverage" {
            with_coverage = true;
        } else {
            seconds = argument
                .parse()
                .map_err(|_| format!("`{argument}` is no number of seconds"))?;
        }
    }
    if with_coverage {
        coverage(seconds)
    } else {
        short(seconds)
    }
}

/// The short run. First it proves, with a planted fault, that it would notice one.
pub fn short(seconds: u64) -> Result<(), String> {
    build_runner()?;
    if process::capture(runner(&["--seconds", "1", "planted"])).is_ok() {
        return Err("the planted fault was not noticed, so nothing else would be".to_string());
    }
    process::show(runner(&["--seconds", &seconds.to_string()]))
}

/// Gives the workspace in `fuzz` the versions of the main one, and so what is compiled there.
fn share_lock_file() -> Result<(), String> {
    let from = workspace::root().join("Cargo.lock");
    let to = workspace::root().join("fuzz/Cargo.lock");
    fs::copy(&from, &to)
        .map(|_| ())
        .map_err(|error| format!("{} to {}: {error}", from.display(), to.display()))
}

fn build_runner() -> Result<(), String> {
    share_lock_file()?;
    let mut command = fuzz_cargo(&["build", "--no-default-features", "--bin", "fuzz-short"]);
    // What the main workspace has compiled is used again.
    command
        .arg("--target-dir")
        .arg(workspace::root().join("target"));
    process::show(command)
}

/// The short runner, under a limit of memory.
fn runner(arguments: &[&str]) -> Command {
    let program = workspace::root().join("target/debug/fuzz-short");
    let script = format!("ulimit -v {MEMORY_KIB_MAX}; exec \"$0\" \"$@\"");
    let mut command = process::command("bash", &["-c", &script]);
    command.arg(program).args(arguments);
    command
}

/// Cargo for the workspace in `fuzz`.
fn fuzz_cargo(arguments: &[&str]) -> Command {
    let (task, rest) = arguments.split_first().unwrap_or((&"build", &[]));
    let mut command = process::cargo(&[task, "--manifest-path", "fuzz/Cargo.toml"]);
    command.args(rest);
    command
}

/// Runs every libFuzzer target for its share of the time.
fn coverage(seconds: u64) -> Result<(), String> {
    let fuzz = workspace::root().join("fuzz");
    let host = process::host_platform()?;
    share_lock_file()?;
    // A target platform that is named keeps the flags away from build scripts.
    let mut build = fuzz_cargo(&["build", "--release", "--target", &host]);
    build.env("RUSTFLAGS", COVERAGE_FLAGS);
    let targets = targets()?;
    for target in &targets {
        // The short runner has no libFuzzer, which defines what the flags call.
        build.args(["--bin", target]);
    }
    process::show(build)?;

    build_runner()?;
    let mut write = runner(&["--write-corpus"]);
    write.arg(fuzz.join("corpus"));
    process::show(write)?;

    let programs = fuzz.join("target").join(&host).join("release");
    let each = (seconds / targets.len() as u64).max(1);
    let mut failed = Vec::new();
    for target in &targets {
        let artifacts = fuzz.join("artifacts").join(target);
        fs::create_dir_all(&artifacts)
            .map_err(|error| format!("{}: {error}", artifacts.display()))?;
        let mut command = process::command(programs.join(target), &[]);
        command
            .arg(fuzz.join("corpus").join(target))
            .arg(format!("-max_total_time={each}"))
            .arg(format!("-rss_limit_mb={MEMORY_MIB_MAX}"))
            .arg(format!("-artifact_prefix={}/", artifacts.display()))
            .args(["-timeout=10", "-print_final_stats=1", "-verbosity=0"]);
        if process::show(command).is_err() {
            failed.push(target.as_str());
        }
    }
    if failed.is_empty() {
        Ok(())
    } else {
        Err(format!("these decoders failed: {}", failed.join(", ")))
    }
}

/// The names of the libFuzzer targets, but for the one that must fail.
fn targets() -> Result<Vec<String>, String> {
    let folder = workspace::root().join("fuzz/fuzz_targets");
    let explain = |error| format!("{}: {error}", folder.display());
    let mut names = Vec::new();
    for entry in fs::read_dir(&folder).map_err(explain)? {
        let name = entry.map_err(explain)?.file_name();
        let name = name.to_string_lossy();
        if let Some(name) = name.strip_suffix(".rs").filter(|name| *name != "planted") {
            names.push(name.to_string());
        }
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_runs_in_both_ways() {
        let path = workspace::root().join("fuzz/src/lib.rs");
        let library = fs::read_to_string(&path).expect("the library is there");
        let manifest = fs::read_to_string(workspace::root().join("fuzz/Cargo.toml"))
            .expect("the manifest is there");
        let mut listed: Vec<String> = library
            .lines()
            .filter_map(|line| line.strip_prefix("    target(\""))
            .filter_map(|line| line.split('"').next())
            .map(str::to_string)
            .collect();
        listed.sort();
        assert_eq!(listed, targets().expect("the targets are there"));
        for name in listed {
            assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
        }
    }
}
