//! The machine's clocks and randomness.

use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

use outlast_vault::{Clock, Entropy, Moment};
use rustix::time::{ClockId, clock_gettime};

/// The clocks of this machine.
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Moment {
        // Counts while the machine sleeps too, and nobody can set it.
        let running = clock_gettime(ClockId::Boottime).tv_sec;
        let clock = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |passed| passed.as_secs());
        Moment {
            running: u64::try_from(running).unwrap_or_default(),
            clock,
        }
    }
}

/// The system's randomness.
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, bytes: &mut [u8]) -> io::Result<()> {
        getrandom::fill(bytes).map_err(io::Error::other)
    }
}
