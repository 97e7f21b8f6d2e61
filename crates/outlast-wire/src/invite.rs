//! The line that an operator gives to a client.
//!
//! `outlast-invite-1:` and, in base64url without padding, eight bytes of SHA-256 over the rest and
//! the rest: a JSON object. The check is against lost and changed characters, not against forgers:
//! whoever can change the line can make another.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use outlast_custody::{RepositoryName, Scope, TokenId};
use outlast_log::VerifierKey;
use outlast_object::hash;
use serde::{Deserialize, Serialize};

/// How invites of this version begin.
const PREFIX: &str = "outlast-invite-1:";
/// Longest invite, in bytes.
const INVITE_BYTES_MAX: usize = 8192;
/// Bytes of the check.
const CHECK_BYTES: usize = 8;
/// Most addresses.
const ADDRESSES_MAX: usize = 4;
/// Longest address, in bytes.
const ADDRESS_BYTES_MAX: usize = 300;

/// Why a line is no invite.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InviteError {
    /// It begins otherwise.
    #[error("this is no invite: one begins with \"{PREFIX}\"")]
    NoInvite,
    /// Of a version that this program does not know.
    #[error("this invite is of a newer version: a newer outlast is needed")]
    Version,
    /// Characters are missing or changed.
    #[error("the invite is not whole: copy it again, from \"outlast-invite\" to its end")]
    NotWhole,
    /// What it says makes no sense.
    #[error("the invite cannot be used: {0}")]
    Content(String),
}

/// All that a client needs to keep a repository at a vault.
#[derive(Clone, PartialEq, Eq)]
pub struct Invite {
    /// Host and port, one to four.
    pub addresses: Vec<String>,
    /// SHA-256 of the SubjectPublicKeyInfo of the vault's certificate; none for plain HTTP on
    /// this machine.
    pub pin: Option<[u8; 32]>,
    /// Whose receipts count.
    pub identity: VerifierKey,
    /// The repository at the vault.
    pub repository: RepositoryName,
    /// The token: the user name.
    pub token: TokenId,
    /// Its secret: the password.
    pub secret: String,
    /// What the token may do.
    pub scopes: Vec<Scope>,
}

/// The invite in JSON.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    #[serde(rename = "at")]
    addresses: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pin: Option<String>,
    #[serde(rename = "id")]
    identity: String,
    #[serde(rename = "repo")]
    repository: RepositoryName,
    token: TokenId,
    secret: String,
    scopes: Vec<Scope>,
}

impl fmt::Debug for Invite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Invite")
            .field("addresses", &self.addresses)
            .field("identity", &self.identity)
            .field("repository", &self.repository)
            .field("token", &self.token)
            .finish_non_exhaustive()
    }
}

