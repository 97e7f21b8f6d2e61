//! A custody policy as its owner writes it. Nothing here has been checked yet.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// How old, unless set otherwise, the oldest reading of a receipt's objects may be, days.
pub(super) const VERIFIED_DAYS_MAX: u32 = 90;
/// How old the reading back of a bucket's retention may be unless set otherwise, days.
const RETENTION_DAYS_MAX: u32 = 3;
/// How old the reading of a disk or directory may be unless set otherwise, days.
const READING_DAYS_MAX: u32 = 45;

/// A policy as written. Unknown keys are refused: a misspelt one must not be silently without
/// effect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyText {
    /// The group that must vouch for a snapshot before it is safe.
    pub require: String,
    /// How old the oldest reading of the objects of a receipt may be, days.
    #[serde(default = "verified_days_max")]
    pub verified_days_max: u32,
    /// How many witnesses, each of another party than the custodian's, must have cosigned a
    /// receipt; zero demands none.
    #[serde(default)]
    pub cosignatures_min: u32,
    /// The custodians by name.
    pub custodians: BTreeMap<String, CustodianText>,
    /// The groups by name.
    #[serde(default)]
    pub groups: BTreeMap<String, GroupText>,
    /// Which unsigned evidence counts. A kind that is not named does not.
    #[serde(default)]
    pub evidence: EvidenceText,
    /// The witnesses whose cosignatures count, by any name.
    #[serde(default)]
    pub witnesses: BTreeMap<String, WitnessText>,
    /// Machines that hold credentials, by name.
    #[serde(default)]
    pub hosts: BTreeMap<String, HostText>,
    /// Credentials by any name, and where they lie.
    #[serde(default)]
    pub credentials: BTreeMap<String, CredentialText>,
}

/// A custodian, and what it has in common with others.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CustodianText {
    /// Who answers for it: a firm, a person.
    pub party: String,
    /// The network that its machine is in. Custodians in one network are one party.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// Who administers it. Custodians under one administration are one party.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub administration: Option<String>,
    /// The account that it is paid from. Custodians under one account are one party.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// How fast it can be read to restore, bytes a second; for estimates only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restore_bytes_per_second: Option<u64>,
}

/// So many of these.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupText {
    /// How many.
    pub need: Need,
    /// Names of custodians and groups.
    pub of: Vec<String>,
}

/// How many members of a group must vouch: a number, `"any"` for one, `"all"` for every one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// One of them.
    Any,
    /// Every one.
    All,
    /// So many.
    Number(u32),
}

/// Which unsigned evidence counts, and how fresh it must be.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvidenceText {
    /// Retention of every object of the snapshot, read back from a bucket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<RetentionText>,
    /// The objects themselves, read back from a removable disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<ReadingText>,
    /// The objects themselves, read back from a directory or over SFTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<ReadingText>,
}

/// When retention that was read back counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetentionText {
    /// How old the reading may be, days.
    #[serde(default = "retention_days_max")]
    pub age_days_max: u32,
    /// How long ago the last test that tried to remove and shorten, and was refused, may be, days;
    /// without it no test is demanded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tamper_test_days_max: Option<u32>,
}

/// When objects that were read back count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReadingText {
    /// How old the reading may be, days.
    #[serde(default = "reading_days_max")]
    pub age_days_max: u32,
}

/// A witness.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WitnessText {
    /// Who answers for it.
    pub party: String,
    /// Its key, as witnesses publish it: `name+id+base64`.
    pub key: String,
}

/// A machine that holds credentials.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostText {
    /// Who administers it, if it is a party that also has custodians or other machines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub party: Option<String>,
    /// The network that it is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
}

/// A credential and where it lies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CredentialText {
    /// What it is for.
    pub power: Power,
    /// The custodian that it is for; none for the key of the repository itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub custodian: Option<String>,
    /// The machines that have it.
    #[serde(default)]
    pub hosts: Vec<String>,
}

/// What a credential is made for. What it can do depends on the kind of custodian besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Power {
    /// Add objects: a vault's append token, keys of a bucket that put and set retention.
    Append,
    /// Read everything that is kept, as ciphertext: tokens to restore or to pull, keys that get.
    Read,
    /// Extend retention and nothing else.
    Renew,
    /// Everything that the custodian's own programs let anybody do: all rights on a bucket, a login
    /// that writes to a directory, a machine that a disk is attached to.
    Full,
    /// The machine, the account or the thing itself: root on a vault's host, a cloud account with
    /// its console, the disk in one's hand.
    Root,
    /// The repository's password or key: what makes ciphertext readable.
    RepositoryKey,
}

const fn verified_days_max() -> u32 {
    VERIFIED_DAYS_MAX
}

const fn retention_days_max() -> u32 {
    RETENTION_DAYS_MAX
}

const fn reading_days_max() -> u32 {
    READING_DAYS_MAX
}

impl Default for RetentionText {
    fn default() -> Self {
        Self {
            age_days_max: RETENTION_DAYS_MAX,
            tamper_test_days_max: None,
        }
    }
}

impl Default for ReadingText {
    fn default() -> Self {
        Self {
            age_days_max: READING_DAYS_MAX,
        }
    }
}

impl Serialize for Need {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Any => serializer.serialize_str("any"),
            Self::All => serializer.serialize_str("all"),
            Self::Number(number) => serializer.serialize_u32(*number),
        }
    }
}

impl<'de> Deserialize<'de> for Need {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NeedVisitor;
        impl Visitor<'_> for NeedVisitor {
            type Value = Need;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, \"any\" or \"all\"")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Need, E> {
                match text {
                    "any" => Ok(Need::Any),
                    "all" => Ok(Need::All),
                    _ => Err(E::invalid_value(Unexpected::Str(text), &self)),
                }
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Need, E> {
                let wrong = || E::invalid_value(Unexpected::Signed(number), &self);
                u32::try_from(number).map(Need::Number).map_err(|_| wrong())
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Need, E> {
                let wrong = || E::invalid_value(Unexpected::Unsigned(number), &self);
                u32::try_from(number).map(Need::Number).map_err(|_| wrong())
            }
        }
        deserializer.deserialize_any(NeedVisitor)
    }
}
