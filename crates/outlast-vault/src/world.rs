//! Time and randomness, given from outside.

/// What the clocks say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Seconds that the machine has run, sleep included. Cannot be set.
    pub running: u64,
    /// The system's clock, seconds since 1970. Anybody may have set it.
    pub clock: u64,
}

/// A source of time.
pub trait Clock: Send + Sync {
    /// What the clocks say now.
    fn now(&self) -> Moment;
}

/// A source of randomness.
pub trait Entropy: Send + Sync {
    /// Fills the bytes with unpredictable ones.
    ///
    /// # Errors
    /// Those of the system; nothing may be made of the bytes then.
    fn fill(&self, bytes: &mut [u8]) -> std::io::Result<()>;
}

/// The vault's time: it advances as the machine runs, a shade slowly, stands still while it is
/// off, and never follows the system's clock nor goes back. Late is the safe error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GuardedClock {
    time: u64,
    running: u64,
}

/// Of so many seconds that pass, one is not counted.
const SECONDS_PER_SECOND_LOST: u64 = 1000;

impl GuardedClock {
    /// Starts at the newest time in the log, or where the log is empty at the system's clock: the
    /// one moment at which it is believed.
    pub fn start(newest: u64, now: Moment) -> Self {
        let time = if newest == 0 { now.clock } else { newest };
        Self {
            time,
            running: now.running,
        }
    }

    /// The vault's time, seconds since 1970.
    pub fn time(&self, now: Moment) -> u64 {
        let passed = now.running.saturating_sub(self.running);
        let counted = passed - passed.div_ceil(SECONDS_PER_SECOND_LOST);
        self.time.saturating_add(counted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_clock_moves_nothing() {
        let at = |running, clock| Moment { running, clock };
        let clock = GuardedClock::start(0, at(50, 1_000_000));
        assert_eq!(clock.time(at(50, 1_000_000)), 1_000_000);
        assert_eq!(clock.time(at(2050, 9_999_999_999)), 1_001_998);
        assert_eq!(clock.time(at(2050, 0)), 1_001_998);
        assert_eq!(clock.time(at(0, 0)), 1_000_000);
        let again = GuardedClock::start(1_001_998, at(3, 9_999_999_999));
        assert_eq!(again.time(at(3, 0)), 1_001_998);
    }
}
