//! Which index files and snapshots this host has written itself, noted locally. The notes may be lost
//! at any time; then less is taken for the host's own, and stored again.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::PathBuf;

use outlast_object::{Id, ObjectKind, ObjectName};

/// A longer file is started afresh.
const NOTES_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// The notes: a file of ids for each kind.
#[derive(Debug, Default)]
pub(crate) struct OwnNotes {
    folder: Option<PathBuf>,
}

impl OwnNotes {
    pub(crate) fn new(folder: Option<PathBuf>) -> Self {
        Self { folder }
    }

    fn path(&self, kind: ObjectKind) -> Option<PathBuf> {
        let folder = self.folder.as_ref()?;
        Some(folder.join(format!("own-{}", kind.folder())))
    }

    /// The objects of a kind that this host has written.
    pub(crate) fn read(&self, kind: ObjectKind) -> HashSet<Id> {
        let mut bytes = Vec::new();
        if let Some(file) = self.path(kind).and_then(|path| File::open(path).ok()) {
            // What cannot be read is not taken for the host's own.
            let _ = file.take(NOTES_BYTES_MAX).read_to_end(&mut bytes);
        }
        let (ids, _) = bytes.as_chunks::<{ Id::LEN }>();
        ids.iter().map(|id| Id::from_bytes(*id)).collect()
    }

    /// This host has written an object. Failing is no error.
    pub(crate) fn add(&self, name: &ObjectName) {
        let (Some(folder), Some(path)) = (&self.folder, self.path(name.kind())) else {
            return;
        };
        if fs::create_dir_all(folder).is_err() {
            return;
        }
        // A torn id, left by a crash, would shift all that follow.
        let unfit = |bytes: u64| bytes > NOTES_BYTES_MAX || !bytes.is_multiple_of(Id::LEN as u64);
        let afresh = fs::metadata(&path).is_ok_and(|metadata| unfit(metadata.len()));
        let mut options = OpenOptions::new();
        options
            .create(true)
            .append(!afresh)
            .write(true)
            .truncate(afresh);
        if let Ok(mut file) = options.open(&path) {
            let _ = file.write_all(name.id().as_bytes());
        }
    }
}
