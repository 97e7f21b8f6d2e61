//! The attempts: each credential of this machine tries what it must not be able to do, on a probe.
//!
//! The probe is one small object with the outer shape of a pack, the same each time, so that at most one
//! is ever kept. Nothing that belongs to a backup is touched, whatever a custodian would allow.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use outlast_object::{ObjectName, hash};
use outlast_store::{Capabilities, ConnectOptions, Deletes, LocalStore, RetryPolicy, StoreError};
use serde::{Deserialize, Serialize};

use crate::custodian::{Custodian, CustodianError, place_of_custodian};

/// Bytes of the probe.
const PROBE_BYTES: usize = 200;
/// A host that does not answer for so many seconds is not reached.
const SSH_SECONDS: u32 = 5;

/// Something that was tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attempt {
    /// The custodian.
    pub custodian: String,
    /// With what.
    pub credential: String,
    /// What was tried.
    pub what: String,
    /// What became of it.
    pub outcome: Outcome,
    /// What to do about it, where it should not have succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

/// What became of an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "result", content = "reason")]
pub enum Outcome {
    /// It was refused, as it should be.
    Refused(String),
    /// It succeeded, and should not.
    Succeeded,
    /// It succeeded, as it may: reading with a token to read.
    Allowed,
    /// It could not be tried.
    NotTried(String),
    /// Nothing was tried: this was seen, and should not be so.
    Wrong(String),
}

impl Outcome {
    /// Whether it is something that should not be.
    pub fn is_red(&self) -> bool {
        matches!(self, Self::Succeeded | Self::Wrong(_))
    }
}

/// The bytes of the probe, and others that a cheat would put in their place.
pub(super) fn probe(other: bool) -> Vec<u8> {
    let seed = hash(if other {
        b"another probe"
    } else {
        b"outlast probe"
    });
    let mut bytes: Vec<u8> = seed
        .as_bytes()
        .iter()
        .copied()
        .cycle()
        .take(PROBE_BYTES)
        .collect();
    // The length of a header that could be one: an entry and what the envelope adds.
    let header = (41_u32 + 32).to_le_bytes();
    let end = bytes.len() - header.len();
    if let Some(last) = bytes.get_mut(end..) {
        last.copy_from_slice(&header);
    }
    bytes
}

/// Everything that is tried with what is known of a custodian here.
pub fn of_custodian(custodian: &Custodian, connect: &ConnectOptions) -> Vec<Attempt> {
    let credential = match custodian.invite() {
        Some(_) => format!("token of {}", custodian.name),
        None => format!("access to {}", custodian.name),
    };
    let attempt = |what: &str, outcome: Outcome, fix: &str| Attempt {
        custodian: custodian.name.clone(),
        credential: credential.clone(),
        what: what.to_owned(),
        fix: (outcome == Outcome::Succeeded).then(|| fix.to_owned()),
        outcome,
    };
    let store = match unrestricted(custodian, connect) {
        Ok(store) => store,
        Err(error) => {
            let outcome = Outcome::NotTried(error.to_string());
            return vec![attempt("reach it", outcome, "")];
        }
    };
    let bytes = probe(false);
    let name = ObjectName::pack(hash(&bytes));
    let adds = custodian.takes_backups();
    let there = match adds {
        true => store.write(&name, &bytes),
        false => Ok(()),
    };
    if let Err(error) = there {
        let outcome = Outcome::NotTried(error.to_string());
        return vec![attempt("put a probe there", outcome, "")];
    }
    let is_vault = custodian.invite().is_some();
    let fix = match is_vault {
        true => "this is no vault that keeps its promise: rely on another custodian",
        false => {
            "keep it attached only while a backup runs, or use a vault or a bucket with Object Lock instead"
        }
    };
    let mut attempts = Vec::new();
    let overwritten = match custodian.folder().and_then(|folder| folder.find()) {
        // Our own store refuses by itself; whoever has taken over this machine does not ask it.
        Some(folder) => overwrite_file(&folder, &name),
        None if custodian.folder().is_some() => overwrite_removed(&*store, &name),
        None => store.write(&name, &probe(true)),
    };
    attempts.push(attempt(
        "replace an object by other bytes",
        judged(&overwritten),
        fix,
    ));
    let reads = custodian.invite().is_none_or(|invite| {
        let scopes = [
            outlast_custody::Scope::Restore,
            outlast_custody::Scope::Pull,
        ];
        scopes.iter().any(|scope| invite.scopes.contains(scope))
    });
    let read = store.read(&name).map(drop);
    let outcome = match judged(&read) {
        Outcome::Succeeded if reads => Outcome::Allowed,
        Outcome::Refused(reason) if reads && !adds => Outcome::NotTried(reason),
        outcome => outcome,
    };
    let unread = "the token reads what it should not: have it revoked, and get one to append only";
    attempts.push(attempt("read what is kept", outcome, unread));
    let deleted = store.delete(&name);
    let deleted = deleted.and_then(|()| match (is_vault, store.exists(&name)) {
        // A server that says yes and removes nothing has not removed anything.
        (true, Ok(true)) => Err(StoreError::DeletesRefused {
            location: store.location(),
            reason: "it said that it was done, and the object is still there".to_owned(),
        }),
        _ => Ok(()),
    });
    attempts.push(attempt("remove an object", judged(&deleted), fix));
    attempts
}

