//! Deciding what goes, without changing anything.

use std::collections::{HashMap, HashSet};

use outlast_object::{Id, ObjectKind};
use outlast_store::ObjectInfo;

pub(super) use super::PruneRefusal;
use super::copies::{choose_copies, for_each_blob};
use super::decide::{Decision, decide};
use super::{PruneOptions, PrunePreview, PruneStatistics};
use crate::bits::Bits;
use crate::index::EntriesByPack;
use crate::used_blobs::{MarkError, Root, UsedBlobs};
use crate::{Cancel, Notice, PackNumber, Progress, RepoError, Repository};

/// What becomes of a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It stays as it is.
    Stay,
    /// What is needed of it is stored anew, then it goes.
    Repack,
    /// It goes.
    Remove,
    /// It is gone already; the index forgets it.
    Forget,
}

/// All that was found out and decided.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) preview: PrunePreview,
    /// Snapshots that were looked at, and those that are to be ignored.
    pub(super) snapshots: HashSet<Id>,
    pub(super) index_files: Vec<Id>,
    /// Packs that are there, with their sizes.
    pub(super) listed: Vec<ObjectInfo>,
    pub(super) used: UsedBlobs,
    /// Entries that were found not to be what they say.
    pub(super) bad: HashSet<usize>,
    /// Entries of the copies that are needed.
    pub(super) keep: Bits,
    /// Entries of copies that remain while another copy goes.
    pub(super) relied_on: Vec<usize>,
    /// By the number of the pack.
    pub(super) fates: Vec<Fate>,
    pub(super) by_pack: EntriesByPack,
}

impl Plan {
    /// Whether the index must no longer list the pack in the end.
    pub(super) fn goes(&self, pack: PackNumber) -> bool {
        let fate = self.fates.get(pack.0 as usize);
        fate.is_some_and(|fate| *fate != Fate::Stay)
    }

    /// Numbers of the packs with a fate.
    pub(super) fn packs_with(&self, fate: Fate) -> impl Iterator<Item = PackNumber> + '_ {
        let fates = self.fates.iter().enumerate();
        fates
            .filter(move |(_, found)| **found == fate)
            .map(|(number, _)| PackNumber(number as u32))
    }
}

