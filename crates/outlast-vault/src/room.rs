//! Room on the disk and in quotas: set aside before it is used, and never all of it.
//!
//! Whoever can fill a disk must not be able to stop the ledger by it. So uploads leave a reserve free, the lists
//! of seals leave a part of that, and the ledger stops before the disk is full, since an append that failed
//! would make the vault read-only until it was checked.

use outlast_custody::{RepositoryName, TokenId};

use crate::VaultError;
use crate::index::Chain;
use crate::vault::{Caller, Vault};

const MIB: u64 = 1024 * 1024;
/// Share of the disk that uploads never fill, in bytes.
const RESERVE_BYTES: u64 = 256 * MIB;
/// The part of it that lists of seals never fill: only entries of the ledger do.
const LEDGER_RESERVE_BYTES: u64 = 64 * MIB;
/// Where the ledger itself stops: more than any batch and the tiles and index that follow from it.
const LEDGER_FLOOR_BYTES: u64 = 16 * MIB;
/// Bytes by which lists may exceed a quota, so that the last backup that fits can be sealed.
const LISTS_BEYOND_QUOTA_BYTES: u64 = 64 * MIB;

/// What a repository uses of its quota, in bytes.
#[derive(Default)]
pub(crate) struct Usage {
    bytes: u64,
    reserved: u64,
}

impl Usage {
    /// What the log says of it.
    pub(crate) fn of(chain: &Chain) -> Self {
        Self {
            bytes: chain.bytes.saturating_add(chain.list_bytes),
            reserved: 0,
        }
    }
}

/// Room set aside; given back when it is dropped.
pub(crate) struct Reservation<'a> {
    vault: &'a Vault,
    /// Whose volume of the day it counts against, if it does.
    token: Option<TokenId>,
    repository: RepositoryName,
    bytes: u64,
    kept: u64,
}

impl Reservation<'_> {
    /// So many bytes are kept now.
    pub(crate) fn spend(mut self, bytes: u64) {
        self.kept = bytes;
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        // What is kept is what the log says: the same object, put twice at the same time or put back
        // after its loss, is one. It only ever grows, so that a late look makes it no smaller.
        let logged = match self.kept {
            0 => None,
            _ => self.vault.index.chain(&self.repository).ok(),
        };
        let mut usage = self.vault.usage.lock();
        let usage = usage.entry(self.repository.clone()).or_default();
        usage.reserved = usage.reserved.saturating_sub(self.bytes);
        usage.bytes = match logged {
            Some(chain) => usage.bytes.max(Usage::of(&chain).bytes),
            None => usage.bytes.saturating_add(self.kept),
        };
        if let Some(token) = self.token {
            let unused = self.bytes.saturating_sub(self.kept);
            self.vault.uncount_put(token, unused);
        }
    }
}

impl Vault {
    /// Sets room for an upload aside, or says that there is none.
    pub(crate) fn reserve(
        &self,
        caller: &Caller,
        bytes: u64,
    ) -> Result<Reservation<'_>, VaultError> {
        let quota = self.settings(caller.repository())?.quota_bytes;
        let mut reservation = self.set_aside(caller, bytes, quota, &|on_the_way| {
            on_the_way.saturating_add(RESERVE_BYTES)
        })?;
        self.count_put(caller, bytes)?;
        reservation.token = Some(caller.token());
        Ok(reservation)
    }

    /// Sets room for the list of a seal aside. It counts against the quota too: lists are as large as
    /// whoever makes seals likes, and are kept as long as the seals.
    pub(crate) fn reserve_list(
        &self,
        caller: &Caller,
        bytes: u64,
    ) -> Result<Reservation<'_>, VaultError> {
        let quota = self.settings(caller.repository())?.quota_bytes;
        let quota = quota.saturating_add(LISTS_BEYOND_QUOTA_BYTES);
        // Uploads on the way fill nothing of the reserve.
        self.set_aside(caller, bytes, quota, &|_| LEDGER_RESERVE_BYTES)
    }

    /// `left_free` says what must stay free, given what is on the way.
    fn set_aside(
        &self,
        caller: &Caller,
        bytes: u64,
        quota: u64,
        left_free: &dyn Fn(u64) -> u64,
    ) -> Result<Reservation<'_>, VaultError> {
        let free = self.disk.space().map_err(VaultError::Disk)?.free;
        let mut usages = self.usage.lock();
        let on_the_way: u64 = usages.values().map(|usage| usage.reserved).sum();
        if free < bytes.saturating_add(left_free(on_the_way)) {
            return Err(VaultError::Full("the vault's disk is full"));
        }
        let usage = usages.entry(caller.repository().clone()).or_default();
        let after = usage
            .bytes
            .saturating_add(usage.reserved)
            .saturating_add(bytes);
        if after > quota {
            return Err(VaultError::Full("the repository's quota is used up"));
        }
        usage.reserved += bytes;
        Ok(Reservation {
            vault: self,
            token: None,
            repository: caller.repository().clone(),
            bytes,
            kept: 0,
        })
    }

    /// Whether the ledger has room for what comes next.
    ///
    /// # Errors
    /// [`VaultError::Full`] if it has not. Nothing has failed then: as soon as there is room it goes on.
    pub(crate) fn check_room_of_ledger(&self) -> Result<(), VaultError> {
        if self.disk.space().map_err(VaultError::Disk)?.free < LEDGER_FLOOR_BYTES {
            return Err(VaultError::Full(
                "the vault's disk is full, the ledger's reserve included",
            ));
        }
        Ok(())
    }
}
