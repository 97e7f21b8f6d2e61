//! Patterns of paths, with the meaning they have in restic.
//!
//! A pattern is a sequence of parts between slashes. A part may hold `*`, `?` and `[...]`; the part
//! `**` stands for any number of parts. A pattern that begins with a slash starts at the root, any
//! other may start at every part of a path. What lies beneath a path that matches, matches too. In a
//! list, a pattern after `!` takes back what those before it matched.
//!
//! Matching takes time in proportion to the lengths of pattern and path, whatever they are.

use std::path::Path;

use crate::SourceError;

/// Longest pattern accepted, in bytes.
pub const PATTERN_BYTES_MAX: usize = 64 * 1024;
/// Patterns in a list.
pub const PATTERNS_MAX: usize = 100_000;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    /// `**`: any number of parts, none included.
    Any,
    /// A part without special characters.
    Literal(Vec<u8>),
    /// A part with `*`, `?` or `[...]`.
    Glob(Vec<Token>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Star,
    One,
    Char(char),
    Byte(u8),
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

/// One pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    anchored: bool,
    negated: bool,
    fold_case: bool,
    parts: Vec<Part>,
}

impl Pattern {
    /// Compiles a pattern; `fold_case` lets upper and lower case match each other.
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
        let folded = if fold_case { fold(text) } else { text.to_vec() };
        let anchored = folded.first() == Some(&b'/');
        let mut parts = Vec::new();
        for part in folded.split(|&byte| byte == b'/') {
            match part {
                b"" | b"." => {}
                b"**" if parts.last() == Some(&Part::Any) => {}
                b"**" => parts.push(Part::Any),
                part => parts.push(compile_part(part).ok_or_else(|| {
                    invalid("a bracket is not closed, or a backslash stands at the end")
                })?),
            }
        }
        if parts.is_empty() && !anchored {
            return Err(invalid("it is empty"));
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
        let folded = self.folded(path);
        self.run(&folded, false)
    }

    /// Whether something beneath the path may match.
    pub fn child_may_match(&self, path: &Path) -> bool {
        if !self.anchored {
            return true;
        }
        let folded = self.folded(path);
        self.run(&folded, true)
    }

    fn folded(&self, path: &Path) -> Vec<u8> {
        let bytes = path.as_os_str().as_encoded_bytes();
        if self.fold_case {
            fold(bytes)
        } else {
            bytes.to_vec()
        }
    }

    /// Follows all possible positions in the pattern at once, part by part of the path.
    fn run(&self, path: &[u8], beginning_counts: bool) -> bool {
        let end = self.parts.len();
        let mut states = vec![false; end + 1];
        let mut next = vec![false; end + 1];
        states[0] = true;
        self.skip_any(&mut states);
        if states[end] {
            return true;
        }
        for part in path
            .split(|&byte| byte == b'/')
            .filter(|part| !part.is_empty())
        {
            next.fill(false);
            for (state, reached) in states[..end].iter().enumerate() {
                if *reached {
                    match &self.parts[state] {
                        Part::Any => next[state] = true,
                        other if matches_part(other, part) => next[state + 1] = true,
                        _ => {}
                    }
                }
            }
            if !self.anchored {
                next[0] = true;
            }
            self.skip_any(&mut next);
            if next[end] {
                return true;
            }
            std::mem::swap(&mut states, &mut next);
        }
        beginning_counts && states.contains(&true)
    }

    /// `**` may stand for nothing.
    fn skip_any(&self, states: &mut [bool]) {
        for (state, part) in self.parts.iter().enumerate() {
            if states[state] && *part == Part::Any {
                states[state + 1] = true;
            }
        }
    }
}

fn fold(bytes: &[u8]) -> Vec<u8> {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_lowercase().into_bytes(),
        Err(_) => bytes.to_ascii_lowercase(),
    }
}

fn compile_part(part: &[u8]) -> Option<Part> {
    if !part
        .iter()
        .any(|byte| matches!(byte, b'*' | b'?' | b'[' | b'\\'))
    {
        return Some(Part::Literal(part.to_vec()));
    }
    let mut tokens = Vec::new();
    let mut rest = part;
    while let Some(&first) = rest.first() {
        match first {
            b'*' => {
                if tokens.last() != Some(&Token::Star) {
                    tokens.push(Token::Star);
                }
                rest = &rest[1..];
            }
            b'?' => {
                tokens.push(Token::One);
                rest = &rest[1..];
            }
            b'[' => {
                let (class, after) = compile_class(&rest[1..])?;
                tokens.push(class);
                rest = after;
            }
            b'\\' => {
                let (token, after) = literal(&rest[1..])?;
                tokens.push(token);
                rest = after;
            }
            _ => {
                let (token, after) = literal(rest)?;
                tokens.push(token);
                rest = after;
            }
        }
    }
    Some(Part::Glob(tokens))
}

