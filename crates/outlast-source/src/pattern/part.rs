//! One part of a pattern, between two slashes, and what it matches.
//!
//! Names are bytes, and a star may stand for any number of them; `?` and `[...]` stand for a character
//! where the bytes are one, else for a single byte.

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    /// `**`: any number of parts, none included.
    Any,
    /// A part without special characters.
    Literal(Vec<u8>),
    /// A part with `*`, `?` or `[...]`.
    Glob(Vec<Token>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    Star,
    One,
    Char(char),
    Byte(u8),
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

/// Lower case, character by character; a byte that belongs to none becomes the replacement character.
pub(super) fn fold(bytes: &[u8]) -> Vec<u8> {
    if bytes.is_ascii() {
        return bytes.to_ascii_lowercase();
    }
    let mut folded = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            // The only one that has two characters as its lower case, of which Go takes the first.
            folded.extend(character.to_lowercase().take(1));
        }
        folded.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    folded.into_bytes()
}

impl Part {
    /// Compiles a part; `None` if it is malformed.
    pub(super) fn new(part: &[u8]) -> Option<Self> {
        if part == b"**" {
            return Some(Part::Any);
        }
        compile(part)
    }

    /// Whether it matches one name.
    pub(super) fn matches(&self, name: &[u8]) -> bool {
        match self {
            Part::Any => true,
            Part::Literal(literal) => literal == name,
            Part::Glob(tokens) => matches_glob(tokens, name),
        }
    }
}

fn compile(part: &[u8]) -> Option<Part> {
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
                *from = &from[1..];
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
        (Token::Class { negated, ranges }, found) => {
            let alone = || Some((char::REPLACEMENT_CHARACTER, rest.get(1..)?));
            let (found, after) = found.or_else(alone)?;
            let inside = ranges
                .iter()
                .any(|(low, high)| (*low..=*high).contains(&found));
            (inside != *negated).then_some(after)
        }
        _ => None,
    }
}
