//! Grouping snapshots by host, paths and tags.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use super::{StoredSnapshot, sort_newest_first};

/// What snapshots of a group have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GroupBy {
    /// The host.
    pub host: bool,
    /// The set of paths.
    pub paths: bool,
    /// The set of tags.
    pub tags: bool,
}

/// The text names something else than `host`, `paths` and `tags`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown grouping option: {0:?}")]
pub struct ParseGroupByError(pub String);

impl GroupBy {
    /// What backup, forget and most others use when nothing is said.
    pub const HOST_AND_PATHS: GroupBy = GroupBy {
        host: true,
        paths: true,
        tags: false,
    };

    /// Whether there is more than one group at all.
    pub fn is_grouping(&self) -> bool {
        self.host || self.paths || self.tags
    }
}

impl FromStr for GroupBy {
    type Err = ParseGroupByError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut by = GroupBy::default();
        for word in text.split(',') {
            match word {
                "host" | "hosts" => by.host = true,
                "path" | "paths" => by.paths = true,
                "tag" | "tags" => by.tags = true,
                "" => {}
                other => return Err(ParseGroupByError(other.chars().take(64).collect())),
            }
        }
        Ok(by)
    }
}

impl fmt::Display for GroupBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = [
            (self.host, "host"),
            (self.paths, "paths"),
            (self.tags, "tags"),
        ];
        let used: Vec<&str> = words.iter().filter(|w| w.0).map(|w| w.1).collect();
        f.write_str(&used.join(","))
    }
}

/// What names a group. As JSON it is restic's `group_key`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize)]
pub struct GroupKey {
    /// The host; empty if it does not matter.
    pub hostname: String,
    /// The paths, sorted; `None` if they do not matter.
    pub paths: Option<Vec<String>>,
    /// The tags, sorted; `None` if they do not matter or there are none.
    pub tags: Option<Vec<String>>,
}

impl GroupKey {
    fn of(stored: &StoredSnapshot, by: GroupBy) -> Self {
        let sorted = |list: &[String]| {
            let mut list = list.to_vec();
            list.sort();
            list
        };
        let snapshot = &stored.snapshot;
        Self {
            hostname: if by.host {
                snapshot.hostname.clone()
            } else {
                String::new()
            },
            paths: by.paths.then(|| sorted(&snapshot.paths)),
            tags: (by.tags && !snapshot.tags.is_empty()).then(|| sorted(&snapshot.tags)),
        }
    }
}

impl fmt::Display for GroupKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if !self.hostname.is_empty() {
            parts.push(format!("host {}", self.hostname));
        }
        for (word, list) in [("path", &self.paths), ("tags", &self.tags)] {
            if let Some(list) = list.as_ref().filter(|list| !list.is_empty()) {
                parts.push(format!("{word} [{}]", list.join(" ")));
            }
        }
        f.write_str(&parts.join(", "))
    }
}

/// Snapshots that belong together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotGroup<'a> {
    /// What they have in common.
    pub key: GroupKey,
    /// The snapshots, newest first.
    pub snapshots: Vec<&'a StoredSnapshot>,
}

/// Sorts snapshots into groups. The groups come in the order of their keys.
pub fn group_snapshots<'a>(list: &[&'a StoredSnapshot], by: GroupBy) -> Vec<SnapshotGroup<'a>> {
    let mut groups: BTreeMap<GroupKey, Vec<&'a StoredSnapshot>> = BTreeMap::new();
    for stored in list {
        groups
            .entry(GroupKey::of(stored, by))
            .or_default()
            .push(stored);
    }
    groups
        .into_iter()
        .map(|(key, mut snapshots)| {
            sort_newest_first(&mut snapshots);
            SnapshotGroup { key, snapshots }
        })
        .collect()
}

/// The `count` newest snapshots of each host and set of paths, newest first: what
/// `snapshots --latest` shows when it does not group.
pub fn newest_of_each<'a>(list: &[&'a StoredSnapshot], count: usize) -> Vec<&'a StoredSnapshot> {
    let mut newest: Vec<&StoredSnapshot> = group_snapshots(list, GroupBy::HOST_AND_PATHS)
        .into_iter()
        .flat_map(|group| group.snapshots.into_iter().take(count))
        .collect();
    sort_newest_first(&mut newest);
    newest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshots::testing::stored;

    #[test]
    fn words_parse_and_show() {
        for (text, shown) in [
            ("host,paths", "host,paths"),
            ("tags,path,hosts", "host,paths,tags"),
            ("", ""),
            ("tag,", "tags"),
        ] {
            assert_eq!(text.parse::<GroupBy>().unwrap().to_string(), shown);
        }
        assert!("hostname".parse::<GroupBy>().is_err());
        assert!(!GroupBy::default().is_grouping());
    }

    #[test]
    fn order_of_paths_and_tags_does_not_matter() {
        let mut a = stored("2025-01-01T00:00:00Z", "h");
        let mut b = stored("2025-01-02T00:00:00Z", "h");
        let c = stored("2025-01-03T00:00:00Z", "h");
        a.snapshot.paths = vec!["/b".into(), "/a".into()];
        a.snapshot.tags = vec!["y".into(), "x".into()];
        b.snapshot.paths = vec!["/a".into(), "/b".into()];
        b.snapshot.tags = vec!["x".into(), "y".into()];
        let by = "host,paths,tags".parse().unwrap();
        let groups = group_snapshots(&[&a, &b, &c], by);
        assert_eq!(groups.len(), 2);
        assert_eq!(groups[0].snapshots, [&b, &a]);
        assert_eq!(
            serde_json::to_string(&groups[0].key).unwrap(),
            r#"{"hostname":"h","paths":["/a","/b"],"tags":["x","y"]}"#
        );
        assert_eq!(
            groups[0].key.to_string(),
            "host h, path [/a /b], tags [x y]"
        );
        assert_eq!(
            serde_json::to_string(&groups[1].key).unwrap(),
            r#"{"hostname":"h","paths":["/data"],"tags":null}"#
        );
        let all = group_snapshots(&[&a, &b, &c], GroupBy::default());
        assert_eq!(all.len(), 1);
        assert_eq!(all[0].snapshots, [&c, &b, &a]);
        assert_eq!(
            serde_json::to_string(&all[0].key).unwrap(),
            r#"{"hostname":"","paths":null,"tags":null}"#
        );
        assert_eq!(newest_of_each(&[&a, &b, &c], 1), [&c, &b]);
    }
}
