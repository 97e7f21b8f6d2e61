//! What kinds of objects there are, and where each is found.

use std::fmt;

use crate::Id;

/// The kinds of objects in a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectKind {
    /// The one `config` file.
    Config,
    /// A key file: the master key, wrapped by a password.
    Key,
    /// A lock of a running program.
    Lock,
    /// A snapshot.
    Snapshot,
    /// An index: which blobs are in which packs.
    Index,
    /// A pack of blobs.
    Pack,
}

impl ObjectKind {
    /// All kinds, in the order in which a repository is copied safely: whatever is named by
    /// something comes before it.
    pub const ALL: [ObjectKind; 6] = [
        ObjectKind::Config,
        ObjectKind::Key,
        ObjectKind::Lock,
        ObjectKind::Pack,
        ObjectKind::Index,
        ObjectKind::Snapshot,
    ];

    /// The folder of the kind (`config` is a file).
    pub const fn folder(self) -> &'static str {
        match self {
            ObjectKind::Config => "config",
            ObjectKind::Key => "keys",
            ObjectKind::Lock => "locks",
            ObjectKind::Snapshot => "snapshots",
            ObjectKind::Index => "index",
            ObjectKind::Pack => "data",
        }
    }

    /// The kind whose folder this is.
    pub fn from_folder(folder: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.folder() == folder)
    }

    /// The word for one object of this kind in messages.
    pub const fn noun(self) -> &'static str {
        match self {
            ObjectKind::Config => "config",
            ObjectKind::Key => "key",
            ObjectKind::Lock => "lock",
            ObjectKind::Snapshot => "snapshot",
            ObjectKind::Index => "index",
            ObjectKind::Pack => "pack",
        }
    }
}

impl fmt::Display for ObjectKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.noun())
    }
}

/// The name of one object: its kind and id. The config's id is all zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName {
    kind: ObjectKind,
    id: Id,
}

impl ObjectName {
    /// The config of the repository.
    pub const CONFIG: ObjectName = ObjectName {
        kind: ObjectKind::Config,
        id: Id::from_bytes([0; Id::LEN]),
    };

    /// The object of this kind with this id. For the config the id is of no account.
    pub const fn new(kind: ObjectKind, id: Id) -> Self {
        match kind {
            ObjectKind::Config => Self::CONFIG,
            _ => Self { kind, id },
        }
    }

    /// The name of the pack with this id.
    pub const fn pack(id: Id) -> Self {
        Self::new(ObjectKind::Pack, id)
    }

    /// The object's kind.
    pub const fn kind(&self) -> ObjectKind {
        self.kind
    }

    /// The object's id; all zero for the config.
    pub const fn id(&self) -> Id {
        self.id
    }
}

/// Shown as `config` or `<folder>/<id>`, as on a restic REST server.
impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            ObjectKind::Config => f.write_str("config"),
            kind => write!(f, "{}/{}", kind.folder(), self.id),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_restics_and_lead_back() {
        for kind in ObjectKind::ALL {
            assert_eq!(ObjectKind::from_folder(kind.folder()), Some(kind));
        }
        assert_eq!(ObjectKind::from_folder("tmp"), None);
        let name = ObjectName::new(ObjectKind::Index, Id::from_bytes([2; 32]));
        assert_eq!(name.to_string(), format!("index/{}", "02".repeat(32)));
        assert_eq!(
            ObjectName::new(ObjectKind::Config, Id::from_bytes([2; 32])),
            ObjectName::CONFIG
        );
    }
}
