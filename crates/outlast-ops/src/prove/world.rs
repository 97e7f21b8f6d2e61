//! What the table is computed from: where copies are, what they are kept in, and which credentials lie
//! on this machine.

use std::collections::BTreeMap;

use outlast_custody::{Credential, CustodianKind as Kind, Known, Power, Scope, SnapshotCopy};

use super::buckets::Tests;
use crate::config::Configuration;
use crate::custodian::{BucketUse, Custodian, CustodianKind};
use crate::safety::{Safety, SetStatus};

/// What each custodian keeps copies in.
pub fn kinds(
    custodians: &[Custodian],
    tests: &BTreeMap<String, Tests>,
    now: u64,
) -> BTreeMap<String, Kind> {
    let is_weak = |name: &str| tests.get(name).is_some_and(|tests| tests.is_weak);
    let kind = |custodian: &Custodian| match &custodian.kind {
        CustodianKind::Vault(_) => Kind::Vault,
        // One that is here now is as good as taken with this machine.
        CustodianKind::Folder(folder) if folder.is_removable => Kind::Disk {
            attached_from: folder.find().map(|_| now),
        },
        CustodianKind::Folder(_) => Kind::Directory,
        // What could be destroyed counts as retained by nobody.
        CustodianKind::Bucket(bucket) => match bucket.period() {
            Some(_) if !is_weak(&custodian.name) => Kind::BucketCompliance,
            _ => Kind::BucketUnlocked,
        },
    };
    let kinds = custodians.iter();
    kinds
        .map(|custodian| (custodian.name.clone(), kind(custodian)))
        .collect()
}

/// What custodians have shown to keep, as far as it counts.
pub fn copies(safety: &Safety, sets: &[SetStatus], now: u64) -> Vec<SnapshotCopy> {
    let mut copies = Vec::new();
    for set in sets {
        let name = format!("{}:{}", set.set.host, set.set.paths.join(" "));
        for row in &set.rows {
            let (Some(moment), Some(snapshot)) = (row.time, &row.snapshot) else {
                continue;
            };
            let mut remembered = set.set.snapshots.iter();
            let remembered = remembered.find(|one| one.snapshot.0.short() == *snapshot);
            // Evidence tells sizes, receipts tell them by the seal; without either nothing is estimated.
            let bytes = remembered.and_then(|one| safety.bytes_of(one.snapshot.0, &row.custodian));
            copies.push(SnapshotCopy {
                custodian: row.custodian.clone(),
                data_set: name.clone(),
                moment,
                bytes: bytes.unwrap_or(0),
                held_until: row.held_until.filter(|until| *until > now),
            });
        }
    }
    copies
}

/// The credentials that lie on this machine.
pub fn credentials(
    configuration: Option<&Configuration>,
    custodians: &[Custodian],
    tests: &BTreeMap<String, Tests>,
    host: &str,
) -> Vec<Credential> {
    let mut found = Vec::new();
    let mut add = |name: String, power: Power, custodian: Option<&str>| {
        found.push(Credential {
            name,
            power,
            custodian: custodian.map(str::to_owned),
            hosts: vec![host.to_owned()],
            known: Known::Discovered,
        });
    };
    for custodian in custodians {
        let name = &custodian.name;
        // Keys that nobody has tried may be those of the owner.
        let power_of = |use_: BucketUse| match (tests.get(name), use_) {
            (None, _) => Power::Full,
            (Some(tests), use_) if tests.owners.contains(&use_) => Power::Full,
            (Some(_), BucketUse::Write) => Power::Append,
            (Some(_), BucketUse::Renew) => Power::Renew,
            (Some(_), BucketUse::Read) => Power::Read,
        };
        match &custodian.kind {
            CustodianKind::Vault(invite) => {
                let has = |scope| invite.scopes.contains(&scope);
                if has(Scope::Append) || has(Scope::Enrol) {
                    add(format!("token of {name}"), Power::Append, Some(name));
                }
                if has(Scope::Restore) || has(Scope::Pull) {
                    // The one to read with is often added under a name of its own.
                    let of = name.strip_suffix("-restore").unwrap_or(name);
                    add(format!("token of {name} to read"), Power::Read, Some(of));
                }
            }
            CustodianKind::Bucket(bucket) => {
                for use_ in BucketUse::ALL {
                    if use_ != BucketUse::Write && bucket.own_keys(use_).is_none() {
                        continue;
                    }
                    add(
                        format!("{} of {name}", use_.noun()),
                        power_of(use_),
                        Some(name),
                    );
                }
            }
            CustodianKind::Folder(_) => {
                add(format!("access to {name}"), Power::Full, Some(name));
            }
        }
    }
    if let Some(configuration) = configuration
        && configuration.password_file.exists()
    {
        add("repository password".to_owned(), Power::RepositoryKey, None);
    }
    found
}
