//! A model of a bucket with Object Lock: versions, delete markers, retention, lifecycle rules.
//!
//! It models what such services document and what was seen of one, not any product's defects.

use std::collections::BTreeMap;

use outlast_object::ObjectName;

/// How a bucket retains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lock {
    /// Nobody shortens.
    Compliance,
    /// Whoever may bypass shortens.
    Governance,
    /// Nothing is retained, and there are no versions.
    None,
}

/// A version of an object; a delete marker has no body.
#[derive(Debug, Clone)]
struct Version {
    id: u64,
    body: Option<Vec<u8>>,
    retained_until: Option<u64>,
    /// When a newer version replaced it.
    replaced_at: Option<u64>,
}

/// The bucket refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("access denied")]
pub struct Denied;

/// A bucket.
#[derive(Debug, Clone)]
pub struct Bucket {
    lock: Lock,
    objects: BTreeMap<ObjectName, Vec<Version>>,
    versions: u64,
    /// Versions that were replaced so many seconds ago are removed, if a rule says so.
    expire_replaced_after: Option<u64>,
    /// For the planted bug: retention can be shortened in compliance mode.
    shortens: bool,
}

impl Bucket {
    /// An empty bucket.
    pub fn new(lock: Lock, shortens: bool) -> Self {
        Self {
            lock,
            objects: BTreeMap::new(),
            versions: 0,
            expire_replaced_after: None,
            shortens,
        }
    }

    /// Writes a new version, which is retained until then, and returns its id. Conditions on writes are
    /// not offered, as some services ignore them.
    pub fn put(
        &mut self,
        name: ObjectName,
        body: Option<&[u8]>,
        retain: Option<u64>,
        now: u64,
    ) -> u64 {
        self.versions += 1;
        let versions = self.objects.entry(name).or_default();
        if self.lock == Lock::None {
            versions.clear();
        }
        if let Some(last) = versions.last_mut() {
            last.replaced_at = Some(now);
        }
        versions.push(Version {
            id: self.versions,
            body: body.map(<[u8]>::to_vec),
            retained_until: retain.filter(|_| self.lock != Lock::None),
            replaced_at: None,
        });
        self.versions
    }

    /// Deletes by name: a marker hides the object, and every version stays. Without versions it is gone.
    pub fn delete(&mut self, name: ObjectName, now: u64) {
        if self.lock == Lock::None {
            self.objects.remove(&name);
        } else {
            self.put(name, None, None, now);
        }
    }

    /// Deletes a version.
    ///
    /// # Errors
    /// [`Denied`] while it is retained, unless governance retention is bypassed.
    pub fn delete_version(
        &mut self,
        name: ObjectName,
        id: u64,
        bypass: bool,
        now: u64,
    ) -> Result<(), Denied> {
        let may_bypass = bypass && self.lock == Lock::Governance;
        let versions = self.objects.get_mut(&name).ok_or(Denied)?;
        let at = versions.iter().position(|of| of.id == id).ok_or(Denied)?;
        let retained = versions[at].retained_until.is_some_and(|until| until > now);
        if retained && !may_bypass {
            return Err(Denied);
        }
        versions.remove(at);
        Ok(())
    }

    /// Sets the retention of a version.
    ///
    /// # Errors
    /// [`Denied`] if that would shorten it, unless governance retention is bypassed.
    pub fn retain(
        &mut self,
        name: ObjectName,
        id: u64,
        until: u64,
        bypass: bool,
        now: u64,
    ) -> Result<(), Denied> {
        let may_shorten = bypass && self.lock == Lock::Governance || self.shortens;
        let versions = self.objects.get_mut(&name).ok_or(Denied)?;
        let version = versions.iter_mut().find(|of| of.id == id).ok_or(Denied)?;
        let before = version.retained_until.filter(|until| *until > now);
        if self.lock == Lock::None || until <= now && !may_shorten {
            return Err(Denied);
        }
        if before.is_some_and(|before| until < before) && !may_shorten {
            return Err(Denied);
        }
        version.retained_until = Some(until);
        Ok(())
    }

    /// Sets a rule by which versions expire so many seconds after they were replaced.
    pub fn set_lifecycle(&mut self, seconds: u64) {
        self.expire_replaced_after = Some(seconds);
    }

    /// What the service does by itself: lifecycle rules never remove what is retained.
    pub fn tick(&mut self, now: u64) {
        let Some(after) = self.expire_replaced_after else {
            return;
        };
        for versions in self.objects.values_mut() {
            versions.retain(|of| {
                let retained = of.retained_until.is_some_and(|until| until > now);
                retained || of.replaced_at.is_none_or(|at| at + after > now)
            });
        }
    }

    /// The bytes of a version.
    pub fn get_version(&self, name: &ObjectName, id: u64) -> Option<&[u8]> {
        let versions = self.objects.get(name)?;
        versions.iter().find(|of| of.id == id)?.body.as_deref()
    }

    /// The bytes of the newest version, unless it is a delete marker.
    pub fn get(&self, name: &ObjectName) -> Option<&[u8]> {
        self.objects.get(name)?.last()?.body.as_deref()
    }

    /// Until when a version is retained.
    pub fn retention(&self, name: &ObjectName, id: u64) -> Option<u64> {
        let versions = self.objects.get(name)?;
        versions.iter().find(|of| of.id == id)?.retained_until
    }

    /// All versions.
    pub fn versions(&self) -> Vec<(ObjectName, u64)> {
        let all = self.objects.iter();
        all.flat_map(|(name, of)| of.iter().map(|version| (*name, version.id)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use outlast_object::Id;

    use super::*;

    #[test]
    fn compliance_holds_and_governance_can_be_bypassed() {
        let name = ObjectName::pack(Id::from_bytes([1; 32]));
        let mut strict = Bucket::new(Lock::Compliance, false);
        let id = strict.put(name, Some(b"x"), Some(100), 1);
        assert_eq!(strict.delete_version(name, id, true, 99), Err(Denied));
        assert_eq!(strict.retain(name, id, 99, true, 50), Err(Denied));
        assert_eq!(strict.retain(name, id, 101, false, 50), Ok(()));
        strict.delete(name, 60);
        strict.set_lifecycle(1);
        strict.tick(100);
        assert_eq!(strict.get(&name), None);
        assert_eq!(strict.get_version(&name, id), Some(b"x".as_slice()));
        strict.tick(101);
        assert_eq!(strict.get_version(&name, id), None);

        let mut lax = Bucket::new(Lock::Governance, false);
        let id = lax.put(name, Some(b"x"), Some(100), 1);
        assert_eq!(lax.delete_version(name, id, false, 50), Err(Denied));
        assert_eq!(lax.delete_version(name, id, true, 50), Ok(()));

        let mut open = Bucket::new(Lock::None, false);
        let id = open.put(name, Some(b"x"), Some(100), 1);
        open.put(name, Some(b"y"), None, 2);
        assert_eq!(
            (open.get_version(&name, id), open.get(&name)),
            (None, Some(b"y".as_slice()))
        );
    }
}
