//! Object ids, kinds and names of a restic repository, and the checks of shape that need no key.
//!
//! An *object* is any file of a repository. It is immutable and named by the SHA-256 of its bytes;
//! the `config` is the one exception. The main types are [`Id`], [`ObjectKind`] and [`ObjectName`].
//!
//! Invariant: this crate contains no cryptography but SHA-256, so that a keyless vault can use it.

mod hash;
mod id;
mod name;
mod shape;

pub use hash::{Hasher, HashingReader, hash};
pub use id::{Id, ParseIdError};
pub use name::{ObjectKind, ObjectName};
pub use shape::{
    CONFIG_BYTES_MAX, INDEX_BYTES_MAX, KEY_BYTES_MAX, LOCK_BYTES_MAX, PACK_BYTES_MAX,
    PACK_HEADER_BYTES_MAX, SCRYPT_MEMORY_BYTES_MAX, SNAPSHOT_BYTES_MAX, ShapeError, bytes_max,
    check_pack_trailer, check_shape,
};
