//! From what somebody typed to one snapshot: ids and their beginnings, `latest`, parents.

use std::fmt;

use outlast_format::Time;
use outlast_object::Id;

use super::{GroupBy, SnapshotFilter, StoredSnapshot, TagList, clean_path, sort_newest_first};

/// How many ids an error or warning names.
const IDS_NAMED_MAX: usize = 8;

/// Which snapshot, as typed: `latest`, an id or its beginning, and perhaps a folder inside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotRequest {
    /// `latest`, or an id or its beginning.
    pub snapshot: String,
    /// The folder after the colon; empty for the root.
    pub subfolder: String,
}

impl From<&str> for SnapshotRequest {
    fn from(text: &str) -> Self {
        let (snapshot, subfolder) = text.split_once(':').unwrap_or((text, ""));
        Self {
            snapshot: snapshot.to_owned(),
            subfolder: subfolder.to_owned(),
        }
    }
}

impl SnapshotRequest {
    /// Whether the newest snapshot is meant.
    pub fn is_latest(&self) -> bool {
        self.snapshot == "latest"
    }
}

/// Snapshots that were passed over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectionWarning {
    /// They are dated in the future, which is a wrong clock or an attempt to be `latest`.
    #[error(
        "{} dated in the future {} passed over: {}; use the id to select one",
        count(snapshots.len()),
        if snapshots.len() == 1 { "was" } else { "were" },
        Dated(snapshots)
    )]
    FutureDated {
        /// Id and claimed time, newest first.
        snapshots: Vec<(Id, Time)>,
    },
    /// It is not known when the store admitted them, though it is of others.
    #[error(
        "{} {} not known to the store's log: {}",
        count(snapshots.len()),
        if snapshots.len() == 1 { "is" } else { "are" },
        Dated(snapshots)
    )]
    NotAdmitted {
        /// Id and claimed time, newest first.
        snapshots: Vec<(Id, Time)>,
    },
}

/// No single snapshot is meant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectionError {
    /// No id begins so.
    #[error("no matching ID found for prefix {prefix:?}")]
    NotFound {
        /// What was asked for.
        prefix: String,
    },
    /// Several ids begin so.
    #[error("multiple IDs with prefix {prefix:?} found: {}", Ids(ids))]
    Ambiguous {
        /// What was asked for.
        prefix: String,
        /// The ids, in their order.
        ids: Vec<Id>,
    },
    /// What was asked for cannot begin an id.
    #[error("{0:?} is not a snapshot ID: expected \"latest\" or up to 64 of the digits 0-9a-f")]
    NotAnId(String),
    /// There is no snapshot, or the filter lets none through.
    #[error("no snapshot found for the filter {filter}")]
    NoneMatches {
        /// The filter.
        filter: SnapshotFilter,
    },
    /// All that the filter lets through is dated in the future.
    #[error(
        "\"latest\" is undecided: {} dated in the future, and this machine's clock says {now}: {}; \
         check the clock, or select one by its ID",
        if snapshots.len() == 1 { "the only snapshot is".to_owned() } else { format!("all {} snapshots are", snapshots.len()) },
        Dated(snapshots)
    )]
    OnlyFuture {
        /// Id and claimed time, newest first.
        snapshots: Vec<(Id, Time)>,
        /// Our clock.
        now: Time,
    },
}

fn count(snapshots: usize) -> String {
    match snapshots {
        1 => "a snapshot".to_owned(),
        more => format!("{more} snapshots"),
    }
}

struct Dated<'a>(&'a [(Id, Time)]);

impl fmt::Display for Dated<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, (id, time)) in self.0.iter().take(IDS_NAMED_MAX).enumerate() {
            let separator = if number == 0 { "" } else { ", " };
            write!(f, "{separator}{} ({time})", id.short())?;
        }
        write_rest(f, self.0.len())
    }
}

struct Ids<'a>(&'a [Id]);

