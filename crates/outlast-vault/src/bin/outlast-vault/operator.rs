//! Does what an operator asks for, on an open vault.

use std::sync::Arc;

use outlast_custody::{RepositoryName, Settings};
use outlast_vault::{Clock, Credentials, TokenLimits, Vault};
use outlast_wire::Invite;

use crate::ask::{
    Answer, Ask, NewToken, Repository, Scrubbed, SealRow, SettingChanges, Status, Token,
};
use crate::exit::Failure;
use crate::folder::Folder;
use crate::scrubber::Scrubber;
use crate::units::{parse_length, parse_size};
use crate::world::SystemClock;

/// Most entries of the log in one answer.
const ENTRIES_MAX: u64 = 10_000;

/// Told how far long work is: so much of so much.
pub type Progress<'a> = &'a mut dyn FnMut(u64, u64);

/// Somebody with the right to administer an open vault.
#[derive(Clone)]
pub struct Operator {
    /// The vault.
    pub vault: Arc<Vault>,
    /// Its folder.
    pub folder: Folder,
    /// Who reads everything through.
    pub scrubber: Scrubber,
    /// Whether the vault serves now.
    pub is_serving: bool,
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Operator {
    /// An operator of the vault in a folder.
    ///
    /// # Errors
    /// If its configuration makes no sense.
    pub fn new(vault: Vault, folder: &Folder, is_serving: bool) -> Result<Self, Failure> {
        let vault = Arc::new(vault);
        Ok(Self {
            scrubber: Scrubber::new(Arc::clone(&vault), folder)?,
            vault,
            folder: folder.clone(),
            is_serving,
        })
    }

    /// Does what is asked for.
    ///
    /// # Errors
    /// Why not.
    pub fn carry_out(&self, ask: Ask, progress: Progress<'_>) -> Result<Answer, Failure> {
        match ask {
            Ask::RepositoryAdd {
                repository,
                settings,
            } => self.add_repository(&repository, &settings),
            Ask::RepositorySet {
                repository,
                settings,
            } => self.change_repository(&repository, &settings),
            Ask::RepositoryList => Ok(Answer::Repositories(self.repositories()?)),
            Ask::TokenAdd(token) => self.add_token(&token),
            Ask::TokenRevoke { token } => {
                let known = self.vault.tokens();
                let found = known.iter().find(|(added, _)| added.token == token);
                match found {
                    None => Err(Failure::new(format!("there is no token {token}"))
                        .hint("`outlast-vault token list` shows them")),
                    Some((_, true)) => Ok(Answer::Done),
                    Some(_) => {
                        self.vault.revoke_token(token)?;
                        Ok(Answer::Done)
                    }
                }
            }
            Ask::TokenList => Ok(Answer::Tokens(self.tokens())),
            Ask::Invite(token) => self.invite(&token),
            Ask::Seals { repository } => self.seals(&repository),
            Ask::Hold {
                repository,
                seal,
                until,
            } => {
                let index = self.vault.extend(&repository, seal, until)?;
                Ok(Answer::Entered { index })
            }
            Ask::Status => Ok(Answer::Status(Box::new(self.status()?))),
            Ask::Log { first, count } => self.entries(first, count),
            Ask::Scrub { unlimited } => self.scrub(unlimited, progress),
        }
    }

    fn defaults(&self) -> Result<Settings, Failure> {
        let defaults = &self.folder.config.repositories;
        let length = |text: &str| parse_length(text).map_err(Failure::new);
        Ok(Settings {
            quota_bytes: parse_size(&defaults.quota).map_err(Failure::new)?,
            hold_seconds_min: length(&defaults.hold_min)?,
            hold_seconds: length(&defaults.hold)?,
            hold_seconds_max: length(&defaults.hold_max)?,
            append_read_bytes_daily: 0,
        })
    }

    fn set(&self, repository: &RepositoryName, settings: Settings) -> Result<Answer, Failure> {
        if settings.hold_seconds.max(settings.hold_seconds_min) > settings.hold_seconds_max {
            return Err(Failure::new(
                "the longest hold that can be asked for must not be shorter than the usual one and the minimum",
            )
            .hint("raise it with --hold-max"));
        }
        if settings.quota_bytes == 0 {
            return Err(Failure::new("a quota of 0 would take nothing"));
        }
        self.vault.set_repository(repository, settings)?;
        Ok(Answer::Repository(self.repository(repository)?))
    }

    fn add_repository(
        &self,
        repository: &RepositoryName,
        changes: &SettingChanges,
    ) -> Result<Answer, Failure> {
        if self.vault.settings(repository).is_ok() {
            let message = format!("there is a repository {repository} already");
            return Err(
                Failure::new(message).hint("`outlast-vault repo set` changes what holds for it")
            );
        }
        self.set(repository, changes.over(&self.defaults()?))
    }

    fn change_repository(
        &self,
        repository: &RepositoryName,
        changes: &SettingChanges,
    ) -> Result<Answer, Failure> {
        if *changes == SettingChanges::default() {
            return Err(Failure::new("nothing to change was given")
                .hint("for example --quota 2T; see `outlast-vault repo set --help`"));
        }
        let before = self.known(repository)?;
        self.set(repository, changes.over(&before))
    }

    fn known(&self, repository: &RepositoryName) -> Result<Settings, Failure> {
        self.vault.settings(repository).map_err(|error| {
            Failure::new(error.to_string())
                .hint("`outlast-vault repo list` shows them, `outlast-vault repo add` adds one")
        })
    }

    fn repository(&self, name: &RepositoryName) -> Result<Repository, Failure> {
        let kept = self.vault.kept(name)?;
        Ok(Repository {
            repository: name.clone(),
            objects: kept.objects,
            bytes: kept.bytes,
            seals: kept.seals,
            has_exact_seals: kept.exact_seals > 0,
            settings: self.vault.settings(name)?,
        })
    }

    fn repositories(&self) -> Result<Vec<Repository>, Failure> {
        let all = self.vault.repositories();
        all.iter().map(|(name, _)| self.repository(name)).collect()
    }

    fn add_token(&self, new: &NewToken) -> Result<Answer, Failure> {
        self.known(&new.repository)?;
        let made = self.make_token(new)?;
        Ok(Answer::Token {
            token: made.token,
            secret: made.secret,
        })
    }

    fn make_token(&self, new: &NewToken) -> Result<Credentials, Failure> {
        let limits = TokenLimits {
            put_bytes_daily: new.put_bytes_daily,
            requests_per_minute: new.requests_per_minute,
        };
        let (repository, scopes) = (&new.repository, &new.scopes);
        let made = self
            .vault
            .add_limited_token(repository, scopes, &new.label, limits);
        Ok(made?)
    }

    fn tokens(&self) -> Vec<Token> {
        let row = |(added, is_revoked): (outlast_custody::TokenAdded, bool)| Token {
            token: added.token,
            repository: added.repository,
            scopes: added.scopes,
            label: added.label,
            is_revoked,
        };
        self.vault.tokens().into_iter().map(row).collect()
    }

    fn invite(&self, new: &NewToken) -> Result<Answer, Failure> {
        let is_new_repository = self.vault.settings(&new.repository).is_err();
        if is_new_repository {
            self.set(&new.repository, self.defaults()?)?;
        }
        let made = self.make_token(new)?;
        let invite = Invite {
            addresses: self.folder.config.addresses.clone(),
            pin: self.folder.pin()?,
            identity: self.vault.identity(),
            repository: new.repository.clone(),
            token: made.token,
            secret: made.secret,
            scopes: new.scopes.clone(),
        };
        Ok(Answer::Invite {
            invite: invite.encode(),
            is_new_repository,
        })
    }

    fn seals(&self, repository: &RepositoryName) -> Result<Answer, Failure> {
        self.known(repository)?;
        let mut rows = Vec::new();
        for (index, seal) in self.vault.seals(repository)? {
            let until = self.vault.held_until(repository, index)?;
            rows.push(SealRow {
                index,
                until: until.unwrap_or(seal.until),
                seal,
            });
        }
        Ok(Answer::Seals(rows))
    }

    fn status(&self) -> Result<Status, Failure> {
        let space = self.vault.space()?;
        Ok(Status {
            software: concat!("outlast-vault ", env!("CARGO_PKG_VERSION")).to_owned(),
            identity: self.vault.identity().to_string(),
            pin: self.folder.pin()?.map(|pin| hex(&pin)),
            addresses: self.folder.config.addresses.clone(),
            is_serving: self.is_serving,
            read_only: self.vault.read_only_reason(),
            time: self.vault.time(),
            clock: SystemClock.now().clock,
            log_entries: self.vault.log_size(),
            last_scrub: self.vault.last_scrub(),
            damaged_objects: self.vault.known_damaged() as u64,
            disk_free_bytes: space.free,
            disk_total_bytes: space.total,
            repositories: self.repositories()?,
        })
    }

    fn entries(&self, first: Option<u64>, count: u64) -> Result<Answer, Failure> {
        let count = count.min(ENTRIES_MAX);
        let first = first.unwrap_or_else(|| self.vault.log_size().saturating_sub(count));
        let mut entries = Vec::new();
        if count > 0 {
            self.vault.entries(first, &mut |position, entry| {
                entries.push((position, entry));
                (entries.len() as u64) < count
            })?;
        }
        Ok(Answer::Entries(entries))
    }

    fn scrub(&self, unlimited: bool, progress: Progress<'_>) -> Result<Answer, Failure> {
        let limit = self.folder.config.scrub_bytes_per_second()?;
        let limit = limit.filter(|_| !unlimited);
        let state = self.scrubber.run(limit, progress)?;
        let state = state.ok_or_else(|| {
            Failure::new("the vault is stopping").hint("the rest is read after its next start")
        })?;
        let name = |(repository, name): &(RepositoryName, outlast_object::ObjectName)| {
            format!("{repository}/{name}")
        };
        Ok(Answer::Scrubbed(Scrubbed {
            objects: state.objects,
            bytes: state.bytes,
            damaged: state.damaged.iter().map(name).collect(),
        }))
    }
}
