//! Places that keep the objects of a repository.
//!
//! The port is [`Store`]: write once, read, list. What removes things is a capability apart:
//! [`LockStore`] can remove locks and nothing else, and [`Deletes`] everything; code that holds only
//! a `Store` or a `LockStore` cannot delete a backup.
//!
//! Adapters are [`MemoryStore`] and [`LocalStore`].
//!
//! Invariants: a write is durable when it returns; objects are never overwritten with other bytes;
//! this crate knows no keys and no formats.

mod error;
mod port;

mod local;
mod memory;

pub mod conformance;

pub use error::StoreError;
pub use local::{Layout, LocalStore, SyncObserver, SyncPoint, open_local};
pub use memory::{Contents, MemoryStore};
pub use port::{Deletes, LockStore, ObjectInfo, Store};
