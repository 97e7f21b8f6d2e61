//! Carrying out the plan, in the order that the module's own documentation gives.

use outlast_format::PackedBlob;
use outlast_object::{Id, ObjectKind, ObjectName};

use super::new_index::{Rewriting, rewrite_index};
use super::plan::{Fate, Plan};
use super::repack::repack;
use super::{PruneObserver, PruneOptions, PruneOutcome, PruneRefusal};
use crate::{BlobIndex, Cancel, NotRemoved, Removal, RepoError, Repository};

struct Execution<'a> {
    repository: &'a Repository,
    removal: &'a Removal<'a>,
    options: &'a PruneOptions,
    plan: &'a Plan,
    observer: &'a dyn PruneObserver,
    cancel: &'a Cancel,
}

/// Carries out the plan. Whatever happens, the index in memory then lists what can be read.
pub(super) fn execute(
    repository: &Repository,
    removal: &Removal<'_>,
    options: &PruneOptions,
    plan: Plan,
    observer: &dyn PruneObserver,
    cancel: &Cancel,
) -> Result<PruneOutcome, RepoError> {
    let execution = Execution {
        repository,
        removal,
        options,
        plan: &plan,
        observer,
        cancel,
    };
    // Meanwhile the repository's own index takes what is stored anew.
    let mut index = std::mem::take(&mut *repository.index_mut());
    let mut forgotten = false;
    let result = execution.run(&index, &mut forgotten);
    if forgotten {
        index.retain_packs(|pack| !plan.goes(pack));
    }
    merge(repository, index);
    let not_removed = result?;
    Ok(PruneOutcome {
        preview: plan.preview,
        not_removed,
    })
}

impl Execution<'_> {
    /// Sets `forgotten` when the packs that go must no longer be looked for.
    fn run(&self, index: &BlobIndex, forgotten: &mut bool) -> Result<Vec<NotRemoved>, RepoError> {
        // 1. Nobody needs these, and no index lists them.
        self.check()?;
        let mut not_removed = self.remove_packs(self.plan.preview.unreferenced.iter().copied())?;
        // 2. What is needed of packs that will go: stored anew and indexed.
        let (repository, plan, cancel) = (self.repository, self.plan, self.cancel);
        repack(repository, self.options, plan, index, self.observer, cancel)?;
        if plan.fates.iter().all(|fate| *fate == Fate::Stay) {
            return Ok(not_removed);
        }
        self.check()?;
        // 3. and 4. No index lists the packs that will go any longer.
        let rewriting = Rewriting {
            repository,
            removal: self.removal,
            plan,
            index,
            progress: self.observer,
            cancel,
        };
        rewrite_index(&rewriting, self.options.recover_space)?;
        *forgotten = true;
        // 5. So they can go.
        self.check()?;
        let preview = &plan.preview;
        let packs = preview.repacked.iter().chain(&preview.unused).copied();
        not_removed.extend(self.remove_packs(packs)?);
        Ok(not_removed)
    }

    /// Makes sure that nobody is at work but us, as far as that can be seen.
    fn check(&self) -> Result<(), RepoError> {
        self.cancel.check()?;
        self.removal.check_lock()?;
        let mut added: Vec<Id> = Vec::new();
        self.repository
            .store()
            .list(ObjectKind::Snapshot, &mut |info| {
                if !self.plan.snapshots.contains(&info.id) {
                    added.push(info.id);
                }
            })?;
        if added.is_empty() {
            Ok(())
        } else {
            Err(PruneRefusal::SnapshotsAdded(added).into())
        }
    }

    fn remove_packs(&self, packs: impl Iterator<Item = Id>) -> Result<Vec<NotRemoved>, RepoError> {
        let names: Vec<ObjectName> = packs.map(ObjectName::pack).collect();
        if names.is_empty() {
            return Ok(Vec::new());
        }
        self.removal.remove_all(&names, self.observer, self.cancel)
    }
}

/// Adds what was stored anew to the old index, and puts it back.
fn merge(repository: &Repository, mut index: BlobIndex) {
    let mut current = repository.index_mut();
    let fresh: Vec<(Id, PackedBlob)> = current
        .iter()
        .map(|location| (location.pack_id, location.blob))
        .collect();
    for (pack, blob) in fresh {
        index.add_pack(pack, &[blob]);
    }
    index.settle();
    *current = index;
}
