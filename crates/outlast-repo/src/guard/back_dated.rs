//! Snapshots that were not there when they claim to have been made.

use std::collections::{HashMap, HashSet};

use outlast_object::Id;

use super::{Evidence, GuardContext, run_seconds, seconds_between};
use crate::snapshots::{FUTURE_TOLERANCE_SECONDS, StoredSnapshot};

/// Admitted so much later than it says it ended, a snapshot is late. One that does not say when it
/// ended may have run for a day.
pub const LATE_SECONDS: i64 = 24 * 3600;
/// So many snapshots must have been passed over as parents before that is taken for an attack.
pub const BACK_DATED_MIN: usize = 3;
/// A backup that says it ran longer is not believed beyond this.
const RUN_SECONDS_MAX: i64 = 24 * 3600;
/// How long a backup may have run that does not say, as before restic 0.17.
const RUN_SECONDS_UNKNOWN: i64 = 6 * 3600;
/// How long after its end a snapshot may become visible to the next backup.
const VISIBLE_SECONDS: i64 = 10;
/// A parent with so many children, and more than half of all, was chosen by hand for all of them.
const CHOSEN_PARENT_CHILDREN: usize = 3;
/// Comparisons of pairs at most, so that a group of planted snapshots costs seconds, not hours.
const PAIRS_MAX: usize = 4_000_000;

/// A back-dated snapshot.
pub(super) struct Found<'a> {
    pub(super) snapshot: &'a StoredSnapshot,
    pub(super) evidence: Evidence,
}

impl Found<'_> {
    /// The snapshot whose word is the evidence.
    pub(super) fn witness(&self) -> Option<Id> {
        match self.evidence {
            Evidence::Admitted { .. } => None,
            Evidence::PassedOver { by, .. } => Some(by),
        }
    }
}

/// The back-dated snapshots of a group. `sorted` and the result are newest first.
pub(super) fn find<'a>(sorted: &[&'a StoredSnapshot], context: &GuardContext) -> Vec<Found<'a>> {
    let late = late(sorted, context);
    let mut passed_over = passed_over(sorted);
    passed_over.retain(|number, _| !context.trusted.contains(&sorted[*number].id));
    if passed_over.len() < BACK_DATED_MIN {
        passed_over.clear();
    }
    let found = sorted.iter().enumerate().filter_map(|(number, stored)| {
        let evidence = late.get(&number).or_else(|| passed_over.get(&number))?;
        Some(Found {
            snapshot: stored,
            evidence: *evidence,
        })
    });
    found.collect()
}

/// Snapshots that the store admitted late, between others that it admitted in time.
fn late(sorted: &[&StoredSnapshot], context: &GuardContext) -> HashMap<usize, Evidence> {
    let mut late = HashMap::new();
    // Copied or moved repositories have no snapshot admitted in time but the newest, and all others
    // are older than those: nothing stands between.
    let timely = |stored: &StoredSnapshot| {
        let seen = context.seen(stored)?;
        let ran = run_seconds(stored, RUN_SECONDS_MAX).unwrap_or(RUN_SECONDS_MAX);
        let after = seconds_between(stored.snapshot.time, seen);
        let in_time = (-FUTURE_TOLERANCE_SECONDS..=LATE_SECONDS + ran).contains(&after);
        Some((seen, in_time))
    };
    let facts: Vec<_> = sorted.iter().map(|stored| timely(stored)).collect();
    let Some(oldest) = facts
        .iter()
        .rposition(|f| f.is_some_and(|(_, timely)| timely))
    else {
        return late;
    };
    let mut newer_seen = None;
    for (number, fact) in facts[..oldest].iter().enumerate() {
        match *fact {
            Some((seen, true)) => {
                let earliest = newer_seen.get_or_insert(seen);
                if seen.instant() < earliest.instant() {
                    *earliest = seen;
                }
            }
            Some((seen, false)) => {
                let trusted = context.trusted.contains(&sorted[number].id);
                let behind = newer_seen.is_some_and(|newer| newer.instant() < seen.instant());
                let is_late = seconds_between(sorted[number].snapshot.time, seen) > 0;
                if behind && is_late && !trusted {
                    late.insert(number, Evidence::Admitted { seen });
                }
            }
            None => {}
        }
    }
    late
}

/// Snapshots that a newer one would have had as its parent, had they been there.
fn passed_over(sorted: &[&StoredSnapshot]) -> HashMap<usize, Evidence> {
    let places: HashMap<Id, usize> = sorted
        .iter()
        .enumerate()
        .map(|(number, stored)| (stored.id, number))
        .collect();
    let links: Vec<(usize, usize)> = sorted
        .iter()
        .enumerate()
        .filter_map(|(number, stored)| {
            let parent = *places.get(&stored.snapshot.parent?)?;
            (parent > number).then_some((number, parent))
        })
        .collect();
    let mut children: HashMap<usize, usize> = HashMap::new();
    for (_, parent) in &links {
        *children.entry(*parent).or_default() += 1;
    }
    let mut found = HashMap::new();
    let mut pairs = 0;
    for &(child, parent) in &links {
        let siblings = children.get(&parent).copied().unwrap_or_default();
        if siblings >= CHOSEN_PARENT_CHILDREN && siblings * 2 > links.len() {
            continue;
        }
        for number in child + 1..parent {
            pairs += 1;
            if pairs > PAIRS_MAX {
                return found;
            }
            if would_be_parent(sorted, number, child, parent, &places) {
                found.entry(number).or_insert(Evidence::PassedOver {
                    by: sorted[child].id,
                    parent: sorted[parent].id,
                });
            }
        }
    }
    found
}

/// Whether `child` would have been compared with `number` rather than with `parent`.
fn would_be_parent(
    sorted: &[&StoredSnapshot],
    number: usize,
    child: usize,
    parent: usize,
    places: &HashMap<Id, usize>,
) -> bool {
    let (between, newer, older) = (
        &sorted[number].snapshot,
        &sorted[child].snapshot,
        &sorted[parent].snapshot,
    );
    let strictly = older.time.instant() < between.time.instant()
        && between.time.instant() < newer.time.instant();
    let same_source = between.hostname == newer.hostname
        && newer.paths.iter().all(|path| between.paths.contains(path));
    if !strictly || !same_source {
        return false;
    }
    let ran = run_seconds(sorted[number], RUN_SECONDS_MAX).unwrap_or(RUN_SECONDS_UNKNOWN);
    let visible_after = ran.saturating_add(VISIBLE_SECONDS);
    if seconds_between(between.time, newer.time) <= visible_after {
        return false;
    }
    // Backups of other tags have parents of their own where backups are grouped by tags, too.
    let tags = |tags: &[String]| tags.iter().cloned().collect::<HashSet<String>>();
    let own_chain = between
        .parent
        .and_then(|id| places.get(&id))
        .is_some_and(|own| tags(&sorted[*own].snapshot.tags) == tags(&between.tags));
    let separate =
        tags(&between.tags) != tags(&newer.tags) && tags(&newer.tags) == tags(&older.tags);
    !(separate && own_chain)
}
