//! Runs of snapshots faster than any schedule.

use std::collections::{HashMap, HashSet};

use outlast_object::Id;

use super::seconds_between;
use crate::snapshots::StoredSnapshot;

/// Snapshots at most so far apart belong to one run. No schedule is as fast; scripts that back up
/// one directory after the other are, and are told from bursts by their paths.
pub const BURST_GAP_SECONDS: i64 = 120;
/// A run with so many snapshots too many is a burst. Fewer are somebody who tries again.
pub const BURST_SNAPSHOTS_MIN: usize = 5;
/// So many hosts and sets of paths may be new in a run even if the group knows fewer.
pub const BURST_NEW_MAX: usize = 4;

/// Host and paths: what a schedule backs up once at a time.
fn identity(stored: &StoredSnapshot) -> (&str, Vec<&str>) {
    let mut paths: Vec<&str> = stored.snapshot.paths.iter().map(String::as_str).collect();
    paths.sort_unstable();
    (&stored.snapshot.hostname, paths)
}

/// The snapshots of each burst, without those that its run may hold. `sorted` and the results are
/// newest first.
pub(super) fn find<'a>(
    sorted: &[&'a StoredSnapshot],
    trusted: &HashSet<Id>,
) -> Vec<Vec<&'a StoredSnapshot>> {
    let mut count: HashMap<_, usize> = HashMap::new();
    for stored in sorted {
        *count.entry(identity(stored)).or_default() += 1;
    }
    let mut bursts = Vec::new();
    let apart = |newer: &&StoredSnapshot, older: &&StoredSnapshot| {
        seconds_between(older.snapshot.time, newer.snapshot.time) <= BURST_GAP_SECONDS
    };
    for run in sorted.chunk_by(apart) {
        if run.len() <= BURST_SNAPSHOTS_MIN {
            continue;
        }
        let excess = excess(run, &count, trusted);
        if excess.len() >= BURST_SNAPSHOTS_MIN {
            bursts.push(excess);
        }
    }
    bursts
}

/// What is too much in one run. The oldest of each host and paths may be there.
fn excess<'a>(
    run: &[&'a StoredSnapshot],
    count: &HashMap<(&str, Vec<&str>), usize>,
    trusted: &HashSet<Id>,
) -> Vec<&'a StoredSnapshot> {
    let mut in_run: HashMap<_, usize> = HashMap::new();
    for stored in run {
        *in_run.entry(identity(stored)).or_default() += 1;
    }
    let known_elsewhere = count
        .iter()
        .filter(|(identity, all)| in_run.get(*identity).copied().unwrap_or_default() < **all)
        .count();
    let mut new_left = known_elsewhere.max(BURST_NEW_MAX);
    let mut seen = HashSet::new();
    let mut excess = Vec::new();
    for stored in run.iter().rev() {
        let identity = identity(stored);
        let is_new = in_run.get(&identity) == count.get(&identity);
        let is_first = seen.insert(identity);
        if is_first && !is_new {
            continue;
        }
        if is_first && new_left > 0 {
            new_left -= 1;
            continue;
        }
        if !trusted.contains(&stored.id) {
            excess.push(*stored);
        }
    }
    excess.reverse();
    excess
}
