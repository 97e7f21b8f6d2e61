//! From global options to an opened repository.

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;

use outlast_format::Compression;
use outlast_object::{ObjectKind, ObjectName};
use outlast_ops::{
    CacheChoice, Place, Session, SessionOptions, admission_facts, default_cache_folder, find_place,
    parse_horizon,
};
use outlast_repo::{Cancel, Environment, Notice, Notices, RepoError};
use outlast_store::{
    Capabilities, ConnectOptions, Limits, RETENTION_DAYS_MAX, RetryEvent, S3Options, S3Style,
    Secret, SftpOptions, Store, Timeouts, TlsOptions,
};

use crate::args::GlobalArguments;
use crate::exit::{self, Failure};
use crate::parse;
use crate::password::{self, Password};
use crate::render::message;

/// How often a typed password may be wrong.
const PASSWORD_TRIES: u32 = 3;

/// What every verb gets.
pub struct Context {
    /// Options of all verbs.
    pub global: GlobalArguments,
    /// The request to stop.
    pub cancel: Cancel,
}

struct Warnings;

impl Notices for Warnings {
    fn notice(&self, notice: Notice) {
        match notice {
            Notice::Adopted { .. } => message::note(&notice.to_string()),
            notice => message::warning(&notice.to_string()),
        }
    }
}

/// Tells of failures that are being dealt with.
/// What `-o` takes.
const EXTENDED_OPTIONS: &str = "known are rest.connections, local.connections, s3.connections, sftp.connections, \
     rest.token, s3.region, s3.bucket-lookup, s3.retention-days, sftp.command and sftp.args";

/// Takes an option of a bucket. Returns whether it is one; none if its value is wrong.
fn bucket_option(key: &str, value: &str, s3: &mut S3Options) -> Option<bool> {
    match key {
        "s3.region" => s3.region = Some(value.to_owned()).filter(|value| !value.is_empty()),
        "s3.bucket-lookup" => {
            s3.style = match value {
                "auto" => S3Style::Automatic,
                "path" => S3Style::Path,
                "dns" => S3Style::VirtualHost,
                _ => return None,
            }
        }
        "s3.retention-days" => {
            let days: u64 = value.parse().ok()?;
            let fits = (1..=RETENTION_DAYS_MAX).contains(&days);
            s3.retention = Some(Duration::from_secs(fits.then_some(days)? * 86_400));
        }
        _ => return Some(false),
    }
    Some(true)
}

fn tell_of_retry(event: &RetryEvent<'_>) {
    match event {
        RetryEvent::Retrying {
            operation,
            error,
            delay,
            ..
        } => {
            let seconds = delay.as_secs_f64();
            message::warning(&format!(
                "{operation} failed, trying again in {seconds:.1} s: {error}"
            ));
        }
        RetryEvent::Recovered {
            operation,
            attempts,
        } => {
            message::note(&format!("{operation} succeeded after {attempts} attempts"));
        }
        // The error itself is told at the end.
        RetryEvent::GivenUp { .. } => {}
    }
}

impl Context {
    /// Clock, host, user, and notices as warnings on standard error.
    pub fn environment(&self) -> Environment {
        Environment::of_this_process(Arc::new(Warnings))
    }

    /// Whether to say anything but results.
    pub fn is_talkative(&self) -> bool {
        !self.global.json && self.global.verbosity() > 0
    }

    /// Whether somebody sees how far it is. Counting beforehand goes through all directories once more,
    /// and is for those who do.
    pub fn is_watched(&self) -> bool {
        self.global.verbosity() > 0 && (self.global.json || std::io::stderr().is_terminal())
    }

    /// The text of the repository's location.
    pub fn location_text(&self) -> Result<String, Failure> {
        match (&self.global.repo, &self.global.repository_file) {
            (Some(_), Some(_)) => Err(Failure::new(
                "--repo and --repository-file exclude each other",
            )),
            (Some(repo), None) if !repo.is_empty() => Ok(repo.clone()),
            (_, Some(file)) => {
                let text = std::fs::read_to_string(file).map_err(|error| {
                    Failure::new(format!(
                        "the repository file {} cannot be read: {error}",
                        file.display()
                    ))
                })?;
                Ok(text.trim().to_owned())
            }
            _ => Err(Failure::new("no repository was named").hint(
                "use -r, --repository-file or RESTIC_REPOSITORY; `outlast protect PATH` needs none",
            )),
        }
    }

