//! What bounds a token, and what is counted: requests a minute, bytes a day, refusals an hour.
//!
//! Windows are those of the vault's own time. What was used is forgotten when the vault stops: a restart
//! gives a token a fresh window, and costs nothing that is kept.

use std::collections::{BTreeMap, HashMap};

use outlast_custody::{Event, Refusals, TokenAdded, TokenId};
use parking_lot::Mutex;

use crate::VaultError;
use crate::vault::{Caller, Vault};

/// Seconds in a minute, an hour and a day.
const MINUTE: u64 = 60;
const HOUR: u64 = 3600;
const DAY: u64 = 86_400;

/// What a token may do at most; zero means no limit but the quota.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TokenLimits {
    /// Bytes that it may put in a day.
    pub put_bytes_daily: u64,
    /// Requests a minute.
    pub requests_per_minute: u32,
}

/// What a token used in the present windows.
#[derive(Debug, Clone, Copy, Default)]
struct Used {
    minute: u64,
    requests: u32,
    day: u64,
    put_bytes: u64,
    read_bytes: u64,
}

impl Used {
    /// Begins new windows where the old ones are over.
    fn at(&mut self, time: u64) -> &mut Self {
        if self.minute != time / MINUTE {
            (self.minute, self.requests) = (time / MINUTE, 0);
        }
        if self.day != time / DAY {
            (self.day, self.put_bytes, self.read_bytes) = (time / DAY, 0, 0);
        }
        self
    }
}

/// Refusals since the last entry about them, and since the start.
#[derive(Debug, Default)]
struct Refused {
    hour: u64,
    since_entry: BTreeMap<&'static str, u64>,
    since_start: BTreeMap<&'static str, u64>,
}

/// Everything that is counted.
#[derive(Debug, Default)]
pub(crate) struct Meters {
    used: Mutex<HashMap<TokenId, Used>>,
    refused: Mutex<Refused>,
}

/// The word under which answers with a status are counted; none for those that are no refusals.
const fn word_of(status: u16) -> Option<&'static str> {
    match status {
        400 | 411 | 416 => Some("malformed"),
        401 => Some("unauthorised"),
        403 => Some("forbidden"),
        405 => Some("method"),
        409 => Some("incomplete"),
        413 => Some("too_long"),
        429 => Some("too_many"),
        507 => Some("full"),
        _ => None,
    }
}

impl Vault {
    /// Counts a request of a token.
    ///
    /// # Errors
    /// [`VaultError::TooMany`] if there are more than it may make in this minute.
    pub(crate) fn count_request(&self, token: &TokenAdded) -> Result<(), VaultError> {
        let most = token.requests_per_minute;
        if most == 0 {
            return Ok(());
        }
        let time = self.time();
        let mut used = self.meters.used.lock();
        let used = used.entry(token.token).or_default().at(time);
        if used.requests >= most {
            let seconds = MINUTE - time % MINUTE;
            return Err(VaultError::TooMany { seconds });
        }
        used.requests += 1;
        Ok(())
    }

    /// Counts bytes that a token is about to put.
    ///
    /// # Errors
    /// [`VaultError::Full`] if there would be more than it may put in this day.
    pub(crate) fn count_put(&self, caller: &Caller, bytes: u64) -> Result<(), VaultError> {
        let most = self.limits_of(caller).put_bytes_daily;
        if most == 0 {
            return Ok(());
        }
        let time = self.time();
        let mut used = self.meters.used.lock();
        let used = used.entry(caller.token()).or_default().at(time);
        let after = used.put_bytes.saturating_add(bytes);
        if after > most {
            return Err(VaultError::Full("the token's volume for today is used up"));
        }
        used.put_bytes = after;
        Ok(())
    }

    /// Gives back what was counted and then not put.
    pub(crate) fn uncount_put(&self, token: TokenId, bytes: u64) {
        if let Some(used) = self.meters.used.lock().get_mut(&token) {
            used.put_bytes = used.put_bytes.saturating_sub(bytes);
        }
    }

    /// Counts bytes of packs that a token reads, of which its repository lets it read so many a day.
    ///
    /// # Errors
    /// [`VaultError::Forbidden`] if they are used up, or if there are none.
    pub(crate) fn count_pack_read(
        &self,
        token: TokenId,
        most: u64,
        bytes: u64,
    ) -> Result<(), VaultError> {
        if most == 0 {
            return Err(VaultError::Forbidden(
                "an append token does not read packs; use a restore token",
            ));
        }
        let time = self.time();
        let mut used = self.meters.used.lock();
        let used = used.entry(token).or_default().at(time);
        let after = used.read_bytes.saturating_add(bytes);
        if after > most {
            return Err(VaultError::Forbidden(
                "what an append token may read of packs in a day is used up; use a restore token",
            ));
        }
        used.read_bytes = after;
        Ok(())
    }

    /// Gives back what was counted and not read.
    pub(crate) fn uncount_pack_read(&self, token: TokenId, bytes: u64) {
        if let Some(used) = self.meters.used.lock().get_mut(&token) {
            used.read_bytes = used.read_bytes.saturating_sub(bytes);
        }
    }

    fn limits_of(&self, caller: &Caller) -> TokenLimits {
        let state = self.state.read();
        let token = state.tokens.get(&caller.token());
        token.map_or_else(TokenLimits::default, |(added, _)| TokenLimits {
            put_bytes_daily: added.put_bytes_daily,
            requests_per_minute: added.requests_per_minute,
        })
    }

    /// Counts an answer, if it is a refusal.
    pub fn count_answer(&self, status: u16) {
        if let Some(word) = word_of(status) {
            let mut refused = self.meters.refused.lock();
            *refused.since_entry.entry(word).or_default() += 1;
            *refused.since_start.entry(word).or_default() += 1;
        }
    }

    /// Refusals since the vault was opened, by word.
    pub fn refusals(&self) -> BTreeMap<&'static str, u64> {
        self.meters.refused.lock().since_start.clone()
    }

    /// To be called now and then: logs once an hour what was refused in it.
    ///
    /// # Errors
    /// Those of the ledger.
    pub fn tick(&self) -> Result<(), VaultError> {
        let hour = self.time() / HOUR;
        let counts = {
            let mut refused = self.meters.refused.lock();
            if refused.hour == hour {
                return Ok(());
            }
            refused.hour = hour;
            std::mem::take(&mut refused.since_entry)
        };
        self.log_refusals(counts)
    }

    /// Logs what was refused and is not in the log yet.
    ///
    /// # Errors
    /// Those of the ledger.
    pub(crate) fn log_rest_of_refusals(&self) -> Result<(), VaultError> {
        let counts = std::mem::take(&mut self.meters.refused.lock().since_entry);
        self.log_refusals(counts)
    }

    fn log_refusals(&self, counts: BTreeMap<&'static str, u64>) -> Result<(), VaultError> {
        if counts.is_empty() || self.read_only_reason().is_some() {
            return Ok(());
        }
        let of_entry = counts
            .iter()
            .map(|(word, count)| ((*word).to_owned(), *count))
            .collect();
        let refusals = Refusals { counts: of_entry };
        let logged = self.commit(vec![Event::Refusals(refusals)]);
        if logged.is_err() {
            // They are told of as soon as the ledger takes something again.
            let mut refused = self.meters.refused.lock();
            for (word, count) in counts {
                *refused.since_entry.entry(word).or_default() += count;
            }
        }
        logged.map(drop)
    }
}
