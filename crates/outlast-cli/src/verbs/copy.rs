//! `copy`: brings snapshots over from another repository.

use clap::Args;
use outlast_object::Id;
use outlast_ops::stored_snapshots;
use outlast_repo::{CopyObserver, Progress, RepoError, Stage, StoredSnapshot, copy};
use serde::Serialize;

use super::init::FromArguments;
use super::prune::StageProgress;
use crate::args::FilterArguments;
use crate::context::Context;
use crate::exit::{self, Failure};
use crate::render::{json, message, units};

/// Arguments of `copy`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The other repository
    #[command(flatten)]
    from: FromArguments,
    #[command(flatten)]
    filter: FilterArguments,
    /// Snapshots to copy; all if none is named
    #[arg(value_name = "SNAPSHOT")]
    ids: Vec<String>,
}

struct Display {
    stages: StageProgress,
    is_talkative: bool,
}

impl Progress for Display {
    fn begin(&self, stage: Stage, steps: u64) {
        self.stages.begin(stage, steps);
    }

    fn advance(&self, stage: Stage, steps: u64) {
        self.stages.advance(stage, steps);
    }
}

impl CopyObserver for Display {
    fn snapshot_skipped(&self, snapshot: &StoredSnapshot, existing: Id) {
        if self.is_talkative {
            let (old, new) = (snapshot.id.short(), existing.short());
            message::line(format!(
                "skipping snapshot {old}, it was already copied as {new}"
            ));
        }
    }

    fn snapshot_copied(&self, snapshot: &StoredSnapshot, new: Id) {
        if self.is_talkative {
            message::line(format!(
                "snapshot {} was copied and is kept as {}",
                snapshot.id.short(),
                new.short()
            ));
        }
    }

    fn snapshot_failed(&self, snapshot: &StoredSnapshot, error: &RepoError) {
        message::warning(&format!(
            "snapshot {} could not be copied: {error}",
            snapshot.id.short()
        ));
    }
}

#[derive(Serialize)]
struct Summary {
    message_type: &'static str,
    snapshots_copied: usize,
    snapshots_skipped: usize,
    snapshots_failed: usize,
    data_added: u64,
    data_added_packed: u64,
}

/// Copies snapshots from the other repository into this one.
pub fn run(context: &Context, arguments: &Arguments) -> Result<u8, Failure> {
    let source = arguments.from.open(context)?;
    let destination = context.open()?;
    let _source_lock = source.lock_for_reading()?;
    let _lock = destination.lock_shared()?;
    let chosen = choose(&source, arguments)?;
    if chosen.is_empty() {
        return Err(Failure::new(
            "no snapshot of the source repository was chosen",
        ));
    }
    source.load_index()?;
    destination.load_trusted_index()?;
    let display = Display {
        stages: StageProgress::new(context),
        is_talkative: context.is_talkative(),
    };
    let result = copy(
        source.repository(),
        destination.repository(),
        &chosen,
        &display,
        &context.cancel,
    );
    display.stages.clear();
    let outcome = result?;
    if context.global.json {
        json::print(&Summary {
            message_type: "summary",
            snapshots_copied: outcome.copied.len(),
            snapshots_skipped: outcome.skipped.len(),
            snapshots_failed: outcome.failed.len(),
            data_added: outcome.stored.bytes_added,
            data_added_packed: outcome.stored.bytes_stored,
        });
    } else if context.is_talkative() {
        let (added, stored) = (
            units::bytes(outcome.stored.bytes_added),
            units::bytes(outcome.stored.bytes_stored),
        );
        message::line(format!(
            "{} snapshots copied, {} were there already; {added} added ({stored} stored)",
            outcome.copied.len(),
            outcome.skipped.len()
        ));
    }
    if outcome.failed.is_empty() {
        return Ok(exit::OK);
    }
    Err(Failure::new(format!(
        "{} snapshots could not be copied",
        outcome.failed.len()
    ))
    .hint("`outlast check --read-data` on the source tells what is damaged"))
}

fn choose(
    source: &outlast_ops::Session,
    arguments: &Arguments,
) -> Result<Vec<StoredSnapshot>, Failure> {
    let all = stored_snapshots(source.repository(), source.cancel())?;
    let filter = arguments.filter.filter();
    let mut list: Vec<&StoredSnapshot> = all.iter().collect();
    if arguments.ids.is_empty() {
        list.retain(|stored| filter.matches(&stored.snapshot));
    } else {
        let mut chosen: Vec<&StoredSnapshot> = Vec::new();
        for text in &arguments.ids {
            let selected = source.resolve(&list, &text.as_str().into(), &filter);
            let found = selected
                .map_err(|error| Failure::new(error.to_string()))?
                .snapshot;
            if !chosen.iter().any(|known| known.id == found.id) {
                chosen.push(found);
            }
        }
        list = chosen;
    }
    outlast_repo::sort_oldest_first(&mut list);
    Ok(list.into_iter().cloned().collect())
}
