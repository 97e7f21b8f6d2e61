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
mod rest;

mod clock;
mod connect;
mod limit;
mod location;
mod retry;

pub mod conformance;
pub mod faults;
pub mod testing;

pub use clock::{Clock, SystemClock};
pub use connect::{ConnectOptions, open};
pub use error::StoreError;
pub use limit::{Limit, Limits, Throttle};
pub use local::{Layout, LocalStore, SyncObserver, SyncPoint, open_local};
pub use location::{Location, RestLocation, Secret};
pub use memory::{Contents, MemoryStore};
pub use port::{Deletes, LockStore, ObjectInfo, Store};
pub use rest::{LISTING_BYTES_MAX, RestOptions, RestStore, Timeouts, TlsOptions, read_listing};
pub use retry::{Jitter, Retry, RetryEvent, RetryObserver, RetryPolicy};
