//! restic's repository format, versions 1 and 2, as pure functions and data types.
//!
//! Reading order: [`Time`] and the JSON of Go, then what seals ([`MasterKey`], [`KeyFile`]), what
//! cuts ([`Polynomial`], [`Chunker`]), what packs ([`PackBuilder`], [`IndexFile`]) and what
//! describes ([`Config`], [`Snapshot`], [`Node`], [`TreeBuilder`], [`Lock`]). The source of all
//! formats is restic's design document; where restic's behaviour says more, the item says so.
//!
//! Invariants: no input, however malicious, makes these functions panic or use memory beyond the
//! named limits; nothing here reads a file, a clock or randomness.

mod blob;
mod chunker;
mod compression;
mod config;
mod decoder;
mod error;
mod go_json;
mod index;
mod index_scan;
mod keyfile;
mod lock;
mod mode;
mod name;
mod node;
mod pack;
mod polynomial;
mod sealed;
mod snapshot;
mod time;
mod tree;
mod unpacked;

pub use blob::{
    BLOB_BYTES_MAX, BlobHandle, BlobKind, EncodedBlob, TREE_BYTES_MAX, decode_blob, encode_blob,
};
pub use chunker::{CHUNK_BYTES_MAX, CHUNK_BYTES_MIN, Chunker};
pub use compression::{Compression, Compressor, decompress};
pub use config::{Config, REPOSITORY_VERSION_MAX, REPOSITORY_VERSION_MIN};
pub use decoder::BlobDecoder;
pub use error::FormatError;
pub use go_json::to_go_json;
pub use index::{IndexBlob, IndexFile, IndexPack};
pub use keyfile::{KeyFile, ScryptCost, master_key_json};
pub use lock::Lock;
pub use mode::{Mode, TypeBits};
pub use name::{quote_name, unquote_name};
pub use node::{ExtendedAttribute, Node, NodeKind};
pub use outlast_kernels::Form;
pub use pack::{PACK_LENGTH_BYTES, PackBuilder, PackedBlob, parse_pack_header};
pub use polynomial::Polynomial;
pub use sealed::{MasterKey, SEAL_BYTES};
pub use snapshot::{Snapshot, SnapshotSummary};
pub use time::{ParseTimeError, Time};
pub use tree::{TreeBuilder, TreeReader};
pub use unpacked::{METADATA_BYTES_MAX, decode_unpacked, encode_unpacked};
