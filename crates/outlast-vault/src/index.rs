//! The vault's index: an embedded database that answers what the log says, quickly.
//!
//! It holds nothing that the log does not: it may be lost or rolled back at any time and is rebuilt
//! from the journal. A commit for every batch would cost a sync each, so changes become durable now
//! and then; after a crash the journal is replayed from where the index stands.

mod records;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use outlast_custody::{Entry, Event, RepositoryName};
use outlast_object::{Id, ObjectKind, ObjectName};
use redb::{
    Database, Durability, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition,
};

use crate::VaultError;
use crate::seal::LIST_RECORD_BYTES;
pub use records::{Admission, Chain};
use records::{kind_prefix, object_key, seal_key, sealed_key};

/// Memory for the database's pages, in bytes.
const CACHE_BYTES: usize = 16 * 1024 * 1024;
/// An index that is not larger than this is read through when it is opened, since a damaged one could
/// hide objects. Reading larger ones would keep the vault from starting; an fsck does.
const VERIFIED_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Version of the tables; an index of another is made again.
const VERSION: u64 = 3;
/// Entries after which changes are made durable.
const DURABLE_EVERY: u64 = 8192;

/// Repository, zero, kind, id to position, size, time, minimum hold, previous.
const OBJECTS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("objects");
/// Index of every entry that is neither an admission nor a seal, with the entry.
const SETTINGS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("settings");
/// Repository, zero, index to the seal's entry.
const SEALS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("seals");
/// Repository, zero, index of a seal to the end of its longest extension.
const HOLDS: TableDefinition<'_, &[u8], u64> = TableDefinition::new("holds");
/// Repository, zero, id of a snapshot to the index of its newest seal.
const SEALED: TableDefinition<'_, &[u8], u64> = TableDefinition::new("sealed");
/// Repository to the state of its chain.
const CHAINS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("chains");
/// First index of a batch to vault time and clock.
const TIMES: TableDefinition<'_, u64, (u64, u64)> = TableDefinition::new("times");
/// Number of a bundle of 256 entries to the offset of its first in the journal's segment.
const BUNDLES: TableDefinition<'_, u64, u64> = TableDefinition::new("bundles");
/// What was applied: `entries`, `segment`, `offset`; and `version` of these tables.
const APPLIED: TableDefinition<'_, &str, u64> = TableDefinition::new("applied");
/// The newest checkpoint applied, as a signed note.
const CHECKPOINT: TableDefinition<'_, (), &[u8]> = TableDefinition::new("checkpoint");

/// Where in the journal the index stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Applied {
    /// Entries applied.
    pub entries: u64,
    /// First entry of the segment that is being written.
    pub segment: u64,
    /// Bytes of that segment applied.
    pub offset: u64,
}

/// A batch as it is applied: the entries, where each starts in the journal, and what comes after.
pub struct AppliedBatch<'a> {
    /// Index of the first entry.
    pub first: u64,
    /// The entries.
    pub entries: &'a [Entry],
    /// Offset of each entry's frame in its segment.
    pub offsets: &'a [u64],
    /// Where the index stands afterwards.
    pub after: Applied,
    /// The checkpoint over everything up to here, as a signed note.
    pub checkpoint: &'a [u8],
}

/// The database.
pub struct Index {
    database: Database,
    pending: AtomicU64,
}

fn broken(error: impl Into<redb::Error>) -> VaultError {
    VaultError::Index(error.into().to_string())
}

impl Index {
    /// Opens or makes the database at `path`.
    ///
    /// # Errors
    /// [`VaultError::Index`] if what is there is no index; it may be removed then.
    pub fn open(path: &Path) -> Result<Self, VaultError> {
        let open = || {
            let mut database = Database::builder()
                .set_cache_size(CACHE_BYTES)
                .create(path)
                .map_err(broken)?;
            let bytes = std::fs::metadata(path).map_or(u64::MAX, |found| found.len());
            if bytes <= VERIFIED_BYTES_MAX && !database.check_integrity().map_err(broken)? {
                return Err(VaultError::Index("it is damaged".to_owned()));
            }
            Self::with(database)
        };
        // On some damage the database panics. Nothing of it is used after that.
        catch_unwind(AssertUnwindSafe(open))
            .unwrap_or_else(|_| Err(VaultError::Index("it is damaged".to_owned())))
    }

