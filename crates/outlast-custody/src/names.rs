//! Names of repositories and tokens, checked once.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longest name of a repository, in bytes.
const REPOSITORY_NAME_BYTES_MAX: usize = 64;
/// Bytes of a token's id, as many hexadecimal digits twice.
const TOKEN_ID_BYTES: usize = 8;
/// First parts of paths that mean something else than a repository.
const RESERVED: &[&str] = &[
    "as-of",
    "v1",
    "health",
    "metrics",
    "log",
    "tile",
    "checkpoint",
];

/// Why a name was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Not a name of a repository.
    #[error(
        "{0:?} is no name for a repository: use 1 to 64 of a-z, 0-9, '.', '_' and '-', starting with a letter or digit"
    )]
    Repository(String),
    /// A word with a meaning of its own.
    #[error("{0:?} is reserved and cannot name a repository")]
    Reserved(String),
    /// Not an id of a token.
    #[error("a token's id consists of 16 digits and letters a to f")]
    Token,
}

/// The name of a repository at a custodian. Safe as part of a path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RepositoryName(String);

impl RepositoryName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RepositoryName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let fine = text.len() <= REPOSITORY_NAME_BYTES_MAX
            && text.bytes().next().is_some_and(plain)
            && text
                .bytes()
                .all(|byte| plain(byte) || b"._-".contains(&byte));
        if !fine {
            let shown = text.chars().take(REPOSITORY_NAME_BYTES_MAX).collect();
            return Err(NameError::Repository(shown));
        }
        if RESERVED.contains(&text) {
            return Err(NameError::Reserved(text.to_owned()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for RepositoryName {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<RepositoryName> for String {
    fn from(name: RepositoryName) -> String {
        name.0
    }
}

impl fmt::Display for RepositoryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The public part of a token, by which log entries name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TokenId([u8; TOKEN_ID_BYTES]);

impl TokenId {
    /// The id with these bytes.
    pub const fn from_bytes(bytes: [u8; TOKEN_ID_BYTES]) -> Self {
        Self(bytes)
    }
}

impl FromStr for TokenId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let mut bytes = [0; TOKEN_ID_BYTES];
        let lower = !text.bytes().any(|byte| byte.is_ascii_uppercase());
        match hex::decode_to_slice(text, &mut bytes) {
            Ok(()) if lower => Ok(Self(bytes)),
            _ => Err(NameError::Token),
        }
    }
}

impl TryFrom<String> for TokenId {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<TokenId> for String {
    fn from(id: TokenId) -> String {
        id.to_string()
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_lead_elsewhere_are_refused() {
        for fine in ["web1", "a", "0", "www.example.org", "a_b-c"] {
            assert_eq!(fine.parse::<RepositoryName>().unwrap().as_str(), fine);
        }
        let long = "a".repeat(65);
        for bad in [
            "", ".", "..", "../x", "a/b", "A", "-a", "a b", "a\0", "ä", &long,
        ] {
            assert!(bad.parse::<RepositoryName>().is_err(), "{bad:?}");
        }
        assert_eq!(
            "as-of".parse::<RepositoryName>(),
            Err(NameError::Reserved("as-of".to_owned()))
        );
    }

    #[test]
    fn token_ids_have_one_spelling() {
        let id = TokenId::from_bytes([1, 2, 3, 4, 5, 6, 7, 0xab]);
        assert_eq!(id.to_string(), "01020304050607ab");
        assert_eq!("01020304050607ab".parse(), Ok(id));
        for bad in [
            "01020304050607AB",
            "01",
            "",
            "0102030405060708ff",
            "zz02030405060708",
        ] {
            assert_eq!(bad.parse::<TokenId>(), Err(NameError::Token), "{bad}");
        }
    }
}
