//! Removing what no snapshot needs.
//!
//! The order of changes, and what a crash after each leaves:
//!
//! 1. Packs that no index lists are removed. A crash leaves some of them.
//! 2. What is still needed of packs that will go is stored anew, with an index of its own. A crash
//!    leaves blobs that are stored twice.
//! 3. New index files without the packs that will go are written. A crash leaves indexes that list
//!    the same packs.
//! 4. The old index files are removed. A crash leaves some that list packs which are still there.
//! 5. Only then packs are removed. A crash leaves some that no index lists, as in 1.
//!
//! So at every moment each index lists only packs that exist, and each snapshot finds all it needs.
//!
//! Nothing is removed on somebody's word: when a blob is stored more than once, the copy that
//! remains is read and verified before another one goes, since whoever can write to the repository
//! can claim anything in an index.

mod copies;
mod decide;
mod execute;
mod new_index;
mod options;
mod plan;
mod refusal;
mod repack;
mod statistics;

use std::collections::HashSet;

use outlast_object::Id;

pub use options::{MaxUnused, ParseMaxUnusedError, PruneOptions};
pub use refusal::PruneRefusal;
pub use statistics::{PruneBlobs, PruneBytes, PrunePacks, PruneStatistics};

use crate::{Cancel, NotRemoved, Progress, Removal, RepoError, Repository};

/// Is told what will be done, and how far it has come.
pub trait PruneObserver: Progress {
    /// What will be done. Nothing was changed yet.
    fn planned(&self, preview: &PrunePreview) {
        let _ = preview;
    }
}

impl PruneObserver for crate::NoProgress {}

/// What pruning will do, or would do.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PrunePreview {
    /// What is there, what goes and what remains.
    pub statistics: PruneStatistics,
    /// Packs that no index lists; they are removed.
    pub unreferenced: Vec<Id>,
    /// Packs of which nothing is needed; they are removed.
    pub unused: Vec<Id>,
    /// Packs of which the rest is stored anew; then they are removed.
    pub repacked: Vec<Id>,
    /// Packs that an index lists, that nobody needs and that are gone already; the index forgets
    /// them.
    pub missing: Vec<Id>,
}

/// What pruning did.
#[derive(Debug)]
pub struct PruneOutcome {
    /// What was to be done; all of it was, but for `not_removed`.
    pub preview: PrunePreview,
    /// Packs that could not be removed. No index lists them any longer and nobody needs them; the
    /// next run tries again.
    pub not_removed: Vec<NotRemoved>,
}

/// Says what pruning would do, as if the snapshots `without` were gone. Changes nothing.
/// Loads the index anew.
pub fn preview_prune(
    repository: &Repository,
    options: &PruneOptions,
    without: &HashSet<Id>,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<PrunePreview, RepoError> {
    Ok(plan::make_plan(repository, options, without, progress, cancel)?.preview)
}

/// Removes what no snapshot needs. Loads the index anew, and leaves the new one in memory.
///
/// [`RepoError::PruneRefused`] where it is not certain what is needed: a snapshot or a tree cannot
/// be read, or something that is needed is missing. Nothing was removed then. While an index file
/// cannot be read, packs that no other index lists stay.
pub fn prune(
    repository: &Repository,
    removal: &Removal<'_>,
    options: &PruneOptions,
    observer: &dyn PruneObserver,
    cancel: &Cancel,
) -> Result<PruneOutcome, RepoError> {
    removal.check_lock()?;
    let without = HashSet::new();
    let mut plan = plan::make_plan(repository, options, &without, observer, cancel)?;
    copies::verify_remaining(repository, options, &mut plan, observer, cancel)?;
    observer.planned(&plan.preview);
    execute::execute(repository, removal, options, plan, observer, cancel)
}
