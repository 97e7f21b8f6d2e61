//! How results and progress are shown.

pub mod completing;
pub mod entry;
pub mod json;
pub mod message;
pub mod progress;
pub mod table;
pub mod units;
