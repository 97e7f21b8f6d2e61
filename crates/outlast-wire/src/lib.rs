//! What clients and vaults say to each other, besides restic's REST protocol.
//!
//! [`Invite`] is the line that brings a client everything it needs; [`api`] has the types of the
//! API under `/v1`; [`batch`] packs small objects into one upload. With the feature `client`,
//! `VaultClient` speaks it.
//!
//! Invariants: nothing a vault says is used before it is verified against the identity that was
//! pinned; parsers are bounded and never panic; no secret is shown by `Debug`.

pub mod api;
pub mod batch;
#[cfg(feature = "client")]
mod client;
mod invite;

#[cfg(feature = "client")]
pub use client::{Sealed, VaultClient, WireError, locations};
/// What connections are made with, for those who make them.
#[cfg(feature = "client")]
pub use outlast_store::{RestOptions, RestStore, Store, StoreError, TlsOptions};

pub use invite::{Invite, InviteError};
