//! Checks that need no key: whether bytes can be an object of a kind at all.
//!
//! These bound what a reader loads into memory and what a keyless store accepts. They prove nothing
//! about the content; only the holder of the key can do that.

use serde::Deserialize;

use crate::{ObjectKind, ObjectName, hash};

/// Largest config accepted.
pub const CONFIG_BYTES_MAX: u64 = 64 * 1024;
/// Largest key file accepted.
pub const KEY_BYTES_MAX: u64 = 64 * 1024;
/// Largest lock accepted.
pub const LOCK_BYTES_MAX: u64 = 64 * 1024;
/// Largest snapshot accepted (they list paths, excludes and tags, nothing else).
pub const SNAPSHOT_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Largest index accepted; writers stay below 8 MiB, older ones went beyond.
pub const INDEX_BYTES_MAX: u64 = 128 * 1024 * 1024;
/// Largest pack accepted. A blob larger than the pack size gets a pack of its own, and the tree of
/// one huge folder is one blob.
pub const PACK_BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024 - 1;
/// Largest sealed pack header (restic's own limit).
pub const PACK_HEADER_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Memory that a key file may demand of a reader: scrypt takes 128·N·r bytes.
pub const SCRYPT_MEMORY_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// IV and MAC around every sealed thing.
const ENVELOPE_BYTES: u64 = 32;
/// Smallest entry of a pack header.
const HEADER_ENTRY_BYTES: u64 = 37;

/// Why bytes cannot be the object whose name they claim.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ShapeError {
    /// The bytes hash to something else than the name says.
    #[error("{name} holds other bytes than its name says (they hash to {found})")]
    Hash {
        /// The name claimed.
        name: ObjectName,
        /// The hash found.
        found: crate::Id,
    },
    /// Too short or too long for the kind.
    #[error("a {kind} of {bytes} bytes is outside what is possible ({min} to {max})")]
    Size {
        /// The kind claimed.
        kind: ObjectKind,
        /// The size found.
        bytes: u64,
        /// The smallest size possible.
        min: u64,
        /// The largest size accepted.
        max: u64,
    },
    /// A pack whose last four bytes cannot be the length of its header.
    #[error("the pack's header length {header_bytes} does not fit a pack of {bytes} bytes")]
    PackHeader {
        /// The header length found.
        header_bytes: u64,
        /// The pack's size.
        bytes: u64,
    },
    /// Not the JSON of a key file, or one with parameters that nobody should follow.
    #[error("not a usable key file: {0}")]
    KeyFile(String),
}

/// The largest size accepted for a kind, in bytes.
pub const fn bytes_max(kind: ObjectKind) -> u64 {
    match kind {
        ObjectKind::Config => CONFIG_BYTES_MAX,
        ObjectKind::Key => KEY_BYTES_MAX,
        ObjectKind::Lock => LOCK_BYTES_MAX,
        ObjectKind::Snapshot => SNAPSHOT_BYTES_MAX,
        ObjectKind::Index => INDEX_BYTES_MAX,
        ObjectKind::Pack => PACK_BYTES_MAX,
    }
}

const fn bytes_min(kind: ObjectKind) -> u64 {
    match kind {
        ObjectKind::Key => 2,
        ObjectKind::Pack => HEADER_ENTRY_BYTES + ENVELOPE_BYTES + 4,
        _ => ENVELOPE_BYTES,
    }
}

/// Checks that `bytes` can be the object `name`: its hash, its size and its outer shape.
pub fn check_shape(name: &ObjectName, bytes: &[u8]) -> Result<(), ShapeError> {
    let kind = name.kind();
    let size = bytes.len() as u64;
    let (min, max) = (bytes_min(kind), bytes_max(kind));
    if size < min || size > max {
        return Err(ShapeError::Size {
            kind,
            bytes: size,
            min,
            max,
        });
    }
    if kind != ObjectKind::Config {
        let found = hash(bytes);
        if found != name.id() {
            return Err(ShapeError::Hash { name: *name, found });
        }
    }
    match kind {
        ObjectKind::Pack => check_pack(bytes),
        ObjectKind::Key => check_key(bytes),
        _ => Ok(()),
    }
}

fn check_pack(bytes: &[u8]) -> Result<(), ShapeError> {
    check_pack_trailer(bytes, bytes.len() as u64)
}

