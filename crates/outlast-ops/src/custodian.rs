//! Custodians: the vaults that keep copies, as their invites describe them.
//!
//! Each is a file of its own in the configuration folder, for its owner alone, with the invite as
//! it was given. `vault:NAME` is the location of its repository.

use std::fs;
use std::io;
use std::net::{TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

use outlast_custody::Scope;
use outlast_format::Time;
use outlast_object::{ObjectKind, ObjectName};
use outlast_repo::{AdmissionFacts, Admitted, TrustHorizon};
use outlast_store::{Capabilities, ConnectOptions, Location, RestOptions, StoreError};
use outlast_wire::{Invite, InviteError, VaultClient, WireError};

use crate::config::{ConfigurationError, Places, read_secret, write_durably};

/// How locations of custodians begin.
const PREFIX: &str = "vault:";
/// How the files are called.
const EXTENSION: &str = "invite";
/// Longest name.
const NAME_BYTES_MAX: usize = 64;
/// An address that does not answer for so long is passed over where there is another.
const KNOCK_TIME: Duration = Duration::from_secs(3);

/// What goes wrong with custodians.
#[derive(Debug, thiserror::Error)]
pub enum CustodianError {
    /// A file.
    #[error(transparent)]
    Configuration(#[from] ConfigurationError),
    /// The line is no invite.
    #[error(transparent)]
    Invite(#[from] InviteError),
    /// There is no custodian of that name.
    #[error("there is no custodian {0:?}; `outlast custodian list` shows them")]
    Unknown(String),
    /// A name that cannot be one.
    #[error("{0:?} is no name for a custodian: use 1 to 64 of a-z, 0-9, '.', '_' and '-'")]
    Name(String),
    /// Somebody else has the name.
    #[error("there is another custodian {0:?}; choose a name with --name")]
    Taken(String),
    /// Only vaults show the past.
    #[error("--as-of is for the repositories of custodians, as -r vault:NAME")]
    AsOf,
    /// A time that is none.
    #[error(
        "{0:?} is no moment: write 2026-11-01, 2026-11-01T08:00:00Z, or a position in the vault's log"
    )]
    Moment(String),
    /// The address cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The vault.
    #[error(transparent)]
    Wire(#[from] WireError),
}

/// A custodian, under the name by which it is known here.
#[derive(Debug, Clone)]
pub struct Custodian {
    /// The name.
    pub name: String,
    /// What is needed to reach it and to verify what it says.
    pub invite: Invite,
}

/// What became of an invite.
#[derive(Debug, Clone)]
pub struct AddedCustodian {
    /// The custodian.
    pub custodian: Custodian,
    /// An older token for the same repository was replaced.
    pub replaced: bool,
}

/// The custodians of a user.
#[derive(Debug, Clone)]
pub struct Custodians {
    folder: PathBuf,
}

fn is_name(text: &str) -> bool {
    let plain =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
    (1..=NAME_BYTES_MAX).contains(&text.len())
        && !text.starts_with(['.', '-'])
        && text.bytes().all(plain)
}

/// A name made of what an identity calls itself.
fn usual_name(invite: &Invite) -> String {
    let fit = |character: char| match character.to_ascii_lowercase() {
        fine @ ('a'..='z' | '0'..='9' | '.' | '_' | '-') => fine,
        _ => '-',
    };
    let name: String = invite.identity.name().chars().map(fit).take(40).collect();
    let name = name.trim_start_matches(['.', '-']).to_owned();
    let name = if name.is_empty() {
        "vault".to_owned()
    } else {
        name
    };
    if invite.scopes.contains(&Scope::Append) {
        name
    } else {
        format!("{name}-restore")
    }
}

impl Custodians {
    /// Those of the user.
    pub fn of(places: &Places) -> Self {
        Self {
            folder: places.custodians.clone(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.{EXTENSION}"))
    }

    /// All custodians, by name.
    ///
    /// # Errors
    /// If a file cannot be read, can be read by others, or holds no invite.
    pub fn list(&self) -> Result<Vec<Custodian>, CustodianError> {
        let failed = |source| ConfigurationError::Io {
            path: self.folder.clone(),
            source,
        };
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            result => result.map_err(failed)?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let path = entry.map_err(failed)?.path();
            let stem = path.file_stem().and_then(|stem| stem.to_str());
            if path
                .extension()
                .is_some_and(|extension| extension == EXTENSION)
                && let Some(name) = stem.filter(|name| is_name(name))
            {
                names.push(name.to_owned());
            }
        }
        names.sort();
        names.iter().map(|name| self.find(name)).collect()
    }

    /// The custodian of this name.
    ///
    /// # Errors
    /// [`CustodianError::Unknown`]; those of the file.
    pub fn find(&self, name: &str) -> Result<Custodian, CustodianError> {
        if !is_name(name) {
            return Err(CustodianError::Name(name.to_owned()));
        }
        let path = self.path(name);
        let text = read_secret(&path)?.ok_or_else(|| CustodianError::Unknown(name.to_owned()))?;
        let text = String::from_utf8_lossy(&text);
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let invite = lines
            .collect::<String>()
            .parse()
            .map_err(|error: InviteError| ConfigurationError::Invalid {
                path,
                reason: error.to_string(),
            })?;
        let name = name.to_owned();
        Ok(Custodian { name, invite })
    }

    /// Keeps an invite under this name, or one that suits it. A new token for the same repository of
    /// the same custodian replaces the old one.
    ///
    /// # Errors
    /// [`CustodianError::Taken`]; those of the file.
    pub fn add(
        &self,
        invite: Invite,
        name: Option<&str>,
    ) -> Result<AddedCustodian, CustodianError> {
        let is_same = |other: &Custodian| {
            other.invite.identity == invite.identity
                && other.invite.repository == invite.repository
                && other.invite.scopes.contains(&Scope::Append)
                    == invite.scopes.contains(&Scope::Append)
        };
        let usual = usual_name(&invite);
        let candidates = match name {
            Some(name) => vec![name.to_owned()],
            None => vec![usual.clone(), format!("{usual}-{}", invite.repository)],
        };
        for name in &candidates {
            let replaced = match self.find(name) {
                Err(CustodianError::Unknown(_)) => false,
                Err(error) => return Err(error),
                Ok(other) if is_same(&other) => true,
                Ok(_) => continue,
            };
            let custodian = Custodian {
                name: name.clone(),
                invite,
            };
            self.write(&custodian)?;
            return Ok(AddedCustodian {
                custodian,
                replaced,
            });
        }
        Err(CustodianError::Taken(candidates[0].clone()))
    }

    fn write(&self, custodian: &Custodian) -> Result<(), CustodianError> {
        let invite = &custodian.invite;
        let text = format!(
            "# The repository {} at {}, for a vault called {}.\n# Whoever has this line has the token in it.\n{}\n",
            invite.repository,
            invite.addresses.join(", "),
            invite.identity.name(),
            invite.encode()
        );
        let path = self.path(&custodian.name);
        write_durably(&path, text.as_bytes(), 0o600)
            .map_err(|source| ConfigurationError::Io { path, source })?;
        Ok(())
    }

    /// Forgets a custodian on this machine. What it keeps stays, and so do its receipts.
    ///
    /// # Errors
    /// [`CustodianError::Unknown`]; those of the file.
    pub fn remove(&self, name: &str) -> Result<(), CustodianError> {
        if !is_name(name) {
            return Err(CustodianError::Name(name.to_owned()));
        }
        let path = self.path(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(CustodianError::Unknown(name.to_owned()))
            }
            result => Ok(result.map_err(|source| ConfigurationError::Io { path, source })?),
        }
    }
}

impl Custodian {
    /// The address that answers: the first, unless it does not and another does.
    fn address(&self) -> &str {
        let addresses = &self.invite.addresses;
        let answers = |address: &&String| {
            let resolved = address.to_socket_addrs();
            resolved.is_ok_and(|mut found| {
                found.any(|address| TcpStream::connect_timeout(&address, KNOCK_TIME).is_ok())
            })
        };
        let found = match addresses.as_slice() {
            [only] => Some(only),
            several => several.iter().find(answers).or(several.first()),
        };
        found.map_or("", String::as_str)
    }

    /// A client for the vault's own API.
    ///
    /// # Errors
    /// [`CustodianError`] if the address cannot be used.
    pub fn client(&self, connect: &ConnectOptions) -> Result<VaultClient, CustodianError> {
        let options = RestOptions {
            timeouts: connect.timeouts,
            ..RestOptions::default()
        };
        Ok(VaultClient::new(&self.invite, self.address(), options)?)
    }

    /// What the token is good for.
    fn capabilities(&self) -> Capabilities {
        let has = |scope| self.invite.scopes.contains(&scope);
        Capabilities {
            reads_packs: has(Scope::Restore) || has(Scope::Pull),
            adds: has(Scope::Append) || has(Scope::Enrol),
            adds_keys: has(Scope::Enrol),
            removes: false,
        }
    }
}

/// A location, and the custodian that keeps it if it is one.
#[derive(Debug, Clone)]
pub struct Place {
    /// Where it is.
    pub location: Location,
    /// Who keeps it.
    pub custodian: Option<Custodian>,
}

/// Whether the text names a custodian's repository.
pub fn is_custodian_location(text: &str) -> bool {
    text.starts_with(PREFIX)
}

/// Whether this is a position, a date or a moment with its zone, as vaults take them.
fn is_moment(text: &str) -> bool {
    let date = |text: &str| text.parse::<jiff::civil::Date>().is_ok();
    text.parse::<u64>().is_ok() || date(text) || text.parse::<jiff::Timestamp>().is_ok()
}

/// Finds the place that a location names, and says in `connect` what is known of it: the pinned key
/// and what the token is good for. With `as_of` the repository as it was then.
///
/// # Errors
/// [`CustodianError`]; [`CustodianError::Store`] for a location that is none.
pub fn find_place(
    text: &str,
    as_of: Option<&str>,
    connect: &mut ConnectOptions,
) -> Result<Place, CustodianError> {
    let Some(name) = text.strip_prefix(PREFIX) else {
        return match as_of {
            Some(_) => Err(CustodianError::AsOf),
            None => Ok(Place {
                location: Location::parse(text)?,
                custodian: None,
            }),
        };
    };
    let custodian = Custodians::of(&Places::of_user()?).find(name)?;
    place_of_custodian(custodian, as_of, connect)
}

/// The place of a custodian's repository, whether this user has the custodian in a file or not, and
/// what is known of it in `connect`. With `as_of` the repository as it was then.
///
/// # Errors
/// [`CustodianError`].
pub fn place_of_custodian(
    custodian: Custodian,
    as_of: Option<&str>,
    connect: &mut ConnectOptions,
) -> Result<Place, CustodianError> {
    let view = match as_of {
        None => String::new(),
        Some(moment) if is_moment(moment) => format!("as-of/{moment}/"),
        Some(moment) => return Err(CustodianError::Moment(moment.to_owned())),
    };
    let address = custodian.address().to_owned();
    let one = Invite {
        addresses: vec![address],
        ..custodian.invite.clone()
    };
    let location = outlast_wire::locations(&one, &view)?.into_iter().next();
    let location = location.ok_or_else(|| CustodianError::Unknown(custodian.name.clone()))?;
    connect.tls.pin = custodian.invite.pin;
    connect.capabilities = Capabilities {
        adds: custodian.capabilities().adds && as_of.is_none(),
        ..custodian.capabilities()
    };
    Ok(Place {
        location: Location::Rest(location),
        custodian: Some(custodian),
    })
}

/// What a custodian says of itself at the first meeting.
#[derive(Debug, Clone)]
pub struct Meeting {
    /// Most bytes that the repository may take.
    pub quota_bytes: u64,
    /// How long a seal holds, seconds.
    pub hold_seconds: u64,
    /// Entries in its log, proven.
    pub log_entries: u64,
}

/// Meets a custodian: it must answer with the pinned key, know the token, and sign its log with
/// the identity of the invite.
///
/// # Errors
/// [`CustodianError::Wire`].
pub fn meet(custodian: &Custodian, connect: &ConnectOptions) -> Result<Meeting, CustodianError> {
    let client = custodian.client(connect)?;
    let state = client.state()?;
    let checkpoint = client.checkpoint(&[])?;
    Ok(Meeting {
        quota_bytes: state.settings.quota_bytes,
        hold_seconds: state.settings.hold_seconds,
        log_entries: checkpoint.checkpoint().size,
    })
}

/// When a custodian admitted the objects of these kinds, as it says itself.
///
/// # Errors
/// [`CustodianError::Wire`].
pub fn admission_facts(
    custodian: &Custodian,
    connect: &ConnectOptions,
    kinds: &[ObjectKind],
) -> Result<AdmissionFacts, CustodianError> {
    let client = custodian.client(connect)?;
    let mut facts = Vec::new();
    for kind in kinds {
        for row in client.objects(*kind)? {
            let seconds = i64::try_from(row.presence.time).unwrap_or(i64::MAX);
            let admitted = Admitted {
                position: row.presence.position,
                time: Time::utc(seconds, 0),
            };
            facts.push((ObjectName::new(*kind, row.id.0), admitted));
        }
    }
    Ok(AdmissionFacts::new(facts))
}

/// The horizon that a moment names: a position in the log, a date in UTC, or a time with its zone.
///
/// # Errors
/// [`CustodianError::Moment`].
pub fn parse_horizon(text: &str) -> Result<TrustHorizon, CustodianError> {
    if let Ok(position) = text.parse::<u64>() {
        return Ok(TrustHorizon::Position(position));
    }
    let midnight = || {
        // A time of day without its zone would be read as the date alone.
        let is_date = text
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'-');
        let date = text.parse::<jiff::civil::Date>().ok().filter(|_| is_date)?;
        date.to_zoned(jiff::tz::TimeZone::UTC).ok()
    };
    let moment = text.parse::<jiff::Timestamp>().ok();
    let moment = moment.or_else(|| midnight().map(|zoned| zoned.timestamp()));
    let moment = moment.ok_or_else(|| CustodianError::Moment(text.to_owned()))?;
    Ok(TrustHorizon::Time(Time::utc(moment.as_second(), 0)))
}

/// Where receipts and checkpoints of a custodian are kept.
pub(crate) fn memory_folder(places: &Places, custodian: &str) -> PathBuf {
    Path::new(&places.receipts).join(custodian)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn horizons_are_positions_dates_and_times() {
        assert_eq!(parse_horizon("12").unwrap(), TrustHorizon::Position(12));
        let day = TrustHorizon::Time(Time::utc(1_793_491_200, 0));
        assert_eq!(parse_horizon("2026-11-01").unwrap(), day);
        assert_eq!(parse_horizon("2026-11-01T01:00:00+01:00").unwrap(), day);
        for bad in ["", "-1", "yesterday", "2026-13-01", "2026-11-01T01:00:00"] {
            assert!(parse_horizon(bad).is_err(), "{bad}");
        }
    }
}
