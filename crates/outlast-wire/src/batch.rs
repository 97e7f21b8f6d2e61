//! Many small objects in one upload.
//!
//! Encoding: the eight bytes `outlastB`, then for each object one byte for its kind (2 snapshot,
//! 3 index, 4 pack; as in lists of objects), its id of 32 bytes, its length in four bytes, most
//! significant first, and its bytes. Nothing follows the last one.

use outlast_object::{Id, ObjectKind, ObjectName};

/// How a batch begins.
const MAGIC: &[u8; 8] = b"outlastB";
/// Bytes before those of an object.
const HEAD_BYTES: usize = 1 + Id::LEN + 4;
/// Largest object in a batch, in bytes.
pub const OBJECT_BYTES_MAX: usize = 1024 * 1024;
/// Largest batch, in bytes.
pub const BATCH_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Most objects in a batch.
pub const BATCH_OBJECTS_MAX: usize = 4096;

/// Why bytes are no batch, or an object does not fit into one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// Longer than any batch.
    #[error("a batch is at most {BATCH_BYTES_MAX} bytes long")]
    TooLong,
    /// More objects than a batch may have.
    #[error("a batch has at most {BATCH_OBJECTS_MAX} objects")]
    TooMany,
    /// An object that is too large for batches.
    #[error("an object in a batch is at most {OBJECT_BYTES_MAX} bytes long")]
    ObjectTooLong,
    /// A kind that does not come in batches.
    #[error("only packs, indexes and snapshots come in batches")]
    Kind,
    /// Not the encoding of a batch.
    #[error("this is no whole batch")]
    Malformed,
}

const fn code(kind: ObjectKind) -> Option<u8> {
    match kind {
        ObjectKind::Snapshot => Some(2),
        ObjectKind::Index => Some(3),
        ObjectKind::Pack => Some(4),
        ObjectKind::Key | ObjectKind::Config | ObjectKind::Lock => None,
    }
}

const fn kind(code: u8) -> Option<ObjectKind> {
    match code {
        2 => Some(ObjectKind::Snapshot),
        3 => Some(ObjectKind::Index),
        4 => Some(ObjectKind::Pack),
        _ => None,
    }
}

/// A batch that is being put together.
#[derive(Debug, Clone)]
pub struct Batch {
    bytes: Vec<u8>,
    objects: usize,
}

impl Default for Batch {
    fn default() -> Self {
        Self {
            bytes: MAGIC.to_vec(),
            objects: 0,
        }
    }
}

impl Batch {
    /// Adds an object. One that no longer fits leaves the batch as it was.
    ///
    /// # Errors
    /// [`BatchError`] if it cannot be in this batch or in any.
    pub fn push(&mut self, name: &ObjectName, bytes: &[u8]) -> Result<(), BatchError> {
        let kind = code(name.kind()).ok_or(BatchError::Kind)?;
        let length = u32::try_from(bytes.len()).map_err(|_| BatchError::ObjectTooLong)?;
        if bytes.len() > OBJECT_BYTES_MAX {
            return Err(BatchError::ObjectTooLong);
        }
        if self.objects == BATCH_OBJECTS_MAX {
            return Err(BatchError::TooMany);
        }
        if self.bytes.len() + HEAD_BYTES + bytes.len() > BATCH_BYTES_MAX {
            return Err(BatchError::TooLong);
        }
        self.bytes.push(kind);
        self.bytes.extend_from_slice(name.id().as_bytes());
        self.bytes.extend_from_slice(&length.to_be_bytes());
        self.bytes.extend_from_slice(bytes);
        self.objects += 1;
        Ok(())
    }

    /// Objects in it.
    pub fn len(&self) -> usize {
        self.objects
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.objects == 0
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// The objects in a batch. Whether their bytes are what their names say is not checked here.
///
/// # Errors
/// [`BatchError`] for anything that [`Batch::push`] would not have put together.
pub fn decode(bytes: &[u8]) -> Result<Vec<(ObjectName, &[u8])>, BatchError> {
    if bytes.len() > BATCH_BYTES_MAX {
        return Err(BatchError::TooLong);
    }
    let mut rest = bytes.strip_prefix(MAGIC).ok_or(BatchError::Malformed)?;
    let mut objects = Vec::new();
    while let Some((&first, after)) = rest.split_first() {
        if objects.len() == BATCH_OBJECTS_MAX {
            return Err(BatchError::TooMany);
        }
        let (id, after) = after
            .split_first_chunk::<{ Id::LEN }>()
            .ok_or(BatchError::Malformed)?;
        let (length, after) = after
            .split_first_chunk::<4>()
            .ok_or(BatchError::Malformed)?;
        let length = u32::from_be_bytes(*length) as usize;
        if length > OBJECT_BYTES_MAX {
            return Err(BatchError::ObjectTooLong);
        }
        let (content, after) = after
            .split_at_checked(length)
            .ok_or(BatchError::Malformed)?;
        let kind = kind(first).ok_or(BatchError::Kind)?;
        objects.push((ObjectName::new(kind, Id::from_bytes(*id)), content));
        rest = after;
    }
    Ok(objects)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn pack(byte: u8) -> ObjectName {
        ObjectName::pack(Id::from_bytes([byte; 32]))
    }

    #[test]
    fn what_goes_in_comes_out() {
        let mut batch = Batch::default();
        let snapshot = ObjectName::new(ObjectKind::Snapshot, Id::from_bytes([3; 32]));
        batch.push(&pack(1), b"first").unwrap();
        batch.push(&snapshot, b"").unwrap();
        let found = decode(batch.as_bytes()).unwrap();
        assert_eq!(found, [(pack(1), &b"first"[..]), (snapshot, b"")]);
        for end in 0..batch.as_bytes().len() {
            let part = decode(&batch.as_bytes()[..end]);
            assert!(part.is_err() || part.unwrap().len() < 2, "{end}");
        }
    }

    #[test]
    fn limits_hold_in_both_directions() {
        let mut batch = Batch::default();
        let large = vec![0; OBJECT_BYTES_MAX + 1];
        assert_eq!(batch.push(&pack(1), &large), Err(BatchError::ObjectTooLong));
        assert_eq!(batch.push(&ObjectName::CONFIG, b"x"), Err(BatchError::Kind));
        for _ in 0..BATCH_OBJECTS_MAX {
            batch.push(&pack(1), b"").unwrap();
        }
        assert_eq!(batch.push(&pack(1), b""), Err(BatchError::TooMany));
        let mut more = batch.as_bytes().to_vec();
        more.extend_from_slice(&more.clone()[8..8 + HEAD_BYTES]);
        assert_eq!(decode(&more), Err(BatchError::TooMany));
        let mut batch = Batch::default();
        let full = &large[1..];
        while batch.push(&pack(2), full).is_ok() {}
        assert_eq!(batch.push(&pack(2), full), Err(BatchError::TooLong));
        assert!(batch.as_bytes().len() <= BATCH_BYTES_MAX);
        assert_eq!(
            decode(&vec![0; BATCH_BYTES_MAX + 1]),
            Err(BatchError::TooLong)
        );
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_answered(tail in proptest::collection::vec(0_u8..=255, 0..200)) {
            let bytes = [MAGIC.as_slice(), &tail].concat();
            if let Ok(objects) = decode(&bytes) {
                let mut batch = Batch::default();
                for (name, content) in objects {
                    batch.push(&name, content).unwrap();
                }
                proptest::prop_assert_eq!(batch.as_bytes(), bytes);
            }
        }
    }
}
