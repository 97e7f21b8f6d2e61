//! A client that backs up every day. What did not change is not stored again.

use std::collections::BTreeMap;

use outlast_custody::{ObjectList, Wanted};
use outlast_object::{Id, ObjectKind, ObjectName, hash};

use crate::random::Random;

/// Bytes of the content of a pack.
const PACK_BYTES: usize = 100;
/// Packs of a data set on its first day, at most.
const FIRST_PACKS_MAX: u64 = 5;
/// New packs of a data set on a day, at most.
const NEW_PACKS_MAX: u64 = 3;
/// So many in a hundred packs are used no more on a day.
const DROPPED_PERCENT: u64 = 12;

/// A snapshot and what it needs.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The data set.
    pub data_set: usize,
    /// The snapshot and the root of its list.
    pub wanted: Wanted,
    /// All that it needs.
    pub list: ObjectList,
    /// When it was made, seconds since 1970.
    pub moment: u64,
    /// Bytes of its objects.
    pub bytes: u64,
    /// The objects that were stored for it first.
    pub added: Vec<ObjectName>,
}

/// A client with some data sets in one repository.
#[derive(Debug)]
pub struct Client {
    random: Random,
    /// Every object that was ever made.
    objects: BTreeMap<ObjectName, Vec<u8>>,
    /// The packs in use, by data set.
    packs: Vec<Vec<ObjectName>>,
    /// All snapshots, in order.
    snapshots: Vec<Snapshot>,
    /// Config and keys.
    first: Vec<ObjectName>,
}

impl Client {
    /// A client that has backed up nothing yet.
    pub fn new(data_sets: usize, mut random: Random) -> Self {
        let mut client = Self {
            random: random.branch(),
            objects: BTreeMap::new(),
            packs: vec![Vec::new(); data_sets],
            snapshots: Vec::new(),
            first: Vec::new(),
        };
        let salt = random.number();
        let key = format!(
            r#"{{"kdf":"scrypt","N":32768,"r":8,"p":1,"salt":"AA==","data":"{salt:016x}"}}"#
        );
        let key = client.add(ObjectKind::Key, key.into_bytes());
        let config = client.add(ObjectKind::Config, vec![7; 155]);
        client.first = vec![key, config];
        client
    }

    /// All snapshots, in order.
    pub fn snapshots(&self) -> &[Snapshot] {
        &self.snapshots
    }

    /// The bytes of an object.
    pub fn bytes(&self, name: &ObjectName) -> &[u8] {
        self.objects.get(name).map_or(&[], Vec::as_slice)
    }

    /// Objects with their bytes, in the order in which they are stored.
    pub fn with_bytes(&self, names: &[ObjectName]) -> Vec<(ObjectName, &[u8])> {
        let mut names = names.to_vec();
        let order = |name: &ObjectName| match name.kind() {
            ObjectKind::Key => 0,
            ObjectKind::Config => 1,
            ObjectKind::Pack => 2,
            ObjectKind::Index => 3,
            _ => 4,
        };
        names.sort_by_key(order);
        names.iter().map(|name| (*name, self.bytes(name))).collect()
    }

    /// Backs up a data set.
    pub fn back_up(&mut self, data_set: usize, now: u64) {
        let is_first = self.packs[data_set].is_empty();
        let mut kept = std::mem::take(&mut self.packs[data_set]);
        kept.retain(|_| !self.random.chance(DROPPED_PERCENT));
        let new = self.random.below(NEW_PACKS_MAX + 1);
        let new = if is_first {
            self.random.between(1, FIRST_PACKS_MAX)
        } else {
            new
        };
        let mut added = Vec::new();
        for _ in 0..new {
            let mut bytes = self.random.number().to_le_bytes().repeat(PACK_BYTES / 8);
            bytes.extend_from_slice(&[80, 0, 0, 0]);
            added.push(self.add(ObjectKind::Pack, bytes));
        }
        // Data that moves from one data set to another is not stored again either.
        if self.random.chance(10) {
            let other = self.random.place(self.packs.len());
            kept.extend(self.packs[other].first());
        }
        kept.extend(&added);
        kept.sort_unstable();
        kept.dedup();
        let index = format!(
            "index {} of {now} padded to be long enough",
            self.random.number()
        );
        added.push(self.add(ObjectKind::Index, index.into_bytes()));
        let snapshot = format!(
            "snapshot {} of {now} padded to be long",
            self.random.number()
        );
        let snapshot = self.add(ObjectKind::Snapshot, snapshot.into_bytes());
        added.push(snapshot);
        let all = self.first.iter().chain(&kept).chain(&added).copied();
        let list = ObjectList::new(all);
        let bytes = list.objects().iter().map(|name| self.bytes(name).len());
        self.snapshots.push(Snapshot {
            data_set,
            wanted: Wanted::new(snapshot.id(), &list),
            moment: now,
            bytes: u64::try_from(bytes.sum::<usize>()).unwrap_or(u64::MAX),
            list,
            added,
        });
        self.packs[data_set] = kept;
    }

    fn add(&mut self, kind: ObjectKind, bytes: Vec<u8>) -> ObjectName {
        let id = if kind == ObjectKind::Config {
            Id::default()
        } else {
            hash(&bytes)
        };
        let name = ObjectName::new(kind, id);
        self.objects.insert(name, bytes);
        name
    }
}
