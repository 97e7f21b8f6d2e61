//! Which version of a key is the object.
//!
//! In a bucket with versions nobody can be kept from writing a newer version over an object, or a
//! delete marker. So what is newest says nothing. The right version is the one whose bytes have the
//! object's name as their hash; of the config, which has no such name, the oldest; of a lock, which
//! is meant to go, the newest.

use std::collections::HashMap;

use outlast_object::{ObjectKind, ObjectName, bytes_max, hash};
use parking_lot::Mutex;
use ureq::Body;
use ureq::http::{Method, Response};

use super::client::{Call, Failure, S3Client};
use super::layout;
use super::listing::{self, Version};

/// Versions that are remembered, about 150 bytes each. Others are looked up at each use.
const KNOWN_MAX: usize = 200_000;
/// Versions of one object whose bytes are examined. Whoever plants more hides nothing: the original
/// is older than what is planted, and the oldest are tried first.
const EXAMINED_MAX: usize = 100;

/// The version that is an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// None in a bucket without versions.
    pub(super) version: Option<String>,
    pub(super) size: u64,
    /// The server's tag of the bytes.
    pub(super) etag: String,
}

impl Found {
    pub(super) fn of(version: &Version) -> Self {
        Self {
            version: Some(version.id.clone()),
            size: version.size,
            etag: version.etag.clone(),
        }
    }
}

/// What is known of versions. The map is a cache: a version that is gone is looked for again.
#[derive(Default)]
pub(super) struct Versions {
    known: Mutex<HashMap<ObjectName, Found>>,
}

impl Versions {
    pub(super) fn known(&self, name: &ObjectName) -> Option<Found> {
        self.known.lock().get(name).cloned()
    }

    pub(super) fn remember(&self, name: &ObjectName, found: &Found) {
        let mut known = self.known.lock();
        if name.kind() != ObjectKind::Lock && (known.len() < KNOWN_MAX || known.contains_key(name))
        {
            known.insert(*name, found.clone());
        }
    }

    pub(super) fn forget(&self, name: &ObjectName) {
        self.known.lock().remove(name);
    }

    /// Finds the object, by what is known or by the listing, and by reading where versions differ.
    /// None if there is no version at all; where none has the right bytes, the oldest, whose reader
    /// will see that it is damaged.
    pub(super) fn find(
        &self,
        client: &S3Client,
        name: &ObjectName,
    ) -> Result<Option<Found>, Failure> {
        if let Some(found) = self.known(name) {
            return Ok(Some(found));
        }
        let key = layout::key_of(&client.place().prefix, name);
        let versions = listing::versions_of(client, &key)?;
        let found = match choose(name.kind(), &versions) {
            Choice::None => return Ok(None),
            Choice::Of(version) => Found::of(version),
            Choice::Among(candidates) => {
                let mut chosen = candidates.first().map(|version| Found::of(version));
                let mut unreadable = None;
                for version in candidates.iter().take(EXAMINED_MAX) {
                    match is_right(client, name, &key, version) {
                        Ok(true) => {
                            chosen = Some(Found::of(version));
                            unreadable = None;
                            break;
                        }
                        Ok(false) => {}
                        // What was planted can be such that nobody may read it.
                        Err(failure @ Failure::Status { .. }) => unreadable = Some(failure),
                        Err(failure) => return Err(failure),
                    }
                }
                match (chosen, unreadable) {
                    (_, Some(failure)) => return Err(failure),
                    (Some(found), None) => found,
                    (None, None) => return Ok(None),
                }
            }
        };
        self.remember(name, &found);
        Ok(Some(found))
    }

    /// What a listing shows of an object. Nothing is read for it: of versions that differ the oldest
    /// is shown unless better is known.
    pub(super) fn shown(&self, name: &ObjectName, versions: &[Version]) -> Option<u64> {
        if let Some(found) = self.known(name)
            && name.kind() != ObjectKind::Lock
        {
            return Some(found.size);
        }
        match choose(name.kind(), versions) {
            Choice::None => None,
            Choice::Of(version) => {
                self.remember(name, &Found::of(version));
                Some(version.size)
            }
            Choice::Among(candidates) => candidates.first().map(|version| version.size),
        }
    }
}

