//! Changing a repository of version 1 into one of version 2, which can hold compressed data.
//!
//! Only the config changes. It is the one object that is ever replaced: stores do not overwrite, so
//! it is removed and written anew, and a copy of the old one is kept locally meanwhile.

use std::fs;
use std::path::Path;

use outlast_format::Config;
use outlast_object::ObjectName;
use outlast_store::Store;

use crate::environment::random_iv;
use crate::{Removal, RepoError, Repository};

/// Name of the copy of the old config in the folder for it.
pub const OLD_CONFIG_FILE: &str = "config-before-upgrade";

/// Sets the version of the repository to 2. Check the repository before. The old config is kept as
/// [`OLD_CONFIG_FILE`] in `folder` until the new one is durable; after a crash in between, put it
/// back as the repository's config. The repository must be opened anew afterwards.
pub fn upgrade(
    repository: &Repository,
    removal: &Removal<'_>,
    folder: &Path,
) -> Result<(), RepoError> {
    let version = repository.config().version;
    if version != 1 {
        return Err(RepoError::Refused(format!(
            "the repository has version {version} already"
        )));
    }
    let store = repository.store();
    let old = store.read(&ObjectName::CONFIG)?;
    let config = Config {
        version: 2,
        ..repository.config().clone()
    };
    let new = config.encode(repository.key(), random_iv()?)?;
    let copy = folder.join(OLD_CONFIG_FILE);
    keep_copy(folder, &copy, &old)?;
    removal.remove(&ObjectName::CONFIG)?;
    if let Err(error) = write_config(store, &new) {
        // The old one is as good as none was.
        return match write_config(store, &old) {
            Ok(()) => Err(error),
            Err(_) => Err(RepoError::Refused(format!(
                "the config could not be written ({error}), nor could the old one; it is kept in {}: put it back as `config`",
                copy.display()
            ))),
        };
    }
    // A copy that remains does no harm.
    let _ = fs::remove_file(&copy);
    Ok(())
}

fn write_config(store: &dyn Store, sealed: &[u8]) -> Result<(), RepoError> {
    match store.write(&ObjectName::CONFIG, sealed) {
        Ok(()) => Ok(()),
        // It may have been done all the same.
        Err(error) => match store.read(&ObjectName::CONFIG) {
            Ok(found) if found == sealed => Ok(()),
            _ => Err(error.into()),
        },
    }
}

fn keep_copy(folder: &Path, copy: &Path, old: &[u8]) -> Result<(), RepoError> {
    let failed = |source| RepoError::Io {
        operation: format!("keep a copy of the config in {}", copy.display()),
        source,
    };
    fs::create_dir_all(folder).map_err(failed)?;
    fs::write(copy, old).map_err(failed)?;
    let file = fs::File::open(copy).map_err(failed)?;
    file.sync_all().map_err(failed)
}
