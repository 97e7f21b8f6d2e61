//! Tries to destroy what a bucket retains, on probe objects of its own.
//!
//! A server that speaks of Object Lock may still not honour it. So it is tried, with the credentials at
//! hand: each attempt has a small object of its own, retained for a day, which is looked at afterwards.
//! What acts on a whole bucket is tried on a twin made for it.

use ureq::http::Method;

use super::S3Store;
use super::client::{Call, Failure, Payload};
use super::listing;
use super::retention::{RetentionMode, moment_text};
use crate::StoreError;

/// For how long a probe object is retained, seconds.
const PROBE_SECONDS: u64 = 24 * 60 * 60;
/// For how long attempts would have it retained.
const SHORTENED_SECONDS: u64 = 60 * 60;
/// What is in a probe object.
const BYTES: &[u8] = b"outlast tries whether this can be destroyed";
/// Where probe objects are, below the repository's prefix: never among what is kept.
const FOLDER: &str = "probes/";
/// Requests that a tidying makes at most; the next one goes on.
const TIDIED_MAX: u64 = 1000;
/// After so many refusals, one after another, the rest is taken for retained: it is younger.
const REFUSED_MAX: u64 = 3;
const BYPASS: (&str, &str) = ("x-amz-bypass-governance-retention", "true");

/// What came of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The server refused, or did nothing.
    Refused(String),
    /// It worked: this bucket does not protect against it.
    Succeeded,
    /// It could not be tried, which is no comfort.
    Untried(String),
}

/// One way to destroy what is retained, as it was tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeAttempt {
    /// What was tried, as "delete the version".
    pub what: &'static str,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of removing probe objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProbesLeft {
    /// Versions and delete markers that are gone now.
    pub removed: u64,
    /// Those that stay: retained, or out of these keys' reach.
    pub left: u64,
}

/// A probe object.
struct Probe {
    key: String,
    version: String,
}

type Attempt = fn(&S3Store, &Probe) -> Result<(), Failure>;

/// All attempts on objects.
const ATTEMPTS: [(&str, Attempt); 10] = [
    ("delete the version", |store, probe| {
        store.try_delete(probe, false)
    }),
    (
        "delete the version, bypassing governance",
        |store, probe| store.try_delete(probe, true),
    ),
    ("delete the version in a batch", |store, probe| {
        store.try_batch(probe, false)
    }),
    (
        "delete the version in a batch, bypassing governance",
        |store, probe| store.try_batch(probe, true),
    ),
    ("shorten the retention", |store, probe| {
        store.try_retain(probe, "COMPLIANCE", SHORTENED_SECONDS, false)
    }),
    (
        "shorten the retention, bypassing governance",
        |store, probe| store.try_retain(probe, "COMPLIANCE", SHORTENED_SECONDS, true),
    ),
    ("weaken the retention to governance mode", |store, probe| {
        store.try_retain(probe, "GOVERNANCE", PROBE_SECONDS, false)
    }),
    (
        "weaken the retention to governance mode, bypassing it",
        |store, probe| store.try_retain(probe, "GOVERNANCE", PROBE_SECONDS, true),
    ),
    ("remove the retention", |store, probe| {
        store.try_unretain(probe)
    }),
    ("overwrite and hide the object", |store, probe| {
        store.try_cover(probe)
    }),
];

impl S3Store {
    /// Tries everything, on objects whose keys begin with `label`, which should be new each time. It
    /// leaves ten objects of some bytes each, retained for a day, and no bucket. [`Self::tidy_probes`]
    /// removes them afterwards.
    pub fn probe(&self, label: &str) -> Vec<ProbeAttempt> {
        self.probe_with(self, label)
    }

    /// As [`Self::probe`], with the keys of another: the objects are made and looked at with our own.
    pub fn probe_with(&self, other: &Self, label: &str) -> Vec<ProbeAttempt> {
        let mut attempts: Vec<ProbeAttempt> = ATTEMPTS
            .iter()
            .enumerate()
            .map(|(index, (what, attempt))| ProbeAttempt {
                what,
                outcome: self.attempt(other, &format!("{label}-{index}"), *attempt),
            })
            .collect();
        attempts.push(ProbeAttempt {
            what: "suspend versioning, on a twin of the bucket",
            outcome: other.probe_twin(label),
        });
        attempts
    }

