//! What survivability is computed from: where copies are, and who could get at them with what.

use serde::{Deserialize, Serialize};

use crate::policy::{CredentialText, Power};

/// What kind of place a custodian keeps copies in: what its credentials can do depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum CustodianKind {
    /// A vault: nothing in its network interface removes, replaces or shortens.
    Vault,
    /// A bucket whose objects are retained in compliance mode.
    BucketCompliance,
    /// A bucket whose objects are retained in governance mode, which some may bypass.
    BucketGovernance,
    /// A bucket that retains nothing.
    BucketUnlocked,
    /// A disk that can be taken away.
    Disk {
        /// When it is attached next to a machine that writes to it, seconds since 1970; in the past
        /// where it is attached now. None where it is away, and stays away as long as anybody plans.
        attached_from: Option<u64>,
    },
    /// A directory, here or over SFTP.
    Directory,
}

/// A snapshot that a custodian has, as verified receipts or evidence show.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotCopy {
    /// The custodian, by name.
    pub custodian: String,
    /// What was backed up, by any name.
    pub data_set: String,
    /// The moment that a restore of it leads back to, seconds since 1970.
    pub moment: u64,
    /// Bytes that a restore of it reads.
    pub bytes: u64,
    /// The earliest end of the hold of any of its objects, seconds since 1970; none where nothing is
    /// held.
    pub held_until: Option<u64>,
}

/// How it is known where a credential lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Known {
    /// The policy says so.
    Declared,
    /// It was found there.
    Discovered,
}

/// A credential, and the machines from which it can be stolen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credential {
    /// Its name. Several with the same name are one.
    pub name: String,
    /// What it is for.
    pub power: Power,
    /// The custodian that it is for; none for the key of the repository.
    pub custodian: Option<String>,
    /// The machines that have it.
    pub hosts: Vec<String>,
    /// How that is known.
    pub known: Known,
}

impl Credential {
    /// A credential that the policy declares.
    pub fn declared(name: &str, text: &CredentialText) -> Self {
        Self {
            name: name.to_owned(),
            power: text.power,
            custodian: text.custodian.clone(),
            hosts: text.hosts.clone(),
            known: Known::Declared,
        }
    }
}

/// The time that an attacker has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attack {
    /// When it begins, seconds since 1970.
    pub begins: u64,
    /// When it ends. Whatever the attacker has stolen he uses until then, and nobody renews anything.
    pub ends: u64,
}

impl Attack {
    /// An attack that is over as soon as it is noticed.
    pub fn at(now: u64) -> Self {
        Self {
            begins: now,
            ends: now,
        }
    }

    /// An attack that goes on for so long.
    pub fn lasting(now: u64, seconds: u64) -> Self {
        Self {
            begins: now,
            ends: now.saturating_add(seconds),
        }
    }
}

/// What of a custodian's copies is destroyed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Loss {
    /// Nothing.
    Nothing,
    /// Whatever is not held beyond the end of the attack.
    NotHeld,
    /// Everything.
    Everything,
}

/// What a credential does to a custodian of a kind, at worst: what it destroys, and whether it reads
/// what is kept.
pub(super) fn reach(kind: CustodianKind, power: Power, attack: Attack) -> (Loss, bool) {
    use CustodianKind as Kind;
    let attached = match kind {
        Kind::Disk { attached_from } => attached_from.is_some_and(|from| from <= attack.ends),
        _ => true,
    };
    match (kind, power) {
        (_, Power::Root) => (Loss::Everything, true),
        // Whoever only reads or extends changes nothing, and the key alone gets at nothing.
        (_, Power::RepositoryKey | Power::Renew) => (Loss::Nothing, false),
        (_, Power::Read) => (Loss::Nothing, attached),
        // What adds cannot replace: a vault refuses to, and buckets are read by version.
        (Kind::Vault | Kind::BucketCompliance | Kind::BucketGovernance, Power::Append) => {
            (Loss::Nothing, false)
        }
        (Kind::BucketCompliance, Power::Full) => (Loss::NotHeld, true),
        // Without versions a put replaces what was there.
        (Kind::BucketUnlocked, Power::Append) => (Loss::Everything, false),
        (Kind::Disk { .. }, _) if !attached => (Loss::Nothing, false),
        // Whoever writes to a disk or directory can remove from it as well; and the user that runs a
        // vault can remove its files.
        _ => (Loss::Everything, true),
    }
}
