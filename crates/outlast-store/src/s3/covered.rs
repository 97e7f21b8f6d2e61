//! Objects that somebody hid behind delete markers, or wrote other bytes over.
//!
//! Neither does harm to whoever reads by version; but both are the traces of somebody who wanted to.

use outlast_object::{ObjectKind, ObjectName};

use super::S3Store;
use super::listing::{self, Version};
use super::{layout, versions};
use crate::StoreError;

/// What is over objects.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Covered {
    /// Objects behind delete markers.
    pub hidden: u64,
    /// Objects with versions of other bytes.
    pub overwritten: u64,
    /// One of each kind, for the message.
    pub examples: Vec<ObjectName>,
}

impl S3Store {
    /// Looks for delete markers and planted versions over those objects that `is_live` says are needed.
    ///
    /// # Errors
    /// [`StoreError`] if versions cannot be listed.
    pub fn covered(&self, is_live: &dyn Fn(&ObjectName) -> bool) -> Result<Covered, StoreError> {
        let mut covered = Covered::default();
        if !self.has_versions()? {
            return Ok(covered);
        }
        let prefix = &self.client.place().prefix;
        for kind in ObjectKind::ALL {
            match kind {
                ObjectKind::Lock => {}
                ObjectKind::Config => {
                    let versions = self.versions_of(&ObjectName::CONFIG)?;
                    if is_live(&ObjectName::CONFIG) {
                        covered.look(&ObjectName::CONFIG, &versions);
                    }
                }
                kind => {
                    let place = layout::prefix_of(prefix, kind);
                    let listed = listing::versions(&self.client, &place, &mut |versions| {
                        let key = versions.first().map_or("", |version| version.key.as_str());
                        if let Some(name) = layout::name_of(prefix, kind, key)
                            && is_live(&name)
                        {
                            covered.look(&name, &versions);
                        }
                        true
                    });
                    listed.map_err(|failure| {
                        let verb = format!("list versions of {}", kind.folder());
                        self.client.error(&verb, None, failure)
                    })?;
                }
            }
        }
        Ok(covered)
    }
}

impl Covered {
    fn look(&mut self, name: &ObjectName, versions: &[Version]) {
        let is_hidden = versions.first().is_some_and(|newest| newest.is_marker);
        let is_overwritten = versions::differ(versions);
        self.hidden += u64::from(is_hidden);
        self.overwritten += u64::from(is_overwritten);
        let is_first = is_hidden && self.hidden == 1 || is_overwritten && self.overwritten == 1;
        if is_first {
            self.examples.push(*name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_and_other_bytes_are_told_from_writing_twice() {
        let version = |id: &str, etag: &str, is_marker| Version {
            key: "k".to_owned(),
            id: id.to_owned(),
            size: 1,
            etag: etag.to_owned(),
            is_marker,
        };
        let (original, again) = (version("o", "x", false), version("a", "x", false));
        let (planted, marker) = (version("p", "y", false), version("m", "", true));
        let name = ObjectName::CONFIG;
        for (versions, hidden, overwritten) in [
            (vec![original.clone()], 0, 0),
            (vec![again, original.clone()], 0, 0),
            (vec![planted.clone(), original.clone()], 0, 1),
            (vec![marker.clone(), original.clone()], 1, 0),
            (vec![original.clone(), marker.clone()], 0, 0),
            (vec![marker, planted, original], 1, 1),
        ] {
            let mut covered = Covered::default();
            covered.look(&name, &versions);
            assert_eq!((covered.hidden, covered.overwritten), (hidden, overwritten));
        }
    }
}
