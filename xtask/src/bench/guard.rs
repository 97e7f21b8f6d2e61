//! `cargo xtask bench guard`: counts the instructions of small fixed work and compares them with what is
//! written down, so that a change that makes work slower is seen without measuring seconds.
//!
//! valgrind counts them. It models a processor with AVX2 and without AVX-512, SHA-NI and VAES, on every
//! machine that has at least that; so what is chosen at run time is another form of the inner loops than
//! the one that runs outside, and the counts are alike on different machines. What they show is whether
//! more work is done, not how long it takes.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

use super::generate::{DATA_SETS, Scale};
use crate::tools::find_on_path;
use crate::{process, workspace};

/// The data: some hundred files of the source tree.
const SCALE: Scale = Scale(0.02);
/// What is written down, from the top folder on.
const FIGURES: &str = "xtask/instructions.toml";
/// Work that is counted: what it is called, and the arguments of the program.
const WORK: &[(&str, &[&str])] = &[
    ("initial", &["backup", "data"]),
    ("unchanged", &["backup", "data"]),
    ("restore", &["restore", "latest", "--target", "restored"]),
    ("check", &["check", "--read-data"]),
];
/// How a program that is counted is called in what is written down.
const PROFILES: [&str; 2] = ["release", "debug"];

/// What is written down.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
struct Figures {
    /// How far above the figure a count may be, in per cent.
    tolerance_percent: f64,
    /// Millions of instructions by kind of work.
    release: BTreeMap<String, f64>,
    /// The same for the program as tests build it.
    debug: BTreeMap<String, f64>,
}

/// The task. `--debug` counts the program as tests build it; `--update` writes the counts down;
/// `--built` takes the program as it is there.
pub fn run(arguments: &[String]) -> Result<(), String> {
    let mut profile = PROFILES[0];
    let (mut is_update, mut is_built) = (false, false);
    for argument in arguments {
        match argument.as_str() {
            "--debug" => profile = PROFILES[1],
            "--update" => is_update = true,
            "--built" => is_built = true,
            other => {
                return Err(format!(
                    "`{other}` is not understood: --debug, --built, --update"
                ));
            }
        }
    }
    let mut build = process::cargo(&["build", "--package", "outlast-cli"]);
    if profile == PROFILES[0] {
        build.arg("--release");
    }
    if !is_built {
        process::show(build)?;
    }
    let program = workspace::root()
        .join("target")
        .join(profile)
        .join("outlast");
    let counts = count(&program)?;
    let path = workspace::root().join(FIGURES);
    let text = fs::read_to_string(&path).unwrap_or_default();
    let mut figures: Figures =
        toml::from_str(&text).map_err(|error| format!("{FIGURES}: {error}"))?;
    let kept = match profile {
        "debug" => &mut figures.debug,
        _ => &mut figures.release,
    };
    if is_update {
        *kept = counts;
        fs::write(&path, figures.text()).map_err(|error| format!("{FIGURES}: {error}"))?;
        println!("written: {FIGURES}");
        return Ok(());
    }
    let (report, is_fine) = compare(&counts, kept, figures.tolerance_percent);
    println!("{report}");
    if is_fine {
        return Ok(());
    }
    let option = if profile == "debug" { " --debug" } else { "" };
    Err(format!(
        "more instructions than {FIGURES} allows; if that is meant to be, say why in the commit and run \
         `cargo xtask bench guard{option} --update`"
    ))
}

/// The report, and whether every count is within its bound.
fn compare(
    counts: &BTreeMap<String, f64>,
    kept: &BTreeMap<String, f64>,
    tolerance_percent: f64,
) -> (String, bool) {
    let mut report = String::new();
    let mut is_fine = true;
    for (work, count) in counts {
        let Some(figure) = kept.get(work) else {
            is_fine = false;
            let _ = writeln!(
                report,
                "{work}: {count:.1} million instructions, and nothing written down"
            );
            continue;
        };
        let change = (count / figure.max(0.001) - 1.0) * 100.0;
        let verdict = if change > tolerance_percent {
            is_fine = false;
            "TOO MANY"
        } else if change < -tolerance_percent {
            "fewer: worth writing down with --update"
        } else {
            "as before"
        };
        let _ = writeln!(
            report,
            "{work}: {count:.1} million instructions, {figure:.1} are written down: {change:+.1} %, {verdict}"
        );
    }
    (report, is_fine)
}

