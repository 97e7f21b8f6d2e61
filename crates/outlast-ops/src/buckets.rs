//! Buckets as custodians: their evidence after a backup, and the renewal of what they retain.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use outlast_custody::{Evidence, ObjectList, Renewal};
use outlast_object::{Id, ObjectKind, ObjectName};
use outlast_store::{ConnectOptions, ROUNDED_PRICES, S3Store, Store};

use crate::config::{ConfigurationError, Places, write_durably};
use crate::custodian::{BucketCustodian, BucketUse, Custodian, CustodianError, memory_folder};
use crate::data_sets::{DataSets, Shown};
use crate::evidence::EvidenceFailure;
use crate::keepers::NotKept;
use crate::retained::{ASK_AGAIN_SECONDS, Keeping, Record, RenewProgress, Renewals};
use crate::sync::needed;

/// The file beside a custodian's receipts in which it is remembered what is retained until when.
const RECORD: &str = "retained";
/// The file that says when a test last failed to destroy anything.
const TESTED: &str = "tamper-tested";

/// What a bucket showed for a backup.
#[derive(Debug, Clone)]
pub struct Retained {
    /// The evidence.
    pub evidence: Evidence,
    /// What was extended for it.
    pub renewals: Renewals,
}

/// No renewal.
#[derive(Debug, thiserror::Error)]
pub enum RenewError {
    /// The bucket, or the custodian's file.
    #[error(transparent)]
    Custodian(#[from] CustodianError),
    /// What is remembered of it.
    #[error(transparent)]
    Record(#[from] EvidenceFailure),
    /// It is another kind of custodian.
    #[error("{0} is no bucket")]
    NoBucket(String),
    /// It retains nothing.
    #[error("{0} has no Object Lock, so that there is nothing to extend")]
    NotRetained(String),
    /// There is nothing in it.
    #[error("there is no repository in {0}")]
    Empty(String),
}

impl From<ConfigurationError> for RenewError {
    fn from(error: ConfigurationError) -> Self {
        Self::Custodian(error.into())
    }
}

fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| now.as_secs())
}

/// The bucket with keys that see, and with keys that extend if those are others.
fn open(
    bucket: &BucketCustodian,
    connect: &ConnectOptions,
) -> Result<(S3Store, Option<S3Store>), CustodianError> {
    let renewer = match bucket.renew {
        Some(_) => Some(bucket.open(BucketUse::Renew, connect)?),
        None => None,
    };
    match (bucket.open(BucketUse::Write, connect), renewer) {
        (Ok(store), renewer) => Ok((store, renewer)),
        // A machine that only renews has no other keys.
        (Err(_), Some(renewer)) if bucket.write.is_none() => Ok((renewer, None)),
        (Err(error), _) => Err(error),
    }
}

/// Looks at what a backup needs, extends what is due, and gives the evidence.
pub(crate) fn keep(
    places: &Places,
    custodian: &Custodian,
    bucket: &BucketCustodian,
    connect: &ConnectOptions,
    (snapshot, list): (Id, &ObjectList),
) -> Result<Retained, NotKept> {
    let (store, renewer) = open(bucket, connect).map_err(NotKept::NoReceipt)?;
    let keeping = Keeping {
        store: &store,
        renewer: renewer.as_ref(),
        period: bucket.period(),
        now: now(),
    };
    let path = record_path(places, custodian);
    let mut record = Record::read(&path)?;
    let renewals = keeping.renew(&mut record, list.objects(), &|_, _| ());
    // What was found out before it broke off is worth keeping.
    record.write(&path)?;
    let renewals = renewals.map_err(EvidenceFailure::Store)?;
    let tested = tamper_tested(places, &custodian.name);
    let evidence = record.evidence(&custodian.name, (snapshot, list), tested)?;
    Ok(Retained { evidence, renewals })
}

fn record_path(places: &Places, custodian: &Custodian) -> PathBuf {
    memory_folder(places, &custodian.name).join(RECORD)
}

/// When a test last tried to destroy what the bucket retains and was refused each time, seconds since
/// 1970.
pub(crate) fn tamper_tested(places: &Places, custodian: &str) -> Option<u64> {
    let path = memory_folder(places, custodian).join(TESTED);
    let text = std::fs::read_to_string(path).ok()?;
    text.trim().parse().ok()
}

/// Notes the outcome of such a test: when it was refused everything; none if anything succeeded.
pub(crate) fn note_tamper_test(
    places: &Places,
    custodian: &str,
    refused: Option<u64>,
) -> Result<(), ConfigurationError> {
    let path = memory_folder(places, custodian).join(TESTED);
    let result = match refused {
        Some(time) => write_durably(&path, format!("{time}\n").as_bytes(), 0o600),
        None => match std::fs::remove_file(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            result => result,
        },
    };
    result.map_err(|source| ConfigurationError::Io { path, source })
}

