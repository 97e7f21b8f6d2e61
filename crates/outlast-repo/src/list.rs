//! Lists of what is in a repository.

use outlast_format::BlobHandle;
use outlast_object::{Id, ObjectKind};

use crate::bits::Bits;
use crate::used_blobs::{MarkError, Root, UsedBlobs};
use crate::{Cancel, NoProgress, RepoError, Repository, StoredSnapshot};

/// Ids of all objects of a kind, sorted.
pub fn list_objects(repository: &Repository, kind: ObjectKind) -> Result<Vec<Id>, RepoError> {
    let infos = repository.store().list_all(kind)?;
    Ok(infos.iter().map(|info| info.id).collect())
}

/// Calls `visit` with each blob that an index lists, once for each place. Needs the index.
pub fn list_blobs(repository: &Repository, visit: &mut dyn FnMut(BlobHandle)) {
    for location in repository.index().iter() {
        visit(location.blob.handle);
    }
}

/// Ids of the packs that hold what a snapshot needs, sorted. Needs the index.
pub fn list_packs_of(
    repository: &Repository,
    snapshot: &StoredSnapshot,
    cancel: &Cancel,
) -> Result<Vec<Id>, RepoError> {
    let root = Root {
        snapshot: snapshot.id,
        tree: snapshot.snapshot.tree,
    };
    let used = UsedBlobs::new(repository);
    used.mark_roots(repository, &[root], &NoProgress, cancel)
        .map_err(|error| match error {
            MarkError::Tree(tree) => tree.reason,
            MarkError::Stopped(error) => error,
        })?;
    let index = repository.index();
    let packs = Bits::new(index.packs().len());
    let mut last = None;
    for (number, location) in index.iter().enumerate() {
        // Only the first entry of a blob is marked; all its places count.
        if used.bits.get(number) {
            last = Some(location.blob.handle);
        }
        if last == Some(location.blob.handle) {
            packs.set(location.pack.0 as usize);
        }
    }
    let ids = index.packs().iter().enumerate();
    let mut ids: Vec<Id> = ids
        .filter(|(number, _)| packs.get(*number))
        .map(|(_, id)| *id)
        .collect();
    ids.sort_unstable();
    Ok(ids)
}
