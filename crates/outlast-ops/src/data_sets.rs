//! What is remembered on this machine of the backups it made: per data set the newest snapshots, what
//! each needs, and what custodians showed for it. `status` answers from this alone.
//!
//! A data set is what one host backs up as one: the same paths, again and again.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use outlast_custody::{Evidence, IdText, ObjectList};
use outlast_object::{Id, hash};
use serde::{Deserialize, Serialize};

use crate::config::{ConfigurationError, Places, read_at_most, write_durably};

/// Snapshots of a set that are remembered.
const SNAPSHOTS_MAX: usize = 20;
/// Lists of a set that are kept, so that its newest snapshots can still be sealed later.
const LISTS_MAX: usize = 3;
/// Largest file of a set, in bytes.
const SET_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Largest list that is read, in bytes.
const LIST_BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;
/// How files of sets end.
const EXTENSION: &str = "json";

/// A data set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataSet {
    /// The host.
    pub host: String,
    /// The paths.
    pub paths: Vec<String>,
    /// Its newest snapshots, newest first.
    pub snapshots: Vec<RememberedSnapshot>,
}

/// A snapshot, and what was shown for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RememberedSnapshot {
    /// Its id.
    pub snapshot: IdText,
    /// When it was made, seconds since 1970.
    pub time: u64,
    /// Root of the list of what it needs.
    pub list: IdText,
    /// How many objects these are.
    pub objects: u64,
    /// Files of receipts, by custodian, each in the custodian's folder.
    #[serde(default)]
    pub receipts: BTreeMap<String, String>,
    /// Evidence by custodian.
    #[serde(default)]
    pub evidence: BTreeMap<String, Evidence>,
}

/// What a custodian showed for a snapshot.
#[derive(Debug, Clone)]
pub enum Shown {
    /// A receipt in this file.
    Receipt(PathBuf),
    /// Evidence.
    Evidence(Evidence),
}

/// The data sets of a user.
#[derive(Debug, Clone)]
pub struct DataSets {
    folder: PathBuf,
}

fn failed(path: &Path, source: io::Error) -> ConfigurationError {
    ConfigurationError::Io {
        path: path.to_owned(),
        source,
    }
}

impl DataSets {
    /// Those of the user.
    pub fn of(places: &Places) -> Self {
        Self {
            folder: places.data_sets.clone(),
        }
    }

    fn path(&self, host: &str, paths: &[String]) -> PathBuf {
        let name = hash(format!("{host}\0{}", paths.join("\0")).as_bytes()).short();
        self.folder.join(format!("{name}.{EXTENSION}"))
    }

    fn list_path(&self, list: &Id) -> PathBuf {
        self.folder.join("lists").join(list.to_hex())
    }

    fn read_set(path: &Path) -> Result<Option<DataSet>, ConfigurationError> {
        let Some(bytes) = read_at_most(path, SET_BYTES_MAX).map_err(|error| failed(path, error))?
        else {
            return Ok(None);
        };
        let parsed = serde_json::from_slice(&bytes);
        parsed.map_err(|error| ConfigurationError::Invalid {
            path: path.to_owned(),
            reason: format!("{error}; it can be removed: the next backup makes it again"),
        })
    }

