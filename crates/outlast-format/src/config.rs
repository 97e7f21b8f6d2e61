//! The config of a repository.

use outlast_object::Id;
use serde::{Deserialize, Serialize};

use crate::{FormatError, MasterKey, Polynomial, to_go_json};

/// Oldest repository version supported.
pub const REPOSITORY_VERSION_MIN: u32 = 1;
/// Newest repository version supported, and the one new repositories get.
pub const REPOSITORY_VERSION_MAX: u32 = 2;

/// What holds for the whole repository; written once, sealed, never compressed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// Format version: 1 has no compression.
    pub version: u32,
    /// Random id of the repository.
    pub id: Id,
    /// Polynomial by which files are cut into chunks.
    pub chunker_polynomial: Polynomial,
}

impl Config {
    /// Checks the version.
    pub fn check(&self) -> Result<(), FormatError> {
        if (REPOSITORY_VERSION_MIN..=REPOSITORY_VERSION_MAX).contains(&self.version) {
            Ok(())
        } else {
            Err(FormatError::Version(self.version))
        }
    }

    /// The sealed config file.
    pub fn encode(&self, key: &MasterKey, iv: [u8; 16]) -> Result<Vec<u8>, FormatError> {
        key.seal(iv, &to_go_json(self)?)
    }

    /// Opens and checks a config file.
    pub fn decode(sealed: &[u8], key: &MasterKey) -> Result<Self, FormatError> {
        Self::from_json(&key.open(sealed)?)
    }

    /// Parses and checks the config's JSON.
    pub fn from_json(json: &[u8]) -> Result<Self, FormatError> {
        let config: Config =
            serde_json::from_slice(json).map_err(|error| FormatError::json("config", &error))?;
        config.check()?;
        Ok(config)
    }
}
