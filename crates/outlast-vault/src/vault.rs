//! The vault: who may do what, and the state behind it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::Read;
use std::sync::Arc;

use outlast_custody::{
    Event, IdText, RepositoryAdded, RepositoryName, Revoke, Scope, Settings, Start, TokenAdded,
    TokenId,
};
use outlast_log::{SigningKey, VerifierKey};
use outlast_object::{Id, ObjectName, hash};
use parking_lot::{Condvar, Mutex, RwLock};

use crate::VaultError;
use crate::commit::Queue;
use crate::disk::Disk;
use crate::fsck::repository_folders;
use crate::index::{Admission, Index};
use crate::ledger::Ledger;
use crate::limits::{Meters, TokenLimits};
use crate::room::Usage;
use crate::world::{Clock, Entropy, GuardedClock};

/// Where it is noted why the vault takes nothing any more; empty once that was looked into.
pub(crate) const FAILED: &str = "ledger/failed";
/// Longest note of that, in bytes.
const FAILED_BYTES_MAX: u64 = 4096;
/// Bytes of a token's secret.
const SECRET_BYTES: usize = 32;

/// A token as it is handed out, once: `id` and secret, as user name and password.
pub struct Credentials {
    /// The public part.
    pub token: TokenId,
    /// The secret part.
    pub secret: String,
}

/// Somebody whose token was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    token: TokenId,
    repository: RepositoryName,
    scopes: Vec<Scope>,
}

impl Caller {
    /// The repository that the token is for.
    pub fn repository(&self) -> &RepositoryName {
        &self.repository
    }

    /// The token.
    pub fn token(&self) -> TokenId {
        self.token
    }

    /// What the token may do.
    pub fn scopes(&self) -> &[Scope] {
        &self.scopes
    }

    /// Whether the token has the scope.
    pub fn may(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope)
    }

    pub(crate) fn require(&self, scope: Scope, why: &'static str) -> Result<(), VaultError> {
        if self.may(scope) {
            Ok(())
        } else {
            Err(VaultError::Forbidden(why))
        }
    }
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) repositories: BTreeMap<RepositoryName, Settings>,
    pub(crate) tokens: HashMap<TokenId, (TokenAdded, bool)>,
    /// When the last scrub began, vault time.
    pub(crate) last_scrub: Option<u64>,
    /// The same of the last one that found everything whole.
    pub(crate) scrubbed: Option<u64>,
}

impl State {
    pub(crate) fn apply(&mut self, event: &Event) {
        match event {
            Event::Repository(added) => {
                let (name, settings) = (added.repository.clone(), added.settings.clone());
                self.repositories.insert(name, settings);
            }
            Event::Token(added) => {
                self.tokens.insert(added.token, (added.clone(), false));
            }
            Event::Revoke(revoke) => {
                if let Some((_, revoked)) = self.tokens.get_mut(&revoke.token) {
                    *revoked = true;
                }
            }
            Event::Scrub(scrub) => {
                self.last_scrub = Some(scrub.started);
                if scrub.damaged == 0 {
                    self.scrubbed = Some(scrub.started);
                }
            }
            _ => {}
        }
    }

    pub(crate) fn hold_minimum(&self, repository: &RepositoryName, time: u64) -> u64 {
        let seconds = self.repositories.get(repository);
        time.saturating_add(seconds.map_or(u64::MAX, |settings| settings.hold_seconds_min))
    }
}

/// A vault.
pub struct Vault {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) index: Arc<Index>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) guarded: GuardedClock,
    pub(crate) ledger: Mutex<Ledger>,
    pub(crate) state: RwLock<State>,
    pub(crate) usage: Mutex<HashMap<RepositoryName, Usage>>,
    provisional: Mutex<HashMap<RepositoryName, (ObjectName, Vec<u8>)>>,
    /// Held while a config is taken, from the look whether there is one to its entry in the log.
    pub(crate) configuring: Mutex<()>,
    pub(crate) queue: Mutex<Queue>,
    pub(crate) turn: Condvar,
    pub(crate) failure: Mutex<Option<String>>,
    pub(crate) damaged: Mutex<HashSet<(RepositoryName, ObjectName)>>,
    pub(crate) meters: Meters,
    pub(crate) sets_immutable: bool,
}

