//! All who keep the backups of this machine: written to at once, then asked one by one for what they
//! can show.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use outlast_custody::{EvidenceKind, ObjectList};
use outlast_object::Id;
use outlast_store::{
    ConnectOptions, Deletes, Location, Report, RetryPolicy, Several, SeveralOptions, Spool,
    Standing, StoreError,
};

use crate::backup::BackupRun;
use crate::buckets::{Retained, keep};
use crate::config::{Configuration, ConfigurationError, Places};
use crate::custodian::{Custodian, CustodianError, Custodians, memory_folder, place_of_custodian};
use crate::data_sets::{DataSets, Shown};
use crate::evidence::{EvidenceFailure, Showing, read_back};
use crate::receipts::{Held, made, seal_list};
use crate::status::now;

/// A place that fails is tried again for so long, while the others go on.
const RETRY_TIME: Duration = Duration::from_secs(60);
/// Attempts at a place.
const ATTEMPTS: u32 = 8;
/// The file beside a custodian's receipts in which it is remembered what was read back when.
const RECORD: &str = "read-back";
/// The name of the repository that no custodian keeps.
pub const OWN: &str = "this machine's own copy";

/// What became of a backup at one custodian.
#[derive(Debug)]
pub struct Kept {
    /// The custodian.
    pub custodian: Custodian,
    /// What it showed, or why nothing.
    pub outcome: Result<Proven, NotKept>,
}

/// What a custodian showed.
#[derive(Debug, Clone)]
pub enum Proven {
    /// A receipt that was verified.
    Receipt(Box<Held>),
    /// Evidence.
    Evidence(outlast_custody::Evidence),
    /// Evidence of a bucket.
    Retained(Box<Retained>),
}

impl Proven {
    /// What is to be noted of it.
    pub fn shown(&self) -> Shown {
        match self {
            Self::Receipt(held) => Shown::Receipt(held.path.clone()),
            Self::Evidence(evidence) => Shown::Evidence(evidence.clone()),
            Self::Retained(retained) => Shown::Evidence(retained.evidence.clone()),
        }
    }

    /// Whether retention could not be extended for as long as it should be.
    pub fn is_alarm(&self) -> bool {
        matches!(self, Self::Retained(retained) if !retained.renewals.failed.is_empty())
    }
}

