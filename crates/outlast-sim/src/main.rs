//! The program: runs seeds, and prints the command that repeats one that fails.

#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use outlast_sim::{Bug, Tally, command, run};

const USAGE: &str = "\
usage: cargo run -p outlast-sim -- [--seed N | --seeds COUNT [--from N]] [--threads N] [--bug NAME]

  --seed N       one world
  --seeds COUNT  so many worlds (10000 unless said otherwise), from seed 0 or --from
  --threads N    so many at a time (2 unless said otherwise)
  --bug NAME     with a planted defect, which should be found
";
/// Failures that are printed.
const SHOWN_FAILURES: usize = 10;

/// What the arguments say.
struct Options {
    from: u64,
    seeds: u64,
    threads: u64,
    bug: Option<Bug>,
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Option<Options>, String> {
    let mut options = Options {
        from: 0,
        seeds: 10_000,
        threads: 2,
        bug: None,
    };
    while let Some(word) = arguments.next() {
        if word == "--help" {
            return Ok(None);
        }
        let value = arguments
            .next()
            .ok_or_else(|| format!("{word} needs a value"))?;
        let number = || {
            value
                .parse::<u64>()
                .map_err(|error| format!("{word}: {error}"))
        };
        match word.as_str() {
            "--seed" => (options.from, options.seeds) = (number()?, 1),
            "--seeds" => options.seeds = number()?,
            "--from" => options.from = number()?,
            "--threads" => options.threads = number()?.max(1),
            "--bug" => options.bug = Some(value.parse::<Bug>().map_err(|error| error.to_string())?),
            _ => return Err(format!("{word} is not known")),
        }
    }
    Ok(Some(options))
}

fn run_all(options: &Options) -> (Tally, Vec<(u64, String)>) {
    let next = AtomicU64::new(options.from);
    let end = options.from.saturating_add(options.seeds);
    let total = Mutex::new((Tally::default(), Vec::new()));
    let work = || {
        let (mut tally, mut failures) = (Tally::default(), Vec::new());
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= end {
                break;
            }
            match run(seed, options.bug) {
                Ok(of) => tally.add(&of),
                Err(failure) => failures.push((seed, failure.to_string())),
            }
        }
        if let Ok(mut total) = total.lock() {
            total.0.add(&tally);
            total.1.append(&mut failures);
        }
    };
    thread::scope(|scope| {
        for _ in 0..options.threads {
            scope.spawn(work);
        }
    });
    let (tally, mut failures) = total.into_inner().unwrap_or_default();
    failures.sort();
    (tally, failures)
}

fn main() -> ExitCode {
    let options = match parse(std::env::args().skip(1)) {
        Ok(Some(options)) => options,
        Ok(None) => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprint!("error: {error}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let (tally, failures) = run_all(&options);
    println!(
        "{} worlds held; {} verdicts, {} of them safe, all true; {} copies attacked, {} destroyed, none \
         that was predicted to survive",
        tally.worlds, tally.verdicts, tally.safe, tally.copies, tally.destroyed
    );
    for (kind, count) in &tally.gloomy {
        println!("too gloomy: {count} copies at {kind} were given up and survived");
    }
    if tally.unread > 0 {
        println!(
            "too gloomy: {} custodians were given up as read and were not",
            tally.unread
        );
    }
    for (seed, failure) in failures.iter().take(SHOWN_FAILURES) {
        println!("seed {seed}: {failure}\n  {}", command(*seed, options.bug));
    }
    if failures.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("{} worlds failed", failures.len());
    ExitCode::FAILURE
}
