//! What was measured, and what is concluded from it.

use std::collections::BTreeMap;

use super::limit::{Amounts, Steps, System};
use crate::bench::commands::Phase;
use crate::bench::measure::Cost;
use crate::bench::programs::{Kind, Program};

/// A limit of fewer seconds is less than starting a program takes, and nothing is compared with it.
const LIMIT_MIN: f64 = 0.05;

/// One set of data.
#[derive(Debug, Clone, Default)]
pub struct SetResult {
    /// Its name.
    pub name: &'static str,
    /// The programs, ours first.
    pub programs: Vec<Program>,
    /// All rounds, by phase and by number of the program.
    pub costs: BTreeMap<(Phase, usize), Vec<Cost>>,
    /// Bytes of each program's repository after the three backups.
    pub kept_bytes: BTreeMap<usize, u64>,
    /// Files, bytes and what ours takes.
    pub amounts: Amounts,
    /// Rates of the steps.
    pub steps: Steps,
    /// Rates of the system.
    pub system: System,
    /// What went wrong with a program.
    pub failures: Vec<String>,
}

/// Ours beside others, in one phase.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Ratios {
    /// Our wall time over restic's.
    pub to_restic: Option<f64>,
    /// Over that of the best peer, with its number.
    pub to_best: Option<(f64, usize)>,
    /// Over that of `cp -a`.
    pub to_copy: Option<f64>,
    /// Over the limit.
    pub to_limit: Option<f64>,
    /// Our memory over restic's.
    pub memory_to_restic: Option<f64>,
}

/// The one in the middle, or the mean of the two there.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let upper = *sorted.get(middle)?;
    if sorted.len() % 2 == 1 {
        return Some(upper);
    }
    Some((sorted[middle - 1] + upper) / 2.0)
}

/// The medians of each figure.
fn median_cost(costs: &[Cost]) -> Option<Cost> {
    let of = |figure: fn(&Cost) -> f64| median(&costs.iter().map(figure).collect::<Vec<_>>());
    Some(Cost {
        wall_seconds: of(|cost| cost.wall_seconds)?,
        cpu_seconds: of(|cost| cost.cpu_seconds)?,
        memory_mib: of(|cost| cost.memory_mib as f64)? as u64,
    })
}

impl SetResult {
    /// The medians of a program in a phase.
    pub fn cost(&self, phase: Phase, program: usize) -> Option<Cost> {
        median_cost(self.costs.get(&(phase, program))?)
    }

    /// Whether anything was measured of a phase.
    pub fn has(&self, phase: Phase) -> bool {
        self.costs.keys().any(|(measured, _)| *measured == phase)
    }

    /// How far apart the rounds of one program and phase were at most, beside their median.
    pub fn spread(&self) -> Option<f64> {
        let spread = |costs: &Vec<Cost>| {
            let walls: Vec<f64> = costs.iter().map(|cost| cost.wall_seconds).collect();
            let highest = walls.iter().copied().fold(f64::MIN, f64::max);
            let lowest = walls.iter().copied().fold(f64::MAX, f64::min);
            Some((highest - lowest) / median(&walls)?.max(0.001))
        };
        let spreads: Vec<f64> = self.costs.values().filter_map(spread).collect();
        median(&spreads)
    }

    /// The least seconds of a phase.
    pub fn limit(&self, phase: Phase) -> f64 {
        super::limit::limit(phase, self.amounts, self.steps, self.system)
    }

    /// Ours beside the others.
    pub fn ratios(&self, phase: Phase) -> Ratios {
        let Some(ours) = self.cost(phase, 0) else {
            return Ratios::default();
        };
        let others = || {
            let programs = self.programs.iter().enumerate().skip(1);
            programs.filter_map(|(number, program)| {
                Some((number, program.kind, self.cost(phase, number)?))
            })
        };
        let of_kind = |wanted| {
            others()
                .find(|(_, kind, _)| *kind == wanted)
                .map(|(.., cost)| cost)
        };
        let over = |cost: Cost| ours.wall_seconds / cost.wall_seconds.max(0.000_1);
        let best = others()
            .filter(|(_, kind, _)| *kind != Kind::Copy)
            .min_by(|(.., one), (.., other)| one.wall_seconds.total_cmp(&other.wall_seconds));
        let restic = of_kind(Kind::Restic);
        Ratios {
            to_restic: restic.map(over),
            to_best: best.map(|(number, _, cost)| (over(cost), number)),
            to_copy: of_kind(Kind::Copy).map(over),
            to_limit: Some(self.limit(phase))
                .filter(|limit| *limit >= LIMIT_MIN)
                .map(|limit| ours.wall_seconds / limit),
            memory_to_restic: restic
                .map(|cost| ours.memory_mib as f64 / cost.memory_mib.max(1) as f64),
        }
    }

    /// Our repository beside restic's.
    pub fn size_to_restic(&self) -> Option<f64> {
        let is_restic = |program: &Program| program.kind == Kind::Restic;
        let restic = self.programs.iter().position(is_restic)?;
        let (ours, theirs) = (self.kept_bytes.get(&0)?, self.kept_bytes.get(&restic)?);
        Some(*ours as f64 / *theirs as f64)
    }
}

/// Two peers and ours, for tests of what is made of results.
#[cfg(test)]
pub fn example() -> SetResult {
    let program = |name, kind| Program {
        name,
        kind,
        path: "/bin/true".into(),
        version: "1.2".to_string(),
    };
    let mut result = SetResult {
        name: "some <set>",
        programs: vec![
            program("outlast", Kind::Outlast),
            program("restic", Kind::Restic),
            program("borg", Kind::Borg),
            program("cp -a", Kind::Copy),
        ],
        ..SetResult::default()
    };
    result.system.cores = 2.0;
    result.system.look = 0.5;
    result.amounts.files = 2.0;
    for (program, walls) in [
        [2.0, 1.0, 9.0],
        [8.0, 8.0, 8.0],
        [4.0, 4.0, 4.0],
        [1.0, 1.0, 1.0],
    ]
    .into_iter()
    .enumerate()
    {
        let cost = |wall_seconds| Cost {
            wall_seconds,
            cpu_seconds: 1.5,
            memory_mib: 100 * (program as u64 + 1),
        };
        let costs = walls.map(cost).to_vec();
        result.costs.insert((Phase::Unchanged, program), costs);
        result
            .kept_bytes
            .insert(program, 1000 + 10 * program as u64);
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_are_in_the_middle() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0]), Some(3.0));
        assert_eq!(median(&[9.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 9.0]), Some(3.0));
    }

    #[test]
    fn ratios_are_to_medians_and_the_copy_is_no_peer() {
        let result = example();
        let ratios = result.ratios(Phase::Unchanged);
        assert_eq!(ratios.to_restic, Some(0.25));
        assert_eq!(ratios.to_best, Some((0.5, 2)));
        assert_eq!(ratios.to_copy, Some(2.0));
        assert_eq!(ratios.to_limit, Some(4.0));
        assert_eq!(ratios.memory_to_restic, Some(0.5));
        assert_eq!(result.ratios(Phase::Prune), Ratios::default());
        assert!(result.size_to_restic().is_some_and(|ratio| ratio < 1.0));
        assert_eq!(result.spread(), Some(0.0));
    }
}
