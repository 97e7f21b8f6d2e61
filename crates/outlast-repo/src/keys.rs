//! Key files: finding the one that the password opens among many, adding and listing them.

use std::time::Duration;

use outlast_format::{FormatError, KeyFile, MasterKey, ScryptCost, Time};
use outlast_object::{Id, ObjectKind, ObjectName, hash};
use outlast_store::{Store, StoreError};

use crate::environment::{random_bytes, random_iv};
use crate::repository::read_verified;
use crate::{Clock, Environment, Notice, RepoError};

/// Key files looked at; more are passed over with a notice.
pub(crate) const KEY_FILES_MAX: usize = 4096;
/// Time that a password of people should cost whoever tries it.
const CALIBRATION_TARGET: Duration = Duration::from_millis(500);
/// Memory that a new key may demand: 128·N·r bytes at most, what restic's keys do.
const CALIBRATION_MEMORY_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// One key file, for listings.
#[derive(Debug, Clone)]
pub struct KeyInfo {
    /// The key file.
    pub id: Id,
    /// Whether it is the one that opened the repository.
    pub current: bool,
    /// When it was made, as it claims.
    pub created: Time,
    /// Who made it, as it claims.
    pub username: String,
    /// Where it was made, as it claims.
    pub hostname: String,
}

/// What a new key file is made of.
#[derive(Debug, Clone)]
pub struct NewKey<'a> {
    /// The password.
    pub password: &'a [u8],
    /// Cost of trying a password.
    pub cost: ScryptCost,
    /// User named in it.
    pub username: &'a str,
    /// Host named in it.
    pub hostname: &'a str,
}

/// The key that opened a repository.
#[derive(Debug)]
pub(crate) struct OpenedKey {
    pub(crate) id: Id,
    pub(crate) master: MasterKey,
}

/// Finds the key file that the password opens. Those that are damaged, planted or too costly are
/// passed over with a notice; cheap ones are tried first, so that planted costly ones stop nobody.
pub(crate) fn search_key(
    store: &dyn Store,
    environment: &Environment,
    password: &[u8],
    hint: Option<&str>,
) -> Result<OpenedKey, RepoError> {
    let mut candidates = Vec::new();
    let mut keys_skipped = 0;
    let mut ids: Vec<Id> = store
        .list_all(ObjectKind::Key)?
        .iter()
        .map(|info| info.id)
        .collect();
    ids.sort_by_key(|id| {
        !hint.is_some_and(|hint| !hint.is_empty() && id.to_hex().starts_with(hint))
    });
    if ids.len() > KEY_FILES_MAX {
        let text = format!(
            "{} key files are too many, {KEY_FILES_MAX} were looked at",
            ids.len()
        );
        environment.notice(Notice::Other(text));
        ids.truncate(KEY_FILES_MAX);
    }
    for (order, id) in ids.into_iter().enumerate() {
        match read_key(store, id) {
            Ok(file) => candidates.push((order, id, file)),
            Err(RepoError::Store(error)) if error.is_not_found() => {}
            Err(RepoError::Store(error)) if error.is_retryable() => return Err(error.into()),
            Err(error) => {
                keys_skipped += 1;
                environment.notice(Notice::BadKey {
                    id,
                    reason: error.to_string(),
                });
            }
        }
    }
    let hinted =
        |id: &Id| hint.is_some_and(|hint| !hint.is_empty() && id.to_hex().starts_with(hint));
    candidates.sort_by_key(|(order, id, file)| (!hinted(id), total_cost(file.cost()), *order));
    let mut keys_tried = 0;
    for (_, id, file) in candidates {
        match file.unwrap(password) {
            Ok(master) => return Ok(OpenedKey { id, master }),
            Err(FormatError::Unauthentic) => keys_tried += 1,
            Err(error) => {
                keys_skipped += 1;
                environment.notice(Notice::BadKey {
                    id,
                    reason: error.to_string(),
                });
            }
        }
    }
    Err(RepoError::WrongPassword {
        keys_tried,
        keys_skipped,
    })
}

fn total_cost(cost: ScryptCost) -> u128 {
    u128::from(cost.n) * u128::from(cost.r) * u128::from(cost.p)
}

pub(crate) fn read_key(store: &dyn Store, id: Id) -> Result<KeyFile, RepoError> {
    let name = ObjectName::new(ObjectKind::Key, id);
    let bytes = read_verified(store, &name)?;
    KeyFile::from_json(&bytes).map_err(|error| RepoError::damaged(name, error))
}

/// Adds a key file that wraps `master`; gives its id. [`RepoError::KeysRefused`] where the store
/// does not take any with these credentials.
pub fn add_key(
    store: &dyn Store,
    environment: &Environment,
    master: &MasterKey,
    new: &NewKey<'_>,
) -> Result<Id, RepoError> {
    let refused = |reason: String| RepoError::KeysRefused {
        location: store.location(),
        reason,
    };
    if !store.capabilities().adds_keys {
        let reason = "config and keys are put there once, when the repository is made";
        return Err(refused(reason.to_owned()));
    }
    let origin = (
        environment.clock.now(),
        new.username.to_owned(),
        new.hostname.to_owned(),
    );
    let file = KeyFile::wrap(
        master,
        new.password,
        new.cost,
        origin,
        &random_bytes()?,
        random_iv()?,
    )?;
    let bytes = file.to_json()?;
    let id = hash(&bytes);
    match store.write(&ObjectName::new(ObjectKind::Key, id), &bytes) {
        Err(StoreError::Denied { reason, .. }) => Err(refused(reason)),
        Err(error) => Err(error.into()),
        Ok(()) => Ok(id),
    }
}

/// All key files that are readable; others are passed over with a notice.
pub fn list_keys(
    store: &dyn Store,
    environment: &Environment,
    current: Id,
) -> Result<Vec<KeyInfo>, RepoError> {
    let mut keys = Vec::new();
    for info in store.list_all(ObjectKind::Key)? {
        match read_key(store, info.id) {
            Ok(file) => keys.push(KeyInfo {
                id: info.id,
                current: info.id == current,
                created: file.created,
                username: file.username,
                hostname: file.hostname,
            }),
            Err(RepoError::Store(error)) => return Err(error.into()),
            Err(error) => {
                environment.notice(Notice::BadKey {
                    id: info.id,
                    reason: error.to_string(),
                });
            }
        }
    }
    Ok(keys)
}

/// A scrypt cost that takes up to half a second and 32 MiB on this machine, and never less than four rounds
/// through that memory.
pub fn calibrate_scrypt(clock: &dyn Clock) -> Result<ScryptCost, RepoError> {
    let mut cost = ScryptCost::PASSWORD_MIN;
    let master = MasterKey::from_bytes(&[1; MasterKey::LEN])?;
    loop {
        let start = clock.monotonic();
        let origin = (Time::ZERO, String::new(), String::new());
        KeyFile::wrap(&master, b"calibration", cost, origin, &[1; 64], [1; 16])?;
        let taken = clock.monotonic().saturating_sub(start);
        let memory = 128 * cost.n * u64::from(cost.r);
        if taken * 2 > CALIBRATION_TARGET {
            return Ok(cost);
        }
        if memory * 2 <= CALIBRATION_MEMORY_BYTES_MAX {
            cost.n *= 2;
        } else if cost.p < 8 {
            cost.p *= 2;
        } else {
            return Ok(cost);
        }
    }
}
