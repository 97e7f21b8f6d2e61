//! Whether backups are safe: the custody policy, and what custodians have shown, judged now.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use outlast_custody::{
    CustodianText, EvidenceText, Facts, Policy, PolicyError, ReadingText, RetentionText,
    SafetyVerdict, SnapshotStatus, Standing, Wanted, status,
};
use outlast_log::VerifierKey;
use outlast_object::Id;
use outlast_store::Location;
use serde::Serialize;

use crate::config::{Configuration, Places};
use crate::custodian::{Custodian, CustodianError, CustodianKind, memory_folder};
use crate::data_sets::{DataSet, DataSets, RememberedSnapshot};
use crate::keepers::keepers;
use crate::receipts::{remembered_checkpoint, verify_receipt};

/// Age of a bucket's reading back that counts where no policy is written, days.
const RETENTION_DAYS: u32 = 3;
/// Age of a disk's reading back that counts where no policy is written, days.
const DISK_DAYS: u32 = 45;
/// The party that this machine is.
const THIS_MACHINE: &str = "this machine";

/// The policy, and what is known.
pub struct Safety {
    places: Places,
    policy: Policy,
    facts: Facts,
    keepers: Vec<Custodian>,
    witnesses: Vec<VerifierKey>,
    /// Bytes of what was shown, by snapshot and custodian.
    bytes: BTreeMap<(Id, String), u64>,
}

/// The state of one data set.
#[derive(Debug, Clone)]
pub struct SetStatus {
    /// The set.
    pub set: DataSet,
    /// How each custodian stands, in the order of [`Safety::names`].
    pub rows: Vec<CustodianRow>,
    /// The verdict on its newest snapshot; none if it has none.
    pub newest: Option<SnapshotStatus>,
}

/// How a custodian stands to a data set.
#[derive(Debug, Clone, Default, Serialize)]
pub struct CustodianRow {
    /// The custodian.
    pub custodian: String,
    /// The newest snapshot that it has shown to keep.
    pub snapshot: Option<String>,
    /// When that was made, seconds since 1970.
    pub time: Option<u64>,
    /// Until when it holds it, seconds since 1970.
    pub held_until: Option<u64>,
    /// When what it showed was made or observed, seconds since 1970.
    pub shown: Option<u64>,
    /// Why the newest snapshot of the set does not count there; none if it does.
    pub why: Option<String>,
}

impl Safety {
    /// The policy of the configuration, or two parties, and what is known of the custodians' logs.
    ///
    /// # Errors
    /// [`CustodianError`] if custodians cannot be read; [`CustodianError::Policy`].
    pub fn of(
        places: &Places,
        configuration: Option<&Configuration>,
    ) -> Result<Self, CustodianError> {
        let keepers = keepers(places, configuration)?;
        let written = configuration.and_then(|configuration| configuration.custody.clone());
        let policy = match written {
            Some(text) => Policy::parse(text),
            None => usual_policy(&keepers),
        };
        let policy = policy.map_err(CustodianError::Policy)?;
        let witnesses = policy.witnesses().iter();
        let witnesses = witnesses.map(|witness| witness.key.clone()).collect();
        let mut facts = Facts::new();
        for custodian in &keepers {
            let Some(invite) = custodian.invite() else {
                continue;
            };
            let identity = &invite.identity;
            facts.pin(&custodian.name, identity.clone(), invite.repository.clone());
            if let Ok(Some(seen)) = remembered_checkpoint(places, &custodian.name, identity) {
                facts.add_checkpoint(identity, &seen);
            }
            if has_forked(&memory_folder(places, &custodian.name)) {
                facts.distrust(identity);
            }
        }
        Ok(Self {
            places: places.clone(),
            policy,
            facts,
            keepers,
            witnesses,
            bytes: BTreeMap::new(),
        })
    }

    /// The policy.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Those who take backups here.
    pub fn keepers(&self) -> &[Custodian] {
        &self.keepers
    }

    /// The names of the policy's custodians.
    pub fn names(&self) -> Vec<String> {
        let all = self.policy.custodians().iter();
        all.map(|custodian| custodian.name().to_owned()).collect()
    }

