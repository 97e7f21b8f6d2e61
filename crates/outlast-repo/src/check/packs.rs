//! Packs: what is there against what the index says, and reading those that are asked for or suspect.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};

use outlast_format::{BlobHandle, PackedBlob};
use outlast_object::{Id, ObjectKind};
use parking_lot::Mutex;

use super::finding::{PackProblem, PackProblems};
use super::report::Findings;
use super::verify::{Claim, PackClaims, Verdict, VerifyScratch, claim_of, verify_pack};
use super::{CheckObserver, Finding};
use crate::index::{EntriesByPack, EntryNumbers};
use crate::{Cancel, PackNumber, RepoError, Repository, Stage, threads};

/// Threads that verify packs at most; each holds one pack of up to 32 MiB and one blob in memory.
const THREADS_MAX: usize = 16;
/// Threads that wait for a distant store, however few processors there are.
const THREADS_FEW: usize = 4;

/// What is wrong with the packs that the index names.
#[derive(Debug, Default)]
pub(super) struct PackDamage {
    /// Entries of the index where the blob cannot be had.
    pub(super) places: HashMap<PackNumber, BadPlaces>,
    /// Blobs that are intact in a pack at a place that no index names.
    pub(super) rescued: HashSet<BlobHandle>,
}

/// Entries of one pack.
#[derive(Debug)]
pub(super) enum BadPlaces {
    /// The pack is gone.
    All,
    /// Some entries.
    Some(HashSet<Claim>),
}

impl BadPlaces {
    pub(super) fn contains(&self, blob: &PackedBlob) -> bool {
        match self {
            BadPlaces::All => true,
            BadPlaces::Some(claims) => claims.contains(&claim_of(blob)),
        }
    }
}

/// What listing the packs found.
#[derive(Debug, Default)]
pub(super) struct Listed {
    /// Packs that are listed and whose size is what the index says.
    pub(super) plausible: Vec<(Id, u64)>,
    /// Packs to be read because something about them is odd.
    pub(super) suspect: Vec<(Id, u64)>,
}

/// The size of a pack that follows from its index entries.
pub(super) fn expected_bytes(repository: &Repository, pack: PackNumber) -> u64 {
    repository.index().pack_facts(pack).pack_bytes()
}

/// Compares the packs in the store with the index.
pub(super) fn list_packs(
    repository: &Repository,
    contradicted: &[Id],
    findings: &Findings<'_>,
    damage: &mut PackDamage,
) -> Result<Listed, RepoError> {
    let mut sizes: HashMap<Id, u64> = HashMap::new();
    repository.store().list(ObjectKind::Pack, &mut |info| {
        sizes.insert(info.id, info.size);
    })?;
    if sizes.is_empty() {
        repository.ensure_present()?;
    }
    findings.totals(|totals| totals.packs = sizes.len() as u64);
    let contradicted: HashSet<&Id> = contradicted.iter().collect();
    let mut listed = Listed::default();
    let packs = repository.index().packs().to_vec();
    for (number, pack) in packs.into_iter().enumerate() {
        let number = PackNumber(number as u32);
        match sizes.remove(&pack) {
            None => {
                damage.places.insert(number, BadPlaces::All);
                let problems = PackProblems::one(PackProblem::Missing);
                findings.add(Finding::DamagedPack { pack, problems });
            }
            Some(size)
                if size != expected_bytes(repository, number) || contradicted.contains(&pack) =>
            {
                listed.suspect.push((pack, size));
            }
            Some(size) => listed.plausible.push((pack, size)),
        }
    }
    findings.totals(|totals| totals.unreferenced_packs = sizes.len() as u64);
    for (pack, bytes) in sizes {
        findings.add(Finding::UnreferencedPack { pack, bytes });
    }
    listed.plausible.sort_unstable();
    listed.suspect.sort_unstable();
    Ok(listed)
}

/// All that reading packs needs.
pub(super) struct PackReading<'a> {
    pub(super) repository: &'a Repository,
    pub(super) numbers: &'a EntryNumbers,
    pub(super) by_pack: &'a EntriesByPack,
    pub(super) findings: &'a Findings<'a>,
    pub(super) observer: &'a dyn CheckObserver,
    pub(super) cancel: &'a Cancel,
}

impl PackReading<'_> {
    /// Reads packs from end to end.
    pub(super) fn read_all(
        &self,
        packs: &[(Id, u64)],
        damage: &mut PackDamage,
    ) -> Result<(), RepoError> {
        if packs.is_empty() {
            return Ok(());
        }
        self.observer.begin(Stage::ReadPacks, packs.len() as u64);
        let next = AtomicUsize::new(0);
        let found = Mutex::new(damage);
        let large_blobs = Mutex::new(());
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        // Each thread holds a pack: more of them than keep the processors busy only take memory.
        let wanted = self.repository.store().connections().max(cores);
        let wanted = wanted.min((2 * cores).max(THREADS_FEW));
        threads::run(wanted.clamp(1, THREADS_MAX).min(packs.len()), &|| {
            let mut scratch = VerifyScratch::default();
            while let Some((pack, size)) = packs.get(next.fetch_add(1, Ordering::Relaxed)) {
                self.cancel.check()?;
                self.read((*pack, *size), &found, &large_blobs, &mut scratch)?;
                self.observer.bytes_read(*size);
                self.observer.advance(Stage::ReadPacks, 1);
                self.findings.totals(|totals| {
                    totals.packs_read += 1;
                    totals.bytes_read += size;
                });
            }
            Ok(())
        })
    }

    fn read(
        &self,
        (pack, size): (Id, u64),
        found: &Mutex<&mut PackDamage>,
        large_blobs: &Mutex<()>,
        scratch: &mut VerifyScratch,
    ) -> Result<(), RepoError> {
        let Some(number) = self.repository.index().pack_number(&pack) else {
            return Ok(());
        };
        let claims = self.claims(pack, number);
        let verify = |scratch: &mut VerifyScratch| {
            let (repository, cancel) = (self.repository, self.cancel);
            verify_pack(repository, &claims, size, large_blobs, scratch, cancel)
        };
        let first = verify(scratch)?;
        if first.is_clean() {
            return Ok(());
        }
        // A transfer may have gone wrong, or memory may be failing: what is on disk counts.
        let second = verify(scratch)?;
        let Verdict {
            mut problems,
            is_damaged,
            bad_places,
            rescued,
        } = second;
        if first.is_damaged && !is_damaged {
            let problems = first.problems;
            self.findings.add(Finding::UnsteadyPack { pack, problems });
        }
        if problems.is_empty() {
            return Ok(());
        }
        if problems.named.len() > 1 && !is_damaged {
            // The size follows from the entries that are wrong.
            problems
                .named
                .retain(|problem| !matches!(problem, PackProblem::Size { .. }));
        }
        self.findings.add(if is_damaged {
            Finding::DamagedPack { pack, problems }
        } else {
            Finding::WrongIndex { pack, problems }
        });
        let mut found = found.lock();
        found.rescued.extend(rescued);
        found.places.insert(number, BadPlaces::Some(bad_places));
        Ok(())
    }

    fn claims(&self, pack: Id, number: PackNumber) -> PackClaims {
        let index = self.repository.index();
        let mut blobs: Vec<_> = self
            .by_pack
            .of(number)
            .iter()
            .filter_map(|entry| index.entry_at(self.numbers, *entry as usize))
            .map(|location| location.blob)
            .collect();
        blobs.sort_unstable_by_key(|blob| blob.offset);
        drop(index);
        PackClaims {
            id: pack,
            expected_bytes: expected_bytes(self.repository, number),
            blobs,
        }
    }
}
