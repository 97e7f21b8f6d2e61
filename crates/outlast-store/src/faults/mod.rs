//! Stores that fail as real ones do, on purpose and on schedule.
//!
//! [`FaultStore`] wraps any store: it fails before or after doing what it was asked, crashes, tears
//! writes, fills up, vanishes, and damages what is read. [`CrashImageStore`] remembers what it
//! held after every change, so that a test can reopen each of these states.

mod images;
mod plan;
mod store;

pub use images::CrashImageStore;
pub use plan::{Damage, Fault, FaultPlan, Moment, Operation, Pattern, Turn};
pub use store::{FaultStore, Traced};
