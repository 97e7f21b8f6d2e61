//! A repository at a restic REST server, version 2 of the protocol or 1.
//!
//! Every body is bounded. What the server says about a refused or interrupted upload is not taken
//! at its word: the store looks at what is there now.

pub(crate) mod client;
mod listing;
mod pinned;
mod requests;
mod tls;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use outlast_object::{Id, ObjectKind, ObjectName, bytes_max};
use parking_lot::Mutex;
use ureq::Body;
use ureq::http::{Method, Response, StatusCode, header};

pub use self::client::{RestOptions, Timeouts};
pub use self::listing::{LISTING_BYTES_MAX, read_listing};
pub use self::pinned::Pin;
pub use self::requests::{Answer, Requests};
pub use self::tls::TlsOptions;

use self::client::{Client, Failure};
use crate::location::RestLocation;
use crate::port::list_config;
use crate::{Deletes, LockStore, ObjectInfo, Store, StoreError};

/// A repository at a restic REST server.
pub struct RestStore {
    client: Client,
    connections: usize,
}

impl RestStore {
    /// A store at `location`. Nothing is sent yet.
    ///
    /// # Errors
    /// [`StoreError::Location`] for certificate files that cannot be used.
    pub fn new(location: &RestLocation, options: &RestOptions) -> Result<Self, StoreError> {
        let connections = options.connections.max(1);
        Ok(Self {
            client: Client::new(location, options)?,
            connections,
        })
    }

    fn get(&self, name: &ObjectName, range: Option<&str>) -> Result<Response<Body>, Failure> {
        self.client
            .request(&Method::GET, &name.to_string(), range, None)
    }

    /// An upload was refused or its answer was lost: looks whether the object is there all the same.
    /// Whoever uploads a large object that exists already may see no more than a closed connection,
    /// because servers answer without reading it.
    fn settle(&self, name: &ObjectName, bytes: &[u8], error: StoreError) -> Result<(), StoreError> {
        let other = || StoreError::AlreadyExists {
            name: *name,
            location: self.location(),
        };
        match self.size(name) {
            Ok(size) if size != bytes.len() as u64 => return Err(other()),
            Ok(_) => {}
            // Not there, or not to be told: the refusal or the failure stands.
            Err(look_up) => {
                return Err(if look_up.is_retryable() {
                    look_up
                } else {
                    error
                });
            }
        }
        let mut answer = match self.get(name, None) {
            Ok(answer) => answer,
            // Credentials that may not read cannot tell either.
            Err(failure) => {
                let look_up = self.client.error("compare", Some(name), failure);
                return Err(if look_up.is_retryable() {
                    look_up
                } else {
                    error
                });
            }
        };
        let mut left = bytes;
        let mut same = true;
        let read = self
            .client
            .read_pieces(answer.body_mut(), bytes.len() as u64 + 1, |piece| {
                let (expected, rest) = left.split_at(piece.len().min(left.len()));
                same &= piece == expected;
                left = rest;
            });
        read.map_err(|failure| self.client.error("compare", Some(name), failure))?;
        if same && left.is_empty() {
            Ok(())
        } else {
            Err(other())
        }
    }

    /// The size of each of `ids`, asked for by as many threads as suit the server: version 1 of the
    /// protocol lists names only.
    fn sizes(&self, kind: ObjectKind, ids: &[Id]) -> Result<Vec<ObjectInfo>, StoreError> {
        let next = AtomicUsize::new(0);
        let found = Mutex::new(Ok(Vec::with_capacity(ids.len())));
        let ask = || {
            while let Some(id) = ids.get(next.fetch_add(1, Ordering::Relaxed)) {
                let size = self.size(&ObjectName::new(kind, *id));
                let mut found = found.lock();
                match (size, &mut *found) {
                    (_, Err(_)) => return,
                    (Ok(size), Ok(infos)) => infos.push(ObjectInfo { id: *id, size }),
                    // Removed since it was listed.
                    (Err(error), Ok(_)) if error.is_not_found() => {}
                    (Err(error), Ok(_)) => *found = Err(error),
                }
            }
        };
        thread::scope(|scope| {
            for _ in 0..self.connections.min(ids.len()) {
                scope.spawn(ask);
            }
        });
        found.into_inner()
    }

