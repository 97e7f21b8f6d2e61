//! The local time zone, and calendar arithmetic in it that gives what Go's gives.
//!
//! Retention reaches back by calendar units from the newest snapshot, and where a change of summer
//! time lies between, the answer depends on the zone and on how wall clock times that exist twice
//! or never are resolved. restic leaves both to Go's `time` package, so we follow it to the second.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use outlast_format::Time;

/// A time zone, passed in wherever local time matters.
#[derive(Debug, Clone)]
pub struct Zone(TimeZone);

/// The zone's name is not known on this machine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the time zone {0:?} is not known on this machine")]
pub struct UnknownZone(pub String);

/// An exact point in time on a line that is longer than years can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Instant {
    seconds: i128,
    nanos: u32,
}

impl From<Time> for Instant {
    fn from(time: Time) -> Self {
        let (seconds, nanos) = time.instant();
        Self {
            seconds: i128::from(seconds),
            nanos,
        }
    }
}

/// A date and time of day, each part of any size, as Go's `time.Date` takes them.
#[derive(Debug, Clone, Copy)]
struct WallClock {
    year: i128,
    /// 0 is January.
    month: i128,
    /// 1 is the first.
    day: i128,
    /// Since midnight.
    seconds: i128,
}

impl Zone {
    /// The zone of this machine: `TZ`, else what the system is set to, else UTC.
    pub fn system() -> Self {
        Self(TimeZone::system())
    }

    /// Coordinated universal time.
    pub fn utc() -> Self {
        Self(TimeZone::UTC)
    }

    /// The zone with a name such as `Europe/Copenhagen`.
    pub fn named(name: &str) -> Result<Self, UnknownZone> {
        TimeZone::get(name)
            .map(Self)
            .map_err(|_| UnknownZone(name.chars().take(64).collect()))
    }

    /// Seconds east of UTC in this zone at `seconds` since 1970.
    pub fn offset_seconds(&self, seconds: i64) -> i32 {
        let bounded = seconds.clamp(
            Timestamp::MIN.as_second() + 1,
            Timestamp::MAX.as_second() - 1,
        );
        Timestamp::from_second(bounded)
            .map(|timestamp| self.0.to_offset(timestamp).seconds())
            .unwrap_or_default()
    }

    /// The same point in time, written in this zone.
    pub fn localize(&self, time: Time) -> Time {
        Time::new(
            time.seconds(),
            time.nanos(),
            self.offset_seconds(time.seconds()),
        )
    }

    /// The point in time at which the clocks of this zone show a date and time of day. A wall clock
    /// time that exists twice or never is resolved as Go does.
    pub fn at_wall_clock(&self, civil: jiff::civil::DateTime) -> Time {
        let wall = WallClock {
            year: i128::from(civil.year()),
            month: i128::from(civil.month()) - 1,
            day: i128::from(civil.day()),
            seconds: i128::from(civil.hour()) * 3600
                + i128::from(civil.minute()) * 60
                + i128::from(civil.second()),
        };
        let seconds = saturate(self.resolve(unresolved_seconds(wall)));
        Time::new(
            seconds,
            civil.subsec_nanosecond().max(0) as u32,
            self.offset_seconds(seconds),
        )
    }

    /// Wall clock seconds to seconds since 1970, with Go's rule: take the offset that would hold if
    /// the wall clock showed UTC, then the one that holds at the point in time this gives.
    fn resolve(&self, wall_seconds: i128) -> i128 {
        let first = self.offset_seconds(saturate(wall_seconds));
        if first == 0 {
            return wall_seconds;
        }
        let second = self.offset_seconds(saturate(wall_seconds - i128::from(first)));
        wall_seconds - i128::from(second)
    }

    /// `time` moved back by calendar units and then by hours.
    pub(crate) fn back(
        &self,
        time: Time,
        (years, months, days, hours): (i64, i64, i64, i64),
    ) -> Instant {
        let civil = time.civil();
        let wall = WallClock {
            year: i128::from(civil.year()) - i128::from(years),
            month: i128::from(civil.month()) - 1 - i128::from(months),
            day: i128::from(civil.day()) - i128::from(days),
            seconds: i128::from(civil.hour()) * 3600
                + i128::from(civil.minute()) * 60
                + i128::from(civil.second()),
        };
        let wall_seconds = unresolved_seconds(wall);
        let offset = time.offset_seconds();
        // Go takes a time to be local when its offset is the local one at that moment; a time
        // written in UTC stays in UTC, and any other offset is a fixed one.
        let seconds = if offset != 0 && self.offset_seconds(time.seconds()) == offset {
            self.resolve(wall_seconds)
        } else {
            wall_seconds - i128::from(offset)
        };
        Instant {
            seconds: seconds - i128::from(hours) * 3600,
            nanos: time.nanos(),
        }
    }
}

