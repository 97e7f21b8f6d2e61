//! Restoring.
pub(crate) mod fetch;
pub(crate) mod plan;
