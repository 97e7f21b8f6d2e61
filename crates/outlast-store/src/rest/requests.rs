//! Requests of another protocol to the same server, over connections made in the same way.

use ureq::http::Method;

use super::client::{Client, Failure, RestOptions};
use crate::StoreError;
use crate::location::RestLocation;

/// What a server answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Status of HTTP.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

/// Makes requests below one address, with credentials, pins, timeouts and limits as a
/// [`RestStore`](crate::RestStore) has them.
pub struct Requests {
    client: Client,
}

impl Requests {
    /// For requests below `location`. Nothing is sent yet.
    ///
    /// # Errors
    /// [`StoreError::Location`] for certificate files that cannot be used.
    pub fn new(location: &RestLocation, options: &RestOptions) -> Result<Self, StoreError> {
        let client = Client::new(location, options)?;
        Ok(Self { client })
    }

    /// Where to, without credentials.
    pub fn location(&self) -> &str {
        &self.client.location
    }

    /// Gets what is at `path`, or sends it `body`. Whatever the status, the answer is given, with
    /// at most `bytes_max` bytes of its body.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if no whole answer came; [`StoreError::Denied`] if the server is
    /// not the one that is wanted, or says more than it may.
    pub fn send(
        &self,
        path: &str,
        body: Option<&[u8]>,
        bytes_max: u64,
    ) -> Result<Answer, StoreError> {
        let method = if body.is_some() {
            Method::POST
        } else {
            Method::GET
        };
        let verb = format!("{method} {path}");
        let failed = |failure| self.client.error(&verb, None, failure);
        let mut answer = self.client.answer(&method, path, body).map_err(failed)?;
        let status = answer.status().as_u16();
        let body = self.client.read_body(answer.body_mut(), bytes_max + 1);
        let body = body.map_err(failed)?;
        if body.len() as u64 > bytes_max {
            let reason = "the answer is longer than it may be".to_owned();
            return Err(failed(Failure::Refused(reason)));
        }
        Ok(Answer { status, body })
    }
}
