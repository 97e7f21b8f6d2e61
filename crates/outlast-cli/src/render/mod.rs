//! How results and progress are shown.

pub mod entry;
pub mod json;
pub mod message;
pub mod progress;
pub mod table;
pub mod units;
