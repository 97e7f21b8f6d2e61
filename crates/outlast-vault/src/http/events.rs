//! What a server has to tell the program around it, which turns it into logs and numbers.

use std::io;

/// Why a peer was turned away. Each is the peer's doing or a limit at work, never a fault of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// There are as many connections as there may be.
    Connections,
    /// The peer's address has as many connections as it may have.
    ConnectionsOfPeer,
    /// TLS was not agreed on: no TLS at all, too old, broken off or too slow.
    Handshake,
    /// What came is no HTTP/1 request that we understand, or its head is too long.
    Malformed,
    /// The head of a request did not arrive in time.
    HeadSlow,
    /// Nothing was asked for too long.
    Idle,
    /// The body of a request arrived too slowly.
    UploadSlow,
    /// An answer was taken too slowly.
    DownloadSlow,
    /// As many requests wait for a thread as may wait.
    Busy,
}

/// An observer. Called from many threads, and must return at once; does nothing unless implemented.
pub trait Events: Send + Sync + 'static {
    /// A connection was taken; [`Events::ended`] will follow.
    fn accepted(&self, _peer: &str) {}

    /// A connection that was taken is over, whatever the reason.
    fn ended(&self, _peer: &str) {}

    /// A connection or request was turned away.
    fn refused(&self, _peer: &str, _why: Refusal) {}

    /// A handler panicked: a fault of ours. The peer was answered with 500, or its answer was cut off.
    fn panicked(&self, _peer: &str) {}

    /// The reader of an answer failed or ended early; the answer was cut off.
    fn cut_off(&self, _peer: &str) {}

    /// The system would not give us a connection, for example because there are too many open files.
    fn accept_failed(&self, _error: &io::Error) {}
}

/// Nobody watches.
impl Events for () {}
