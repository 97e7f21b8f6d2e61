//! Transparency logs as the C2SP specifications have them, as pure functions.
//!
//! A log is an append-only list of entries under a Merkle tree (RFC 6962) that is kept in
//! [`Tile`]s. A [`Checkpoint`] states its size and root in a signed [`note`](Note); other parties
//! add [`Cosignature`]s. An [`OfflineProof`] shows that an entry is in the log, to anybody, years
//! later.
//!
//! Invariants: no input, output, clock or randomness; nothing panics on any input; a verified thing
//! is a type of its own that only verification makes.

mod checkpoint;
mod cosignature;
mod note;
mod proof;
mod tiles;
mod tree;

pub use checkpoint::{Checkpoint, CheckpointError, VerifiedCheckpoint};
pub use cosignature::{Cosignature, cosign, cosigner_key};
pub use note::{KeyError, KeyKind, Note, NoteError, SigningKey, VerifiedNote, VerifierKey, sign};
pub use proof::{OfflineProof, ProofError, VerifiedProof};
pub use tiles::{
    ENTRY_BYTES_MAX, EntryBundle, TILE_WIDTH, Tile, TileError, decode_bundle, encode_bundle_entry,
    subtree_in_tile,
};
pub use tree::{
    Frontier, HASHES_MAX, Hash, TreeError, empty_root, leaf_hash, node_hash, prove_consistency,
    prove_inclusion, root, tree_root, verify_consistency, verify_inclusion,
};
