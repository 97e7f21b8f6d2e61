//! Reading many blobs of one pack with few requests.

use outlast_format::PackedBlob;
use outlast_object::{Id, ObjectName};

use crate::{RepoError, Repository};

/// Bytes fetched with one request at most, unless a single blob is larger.
const RANGE_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Bytes between two blobs that are fetched in vain rather than asking twice.
const GAP_BYTES_MAX: u64 = 256 * 1024;

/// What is done with each blob: it gets the sealed bytes, unverified, or why they cannot be read.
pub(crate) type VisitSealed<'v> =
    dyn FnMut(&PackedBlob, Result<&[u8], &RepoError>) -> Result<(), RepoError> + 'v;

/// Calls `visit` with each blob and its sealed bytes, unverified, or with the reason why the range
/// it lies in cannot be read. An error of `visit` ends it.
pub(crate) fn read_sealed(
    repository: &Repository,
    pack: Id,
    blobs: &mut [PackedBlob],
    visit: &mut VisitSealed<'_>,
) -> Result<(), RepoError> {
    blobs.sort_unstable_by_key(|blob| blob.offset);
    let name = ObjectName::pack(pack);
    let mut rest = &*blobs;
    let mut bytes = Vec::new();
    while let Some(first) = rest.first() {
        let start = u64::from(first.offset);
        let mut end = first.end();
        let mut count = 1;
        for blob in &rest[1..] {
            let gap = u64::from(blob.offset).saturating_sub(end);
            if gap > GAP_BYTES_MAX || blob.end().max(end) - start > RANGE_BYTES_MAX {
                break;
            }
            end = end.max(blob.end());
            count += 1;
        }
        let (group, after) = rest.split_at(count);
        rest = after;
        let length = (end - start) as usize;
        let read = repository
            .store()
            .read_range_into(&name, start, length, &mut bytes);
        match read {
            Ok(()) => {
                for blob in group {
                    let from = (u64::from(blob.offset) - start) as usize;
                    visit(blob, Ok(&bytes[from..from + blob.length as usize]))?;
                }
            }
            Err(error) => {
                let error = repository.of_one_object(error.into())?;
                for blob in group {
                    visit(blob, Err(&error))?;
                }
            }
        }
    }
    Ok(())
}
