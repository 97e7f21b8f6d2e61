//! What the operator sees on the machine itself: repositories, tokens, sizes, entries.

use outlast_custody::{Entry, RepositoryName, Settings, TokenAdded};
use outlast_log::{TILE_WIDTH, decode_bundle};

use crate::VaultError;
use crate::disk::Space;
use crate::index::Chain;
use crate::vault::Vault;

impl Vault {
    /// All repositories with what holds for them, by name.
    pub fn repositories(&self) -> Vec<(RepositoryName, Settings)> {
        let state = self.state.read();
        let repositories = state.repositories.iter();
        repositories
            .map(|(name, settings)| (name.clone(), settings.clone()))
            .collect()
    }

    /// All tokens that were ever made, by id, each with whether it is revoked. Secrets are not known here.
    pub fn tokens(&self) -> Vec<(TokenAdded, bool)> {
        let mut tokens: Vec<_> = self.state.read().tokens.values().cloned().collect();
        tokens.sort_by_key(|(token, _)| token.token.to_string());
        tokens
    }

    /// How much a repository keeps.
    ///
    /// # Errors
    /// Those of the index.
    pub fn kept(&self, repository: &RepositoryName) -> Result<Chain, VaultError> {
        self.index.chain(repository)
    }

    /// Entries in the log.
    pub fn log_size(&self) -> u64 {
        self.ledger.lock().size()
    }

    /// The newest checkpoint, as a signed note.
    pub fn checkpoint(&self) -> Vec<u8> {
        self.ledger.lock().checkpoint().to_vec()
    }

    /// Entries of the log from `first` on, in order, until `visit` returns false.
    ///
    /// # Errors
    /// [`VaultError::Journal`] if entries cannot be read.
    pub fn entries(
        &self,
        first: u64,
        visit: &mut dyn FnMut(u64, Entry) -> bool,
    ) -> Result<(), VaultError> {
        let mut position = first;
        loop {
            // The lock is held for one bundle at a time, so that uploads go on meanwhile.
            let bundle = self.ledger.lock().bundle(position / TILE_WIDTH)?;
            let Some(bundle) = bundle else {
                return Ok(());
            };
            let start = position;
            let damaged = |error: &dyn std::fmt::Display| {
                VaultError::Journal(format!("the bundle with entry {start}: {error}"))
            };
            let entries = decode_bundle(&bundle).map_err(|error| damaged(&error))?;
            let skipped = (position % TILE_WIDTH) as usize;
            for bytes in entries.iter().skip(skipped) {
                let entry = Entry::decode(bytes).map_err(|error| damaged(&error))?;
                if !visit(position, entry) {
                    return Ok(());
                }
                position += 1;
            }
            if (entries.len() as u64) < TILE_WIDTH {
                return Ok(());
            }
        }
    }

    /// Free and total space of the vault's disk.
    ///
    /// # Errors
    /// Those of the system.
    pub fn space(&self) -> Result<Space, VaultError> {
        self.disk.space().map_err(VaultError::Disk)
    }

    /// Logs what is only counted yet, and makes the index durable, so that the next start has nothing to
    /// catch up with.
    ///
    /// # Errors
    /// Those of the ledger and the index.
    pub fn close(&self) -> Result<(), VaultError> {
        self.log_rest_of_refusals()?;
        self.index.sync()
    }
}