    fn attempt(&self, other: &Self, label: &str, attempt: Attempt) -> Outcome {
        let prefix = &self.client.place().prefix;
        let separator = if prefix.is_empty() { "" } else { "/" };
        let key = format!("{prefix}{separator}{FOLDER}{label}");
        let probe = match self.make_probe(key) {
            Ok(probe) => probe,
            Err(why) => return Outcome::Untried(why),
        };
        let answered = attempt(other, &probe);
        match self.is_intact(&probe) {
            Ok(false) => Outcome::Succeeded,
            Ok(true) => Outcome::Refused(match answered {
                Ok(()) => "nothing changed".to_owned(),
                Err(failure) => self.shown(failure),
            }),
            Err(failure) => Outcome::Untried(self.shown(failure)),
        }
    }

    /// Removes what earlier probes left and nothing retains any more, without bypassing anything.
    ///
    /// # Errors
    ///
    /// If the bucket cannot be listed.
    pub fn tidy_probes(&self) -> Result<ProbesLeft, StoreError> {
        let prefix = &self.client.place().prefix;
        let separator = if prefix.is_empty() { "" } else { "/" };
        let folder = format!("{prefix}{separator}{FOLDER}");
        let mut found = Vec::new();
        listing::versions(&self.client, &folder, &mut |versions| {
            found.extend(versions);
            true
        })
        .map_err(|failure| self.client.error("list", None, failure))?;
        // Their keys begin with the moment at which they were made, so that the oldest come first.
        let (mut tried, mut refused_in_a_row, mut removed) = (0, 0, 0);
        for version in &found {
            if tried == TIDIED_MAX || !version.is_marker && refused_in_a_row == REFUSED_MAX {
                continue;
            }
            tried += 1;
            let call = Call::object(Method::DELETE, &version.key).version(Some(&version.id));
            match self.client.send(&call) {
                Ok(_) => {
                    removed += 1;
                    refused_in_a_row = 0;
                }
                Err(_) => refused_in_a_row += 1,
            }
        }
        let left = found.len() as u64 - removed;
        Ok(ProbesLeft { removed, left })
    }

    fn shown(&self, failure: Failure) -> String {
        self.client.error("try", None, failure).to_string()
    }

    fn make_probe(&self, key: String) -> Result<Probe, String> {
        let until = moment_text(self.client.now().saturating_add(PROBE_SECONDS));
        let call = Call::object(Method::PUT, &key)
            .header("x-amz-object-lock-mode", "COMPLIANCE")
            .header("x-amz-object-lock-retain-until-date", until)
            .body(Payload::new(BYTES));
        let answer = self
            .client
            .send(&call)
            .map_err(|failure| self.shown(failure))?;
        let version = answer.headers().get("x-amz-version-id");
        let version = version.and_then(|value| value.to_str().ok());
        let version = version.ok_or("the bucket has no versions")?.to_owned();
        let probe = Probe { key, version };
        match self.is_intact(&probe) {
            Ok(true) => Ok(probe),
            Ok(false) => Err("the bucket retains nothing".to_owned()),
            Err(failure) => Err(self.shown(failure)),
        }
    }

    /// Whether the version is there with its bytes, and retained as it was made.
    fn is_intact(&self, probe: &Probe) -> Result<bool, Failure> {
        let read = Call::object(Method::GET, &probe.key).version(Some(&probe.version));
        let has_bytes = match self.client.send(&read) {
            Ok(mut answer) => self.client.read_body(&mut answer, BYTES.len() as u64 + 1)? == BYTES,
            Err(failure) if failure.is_not_found() => return Ok(false),
            // Keys that only add see it in the listing.
            Err(failure) if failure.is_refused() => {
                let versions = listing::versions_of(&self.client, &probe.key)?;
                let etag = Payload::new(BYTES).etag();
                versions
                    .iter()
                    .any(|version| version.id == probe.version && version.etag == etag)
            }
            Err(failure) => return Err(failure),
        };
        let retained = match self.retention_of_version(&probe.key, Some(&probe.version)) {
            Err(failure) if failure.is_not_found() => None,
            retained => retained?,
        };
        // The clock went on since it was made; an hour is far from a day.
        let expected = self
            .client
            .now()
            .saturating_add(PROBE_SECONDS - SHORTENED_SECONDS);
        let is_retained = retained
            .is_some_and(|(mode, until)| mode == RetentionMode::Compliance && until >= expected);
        Ok(has_bytes && is_retained)
    }

