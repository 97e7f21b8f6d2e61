//! The directories above the snapshots, as restic lays them out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use outlast_format::Time;
use outlast_object::Id;
use outlast_repo::StoredSnapshot;

use super::go_time::format_go_time;

/// Paths that one template may give for one snapshot (one for each tag).
const PATHS_MAX: usize = 1024;

/// What is at a path above the snapshots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Virtual {
    /// A directory with these names.
    Directory(BTreeSet<String>),
    /// The root of a snapshot.
    Snapshot {
        /// The snapshot.
        id: Id,
        /// Its root tree.
        tree: Id,
        /// When it was made.
        time: Time,
    },
    /// A symbolic link to a name beside it.
    Link(String),
}

/// All paths above the snapshots; the root is the empty path, others are `name/name`.
#[derive(Debug, Default)]
pub(super) struct Layout {
    entries: BTreeMap<String, Arc<Virtual>>,
    /// Of the newest snapshot; the directories show it.
    pub time: Option<Time>,
}

impl Layout {
    /// Lays out snapshots by templates.
    pub(super) fn new(
        mut snapshots: Vec<StoredSnapshot>,
        templates: &[String],
        time_template: &str,
    ) -> Self {
        snapshots.sort_by_key(|stored| (stored.snapshot.time.instant(), stored.id));
        let mut layout = Self::default();
        layout.add_directory("");
        for template in templates {
            layout.add_directory(&static_prefix(template));
        }
        // Oldest first, so that each `latest` ends at the newest.
        for stored in &snapshots {
            for template in templates {
                layout.add_snapshot(stored, template, time_template);
            }
        }
        layout.time = snapshots.last().map(|stored| stored.snapshot.time);
        layout
    }

    /// What is at a path.
    pub(super) fn get(&self, path: &str) -> Option<Arc<Virtual>> {
        self.entries.get(path).cloned()
    }

    /// Adds a directory and those above it. `false` where a snapshot is in the way.
    fn add_directory(&mut self, path: &str) -> bool {
        match self.entries.get(path).map(|entry| &**entry) {
            Some(Virtual::Directory(_)) => return true,
            Some(_) => return false,
            None => {}
        }
        let directory = Arc::new(Virtual::Directory(BTreeSet::new()));
        if path.is_empty() {
            self.entries.insert(String::new(), directory);
            return true;
        }
        if !self.add_name(path) {
            return false;
        }
        self.entries.insert(path.to_owned(), directory);
        true
    }

    /// Adds the last part of a path to the directory above it.
    fn add_name(&mut self, path: &str) -> bool {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        if !self.add_directory(parent) {
            return false;
        }
        match self.entries.get_mut(parent).map(Arc::make_mut) {
            Some(Virtual::Directory(names)) => {
                names.insert(name.to_owned());
                true
            }
            _ => false,
        }
    }

    fn add(&mut self, path: &str, entry: Virtual) {
        // A directory that leads to other snapshots stays one.
        let taken = matches!(self.get(path).as_deref(), Some(Virtual::Directory(_)));
        if !path.is_empty() && !taken && self.add_name(path) {
            self.entries.insert(path.to_owned(), Arc::new(entry));
        }
    }

    fn add_snapshot(&mut self, stored: &StoredSnapshot, template: &str, time_template: &str) {
        let time = clean(&format_go_time(stored.snapshot.time, time_template));
        let (prefixes, with_time) = expand(template, stored, &time);
        for prefix in prefixes {
            let mut path = clean(&prefix);
            if with_time {
                path = join(&prefix, &time);
            }
            let path = self.unique(&path);
            let snapshot = Virtual::Snapshot {
                id: stored.id,
                tree: stored.snapshot.tree,
                time: stored.snapshot.time,
            };
            self.add(&path, snapshot);
            // The link lies beside the snapshot; a template whose time has no directory of its own
            // has none.
            if with_time && let Some((folder, name)) = path.rsplit_once('/') {
                let link = format!("{folder}/latest");
                if prefix.ends_with('/') && !time.contains('/') {
                    self.add(&link, Virtual::Link(name.to_owned()));
                }
            }
        }
    }

    /// The path, with a number if it is taken.
    fn unique(&self, path: &str) -> String {
        let mut unique = path.to_owned();
        let mut number = 1;
        while self.entries.contains_key(&unique) {
            unique = format!("{path}-{number}");
            number += 1;
        }
        unique
    }
}

fn join(prefix: &str, name: &str) -> String {
    clean(&format!("{prefix}{name}"))
}

/// Without empty parts, `.` and `..`.
fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// A text as one part of a path.
fn as_name(text: &str) -> String {
    match text {
        "" | "." => "_".to_owned(),
        ".." => "__".to_owned(),
        text => text.replace(['/', '\0'], "_"),
    }
}

