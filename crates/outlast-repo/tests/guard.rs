//! The forget guard: ordinary histories pass untouched, planted snapshots never cost genuine ones
//! silently.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

mod histories;

use std::collections::HashSet;

use histories::{DAY, HOUR, History, NOW, Style};
use outlast_format::Time;
use outlast_object::Id;
use outlast_repo::{
    Admission, GroupBy, GuardContext, GuardFinding, GuardNotice, GuardedRetention, Policy,
    PolicyError, StoredSnapshot, Zone, apply_policy, group_snapshots, guard_forget,
};
use proptest::prelude::*;

fn now() -> Time {
    Time::utc(NOW, 0)
}

fn policy(text: &[(&str, &str)]) -> Policy {
    let mut policy = Policy::default();
    for (rule, value) in text {
        match *rule {
            "last" => policy.last = value.parse().unwrap(),
            "hourly" => policy.hourly = value.parse().unwrap(),
            "daily" => policy.daily = value.parse().unwrap(),
            "weekly" => policy.weekly = value.parse().unwrap(),
            "monthly" => policy.monthly = value.parse().unwrap(),
            "yearly" => policy.yearly = value.parse().unwrap(),
            "within" => policy.within = value.parse().unwrap(),
            "within-daily" => policy.within_daily = value.parse().unwrap(),
            other => panic!("{other}"),
        }
    }
    policy
}

/// So many cases; what fails is printed, not written into the source tree.
fn config(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// The policies that people use.
fn policies() -> impl Strategy<Value = Policy> {
    prop::sample::select(vec![
        policy(&[("last", "3")]),
        policy(&[("last", "30")]),
        policy(&[("daily", "7")]),
        policy(&[("last", "10"), ("daily", "7"), ("weekly", "5")]),
        policy(&[
            ("hourly", "24"),
            ("daily", "7"),
            ("weekly", "4"),
            ("monthly", "12"),
        ]),
        policy(&[("last", "24"), ("daily", "14"), ("monthly", "unlimited")]),
        policy(&[("within", "2d"), ("daily", "7"), ("yearly", "3")]),
        policy(&[("within-daily", "30d"), ("last", "1")]),
    ])
}

fn references(list: &[StoredSnapshot]) -> Vec<&StoredSnapshot> {
    list.iter().collect()
}

fn guard<'a>(
    list: &[&'a StoredSnapshot],
    policy: &Policy,
    context: &GuardContext,
) -> GuardedRetention<'a> {
    guard_forget(list, policy, context, now(), &Zone::utc())
}

fn kept(retention: &GuardedRetention<'_>) -> HashSet<Id> {
    let kept = retention.retention.keep.iter();
    kept.map(|kept| kept.snapshot.id).collect()
}

/// What would be kept of the genuine ones alone is kept, or forget stops.
fn assert_nothing_lost_silently(
    genuine: &[StoredSnapshot],
    planted: &[StoredSnapshot],
    policy: &Policy,
    context: &GuardContext,
) -> Result<(), TestCaseError> {
    let all: Vec<&StoredSnapshot> = genuine.iter().chain(planted).collect();
    let guarded = guard(&all, policy, context);
    if !guarded.findings.is_empty() {
        return Ok(());
    }
    let alone = apply_policy(&references(genuine), policy, now(), &Zone::utc());
    let kept = kept(&guarded);
    for genuine in alone.keep {
        prop_assert!(
            kept.contains(&genuine.snapshot.id),
            "lost {} of {} genuine and {} planted",
            genuine.snapshot.snapshot.time,
            all.len() - planted.len(),
            planted.len()
        );
    }
    Ok(())
}

