//! Checking a repository: whether everything that its snapshots need is there and intact.
//!
//! The result is data: what was found, each finding naming its object, what that means for which
//! files of which snapshots, and what to do. Nothing is changed.
//!
//! Nothing stops a check but a store that is away: whatever is damaged is reported, and the rest is
//! looked at all the same.

mod affected;
mod documents;
mod finding;
mod index;
mod packs;
mod report;
mod subset;
mod trees;
mod verify;

use std::collections::HashSet;

use outlast_format::BlobHandle;
use outlast_object::Id;

pub use affected::{AffectedPath, AffectedSnapshot, Loss};
pub use finding::{Finding, PackProblem, PackProblems, Severity};
pub use report::{CheckReport, CheckTotals, FINDINGS_MAX};
pub use subset::{ParseSubsetError, ReadData};

use crate::environment::random_bytes;
use crate::used_blobs::UsedBlobs;
use crate::{BlobLocation, Cancel, Progress, RepoError, Repository};
use affected::Lost;
use packs::{Listed, PackDamage, PackReading, list_packs};
use report::Findings;
use trees::TreeCheck;

/// Paths that are named for each snapshot where nothing else is asked for.
const PATHS_PER_SNAPSHOT_DEFAULT: usize = 100;

/// What is checked.
#[derive(Debug, Clone)]
pub struct CheckOptions {
    /// Which packs are read from end to end.
    pub read_data: ReadData,
    /// The snapshots to look at, and only packs that they need are read; `None` for everything.
    pub snapshots: Option<HashSet<Id>>,
    /// Affected paths that are named for each snapshot; all are counted.
    pub paths_per_snapshot: usize,
    /// Decides which packs are read where they are chosen at random; `None` for a random one.
    pub seed: Option<u64>,
}

impl Default for CheckOptions {
    fn default() -> Self {
        Self {
            read_data: ReadData::Nothing,
            snapshots: None,
            paths_per_snapshot: PATHS_PER_SNAPSHOT_DEFAULT,
            seed: None,
        }
    }
}

/// Follows a check. Called from several threads.
pub trait CheckObserver: Progress {
    /// Something was found.
    fn finding(&self, finding: &Finding) {
        let _ = finding;
    }

    /// So many more bytes of packs were read and verified.
    fn bytes_read(&self, bytes: u64) {
        let _ = bytes;
    }
}

impl CheckObserver for crate::NoProgress {}

/// Checks a repository. Loads the index anew. The caller holds the lock.
///
/// Damage is no error but part of the report; an error means that the check could not be done: the
/// store is away or refuses, or somebody asked to stop.
pub fn check(
    repository: &Repository,
    options: &CheckOptions,
    observer: &dyn CheckObserver,
    cancel: &Cancel,
) -> Result<CheckReport, RepoError> {
    repository.ensure_present()?;
    let reads_packs = repository.store().capabilities().reads_packs;
    if !reads_packs && options.read_data != ReadData::Nothing {
        return Err(RepoError::Refused(format!(
            "data cannot be checked at {}: these credentials do not read packs",
            repository.store().location()
        )));
    }
    let findings = Findings::new(observer);
    let parts = Parts {
        repository,
        options,
        findings: &findings,
        observer,
        cancel,
    };
    let affected = parts.check()?;
    let mut report = findings.into_report();
    report.affected = affected;
    Ok(report)
}

/// What all parts of a check need.
struct Parts<'a> {
    repository: &'a Repository,
    options: &'a CheckOptions,
    findings: &'a Findings<'a>,
    observer: &'a dyn CheckObserver,
    cancel: &'a Cancel,
}

