//! `status`: what is kept where, and the honest verdict.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use outlast_custody::SafetyVerdict;
use outlast_format::Time;
use outlast_object::Id;
use outlast_repo::{Cancel, Environment, StoredSnapshot};

use crate::config::{Configuration, Places, read_secret};
use crate::custodian::{Custodians, find_place};
use crate::keepers::{Kept, Proven};
use crate::protect::ProtectError;
use crate::receipts::held_by;
use crate::session::{CacheChoice, Session, SessionOptions, stored_snapshots};

/// How safe a backup is. One place is never safe: whoever reaches it has everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing is backed up.
    Nothing,
    /// A copy exists, at one place only, and nobody vouches for it.
    OnePlace,
    /// One custodian has signed that it holds the newest snapshot.
    OneCustodian {
        /// Its name here.
        custodian: String,
        /// Until when, by the custodian's time, seconds since 1970.
        until: u64,
    },
    /// Several keep it, and the custody policy is not satisfied yet.
    NotYet {
        /// The sentence.
        sentence: String,
    },
    /// The custody policy is satisfied.
    Safe {
        /// Until when it is held by those that suffice, seconds since 1970.
        held_until: u64,
        /// The sentence.
        sentence: String,
    },
}

impl Verdict {
    /// What follows from a judgement by the custody policy. One custodian that holds it by its receipt
    /// is named as such.
    pub fn judged(verdict: &SafetyVerdict, sentence: String, kept: &[Kept]) -> Self {
        if let SafetyVerdict::Safe { held_until, .. } = verdict {
            return Self::Safe {
                held_until: *held_until,
                sentence,
            };
        }
        match kept {
            [
                Kept {
                    outcome: Ok(Proven::Receipt(held)),
                    ..
                },
            ] => Self::OneCustodian {
                custodian: held.custodian.clone(),
                until: held.receipt.seal().until,
            },
            [_] => Self::OnePlace,
            _ => Self::NotYet { sentence },
        }
    }

    /// Whether it is safe.
    pub fn is_safe(&self) -> bool {
        matches!(self, Self::Safe { .. })
    }

    /// The verdict as one line for people.
    pub fn sentence(&self) -> String {
        match self {
            Verdict::Nothing => {
                "kept nowhere: NOT SAFE; run `outlast protect PATH` to make the first copy"
                    .to_owned()
            }
            Verdict::OnePlace => {
                "kept in 1 place: NOT SAFE YET; next, copy the repository to a disk or a host that \
                 nobody with access to this machine can change"
                    .to_owned()
            }
            Verdict::NotYet { sentence } | Verdict::Safe { sentence, .. } => sentence.clone(),
            Verdict::OneCustodian { custodian, until } => format!(
                "held by {custodian} until {}, by its signed receipt: NOT SAFE YET against the loss of \
                 {custodian} itself; next, keep a copy that does not depend on it",
                moment(*until)
            ),
        }
    }

    /// The word for programs.
    pub fn word(&self) -> &'static str {
        match self {
            Verdict::Nothing => "nothing",
            Verdict::OnePlace => "one_place",
            Verdict::OneCustodian { .. } => "one_custodian",
            Verdict::NotYet { .. } => "not_yet",
            Verdict::Safe { .. } => "safe",
        }
    }
}

/// The present moment, seconds since 1970.
pub fn now() -> u64 {
    let passed = SystemTime::now().duration_since(UNIX_EPOCH);
    passed.map_or(0, |passed| passed.as_secs())
}

/// A moment in UTC for people, to the minute.
pub fn moment(seconds: u64) -> String {
    let time = i64::try_from(seconds).ok();
    let time = time.and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    time.map_or_else(
        || "the end of time".to_owned(),
        |time| time.strftime("%Y-%m-%d %H:%M UTC").to_string(),
    )
}

