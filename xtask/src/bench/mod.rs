//! `cargo xtask bench`: outlast beside restic, rustic and `cp -a`, on generated data.
//!
//! All programs run with their defaults on the same data, one after the other, on whatever disk the
//! target folder is on. Absolute times say little about another machine; the ratios say more.

mod generate;
mod measure;
mod programs;
mod several;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use generate::{DATA_SETS, DataSet, Scale};
use measure::Cost;
use programs::{PHASES, Phase, Places, Program};

use crate::{process, workspace};

/// Runs of which the best counts, unless somebody says otherwise.
const REPEATS_DEFAULT: usize = 1;

/// The task.
pub fn run(arguments: &[String]) -> Result<(), String> {
    if arguments.first().is_some_and(|first| first == "vault") {
        return run_vault(arguments.get(1));
    }
    if arguments.first().is_some_and(|first| first == "several") {
        let is_small = arguments.get(1).is_some_and(|second| second == "--small");
        return several::run(if is_small { Scale::Small } else { Scale::Full });
    }
    if arguments.first().is_some_and(|first| first == "kernels") {
        let rates = ["run", "--release", "--package", "outlast-format"];
        let rates = [&rates[..], &["--example", "rates"]].concat();
        return process::show(process::cargo(&rates));
    }
    let mut scale = Scale::Full;
    let mut repeats = REPEATS_DEFAULT;
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "--small" => scale = Scale::Small,
            "--repeat" => {
                repeats = rest
                    .next()
                    .and_then(|text| text.parse().ok())
                    .filter(|count| *count > 0)
                    .ok_or("--repeat needs a number")?;
            }
            other => return Err(format!("`{other}` is not understood")),
        }
    }
    let programs = programs::found()?;
    let folder = workspace::root().join("target/bench");
    println!("wall seconds (CPU seconds, peak MiB), and the ratio of wall time to outlast's");
    for set in DATA_SETS {
        let data = data_of(&folder, set, scale)?;
        compare(set, &data, &folder, &programs, repeats)?;
    }
    Ok(())
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

/// Makes the data if it is not there yet.
fn data_of(folder: &Path, set: &DataSet, scale: Scale) -> Result<PathBuf, String> {
    let name = format!("{} {scale:?}", set.name)
        .replace(' ', "-")
        .to_lowercase();
    let data = folder.join("data").join(&name);
    if !data.exists() {
        let half = folder.join("data").join(format!("{name}.new"));
        remove(&half)?;
        (set.write)(&half, scale)?;
        fs::rename(&half, &data).map_err(|error| format!("{}: {error}", data.display()))?;
    }
    Ok(data)
}

/// Measures all programs on one set and prints a row for each phase.
fn compare(
    set: &DataSet,
    data: &Path,
    folder: &Path,
    programs: &[Program],
    repeats: usize,
) -> Result<(), String> {
    let mut columns = Vec::new();
    for program in programs {
        let mut best: Option<Run> = None;
        for _ in 0..repeats {
            let run = measure_one(program, data, &folder.join("run"))?;
            best = Some(match best {
                Some(best) => best.least(&run),
                None => run,
            });
        }
        columns.extend(best);
    }
    println!("\n{}, {}", set.name, size_text(data)?);
    let mut header = format!("{:<10}", "");
    for program in programs {
        header.push_str(&format!("{:<32}", program.name));
    }
    println!("{}", header.trim_end());
    for (row, phase) in PHASES.iter().enumerate() {
        let ours = columns.first().and_then(|run| run.costs[row]);
        let mut line = format!("{:<10}", phase.name());
        for run in &columns {
            line.push_str(&format!("{:<32}", cell(run.costs[row], ours)));
        }
        println!("{}", line.trim_end());
    }
    let mut line = format!("{:<10}", "kept");
    for run in &columns {
        let mib = run.kept_bytes as f64 / f64::from(1 << 20);
        line.push_str(&format!("{:<32}", format!("{mib:.1} MiB")));
    }
    println!("{}", line.trim_end());
    Ok(())
}

fn cell(cost: Option<Cost>, ours: Option<Cost>) -> String {
    let Some(cost) = cost else {
        return "-".to_string();
    };
    let ratio = ours.map_or(1.0, |ours| cost.wall_seconds / ours.wall_seconds.max(0.001));
    format!(
        "{:.2} ({:.2}, {})  x{ratio:.2}",
        cost.wall_seconds, cost.cpu_seconds, cost.memory_mib
    )
}

/// What one program took, phase by phase.
struct Run {
    costs: Vec<Option<Cost>>,
    kept_bytes: u64,
}

impl Run {
    fn least(&self, other: &Run) -> Run {
        let pairs = self.costs.iter().zip(&other.costs);
        Run {
            costs: pairs
                .map(|(one, other)| Some((*one)?.least((*other)?)))
                .collect(),
            kept_bytes: self.kept_bytes.min(other.kept_bytes),
        }
    }
}

/// Runs one program through all phases in a fresh folder, and compares what it restored.
fn measure_one(program: &Program, data: &Path, folder: &Path) -> Result<Run, String> {
    remove(folder)?;
    fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let places = Places {
        data: data.to_path_buf(),
        repository: folder.join("repository"),
        restored: folder.join("restored"),
        cache: folder.join("cache"),
    };
    if let Some(command) = program.prepare(&places) {
        measure::run(command)?;
    }
    let mut costs = Vec::new();
    for phase in PHASES {
        let cost = match program.phase(*phase, &places) {
            Some(command) => Some(measure::run(command)?),
            None => None,
        };
        costs.push(cost);
        if *phase == Phase::Restore {
            let mut command = process::command("diff", &["--recursive", "--brief"]);
            command.arg(data).arg(program.restored_data(&places));
            process::capture(command).map_err(|problem| {
                format!("{} restored something else: {problem}", program.name)
            })?;
        }
    }
    let kept_bytes = bytes_below(&places.repository)?;
    remove(folder)?;
    Ok(Run { costs, kept_bytes })
}

fn size_text(folder: &Path) -> Result<String, String> {
    let mib = bytes_below(folder)? >> 20;
    Ok(format!("{mib} MiB"))
}

fn bytes_below(folder: &Path) -> Result<u64, String> {
    let explain = |error| format!("{}: {error}", folder.display());
    let mut sum = 0;
    for entry in fs::read_dir(folder).map_err(explain)? {
        let entry = entry.map_err(explain)?;
        let metadata = entry.metadata().map_err(explain)?;
        sum += if metadata.is_dir() {
            bytes_below(&entry.path())?
        } else {
            metadata.len()
        };
    }
    Ok(sum)
}

fn remove(folder: &Path) -> Result<(), String> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(format!("{}: {error}", folder.display()))
        }
        _ => Ok(()),
    }
}
