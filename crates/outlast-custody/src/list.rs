//! The exact list of objects that a snapshot needs, as a seal covers it.
//!
//! Encoding: records of 33 bytes, the kind (1 key, 2 snapshot, 3 index, 4 pack, 5 config) and the
//! id, strictly ascending. The root is that of a Merkle tree whose leaves are the records, so that
//! the presence of one object can be shown without the others.

use outlast_log::{Hash, leaf_hash, tree_root};
use outlast_object::{Id, ObjectKind, ObjectName};

/// Most objects in one list.
pub const LIST_OBJECTS_MAX: usize = 4_000_000;
const RECORD_BYTES: usize = 1 + Id::LEN;

/// Why bytes are no list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    /// Not a whole number of records, or too many.
    #[error("a list of {0} bytes is not one of whole records within the limit")]
    Length(usize),
    /// A kind that cannot be in a list.
    #[error("record {0} of the list is of no kind that can be sealed")]
    Kind(usize),
    /// Out of order, or twice the same.
    #[error("record {0} of the list is out of order")]
    Order(usize),
}

/// Objects, each once, in the order of their records.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ObjectList(Vec<ObjectName>);

const fn code(kind: ObjectKind) -> u8 {
    match kind {
        ObjectKind::Key => 1,
        ObjectKind::Snapshot => 2,
        ObjectKind::Index => 3,
        ObjectKind::Pack => 4,
        ObjectKind::Config => 5,
        // Locks are not kept, so they are left out.
        ObjectKind::Lock => 0,
    }
}

fn record(name: &ObjectName) -> [u8; RECORD_BYTES] {
    let mut bytes = [0; RECORD_BYTES];
    bytes[0] = code(name.kind());
    bytes[1..].copy_from_slice(name.id().as_bytes());
    bytes
}

impl ObjectList {
    /// The list of these objects, in whatever order they come; locks are left out.
    pub fn new(objects: impl IntoIterator<Item = ObjectName>) -> Self {
        let mut objects: Vec<_> = objects
            .into_iter()
            .filter(|name| name.kind() != ObjectKind::Lock)
            .collect();
        objects.sort_unstable_by_key(record);
        objects.dedup();
        Self(objects)
    }

    /// The objects.
    pub fn objects(&self) -> &[ObjectName] {
        &self.0
    }

    /// Whether it covers this object.
    pub fn covers(&self, name: &ObjectName) -> bool {
        let wanted = record(name);
        self.0.binary_search_by_key(&wanted, record).is_ok()
    }

    /// The bytes of the list.
    pub fn encode(&self) -> Vec<u8> {
        self.0.iter().flat_map(record).collect()
    }

    /// Reads a list.
    ///
    /// # Errors
    /// [`ListError`] for anything that [`ObjectList::encode`] does not produce.
    pub fn decode(bytes: &[u8]) -> Result<Self, ListError> {
        let (records, rest) = bytes.as_chunks::<RECORD_BYTES>();
        if !rest.is_empty() || records.len() > LIST_OBJECTS_MAX {
            return Err(ListError::Length(bytes.len()));
        }
        let mut objects = Vec::with_capacity(records.len());
        for (number, record) in records.iter().enumerate() {
            if number > 0 && records[number - 1] >= *record {
                return Err(ListError::Order(number));
            }
            let kind = ObjectKind::ALL
                .into_iter()
                .find(|kind| code(*kind) == record[0] && *kind != ObjectKind::Lock)
                .ok_or(ListError::Kind(number))?;
            let mut id = [0; Id::LEN];
            id.copy_from_slice(&record[1..]);
            if kind == ObjectKind::Config && id != [0; Id::LEN] {
                return Err(ListError::Kind(number));
            }
            objects.push(ObjectName::new(kind, Id::from_bytes(id)));
        }
        Ok(Self(objects))
    }

    /// The root that seals name.
    pub fn root(&self) -> Hash {
        tree_root(self.0.iter().map(|name| leaf_hash(&record(name))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> ObjectList {
        let name = |kind, byte| ObjectName::new(kind, Id::from_bytes([byte; 32]));
        ObjectList::new([
            name(ObjectKind::Pack, 9),
            ObjectName::CONFIG,
            name(ObjectKind::Key, 1),
            name(ObjectKind::Pack, 3),
            name(ObjectKind::Pack, 9),
            name(ObjectKind::Lock, 9),
            name(ObjectKind::Snapshot, 3),
        ])
    }

    #[test]
    fn lists_come_back_and_have_one_spelling() {
        let list = sample();
        assert_eq!(list.objects().len(), 5);
        let bytes = list.encode();
        assert_eq!(ObjectList::decode(&bytes), Ok(list.clone()));
        assert!(list.objects().iter().all(|name| list.covers(name)));
        let other = ObjectName::new(ObjectKind::Pack, Id::from_bytes([4; 32]));
        assert!(!list.covers(&other));
        assert_eq!(
            ObjectList::decode(&bytes[1..]),
            Err(ListError::Length(bytes.len() - 1))
        );
        let twice = [&bytes[..33], &bytes[..33]].concat();
        assert_eq!(ObjectList::decode(&twice), Err(ListError::Order(1)));
        let mut lock = bytes.clone();
        lock[0] = 0;
        assert_eq!(ObjectList::decode(&lock), Err(ListError::Kind(0)));
        let mut config = bytes;
        let last = config.len() - 1;
        config[last] = 1;
        assert_eq!(ObjectList::decode(&config), Err(ListError::Kind(4)));
    }

    #[test]
    fn every_object_counts_in_the_root() {
        let list = sample();
        for left_out in list.objects() {
            let fewer = list.objects().iter().filter(|name| *name != left_out);
            assert_ne!(ObjectList::new(fewer.copied()).root(), list.root());
        }
    }
}
