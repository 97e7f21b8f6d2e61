//! Points in time as Go writes them in JSON: RFC 3339 with nanoseconds and the zone's offset.

use std::fmt;
use std::str::FromStr;

use jiff::SignedDuration;
use jiff::civil::{DateTime, datetime};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A point in time with the offset of the zone in which it was written.
///
/// Two times are equal when they are written alike; [`Time::instant`] compares points in time.
/// Years outside 0 to 9999 cannot be written and are clamped, as restic does.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Time {
    seconds: i64,
    nanos: u32,
    offset_seconds: i32,
}

/// The text is not a time in RFC 3339.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a time in RFC 3339: {0:?}")]
pub struct ParseTimeError(pub String);

const EPOCH: DateTime = datetime(1970, 1, 1, 0, 0, 0, 0);
/// 0001-01-01T00:00:00Z, Go's zero time.
const ZERO_SECONDS: i64 = -62_135_596_800;
/// 0000-01-01T00:00:00Z.
const SECONDS_MIN: i64 = -62_167_219_200;
/// 9999-12-31T23:59:59Z.
const SECONDS_MAX: i64 = 253_402_300_799;
/// Offsets beyond a day are not written by anybody.
const OFFSET_SECONDS_MAX: i32 = 24 * 3600 - 1;

impl Time {
    /// Go's zero time, which stands for "not set".
    pub const ZERO: Time = Time {
        seconds: ZERO_SECONDS,
        nanos: 0,
        offset_seconds: 0,
    };

    /// The time `seconds` and `nanos` after 1970 in UTC, shown at `offset_seconds` east of UTC.
    /// Values that cannot be written are clamped.
    pub fn new(seconds: i64, nanos: u32, offset_seconds: i32) -> Self {
        // Seconds within an offset keep Go from parsing the text: it knows minutes only.
        let offset = offset_seconds.clamp(-OFFSET_SECONDS_MAX, OFFSET_SECONDS_MAX) / 60 * 60;
        let local = seconds
            .saturating_add(i64::from(offset))
            .clamp(SECONDS_MIN, SECONDS_MAX);
        Self {
            seconds: local - i64::from(offset),
            nanos: nanos.min(999_999_999),
            offset_seconds: offset,
        }
    }

    /// A time in UTC.
    pub fn utc(seconds: i64, nanos: u32) -> Self {
        Self::new(seconds, nanos, 0)
    }

    /// Whole seconds since 1970 in UTC.
    pub fn seconds(&self) -> i64 {
        self.seconds
    }

    /// Nanoseconds within the second.
    pub fn nanos(&self) -> u32 {
        self.nanos
    }

    /// Seconds east of UTC at which the time is written.
    pub fn offset_seconds(&self) -> i32 {
        self.offset_seconds
    }

    /// The point in time alone, to be compared and ordered.
    pub fn instant(&self) -> (i64, u32) {
        (self.seconds, self.nanos)
    }

    /// Whether this is Go's zero time.
    pub fn is_zero(&self) -> bool {
        self.instant() == Self::ZERO.instant()
    }

    /// Date and time of day as written, in the time's own zone.
    pub fn civil(&self) -> DateTime {
        let local = self.seconds + i64::from(self.offset_seconds);
        let since_epoch = SignedDuration::new(local, self.nanos as i32);
        // `new` keeps the seconds within the years that a civil date can have.
        EPOCH.checked_add(since_epoch).unwrap_or(EPOCH)
    }

    /// The same point in time, written in UTC.
    pub fn to_utc(&self) -> Self {
        Self::utc(self.seconds, self.nanos)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let civil = self.civil();
        write!(
            f,
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}",
            civil.year(),
            civil.month(),
            civil.day(),
            civil.hour(),
            civil.minute(),
            civil.second()
        )?;
        if self.nanos != 0 {
            let digits = format!("{:09}", self.nanos);
            write!(f, ".{}", digits.trim_end_matches('0'))?;
        }
        if self.offset_seconds == 0 {
            return f.write_str("Z");
        }
        let sign = if self.offset_seconds < 0 { '-' } else { '+' };
        let minutes = self.offset_seconds.unsigned_abs() / 60;
        write!(f, "{sign}{:02}:{:02}", minutes / 60, minutes % 60)
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Time {
    type Err = ParseTimeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text.as_bytes()).ok_or_else(|| ParseTimeError(text.chars().take(64).collect()))
    }
}

