//! The HTTP server against peers of every kind: proper, slow, hostile, and gone.

#![allow(clippy::unwrap_used)]

mod load;
mod requests;
mod restic;
mod slow;
mod stopping;
mod support;
mod transport;
