//! Snapshots: what was backed up, when and by whom, and the tree it is kept in.

use outlast_object::Id;
use serde::{Deserialize, Deserializer, Serialize};

use crate::{FormatError, Time, to_go_json};

/// What a backup did, kept with its snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotSummary {
    /// When the backup began.
    pub backup_start: Time,
    /// When it ended.
    pub backup_end: Time,
    /// Files that the parent did not have.
    #[serde(default)]
    pub files_new: u64,
    /// Files that differ from the parent's.
    #[serde(default)]
    pub files_changed: u64,
    /// Files as the parent has them.
    #[serde(default)]
    pub files_unmodified: u64,
    /// Directories that the parent did not have.
    #[serde(default)]
    pub dirs_new: u64,
    /// Directories that differ from the parent's.
    #[serde(default)]
    pub dirs_changed: u64,
    /// Directories as the parent has them.
    #[serde(default)]
    pub dirs_unmodified: u64,
    /// Data blobs added to the repository.
    #[serde(default)]
    pub data_blobs: i64,
    /// Tree blobs added to the repository.
    #[serde(default)]
    pub tree_blobs: i64,
    /// Bytes added to the repository, before compression.
    #[serde(default)]
    pub data_added: u64,
    /// Bytes added to the repository, as stored.
    #[serde(default)]
    pub data_added_packed: u64,
    /// Files looked at.
    #[serde(default)]
    pub total_files_processed: u64,
    /// Bytes in those files.
    #[serde(default)]
    pub total_bytes_processed: u64,
}

/// One snapshot document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// When it was made, as its maker claims.
    pub time: Time,
    /// The snapshot it was compared with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Id>,
    /// The root tree.
    pub tree: Id,
    /// The paths backed up.
    #[serde(default, deserialize_with = "null_as_empty")]
    pub paths: Vec<String>,
    /// Name of the machine.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub hostname: String,
    /// Name of the user who made it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub username: String,
    /// User id of the maker.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub uid: u32,
    /// Group id of the maker.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub gid: u32,
    /// Patterns that were left out.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "null_as_empty"
    )]
    pub excludes: Vec<String>,
    /// Tags.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "null_as_empty"
    )]
    pub tags: Vec<String>,
    /// The snapshot this one was made from by changing it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub original: Option<Id>,
    /// The program that made it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub program_version: String,
    /// What the backup did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<SnapshotSummary>,
}

fn is_zero(value: &u32) -> bool {
    *value == 0
}

fn null_as_empty<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(Option::<Vec<String>>::deserialize(deserializer)?.unwrap_or_default())
}

impl Snapshot {
    /// The snapshot as JSON.
    pub fn to_json(&self) -> Result<Vec<u8>, FormatError> {
        to_go_json(self)
    }

    /// Parses a snapshot's JSON.
    pub fn from_json(json: &[u8]) -> Result<Self, FormatError> {
        serde_json::from_slice(json).map_err(|error| FormatError::json("snapshot", &error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_keep_restics_order_and_are_left_out_when_empty() {
        let json = format!(
            r#"{{"time":"2026-01-02T03:04:05.6+01:00","tree":"{}","paths":["/a"],"hostname":"h","tags":["x"]}}"#,
            "0".repeat(64)
        );
        let snapshot = Snapshot::from_json(json.as_bytes()).unwrap();
        assert_eq!(
            String::from_utf8(snapshot.to_json().unwrap()).unwrap(),
            json
        );
        assert!(Snapshot::from_json(b"{\"time\":\"2026-01-02T03:04:05Z\"}").is_err());
        assert!(Snapshot::from_json(b"").is_err());
    }
}
