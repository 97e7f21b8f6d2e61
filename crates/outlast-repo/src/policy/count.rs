//! How many snapshots a rule keeps.

use std::fmt;
use std::str::FromStr;

/// How many snapshots a counting rule keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KeepCount {
    /// The rule is not used.
    #[default]
    None,
    /// At most so many, at least one.
    Count(u64),
    /// All.
    Unlimited,
}

/// The text is not a number of snapshots.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseKeepCountError {
    /// Below zero.
    #[error("negative values not allowed, use 'unlimited' instead")]
    Negative,
    /// Not a number at all, or too large a one.
    #[error("not a number of snapshots: {0:?}")]
    Invalid(String),
}

impl FromStr for KeepCount {
    type Err = ParseKeepCountError;

    /// Takes a number or `unlimited`; -1, which older scripts use for it, means the same.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "unlimited" {
            return Ok(KeepCount::Unlimited);
        }
        match text.parse::<i64>() {
            Ok(-1) => Ok(KeepCount::Unlimited),
            Ok(0) => Ok(KeepCount::None),
            Ok(count) => u64::try_from(count)
                .map(KeepCount::Count)
                .map_err(|_| ParseKeepCountError::Negative),
            Err(_) => Err(ParseKeepCountError::Invalid(
                text.chars().take(64).collect(),
            )),
        }
    }
}

impl fmt::Display for KeepCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeepCount::None => f.write_str("0"),
            KeepCount::Count(count) => write!(f, "{count}"),
            KeepCount::Unlimited => f.write_str("unlimited"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_unlimited() {
        for (text, count) in [
            ("7", KeepCount::Count(7)),
            ("+7", KeepCount::Count(7)),
            ("0", KeepCount::None),
            ("unlimited", KeepCount::Unlimited),
            ("-1", KeepCount::Unlimited),
        ] {
            assert_eq!(text.parse(), Ok(count), "{text}");
        }
        assert_eq!(
            "-2".parse::<KeepCount>(),
            Err(ParseKeepCountError::Negative)
        );
        for bad in ["", "x", "7d", "1_0", "9223372036854775808"] {
            assert!(bad.parse::<KeepCount>().is_err(), "{bad}");
        }
    }
}