/// Puts other bytes into the file of the probe, and the right ones back.
fn overwrite_file(folder: &Path, name: &ObjectName) -> Result<(), StoreError> {
    let path = LocalStore::open(folder)?.path_of(name);
    let denied = |error: std::io::Error| StoreError::Denied {
        operation: format!("replace {name}"),
        location: folder.display().to_string(),
        reason: error.to_string(),
    };
    let _ = std::fs::remove_file(&path);
    std::fs::write(&path, probe(true)).map_err(denied)?;
    let _ = std::fs::write(&path, probe(false));
    Ok(())
}

/// Puts other bytes where the probe was, and the right ones back, as whoever can remove may.
fn overwrite_removed(store: &dyn Deletes, name: &ObjectName) -> Result<(), StoreError> {
    store.delete(name)?;
    store.write(name, &probe(true))?;
    store.delete(name)?;
    store.write(name, &probe(false))
}

fn judged(result: &Result<(), StoreError>) -> Outcome {
    match result {
        Ok(()) => Outcome::Succeeded,
        Err(StoreError::Unavailable { reason, .. }) => Outcome::NotTried(reason.clone()),
        Err(error) => Outcome::Refused(error.to_string()),
    }
}

/// The store of a custodian without what we would refuse ourselves.
fn unrestricted(
    custodian: &Custodian,
    connect: &ConnectOptions,
) -> Result<Arc<dyn Deletes>, CustodianError> {
    let mut connect = connect.clone();
    connect.retry = RetryPolicy {
        attempts_max: 2,
        ..connect.retry
    };
    let place = place_of_custodian(custodian.clone(), None, &mut connect)?;
    connect.capabilities = Capabilities::ALL;
    Ok(outlast_store::open(&place.location, &connect)?)
}

/// Tries the machine's own SSH keys and agent against the hosts of all custodians.
pub fn with_ssh(custodians: &[Custodian]) -> Vec<Attempt> {
    let hosts = |custodian: &Custodian| {
        let addresses = custodian.invite().map(|invite| invite.addresses.clone());
        let hosts = addresses.unwrap_or_default().into_iter();
        hosts
            .filter_map(|address| Some(address.rsplit_once(':')?.0.to_owned()))
            .map(|host| host.trim_matches(['[', ']']).to_owned())
            .collect::<Vec<_>>()
    };
    let mut attempts = Vec::new();
    for custodian in custodians {
        for host in hosts(custodian) {
            // A host name that could be taken for an option is none.
            if host.starts_with('-') {
                continue;
            }
            let outcome = ssh(&host, Path::new("ssh"));
            attempts.push(Attempt {
                custodian: custodian.name.clone(),
                credential: "SSH keys and agent of this machine".to_owned(),
                what: format!("log in at {host}"),
                fix: (outcome == Outcome::Succeeded).then(|| {
                    "whoever takes over this machine takes over the custodian: remove this \
                     machine's keys there"
                        .to_owned()
                }),
                outcome,
            });
        }
    }
    attempts
}

fn ssh(host: &str, program: &Path) -> Outcome {
    let timeout = format!("ConnectTimeout={SSH_SECONDS}");
    let output = Command::new(program)
        .args(["-o", "BatchMode=yes", "-o", &timeout])
        .args([
            "-o",
            "StrictHostKeyChecking=no",
            "-o",
            "UserKnownHostsFile=/dev/null",
        ])
        .args(["--", host, "true"])
        .stdin(Stdio::null())
        .output();
    match output {
        Err(error) => Outcome::NotTried(error.to_string()),
        Ok(output) if output.status.success() => Outcome::Succeeded,
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            let last = said
                .lines()
                .last()
                .unwrap_or("it failed and did not say why")
                .to_owned();
            let is_refusal = last.contains("denied") || last.contains("refused");
            match is_refusal {
                true => Outcome::Refused(last),
                false => Outcome::NotTried(last),
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn probes_have_the_shape_of_packs() {
        for other in [false, true] {
            let bytes = probe(other);
            let name = ObjectName::pack(hash(&bytes));
            assert!(outlast_object::check_shape(&name, &bytes).is_ok());
        }
        assert_ne!(probe(false), probe(true));
    }

    #[test]
    fn a_login_that_works_is_a_success_and_one_that_does_not_is_none() {
        assert_eq!(ssh("host", Path::new("true")), Outcome::Succeeded);
        assert!(matches!(
            ssh("host", Path::new("false")),
            Outcome::NotTried(_)
        ));
        let missing = Path::new("/nonexistent/ssh");
        assert!(matches!(ssh("host", missing), Outcome::NotTried(_)));
    }
}
