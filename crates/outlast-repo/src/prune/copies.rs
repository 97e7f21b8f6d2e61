//! Choosing one copy of each blob that is needed, and verifying the copies that remain.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use outlast_format::{BlobDecoder, BlobHandle, BlobKind};
use parking_lot::Mutex;

use super::plan::{Plan, PruneRefusal, replan};
use super::{PruneOptions, PruneStatistics};
use crate::bits::Bits;
use crate::pack_blobs::read_sealed;
use crate::{
    BlobIndex, BlobLocation, Cancel, PackNumber, Progress, RepoError, Repository, Stage, threads,
};

/// Threads that read copies at most.
const THREADS_MAX: usize = 4;
/// Rounds of verifying: each finds all copies bad that it relied on.
const ROUNDS_MAX: usize = 16;
/// Bytes that an entry takes in the header of a pack.
const HEADER_ENTRY_BYTES: u64 = 37;
/// The same where the blob is compressed.
const HEADER_ENTRY_COMPRESSED_BYTES: u64 = 41;
/// The seal of a pack's header and the length that follows it.
const HEADER_BYTES: u64 = 36;

/// What a pack holds, judged by what is needed.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct PackUse {
    pub(super) used_blobs: u64,
    pub(super) unused_blobs: u64,
    pub(super) duplicate_blobs: u64,
    /// With the pack's header.
    pub(super) used_bytes: u64,
    pub(super) unused_bytes: u64,
    pub(super) has_data: bool,
    pub(super) has_trees: bool,
    pub(super) has_uncompressed: bool,
    /// It holds a copy that was found to be damaged.
    pub(super) is_damaged: bool,
}

impl PackUse {
    /// The size that the pack must have by the index.
    pub(super) fn bytes(&self) -> u64 {
        self.used_bytes + self.unused_bytes
    }
}

/// One copy of each blob that is needed is chosen.
#[derive(Debug)]
pub(super) struct Copies {
    /// What each pack holds, by its number.
    pub(super) packs: Vec<PackUse>,
    /// The entries of the chosen copies.
    pub(super) keep: Bits,
    /// Blobs all of whose copies are known to be bad.
    pub(super) lost: Vec<BlobHandle>,
}

/// Calls `visit` with all entries of each blob, and the number of the first.
pub(super) fn for_each_blob(index: &BlobIndex, mut visit: impl FnMut(usize, &[BlobLocation])) {
    let mut group: Vec<BlobLocation> = Vec::new();
    let mut start = 0;
    for (number, location) in index.iter().enumerate() {
        if group
            .first()
            .is_some_and(|first| first.blob.handle != location.blob.handle)
        {
            visit(start, &group);
            group.clear();
        }
        if group.is_empty() {
            start = number;
        }
        group.push(location);
    }
    if !group.is_empty() {
        visit(start, &group);
    }
}

/// Judges each pack and chooses among copies. Entries in `bad` count as not needed. Where there is a
/// choice, packs for which `is_sound` holds are preferred, then those that are needed anyhow.
pub(super) fn choose_copies(
    index: &BlobIndex,
    used: &Bits,
    bad: &HashSet<usize>,
    is_sound: &dyn Fn(PackNumber) -> bool,
    statistics: &mut PruneStatistics,
) -> Copies {
    let keep = Bits::new(index.len());
    let mut packs = vec![PackUse::default(); index.packs().len()];
    let mut lost = Vec::new();
    for pack in &mut packs {
        pack.used_bytes = HEADER_BYTES;
    }
    let mut has_duplicates = false;
    for_each_blob(index, |start, group| {
        let good = (start..start + group.len()).filter(|number| !bad.contains(number));
        let copies = if used.get(start) { good.count() } else { 0 };
        if used.get(start) && copies == 0 {
            lost.push(group[0].blob.handle);
        }
        has_duplicates |= copies > 1;
        for (number, location) in (start..).zip(group) {
            let is_bad = bad.contains(&number);
            let pack = &mut packs[location.pack.0 as usize];
            note_entry(pack, location, is_bad);
            let bytes = u64::from(location.blob.length);
            match copies {
                1 if !is_bad => {
                    keep.set(number);
                    pack.used_blobs += 1;
                    pack.used_bytes += bytes;
                    statistics.blobs.used += 1;
                    statistics.bytes.used += bytes;
                    continue;
                }
                2.. if !is_bad => {
                    pack.duplicate_blobs += 1;
                    statistics.blobs.duplicate += 1;
                    statistics.bytes.duplicate += bytes;
                }
                _ => {
                    statistics.blobs.unused += 1;
                    statistics.bytes.unused += bytes;
                }
            }
            pack.unused_blobs += 1;
            pack.unused_bytes += bytes;
        }
    });
    let mut copies = Copies { packs, keep, lost };
    if has_duplicates {
        for_each_blob(index, |start, group| {
            if group.len() > 1 && used.get(start) {
                copies.choose(start, group, bad, is_sound, statistics);
            }
        });
    }
    copies
}

