//! Attacks on a listening vault, each named after what it tries. Whatever happens, nothing that was
//! held may be lost or hidden, and nothing may panic.

#![allow(clippy::unwrap_used)]

#[path = "../support/mod.rs"]
mod support;
#[allow(dead_code, reason = "each test program uses a part")]
#[path = "../../../outlast-repo/tests/support/tools.rs"]
mod tools;

mod paths;
mod raw;
mod served;
mod victims;

mod bodies;
mod comparison;
mod floods;
mod races;
mod tampering;
mod tricks;
mod verbs;
