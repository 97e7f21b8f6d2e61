//! A server that keeps restic repositories for others and cannot be made to forget them.
//!
//! Invariants: it holds no keys, removes nothing that was accepted, and offers nothing over the network that
//! could remove, change or shorten anything.
//!
//! Time, randomness, disk and network are given from
//! outside: the core is a deterministic state machine over a [`disk::Disk`].

pub mod disk;
pub mod http;

mod accept;
mod accept_many;
mod api;
mod commit;
mod error;
mod face;
mod fsck;
mod index;
mod journal;
mod ledger;
mod limits;
mod room;
mod scrub;
mod seal;
mod survey;
mod vault;
mod view;
mod world;

pub use accept::{Accepted, accepted_bytes_max, object_path};
pub use api::routes;
pub use error::VaultError;
pub use face::Face;
pub use fsck::{Finding, FsckProgress, FsckReport, fsck};
pub use index::{Admission, Applied, Chain, Index};
pub use limits::TokenLimits;
pub use scrub::{ScrubOptions, ScrubState, ScrubStateError};
pub use vault::{Caller, Credentials, Vault};
pub use view::View;
pub use world::{Clock, Entropy, GuardedClock, Moment};
