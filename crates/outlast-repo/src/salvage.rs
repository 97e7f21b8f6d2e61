//! Finding a blob where its pack's own header says it is, when the index is wrong about it.

use outlast_format::BlobHandle;

use crate::{BlobLocation, RepoError, Repository, read_pack_header};

/// Packs whose headers are read for one blob at most.
const PACKS_MAX: usize = 8;

impl Repository {
    /// Looks for a blob in the packs that an index names for it, at the places that the packs
    /// themselves name. `None` where they do not have it intact either.
    pub(crate) fn salvage_blob(
        &self,
        handle: BlobHandle,
        claims: &[BlobLocation],
    ) -> Result<Option<Vec<u8>>, RepoError> {
        for (number, claim) in claims.iter().enumerate().take(PACKS_MAX) {
            if claims[..number]
                .iter()
                .any(|before| before.pack == claim.pack)
            {
                continue;
            }
            let header = read_pack_header(self.store(), self.key(), claim.pack_id, None);
            let blobs = match header {
                Ok(blobs) => blobs,
                Err(RepoError::Store(error)) if error.is_retryable() => return Err(error.into()),
                Err(_) => continue,
            };
            let elsewhere = blobs.into_iter().filter(|blob| {
                blob.handle == handle && claims.iter().all(|claim| claim.blob != *blob)
            });
            for blob in elsewhere {
                let place = BlobLocation { blob, ..*claim };
                if let Ok(plaintext) = self.load_blob_at(&place) {
                    return Ok(Some(plaintext));
                }
            }
        }
        Ok(None)
    }
}
