//! `cargo xtask bench-compare`: outlast beside restic, rustic, borg, bupstash, kopia and `cp -a`.
//!
//! All programs do the same to the same generated data, phase by phase: within a phase one after the
//! other, in an order that turns from round to round, each with a repository of its own on the same disk.
//! What counts is the median of the rounds. In the same run it is measured what each step of the format
//! takes here, from which follows how fast a program could be.

mod limit;
mod options;
mod plot;
mod result;
mod table;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use options::Options;
use result::SetResult;

use super::change::{Changed, files_below, take_half};
use super::commands::{Phase, Places};
use super::generate::DataSet;
use super::measure;
use super::programs::{self, Program};
use crate::{process, workspace};

/// What stands around the part of the document that is measured.
const MARKS: [&str; 2] = ["<!-- measured -->", "<!-- end of what is measured -->"];
/// Steps of a calculation that always takes the same work: it shows whether the machine keeps its pace.
const PACE_STEPS: u64 = 20_000_000;
/// Slowest over fastest pace from which the machine counts as disturbed.
const PACE_NOISY: f64 = 1.15;

/// The task.
pub fn run(arguments: &[String]) -> Result<(), String> {
    if arguments.iter().any(|argument| argument == "--help") {
        print!("{}", options::HELP);
        return Ok(());
    }
    if arguments.first().is_some_and(|first| first == "--guard") {
        return super::guard::run(&arguments[1..]);
    }
    let options = Options::parse(arguments)?;
    let (programs, missing) = programs::found(&options.peers)?;
    let mut paces = Vec::new();
    let mut results = Vec::new();
    for set in options.wanted_sets() {
        let result = Comparison::new(set, &options, &programs)?.measure(&mut paces)?;
        println!("{}", table::ratios(std::slice::from_ref(&result)));
        results.push(result);
    }
    let mut notes = vec![conditions(&options, &programs, &paces)];
    notes.extend(missing.iter().map(|name| {
        format!("**MISSING: {name}.** It was not found on this machine and is not compared.")
    }));
    if options.several {
        notes.push(super::several::run(options.scale)?);
    }
    let text = table::document(&results, &notes);
    println!("{text}");
    write(&options.folder, &text, &plot::svg(&results))
}

/// What somebody has to know who reads the numbers.
fn conditions(options: &Options, programs: &[Program], paces: &[f64]) -> String {
    let versions: Vec<String> = programs
        .iter()
        .map(|program| format!("{} {}", program.name, program.version))
        .collect();
    let fastest = paces.iter().copied().fold(f64::MAX, f64::min);
    let slowest = paces.iter().copied().fold(0.0, f64::max);
    let drift = slowest / fastest.max(1e-9);
    let noise = if drift > PACE_NOISY {
        "**The machine was disturbed**: trust ratios of neighbours only"
    } else {
        "The machine kept its pace"
    };
    format!(
        "Programs: {}. {} cores, data at scale {}, {} rounds, of which the medians: wall seconds (CPU seconds; \
         peak MiB). {noise}; the same calculation took {drift:.2} times as long at worst as at best.",
        versions.join(", "),
        std::thread::available_parallelism().map_or(1, usize::from),
        options.scale.0,
        options.rounds
    )
}

/// Writes the plot, and the table into its place in the document.
fn write(folder: &Path, table: &str, plot: &str) -> Result<(), String> {
    let document = folder.join("performance.md");
    let old = fs::read_to_string(&document).unwrap_or_default();
    let text = put_in_place(&old, table);
    let image = folder.join("performance.svg");
    fs::create_dir_all(folder)
        .and_then(|()| fs::write(&document, text))
        .and_then(|()| fs::write(&image, plot))
        .map_err(|error| format!("{}: {error}", folder.display()))?;
    println!("written: {}, {}", document.display(), image.display());
    Ok(())
}

/// Replaces what stands between the marks, or appends it with marks.
fn put_in_place(document: &str, table: &str) -> String {
    let [begin, end] = MARKS;
    let (before, after) = match document.split_once(begin) {
        Some((before, rest)) => {
            let after = rest.split_once(end).map_or("\n", |(_, after)| after);
            (before, after)
        }
        None => (document, "\n"),
    };
    format!("{before}{begin}\n\n{}\n\n{end}{after}", table.trim())
}

/// All programs on one set.
struct Comparison<'a> {
    options: &'a Options,
    data: PathBuf,
    folder: PathBuf,
    result: SetResult,
    is_out: Vec<bool>,
}

impl<'a> Comparison<'a> {
    fn new(set: &DataSet, options: &'a Options, programs: &[Program]) -> Result<Self, String> {
        let bench = workspace::root().join("target/bench");
        let data = super::data_of(&bench, set, options.scale)?;
        let folder = bench.join("run");
        let files = files_below(&data)?;
        let mut result = SetResult {
            name: set.name,
            programs: programs.to_vec(),
            steps: limit::steps(&data)?,
            system: limit::system(&data, &bench.join("rates"))?,
            ..SetResult::default()
        };
        result.amounts.files = files.len() as f64;
        result.amounts.bytes = files.iter().map(|(_, bytes)| *bytes as f64).sum();
        Ok(Comparison {
            options,
            data,
            folder,
            result,
            is_out: vec![false; programs.len()],
        })
    }

    fn measure(mut self, paces: &mut Vec<f64>) -> Result<SetResult, String> {
        for round in 0..self.options.rounds {
            super::remove(&self.folder)?;
            let outcome = self.round(round, paces);
            super::remove(&self.folder)?;
            outcome?;
        }
        Ok(self.result)
    }