fn saturate(seconds: i128) -> i64 {
    seconds.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
}

/// Seconds from 1970 to a wall clock time, as if it were UTC. Parts beyond their range carry over,
/// in the Gregorian calendar extended in both directions.
fn unresolved_seconds(wall: WallClock) -> i128 {
    let year = wall.year + wall.month.div_euclid(12);
    let month = wall.month.rem_euclid(12);
    // Counted in years that begin with March, the leap day comes last.
    let (year, month) = if month < 2 {
        (year - 1, month + 10)
    } else {
        (year, month - 2)
    };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * month + 2) / 5;
    let days = era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100
        + day_of_year
        - 719_468
        + (wall.day - 1);
    days * 86_400 + wall.seconds
}

#[cfg(test)]
mod tests {
    use jiff::civil::datetime;
    use proptest::prelude::*;

    use super::*;

    fn back(zone: &str, from: &str, units: (i64, i64, i64, i64)) -> String {
        let instant = Zone::named(zone)
            .unwrap()
            .back(from.parse().unwrap(), units);
        Time::utc(saturate(instant.seconds), instant.nanos).to_string()
    }

    #[test]
    fn calendar_units_carry_over() {
        for (from, units, to) in [
            ("2024-03-31T12:00:00Z", (0, 1, 0, 0), "2024-03-02T12:00:00Z"),
            ("2023-03-31T12:00:00Z", (0, 1, 0, 0), "2023-03-03T12:00:00Z"),
            ("2024-02-29T00:00:00Z", (1, 0, 0, 0), "2023-03-01T00:00:00Z"),
            ("2024-01-01T00:00:00Z", (0, 0, 1, 1), "2023-12-30T23:00:00Z"),
            (
                "2024-05-15T01:02:03.5Z",
                (1, 14, 400, 30),
                "2021-02-06T19:02:03.5Z",
            ),
        ] {
            assert_eq!(back("UTC", from, units), to, "{from} {units:?}");
        }
    }

    #[test]
    fn local_days_keep_the_wall_clock_and_fixed_offsets_do_not_move() {
        // 31 March 2024, 02:00 to 03:00, did not exist in Copenhagen.
        let zone = "Europe/Copenhagen";
        let to = back(zone, "2024-04-01T12:00:00+02:00", (0, 0, 2, 0));
        assert_eq!(to, "2024-03-30T11:00:00Z");
        let to = back(zone, "2024-04-01T02:30:00+02:00", (0, 0, 1, 0));
        assert_eq!(to, "2024-03-31T01:30:00Z");
        let to = back(zone, "2024-04-01T12:00:00+05:00", (0, 0, 2, 0));
        assert_eq!(to, "2024-03-30T07:00:00Z");
        let to = back("Europe/London", "2024-04-02T12:00:00Z", (0, 0, 30, 0));
        assert_eq!(to, "2024-03-03T12:00:00Z");
    }

    #[test]
    fn absurd_units_do_not_overflow() {
        let zone = Zone::named("America/New_York").unwrap();
        let time = "2024-04-01T12:00:00-04:00".parse().unwrap();
        let most = i64::MAX;
        let far = zone.back(time, (most, most, most, most));
        assert!(far < Instant::from(Time::ZERO));
    }

    #[test]
    fn unknown_zones_are_refused() {
        assert!(Zone::named("Atlantis/Capital").is_err());
    }

    proptest! {
        #[test]
        fn wall_clock_and_offset_agree(seconds in 0i64..4_000_000_000, name in 0usize..4) {
            let names = ["UTC", "Europe/Copenhagen", "Australia/Lord_Howe", "America/Caracas"];
            let zone = Zone::named(names[name]).unwrap();
            let local = zone.localize(Time::utc(seconds, 0));
            let back = zone.at_wall_clock(local.civil());
            // Only in an hour that exists twice may another reading be right, too.
            prop_assert_eq!(back.civil(), local.civil());
        }

        #[test]
        fn days_agree_with_the_calendar_library(days in -700_000i64..2_900_000) {
            let date = datetime(1970, 1, 1, 0, 0, 0, 0)
                .checked_add(jiff::SignedDuration::from_hours(days * 24))
                .unwrap();
            let zone = Zone::utc();
            prop_assume!(date.year() >= 0);
            prop_assert_eq!(zone.at_wall_clock(date).seconds(), days * 86_400);
        }
    }
}
