//! `prove`: what the loss of each party and credential would destroy, and the attempt to do it.
//!
//! The table comes from the custody policy and from what custodians have shown. The attempts use every
//! credential that lies on this machine, on probe objects of their own: what they manage to do, somebody who
//! takes over this machine manages as well. The report is signed, so that it can be shown to others.

mod buckets;
mod probes;
mod report;
mod world;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use outlast_custody::{Attack, survivability};
use outlast_log::{KeyKind, NoteError, SigningKey, VerifierKey};
use outlast_store::ConnectOptions;

pub use self::probes::{Attempt, Outcome as AttemptOutcome};
pub use self::report::{Report, RowOfLoss, html, open_report};

use crate::config::{Configuration, ConfigurationError, Places, read_secret, write_durably};
use crate::custodian::{CustodianError, Custodians};
use crate::safety::Safety;
use crate::status::now;

/// The key that signs reports, in the configuration folder.
const KEY_FILE: &str = "prover.key";

/// What is to be tried.
#[derive(Debug, Clone, Copy, Default)]
pub struct ProveRequest {
    /// Try what the credentials on this machine can do.
    pub attempts: bool,
    /// Try the machine's own SSH keys and agent against the custodians' hosts.
    pub ssh: bool,
    /// How long the attacker of the table has, seconds.
    pub attack_seconds: u64,
}

/// No report.
#[derive(Debug, thiserror::Error)]
pub enum ProveError {
    /// Custodians, their policy or what they showed.
    #[error(transparent)]
    Custodian(#[from] CustodianError),
    /// The key or the report.
    #[error(transparent)]
    Configuration(#[from] ConfigurationError),
    /// What was signed cannot be.
    #[error("the report cannot be signed: {0}")]
    Sign(NoteError),
    /// The report is not what somebody signed.
    #[error("{}: {reason}", path.display())]
    Unproven {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

/// A report, and its signed form.
#[derive(Debug, Clone)]
pub struct Signed {
    /// The report.
    pub report: Report,
    /// The signed note that holds it.
    pub note: Vec<u8>,
    /// Who signed.
    pub identity: VerifierKey,
}

/// Makes the table, tries what is asked for, and signs the report.
///
/// # Errors
/// [`ProveError`]. That an attempt succeeded is no error but what the report says.
pub fn prove(
    places: &Places,
    configuration: Option<&Configuration>,
    host: &str,
    request: ProveRequest,
    connect: &ConnectOptions,
) -> Result<Signed, ProveError> {
    let now = now();
    let mut safety = Safety::of(places, configuration)?;
    let sets = safety.sets(now)?;
    let custodians = Custodians::of(places).list()?;
    let mut attempts = Vec::new();
    let mut tests = BTreeMap::new();
    if request.attempts {
        for custodian in &custodians {
            let Some(bucket) = custodian.bucket() else {
                attempts.extend(probes::of_custodian(custodian, connect));
                continue;
            };
            let mut of_bucket = buckets::of_bucket(places, custodian, bucket, connect)?;
            attempts.append(&mut of_bucket.attempts);
            tests.insert(custodian.name.clone(), of_bucket);
        }
    }
    let kinds = world::kinds(&custodians, &tests, now);
    let copies = world::copies(&safety, &sets, now);
    let discovered = world::credentials(configuration, &custodians, &tests, host);
    let attack = Attack::lasting(now, request.attack_seconds);
    let table = survivability(safety.policy(), &kinds, &copies, &discovered, attack);
    if request.ssh {
        attempts.extend(probes::with_ssh(&custodians));
    }
    let report = Report::new(host, now, &safety, &sets, &table, attempts);
    let key = signing_key(places, host)?;
    let note = outlast_log::sign(&report.to_text(), &[&key]).map_err(ProveError::Sign)?;
    Ok(Signed {
        report,
        note: note.encode(),
        identity: key.verifier(),
    })
}

/// The key that signs the reports of this machine; made at the first use.
fn signing_key(places: &Places, host: &str) -> Result<SigningKey, ProveError> {
    let path = places
        .config_file
        .parent()
        .unwrap_or(Path::new("."))
        .join(KEY_FILE);
    let invalid = |path: &Path, reason: String| ConfigurationError::Invalid {
        path: path.to_owned(),
        reason,
    };
    if let Some(text) = read_secret(&path)? {
        let text = String::from_utf8_lossy(&text);
        let key = text.trim().parse::<SigningKey>();
        return Ok(key.map_err(|error| invalid(&path, error.to_string()))?);
    }
    let mut seed = zeroize::Zeroizing::new([0; 32]);
    let failed = |source| ConfigurationError::Io {
        path: path.clone(),
        source,
    };
    getrandom::fill(&mut *seed)
        .map_err(|error| failed(std::io::Error::other(error.to_string())))?;
    let fit = |character: char| match character {
        fine if fine.is_ascii_alphanumeric() || ".-_".contains(fine) => fine,
        _ => '-',
    };
    let name: String = host.chars().map(fit).collect();
    let name = format!("prover.{name}");
    let key = SigningKey::from_seed(&name, KeyKind::Note, &seed)
        .map_err(|error| invalid(&path, error.to_string()))?;
    let text = format!("{}\n", key.to_secret_text());
    write_durably(&path, text.as_bytes(), 0o600).map_err(failed)?;
    Ok(key)
}

/// The identity with which reports of this machine are signed, if any was made.
///
/// # Errors
/// [`ConfigurationError`].
pub fn prover_identity(places: &Places) -> Result<Option<VerifierKey>, ProveError> {
    let path = places.config_file.with_file_name(KEY_FILE);
    let Some(text) = read_secret(&path)? else {
        return Ok(None);
    };
    let text = String::from_utf8_lossy(&text);
    let key = text.trim().parse::<SigningKey>();
    let key = key.map_err(|error| ConfigurationError::Invalid {
        path,
        reason: error.to_string(),
    })?;
    Ok(Some(key.verifier()))
}
