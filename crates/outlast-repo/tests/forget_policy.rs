//! Forget keeps and removes what restic does, for the same reasons, in generated histories.
//!
//! Histories of snapshots are written straight into a repository with a key that costs nothing, and
//! stock restic is asked what it would forget. `OUTLAST_TEST_SEED` tries other histories.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use outlast_format::{Snapshot, Time};
use outlast_object::Id;
use outlast_repo::{
    GroupBy, KeepCount, KeepDuration, Policy, SnapshotFilter, StoredSnapshot, TagList, Zone,
    apply_policy, group_snapshots,
};
use outlast_store::LocalStore;
use serde::Deserialize;

const HISTORIES: u64 = 96;
const POLICIES_PER_HISTORY: u64 = 9;
const THREADS: u64 = 3;
const ZONES: [&str; 8] = [
    "UTC",
    "Europe/Copenhagen",
    "America/New_York",
    "Australia/Lord_Howe",
    "Asia/Kolkata",
    "Pacific/Apia",
    "America/St_Johns",
    "Europe/London",
];
const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

/// A generator of numbers that gives the same ones for the same seed.
struct Numbers(u64);

impl Numbers {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn range(&mut self, from: i64, to: i64) -> i64 {
        from + self.below((to - from).unsigned_abs()) as i64
    }

    fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len() as u64) as usize]
    }
}

/// Seconds at which snapshots were made: rhythms, gaps, ends of years, changes of summer time.
fn moments(numbers: &mut Numbers) -> Vec<i64> {
    // From the spring of 2012 to the end of 2024.
    let start = numbers.range(1_330_000_000, 1_730_000_000);
    let count = numbers.range(1, 90);
    let step = |numbers: &mut Numbers, style: u64| match style {
        0 => HOUR + numbers.range(0, 120),
        1 => DAY,
        2 => numbers.range(60, 3 * DAY),
        3 => numbers.range(DAY, 40 * DAY),
        4 => numbers.range(10 * DAY, 300 * DAY),
        5 => 20 * 60,
        _ => 7 * DAY + numbers.range(-HOUR, HOUR),
    };
    let mut moments = Vec::new();
    let (mut at, mut style) = (start, numbers.below(7));
    for _ in 0..count {
        if numbers.below(15) == 0 {
            style = numbers.below(7);
        }
        at += step(numbers, style);
        // Nothing near the real present: restic looks at its own clock.
        if at > 1_760_000_000 {
            break;
        }
        moments.push(at);
    }
    match numbers.below(6) {
        0 => moments.extend((0..numbers.range(1, 8)).map(|year| 3_900_000_000 + year * 31_000_000)),
        1 if numbers.below(4) == 0 => moments.iter_mut().for_each(|at| *at += 2_500_000_000),
        _ => {}
    }
    moments
}

fn history(numbers: &mut Numbers, zone: &Zone) -> Vec<Snapshot> {
    let hosts = ["web", "db", ""];
    let host_count = numbers.range(1, 4) as usize;
    let path_sets: [&[&str]; 3] = [&["/data"], &["/b", "/a"], &["/a", "/b"]];
    let tags = ["daily", "keep", "a b", "x,y"];
    let mut taken = std::collections::BTreeSet::new();
    let mut snapshots = Vec::new();
    for seconds in moments(numbers) {
        // restic orders snapshots of exactly the same time by chance.
        let nanos = numbers.pick(&[0, 5, 123_456_789, 999_999_999]);
        if !taken.insert((seconds, *nanos)) {
            continue;
        }
        let offset = match numbers.below(8) {
            0 => 0,
            1 => *numbers.pick(&[-11 * 3600, -3 * 3600 - 1800, 3600, 19_800, 14 * 3600]),
            _ => zone.offset_seconds(seconds),
        };
        let own_tags = (0..numbers.below(3)).map(|_| (*numbers.pick(&tags)).to_owned());
        snapshots.push(Snapshot {
            time: Time::new(seconds, *nanos, offset),
            parent: None,
            tree: Id::from_bytes([1; 32]),
            tags: own_tags.collect(),
            paths: numbers
                .pick(&path_sets)
                .iter()
                .map(|p| (*p).to_owned())
                .collect(),
            hostname: hosts[numbers.below(host_count as u64) as usize].to_owned(),
            username: "u".to_owned(),
            uid: 0,
            gid: 0,
            excludes: Vec::new(),
            original: None,
            program_version: "outlast test".to_owned(),
            summary: None,
        });
    }
    snapshots
}

/// A policy, how to group and what to filter, as restic's arguments and as ours.
#[derive(Default)]
struct Case {
    arguments: Vec<String>,
    policy: Policy,
    group_by: GroupBy,
    filter: SnapshotFilter,
}

impl Case {
    fn argument(&mut self, option: &str, value: &str) {
        self.arguments.push(option.to_owned());
        self.arguments.push(value.to_owned());
    }

