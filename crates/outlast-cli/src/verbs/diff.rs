//! `diff`: what differs between two snapshots.

use std::os::unix::ffi::OsStrExt;

use clap::Args;
use outlast_ops::choose_snapshot;
use outlast_repo::{Change, DiffEvent, DiffStatistics, SnapshotFilter, diff_trees};
use serde::Serialize;

use crate::context::Context;
use crate::exit::{self, Failure};
use crate::render::{json, message, units};

/// Arguments of `diff`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Show entries of which only metadata differ
    #[arg(long)]
    metadata: bool,
    /// Two snapshots, each with a folder after a colon if wanted
    #[arg(value_name = "SNAPSHOT")]
    snapshots: Vec<String>,
}

#[derive(Serialize)]
struct ChangeMessage<'a> {
    message_type: &'static str,
    path: &'a str,
    modifier: &'a str,
}

#[derive(Serialize)]
struct Statistics<'a> {
    message_type: &'static str,
    source_snapshot: &'a str,
    target_snapshot: &'a str,
    #[serde(flatten)]
    statistics: DiffStatistics,
}

/// Compares two snapshots.
pub fn run(context: &Context, arguments: &Arguments) -> Result<u8, Failure> {
    let [first, second] = arguments.snapshots.as_slice() else {
        return Err(Failure::new("specify two snapshot IDs"));
    };
    let session = context.open()?;
    let _lock = session.lock_for_reading()?;
    let all = SnapshotFilter::default();
    let names = (first.as_str(), second.as_str());
    let first = choose_snapshot(&session, first, &all)?;
    let second = choose_snapshot(&session, second, &all)?;
    session.load_index()?;
    let (old, new) = (first.tree(&session)?, second.tree(&session)?);
    if context.is_talkative() {
        message::line(format!(
            "comparing snapshot {} to {}:\n",
            first.stored.id.short(),
            second.stored.id.short()
        ));
    }
    let is_json = context.global.json;
    let mut problems = 0;
    let mut report = |event: DiffEvent| match event {
        DiffEvent::Change(change) => print_change(is_json, &change),
        DiffEvent::Problem { path, problem } => {
            problems += 1;
            message::warning(&format!("{}: {problem}", path.display()));
        }
        DiffEvent::SizeUnknown(handle) => {
            problems += 1;
            message::warning(&format!("{handle} is missing: no index lists it"));
        }
    };
    let (repository, cancel) = (session.repository(), session.cancel());
    let metadata = arguments.metadata;
    let statistics = diff_trees(repository, old, new, metadata, cancel, &mut report)?;
    print_statistics(context, names, statistics);
    if problems > 0 {
        return Err(Failure::new(format!(
            "{problems} places are damaged and could not be compared"
        ))
        .hint("`outlast check` tells what is damaged, docs/damage.md what to do"));
    }
    Ok(exit::OK)
}

fn print_change(is_json: bool, change: &Change) {
    if is_json {
        json::print(&ChangeMessage {
            message_type: "change",
            path: &change.path.to_string_lossy(),
            modifier: change.modifier.as_str(),
        });
    } else {
        let mut line = format!("{:<5}", change.modifier.as_str()).into_bytes();
        line.extend_from_slice(change.path.as_os_str().as_bytes());
        message::raw_line(&line);
    }
}

fn print_statistics(context: &Context, (first, second): (&str, &str), statistics: DiffStatistics) {
    let DiffStatistics {
        changed_files,
        added,
        removed,
    } = statistics;
    if context.global.json {
        json::print(&Statistics {
            message_type: "statistics",
            source_snapshot: first,
            target_snapshot: second,
            statistics,
        });
        return;
    }
    if !context.is_talkative() {
        return;
    }
    message::line("");
    let row =
        |what: &str, new: u64, gone: u64| format!("{what:<12}{new:>6} new, {gone:>5} removed");
    message::line(format!(
        "{}, {:>5} changed",
        row("Files:", added.files, removed.files),
        changed_files
    ));
    message::line(row("Dirs:", added.dirs, removed.dirs));
    message::line(row("Others:", added.others, removed.others));
    message::line(row("Data Blobs:", added.data_blobs, removed.data_blobs));
    message::line(row("Tree Blobs:", added.tree_blobs, removed.tree_blobs));
    message::line(format!("  Added:   {}", units::bytes(added.bytes)));
    message::line(format!("  Removed: {}", units::bytes(removed.bytes)));
}