proptest! {
    #![proptest_config(config(3000))]

    /// Nothing is suspected of what people do, and the result is the policy's own.
    #[test]
    fn ordinary_histories_pass(
        style in Style::any(),
        policy in policies(),
        seed in any::<u64>(),
        forget_every in prop::sample::select(vec![1usize, 7, 30, 200]),
        with_admissions in any::<bool>(),
        with_summaries in any::<bool>(),
        group_by in prop::sample::select(vec!["host,paths", "", "host"]),
    ) {
        let group_by: GroupBy = group_by.parse().unwrap();
        let mut history = History::new(seed);
        let mut until_forget = forget_every;
        let mut failure = None;
        history.live(style, |history| {
            until_forget -= 1;
            if until_forget > 0 || failure.is_some() {
                return;
            }
            until_forget = forget_every;
            let facts: &[Admission] = if with_admissions { &history.admissions } else { &[] };
            let context = GuardContext::new(facts);
            let at = Time::utc(history.clock, 0);
            let mut snapshots = history.snapshots.clone();
            for stored in &mut snapshots {
                // restic before 0.17 writes none.
                stored.snapshot.summary.take_if(|_| !with_summaries);
            }
            let mut removed = HashSet::new();
            for group in group_snapshots(&references(&snapshots), group_by) {
                let zone = Zone::utc();
                let guarded = guard_forget(&group.snapshots, &policy, &context, at, &zone);
                let plain = apply_policy(&group.snapshots, &policy, at, &zone);
                if !guarded.findings.is_empty() || guarded.retention != plain {
                    failure = Some(format!("{:?} {}", guarded.findings, group.key));
                }
                removed.extend(plain.remove.iter().map(|stored| stored.id));
            }
            history.snapshots.retain(|stored| !removed.contains(&stored.id));
        });
        prop_assert!(failure.is_none(), "{style:?}, {policy}: {}", failure.unwrap());
    }
}

