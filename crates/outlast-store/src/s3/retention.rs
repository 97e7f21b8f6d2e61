//! Retention of versions: set, read back, extended, and never shortened.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use jiff::Timestamp;
use outlast_object::ObjectName;
use parking_lot::Mutex;
use ureq::http::Method;

use super::S3Store;
use super::client::{Call, Failure, Payload};
use super::versions::Found;
use super::xml::Element;
use crate::StoreError;

/// Longest period of retention, days. Servers take any: whoever retains until the year 9999 pays
/// until then, and nobody can end it.
pub const RETENTION_DAYS_MAX: u64 = 3660;
const DAY_SECONDS: u64 = 24 * 60 * 60;
/// Retention is extended when less than this part of the period is left.
const AHEAD_NUMERATOR: u64 = 2;
const AHEAD_DENOMINATOR: u64 = 3;
/// Versions of one object that are extended where none of them may be read: whoever plants many is not
/// to make us pay for all.
const UNREADABLE_EXTENDED_MAX: usize = 8;

/// Who could end a retention early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetentionMode {
    /// Nobody.
    Compliance,
    /// Whoever has the right to.
    Governance,
}

/// What a bucket says of one version of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetainedObject {
    /// The object.
    pub name: ObjectName,
    /// The version that is the object; none in a bucket without versions.
    pub version: Option<String>,
    /// Its size, bytes.
    pub size: u64,
    /// Who could end the retention; none where nothing is retained.
    pub mode: Option<RetentionMode>,
    /// When the retention ends, seconds since 1970; none where nothing is retained.
    pub retain_until: Option<u64>,
}

/// What came of a renewal.
#[derive(Debug, Default)]
pub struct Renewed {
    /// Objects that were extended.
    pub extended: u64,
    /// Objects that were retained for long enough.
    pub enough: u64,
    /// Objects that are not retained for as long as they should, each with its reason.
    pub failed: Vec<(ObjectName, StoreError)>,
}

/// Refuses a period that nobody would want to have asked for.
pub(super) fn check_period(period: Option<Duration>) -> Result<(), StoreError> {
    match period {
        Some(period) if period.as_secs() > RETENTION_DAYS_MAX * DAY_SECONDS => {
            Err(StoreError::Location(format!(
                "a retention of {} days is longer than the {RETENTION_DAYS_MAX} that are accepted",
                period.as_secs() / DAY_SECONDS
            )))
        }
        _ => Ok(()),
    }
}

impl S3Store {
    /// Until when what is written now is retained, as the header says it.
    pub(super) fn retain_until(&self) -> Option<String> {
        let until = self.client.now().saturating_add(self.retention?.as_secs());
        Some(moment_text(until))
    }

    /// Extends what was there before we wanted to write it, if it is not retained for long.
    pub(super) fn retain_kept(&self, name: &ObjectName, kept: &Found) -> Result<(), StoreError> {
        let (Some(period), Some(_)) = (self.retention, &kept.version) else {
            return Ok(());
        };
        if name.kind() == outlast_object::ObjectKind::Lock {
            return Ok(());
        }
        self.extend_found(name, kept, period).map(|_| ())
    }

    /// What the bucket says of the retention of each object, asked for in parallel. Objects that
    /// cannot be told of come with the reason.
    pub fn retention_of(
        &self,
        names: &[ObjectName],
    ) -> Vec<(ObjectName, Result<RetainedObject, StoreError>)> {
        self.in_parallel(names, |name| {
            let found = self.find(name)?;
            let (mode, retain_until) = self.retention_found(name, &found)?.unzip();
            Ok(RetainedObject {
                name: *name,
                version: found.version,
                size: found.size,
                mode,
                retain_until,
            })
        })
    }

