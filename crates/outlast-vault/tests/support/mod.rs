//! A vault on a folder of its own, with clocks that the test moves.

#![allow(
    clippy::unwrap_used,
    dead_code,
    reason = "each test program uses a part"
)]

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use outlast_custody::{RepositoryName, Scope, Settings};
use outlast_log::{KeyKind, SigningKey};
use outlast_object::{Id, ObjectKind, ObjectName, hash};
use outlast_vault::disk::{Disk, RealDisk};
use outlast_vault::{
    Accepted, Caller, Clock, Entropy, FsckReport, Index, Moment, Vault, VaultError, fsck,
};

/// Seconds in a day.
pub const DAY: u64 = 86_400;

/// Clocks that stand until they are moved.
#[derive(Default)]
pub struct Clocks {
    pub running: AtomicU64,
    pub clock: AtomicU64,
}

impl Clocks {
    /// Lets so many seconds pass.
    pub fn pass(&self, seconds: u64) {
        self.running.fetch_add(seconds, Ordering::SeqCst);
        self.clock.fetch_add(seconds, Ordering::SeqCst);
    }
}

impl Clock for Clocks {
    fn now(&self) -> Moment {
        Moment {
            running: self.running.load(Ordering::SeqCst),
            clock: self.clock.load(Ordering::SeqCst),
        }
    }
}

/// Numbers that differ and repeat in the next run.
#[derive(Default)]
pub struct Counter(AtomicU64);

impl Entropy for Counter {
    fn fill(&self, bytes: &mut [u8]) -> io::Result<()> {
        let seed = self.0.fetch_add(1, Ordering::SeqCst);
        let id = hash(&seed.to_le_bytes());
        for (byte, random) in bytes.iter_mut().zip(id.as_bytes().iter().cycle()) {
            *byte = *random;
        }
        Ok(())
    }
}

/// The vault of the test, and what it is made of.
pub struct World {
    pub clocks: Arc<Clocks>,
    pub entropy: Arc<Counter>,
    pub disk: Arc<dyn Disk>,
}

/// The repository of the tests.
pub fn repository() -> RepositoryName {
    "web1".parse().unwrap()
}

/// What holds for it.
pub fn settings() -> Settings {
    Settings {
        quota_bytes: 1_000_000_000,
        hold_seconds_min: 90 * DAY,
        hold_seconds: 30 * DAY,
        hold_seconds_max: 400 * DAY,
        append_read_bytes_daily: 0,
    }
}

/// The vault's signing key.
pub fn key() -> SigningKey {
    SigningKey::from_seed("vault.example", KeyKind::Note, &[9; 32]).unwrap()
}

impl World {
    /// A new world on a folder.
    pub fn new(folder: &Path) -> Self {
        Self::on(Arc::new(RealDisk::open(folder).unwrap()))
    }

    /// A new world on a disk.
    pub fn on(disk: Arc<dyn Disk>) -> Self {
        let clocks = Clocks::default();
        clocks.pass(1_700_000_000);
        Self {
            clocks: Arc::new(clocks),
            entropy: Arc::default(),
            disk,
        }
    }

    /// Opens the vault with this index.
    pub fn open_with(&self, index: Index) -> Result<Vault, VaultError> {
        Vault::open(
            Arc::clone(&self.disk),
            Arc::new(index),
            key(),
            Arc::clone(&self.clocks) as Arc<dyn Clock>,
            Arc::clone(&self.entropy) as Arc<dyn Entropy>,
        )
    }

    /// Checks the vault, which nobody has open.
    pub fn fsck(&self, reads_data: bool) -> Result<FsckReport, VaultError> {
        let index = Arc::new(Index::in_memory()?);
        fsck(&self.disk, &index, key(), 0, reads_data, &mut |_, _| ())
    }

    /// Opens the vault with an empty index, which is made again from the journal.
    pub fn open(&self) -> Vault {
        self.open_with(Index::in_memory().unwrap()).unwrap()
    }

    /// Opens the vault, and gives the repository and a caller with these scopes.
    pub fn with_caller(&self, scopes: &[Scope]) -> (Vault, Caller) {
        let vault = self.open();
        vault.set_repository(&repository(), settings()).unwrap();
        let caller = caller(&vault, scopes);
        (vault, caller)
    }

    /// As [`World::with_caller`], with a config and a key.
    pub fn initialised(&self) -> (Vault, Caller) {
        let (vault, caller) = self.with_caller(&[Scope::Append, Scope::Enrol]);
        put(&vault, &caller, &key_file(), ObjectKind::Key).unwrap();
        put(&vault, &caller, &[5; 155], ObjectKind::Config).unwrap();
        (vault, caller)
    }
}

/// A caller with a new token of these scopes.
pub fn caller(vault: &Vault, scopes: &[Scope]) -> Caller {
    let credentials = vault.add_token(&repository(), scopes, "test").unwrap();
    let token = credentials.token.to_string();
    vault.authenticate(&token, &credentials.secret).unwrap()
}

/// A key file.
pub fn key_file() -> Vec<u8> {
    br#"{"kdf":"scrypt","N":32768,"r":8,"p":1,"salt":"AA==","data":"AA=="}"#.to_vec()
}

/// Bytes that have the outer shape of a pack, different for each seed.
pub fn pack(seed: u64, bytes: usize) -> Vec<u8> {
    let mut pack: Vec<u8> = seed
        .to_le_bytes()
        .into_iter()
        .cycle()
        .take(bytes - 4)
        .collect();
    pack.extend_from_slice(&100_u32.to_le_bytes());
    pack
}

/// Puts the bytes under the name that they have.
pub fn put(
    vault: &Vault,
    caller: &Caller,
    bytes: &[u8],
    kind: ObjectKind,
) -> Result<Accepted, VaultError> {
    put_as(vault, caller, bytes, kind, hash(bytes))
}

/// Puts the bytes under a name.
pub fn put_as(
    vault: &Vault,
    caller: &Caller,
    bytes: &[u8],
    kind: ObjectKind,
    id: Id,
) -> Result<Accepted, VaultError> {
    let name = ObjectName::new(kind, id);
    vault.accept(caller, &name, Some(bytes.len() as u64), &mut &*bytes)
}
