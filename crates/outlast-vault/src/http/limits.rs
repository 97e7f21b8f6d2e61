//! Bounds on everything that peers can make a server do.

use std::time::Duration;

/// Bytes of one piece of a body on its way between a connection and a handler's thread.
pub const PIECE_BYTES: usize = 128 * 1024;

/// Pieces that wait between a connection and a handler's thread, in each direction.
pub const PIECES_WAITING: usize = 2;

/// A method is at most so long.
pub const METHOD_BYTES_MAX: usize = 16;

/// What is left of a body after the answer is read and thrown away up to so many bytes, so that the
/// connection can be used again; with more left it is closed.
pub const DRAIN_BYTES_MAX: u64 = 1024 * 1024;

/// What bounds a server. The defaults suit a machine that many others keep their backups on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once; more are closed as they come.
    pub connections: u32,
    /// Connections at once from one IPv4 address or one IPv6 network of 64 bits. Less than `threads`, so that
    /// one peer cannot keep all of them busy. Connections through unix sockets are not told apart.
    pub connections_of_peer: u32,
    /// Threads that run handlers, that is requests at work at once.
    pub threads: u32,
    /// Requests that wait for a thread; more are answered with 503.
    pub waiting: u32,
    /// Bytes of the head of a request, with its first line.
    pub head_bytes: usize,
    /// Headers of a request.
    pub headers: usize,
    /// How long the head of a request may take from its first byte, or from the connection for the first one;
    /// also how long TLS may take.
    pub head_time: Duration,
    /// How long a connection is kept without a request.
    pub idle_time: Duration,
    /// How slow bodies may be, in both directions.
    pub pace: Pace,
    /// How long a connection is listened to after it was closed by us with unread bytes. Closing at once
    /// would make the peer's system throw our answer away.
    pub linger_time: Duration,
    /// How long requests may go on after the server was told to stop.
    pub stop_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // Half of the files that most systems let a process open.
            connections: 512,
            connections_of_peer: 64,
            threads: 128,
            waiting: 512,
            head_bytes: 16 * 1024,
            headers: 64,
            head_time: Duration::from_secs(10),
            idle_time: Duration::from_secs(75),
            pace: Pace::default(),
            linger_time: Duration::from_secs(2),
            stop_time: Duration::from_secs(30),
        }
    }
}

/// How slow a body may be.
///
/// Only time spent waiting for the peer counts, not that spent by the handler or the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// This much waiting is free.
    pub grace: Duration,
    /// After that, waiting must have been worth so many bytes a second on average; at least 1.
    pub bytes_per_second: u64,
    /// The longest wait for more of a request, or for a piece of [`PIECE_BYTES`] of an answer to be taken, however
    /// fast the others were.
    pub stall: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            grace: Duration::from_secs(30),
            bytes_per_second: 1024,
            stall: Duration::from_secs(60),
        }
    }
}

/// One body held against a [`Pace`].
#[derive(Debug)]
pub(super) struct Meter {
    pace: Pace,
    bytes: u64,
    waited: Duration,
}

impl Meter {
    pub(super) fn new(pace: Pace) -> Self {
        Self {
            pace,
            bytes: 0,
            waited: Duration::ZERO,
        }
    }

    /// These bytes went over.
    pub(super) fn passed(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes as u64);
    }

    /// So long we waited for the peer.
    pub(super) fn waited(&mut self, time: Duration) {
        self.waited = self.waited.saturating_add(time);
    }

    /// How long to wait for the next bytes; nothing left means too slow.
    pub(super) fn patience(&self) -> Duration {
        let earned = Duration::from_secs(self.bytes / self.pace.bytes_per_second.max(1));
        (self.pace.grace.saturating_add(earned))
            .saturating_sub(self.waited)
            .min(self.pace.stall)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn patience_is_earned() {
        let mut meter = Meter::new(Pace::default());
        assert_eq!(meter.patience(), seconds(30));
        meter.waited(seconds(20));
        assert_eq!(meter.patience(), seconds(10));
        meter.passed(5 * 1024);
        assert_eq!(meter.patience(), seconds(15));
        meter.waited(seconds(40));
        assert_eq!(meter.patience(), seconds(0));
    }

    #[test]
    fn nobody_earns_more_than_a_stall() {
        let mut meter = Meter::new(Pace::default());
        meter.passed(usize::MAX);
        assert_eq!(meter.patience(), seconds(60));
    }

    #[test]
    fn one_peer_cannot_take_all_threads() {
        let limits = Limits::default();
        assert!(limits.connections_of_peer < limits.threads);
    }
}
