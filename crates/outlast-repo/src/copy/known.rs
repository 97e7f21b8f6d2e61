//! Which snapshots the destination has already. The rule is restic's.

use std::collections::{HashMap, HashSet};

use outlast_format::Snapshot;
use outlast_object::Id;

use crate::{Cancel, RepoError, Repository, StoredSnapshot};

/// The destination's snapshots by the ids that they, or what they were made from, had first.
#[derive(Debug)]
pub(super) struct Known {
    by_original: HashMap<Id, Vec<StoredSnapshot>>,
    planned: HashSet<Id>,
}

impl Known {
    pub(super) fn load(destination: &Repository, cancel: &Cancel) -> Result<Self, RepoError> {
        let mut by_original: HashMap<Id, Vec<StoredSnapshot>> = HashMap::new();
        for (id, snapshot) in destination.load_snapshots(cancel)? {
            let stored = StoredSnapshot { id, snapshot };
            if let Some(original) = stored.snapshot.original {
                let known = by_original.entry(original).or_default();
                known.push(stored.clone());
            }
            by_original.entry(id).or_default().push(stored);
        }
        Ok(Self {
            by_original,
            planned: HashSet::new(),
        })
    }

    /// The destination's snapshot that is the same but for parent and original.
    pub(super) fn find(&self, stored: &StoredSnapshot) -> Option<Id> {
        let original = stored.snapshot.original.unwrap_or(stored.id);
        let known = self.by_original.get(&original)?;
        let same = known
            .iter()
            .find(|known| is_similar(&known.snapshot, &stored.snapshot))?;
        Some(same.id)
    }

    /// Whether the snapshot was not asked for before.
    pub(super) fn add_planned(&mut self, stored: &StoredSnapshot) -> bool {
        self.planned.insert(stored.id)
    }
}

/// Whether all but parent, original and what is only said about the backup are the same. Paths and
/// tags may stand in another order.
fn is_similar(a: &Snapshot, b: &Snapshot) -> bool {
    let contains = |all: &[String], some: &[String]| some.iter().all(|one| all.contains(one));
    a.time.instant() == b.time.instant()
        && a.tree == b.tree
        && a.hostname == b.hostname
        && a.username == b.username
        && (a.uid, a.gid) == (b.uid, b.gid)
        && a.excludes == b.excludes
        && a.paths.len() == b.paths.len()
        && contains(&a.paths, &b.paths)
        && a.tags.len() == b.tags.len()
        && contains(&a.tags, &b.tags)
}