    /// How every data set stands, from what is remembered here alone.
    ///
    /// # Errors
    /// [`CustodianError`] if that cannot be read.
    pub fn sets(&mut self, now: u64) -> Result<Vec<SetStatus>, CustodianError> {
        let sets = DataSets::of(&self.places).all()?;
        let mut kept = Vec::new();
        for set in &sets {
            kept.push(self.learn(set));
        }
        let judged = sets.into_iter().zip(kept);
        Ok(judged
            .map(|(set, newest)| self.judge(set, &newest, now))
            .collect())
    }

    /// How one snapshot stands.
    pub fn verdict(&mut self, remembered: &RememberedSnapshot, now: u64) -> Option<SnapshotStatus> {
        self.learn_one(remembered);
        status(&self.policy, &self.facts, &[wanted(remembered)], now).pop()
    }

    /// Takes in what was shown for the newest snapshot at each custodian; gives which these are, by
    /// custodian.
    fn learn(&mut self, set: &DataSet) -> BTreeMap<String, usize> {
        let mut newest = BTreeMap::new();
        for (at, remembered) in set.snapshots.iter().enumerate() {
            let shown = remembered.receipts.keys().chain(remembered.evidence.keys());
            let is_first = shown.filter(|name| !newest.contains_key(*name));
            let first: Vec<String> = is_first.cloned().collect();
            if at == 0 || !first.is_empty() {
                self.learn_one(remembered);
            }
            newest.extend(first.into_iter().map(|name| (name, at)));
            if newest.len() >= self.policy.custodians().len() {
                break;
            }
        }
        newest
    }

    fn learn_one(&mut self, remembered: &RememberedSnapshot) {
        for (custodian, file) in &remembered.receipts {
            let Some(keeper) = self.keepers.iter().find(|one| one.name == *custodian) else {
                continue;
            };
            let Some(invite) = keeper.invite() else {
                continue;
            };
            let path = memory_folder(&self.places, custodian).join(file);
            // One that proves nothing counts as none; `receipts` says why.
            if let Ok(receipt) = verify_receipt(&path, &invite.identity, &self.witnesses) {
                let key = (remembered.snapshot.0, custodian.clone());
                self.bytes.insert(key, receipt.seal().bytes);
                self.facts.add_receipt(custodian, &receipt);
            }
        }
        for (custodian, evidence) in &remembered.evidence {
            let key = (remembered.snapshot.0, custodian.clone());
            self.bytes.insert(key, evidence.bytes);
            self.facts.add_evidence(evidence.clone());
        }
    }

    /// Bytes of what a snapshot needs, as the custodian showed them in what was taken in.
    pub fn bytes_of(&self, snapshot: Id, custodian: &str) -> Option<u64> {
        let key = (snapshot, custodian.to_owned());
        self.bytes.get(&key).copied()
    }

    fn judge(&self, set: DataSet, newest: &BTreeMap<String, usize>, now: u64) -> SetStatus {
        let all: Vec<Wanted> = set.snapshots.iter().map(wanted).collect();
        let needed = 1 + newest.values().copied().max().unwrap_or(0);
        let all = all.get(..needed.min(all.len())).unwrap_or_default();
        let standings = status(&self.policy, &self.facts, all, now);
        let row = |(number, name): (usize, String)| {
            let mut row = CustodianRow {
                custodian: name.clone(),
                ..CustodianRow::default()
            };
            let first = standings.first().and_then(|of| of.standings.get(number));
            if let Some(Standing::Missing(why)) = first {
                row.why = Some(why.to_string());
            }
            let counted = standings
                .iter()
                .zip(&set.snapshots)
                .find_map(|(of, snapshot)| {
                    let counts = of.standings.get(number)?.counts()?;
                    Some((counts, snapshot))
                });
            if let Some((counts, snapshot)) = counted {
                row.snapshot = Some(snapshot.snapshot.0.short());
                row.time = Some(snapshot.time);
                row.held_until = Some(counts.held_until);
                row.shown = Some(match counts.proof {
                    outlast_custody::Proof::Receipt { time, .. } => time,
                    outlast_custody::Proof::Evidence { observed, .. } => observed,
                });
            }
            row
        };
        SetStatus {
            rows: self.names().into_iter().enumerate().map(row).collect(),
            newest: standings.into_iter().next(),
            set,
        }
    }

