//! Evidence of those who cannot sign: everything that a snapshot needs, read back and hashed.
//!
//! What was read is remembered with its time, so that a backup reads back what is new and, bit by
//! bit, what was read longest ago. Evidence is as old as the oldest reading among its objects.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use outlast_custody::{Evidence, EvidenceKind, IdText, ObjectList};
use outlast_object::{Id, ObjectKind, ObjectName, hash};
use outlast_store::{Store, StoreError};

use crate::config::write_durably;

/// What was read longer ago is read again, seconds.
const READ_AGAIN_SECONDS: u64 = 30 * 86_400;
/// Most bytes of old objects that one backup reads again.
const READ_AGAIN_BYTES_MAX: u64 = 16 * 1024 * 1024 * 1024;
/// Largest record that is read, in bytes: some forty million objects.
const RECORD_BYTES_MAX: u64 = 41 * 40_000_000;
/// Bytes of a line of the record: kind, id, time.
const ROW_BYTES: usize = 1 + Id::LEN + 8;

/// There is no evidence.
#[derive(Debug, thiserror::Error)]
pub enum EvidenceFailure {
    /// Objects are missing or damaged there.
    #[error("{count} objects are missing or damaged there, for example {first}")]
    Incomplete {
        /// How many.
        count: u64,
        /// One of them.
        first: ObjectName,
    },
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The record of what was read.
    #[error("{}: {source}", path.display())]
    Record {
        /// Its file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

/// Who shows the evidence, and of what.
pub struct Showing<'a> {
    /// The custodian's name.
    pub custodian: &'a str,
    /// What is done to collect it.
    pub kind: EvidenceKind,
    /// The snapshot.
    pub snapshot: Id,
    /// All that it needs.
    pub list: &'a ObjectList,
    /// Now, seconds since 1970.
    pub now: u64,
}

/// Reads back what is new or was read long ago; gives the evidence for the rest, too. `record` is the
/// file in which it is remembered what was read when.
///
/// # Errors
/// [`EvidenceFailure::Incomplete`] if anything is not there as it should be.
pub fn read_back(
    store: &dyn Store,
    record: &Path,
    showing: &Showing<'_>,
) -> Result<Evidence, EvidenceFailure> {
    let failed = |source| EvidenceFailure::Record {
        path: record.to_owned(),
        source,
    };
    let mut known = read_record(record).map_err(failed)?;
    let mut sizes: HashMap<ObjectName, u64> = HashMap::new();
    for kind in ObjectKind::ALL {
        if kind != ObjectKind::Lock && kind != ObjectKind::Config {
            store.list(kind, &mut |info| {
                sizes.insert(ObjectName::new(kind, info.id), info.size);
            })?;
        }
    }
    sizes.insert(ObjectName::CONFIG, store.size(&ObjectName::CONFIG)?);
    let (mut bytes, mut again, mut oldest) = (0_u64, 0_u64, showing.now);
    let mut missing = Vec::new();
    for name in showing.list.objects() {
        let Some(size) = sizes.get(name).copied() else {
            missing.push(*name);
            continue;
        };
        bytes = bytes.saturating_add(size);
        let read = known.get(name).copied().filter(|time| *time <= showing.now);
        let is_old = |time: u64| showing.now - time > READ_AGAIN_SECONDS;
        let may_wait = read.is_some() && again >= READ_AGAIN_BYTES_MAX;
        match read {
            Some(time) if !is_old(time) || may_wait => oldest = oldest.min(time),
            _ => {
                again += read.map_or(0, |_| size);
                if is_whole(store, name)? {
                    known.insert(*name, showing.now);
                } else {
                    known.remove(name);
                    missing.push(*name);
                }
            }
        }
    }
    write_record(record, &known).map_err(failed)?;
    if let Some(first) = missing.first() {
        return Err(EvidenceFailure::Incomplete {
            count: missing.len() as u64,
            first: *first,
        });
    }
    Ok(Evidence {
        kind: showing.kind,
        custodian: showing.custodian.to_owned(),
        snapshot: IdText(showing.snapshot),
        list: IdText(Id::from_bytes(*showing.list.root().as_bytes())),
        objects: showing.list.objects().len() as u64,
        bytes,
        observed: oldest,
        retained_until: None,
        versions: None,
        tamper_tested: None,
    })
}

fn is_whole(store: &dyn Store, name: &ObjectName) -> Result<bool, StoreError> {
    match store.read(name) {
        Ok(bytes) => Ok(name.kind() == ObjectKind::Config || hash(&bytes) == name.id()),
        Err(
            StoreError::NotFound { .. }
            | StoreError::Truncated { .. }
            | StoreError::TooLarge { .. },
        ) => Ok(false),
        Err(error) => Err(error),
    }
}

fn read_record(path: &Path) -> io::Result<HashMap<ObjectName, u64>> {
    let bytes = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(HashMap::new()),
        Ok(metadata) if metadata.len() > RECORD_BYTES_MAX => Vec::new(),
        Ok(_) => fs::read(path)?,
        Err(error) => return Err(error),
    };
    // A row that makes no sense is forgotten: its object is read once more.
    let row = |row: &[u8]| {
        let (kind, rest) = row.split_first()?;
        let (id, time) = rest.split_first_chunk::<{ Id::LEN }>()?;
        let kind = ObjectKind::ALL.get(usize::from(*kind))?;
        let time = u64::from_le_bytes(time.try_into().ok()?);
        Some((ObjectName::new(*kind, Id::from_bytes(*id)), time))
    };
    Ok(bytes.chunks_exact(ROW_BYTES).filter_map(row).collect())
}

