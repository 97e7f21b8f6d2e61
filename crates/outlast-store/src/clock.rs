//! Time as the decorators see it: something that passes and can be waited for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Waits are cut into slices this long, so that a cancelled one ends soon.
const SLICE: Duration = Duration::from_millis(100);

/// A monotonic clock that can also wait. Tests bring one that does not wait.
pub trait Clock: Send + Sync {
    /// Time since some fixed moment.
    fn now(&self) -> Duration;

    /// Waits. May return early when the program is asked to stop.
    fn wait(&self, duration: Duration);

    /// Whether the program was asked to stop: no more attempts are made then.
    fn is_cancelled(&self) -> bool {
        false
    }
}

/// The machine's monotonic clock.
#[derive(Debug, Clone)]
pub struct SystemClock {
    start: Instant,
    cancelled: Arc<AtomicBool>,
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::with_cancel(Arc::default())
    }
}

impl SystemClock {
    /// A clock whose waits end when `cancelled` becomes true.
    pub fn with_cancel(cancelled: Arc<AtomicBool>) -> Self {
        Self {
            start: Instant::now(),
            cancelled,
        }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn wait(&self, duration: Duration) {
        let end = Instant::now() + duration;
        while !self.is_cancelled() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            thread::sleep(left.min(SLICE));
        }
    }

    fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }
}
