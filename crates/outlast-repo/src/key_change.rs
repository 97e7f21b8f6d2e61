//! Removing key files and changing passwords.
//!
//! Removing a key file takes back nothing from whoever has seen the master key: all key files of a
//! repository wrap the same one.

use outlast_format::KeyFile;
use outlast_object::{Id, ObjectKind, ObjectName};

use crate::keys::{NewKey, add_key, read_key};
use crate::{Removal, RepoError, Repository};

/// Removes a key file. The one that opened the repository is refused, so that one always remains
/// that is known to open it.
pub fn remove_key(repository: &Repository, removal: &Removal<'_>, id: Id) -> Result<(), RepoError> {
    if id == repository.key_id() {
        return Err(RepoError::Refused(
            "the key that opened the repository cannot be removed; open it with another password"
                .to_owned(),
        ));
    }
    let name = ObjectName::new(ObjectKind::Key, id);
    if !repository.store().exists(&name)? {
        return Err(RepoError::Selection(format!("no key file has the id {id}")));
    }
    // Whoever holds the lock may have removed it already; ours must open the repository.
    let own = ObjectName::new(ObjectKind::Key, repository.key_id());
    if !repository.store().exists(&own)? {
        return Err(RepoError::Refused(format!(
            "{own}, which opened the repository, is gone; nothing was removed"
        )));
    }
    removal.remove(&name)
}

/// The key file whose id begins so.
pub fn find_key(repository: &Repository, prefix: &str) -> Result<Id, RepoError> {
    let mut found = Vec::new();
    repository.store().list(ObjectKind::Key, &mut |info| {
        if !prefix.is_empty() && info.id.to_hex().starts_with(prefix) {
            found.push(info.id);
        }
    })?;
    match found.as_slice() {
        [id] => Ok(*id),
        [] => Err(RepoError::Selection(format!(
            "no key file has an id that begins with {prefix:?}"
        ))),
        _ => Err(RepoError::Selection(format!(
            "several key files have ids that begin with {prefix:?}"
        ))),
    }
}

/// Adds a key file and makes sure that it opens the repository; gives its id.
pub fn add_verified_key(repository: &Repository, new: &NewKey<'_>) -> Result<Id, RepoError> {
    let (store, key) = (repository.store(), repository.key());
    let id = add_key(store, repository.environment(), key, new)?;
    let file: KeyFile = read_key(store, id)?;
    let opened = file.unwrap(new.password)?;
    let same = opened.seal([1; 16], b"probe")? == key.seal([1; 16], b"probe")?;
    if same {
        Ok(id)
    } else {
        let name = ObjectName::new(ObjectKind::Key, id);
        Err(RepoError::damaged(name, "it does not hold the master key"))
    }
}

/// Changes the password: adds a key file, makes sure that it opens the repository, and only then
/// removes the one that opened it. Gives the new id.
pub fn change_password(
    repository: &Repository,
    removal: &Removal<'_>,
    new: &NewKey<'_>,
) -> Result<Id, RepoError> {
    removal.check_lock()?;
    let id = add_verified_key(repository, new)?;
    removal.remove(&ObjectName::new(ObjectKind::Key, repository.key_id()))?;
    Ok(id)
}
