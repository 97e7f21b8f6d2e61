//! `Range: bytes=…`, the one kind of range that clients of repositories ask for.

/// What a request wants of a thing of known length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// All of it: what was asked is no range that we serve, and such headers are to be ignored (RFC 9110, 14.2).
    Whole,
    /// So many bytes from here, at least one, all of which exist: status 206.
    Part {
        /// Where the first byte is, counted from 0.
        start: u64,
        /// How many bytes.
        length: u64,
    },
    /// Not a byte of it exists: status 416.
    Nothing,
}

impl Wanted {
    /// The value of `content-range` that goes with this for a thing of `total` bytes; none for the whole.
    pub fn content_range(self, total: u64) -> Option<String> {
        match self {
            Self::Whole => None,
            Self::Part { start, length } => {
                let last = start.saturating_add(length).saturating_sub(1);
                Some(format!("bytes {start}-{last}/{total}"))
            }
            Self::Nothing => Some(format!("bytes */{total}")),
        }
    }
}

/// Understands the value of a `range` header for a thing of `total` bytes.
///
/// One range is served: `a-b`, `a-` or `-n`. Several ranges, other units and nonsense count as no
/// range at all. Ends beyond the end of the thing are cut to it.
pub fn wanted(header: &str, total: u64) -> Wanted {
    let Some((unit, set)) = header.split_once('=') else {
        return Wanted::Whole;
    };
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return Wanted::Whole;
    }
    let Some((first, last)) = set.trim().split_once('-') else {
        return Wanted::Whole;
    };
    match (number(first), number(last)) {
        (Some(Number::Value(first)), Some(Number::Value(last))) if first > last => Wanted::Whole,
        (Some(Number::Value(first)), Some(Number::Value(last))) => {
            between(first, last.saturating_add(1), total)
        }
        (Some(Number::Value(first)), Some(Number::Absent)) => between(first, total, total),
        (Some(Number::Absent), Some(Number::Value(suffix))) => {
            between(total.saturating_sub(suffix), total, total)
        }
        _ => Wanted::Whole,
    }
}

/// The part from `start` up to `end`, as far as it exists.
fn between(start: u64, end: u64, total: u64) -> Wanted {
    match end.min(total).checked_sub(start) {
        None | Some(0) => Wanted::Nothing,
        Some(length) => Wanted::Part { start, length },
    }
}

enum Number {
    Absent,
    Value(u64),
}

/// Digits and nothing else. What does not fit is as good as the largest number.
fn number(text: &str) -> Option<Number> {
    if text.is_empty() {
        return Some(Number::Absent);
    }
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(Number::Value(text.parse().unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn part(start: u64, length: u64) -> Wanted {
        Wanted::Part { start, length }
    }

    #[test]
    fn understands_the_three_forms() {
        assert_eq!(wanted("bytes=0-0", 10), part(0, 1));
        assert_eq!(wanted("bytes=2-5", 10), part(2, 4));
        assert_eq!(wanted("Bytes = 2-", 10), part(2, 8));
        assert_eq!(wanted("bytes=-3", 10), part(7, 3));
    }

    #[test]
    fn cuts_what_reaches_beyond_the_end() {
        assert_eq!(wanted("bytes=8-99", 10), part(8, 2));
        assert_eq!(wanted("bytes=-99", 10), part(0, 10));
        assert_eq!(wanted("bytes=8-99999999999999999999999999", 10), part(8, 2));
    }

    #[test]
    fn has_nothing_where_no_byte_exists() {
        for header in [
            "bytes=10-",
            "bytes=10-12",
            "bytes=-0",
            "bytes=99999999999999999999999999-",
        ] {
            assert_eq!(wanted(header, 10), Wanted::Nothing, "{header}");
        }
        for header in ["bytes=0-", "bytes=0-0", "bytes=-1"] {
            assert_eq!(wanted(header, 0), Wanted::Nothing, "{header}");
        }
    }

    #[test]
    fn ignores_what_it_does_not_serve() {
        for header in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=5-2",
            "bytes=1-2,4-5",
            "bytes=+1-2",
            "bytes=1--2",
            "bytes=a-b",
            "lines=1-2",
            "bytes=1 - 2",
        ] {
            assert_eq!(wanted(header, 10), Wanted::Whole, "{header}");
        }
    }

    #[test]
    fn says_what_it_sends() {
        assert_eq!(
            part(2, 4).content_range(10).as_deref(),
            Some("bytes 2-5/10")
        );
        assert_eq!(
            Wanted::Nothing.content_range(10).as_deref(),
            Some("bytes */10")
        );
        assert_eq!(Wanted::Whole.content_range(10), None);
    }

    proptest! {
        #[test]
        fn parts_lie_inside(header in "(bytes=)?[0-9]{0,21}-?[0-9]{0,21}", total: u64) {
            if let Wanted::Part { start, length } = wanted(&header, total) {
                prop_assert!(length > 0);
                prop_assert!(start.checked_add(length).is_some_and(|end| end <= total));
            }
        }

        #[test]
        fn agrees_with_slices(first in 0usize..40, last in 0usize..40, total in 0usize..40) {
            let all: Vec<usize> = (0..total).collect();
            let expected: Vec<usize> =
                all.iter().copied().filter(|byte| (first..=last).contains(byte)).collect();
            let found = match wanted(&format!("bytes={first}-{last}"), total as u64) {
                Wanted::Whole => {
                    prop_assert!(first > last);
                    return Ok(());
                }
                Wanted::Part { start, length } => {
                    all[start as usize..(start + length) as usize].to_vec()
                }
                Wanted::Nothing => Vec::new(),
            };
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn survives_anything(header in ".{0,64}", total: u64) {
            let _ = wanted(&header, total).content_range(total);
        }
    }
}
