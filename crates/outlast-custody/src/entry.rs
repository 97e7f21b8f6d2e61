//! The entries of a custodian's log.
//!
//! An entry is one JSON object in one spelling only: what does not encode again to the same bytes
//! is refused, so that nobody can show two texts for one statement.

use std::collections::BTreeMap;

use outlast_log::{Hash, leaf_hash};
use outlast_object::{Id, ObjectKind};
use serde::{Deserialize, Serialize};

use crate::names::{RepositoryName, TokenId};

/// The longest entry, in bytes.
pub const ENTRY_BYTES_MAX: usize = 4096;
/// The version of the encoding.
const VERSION: u8 = 1;

/// Why bytes are no entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// Longer than any entry.
    #[error("an entry of {0} bytes is longer than {ENTRY_BYTES_MAX}")]
    TooLong(usize),
    /// Not the JSON of an entry.
    #[error("not a log entry: {0}")]
    Malformed(String),
    /// Of a version that this program does not know.
    #[error(
        "log entry of version {0}; this program knows version {VERSION}: a newer one is needed"
    )]
    Version(u8),
    /// Another spelling of an entry.
    #[error("a log entry that is not spelt as entries are")]
    Spelling,
}

/// One statement of a custodian.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Version of the encoding.
    version: u8,
    /// The vault's guarded time, seconds since 1970. Never decreases along the log.
    pub time: u64,
    /// What the system's clock said, seconds since 1970. Shown, and used to find a moment again;
    /// no hold depends on it.
    pub clock: u64,
    /// 16 random bytes, so that a leaf hash seen in a proof tells a neighbour nothing.
    #[serde(with = "hex_bytes")]
    nonce: [u8; 16],
    /// What happened.
    pub event: Event,
}

/// What an entry states.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// The vault started.
    Start(Start),
    /// A repository was added, or its settings changed.
    Repository(RepositoryAdded),
    /// A token was made.
    Token(TokenAdded),
    /// A token was revoked.
    Revoke(Revoke),
    /// An object was taken.
    Admit(Admit),
    /// A snapshot and what it needs are held.
    Seal(Seal),
    /// A seal's hold was extended.
    Hold(Hold),
    /// What was refused in the last hour.
    Refusals(Refusals),
    /// Everything was read once.
    Scrub(Scrub),
}

/// The vault started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Start {
    /// Program and version.
    pub software: String,
}

/// What holds for a repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Most bytes that the repository may take.
    pub quota_bytes: u64,
    /// How long everything is held from its admission, seconds.
    pub hold_seconds_min: u64,
    /// How long a seal made with an append token holds, seconds.
    pub hold_seconds: u64,
    /// The longest hold that anybody may ask for, seconds from its making.
    pub hold_seconds_max: u64,
    /// Bytes of packs that an append token may read in a day; zero means none at all.
    pub append_read_bytes_daily: u64,
}

/// A repository was added, or its settings changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RepositoryAdded {
    /// The repository.
    pub repository: RepositoryName,
    /// What holds for what is admitted from now on.
    pub settings: Settings,
}

/// What a token may do. None may remove anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Put packs, indexes and snapshots; read config, keys, indexes and snapshots; seal.
    Append,
    /// Put config and keys, until there is a config.
    Enrol,
    /// Read everything of the repository.
    Restore,
    /// Read ciphertext and log, for another custodian.
    Pull,
}

/// A token was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenAdded {
    /// The token.
    pub token: TokenId,
    /// Its repository.
    pub repository: RepositoryName,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// SHA-256 of its secret of 32 random bytes.
    pub secret_hash: IdText,
    /// For whom it was made.
    pub label: String,
    /// Most bytes that it may put in a day; zero means no limit but the quota.
    pub put_bytes_daily: u64,
    /// Most requests a minute; zero means no limit.
    pub requests_per_minute: u32,
}

/// A token was revoked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revoke {
    /// The token.
    pub token: TokenId,
}

/// An object was taken: it is durable, and its bytes hash to its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Admit {
    /// The repository.
    pub repository: RepositoryName,
    /// Who put it.
    pub token: TokenId,
    /// Its kind: the name of its folder.
    pub kind: String,
    /// SHA-256 of its bytes; for the config too.
    pub id: IdText,
    /// Its size in bytes.
    pub size: u64,
    /// Leaf hash of the entry before this one about the same repository: a chain that lets the
    /// owner see that nothing about it is withheld.
    pub previous: IdText,
}

/// A snapshot and the objects it needs are held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seal {
    /// The repository.
    pub repository: RepositoryName,
    /// The snapshot.
    pub snapshot: IdText,
    /// Root of the list of objects; none where everything admitted so far is covered.
    pub list: Option<IdText>,
    /// How many objects are covered.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Held until this vault time, seconds since 1970.
    pub until: u64,
    /// The oldest moment at which one of the objects was last read and found whole.
    pub verified: u64,
    /// Who asked; none where the vault sealed by itself.
    pub token: Option<TokenId>,
    /// As in [`Admit`].
    pub previous: IdText,
}

