//! Bodies that are held in memory as a whole, and a bound on all of them together.

use std::collections::HashMap;
use std::io::Read;
use std::ops::Deref;

use outlast_custody::RepositoryName;
use parking_lot::Mutex;

use super::{Refused, refused};
use crate::VaultError;
use crate::http::Request;

/// Bytes of bodies that are held at once, of everybody.
const BYTES_MAX: u64 = 512 * 1024 * 1024;
/// Bytes of bodies of one repository that are held at once, so that nobody takes all the room by
/// sending slowly: the longest list of objects, and a batch.
const REPOSITORY_BYTES_MAX: u64 = 160 * 1024 * 1024;
/// Room is taken in steps of this size, as the bytes arrive.
const STEP_BYTES: u64 = 1024 * 1024;

#[derive(Default)]
struct Counts {
    all: u64,
    of: HashMap<RepositoryName, u64>,
}

/// Counts what is held.
#[derive(Default)]
pub(super) struct Bodies {
    counts: Mutex<Counts>,
}

/// A body; its room is given back when it is dropped.
pub(super) struct Held<'a> {
    bodies: &'a Bodies,
    repository: RepositoryName,
    counted: u64,
    bytes: Vec<u8>,
}

impl Deref for Held<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let mut counts = self.bodies.counts.lock();
        counts.all = counts.all.saturating_sub(self.counted);
        let left = counts
            .of
            .get(&self.repository)
            .map_or(0, |held| held.saturating_sub(self.counted));
        if left == 0 {
            counts.of.remove(&self.repository);
        } else {
            counts.of.insert(self.repository.clone(), left);
        }
    }
}

impl Held<'_> {
    fn grow(&mut self, bytes: u64) -> Result<(), Refused> {
        let mut counts = self.bodies.counts.lock();
        let of = counts.of.get(&self.repository).copied().unwrap_or_default();
        if counts.all.saturating_add(bytes) > BYTES_MAX
            || of.saturating_add(bytes) > REPOSITORY_BYTES_MAX
        {
            let message = "too many large requests at once: try again later";
            return Err(refused(503, "busy", message));
        }
        counts.all += bytes;
        counts.of.insert(self.repository.clone(), of + bytes);
        self.counted += bytes;
        Ok(())
    }
}

impl Bodies {
    /// Reads a body of at most `max` bytes. Room is counted as the bytes arrive, so what was merely
    /// announced takes none.
    pub(super) fn read(
        &self,
        repository: &RepositoryName,
        request: Request<'_>,
        max: u64,
    ) -> Result<Held<'_>, Refused> {
        let too_long = || refused(413, "too_long", "the body is longer than it may be");
        if request.content_length.is_some_and(|length| length > max) {
            return Err(too_long());
        }
        let mut held = Held {
            bodies: self,
            repository: repository.clone(),
            counted: 0,
            bytes: Vec::new(),
        };
        loop {
            held.grow(STEP_BYTES)?;
            let mut step = (&mut *request.body).take(STEP_BYTES);
            let count = step
                .read_to_end(&mut held.bytes)
                .map_err(VaultError::Upload)?;
            if held.bytes.len() as u64 > max {
                return Err(too_long());
            }
            if (count as u64) < STEP_BYTES {
                return Ok(held);
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const STEP: usize = STEP_BYTES as usize;

    fn read<'a>(
        bodies: &'a Bodies,
        name: &str,
        mut bytes: &[u8],
        max: u64,
    ) -> Result<Held<'a>, u16> {
        let request = Request {
            method: "POST",
            path: "/",
            query: "",
            headers: &[],
            content_length: None,
            peer: "",
            body: &mut bytes,
        };
        bodies
            .read(&name.parse().unwrap(), request, max)
            .map_err(|refused| refused.status)
    }

    #[test]
    fn a_body_is_read_whole_or_not_at_all() {
        let bodies = Bodies::default();
        for length in [0, 1, STEP - 1, STEP, STEP + 1, 3 * STEP] {
            let bytes = vec![7; length];
            let held = read(&bodies, "web1", &bytes, length as u64).unwrap();
            assert_eq!(*held, *bytes);
            if length > 0 {
                let outcome = read(&bodies, "web1", &bytes, length as u64 - 1);
                assert_eq!(outcome.err(), Some(413));
            }
        }
        let counts = bodies.counts.lock();
        assert_eq!((counts.all, counts.of.len()), (0, 0));
    }

    #[test]
    fn one_repository_cannot_take_all_the_room() {
        let bodies = Bodies::default();
        let bytes = vec![7; STEP];
        let mut kept = Vec::new();
        let status = loop {
            match read(&bodies, "web1", &bytes, 2 * STEP_BYTES) {
                Ok(held) => kept.push(held),
                Err(status) => break status,
            }
        };
        assert_eq!(status, 503);
        assert!(bodies.counts.lock().all <= REPOSITORY_BYTES_MAX);
        assert!(read(&bodies, "web2", &bytes, 2 * STEP_BYTES).is_ok());
        kept.pop();
        assert!(read(&bodies, "web1", &bytes, 2 * STEP_BYTES).is_ok());
        drop(kept);
        assert_eq!(bodies.counts.lock().all, 0);
    }
}
