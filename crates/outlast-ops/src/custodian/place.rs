//! From the name of a custodian to the place where its repository is.

use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use outlast_custody::Scope;
use outlast_format::Time;
use outlast_object::{ObjectKind, ObjectName};
use outlast_repo::{AdmissionFacts, Admitted, TrustHorizon};
use outlast_store::{Capabilities, ConnectOptions, Location, SftpOptions};
use outlast_wire::Invite;

use super::{
    BUCKET, BucketUse, Custodian, CustodianError, CustodianKind, Custodians, DIRECTORY, DISK, VAULT,
};
use crate::config::Places;

/// An address that does not answer for so long is passed over where there is another.
const KNOCK_TIME: Duration = Duration::from_secs(3);

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
    [VAULT, DISK, DIRECTORY, BUCKET]
        .iter()
        .any(|scheme| text.starts_with(scheme))
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
    let name = [VAULT, DISK, DIRECTORY, BUCKET]
        .iter()
        .find_map(|scheme| text.strip_prefix(scheme));
    let Some(name) = name else {
        return match as_of {
            Some(_) => Err(CustodianError::AsOf),
            None => Ok(Place {
                location: Location::parse(text)?,
                custodian: None,
            }),
        };
    };
    let custodian = Custodians::of(&Places::of_user()?).find(name)?;
    if custodian.location() != text {
        return Err(CustodianError::Unknown(text.to_owned()));
    }
    place_of_custodian(custodian, as_of, connect)
}

/// The place of a custodian, as [`find_place`] finds it by its name.
///
/// # Errors
/// As [`find_place`]; [`CustodianError::DiskAway`].
pub fn place_of_custodian(
    custodian: Custodian,
    as_of: Option<&str>,
    connect: &mut ConnectOptions,
) -> Result<Place, CustodianError> {
    let invite = match &custodian.kind {
        CustodianKind::Vault(invite) => invite,
        CustodianKind::Folder(_) | CustodianKind::Bucket(_) if as_of.is_some() => {
            return Err(CustodianError::AsOf);
        }
        CustodianKind::Bucket(bucket) => {
            let (keys, capabilities) = match bucket.is_reader {
                true => (BucketUse::Read, Capabilities::RESTORE),
                // Where other keys are for reading, those that add are taken to add alone.
                false if bucket.read.is_some() => (BucketUse::Write, Capabilities::ENROL),
                false => (BucketUse::Write, Capabilities::ALL),
            };
            bucket.configure(keys, connect)?;
            connect.capabilities = capabilities;
            return Ok(Place {
                location: Location::S3(bucket.place()?),
                custodian: Some(custodian),
            });
        }
        CustodianKind::Folder(folder) => {
            if let Some(remote) = &folder.remote {
                if connect.sftp == SftpOptions::default() {
                    connect.sftp.command = remote.command.clone();
                    connect.sftp.arguments = remote.arguments.clone();
                }
                connect.sftp.is_there = true;
                return Ok(Place {
                    location: Location::parse(&remote.address)?,
                    custodian: Some(custodian),
                });
            }
            let path = folder.find().ok_or_else(|| CustodianError::DiskAway {
                name: custodian.name.clone(),
                path: folder.path.clone(),
            })?;
            return Ok(Place {
                location: Location::Local(path),
                custodian: Some(custodian),
            });
        }
    };
    let view = match as_of {
        None => String::new(),
        Some(moment) if is_moment(moment) => format!("as-of/{moment}/"),
        Some(moment) => return Err(CustodianError::Moment(moment.to_owned())),
    };
    let one = Invite {
        addresses: vec![address(invite).to_owned()],
        ..(**invite).clone()
    };
    let location = outlast_wire::locations(&one, &view)?.into_iter().next();
    let location = location.ok_or_else(|| CustodianError::Unknown(custodian.name.clone()))?;
    connect.tls.pin = invite.pin;
    let capabilities = capabilities(invite);
    connect.capabilities = Capabilities {
        adds: capabilities.adds && as_of.is_none(),
        ..capabilities
    };
    Ok(Place {
        location: Location::Rest(location),
        custodian: Some(custodian),
    })
}

/// The address that answers: the first, unless it does not and another does.
pub(super) fn address(invite: &Invite) -> &str {
    let answers = |address: &&String| {
        let resolved = address.to_socket_addrs();
        resolved.is_ok_and(|mut found| {
            found.any(|address| TcpStream::connect_timeout(&address, KNOCK_TIME).is_ok())
        })
    };
    let found = match invite.addresses.as_slice() {
        [only] => Some(only),
        several => several.iter().find(answers).or(several.first()),
    };
    found.map_or("", String::as_str)
}

/// What the token of an invite is good for.
fn capabilities(invite: &Invite) -> Capabilities {
    let has = |scope| invite.scopes.contains(&scope);
    Capabilities {
        reads_packs: has(Scope::Restore) || has(Scope::Pull),
        adds: has(Scope::Append) || has(Scope::Enrol),
        adds_keys: has(Scope::Enrol),
        removes: false,
    }
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