proptest! {
    #![proptest_config(config(600))]

    /// One shot: a few snapshots dated decades ahead.
    #[test]
    fn future_snapshots_fill_no_slot(
        style in Style::any(),
        policy in policies(),
        seed in any::<u64>(),
        planted in 1usize..40,
    ) {
        let mut history = History::new(seed);
        history.live(style, |_| {});
        let genuine = history.snapshots.clone();
        let planted: Vec<StoredSnapshot> = (0..planted)
            .map(|year| history.plant(3_818_000_000 + year as i64 * 366 * DAY, true))
            .collect();
        let all: Vec<&StoredSnapshot> = genuine.iter().chain(&planted).collect();
        for group in group_snapshots(&all, GroupBy::HOST_AND_PATHS) {
            let guarded = guard(&group.snapshots, &policy, &GuardContext::default());
            prop_assert!(guarded.findings.is_empty());
            let own: Vec<&StoredSnapshot> = group
                .snapshots
                .iter()
                .filter(|stored| !stored.is_future(now()))
                .copied()
                .collect();
            let alone = apply_policy(&own, &policy, now(), &Zone::utc());
            prop_assert_eq!(&guarded.retention.remove, &alone.remove);
            let future = group.snapshots.len() - own.len();
            prop_assert_eq!(guarded.retention.keep.len(), alone.keep.len() + future);
            prop_assert_eq!(guarded.notices.len(), usize::from(future > 0));
        }
    }

    /// A snapshot slightly newer than the genuine one in each of the last days.
    #[test]
    fn poisoned_slots_stop(
        seed in any::<u64>(),
        days in 5usize..60,
        policy in policies(),
        delay in 1i64..(20 * HOUR),
        each_day in prop::collection::vec(any::<bool>(), 60),
        by_restic in any::<bool>(),
    ) {
        let mut history = History::new(seed);
        history.live(Style::Daily { days }, |_| {});
        let genuine = history.snapshots.clone();
        let targets = genuine[..genuine.len() - 1].iter().zip(each_day).filter(|t| t.1);
        let moments: Vec<i64> = targets.map(|(g, _)| g.snapshot.time.seconds() + delay).collect();
        prop_assume!(moments.len() >= 3);
        let planted: Vec<StoredSnapshot> =
            moments.into_iter().map(|moment| history.plant(moment, by_restic)).collect();
        assert_nothing_lost_silently(&genuine, &planted, &policy, &GuardContext::default())?;
        // With a vault's facts a single one is enough.
        let context = GuardContext::new(&history.admissions);
        let one = &planted[..1];
        if seconds_ago(&planted[0]) > 3 * DAY {
            assert_nothing_lost_silently(&genuine, one, &policy, &context)?;
        }
    }

    /// A flood within minutes, under the victim's name or others.
    #[test]
    fn floods_stop(
        style in Style::any(),
        seed in any::<u64>(),
        junk in 6usize..120,
        gap in 0i64..100,
        age in 0i64..DAY,
        policy in policies(),
        other_paths in any::<bool>(),
        mixed in any::<bool>(),
    ) {
        let mut history = History::new(seed);
        history.live(style, |_| {});
        // What is older than the flood by an hour is the history that it must not cost.
        let start = NOW - age - junk as i64 * gap;
        let genuine: Vec<StoredSnapshot> = history
            .snapshots
            .iter()
            .filter(|stored| stored.snapshot.time.seconds() < start - HOUR)
            .cloned()
            .collect();
        let planted: Vec<StoredSnapshot> = (0..junk)
            .map(|number| {
                let mut planted = history.plant(start + number as i64 * gap, true);
                if other_paths {
                    planted.snapshot.paths = vec![format!("/junk/{number}")];
                }
                planted
            })
            .collect();
        let all: Vec<&StoredSnapshot> = genuine.iter().chain(&planted).collect();
        let by = if mixed { GroupBy::default() } else { GroupBy::HOST_AND_PATHS };
        for group in group_snapshots(&all, by) {
            let (old, new): (Vec<StoredSnapshot>, Vec<StoredSnapshot>) = group
                .snapshots
                .iter()
                .map(|stored| (*stored).clone())
                .partition(|stored| genuine.contains(stored));
            // A run may hold what a run of a script holds; that many slots it may cost.
            let name = |s: &StoredSnapshot| (s.snapshot.hostname.clone(), s.snapshot.paths.clone());
            let allowed = old.iter().map(name).collect::<HashSet<_>>().len().max(4);
            if new.len() > allowed + 5 {
                assert_lost_at_most(&old, &new, &policy, allowed + 1)?;
            }
        }
    }

    /// Planted snapshots that accuse genuine ones by naming false parents cost nothing either.
    #[test]
    fn false_accusations_cost_nothing(seed in any::<u64>(), days in 8usize..40) {
        let mut history = History::new(seed);
        history.live(Style::Daily { days }, |_| {});
        let genuine = history.snapshots.clone();
        let mut planted = Vec::new();
        for pair in genuine.windows(3) {
            let mut accuser = history.plant(pair[1].snapshot.time.seconds() + 12 * HOUR, true);
            accuser.snapshot.parent = Some(pair[0].id);
            planted.push(accuser);
        }
        for rules in [policy(&[("daily", "7")]), policy(&[("last", "7")])] {
            assert_nothing_lost_silently(&genuine, &planted, &rules, &GuardContext::default())?;
        }
    }
}

fn seconds_ago(stored: &StoredSnapshot) -> i64 {
    NOW - stored.snapshot.time.seconds()
}

/// Compared with a single new snapshot, from which durations are then counted.
fn assert_lost_at_most(
    genuine: &[StoredSnapshot],
    planted: &[StoredSnapshot],
    policy: &Policy,
    lost_max: usize,
) -> Result<(), TestCaseError> {
    let all: Vec<&StoredSnapshot> = genuine.iter().chain(planted).collect();
    let guarded = guard(&all, policy, &GuardContext::default());
    let newest = planted.iter().max_by_key(|p| p.snapshot.time.instant());
    let with_one: Vec<&StoredSnapshot> = genuine.iter().chain(newest).collect();
    let alone = apply_policy(&with_one, policy, now(), &Zone::utc());
    let kept = kept(&guarded);
    let lost = alone.keep.iter().filter(|k| !kept.contains(&k.snapshot.id));
    let lost = lost.filter(|k| genuine.contains(k.snapshot)).count();
    prop_assert!(
        !guarded.findings.is_empty() || lost <= lost_max,
        "{lost} lost, {lost_max} allowed, {} genuine, {} planted",
        genuine.len(),
        planted.len()
    );
    Ok(())
}

fn daily(days: usize) -> History {
    let mut history = History::new(7);
    history.live(Style::Daily { days }, |_| {});
    history
}