/// Whether this is a host and a port, and nothing else.
fn is_address(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else {
        return false;
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let host_fits = match bare {
        Some(address) => address.parse::<core::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.bytes().all(plain),
    };
    host_fits && text.len() <= ADDRESS_BYTES_MAX && port.parse::<u16>().is_ok_and(|port| port > 0)
}

impl Invite {
    /// The line.
    pub fn encode(&self) -> String {
        let text = Text {
            addresses: self.addresses.clone(),
            pin: self.pin.map(hex::encode),
            identity: self.identity.to_string(),
            repository: self.repository.clone(),
            token: self.token,
            secret: self.secret.clone(),
            scopes: self.scopes.clone(),
        };
        // Lists of texts always have a JSON form.
        let json = serde_json::to_vec(&text).unwrap_or_default();
        let mut bytes = hash(&json).as_bytes()[..CHECK_BYTES].to_vec();
        bytes.extend_from_slice(&json);
        format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl FromStr for Invite {
    type Err = InviteError;

    /// Reads a line; white space inside, as mail programs add, is left out.
    fn from_str(line: &str) -> Result<Self, InviteError> {
        if line.len() > 2 * INVITE_BYTES_MAX {
            return Err(InviteError::NotWhole);
        }
        let line: String = line
            .chars()
            .filter(|character| !character.is_whitespace())
            .collect();
        let Some(encoded) = line.strip_prefix(PREFIX) else {
            let version = line
                .strip_prefix("outlast-invite-")
                .map(|rest| rest.split(':').next().unwrap_or_default());
            let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
            return Err(match version {
                None => InviteError::NoInvite,
                Some("" | "1") => InviteError::NotWhole,
                Some(number) if is_number(number) => InviteError::Version,
                Some(_) => InviteError::NotWhole,
            });
        };
        let bytes = URL_SAFE_NO_PAD
            .decode(encoded)
            .map_err(|_| InviteError::NotWhole)?;
        let (check, json) = bytes
            .split_at_checked(CHECK_BYTES)
            .ok_or(InviteError::NotWhole)?;
        if hash(json).as_bytes()[..CHECK_BYTES] != *check {
            return Err(InviteError::NotWhole);
        }
        let wrong = |error: &dyn fmt::Display| InviteError::Content(error.to_string());
        let text: Text = serde_json::from_slice(json).map_err(|error| wrong(&error))?;
        let count = text.addresses.len();
        if !(1..=ADDRESSES_MAX).contains(&count)
            || !text.addresses.iter().all(|address| is_address(address))
        {
            return Err(InviteError::Content("its addresses are none".to_owned()));
        }
        let pin = match &text.pin {
            None => None,
            Some(text) => {
                let mut pin = [0; 32];
                hex::decode_to_slice(text, &mut pin).map_err(|error| wrong(&error))?;
                Some(pin)
            }
        };
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric();
        if text.secret.is_empty() || !text.secret.bytes().all(is_plain) {
            return Err(InviteError::Content("its secret is none".to_owned()));
        }
        Ok(Self {
            addresses: text.addresses,
            pin,
            identity: text.identity.parse().map_err(|error| wrong(&error))?,
            repository: text.repository,
            token: text.token,
            secret: text.secret,
            scopes: text.scopes,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use outlast_log::{KeyKind, SigningKey};

    use super::*;

    fn invite() -> Invite {
        let key = SigningKey::from_seed("vault.example", KeyKind::Note, &[1; 32]).unwrap();
        Invite {
            addresses: vec!["vault.example:8484".into(), "[2001:db8::1]:8484".into()],
            pin: Some([7; 32]),
            identity: key.verifier(),
            repository: "web1".parse().unwrap(),
            token: TokenId::from_bytes([1; 8]),
            secret: "ab".repeat(32),
            scopes: vec![Scope::Append, Scope::Enrol],
        }
    }

    #[test]
    fn a_line_brings_everything_and_shows_no_secret() {
        let line = invite().encode();
        assert_eq!(line.parse::<Invite>(), Ok(invite()));
        assert!(!line.contains(char::is_whitespace));
        let folded: String = line
            .as_bytes()
            .chunks(70)
            .map(|part| String::from_utf8_lossy(part) + "\r\n ")
            .collect();
        assert_eq!(folded.parse::<Invite>(), Ok(invite()));
        assert!(!format!("{:?}", invite()).contains("abab"));
    }

    #[test]
    fn every_lost_or_changed_character_is_noticed() {
        let line = invite().encode();
        for at in 0..line.len() {
            let mut missing = line.clone();
            missing.remove(at);
            assert!(missing.parse::<Invite>().is_err(), "without {at}");
            assert!(line[..at].parse::<Invite>().is_err(), "cut at {at}");
            let mut changed = line.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert_ne!(changed.parse::<Invite>(), Ok(invite()), "changed at {at}");
        }
        assert_eq!("hello".parse::<Invite>(), Err(InviteError::NoInvite));
        let newer = line.replace("invite-1", "invite-2");
        assert_eq!(newer.parse::<Invite>(), Err(InviteError::Version));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for addresses in [
            vec![],
            vec!["x:1".to_owned(); 5],
            vec!["vault.example".to_owned()],
            vec!["user@vault:1".to_owned()],
            vec!["vault/path:1".to_owned()],
            vec!["vault:0".to_owned()],
        ] {
            let wrong = Invite {
                addresses,
                ..invite()
            };
            let outcome = wrong.encode().parse::<Invite>();
            assert!(
                matches!(outcome, Err(InviteError::Content(_))),
                "{outcome:?}"
            );
        }
        let wrong = Invite {
            secret: "a b".to_owned(),
            ..invite()
        };
        assert!(wrong.encode().parse::<Invite>().is_err());
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_answered(text in "(outlast-invite-1:)?[ -~]{0,200}") {
            let _ = text.parse::<Invite>();
        }
    }
}
