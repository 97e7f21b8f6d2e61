//! Why a run of the simulation fails.

use std::fmt::Display;

/// A run failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// A promise was broken.
    #[error("{rule}: {detail}")]
    Broken {
        /// Which.
        rule: &'static str,
        /// How.
        detail: String,
    },
    /// The simulation itself does not work.
    #[error("the simulation does not work: {0}")]
    Simulation(String),
}

impl Failure {
    /// A broken promise.
    pub fn broken(rule: &'static str, detail: impl Into<String>) -> Self {
        Self::Broken {
            rule,
            detail: detail.into(),
        }
    }

    /// An error that should not occur in this simulation.
    pub fn simulation(error: impl Display) -> Self {
        Self::Simulation(error.to_string())
    }
}
