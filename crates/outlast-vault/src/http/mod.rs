//! HTTP as the vault needs it: a server that knows nothing of vaults, and the port between the two.
//!
//! A [`Handler`] answers one request at a time on a thread of its own, reading the body as it
//! arrives. The server around it does TLS, bounds everything (connections, headers, idle and slow
//! peers) and shuts down gracefully.

mod answer;
mod connection;
mod credentials;
mod events;
mod exchange;
mod limits;
mod path;
mod range;
mod server;
mod tls;
mod upload;
mod watch;
mod watched;

use std::io::Read;

pub use credentials::{AUTHORIZATION_BYTES_MAX, basic_credentials};
pub use events::{Events, Refusal};
pub use limits::{DRAIN_BYTES_MAX, Limits, METHOD_BYTES_MAX, PIECE_BYTES, PIECES_WAITING, Pace};
pub use path::{PathError, SEGMENT_BYTES_MAX, SEGMENTS_MAX, Segments, segments};
pub use range::{Wanted, wanted};
pub use server::{BindError, Listen, Server, Stop};
pub use tls::{
    CHAIN_MAX, Identity, NAMES_MAX, PEM_BYTES_MAX, Tls, TlsError, pin, pin_of_pem, self_signed,
    self_signed_again,
};

/// One request. Header names are in lower case.
pub struct Request<'a> {
    /// `GET`, `HEAD`, `POST`, `DELETE` or another word of at most 16 bytes.
    pub method: &'a str,
    /// The path as sent, not decoded, without the query. Starts with `/`.
    pub path: &'a str,
    /// The query as sent, without the `?`; empty if there is none.
    pub query: &'a str,
    /// Headers in the order sent, values that are not ASCII left out.
    pub headers: &'a [(String, String)],
    /// The length of the body, if the peer declared it; chunked bodies have none.
    pub content_length: Option<u64>,
    /// The peer's address, for logs.
    pub peer: &'a str,
    /// The body as it arrives. Never yields more than `content_length` bytes; ends with an error where the
    /// peer stops early, is too slow or goes away.
    pub body: &'a mut (dyn Read + Send),
}

/// The body of an answer.
pub enum Body {
    /// These bytes.
    Bytes(Vec<u8>),
    /// So many bytes from this reader; a reader that ends early breaks the connection, so that the peer
    /// cannot take the answer for complete.
    Stream(Box<dyn Read + Send>, u64),
}

/// An answer.
pub struct Response {
    /// Status code.
    pub status: u16,
    /// Headers besides `content-length`, `date` and `connection`.
    pub headers: Vec<(&'static str, String)>,
    /// The body; for `HEAD` only its length is sent.
    pub body: Body,
}

/// What answers requests. Called from many threads at once.
pub trait Handler: Send + Sync + 'static {
    /// Answers one request. What is left of the body is discarded or the connection closed.
    fn handle(&self, request: Request<'_>) -> Response;
}
