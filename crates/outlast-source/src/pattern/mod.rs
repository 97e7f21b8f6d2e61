//! Patterns of paths, with the meaning they have in restic.
//!
//! A pattern is a sequence of parts between slashes. A part may hold `*`, `?` and `[...]`; the part
//! `**` stands for any number of parts. A pattern that begins with a slash starts at the root, any
//! other may start at every part of a path. What lies beneath a path that matches, matches too. In a
//! list, a pattern after `!` takes back what those before it matched.
//!
//! Matching takes time in proportion to the lengths of pattern and path, whatever they are.

use std::borrow::Cow;
use std::path::Path;

use crate::SourceError;

mod part;

use part::Part;

/// Longest pattern accepted, in bytes.
pub const PATTERN_BYTES_MAX: usize = 64 * 1024;
/// Parts of a pattern.
pub const PATTERN_PARTS_MAX: usize = 255;
/// Patterns in a list.
pub const PATTERNS_MAX: usize = 100_000;

/// One pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    anchored: bool,
    negated: bool,
    fold_case: bool,
    parts: Vec<Part>,
}

/// For each number of parts of a pattern that match so far: where in the path the first of them is,
/// as late as possible. Larger than any place: they do not match.
type States = [u16; PATTERN_PARTS_MAX + 1];
const NOT_REACHED: u16 = u16::MAX;

impl Pattern {
    /// Compiles a pattern; `fold_case` lets upper and lower case match each other. As in restic `..`
    /// takes away the part before it, and a pattern of which nothing is left matches nothing.
    pub fn new(text: &[u8], fold_case: bool) -> Result<Self, SourceError> {
        let shown = || String::from_utf8_lossy(&text[..text.len().min(80)]).into_owned();
        let invalid =
            |why: &str| SourceError::Invalid(format!("invalid pattern {:?}: {why}", shown()));
        if text.len() > PATTERN_BYTES_MAX {
            return Err(invalid("it is too long"));
        }
        let (negated, text) = match text.strip_prefix(b"!") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let text = if fold_case {
            Cow::Owned(part::fold(text))
        } else {
            Cow::Borrowed(text)
        };
        let anchored = text.first() == Some(&b'/');
        let mut parts = Vec::new();
        for part in cleaned_parts(&text, anchored) {
            parts.push(Part::new(part).ok_or_else(|| {
                invalid("a bracket is not closed, or a backslash stands at the end")
            })?);
        }
        if parts.len() > PATTERN_PARTS_MAX {
            return Err(invalid("it has too many parts"));
        }
        Ok(Self {
            anchored,
            negated,
            fold_case,
            parts,
        })
    }

    /// Whether it begins with `!`.
    pub fn is_negated(&self) -> bool {
        self.negated
    }

    /// Whether the path, or a directory above it, matches. Negation is left out of account.
    pub fn matches(&self, path: &Path) -> bool {
        self.matches_folded(&self.folded(path))
    }

    /// Whether something beneath the path may match.
    pub fn child_may_match(&self, path: &Path) -> bool {
        !self.anchored || self.child_may_match_folded(&self.folded(path))
    }

