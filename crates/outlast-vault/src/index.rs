//! The vault's index: an embedded database that answers what the log says, quickly.
//!
//! It holds nothing that the log does not: it may be lost or rolled back at any time and is rebuilt
//! from the journal. A commit for every batch would cost a sync each, so changes become durable now
//! and then; after a crash the journal is replayed from where the index stands.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use outlast_custody::{Entry, Event, RepositoryName};
use outlast_object::{Id, ObjectKind, ObjectName};
use redb::{
    Database, Durability, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition,
};

use crate::VaultError;

/// Memory for the database's pages, in bytes.
const CACHE_BYTES: usize = 16 * 1024 * 1024;
/// Entries after which changes are made durable.
const DURABLE_EVERY: u64 = 8192;

/// Repository, zero, kind, id to position, size, time, minimum hold, previous.
const OBJECTS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("objects");
/// Index of every entry that is neither an admission nor a seal, with the entry.
const SETTINGS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("settings");
/// Repository, zero, index to the seal's entry.
const SEALS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("seals");
/// Repository to the state of its chain.
const CHAINS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("chains");
/// First index of a batch to vault time and clock.
const TIMES: TableDefinition<'_, u64, (u64, u64)> = TableDefinition::new("times");
/// Number of a bundle of 256 entries to the offset of its first in the journal's segment.
const BUNDLES: TableDefinition<'_, u64, u64> = TableDefinition::new("bundles");
/// What was applied: `entries`, `segment`, `offset`.
const APPLIED: TableDefinition<'_, &str, u64> = TableDefinition::new("applied");
/// The newest checkpoint applied, as a signed note.
const CHECKPOINT: TableDefinition<'_, (), &[u8]> = TableDefinition::new("checkpoint");

/// An object, as the log has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Admission {
    /// Index of its entry.
    pub position: u64,
    /// Size in bytes.
    pub size: u64,
    /// Vault time of the admission, seconds since 1970.
    pub time: u64,
    /// The end of its minimum hold, vault time.
    pub until_min: u64,
    /// Hash of its bytes: the id, but for the config.
    pub hash: Id,
}

/// A repository's sums and the end of its chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chain {
    /// Leaf hash of the newest entry about it.
    pub head: Id,
    /// Objects admitted.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Default for Chain {
    fn default() -> Self {
        Self {
            head: Id::from_bytes([0; Id::LEN]),
            objects: 0,
            bytes: 0,
        }
    }
}

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

const fn kind_code(kind: ObjectKind) -> u8 {
    match kind {
        ObjectKind::Config => 0,
        ObjectKind::Key => 1,
        ObjectKind::Lock => 2,
        ObjectKind::Snapshot => 3,
        ObjectKind::Index => 4,
        ObjectKind::Pack => 5,
    }
}

fn kind_prefix(repository: &RepositoryName, kind: ObjectKind) -> Vec<u8> {
    let mut key = Vec::with_capacity(repository.as_str().len() + 2 + Id::LEN);
    key.extend_from_slice(repository.as_str().as_bytes());
    key.extend_from_slice(&[0, kind_code(kind)]);
    key
}

fn object_key(repository: &RepositoryName, name: &ObjectName) -> Vec<u8> {
    let mut key = kind_prefix(repository, name.kind());
    key.extend_from_slice(name.id().as_bytes());
    key
}

fn seal_key(repository: &RepositoryName, index: u64) -> Vec<u8> {
    let mut key = repository.as_str().as_bytes().to_vec();
    key.push(0);
    key.extend_from_slice(&index.to_be_bytes());
    key
}

impl Admission {
    fn encode(&self) -> Vec<u8> {
        let numbers = [self.position, self.size, self.time, self.until_min];
        let mut bytes: Vec<u8> = numbers
            .iter()
            .flat_map(|number| number.to_le_bytes())
            .collect();
        bytes.extend_from_slice(self.hash.as_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (numbers, hash) = bytes.split_at_checked(32)?;
        let number = |at: usize| {
            let bytes = numbers.get(at * 8..at * 8 + 8)?;
            Some(u64::from_le_bytes(bytes.try_into().ok()?))
        };
        Some(Self {
            position: number(0)?,
            size: number(1)?,
            time: number(2)?,
            until_min: number(3)?,
            hash: Id::from_bytes(hash.try_into().ok()?),
        })
    }
}

impl Chain {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = self.head.as_bytes().to_vec();
        bytes.extend_from_slice(&self.objects.to_le_bytes());
        bytes.extend_from_slice(&self.bytes.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (head, numbers) = bytes.split_at_checked(Id::LEN)?;
        let (objects, sizes) = numbers.split_at_checked(8)?;
        Some(Self {
            head: Id::from_bytes(head.try_into().ok()?),
            objects: u64::from_le_bytes(objects.try_into().ok()?),
            bytes: u64::from_le_bytes(sizes.try_into().ok()?),
        })
    }
}

impl Index {
    /// Opens or makes the database at `path`.
    pub fn open(path: &Path) -> Result<Self, VaultError> {
        let database = Database::builder()
            .set_cache_size(CACHE_BYTES)
            .create(path)
            .map_err(broken)?;
        Self::with(database)
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
        transaction.open_table(CHAINS).map_err(broken)?;
        transaction.open_table(TIMES).map_err(broken)?;
        transaction.open_table(BUNDLES).map_err(broken)?;
        transaction.open_table(APPLIED).map_err(broken)?;
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

    /// All objects of a kind, ascending by id, until `visit` says stop by returning false.
    pub fn list(
        &self,
        repository: &RepositoryName,
        kind: ObjectKind,
        visit: &mut dyn FnMut(ObjectName, Admission) -> bool,
    ) -> Result<(), VaultError> {
        let prefix = kind_prefix(repository, kind);
        let mut end = prefix.clone();
        end.extend_from_slice(&[0xff; Id::LEN]);
        let transaction = self.database.begin_read().map_err(broken)?;
        let table = transaction.open_table(OBJECTS).map_err(broken)?;
        let range = table
            .range(prefix.as_slice()..=end.as_slice())
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

    /// The seals of a repository, in order.
    pub fn seals(&self, repository: &RepositoryName) -> Result<Vec<(u64, Entry)>, VaultError> {
        let transaction = self.database.begin_read().map_err(broken)?;
        let table = transaction.open_table(SEALS).map_err(broken)?;
        let (start, end) = (seal_key(repository, 0), seal_key(repository, u64::MAX));
        let mut seals = Vec::new();
        for item in table
            .range(start.as_slice()..=end.as_slice())
            .map_err(broken)?
        {
            let (key, bytes) = item.map_err(broken)?;
            let index = key
                .value()
                .last_chunk()
                .map(|bytes| u64::from_be_bytes(*bytes));
            let entry = Entry::decode(bytes.value())
                .map_err(|error| VaultError::Index(error.to_string()))?;
            if let Some(index) = index {
                seals.push((index, entry));
            }
        }
        Ok(seals)
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
