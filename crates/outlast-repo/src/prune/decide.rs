//! What becomes of each pack. The rules and their order are restic's.

use std::cmp::Ordering;

use outlast_object::Id;

use super::copies::{Copies, PackUse};
use super::plan::{Fate, Plan};
use super::{PruneOptions, PruneRefusal, PruneStatistics};
use crate::repository::PACK_BYTES_MIN;
use crate::{BlobIndex, PackNumber, RepoError, Repository};

/// Fewer small packs than this are not worth merging; so a single small pack, which every
/// repository ends with, is not repacked again and again.
const SMALL_PACKS_MIN: usize = 10;

/// What becomes of all packs.
#[derive(Debug)]
pub(super) struct Decision {
    /// By the number of the pack.
    pub(super) fates: Vec<Fate>,
    /// Packs that no index lists.
    pub(super) unreferenced: Vec<Id>,
}

#[derive(Debug, Clone, Copy)]
struct Candidate {
    pack: PackNumber,
    content: PackUse,
    must_repack: bool,
}

/// Decides over all packs, or refuses because a pack that is needed is missing or has the wrong
/// size.
pub(super) fn decide(
    repository: &Repository,
    options: &PruneOptions,
    index: &BlobIndex,
    plan: &Plan,
    copies: &Copies,
    statistics: &mut PruneStatistics,
) -> Result<Decision, RepoError> {
    let version = repository.config().version;
    let small_bytes = small_pack_bytes(options, repository.pack_bytes(), &copies.packs);
    let mut decision = Decision {
        fates: vec![Fate::Forget; copies.packs.len()],
        unreferenced: Vec::new(),
    };
    let mut candidates = Vec::new();
    let mut small = Vec::new();
    let mut wrong_sizes = Vec::new();
    for info in &plan.listed {
        let Some(pack) = index.pack_number(&info.id) else {
            decision.unreferenced.push(info.id);
            statistics.bytes.unreferenced += info.size;
            continue;
        };
        let content = copies.packs[pack.0 as usize];
        if content.used_blobs > 0 && content.bytes() != info.size {
            wrong_sizes.push(info.id);
            continue;
        }
        count_pack(&content, version, statistics);
        let is_plain = content.has_data && !content.has_trees;
        let is_mixed = content.has_data && content.has_trees;
        let compress = version >= 2
            && content.has_uncompressed
            && (!content.has_data || options.repack_uncompressed);
        let must_repack = compress || content.is_damaged;
        let candidate = Candidate {
            pack,
            content,
            must_repack,
        };
        decision.fates[pack.0 as usize] = Fate::Stay;
        if content.used_blobs == 0 {
            decision.fates[pack.0 as usize] = Fate::Remove;
            statistics.packs.remove += 1;
            statistics.blobs.remove += content.unused_blobs;
            statistics.bytes.remove += content.unused_bytes;
        } else if options.repack_cacheable_only && is_plain && !content.is_damaged {
            statistics.packs.keep += 1;
        } else if content.unused_blobs > 0 || is_mixed || must_repack {
            candidates.push(candidate);
        } else if info.size >= small_bytes {
            statistics.packs.keep += 1;
        } else {
            small.push(candidate);
        }
    }
    if !wrong_sizes.is_empty() {
        return Err(PruneRefusal::WrongPackSizes(wrong_sizes).into());
    }
    forget_missing(index, copies, &decision, statistics)?;
    if small.len() < SMALL_PACKS_MIN {
        statistics.packs.keep += small.len() as u64;
    } else {
        candidates.append(&mut small);
    }
    candidates.sort_by(|a, b| order(a, b, small_bytes));
    pick(options, &candidates, small_bytes, &mut decision, statistics);
    statistics.packs.unreferenced = decision.unreferenced.len() as u64;
    if version < 2 {
        statistics.bytes.uncompressed = 0;
    }
    Ok(decision)
}

