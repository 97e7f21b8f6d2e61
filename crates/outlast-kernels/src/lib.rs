//! Inner loops that use the processor's vector instructions.
//!
//! Invariant: this is the only crate of the workspace with `unsafe` code. It knows nothing of repositories,
//! does no I/O and allocates nothing but its tables. Each loop has a plain form beside it that says what it computes
//! and judges it in the tests; which form runs is chosen once, by what the processor offers.
//!
//! [`WindowSearch`] looks for positions at which a linear function of the last 64 bytes is zero: what a
//! content-defined chunker with a Rabin fingerprint does.

mod window;
#[cfg(target_arch = "x86_64")]
mod x86;

pub use window::{Form, VALUE_BITS, WINDOW_BYTES, Weights, WindowSearch};
