//! Evidence of buckets: the retention of everything that a snapshot needs, read back by version, and
//! extended where too little of it is left.
//!
//! What the bucket said is remembered with its time: retention in compliance mode only ever grows, so
//! that a backup asks for what is new, for what was asked for long ago, and for what is due.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use outlast_custody::{Evidence, EvidenceKind, IdText, ObjectList, Renewal};
use outlast_object::{Id, ObjectKind, ObjectName, hash};
use outlast_store::{RequestCounts, RetentionMode, S3Store, Store, StoreError};

use crate::config::write_durably;
use crate::evidence::EvidenceFailure;

/// What was asked for longer ago is asked for again, seconds.
pub(crate) const ASK_AGAIN_SECONDS: u64 = 86_400;
/// Objects that are asked for or extended between two signs of progress.
const BATCH: usize = 500;
/// From so many objects on, listings find their versions with fewer requests.
const LIST_FROM: usize = 50;
/// Largest record that is read, in bytes: some ten million objects.
const RECORD_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// Bytes of a row of the record without the version: kind, id, asked, until, size, length.
const ROW_BYTES: usize = 1 + Id::LEN + 8 + 8 + 8 + 2;

/// What the bucket said of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    /// When, seconds since 1970.
    asked: u64,
    /// Until when nobody can remove it, seconds since 1970; none where somebody can.
    until: Option<u64>,
    size: u64,
    /// The version that is the object; none in a bucket without versions.
    version: Option<String>,
}

/// What is remembered of a bucket.
#[derive(Debug, Default)]
pub struct Record {
    seen: HashMap<ObjectName, Seen>,
}

/// What came of looking and extending.
#[derive(Debug, Clone, Default)]
pub struct Renewals {
    /// Objects that were extended.
    pub extended: u64,
    /// Objects that were retained for long enough.
    pub enough: u64,
    /// Objects that are not retained for as long as they should, each with the reason.
    pub failed: Vec<(ObjectName, String)>,
    /// Objects that are not there.
    pub missing: Vec<ObjectName>,
    /// Requests.
    pub counts: RequestCounts,
}

/// A bucket to be asked, and to be told to retain for longer.
pub struct Keeping<'a> {
    /// With keys that see.
    pub store: &'a S3Store,
    /// With keys that extend, if those are others.
    pub renewer: Option<&'a S3Store>,
    /// For how long everything is to be retained; none where nothing is.
    pub period: Option<Duration>,
    /// Now, seconds since 1970.
    pub now: u64,
}

/// Told of objects done, and of how many.
pub type RenewProgress<'a> = &'a (dyn Fn(u64, u64) + Sync);