/// Replaces the patterns of a template. A time at its end is left to the caller, who is told so.
fn expand(template: &str, stored: &StoredSnapshot, time: &str) -> (Vec<String>, bool) {
    let snapshot = &stored.snapshot;
    let mut paths = vec![String::new()];
    let mut characters = template.chars().peekable();
    while let Some(character) = characters.next() {
        let replacement = match character {
            '%' => match characters.next() {
                Some('T') if characters.peek().is_none() => return (paths, true),
                Some('T') => time.to_owned(),
                Some('t') => {
                    let tags = snapshot.tags.iter().take(PATHS_MAX / paths.len().max(1));
                    let with_tag = |tag: &String| {
                        let tag = as_name(tag);
                        let longer = |path: &String| format!("{path}{tag}");
                        paths.iter().map(longer).collect::<Vec<_>>()
                    };
                    paths = tags.flat_map(with_tag).collect();
                    continue;
                }
                Some('i') => stored.id.short(),
                Some('I') => stored.id.to_hex(),
                Some('u') => as_name(&snapshot.username),
                Some('h') => as_name(&snapshot.hostname),
                Some(other) => other.to_string(),
                None => break,
            },
            other => other.to_string(),
        };
        for path in &mut paths {
            path.push_str(&replacement);
        }
    }
    (paths, false)
}

/// The directories of a template that are there even without a snapshot.
fn static_prefix(template: &str) -> String {
    let end = template
        .match_indices('%')
        .find(|(at, _)| template[at + 1..].starts_with(['i', 'I', 'u', 'h', 't', 'T']));
    let Some((end, _)) = end else {
        return String::new();
    };
    let folder = template[..end].rsplit_once('/');
    folder.map_or_else(String::new, |(folder, _)| clean(folder))
}

#[cfg(test)]
mod tests {
    use outlast_format::Snapshot;
    use outlast_object::hash;

    use super::super::go_time::RFC3339;
    use super::*;

    fn stored(time: &str, host: &str, tags: &[&str]) -> StoredSnapshot {
        let json = format!(r#"{{"time":"{time}","tree":"{}"}}"#, "0".repeat(64));
        let mut snapshot = Snapshot::from_json(json.as_bytes()).unwrap();
        snapshot.hostname = host.to_owned();
        snapshot.tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
        let id = hash(format!("{time}{host}").as_bytes());
        StoredSnapshot { id, snapshot }
    }

    fn names(layout: &Layout, path: &str) -> Vec<String> {
        match layout.get(path).as_deref() {
            Some(Virtual::Directory(names)) => names.iter().cloned().collect(),
            other => panic!("{path}: {other:?}"),
        }
    }

    fn templates() -> Vec<String> {
        ["ids/%i", "snapshots/%T", "hosts/%h/%T", "tags/%t/%T"]
            .map(str::to_owned)
            .to_vec()
    }

    #[test]
    fn snapshots_lie_where_restic_puts_them() {
        let old = stored("2026-01-01T00:00:00Z", "a", &["x", "y/z"]);
        let new = stored("2026-01-02T00:00:00Z", "b", &[]);
        let twin = stored("2026-01-02T00:00:00Z", "c", &[]);
        let all = vec![twin.clone(), new.clone(), old.clone()];
        let layout = Layout::new(all, &templates(), RFC3339);
        assert_eq!(names(&layout, ""), ["hosts", "ids", "snapshots", "tags"]);
        assert_eq!(names(&layout, "hosts"), ["a", "b", "c"]);
        assert_eq!(
            names(&layout, "hosts/a"),
            ["2026-01-01T00:00:00Z", "latest"]
        );
        assert_eq!(names(&layout, "tags"), ["x", "y_z"]);
        assert_eq!(
            names(&layout, "snapshots"),
            [
                "2026-01-01T00:00:00Z",
                "2026-01-02T00:00:00Z",
                "2026-01-02T00:00:00Z-1",
                "latest"
            ]
        );
        let latest = layout.get("snapshots/latest").unwrap();
        assert_eq!(*latest, Virtual::Link("2026-01-02T00:00:00Z-1".to_owned()));
        let by_id = layout.get(&format!("ids/{}", old.id.short())).unwrap();
        assert!(matches!(*by_id, Virtual::Snapshot { id, .. } if id == old.id));
    }

    #[test]
    fn an_empty_repository_has_its_directories_and_hosts_cannot_lead_away() {
        let layout = Layout::new(Vec::new(), &templates(), RFC3339);
        assert_eq!(names(&layout, ""), ["hosts", "ids", "snapshots", "tags"]);
        assert!(names(&layout, "hosts").is_empty());
        let evil = stored("2026-01-01T00:00:00Z", "../../etc", &["..", "", "."]);
        let layout = Layout::new(vec![evil], &templates(), RFC3339);
        assert_eq!(names(&layout, "hosts"), [".._.._etc"]);
        assert_eq!(names(&layout, "tags"), ["_", "__"]);
    }

    #[test]
    fn odd_templates_do_no_harm() {
        let all = vec![
            stored("2026-01-01T00:00:00Z", "a", &[]),
            stored("2026-01-02T00:00:00Z", "b", &[]),
        ];
        for template in [
            "",
            "%",
            "%T",
            "/",
            "x",
            "%h",
            "%h/deep/%i/%T",
            "%T/%i",
            "..",
            "%%%q",
        ] {
            let layout = Layout::new(all.clone(), &[template.to_owned()], "2006/01/02");
            names(&layout, "");
        }
        let layout = Layout::new(all, &["%T".to_owned()], "2006/01/02");
        assert_eq!(names(&layout, "2026/01"), ["01", "02"]);
    }
}
