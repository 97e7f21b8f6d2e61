//! Fetching ranges of packs and opening the blobs in them.

use std::borrow::Cow;

use outlast_format::{BLOB_BYTES_MAX, BlobDecoder, BlobHandle, PackedBlob, SEAL_BYTES};
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

/// Largest range, in bytes, whose memory is kept for the next.
const KEPT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Memory of one thread that fetches range after range.
#[derive(Debug, Default)]
pub(crate) struct FetchScratch {
    bytes: Vec<u8>,
    decoder: BlobDecoder,
}

/// Fetches the blobs of a range one after the other and hands each to `take`. A blob that is not
/// intact here is looked for everywhere else before it counts as lost. An error is one of the store
/// as a whole, or of `take`.
pub(crate) fn fetch_range(
    repository: &Repository,
    range: &RangeRead,
    blobs: &[WantedBlob],
    scratch: &mut FetchScratch,
    mut take: impl FnMut(&WantedBlob, Result<Cow<'_, [u8]>, LostBlob>) -> Result<(), RepoError>,
) -> Result<(), RepoError> {
    let FetchScratch { bytes, decoder } = scratch;
    let key = repository.key();
    let is_read = read_range(repository, range, bytes)?;
    for blob in blobs {
        let packed = blob.packed();
        let (handle, length) = (packed.handle, packed.uncompressed_length);
        let sealed = slice_of(bytes, range.offset, &packed).filter(|_| is_read);
        let decoded = sealed.and_then(|sealed| decoder.decode(handle, sealed, length, key).ok());
        let plaintext = match decoded {
            Some(plaintext) => Ok(plaintext),
            None => load_anywhere(repository, handle)?.map(Cow::Owned),
        };
        take(blob, plaintext)?;
    }
    if bytes.capacity() > KEPT_BYTES_MAX {
        *bytes = Vec::new();
    }
    Ok(())
}

/// Reads the bytes of a range. `false` where this pack does not have them.
fn read_range(
    repository: &Repository,
    range: &RangeRead,
    bytes: &mut Vec<u8>,
) -> Result<bool, RepoError> {
    // An index that claims absurd lengths must not make us ask for memory.
    if range.length as u64 > BLOB_BYTES_MAX + SEAL_BYTES as u64 {
        return Ok(false);
    }
    let Some(pack) = repository
        .index()
        .packs()
        .get(range.pack.0 as usize)
        .copied()
    else {
        return Ok(false);
    };
    let name = ObjectName::pack(pack);
    match repository
        .store()
        .read_range_into(&name, range.offset, range.length, bytes)
    {
        Ok(()) => Ok(true),
        Err(error) => {
            repository.of_one_object(error.into())?;
            Ok(false)
        }
    }
}

fn slice_of<'a>(bytes: &'a [u8], range_offset: u64, blob: &PackedBlob) -> Option<&'a [u8]> {
    let start = usize::try_from(u64::from(blob.offset).checked_sub(range_offset)?).ok()?;
    bytes.get(start..start.checked_add(blob.length as usize)?)
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
