//! Names, times and numbers in text.

use outlast_format::{Polynomial, Time, quote_name, unquote_name};
use outlast_object::Id;

/// Names of files, quoted as Go does.
pub fn go_name(data: &[u8]) {
    assert_eq!(unquote_name(&quote_name(data)).as_deref(), Some(data));
    if let Ok(text) = std::str::from_utf8(data)
        && let Some(name) = unquote_name(text)
    {
        assert_eq!(unquote_name(&quote_name(&name)), Some(name));
    }
}

/// Times, written as Go does.
pub fn go_time(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(time) = text.parse::<Time>() {
        let written = time.to_string();
        let again: Time = written.parse().expect("what was written can be read");
        assert_eq!(again.to_string(), written);
    }
}

/// The polynomial of the chunker.
pub fn polynomial(data: &[u8]) {
    if let Some(bytes) = data.first_chunk::<8>() {
        let bits = u64::from_le_bytes(*bytes);
        if let Some(polynomial) = Polynomial::from_random(bits) {
            assert_eq!(polynomial.to_string().parse(), Ok(polynomial));
        }
    }
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(polynomial) = text.parse::<Polynomial>()
    {
        assert_eq!(polynomial.to_string().parse(), Ok(polynomial));
    }
}

/// Names of objects.
pub fn object_name(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(id) = text.parse::<Id>()
    {
        assert_eq!(id.to_string().parse::<Id>(), Ok(id));
    }
}
