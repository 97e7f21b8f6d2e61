//! The real core of a vault on a simulated disk, with clocks and randomness of the simulation.

use std::io::{self, Read};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use outlast_custody::{ObjectList, Receipt, RepositoryName, Scope, Settings};
use outlast_log::{KeyKind, SigningKey, VerifierKey};
use outlast_object::{Id, ObjectKind, ObjectName, hash};
use outlast_vault::disk::{Disk, Fault, FaultPlan, SimulatedDisk};
use outlast_vault::{Caller, Clock, Entropy, Index, Moment, Vault, VaultError, object_path};

use crate::failure::Failure;
use crate::random::Random;

/// Room on each disk, in bytes; nothing of that is taken before it is used.
const DISK_BYTES: u64 = 1 << 40;
/// What a repository may take, in bytes.
const QUOTA_BYTES: u64 = 1 << 30;

/// Clocks of a machine: it has run since the world began, and somebody may have set its clock.
#[derive(Debug)]
struct MachineClock {
    world: Arc<AtomicU64>,
    began: u64,
    ahead: AtomicU64,
}

impl Clock for MachineClock {
    fn now(&self) -> Moment {
        let now = self.world.load(Ordering::SeqCst);
        Moment {
            running: now - self.began,
            clock: now.saturating_add(self.ahead.load(Ordering::SeqCst)),
        }
    }
}

/// Bytes that differ and come again in the next run.
#[derive(Debug)]
struct SeededEntropy {
    seed: u64,
    drawn: AtomicU64,
}

impl Entropy for SeededEntropy {
    fn fill(&self, bytes: &mut [u8]) -> io::Result<()> {
        let drawn = self.drawn.fetch_add(1, Ordering::SeqCst);
        let id = hash(&[self.seed.to_le_bytes(), drawn.to_le_bytes()].concat());
        for (byte, random) in bytes.iter_mut().zip(id.as_bytes().iter().cycle()) {
            *byte = *random;
        }
        Ok(())
    }
}

/// A vault and the machine it runs on.
pub struct VaultMachine {
    seed: [u8; 32],
    name: String,
    repository: RepositoryName,
    clock: Arc<MachineClock>,
    entropy: Arc<SeededEntropy>,
    disk: Arc<SimulatedDisk>,
    vault: Vault,
    append: Caller,
    restore: Caller,
    /// For the planted bug: the disk as it was when the day began, which a crash brings back.
    morning: Option<SimulatedDisk>,
}

impl VaultMachine {
    /// A new vault with one repository, whose seals hold for so long.
    ///
    /// # Errors
    /// [`Failure::Simulation`].
    pub fn new(
        name: &str,
        world: &Arc<AtomicU64>,
        hold_seconds: u64,
        random: &mut Random,
    ) -> Result<Self, Failure> {
        let clock = Arc::new(MachineClock {
            world: Arc::clone(world),
            began: world.load(Ordering::SeqCst),
            ahead: AtomicU64::new(0),
        });
        let entropy = Arc::new(SeededEntropy {
            seed: random.number(),
            drawn: AtomicU64::new(0),
        });
        let repository: RepositoryName = "web1".parse().map_err(Failure::simulation)?;
        let disk = Arc::new(SimulatedDisk::new(DISK_BYTES));
        let seed = *hash(&random.number().to_le_bytes()).as_bytes();
        let vault = open(name, &seed, &disk, &clock, &entropy)?;
        let settings = Settings {
            quota_bytes: QUOTA_BYTES,
            hold_seconds_min: hold_seconds / 3,
            hold_seconds,
            hold_seconds_max: hold_seconds * 2,
            append_read_bytes_daily: 0,
        };
        let made = |error: VaultError| Failure::simulation(error);
        vault.set_repository(&repository, settings).map_err(made)?;
        let caller = |scopes: &[Scope]| -> Result<Caller, Failure> {
            let credentials = vault.add_token(&repository, scopes, "sim").map_err(made)?;
            let token = credentials.token.to_string();
            vault
                .authenticate(&token, &credentials.secret)
                .map_err(made)
        };
        let append = caller(&[Scope::Append, Scope::Enrol])?;
        let restore = caller(&[Scope::Restore])?;
        Ok(Self {
            seed,
            name: name.to_owned(),
            repository,
            clock,
            entropy,
            disk,
            vault,
            append,
            restore,
            morning: None,
        })
    }

    /// Its identity.
    pub fn identity(&self) -> VerifierKey {
        self.vault.identity()
    }

    /// The key it signs with: whoever is root there has it.
    ///
    /// # Errors
    /// [`Failure::Simulation`].
    pub fn signing_key(&self) -> Result<SigningKey, Failure> {
        signing_key(&self.name, &self.seed)
    }

    /// Its repository.
    pub fn repository(&self) -> &RepositoryName {
        &self.repository
    }

    /// The vault itself.
    pub fn vault(&self) -> &Vault {
        &self.vault
    }

