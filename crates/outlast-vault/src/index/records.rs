//! Keys and values of the index's tables.

use outlast_custody::RepositoryName;
use outlast_object::{Id, ObjectKind, ObjectName};

/// An object, as the log has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Admission {
    /// Index of its entry.
    pub position: u64,
    /// Size in bytes.
    pub size: u64,
    /// Vault time of the admission, seconds since 1970.
    pub time: u64,
    /// The end of its minimum hold, vault time.
    pub until_min: u64,
    /// Hash of its bytes: the id, but for the config.
    pub hash: Id,
}

/// A repository's sums and the end of its chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chain {
    /// Leaf hash of the newest entry about it.
    pub head: Id,
    /// Objects admitted.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Seals made.
    pub seals: u64,
    /// Those of them that name their objects.
    pub exact_seals: u64,
    /// Bytes of the lists in which they do.
    pub list_bytes: u64,
}

impl Default for Chain {
    fn default() -> Self {
        Self {
            head: Id::from_bytes([0; Id::LEN]),
            objects: 0,
            bytes: 0,
            seals: 0,
            exact_seals: 0,
            list_bytes: 0,
        }
    }
}

pub(super) const fn kind_code(kind: ObjectKind) -> u8 {
    match kind {
        ObjectKind::Config => 0,
        ObjectKind::Key => 1,
        ObjectKind::Lock => 2,
        ObjectKind::Snapshot => 3,
        ObjectKind::Index => 4,
        ObjectKind::Pack => 5,
    }
}

pub(super) fn kind_prefix(repository: &RepositoryName, kind: ObjectKind) -> Vec<u8> {
    let mut key = Vec::with_capacity(repository.as_str().len() + 2 + Id::LEN);
    key.extend_from_slice(repository.as_str().as_bytes());
    key.extend_from_slice(&[0, kind_code(kind)]);
    key
}

pub(super) fn object_key(repository: &RepositoryName, name: &ObjectName) -> Vec<u8> {
    let mut key = kind_prefix(repository, name.kind());
    key.extend_from_slice(name.id().as_bytes());
    key
}

pub(super) fn seal_key(repository: &RepositoryName, index: u64) -> Vec<u8> {
    let mut key = repository.as_str().as_bytes().to_vec();
    key.push(0);
    key.extend_from_slice(&index.to_be_bytes());
    key
}

pub(super) fn sealed_key(repository: &RepositoryName, snapshot: &Id) -> Vec<u8> {
    let mut key = repository.as_str().as_bytes().to_vec();
    key.push(0);
    key.extend_from_slice(snapshot.as_bytes());
    key
}

impl Admission {
    pub(super) fn encode(&self) -> Vec<u8> {
        let numbers = [self.position, self.size, self.time, self.until_min];
        let mut bytes: Vec<u8> = numbers
            .iter()
            .flat_map(|number| number.to_le_bytes())
            .collect();
        bytes.extend_from_slice(self.hash.as_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (numbers, hash) = bytes.split_at_checked(32)?;
        let number = |at: usize| {
            let bytes = numbers.get(at * 8..at * 8 + 8)?;
            Some(u64::from_le_bytes(bytes.try_into().ok()?))
        };
        Some(Self {
            position: number(0)?,
            size: number(1)?,
            time: number(2)?,
            until_min: number(3)?,
            hash: Id::from_bytes(hash.try_into().ok()?),
        })
    }
}

impl Chain {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = self.head.as_bytes().to_vec();
        let numbers = [
            self.objects,
            self.bytes,
            self.seals,
            self.exact_seals,
            self.list_bytes,
        ];
        for number in numbers {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (head, numbers) = bytes.split_at_checked(Id::LEN)?;
        let number = |at: usize| {
            let bytes = numbers.get(at * 8..at * 8 + 8)?;
            Some(u64::from_le_bytes(bytes.try_into().ok()?))
        };
        Some(Self {
            head: Id::from_bytes(head.try_into().ok()?),
            objects: number(0)?,
            bytes: number(1)?,
            seals: number(2)?,
            exact_seals: number(3)?,
            list_bytes: number(4)?,
        })
    }
}
