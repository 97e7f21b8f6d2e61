//! Dates and times as `find --oldest` and `--newest` take them.

use jiff::civil::{Date, DateTime, Time as TimeOfDay};
use outlast_format::Time;

use crate::zone::Zone;

/// Parses `2006-01-02` or `02.01.2006`, perhaps with ` 15:04` or ` 15:04:05`, perhaps followed by
/// an offset such as ` +0100` or by ` UTC`. Without one, the time is in `zone`. `None` if the text
/// is none of these.
pub fn parse_find_time(text: &str, zone: &Zone) -> Option<Time> {
    let mut words = text.split(' ');
    let date = parse_date(words.next()?)?;
    let time = words
        .next()
        .map(parse_time_of_day)
        .unwrap_or(Some((TimeOfDay::midnight(), false)));
    let (time, has_seconds) = time?;
    let offset = words.next();
    if words.next().is_some() || (offset.is_some() && !has_seconds) {
        return None;
    }
    let civil = DateTime::from_parts(date, time);
    let Some(offset) = offset else {
        return Some(zone.at_wall_clock(civil));
    };
    let offset_seconds = parse_offset(offset)?;
    let wall = Zone::utc().at_wall_clock(civil);
    let seconds = wall.seconds() - i64::from(offset_seconds);
    Some(Time::new(seconds, 0, offset_seconds))
}

fn numbers<const N: usize>(text: &str, separator: char) -> Option<[i16; N]> {
    let mut numbers = [0; N];
    let mut parts = text.split(separator);
    for number in &mut numbers {
        let part = parts.next()?;
        if part.is_empty() || !part.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        *number = part.parse().ok()?;
    }
    parts.next().is_none().then_some(numbers)
}

fn parse_date(text: &str) -> Option<Date> {
    let iso = numbers::<3>(text, '-').filter(|_| text.len() == 10);
    let [year, month, day] = match iso {
        Some(parts) => parts,
        None => {
            let [day, month, year] = numbers::<3>(text, '.').filter(|_| text.len() == 10)?;
            [year, month, day]
        }
    };
    Date::new(year, i8::try_from(month).ok()?, i8::try_from(day).ok()?).ok()
}

/// The time of day, and whether it has seconds.
fn parse_time_of_day(text: &str) -> Option<(TimeOfDay, bool)> {
    let with_seconds = numbers::<3>(text, ':');
    let has_seconds = with_seconds.is_some();
    let [hour, minute, second] = match with_seconds {
        Some(parts) => parts,
        None => {
            let [hour, minute] = numbers::<2>(text, ':')?;
            [hour, minute, 0]
        }
    };
    let small = |number: i16| i8::try_from(number).ok();
    let time = TimeOfDay::new(small(hour)?, small(minute)?, small(second)?, 0).ok()?;
    Some((time, has_seconds))
}

fn parse_offset(text: &str) -> Option<i32> {
    if matches!(text, "UTC" | "GMT") {
        return Some(0);
    }
    let (sign, digits) = match text.split_at_checked(1)? {
        ("+", digits) => (1, digits),
        ("-", digits) => (-1, digits),
        _ => return None,
    };
    if digits.len() != 4 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: i32 = digits.parse().ok()?;
    let (hours, minutes) = (number / 100, number % 100);
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_times() {
        let zone = Zone::named("Europe/Copenhagen").unwrap();
        for (text, expected) in [
            ("2024-07-01", "2024-07-01T00:00:00+02:00"),
            ("01.07.2024", "2024-07-01T00:00:00+02:00"),
            ("2024-01-01 12:30", "2024-01-01T12:30:00+01:00"),
            ("01.01.2024 12:30:05", "2024-01-01T12:30:05+01:00"),
            ("2024-01-01 12:30:05 -0330", "2024-01-01T12:30:05-03:30"),
            ("2024-01-01 12:30:05 UTC", "2024-01-01T12:30:05Z"),
        ] {
            let parsed = parse_find_time(text, &zone).map(|time| time.to_string());
            assert_eq!(parsed.as_deref(), Some(expected), "{text}");
        }
        for bad in [
            "",
            "yesterday",
            "2024-13-01",
            "2024-02-30",
            "2024-1-1",
            "2024-01-01 25:00",
            "2024-01-01 12:30 UTC",
            "2024-01-01 12:30:05 CEST",
            "2024-01-01 12:30:05 +9999",
            "2024-01-01 12:30:05 UTC x",
            "2024-01-01 -1:30",
        ] {
            assert_eq!(parse_find_time(bad, &zone), None, "{bad}");
        }
    }
}
