//! JSON with the escapes of Go's `encoding/json`, on which the hashes of trees depend.

use std::io;

use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter, Serializer};
use serde_json::value::RawValue;

use crate::FormatError;

/// Escapes `<`, `>`, `&`, U+2028 and U+2029 as Go does; the rest is as `serde_json` writes it.
struct GoFormatter;

impl Formatter for GoFormatter {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let bytes = fragment.as_bytes();
        let mut start = 0;
        let mut at = 0;
        while at < bytes.len() {
            let escape: Option<(&str, usize)> = match bytes[at] {
                b'<' => Some(("\\u003c", 1)),
                b'>' => Some(("\\u003e", 1)),
                b'&' => Some(("\\u0026", 1)),
                0xe2 if bytes[at..].starts_with(b"\xe2\x80\xa8") => Some(("\\u2028", 3)),
                0xe2 if bytes[at..].starts_with(b"\xe2\x80\xa9") => Some(("\\u2029", 3)),
                _ => None,
            };
            if let Some((text, length)) = escape {
                writer.write_all(&bytes[start..at])?;
                writer.write_all(text.as_bytes())?;
                at += length;
                start = at;
            } else {
                at += 1;
            }
        }
        writer.write_all(&bytes[start..])
    }

    fn write_char_escape<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        escape: serde_json::ser::CharEscape,
    ) -> io::Result<()> {
        CompactFormatter.write_char_escape(writer, escape)
    }
}

/// Appends `value` as Go would write it to `buffer`.
pub(crate) fn append_go_json<T: Serialize + ?Sized>(
    buffer: &mut Vec<u8>,
    value: &T,
    what: &'static str,
) -> Result<(), FormatError> {
    let mut serializer = Serializer::with_formatter(buffer, GoFormatter);
    value
        .serialize(&mut serializer)
        .map_err(|error| FormatError::json(what, &error))
}

/// `value` as Go's `encoding/json` would write it: compact, HTML characters escaped.
pub fn to_go_json<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, FormatError> {
    let mut buffer = Vec::with_capacity(256);
    append_go_json(&mut buffer, value, "document")?;
    Ok(buffer)
}

/// The JSON string that Go makes of bytes that are not UTF-8: each byte that belongs to no character
/// becomes the escape of the replacement character.
pub(crate) fn broken_text(bytes: &[u8]) -> Result<Box<RawValue>, FormatError> {
    let mut json = b"\"".to_vec();
    for chunk in bytes.utf8_chunks() {
        let mut text = Vec::new();
        append_go_json(&mut text, chunk.valid(), "text")?;
        json.extend_from_slice(&text[1..text.len() - 1]);
        json.extend(b"\\ufffd".repeat(chunk.invalid().len()));
    }
    json.push(b'"');
    serde_json::from_slice(&json).map_err(|error| FormatError::json("text", &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_gos() {
        let text = "a<b>&\u{2028}\u{2029}\"\\\n\u{1}\u{7f}\u{e9}\u{8}\u{c}";
        let json = String::from_utf8(to_go_json(text).unwrap()).unwrap();
        let expected =
            "\"a\\u003cb\\u003e\\u0026\\u2028\\u2029\\\"\\\\\\n\\u0001\u{7f}\u{e9}\\b\\f\"";
        assert_eq!(json, expected);
    }

    #[test]
    fn each_broken_byte_becomes_an_escape() {
        let json = broken_text(b"a<\xff\xe2\x82\"\xef\xbf\xbd").unwrap();
        let expected = "\"a\\u003c\\ufffd\\ufffd\\ufffd\\\"\u{fffd}\"";
        assert_eq!(json.get(), expected);
        assert_eq!(
            String::from_utf8(to_go_json(&json).unwrap()).unwrap(),
            expected
        );
    }
}
