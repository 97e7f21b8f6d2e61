//! Filters by host, tags and paths.

use std::fmt;

use outlast_format::Snapshot;

/// Tags that a snapshot must all have, as in `--tag a,b`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct TagList(pub Vec<String>);

impl From<&str> for TagList {
    /// Splits at commas; space around a tag is dropped. The empty text is the list of one empty
    /// tag, which stands for "no tags at all".
    fn from(text: &str) -> Self {
        Self(text.split(',').map(|tag| tag.trim().to_owned()).collect())
    }
}

impl TagList {
    /// Whether the snapshot has all tags of the list. An empty tag is had by snapshots without any,
    /// and ends the comparison, as in restic.
    pub fn matches(&self, snapshot: &Snapshot) -> bool {
        for tag in &self.0 {
            if tag.is_empty() && snapshot.tags.is_empty() {
                return true;
            }
            if !snapshot.tags.contains(tag) {
                return false;
            }
        }
        true
    }
}

impl fmt::Display for TagList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}]", self.0.join(", "))
    }
}

/// Several tag lists, for messages.
pub(crate) struct TagLists<'a>(pub(crate) &'a [TagList]);

impl fmt::Display for TagLists<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lists: Vec<String> = self.0.iter().map(TagList::to_string).collect();
        write!(f, "[{}]", lists.join(" "))
    }
}

/// Which snapshots are meant. The default lets all through.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SnapshotFilter {
    /// Any of these hosts; all hosts if empty.
    pub hosts: Vec<String>,
    /// All tags of any of these lists; any tags if empty.
    pub tags: Vec<TagList>,
    /// All of these paths.
    pub paths: Vec<String>,
}

impl SnapshotFilter {
    /// Whether it lets everything through because nothing was asked for.
    pub fn is_empty(&self) -> bool {
        self.hosts.is_empty() && self.tags.is_empty() && self.paths.is_empty()
    }

    /// Whether the snapshot is meant.
    pub fn matches(&self, snapshot: &Snapshot) -> bool {
        let host = self.hosts.is_empty() || self.hosts.contains(&snapshot.hostname);
        let tags = self.tags.is_empty() || self.tags.iter().any(|list| list.matches(snapshot));
        host && tags && self.paths.iter().all(|path| snapshot.paths.contains(path))
    }

    /// The filter as `latest` takes it: paths made absolute from `working_directory` and cleaned.
    pub fn with_absolute_paths(&self, working_directory: &str) -> Self {
        let absolute = |path: &String| {
            if path.starts_with('/') {
                clean_path(path)
            } else {
                clean_path(&format!("{working_directory}/{path}"))
            }
        };
        Self {
            paths: self.paths.iter().map(absolute).collect(),
            ..self.clone()
        }
    }
}

impl fmt::Display for SnapshotFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "(Paths:[{}] Tags:{} Hosts:[{}])",
            self.paths.join(" "),
            TagLists(&self.tags),
            self.hosts.join(" ")
        )
    }
}

/// The shortest path that says the same: no `.`, no `..` where it can be resolved, no doubled or
/// trailing slash. Symbolic links are not looked at.
pub fn clean_path(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => match parts.last() {
                Some(&"..") | None if !rooted => parts.push(".."),
                Some(_) => {
                    parts.pop();
                }
                None => {}
            },
            part => parts.push(part),
        }
    }
    let joined = parts.join("/");
    match (rooted, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshots::testing::stored;

    fn tagged(tags: &[&str]) -> Snapshot {
        let mut snapshot = stored("2025-01-01T00:00:00Z", "web").snapshot;
        snapshot.tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
        snapshot
    }

    #[test]
    fn tag_lists_need_all_of_one_list() {
        let snapshot = tagged(&["a", "b"]);
        for (lists, expected) in [
            (&["a"][..], true),
            (&["a,b"], true),
            (&["a, c"], false),
            (&["c", "b"], true),
            (&[""], false),
            (&[], true),
        ] {
            let filter = SnapshotFilter {
                tags: lists.iter().map(|list| TagList::from(*list)).collect(),
                ..SnapshotFilter::default()
            };
            assert_eq!(filter.matches(&snapshot), expected, "{lists:?}");
        }
        assert!(TagList::from("").matches(&tagged(&[])));
        assert!(!TagList::from("a,").matches(&tagged(&[])));
        assert!(TagList::from(",a").matches(&tagged(&[])));
    }

    #[test]
    fn hosts_are_alternatives_and_paths_are_not() {
        let mut snapshot = tagged(&[]);
        snapshot.paths = vec!["/a".to_owned(), "/b".to_owned()];
        let filter = |hosts: &[&str], paths: &[&str]| SnapshotFilter {
            hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
            tags: Vec::new(),
            paths: paths.iter().map(|path| (*path).to_owned()).collect(),
        };
        assert!(filter(&["db", "web"], &["/b"]).matches(&snapshot));
        assert!(filter(&[], &["/b", "/a"]).matches(&snapshot));
        assert!(!filter(&["db"], &[]).matches(&snapshot));
        assert!(!filter(&[], &["/a", "/c"]).matches(&snapshot));
        assert!(!filter(&[], &["/"]).matches(&snapshot));
        assert_eq!(
            filter(&["db"], &["x/../y/"])
                .with_absolute_paths("/home/u/")
                .paths,
            ["/home/u/y"]
        );
        assert_eq!(
            filter(&["db"], &["/a"]).to_string(),
            "(Paths:[/a] Tags:[] Hosts:[db])"
        );
    }

    #[test]
    fn paths_are_cleaned_lexically() {
        for (path, clean) in [
            ("/", "/"),
            ("//a//b/", "/a/b"),
            ("/../a", "/a"),
            ("/a/./b/../c", "/a/c"),
            ("", "."),
            ("a/..", "."),
            ("../../a", "../../a"),
            ("a/../../b", "../b"),
        ] {
            assert_eq!(clean_path(path), clean, "{path}");
        }
    }
}