    fn keep(&mut self, numbers: &mut Numbers) {
        let count = *numbers.pick(&["0", "1", "2", "3", "5", "7", "12", "40", "unlimited"]);
        let duration = *numbers.pick(&[
            "1h", "25h", "1d", "3d", "7d", "30d", "1m", "2m15d", "1y", "1y2m3d4h", "90d12h", "0d",
        ]);
        let counts: [(&str, &mut KeepCount); 6] = [
            ("--keep-last", &mut self.policy.last),
            ("--keep-hourly", &mut self.policy.hourly),
            ("--keep-daily", &mut self.policy.daily),
            ("--keep-weekly", &mut self.policy.weekly),
            ("--keep-monthly", &mut self.policy.monthly),
            ("--keep-yearly", &mut self.policy.yearly),
        ];
        let durations: [(&str, &mut KeepDuration); 6] = [
            ("--keep-within", &mut self.policy.within),
            ("--keep-within-hourly", &mut self.policy.within_hourly),
            ("--keep-within-daily", &mut self.policy.within_daily),
            ("--keep-within-weekly", &mut self.policy.within_weekly),
            ("--keep-within-monthly", &mut self.policy.within_monthly),
            ("--keep-within-yearly", &mut self.policy.within_yearly),
        ];
        let which = numbers.below(6) as usize;
        match numbers.below(9) {
            0..=4 => {
                let (option, field) = counts.into_iter().nth(which).unwrap();
                *field = count.parse().unwrap();
                self.argument(option, count);
            }
            5..=7 => {
                let (option, field) = durations.into_iter().nth(which).unwrap();
                *field = duration.parse().unwrap();
                self.argument(option, duration);
            }
            _ => {
                let list = *numbers.pick(&["daily", "keep,daily", "", "a b", "nobody"]);
                self.policy.tags.push(TagList::from(list));
                self.argument("--keep-tag", list);
            }
        }
    }

    fn new(numbers: &mut Numbers) -> Self {
        let mut case = Case::default();
        for _ in 0..numbers.range(1, 5) {
            case.keep(numbers);
        }
        let group_by =
            *numbers.pick(&["host,paths", "host,paths", "", "host", "tags", "paths,tags"]);
        case.group_by = group_by.parse().unwrap();
        case.argument("--group-by", group_by);
        if numbers.below(4) == 0 {
            let host = *numbers.pick(&["web", "db", "nobody"]);
            case.filter.hosts.push(host.to_owned());
            case.argument("--host", host);
        }
        if numbers.below(6) == 0 {
            let tag = *numbers.pick(&["keep", "daily,keep", ""]);
            case.filter.tags.push(TagList::from(tag));
            case.argument("--tag", tag);
        }
        if numbers.below(6) == 0 {
            case.filter.paths.push("/a".to_owned());
            case.argument("--path", "/a");
        }
        case
    }
}

#[derive(Deserialize)]
struct ResticSnapshot {
    id: String,
}

#[derive(Deserialize)]
struct ResticReason {
    snapshot: ResticSnapshot,
    matches: Vec<String>,
}

#[derive(Deserialize)]
struct ResticGroup {
    tags: Option<Vec<String>>,
    host: String,
    paths: Option<Vec<String>>,
    keep: Option<Vec<ResticSnapshot>>,
    remove: Option<Vec<ResticSnapshot>>,
    reasons: Option<Vec<ResticReason>>,
}

type Key = (String, Option<Vec<String>>, Option<Vec<String>>);

/// What happens to one group.
#[derive(Debug, PartialEq, Eq)]
struct Fate {
    keep: Vec<(String, Vec<String>)>,
    remove: Vec<String>,
}

/// The groups, or the messages with which the policy may be refused.
type Verdict = Result<BTreeMap<Key, Fate>, Vec<String>>;

fn restic_verdict(restic: &Path, repository: &Path, zone: &str, case: &Case) -> Verdict {
    let output = Command::new(restic)
        .args([
            "forget",
            "--dry-run",
            "--no-lock",
            "--no-cache",
            "--json",
            "-r",
        ])
        .arg(repository)
        .args(&case.arguments)
        .env("RESTIC_PASSWORD", "test password")
        .env("TZ", zone)
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    if !output.status.success() {
        let message = serde_json::from_str::<serde_json::Value>(stderr.trim())
            .ok()
            .and_then(|json| Some(json.get("message")?.as_str()?.to_owned()));
        return Err(vec![message.unwrap_or(stderr)]);
    }
    if output.stdout.is_empty() {
        return Ok(BTreeMap::new());
    }
    let groups: Vec<ResticGroup> = serde_json::from_slice(&output.stdout).unwrap();
    let fate = |group: ResticGroup| {
        let keep = group.keep.unwrap_or_default();
        let reasons = group.reasons.unwrap_or_default();
        assert!(
            keep.iter()
                .map(|k| &k.id)
                .eq(reasons.iter().map(|r| &r.snapshot.id))
        );
        let fate = Fate {
            keep: reasons
                .into_iter()
                .map(|r| (r.snapshot.id, r.matches))
                .collect(),
            remove: group
                .remove
                .unwrap_or_default()
                .into_iter()
                .map(|s| s.id)
                .collect(),
        };
        ((group.host, group.paths, group.tags), fate)
    };
    Ok(groups.into_iter().map(fate).collect())
}

