//! Which objects a snapshot needs: the exact list that somebody has to keep so that it can be
//! restored.
//!
//! The list is either found by walking the snapshot's trees, [`needed_objects`], or collected while
//! the snapshot is made, [`BackupOutcome::needed`](crate::BackupOutcome), which reads nothing more.
//! Of a blob that lies in several packs one is listed, as long as it is known that the blob is there.

mod collect;
mod index_files;
mod places;

use std::collections::HashMap;

use outlast_object::{Id, ObjectKind, ObjectName};

pub(crate) use collect::EntryPacks;
pub use collect::NeededPacks;
pub(crate) use index_files::{IndexFiles, distinct};
use places::{Choice, Places};

use crate::keys::{KEY_FILES_MAX, read_key};
use crate::used_blobs::{MarkError, Root, UsedBlobs};
use crate::{BlobLocation, Cancel, NoProgress, PackNumber, RepoError, Repository, StoredSnapshot};

/// How many objects of each kind are needed, beside the config.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NeededCounts {
    /// Key files.
    pub keys: usize,
    /// Index files.
    pub indexes: usize,
    /// Packs.
    pub packs: usize,
    /// Snapshots.
    pub snapshots: usize,
}

/// The objects that snapshots need, each once, in the order of their names: the config, all usable
/// key files, the snapshots, packs that hold all their blobs, and index files that cover these packs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NeededObjects(Vec<ObjectName>);

impl NeededObjects {
    /// The objects.
    pub fn names(&self) -> &[ObjectName] {
        &self.0
    }

    /// The objects, to keep.
    pub fn into_names(self) -> Vec<ObjectName> {
        self.0
    }

    /// Whether an object is among them.
    pub fn contains(&self, name: &ObjectName) -> bool {
        self.0.binary_search(name).is_ok()
    }

    /// How many there are of each kind.
    pub fn counts(&self) -> NeededCounts {
        let of = |kind| self.0.iter().filter(|name| name.kind() == kind).count();
        NeededCounts {
            keys: of(ObjectKind::Key),
            indexes: of(ObjectKind::Index),
            packs: of(ObjectKind::Pack),
            snapshots: of(ObjectKind::Snapshot),
        }
    }

    /// The same and a snapshot.
    pub(crate) fn with_snapshot(mut self, id: Id) -> Self {
        let name = ObjectName::new(ObjectKind::Snapshot, id);
        if let Err(at) = self.0.binary_search(&name) {
            self.0.insert(at, name);
        }
        self
    }

    /// What snapshots need whose blobs are in these packs.
    fn of_packs(
        repository: &Repository,
        packs: &[PackNumber],
        snapshots: &[Id],
    ) -> Result<Self, RepoError> {
        let mut names = vec![ObjectName::CONFIG];
        names.extend(usable_keys(repository)?);
        let snapshot = |id: &Id| ObjectName::new(ObjectKind::Snapshot, *id);
        names.extend(snapshots.iter().map(snapshot));
        let index = repository.index();
        let files = repository.index_files().covering(&index, packs);
        names.extend(
            files
                .into_iter()
                .map(|id| ObjectName::new(ObjectKind::Index, id)),
        );
        let ids = packs
            .iter()
            .filter_map(|pack| index.packs().get(pack.0 as usize));
        names.extend(ids.map(|id| ObjectName::pack(*id)));
        names.sort_unstable();
        names.dedup();
        Ok(Self(names))
    }
}

/// All key files that are readable. Whether somebody else's password opens them cannot be told; the
/// one that opened the repository is among them in any case.
fn usable_keys(repository: &Repository) -> Result<Vec<ObjectName>, RepoError> {
    let mut keys = vec![repository.key_id()];
    for info in repository.store().list_all(ObjectKind::Key)? {
        if info.id == repository.key_id() || keys.len() >= KEY_FILES_MAX {
            continue;
        }
        match read_key(repository.store(), info.id) {
            Ok(_) => keys.push(info.id),
            Err(RepoError::Store(error)) if error.is_retryable() => return Err(error.into()),
            // Damaged or planted: nobody can open anything with it.
            Err(_) => {}
        }
    }
    let name = |id| ObjectName::new(ObjectKind::Key, id);
    Ok(keys.into_iter().map(name).collect())
}