    /// Where caches are kept.
    pub fn cache(&self) -> CacheChoice {
        if self.global.no_cache {
            return CacheChoice::Off;
        }
        let folder = self.global.cache_dir.clone().or_else(default_cache_folder);
        folder.map_or(CacheChoice::Off, CacheChoice::Folder)
    }

    /// How the connection is made.
    pub fn connect_options(&self) -> Result<ConnectOptions, Failure> {
        let global = &self.global;
        let stuck = parse::duration(&global.stuck_request_timeout).map_err(Failure::new)?;
        let variable = |name| {
            std::env::var(name)
                .ok()
                .filter(|value: &String| !value.is_empty())
        };
        let mut connections = None;
        let mut capabilities = Capabilities::ALL;
        let mut s3 = S3Options {
            region: variable("AWS_REGION").or_else(|| variable("AWS_DEFAULT_REGION")),
            ..S3Options::default()
        };
        let mut sftp = SftpOptions::default();
        for option in &global.option {
            let (key, value) = option.split_once('=').unwrap_or((option, ""));
            match key {
                "rest.connections" | "local.connections" | "s3.connections"
                | "sftp.connections" => {
                    let number = value
                        .parse()
                        .map_err(|_| Failure::new(format!("invalid option {option:?}")))?;
                    connections = Some(number);
                }
                "rest.token" => {
                    capabilities = match value {
                        "append" => Capabilities::APPEND,
                        "enrol" => Capabilities::ENROL,
                        "restore" => Capabilities::RESTORE,
                        _ => {
                            return Err(Failure::new(format!("invalid option {option:?}"))
                                .hint("tokens of vaults are for append, enrol or restore"));
                        }
                    };
                }
                "sftp.command" | "sftp.args" => {
                    let words = parse::shell_words(value).map_err(Failure::new)?;
                    match key {
                        "sftp.args" => sftp.arguments = words,
                        _ => sftp.command = Some(words).filter(|words| !words.is_empty()),
                    }
                }
                _ if bucket_option(key, value, &mut s3)
                    .ok_or_else(|| Failure::new(format!("invalid option {option:?}")))? => {}
                _ => {
                    return Err(Failure::new(format!("unknown extended option {key:?}"))
                        .hint(EXTENDED_OPTIONS));
                }
            }
        }
        if sftp.command.is_some() && !sftp.arguments.is_empty() {
            return Err(Failure::new(
                "sftp.args are for ssh, which sftp.command replaces; give one of them",
            ));
        }
        let mut options = ConnectOptions {
            rest_user: variable("RESTIC_REST_USERNAME"),
            rest_password: variable("RESTIC_REST_PASSWORD").map(Secret::new),
            tls: TlsOptions {
                ca_certificates: global.cacert.clone(),
                client_certificate: global.tls_client_cert.clone(),
                insecure: global.insecure_tls,
                ..TlsOptions::default()
            },
            s3,
            sftp,
            connections,
            capabilities,
            limits: Limits {
                upload_kib_per_second: global.limit_upload,
                download_kib_per_second: global.limit_download,
            },
            ..ConnectOptions::default()
        };
        options.timeouts = Timeouts {
            idle: stuck,
            ..options.timeouts
        };
        options.retry_observer = Some(Arc::new(tell_of_retry));
        options.cancelled = self.cancel.flag();
        Ok(options)
    }

    /// The place that a location names, and how it is reached.
    pub fn place(&self, location: &str) -> Result<(Place, ConnectOptions), Failure> {
        let mut connect = self.connect_options()?;
        let place = find_place(location, self.global.as_of.as_deref(), &mut connect)?;
        Ok((place, connect))
    }

