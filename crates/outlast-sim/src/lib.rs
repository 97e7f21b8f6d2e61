//! Worlds that are attacked: whether custodians, verdicts and predictions keep their promises.
//!
//! A [`run()`] is decided by its seed alone. A world has custodians of all kinds (vaults are the real core
//! of `outlast-vault` on a simulated disk), a policy, a client that backs up every day, crashes and
//! partitions, and an attacker who does his worst with what he was given. Every verdict is compared with
//! the truth, and what the attacker destroys with what `survivability` said that he could.
//!
//! Invariants: nothing here reads a clock, a file or the system's randomness.

pub mod attacker;
pub mod bug;
pub mod client;
pub mod failure;
pub mod oracle;
pub mod place;
pub mod plan;
pub mod random;
pub mod retention;
pub mod run;
pub mod verdicts;
pub mod world;

pub use bug::Bug;
pub use failure::Failure;
pub use run::{Tally, run};

/// The command that repeats a run, to be pasted.
pub fn command(seed: u64, bug: Option<Bug>) -> String {
    match bug {
        None => format!("cargo run -p outlast-sim -- --seed {seed}"),
        Some(bug) => format!("cargo run -p outlast-sim -- --seed {seed} --bug {bug}"),
    }
}