    /// Takes all programs through all phases once.
    fn round(&mut self, round: usize, paces: &mut Vec<f64>) -> Result<(), String> {
        let wanted = self.options.wanted_phases();
        let last = wanted.last().copied().unwrap_or(Phase::Initial);
        self.each(round, "prepare", |this, number| {
            let places = this.places(number);
            fs::create_dir_all(&places.home).map_err(|error| error.to_string())?;
            for command in this.result.programs[number].prepare(&places) {
                measure::run(command)?;
            }
            Ok(())
        })?;
        let mut changed = None;
        for phase in super::commands::PHASES
            .iter()
            .copied()
            .filter(|phase| *phase <= last)
        {
            // Later phases build on the first backup and on the changed one.
            if !wanted.contains(&phase) && !matches!(phase, Phase::Initial | Phase::Changed) {
                continue;
            }
            match phase {
                Phase::Changed => {
                    changed = Some(Changed::apply(&self.data, &self.folder.join("aside"))?)
                }
                Phase::Prune => self.back_up_half(round)?,
                _ => {}
            }
            let outcome = self.each(round, phase.name(), |this, number| {
                paces.push(pace());
                this.one(phase, number, wanted.contains(&phase))
            });
            if outcome.is_err() {
                changed.map_or(Ok(()), Changed::undo)?;
                return outcome;
            }
        }
        changed.map_or(Ok(()), Changed::undo)
    }

    /// Does something with each program that is still in. Ours must not fail; another one that fails is
    /// out, and it is said why.
    fn each(
        &mut self,
        round: usize,
        what: &str,
        mut work: impl FnMut(&mut Self, usize) -> Result<(), String>,
    ) -> Result<(), String> {
        let count = self.result.programs.len();
        for turn in 0..count {
            let number = (turn + round) % count;
            if self.is_out[number] {
                continue;
            }
            if let Err(problem) = work(self, number) {
                let program = &self.result.programs[number];
                let line = format!("{}, {what}: {problem}", program.name);
                eprintln!("FAILED: {line}");
                if number == 0 {
                    return Err(line);
                }
                self.result.failures.push(line);
                self.is_out[number] = true;
            }
        }
        Ok(())
    }

    fn one(&mut self, phase: Phase, number: usize, is_counted: bool) -> Result<(), String> {
        let places = self.places(number);
        let program = &self.result.programs[number];
        let Some(command) = program.phase(phase, &places) else {
            return Ok(());
        };
        if phase == Phase::Restore && program.wants_target() {
            fs::create_dir_all(&places.restored).map_err(|error| error.to_string())?;
        }
        // What others left to write must not slow this one down.
        process::capture(Command::new("sync"))?;
        let cost = measure::run(command)?;
        eprintln!(
            "{}, {}: {} {:.2} s",
            self.result.name,
            phase.name(),
            program.name,
            cost.wall_seconds
        );
        if phase == Phase::Restore {
            self.compare_restored(number, &places)?;
        }
        if is_counted {
            self.result
                .costs
                .entry((phase, number))
                .or_default()
                .push(cost);
        }
        if matches!(phase, Phase::Initial | Phase::Changed) && places.repository.is_dir() {
            let kept: u64 = files_below(&places.repository)?
                .iter()
                .map(|(_, bytes)| bytes)
                .sum();
            self.result.kept_bytes.insert(number, kept);
            if number == 0 && phase == Phase::Initial {
                self.result.amounts.stored = kept as f64;
            }
        }
        Ok(())
    }

    /// What was restored is what was backed up; only the copy was made before the change.
    fn compare_restored(&self, number: usize, places: &Places) -> Result<(), String> {
        let program = &self.result.programs[number];
        let original = match program.kind {
            programs::Kind::Copy => &places.repository,
            _ => &places.data,
        };
        let mut command = process::command("diff", &["--recursive", "--brief"]);
        command.arg(original).arg(program.restored_data(places));
        process::capture(command)
            .map_err(|problem| format!("restored something else: {problem}"))?;
        super::remove(&places.restored)
    }

    fn back_up_half(&mut self, round: usize) -> Result<(), String> {
        take_half(&self.data, &self.folder.join("half"))?;
        self.each(round, "backup of a half", |this, number| {
            let places = this.places(number);
            let command = this.result.programs[number].back_up_half(&places);
            command.map_or(Ok(()), |command| measure::run(command).map(|_| ()))
        })
    }

    fn places(&self, number: usize) -> Places {
        let own = self.folder.join(number.to_string());
        Places {
            data: self.data.clone(),
            half: self.folder.join("half"),
            repository: own.join("repository"),
            restored: own.join("restored"),
            home: own.join("home"),
        }
    }
}

/// Seconds of a calculation that always takes the same work.
fn pace() -> f64 {
    let began = Instant::now();
    let mut value = 1_u64;
    for step in 0..PACE_STEPS {
        value = std::hint::black_box(value.rotate_left(7) ^ step);
    }
    std::hint::black_box(value);
    began.elapsed().as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_takes_the_place_of_the_last_one() {
        let first = put_in_place("# Words\n", "one\n");
        let [begin, end] = MARKS;
        assert_eq!(first, format!("# Words\n{begin}\n\none\n\n{end}\n"));
        let second = put_in_place(&format!("{first}after\n"), "two");
        assert_eq!(second, format!("# Words\n{begin}\n\ntwo\n\n{end}\nafter\n"));
    }
}
