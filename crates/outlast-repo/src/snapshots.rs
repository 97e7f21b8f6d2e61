//! Choosing among snapshots: filters, groups, ids, `latest` and the parent of a backup. Pure.
//!
//! The rules are restic's, with one exception: a snapshot dated in the future is never `latest` and
//! never a parent. Whoever can write to a repository can date a snapshot 2095, and restic would then
//! restore that one for the next decades. It is passed over with a [`SelectionWarning`] that names
//! it; asked for by its id, it is given like any other. Where it is known in which order a store
//! admitted snapshots, that order counts instead of their times.

mod admitted;
mod filter;
mod group;
mod select;

pub use admitted::{resolve_admitted, select_latest_admitted};
pub(crate) use filter::TagLists;
pub use filter::{SnapshotFilter, TagList, clean_path};
pub use group::{
    GroupBy, GroupKey, ParseGroupByError, SnapshotGroup, group_snapshots, newest_of_each,
};
pub use select::{
    ParentQuery, Selected, SelectionError, SelectionWarning, SnapshotRequest, find_snapshot,
    resolve_snapshot, select_latest, select_parent,
};

use outlast_format::{Snapshot, Time};
use outlast_object::Id;

/// How far ahead of our clock a snapshot may be dated before it counts as dated in the future.
///
/// Clocks that are kept by NTP differ by seconds, and a snapshot is dated when its backup begins,
/// so a quarter of an hour passes everything honest but a host whose clock or zone is wrong. For
/// such a host the price is small: its snapshots are passed over by `latest`, with a warning, until
/// their time has come, and forget keeps them. A day, which would cover wrong zones, would let an
/// intruder be `latest` for a day after each honest backup.
pub const FUTURE_TOLERANCE_SECONDS: i64 = 15 * 60;

/// A snapshot with its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSnapshot {
    /// The name of its object.
    pub id: Id,
    /// The document.
    pub snapshot: Snapshot,
}

impl From<(Id, Snapshot)> for StoredSnapshot {
    fn from((id, snapshot): (Id, Snapshot)) -> Self {
        Self { id, snapshot }
    }
}

impl StoredSnapshot {
    /// Whether it is dated later than `now` with the tolerance for clocks that differ.
    pub fn is_future(&self, now: Time) -> bool {
        let (seconds, nanos) = now.instant();
        let limit = (seconds.saturating_add(FUTURE_TOLERANCE_SECONDS), nanos);
        self.snapshot.time.instant() > limit
    }
}

/// Sorts by time, newest first; snapshots of the same time by id.
pub fn sort_newest_first(list: &mut [&StoredSnapshot]) {
    list.sort_by(|a, b| {
        let (time_a, time_b) = (a.snapshot.time.instant(), b.snapshot.time.instant());
        time_b.cmp(&time_a).then_with(|| a.id.cmp(&b.id))
    });
}

/// Sorts by time, oldest first, the exact reverse of [`sort_newest_first`].
pub fn sort_oldest_first(list: &mut [&StoredSnapshot]) {
    sort_newest_first(list);
    list.reverse();
}

#[cfg(test)]
pub(crate) mod testing {
    //! Snapshots for tests.

    use super::*;

    /// A snapshot of `/data` whose id is the hash of its time and host.
    pub(crate) fn stored(time: &str, hostname: &str) -> StoredSnapshot {
        let snapshot = Snapshot {
            time: time.parse().unwrap(),
            parent: None,
            tree: Id::from_bytes([1; 32]),
            paths: vec!["/data".to_owned()],
            hostname: hostname.to_owned(),
            username: String::new(),
            uid: 0,
            gid: 0,
            excludes: Vec::new(),
            tags: Vec::new(),
            original: None,
            program_version: String::new(),
            summary: None,
        };
        StoredSnapshot {
            id: outlast_object::hash(format!("{time} {hostname}").as_bytes()),
            snapshot,
        }
    }
}
