//! A short form of the simulation, and the proof that it finds what is planted.

#![allow(clippy::unwrap_used)]

use outlast_sim::{Bug, Failure, Tally, command, retention, run};

/// Worlds that are run each time.
const SEEDS: u64 = 300;
/// Within so many seeds each planted bug is found.
const BUG_SEEDS: u64 = 100;

#[test]
fn no_attacker_does_more_than_predicted() {
    let mut tally = Tally::default();
    for seed in 0..SEEDS {
        match run(seed, None) {
            Ok(of) => tally.add(&of),
            Err(failure) => panic!("seed {seed}: {failure}\n  {}", command(seed, None)),
        }
    }
    assert_eq!(tally.worlds, SEEDS);
    // Worlds in which nothing is safe, or nothing is attacked, would prove nothing.
    assert!(tally.safe * 4 > tally.verdicts, "{tally:?}");
    assert!(tally.destroyed * 10 > tally.copies, "{tally:?}");
}

#[test]
fn every_planted_bug_is_found() {
    for bug in Bug::ALL {
        let outcomes = (0..BUG_SEEDS).map(|seed| run(seed, Some(bug)));
        let found = outcomes.filter_map(Result::err).next();
        assert!(
            matches!(found, Some(Failure::Broken { .. })),
            "{bug} is not found: {found:?}"
        );
        assert_eq!(bug.name().parse(), Ok(bug));
    }
}

#[test]
fn the_same_seed_is_the_same_world() {
    for seed in 0..5 {
        let one = format!("{:?}", run(seed, None));
        assert_eq!(one, format!("{:?}", run(seed, None)));
    }
    let failure = (0..BUG_SEEDS).find_map(|seed| {
        run(seed, Some(Bug::StaleEvidence))
            .err()
            .map(|of| (seed, of))
    });
    let (seed, failure) = failure.unwrap();
    assert_eq!(run(seed, Some(Bug::StaleEvidence)).unwrap_err(), failure);
    let expected = format!("cargo run -p outlast-sim -- --seed {seed} --bug stale-evidence");
    assert_eq!(command(seed, Some(Bug::StaleEvidence)), expected);
}

#[test]
fn retention_of_what_is_in_use_never_lapses_and_the_rest_comes_free() {
    for seed in 0..2 {
        let released = retention::live(seed, 400, None).unwrap();
        // Deduplication keeps packs in use for much longer than any hold.
        assert!(released.used_days_max > 60, "{released:?}");
        assert!(released.at_vault > 100, "{released:?}");
        assert!(released.at_bucket > 100, "{released:?}");
        assert!(released.objects > released.at_vault, "{released:?}");
    }
    let forgotten = retention::live(0, 400, Some(Bug::ForgetfulRenewer));
    assert!(
        matches!(forgotten, Err(Failure::Broken { .. })),
        "{forgotten:?}"
    );
}
