//! What strangers send to a vault: paths, ranges and credentials.

use outlast_vault::http::{
    SEGMENT_BYTES_MAX, SEGMENTS_MAX, Wanted, basic_credentials, pin, segments, wanted,
};

/// A path, a range and an authorization, each on a line of its own. What is let through is safe to use.
pub fn request(data: &[u8]) {
    // Certificates of other parties are read too.
    let _ = pin(data);
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let mut lines = text.splitn(3, '\n');
    let mut line = || lines.next().unwrap_or_default();
    if let Ok(found) = segments(line()) {
        assert!(found.names.len() <= SEGMENTS_MAX);
        for name in &found.names {
            assert!(!name.is_empty() && name.len() <= SEGMENT_BYTES_MAX);
            assert!(name != "." && name != "..");
            assert!(!name.contains(['/', '\\', '\0']));
        }
    }
    let range = line();
    for total in [0, 1, 1000, u64::MAX] {
        if let Wanted::Part { start, length } = wanted(range, total) {
            assert!(length > 0, "a part has bytes");
            let end = start.checked_add(length).expect("a part ends somewhere");
            assert!(end <= total, "a part exists");
        }
    }
    let header = ("authorization".to_string(), line().to_string());
    if let Some((user, password)) = basic_credentials(&[header]) {
        assert!(!user.contains(':'));
        assert!(!(user + &password).contains(char::is_control));
    }
}
