//! The forget guard: snapshots that lie about their time never push out others silently.
//!
//! Whoever can write to a repository can write snapshots of any date, and retention counts dates.
//! Seven snapshots dated 2091 are all that `--keep-daily 7` then keeps. The guard looks at one group
//! together with its policy and decides three things:
//!
//! 1. **Dated in the future.** A snapshot dated later than our clock plus
//!    [`FUTURE_TOLERANCE_SECONDS`](crate::FUTURE_TOLERANCE_SECONDS), or later than the moment at
//!    which the store admitted it, fills no slot. It is kept, aside, with a notice.
//! 2. **Burst.** A run of snapshots made at most [`BURST_GAP_SECONDS`] after each other holds
//!    [`BURST_SNAPSHOTS_MIN`] or more beyond what a run may hold: one of each host and set of paths
//!    that the group knows from elsewhere, and as many new ones as it knows already, at least
//!    [`BURST_NEW_MAX`].
//! 3. **Back-dated.** Others prove that a snapshot was not there when it claims to have been made.
//!    Either the store admitted it more than [`LATE_SECONDS`] after its time, although it stands
//!    between snapshots that were admitted in time, the newer of them before it; one is enough. Or
//!    a newer snapshot of the same host and paths names an older one as its parent, which means
//!    that when it was made nothing lay between; [`BACK_DATED_MIN`] such are needed, because
//!    overlapping runs and clocks set back can make honest ones look so.
//!
//! Burst and back-dated snapshots alone change nothing. Only if the policy would remove a snapshot
//! that it would keep without them, forget stops for the group with a [`GuardFinding`] that names
//! both. Otherwise the result is the policy's own, which is restic's.
//!
//! What the guard does not catch: an intruder who from now on makes one more backup after each
//! honest one, or makes them at a pace that people use, does what a new schedule would do; against
//! that help rules with enough room and a look at the list. Without admission facts neither can it
//! tell planted snapshots dated in the near future once their time has come, nor back-dated ones
//! between snapshots whose parents have been forgotten, nor ones that claim to have still been
//! running when the next began, for up to a day (or six hours if they do not say). Where a vault's admission times are given, all of these but the first are seen.

mod back_dated;
mod burst;
mod finding;

pub use back_dated::{BACK_DATED_MIN, LATE_SECONDS};
pub use burst::{BURST_GAP_SECONDS, BURST_NEW_MAX, BURST_SNAPSHOTS_MIN};
pub use finding::{Dated, Evidence, GuardFinding, GuardNotice};

use std::collections::{HashMap, HashSet};

use outlast_format::Time;
use outlast_object::Id;

use crate::policy::{Counters, Kept, Policy, PolicyError, Retention, apply_policy};
use crate::snapshots::{FUTURE_TOLERANCE_SECONDS, GroupKey, StoredSnapshot, sort_newest_first};
use crate::zone::Zone;

/// How long before a burst a snapshot must have been made for its loss to count: trying out backups
/// for an hour is no attack on the history.
const BURST_LOSS_AGE_SECONDS: i64 = 3600;

/// When a store, or the first of several, was seen to hold a snapshot, by a clock that whoever wrote
/// the snapshot does not command. Facts about snapshots that have been removed since are useful: a
/// snapshot that was rewritten names its original.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Admission {
    /// The snapshot.
    pub id: Id,
    /// When it was admitted.
    pub seen: Time,
}

/// What the guard knows and what the user vouches for.
#[derive(Debug, Clone, Default)]
pub struct GuardContext {
    /// Admission times by snapshot; empty where nobody knows them.
    pub admissions: HashMap<Id, Time>,
    /// Count snapshots dated in the future as restic does (`--allow-future`).
    pub allow_future: bool,
    /// Let bursts and back-dated snapshots push out others (`--allow-burst`).
    pub allow_burst: bool,
    /// Snapshots that somebody has looked at and vouches for.
    pub trusted: HashSet<Id>,
}

impl GuardContext {
    /// A guard that knows these admission times. Of several for one snapshot the earliest counts.
    pub fn new(admissions: &[Admission]) -> Self {
        let mut known: HashMap<Id, Time> = HashMap::new();
        for admission in admissions {
            let seen = known.entry(admission.id).or_insert(admission.seen);
            if admission.seen.instant() < seen.instant() {
                *seen = admission.seen;
            }
        }
        Self {
            admissions: known,
            ..Self::default()
        }
    }

