//! What a run takes from the world around it: time, randomness, who and where.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use outlast_format::Time;

use crate::{Notice, Notices, RepoError, Silent};

/// A clock.
pub trait Clock: Send + Sync {
    /// The time of day, with the local zone's offset.
    fn now(&self) -> Time;
    /// Time since some moment; never goes back.
    fn monotonic(&self) -> Duration;
    /// Waits, or returns at once in tests.
    fn sleep(&self, duration: Duration);
}

/// The clock of the machine.
#[derive(Debug)]
pub struct SystemClock {
    start: Instant,
    zone: jiff::tz::TimeZone,
}

impl Default for SystemClock {
    fn default() -> Self {
        Self {
            start: Instant::now(),
            zone: jiff::tz::TimeZone::system(),
        }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Time {
        let now = jiff::Timestamp::now();
        let offset = self.zone.to_offset(now).seconds();
        Time::new(
            now.as_second(),
            now.subsec_nanosecond().max(0) as u32,
            offset,
        )
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }

    fn sleep(&self, duration: Duration) {
        std::thread::sleep(duration);
    }
}

/// Who runs this, where, with which clock, and where notices go. Cheap to clone.
#[derive(Clone)]
pub struct Environment {
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Where notices go.
    pub notices: Arc<dyn Notices>,
    /// Name of this machine.
    pub hostname: String,
    /// Name of the user.
    pub username: String,
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Process id.
    pub pid: u32,
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Environment({}@{} {})",
            self.username, self.hostname, self.pid
        )
    }
}

impl Environment {
    /// This machine, this process.
    pub fn of_this_process(notices: Arc<dyn Notices>) -> Self {
        let hostname = rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .into_owned();
        Self {
            clock: Arc::new(SystemClock::default()),
            notices,
            hostname,
            username: outlast_source::current_user_name(),
            uid: rustix::process::getuid().as_raw(),
            gid: rustix::process::getgid().as_raw(),
            pid: std::process::id(),
        }
    }

    /// This process with the machine's clock, without notices; for tests.
    pub fn quiet() -> Self {
        Self::of_this_process(Arc::new(Silent))
    }

    /// Passes on a notice.
    pub fn notice(&self, notice: Notice) {
        self.notices.notice(notice);
    }
}

/// Fills an array from the operating system's randomness.
pub(crate) fn random_bytes<const N: usize>() -> Result<[u8; N], RepoError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| RepoError::Io {
        operation: "read randomness from the operating system".to_owned(),
        source: std::io::Error::other(error.to_string()),
    })?;
    Ok(bytes)
}

/// A fresh initialisation vector, never all zero.
pub(crate) fn random_iv() -> Result<[u8; 16], RepoError> {
    loop {
        let iv = random_bytes::<16>()?;
        if iv != [0; 16] {
            return Ok(iv);
        }
    }
}