fn our_verdict(history: &[StoredSnapshot], zone: &Zone, case: &Case) -> Verdict {
    if let Err(error) = case.policy.check(false, &case.filter) {
        return Err(vec![format!("Fatal: {error}")]);
    }
    // 2026-06-01: the histories keep away from the present, ours and restic's.
    let now = Time::utc(1_780_272_000, 0);
    let chosen: Vec<&StoredSnapshot> = history
        .iter()
        .filter(|stored| case.filter.matches(&stored.snapshot))
        .collect();
    let mut fates = BTreeMap::new();
    let mut refusals = Vec::new();
    for group in group_snapshots(&chosen, case.group_by) {
        let retention = apply_policy(&group.snapshots, &case.policy, now, zone);
        if let Err(error) = case.policy.check_result(&retention, &group.key) {
            refusals.push(error.to_string());
        }
        let keep = retention
            .keep
            .into_iter()
            .map(|k| (k.snapshot.id.to_hex(), k.matches));
        let fate = Fate {
            keep: keep.collect(),
            remove: retention
                .remove
                .into_iter()
                .map(|s| s.id.to_hex())
                .collect(),
        };
        fates.insert((group.key.hostname, group.key.paths, group.key.tags), fate);
    }
    if refusals.is_empty() {
        Ok(fates)
    } else {
        Err(refusals)
    }
}

/// What was compared.
#[derive(Default)]
struct Totals {
    pairs: AtomicUsize,
    refused: AtomicUsize,
    kept: AtomicUsize,
    removed: AtomicUsize,
}

impl Totals {
    fn add(&self, verdict: &Verdict) {
        self.pairs.fetch_add(1, Ordering::Relaxed);
        let Ok(fates) = verdict else {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return;
        };
        for fate in fates.values() {
            self.kept.fetch_add(fate.keep.len(), Ordering::Relaxed);
            self.removed.fetch_add(fate.remove.len(), Ordering::Relaxed);
        }
    }
}

/// One history with all its policies.
fn compare(restic: &Path, seed: u64, number: u64, totals: &Totals) {
    let mut numbers = Numbers::new(seed.wrapping_add(number));
    let zone_name = ZONES[(number % ZONES.len() as u64) as usize];
    let zone = Zone::named(zone_name).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let repository = support::init(Arc::new(LocalStore::open(folder.path()).unwrap()));
    let history: Vec<StoredSnapshot> = history(&mut numbers, &zone)
        .into_iter()
        .map(|snapshot| (repository.save_snapshot(&snapshot).unwrap(), snapshot).into())
        .collect();
    for _ in 0..POLICIES_PER_HISTORY {
        let case = Case::new(&mut numbers);
        let ours = our_verdict(&history, &zone, &case);
        let theirs = restic_verdict(restic, folder.path(), zone_name, &case);
        let same = match (&ours, &theirs) {
            (Err(ours), Err(theirs)) => ours.contains(&theirs[0]),
            (ours, theirs) => ours == theirs,
        };
        assert!(
            same,
            "history {number} of seed {seed} in {zone_name}, {:?} ({}):\nours   {ours:#?}\n\
             restic {theirs:#?}\nagain: OUTLAST_TEST_SEED={seed} cargo test -p outlast-repo --test \
             forget_policy",
            case.arguments, case.policy
        );
        totals.add(&ours);
    }
}

#[test]
fn generated_histories_are_forgotten_as_restic_does() {
    let Some(restic) = support::tools::restic_019() else {
        return;
    };
    let seed = std::env::var("OUTLAST_TEST_SEED").map_or(1, |seed| seed.parse().unwrap());
    let totals = Totals::default();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (restic, totals) = (&restic, &totals);
            scope.spawn(move || {
                for number in (thread..HISTORIES).step_by(THREADS as usize) {
                    compare(restic, seed, number, totals);
                }
            });
        }
    });
    let [pairs, refused, kept, removed] =
        [totals.pairs, totals.refused, totals.kept, totals.removed].map(AtomicUsize::into_inner);
    println!(
        "{pairs} pairs of history and policy agree ({refused} refused): {kept} kept, {removed} removed"
    );
    // A generator that had gone dull would prove nothing.
    assert!(refused < pairs / 3 && kept > 5 * pairs && removed > 5 * pairs);
}
