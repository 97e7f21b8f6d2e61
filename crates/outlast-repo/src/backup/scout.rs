//! Looking at the source ahead of the walk.
//!
//! What the system says of each entry takes about as long as comparing it with the parent snapshot and
//! writing it into a tree. So a thread of its own asks, in exactly the order in which the walk goes,
//! and stays at most some batches ahead.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender};

use outlast_source::{Found, Place, Source, SourceError};

/// Directories nested deeper than this are an error of the entry; no system can make them by path.
const DEPTH_MAX: usize = 8192;
/// Sightings that are handed over at a time.
const BATCH: usize = 128;
/// Batches that wait for the walk.
pub(super) const BATCHES_AHEAD: usize = 8;

/// What the scout saw, in the order in which it saw it.
#[allow(
    clippy::large_enum_variant,
    reason = "nearly all are entries, and a box would be one more allocation for each file"
)]
pub(super) enum Sighting {
    /// An entry of the directory that was entered last and not left.
    Entry {
        /// Its number among the names of the directory.
        index: usize,
        name: Vec<u8>,
        /// None: it is left out.
        found: Result<Option<Found>, SourceError>,
        /// Of a directory the number of names in it. If there is one, the entries follow.
        below: Option<Result<usize, SourceError>>,
    },
    /// There is nothing more in the directory.
    Left,
}

/// A directory on the way from the root to where the scout is.
struct Level {
    place: Place,
    names: std::iter::Enumerate<std::vec::IntoIter<Vec<u8>>>,
}

/// Looks at everything beneath the root, whose names are these. Ends early if nobody listens any more.
pub(super) fn scout(
    source: &dyn Source,
    root: Place,
    names: Vec<Vec<u8>>,
    to: &SyncSender<Vec<Sighting>>,
) {
    let names = names.into_iter().enumerate();
    let mut levels = vec![Level { place: root, names }];
    let mut batch = Vec::with_capacity(BATCH);
    while let Some(level) = levels.last_mut() {
        match level.names.next() {
            None => {
                levels.pop();
                batch.push(Sighting::Left);
            }
            Some((index, name)) => {
                let mut found = source.look(&level.place, &name);
                let place = match &mut found {
                    Ok(Some(found)) => found.place.take(),
                    _ => None,
                };
                let below = place.map(|place| {
                    if levels.len() >= DEPTH_MAX {
                        let why = "directories are nested too deeply".to_owned();
                        return Err(SourceError::Invalid(why));
                    }
                    let names = source.names(&place)?;
                    let count = names.len();
                    let names = names.into_iter().enumerate();
                    levels.push(Level { place, names });
                    Ok(count)
                });
                batch.push(Sighting::Entry {
                    index,
                    name,
                    found,
                    below,
                });
            }
        }
        if batch.len() == BATCH {
            let full = std::mem::replace(&mut batch, Vec::with_capacity(BATCH));
            if to.send(full).is_err() {
                return;
            }
        }
    }
    // The walk is over when it has seen the root left; if it does not listen, it has failed.
    let _ = to.send(batch);
}

/// Hands out sightings one by one.
pub(super) struct Sightings {
    from: Receiver<Vec<Sighting>>,
    batch: std::vec::IntoIter<Sighting>,
}

impl Sightings {
    pub(super) fn new(from: Receiver<Vec<Sighting>>) -> Self {
        Self {
            from,
            batch: Vec::new().into_iter(),
        }
    }
}

impl Iterator for Sightings {
    type Item = Sighting;

    fn next(&mut self) -> Option<Sighting> {
        loop {
            if let Some(sighting) = self.batch.next() {
                return Some(sighting);
            }
            self.batch = self.from.recv().ok()?.into_iter();
        }
    }
}

/// The path of an entry of this name in a directory.
pub(super) fn path_of(directory: &std::path::Path, name: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    directory.join(std::ffi::OsStr::from_bytes(name))
}