fn note_entry(pack: &mut PackUse, location: &BlobLocation, is_bad: bool) {
    let compressed = location.blob.uncompressed_length != 0;
    pack.used_bytes += if compressed {
        HEADER_ENTRY_COMPRESSED_BYTES
    } else {
        HEADER_ENTRY_BYTES
    };
    pack.has_uncompressed |= !compressed;
    pack.is_damaged |= is_bad;
    match location.blob.handle.kind {
        BlobKind::Data => pack.has_data = true,
        BlobKind::Tree => pack.has_trees = true,
    }
}

impl Copies {
    fn choose(
        &mut self,
        start: usize,
        group: &[BlobLocation],
        bad: &HashSet<usize>,
        is_sound: &dyn Fn(PackNumber) -> bool,
        statistics: &mut PruneStatistics,
    ) {
        let rank = |location: &BlobLocation| {
            let pack = &self.packs[location.pack.0 as usize];
            // A pack with nothing but copies was most likely made by a run that was interrupted.
            let only_copies = pack.duplicate_blobs == pack.unused_blobs;
            (
                is_sound(location.pack),
                pack.used_blobs > 0,
                only_copies,
                location.pack,
            )
        };
        let good = || {
            (start..)
                .zip(group)
                .filter(|(number, _)| !bad.contains(number))
        };
        if good().count() < 2 {
            return;
        }
        let Some((number, chosen)) = good().max_by_key(|(_, location)| rank(location)) else {
            return;
        };
        let bytes = u64::from(chosen.blob.length);
        let pack = &mut self.packs[chosen.pack.0 as usize];
        pack.used_blobs += 1;
        pack.used_bytes += bytes;
        pack.unused_blobs -= 1;
        pack.unused_bytes -= bytes;
        pack.duplicate_blobs -= 1;
        statistics.blobs.used += 1;
        statistics.bytes.used += bytes;
        statistics.blobs.duplicate -= 1;
        statistics.bytes.duplicate -= bytes;
        self.keep.set(number);
    }
}

/// Reads each copy that the plan relies on while another one goes. Where one is bad, plans anew
/// without it, until all are good.
pub(super) fn verify_remaining(
    repository: &Repository,
    options: &PruneOptions,
    plan: &mut Plan,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<(), RepoError> {
    let mut verified = HashSet::new();
    for _ in 0..ROUNDS_MAX {
        let relied_on: Vec<usize> = plan
            .relied_on
            .iter()
            .copied()
            .filter(|number| !verified.contains(number))
            .collect();
        if relied_on.is_empty() {
            return Ok(());
        }
        let bad = find_bad(repository, plan, &relied_on, progress, cancel)?;
        verified.extend(relied_on);
        if bad.is_empty() {
            return Ok(());
        }
        plan.bad.extend(bad);
        replan(repository, options, plan)?;
    }
    let index = repository.index();
    let handles = plan.bad.iter().filter_map(|number| {
        let location = index.entry_at(&plan.used.numbers, *number)?;
        Some(location.blob.handle)
    });
    Err(PruneRefusal::DamagedCopies(handles.collect()).into())
}

/// Those entries of `numbers` whose blob is not there intact.
fn find_bad(
    repository: &Repository,
    plan: &Plan,
    numbers: &[usize],
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<Vec<usize>, RepoError> {
    progress.begin(Stage::VerifyCopies, numbers.len() as u64);
    let mut wanted: Vec<(BlobLocation, usize)> = {
        let index = repository.index();
        let locations = numbers.iter().filter_map(|number| {
            let location = index.entry_at(&plan.used.numbers, *number)?;
            Some((location, *number))
        });
        locations.collect()
    };
    wanted.sort_unstable_by_key(|(location, _)| (location.pack, location.blob.offset));
    let packs: Vec<_> = wanted.chunk_by(|a, b| a.0.pack == b.0.pack).collect();
    let next = AtomicUsize::new(0);
    let bad = Mutex::new(Vec::new());
    let work = || {
        let mut decoder = BlobDecoder::new();
        while let Some(group) = packs.get(next.fetch_add(1, Ordering::Relaxed)) {
            cancel.check()?;
            let mut blobs: Vec<_> = group.iter().map(|(location, _)| location.blob).collect();
            let pack_id = group[0].0.pack_id;
            read_sealed(repository, pack_id, &mut blobs, &mut |blob, sealed| {
                let (handle, length) = (blob.handle, blob.uncompressed_length);
                let key = repository.key();
                let intact =
                    sealed.is_ok_and(|bytes| decoder.decode(handle, bytes, length, key).is_ok());
                if !intact {
                    let found = group.iter().filter(|(location, _)| location.blob == *blob);
                    bad.lock().extend(found.map(|(_, number)| *number));
                }
                progress.advance(Stage::VerifyCopies, 1);
                Ok(())
            })?;
        }
        Ok(())
    };
    let connections = repository.store().connections().clamp(1, THREADS_MAX);
    threads::run(connections.min(packs.len().max(1)), &work)?;
    Ok(bad.into_inner())
}