impl Figures {
    fn text(&self) -> String {
        let mut text = format!(
            "# Millions of instructions of fixed work, counted by valgrind: `cargo xtask bench guard`.\n\
             # `--update` writes what is counted now; `--debug` is the program as tests build it.\n\
             tolerance_percent = {:.1}\n",
            self.tolerance_percent
        );
        for (name, counts) in PROFILES.iter().zip([&self.release, &self.debug]) {
            let _ = writeln!(text, "\n[{name}]");
            for (work, count) in counts {
                let _ = writeln!(text, "{work} = {count:.1}");
            }
        }
        text
    }
}

/// Does all work once and counts, in millions.
fn count(program: &Path) -> Result<BTreeMap<String, f64>, String> {
    let valgrind = find_on_path("valgrind").ok_or("valgrind is not installed")?;
    let folder = workspace::root().join("target/bench/guard");
    super::remove(&folder)?;
    let set = &DATA_SETS[0];
    let data = folder.join("data");
    (set.write)(&data, SCALE)?;
    let own = |mut command: Command| {
        command.current_dir(&folder);
        command.env("RESTIC_REPOSITORY", "repository");
        command
            .env("RESTIC_PASSWORD_FILE", "password")
            .env("HOME", &folder);
        command
    };
    // A password of people would cost more to derive a key from than all of the work, by a measure of time.
    let init = process::command(program, &["init", "--generate-password"]);
    process::capture(own(init))?;
    let mut counts = BTreeMap::new();
    for (work, arguments) in WORK {
        let options = ["--tool=callgrind", "--callgrind-out-file=/dev/null"];
        let mut command = process::command(&valgrind, &options);
        command
            .arg("--log-file=counted")
            .arg(program)
            .args(*arguments);
        command.args(["--quiet", "--no-cache"]);
        process::capture(own(command))?;
        counts.insert((*work).to_string(), counted(&folder.join("counted"))?);
    }
    super::remove(&folder)?;
    Ok(counts)
}

/// Millions of instructions, out of what valgrind wrote.
fn counted(path: &PathBuf) -> Result<f64, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    millions(&text).ok_or_else(|| format!("valgrind counted nothing:\n{text}"))
}

fn millions(text: &str) -> Option<f64> {
    let line = text.lines().find(|line| line.contains("Collected :"))?;
    let count: f64 = line.split_whitespace().last()?.parse().ok()?;
    Some(count / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(pairs: &[(&str, f64)]) -> BTreeMap<String, f64> {
        let own = |(name, count): &(&str, f64)| ((*name).to_string(), *count);
        pairs.iter().map(own).collect()
    }

    #[test]
    fn more_than_the_tolerance_is_refused_and_less_is_welcome() {
        let kept = counts(&[("check", 100.0), ("initial", 200.0)]);
        let judge = |check, initial| {
            let now = counts(&[("check", check), ("initial", initial)]);
            compare(&now, &kept, 5.0)
        };
        assert!(judge(104.9, 195.0).1);
        assert!(!judge(105.1, 200.0).1);
        let (report, is_fine) = judge(80.0, 220.0);
        assert!(!is_fine);
        assert!(
            report.contains(
                "check: 80.0 million instructions, 100.0 are written down: -20.0 %, fewer"
            )
        );
        assert!(report.contains("+10.0 %, TOO MANY"));
        assert!(!compare(&counts(&[("restore", 1.0)]), &kept, 5.0).1);
    }

    #[test]
    fn figures_are_read_as_they_are_written() {
        let figures = Figures {
            tolerance_percent: 8.0,
            release: counts(&[("check", 12.5)]),
            debug: BTreeMap::new(),
        };
        let read: Figures = toml::from_str(&figures.text()).expect("it is read");
        assert_eq!(read, figures);
        let said = "==1== Events    : Ir\n==1== Collected : 2308313224\n";
        assert_eq!(millions(said), Some(2308.313224));
        assert_eq!(millions("nothing"), None);
    }
}
