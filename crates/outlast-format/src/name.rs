//! File names in trees: quoted as Go's `strconv.Quote` does, so that any bytes fit into JSON.

/// Quotes a name as Go's `strconv.Quote` does, without the outer quotes.
pub fn quote_name(name: &[u8]) -> String {
    if name
        .iter()
        .all(|&byte| (0x20..0x7f).contains(&byte) && byte != b'"' && byte != b'\\')
    {
        // Nearly all names: plain ASCII.
        return name.iter().map(|&byte| char::from(byte)).collect();
    }
    let mut quoted = String::with_capacity(name.len() + 8);
    for chunk in name.utf8_chunks() {
        for character in chunk.valid().chars() {
            quote_char(&mut quoted, character);
        }
        for byte in chunk.invalid() {
            quoted.push_str(&format!("\\x{byte:02x}"));
        }
    }
    quoted
}

fn quote_char(quoted: &mut String, character: char) {
    match character {
        '"' => quoted.push_str("\\\""),
        '\\' => quoted.push_str("\\\\"),
        '\u{7}' => quoted.push_str("\\a"),
        '\u{8}' => quoted.push_str("\\b"),
        '\u{c}' => quoted.push_str("\\f"),
        '\n' => quoted.push_str("\\n"),
        '\r' => quoted.push_str("\\r"),
        '\t' => quoted.push_str("\\t"),
        '\u{b}' => quoted.push_str("\\v"),
        // A replacement character that was valid in the name is printable.
        character if is_printable(character) => quoted.push(character),
        character if character < ' ' || character == '\u{7f}' => {
            quoted.push_str(&format!("\\x{:02x}", u32::from(character)));
        }
        character if u32::from(character) < 0x1_0000 => {
            quoted.push_str(&format!("\\u{:04x}", u32::from(character)));
        }
        character => quoted.push_str(&format!("\\U{:08x}", u32::from(character))),
    }
}

/// Go's `unicode.IsPrint`: letters, marks, numbers, punctuation, symbols and the ASCII space.
fn is_printable(character: char) -> bool {
    if character.is_ascii() {
        return (' '..='~').contains(&character);
    }
    // The standard library escapes exactly the characters that are not printable, except that it
    // also escapes combining marks at the start of a text; hence the letter in front.
    let mut buffer = [b'a', 0, 0, 0, 0];
    let length = character.encode_utf8(&mut buffer[1..]).len();
    let text = std::str::from_utf8(&buffer[..=length]).unwrap_or("a");
    text.escape_debug().nth(1) == Some(character)
}

/// Undoes [`quote_name`]. `None` where the text is not validly quoted.
pub fn unquote_name(quoted: &str) -> Option<Vec<u8>> {
    let bytes = quoted.as_bytes();
    if !bytes.contains(&b'\\') {
        // As in Go, neither a bare quote nor a line break may stand in a quoted text.
        let plain = !bytes.iter().any(|byte| matches!(byte, b'"' | b'\n'));
        return plain.then(|| bytes.to_vec());
    }
    let mut name = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'"' | b'\n' => return None,
            b'\\' => at += unquote_escape(&bytes[at + 1..], &mut name)? + 1,
            byte => {
                name.push(byte);
                at += 1;
            }
        }
    }
    Some(name)
}

/// Reads what follows a backslash; returns how many bytes that were.
fn unquote_escape(bytes: &[u8], name: &mut Vec<u8>) -> Option<usize> {
    let simple = match bytes.first()? {
        b'a' => 0x07,
        b'b' => 0x08,
        b'f' => 0x0c,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'v' => 0x0b,
        b'\\' => b'\\',
        b'"' => b'"',
        b'x' => {
            name.push(number(bytes.get(1..3)?, 16)? as u8);
            return Some(3);
        }
        b'u' => {
            push_char(name, number(bytes.get(1..5)?, 16)?)?;
            return Some(5);
        }
        b'U' => {
            push_char(name, number(bytes.get(1..9)?, 16)?)?;
            return Some(9);
        }
        b'0'..=b'7' => {
            name.push(u8::try_from(number(bytes.get(..3)?, 8)?).ok()?);
            return Some(3);
        }
        _ => return None,
    };
    name.push(simple);
    Some(1)
}

fn number(digits: &[u8], radix: u32) -> Option<u32> {
    let mut value: u32 = 0;
    for &digit in digits {
        value = value
            .checked_mul(radix)?
            .checked_add(char::from(digit).to_digit(radix)?)?;
    }
    Some(value)
}

fn push_char(name: &mut Vec<u8>, value: u32) -> Option<()> {
    let character = char::from_u32(value)?;
    let mut buffer = [0; 4];
    name.extend_from_slice(character.encode_utf8(&mut buffer).as_bytes());
    Some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn quoting_is_gos() {
        for (name, quoted) in [
            (&b"plain name.txt"[..], "plain name.txt"),
            (b"a\"b\\c", "a\\\"b\\\\c"),
            (b"\x07\x08\x0c\n\r\t\x0b", "\\a\\b\\f\\n\\r\\t\\v"),
            (b"\x00\x1f\x7f", "\\x00\\x1f\\x7f"),
            (b"\xff\xfe", "\\xff\\xfe"),
            ("\u{e4}\u{301}\u{4e2d}".as_bytes(), "\u{e4}\u{301}\u{4e2d}"),
            ("\u{a0}\u{ad}\u{200b}".as_bytes(), "\\u00a0\\u00ad\\u200b"),
            ("\u{e0001}".as_bytes(), "\\U000e0001"),
            ("\u{301}x".as_bytes(), "\u{301}x"),
            ("\u{fffd}".as_bytes(), "\u{fffd}"),
        ] {
            assert_eq!(quote_name(name), quoted);
            assert_eq!(unquote_name(quoted).as_deref(), Some(name));
        }
    }

    #[test]
    fn broken_quoting_is_refused() {
        for bad in [
            "\\",
            "\\x",
            "\\xg0",
            "\\u12",
            "\\ud800",
            "\\U00110000",
            "\\q",
            "\\777",
            "\"",
            "\\'",
        ] {
            assert_eq!(unquote_name(bad), None, "{bad}");
        }
        assert_eq!(unquote_name("\\101"), Some(b"A".to_vec()));
    }

    proptest! {
        #[test]
        fn any_bytes_survive(name in proptest::collection::vec(any::<u8>(), 0..64)) {
            prop_assert_eq!(unquote_name(&quote_name(&name)), Some(name));
        }

        #[test]
        fn any_text_is_answered(text in ".*") {
            let _ = unquote_name(&text);
        }
    }
}
