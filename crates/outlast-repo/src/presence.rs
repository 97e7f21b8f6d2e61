//! Telling damage of one object from a store that is gone.
//!
//! When a disk is unplugged or a share unmounted, every object looks as if it were missing. That
//! must not end as a long list of damaged files.

use outlast_object::ObjectName;
use outlast_store::StoreError;

use crate::{RepoError, Repository};

impl Repository {
    /// Passes on an error that stops everything, and gives back one that concerns a single object
    /// (missing or damaged), after making sure that the store is still there.
    pub(crate) fn of_one_object(&self, error: RepoError) -> Result<RepoError, RepoError> {
        match error {
            RepoError::BlobMissing(_)
            | RepoError::BlobDamaged { .. }
            | RepoError::Damaged { .. }
            | RepoError::Format(_) => {}
            RepoError::Store(ref reason) if !reason.is_retryable() => {}
            error => return Err(error),
        }
        self.ensure_present()?;
        Ok(error)
    }

    /// The same for whoever is to do without what is damaged: what these credentials do not read may
    /// be as sound as ever, and stops everything.
    pub(crate) fn of_one_damaged_object(&self, error: RepoError) -> Result<RepoError, RepoError> {
        if error.is_denied() {
            return Err(error);
        }
        self.of_one_object(error)
    }

    /// [`RepoError::Vanished`] if the config, which every repository has, is no longer there.
    pub(crate) fn ensure_present(&self) -> Result<(), RepoError> {
        // A cache would answer for a store that is gone; the config is never cached.
        match self.store().size(&ObjectName::CONFIG) {
            Ok(_) => Ok(()),
            Err(error) if error.is_not_found() => Err(RepoError::Vanished {
                location: self.store().location(),
            }),
            Err(error) => Err(error.into()),
        }
    }
}

/// Whether the object itself is at fault, and not the way to it.
pub(crate) fn is_of_content(error: &StoreError) -> bool {
    matches!(
        error,
        StoreError::TooLarge { .. } | StoreError::Truncated { .. }
    )
}
