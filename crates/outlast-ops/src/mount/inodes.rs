//! Numbers for everything that the kernel knows of, for as long as it does.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use outlast_format::Node;
use outlast_object::Id;
use parking_lot::Mutex;

/// The number of the root of the mount.
pub(super) const ROOT: u64 = 1;

/// What a number stands for.
#[derive(Debug, Clone)]
pub(super) enum Inode {
    /// A path above the snapshots, the root of a snapshot included.
    Virtual(Arc<str>),
    /// An entry of a snapshot.
    Entry {
        /// The snapshot.
        snapshot: Id,
        /// The entry.
        node: Arc<Node>,
    },
}

#[derive(Debug)]
struct Known {
    inode: Inode,
    lookups: u64,
}

/// The table of numbers. A number follows from what it stands for, so that it is the same each time
/// while this mount lives, and cannot be foretold by whoever wrote the repository.
#[derive(Debug)]
pub(super) struct Inodes {
    hasher: RandomState,
    known: Mutex<HashMap<u64, Known>>,
}

impl Inodes {
    pub(super) fn new() -> Self {
        let root = Known {
            inode: Inode::Virtual("".into()),
            lookups: 1,
        };
        Self {
            hasher: RandomState::new(),
            known: Mutex::new(HashMap::from([(ROOT, root)])),
        }
    }

    fn number(&self, key: impl std::hash::Hash) -> u64 {
        // 0 is no number, and 1 the root.
        self.hasher.hash_one(key).max(ROOT + 1)
    }

    /// The number of a path above the snapshots.
    pub(super) fn of_virtual(&self, path: &str) -> u64 {
        match path {
            "" => ROOT,
            path => self.number(("virtual", path)),
        }
    }

    /// The number of an entry. Names of one file share it.
    pub(super) fn of_entry(&self, parent: u64, snapshot: &Id, node: &Node) -> u64 {
        if node.is_file() && node.links > 1 && node.inode != 0 {
            let file = (node.device_id, node.inode, &node.content);
            return self.number(("file", snapshot.as_bytes(), file));
        }
        self.number(("entry", parent, &node.name))
    }

    /// Notes that the kernel was given a number once more.
    pub(super) fn remember(&self, number: u64, inode: Inode) {
        let mut known = self.known.lock();
        let entry = known.entry(number).or_insert(Known { inode, lookups: 0 });
        entry.lookups = entry.lookups.saturating_add(1);
    }

    /// Notes that the kernel gave up a number so many times.
    pub(super) fn forget(&self, number: u64, lookups: u64) {
        if number == ROOT {
            return;
        }
        let mut known = self.known.lock();
        if let Some(entry) = known.get_mut(&number) {
            entry.lookups = entry.lookups.saturating_sub(lookups);
            if entry.lookups == 0 {
                known.remove(&number);
                // A walk through everything must not leave its memory behind.
                if known.capacity() > 4 * known.len().max(1024) {
                    known.shrink_to_fit();
                }
            }
        }
    }

    /// What a number stands for.
    pub(super) fn get(&self, number: u64) -> Option<Inode> {
        let known = self.known.lock();
        known.get(&number).map(|entry| entry.inode.clone())
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.known.lock().len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_forgets_is_forgotten() {
        let inodes = Inodes::new();
        let snapshot = Id::from_bytes([1; 32]);
        for number in 0..5000_u64 {
            let node = Arc::new(Node {
                name: number.to_le_bytes().to_vec(),
                ..Node::default()
            });
            let inode = Inode::Entry {
                snapshot,
                node: Arc::clone(&node),
            };
            let number = inodes.of_entry(ROOT, &snapshot, &node);
            inodes.remember(number, inode.clone());
            inodes.remember(number, inode);
            assert_eq!(inodes.of_entry(ROOT, &snapshot, &node), number);
            inodes.forget(number, 1);
            assert!(inodes.get(number).is_some());
            inodes.forget(number, 1);
            assert!(inodes.get(number).is_none());
        }
        inodes.forget(ROOT, 7);
        inodes.forget(12345, 7);
        assert_eq!(inodes.len(), 1);
    }

    #[test]
    fn names_of_one_file_share_a_number_within_a_snapshot() {
        let inodes = Inodes::new();
        let node = |name: &str, links| Node {
            name: name.into(),
            inode: 5,
            links,
            ..Node::default()
        };
        let (one, two) = (Id::from_bytes([1; 32]), Id::from_bytes([2; 32]));
        let of = |parent, snapshot, node: &Node| inodes.of_entry(parent, snapshot, node);
        assert_eq!(of(7, &one, &node("a", 2)), of(8, &one, &node("b", 2)));
        assert_ne!(of(7, &one, &node("a", 2)), of(7, &two, &node("a", 2)));
        assert_ne!(of(7, &one, &node("a", 1)), of(7, &one, &node("b", 1)));
    }
}
