//! Buckets in memory: keys, their versions, and what is retained.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

/// One version of a key, or a delete marker.
#[derive(Debug, Clone)]
pub(super) struct Version {
    pub(super) id: String,
    /// None for a delete marker.
    pub(super) bytes: Option<Arc<Vec<u8>>>,
    /// Mode and end, as they were given. It never ends here: there is no clock.
    pub(super) retention: Option<(String, String)>,
}

/// A bucket.
#[derive(Debug, Default)]
pub(super) struct Bucket {
    pub(super) has_versions: bool,
    pub(super) has_lock: bool,
    /// Versions of each key, oldest first.
    keys: BTreeMap<String, Vec<Version>>,
    written: u64,
}

/// A page of a listing.
#[derive(Debug, Default)]
pub(super) struct Page {
    /// Keys with their versions and whether each is the newest, newest first.
    pub(super) entries: Vec<(String, Version, bool)>,
    pub(super) is_truncated: bool,
}

impl Bucket {
    /// Adds a version, or replaces the only one where there are no versions. Returns its id.
    pub(super) fn put(
        &mut self,
        key: &str,
        bytes: Option<Vec<u8>>,
        retention: Option<(String, String)>,
    ) -> String {
        self.written += 1;
        // Real ids have such characters, which an address must encode.
        let id = match self.has_versions {
            true => format!("v/{:06}+a=", self.written),
            false => "null".to_owned(),
        };
        let version = Version {
            id: id.clone(),
            bytes: bytes.map(Arc::new),
            retention,
        };
        let versions = self.keys.entry(key.to_owned()).or_default();
        if !self.has_versions {
            versions.clear();
        }
        versions.push(version);
        id
    }

    /// The version of this id, or the newest.
    pub(super) fn get(&self, key: &str, id: Option<&str>) -> Option<&Version> {
        let versions = self.keys.get(key)?;
        match id {
            None => versions.last(),
            Some(id) => versions.iter().find(|version| version.id == id),
        }
    }

    pub(super) fn get_mut(&mut self, key: &str, id: Option<&str>) -> Option<&mut Version> {
        let versions = self.keys.get_mut(key)?;
        match id {
            None => versions.last_mut(),
            Some(id) => versions.iter_mut().find(|version| version.id == id),
        }
    }

    /// Removes a version for good, or the newest from sight. Returns whether that is allowed.
    pub(super) fn delete(&mut self, key: &str, id: Option<&str>) -> bool {
        if self.has_versions && id.is_none() {
            self.put(key, None, None);
            return true;
        }
        if self
            .get(key, id)
            .is_some_and(|version| version.retention.is_some())
        {
            return false;
        }
        if let Some(versions) = self.keys.get_mut(key) {
            versions.retain(|version| id.is_some_and(|id| version.id != id));
            if versions.is_empty() {
                self.keys.remove(key);
            }
        }
        true
    }

    /// What is newest of each key below `prefix` and after a key.
    pub(super) fn newest(&self, prefix: &str, after: Option<&str>, max: usize) -> Page {
        let begin = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let found = self.keys.range::<str, _>((begin, Bound::Unbounded));
        let found = found.take_while(|(key, _)| key.starts_with(prefix));
        let found = found.filter_map(|(key, versions)| {
            let newest = versions.last()?;
            newest.bytes.as_ref()?;
            Some((key.clone(), newest.clone(), true))
        });
        page(found, max)
    }

    /// All versions below `prefix` and after a version of a key.
    pub(super) fn all(&self, prefix: &str, after: Option<(&str, &str)>, max: usize) -> Page {
        let found = self
            .keys
            .range::<str, _>((Bound::Included(prefix), Bound::Unbounded));
        let found = found.take_while(|(key, _)| key.starts_with(prefix));
        let found = found.flat_map(|(key, versions)| {
            let newest = versions.len().saturating_sub(1);
            let each = versions.iter().enumerate().rev();
            each.map(move |(index, version)| (key.clone(), version.clone(), index == newest))
        });
        let is_before = |entry: &(String, Version, bool)| {
            let Some((key, id)) = after else { return false };
            match entry.0.as_str().cmp(key) {
                std::cmp::Ordering::Less => true,
                std::cmp::Ordering::Greater => false,
                // Without a version the whole key is passed over.
                std::cmp::Ordering::Equal => {
                    let versions = self.keys.get(key).map_or(&[][..], Vec::as_slice);
                    let place = |id: &str| versions.iter().position(|version| version.id == id);
                    place(id).is_none_or(|marker| place(&entry.1.id) >= Some(marker))
                }
            }
        };
        page(found.skip_while(is_before), max)
    }
}

fn page(entries: impl Iterator<Item = (String, Version, bool)>, max: usize) -> Page {
    let mut entries: Vec<_> = entries.take(max.saturating_add(1)).collect();
    let is_truncated = entries.len() > max;
    entries.truncate(max);
    Page {
        entries,
        is_truncated,
    }
}