    /// A database in memory, for simulations.
    pub fn in_memory() -> Result<Self, VaultError> {
        let backend = redb::backends::InMemoryBackend::new();
        let database = Database::builder()
            .set_cache_size(CACHE_BYTES)
            .create_with_backend(backend)
            .map_err(broken)?;
        Self::with(database)
    }

    fn with(database: Database) -> Result<Self, VaultError> {
        let transaction = database.begin_write().map_err(broken)?;
        transaction.open_table(OBJECTS).map_err(broken)?;
        transaction.open_table(SETTINGS).map_err(broken)?;
        transaction.open_table(SEALS).map_err(broken)?;
        transaction.open_table(HOLDS).map_err(broken)?;
        transaction.open_table(SEALED).map_err(broken)?;
        transaction.open_table(CHAINS).map_err(broken)?;
        transaction.open_table(TIMES).map_err(broken)?;
        transaction.open_table(BUNDLES).map_err(broken)?;
        {
            let mut applied = transaction.open_table(APPLIED).map_err(broken)?;
            let known = applied.get("version").map_err(broken)?;
            let known = known.map(|version| version.value());
            match known {
                Some(VERSION) => {}
                None if applied.is_empty().map_err(broken)? => {
                    applied.insert("version", VERSION).map_err(broken)?;
                }
                _ => return Err(VaultError::Index("it is of another version".to_owned())),
            }
        }
        transaction.open_table(CHECKPOINT).map_err(broken)?;
        transaction.commit().map_err(broken)?;
        Ok(Self {
            database,
            pending: AtomicU64::new(0),
        })
    }

    /// Where in the journal it stands.
    pub fn applied(&self) -> Result<Applied, VaultError> {
        let transaction = self.database.begin_read().map_err(broken)?;
        let table = transaction.open_table(APPLIED).map_err(broken)?;
        let get = |name: &str| -> Result<u64, VaultError> {
            Ok(table
                .get(name)
                .map_err(broken)?
                .map_or(0, |value| value.value()))
        };
        Ok(Applied {
            entries: get("entries")?,
            segment: get("segment")?,
            offset: get("offset")?,
        })
    }

    /// The newest checkpoint applied, as a signed note.
    pub fn checkpoint(&self) -> Result<Option<Vec<u8>>, VaultError> {
        let transaction = self.database.begin_read().map_err(broken)?;
        let table = transaction.open_table(CHECKPOINT).map_err(broken)?;
        let found = table.get(()).map_err(broken)?;
        Ok(found.map(|bytes| bytes.value().to_vec()))
    }

