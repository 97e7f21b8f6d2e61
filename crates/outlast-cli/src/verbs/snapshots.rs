//! `snapshots`: what was backed up when.

use clap::Args;
use outlast_ops::{Session, stored_snapshots};
use outlast_repo::{
    GroupBy, GroupKey, StoredSnapshot, find_snapshot, group_snapshots, newest_of_each,
};
use serde::Serialize;

use super::clean;
use crate::args::FilterArguments;
use crate::context::Context;
use crate::exit::{self, Failure};
use crate::render::json::SnapshotItem;
use crate::render::table::Table;
use crate::render::{json, message, units};

/// Arguments of `snapshots`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    filter: FilterArguments,
    /// Show less, so that lines stay short
    #[arg(short, long)]
    compact: bool,
    /// Group by host, paths and tags, separated by commas
    #[arg(
        short,
        long,
        default_value = "",
        value_name = "GROUP",
        hide_default_value = true
    )]
    group_by: String,
    /// Only the newest so many for each host and path
    #[arg(long, default_value_t = 0, value_name = "N", hide_default_value = true)]
    latest: usize,
    /// Ids of snapshots, or `latest`
    ids: Vec<String>,
}

#[derive(Serialize)]
struct Group<'a> {
    group_key: &'a GroupKey,
    snapshots: Vec<SnapshotItem<'a>>,
}

/// Lists snapshots.
pub fn run(context: &Context, arguments: &Arguments) -> Result<u8, Failure> {
    let group_by: GroupBy = arguments
        .group_by
        .parse()
        .map_err(|error| Failure::new(format!("{error}")))?;
    let session = context.open()?;
    let _lock = session.lock_for_reading()?;
    let all = stored_snapshots(session.repository(), session.cancel())?;
    let now = session.repository().environment().clock.now();
    let mut chosen = choose(&session, &all, arguments);
    if arguments.latest > 0 && !group_by.is_grouping() {
        chosen = newest_of_each(&chosen, arguments.latest);
    }
    outlast_repo::sort_oldest_first(&mut chosen);
    let groups: Vec<(GroupKey, Vec<&StoredSnapshot>)> = if group_by.is_grouping() {
        let groups = group_snapshots(&chosen, group_by).into_iter();
        let newest = |mut list: Vec<_>| {
            if arguments.latest > 0 {
                list.truncate(arguments.latest);
            }
            outlast_repo::sort_oldest_first(&mut list);
            list
        };
        groups
            .map(|group| (group.key, newest(group.snapshots)))
            .collect()
    } else {
        vec![(GroupKey::default(), chosen)]
    };
    if context.global.json {
        print_json(&groups, group_by.is_grouping());
    } else {
        for (key, list) in &groups {
            if group_by.is_grouping() {
                message::line(format!("snapshots for ({key}):"));
            }
            print_table(list, arguments.compact, now);
        }
    }
    Ok(exit::OK)
}

fn choose<'a>(
    session: &Session,
    all: &'a [StoredSnapshot],
    arguments: &Arguments,
) -> Vec<&'a StoredSnapshot> {
    let list: Vec<&StoredSnapshot> = all.iter().collect();
    let filter = arguments.filter.filter();
    if arguments.ids.is_empty() {
        return list
            .into_iter()
            .filter(|stored| filter.matches(&stored.snapshot))
            .collect();
    }
    let mut chosen: Vec<&StoredSnapshot> = Vec::new();
    for id in &arguments.ids {
        let found = if id == "latest" {
            session
                .resolve(&list, &id.as_str().into(), &filter)
                .map(|selected| selected.snapshot)
        } else {
            find_snapshot(&list, id)
        };
        match found {
            Ok(stored) if chosen.iter().all(|known| known.id != stored.id) => chosen.push(stored),
            Ok(_) => {}
            // As in restic, one id that is not there does not hide the others.
            Err(error) => message::warning(&format!("{id}: {error}")),
        }
    }
    chosen
}

fn print_json(groups: &[(GroupKey, Vec<&StoredSnapshot>)], grouped: bool) {
    if grouped {
        let shown: Vec<Group<'_>> = groups
            .iter()
            .map(|(group_key, list)| Group {
                group_key,
                snapshots: list
                    .iter()
                    .map(|stored| SnapshotItem::new(stored.id, &stored.snapshot))
                    .collect(),
            })
            .collect();
        json::print(&shown);
    } else {
        let list = groups.iter().flat_map(|(_, list)| list);
        let shown: Vec<SnapshotItem<'_>> = list
            .map(|stored| SnapshotItem::new(stored.id, &stored.snapshot))
            .collect();
        json::print(&shown);
    }
}

/// Prints snapshots as a table.
pub fn print_table(list: &[&StoredSnapshot], compact: bool, now: outlast_format::Time) {
    let heading: &[&str] = if compact {
        &["ID", "Time", "Host", "Tags", "Size"]
    } else {
        &["ID", "Time", "Host", "Tags", "Paths", "Size"]
    };
    let mut table = Table::new(heading);
    for stored in list {
        let snapshot = &stored.snapshot;
        let size = snapshot
            .summary
            .as_ref()
            .map(|summary| units::bytes(summary.total_bytes_processed));
        let mut time = units::time(snapshot.time);
        if stored.is_future(now) {
            time.push_str(" (in the future!)");
        }
        let mut row = vec![stored.id.short(), time, clean(&snapshot.hostname)];
        if compact {
            row.push(clean(&snapshot.tags.join(",")));
        } else {
            row.push(
                snapshot
                    .tags
                    .iter()
                    .map(|tag| clean(tag))
                    .collect::<Vec<_>>()
                    .join("\n"),
            );
            row.push(
                snapshot
                    .paths
                    .iter()
                    .map(|path| clean(path))
                    .collect::<Vec<_>>()
                    .join("\n"),
            );
        }
        row.push(size.unwrap_or_default());
        table.push(row);
    }
    for line in table.lines() {
        message::line(line);
    }
    message::line(format!("{} snapshots", list.len()));
}
