//! Paths of requests, taken apart into names that are safe to look at.

use percent_encoding::percent_decode_str;

/// A path has at most so many segments.
pub const SEGMENTS_MAX: usize = 16;

/// A decoded segment has at most so many bytes, as a name in a file system.
pub const SEGMENT_BYTES_MAX: usize = 255;

/// Why a path is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// It does not begin at the root.
    #[error("the path does not start with `/`")]
    NotAbsolute,
    /// Two slashes follow each other.
    #[error("the path has an empty segment")]
    Empty,
    /// A segment is `.` or `..`.
    #[error("the path has a segment that names a folder relative to another")]
    Relative,
    /// A segment holds a slash, a backslash or a control character, perhaps encoded.
    #[error("the path has a segment with a character that is not allowed")]
    Character,
    /// A `%` is not followed by two hexadecimal digits, or what is encoded is not UTF-8.
    #[error("the path is not properly encoded")]
    Encoding,
    /// There are more than [`SEGMENTS_MAX`] segments, or one is longer than [`SEGMENT_BYTES_MAX`].
    #[error("the path is too long")]
    TooLong,
}

/// A path that has been taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segments {
    /// The decoded segments: none is empty, `.` or `..`, none holds a slash, backslash or control character.
    pub names: Vec<String>,
    /// Whether the path ended with a slash, as that of a folder; true for the root.
    pub folder: bool,
}

/// Takes the path of a request apart, decoding each segment once.
pub fn segments(path: &str) -> Result<Segments, PathError> {
    let inside = path.strip_prefix('/').ok_or(PathError::NotAbsolute)?;
    let (inside, folder) = match inside.strip_suffix('/') {
        Some(inside) => (inside, true),
        None => (inside, inside.is_empty()),
    };
    let mut names = Vec::new();
    // `//` has lost a slash at both ends and is an empty segment nevertheless.
    if path.len() > 1 || !inside.is_empty() {
        for segment in inside.split('/') {
            if names.len() == SEGMENTS_MAX {
                return Err(PathError::TooLong);
            }
            names.push(name(segment)?);
        }
    }
    Ok(Segments { names, folder })
}

fn name(segment: &str) -> Result<String, PathError> {
    // Three characters at most stand for one byte.
    if segment.len() > 3 * SEGMENT_BYTES_MAX {
        return Err(PathError::TooLong);
    }
    if !is_well_encoded(segment.as_bytes()) {
        return Err(PathError::Encoding);
    }
    let name = percent_decode_str(segment)
        .decode_utf8()
        .map_err(|_| PathError::Encoding)?
        .into_owned();
    if name.is_empty() {
        Err(PathError::Empty)
    } else if name == "." || name == ".." {
        Err(PathError::Relative)
    } else if name.len() > SEGMENT_BYTES_MAX {
        Err(PathError::TooLong)
    } else if name
        .chars()
        .any(|character| character.is_control() || character == '/' || character == '\\')
    {
        Err(PathError::Character)
    } else {
        Ok(name)
    }
}

/// Whether two hexadecimal digits follow each `%`. The decoder would let others stand as they are, and
/// then two spellings could mean different things to different readers.
fn is_well_encoded(segment: &[u8]) -> bool {
    segment
        .iter()
        .enumerate()
        .filter(|(_, byte)| **byte == b'%')
        .all(|(index, _)| {
            segment
                .get(index + 1..index + 3)
                .is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
        })
}

#[cfg(test)]
mod tests {
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
    use proptest::prelude::*;

    use super::*;

    fn names(path: &str) -> Vec<String> {
        segments(path).unwrap().names
    }

    #[test]
    fn takes_paths_apart() {
        assert_eq!(names("/a/b%20c"), ["a", "b c"]);
        assert!(!segments("/a").unwrap().folder);
        assert_eq!(names("/a/data/"), ["a", "data"]);
        assert!(segments("/a/data/").unwrap().folder);
        assert!(names("/").is_empty());
        assert!(segments("/").unwrap().folder);
        assert_eq!(names("/%C3%A4"), ["ä"]);
        assert_eq!(names("/..."), ["..."]);
    }

    #[test]
    fn decodes_once_only() {
        assert_eq!(names("/%252e%252e"), ["%2e%2e"]);
    }

    #[test]
    fn refuses_what_could_lead_elsewhere() {
        for (path, error) in [
            ("", PathError::NotAbsolute),
            ("a/b", PathError::NotAbsolute),
            ("//", PathError::Empty),
            ("//a", PathError::Empty),
            ("/a//", PathError::Empty),
            ("/a//b", PathError::Empty),
            ("/./a", PathError::Relative),
            ("/a/..", PathError::Relative),
            ("/a/../b", PathError::Relative),
            ("/%2e%2E/b", PathError::Relative),
            ("/.%2e/", PathError::Relative),
            ("/a%2fb", PathError::Character),
            ("/a%5Cb", PathError::Character),
            ("/a\\b", PathError::Character),
            ("/a%00", PathError::Character),
            ("/a%0a", PathError::Character),
            ("/%c2%85", PathError::Character),
            ("/%", PathError::Encoding),
            ("/%2", PathError::Encoding),
            ("/%zz", PathError::Encoding),
            ("/%%32e", PathError::Encoding),
            ("/%ff", PathError::Encoding),
            ("/%c0%ae", PathError::Encoding),
        ] {
            assert_eq!(segments(path), Err(error), "{path}");
        }
    }

    #[test]
    fn refuses_what_is_too_long() {
        assert!(segments(&"/a".repeat(SEGMENTS_MAX)).is_ok());
        assert_eq!(
            segments(&"/a".repeat(SEGMENTS_MAX + 1)),
            Err(PathError::TooLong)
        );
        assert!(segments(&format!("/{}", "%61".repeat(SEGMENT_BYTES_MAX))).is_ok());
        assert_eq!(
            segments(&format!("/{}", "a".repeat(SEGMENT_BYTES_MAX + 1))),
            Err(PathError::TooLong)
        );
        assert_eq!(
            segments(&format!("/{}", "%61".repeat(SEGMENT_BYTES_MAX + 1))),
            Err(PathError::TooLong)
        );
    }

    proptest! {
        #[test]
        fn what_is_let_through_is_safe(path in "/([a.%/\\\\25eEfF\u{e4}\n]|%2e|%2f|%00){0,24}") {
            if let Ok(found) = segments(&path) {
                prop_assert!(found.names.len() <= SEGMENTS_MAX);
                for name in &found.names {
                    prop_assert!(!name.is_empty() && name != "." && name != "..");
                    prop_assert!(!name.contains(['/', '\\', '\0', '\n']));
                }
            }
        }

        #[test]
        fn encoded_names_come_back(name in "[^/\\\\\\p{Cc}.][^/\\\\\\p{Cc}]{0,50}") {
            let path = format!("/{}", utf8_percent_encode(&name, NON_ALPHANUMERIC));
            prop_assert_eq!(names(&path), [name]);
        }
    }
}