    /// Applies a batch that is durable in the journal. `applying` is told of each entry, and answers
    /// when the minimum hold of what it admits ends.
    pub fn apply(
        &self,
        batch: &AppliedBatch<'_>,
        applying: &dyn Fn(&Entry, u64) -> u64,
    ) -> Result<(), VaultError> {
        let mut transaction = self.database.begin_write().map_err(broken)?;
        let count = batch.entries.len() as u64;
        if self.pending.fetch_add(count, Ordering::Relaxed) + count < DURABLE_EVERY {
            transaction
                .set_durability(Durability::None)
                .map_err(|error| VaultError::Index(error.to_string()))?;
        } else {
            self.pending.store(0, Ordering::Relaxed);
        }
        {
            let mut objects = transaction.open_table(OBJECTS).map_err(broken)?;
            let mut settings = transaction.open_table(SETTINGS).map_err(broken)?;
            let mut seals = transaction.open_table(SEALS).map_err(broken)?;
            let mut holds = transaction.open_table(HOLDS).map_err(broken)?;
            let mut sealed = transaction.open_table(SEALED).map_err(broken)?;
            let mut chains = transaction.open_table(CHAINS).map_err(broken)?;
            let mut times = transaction.open_table(TIMES).map_err(broken)?;
            let mut bundles = transaction.open_table(BUNDLES).map_err(broken)?;
            if let Some(entry) = batch.entries.first() {
                times
                    .insert(batch.first, (entry.time, entry.clock))
                    .map_err(broken)?;
            }
            for (position, (entry, offset)) in
                (batch.first..).zip(batch.entries.iter().zip(batch.offsets))
            {
                let until_min = applying(entry, entry.time);
                if position % 256 == 0 {
                    bundles.insert(position / 256, offset).map_err(broken)?;
                }
                if let Some((repository, _)) = entry.chain() {
                    let known = chains.get(repository.as_str()).map_err(broken)?;
                    let mut chain = known
                        .and_then(|bytes| Chain::decode(bytes.value()))
                        .unwrap_or_default();
                    chain.head = Id::from_bytes(*entry.leaf().as_bytes());
                    if let Event::Admit(admit) = &entry.event {
                        chain.objects += 1;
                        chain.bytes += admit.size;
                    }
                    if let Event::Seal(seal) = &entry.event {
                        chain.seals += 1;
                        if seal.list.is_some() {
                            chain.exact_seals += 1;
                            let bytes = seal.objects.saturating_mul(LIST_RECORD_BYTES);
                            chain.list_bytes = chain.list_bytes.saturating_add(bytes);
                        }
                    }
                    chains
                        .insert(repository.as_str(), chain.encode().as_slice())
                        .map_err(broken)?;
                }
                match &entry.event {
                    Event::Admit(admit) => {
                        let Some(kind) = admit.object_kind() else {
                            continue;
                        };
                        let name = ObjectName::new(kind, admit.id.0);
                        let admission = Admission {
                            position,
                            size: admit.size,
                            time: entry.time,
                            until_min,
                            hash: admit.id.0,
                        };
                        objects
                            .insert(
                                object_key(&admit.repository, &name).as_slice(),
                                admission.encode().as_slice(),
                            )
                            .map_err(broken)?;
                    }
                    Event::Seal(seal) => {
                        let key = seal_key(&seal.repository, position);
                        seals
                            .insert(key.as_slice(), entry.encode().as_slice())
                            .map_err(broken)?;
                        let key = sealed_key(&seal.repository, &seal.snapshot.0);
                        sealed.insert(key.as_slice(), position).map_err(broken)?;
                    }
                    Event::Hold(hold) => {
                        let key = seal_key(&hold.repository, hold.seal);
                        let before = holds.get(key.as_slice()).map_err(broken)?;
                        // A hold only ever grows, whatever the log says.
                        let before = before.map_or(0, |until| until.value());
                        let until = before.max(hold.until);
                        holds.insert(key.as_slice(), until).map_err(broken)?;
                    }
                    _ => {
                        settings
                            .insert(position, entry.encode().as_slice())
                            .map_err(broken)?;
                    }
                }
            }
            let mut applied = transaction.open_table(APPLIED).map_err(broken)?;
            let after = batch.after;
            let mut checkpoint = transaction.open_table(CHECKPOINT).map_err(broken)?;
            checkpoint.insert((), batch.checkpoint).map_err(broken)?;
            for (name, value) in [
                ("entries", after.entries),
                ("segment", after.segment),
                ("offset", after.offset),
            ] {
                applied.insert(name, value).map_err(broken)?;
            }
        }
        transaction.commit().map_err(broken)
    }

    /// Makes everything applied durable.
    pub fn sync(&self) -> Result<(), VaultError> {
        self.pending.store(0, Ordering::Relaxed);
        let transaction = self.database.begin_write().map_err(broken)?;
        transaction.commit().map_err(broken)
    }