    /// When this snapshot was admitted; for one that was rewritten, when its original was.
    fn seen(&self, stored: &StoredSnapshot) -> Option<Time> {
        let own = self.admissions.get(&stored.id).copied();
        let original = stored
            .snapshot
            .original
            .and_then(|id| self.admissions.get(&id).copied());
        match (own, original) {
            (Some(own), Some(original)) if original.instant() < own.instant() => Some(original),
            (None, original) => original,
            (own, _) => own,
        }
    }

    fn is_future(&self, stored: &StoredSnapshot, now: Time) -> bool {
        if self.allow_future || self.trusted.contains(&stored.id) {
            return false;
        }
        let time = stored.snapshot.time;
        let before_admission = self
            .seen(stored)
            .is_some_and(|seen| seconds_between(seen, time) > FUTURE_TOLERANCE_SECONDS);
        before_admission || stored.is_future(now)
    }
}

/// Whole seconds from `earlier` to `later`; negative if they are the other way round.
fn seconds_between(earlier: Time, later: Time) -> i64 {
    later.seconds().saturating_sub(earlier.seconds())
}

/// How long a snapshot says its backup ran, up to `max` seconds; `None` if it does not say.
fn run_seconds(stored: &StoredSnapshot, max: i64) -> Option<i64> {
    let summary = stored.snapshot.summary.as_ref()?;
    let ran = seconds_between(summary.backup_start, summary.backup_end);
    Some(ran.clamp(0, max))
}

/// What becomes of a group when policy and guard have spoken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuardedRetention<'a> {
    /// What is kept and removed. Snapshots kept aside are among the kept, with a reason of ours.
    pub retention: Retention<'a>,
    /// What should be shown, though forget goes on.
    pub notices: Vec<GuardNotice>,
    /// Why nothing of this group may be removed yet. Empty: go on.
    pub findings: Vec<GuardFinding>,
    /// How many of the kept ones are kept aside.
    aside: usize,
}

impl GuardedRetention<'_> {
    /// [`Policy::check_result`], in which snapshots kept aside do not count as kept.
    pub fn check(&self, policy: &Policy, group: &GroupKey) -> Result<(), PolicyError> {
        let nothing_kept = self.retention.keep.len() == self.aside;
        if nothing_kept && !self.retention.remove.is_empty() && !policy.is_empty() {
            return Err(PolicyError::LastOfGroup {
                group: group.clone(),
            });
        }
        Ok(())
    }
}

/// Applies `policy` to one group under the guard. `now` is our clock and `zone` the local zone.
///
/// An empty policy, with which everything is meant to go, is applied without the guard.
pub fn guard_forget<'a>(
    group: &[&'a StoredSnapshot],
    policy: &Policy,
    context: &GuardContext,
    now: Time,
    zone: &Zone,
) -> GuardedRetention<'a> {
    if policy.is_empty() {
        return GuardedRetention {
            retention: apply_policy(group, policy, now, zone),
            notices: Vec::new(),
            findings: Vec::new(),
            aside: 0,
        };
    }
    let (mut future, mut counted): (Vec<&StoredSnapshot>, Vec<&StoredSnapshot>) = group
        .iter()
        .partition(|stored| context.is_future(stored, now));
    sort_newest_first(&mut future);
    sort_newest_first(&mut counted);
    let apply = |list: &[&'a StoredSnapshot]| apply_policy(list, policy, now, zone);

    let mut retention = apply(&counted);
    let notices = future_notice(&future, &apply(group), &retention);
    let findings = if context.allow_burst {
        Vec::new()
    } else {
        suspect(&counted, &retention, context, &apply)
    };
    retention.keep.splice(..0, future.iter().map(|s| aside(s)));
    GuardedRetention {
        retention,
        notices,
        findings,
        aside: future.len(),
    }
}

fn aside(stored: &StoredSnapshot) -> Kept<'_> {
    Kept {
        snapshot: stored,
        matches: vec!["dated in the future, not counted".to_owned()],
        counters: Counters::default(),
    }
}

fn ids<'a>(list: impl IntoIterator<Item = &'a StoredSnapshot>) -> HashSet<Id> {
    list.into_iter().map(|stored| stored.id).collect()
}

fn kept_ids(retention: &Retention<'_>) -> HashSet<Id> {
    ids(retention.keep.iter().map(|kept| kept.snapshot))
}

fn future_notice(
    future: &[&StoredSnapshot],
    if_counted: &Retention<'_>,
    retention: &Retention<'_>,
) -> Vec<GuardNotice> {
    if future.is_empty() {
        return Vec::new();
    }
    let kept = kept_ids(retention);
    let saved = if_counted.remove.iter().filter(|s| kept.contains(&s.id));
    vec![GuardNotice::FutureDated {
        snapshots: future.iter().map(|stored| Dated::of(stored)).collect(),
        would_push_out: saved.map(|stored| Dated::of(stored)).collect(),
    }]
}