    fn folded<'a>(&self, path: &'a Path) -> Cow<'a, [u8]> {
        let bytes = path.as_os_str().as_encoded_bytes();
        if self.fold_case {
            Cow::Owned(part::fold(bytes))
        } else {
            Cow::Borrowed(bytes)
        }
    }

    /// Follows all possible positions in the pattern at once, part by part of the path.
    ///
    /// `**` may stand for nothing, but only if the path is long enough for each later `**` to stand
    /// for something: with `/a/**/b/**` restic leaves out what is in `/a/b`, not `/a/b` itself.
    fn matches_folded(&self, path: &[u8]) -> bool {
        let end = self.parts.len();
        let mut rest = names(path).count();
        let (mut states, mut next) = ([NOT_REACHED; PATTERN_PARTS_MAX + 1], [NOT_REACHED; _]);
        states[0] = u16::from(!self.anchored);
        self.skip_any(&mut states, rest);
        if states[end] != NOT_REACHED {
            // Only the root is matched by a pattern without parts.
            return self.anchored || end > 0 && rest > 0;
        }
        for (number, name) in names(path).enumerate() {
            rest -= 1;
            next[..=end].fill(NOT_REACHED);
            for (state, part) in self.parts.iter().enumerate() {
                let start = states[state];
                if start == NOT_REACHED {
                    continue;
                }
                match part {
                    Part::Any => reach(&mut next, state, start),
                    part if part.matches(name) => reach(&mut next, state + 1, start),
                    _ => {}
                }
            }
            if !self.anchored {
                let start = u16::try_from(number + 2).unwrap_or(NOT_REACHED - 1);
                reach(&mut next, 0, start.min(NOT_REACHED - 1));
            }
            if next[end] != NOT_REACHED {
                return true;
            }
            self.skip_any(&mut next, rest);
            if next[end] != NOT_REACHED {
                return true;
            }
            std::mem::swap(&mut states, &mut next);
        }
        false
    }

    /// Goes on past each `**` that may stand for nothing (more).
    fn skip_any(&self, states: &mut States, rest: usize) {
        for (state, part) in self.parts.iter().enumerate() {
            let start = states[state];
            let later = self.parts.len() - state - 1;
            if start != NOT_REACHED && *part == Part::Any && rest + usize::from(start) >= later {
                reach(states, state + 1, start);
            }
        }
    }

    /// For anchored patterns: as far as the path goes, up to the first `**`, it has to match.
    fn child_may_match_folded(&self, path: &[u8]) -> bool {
        let parts = self.parts.iter().take_while(|part| **part != Part::Any);
        parts
            .zip(names(path))
            .all(|(part, name)| part.matches(name))
    }
}

fn reach(states: &mut States, state: usize, start: u16) {
    let before = states[state];
    if before == NOT_REACHED || before < start {
        states[state] = start;
    }
}

fn names(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|&byte| byte == b'/')
        .filter(|name| !name.is_empty())
}

/// The parts of a pattern without `.` and with `..` resolved in the text.
fn cleaned_parts(text: &[u8], anchored: bool) -> Vec<&[u8]> {
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in names(text) {
        match part {
            b"." => {}
            b".." if parts.last().is_some_and(|last| *last != b"..") => {
                parts.pop();
            }
            b".." if anchored => {}
            part => parts.push(part),
        }
    }
    parts
}

/// A list of patterns, in the order in which they were given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PatternList(Vec<Pattern>);

impl PatternList {
    /// An empty list, which matches nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a pattern; an empty one changes nothing.
    pub fn push(&mut self, text: &[u8], fold_case: bool) -> Result<(), SourceError> {
        if text.is_empty() {
            return Ok(());
        }
        if self.0.len() >= PATTERNS_MAX {
            return Err(SourceError::Invalid(format!(
                "more than {PATTERNS_MAX} patterns"
            )));
        }
        self.0.push(Pattern::new(text, fold_case)?);
        Ok(())
    }

    /// Whether there is no pattern.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the list as a whole matches the path.
    pub fn matches(&self, path: &Path) -> bool {
        self.0
            .iter()
            .fold(false, |matched, pattern| match (matched, pattern.negated) {
                (true, true) => !pattern.matches(path),
                (false, false) => pattern.matches(path),
                (matched, _) => matched,
            })
    }

