//! Which paths a disk takes at all.

use std::io;

/// The longest part of a path in bytes; Linux file systems take no longer one.
pub const MAX_PART_BYTES: usize = 255;

/// The longest path in bytes.
pub const MAX_PATH_BYTES: usize = 1024;

/// Checks the path of a file: relative, no empty part, no `.` or `..`, no NUL.
///
/// # Errors
/// [`io::ErrorKind::InvalidInput`].
pub(super) fn check_file(path: &str) -> io::Result<()> {
    let plain = |part: &str| {
        !part.is_empty()
            && part != "."
            && part != ".."
            && part.len() <= MAX_PART_BYTES
            && !part.contains('\0')
    };
    if path.len() <= MAX_PATH_BYTES && path.split('/').all(plain) {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::InvalidInput,
        "not a plain relative path",
    ))
}

/// Checks the path of a directory: the same, or empty for the root.
///
/// # Errors
/// [`io::ErrorKind::InvalidInput`].
pub(super) fn check_directory(path: &str) -> io::Result<()> {
    if path.is_empty() {
        return Ok(());
    }
    check_file(path)
}

/// Splits a checked path into its directory (empty for the root) and its name.
pub(super) fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

/// The error for an append that does not start at the end, or a cut that would grow the file.
pub(super) fn not_the_end(offset: u64, size: u64) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        format!("offset {offset} does not fit a file of {size} bytes"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_paths_pass() {
        for path in ["a", "a/b", "data/ab/abcd", "..a", "a..", ".hidden"] {
            check_file(path).unwrap();
            check_directory(path).unwrap();
        }
        check_directory("").unwrap();
    }

    #[test]
    fn paths_that_could_lead_elsewhere_are_refused() {
        let long = "a".repeat(MAX_PART_BYTES + 1);
        let deep = "ab/".repeat(MAX_PATH_BYTES / 3) + "ab";
        for path in [
            "/", "/a", "a/", "a//b", ".", "..", "../a", "a/..", "a/../b", "a/./b", "a\0b", &long,
            &deep,
        ] {
            assert!(check_file(path).is_err(), "{path:?}");
            assert!(check_directory(path).is_err(), "{path:?}");
        }
        assert!(check_file("").is_err());
    }
}