fn write_record(path: &Path, known: &HashMap<ObjectName, u64>) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(known.len() * ROW_BYTES);
    for (name, time) in known {
        let kind = ObjectKind::ALL.iter().position(|kind| *kind == name.kind());
        bytes.push(kind.unwrap_or(0) as u8);
        bytes.extend_from_slice(name.id().as_bytes());
        bytes.extend_from_slice(&time.to_le_bytes());
    }
    write_durably(path, &bytes, 0o600)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use outlast_store::MemoryStore;

    use super::*;

    const DAY: u64 = 86_400;

    #[test]
    fn evidence_is_as_old_as_the_oldest_reading_and_finds_what_is_not_whole() {
        let folder = tempfile::tempdir().unwrap();
        let record = folder.path().join("read-back");
        let store = MemoryStore::new();
        let pack = ObjectName::pack(hash(b"pack"));
        let snapshot = ObjectName::new(ObjectKind::Snapshot, hash(b"snapshot"));
        store.write(&ObjectName::CONFIG, b"config").unwrap();
        store.write(&pack, b"pack").unwrap();
        store.write(&snapshot, b"snapshot").unwrap();
        let list = ObjectList::new([ObjectName::CONFIG, pack, snapshot]);
        let show = |now: u64| {
            let showing = Showing {
                custodian: "disk",
                kind: EvidenceKind::Disk,
                snapshot: snapshot.id(),
                list: &list,
                now,
            };
            read_back(&store, &record, &showing)
        };
        let first = show(1000 * DAY).unwrap();
        assert_eq!(
            (first.observed, first.bytes, first.objects),
            (1000 * DAY, 18, 3)
        );
        assert_eq!(show(1020 * DAY).unwrap().observed, 1000 * DAY);
        assert_eq!(show(1031 * DAY).unwrap().observed, 1031 * DAY);
        // Times that lie ahead, from a clock that was wrong, count for nothing.
        assert_eq!(show(900 * DAY).unwrap().observed, 900 * DAY);

        store.replace(&pack, *b"rott");
        assert!(show(901 * DAY).is_ok(), "it was read a day ago");
        let error = show(931 * DAY).unwrap_err();
        assert!(matches!(error, EvidenceFailure::Incomplete { count: 1, first } if first == pack));
        store.replace(&pack, *b"pack");
        assert!(show(931 * DAY).is_ok());
        fs::write(&record, b"nonsense").unwrap();
        assert_eq!(show(940 * DAY).unwrap().observed, 940 * DAY);
        fs::write(&record, [9_u8; ROW_BYTES]).unwrap();
        assert_eq!(show(941 * DAY).unwrap().observed, 941 * DAY);
    }
}
