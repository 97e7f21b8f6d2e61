//! `unlock`: removes locks that nobody holds any more.

use clap::Args;
use outlast_repo::{Unlock, unlock};

use crate::context::Context;
use crate::exit::{self, Failure};
use crate::render::message;

/// Arguments of `unlock`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// All locks, also those of programs that may be at work
    #[arg(long)]
    remove_all: bool,
}

/// Removes locks.
pub fn run(context: &Context, arguments: &Arguments) -> Result<u8, Failure> {
    let session = context.open()?;
    let which = if arguments.remove_all {
        Unlock::All
    } else {
        Unlock::Stale
    };
    let outcome = unlock(session.repository(), which)?;
    if !outcome.removed.is_empty() && context.is_talkative() {
        message::line(format!(
            "successfully removed {} locks",
            outcome.removed.len()
        ));
    }
    for kept in &outcome.kept {
        message::note(&format!(
            "lock {} of {} was left: it may be in use",
            kept.id.short(),
            kept.holder()
        ));
    }
    for (id, error) in &outcome.not_removed {
        message::warning(&format!(
            "lock {} could not be removed: {error}",
            id.short()
        ));
    }
    if outcome.not_removed.is_empty() {
        return Ok(exit::OK);
    }
    Err(Failure::new(format!(
        "{} locks could not be removed",
        outcome.not_removed.len()
    )))
}
