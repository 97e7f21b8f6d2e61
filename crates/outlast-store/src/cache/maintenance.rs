//! Looking after the caches of all repositories: what `cache` and `--cleanup-cache` do.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use outlast_object::Id;

use crate::StoreError;

/// After this long without use a cache counts as old: 30 days, as with restic.
pub const CACHE_AGE_MAX: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// The cache of one repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheInfo {
    /// The repository.
    pub id: Id,
    /// Its folder.
    pub folder: PathBuf,
    /// When it was last used.
    pub used: SystemTime,
}

impl CacheInfo {
    /// How long it was not used.
    pub fn age(&self, now: SystemTime) -> Duration {
        now.duration_since(self.used).unwrap_or_default()
    }

    /// What its files take, in bytes. Files that vanish meanwhile count nothing.
    pub fn bytes(&self) -> u64 {
        let mut total = 0;
        let mut folders = vec![self.folder.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                match entry.metadata() {
                    Ok(metadata) if metadata.is_dir() => folders.push(entry.path()),
                    Ok(metadata) => total += metadata.len(),
                    Err(_) => {}
                }
            }
        }
        total
    }
}

/// The caches beneath `base`, the one that was not used for longest first. A folder that does not
/// exist has none.
///
/// # Errors
/// [`StoreError::Io`] if the folder cannot be read.
pub fn list_caches(base: &Path) -> Result<Vec<CacheInfo>, StoreError> {
    let failed = |source| StoreError::Io {
        operation: "list the caches".to_owned(),
        location: base.display().to_string(),
        source,
    };
    let entries = match fs::read_dir(base) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed)?;
        let Some(id) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        // Only what was surely made as a cache is one: these folders get removed whole.
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if is_folder && entry.path().join("version").is_file() {
            let used = entry
                .metadata()
                .and_then(|metadata| metadata.modified())
                .map_err(failed)?;
            found.push(CacheInfo {
                id,
                folder: entry.path(),
                used,
            });
        }
    }
    found.sort_by(|a, b| a.used.cmp(&b.used).then(a.id.cmp(&b.id)));
    Ok(found)
}

/// Removes the caches beneath `base` that were not used for `age_max`. A process that still uses one
/// fetches again what it needs. Gives each with how its removal went.
///
/// # Errors
/// [`StoreError::Io`] if the folder cannot be read.
pub fn remove_old_caches(
    base: &Path,
    age_max: Duration,
    now: SystemTime,
) -> Result<Vec<(CacheInfo, io::Result<()>)>, StoreError> {
    let old = list_caches(base)?
        .into_iter()
        .filter(|cache| cache.age(now) > age_max);
    Ok(old
        .map(|cache| (cache.clone(), fs::remove_dir_all(&cache.folder)))
        .collect())
}