    fn try_delete(&self, probe: &Probe, bypass: bool) -> Result<(), Failure> {
        let call = Call::object(Method::DELETE, &probe.key).version(Some(&probe.version));
        self.client.send(&bypassing(call, bypass)).map(|_| ())
    }

    fn try_batch(&self, probe: &Probe, bypass: bool) -> Result<(), Failure> {
        let body = format!(
            "<Delete><Object><Key>{}</Key><VersionId>{}</VersionId></Object></Delete>",
            super::xml::escape(&probe.key),
            super::xml::escape(&probe.version)
        );
        let call = Call::bucket(Method::POST)
            .query("delete", "")
            .body(Payload::new(body.as_bytes()));
        self.client.send(&bypassing(call, bypass)).map(|_| ())
    }

    fn try_retain(
        &self,
        probe: &Probe,
        mode: &str,
        seconds: u64,
        bypass: bool,
    ) -> Result<(), Failure> {
        let until = moment_text(self.client.now().saturating_add(seconds));
        let body = format!(
            "<Retention><Mode>{mode}</Mode><RetainUntilDate>{until}</RetainUntilDate></Retention>"
        );
        let call = Call::object(Method::PUT, &probe.key)
            .query("retention", "")
            .version(Some(&probe.version))
            .body(Payload::new(body.as_bytes()));
        self.client.send(&bypassing(call, bypass)).map(|_| ())
    }

    fn try_unretain(&self, probe: &Probe) -> Result<(), Failure> {
        let call = Call::object(Method::PUT, &probe.key)
            .query("retention", "")
            .version(Some(&probe.version))
            .body(Payload::new(b"<Retention></Retention>"));
        self.client.send(&bypassing(call, true)).map(|_| ())
    }

    fn try_cover(&self, probe: &Probe) -> Result<(), Failure> {
        let write = Call::object(Method::PUT, &probe.key).body(Payload::new(b"other bytes"));
        self.client.send(&write)?;
        self.client
            .send(&Call::object(Method::DELETE, &probe.key))
            .map(|_| ())
    }

    /// Makes a bucket like this one, tries to suspend its versioning, and removes it.
    fn probe_twin(&self, label: &str) -> Outcome {
        let twin = self
            .client
            .for_bucket(&twin_name(&self.client.place().bucket, label));
        let make = Call::bucket(Method::PUT).header("x-amz-bucket-object-lock-enabled", "true");
        if let Err(failure) = twin.send(&make) {
            return Outcome::Untried(self.shown(failure));
        }
        let body = b"<VersioningConfiguration><Status>Suspended</Status></VersioningConfiguration>";
        let call = Call::bucket(Method::PUT)
            .query("versioning", "")
            .body(Payload::new(body));
        let answered = twin.send(&call).map(|_| ());
        let state = twin.document(
            &Call::bucket(Method::GET).query("versioning", ""),
            &[super::VERSIONING],
        );
        // An empty bucket that cannot be removed does no harm.
        let _ = twin.send(&Call::bucket(Method::DELETE));
        match (answered, state) {
            (_, Ok(state)) if state.text_of("Status") != Some("Enabled") => Outcome::Succeeded,
            (Err(failure), Ok(_)) => Outcome::Refused(self.shown(failure)),
            (Ok(()), Ok(_)) => Outcome::Refused("nothing changed".to_owned()),
            (_, Err(failure)) => Outcome::Untried(self.shown(failure)),
        }
    }
}

fn bypassing<'a>(call: Call<'a>, bypass: bool) -> Call<'a> {
    if bypass {
        call.header(BYPASS.0, BYPASS.1)
    } else {
        call
    }
}

/// A name for the twin of a bucket that any server takes.
pub(super) fn twin_name(bucket: &str, label: &str) -> String {
    let plain = |text: &str, most: usize| -> String {
        let fits = |c: &char| c.is_ascii_lowercase() || c.is_ascii_digit();
        text.to_ascii_lowercase()
            .chars()
            .filter(fits)
            .take(most)
            .collect()
    };
    format!("{}-twin-{}", plain(bucket, 30), plain(label, 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_twins_fit() {
        assert_eq!(twin_name("my.Bucket_1", "ab-1"), "mybucket1-twin-ab1");
        assert!(twin_name(&"b".repeat(99), &"c".repeat(99)).len() <= 63);
    }
}
