//! Whether what is said to be safe is: every verdict is compared with the truth.

use std::collections::BTreeSet;

use outlast_custody::{CustodianText, Policy, PolicyText, SafetyVerdict, Wanted, status};

use crate::bug::Bug;
use crate::client::Snapshot;
use crate::failure::Failure;
use crate::oracle;
use crate::plan::Kind;
use crate::world::World;

/// Newest snapshots that are judged each time.
const NEWEST: usize = 4;
/// Age of evidence that a planted bug lets count, days.
const ANY_AGE_DAYS: u32 = 100_000;

/// What was said.
#[derive(Debug, Clone, Copy, Default)]
pub struct Said {
    /// Verdicts.
    pub verdicts: u64,
    /// Those that said safe.
    pub safe: u64,
}

/// Judges the newest snapshots and one old one, and compares.
///
/// # Errors
/// [`Failure::Broken`] if something counts that must not.
pub fn check(world: &mut World) -> Result<Said, Failure> {
    let snapshots = world.client.snapshots();
    let from = snapshots.len().saturating_sub(NEWEST);
    let mut chosen: Vec<Snapshot> = snapshots[from..].to_vec();
    let old = world.random.place(from.max(1));
    chosen.extend(world.client.snapshots()[..from].get(old).cloned());
    let policy = policy(world)?;
    let mut said = Said::default();
    for snapshot in chosen {
        let (is_safe, by) = judge(world, &policy, &snapshot)?;
        said.verdicts += 1;
        said.safe += u64::from(is_safe);
        for number in &by {
            check_custodian(world, *number, &snapshot)?;
        }
        let names = by.iter().map(|number| world.name(*number).to_owned());
        let names: BTreeSet<String> = names.collect();
        let should = oracle::is_satisfied(world.policy().text(), &names);
        if is_safe != should {
            let detail = format!("safe: {is_safe}, should be: {should}, by {names:?}");
            return Err(Failure::broken(
                "safe is what the policy says, each party once",
                detail,
            ));
        }
    }
    Ok(said)
}

/// The policy by which verdicts are made: the true one, but for planted bugs.
fn policy(world: &World) -> Result<Policy, Failure> {
    let mut text: PolicyText = world.policy().text().clone();
    match world.bug {
        Some(Bug::PartyCountedTwice) => {
            for (name, custodian) in &mut text.custodians {
                *custodian = CustodianText {
                    party: name.clone(),
                    ..CustodianText::default()
                };
            }
        }
        Some(Bug::StaleEvidence) => {
            let evidence = &mut text.evidence;
            for reading in [&mut evidence.disk, &mut evidence.directory]
                .into_iter()
                .flatten()
            {
                reading.age_days_max = ANY_AGE_DAYS;
            }
            if let Some(retention) = &mut evidence.retention {
                retention.age_days_max = ANY_AGE_DAYS;
            }
        }
        Some(Bug::WitnessIgnored) => text.cosignatures_min = 0,
        _ => return Ok(world.policy().clone()),
    }
    Policy::parse(text).map_err(Failure::simulation)
}

/// Whether the snapshot is said to be safe, and the custodians that count for it.
fn judge(
    world: &World,
    policy: &Policy,
    snapshot: &Snapshot,
) -> Result<(bool, BTreeSet<usize>), Failure> {
    let mut wanted = vec![snapshot.wanted];
    if world.bug == Some(Bug::AnotherList) {
        let lists = world
            .lists
            .get(&snapshot.wanted.snapshot)
            .into_iter()
            .flatten();
        wanted.extend(lists.map(|list| Wanted {
            list: *list,
            ..snapshot.wanted
        }));
    }
    let mut by = BTreeSet::new();
    let mut is_safe = false;
    for status in status(policy, &world.facts, &wanted, world.now) {
        let counting = status.standings.iter().enumerate();
        by.extend(counting.filter_map(|(number, of)| of.counts().map(|_| number)));
        match status.verdict {
            SafetyVerdict::Safe { until, .. } if until <= world.now => {
                let detail = format!("until {until} at {}", world.now);
                return Err(Failure::broken("safe lasts beyond now", detail));
            }
            verdict => is_safe |= verdict.is_safe(),
        }
    }
    Ok((is_safe, by))
}

/// Whether a custodian that counts has really shown, and really has, what it counts for.
fn check_custodian(world: &World, number: usize, snapshot: &Snapshot) -> Result<(), Failure> {
    let name = world.name(number);
    let id = snapshot.wanted.snapshot.short();
    if world.forked.contains(&number) {
        let detail = format!("{name} counts for {id}");
        return Err(Failure::broken("a log with two pasts never counts", detail));
    }
    let is_proven = world.counted[number].contains(&snapshot.wanted.snapshot);
    if world.policy().text().cosignatures_min > 0 && !is_proven {
        let detail = format!("{name} counts for {id} by a forgery");
        return Err(Failure::broken(
            "what no witness has seen never counts",
            detail,
        ));
    }
    if world.plan.kinds[number] != Kind::Vault {
        let read = world.readings.get(&(number, snapshot.wanted.snapshot));
        let age_max = world.evidence_seconds_max(number);
        let is_fresh = match (read, age_max) {
            (Some(read), Some(age_max)) => read + age_max > world.now,
            _ => false,
        };
        if !is_fresh {
            let detail = format!(
                "{name} counts for {id}, read at {read:?}, now {}",
                world.now
            );
            return Err(Failure::broken("stale evidence never counts", detail));
        }
    }
    // Whoever is in the hands of the attacker may lie; that is why several are asked.
    if !world.lying.contains(&number) && !world.is_whole(number, snapshot) {
        let kind = world.plan.kinds[number];
        let detail = format!("{name} ({kind:?}) counts for {id} and does not have it");
        return Err(Failure::broken("whoever counts has everything", detail));
    }
    Ok(())
}