/// Looks at everything and decides. Packs are listed before the index is loaded, and snapshots
/// after it: what somebody adds meanwhile in spite of the lock is then either not seen at all or
/// found to be incomplete.
pub(super) fn make_plan(
    repository: &Repository,
    options: &PruneOptions,
    without: &HashSet<Id>,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<Plan, RepoError> {
    options.check(repository)?;
    let mut listed = repository.store().list_all(ObjectKind::Pack)?;
    let (index_files, bad_files) = repository.load_index(cancel)?;
    if !bad_files.is_empty() {
        // Junk that somebody planted, or an index that was damaged. What only it lists is either
        // not needed or found to be missing below; so that nothing depends on which it is, packs
        // that no other index lists stay, and so does the file.
        let index = repository.index();
        listed.retain(|info| index.pack_number(&info.id).is_some());
    }
    let mut roots = load_roots(repository, cancel)?;
    let snapshots = roots.iter().map(|root| root.snapshot).collect();
    roots.retain(|root| !without.contains(&root.snapshot));
    let used = find_used(repository, &roots, progress, cancel)?;
    let by_pack = repository.index().by_pack().ok_or_else(|| {
        RepoError::Refused("the index has more than four thousand million entries".to_owned())
    })?;
    let mut plan = Plan {
        preview: PrunePreview::default(),
        snapshots,
        index_files,
        listed,
        used,
        bad: HashSet::new(),
        keep: Bits::new(0),
        relied_on: Vec::new(),
        fates: Vec::new(),
        by_pack,
    };
    replan(repository, options, &mut plan)?;
    Ok(plan)
}

/// All snapshots; one that cannot be read refuses the whole.
fn load_roots(repository: &Repository, cancel: &Cancel) -> Result<Vec<Root>, RepoError> {
    let mut roots = Vec::new();
    for info in repository.store().list_all(ObjectKind::Snapshot)? {
        cancel.check()?;
        match repository.load_snapshot(info.id) {
            Ok(snapshot) => roots.push(Root {
                snapshot: info.id,
                tree: snapshot.tree,
            }),
            Err(error) => {
                let reason = repository.of_one_object(error)?.to_string();
                let id = info.id;
                return Err(PruneRefusal::UnreadableSnapshot { id, reason }.into());
            }
        }
    }
    Ok(roots)
}

fn find_used(
    repository: &Repository,
    roots: &[Root],
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<UsedBlobs, RepoError> {
    let used = UsedBlobs::new(repository);
    match used.mark_roots(repository, roots, progress, cancel) {
        Ok(missing) if missing.count > 0 => {
            repository.ensure_present()?;
            Err(PruneRefusal::MissingBlobs {
                count: missing.count,
                blobs: missing.named,
            }
            .into())
        }
        Ok(_) => Ok(used),
        Err(MarkError::Tree(tree)) => Err(PruneRefusal::UnreadableTree {
            tree: tree.tree,
            snapshot: tree.snapshot,
            reason: tree.reason.to_string(),
        }
        .into()),
        Err(MarkError::Stopped(error)) => Err(error),
    }
}

/// Decides anew from what is known, `bad` copies left out of account.
pub(super) fn replan(
    repository: &Repository,
    options: &PruneOptions,
    plan: &mut Plan,
) -> Result<(), RepoError> {
    let mut statistics = PruneStatistics::default();
    let index = repository.index();
    let sizes: HashMap<PackNumber, u64> = plan
        .listed
        .iter()
        .filter_map(|info| Some((index.pack_number(&info.id)?, info.size)))
        .collect();
    // Headers are counted with what is used, so the sum is the pack's size by the index.
    let sums = pack_sums(&index);
    let is_sound = |pack: PackNumber| sizes.get(&pack) == sums.get(pack.0 as usize);
    let copies = choose_copies(
        &index,
        &plan.used.bits,
        &plan.bad,
        &is_sound,
        &mut statistics,
    );
    if !copies.lost.is_empty() {
        return Err(PruneRefusal::DamagedCopies(copies.lost).into());
    }
    let decision: Decision = decide(repository, options, &index, plan, &copies, &mut statistics)?;
    statistics.sum_up();
    plan.keep = copies.keep;
    plan.fates = decision.fates;
    let stays = |pack: PackNumber| plan.fates.get(pack.0 as usize) == Some(&Fate::Stay);
    let mut relied_on = Vec::new();
    for_each_blob(&index, |start, group| {
        if group.len() < 2 || !plan.used.bits.get(start) {
            return;
        }
        let good = || {
            (start..)
                .zip(group)
                .filter(|(number, _)| !plan.bad.contains(number))
        };
        let staying = || good().filter(|(_, location)| stays(location.pack));
        if staying().count() == 0 || staying().count() == group.len() {
            return;
        }
        // What stays somewhere need not be stored anew.
        let kept = staying().find(|(number, _)| plan.keep.get(*number));
        if let Some((number, _)) = kept.or_else(|| staying().next()) {
            (start..start + group.len()).for_each(|other| plan.keep.clear(other));
            plan.keep.set(number);
            relied_on.push(number);
        }
    });
    plan.relied_on = relied_on;
    let ids = |fate: Fate| -> Vec<Id> {
        plan.packs_with(fate)
            .filter_map(|pack| index.packs().get(pack.0 as usize).copied())
            .collect()
    };
    plan.preview = PrunePreview {
        statistics,
        unused: ids(Fate::Remove),
        repacked: ids(Fate::Repack),
        missing: ids(Fate::Forget),
        unreferenced: decision.unreferenced,
    };
    for id in &plan.preview.missing {
        let text = format!("pack {id} is gone and nobody needs it; the index will forget it");
        repository.environment().notice(Notice::Other(text));
    }
    Ok(())
}

/// The size that each pack must have by the index.
fn pack_sums(index: &crate::BlobIndex) -> Vec<u64> {
    let nothing = Bits::new(0);
    let none = HashSet::new();
    let mut statistics = PruneStatistics::default();
    let judged = choose_copies(index, &nothing, &none, &|_| false, &mut statistics);
    judged
        .packs
        .iter()
        .map(super::copies::PackUse::bytes)
        .collect()
}