impl fmt::Display for Ids<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, id) in self.0.iter().take(IDS_NAMED_MAX).enumerate() {
            let separator = if number == 0 { "" } else { ", " };
            write!(f, "{separator}{id}")?;
        }
        write_rest(f, self.0.len())
    }
}

fn write_rest(f: &mut fmt::Formatter<'_>, count: usize) -> fmt::Result {
    if count > IDS_NAMED_MAX {
        write!(f, " and {} more", count - IDS_NAMED_MAX)?;
    }
    Ok(())
}

/// A snapshot, and what was passed over on the way to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selected<'a> {
    /// The snapshot.
    pub snapshot: &'a StoredSnapshot,
    /// To be shown to the user.
    pub warnings: Vec<SelectionWarning>,
}

/// The snapshot whose id is or begins with `prefix`.
pub fn find_snapshot<'a>(
    list: &[&'a StoredSnapshot],
    prefix: &str,
) -> Result<&'a StoredSnapshot, SelectionError> {
    let digits = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if prefix.is_empty() || prefix.len() > 2 * Id::LEN || !prefix.bytes().all(digits) {
        return Err(SelectionError::NotAnId(prefix.chars().take(80).collect()));
    }
    let found: Vec<&StoredSnapshot> = list
        .iter()
        .filter(|stored| stored.id.to_hex().starts_with(prefix))
        .copied()
        .collect();
    match found.as_slice() {
        [] => Err(SelectionError::NotFound {
            prefix: prefix.to_owned(),
        }),
        [one] => Ok(one),
        several => {
            let mut ids: Vec<Id> = several.iter().map(|stored| stored.id).collect();
            ids.sort();
            Err(SelectionError::Ambiguous {
                prefix: prefix.to_owned(),
                ids,
            })
        }
    }
}

/// The newest snapshot that `filter` lets through and that is not dated in the future.
pub fn select_latest<'a>(
    list: &[&'a StoredSnapshot],
    filter: &SnapshotFilter,
    now: Time,
) -> Result<Selected<'a>, SelectionError> {
    let mut matching: Vec<&StoredSnapshot> = list
        .iter()
        .filter(|stored| filter.matches(&stored.snapshot))
        .copied()
        .collect();
    sort_newest_first(&mut matching);
    let future = matching.partition_point(|stored| stored.is_future(now));
    let passed_over: Vec<(Id, Time)> = matching[..future]
        .iter()
        .map(|stored| (stored.id, stored.snapshot.time))
        .collect();
    match matching.get(future) {
        Some(snapshot) => Ok(Selected {
            snapshot,
            warnings: warn(passed_over),
        }),
        None if passed_over.is_empty() => Err(SelectionError::NoneMatches {
            filter: filter.clone(),
        }),
        None => Err(SelectionError::OnlyFuture {
            snapshots: passed_over,
            now,
        }),
    }
}

pub(super) fn warn(passed_over: Vec<(Id, Time)>) -> Vec<SelectionWarning> {
    if passed_over.is_empty() {
        return Vec::new();
    }
    vec![SelectionWarning::FutureDated {
        snapshots: passed_over,
    }]
}

/// The snapshot that is asked for: `latest` under the filter, or one by its id whatever the filter
/// and its date say.
pub fn resolve_snapshot<'a>(
    list: &[&'a StoredSnapshot],
    request: &SnapshotRequest,
    filter: &SnapshotFilter,
    now: Time,
) -> Result<Selected<'a>, SelectionError> {
    if request.is_latest() {
        return select_latest(list, filter, now);
    }
    Ok(Selected {
        snapshot: find_snapshot(list, &request.snapshot)?,
        warnings: Vec::new(),
    })
}

/// What a backup is about to be, to find the snapshot it should be compared with.
#[derive(Debug, Clone)]
pub struct ParentQuery<'q> {
    /// What the parent has in common with the backup.
    pub group_by: GroupBy,
    /// The backup's host.
    pub hostname: &'q str,
    /// The backup's targets, absolute; a parent must have them all and may have more.
    pub paths: &'q [String],
    /// The backup's tags.
    pub tags: &'q [String],
    /// The backup's time.
    pub time: Time,
    /// Our clock.
    pub now: Time,
}

