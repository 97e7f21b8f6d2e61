//! Applying a policy to one group of snapshots.

use outlast_format::Time;
use serde::Serialize;

use super::{KeepCount, KeepDuration, Policy};
use crate::snapshots::{StoredSnapshot, sort_newest_first};
use crate::zone::{Instant, Zone};

/// What is left of each counting rule; -1 is "all". Zeros are not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Counters {
    /// Left of `last`.
    #[serde(skip_serializing_if = "is_zero")]
    pub last: i64,
    /// Left of `hourly`.
    #[serde(skip_serializing_if = "is_zero")]
    pub hourly: i64,
    /// Left of `daily`.
    #[serde(skip_serializing_if = "is_zero")]
    pub daily: i64,
    /// Left of `weekly`.
    #[serde(skip_serializing_if = "is_zero")]
    pub weekly: i64,
    /// Left of `monthly`.
    #[serde(skip_serializing_if = "is_zero")]
    pub monthly: i64,
    /// Left of `yearly`.
    #[serde(skip_serializing_if = "is_zero")]
    pub yearly: i64,
}

fn is_zero(count: &i64) -> bool {
    *count == 0
}

/// A snapshot that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept<'a> {
    /// The snapshot.
    pub snapshot: &'a StoredSnapshot,
    /// The rules that keep it, in restic's words.
    pub matches: Vec<String>,
    /// What is left of the counting rules after it.
    pub counters: Counters,
}

/// What a policy makes of a group, both lists newest first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Retention<'a> {
    /// Kept.
    pub keep: Vec<Kept<'a>>,
    /// To be removed.
    pub remove: Vec<&'a StoredSnapshot>,
}

/// A period that a time falls into; equal for times in the same one.
type Period = i64;

/// Which periods a rule counts.
#[derive(Debug, Clone, Copy)]
enum Unit {
    Each,
    Hour,
    Day,
    Week,
    Month,
    Year,
}

impl Unit {
    /// The period of `time`, read from the calendar of the zone it was written in.
    fn period(self, time: Time, number: usize) -> Period {
        let civil = time.civil();
        let (year, month, day) = (
            i64::from(civil.year()),
            i64::from(civil.month()),
            i64::from(civil.day()),
        );
        match self {
            Unit::Each => number as i64,
            Unit::Hour => ((year * 100 + month) * 100 + day) * 100 + i64::from(civil.hour()),
            Unit::Day => (year * 100 + month) * 100 + day,
            Unit::Week => {
                let week = civil.date().iso_week_date();
                i64::from(week.year()) * 100 + i64::from(week.week())
            }
            Unit::Month => year * 100 + month,
            Unit::Year => year,
        }
    }
}

/// A rule that keeps the newest of each period.
struct Rule {
    unit: Unit,
    /// -1 is "all", 0 is "none left".
    left: i64,
    /// Only snapshots after this, for rules with a duration.
    after: Option<Instant>,
    last_period: Option<Period>,
    reason: &'static str,
    suffix: String,
}

impl Rule {
    fn counting((count, unit, reason): (KeepCount, Unit, &'static str)) -> Self {
        let left = match count {
            KeepCount::None => 0,
            KeepCount::Count(count) => i64::try_from(count).unwrap_or(i64::MAX),
            KeepCount::Unlimited => -1,
        };
        Self {
            unit,
            left,
            after: None,
            last_period: None,
            reason,
            suffix: String::new(),
        }
    }

    /// Why the rule keeps this snapshot, if it does.
    fn keep(&mut self, time: Time, number: usize, is_oldest: bool) -> Option<String> {
        if self.left == 0 || self.after.is_some_and(|after| Instant::from(time) <= after) {
            return None;
        }
        let period = self.unit.period(time, number);
        let is_new = self.last_period != Some(period);
        if !is_new && !is_oldest {
            return None;
        }
        self.last_period = Some(period);
        if self.left > 0 {
            self.left -= 1;
        }
        let oldest = if is_new { "" } else { "oldest " };
        Some(format!("{oldest}{}{}", self.reason, self.suffix))
    }
}

fn counting_rules(policy: &Policy) -> [Rule; 6] {
    [
        (policy.last, Unit::Each, "last snapshot"),
        (policy.hourly, Unit::Hour, "hourly snapshot"),
        (policy.daily, Unit::Day, "daily snapshot"),
        (policy.weekly, Unit::Week, "weekly snapshot"),
        (policy.monthly, Unit::Month, "monthly snapshot"),
        (policy.yearly, Unit::Year, "yearly snapshot"),
    ]
    .map(Rule::counting)
}

fn duration_rules(policy: &Policy, newest: Time, zone: &Zone) -> Vec<Rule> {
    [
        (policy.within_hourly, Unit::Hour, "hourly within "),
        (policy.within_daily, Unit::Day, "daily within "),
        (policy.within_weekly, Unit::Week, "weekly within "),
        (policy.within_monthly, Unit::Month, "monthly within "),
        (policy.within_yearly, Unit::Year, "yearly within "),
    ]
    .into_iter()
    .filter(|(duration, ..)| !duration.is_zero())
    .map(|(duration, unit, reason)| Rule {
        unit,
        left: -1,
        after: Some(zone.back(newest, duration.parts())),
        last_period: None,
        reason,
        suffix: duration.to_string(),
    })
    .collect()
}

/// The newest time before `now`; Go's zero time if there is none, so that durations then reach
/// everything.
fn newest_time(sorted: &[&StoredSnapshot], now: Time) -> Time {
    sorted
        .iter()
        .map(|stored| stored.snapshot.time)
        .find(|time| time.instant() < now.instant())
        .filter(|time| time.instant() > Time::ZERO.instant())
        .unwrap_or(Time::ZERO)
}

/// Applies `policy` to the snapshots of one group. `now` bounds the time from which durations are
/// counted; `zone` is the local zone.
pub fn apply_policy<'a>(
    group: &[&'a StoredSnapshot],
    policy: &Policy,
    now: Time,
    zone: &Zone,
) -> Retention<'a> {
    let mut sorted = group.to_vec();
    sort_newest_first(&mut sorted);
    let newest = newest_time(&sorted, now);
    let within = Some(policy.within)
        .filter(|duration| !KeepDuration::is_zero(duration))
        .map(|duration| zone.back(newest, duration.parts()));
    let mut counting = counting_rules(policy);
    let mut durations = duration_rules(policy, newest, zone);

