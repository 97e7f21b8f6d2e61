//! Feeds every decoder for a few seconds, with the stable compiler and nothing else.
//!
//! `fuzz-short [--seconds N] [--seed N] [TARGET]…` runs; `fuzz-short --replay TARGET FILE` repeats
//! one input; `fuzz-short --write-corpus FOLDER` writes the inputs to begin with for libFuzzer.

use std::fs;
use std::panic;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use outlast_fuzz::{Mutator, PLANTED, TARGETS, Target, seeds};

/// An input that takes longer is reported: decoders must not be slow on purpose.
const DURATION_MAX: Duration = Duration::from_secs(10);

/// Inputs between two looks at the clock.
const BATCH: u64 = 16;

fn main() -> ExitCode {
    match run(std::env::args().skip(1).collect()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Vec<String>) -> Result<(), String> {
    let mut seconds = 20;
    let mut seed = 1;
    let mut chosen = Vec::new();
    let mut rest = arguments.into_iter();
    while let Some(argument) = rest.next() {
        let mut value = || rest.next().ok_or(format!("{argument} needs a value"));
        match argument.as_str() {
            "--seconds" => seconds = number(&value()?)?,
            "--seed" => seed = number(&value()?)?,
            "--write-corpus" => return write_corpus(Path::new(&value()?)),
            "--replay" => {
                let target = find(&value()?)?;
                let path = value()?;
                let input = fs::read(&path).map_err(|error| format!("{path}: {error}"))?;
                return execute(target, &input);
            }
            name => chosen.push(find(name)?),
        }
    }
    if chosen.is_empty() {
        chosen = TARGETS.to_vec();
    }
    let each = Duration::from_secs(seconds) / chosen.len() as u32;
    // A panic is reported once, with its input; the trace of every one would hide that.
    panic::set_hook(Box::new(|_| {}));
    let mut failed = 0;
    for target in chosen {
        failed += usize::from(!feed(target, each, seed));
    }
    match failed {
        0 => Ok(()),
        count => Err(format!("{count} decoders failed")),
    }
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("`{text}` is no number"))
}

fn find(name: &str) -> Result<Target, String> {
    TARGETS
        .iter()
        .chain([&PLANTED])
        .find(|target| target.name == name)
        .copied()
        .ok_or_else(|| format!("there is no target `{name}`"))
}

/// Feeds one target. Returns whether it stood it all.
fn feed(target: Target, duration: Duration, seed: u64) -> bool {
    let start = Instant::now();
    let known = seeds(target.name);
    let mut mutator = Mutator::new(seed, known.clone());
    let mut count: u64 = 0;
    for input in known {
        count += 1;
        if let Err(problem) = execute(target, &input) {
            return report(target, count, &input, &problem);
        }
    }
    while start.elapsed() < duration {
        for _ in 0..BATCH {
            let input = mutator.next_input();
            count += 1;
            if let Err(problem) = execute(target, &input) {
                return report(target, count, &input, &problem);
            }
        }
    }
    println!("{:<12} {count} inputs", target.name);
    true
}

fn execute(target: Target, input: &[u8]) -> Result<(), String> {
    let start = Instant::now();
    panic::catch_unwind(|| (target.body)(input)).map_err(|payload| {
        let text = payload
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| payload.downcast_ref::<&str>().map(ToString::to_string));
        format!("panicked: {}", text.unwrap_or_default())
    })?;
    if start.elapsed() > DURATION_MAX {
        return Err(format!("took {} s", start.elapsed().as_secs()));
    }
    Ok(())
}

fn report(target: Target, count: u64, input: &[u8], problem: &str) -> bool {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("artifacts");
    let path = folder.join(format!("{}-{count}", target.name));
    println!("{:<12} FAILED at input {count}: {problem}", target.name);
    match fs::create_dir_all(&folder).and_then(|()| fs::write(&path, input)) {
        Ok(()) => println!(
            "  to repeat: cargo run --manifest-path fuzz/Cargo.toml --no-default-features \
             --bin fuzz-short -- --replay {} {}",
            target.name,
            path.display()
        ),
        Err(error) => println!("  the input cannot be kept: {}: {error}", path.display()),
    }
    false
}

fn write_corpus(folder: &Path) -> Result<(), String> {
    for target in TARGETS {
        let folder = folder.join(target.name);
        fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        for (index, input) in seeds(target.name).into_iter().enumerate() {
            let path = folder.join(format!("seed-{index}"));
            fs::write(&path, input).map_err(|error| format!("{}: {error}", path.display()))?;
        }
    }
    Ok(())
}