fn digits(bytes: &[u8], from: usize, count: usize) -> Option<i64> {
    let mut value = 0;
    for &byte in bytes.get(from..from + count)? {
        if !byte.is_ascii_digit() {
            return None;
        }
        value = value * 10 + i64::from(byte - b'0');
    }
    Some(value)
}

fn parse(bytes: &[u8]) -> Option<Time> {
    let separators = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
    if separators
        .iter()
        .any(|&(at, byte)| bytes.get(at) != Some(&byte))
    {
        return None;
    }
    let field = |from, count| digits(bytes, from, count);
    let civil = DateTime::new(
        field(0, 4)? as i16,
        field(5, 2)? as i8,
        field(8, 2)? as i8,
        field(11, 2)? as i8,
        field(14, 2)? as i8,
        field(17, 2)? as i8,
        0,
    )
    .ok()?;
    let mut at = 19;
    let mut nanos = 0;
    if matches!(bytes.get(at), Some(b'.' | b',')) {
        let fraction = bytes[at + 1..]
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        if fraction == 0 {
            return None;
        }
        // Go keeps nine digits and drops the rest.
        let kept = fraction.min(9);
        nanos = (digits(bytes, at + 1, kept)? * 10i64.pow(9 - kept as u32)) as u32;
        at += 1 + fraction;
    }
    let offset = parse_offset(&bytes[at..])?;
    let local = civil.duration_since(EPOCH).as_secs();
    Some(Time::new(local - i64::from(offset), nanos, offset))
}

fn parse_offset(bytes: &[u8]) -> Option<i32> {
    if bytes == b"Z" {
        return Some(0);
    }
    if bytes.len() != 6 || bytes[3] != b':' {
        return None;
    }
    let (hours, minutes) = (digits(bytes, 1, 2)?, digits(bytes, 4, 2)?);
    if hours > 24 || minutes > 60 {
        return None;
    }
    let seconds = (hours * 3600 + minutes * 60) as i32;
    match bytes[0] {
        b'+' => Some(seconds),
        b'-' => Some(-seconds),
        _ => None,
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Time;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a time in RFC 3339")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Time, E> {
                text.parse().map_err(E::custom)
            }
            fn visit_unit<E: de::Error>(self) -> Result<Time, E> {
                // Go leaves a value alone when it meets null.
                Ok(Time::ZERO)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_texts_survive_a_round_trip() {
        for text in [
            "0001-01-01T00:00:00Z",
            "2026-11-23T06:27:38.123456789+01:00",
            "2026-11-23T06:27:38.1Z",
            "1969-12-31T23:59:59.999999999-09:30",
            "9999-12-31T23:59:59Z",
            "0000-01-01T00:00:00Z",
        ] {
            assert_eq!(text.parse::<Time>().unwrap().to_string(), text);
        }
        assert!("0001-01-01T00:00:00Z".parse::<Time>().unwrap().is_zero());
    }

    #[test]
    fn long_fractions_are_cut_and_trailing_zeros_dropped() {
        let time: Time = "2020-02-29T12:00:00.1234567899Z".parse().unwrap();
        assert_eq!(time.nanos(), 123_456_789);
        let time: Time = "2020-02-29T12:00:00.500000000Z".parse().unwrap();
        assert_eq!(time.to_string(), "2020-02-29T12:00:00.5Z");
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "",
            "2020",
            "2020-02-30T00:00:00Z",
            "2020-02-29T12:00:00",
            "2020-02-29 12:00:00Z",
            "2020-02-29T12:00:00.Z",
            "2020-02-29T25:00:00Z",
            "2020-02-29T12:00:00+0100",
            "-2020-02-29T12:00:00Z",
            "2020-02-29T12:00:00Zjunk",
            "\u{e9}020-02-29T12:00:00Z",
        ] {
            assert!(text.parse::<Time>().is_err(), "{text}");
        }
    }

    #[test]
    fn impossible_years_are_clamped() {
        assert_eq!(Time::utc(i64::MAX, 0).to_string(), "9999-12-31T23:59:59Z");
        assert_eq!(Time::utc(i64::MIN, 0).to_string(), "0000-01-01T00:00:00Z");
        assert_eq!(
            Time::new(i64::MAX, 0, 3600).to_string(),
            "9999-12-31T23:59:59+01:00"
        );
    }

    #[test]
    fn instants_compare_across_zones() {
        let here: Time = "2026-01-01T01:00:00+01:00".parse().unwrap();
        let there: Time = "2026-01-01T00:00:00Z".parse().unwrap();
        assert_ne!(here, there);
        assert_eq!(here.instant(), there.instant());
    }
}