fn count_pack(content: &PackUse, version: u32, statistics: &mut PruneStatistics) {
    let packs = &mut statistics.packs;
    if content.used_blobs == 0 {
        packs.unused += 1;
    } else if content.unused_blobs == 0 {
        packs.used += 1;
    } else {
        packs.partly_used += 1;
    }
    if content.has_uncompressed && version >= 2 {
        statistics.bytes.uncompressed += content.bytes();
    }
}

/// Packs below this size are small: what was asked for, or four fifths of the size of the smallest
/// packs but for three in a hundred.
fn small_pack_bytes(options: &PruneOptions, pack_bytes: u64, packs: &[PackUse]) -> u64 {
    if let Some(bytes) = options.repack_smaller_than {
        return bytes;
    }
    if options.repack_small {
        return pack_bytes / 5 * 4;
    }
    let mut sizes: Vec<u64> = packs.iter().map(PackUse::bytes).collect();
    sizes.sort_unstable();
    let third = sizes
        .get(sizes.len() * 3 / 100)
        .copied()
        .unwrap_or_default();
    third.max(PACK_BYTES_MIN) * 4 / 5
}

/// Packs that an index lists and that are not there: needed ones refuse the whole.
fn forget_missing(
    index: &BlobIndex,
    copies: &Copies,
    decision: &Decision,
    statistics: &mut PruneStatistics,
) -> Result<(), RepoError> {
    let mut missing = Vec::new();
    for ((id, content), fate) in index.packs().iter().zip(&copies.packs).zip(&decision.fates) {
        if *fate != Fate::Forget {
            continue;
        }
        if content.used_blobs > 0 {
            missing.push(*id);
        }
        statistics.blobs.remove += content.unused_blobs;
        statistics.bytes.remove += content.unused_bytes;
    }
    if missing.is_empty() {
        Ok(())
    } else {
        Err(PruneRefusal::MissingPacks(missing).into())
    }
}

/// Packs with trees come first, then small ones, then those with the largest part of unused bytes.
fn order(a: &Candidate, b: &Candidate, small_bytes: u64) -> Ordering {
    let plain = |candidate: &Candidate| !candidate.content.has_trees;
    let large = |candidate: &Candidate| candidate.content.bytes() >= small_bytes;
    let waste = |a: &Candidate, b: &Candidate| {
        u128::from(a.content.unused_bytes) * u128::from(b.content.used_bytes)
    };
    (plain(a), large(a))
        .cmp(&(plain(b), large(b)))
        .then_with(|| waste(b, a).cmp(&waste(a, b)))
}

/// Picks candidates until little enough is left unused, or enough is repacked.
fn pick(
    options: &PruneOptions,
    candidates: &[Candidate],
    small_bytes: u64,
    decision: &mut Decision,
    statistics: &mut PruneStatistics,
) {
    let unused_max = options.max_unused.bytes(statistics.bytes.used);
    let repack_max = options.repack_bytes_max();
    for candidate in candidates {
        let content = &candidate.content;
        let is_full = statistics.bytes.repack.saturating_add(content.bytes()) >= repack_max;
        let is_enough = statistics.unused_left() < unused_max;
        let is_optional =
            !content.has_trees && !candidate.must_repack && content.bytes() >= small_bytes;
        if is_full || (is_optional && is_enough) {
            statistics.packs.keep += 1;
            continue;
        }
        decision.fates[candidate.pack.0 as usize] = Fate::Repack;
        statistics.packs.repack += 1;
        statistics.blobs.repack += content.used_blobs + content.unused_blobs;
        statistics.blobs.repack_remove += content.unused_blobs;
        statistics.bytes.repack += content.bytes();
        statistics.bytes.repack_remove += content.unused_bytes;
        if content.has_uncompressed {
            let uncompressed = &mut statistics.bytes.uncompressed;
            *uncompressed = uncompressed.saturating_sub(content.bytes());
        }
    }
}