impl Keeping<'_> {
    fn needed_until(&self) -> u64 {
        self.period.map_or(0, |period| {
            Renewal::of_period(period.as_secs()).needed_until(self.now)
        })
    }

    /// Those of the objects that are to be asked for.
    pub fn due(&self, record: &Record, names: &[ObjectName]) -> Vec<ObjectName> {
        let needed = self.needed_until();
        let is_fresh = |seen: &Seen| {
            let age = self.now.checked_sub(seen.asked);
            age.is_some_and(|age| age <= ASK_AGAIN_SECONDS) && seen.until.unwrap_or(0) >= needed
        };
        let due = names
            .iter()
            .filter(|name| !record.seen.get(*name).is_some_and(is_fresh));
        due.copied().collect()
    }

    /// Asks for what is due, extends what has less than two thirds of the period left, and asks again
    /// for that.
    ///
    /// # Errors
    /// [`StoreError`] if the bucket cannot be asked.
    pub fn renew(
        &self,
        record: &mut Record,
        names: &[ObjectName],
        progress: RenewProgress<'_>,
    ) -> Result<Renewals, StoreError> {
        let due = self.due(record, names);
        let mut renewals = Renewals {
            enough: (names.len() - due.len()) as u64,
            ..Renewals::default()
        };
        if due.len() >= LIST_FROM {
            for kind in ObjectKind::ALL {
                if due.iter().any(|name| name.kind() == kind) {
                    self.store.list(kind, &mut |_| {})?;
                }
            }
        }
        let mut done = 0;
        for batch in due.chunks(BATCH) {
            self.renew_batch(record, batch, &mut renewals)?;
            done += batch.len() as u64;
            progress(done, due.len() as u64);
        }
        renewals.counts = self.store.request_counts();
        if let Some(renewer) = self.renewer {
            renewals.counts = sum(renewals.counts, renewer.request_counts());
        }
        Ok(renewals)
    }

    fn renew_batch(
        &self,
        record: &mut Record,
        batch: &[ObjectName],
        renewals: &mut Renewals,
    ) -> Result<(), StoreError> {
        let unseen = self.ask(record, batch, renewals)?;
        let Some(period) = self.period else {
            return Ok(());
        };
        let needed = self.needed_until();
        let mut short = batch.to_vec();
        short.retain(|name| {
            let is_there = record.seen.contains_key(name) || unseen.contains_key(name);
            is_there && record.until(name) < needed
        });
        let there = batch.iter().filter(|name| record.seen.contains_key(*name));
        let unseen_count = unseen.len();
        renewals.enough += (there.count() + unseen_count).saturating_sub(short.len()) as u64;
        if short.is_empty() {
            return Ok(());
        }
        let renewed = self.renewer.unwrap_or(self.store).renew(&short, period);
        let failed: HashMap<ObjectName, String> = renewed
            .failed
            .into_iter()
            .map(|(name, error)| (name, error.to_string()))
            .collect();
        let unseen = self.ask(record, &short, renewals)?;
        for name in short {
            // What the bucket then says counts, as far as these keys may ask.
            let is_extended = match unseen.contains_key(&name) {
                true => !failed.contains_key(&name),
                false => record.until(&name) >= needed,
            };
            if is_extended {
                renewals.extended += 1;
                continue;
            }
            let reason = failed.get(&name).cloned();
            let said = || "the bucket agreed and did not extend it".to_owned();
            renewals.failed.push((name, reason.unwrap_or_else(said)));
        }
        Ok(())
    }

    /// Asks for objects; gives those that these keys may not look at.
    fn ask(
        &self,
        record: &mut Record,
        names: &[ObjectName],
        renewals: &mut Renewals,
    ) -> Result<HashMap<ObjectName, String>, StoreError> {
        let mut unseen = HashMap::new();
        for (name, result) in self.store.retention_of(names) {
            let retained = match result {
                Ok(retained) => retained,
                Err(error @ StoreError::Denied { .. }) => {
                    record.seen.remove(&name);
                    unseen.insert(name, error.to_string());
                    continue;
                }
                Err(error) if error.is_not_found() => {
                    record.seen.remove(&name);
                    renewals.missing.push(name);
                    continue;
                }
                Err(error) => return Err(error),
            };
            let is_compliance = retained.mode == Some(RetentionMode::Compliance);
            record.seen.insert(
                name,
                Seen {
                    asked: self.now,
                    until: retained.retain_until.filter(|_| is_compliance),
                    size: retained.size,
                    version: retained.version,
                },
            );
        }
        Ok(unseen)
    }
}

fn sum(one: RequestCounts, other: RequestCounts) -> RequestCounts {
    RequestCounts {
        writes: one.writes + other.writes,
        lists: one.lists + other.lists,
        reads: one.reads + other.reads,
        deletes: one.deletes + other.deletes,
        bytes_up: one.bytes_up + other.bytes_up,
        bytes_down: one.bytes_down + other.bytes_down,
    }
}

impl Record {
    /// What the file holds; nothing if there is none.
    ///
    /// # Errors
    /// [`EvidenceFailure::Record`].
    pub fn read(path: &Path) -> Result<Self, EvidenceFailure> {
        let bytes = match fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Ok(metadata) if metadata.len() > RECORD_BYTES_MAX => Ok(Vec::new()),
            Ok(_) => fs::read(path),
            Err(error) => Err(error),
        };
        let bytes = bytes.map_err(|source| failed(path, source))?;
        let mut seen = HashMap::new();
        let mut rest = bytes.as_slice();
        // What makes no sense is forgotten, and asked for once more.
        while let Some((name, of, after)) = row(rest) {
            seen.insert(name, of);
            rest = after;
        }
        Ok(Self { seen })
    }

    /// Until when nobody can remove an object, seconds since 1970; zero where somebody can.
    fn until(&self, name: &ObjectName) -> u64 {
        let seen = self.seen.get(name);
        seen.and_then(|seen| seen.until).unwrap_or(0)
    }

    /// Writes it.
    ///
    /// # Errors
    /// [`EvidenceFailure::Record`].
    pub fn write(&self, path: &Path) -> Result<(), EvidenceFailure> {
        let mut bytes = Vec::with_capacity(self.seen.len() * (ROW_BYTES + 32));
        for (name, seen) in &self.seen {
            let kind = ObjectKind::ALL.iter().position(|kind| *kind == name.kind());
            let version = seen.version.as_deref().unwrap_or("").as_bytes();
            // S3 allows a kilobyte.
            let Ok(length) = u16::try_from(version.len()) else {
                continue;
            };
            bytes.push(kind.unwrap_or(0) as u8);
            bytes.extend_from_slice(name.id().as_bytes());
            bytes.extend_from_slice(&seen.asked.to_le_bytes());
            bytes.extend_from_slice(&seen.until.unwrap_or(0).to_le_bytes());
            bytes.extend_from_slice(&seen.size.to_le_bytes());
            bytes.extend_from_slice(&length.to_le_bytes());
            bytes.extend_from_slice(version);
        }
        write_durably(path, &bytes, 0o600).map_err(|source| failed(path, source))
    }

    /// The evidence for a snapshot.
    ///
    /// # Errors
    /// [`EvidenceFailure::Incomplete`] if something that it needs is not there.
    pub fn evidence(
        &self,
        custodian: &str,
        (snapshot, list): (Id, &ObjectList),
        tamper_tested: Option<u64>,
    ) -> Result<Evidence, EvidenceFailure> {
        let (mut observed, mut bytes, mut until) = (u64::MAX, 0_u64, Some(u64::MAX));
        let mut versions = Some(Vec::new());
        let mut missing = Vec::new();
        for name in list.objects() {
            let Some(seen) = self.seen.get(name) else {
                missing.push(*name);
                continue;
            };
            observed = observed.min(seen.asked);
            bytes = bytes.saturating_add(seen.size);
            until = until.zip(seen.until).map(|(one, other)| one.min(other));
            versions = versions.zip(seen.version.as_ref()).map(|(mut all, one)| {
                all.extend_from_slice(one.as_bytes());
                all.push(b'\n');
                all
            });
        }
        if let Some(first) = missing.first() {
            return Err(EvidenceFailure::Incomplete {
                count: missing.len() as u64,
                first: *first,
            });
        }
        Ok(Evidence {
            kind: EvidenceKind::Retention,
            custodian: custodian.to_owned(),
            snapshot: IdText(snapshot),
            list: IdText(Id::from_bytes(*list.root().as_bytes())),
            objects: list.objects().len() as u64,
            bytes,
            observed,
            retained_until: until,
            versions: versions.map(|all| IdText(hash(&all))),
            tamper_tested,
        })
    }
}