    /// The object, if it was admitted.
    pub fn object(
        &self,
        repository: &RepositoryName,
        name: &ObjectName,
    ) -> Result<Option<Admission>, VaultError> {
        Ok(self
            .objects(repository, std::slice::from_ref(name))?
            .pop()
            .flatten())
    }

    /// Many objects in one look.
    pub fn objects(
        &self,
        repository: &RepositoryName,
        names: &[ObjectName],
    ) -> Result<Vec<Option<Admission>>, VaultError> {
        let transaction = self.database.begin_read().map_err(broken)?;
        let table = transaction.open_table(OBJECTS).map_err(broken)?;
        let look = |name: &ObjectName| -> Result<Option<Admission>, VaultError> {
            let found = table
                .get(object_key(repository, name).as_slice())
                .map_err(broken)?;
            Ok(found.and_then(|bytes| Admission::decode(bytes.value())))
        };
        names.iter().map(look).collect()
    }

    /// The objects of a kind, ascending by id, those after `after` where it is given, until `visit`
    /// says stop by returning false.
    pub fn list(
        &self,
        repository: &RepositoryName,
        kind: ObjectKind,
        after: Option<Id>,
        visit: &mut dyn FnMut(ObjectName, Admission) -> bool,
    ) -> Result<(), VaultError> {
        let prefix = kind_prefix(repository, kind);
        let mut end = prefix.clone();
        end.extend_from_slice(&[0xff; Id::LEN]);
        let mut start = prefix.clone();
        if let Some(after) = after {
            start.extend_from_slice(after.as_bytes());
            // The next key there can be.
            start.push(0);
        }
        if start > end {
            return Ok(());
        }
        let transaction = self.database.begin_read().map_err(broken)?;
        let table = transaction.open_table(OBJECTS).map_err(broken)?;
        let range = table
            .range(start.as_slice()..=end.as_slice())
            .map_err(broken)?;
        for item in range {
            let (key, value) = item.map_err(broken)?;
            let id = key
                .value()
                .get(prefix.len()..)
                .and_then(|id| id.try_into().ok());
            let (Some(id), Some(admission)) = (id, Admission::decode(value.value())) else {
                return Err(VaultError::Index("an unreadable record".to_owned()));
            };
            if !visit(ObjectName::new(kind, Id::from_bytes(id)), admission) {
                break;
            }
        }
        Ok(())
    }

    /// All entries that are neither admissions nor seals, in order.
    pub fn settings(&self, visit: &mut dyn FnMut(u64, Entry)) -> Result<(), VaultError> {
        let transaction = self.database.begin_read().map_err(broken)?;
        let table = transaction.open_table(SETTINGS).map_err(broken)?;
        for item in table.iter().map_err(broken)? {
            let (index, bytes) = item.map_err(broken)?;
            let entry = Entry::decode(bytes.value())
                .map_err(|error| VaultError::Index(error.to_string()))?;
            visit(index.value(), entry);
        }
        Ok(())
    }

    /// The seals of a repository in order, those after `after` where it is given, until `visit`
    /// says stop by returning false.
    pub fn seals(
        &self,
        repository: &RepositoryName,
        after: Option<u64>,
        visit: &mut dyn FnMut(u64, Entry) -> bool,
    ) -> Result<(), VaultError> {
        let first = match after {
            None => 0,
            Some(u64::MAX) => return Ok(()),
            Some(after) => after + 1,
        };
        let transaction = self.database.begin_read().map_err(broken)?;
        let table = transaction.open_table(SEALS).map_err(broken)?;
        let (start, end) = (seal_key(repository, first), seal_key(repository, u64::MAX));
        let range = table.range(start.as_slice()..=end.as_slice());
        for item in range.map_err(broken)? {
            let (key, bytes) = item.map_err(broken)?;
            let index = key
                .value()
                .last_chunk()
                .map(|bytes| u64::from_be_bytes(*bytes));
            let entry = Entry::decode(bytes.value())
                .map_err(|error| VaultError::Index(error.to_string()))?;
            if let Some(index) = index
                && !visit(index, entry)
            {
                break;
            }
        }
        Ok(())
    }