/// A renewal that can begin.
pub struct BucketRenewal {
    places: Places,
    custodian: Custodian,
    bucket: BucketCustodian,
    store: S3Store,
    renewer: Option<S3Store>,
    record: Record,
    names: Vec<ObjectName>,
    now: u64,
    /// Whether everything in the bucket is extended, since it is not known here what is needed.
    pub is_everything: bool,
    /// Objects that will be asked for, and extended where that is due.
    pub due: u64,
}

impl BucketRenewal {
    /// Finds out what is to be extended: what the newest snapshots of this machine need; everything in
    /// the bucket where this machine remembers none.
    ///
    /// # Errors
    /// [`RenewError`].
    pub fn prepare(
        places: &Places,
        custodian: &Custodian,
        connect: &ConnectOptions,
    ) -> Result<Self, RenewError> {
        let name = || custodian.name.clone();
        let bucket = custodian
            .bucket()
            .ok_or_else(|| RenewError::NoBucket(name()))?
            .clone();
        let period = bucket
            .period()
            .ok_or_else(|| RenewError::NotRetained(name()))?;
        let (store, renewer) = open(&bucket, connect)?;
        let known = needed(places)?;
        let is_everything = known.is_none();
        let names: BTreeSet<ObjectName> = match known {
            Some(known) => known,
            None => everything(&store)?,
        };
        if names.is_empty() {
            return Err(RenewError::Empty(name()));
        }
        let names: Vec<ObjectName> = names.into_iter().collect();
        let record = Record::read(&record_path(places, custodian))?;
        let now = now();
        let keeping = Keeping {
            store: &store,
            renewer: renewer.as_ref(),
            period: Some(period),
            now,
        };
        let due = keeping.due(&record, &names).len() as u64;
        Ok(Self {
            places: places.clone(),
            custodian: custodian.clone(),
            bucket,
            store,
            renewer,
            record,
            names,
            now,
            is_everything,
            due,
        })
    }

    /// About what it costs at most, in US dollars at rounded list prices.
    pub fn cost_estimate(&self) -> f64 {
        ROUNDED_PRICES.of_renewal(self.due)
    }

    /// Extends, and notes the evidence for the newest snapshots.
    ///
    /// # Errors
    /// [`RenewError`] if the bucket cannot be asked; what was done until then stays.
    pub fn run(&mut self, progress: RenewProgress<'_>) -> Result<Renewals, RenewError> {
        let keeping = Keeping {
            store: &self.store,
            renewer: self.renewer.as_ref(),
            period: self.bucket.period(),
            now: self.now,
        };
        let renewals = keeping.renew(&mut self.record, &self.names, progress);
        self.record
            .write(&record_path(&self.places, &self.custodian))?;
        let renewals = renewals.map_err(CustodianError::from)?;
        let sets = DataSets::of(&self.places);
        let name = &self.custodian.name;
        let tested = tamper_tested(&self.places, name);
        for set in sets.all()? {
            for one in &set.snapshots {
                let Some(list) = sets.list(one.list.0)? else {
                    continue;
                };
                let snapshot = one.snapshot.0;
                // One that the bucket lacks has no evidence; `sync` completes it.
                if let Ok(evidence) = self.record.evidence(name, (snapshot, &list), tested) {
                    let shown = [(name.clone(), Shown::Evidence(evidence))];
                    sets.note_of((&set.host, &set.paths), snapshot, &shown)?;
                }
            }
        }
        Ok(renewals)
    }
}

fn everything(store: &S3Store) -> Result<BTreeSet<ObjectName>, CustodianError> {
    let mut names = BTreeSet::new();
    for kind in ObjectKind::ALL {
        if kind != ObjectKind::Lock {
            store.list(kind, &mut |info| {
                let name = match kind {
                    ObjectKind::Config => ObjectName::CONFIG,
                    kind => ObjectName::new(kind, info.id),
                };
                names.insert(name);
            })?;
        }
    }
    Ok(names)
}

/// Whether a bucket is to be asked again, and what it keeps to be extended. What others showed stays as it is.
pub(crate) fn is_due(custodian: &Custodian, evidence: &Evidence) -> bool {
    let now = now();
    let needed = renewal_needed_until(custodian, now);
    let is_old = now.saturating_sub(evidence.observed) > ASK_AGAIN_SECONDS;
    let is_short = needed.is_some_and(|needed| evidence.retained_until.unwrap_or(0) < needed);
    custodian.bucket().is_some() && (is_old || is_short)
}

/// The moment until which a bucket's retention should reach at least, if it retains anything: less is a
/// reason for an alarm.
pub fn renewal_needed_until(custodian: &Custodian, now: u64) -> Option<u64> {
    let period = custodian.bucket()?.period()?;
    Some(Renewal::of_period(period.as_secs()).needed_until(now))
}
