//! Reading objects, each by the version that is right.

use std::cmp::Ordering;

use outlast_object::{ObjectKind, ObjectName, bytes_max, hash};
use ureq::Body;
use ureq::http::{Method, Response, StatusCode, header};

use super::S3Store;
use super::client::{Call, Failure};
use super::versions::{Found, check_size, check_version};
use crate::StoreError;

impl S3Store {
    /// Finds the object among whatever is kept under its key.
    pub(super) fn find(&self, name: &ObjectName) -> Result<Found, StoreError> {
        let failed = |failure| self.failed("look up", name, failure);
        if self.has_versions()? {
            let found = self.versions.find(&self.client, name).map_err(failed)?;
            return found.ok_or_else(|| self.not_found(name));
        }
        let key = self.key(name);
        let answer = self
            .client
            .send(&Call::object(Method::HEAD, &key))
            .map_err(failed)?;
        let text = |header| {
            answer
                .headers()
                .get(header)
                .and_then(|value| value.to_str().ok())
        };
        let size = text(header::CONTENT_LENGTH).and_then(|text| text.parse().ok());
        let size = size.ok_or_else(|| failed(Failure::Transport("it told no size".to_owned())))?;
        let etag = text(header::ETAG)
            .unwrap_or("")
            .trim_matches('"')
            .to_owned();
        Ok(Found {
            version: None,
            size,
            etag,
        })
    }

    /// The object's bytes as they are kept in one version.
    pub(super) fn read_found(
        &self,
        name: &ObjectName,
        found: &Found,
    ) -> Result<Vec<u8>, StoreError> {
        let max = bytes_max(name.kind());
        let too_large = |size| StoreError::TooLarge {
            name: *name,
            size,
            max,
        };
        if found.size > max {
            return Err(too_large(found.size));
        }
        let failed = |failure| self.failed("read", name, failure);
        let key = self.key(name);
        let call = Call::object(Method::GET, &key).version(found.version.as_deref());
        let mut answer = self.client.send(&call).map_err(failed)?;
        check_version(&answer, found.version.as_deref()).map_err(failed)?;
        let announced = content_length(&answer);
        if let Some(size) = announced.filter(|size| *size > max) {
            return Err(too_large(size));
        }
        let bytes = self
            .client
            .read_body(&mut answer, max + 1)
            .map_err(failed)?;
        let size = bytes.len() as u64;
        if size > max {
            return Err(too_large(size));
        }
        if announced.is_some_and(|announced| announced != size) {
            return Err(failed(Failure::Transport("it sent too little".to_owned())));
        }
        Ok(bytes)
    }

    pub(super) fn read_object(&self, name: &ObjectName) -> Result<Vec<u8>, StoreError> {
        if !self.has_versions()? {
            let anything = Found {
                version: None,
                size: 0,
                etag: String::new(),
            };
            return self.read_found(name, &anything);
        }
        let found = self.find(name)?;
        match self.read_found(name, &found) {
            Ok(bytes) if is_right(name, &bytes, &found) => return Ok(bytes),
            Err(error) if !error.is_not_found() => return Err(error),
            // Removed since it was looked up, or another version is meant now, or what was sent is not
            // what is kept.
            _ => {}
        }
        self.versions.forget(name);
        let found = self.find(name)?;
        let bytes = self.read_found(name, &found)?;
        if hash(&bytes) != name.id() {
            // Bytes that are damaged are for the caller to look at, but not half of them.
            check_size(bytes.len() as u64, found.size)
                .map_err(|failure| self.failed("read", name, failure))?;
        }
        Ok(bytes)
    }

    pub(super) fn read_part(
        &self,
        name: &ObjectName,
        offset: u64,
        length: usize,
    ) -> Result<Vec<u8>, StoreError> {
        // The size is known where versions are; elsewhere one request tells it.
        let mut found = self.find(name)?;
        let mut read = self.read_part_found(name, &found, offset, length);
        if read.as_ref().is_err_and(StoreError::is_not_found) {
            self.versions.forget(name);
            found = self.find(name)?;
            read = self.read_part_found(name, &found, offset, length);
        }
        read
    }

    fn read_part_found(
        &self,
        name: &ObjectName,
        found: &Found,
        offset: u64,
        length: usize,
    ) -> Result<Vec<u8>, StoreError> {
        let end = offset.saturating_add(length as u64);
        if end > found.size || offset.checked_add(length as u64).is_none() {
            return Err(StoreError::Truncated {
                name: *name,
                offset,
                end,
                size: found.size,
            });
        }
        if length == 0 {
            return Ok(Vec::new());
        }
        let failed = |failure| self.failed("read", name, failure);
        let key = self.key(name);
        let call = Call::object(Method::GET, &key)
            .version(found.version.as_deref())
            .header("range", format!("bytes={offset}-{}", end - 1));
        let mut answer = self.client.send(&call).map_err(failed)?;
        check_version(&answer, found.version.as_deref()).map_err(failed)?;
        let wrong = |what: &str| failed(Failure::Transport(what.to_owned()));
        if answer.status() != StatusCode::PARTIAL_CONTENT || range_start(&answer) != Some(offset) {
            return Err(wrong("it sent another part than was asked for"));
        }
        let bytes = self
            .client
            .read_body(&mut answer, (length as u64).saturating_add(1))
            .map_err(failed)?;
        match bytes.len().cmp(&length) {
            Ordering::Equal => Ok(bytes),
            Ordering::Less => Err(wrong("it sent too little")),
            Ordering::Greater => Err(wrong("it sent too much")),
        }
    }
}

/// Whether these are the object's bytes, as far as its name or else its size tells.
fn is_right(name: &ObjectName, bytes: &[u8], found: &Found) -> bool {
    match name.kind() {
        ObjectKind::Config => bytes.len() as u64 == found.size,
        _ => hash(bytes) == name.id(),
    }
}

fn content_length(answer: &Response<Body>) -> Option<u64> {
    let value = answer.headers().get(header::CONTENT_LENGTH)?;
    value.to_str().ok()?.parse().ok()
}

/// The first byte that a partial answer claims to hold: `bytes 5-9/100` says 5.
fn range_start(answer: &Response<Body>) -> Option<u64> {
    let text = answer.headers().get(header::CONTENT_RANGE)?.to_str().ok()?;
    text.strip_prefix("bytes ")?.split('-').next()?.parse().ok()
}