    let mut retention = Retention::default();
    let oldest = sorted.len().saturating_sub(1);
    for (number, stored) in sorted.into_iter().enumerate() {
        let time = stored.snapshot.time;
        let mut matches: Vec<String> = policy
            .tags
            .iter()
            .filter(|list| list.matches(&stored.snapshot))
            .map(|list| format!("has tags {list}"))
            .collect();
        if within.is_some_and(|after| Instant::from(time) > after) {
            matches.push(format!("within {}", policy.within));
        }
        for rule in counting.iter_mut().chain(&mut durations) {
            matches.extend(rule.keep(time, number, number == oldest));
        }
        if matches.is_empty() {
            retention.remove.push(stored);
            continue;
        }
        let [last, hourly, daily, weekly, monthly, yearly] = counting.each_ref().map(|r| r.left);
        retention.keep.push(Kept {
            snapshot: stored,
            matches,
            counters: Counters {
                last,
                hourly,
                daily,
                weekly,
                monthly,
                yearly,
            },
        });
    }
    retention
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshots::testing::stored;

    fn apply(times: &[&str], policy: &Policy) -> Vec<(String, Vec<String>)> {
        let list: Vec<StoredSnapshot> = times.iter().map(|time| stored(time, "h")).collect();
        let group: Vec<&StoredSnapshot> = list.iter().collect();
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        apply_policy(&group, policy, now, &Zone::utc())
            .keep
            .into_iter()
            .map(|kept| (kept.snapshot.snapshot.time.to_string(), kept.matches))
            .collect()
    }

    #[test]
    fn newest_of_each_day_and_the_oldest_are_kept() {
        let times = [
            "2025-03-01T01:00:00Z",
            "2025-03-01T02:00:00Z",
            "2025-03-02T01:00:00Z",
            "2025-03-02T23:00:00Z",
        ];
        let policy = Policy {
            daily: KeepCount::Count(7),
            ..Policy::default()
        };
        let expected = [
            (times[3], "daily snapshot"),
            (times[1], "daily snapshot"),
            (times[0], "oldest daily snapshot"),
        ]
        .map(|(time, reason)| (time.to_owned(), vec![reason.to_owned()]));
        assert_eq!(apply(&times, &policy), expected);
    }

    #[test]
    fn durations_are_counted_from_the_newest_that_is_not_in_the_future() {
        let times = [
            "2095-01-01T00:00:00Z",
            "2025-03-10T00:00:00Z",
            "2025-03-09T00:00:01Z",
            "2025-03-09T00:00:00Z",
        ];
        let policy = Policy {
            within: "1d".parse().unwrap(),
            ..Policy::default()
        };
        let kept: Vec<String> = apply(&times, &policy).into_iter().map(|k| k.0).collect();
        assert_eq!(kept, &times[..3]);
    }

    #[test]
    fn counters_are_written_as_restic_did() {
        let counters = Counters {
            last: -1,
            daily: 3,
            ..Counters::default()
        };
        assert_eq!(
            serde_json::to_string(&counters).unwrap(),
            r#"{"last":-1,"daily":3}"#
        );
    }

    #[test]
    fn nothing_comes_of_nothing() {
        let policy = Policy::default();
        let now = Time::utc(0, 0);
        assert_eq!(
            apply_policy(&[], &policy, now, &Zone::utc()),
            Retention::default()
        );
    }
}
