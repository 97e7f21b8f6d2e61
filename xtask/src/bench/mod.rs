//! `cargo xtask bench`: what is measured of outlast, alone and beside others, on generated data.
//!
//! Absolute times say little about another machine; ratios say more, and counts of instructions most.

mod change;
mod commands;
mod compare;
mod generate;
mod guard;
mod measure;
mod programs;
mod several;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

pub use compare::run as run_compare;
use generate::{DataSet, Scale};

use crate::{process, workspace};

/// Where data lies, by the form of its generator: older data is not taken for it.
const DATA: &str = "data2";

/// The task.
pub fn run(arguments: &[String]) -> Result<(), String> {
    let rest = arguments.get(1..).unwrap_or_default();
    match arguments.first().map(String::as_str) {
        Some("vault") => run_vault(rest.first()),
        Some("several") => {
            let is_small = rest.first().is_some_and(|second| second == "--small");
            several::run(if is_small { Scale::SMALL } else { Scale::FULL }).map(|_| ())
        }
        Some("kernels") => {
            let rates = ["run", "--release", "--package", "outlast-format"];
            let rates = [&rates[..], &["--example", "rates"]].concat();
            process::show(process::cargo(&rates))
        }
        Some("index") => run_index(rest.first()),
        Some("guard") => guard::run(rest),
        _ => compare::run(arguments),
    }
}

/// The guard over the program as tests build it, which building all tests has made.
pub fn guard() -> Result<(), String> {
    guard::run(&["--debug", "--built"].map(str::to_string))
}

/// Measures a vault: builds it and what loads it, and runs that in the target folder. The length of the
/// long log can be given.
fn run_vault(entries: Option<&String>) -> Result<(), String> {
    let build = |what: &[&str]| {
        let mut command = process::cargo(&["build", "--release", "--package", "outlast-vault"]);
        command.args(what);
        process::show(command)
    };
    build(&["--bin", "outlast-vault"])?;
    build(&["--example", "load"])?;
    let root = workspace::root();
    let mut load = Command::new(root.join("target/release/examples/load"));
    load.arg(root.join("target/bench/vault")).args(entries);
    load.env(
        "OUTLAST_TEST_REST_SERVER",
        workspace::tools_folder().join("rest-server"),
    );
    process::show(load)
}

/// Blobs of the index that is measured, unless somebody says otherwise.
const INDEX_BLOBS: &str = "10000000";

/// Measures loading a large index: makes one in the target folder and loads it. How many blobs it names
/// can be given.
fn run_index(blobs: Option<&String>) -> Result<(), String> {
    let mut build = process::cargo(&["build", "--release", "--package", "outlast-repo"]);
    build.args(["--example", "measure_index"]);
    process::show(build)?;
    let folder = workspace::root().join("target/bench/index");
    remove(&folder)?;
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let program = workspace::root().join("target/release/examples/measure_index");
    let mut make = process::command(&program, &["make"]);
    make.arg(&folder)
        .arg(blobs.map_or(INDEX_BLOBS, String::as_str));
    process::show(make)?;
    let mut load = process::command(&program, &["load"]);
    load.arg(&folder);
    process::show(load)?;
    remove(&folder)
}

/// Makes the data if it is not there yet.
fn data_of(folder: &Path, set: &DataSet, scale: Scale) -> Result<PathBuf, String> {
    let name = format!("{} {}", set.name, scale.label())
        .replace(' ', "-")
        .to_lowercase();
    let data = folder.join(DATA).join(&name);
    if !data.exists() {
        let half = folder.join(DATA).join(format!("{name}.new"));
        remove(&half)?;
        (set.write)(&half, scale)?;
        fs::rename(&half, &data).map_err(|error| format!("{}: {error}", data.display()))?;
    }
    Ok(data)
}

fn remove(folder: &Path) -> Result<(), String> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(format!("{}: {error}", folder.display()))
        }
        _ => Ok(()),
    }
}
