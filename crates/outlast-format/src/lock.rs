//! Locks: notices that a program is using the repository.

use serde::{Deserialize, Serialize};

use crate::{FormatError, Time, to_go_json};

/// Who uses the repository, and whether alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lock {
    /// When the lock was made or last refreshed.
    pub time: Time,
    /// Whether nobody else may use the repository meanwhile.
    #[serde(default)]
    pub exclusive: bool,
    /// Name of the machine.
    #[serde(default)]
    pub hostname: String,
    /// Name of the user.
    #[serde(default)]
    pub username: String,
    /// Process id.
    #[serde(default)]
    pub pid: i64,
    /// User id.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub uid: u32,
    /// Group id.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub gid: u32,
}

fn is_zero(value: &u32) -> bool {
    *value == 0
}

impl Lock {
    /// The lock as JSON.
    pub fn to_json(&self) -> Result<Vec<u8>, FormatError> {
        to_go_json(self)
    }

    /// Parses a lock's JSON.
    pub fn from_json(json: &[u8]) -> Result<Self, FormatError> {
        serde_json::from_slice(json).map_err(|error| FormatError::json("lock", &error))
    }
}
