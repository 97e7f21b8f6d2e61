//! Finding the blobs of a damaged pack that are intact.

use outlast_format::{BlobHandle, PackedBlob, SEAL_BYTES, decode_blob};
use outlast_object::Id;

use crate::pack_blobs::read_sealed;
use crate::{RepoError, Repository, read_pack_header};

/// What is done with each intact blob; it gets the sealed bytes.
pub(super) type VisitIntact<'v> = dyn FnMut(&PackedBlob, &[u8]) -> Result<(), RepoError> + 'v;

/// All places where the pack may have blobs: those that its own header names, if it can be read,
/// and those that `claims` names beside them. Claims that cannot be are left out.
pub(super) fn candidates(
    repository: &Repository,
    pack: Id,
    size: u64,
    claims: Vec<PackedBlob>,
) -> Result<Vec<PackedBlob>, RepoError> {
    let (store, key) = (repository.store(), repository.key());
    let mut places = match read_pack_header(store, key, pack, Some(size)) {
        Ok(blobs) => blobs,
        Err(error) => {
            repository.of_one_damaged_object(error)?;
            Vec::new()
        }
    };
    places.extend(claims);
    places.retain(|blob| {
        blob.end() <= size
            && u64::from(blob.length) <= blob.handle.kind.bytes_max() + SEAL_BYTES as u64
    });
    places.sort_unstable_by_key(|blob| (blob.offset, blob.length, blob.handle));
    places.dedup();
    Ok(places)
}

/// Reads blobs of a pack and calls `visit` with those that are intact; gives the others.
pub(super) fn visit_intact(
    repository: &Repository,
    pack: Id,
    places: Vec<PackedBlob>,
    visit: &mut VisitIntact<'_>,
) -> Result<Vec<BlobHandle>, RepoError> {
    let mut again = Vec::new();
    let mut bad = Vec::new();
    let mut look = |blob: &PackedBlob, sealed: &[u8], bad: &mut Vec<BlobHandle>| {
        let key = repository.key();
        match decode_blob(blob.handle, sealed, blob.uncompressed_length, key) {
            Ok(_) => visit(blob, sealed),
            Err(_) => {
                bad.push(blob.handle);
                Ok(())
            }
        }
    };
    let mut places = places;
    read_sealed(
        repository,
        pack,
        &mut places,
        &mut |blob, sealed| match sealed {
            Ok(sealed) => look(blob, sealed, &mut bad),
            Err(_) => {
                again.push(*blob);
                Ok(())
            }
        },
    )?;
    // Several are read at once; where that fails, some of them may still be readable alone.
    for blob in again {
        read_sealed(
            repository,
            pack,
            &mut [blob],
            &mut |blob, sealed| match sealed {
                Ok(sealed) => look(blob, sealed, &mut bad),
                Err(_) => {
                    bad.push(blob.handle);
                    Ok(())
                }
            },
        )?;
    }
    Ok(bad)
}
