//! Places that keep the objects of a repository.
//!
//! The port is [`Store`]: write once, read, list. What removes things is a capability apart:
//! [`LockStore`] can remove locks and nothing else, and [`Deletes`] everything; code that holds only
//! a `Store` or a `LockStore` cannot delete a backup.
//!
//! Invariants: a write is durable when it returns; objects are never overwritten with other bytes;
//! this crate knows no keys and no formats.

mod error;
mod port;

pub use error::StoreError;
pub use port::{Deletes, LockStore, ObjectInfo, Store};
