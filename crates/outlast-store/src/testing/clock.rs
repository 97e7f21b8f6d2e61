//! A clock that goes only when somebody waits.

use std::time::Duration;

use parking_lot::Mutex;

use crate::Clock;

/// A clock for tests: waiting moves it at once.
#[derive(Debug, Default)]
pub struct ManualClock {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    now: Duration,
    waits: Vec<Duration>,
    cancelled: bool,
}

impl ManualClock {
    /// A clock at zero.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets time pass.
    pub fn advance(&self, duration: Duration) {
        self.state.lock().now += duration;
    }

    /// Asks whoever uses the clock to stop.
    pub fn cancel(&self) {
        self.state.lock().cancelled = true;
    }

    /// All waits so far.
    pub fn waits(&self) -> Vec<Duration> {
        self.state.lock().waits.clone()
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Duration {
        self.state.lock().now
    }

    fn wait(&self, duration: Duration) {
        let mut state = self.state.lock();
        state.now += duration;
        state.waits.push(duration);
    }

    fn is_cancelled(&self) -> bool {
        self.state.lock().cancelled
    }
}