    fn truncated(&self, name: &ObjectName, offset: u64, length: usize, size: u64) -> StoreError {
        StoreError::Truncated {
            name: *name,
            offset,
            end: offset.saturating_add(length as u64),
            size,
        }
    }

    /// Fewer bytes came than were asked for: is the object so short, or only the answer?
    fn too_short(&self, name: &ObjectName, offset: u64, length: usize, last: u64) -> StoreError {
        match self.size(name) {
            Ok(size) if size > last => {
                let failure = Failure::Transport("it sent too little".to_owned());
                self.client.error("read", Some(name), failure)
            }
            Ok(size) => self.truncated(name, offset, length, size),
            Err(error) => error,
        }
    }

    fn remove(&self, name: &ObjectName) -> Result<(), StoreError> {
        match self
            .client
            .request(&Method::DELETE, &name.to_string(), None, None)
        {
            Ok(_) => Ok(()),
            // A vault, or a server in append-only mode: it stays so, whatever is asked.
            Err(Failure::Status(StatusCode::FORBIDDEN, reason))
                if name.kind() != ObjectKind::Lock =>
            {
                Err(StoreError::DeletesRefused {
                    location: self.location(),
                    reason,
                })
            }
            Err(failure) => match self.client.error("delete", Some(name), failure) {
                StoreError::NotFound { .. } => Ok(()),
                error => Err(error),
            },
        }
    }
}

impl Store for RestStore {
    fn location(&self) -> String {
        self.client.location.clone()
    }

    fn connections(&self) -> usize {
        self.connections
    }

    fn prepare(&self) -> Result<(), StoreError> {
        match self
            .client
            .request(&Method::POST, "?create=true", None, Some(&[]))
        {
            Ok(_) => Ok(()),
            Err(failure) => Err(self.client.error("create the repository", None, failure)),
        }
    }

    fn write(&self, name: &ObjectName, bytes: &[u8]) -> Result<(), StoreError> {
        let failure = match self
            .client
            .request(&Method::POST, &name.to_string(), None, Some(bytes))
        {
            Ok(_) => return Ok(()),
            Err(failure) => failure,
        };
        let unsettled = match &failure {
            Failure::Transport(_) => true,
            Failure::Status(status, _) => matches!(status.as_u16(), 403 | 409 | 412),
            Failure::Refused(_) => false,
        };
        let not_found = matches!(&failure, Failure::Status(StatusCode::NOT_FOUND, _));
        let error = if not_found {
            // It is the repository that does not exist, not the object.
            let reason = "the repository does not exist".to_owned();
            self.client
                .error("write", Some(name), Failure::Refused(reason))
        } else {
            self.client.error("write", Some(name), failure)
        };
        if unsettled {
            self.settle(name, bytes, error)
        } else {
            Err(error)
        }
    }

    fn read(&self, name: &ObjectName) -> Result<Vec<u8>, StoreError> {
        let failed = |failure| self.client.error("read", Some(name), failure);
        let max = bytes_max(name.kind());
        let mut answer = self.get(name, None).map_err(failed)?;
        let announced = content_length(&answer);
        if let Some(size) = announced.filter(|size| *size > max) {
            return Err(StoreError::TooLarge {
                name: *name,
                size,
                max,
            });
        }
        let bytes = self
            .client
            .read_body(answer.body_mut(), max + 1)
            .map_err(failed)?;
        let size = bytes.len() as u64;
        if size > max {
            return Err(StoreError::TooLarge {
                name: *name,
                size,
                max,
            });
        }
        Ok(bytes)
    }

