//! Index files: which blobs lie where in which packs. They are hints; the packs are the truth.

use outlast_object::Id;
use serde::{Deserialize, Deserializer, Serialize};

use crate::index_scan::scan;
use crate::{BlobHandle, BlobKind, FormatError, PackedBlob, SEAL_BYTES, to_go_json};

/// One index document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct IndexFile {
    /// Index files that this one replaces; written by old programs only.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "null_as_default"
    )]
    pub supersedes: Vec<Id>,
    /// The packs it describes.
    #[serde(default, deserialize_with = "null_as_default")]
    pub packs: Vec<IndexPack>,
}

/// One pack in an index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexPack {
    /// The pack.
    pub id: Id,
    /// Its blobs.
    #[serde(default, deserialize_with = "null_as_default")]
    pub blobs: Vec<IndexBlob>,
}

/// One blob in an index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexBlob {
    /// The blob's id.
    pub id: Id,
    /// The blob's kind.
    #[serde(rename = "type")]
    pub kind: BlobKind,
    /// First byte in the pack.
    pub offset: u32,
    /// Length of the sealed bytes.
    pub length: u32,
    /// Length of the plaintext; 0 where the blob is not compressed.
    #[serde(
        default,
        skip_serializing_if = "is_zero",
        deserialize_with = "null_as_default"
    )]
    pub uncompressed_length: u32,
}

/// rustic writes null for what is not there.
fn null_as_default<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: Default + Deserialize<'de>,
    D: Deserializer<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

fn is_zero(value: &u32) -> bool {
    *value == 0
}

impl From<&PackedBlob> for IndexBlob {
    fn from(blob: &PackedBlob) -> Self {
        Self {
            id: blob.handle.id,
            kind: blob.handle.kind,
            offset: blob.offset,
            length: blob.length,
            uncompressed_length: blob.uncompressed_length,
        }
    }
}

impl IndexBlob {
    /// The place it describes. Lengths that no blob can have are refused.
    pub fn to_packed(&self) -> Result<PackedBlob, FormatError> {
        let bad = |reason: String| {
            Err(FormatError::Json {
                what: "index",
                reason,
            })
        };
        if (self.length as usize) < SEAL_BYTES {
            return bad(format!("blob {} of {} bytes", self.id, self.length));
        }
        if self.offset.checked_add(self.length).is_none() {
            return bad(format!("blob {} ends beyond four gigabytes", self.id));
        }
        Ok(PackedBlob {
            handle: BlobHandle {
                kind: self.kind,
                id: self.id,
            },
            offset: self.offset,
            length: self.length,
            uncompressed_length: self.uncompressed_length,
        })
    }
}

impl IndexFile {
    /// The index as JSON.
    pub fn to_json(&self) -> Result<Vec<u8>, FormatError> {
        to_go_json(self)
    }

    /// Parses an index's JSON: today's form, or the list of packs alone that the first versions of
    /// restic wrote.
    pub fn from_json(json: &[u8]) -> Result<Self, FormatError> {
        if let Some(file) = scan(json) {
            return Ok(file);
        }
        let failed = |error: serde_json::Error| FormatError::json("index", &error);
        if json.first() == Some(&b'[') {
            let packs = serde_json::from_slice(json).map_err(failed)?;
            return Ok(Self {
                supersedes: Vec::new(),
                packs,
            });
        }
        serde_json::from_slice(json).map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn today_and_obsolete_forms_are_read() {
        let id = "1".repeat(64);
        let packs = format!(
            r#"[{{"id":"{id}","blobs":[{{"id":"{id}","type":"data","offset":0,"length":50}},{{"id":"{id}","type":"tree","offset":50,"length":60,"uncompressed_length":99}}]}}]"#
        );
        let today = format!(r#"{{"packs":{packs}}}"#);
        let index = IndexFile::from_json(today.as_bytes()).unwrap();
        assert_eq!(String::from_utf8(index.to_json().unwrap()).unwrap(), today);
        assert_eq!(index, IndexFile::from_json(packs.as_bytes()).unwrap());
        let replacing = format!(r#"{{"supersedes":["{id}"],"packs":{packs}}}"#);
        assert_eq!(
            IndexFile::from_json(replacing.as_bytes())
                .unwrap()
                .supersedes
                .len(),
            1
        );
        assert_eq!(index.packs[0].blobs[1].to_packed().unwrap().end(), 110);
    }

    #[test]
    fn nulls_of_other_programs_are_read() {
        let id = "1".repeat(64);
        let json = format!(
            r#"{{"supersedes":null,"packs":[{{"id":"{id}","blobs":[{{"id":"{id}","type":"data","offset":0,"length":50,"uncompressed_length":null}}],"size":null}},{{"id":"{id}","blobs":null}}],"packs_to_delete":[]}}"#
        );
        let index = IndexFile::from_json(json.as_bytes()).unwrap();
        assert_eq!(index.packs[0].blobs[0].uncompressed_length, 0);
        assert!(index.packs[1].blobs.is_empty());
        assert!(
            IndexFile::from_json(br#"{"packs":null}"#)
                .unwrap()
                .packs
                .is_empty()
        );
    }

    #[test]
    fn impossible_places_are_refused() {
        let blob = IndexBlob {
            id: Id::default(),
            kind: BlobKind::Data,
            offset: u32::MAX,
            length: 40,
            uncompressed_length: 0,
        };
        assert!(blob.to_packed().is_err());
        assert!(
            IndexBlob {
                offset: 0,
                length: 31,
                ..blob.clone()
            }
            .to_packed()
            .is_err()
        );
        assert!(IndexFile::from_json(b"{\"packs\":[{\"id\":\"x\"}]}").is_err());
        let negative = format!(
            r#"{{"packs":[{{"id":"{0}","blobs":[{{"id":"{0}","type":"data","offset":-1,"length":50}}]}}]}}"#,
            "1".repeat(64)
        );
        assert!(IndexFile::from_json(negative.as_bytes()).is_err());
    }
}