impl Parts<'_> {
    fn check(&self) -> Result<Vec<AffectedSnapshot>, RepoError> {
        let Parts {
            repository,
            options,
            findings,
            observer,
            cancel,
        } = *self;
        documents::check_keys(repository, findings, cancel)?;
        documents::check_locks(repository, findings)?;
        let facts = index::check_index(repository, findings, cancel)?;
        let used = UsedBlobs::new(repository);
        let mut packs = PackDamage::default();
        let listed = list_packs(repository, &facts.contradicted, findings, &mut packs)?;
        let only = options.snapshots.as_ref();
        let roots = documents::check_snapshots(repository, only, findings, cancel)?;
        let trees = TreeCheck::new(repository, &used, findings, observer, cancel).run(&roots)?;
        self.read_packs(&used, listed, &mut packs)?;
        let mut lost = trees.lost;
        add_lost_with_packs(repository, &packs, &mut lost);
        if lost.is_empty() && !trees.has_bad_entries {
            return Ok(Vec::new());
        }
        let lost = Lost {
            repository,
            blobs: &lost,
            paths_max: options.paths_per_snapshot,
            observer,
            cancel,
        };
        lost.of_snapshots(&roots)
    }

    /// Reads the packs that were asked for, and those about which something is odd: only then it is
    /// known which of their blobs are lost.
    fn read_packs(
        &self,
        used: &UsedBlobs,
        listed: Listed,
        damage: &mut PackDamage,
    ) -> Result<(), RepoError> {
        let repository = self.repository;
        let mut plausible = listed.plausible;
        if self.options.snapshots.is_some() {
            let needed = needed_packs(repository, used);
            plausible.retain(|(pack, _)| needed.contains(pack));
        }
        let seed = match self.options.seed {
            Some(seed) => seed,
            None => u64::from_le_bytes(random_bytes()?),
        };
        let mut packs = self.options.read_data.choose(&plausible, seed);
        if repository.store().capabilities().reads_packs {
            packs.extend(listed.suspect);
        } else {
            for (pack, found) in listed.suspect {
                self.cannot_look_at(pack, found);
            }
        }
        let by_pack = repository.index().by_pack().ok_or_else(|| {
            RepoError::Refused("the index has more entries than can be checked".to_owned())
        })?;
        let reading = PackReading {
            repository,
            numbers: &used.numbers,
            by_pack: &by_pack,
            findings: self.findings,
            observer: self.observer,
            cancel: self.cancel,
        };
        reading.read_all(&packs, damage)
    }

    /// A pack is not as the index has it, and that is all that can be known.
    fn cannot_look_at(&self, pack: Id, found: u64) {
        let index = self.repository.index();
        let number = index.pack_number(&pack);
        let expected = number.map(|number| index.pack_facts(number).pack_bytes());
        drop(index);
        let expected = expected.unwrap_or_default();
        if expected == found {
            let problems = PackProblems::one(PackProblem::Contradiction);
            self.findings.add(Finding::WrongIndex { pack, problems });
        } else {
            self.findings.add(Finding::PackNotChecked {
                pack,
                expected,
                found,
            });
        }
    }
}

/// All packs that hold a blob which the snapshots need.
fn needed_packs(repository: &Repository, used: &UsedBlobs) -> HashSet<Id> {
    let index = repository.index();
    let mut needed = HashSet::new();
    let mut last: Option<(BlobHandle, bool)> = None;
    for (number, location) in index.iter().enumerate() {
        let handle = location.blob.handle;
        let is_used = match last {
            // Of a blob with several entries the first is marked.
            Some((known, is_used)) if known == handle => is_used,
            _ => used.bits.get(number),
        };
        last = Some((handle, is_used));
        if is_used {
            needed.insert(location.pack_id);
        }
    }
    needed
}

/// Adds the blobs that cannot be had from any place that an index names.
fn add_lost_with_packs(
    repository: &Repository,
    packs: &PackDamage,
    lost: &mut HashSet<BlobHandle>,
) {
    if packs.places.is_empty() {
        return;
    }
    let is_bad = |location: &BlobLocation| {
        let places = packs.places.get(&location.pack);
        places.is_some_and(|places| places.contains(&location.blob))
    };
    let index = repository.index();
    let candidates: HashSet<BlobHandle> = index
        .iter()
        .filter(is_bad)
        .map(|location| location.blob.handle)
        .collect();
    let is_lost = |handle: &BlobHandle| {
        !packs.rescued.contains(handle) && index.find(*handle).all(|location| is_bad(&location))
    };
    lost.extend(candidates.into_iter().filter(is_lost));
}
