//! What people type and what servers answer: locations, patterns, policies, listings.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use outlast_format::Time;
use outlast_repo::{GroupBy, KeepCount, KeepDuration};
use outlast_source::pattern::{Pattern, PatternList};
use outlast_store::{Location, SftpAnswer, read_bucket_page, read_listing};

use crate::parse;

/// Sizes, durations, times and commands on the command line.
pub fn argument(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let _ = parse::size(text);
    let _ = parse::duration(text);
    let _ = parse::local_time(text, Time::utc(1_700_000_000, 0));
    if let Ok(words) = parse::shell_words(text) {
        let bytes: usize = words.iter().map(String::len).sum();
        assert!(bytes <= text.len(), "words hold nothing that was not there");
    }
}

/// Where a repository is. Messages about it hold no password.
pub fn location(data: &[u8]) {
    const PASSWORD: &str = "hunter2secret";
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = Location::parse(text);
        let with_password = format!("rest:https://user:{PASSWORD}@{text}");
        match Location::parse(&with_password) {
            Ok(location) => assert!(!format!("{location:?}").contains(PASSWORD)),
            Err(error) => assert!(!error.to_string().contains(PASSWORD)),
        }
        // What is shown of a place behind SFTP names the same place.
        if let Ok(Location::Sftp(sftp)) = Location::parse(&format!("sftp:{text}")) {
            assert!(
                !sftp.host.starts_with('-'),
                "ssh would take it for an option"
            );
            let again = Location::parse(&sftp.to_string());
            assert!(matches!(again, Ok(Location::Sftp(again)) if again == sftp));
        }
    }
}

/// A pattern, and after a line break the path that it is held against.
pub fn pattern(data: &[u8]) {
    let mut parts = data.splitn(2, |byte| *byte == b'\n');
    let text = parts.next().unwrap_or_default();
    let path = parts.next().unwrap_or_default();
    let path = Path::new(std::ffi::OsStr::from_bytes(path));
    for fold_case in [false, true] {
        let Ok(pattern) = Pattern::new(text, fold_case) else {
            continue;
        };
        // Whatever a pattern matches, a walk must be able to reach.
        if pattern.matches(path) {
            let reached = path
                .ancestors()
                .skip(1)
                .filter(|folder| !folder.as_os_str().is_empty())
                .all(|folder| pattern.child_may_match(folder) || pattern.matches(folder));
            assert!(reached, "a folder on the way is said not to matter");
        }
        let mut list = PatternList::new();
        if list.push(text, fold_case).is_ok() {
            let _ = list.matches(path);
            let _ = list.child_may_match(path);
        }
    }
}

/// Numbers, durations and groups of a retention policy.
pub fn keep_text(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(duration) = text.parse::<KeepDuration>() {
        let shown = duration.to_string();
        assert_eq!(shown.parse::<KeepDuration>().as_ref(), Ok(&duration));
    }
    let _ = text.parse::<KeepCount>();
    let _ = text.parse::<GroupBy>();
}

/// A page of the listing of a bucket.
pub fn bucket_page(data: &[u8]) {
    let keys = read_bucket_page(data).unwrap_or_default();
    assert!(keys.len() <= data.len() / 8, "an entry has a name and ends");
}

/// The listing of a REST server.
pub fn rest_listing(data: &[u8]) {
    let mut count = 0_usize;
    let _ = read_listing(data, &mut |_, _| count += 1);
    assert!(count <= data.len() / 64, "an id takes 64 characters");
}

/// What an SFTP server answers. What is read is the same when it is written and read again.
pub fn sftp_answer(data: &[u8]) {
    let Ok((id, answer)) = SftpAnswer::parse(data) else {
        return;
    };
    let packet = answer.encode(id.unwrap_or(0));
    let (length, packet) = packet.split_at(4);
    assert_eq!(length, (packet.len() as u32).to_be_bytes());
    assert_eq!(SftpAnswer::parse(packet), Ok((id, answer)));
}
