//! Histories of snapshots as they come about: schedules, retries, moves, and what others plant.

use outlast_format::{Snapshot, SnapshotSummary, Time};
use outlast_object::{Id, hash};
use outlast_repo::{Admission, GroupBy, ParentQuery, StoredSnapshot, select_parent};
use proptest::prelude::*;

pub const HOUR: i64 = 3600;
pub const DAY: i64 = 24 * HOUR;
/// The present of the tests: a Wednesday in 2026.
pub const NOW: i64 = 1_780_480_800;

/// What kind of life a repository has led.
#[derive(Debug, Clone, Copy)]
pub enum Style {
    /// One backup a day, at night.
    Daily { days: usize },
    /// One backup in so many seconds.
    Every { seconds: i64, count: usize },
    /// A few attempts on the first afternoon, then daily.
    FirstWeek { attempts: usize, days: usize },
    /// Whenever somebody opens the lid: sessions with a backup in half an hour, and pauses.
    Laptop { sessions: usize },
    /// Weekly, then daily, then hourly.
    Faster { each: usize },
    /// One schedule, and now and then somebody repeats a backup by hand.
    Retries { days: usize },
    /// Some hosts at the same minute of each night.
    Fleet { hosts: usize, days: usize },
    /// A script that backs up one directory after the other, each night.
    Script { directories: usize, days: usize },
    /// A history copied from another repository at once, and daily backups since.
    Moved { copied: usize, days: usize },
    /// Daily backups that once took longer than a day.
    LongRun { days: usize, at: usize },
    /// Two schedules for the same directory, told apart by tags in the choice of parents.
    TwoTags { days: usize },
}

impl Style {
    pub fn any() -> impl Strategy<Value = Style> {
        prop_oneof![
            (1usize..80).prop_map(|days| Style::Daily { days }),
            (
                prop::sample::select(vec![300, 900, HOUR, 6 * HOUR, 7 * DAY, 30 * DAY]),
                1usize..250
            )
                .prop_map(|(seconds, count)| Style::Every { seconds, count }),
            (1usize..6, 0usize..10)
                .prop_map(|(attempts, days)| Style::FirstWeek { attempts, days }),
            (1usize..20).prop_map(|sessions| Style::Laptop { sessions }),
            (1usize..30).prop_map(|each| Style::Faster { each }),
            (1usize..60).prop_map(|days| Style::Retries { days }),
            (2usize..12, 1usize..20).prop_map(|(hosts, days)| Style::Fleet { hosts, days }),
            (2usize..20, 1usize..12)
                .prop_map(|(directories, days)| Style::Script { directories, days }),
            (1usize..80, 0usize..20).prop_map(|(copied, days)| Style::Moved { copied, days }),
            (3usize..40, 1usize..30).prop_map(|(days, at)| Style::LongRun { days, at }),
            (2usize..40).prop_map(|days| Style::TwoTags { days }),
        ]
    }
}

/// A repository's snapshots, oldest first, and when a store would have admitted each.
pub struct History {
    pub snapshots: Vec<StoredSnapshot>,
    pub admissions: Vec<Admission>,
    pub clock: i64,
    random: u64,
}

impl History {
    pub fn new(seed: u64) -> Self {
        Self {
            snapshots: Vec::new(),
            admissions: Vec::new(),
            clock: 0,
            random: seed | 1,
        }
    }