/// A seal's hold was extended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hold {
    /// The repository.
    pub repository: RepositoryName,
    /// Index of the seal's entry.
    pub seal: u64,
    /// Held until this vault time; later than before.
    pub until: u64,
    /// As in [`Admit`].
    pub previous: IdText,
}

/// What was refused, by word, since the last such entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refusals {
    /// Reason and number.
    pub counts: BTreeMap<String, u64>,
}

/// Everything was read once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scrub {
    /// Vault time at which the reading began, seconds since 1970.
    pub started: u64,
    /// Objects read.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How many are missing or damaged.
    pub damaged: u64,
    /// The first of them, as `repository/kind/id`.
    pub examples: Vec<String>,
}

/// An id as text in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct IdText(pub Id);

impl TryFrom<String> for IdText {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.parse::<Id>() {
            Ok(id) if id.to_hex() == text => Ok(Self(id)),
            _ => Err("not the hash of an object".to_owned()),
        }
    }
}

impl From<IdText> for String {
    fn from(id: IdText) -> String {
        id.0.to_hex()
    }
}

impl Admit {
    /// The kind, if it is one that can be admitted.
    pub fn object_kind(&self) -> Option<ObjectKind> {
        ObjectKind::from_folder(&self.kind).filter(|kind| *kind != ObjectKind::Lock)
    }
}

impl Entry {
    /// A new entry.
    pub fn new(time: u64, clock: u64, nonce: [u8; 16], event: Event) -> Self {
        Self {
            version: VERSION,
            time,
            clock,
            nonce,
            event,
        }
    }

    /// Its bytes in the log.
    pub fn encode(&self) -> Vec<u8> {
        // Maps with text keys, numbers and texts always have a JSON form.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads an entry.
    ///
    /// # Errors
    /// [`EntryError`] for anything that [`Entry::encode`] does not produce.
    pub fn decode(bytes: &[u8]) -> Result<Self, EntryError> {
        #[derive(Deserialize)]
        struct Outer {
            version: u8,
        }
        if bytes.len() > ENTRY_BYTES_MAX {
            return Err(EntryError::TooLong(bytes.len()));
        }
        let malformed = |error: serde_json::Error| EntryError::Malformed(error.to_string());
        let outer: Outer = serde_json::from_slice(bytes).map_err(malformed)?;
        if outer.version != VERSION {
            return Err(EntryError::Version(outer.version));
        }
        let entry: Self = serde_json::from_slice(bytes).map_err(malformed)?;
        if entry.encode() != bytes {
            return Err(EntryError::Spelling);
        }
        Ok(entry)
    }

    /// Its leaf hash in the tree.
    pub fn leaf(&self) -> Hash {
        leaf_hash(&self.encode())
    }

    /// The repository it is about, and the hash of the entry before it about the same one.
    pub fn chain(&self) -> Option<(&RepositoryName, Id)> {
        match &self.event {
            Event::Admit(admit) => Some((&admit.repository, admit.previous.0)),
            Event::Seal(seal) => Some((&seal.repository, seal.previous.0)),
            Event::Hold(hold) => Some((&hold.repository, hold.previous.0)),
            _ => None,
        }
    }
}

mod hex_bytes {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(bytes: &[u8; 16], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(bytes))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; 16], D::Error> {
        let text = String::deserialize(deserializer)?;
        let mut bytes = [0; 16];
        hex::decode_to_slice(&text, &mut bytes)
            .map_err(|_| D::Error::custom("not 16 bytes in hexadecimal digits"))?;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admit() -> Entry {
        Entry::new(
            1_700_000_000,
            1_700_000_001,
            [7; 16],
            Event::Admit(Admit {
                repository: "web1".parse().unwrap(),
                token: TokenId::from_bytes([1; 8]),
                kind: "data".to_owned(),
                id: IdText(Id::from_bytes([2; 32])),
                size: 16_777_216,
                previous: IdText(Id::from_bytes([0; 32])),
            }),
        )
    }

    #[test]
    fn an_entry_has_one_spelling() {
        let bytes = admit().encode();
        assert_eq!(Entry::decode(&bytes), Ok(admit()));
        let text = String::from_utf8(bytes).unwrap();
        for other in [
            text.replace(',', ", "),
            text.replace("\"version\":1,", "") + " ",
            text.replace(&"02".repeat(32), &"0A".repeat(32)),
            text.replace("0707", "07"),
            text.replace("\"size\"", "\"extra\":1,\"size\""),
        ] {
            assert!(Entry::decode(other.as_bytes()).is_err(), "{other}");
        }
        let newer = text.replace("\"version\":1", "\"version\":2");
        assert_eq!(Entry::decode(newer.as_bytes()), Err(EntryError::Version(2)));
        assert_eq!(
            Entry::decode(&vec![b' '; ENTRY_BYTES_MAX + 1]),
            Err(EntryError::TooLong(ENTRY_BYTES_MAX + 1))
        );
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_answered(bytes in proptest::collection::vec(0_u8..255, 0..300)) {
            let _ = Entry::decode(&bytes);
        }
    }
}
