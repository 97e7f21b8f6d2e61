//! Numbers for people, as restic writes them.

use std::time::Duration;

/// Bytes with three decimals in units of 1024.
pub fn bytes(bytes: u64) -> String {
    let value = bytes as f64;
    match bytes {
        0x100_0000_0000.. => format!("{:.3} TiB", value / f64::from(1 << 20) / f64::from(1 << 20)),
        0x4000_0000.. => format!("{:.3} GiB", value / f64::from(1 << 30)),
        0x10_0000.. => format!("{:.3} MiB", value / f64::from(1 << 20)),
        0x400.. => format!("{:.3} KiB", value / 1024.0),
        _ => format!("{bytes} B"),
    }
}

/// Hours, minutes and seconds.
pub fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 {
        format!("{hours}:{minutes:02}:{seconds:02}")
    } else {
        format!("{minutes}:{seconds:02}")
    }
}

/// A time in the zone of this machine.
pub fn local_time(instant: outlast_format::Time) -> String {
    time(to_local(instant).0)
}

/// A time in the zone of this machine with all that is known of it, as restic shows it.
pub fn long_time(instant: outlast_format::Time) -> String {
    let (local, zone) = to_local(instant);
    let mut shown = time(local);
    if local.nanos() != 0 {
        let digits = format!("{:09}", local.nanos());
        shown.push('.');
        shown.push_str(digits.trim_end_matches('0'));
    }
    let offset = local.offset_seconds();
    let sign = if offset < 0 { '-' } else { '+' };
    let minutes = offset.unsigned_abs() / 60;
    shown.push_str(&format!(
        " {sign}{:02}{:02} {zone}",
        minutes / 60,
        minutes % 60
    ));
    shown
}

/// The same instant in the zone of this machine, and the zone's name.
fn to_local(instant: outlast_format::Time) -> (outlast_format::Time, String) {
    let zone = jiff::tz::TimeZone::system();
    let Ok(timestamp) = jiff::Timestamp::from_second(instant.seconds()) else {
        return (instant.to_utc(), "UTC".to_owned());
    };
    let info = zone.to_offset_info(timestamp);
    let local =
        outlast_format::Time::new(instant.seconds(), instant.nanos(), info.offset().seconds());
    (local, info.abbreviation().to_owned())
}

/// A time as snapshots show it.
pub fn time(time: outlast_format::Time) -> String {
    let civil = time.civil();
    format!(
        "{:04}-{:02}-{:02} {:02}:{:02}:{:02}",
        civil.year(),
        civil.month(),
        civil.day(),
        civil.hour(),
        civil.minute(),
        civil.second()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(1536), "1.500 KiB");
        assert_eq!(bytes(5 << 30), "5.000 GiB");
        assert_eq!(bytes(2 << 40), "2.000 TiB");
        assert_eq!(duration(Duration::from_secs(61)), "1:01");
        assert_eq!(duration(Duration::from_secs(3661)), "1:01:01");
    }
}