/// Why a custodian does not vouch for a backup yet.
#[derive(Debug, thiserror::Error)]
pub enum NotKept {
    /// It cannot be reached, or failed.
    #[error("away: {0}")]
    Away(String),
    /// It lacks objects.
    #[error("lacks {0} objects of this backup; `outlast sync` completes it")]
    Lacks(u64),
    /// It lacks something from before.
    #[error("lacks something of earlier backups; `outlast sync` completes it")]
    Behind,
    /// It gave no valid receipt.
    #[error(transparent)]
    NoReceipt(CustodianError),
    /// What it showed is not remembered, so that it does not count.
    #[error("what it showed cannot be noted: {0}")]
    NotNoted(String),
    /// What was read back was not whole.
    #[error(transparent)]
    NoEvidence(#[from] EvidenceFailure),
}

impl NotKept {
    /// Whether this is as it should be with disks that are somewhere else.
    pub fn is_away(&self) -> bool {
        matches!(self, Self::Away(_))
    }
}

/// Those who take backups, as the configuration says.
///
/// # Errors
/// [`CustodianError`] if one that is named is not known.
pub fn keepers(
    places: &Places,
    configuration: Option<&Configuration>,
) -> Result<Vec<Custodian>, CustodianError> {
    let custodians = Custodians::of(places);
    match configuration.and_then(|configuration| configuration.custodians.as_ref()) {
        Some(names) => names.iter().map(|name| custodians.find(name)).collect(),
        None => {
            let mut all = custodians.list()?;
            all.retain(Custodian::takes_backups);
            Ok(all)
        }
    }
}

/// The store of a custodian.
///
/// # Errors
/// [`CustodianError`] if it cannot be opened; nothing is sent yet.
pub fn open_custodian(
    custodian: &Custodian,
    connect: &ConnectOptions,
) -> Result<Arc<dyn Deletes>, CustodianError> {
    let mut connect = connect.clone();
    connect.retry = RetryPolicy {
        attempts_max: ATTEMPTS,
        elapsed_max: RETRY_TIME,
        ..connect.retry
    };
    let place = place_of_custodian(custodian.clone(), None, &mut connect)?;
    Ok(outlast_store::open(&place.location, &connect)?)
}

/// Goes to all custodians at once, and to a repository of one's own if there is one.
///
/// # Errors
/// [`StoreError`] if none of them can be used; those of the spool.
pub fn open_all(
    places: &Places,
    configuration: &Configuration,
    own: Option<Location>,
    keepers: &[Custodian],
    connect: &ConnectOptions,
) -> Result<Arc<Several>, StoreError> {
    let mut all = Vec::new();
    if let Some(location) = own {
        let connect = connect.clone();
        all.push(outlast_store::Place {
            name: OWN.to_owned(),
            connect: Box::new(move || outlast_store::open(&location, &connect)),
        });
    }
    for custodian in keepers {
        let (name, custodian) = (custodian.name.clone(), custodian.clone());
        let connect = connect.clone();
        all.push(outlast_store::Place {
            name,
            connect: Box::new(move || {
                open_custodian(&custodian, &connect).map_err(|error| match error {
                    CustodianError::Store(error) => error,
                    other => StoreError::Location(other.to_string()),
                })
            }),
        });
    }
    let options = SeveralOptions {
        spool: Some(Arc::new(open_spool(places, configuration)?)),
        ..SeveralOptions::default()
    };
    Ok(Arc::new(Several::open(all, options)?))
}

/// The spool of this machine.
///
/// # Errors
/// Those of the file system.
pub fn open_spool(places: &Places, configuration: &Configuration) -> Result<Spool, StoreError> {
    Spool::open(&places.spool, configuration.spool_bytes_max)
}

/// Asks every custodian at once for what it can show for a snapshot, and notes it. `reports` say what
/// each of them took; one without a report took everything.
pub fn prove_all(
    places: &Places,
    keepers: &[Custodian],
    connect: &ConnectOptions,
    reports: &[Report],
    (snapshot, list): (Id, &ObjectList),
) -> Vec<Kept> {
    let prove = |custodian: &Custodian| {
        let report = reports.iter().find(|report| report.name == custodian.name);
        if let Some(reason) = report.and_then(not_kept) {
            return Err(reason);
        }
        prove_one(places, custodian, connect, (snapshot, list))
    };
    let outcomes: Vec<_> = thread::scope(|scope| {
        let handles: Vec<_> = keepers
            .iter()
            .map(|custodian| scope.spawn(move || prove(custodian)))
            .collect();
        let ended = |_| Err(NotKept::Away("the work with it ended".to_owned()));
        let outcomes = handles.into_iter();
        outcomes
            .map(|handle| handle.join().unwrap_or_else(ended))
            .collect()
    });
    let shown = keepers.iter().zip(&outcomes);
    let shown: Vec<(String, Shown)> = shown
        .filter_map(|(custodian, outcome)| {
            let proven = outcome.as_ref().ok()?;
            Some((custodian.name.clone(), proven.shown()))
        })
        .collect();
    let noted = DataSets::of(places).note(snapshot, &shown);
    let keep = |(custodian, outcome): (&Custodian, Result<Proven, NotKept>)| {
        let not_noted = |error: &ConfigurationError| NotKept::NotNoted(error.to_string());
        let outcome = outcome.and_then(|proven| match &noted {
            Ok(()) => Ok(proven),
            Err(error) => Err(not_noted(error)),
        });
        Kept {
            custodian: custodian.clone(),
            outcome,
        }
    };
    keepers.iter().zip(outcomes).map(keep).collect()
}

/// Asks one custodian for what it can show for a backup that was made there alone, and remembers it.
/// None after a dry run.
///
/// # Errors
/// [`CustodianError`] if nothing can be remembered.
pub fn vouch(
    places: &Places,
    custodian: &Custodian,
    connect: &ConnectOptions,
    host: &str,
    run: &BackupRun,
) -> Result<Option<Kept>, CustodianError> {
    let Some((snapshot, list)) = made(run) else {
        return Ok(None);
    };
    DataSets::of(places).remember(host, &run.paths, (snapshot, now()), &list)?;
    let only = std::slice::from_ref(custodian);
    let kept = prove_all(places, only, connect, &[], (snapshot, &list));
    Ok(kept.into_iter().next())
}

fn not_kept(report: &Report) -> Option<NotKept> {
    match &report.standing {
        Standing::Away(reason) => Some(NotKept::Away(reason.clone())),
        Standing::Waiting => Some(NotKept::Away("it did not answer in time".to_owned())),
        Standing::Ready if report.was_behind => Some(NotKept::Behind),
        Standing::Ready if report.missing > 0 => Some(NotKept::Lacks(report.missing)),
        Standing::Ready => None,
    }
}

/// Asks one custodian.
///
/// # Errors
/// [`NotKept`].
pub fn prove_one(
    places: &Places,
    custodian: &Custodian,
    connect: &ConnectOptions,
    (snapshot, list): (Id, &ObjectList),
) -> Result<Proven, NotKept> {
    if let Some(bucket) = custodian.bucket() {
        let retained = keep(places, custodian, bucket, connect, (snapshot, list))?;
        return Ok(Proven::Retained(Box::new(retained)));
    }
    let Some(folder) = custodian.folder() else {
        let held = seal_list(places, custodian, connect, snapshot, list);
        return held
            .map(Box::new)
            .map(Proven::Receipt)
            .map_err(NotKept::NoReceipt);
    };
    let store = open_custodian(custodian, connect).map_err(|error| match error {
        CustodianError::DiskAway { .. } => NotKept::Away(error.to_string()),
        other => NotKept::NoReceipt(other),
    })?;
    let showing = Showing {
        custodian: &custodian.name,
        kind: match folder.is_removable {
            true => EvidenceKind::Disk,
            false => EvidenceKind::Directory,
        },
        snapshot,
        list,
        now: now(),
    };
    let record = memory_folder(places, &custodian.name).join(RECORD);
    Ok(Proven::Evidence(read_back(&*store, &record, &showing)?))
}

impl From<ConfigurationError> for NotKept {
    fn from(error: ConfigurationError) -> Self {
        Self::NoReceipt(error.into())
    }
}
