//! Times in the layouts of Go, which `--time-template` takes: an example date stands for each part.
//! The parts are those that Go's documentation of `time.Format` lists.

use outlast_format::Time;

/// Longest first where one begins with another.
const PARTS: [&str; 32] = [
    "January",
    "Monday",
    "2006",
    "-07:00",
    "Z07:00",
    "-0700",
    "Z0700",
    "Jan",
    "Mon",
    "MST",
    "002",
    "-07",
    "Z07",
    "06",
    "01",
    "02",
    "03",
    "04",
    "05",
    "15",
    "_2",
    "PM",
    "pm",
    "1",
    "2",
    "3",
    "4",
    "5",
    ".000000000",
    ".000000",
    ".000",
    ".0",
];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = [
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
];

/// The layout of RFC 3339.
pub(super) const RFC3339: &str = "2006-01-02T15:04:05Z07:00";

/// Writes a time, in its own zone, as `layout` shows.
pub(super) fn format_go_time(time: Time, layout: &str) -> String {
    let mut text = String::new();
    let mut rest = layout;
    while let Some(first) = rest.chars().next() {
        match PARTS.iter().find(|part| starts_with(rest, part)) {
            Some(part) => {
                text.push_str(&format_part(time, part));
                rest = &rest[part.len()..];
            }
            None => {
                text.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
    }
    text
}

fn starts_with(layout: &str, part: &str) -> bool {
    let Some(rest) = layout.strip_prefix(part) else {
        return false;
    };
    // A fraction is one only if no further digit follows; "Jan" within a longer word is none.
    match part {
        "Jan" | "Mon" => !rest.starts_with(|next: char| next.is_ascii_lowercase()),
        part if part.starts_with('.') => !rest.starts_with(|next: char| next.is_ascii_digit()),
        _ => true,
    }
}

fn format_part(time: Time, part: &str) -> String {
    let civil = time.civil();
    let (year, month, day) = (civil.year(), civil.month(), civil.day());
    let (hour, minute, second) = (civil.hour(), civil.minute(), civil.second());
    let month_name = MONTHS[usize::try_from(month - 1).unwrap_or(0) % 12];
    let weekday = civil.weekday().to_sunday_zero_offset();
    let day_name = DAYS[usize::try_from(weekday).unwrap_or(0) % 7];
    let twelve = if hour % 12 == 0 { 12 } else { hour % 12 };
    match part {
        "2006" => format!("{year:04}"),
        "06" => format!("{:02}", year.rem_euclid(100)),
        "January" => month_name.to_owned(),
        "Jan" => month_name[..3].to_owned(),
        "01" => format!("{month:02}"),
        "1" => month.to_string(),
        "Monday" => day_name.to_owned(),
        "Mon" => day_name[..3].to_owned(),
        "02" => format!("{day:02}"),
        "_2" => format!("{day:2}"),
        "2" => day.to_string(),
        "002" => format!("{:03}", civil.day_of_year()),
        "15" => format!("{hour:02}"),
        "03" => format!("{twelve:02}"),
        "3" => twelve.to_string(),
        "04" => format!("{minute:02}"),
        "4" => minute.to_string(),
        "05" => format!("{second:02}"),
        "5" => second.to_string(),
        "PM" => if hour < 12 { "AM" } else { "PM" }.to_owned(),
        "pm" => if hour < 12 { "am" } else { "pm" }.to_owned(),
        part if part.starts_with('.') => {
            let digits = format!("{:09}", time.nanos());
            format!(".{}", &digits[..part.len() - 1])
        }
        zone => format_zone(time.offset_seconds(), zone),
    }
}

fn format_zone(offset_seconds: i32, part: &str) -> String {
    if offset_seconds == 0 && part == "MST" {
        return "UTC".to_owned();
    }
    if offset_seconds == 0 && part.starts_with('Z') {
        return "Z".to_owned();
    }
    let sign = if offset_seconds < 0 { '-' } else { '+' };
    let minutes = offset_seconds.unsigned_abs() / 60;
    let (hours, minutes) = (minutes / 60, minutes % 60);
    match part {
        "Z07:00" | "-07:00" => format!("{sign}{hours:02}:{minutes:02}"),
        "Z07" | "-07" => format!("{sign}{hours:02}"),
        // A zone's short name is not known; Go writes the offset then, too.
        "MST" if minutes == 0 => format!("{sign}{hours:02}"),
        _ => format!("{sign}{hours:02}{minutes:02}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_are_gos() {
        let time: Time = "2026-03-05T17:08:09.123456789+01:30".parse().unwrap();
        for (layout, expected) in [
            (RFC3339, "2026-03-05T17:08:09+01:30"),
            ("2006-01-02_15-04-05", "2026-03-05_17-08-09"),
            ("Mon Jan _2 3:04PM 06", "Thu Mar  5 5:08PM 26"),
            ("Monday, January 2 -0700", "Thursday, March 5 +0130"),
            ("15h04.000", "17h08.123"),
            ("002 MST", "064 +0130"),
            ("\u{e4}", "\u{e4}"),
        ] {
            assert_eq!(format_go_time(time, layout), expected, "{layout}");
        }
        let utc: Time = "2026-03-05T00:08:09Z".parse().unwrap();
        assert_eq!(
            format_go_time(utc, "2006-01-02T15:04:05Z07:00"),
            "2026-03-05T00:08:09Z"
        );
        assert_eq!(format_go_time(utc, "3pm MST"), "12am UTC");
    }
}