#[test]
fn the_attack_that_restic_falls_to() {
    let mut history = daily(10);
    let genuine = history.snapshots.clone();
    let planted: Vec<StoredSnapshot> = (0..7)
        .map(|year| history.plant(3_818_000_000 + year * 366 * DAY, true))
        .collect();
    let all: Vec<&StoredSnapshot> = genuine.iter().chain(&planted).collect();
    let rules = policy(&[("daily", "7"), ("weekly", "4"), ("monthly", "6")]);
    let guarded = guard(&all, &rules, &GuardContext::default());
    let GuardNotice::FutureDated {
        snapshots,
        would_push_out,
    } = &guarded.notices[0];
    assert_eq!(snapshots.len(), 7);
    assert!(would_push_out.len() >= 7, "{}", guarded.notices[0]);
    let kept = kept(&guarded);
    assert!(genuine[3..].iter().all(|stored| kept.contains(&stored.id)));
    // Asked for, restic's own answer is given.
    let allowed = GuardContext {
        allow_future: true,
        ..GuardContext::default()
    };
    let as_restic = guard(&all, &rules, &allowed);
    assert_eq!(
        as_restic.retention,
        apply_policy(&all, &rules, now(), &Zone::utc())
    );
    assert!(as_restic.notices.is_empty());
}

#[test]
fn snapshots_kept_aside_do_not_count_as_kept() {
    let mut history = daily(3);
    let genuine = history.snapshots.clone();
    let planted = [history.plant(3_818_000_000, true)];
    let all: Vec<&StoredSnapshot> = genuine.iter().chain(&planted).collect();
    let tagged = Policy {
        tags: vec!["nobody has this".into()],
        ..Policy::default()
    };
    let guarded = guard(&all, &tagged, &GuardContext::default());
    let key = group_snapshots(&all, GroupBy::HOST_AND_PATHS).remove(0).key;
    let refused = guarded.check(&tagged, &key);
    assert!(matches!(refused, Err(PolicyError::LastOfGroup { .. })));
}

#[test]
fn a_flood_names_what_it_would_cost_and_can_be_allowed() {
    let mut history = daily(10);
    let genuine = history.snapshots.clone();
    let planted: Vec<StoredSnapshot> = (0..100)
        .map(|second| history.plant(NOW - 100 + second / 2, true))
        .collect();
    let all: Vec<&StoredSnapshot> = genuine.iter().chain(&planted).collect();
    let rules = policy(&[("last", "10")]);
    let guarded = guard(&all, &rules, &GuardContext::default());
    let [
        GuardFinding::Burst {
            snapshots,
            would_lose,
        },
        ..,
    ] = guarded.findings.as_slice()
    else {
        panic!("{:?}", guarded.findings);
    };
    assert_eq!((snapshots.len(), would_lose.len()), (99, 9));
    let text = guarded.findings[0].to_string();
    assert!(text.contains("99 more snapshots than usual"), "{text}");
    assert!(guarded.findings[0].hint().contains("--allow-burst"));
    let allowed = GuardContext {
        allow_burst: true,
        ..GuardContext::default()
    };
    assert!(guard(&all, &rules, &allowed).findings.is_empty());
    let vouched = GuardContext {
        trusted: planted.iter().map(|stored| stored.id).collect(),
        ..GuardContext::default()
    };
    assert!(guard(&all, &rules, &vouched).findings.is_empty());
}

#[test]
fn offsets_that_juggle_with_the_date_are_a_burst() {
    let mut history = daily(30);
    let genuine = history.snapshots.clone();
    // Minutes apart, each on another day than its neighbours by its own calendar.
    let planted: Vec<StoredSnapshot> = (0..14)
        .map(|number| {
            let mut planted = history.plant(NOW - 600 + number * 30, true);
            let offset = if number % 2 == 0 {
                14 * 3600
            } else {
                -12 * 3600
            };
            planted.snapshot.time = Time::new(NOW - 600 + number * 30, 0, offset);
            planted
        })
        .collect();
    let all: Vec<&StoredSnapshot> = genuine.iter().chain(&planted).collect();
    let guarded = guard(&all, &policy(&[("daily", "7")]), &GuardContext::default());
    assert!(!guarded.findings.is_empty());
}

