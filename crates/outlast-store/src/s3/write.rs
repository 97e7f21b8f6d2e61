//! Writing objects, retained from the first moment on.

use outlast_object::{ObjectKind, ObjectName, hash};
use ureq::http::Method;

use super::S3Store;
use super::client::{Call, Failure, Payload};
use super::versions::{Choice, Found, check_size, choose};
use crate::{Store, StoreError};

impl S3Store {
    /// Writes an object that is not there yet.
    ///
    /// What is there is looked up first, and not left to the server: some ignore the condition that
    /// nothing be there. If the answer to the upload is lost, the next try finds what was written.
    pub(super) fn write_object(&self, name: &ObjectName, bytes: &[u8]) -> Result<(), StoreError> {
        let one_config = (name.kind() == ObjectKind::Config).then(|| self.config.lock());
        let payload = Payload::new(bytes);
        let has_versions = self.has_versions()?;
        if let Some(kept) = self.kept(name, &payload, has_versions)? {
            return self.retain_kept(name, &kept);
        }
        let found = self.upload(name, &payload)?;
        let settled = match (name.kind(), has_versions) {
            (ObjectKind::Config, true) => self.settle_config(name, &found),
            (_, true) if found.version.is_some() => {
                self.versions.remember(name, &found);
                Ok(())
            }
            _ => Ok(()),
        };
        drop(one_config);
        settled
    }

    /// The version that has these bytes already, if there is one. Other bytes under the name of the
    /// object are an error, unless they cannot be the object and a version can be put beside them.
    fn kept(
        &self,
        name: &ObjectName,
        payload: &Payload<'_>,
        has_versions: bool,
    ) -> Result<Option<Found>, StoreError> {
        let other = || StoreError::AlreadyExists {
            name: *name,
            location: self.location(),
        };
        if !has_versions {
            return match self.find(name) {
                Ok(found) if self.is_same(name, &found, payload)? => Ok(Some(found)),
                Ok(_) => Err(other()),
                Err(error) if error.is_not_found() => Ok(None),
                Err(error) => Err(error),
            };
        }
        let versions = self.versions_of(name)?;
        let candidates = match choose(name.kind(), &versions) {
            Choice::None => return Ok(None),
            Choice::Of(version) => vec![version],
            Choice::Among(candidates) => candidates,
        };
        for version in candidates {
            let found = Found::of(version);
            if self.is_same(name, &found, payload)? {
                self.versions.remember(name, &found);
                return Ok(Some(found));
            }
        }
        let is_object = name.kind() != ObjectKind::Config && payload.hash == name.id();
        // Whoever was there first with other bytes is no reason not to keep the object: readers tell
        // them apart.
        if is_object { Ok(None) } else { Err(other()) }
    }

    fn is_same(
        &self,
        name: &ObjectName,
        found: &Found,
        payload: &Payload<'_>,
    ) -> Result<bool, StoreError> {
        if found.size != payload.bytes.len() as u64 {
            return Ok(false);
        }
        if found.etag == payload.etag() {
            return Ok(true);
        }
        // Tags are other things where the server encrypts, or where it was uploaded in parts.
        match self.read_found(name, found) {
            Ok(bytes) if hash(&bytes) == payload.hash => Ok(true),
            Ok(bytes) => check_size(bytes.len() as u64, found.size)
                .map(|()| false)
                .map_err(|failure| self.failed("read", name, failure)),
            Err(error) if error.is_not_found() => Ok(false),
            // Those who may not read what is there can put a version of their own beside it.
            Err(StoreError::Denied { .. })
                if name.kind() != ObjectKind::Config && found.version.is_some() =>
            {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    fn upload(&self, name: &ObjectName, payload: &Payload<'_>) -> Result<Found, StoreError> {
        let key = self.key(name);
        let mut call = Call::object(Method::PUT, &key)
            .header("content-type", "application/octet-stream")
            .body(*payload);
        if name.kind() != ObjectKind::Lock
            && let Some(until) = self.retain_until()
        {
            call = call
                .header("x-amz-object-lock-mode", "COMPLIANCE")
                .header("x-amz-object-lock-retain-until-date", until);
        }
        let answer = self.client.send(&call);
        let answer = answer.map_err(|failure| self.failed("write", name, failure))?;
        let version = answer.headers().get("x-amz-version-id");
        let version = version
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned);
        Ok(Found {
            version,
            size: payload.bytes.len() as u64,
            etag: payload.etag(),
        })
    }

    /// Two writers may both have found no config. The older version is the config; the other's writer
    /// takes his away again where it can be.
    fn settle_config(&self, name: &ObjectName, ours: &Found) -> Result<(), StoreError> {
        let versions = self.versions_of(name)?;
        let oldest = versions.iter().rev().find(|version| !version.is_marker);
        match oldest {
            Some(oldest) if Some(&oldest.id) == ours.version.as_ref() => {
                self.versions.remember(name, ours);
                Ok(())
            }
            None => {
                let lost = Failure::Transport("what was written is not there".to_owned());
                Err(self.failed("write", name, lost))
            }
            Some(oldest) if oldest.size == ours.size && oldest.etag == ours.etag => Ok(()),
            Some(_) => Err(StoreError::AlreadyExists {
                name: *name,
                location: self.location(),
            }),
        }
    }
}