    fn below(&mut self, limit: i64) -> i64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 11) as i64 % limit
    }

    fn store(&mut self, snapshot: Snapshot, seen: i64) -> StoredSnapshot {
        let number = self.admissions.len();
        let id = hash(format!("{number} {}", self.random).as_bytes());
        let seen = Time::utc(seen, 0);
        self.admissions.push(Admission { id, seen });
        StoredSnapshot { id, snapshot }
    }

    /// A backup that begins at `start` and runs for some seconds. What is not yet finished at its
    /// start cannot be its parent.
    fn backup(&mut self, (host, path, tag): (&str, &str, &str), start: i64, runs: i64) {
        let visible: Vec<StoredSnapshot> = self
            .snapshots
            .iter()
            .filter(|stored| end(stored) <= start)
            .cloned()
            .collect();
        let (paths, tags) = (vec![path.to_owned()], vec![tag.to_owned()]);
        let time = Time::utc(start, self.below(1_000_000_000) as u32);
        let query = ParentQuery {
            group_by: GroupBy {
                tags: true,
                ..GroupBy::HOST_AND_PATHS
            },
            hostname: host,
            paths: &paths,
            tags: &tags,
            time,
            now: time,
        };
        let list: Vec<&StoredSnapshot> = visible.iter().collect();
        let parent = select_parent(&list, &query).0.map(|parent| parent.id);
        let mut snapshot = snapshot(host, path, time);
        snapshot.parent = parent;
        snapshot.tags = if tag.is_empty() { Vec::new() } else { tags };
        snapshot.summary = Some(summary(start, start + runs));
        let stored = self.store(snapshot, start + runs);
        self.snapshots.push(stored);
        self.clock = self.clock.max(start + runs + 1);
    }

    /// A snapshot that somebody adds now with a date of their choice; by stock restic it gets the
    /// parent that fits the date and true running times, by hand it gets neither.
    pub fn plant(&mut self, claimed: i64, by_restic: bool) -> StoredSnapshot {
        let victim = self.snapshots.last().unwrap().snapshot.clone();
        let mut planted = snapshot(&victim.hostname, &victim.paths[0], Time::utc(claimed, 0));
        planted.paths = victim.paths.clone();
        planted.tags = victim.tags.clone();
        planted.summary = Some(summary(NOW, NOW + 1));
        if by_restic {
            let older = self.snapshots.iter().rev();
            let mut older = older.filter(|stored| stored.snapshot.time.seconds() <= claimed);
            planted.parent = older.next().map(|stored| stored.id);
        }
        self.store(planted, NOW)
    }

    /// Lives through a style up to the present, calling `each` after every backup.
    pub fn live(&mut self, style: Style, mut each: impl FnMut(&mut History)) {
        let one = ("web", "/data", "");
        match style {
            Style::Daily { days } => self.steady(one, DAY, days, NOW, &mut each),
            Style::Every { seconds, count } => self.steady(one, seconds, count, NOW, &mut each),
            Style::FirstWeek { attempts, days } => {
                let first = NOW - days as i64 * DAY - 5 * HOUR;
                for attempt in 0..attempts {
                    self.backup(one, first + attempt as i64 * 40, 5);
                    each(self);
                }
                self.steady(one, DAY, days, NOW, &mut each);
            }
            Style::Laptop { sessions } => self.laptop(sessions, &mut each),
            Style::Faster { each: count } => {
                let spans = [7 * DAY, DAY, HOUR];
                let mut left: i64 = spans.iter().map(|span| span * count as i64).sum();
                for span in spans {
                    left -= span * count as i64;
                    self.steady(one, span, count, NOW - left, &mut each);
                }
            }
            Style::Retries { days } => {
                for day in (0..days as i64).rev() {
                    let start = NOW - day * DAY - 5 * HOUR;
                    let retries = if self.below(5) == 0 { self.below(5) } else { 0 };
                    for retry in 0..=retries {
                        self.backup(one, start + retry * 60, 20);
                        each(self);
                    }
                }
            }
            Style::Fleet { hosts, days } => {
                self.nightly(
                    days,
                    hosts,
                    |number| (format!("host{number}"), "/data".into()),
                    &mut each,
                );
            }
            Style::Script { directories, days } => {
                let names = |number| ("web".into(), format!("/srv/{number}"));
                self.nightly(days, directories, names, &mut each);
            }
            Style::Moved { copied, days } => {
                let moved = NOW - days as i64 * DAY - 10 * HOUR;
                for number in (0..copied as i64).rev() {
                    let time = Time::utc(moved - number * DAY - HOUR, 0);
                    let mut snapshot = snapshot("web", "/data", time);
                    snapshot.original = Some(hash(&number.to_le_bytes()));
                    let stored = self.store(snapshot, moved + number % 7);
                    self.snapshots.push(stored);
                }
                self.clock = moved + 10;
                each(self);
                self.steady(one, DAY, days, NOW, &mut each);
            }
            Style::LongRun { days, at } => {
                for day in (0..days as i64).rev() {
                    let runs = if day == at as i64 {
                        DAY + 2 * HOUR
                    } else {
                        600
                    };
                    self.backup(one, NOW - day * DAY - 5 * HOUR, runs);
                    each(self);
                }
            }
            Style::TwoTags { days } => {
                for day in (0..days as i64).rev() {
                    self.backup(("web", "/data", "full"), NOW - day * DAY - 9 * HOUR, 600);
                    each(self);
                    self.backup(("web", "/data", "quick"), NOW - day * DAY - 5 * HOUR, 600);
                    each(self);
                }
            }
        }
    }

    fn steady(
        &mut self,
        what: (&str, &str, &str),
        span: i64,
        count: usize,
        end: i64,
        each: &mut impl FnMut(&mut History),
    ) {
        for number in (0..count as i64).rev() {
            let late = self.below(60);
            let runs = 1 + self.below(span / 3);
            self.backup(what, end - number * span - span / 2 + late, runs);
            each(self);
        }
    }

    fn laptop(&mut self, sessions: usize, each: &mut impl FnMut(&mut History)) {
        let mut starts = vec![NOW - 6 * HOUR];
        for _ in 1..sessions {
            let pause = 14 * HOUR + self.below(5 * DAY);
            starts.push(starts[starts.len() - 1] - pause);
        }
        for start in starts.into_iter().rev() {
            for number in 0..1 + self.below(10) {
                self.backup(("lap", "/home", ""), start + number * 1800, 30);
                each(self);
            }
        }
    }

    fn nightly(
        &mut self,
        days: usize,
        count: usize,
        name: impl Fn(usize) -> (String, String),
        each: &mut impl FnMut(&mut History),
    ) {
        for day in (0..days as i64).rev() {
            for number in 0..count {
                let (host, path) = name(number);
                let start = NOW - day * DAY - 5 * HOUR + number as i64 * 20;
                self.backup((&host, &path, ""), start, 15);
            }
            each(self);
        }
    }
}

fn end(stored: &StoredSnapshot) -> i64 {
    let summary = stored.snapshot.summary.as_ref();
    summary.map_or(stored.snapshot.time.seconds(), |s| s.backup_end.seconds())
}

fn summary(start: i64, end: i64) -> SnapshotSummary {
    SnapshotSummary {
        backup_start: Time::utc(start, 0),
        backup_end: Time::utc(end, 0),
        files_new: 0,
        files_changed: 0,
        files_unmodified: 0,
        dirs_new: 0,
        dirs_changed: 0,
        dirs_unmodified: 0,
        data_blobs: 0,
        tree_blobs: 0,
        data_added: 0,
        data_added_packed: 0,
        total_files_processed: 0,
        total_bytes_processed: 0,
    }
}

fn snapshot(host: &str, path: &str, time: Time) -> Snapshot {
    Snapshot {
        time,
        parent: None,
        tree: Id::from_bytes([1; 32]),
        paths: vec![path.to_owned()],
        hostname: host.to_owned(),
        username: String::new(),
        uid: 0,
        gid: 0,
        excludes: Vec::new(),
        tags: Vec::new(),
        original: None,
        program_version: String::new(),
        summary: None,
    }
}
