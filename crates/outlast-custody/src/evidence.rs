//! What a custodian that cannot sign shows: what was read back from it, and when.
//!
//! Nobody vouches for evidence but the machine that collected it. Whether it counts, and for how
//! long, the custody policy says.

use serde::{Deserialize, Serialize};

use crate::entry::IdText;

/// Longest evidence in its JSON form, in bytes.
pub const EVIDENCE_BYTES_MAX: usize = 4096;

/// What was done to collect the evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EvidenceKind {
    /// The retention of every object's version was read back from a bucket.
    Retention,
    /// Every object was read back from a removable disk and hashed.
    Disk,
    /// Every object was read back from a directory, here or over SFTP, and hashed.
    Directory,
}

/// What was seen of one snapshot at one custodian. Plain data, to be kept as a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    /// What was done.
    pub kind: EvidenceKind,
    /// The custodian, by its name in the policy.
    pub custodian: String,
    /// The snapshot.
    pub snapshot: IdText,
    /// Root of the list of all the objects that it needs, each of which was seen.
    pub list: IdText,
    /// How many they are.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// When the first of them was looked at, seconds since 1970: nothing of this is newer.
    pub observed: u64,
    /// The earliest end of retention of any of them, seconds since 1970; none where nothing retains
    /// them.
    pub retained_until: Option<u64>,
    /// SHA-256 over the names of the versions that were seen, in the order of the list; none where
    /// there are no versions.
    pub versions: Option<IdText>,
    /// When a test last tried to remove, overwrite and shorten there and was refused each time,
    /// seconds since 1970.
    pub tamper_tested: Option<u64>,
}

/// Bytes are no evidence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvidenceError {
    /// Longer than any evidence.
    #[error("evidence of {0} bytes is longer than {EVIDENCE_BYTES_MAX}")]
    TooLong(usize),
    /// Not the JSON of evidence.
    #[error("not evidence: {0}")]
    Malformed(String),
}

impl Evidence {
    /// Its JSON form.
    pub fn encode(&self) -> Vec<u8> {
        // Texts, numbers and ids always have a JSON form.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads the JSON form.
    ///
    /// # Errors
    /// [`EvidenceError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, EvidenceError> {
        if bytes.len() > EVIDENCE_BYTES_MAX {
            return Err(EvidenceError::TooLong(bytes.len()));
        }
        serde_json::from_slice(bytes).map_err(|error| EvidenceError::Malformed(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use outlast_object::Id;

    use super::*;

    #[test]
    fn evidence_comes_back_and_nothing_else_is_evidence() {
        let evidence = Evidence {
            kind: EvidenceKind::Retention,
            custodian: "bucket".to_owned(),
            snapshot: IdText(Id::from_bytes([1; 32])),
            list: IdText(Id::from_bytes([2; 32])),
            objects: 12,
            bytes: 3_000_000,
            observed: 1_700_000_000,
            retained_until: Some(1_800_000_000),
            versions: Some(IdText(Id::from_bytes([3; 32]))),
            tamper_tested: None,
        };
        let bytes = evidence.encode();
        assert_eq!(Evidence::decode(&bytes), Ok(evidence));
        let text = String::from_utf8(bytes).unwrap();
        let other_kind = text.replace("retention\"", "promise\"");
        let other_field = text.replace("\"observed\"", "\"more\":1,\"observed\"");
        let long = format!("{text}{}", " ".repeat(EVIDENCE_BYTES_MAX));
        for bad in ["", "{}", &other_kind, &other_field, &long] {
            assert!(Evidence::decode(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