fn failed(path: &Path, source: io::Error) -> EvidenceFailure {
    EvidenceFailure::Record {
        path: PathBuf::from(path),
        source,
    }
}

/// The first row, and what follows it.
fn row(bytes: &[u8]) -> Option<(ObjectName, Seen, &[u8])> {
    let (kind, rest) = bytes.split_first()?;
    let kind = ObjectKind::ALL.get(usize::from(*kind))?;
    let (id, rest) = rest.split_first_chunk::<{ Id::LEN }>()?;
    let (asked, rest) = rest.split_first_chunk::<8>()?;
    let (until, rest) = rest.split_first_chunk::<8>()?;
    let (size, rest) = rest.split_first_chunk::<8>()?;
    let (length, rest) = rest.split_first_chunk::<2>()?;
    let (version, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
    let version = std::str::from_utf8(version).ok()?;
    let until = u64::from_le_bytes(*until);
    let seen = Seen {
        asked: u64::from_le_bytes(*asked),
        until: (until > 0).then_some(until),
        size: u64::from_le_bytes(*size),
        version: (!version.is_empty()).then(|| version.to_owned()),
    };
    Some((ObjectName::new(*kind, Id::from_bytes(*id)), seen, rest))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn seen(asked: u64, until: Option<u64>, version: Option<&str>) -> Seen {
        Seen {
            asked,
            until,
            size: 10,
            version: version.map(str::to_owned),
        }
    }

    #[test]
    fn evidence_is_as_weak_as_the_weakest_object() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("retained");
        let (one, two) = (ObjectName::CONFIG, ObjectName::pack(hash(b"pack")));
        let list = ObjectList::new([one, two]);
        let mut record = Record::default();
        let evidence = |record: &Record| {
            record.write(&path).unwrap();
            let again = Record::read(&path).unwrap();
            again.evidence("bucket", (hash(b"snapshot"), &list), Some(7))
        };
        record.seen.insert(one, seen(100, Some(900), Some("v1")));
        let incomplete = evidence(&record).unwrap_err();
        assert!(
            matches!(incomplete, EvidenceFailure::Incomplete { count: 1, first } if first == two)
        );
        record.seen.insert(two, seen(50, Some(800), Some("v2")));
        let whole = evidence(&record).unwrap();
        assert_eq!((whole.observed, whole.bytes, whole.objects), (50, 20, 2));
        assert_eq!(whole.retained_until, Some(800));
        assert_eq!(whole.tamper_tested, Some(7));
        // Another version is other evidence; without versions there is none of them.
        record.seen.insert(two, seen(50, Some(800), Some("v3")));
        assert_ne!(evidence(&record).unwrap().versions, whole.versions);
        record.seen.insert(two, seen(50, None, None));
        let weak = evidence(&record).unwrap();
        assert_eq!((weak.retained_until, weak.versions), (None, None));

        // What was cut off is forgotten, and so is what makes no sense.
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
        assert_eq!(Record::read(&path).unwrap().seen.len(), 1);
        fs::write(&path, [255; 200]).unwrap();
        assert!(Record::read(&path).unwrap().seen.is_empty());
    }
}
