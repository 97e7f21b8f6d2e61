//! Changing the tags of snapshots: a new snapshot is written, then the old one goes.

use outlast_format::Snapshot;
use outlast_object::{Id, ObjectKind, ObjectName};

use crate::{Cancel, Removal, RepoError, Repository, StoredSnapshot};

/// What is done to the tags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TagChange {
    /// These become the tags. None, or a single empty one, leaves no tags.
    Set(Vec<String>),
    /// Some are added where they are missing, then some are removed.
    Edit {
        /// Tags to add.
        add: Vec<String>,
        /// Tags to remove.
        remove: Vec<String>,
    },
}

impl TagChange {
    /// Changes the tags of a snapshot as restic does, order included; whether it did.
    fn apply(&self, snapshot: &mut Snapshot) -> bool {
        let tags = &mut snapshot.tags;
        match self {
            TagChange::Set(new) => {
                *tags = new.clone();
                if matches!(tags.as_slice(), [only] if only.is_empty()) {
                    tags.clear();
                }
                true
            }
            TagChange::Edit { add, remove } => {
                let before = tags.clone();
                for tag in add {
                    if !tags.contains(tag) {
                        tags.push(tag.clone());
                    }
                }
                let mut changed = *tags != before;
                for tag in remove {
                    if let Some(at) = tags.iter().position(|known| known == tag) {
                        tags.swap_remove(at);
                        changed = true;
                    }
                }
                changed
            }
        }
    }
}

/// What became of the snapshots whose tags were to be changed.
#[derive(Debug, Default)]
pub struct TagOutcome {
    /// Snapshots that were replaced: the old id and the new one.
    pub changed: Vec<(Id, Id)>,
    /// Snapshots that could not be replaced and why. The old one is still there; the new one may be
    /// there as well.
    pub failed: Vec<(Id, RepoError)>,
}

/// Changes the tags of snapshots. `changed` is told of each one that was replaced. What fails for
/// one does not stop the others, unless the store is away.
pub fn change_tags(
    repository: &Repository,
    removal: &Removal<'_>,
    snapshots: &[StoredSnapshot],
    change: &TagChange,
    changed: &mut dyn FnMut(Id, Id),
    cancel: &Cancel,
) -> Result<TagOutcome, RepoError> {
    let mut outcome = TagOutcome::default();
    for stored in snapshots {
        cancel.check()?;
        let mut snapshot = stored.snapshot.clone();
        if !change.apply(&mut snapshot) {
            continue;
        }
        // The first of a row of changed snapshots is remembered by all of them.
        snapshot.original.get_or_insert(stored.id);
        match replace(repository, removal, stored.id, &snapshot) {
            Ok(id) => {
                changed(stored.id, id);
                outcome.changed.push((stored.id, id));
            }
            Err(error) => {
                let error = repository.of_one_object(error)?;
                outcome.failed.push((stored.id, error));
            }
        }
    }
    Ok(outcome)
}

/// Writes the new snapshot, and removes the old one once it is durable.
pub(crate) fn replace(
    repository: &Repository,
    removal: &Removal<'_>,
    old: Id,
    new: &Snapshot,
) -> Result<Id, RepoError> {
    removal.check_lock()?;
    let id = repository.save_snapshot(new)?;
    removal.remove(&ObjectName::new(ObjectKind::Snapshot, old))?;
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshots::testing::stored;

    #[test]
    fn tags_change_as_in_restic() {
        let words =
            |text: &str| -> Vec<String> { text.split_whitespace().map(str::to_owned).collect() };
        let edit = |add: &str, remove: &str| TagChange::Edit {
            add: words(add),
            remove: words(remove),
        };
        let set = |tags: Vec<String>| TagChange::Set(tags);
        for (before, change, after) in [
            ("a b", set(words("c")), Some("c")),
            ("a b", set(Vec::new()), Some("")),
            ("a b", set(vec![String::new()]), Some("")),
            ("a", set(words("a")), Some("a")),
            ("a b", edit("b c", ""), Some("a b c")),
            ("a b c", edit("", "a"), Some("c b")),
            ("a b", edit("x", "x"), Some("a b")),
            ("a b", edit("a", "z"), None),
            ("", edit("", ""), None),
        ] {
            let mut snapshot = stored("2026-01-01T00:00:00Z", "h").snapshot;
            snapshot.tags = words(before);
            let changed = change.apply(&mut snapshot);
            assert_eq!(changed, after.is_some(), "{before} {change:?}");
            assert_eq!(
                snapshot.tags,
                words(after.unwrap_or(before)),
                "{before} {change:?}"
            );
        }
    }
}
