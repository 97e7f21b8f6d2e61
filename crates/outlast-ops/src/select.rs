//! From what somebody typed to snapshots and trees.

use std::path::Path;

use outlast_object::Id;
use outlast_repo::{
    Notice, RepoError, SnapshotFilter, SnapshotRequest, StoredSnapshot, find_snapshot,
    resolve_subfolder, sort_newest_first,
};

use crate::Session;
use crate::session::stored_snapshots;

/// One snapshot, and the tree in it that is meant.
#[derive(Debug, Clone)]
pub struct ChosenSnapshot {
    /// The snapshot.
    pub stored: StoredSnapshot,
    /// The folder in it that was asked for; empty for the root.
    pub subfolder: String,
}

impl ChosenSnapshot {
    /// The tree that is meant: the snapshot's root or that of the folder. The index must be loaded.
    pub fn tree(&self, session: &Session) -> Result<Id, RepoError> {
        let root = self.stored.snapshot.tree;
        if self.subfolder.is_empty() {
            return Ok(root);
        }
        resolve_subfolder(session.repository(), root, Path::new(&self.subfolder))
    }
}

fn selection(error: outlast_repo::SelectionError) -> RepoError {
    RepoError::Selection(error.to_string())
}

fn warn(session: &Session, text: String) {
    session
        .repository()
        .environment()
        .notice(Notice::Other(text));
}

/// The snapshot that `text` names: `latest` under the filter, an id or its beginning, with a folder
/// behind a colon.
pub fn choose_snapshot(
    session: &Session,
    text: &str,
    filter: &SnapshotFilter,
) -> Result<ChosenSnapshot, RepoError> {
    let all = stored_snapshots(session.repository(), session.cancel())?;
    let list: Vec<&StoredSnapshot> = all.iter().collect();
    let request = SnapshotRequest::from(text);
    let selected = session
        .resolve(&list, &request, filter)
        .map_err(selection)?;
    for warning in &selected.warnings {
        warn(session, warning.to_string());
    }
    Ok(ChosenSnapshot {
        stored: selected.snapshot.clone(),
        subfolder: request.subfolder,
    })
}

/// The snapshots that the ids name, or all that the filter lets through where there is no id; newest
/// first. As in restic, an id that is not there is named in a notice and does not hide the others.
pub fn choose_snapshots(
    session: &Session,
    ids: &[String],
    filter: &SnapshotFilter,
) -> Result<Vec<StoredSnapshot>, RepoError> {
    let all = stored_snapshots(session.repository(), session.cancel())?;
    let list: Vec<&StoredSnapshot> = all.iter().collect();
    if ids.is_empty() {
        let mut chosen: Vec<&StoredSnapshot> = list
            .into_iter()
            .filter(|stored| filter.matches(&stored.snapshot))
            .collect();
        sort_newest_first(&mut chosen);
        return Ok(chosen.into_iter().cloned().collect());
    }
    let mut chosen: Vec<StoredSnapshot> = Vec::new();
    for id in ids {
        let found = if id == "latest" {
            session
                .resolve(&list, &"latest".into(), filter)
                .map(|selected| {
                    for warning in &selected.warnings {
                        warn(session, warning.to_string());
                    }
                    selected.snapshot
                })
        } else {
            find_snapshot(&list, id)
        };
        match found {
            Ok(stored) if chosen.iter().all(|known| known.id != stored.id) => {
                chosen.push(stored.clone());
            }
            Ok(_) => {}
            Err(error) => warn(session, format!("ignoring {id:?}: {error}")),
        }
    }
    Ok(chosen)
}