/// One group, what the policy makes of it, and how to ask what it would make of fewer snapshots.
struct Case<'c, 'a> {
    counted: &'c [&'a StoredSnapshot],
    retention: &'c Retention<'a>,
    apply: &'c dyn Fn(&[&'a StoredSnapshot]) -> Retention<'a>,
}

impl<'a> Case<'_, 'a> {
    /// The snapshots that are removed, but would be kept if those in `absent` were not there.
    fn lost_to(&self, absent: &HashSet<Id>) -> Vec<&'a StoredSnapshot> {
        let present = |stored: &&&StoredSnapshot| !absent.contains(&stored.id);
        let rest: Vec<&StoredSnapshot> = self.counted.iter().filter(present).copied().collect();
        let kept = kept_ids(&(self.apply)(&rest));
        let removed = self.retention.remove.iter();
        removed
            .filter(|stored| kept.contains(&stored.id))
            .copied()
            .collect()
    }
}

/// Looks for bursts and back-dated snapshots, and for what would be lost because of them.
fn suspect<'a>(
    counted: &[&'a StoredSnapshot],
    retention: &Retention<'a>,
    context: &GuardContext,
    apply: &dyn Fn(&[&'a StoredSnapshot]) -> Retention<'a>,
) -> Vec<GuardFinding> {
    if retention.remove.is_empty() {
        return Vec::new();
    }
    let case = Case {
        counted,
        retention,
        apply,
    };
    let bursts = burst::find(counted, &context.trusted);
    let back_dated = back_dated::find(counted, context);
    let burst_ids = ids(bursts.iter().flatten().copied());
    let findings = [
        burst_finding(&case, &bursts),
        back_dated_finding(&case, back_dated, &burst_ids),
    ];
    findings.into_iter().flatten().collect()
}

/// Leaves out the bursts one after the other, the newest first, and stops at the first loss. An
/// older burst may itself be what is lost to a newer one.
fn burst_finding(case: &Case<'_, '_>, bursts: &[Vec<&StoredSnapshot>]) -> Option<GuardFinding> {
    let mut absent: HashSet<Id> = HashSet::new();
    for (number, burst) in bursts.iter().enumerate() {
        absent.extend(burst.iter().map(|stored| stored.id));
        let begin = burst.last()?.snapshot.time;
        let lost: Vec<Dated> = case
            .lost_to(&absent)
            .into_iter()
            .filter(|stored| {
                let age = seconds_between(stored.snapshot.time, begin);
                age >= BURST_LOSS_AGE_SECONDS && !absent.contains(&stored.id)
            })
            .map(Dated::of)
            .collect();
        if !lost.is_empty() {
            let snapshots = bursts[..=number].iter().flatten();
            return Some(GuardFinding::Burst {
                snapshots: snapshots.map(|stored| Dated::of(stored)).collect(),
                would_lose: lost,
            });
        }
    }
    None
}

fn back_dated_finding(
    case: &Case<'_, '_>,
    found: Vec<back_dated::Found<'_>>,
    bursts: &HashSet<Id>,
) -> Option<GuardFinding> {
    if found.is_empty() {
        return None;
    }
    let accused: HashSet<Id> = ids(found.iter().map(|found| found.snapshot));
    let mut lost = HashSet::new();
    let mut lose = |absent: &HashSet<Id>, count_accused: bool| {
        for stored in case.lost_to(absent) {
            if accused.contains(&stored.id) == count_accused {
                lost.insert(stored.id);
            }
        }
    };
    lose(&accused, false);
    lose(&accused.union(bursts).copied().collect(), false);
    // A planted snapshot may also name false parents, so that honest ones look back-dated. Then it
    // is the witnesses who lie, and what is kept without them must not be lost either.
    let witnesses: HashSet<Id> = found.iter().filter_map(|f| f.witness()).collect();
    if !witnesses.is_empty() {
        lose(&witnesses, true);
    }
    if lost.is_empty() {
        return None;
    }
    let removed = case.retention.remove.iter();
    Some(GuardFinding::BackDated {
        snapshots: found
            .into_iter()
            .map(|found| (Dated::of(found.snapshot), found.evidence))
            .collect(),
        would_lose: removed
            .filter(|stored| lost.contains(&stored.id))
            .map(|stored| Dated::of(stored))
            .collect(),
    })
}
