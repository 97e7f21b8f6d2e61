//! Durations of the calendar, as `1y5m7d2h`.

use std::fmt;
use std::str::FromStr;

/// A duration in years, months, days and hours; how long each is depends on where one stands in the
/// calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KeepDuration {
    /// Years.
    pub years: i64,
    /// Months.
    pub months: i64,
    /// Days.
    pub days: i64,
    /// Hours.
    pub hours: i64,
}

/// The text is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseKeepDurationError {
    /// A unit without a number before it.
    #[error("no number found")]
    NoNumber,
    /// A number that ends the text.
    #[error("no unit found after number {0}")]
    NoUnit(i64),
    /// A unit that is none of `y`, `m`, `d` and `h`.
    #[error("invalid unit {unit:?} found after number {number}")]
    InvalidUnit {
        /// The letter found.
        unit: char,
        /// The number before it.
        number: i64,
    },
    /// A number that no calendar reaches.
    #[error("the number is too large")]
    TooLarge,
}

impl KeepDuration {
    /// Whether all parts are zero, which stands for "not set".
    pub fn is_zero(&self) -> bool {
        *self == KeepDuration::default()
    }

    /// Whether any part is below zero.
    pub fn has_negative(&self) -> bool {
        [self.years, self.months, self.days, self.hours]
            .iter()
            .any(|part| *part < 0)
    }

    pub(super) fn parts(&self) -> (i64, i64, i64, i64) {
        (self.years, self.months, self.days, self.hours)
    }
}

impl FromStr for KeepDuration {
    type Err = ParseKeepDurationError;

    /// Parts may come in any order; of a unit given twice the last counts, as in restic.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut duration = KeepDuration::default();
        let mut rest = text.trim();
        while !rest.is_empty() {
            let unsigned = rest.strip_prefix('-').unwrap_or(rest);
            let digits = unsigned.bytes().take_while(u8::is_ascii_digit).count();
            if digits == 0 {
                return Err(ParseKeepDurationError::NoNumber);
            }
            let end = rest.len() - unsigned.len() + digits;
            let number: i64 = rest[..end]
                .parse()
                .map_err(|_| ParseKeepDurationError::TooLarge)?;
            let mut letters = rest[end..].chars();
            match letters.next() {
                None => return Err(ParseKeepDurationError::NoUnit(number)),
                Some('y') => duration.years = number,
                Some('m') => duration.months = number,
                Some('d') => duration.days = number,
                Some('h') => duration.hours = number,
                Some(unit) => return Err(ParseKeepDurationError::InvalidUnit { unit, number }),
            }
            rest = letters.as_str();
        }
        Ok(duration)
    }
}

impl fmt::Display for KeepDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, unit) in [
            (self.years, 'y'),
            (self.months, 'm'),
            (self.days, 'd'),
            (self.hours, 'h'),
        ] {
            if number != 0 {
                write!(f, "{number}{unit}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn texts_parse_and_show() {
        for (text, shown) in [
            ("6y5m234d37h", "6y5m234d37h"),
            (" 5d ", "5d"),
            ("3h1y", "1y3h"),
            ("1d2d", "2d"),
            ("-1y0m", "-1y"),
            ("", ""),
        ] {
            let duration: KeepDuration = text.parse().unwrap();
            assert_eq!(duration.to_string(), shown, "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        let parse = |text: &str| text.parse::<KeepDuration>().unwrap_err();
        assert_eq!(parse("5"), ParseKeepDurationError::NoUnit(5));
        assert_eq!(parse("d"), ParseKeepDurationError::NoNumber);
        assert_eq!(parse("-"), ParseKeepDurationError::NoNumber);
        assert_eq!(parse("1d x"), ParseKeepDurationError::NoNumber);
        assert_eq!(
            parse("3ü"),
            ParseKeepDurationError::InvalidUnit {
                unit: 'ü',
                number: 3
            }
        );
        assert_eq!(
            parse("99999999999999999999d"),
            ParseKeepDurationError::TooLarge
        );
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[-0-9ymdhü ]{0,12}") {
            if let Ok(duration) = text.parse::<KeepDuration>() {
                prop_assert_eq!(duration.to_string().parse(), Ok(duration));
            }
        }
    }
}