    /// All of them, by host and paths.
    ///
    /// # Errors
    /// [`ConfigurationError`] if a file cannot be read or makes no sense.
    pub fn all(&self) -> Result<Vec<DataSet>, ConfigurationError> {
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            result => result.map_err(|error| failed(&self.folder, error))?,
        };
        let mut sets = Vec::new();
        for entry in entries {
            let path = entry.map_err(|error| failed(&self.folder, error))?.path();
            if path.extension().is_some_and(|end| end == EXTENSION) {
                sets.extend(Self::read_set(&path)?);
            }
        }
        sets.sort_by(|a, b| (&a.host, &a.paths).cmp(&(&b.host, &b.paths)));
        Ok(sets)
    }

    /// Remembers a snapshot, with what it needs.
    ///
    /// # Errors
    /// [`ConfigurationError`].
    pub fn remember(
        &self,
        host: &str,
        paths: &[String],
        (snapshot, time): (Id, u64),
        list: &ObjectList,
    ) -> Result<(), ConfigurationError> {
        let path = self.path(host, paths);
        // What makes no sense is made anew, as its message promises.
        let known = Self::read_set(&path).unwrap_or_default();
        let mut set = known.unwrap_or_else(|| DataSet {
            host: host.to_owned(),
            paths: paths.to_vec(),
            snapshots: Vec::new(),
        });
        let root = Id::from_bytes(*list.root().as_bytes());
        let is_it = |one: &RememberedSnapshot| one.snapshot.0 == snapshot && one.list.0 == root;
        if set.snapshots.iter().any(is_it) {
            return Ok(());
        }
        set.snapshots.retain(|one| one.snapshot.0 != snapshot);
        // Of those of one second, the one that is told last is the newest.
        set.snapshots.insert(
            0,
            RememberedSnapshot {
                snapshot: IdText(snapshot),
                time,
                list: IdText(root),
                objects: list.objects().len() as u64,
                receipts: BTreeMap::new(),
                evidence: BTreeMap::new(),
            },
        );
        set.snapshots.sort_by_key(|one| std::cmp::Reverse(one.time));
        set.snapshots.truncate(SNAPSHOTS_MAX);
        let list_path = self.list_path(&root);
        write_durably(&list_path, &list.encode(), 0o600)
            .map_err(|error| failed(&list_path, error))?;
        self.write(&path, &set)?;
        for old in set.snapshots.iter().skip(LISTS_MAX) {
            let _ = fs::remove_file(self.list_path(&old.list.0));
        }
        Ok(())
    }

    fn write(&self, path: &Path, set: &DataSet) -> Result<(), ConfigurationError> {
        // Texts, numbers and ids always have a JSON form.
        let bytes = serde_json::to_vec_pretty(set).unwrap_or_default();
        write_durably(path, &bytes, 0o600).map_err(|error| failed(path, error))
    }

    /// Notes what custodians showed for a snapshot, in every set that has it; for a snapshot that is not
    /// remembered nothing is noted.
    ///
    /// # Errors
    /// [`ConfigurationError`].
    pub fn note(&self, snapshot: Id, shown: &[(String, Shown)]) -> Result<(), ConfigurationError> {
        for set in self.all()? {
            self.note_in(set, snapshot, shown)?;
        }
        Ok(())
    }

    /// Notes what custodians showed for a snapshot of the set of these paths, as it is now.
    ///
    /// # Errors
    /// [`ConfigurationError`].
    pub fn note_of(
        &self,
        (host, paths): (&str, &[String]),
        snapshot: Id,
        shown: &[(String, Shown)],
    ) -> Result<(), ConfigurationError> {
        match Self::read_set(&self.path(host, paths))? {
            Some(set) => self.note_in(set, snapshot, shown),
            None => Ok(()),
        }
    }

    fn note_in(
        &self,
        mut set: DataSet,
        snapshot: Id,
        shown: &[(String, Shown)],
    ) -> Result<(), ConfigurationError> {
        let mut found = set.snapshots.iter_mut();
        let Some(one) = found.find(|one| one.snapshot.0 == snapshot) else {
            return Ok(());
        };
        for (custodian, shown) in shown {
            match shown {
                Shown::Receipt(path) => {
                    let name = path.file_name().unwrap_or_default().to_string_lossy();
                    one.receipts.insert(custodian.clone(), name.into_owned());
                }
                Shown::Evidence(evidence) => {
                    one.evidence.insert(custodian.clone(), evidence.clone());
                }
            }
        }
        self.write(&self.path(&set.host, &set.paths), &set)
    }

    /// What a snapshot needs, if that is still kept.
    ///
    /// # Errors
    /// [`ConfigurationError`] if the file is not the list that it should be.
    pub fn list(&self, root: Id) -> Result<Option<ObjectList>, ConfigurationError> {
        let path = self.list_path(&root);
        let Some(bytes) =
            read_at_most(&path, LIST_BYTES_MAX).map_err(|error| failed(&path, error))?
        else {
            return Ok(None);
        };
        let list = ObjectList::decode(&bytes).map_err(|error| error.to_string());
        let is_it = |list: &ObjectList| Id::from_bytes(*list.root().as_bytes()) == root;
        let list = list.and_then(|list| match is_it(&list) {
            true => Ok(list),
            false => Err("it is another list".to_owned()),
        });
        list.map(Some)
            .map_err(|reason| ConfigurationError::Invalid { path, reason })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use outlast_object::ObjectName;

    use super::*;

    fn sets(folder: &Path) -> DataSets {
        DataSets {
            folder: folder.to_owned(),
        }
    }

    fn list(seed: u8) -> ObjectList {
        ObjectList::new([ObjectName::CONFIG, ObjectName::pack(hash(&[seed]))])
    }

    #[test]
    fn the_newest_are_remembered_with_what_was_shown_for_them() {
        let folder = tempfile::tempdir().unwrap();
        let sets = sets(folder.path());
        let paths = ["/srv".to_owned()];
        for seed in 0..30_u8 {
            let snapshot = (hash(&[seed, 1]), u64::from(seed));
            sets.remember("web1", &paths, snapshot, &list(seed))
                .unwrap();
        }
        let newest = hash(&[29, 1]);
        let shown = Shown::Receipt(PathBuf::from("/x/0000000001-abcd.receipt"));
        sets.note(newest, &[("vault".to_owned(), shown)]).unwrap();
        // The same again changes nothing, and forgets nothing.
        sets.remember("web1", &paths, (newest, 29), &list(29))
            .unwrap();
        let all = sets.all().unwrap();
        assert_eq!(all.len(), 1);
        assert_eq!(all[0].snapshots.len(), SNAPSHOTS_MAX);
        assert_eq!(
            all[0].snapshots[0].receipts["vault"],
            "0000000001-abcd.receipt"
        );
        let root = all[0].snapshots[0].list.0;
        assert_eq!(sets.list(root).unwrap(), Some(list(29)));
        assert_eq!(sets.list(all[0].snapshots[5].list.0).unwrap(), None);

        // With other needs it is another copy: what was shown before does not count for it.
        sets.remember("web1", &paths, (newest, 29), &list(77))
            .unwrap();
        assert!(sets.all().unwrap()[0].snapshots[0].receipts.is_empty());
        // A list that was changed is not taken for it.
        let root = sets.all().unwrap()[0].snapshots[0].list.0;
        fs::write(sets.list_path(&root), list(1).encode()).unwrap();
        assert!(sets.list(root).is_err());
    }
}
