//! Where each object lies inside a repository's folder.

use std::fs;
use std::path::{Path, PathBuf};

use outlast_object::{Id, ObjectKind, ObjectName};

/// The two ways in which restic has laid out folders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// `config`, `keys/`, `locks/`, `snapshots/`, `index/`, and packs in `data/<first two digits>/`.
    Default,
    /// The layout of old S3 repositories, "s3legacy": `key/`, `lock/`, `snapshot/`, `index/`, and
    /// packs directly in `data/`. It is continued where it is found and never begun.
    S3Legacy,
}

impl Layout {
    /// The layout of the repository at `root`. As restic did, it goes by where the keys are; a
    /// folder without any keys has, or will get, the default layout.
    pub fn detect(root: &Path) -> Self {
        let holds_keys = |layout: Layout| {
            let entries = fs::read_dir(root.join(layout.folder(ObjectKind::Key)));
            entries.is_ok_and(|entries| {
                entries
                    .flatten()
                    .any(|entry| id_of(entry.file_name().as_encoded_bytes()).is_some())
            })
        };
        if !holds_keys(Layout::Default) && holds_keys(Layout::S3Legacy) {
            Layout::S3Legacy
        } else {
            Layout::Default
        }
    }

    /// The folder of a kind, relative to the root.
    pub(super) fn folder(self, kind: ObjectKind) -> &'static str {
        match (self, kind) {
            (Layout::S3Legacy, ObjectKind::Key) => "key",
            (Layout::S3Legacy, ObjectKind::Lock) => "lock",
            (Layout::S3Legacy, ObjectKind::Snapshot) => "snapshot",
            _ => kind.folder(),
        }
    }

    /// The path of an object's file.
    pub(super) fn path(self, root: &Path, name: &ObjectName) -> PathBuf {
        let kind = name.kind();
        if kind == ObjectKind::Config {
            return root.join("config");
        }
        let hex = name.id().to_hex();
        let mut path = root.join(self.folder(kind));
        if self.has_subfolders(kind) {
            path.push(&hex[..2]);
        }
        path.push(hex);
        path
    }

    /// Whether objects of this kind lie in 256 folders by the first byte of their id.
    pub(super) fn has_subfolders(self, kind: ObjectKind) -> bool {
        self == Layout::Default && kind == ObjectKind::Pack
    }

    /// All folders that objects of a kind lie in, each with the first byte that their ids have, if
    /// the folder is only for these.
    pub(super) fn object_folders(
        self,
        root: &Path,
        kind: ObjectKind,
    ) -> Vec<(PathBuf, Option<u8>)> {
        let folder = root.join(self.folder(kind));
        if self.has_subfolders(kind) {
            let subfolder = |byte: u8| (folder.join(format!("{byte:02x}")), Some(byte));
            (0..=u8::MAX).map(subfolder).collect()
        } else {
            vec![(folder, None)]
        }
    }
}

/// The id that a file's name spells, if it does.
pub(super) fn id_of(file_name: &[u8]) -> Option<Id> {
    str::from_utf8(file_name).ok()?.parse().ok()
}
