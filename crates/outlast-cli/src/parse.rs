//! What people type: sizes, times, durations, words.

use std::time::Duration;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use outlast_format::Time;

/// A size with restic's suffixes (powers of 1024), in bytes.
pub fn size(text: &str) -> Result<u64, String> {
    let bad = || format!("invalid size {text:?}: a number with k, M, G or T after it is expected");
    let trimmed = text.strip_suffix(['b', 'B']).unwrap_or(text);
    let (digits, factor) = match trimmed.char_indices().next_back() {
        Some((at, 'k' | 'K')) => (&trimmed[..at], 1_u64 << 10),
        Some((at, 'm' | 'M')) => (&trimmed[..at], 1 << 20),
        Some((at, 'g' | 'G')) => (&trimmed[..at], 1 << 30),
        Some((at, 't' | 'T')) => (&trimmed[..at], 1 << 40),
        _ => (trimmed, 1),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(bad());
    }
    let number: u64 = digits.parse().map_err(|_| bad())?;
    number.checked_mul(factor).ok_or_else(bad)
}

/// A duration as Go writes it: `1h30m`, `90s`, `500ms`.
pub fn duration(text: &str) -> Result<Duration, String> {
    let bad = || format!("invalid duration {text:?}: something like 5m, 2h or 1h30m is expected");
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest
            .find(|character: char| !character.is_ascii_digit() && character != '.')
            .ok_or_else(bad)?;
        let number: f64 = rest[..digits].parse().map_err(|_| bad())?;
        rest = &rest[digits..];
        let units = [
            ("ms", 1e-3),
            ("us", 1e-6),
            ("ns", 1e-9),
            ("h", 3600.0),
            ("m", 60.0),
            ("s", 1.0),
        ];
        let found = units.iter().find(|(unit, _)| rest.starts_with(unit));
        let (unit, seconds) = found.ok_or_else(bad)?;
        rest = &rest[unit.len()..];
        let part = Duration::try_from_secs_f64(number * seconds).map_err(|_| bad())?;
        total = total.checked_add(part).ok_or_else(bad)?;
    }
    if text.is_empty() {
        Err(bad())
    } else {
        Ok(total)
    }
}

/// A local time as `2006-01-02 15:04:05`, or `now`.
pub fn local_time(text: &str, now: Time) -> Result<Time, String> {
    if text == "now" {
        return Ok(now);
    }
    let bad = || format!("invalid time {text:?}: 'YYYY-MM-DD hh:mm:ss' is expected");
    if let Ok(time) = text.parse::<Time>() {
        return Ok(time);
    }
    let shaped = text.len() == 19
        && text.bytes().enumerate().all(|(at, byte)| match at {
            4 | 7 => byte == b'-',
            10 => byte == b' ',
            13 | 16 => byte == b':',
            _ => byte.is_ascii_digit(),
        });
    if !shaped {
        return Err(bad());
    }
    let civil: DateTime = text.replacen(' ', "T", 1).parse().map_err(|_| bad())?;
    let zoned = civil.to_zoned(TimeZone::system()).map_err(|_| bad())?;
    Ok(Time::new(
        zoned.timestamp().as_second(),
        0,
        zoned.offset().seconds(),
    ))
}

/// Splits a command line into words, with single and double quotes and backslashes.
pub fn shell_words(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match (quote, character) {
            (Some(open), close) if open == close => quote = None,
            (None, '\'' | '"') => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            (None | Some('"'), '\\') => {
                let next = characters.next().ok_or("a backslash stands at the end")?;
                word.get_or_insert_default().push(next);
            }
            (None, ' ' | '\t' | '\n') => words.extend(word.take()),
            (_, character) => word.get_or_insert_default().push(character),
        }
    }
    if quote.is_some() {
        return Err(format!("a quote is not closed in {text:?}"));
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(size("12"), Ok(12));
        assert_eq!(size("3k"), Ok(3072));
        assert_eq!(size("2M"), Ok(2 << 20));
        assert_eq!(size("1Gb"), Ok(1 << 30));
        for bad in ["", "k", "1x", "-1", "1.5G", "99999999999T", "\u{e4}"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn durations() {
        assert_eq!(duration("1h30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("0"), Ok(Duration::ZERO));
        for bad in ["", "5", "h", "1d", "1h-1m", "99999999999999999999h"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn times() {
        let now = Time::utc(1, 0);
        assert_eq!(local_time("now", now), Ok(now));
        assert!(local_time("2012-11-01 22:08:41", now).is_ok());
        for bad in [
            "",
            "2012-11-01",
            "2012-13-01 22:08:41",
            "2012-11-01T22:08:41",
            "tomorrow",
        ] {
            assert!(local_time(bad, now).is_err(), "{bad}");
        }
    }

    #[test]
    fn words() {
        assert_eq!(
            shell_words("a 'b c' \"d\\\" e\" f\\ g ''").unwrap(),
            ["a", "b c", "d\" e", "f g", ""]
        );
        assert!(shell_words("a 'b").is_err());
        assert!(shell_words("a\\").is_err());
    }
}
