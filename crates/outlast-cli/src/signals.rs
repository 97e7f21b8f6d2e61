//! Ctrl-C: the first asks everybody to stop in good order, the second ends the program at once.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use outlast_repo::Cancel;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::exit::INTERRUPTED;

/// Installs the handlers; gives the request that they set.
pub fn install() -> Cancel {
    let flag = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        // The order matters: the second signal finds the flag set.
        let shutdown = signal_hook::flag::register_conditional_shutdown(
            signal,
            INTERRUPTED.into(),
            Arc::clone(&flag),
        );
        let registered =
            shutdown.and_then(|_| signal_hook::flag::register(signal, Arc::clone(&flag)));
        if let Err(error) = registered {
            crate::render::message::warning(&format!("signals cannot be handled: {error}"));
        }
    }
    Cancel::from_flag(flag)
}