    /// How a repository at `location` is opened with `password`.
    pub fn session_options(
        &self,
        location: &str,
        password: Password,
    ) -> Result<SessionOptions, Failure> {
        let global = &self.global;
        let compression: Compression = global.compression.parse().map_err(Failure::new)?;
        let pack_bytes = match global.pack_size {
            0 => None,
            mib @ 4..=128 => Some(mib << 20),
            mib => {
                return Err(Failure::new(format!(
                    "a pack size of {mib} MiB is not between 4 and 128"
                )));
            }
        };
        let retry_lock = match &global.retry_lock {
            Some(text) => parse::duration(text).map_err(Failure::new)?,
            None => Duration::ZERO,
        };
        let (place, connect) = self.place(location)?;
        Ok(SessionOptions {
            location: Some(place.location),
            connect,
            password,
            key_hint: global.key_hint.clone(),
            cache: self.cache(),
            compression,
            pack_bytes,
            no_lock: global.no_lock,
            retry_lock,
        })
    }

    /// The password of the repository at `location`. Before anybody is asked for it, it is made sure
    /// that there is a repository.
    pub fn password(&self, location: &str) -> Result<Password, Failure> {
        match password::given_of_repository(&self.global)? {
            Some(password) => Ok(password),
            None => {
                self.ensure_repository(location)?;
                password::ask()
            }
        }
    }

    fn ensure_repository(&self, location: &str) -> Result<(), Failure> {
        let (place, connect) = self.place(location)?;
        let store = outlast_store::open(&place.location, &connect)?;
        if store.exists(&ObjectName::CONFIG)? {
            return Ok(());
        }
        let location = store.location();
        Err(RepoError::NoRepository { location }.into())
    }

    fn open_at(&self, location: &str, password: Password) -> Result<Session, Failure> {
        let options = self.session_options(location, password)?;
        let session = Session::open(&options, self.environment(), &self.cancel)?;
        let (place, connect) = self.place(location)?;
        // Only vaults have clocks of their own and a log.
        let custodian = place.custodian.as_ref();
        let Some(custodian) = custodian.filter(|custodian| custodian.invite().is_some()) else {
            return Ok(session);
        };
        match admission_facts(custodian, &connect, &[ObjectKind::Snapshot]) {
            Ok(facts) => Ok(session.with_admissions(facts)),
            Err(error) => {
                message::warning(&format!(
                    "{} does not say when it took which snapshot, so \"latest\" goes by the times \
                     that they claim: {error}",
                    custodian.name
                ));
                Ok(session)
            }
        }
    }

    /// The session, relying only on what its custodian took before `horizon`.
    pub fn trusting(&self, session: Session, horizon: &str) -> Result<Session, Failure> {
        let horizon = parse_horizon(horizon)?;
        let (place, connect) = self.place(&self.location_text()?)?;
        let custodian = place.custodian.ok_or_else(|| {
            Failure::new("--trust-before needs a custodian, who says when it took what")
                .hint("name its repository with -r vault:NAME")
        })?;
        let kinds = [ObjectKind::Snapshot, ObjectKind::Index, ObjectKind::Pack];
        let facts = admission_facts(&custodian, &connect, &kinds)?;
        Ok(session.with_admissions(facts.with_horizon(horizon)))
    }

    /// Opens the repository that the options name. Whoever types the password has three tries.
    pub fn open(&self) -> Result<Session, Failure> {
        let location = self.location_text()?;
        let mut tries_left = PASSWORD_TRIES;
        loop {
            let password = self.password(&location)?;
            tries_left -= 1;
            match self.open_at(&location, password) {
                Err(failure)
                    if failure.code == exit::WRONG_PASSWORD
                        && tries_left > 0
                        && self.is_password_typed() =>
                {
                    message::warning(&failure.message);
                }
                result => return result,
            }
        }
    }

    /// Opens the repository while standard input holds data, which must not be taken for a password.
    pub fn open_beside_data(&self) -> Result<Session, Failure> {
        let location = self.location_text()?;
        let Some(password) = password::given_of_repository(&self.global)? else {
            return Err(
                Failure::new("cannot read both the password and data from standard input")
                    .hint("use --password-file, --password-command or RESTIC_PASSWORD"),
            );
        };
        self.open_at(&location, password)
    }

    fn is_password_typed(&self) -> bool {
        let global = &self.global;
        let is_given = global.insecure_no_password
            || global.password_file.is_some()
            || global.password_command.is_some()
            || std::env::var_os("RESTIC_PASSWORD").is_some_and(|value| !value.is_empty());
        !is_given && std::io::stdin().is_terminal()
    }
}
