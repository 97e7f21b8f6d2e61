//! A server that keeps restic repositories for others and cannot be made to forget them.
//!
//! Invariants: it holds no keys, removes nothing that was accepted, and offers nothing over the network that
//! could remove, change or shorten anything.
//!
//! Time, randomness, disk and network are given from
//! outside: the core is a deterministic state machine over a [`disk::Disk`].

pub mod disk;
pub mod http;
