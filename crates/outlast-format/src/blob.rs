//! Blobs: chunks of files and trees, compressed and sealed one by one.

use std::fmt;

use outlast_object::{Id, hash};
use serde::{Deserialize, Serialize};

use crate::compression::{Compressor, decompress};
use crate::{FormatError, MasterKey, SEAL_BYTES};

/// Largest plaintext of a data blob accepted. Writers cut at 8 MiB.
pub const BLOB_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Largest plaintext of a tree blob accepted: the tree of a folder with about two million entries.
pub const TREE_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// The kinds of blobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BlobKind {
    /// A piece of a file's content.
    Data,
    /// The entries of a directory.
    Tree,
}

impl BlobKind {
    /// Largest plaintext accepted for this kind.
    pub const fn bytes_max(self) -> u64 {
        match self {
            BlobKind::Data => BLOB_BYTES_MAX,
            BlobKind::Tree => TREE_BYTES_MAX,
        }
    }
}

impl fmt::Display for BlobKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BlobKind::Data => "data",
            BlobKind::Tree => "tree",
        })
    }
}

/// Kind and id of a blob: what names it in a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlobHandle {
    /// The kind.
    pub kind: BlobKind,
    /// The SHA-256 of the plaintext.
    pub id: Id,
}

impl BlobHandle {
    /// A data blob.
    pub const fn data(id: Id) -> Self {
        Self {
            kind: BlobKind::Data,
            id,
        }
    }

    /// A tree blob.
    pub const fn tree(id: Id) -> Self {
        Self {
            kind: BlobKind::Tree,
            id,
        }
    }
}

impl fmt::Display for BlobHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} blob {}", self.kind, self.id)
    }
}

/// A blob ready to be put into a pack.
#[derive(Debug, Clone)]
pub struct EncodedBlob {
    /// Kind and id.
    pub handle: BlobHandle,
    /// The sealed bytes.
    pub sealed: Vec<u8>,
    /// Length of the plaintext where the blob is compressed; 0 where it is not.
    pub uncompressed_length: u32,
}

/// Compresses (where a compressor is given and it helps) and seals a blob. Trees are compressed even
/// where that does not help: restic's prune takes packs with uncompressed trees for old ones and
/// repacks them, every time.
/// `iv` must be random and never used before with this key.
pub fn encode_blob(
    handle: BlobHandle,
    plaintext: &[u8],
    compressor: Option<&mut Compressor>,
    key: &MasterKey,
    iv: [u8; 16],
) -> Result<EncodedBlob, FormatError> {
    let max = handle.kind.bytes_max();
    if plaintext.len() as u64 > max {
        let bytes = plaintext.len() as u64;
        return Err(FormatError::TooLarge {
            what: "blob",
            bytes,
            max,
        });
    }
    let compressed = match compressor {
        // Length 0 marks blobs that are not compressed, so empty ones never are.
        None => None,
        Some(_) if plaintext.is_empty() => None,
        Some(compressor) if handle.kind == BlobKind::Tree => Some(compressor.compress(plaintext)?),
        Some(compressor) => compressor.compress_if_smaller(plaintext)?,
    };
    Ok(match compressed {
        Some(bytes) => EncodedBlob {
            handle,
            sealed: key.seal(iv, &bytes)?,
            uncompressed_length: plaintext.len() as u32,
        },
        None => EncodedBlob {
            handle,
            sealed: key.seal(iv, plaintext)?,
            uncompressed_length: 0,
        },
    })
}

/// Refuses blobs that are, or claim to be, longer than one of their kind can be.
pub(crate) fn check_claimed_length(
    handle: BlobHandle,
    sealed: &[u8],
    uncompressed_length: u32,
) -> Result<(), FormatError> {
    let max = handle.kind.bytes_max();
    let claimed =
        u64::from(uncompressed_length).max(sealed.len().saturating_sub(SEAL_BYTES) as u64);
    if claimed > max {
        return Err(FormatError::TooLarge {
            what: "blob",
            bytes: claimed,
            max,
        });
    }
    Ok(())
}

/// Opens, decompresses and verifies a blob. `uncompressed_length` is 0 for blobs that are not
/// compressed. What is returned hashes to the handle's id.
pub fn decode_blob(
    handle: BlobHandle,
    sealed: &[u8],
    uncompressed_length: u32,
    key: &MasterKey,
) -> Result<Vec<u8>, FormatError> {
    check_claimed_length(handle, sealed, uncompressed_length)?;
    let opened = key.open(sealed)?;
    let plaintext = match uncompressed_length {
        0 => opened,
        length => {
            let plaintext = decompress(&opened, u64::from(length))?;
            if plaintext.len() != length as usize {
                return Err(FormatError::Compression(format!(
                    "{length} bytes were announced, {} came",
                    plaintext.len()
                )));
            }
            plaintext
        }
    };
    let found = hash(&plaintext);
    if found != handle.id {
        return Err(FormatError::BlobHash {
            expected: handle.id,
            found,
        });
    }
    Ok(plaintext)
}
