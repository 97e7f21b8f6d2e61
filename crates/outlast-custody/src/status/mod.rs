//! Whether a snapshot is safe: computed from what was verified, at the moment it is asked for.
//!
//! A custodian counts for a snapshot if a receipt signed by its pinned identity, or evidence that the
//! policy lets count, covers exactly the objects that the snapshot needs, now. The snapshot is safe as
//! long as the custodians that count satisfy the policy.

mod facts;
mod logs;
mod standing;

use serde::Serialize;

pub use facts::{Facts, Wanted};
pub use logs::NoFork;
pub use standing::{Counts, Proof, Standing, Why};

use crate::policy::{Custodians, Policy};
use standing::Judge;

/// How one snapshot stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SnapshotStatus {
    /// How each custodian stands to it, in the order of the policy.
    pub standings: Vec<Standing>,
    /// The verdict.
    pub verdict: SafetyVerdict,
}

/// Whether a snapshot is safe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "verdict")]
pub enum SafetyVerdict {
    /// Enough parties have vouched for it.
    Safe {
        /// If nothing more is done, it is not safe any more from then on, seconds since 1970: holds
        /// end, or what was shown is too old.
        until: u64,
        /// Held until then by the custodians that suffice, if what they showed is renewed in time.
        held_until: u64,
        /// All custodians that count, by their numbers in the policy.
        by: Vec<usize>,
    },
    /// Not yet.
    NotYet {
        /// Custodians that count, by number.
        by: Vec<usize>,
        /// The fewest custodians, by number, that would have to count as well. Empty where the policy
        /// cannot be satisfied by the custodians that there are.
        missing: Vec<usize>,
    },
}

impl SafetyVerdict {
    /// Whether it is safe.
    pub fn is_safe(&self) -> bool {
        matches!(self, Self::Safe { .. })
    }
}

/// How each of the wanted snapshots stands now, seconds since 1970.
pub fn status(policy: &Policy, facts: &Facts, wanted: &[Wanted], now: u64) -> Vec<SnapshotStatus> {
    let judge = Judge::new(policy, facts, now);
    let status = |wanted: &Wanted| {
        let standings: Vec<_> = (0..policy.custodians().len())
            .map(|number| judge.standing(number, wanted))
            .collect();
        let verdict = verdict(policy, &standings);
        SnapshotStatus { standings, verdict }
    };
    wanted.iter().map(status).collect()
}

fn verdict(policy: &Policy, standings: &[Standing]) -> SafetyVerdict {
    let counting: Vec<_> = standings
        .iter()
        .enumerate()
        .filter_map(|(number, standing)| Some((number, standing.counts()?)))
        .collect();
    let bits = counting
        .iter()
        .fold(0, |bits, (number, _)| bits | 1 << number);
    let by: Vec<_> = counting.iter().map(|(number, _)| *number).collect();
    let of = |quorum: &Custodians, value: fn(&Counts) -> u64| {
        let members = counting
            .iter()
            .filter(|(number, _)| quorum >> number & 1 == 1);
        members.map(|(_, counts)| value(counts)).min().unwrap_or(0)
    };
    let satisfied = policy
        .quorums()
        .iter()
        .filter(|quorum| *quorum & !bits == 0);
    let best = satisfied.max_by_key(|quorum| {
        (
            of(quorum, |counts| counts.until),
            of(quorum, |counts| counts.held_until),
        )
    });
    if let Some(quorum) = best {
        return SafetyVerdict::Safe {
            until: of(quorum, |counts| counts.until),
            held_until: of(quorum, |counts| counts.held_until),
            by,
        };
    }
    let nearest = policy.quorums().iter().map(|quorum| quorum & !bits);
    let nearest = nearest
        .min_by_key(|missing| missing.count_ones())
        .unwrap_or(0);
    let missing = (0..standings.len()).filter(|number| nearest >> number & 1 == 1);
    SafetyVerdict::NotYet {
        by,
        missing: missing.collect(),
    }
}

#[cfg(test)]
mod tests;