impl Vault {
    /// Opens the vault on a disk with its index and signing key, and logs the start.
    ///
    /// # Errors
    /// [`VaultError::Index`] if the index does not fit the log: it is to be removed, and opening
    /// repeated. [`VaultError::Journal`] if the journal has lost something that was acknowledged.
    pub fn open(
        disk: Arc<dyn Disk>,
        index: Arc<Index>,
        key: SigningKey,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, VaultError> {
        let state = RwLock::new(State::default());
        index.settings(&mut |_, entry| state.write().apply(&entry.event))?;
        let ledger = Ledger::open(
            Arc::clone(&disk),
            Arc::clone(&index),
            key,
            &|entry, time| {
                // Settings are entries themselves, so what is replayed changes them on the way.
                state.write().apply(&entry.event);
                match entry.chain() {
                    Some((repository, _)) => state.read().hold_minimum(repository, time),
                    None => 0,
                }
            },
        )?;
        // The first entries come before the first object, whatever crashes.
        let is_new = ledger.size() == 0;
        if is_new
            && !repository_folders(&*disk)
                .map_err(VaultError::Disk)?
                .is_empty()
        {
            let lost = "the ledger is gone, and objects are there".to_owned();
            return Err(VaultError::Journal(lost));
        }
        let failure = Self::noted_failure(&*disk)?;
        let guarded = GuardedClock::start(ledger.time(), clock.now());
        let mut usage = HashMap::new();
        for repository in state.read().repositories.keys() {
            usage.insert(repository.clone(), Usage::of(&index.chain(repository)?));
        }
        let vault = Self {
            disk,
            index,
            clock,
            entropy,
            guarded,
            ledger: Mutex::new(ledger),
            state,
            usage: Mutex::new(usage),
            provisional: Mutex::default(),
            configuring: Mutex::default(),
            queue: Mutex::default(),
            turn: Condvar::new(),
            failure: Mutex::new(failure),
            damaged: Mutex::default(),
            meters: Meters::default(),
            sets_immutable: false,
        };
        if vault.read_only_reason().is_none() {
            let software = concat!("outlast-vault ", env!("CARGO_PKG_VERSION")).to_owned();
            match vault.commit(vec![Event::Start(Start { software })]) {
                // A vault on a full disk has to be readable.
                Ok(_) | Err(VaultError::Full(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(vault)
    }

    /// Why the vault took nothing any more when it was last open, if so.
    fn noted_failure(disk: &dyn Disk) -> Result<Option<String>, VaultError> {
        let mut note = Vec::new();
        match disk.open(FAILED) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(VaultError::Disk(error)),
            Ok(file) => file
                .take(FAILED_BYTES_MAX)
                .read_to_end(&mut note)
                .map_err(VaultError::Disk)?,
        };
        Ok((!note.is_empty()).then(|| String::from_utf8_lossy(&note).into_owned()))
    }

    /// The same vault, which sets the file system's immutable flag on what it keeps, where it has the
    /// right. Such files cannot be removed, by root either, before the flag is taken off.
    #[must_use]
    pub fn with_immutable_objects(self) -> Self {
        Self {
            sets_immutable: true,
            ..self
        }
    }

    /// The vault's identity, by which its receipts are verified.
    pub fn identity(&self) -> VerifierKey {
        self.ledger.lock().key().verifier()
    }

    /// The vault's time, seconds since 1970.
    pub fn time(&self) -> u64 {
        self.guarded.time(self.clock.now())
    }

    /// Why the vault takes nothing, if so.
    pub fn read_only_reason(&self) -> Option<String> {
        self.failure.lock().clone()
    }

    /// Adds a repository, or changes what holds for what comes from now on.
    ///
    /// # Errors
    /// Those of the ledger.
    pub fn set_repository(
        &self,
        repository: &RepositoryName,
        settings: Settings,
    ) -> Result<(), VaultError> {
        let repository = repository.clone();
        let added = RepositoryAdded {
            repository,
            settings,
        };
        self.commit(vec![Event::Repository(added)]).map(drop)
    }

    /// Makes a token. Its secret exists in the answer only.
    ///
    /// # Errors
    /// [`VaultError::NoRepository`]; those of randomness and of the ledger.
    pub fn add_token(
        &self,
        repository: &RepositoryName,
        scopes: &[Scope],
        label: &str,
    ) -> Result<Credentials, VaultError> {
        self.add_limited_token(repository, scopes, label, TokenLimits::default())
    }

    /// Makes a token with limits of its own.
    ///
    /// # Errors
    /// As [`Vault::add_token`].
    pub fn add_limited_token(
        &self,
        repository: &RepositoryName,
        scopes: &[Scope],
        label: &str,
        limits: TokenLimits,
    ) -> Result<Credentials, VaultError> {
        self.settings(repository)?;
        let (mut id, mut secret) = ([0; 8], [0; SECRET_BYTES]);
        self.entropy.fill(&mut id).map_err(VaultError::Disk)?;
        self.entropy.fill(&mut secret).map_err(VaultError::Disk)?;
        let token = TokenId::from_bytes(id);
        let secret = Id::from_bytes(secret).to_hex();
        let added = TokenAdded {
            token,
            repository: repository.clone(),
            scopes: scopes.to_vec(),
            secret_hash: IdText(hash(secret.as_bytes())),
            label: label.chars().take(100).collect(),
            put_bytes_daily: limits.put_bytes_daily,
            requests_per_minute: limits.requests_per_minute,
        };
        self.commit(vec![Event::Token(added)])?;
        Ok(Credentials { token, secret })
    }

    /// Revokes a token, for ever.
    ///
    /// # Errors
    /// Those of the ledger.
    pub fn revoke_token(&self, token: TokenId) -> Result<(), VaultError> {
        self.commit(vec![Event::Revoke(Revoke { token })]).map(drop)
    }

    /// Checks a token's id and secret.
    ///
    /// # Errors
    /// [`VaultError::Unauthorised`], the same for whatever is wrong; [`VaultError::TooMany`].
    pub fn authenticate(&self, token: &str, secret: &str) -> Result<Caller, VaultError> {
        let token: TokenId = token.parse().map_err(|_| VaultError::Unauthorised)?;
        let state = self.state.read();
        let (added, revoked) = state.tokens.get(&token).ok_or(VaultError::Unauthorised)?;
        // Hashes of what was sent tell a guesser nothing about how close the guess was.
        if *revoked || hash(secret.as_bytes()) != added.secret_hash.0 {
            return Err(VaultError::Unauthorised);
        }
        self.count_request(added)?;
        Ok(Caller {
            token,
            repository: added.repository.clone(),
            scopes: added.scopes.clone(),
        })
    }

    /// What holds for a repository.
    ///
    /// # Errors
    /// [`VaultError::NoRepository`].
    pub fn settings(&self, repository: &RepositoryName) -> Result<Settings, VaultError> {
        let state = self.state.read();
        let found = state.repositories.get(repository).cloned();
        found.ok_or_else(|| VaultError::NoRepository(repository.clone()))
    }

    /// An object, as the log has it.
    ///
    /// # Errors
    /// Those of the index.
    pub fn object(
        &self,
        repository: &RepositoryName,
        name: &ObjectName,
    ) -> Result<Option<Admission>, VaultError> {
        self.index.object(repository, name)
    }

    pub(crate) fn provisional_key(
        &self,
        repository: &RepositoryName,
    ) -> Option<(ObjectName, Vec<u8>)> {
        self.provisional.lock().get(repository).cloned()
    }

    pub(crate) fn set_provisional_key(
        &self,
        repository: &RepositoryName,
        name: ObjectName,
        bytes: Vec<u8>,
    ) {
        self.provisional
            .lock()
            .insert(repository.clone(), (name, bytes));
    }
}
