//! Packs that an interrupted run stored but did not live to index: their own headers tell what is
//! in them, so nothing of it has to be stored again.

use outlast_object::{Id, ObjectKind};

use crate::saver::Saver;
use crate::{Cancel, Notice, RepoError, read_pack_header};

/// Packs adopted at most; more need `repair index`.
const PACKS_MAX: usize = 100_000;

/// Adds packs to the index that no index lists. Those that cannot be read are left alone.
pub(crate) fn adopt_packs(saver: &Saver<'_>, cancel: &Cancel) -> Result<(), RepoError> {
    let repository = saver.repository();
    if !repository.store().capabilities().reads_packs {
        return Ok(());
    }
    let mut unknown: Vec<(Id, u64)> = Vec::new();
    {
        let index = repository.index();
        repository.store().list(ObjectKind::Pack, &mut |info| {
            if index.pack_number(&info.id).is_none() && unknown.len() < PACKS_MAX {
                unknown.push((info.id, info.size));
            }
        })?;
    }
    let mut packs = 0;
    for (id, size) in unknown {
        cancel.check()?;
        match read_pack_header(repository.store(), repository.key(), id, Some(size)) {
            Ok(blobs) => {
                saver.add_stored_pack(id, &blobs)?;
                packs += 1;
            }
            Err(RepoError::Store(error)) if error.is_retryable() => return Err(error.into()),
            // Denied, or torn by a crash of the store: it stays as it is.
            Err(_) => {}
        }
    }
    if packs > 0 {
        repository.environment().notice(Notice::Adopted { packs });
    }
    Ok(())
}