    /// The verdict in words.
    pub fn sentence(&self, verdict: &SafetyVerdict) -> String {
        let names = self.names();
        let list = |numbers: &[usize]| {
            let names = numbers.iter().filter_map(|number| names.get(*number));
            names.cloned().collect::<Vec<_>>().join(", ")
        };
        match verdict {
            SafetyVerdict::Safe {
                until,
                held_until,
                by,
            } => format!(
                "SAFE: {} vouch for it, until {} at least; stays so until {} if nothing more is done",
                list(by),
                crate::status::moment(*held_until),
                crate::status::moment(*until)
            ),
            SafetyVerdict::NotYet { by, missing } => {
                let so_far = match by.as_slice() {
                    [] => "nobody vouches for it".to_owned(),
                    by => format!("only {} vouches for it", list(by)),
                };
                let next = match missing.as_slice() {
                    [] => "add custodians of other parties with `outlast custodian add`".to_owned(),
                    missing => format!("what is missing is {}", list(missing)),
                };
                format!("NOT SAFE YET: {so_far}; {next}")
            }
        }
    }
}

fn wanted(remembered: &RememberedSnapshot) -> Wanted {
    Wanted {
        snapshot: remembered.snapshot.0,
        list: remembered.list.0,
    }
}

/// Two parties of those who take backups. What they have in common is guessed from their addresses: who
/// knows better writes a policy.
fn usual_policy(keepers: &[Custodian]) -> Result<Policy, PolicyError> {
    let text = |custodian: &Custodian| {
        let mut text = CustodianText {
            party: custodian.name.clone(),
            ..CustodianText::default()
        };
        match &custodian.kind {
            CustodianKind::Vault(invite) => {
                text.network = invite.addresses.first().and_then(|of| host(of));
            }
            CustodianKind::Folder(folder) => match &folder.remote {
                Some(remote) => {
                    if let Ok(Location::Sftp(sftp)) = Location::parse(&remote.address) {
                        text.network = host(&format!("{}:", sftp.host));
                    }
                }
                None if folder.is_removable => {}
                None => THIS_MACHINE.clone_into(&mut text.party),
            },
            CustodianKind::Bucket(bucket) => {
                text.party
                    .clone_from(bucket.party.as_ref().unwrap_or(&custodian.name));
                let place = bucket.place().ok();
                let address = place.and_then(|place| {
                    let host = place.endpoint.host_str()?;
                    let port = place.endpoint.port_or_known_default()?;
                    Some(format!("{host}:{port}"))
                });
                text.network = address.and_then(|address| host(&address));
            }
        }
        (custodian.name.clone(), text)
    };
    let evidence = EvidenceText {
        retention: Some(RetentionText {
            age_days_max: RETENTION_DAYS,
            tamper_test_days_max: None,
        }),
        disk: Some(ReadingText {
            age_days_max: DISK_DAYS,
        }),
        directory: None,
    };
    Policy::two_parties(keepers.iter().map(text).collect(), evidence)
}

/// The host of an address. A loopback address says nothing of where the other end is.
fn host(address: &str) -> Option<String> {
    let (host, _) = address.rsplit_once(':')?;
    let host = host.trim_matches(['[', ']']);
    let is_loopback = host == "localhost"
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback());
    (!is_loopback).then(|| host.to_owned())
}

/// Whether proof lies here that a custodian has dropped or rewritten something.
fn has_forked(folder: &PathBuf) -> bool {
    let Ok(entries) = fs::read_dir(folder) else {
        return false;
    };
    entries.flatten().any(|entry| {
        let name = entry.file_name();
        name.to_string_lossy().starts_with(crate::receipts::FORKED)
    })
}
