//! Sizes, lengths of time and moments, as people write and read them.

use jiff::Timestamp;

/// What sizes are written with, each 1024 times the one before.
const SIZES: [(&str, u32); 5] = [("", 0), ("K", 10), ("M", 20), ("G", 30), ("T", 40)];

/// Lengths of time and their seconds. A year is one of 365 days.
const LENGTHS: [(&str, u64); 6] = [
    ("s", 1),
    ("m", 60),
    ("h", 3600),
    ("d", 86_400),
    ("w", 604_800),
    ("y", 31_536_000),
];

/// Number and unit of a text such as `90d`.
fn split(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|character: char| !character.is_ascii_digit());
    let (number, unit) = text.split_at(end.unwrap_or(text.len()));
    Some((number.parse().ok()?, unit.trim()))
}

/// Reads a size such as `500G`, `1.5`-less and in units of 1024; `GiB` is the same as `G`.
///
/// # Errors
/// A sentence for the person who wrote it.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is no size: write a whole number with K, M, G or T, as 500G");
    let (number, unit) = split(text).ok_or_else(wrong)?;
    let upper = unit.to_ascii_uppercase();
    let short = upper.strip_suffix("IB").unwrap_or(&upper);
    let (_, shift) = SIZES
        .iter()
        .find(|(name, _)| *name == short)
        .ok_or_else(wrong)?;
    number.checked_mul(1 << shift).ok_or_else(wrong)
}

/// Reads a length of time such as `90d` or `1y6w`, in seconds.
///
/// # Errors
/// A sentence for the person who wrote it.
pub fn parse_length(text: &str) -> Result<u64, String> {
    let wrong =
        || format!("{text:?} is no length of time: write numbers with s, m, h, d, w or y, as 90d");
    let mut seconds = 0_u64;
    let mut rest = text;
    while !rest.is_empty() {
        let (number, unit) = split(rest).ok_or_else(wrong)?;
        let next = unit
            .find(|character: char| character.is_ascii_digit())
            .unwrap_or(unit.len());
        let (unit, after) = unit.split_at(next);
        let (_, each) = LENGTHS
            .iter()
            .find(|(name, _)| *name == unit)
            .ok_or_else(wrong)?;
        let part = number.checked_mul(*each).ok_or_else(wrong)?;
        seconds = seconds.checked_add(part).ok_or_else(wrong)?;
        rest = after;
    }
    if text.is_empty() {
        return Err(wrong());
    }
    Ok(seconds)
}

/// Reads a date or a moment as `2027-01-31` or `2027-01-31T12:00:00Z`, seconds since 1970.
///
/// # Errors
/// A sentence for the person who wrote it.
pub fn parse_moment(text: &str) -> Result<u64, String> {
    let full = if text.len() == "2027-01-31".len() {
        format!("{text}T00:00:00Z")
    } else {
        text.to_owned()
    };
    let moment = full
        .parse::<Timestamp>()
        .ok()
        .and_then(|time| u64::try_from(time.as_second()).ok());
    moment.ok_or_else(|| {
        format!("{text:?} is no date: write it as 2027-01-31 or 2027-01-31T12:00:00Z")
    })
}

/// Bytes for people.
pub fn size(bytes: u64) -> String {
    let units = SIZES.iter().rev();
    let fitting = units
        .filter(|(_, shift)| *shift > 0)
        .find(|(_, shift)| bytes >> shift > 0);
    match fitting {
        Some((name, shift)) => {
            let value = bytes as f64 / (1_u64 << shift) as f64;
            format!("{value:.1} {name}iB")
        }
        None => format!("{bytes} B"),
    }
}

/// A length of time for people: its largest two units.
pub fn length(seconds: u64) -> String {
    let mut left = seconds;
    let mut text = String::new();
    let mut parts = 0;
    for (name, each) in LENGTHS.iter().rev().filter(|(name, _)| *name != "w") {
        let count = left / each;
        if count > 0 && parts < 2 {
            text.push_str(&format!("{count}{name}"));
            left -= count * each;
            parts += 1;
        }
    }
    if text.is_empty() {
        text.push_str("0s");
    }
    text
}

/// A moment for people, in UTC.
pub fn moment(seconds: u64) -> String {
    let time = i64::try_from(seconds)
        .ok()
        .and_then(|seconds| Timestamp::from_second(seconds).ok());
    time.map_or_else(|| "never".to_owned(), |time| time.to_string())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_lengths_are_read_and_shown() {
        assert_eq!(parse_size("0"), Ok(0));
        assert_eq!(parse_size("500G"), Ok(500 << 30));
        assert_eq!(parse_size("2 TiB"), Ok(2 << 40));
        assert_eq!(parse_length("90d"), Ok(90 * 86_400));
        assert_eq!(
            parse_length("1y2w3h"),
            Ok(31_536_000 + 2 * 604_800 + 3 * 3600)
        );
        for bad in ["", "x", "1.5G", "-1", "1X", "99999999999T"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
        for bad in ["", "d", "5", "1d x", "1month", "99999999999999y"] {
            assert!(parse_length(bad).is_err(), "{bad}");
        }
        assert_eq!(size(1023), "1023 B");
        assert_eq!(size(3 << 29), "1.5 GiB");
        assert_eq!(length(90 * 86_400 + 3600 + 1), "90d1h");
        assert_eq!(length(0), "0s");
    }

    #[test]
    fn moments_are_read_and_shown() {
        assert_eq!(parse_moment("1970-01-02"), Ok(86_400));
        assert_eq!(moment(86_400), "1970-01-02T00:00:00Z");
        assert!(parse_moment("soon").is_err());
        assert!(parse_moment("1969-12-31").is_err());
    }
}