/// The next character as it stands, or a byte that belongs to none.
fn literal(bytes: &[u8]) -> Option<(Token, &[u8])> {
    let first = *bytes.first()?;
    Some(match first_char(bytes) {
        Some((character, rest)) => (Token::Char(character), rest),
        None => (Token::Byte(first), &bytes[1..]),
    })
}

fn first_char(bytes: &[u8]) -> Option<(char, &[u8])> {
    let chunk = bytes.get(..bytes.len().min(4))?.utf8_chunks().next()?;
    let character = chunk.valid().chars().next()?;
    Some((character, &bytes[character.len_utf8()..]))
}

fn compile_class(bytes: &[u8]) -> Option<(Token, &[u8])> {
    let (negated, mut rest) = match bytes.first()? {
        b'^' => (true, &bytes[1..]),
        _ => (false, bytes),
    };
    let mut ranges = Vec::new();
    loop {
        if rest.first()? == &b']' && !ranges.is_empty() {
            return Some((Token::Class { negated, ranges }, &rest[1..]));
        }
        let (low, after) = class_char(rest)?;
        rest = after;
        let mut high = low;
        if rest.first()? == &b'-' {
            (high, rest) = class_char(&rest[1..])?;
        }
        ranges.push((low, high));
    }
}

fn class_char(bytes: &[u8]) -> Option<(char, &[u8])> {
    match bytes.first()? {
        b'-' | b']' => None,
        b'\\' => first_char(&bytes[1..]),
        _ => first_char(bytes),
    }
}

fn matches_part(part: &Part, name: &[u8]) -> bool {
    match part {
        Part::Any => true,
        Part::Literal(literal) => literal == name,
        Part::Glob(tokens) => matches_glob(tokens, name),
    }
}

/// Goes back to the last star only, which is enough and keeps the time bounded.
fn matches_glob(tokens: &[Token], name: &[u8]) -> bool {
    let (mut token, mut rest) = (0, name);
    let mut star: Option<(usize, &[u8])> = None;
    loop {
        if let Some(Token::Star) = tokens.get(token) {
            star = Some((token, rest));
            token += 1;
            continue;
        }
        if token == tokens.len() && rest.is_empty() {
            return true;
        }
        match tokens
            .get(token)
            .and_then(|token| matches_token(token, rest))
        {
            Some(after) => {
                token += 1;
                rest = after;
            }
            None => {
                let Some((at, from)) = star.as_mut() else {
                    return false;
                };
                if from.is_empty() {
                    return false;
                }
                *from = first_char(from).map_or(&from[1..], |(_, after)| after);
                token = *at + 1;
                rest = from;
            }
        }
    }
}

fn matches_token<'a>(token: &Token, rest: &'a [u8]) -> Option<&'a [u8]> {
    if let Token::Byte(byte) = token {
        return rest.strip_prefix(&[*byte]);
    }
    let first = first_char(rest);
    match (token, first) {
        (Token::One, Some((_, after))) => Some(after),
        (Token::One, None) => rest.get(1..),
        (Token::Char(expected), Some((found, after))) => (*expected == found).then_some(after),
        (Token::Class { negated, ranges }, Some((found, after))) => {
            let inside = ranges
                .iter()
                .any(|(low, high)| (*low..=*high).contains(&found));
            (inside != *negated).then_some(after)
        }
        _ => None,
    }
}

/// A list of patterns, in the order in which they were given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PatternList(Vec<Pattern>);

impl PatternList {
    /// An empty list, which matches nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a pattern.
    pub fn push(&mut self, text: &[u8], fold_case: bool) -> Result<(), SourceError> {
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

    /// Whether something beneath the path may match.
    pub fn child_may_match(&self, path: &Path) -> bool {
        self.0
            .iter()
            .any(|pattern| !pattern.negated && pattern.child_may_match(path))
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
        assert!(
            Pattern::new(b"FOO", true)
                .unwrap()
                .matches(Path::new("/a/foo"))
        );
    }

    #[test]
    fn broken_patterns_are_refused() {
        for bad in ["", "!", "[", "[a", "[]", "[a-", "a\\", "[-x]"] {
            assert!(Pattern::new(bad.as_bytes(), false).is_err(), "{bad}");
        }
        assert!(Pattern::new(&vec![b'a'; PATTERN_BYTES_MAX + 1], false).is_err());
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