    /// Puts objects with the append token, and returns those that were acknowledged.
    pub fn put(&self, objects: &[(ObjectName, &[u8])]) -> Vec<ObjectName> {
        let mut taken = Vec::new();
        let (first, rest): (Vec<_>, Vec<_>) = objects
            .iter()
            .partition(|(name, _)| matches!(name.kind(), ObjectKind::Key | ObjectKind::Config));
        for (name, bytes) in first {
            let length = u64::try_from(bytes.len()).ok();
            if self
                .vault
                .accept(&self.append, &name, length, &mut &*bytes)
                .is_ok()
            {
                taken.push(name);
            }
        }
        let outcomes = self
            .vault
            .accept_many(&self.append, &rest, NonZeroUsize::MIN);
        let accepted = rest
            .iter()
            .zip(outcomes)
            .filter(|(_, outcome)| outcome.is_ok());
        taken.extend(accepted.map(|((name, _), _)| *name));
        taken
    }

    /// Has a snapshot sealed with the append token, and gets the receipt.
    ///
    /// # Errors
    /// Those of the vault.
    pub fn seal(&self, snapshot: Id, list: &ObjectList) -> Result<Receipt, VaultError> {
        let index = self.vault.seal(&self.append, snapshot, list)?;
        self.vault.receipt(&self.repository, index)
    }

    /// Reads an object with the restore token, or with the append token.
    pub fn read(&self, name: &ObjectName, with_append: bool) -> Option<Vec<u8>> {
        let caller = if with_append {
            &self.append
        } else {
            &self.restore
        };
        let view = self.vault.view(caller).ok()?;
        let (mut body, _) = self.vault.read(&view, name).ok()?;
        let mut bytes = Vec::new();
        body.read_to_end(&mut bytes).ok()?;
        Some(bytes)
    }

    /// Lets the power fail at one of the next operations of the disk.
    pub fn will_crash(&self, operations: u64) {
        let at = self.disk.operation_count() + 1 + operations;
        self.disk
            .set_faults(FaultPlan::none().at(at, Fault::CrashDuring));
    }

    /// Keeps what the planted bug brings back.
    pub fn begin_day(&mut self) {
        self.morning = Some(self.disk.crash_image(outlast_vault::disk::SEED_EVERYTHING));
    }

    /// Takes the power away and starts the machine again. What a crash may leave is left to chance.
    ///
    /// # Errors
    /// [`Failure::Broken`] if the vault does not open any more.
    pub fn restart(&mut self, random: &mut Random) -> Result<(), Failure> {
        self.disk.crash();
        let disk = match self.morning.take() {
            Some(morning) => morning,
            None => self.disk.crash_image(random.number()),
        };
        self.disk = Arc::new(disk);
        self.vault = open(
            &self.name,
            &self.seed,
            &self.disk,
            &self.clock,
            &self.entropy,
        )?;
        Ok(())
    }

    /// Whether the power failed, or the vault takes nothing for another reason.
    pub fn is_down(&self) -> bool {
        self.disk.has_crashed() || self.vault.read_only_reason().is_some()
    }

    /// Sets the machine's clock so many seconds ahead of the truth.
    pub fn set_clock_ahead(&self, seconds: u64) {
        self.clock.ahead.store(seconds, Ordering::SeqCst);
    }

    /// Does with the append token whatever could do harm. All of it should be in vain.
    pub fn abuse_append(&self, names: &[ObjectName], random: &mut Random, overwrites: bool) {
        for name in names {
            let mut other = format!("other bytes of {}", random.number())
                .repeat(9)
                .into_bytes();
            other.extend_from_slice(&[100, 0, 0, 0]);
            let length = u64::try_from(other.len()).ok();
            let _ = self.vault.accept(&self.append, name, length, &mut &*other);
            let junk = ObjectName::new(name.kind(), hash(&other));
            let _ = self.vault.accept(&self.append, &junk, length, &mut &*other);
            let _ = self
                .vault
                .seal(&self.append, name.id(), &ObjectList::new([*name]));
            let _ = self.vault.seal_everything(&self.append, name.id());
            let _ = self.vault.extend(&self.repository, random.below(40), 1);
            if overwrites {
                let _ = self
                    .disk
                    .plant(&object_path(&self.repository, name), &other);
            }
        }
    }
}

fn signing_key(name: &str, seed: &[u8; 32]) -> Result<SigningKey, Failure> {
    SigningKey::from_seed(name, KeyKind::Note, seed).map_err(Failure::simulation)
}

fn open(
    name: &str,
    seed: &[u8; 32],
    disk: &Arc<SimulatedDisk>,
    clock: &Arc<MachineClock>,
    entropy: &Arc<SeededEntropy>,
) -> Result<Vault, Failure> {
    let index = Index::in_memory().map_err(Failure::simulation)?;
    Vault::open(
        Arc::clone(disk) as Arc<dyn Disk>,
        Arc::new(index),
        signing_key(name, seed)?,
        Arc::clone(clock) as Arc<dyn Clock>,
        Arc::clone(entropy) as Arc<dyn Entropy>,
    )
    .map_err(|error| Failure::broken("a vault opens after every crash", error.to_string()))
}