    /// Extends the retention of those of the objects that have less than two thirds of the period
    /// left to the whole period, in parallel. It can be broken off and done again at any time.
    pub fn renew(&self, names: &[ObjectName], period: Duration) -> Renewed {
        let mut renewed = Renewed::default();
        if check_period(Some(period)).is_err() {
            let refused = || StoreError::Denied {
                operation: "extend".to_owned(),
                location: self.client.location.clone(),
                reason: format!("more than {RETENTION_DAYS_MAX} days"),
            };
            renewed.failed = names.iter().map(|name| (*name, refused())).collect();
            return renewed;
        }
        let results = self.in_parallel(names, |name| {
            match self.find(name) {
                Ok(found) => self.extend_found(name, &found, period),
                // Several versions, and credentials that may not read: whichever it is, it is extended.
                Err(StoreError::Denied { .. }) => self.extend_oldest(name, period),
                Err(error) => Err(error),
            }
        });
        for (name, result) in results {
            match result {
                Ok(true) => renewed.extended += 1,
                Ok(false) => renewed.enough += 1,
                Err(error) => renewed.failed.push((name, error)),
            }
        }
        renewed
    }

    /// Mode and end of a version's retention, if it has any.
    fn retention_found(
        &self,
        name: &ObjectName,
        found: &Found,
    ) -> Result<Option<(RetentionMode, u64)>, StoreError> {
        self.retention_of_version(&self.key(name), found.version.as_deref())
            .map_err(|failure| self.failed("read the retention of", name, failure))
    }

    /// As [`Self::retention_found`], of any key.
    pub(super) fn retention_of_version(
        &self,
        key: &str,
        version: Option<&str>,
    ) -> Result<Option<(RetentionMode, u64)>, Failure> {
        let call = Call::object(Method::GET, key)
            .query("retention", "")
            .version(version);
        match self.client.document(&call, &["Retention"]) {
            Ok(answer) => return Ok(read_retention(&answer)),
            // So servers say that there is none: not of the version, or not in the bucket at all.
            Err(Failure::Status { status, code, .. })
                if code.starts_with("NoSuchObjectLock")
                    || code.starts_with("ObjectLockConfigurationNotFound")
                    || (status == 400 && code == "InvalidRequest") =>
            {
                return Ok(None);
            }
            // Some do not know the question, and answer with the object.
            Err(Failure::NoDocument) => {}
            Err(failure) => return Err(failure),
        }
        let call = Call::object(Method::HEAD, key).version(version);
        let answer = self.client.send(&call)?;
        let text = |name: &str| answer.headers().get(name)?.to_str().ok();
        Ok(text("x-amz-object-lock-mode")
            .zip(text("x-amz-object-lock-retain-until-date"))
            .and_then(|(mode, until)| retention_of_texts(mode, until)))
    }

    /// Extends a version to `period` from now if less than two thirds of it are left. Returns whether
    /// it had to.
    fn extend_found(
        &self,
        name: &ObjectName,
        found: &Found,
        period: Duration,
    ) -> Result<bool, StoreError> {
        let now = self.client.now();
        let period = period.as_secs();
        let needed = now.saturating_add(period / AHEAD_DENOMINATOR * AHEAD_NUMERATOR);
        let retained = self.retention_found(name, found)?;
        if let Some((RetentionMode::Compliance, until)) = retained
            && until >= needed
        {
            return Ok(false);
        }
        // A governance retention may reach further: it becomes one that nobody ends, and not shorter.
        let until = retained
            .map_or(0, |(_, until)| until)
            .max(now.saturating_add(period));
        let until = until.min(now.saturating_add(RETENTION_DAYS_MAX * DAY_SECONDS));
        let body = format!(
            "<Retention xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Mode>COMPLIANCE</Mode>\
             <RetainUntilDate>{}</RetainUntilDate></Retention>",
            moment_text(until)
        );
        let key = self.key(name);
        let call = Call::object(Method::PUT, &key)
            .query("retention", "")
            .version(found.version.as_deref())
            .body(Payload::new(body.as_bytes()));
        match self.client.send(&call) {
            Ok(_) => Ok(true),
            Err(failure) => Err(self.failed("extend", name, failure)),
        }
    }