#[test]
fn admission_unmasks_a_date_that_was_in_the_future_once() {
    let mut history = daily(20);
    let genuine = history.snapshots.clone();
    let planted = history.plant(NOW - 2 * HOUR, true);
    let all: Vec<&StoredSnapshot> = genuine.iter().chain([&planted]).collect();
    let rules = policy(&[("daily", "7")]);
    let seen = Time::utc(NOW - 30 * DAY, 0);
    let context = GuardContext::new(&[Admission {
        id: planted.id,
        seen,
    }]);
    let guarded = guard(&all, &rules, &context);
    assert_eq!(guarded.notices.len(), 1);
    let text = guarded.notices[0].to_string();
    assert!(text.contains(&planted.id.short()), "{text}");
}

#[test]
fn rewritten_snapshots_are_as_old_as_their_originals() {
    let mut history = daily(30);
    let mut admissions = history.admissions.clone();
    for stored in &mut history.snapshots[3..20] {
        stored.snapshot.original = Some(stored.id);
        stored.id = outlast_object::hash(stored.id.as_bytes());
        let seen = Time::utc(NOW, 0);
        admissions.push(Admission {
            id: stored.id,
            seen,
        });
    }
    let all = references(&history.snapshots);
    for rules in [policy(&[("daily", "7")]), policy(&[("weekly", "4")])] {
        let guarded = guard(&all, &rules, &GuardContext::new(&admissions));
        assert!(guarded.findings.is_empty(), "{:?}", guarded.findings);
    }
}

#[test]
fn a_parent_given_by_hand_accuses_nobody() {
    let mut history = daily(30);
    let first = history.snapshots[0].id;
    for stored in &mut history.snapshots[1..] {
        stored.snapshot.parent = Some(first);
    }
    let all = references(&history.snapshots);
    let guarded = guard(&all, &policy(&[("weekly", "4")]), &GuardContext::default());
    assert!(guarded.findings.is_empty(), "{:?}", guarded.findings);
}

#[test]
fn poisoned_slots_are_told_by_the_parents_of_honest_snapshots() {
    let mut history = daily(30);
    let genuine = history.snapshots.clone();
    let planted: Vec<StoredSnapshot> = genuine[20..29]
        .iter()
        .map(|stored| history.plant(stored.snapshot.time.seconds() + 60, true))
        .collect();
    let all: Vec<&StoredSnapshot> = genuine.iter().chain(&planted).collect();
    let rules = policy(&[("daily", "7"), ("weekly", "4")]);
    let guarded = guard(&all, &rules, &GuardContext::default());
    let [
        GuardFinding::BackDated {
            snapshots,
            would_lose,
        },
    ] = guarded.findings.as_slice()
    else {
        panic!("{:?}", guarded.findings);
    };
    assert_eq!(snapshots.len(), 9);
    assert!(would_lose.len() >= 6, "{}", guarded.findings[0]);
    // Two could be an accident, unless the store itself says when they came.
    let two: Vec<&StoredSnapshot> = genuine.iter().chain(&planted[5..7]).collect();
    assert!(
        guard(&two, &rules, &GuardContext::default())
            .findings
            .is_empty()
    );
    let context = GuardContext::new(&history.admissions);
    assert_eq!(guard(&two, &rules, &context).findings.len(), 1);
}

#[test]
fn one_burst_does_not_hide_what_another_costs() {
    let mut history = daily(20);
    let genuine = history.snapshots.clone();
    let mut plant = |from: i64| -> Vec<StoredSnapshot> {
        (0..20)
            .map(|second| history.plant(from + second, true))
            .collect()
    };
    let planted = [plant(NOW - 3 * HOUR), plant(NOW - HOUR)].concat();
    let all: Vec<&StoredSnapshot> = genuine.iter().chain(&planted).collect();
    let guarded = guard(&all, &policy(&[("last", "10")]), &GuardContext::default());
    assert!(matches!(
        guarded.findings[..],
        [GuardFinding::Burst { .. }, ..]
    ));
}