    /// Whether something beneath the path may match. A pattern after `!` that matches the path takes
    /// all that is beneath with it.
    pub fn child_may_match(&self, path: &Path) -> bool {
        self.0
            .iter()
            .fold(false, |may, pattern| match (may, pattern.negated) {
                (true, true) => !pattern.matches(path),
                (false, false) => pattern.child_may_match(path),
                (may, _) => may,
            })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(pattern: &str, path: &str) -> bool {
        Pattern::new(pattern.as_bytes(), false)
            .unwrap()
            .matches(Path::new(path))
    }

    #[test]
    fn patterns_mean_what_they_mean_in_restic() {
        for (pattern, path, expected) in [
            ("foo", "/foo", true),
            ("foo", "/a/foo/b/c", true),
            ("foo", "/a/foobar", false),
            ("*.go", "/a/b/x.go", true),
            ("*.go", "/a/b.go/x", true),
            ("/foo", "/foo/bar", true),
            ("/foo", "/a/foo", false),
            ("/foo/*", "/foo", false),
            ("/foo/*", "/foo/bar/baz", true),
            ("/foo/**/baz", "/foo/baz", true),
            ("/foo/**/baz", "/foo/x/y/baz/z", true),
            ("foo/**/baz", "/q/foo/x/bay", false),
            ("foo/bar", "/x/foo/bar", true),
            ("foo/bar", "/x/foo/y/bar", false),
            ("f?o", "/f\u{e4}o", true),
            ("[a-c]x", "/bx", true),
            ("[^a-c]x", "/bx", false),
            ("\\*", "/*", true),
            ("\\*", "/a", false),
            ("/", "/anything", true),
            ("", "/a", false),
            (".", "/a", false),
            ("a/../b", "/b", true),
            ("a/../b", "/a", false),
            ("../b", "/b", false),
            ("/../b", "/b", true),
            ("**", "/a", true),
            ("/**", "/a", true),
            ("/a/**", "/a", true),
            ("/a/**/b/**", "/a/b", false),
            ("/a/**/b/**", "/a/b/c", true),
            ("/a/**/b/**", "/a/x/b", false),
            ("/a/**/b/**", "/a/x/b/c", true),
            ("**/b/**", "/b", true),
            ("**/a/**/b/**", "/a/b", false),
            ("**/a/**/b/**", "/a/b/c", true),
            ("**/a/**/b/**", "/x/a/b", true),
            ("a/**/b", "/a/x/c", false),
            ("a/**/b", "/a/x/a/b", true),
            ("*?", "/\u{e4}", true),
            ("*??", "/\u{e4}", false),
            ("a]", "/a]", true),
            ("foo/", "/foo", true),
            ("a*b*c", "/aXbYbZc", true),
            ("a*b*c", "/aXbYbZ", false),
        ] {
            assert_eq!(matches(pattern, path), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn lists_take_back_and_children_are_foreseen() {
        let mut list = PatternList::new();
        for pattern in ["/src/*.txt", "!keep.txt"] {
            list.push(pattern.as_bytes(), false).unwrap();
        }
        assert!(list.matches(Path::new("/src/a.txt")));
        assert!(!list.matches(Path::new("/src/keep.txt")));
        assert!(list.child_may_match(Path::new("/src")));
        assert!(!list.child_may_match(Path::new("/other")));
        // What is beneath something that was taken back stays.
        assert!(!list.child_may_match(Path::new("/src/keep.txt")));
        list.push(b"", false).unwrap();
        list.push(b"!", false).unwrap();
        assert!(list.matches(Path::new("/src/a.txt")));
        assert!(
            Pattern::new(b"FOO", true)
                .unwrap()
                .matches(Path::new("/a/foo"))
        );
    }

    #[test]
    fn broken_patterns_are_refused() {
        for bad in ["[", "![", "[a", "[]", "[a-", "a\\", "[-x]", "[a/b]"] {
            assert!(Pattern::new(bad.as_bytes(), false).is_err(), "{bad}");
        }
        assert!(Pattern::new(&vec![b'a'; PATTERN_BYTES_MAX + 1], false).is_err());
        assert!(Pattern::new(&b"a/".repeat(PATTERN_PARTS_MAX), false).is_ok());
        assert!(Pattern::new(&b"a/".repeat(PATTERN_PARTS_MAX + 1), false).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_answered(pattern in proptest::collection::vec(any::<u8>(), 0..40),
                                  path in proptest::collection::vec(any::<u8>(), 0..60)) {
            use std::os::unix::ffi::OsStrExt;
            if let Ok(pattern) = Pattern::new(&pattern, false) {
                let path = Path::new(std::ffi::OsStr::from_bytes(&path));
                pattern.matches(path);
                pattern.child_may_match(path);
            }
        }
    }
}