/// The objects that these snapshots need. Reads their trees, through the cache where there is one.
/// The index must be loaded, and nothing must be stored meanwhile.
///
/// # Errors
/// [`RepoError::BlobMissing`] where no index lists something they need, and whatever keeps a tree
/// from being read: an incomplete list must not pass for a complete one.
pub fn needed_objects(
    repository: &Repository,
    snapshots: &[StoredSnapshot],
    cancel: &Cancel,
) -> Result<NeededObjects, RepoError> {
    needed_objects_by_trees_of(repository, repository, snapshots, cancel)
}

/// The same, with the trees read from another repository that has them as well: the one from which
/// the snapshots were copied.
///
/// # Errors
/// As of [`needed_objects`].
pub fn needed_objects_by_trees_of(
    repository: &Repository,
    trees: &Repository,
    snapshots: &[StoredSnapshot],
    cancel: &Cancel,
) -> Result<NeededObjects, RepoError> {
    let root = |stored: &StoredSnapshot| Root {
        snapshot: stored.id,
        tree: stored.snapshot.tree,
    };
    let roots: Vec<Root> = snapshots.iter().map(root).collect();
    let used = UsedBlobs::new(repository);
    let missing = used
        .mark_roots_by_trees_of(repository, trees, &roots, &NoProgress, cancel)
        .map_err(|error| match error {
            MarkError::Tree(tree) => tree.reason,
            MarkError::Stopped(error) => error,
        })?;
    if let Some((handle, _)) = missing.named.first() {
        return Err(RepoError::BlobMissing(*handle));
    }
    confirm_doubtful(repository, &used, cancel)?;
    let mut places = Places::default();
    {
        let index = repository.index();
        visit_used(&index, &used, &mut |claims| {
            places.add(Choice::of(repository.trust(), claims));
        });
    }
    let ids: Vec<Id> = snapshots.iter().map(|stored| stored.id).collect();
    let packs = places.decide(&repository.index(), repository.trust());
    NeededObjects::of_packs(repository, &packs, &ids)
}

/// Shows the places of each used blob.
fn visit_used(index: &crate::BlobIndex, used: &UsedBlobs, visit: &mut dyn FnMut(&[BlobLocation])) {
    let mut claims: Vec<BlobLocation> = Vec::new();
    for (number, location) in index.iter().enumerate() {
        // Only the first entry of a blob is marked, and all of its entries follow each other.
        let same = |known: &BlobLocation| known.blob.handle == location.blob.handle;
        if claims.first().is_some_and(same) {
            claims.push(location);
            continue;
        }
        if !claims.is_empty() {
            visit(&claims);
            claims.clear();
        }
        if used.bits.get(number) {
            claims.push(location);
        }
    }
    if !claims.is_empty() {
        visit(&claims);
    }
}

/// Looks at the headers of packs that are one of several places of a blob, so that no list relies on
/// a place that an index made up.
fn confirm_doubtful(
    repository: &Repository,
    used: &UsedBlobs,
    cancel: &Cancel,
) -> Result<(), RepoError> {
    let mut doubtful: HashMap<PackNumber, BlobLocation> = HashMap::new();
    visit_used(&repository.index(), used, &mut |claims| {
        for claim in claims {
            if claims.len() > 1 && repository.trust().known(claim).is_none() {
                doubtful.entry(claim.pack).or_insert(*claim);
            }
        }
    });
    for claim in doubtful.values() {
        cancel.check()?;
        repository.trust().confirms(repository, claim)?;
    }
    repository.trust().save();
    Ok(())
}