    /// The entry of a seal.
    pub fn seal(
        &self,
        repository: &RepositoryName,
        index: u64,
    ) -> Result<Option<Entry>, VaultError> {
        let transaction = self.database.begin_read().map_err(broken)?;
        let table = transaction.open_table(SEALS).map_err(broken)?;
        let key = seal_key(repository, index);
        let found = table.get(key.as_slice()).map_err(broken)?;
        let decode = |bytes: &[u8]| {
            Entry::decode(bytes).map_err(|error| VaultError::Index(error.to_string()))
        };
        found.map(|bytes| decode(bytes.value())).transpose()
    }

    /// The end of a seal's longest extension; none if it was never extended.
    pub fn extended_until(
        &self,
        repository: &RepositoryName,
        seal: u64,
    ) -> Result<Option<u64>, VaultError> {
        let transaction = self.database.begin_read().map_err(broken)?;
        let table = transaction.open_table(HOLDS).map_err(broken)?;
        let found = table
            .get(seal_key(repository, seal).as_slice())
            .map_err(broken)?;
        Ok(found.map(|until| until.value()))
    }

    /// The index of a snapshot's newest seal.
    pub fn newest_seal(
        &self,
        repository: &RepositoryName,
        snapshot: &Id,
    ) -> Result<Option<u64>, VaultError> {
        let transaction = self.database.begin_read().map_err(broken)?;
        let table = transaction.open_table(SEALED).map_err(broken)?;
        let found = table
            .get(sealed_key(repository, snapshot).as_slice())
            .map_err(broken)?;
        Ok(found.map(|index| index.value()))
    }

    /// The sums and the end of the chain of a repository.
    pub fn chain(&self, repository: &RepositoryName) -> Result<Chain, VaultError> {
        let transaction = self.database.begin_read().map_err(broken)?;
        let table = transaction.open_table(CHAINS).map_err(broken)?;
        let found = table.get(repository.as_str()).map_err(broken)?;
        Ok(found
            .and_then(|bytes| Chain::decode(bytes.value()))
            .unwrap_or_default())
    }

    /// How many entries the log had when the later of vault time and clock was last at most
    /// `time`: everything up to then, and nothing that came afterwards.
    pub fn position_at(&self, time: u64) -> Result<u64, VaultError> {
        let transaction = self.database.begin_read().map_err(broken)?;
        let table = transaction.open_table(TIMES).map_err(broken)?;
        let mut after = self.applied()?.entries;
        for item in table.iter().map_err(broken)?.rev() {
            let (first, stamps) = item.map_err(broken)?;
            let (vault, clock) = stamps.value();
            if vault.max(clock) <= time {
                return Ok(after);
            }
            after = first.value();
        }
        Ok(0)
    }

    /// Where the bundle of entries with this number starts in its segment.
    pub fn bundle_offset(&self, bundle: u64) -> Result<Option<u64>, VaultError> {
        let transaction = self.database.begin_read().map_err(broken)?;
        let table = transaction.open_table(BUNDLES).map_err(broken)?;
        let found = table.get(bundle).map_err(broken)?;
        Ok(found.map(|offset| offset.value()))
    }

    /// Objects in the index.
    pub fn len(&self) -> Result<u64, VaultError> {
        let transaction = self.database.begin_read().map_err(broken)?;
        let table = transaction.open_table(OBJECTS).map_err(broken)?;
        table.len().map_err(broken)
    }

    /// Whether it holds no objects.
    pub fn is_empty(&self) -> Result<bool, VaultError> {
        Ok(self.len()? == 0)
    }
}
