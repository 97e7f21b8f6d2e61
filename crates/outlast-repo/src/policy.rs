//! Which snapshots a retention policy keeps, and why: restic's rules, pure.
//!
//! A policy is applied to one group of snapshots, newest first. Rules that count (`last`, `hourly`
//! … `yearly`) keep the newest snapshot of each period until their number is used up; rules with a
//! duration reach back from the newest snapshot that is not in the future; tags keep without being
//! counted. While a counting rule has numbers left, the oldest snapshot is kept, too.
//!
//! The results are restic 0.19's, reasons included; the order of snapshots with equal times, which
//! restic leaves to chance, is that of their ids. Durations that overflow in restic saturate here.
//! [`crate::guard_forget`] is what protects against snapshots that lie about their time.

mod apply;
mod count;
mod duration;
mod text;

pub use apply::{Counters, Kept, Retention, apply_policy};
pub use count::{KeepCount, ParseKeepCountError};
pub use duration::{KeepDuration, ParseKeepDurationError};

use crate::snapshots::{GroupKey, SnapshotFilter, TagList};

/// What to keep.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policy {
    /// The newest snapshots.
    pub last: KeepCount,
    /// The newest snapshot of each hour.
    pub hourly: KeepCount,
    /// The newest snapshot of each day.
    pub daily: KeepCount,
    /// The newest snapshot of each ISO week.
    pub weekly: KeepCount,
    /// The newest snapshot of each month.
    pub monthly: KeepCount,
    /// The newest snapshot of each year.
    pub yearly: KeepCount,
    /// Everything newer than this, counted from the newest snapshot.
    pub within: KeepDuration,
    /// The newest of each hour, as far back.
    pub within_hourly: KeepDuration,
    /// The newest of each day, as far back.
    pub within_daily: KeepDuration,
    /// The newest of each week, as far back.
    pub within_weekly: KeepDuration,
    /// The newest of each month, as far back.
    pub within_monthly: KeepDuration,
    /// The newest of each year, as far back.
    pub within_yearly: KeepDuration,
    /// Everything that has all tags of one of these lists.
    pub tags: Vec<TagList>,
}

/// Why a policy is not applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// Nothing says what to keep.
    #[error("no policy was specified, no snapshots will be removed")]
    Empty,
    /// Everything would go, of every host and path.
    #[error(
        "--unsafe-allow-remove-all is not allowed unless a snapshot filter option is specified"
    )]
    RemoveAllWithoutFilter,
    /// A duration with a part below zero.
    #[error("durations containing negative values are not allowed for --keep-within*: {0}")]
    NegativeDuration(KeepDuration),
    /// The policy would leave nothing of a group.
    #[error("refusing to delete last snapshot of snapshot group \"{group}\"")]
    LastOfGroup {
        /// The group.
        group: GroupKey,
    },
}

impl Policy {
    /// Whether the policy says nothing at all.
    pub fn is_empty(&self) -> bool {
        *self == Policy::default()
    }

    /// Refuses what restic refuses before it looks at any snapshot. An empty policy removes
    /// everything that `filter` lets through, which must be asked for explicitly.
    pub fn check(
        &self,
        unsafe_allow_remove_all: bool,
        filter: &SnapshotFilter,
    ) -> Result<(), PolicyError> {
        let durations = [
            self.within,
            self.within_hourly,
            self.within_daily,
            self.within_weekly,
            self.within_monthly,
            self.within_yearly,
        ];
        if let Some(negative) = durations.into_iter().find(KeepDuration::has_negative) {
            return Err(PolicyError::NegativeDuration(negative));
        }
        match (self.is_empty(), unsafe_allow_remove_all) {
            (false, _) => Ok(()),
            (true, false) => Err(PolicyError::Empty),
            (true, true) if filter.is_empty() => Err(PolicyError::RemoveAllWithoutFilter),
            (true, true) => Ok(()),
        }
    }

    /// Refuses a result that leaves nothing of a group although the policy names something to keep.
    pub fn check_result(
        &self,
        retention: &Retention<'_>,
        group: &GroupKey,
    ) -> Result<(), PolicyError> {
        let nothing_kept = retention.keep.is_empty() && !retention.remove.is_empty();
        if nothing_kept && !self.is_empty() {
            return Err(PolicyError::LastOfGroup {
                group: group.clone(),
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter() -> SnapshotFilter {
        SnapshotFilter {
            hosts: vec!["h".to_owned()],
            ..SnapshotFilter::default()
        }
    }

    #[test]
    fn nothing_is_removed_without_a_policy() {
        let empty = Policy::default();
        let open = SnapshotFilter::default();
        assert_eq!(empty.check(false, &open), Err(PolicyError::Empty));
        assert_eq!(empty.check(false, &filter()), Err(PolicyError::Empty));
        assert_eq!(
            empty.check(true, &open),
            Err(PolicyError::RemoveAllWithoutFilter)
        );
        assert_eq!(empty.check(true, &filter()), Ok(()));
        // A count of zero is no policy, as in restic.
        let zero = Policy {
            last: "0".parse().unwrap(),
            ..Policy::default()
        };
        assert_eq!(zero.check(false, &open), Err(PolicyError::Empty));
    }

    #[test]
    fn negative_durations_are_refused() {
        let policy = Policy {
            within_weekly: "1y-2d".parse().unwrap(),
            ..Policy::default()
        };
        assert!(matches!(
            policy.check(false, &filter()),
            Err(PolicyError::NegativeDuration(_))
        ));
    }
}
