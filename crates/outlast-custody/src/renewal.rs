//! When retention that has to be renewed is renewed, and until when.
//!
//! A bucket retains for a period from the writing of an object, and a snapshot of today may need an
//! object of last year. So whatever a live seal needs is extended again and again, long before its
//! retention ends: what is missed for once is made up for at the next run.

/// How far ahead of the present retention must reach, as a part of the period: two thirds.
const AHEAD_NUMERATOR: u64 = 2;
const AHEAD_DENOMINATOR: u64 = 3;

/// The rule by which retention of one period is renewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Renewal {
    period_seconds: u64,
}

impl Renewal {
    /// Renewal of retention of this period, seconds.
    pub fn of_period(period_seconds: u64) -> Self {
        Self { period_seconds }
    }

    /// Until when something that is needed now must be retained at least, seconds since 1970. Less is a
    /// reason for an alarm if it cannot be extended.
    pub fn needed_until(&self, now: u64) -> u64 {
        let whole = self.period_seconds / AHEAD_DENOMINATOR * AHEAD_NUMERATOR;
        let rest = self.period_seconds % AHEAD_DENOMINATOR * AHEAD_NUMERATOR / AHEAD_DENOMINATOR;
        now.saturating_add(whole + rest)
    }

    /// The moment to which the retention of something that is needed is to be extended, if it is to
    /// be extended now. Never earlier than it is.
    pub fn extend_to(&self, retained_until: Option<u64>, now: u64) -> Option<u64> {
        let extended = now.saturating_add(self.period_seconds);
        let until = retained_until.unwrap_or(0);
        (until < self.needed_until(now) && until < extended).then_some(extended)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_needed_is_ahead_and_never_shortened(
            period in 0_u64..1_000_000_000,
            now in 0_u64..4_000_000_000,
            until in proptest::option::of(0_u64..8_000_000_000),
        ) {
            let renewal = Renewal::of_period(period);
            let after = renewal.extend_to(until, now).or(until).unwrap_or(0);
            prop_assert!(after >= until.unwrap_or(0));
            prop_assert!(after >= renewal.needed_until(now));
            prop_assert!(renewal.needed_until(now) >= now);
            // Once extended, there is nothing to do for a third of the period.
            if renewal.extend_to(until, now).is_some() {
                prop_assert_eq!(renewal.extend_to(Some(after), now + period / 3), None);
            }
        }
    }
}
