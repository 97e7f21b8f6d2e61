//! Fetching ranges of packs and opening the blobs in them.

use outlast_format::{BLOB_BYTES_MAX, BlobHandle, PackedBlob, SEAL_BYTES, decode_blob};
use outlast_object::{Id, ObjectName};

use super::plan::{RangeRead, WantedBlob};
use crate::{RepoError, Repository};

/// Why a blob is lost that no index lists.
pub(super) const UNLISTED: &str = "no index lists it";

/// A blob that no place has intact.
#[derive(Debug, Clone)]
pub struct LostBlob {
    /// The blob.
    pub handle: BlobHandle,
    /// The packs that should have it.
    pub packs: Vec<Id>,
    /// What is wrong, place by place.
    pub reason: String,
}

impl std::fmt::Display for LostBlob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let packs: Vec<String> = self.packs.iter().map(Id::short).collect();
        match packs.as_slice() {
            [] => write!(f, "{}: {}", self.handle, self.reason),
            packs => write!(
                f,
                "{} of pack {}: {}",
                self.handle,
                packs.join(", "),
                self.reason
            ),
        }
    }
}

/// Fetches the blobs of a range one after the other and hands each to `take`. A blob that is not
/// intact here is looked for everywhere else before it counts as lost. An error is one of the store
/// as a whole, or of `take`.
pub(crate) fn fetch_range(
    repository: &Repository,
    range: &RangeRead,
    blobs: &[WantedBlob],
    mut take: impl FnMut(&WantedBlob, Result<Vec<u8>, LostBlob>) -> Result<(), RepoError>,
) -> Result<(), RepoError> {
    let bytes = read_range(repository, range)?;
    for blob in blobs {
        let packed = blob.packed();
        let decoded = bytes
            .as_deref()
            .and_then(|bytes| slice_of(bytes, range.offset, &packed))
            .and_then(|sealed| decode(repository, &packed, sealed));
        let plaintext = match decoded {
            Some(plaintext) => Ok(plaintext),
            None => load_anywhere(repository, packed.handle)?,
        };
        take(blob, plaintext)?;
    }
    Ok(())
}

/// The bytes of a range; `None` where this pack does not have them.
fn read_range(repository: &Repository, range: &RangeRead) -> Result<Option<Vec<u8>>, RepoError> {
    // An index that claims absurd lengths must not make us ask for memory.
    if range.length as u64 > BLOB_BYTES_MAX + SEAL_BYTES as u64 {
        return Ok(None);
    }
    let Some(pack) = repository
        .index()
        .packs()
        .get(range.pack.0 as usize)
        .copied()
    else {
        return Ok(None);
    };
    let name = ObjectName::pack(pack);
    match repository
        .store()
        .read_range(&name, range.offset, range.length)
    {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) => {
            repository.of_one_object(error.into())?;
            Ok(None)
        }
    }
}

fn slice_of<'a>(bytes: &'a [u8], range_offset: u64, blob: &PackedBlob) -> Option<&'a [u8]> {
    let start = usize::try_from(u64::from(blob.offset).checked_sub(range_offset)?).ok()?;
    bytes.get(start..start.checked_add(blob.length as usize)?)
}

fn decode(repository: &Repository, blob: &PackedBlob, sealed: &[u8]) -> Option<Vec<u8>> {
    decode_blob(
        blob.handle,
        sealed,
        blob.uncompressed_length,
        repository.key(),
    )
    .ok()
}

/// A blob from wherever it is intact. The outer error is one of the store as a whole.
pub(crate) fn load_anywhere(
    repository: &Repository,
    handle: BlobHandle,
) -> Result<Result<Vec<u8>, LostBlob>, RepoError> {
    let error = match repository.load_blob(handle) {
        Ok(plaintext) => return Ok(Ok(plaintext)),
        Err(error) => repository.of_one_object(error)?,
    };
    let mut packs: Vec<Id> = Vec::new();
    for location in repository.index().find(handle) {
        if !packs.contains(&location.pack_id) {
            packs.push(location.pack_id);
        }
    }
    let reason = match error {
        RepoError::BlobMissing(_) => UNLISTED.to_owned(),
        RepoError::BlobDamaged { reasons, .. } => reasons.join("; "),
        error => error.to_string(),
    };
    Ok(Err(LostBlob {
        handle,
        packs,
        reason,
    }))
}
