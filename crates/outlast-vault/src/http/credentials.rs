//! Who a request says it comes from: `Authorization: Basic …`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The header is at most so long; a longer one counts as none.
pub const AUTHORIZATION_BYTES_MAX: usize = 1024;

/// User and password of a request, if it has exactly one well-formed header of that kind.
///
/// Everything else is the same "none": callers cannot tell a peer what was wrong with it. Both may be
/// empty; the user holds no colon and neither holds a control character (RFC 7617).
pub fn basic_credentials(headers: &[(String, String)]) -> Option<(String, String)> {
    let mut found = headers.iter().filter(|(name, _)| name == "authorization");
    let (_, value) = found.next()?;
    // Of two headers somebody in front of us might have checked the other.
    if found.next().is_some() || value.len() > AUTHORIZATION_BYTES_MAX {
        return None;
    }
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = STANDARD.decode(encoded.trim_matches(' ')).ok()?;
    let text = String::from_utf8(decoded).ok()?;
    let (user, password) = text.split_once(':')?;
    if text.chars().any(char::is_control) {
        return None;
    }
    Some((user.to_string(), password.to_string()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn header(value: &str) -> (String, String) {
        ("authorization".to_string(), value.to_string())
    }

    fn read(value: &str) -> Option<(String, String)> {
        basic_credentials(&[header(value)])
    }

    fn encoded(text: &str) -> String {
        format!("Basic {}", STANDARD.encode(text))
    }

    #[test]
    fn reads_user_and_password() {
        let expected = Some(("ana".to_string(), "pa:ss".to_string()));
        assert_eq!(read(&encoded("ana:pa:ss")), expected);
        assert_eq!(
            read(&encoded("ana:pa:ss").replace("Basic ", "bAsIc  ")),
            expected
        );
        assert_eq!(read(&encoded(":")), Some((String::new(), String::new())));
    }

    #[test]
    fn takes_everything_else_for_none() {
        assert_eq!(basic_credentials(&[]), None);
        for value in [
            "",
            "Basic",
            "Basic ",
            "Basic !!!!",
            "Basic YTpi=",
            "Bearer YTpi",
            &encoded("no colon"),
            &encoded("a:b\n"),
            &encoded("a\0:b"),
            &format!("Basic {}", STANDARD.encode([0xff, b':', 0xfe])),
        ] {
            assert_eq!(read(value), None, "{value}");
        }
    }

    #[test]
    fn does_not_choose_between_two() {
        let one = header(&encoded("a:b"));
        assert!(basic_credentials(std::slice::from_ref(&one)).is_some());
        assert_eq!(basic_credentials(&[one.clone(), one]), None);
    }

    #[test]
    fn is_bounded() {
        assert_eq!(read(&encoded(&format!("a:{}", "b".repeat(1024)))), None);
    }

    proptest! {
        #[test]
        fn what_was_encoded_comes_back(user in "[^:\\p{Cc}]{0,40}", password in "\\P{Cc}{0,40}") {
            let found = read(&encoded(&format!("{user}:{password}")));
            prop_assert_eq!(found, Some((user, password)));
        }

        #[test]
        fn survives_anything(value in "(Basic )?.{0,64}") {
            let _ = read(&value);
        }
    }
}