/// Checks the end of a pack of `size` bytes, of which `end` has at least the last four: the length
/// of its header must fit.
///
/// # Errors
/// [`ShapeError::PackHeader`].
pub fn check_pack_trailer(end: &[u8], size: u64) -> Result<(), ShapeError> {
    let length = end.last_chunk().copied().unwrap_or_default();
    let header_bytes = u64::from(u32::from_le_bytes(length));
    let possible = HEADER_ENTRY_BYTES + ENVELOPE_BYTES..=PACK_HEADER_BYTES_MAX;
    let fits = possible.contains(&header_bytes) && header_bytes + 4 <= size;
    if fits {
        Ok(())
    } else {
        Err(ShapeError::PackHeader {
            header_bytes,
            bytes: size,
        })
    }
}

#[derive(Deserialize)]
struct KeyShape {
    kdf: String,
    #[serde(rename = "N")]
    n: u64,
    r: u64,
    p: u64,
    salt: String,
    data: String,
}

fn check_key(bytes: &[u8]) -> Result<(), ShapeError> {
    let refuse = |why: String| Err(ShapeError::KeyFile(why));
    let key: KeyShape = match serde_json::from_slice(bytes) {
        Ok(key) => key,
        Err(error) => return refuse(error.to_string()),
    };
    if key.kdf != "scrypt" {
        return refuse("its key derivation is not scrypt".to_owned());
    }
    let memory = key
        .n
        .checked_mul(128)
        .and_then(|bytes| bytes.checked_mul(key.r));
    let bounded = memory.is_some_and(|bytes| bytes <= SCRYPT_MEMORY_BYTES_MAX);
    if !key.n.is_power_of_two() || key.n < 2 || key.r == 0 || !(1..=16).contains(&key.p) || !bounded
    {
        return refuse(format!(
            "scrypt parameters N={} r={} p={}",
            key.n, key.r, key.p
        ));
    }
    if key.salt.is_empty() || key.data.is_empty() {
        return refuse("salt or data is missing".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(kind: ObjectKind, bytes: &[u8]) -> Result<(), ShapeError> {
        check_shape(&ObjectName::new(kind, hash(bytes)), bytes)
    }

    fn key(n: u64, r: u64, p: u64, kdf: &str) -> Vec<u8> {
        format!(r#"{{"kdf":"{kdf}","N":{n},"r":{r},"p":{p},"salt":"AA==","data":"AA=="}}"#)
            .into_bytes()
    }

    #[test]
    fn wrong_hash_and_sizes_are_refused() {
        let bytes = [7; 100];
        assert_eq!(check(ObjectKind::Index, &bytes), Ok(()));
        let other = ObjectName::new(ObjectKind::Index, hash(b"other"));
        assert!(matches!(
            check_shape(&other, &bytes),
            Err(ShapeError::Hash { .. })
        ));
        assert!(matches!(
            check(ObjectKind::Index, &[0; 31]),
            Err(ShapeError::Size { .. })
        ));
        let long = vec![0; CONFIG_BYTES_MAX as usize + 1];
        assert!(matches!(
            check(ObjectKind::Config, &long),
            Err(ShapeError::Size { .. })
        ));
    }

    #[test]
    fn pack_header_length_must_fit() {
        let mut pack = vec![0; 200];
        assert!(matches!(
            check(ObjectKind::Pack, &pack),
            Err(ShapeError::PackHeader { .. })
        ));
        pack[196..].copy_from_slice(&69u32.to_le_bytes());
        assert_eq!(check(ObjectKind::Pack, &pack), Ok(()));
        pack[196..].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(matches!(
            check(ObjectKind::Pack, &pack),
            Err(ShapeError::PackHeader { .. })
        ));
    }

    #[test]
    fn key_files_must_be_json_with_bounded_cost() {
        assert_eq!(check(ObjectKind::Key, &key(32768, 8, 1, "scrypt")), Ok(()));
        for bad in [
            key(32768, 8, 1, "none"),
            key(1 << 40, 8, 1, "scrypt"),
            key(u64::MAX, u64::MAX, 1, "scrypt"),
            key(32767, 8, 1, "scrypt"),
            key(32768, 8, 1 << 30, "scrypt"),
            b"garbage".to_vec(),
        ] {
            assert!(matches!(
                check(ObjectKind::Key, &bad),
                Err(ShapeError::KeyFile(_))
            ));
        }
    }
}
