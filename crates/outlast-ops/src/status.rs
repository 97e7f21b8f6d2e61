//! `status`: what is kept where, and the honest verdict.

use std::path::PathBuf;

use outlast_format::Time;
use outlast_object::Id;
use outlast_repo::{Cancel, Environment, RepoError, StoredSnapshot};

use crate::config::{Configuration, Places, read_secret};
use crate::protect::ProtectError;
use crate::session::{CacheChoice, Session, SessionOptions, stored_snapshots};

/// How safe a backup is. One place is never safe: whoever reaches it has everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing is backed up.
    Nothing,
    /// A copy exists, at one place only.
    OnePlace,
}

impl Verdict {
    /// The verdict as one line for people.
    pub fn sentence(self) -> &'static str {
        match self {
            Verdict::Nothing => {
                "kept nowhere: NOT SAFE; run `outlast protect PATH` to make the first copy"
            }
            Verdict::OnePlace => {
                "kept in 1 place: NOT SAFE YET; next, copy the repository to a disk or a host that \
                 nobody with access to this machine can change"
            }
        }
    }

    /// The word for programs.
    pub fn word(self) -> &'static str {
        match self {
            Verdict::Nothing => "nothing",
            Verdict::OnePlace => "one_place",
        }
    }
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
    let options = SessionOptions {
        location: outlast_store::Location::parse(&configuration.repository)
            .map_err(RepoError::from)?,
        connect: outlast_store::ConnectOptions::default(),
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
    let verdict = if newest.is_some() {
        Verdict::OnePlace
    } else {
        Verdict::Nothing
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

/// The command that restores a snapshot, to be pasted; `program` is `outlast` or `restic`.
pub fn restore_command(
    program: &str,
    configuration: &Configuration,
    snapshot: &str,
    target: &str,
) -> String {
    format!(
        "{program} -r {} --password-file {} restore {snapshot} --target {}",
        shell_quote(&configuration.repository),
        shell_quote(&configuration.password_file.to_string_lossy()),
        shell_quote(target),
    )
}