    fn read_range(
        &self,
        name: &ObjectName,
        offset: u64,
        length: usize,
    ) -> Result<Vec<u8>, StoreError> {
        let failed = |failure| self.client.error("read", Some(name), failure);
        let last = match (length as u64).checked_sub(1) {
            Some(more) => offset.checked_add(more),
            // HTTP has no empty ranges, and a range beyond every object is not worth asking for.
            None => None,
        };
        let Some(last) = last else {
            let size = self.size(name)?;
            let inside = length == 0 && offset <= size;
            let outside = || self.truncated(name, offset, length, size);
            return if inside {
                Ok(Vec::new())
            } else {
                Err(outside())
            };
        };
        let range = format!("bytes={offset}-{last}");
        let mut answer = match self.get(name, Some(&range)) {
            Ok(answer) => answer,
            Err(Failure::Status(StatusCode::RANGE_NOT_SATISFIABLE, _)) => {
                return Err(self.truncated(name, offset, length, self.size(name)?));
            }
            Err(failure) => return Err(failed(failure)),
        };
        // A server that does not know ranges sends the whole object.
        let partial = answer.status() == StatusCode::PARTIAL_CONTENT;
        let skip = if partial { 0 } else { offset };
        if partial && range_start(&answer).is_some_and(|start| start != offset) {
            return Err(failed(Failure::Transport(
                "it sent another range".to_owned(),
            )));
        }
        // Looked at before anything is read: the length may come from a hostile index.
        let announced = content_length(&answer);
        if announced.is_some_and(|bytes| bytes.saturating_sub(skip) < length as u64) {
            return Err(self.too_short(name, offset, length, last));
        }
        let skipped = self
            .client
            .read_pieces(answer.body_mut(), skip, |_| {})
            .map_err(failed)?;
        if skipped == skip {
            let bytes = self
                .client
                .read_body(answer.body_mut(), length as u64)
                .map_err(failed)?;
            if bytes.len() == length {
                return Ok(bytes);
            }
        }
        Err(self.too_short(name, offset, length, last))
    }

    fn size(&self, name: &ObjectName) -> Result<u64, StoreError> {
        let failed = |failure| self.client.error("look up", Some(name), failure);
        let answer = self
            .client
            .request(&Method::HEAD, &name.to_string(), None, None)
            .map_err(failed)?;
        content_length(&answer)
            .ok_or_else(|| failed(Failure::Transport("it told no size".to_owned())))
    }

    fn list(&self, kind: ObjectKind, visit: &mut dyn FnMut(ObjectInfo)) -> Result<(), StoreError> {
        if kind == ObjectKind::Config {
            return list_config(self, visit);
        }
        let path = format!("{}/", kind.folder());
        let failed = |failure| {
            self.client
                .error(&format!("list {}", kind.folder()), None, failure)
        };
        let mut answer = match self.client.request(&Method::GET, &path, None, None) {
            Ok(answer) => answer,
            Err(Failure::Status(StatusCode::NOT_FOUND, _)) => return Ok(()),
            Err(failure) => return Err(failed(failure)),
        };
        let mut without_size = Vec::new();
        let mut found = |id, size| match size {
            Some(size) => visit(ObjectInfo { id, size }),
            None => without_size.push(id),
        };
        read_listing(answer.body_mut().as_reader(), &mut found)
            .map_err(|reason| failed(Failure::Transport(reason)))?;
        self.sizes(kind, &without_size)?.into_iter().for_each(visit);
        Ok(())
    }
}

impl LockStore for RestStore {
    fn remove_lock(&self, id: &Id) -> Result<(), StoreError> {
        self.remove(&ObjectName::new(ObjectKind::Lock, *id))
    }
}

impl Deletes for RestStore {
    fn delete(&self, name: &ObjectName) -> Result<(), StoreError> {
        self.remove(name)
    }
}

fn content_length(answer: &Response<Body>) -> Option<u64> {
    answer
        .headers()
        .get(header::CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .parse()
        .ok()
}

/// The first byte that a partial answer claims to hold: `bytes 5-9/100` says 5.
fn range_start(answer: &Response<Body>) -> Option<u64> {
    let text = answer.headers().get(header::CONTENT_RANGE)?.to_str().ok()?;
    text.strip_prefix("bytes ")?.split('-').next()?.parse().ok()
}