/// What is protected and how.
#[derive(Debug, Clone)]
pub struct Status {
    /// The configuration.
    pub configuration: Configuration,
    /// Its file.
    pub config_file: PathBuf,
    /// The newest snapshot that is not dated in the future.
    pub newest: Option<StoredSnapshot>,
    /// Snapshots in the repository.
    pub snapshots: usize,
    /// Snapshots dated in the future, which count for nothing.
    pub future: Vec<Id>,
    /// Now.
    pub now: Time,
    /// The verdict.
    pub verdict: Verdict,
}

/// Reads the configuration and asks the repository. `None` if nothing was protected yet.
pub fn read_status(
    places: &Places,
    cache: CacheChoice,
    environment: Environment,
    cancel: &Cancel,
) -> Result<Option<Status>, ProtectError> {
    let Some(configuration) = Configuration::read(&places.config_file)? else {
        return Ok(None);
    };
    let password =
        read_secret(&configuration.password_file)?.ok_or_else(|| ProtectError::PasswordLost {
            repository: configuration.repository.clone(),
            password_file: configuration.password_file.clone(),
        })?;
    let mut connect = outlast_store::ConnectOptions::default();
    let place = find_place(&configuration.repository, None, &mut connect)?;
    let options = SessionOptions {
        location: Some(place.location),
        connect,
        password,
        key_hint: None,
        cache,
        compression: outlast_format::Compression::Auto,
        pack_bytes: None,
        no_lock: true,
        retry_lock: std::time::Duration::ZERO,
    };
    let session = Session::open(&options, environment, cancel)?;
    let now = session.repository().environment().clock.now();
    let all = stored_snapshots(session.repository(), cancel)?;
    let future = all
        .iter()
        .filter(|stored| stored.is_future(now))
        .map(|stored| stored.id)
        .collect();
    let present = all.iter().filter(|stored| !stored.is_future(now));
    let newest = present
        .max_by_key(|stored| stored.snapshot.time.instant())
        .cloned();
    let verdict = match (&newest, &place.custodian) {
        (None, _) => Verdict::Nothing,
        (Some(_), None) => Verdict::OnePlace,
        // What a custodian says counts as far as its receipt proves it, now.
        (Some(newest), Some(custodian)) => {
            held_by(places, custodian, newest.id)?.map_or(Verdict::OnePlace, |held| {
                Verdict::OneCustodian {
                    custodian: held.custodian.clone(),
                    until: held.receipt.seal().until,
                }
            })
        }
    };
    let config_file = places.config_file.clone();
    Ok(Some(Status {
        configuration,
        config_file,
        newest,
        snapshots: all.len(),
        future,
        now,
        verdict,
    }))
}

/// A word as a shell takes it.
pub fn shell_quote(word: &str) -> String {
    let plain =
        |character: char| character.is_ascii_alphanumeric() || "/._-+:@%,=".contains(character);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// The location by which a repository is read: that of a bucket's reader, if there is one.
fn reader_of(repository: &str) -> String {
    let reader = || {
        let custodians = Custodians::of(&Places::of_user().ok()?);
        let custodian = custodians.find(repository.strip_prefix("bucket:")?).ok()?;
        Some(custodian.reader()?.location())
    };
    reader().unwrap_or_else(|| repository.to_owned())
}

/// The command that restores a snapshot, to be pasted; `program` is `outlast` or `restic`.
pub fn restore_command(
    program: &str,
    configuration: &Configuration,
    snapshot: &str,
    target: &str,
) -> String {
    // Whoever backs up to a custodian has no token to read with; the one to restore with has this
    // name.
    let repository = match configuration.repository.strip_prefix("vault:") {
        Some(name) => format!("vault:{name}-restore"),
        None => reader_of(&configuration.repository),
    };
    format!(
        "{program} -r {} --password-file {} restore {snapshot} --target {}",
        shell_quote(&repository),
        shell_quote(&configuration.password_file.to_string_lossy()),
        shell_quote(target),
    )
}
