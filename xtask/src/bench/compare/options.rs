//! What `bench-compare` is asked for.

use std::path::PathBuf;

use crate::bench::commands::{PHASES, Phase};
use crate::bench::generate::{DATA_SETS, DataSet, Scale};
use crate::workspace;

/// Rounds, unless somebody says otherwise.
const ROUNDS: usize = 3;

/// What is shown for `--help`.
pub const HELP: &str = "\
usage: cargo xtask bench-compare [OPTIONS]

  --scale NUMBER    how much data; 1 (default) is what a small server has
  --small           --scale 0.04, one round: seconds
  --rounds NUMBER   rounds, of which the medians count (default 3)
  --sets LIST       of: source tree, hosting mix, VM image, random (beginnings do)
  --peers LIST      of: restic, rustic, borg, bupstash, kopia, cp
  --phases LIST     of: initial, unchanged, 1 % changed, restore, check, prune
  --several         also a backup to three vaults beside the same to one
  --write FOLDER    where performance.md and performance.svg go (default target/bench;
                    `docs` for the documentation)
  --guard           instead: count instructions and compare with what is written down
  --guard --update  write down what is counted now
";

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Options {
    /// How much data.
    pub scale: Scale,
    /// How often.
    pub rounds: usize,
    /// Beginnings of the names of sets; all, if there are none.
    pub sets: Vec<String>,
    /// Beginnings of the names of programs; all, if there are none.
    pub peers: Vec<String>,
    /// Beginnings of the names of phases; all, if there are none.
    pub phases: Vec<String>,
    /// Whether vaults are measured as well.
    pub several: bool,
    /// Where the table and the plot go.
    pub folder: PathBuf,
}

impl Options {
    /// Reads the command line.
    pub fn parse(arguments: &[String]) -> Result<Self, String> {
        let mut options = Options {
            scale: Scale::FULL,
            rounds: ROUNDS,
            sets: Vec::new(),
            peers: Vec::new(),
            phases: Vec::new(),
            several: false,
            folder: workspace::root().join("target/bench"),
        };
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            let mut value = || rest.next().ok_or(format!("{argument} needs a value"));
            match argument.as_str() {
                "--small" => (options.scale, options.rounds) = (Scale::SMALL, 1),
                "--scale" => options.scale = Scale(positive(value()?)?),
                "--rounds" => options.rounds = positive(value()?)? as usize,
                "--sets" => options.sets = list(value()?),
                "--peers" => options.peers = list(value()?),
                "--phases" => options.phases = list(value()?),
                "--several" => options.several = true,
                "--write" => options.folder = workspace::root().join(value()?),
                other => return Err(format!("`{other}` is not understood\n\n{HELP}")),
            }
        }
        if options.wanted_sets().is_empty() || options.wanted_phases().is_empty() {
            return Err(format!("nothing is left to measure\n\n{HELP}"));
        }
        Ok(options)
    }

    /// The sets that are asked for.
    pub fn wanted_sets(&self) -> Vec<&'static DataSet> {
        let wanted = |set: &&DataSet| is_named(&self.sets, set.name);
        DATA_SETS.iter().filter(wanted).collect()
    }

    /// The phases that are asked for.
    pub fn wanted_phases(&self) -> Vec<Phase> {
        let wanted = |phase: &&Phase| is_named(&self.phases, phase.name());
        PHASES.iter().filter(wanted).copied().collect()
    }
}

fn is_named(beginnings: &[String], name: &str) -> bool {
    beginnings.is_empty()
        || beginnings
            .iter()
            .any(|beginning| name.starts_with(beginning))
}

fn list(text: &str) -> Vec<String> {
    let names = text.split(',').map(str::trim);
    names
        .filter(|name| !name.is_empty())
        .map(str::to_string)
        .collect()
}

fn positive(text: &str) -> Result<f64, String> {
    let number: Option<f64> = text.parse().ok();
    number
        .filter(|number| *number > 0.0 && number.is_finite())
        .ok_or_else(|| format!("`{text}` is not a number above zero"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Options, String> {
        let words: Vec<String> = text.split_whitespace().map(str::to_string).collect();
        Options::parse(&words)
    }

    #[test]
    fn options_choose() {
        let options =
            parse("--scale 0.3 --sets source,VM --peers restic --phases initial,1 --rounds 5");
        let options = options.expect("it is understood");
        assert_eq!((options.scale, options.rounds), (Scale(0.3), 5));
        let sets: Vec<_> = options.wanted_sets().iter().map(|set| set.name).collect();
        assert_eq!(sets, ["source tree", "VM image"]);
        assert_eq!(options.wanted_phases(), [Phase::Initial, Phase::Changed]);
        assert_eq!(parse("").expect("all").wanted_phases(), PHASES);
        assert!(parse("--scale 0").is_err());
        assert!(parse("--scale").is_err());
        assert!(parse("--sets nothing").is_err());
        assert!(parse("--quickly").is_err());
    }
}