    /// Extends the oldest versions of an object. Returns whether one had to be.
    fn extend_oldest(&self, name: &ObjectName, period: Duration) -> Result<bool, StoreError> {
        let mut extended = false;
        let versions = self.versions_of(name)?;
        let oldest = versions.iter().rev().filter(|version| !version.is_marker);
        for version in oldest.take(UNREADABLE_EXTENDED_MAX) {
            extended |= self.extend_found(name, &Found::of(version), period)?;
        }
        Ok(extended)
    }

    /// Does something with every object on as many threads as suit the server.
    fn in_parallel<T: Send>(
        &self,
        names: &[ObjectName],
        work: impl Fn(&ObjectName) -> Result<T, StoreError> + Sync,
    ) -> Vec<(ObjectName, Result<T, StoreError>)> {
        let next = AtomicUsize::new(0);
        let done = Mutex::new(Vec::with_capacity(names.len()));
        let take = || {
            while let Some(name) = names.get(next.fetch_add(1, Ordering::Relaxed)) {
                let result = work(name);
                done.lock().push((*name, result));
            }
        };
        thread::scope(|scope| {
            for _ in 0..self.connections.min(names.len()) {
                scope.spawn(take);
            }
        });
        done.into_inner()
    }
}

/// A moment as S3 writes it, `2026-11-23T18:11:48Z`.
pub(super) fn moment_text(seconds: u64) -> String {
    let moment = i64::try_from(seconds).ok();
    let moment = moment.and_then(|seconds| Timestamp::from_second(seconds).ok());
    moment
        .unwrap_or(Timestamp::MAX)
        .strftime("%Y-%m-%dT%H:%M:%SZ")
        .to_string()
}

fn read_retention(answer: &Element) -> Option<(RetentionMode, u64)> {
    retention_of_texts(answer.text_of("Mode")?, answer.text_of("RetainUntilDate")?)
}

fn retention_of_texts(mode: &str, until: &str) -> Option<(RetentionMode, u64)> {
    let mode = match mode {
        "COMPLIANCE" => RetentionMode::Compliance,
        "GOVERNANCE" => RetentionMode::Governance,
        _ => return None,
    };
    let until: Timestamp = until.parse().ok()?;
    Some((mode, u64::try_from(until.as_second()).ok()?))
}

#[cfg(test)]
mod tests {
    use super::super::xml;
    use super::*;

    #[test]
    fn answers_are_read() {
        let read = |mode: &str, until: &str| {
            let text = format!(
                "<Retention><Mode>{mode}</Mode><RetainUntilDate>{until}</RetainUntilDate></Retention>"
            );
            read_retention(&xml::parse(text.as_bytes()).unwrap())
        };
        let compliance = Some((RetentionMode::Compliance, 1_795_457_508));
        assert_eq!(read("COMPLIANCE", "2026-11-23T18:11:48.000Z"), compliance);
        assert_eq!(read("COMPLIANCE", &moment_text(1_795_457_508)), compliance);
        let governance = read("GOVERNANCE", "1970-01-01T00:00:01.5Z");
        assert_eq!(governance, Some((RetentionMode::Governance, 1)));
        for (mode, until) in [
            ("", "2026-11-23T18:11:48Z"),
            ("COMPLIANCE", "soon"),
            ("COMPLIANCE", "1969-01-01T00:00:00Z"),
        ] {
            assert_eq!(read(mode, until), None);
        }
    }

    #[test]
    fn periods_are_capped() {
        let days = |days: u64| Some(Duration::from_secs(days * DAY_SECONDS));
        assert!(check_period(None).is_ok() && check_period(days(RETENTION_DAYS_MAX)).is_ok());
        assert!(check_period(days(RETENTION_DAYS_MAX + 1)).is_err());
    }
}