impl ParentQuery<'_> {
    /// The filter that a parent must pass.
    pub fn filter(&self) -> SnapshotFilter {
        let tags: Vec<String> = self
            .tags
            .iter()
            .filter(|t| !t.is_empty())
            .cloned()
            .collect();
        SnapshotFilter {
            hosts: if self.group_by.host {
                vec![self.hostname.to_owned()]
            } else {
                Vec::new()
            },
            tags: if self.group_by.tags {
                vec![TagList(tags)]
            } else {
                Vec::new()
            },
            paths: if self.group_by.paths {
                self.paths.iter().map(|path| clean_path(path)).collect()
            } else {
                Vec::new()
            },
        }
    }
}

/// The newest snapshot of the backup's group that is neither newer than the backup nor dated in the
/// future, and the snapshots passed over because they are dated in the future.
pub fn select_parent<'a>(
    list: &[&'a StoredSnapshot],
    query: &ParentQuery<'_>,
) -> (Option<&'a StoredSnapshot>, Vec<SelectionWarning>) {
    let filter = query.filter();
    let mut matching: Vec<&StoredSnapshot> = list
        .iter()
        .filter(|stored| filter.matches(&stored.snapshot))
        .copied()
        .collect();
    sort_newest_first(&mut matching);
    let passed_over = matching
        .iter()
        .filter(|stored| stored.is_future(query.now))
        .map(|stored| (stored.id, stored.snapshot.time))
        .collect();
    let parent = matching.into_iter().find(|stored| {
        !stored.is_future(query.now) && stored.snapshot.time.instant() <= query.time.instant()
    });
    (parent, warn(passed_over))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::snapshots::FUTURE_TOLERANCE_SECONDS;
    use crate::snapshots::testing::stored;

    fn now() -> Time {
        "2026-02-01T12:00:00Z".parse().unwrap()
    }

    fn latest(list: &[StoredSnapshot]) -> Result<Selected<'_>, SelectionError> {
        let list: Vec<&StoredSnapshot> = list.iter().collect();
        let request = SnapshotRequest::from("latest");
        resolve_snapshot(&list, &request, &SnapshotFilter::default(), now())
    }

    #[test]
    fn a_snapshot_of_2095_is_never_latest() {
        let list = [
            stored("2026-02-01T11:00:00Z", "h"),
            stored("2095-01-01T00:00:00Z", "h"),
            stored("2026-01-31T11:00:00Z", "h"),
        ];
        let selected = latest(&list).unwrap();
        assert_eq!(selected.snapshot, &list[0]);
        let warning = selected.warnings[0].to_string();
        assert!(warning.contains(&list[1].id.short()), "{warning}");
        assert!(
            warning.starts_with("a snapshot dated in the future was"),
            "{warning}"
        );
        // Its id still gives it.
        let all: Vec<&StoredSnapshot> = list.iter().collect();
        assert_eq!(find_snapshot(&all, &list[1].id.to_hex()), Ok(&list[1]));
    }

    #[test]
    fn only_future_ones_are_an_error_that_names_the_clock() {
        let list = [stored("2095-01-01T00:00:00Z", "h")];
        let error = latest(&list).unwrap_err();
        assert!(matches!(error, SelectionError::OnlyFuture { .. }));
        let text = error.to_string();
        assert!(text.contains("2026-02-01T12:00:00Z") && text.contains(&list[0].id.short()));
        assert!(matches!(
            latest(&[]),
            Err(SelectionError::NoneMatches { .. })
        ));
    }

    #[test]
    fn clocks_may_differ_a_little() {
        let ahead = |seconds: i64| {
            let time = Time::utc(now().seconds() + seconds, 0).to_string();
            latest(&[stored(&time, "h")]).is_ok()
        };
        assert!(ahead(FUTURE_TOLERANCE_SECONDS));
        assert!(!ahead(FUTURE_TOLERANCE_SECONDS + 1));
    }

    #[test]
    fn beginnings_of_ids() {
        let mut list: Vec<StoredSnapshot> = (0..3)
            .map(|_| stored("2026-01-01T00:00:00Z", "h"))
            .collect();
        for (stored, first) in list.iter_mut().zip([0x12, 0x12, 0x34]) {
            let mut bytes = *stored.id.as_bytes();
            bytes[0] = first;
            stored.id = Id::from_bytes(bytes);
        }
        list[0].id = Id::from_bytes([0x12; 32]);
        let all: Vec<&StoredSnapshot> = list.iter().collect();
        assert_eq!(find_snapshot(&all, "34"), Ok(&list[2]));
        assert_eq!(find_snapshot(&all, "1212"), Ok(&list[0]));
        match find_snapshot(&all, "12") {
            Err(SelectionError::Ambiguous { ids, .. }) => assert_eq!(ids.len(), 2),
            other => panic!("{other:?}"),
        }
        assert!(matches!(
            find_snapshot(&all, "ff"),
            Err(SelectionError::NotFound { .. })
        ));
        for bad in ["", "xyz", "12ÿ", "AB", &"1".repeat(65)] {
            assert!(
                matches!(find_snapshot(&all, bad), Err(SelectionError::NotAnId(_))),
                "{bad}"
            );
        }
    }

    #[test]
    fn a_folder_may_follow_a_colon() {
        let request = SnapshotRequest::from("latest:/srv/a:b");
        assert!(request.is_latest());
        assert_eq!(request.subfolder, "/srv/a:b");
        assert_eq!(SnapshotRequest::from("abcd").subfolder, "");
    }

    #[test]
    fn parents_are_of_the_group_and_not_newer_than_the_backup() {
        let mut list = [
            stored("2026-01-01T00:00:00Z", "h"),
            stored("2026-01-02T00:00:00Z", "h"),
            stored("2026-01-03T00:00:00Z", "other"),
            stored("2095-01-03T00:00:00Z", "h"),
        ];
        list[0].snapshot.paths.push("/more".to_owned());
        list[1].snapshot.tags.push("x".to_owned());
        let all: Vec<&StoredSnapshot> = list.iter().collect();
        let data = ["/data/".to_owned()];
        let query = ParentQuery {
            group_by: GroupBy::HOST_AND_PATHS,
            hostname: "h",
            paths: &data,
            tags: &[],
            time: now(),
            now: now(),
        };
        let (parent, warnings) = select_parent(&all, &query);
        assert_eq!(parent, Some(&list[1]));
        assert_eq!(warnings.len(), 1);
        let earlier = ParentQuery {
            time: "2026-01-01T10:00:00Z".parse().unwrap(),
            ..query.clone()
        };
        assert_eq!(select_parent(&all, &earlier).0, Some(&list[0]));
        let any_host = ParentQuery {
            group_by: "paths".parse().unwrap(),
            ..query.clone()
        };
        assert_eq!(select_parent(&all, &any_host).0, Some(&list[2]));
        let tags = ["y".to_owned()];
        let tagged = ParentQuery {
            group_by: "tags".parse().unwrap(),
            tags: &tags,
            ..query
        };
        assert_eq!(select_parent(&all, &tagged).0, None);
    }

    proptest! {
        #[test]
        fn latest_is_the_newest_that_has_been(times in prop::collection::vec(0i64..4_000_000_000, 1..20)) {
            let list: Vec<StoredSnapshot> = times
                .iter()
                .map(|seconds| stored(&Time::utc(*seconds, 0).to_string(), "h"))
                .collect();
            let limit = now().seconds() + FUTURE_TOLERANCE_SECONDS;
            let expected = times.iter().filter(|time| **time <= limit).max();
            let got = latest(&list).ok().map(|s| s.snapshot.snapshot.time.seconds());
            prop_assert_eq!(got.as_ref(), expected);
        }
    }
}
