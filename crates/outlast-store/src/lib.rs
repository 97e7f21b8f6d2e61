//! Places that keep the objects of a repository.
//!
//! The port is [`Store`]: write once, read, list. What removes things is a capability apart:
//! [`LockStore`] can remove locks and nothing else, and [`Deletes`] everything; code that holds only
//! a `Store` or a `LockStore` cannot delete a backup.
//!
//! [`open`] makes a store from a [`Location`]. Adapters: [`MemoryStore`], [`LocalStore`],
//! [`RestStore`], [`S3Store`], [`SftpStore`]. Decorators: [`Retry`], [`Limit`], [`Cached`], [`Restricted`], and
//! [`Several`], which makes one store of many. Every one of them passes
//! [`conformance`]; [`faults`] has stores that fail on purpose, and [`testing`] a REST server
//! and an S3 server in this process, for the tests of other crates.
//!
//! Invariants: a write is durable when it returns; objects are never overwritten with other bytes;
//! this crate knows no keys and no formats.

mod error;
mod port;

mod local;
mod memory;
mod open_files;
mod rest;
mod s3;
mod sftp;

mod cache;
mod clock;
mod connect;
mod limit;
mod location;
mod restricted;
mod retry;
mod several;

pub mod conformance;
pub mod faults;
pub mod testing;

pub use cache::{
    CACHE_AGE_MAX, CACHED_PACK_BYTES_MAX, CacheInfo, Cached, RepositoryCache, list_caches,
    remove_old_caches,
};
pub use clock::{Clock, SystemClock};
pub use connect::{ConnectOptions, open, open_bucket};
pub use error::StoreError;
pub use limit::{Limit, Limits, Throttle};
pub use local::{Layout, LocalStore, SyncObserver, SyncPoint, open_local};
pub use location::{Location, RestLocation, Secret};
pub use memory::{Contents, MemoryStore};
pub use port::{Capabilities, Deletes, LockStore, ObjectInfo, Store};
pub use rest::{
    Answer, LISTING_BYTES_MAX, Pin, Requests, RestOptions, RestStore, Timeouts, TlsOptions,
    read_listing,
};
pub use restricted::{Refused, Restricted};
pub use retry::{Jitter, Retry, RetryEvent, RetryObserver, RetryPolicy};
pub use s3::{
    BucketFinding, BucketRole, BucketState, Covered, DefaultRetention, LifecycleRule, ObjectLock,
    Outcome, Prices, ProbeAttempt, ProbesLeft, RETENTION_DAYS_MAX, ROUNDED_PRICES, Renewed,
    RequestCounts, RetainedObject, RetentionMode, S3Credentials, S3Location, S3Options, S3Store,
    S3Style, Setting, Severity, bucket_policy, read_bucket_page,
};
pub use several::{Connect, Place, Report, Several, SeveralOptions, Spool, Standing};
pub use sftp::{
    NoSftpAnswer, SftpAnswer, SftpAttributes, SftpEntry, SftpLocation, SftpOptions, SftpStore,
};