/// Which version it is, as far as the listing tells.
pub(super) enum Choice<'a> {
    /// There is none.
    None,
    /// This one.
    Of(&'a Version),
    /// One of these, which differ, oldest first.
    Among(Vec<&'a Version>),
}

/// Chooses among versions, which come newest first.
pub(super) fn choose(kind: ObjectKind, versions: &[Version]) -> Choice<'_> {
    if kind == ObjectKind::Lock {
        return match versions.first() {
            Some(newest) if !newest.is_marker => Choice::Of(newest),
            _ => Choice::None,
        };
    }
    let mut candidates: Vec<&Version> = Vec::new();
    for version in versions.iter().rev().filter(|version| !version.is_marker) {
        // Bytes that were seen already need not be examined again.
        if !candidates.iter().any(|other| other.looks_like(version)) {
            candidates.push(version);
        }
    }
    match candidates.as_slice() {
        [] => Choice::None,
        [only] => Choice::Of(only),
        [oldest, ..] if kind == ObjectKind::Config => Choice::Of(oldest),
        _ => Choice::Among(candidates),
    }
}

/// Refuses an answer that says of itself that it is another version than was asked for.
pub(super) fn check_version(answer: &Response<Body>, wanted: Option<&str>) -> Result<(), Failure> {
    let told = answer.headers().get("x-amz-version-id");
    match (told.and_then(|told| told.to_str().ok()), wanted) {
        (Some(told), Some(wanted)) if told != wanted => Err(Failure::Transport(
            "it sent another version than was asked for".to_owned(),
        )),
        _ => Ok(()),
    }
}

/// Refuses what has another size than the server told before.
pub(super) fn check_size(size: u64, told: u64) -> Result<(), Failure> {
    match size == told {
        true => Ok(()),
        false => Err(Failure::Transport(format!(
            "it sent {size} bytes of what should have {told}"
        ))),
    }
}

/// Whether there are other bytes under the key than those that were there first.
pub(super) fn differ(versions: &[Version]) -> bool {
    let mut kept = versions.iter().rev().filter(|version| !version.is_marker);
    match kept.next() {
        Some(oldest) => kept.any(|version| !version.looks_like(oldest)),
        None => false,
    }
}

fn is_right(
    client: &S3Client,
    name: &ObjectName,
    key: &str,
    version: &Version,
) -> Result<bool, Failure> {
    if version.size > bytes_max(name.kind()) {
        return Ok(false);
    }
    let call = Call::object(Method::GET, key).version(Some(&version.id));
    let mut answer = match client.send(&call) {
        Ok(answer) => answer,
        Err(failure) if failure.is_not_found() => return Ok(false),
        Err(failure) => return Err(failure),
    };
    check_version(&answer, Some(&version.id))?;
    let bytes = client.read_body(&mut answer, version.size.saturating_add(1))?;
    if hash(&bytes) == name.id() {
        return Ok(true);
    }
    check_size(bytes.len() as u64, version.size).map(|()| false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(id: &str, etag: &str, is_marker: bool) -> Version {
        Version {
            key: "k".to_owned(),
            id: id.to_owned(),
            size: 1,
            etag: etag.to_owned(),
            is_marker,
        }
    }

    fn chosen(kind: ObjectKind, versions: &[Version]) -> Vec<&str> {
        match choose(kind, versions) {
            Choice::None => Vec::new(),
            Choice::Of(version) => vec![&version.id],
            Choice::Among(candidates) => candidates.iter().map(|v| v.id.as_str()).collect(),
        }
    }

    #[test]
    fn markers_and_newer_versions_change_nothing() {
        let (marker, planted) = (version("m", "", true), version("p", "y", false));
        let (again, original) = (version("a", "x", false), version("o", "x", false));
        let [pack, config, lock] = [ObjectKind::Pack, ObjectKind::Config, ObjectKind::Lock];
        let all = [marker.clone(), planted, again, original];
        assert_eq!(chosen(pack, &all), ["o", "p"]);
        assert_eq!(chosen(pack, &all[2..]), ["o"]);
        assert_eq!(chosen(config, &all), ["o"]);
        assert!(chosen(lock, &all).is_empty());
        assert_eq!(chosen(lock, &all[1..]), ["p"]);
        assert!(chosen(pack, &[marker]).is_empty());
        assert!(chosen(pack, &[]).is_empty());
    }

    #[test]
    fn versions_without_tags_are_examined() {
        let both = [version("b", "", false), version("a", "", false)];
        assert_eq!(chosen(ObjectKind::Pack, &both), ["a", "b"]);
    }
}
