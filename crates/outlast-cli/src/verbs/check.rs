//! `check`: whether everything is there and intact, and if not, what that means.

use std::collections::HashSet;

use clap::Args;
use outlast_object::Id;
use outlast_ops::{CacheChoice, Session, stored_snapshots};
use outlast_repo::{
    AffectedSnapshot, CheckObserver, CheckOptions, CheckReport, Finding, Progress, ReadData,
    Severity, SnapshotFilter, Stage, StoredSnapshot, check,
};
use serde::Serialize;

use super::clean;
use super::prune::StageProgress;
use crate::args::FilterArguments;
use crate::context::Context;
use crate::exit::{self, Failure};
use crate::render::{json, message, units};

/// Arguments of `check`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Read and verify all data
    #[arg(long)]
    read_data: bool,
    /// Read and verify a part of the data: n/t, x% or a size
    #[arg(long, value_name = "SUBSET", conflicts_with = "read_data")]
    read_data_subset: Option<ReadData>,
    /// Use the local cache, which hides damage to what is in it
    #[arg(long)]
    with_cache: bool,
    #[command(flatten)]
    filter: FilterArguments,
    /// Snapshots to look at; all if none is named
    #[arg(value_name = "SNAPSHOT")]
    ids: Vec<String>,
}

struct Display {
    stages: StageProgress,
    is_json: bool,
    verbosity: u8,
}

impl Progress for Display {
    fn begin(&self, stage: Stage, steps: u64) {
        self.stages.begin(stage, steps);
    }

    fn advance(&self, stage: Stage, steps: u64) {
        self.stages.advance(stage, steps);
    }
}

#[derive(Serialize)]
struct CheckError<'a> {
    message_type: &'static str,
    message: &'a str,
}

impl CheckObserver for Display {
    fn finding(&self, finding: &Finding) {
        let text = finding.to_string();
        match finding.severity() {
            Severity::Error if self.is_json => {
                json::print_error(&CheckError {
                    message_type: "error",
                    message: &text,
                });
            }
            Severity::Error => self.stages.suspend(|| message::error(&text)),
            Severity::Warning => self.stages.suspend(|| message::warning(&text)),
            Severity::Hint if !self.is_json && self.verbosity > 0 => {
                self.stages.suspend(|| message::note(&text));
            }
            Severity::Hint => {}
        }
    }
}

#[derive(Serialize)]
struct AffectedMessage<'a> {
    message_type: &'static str,
    snapshot_id: Id,
    files: u64,
    paths: Vec<std::borrow::Cow<'a, str>>,
}

#[derive(Serialize)]
struct Summary<'a> {
    message_type: &'static str,
    num_errors: u64,
    broken_packs: Option<&'a [Id]>,
    suggest_repair_index: bool,
    suggest_prune: bool,
}

/// Checks the repository.
pub fn run(context: &Context, arguments: &Arguments) -> Result<u8, Failure> {
    let location = context.location_text()?;
    let password = context.password(&location)?;
    let mut options = context.session_options(&location, password)?;
    if !arguments.with_cache && options.connect.capabilities.reads_packs {
        // What is in the cache is intact and says nothing of the repository. Where trees can be had
        // from nowhere else, it tells at least whether all that they name is there.
        options.cache = CacheChoice::Off;
    }
    let session = Session::open(&options, context.environment(), &context.cancel)?;
    let _lock = session.lock_for_reading()?;
    let read_data = match arguments.read_data_subset {
        _ if arguments.read_data => ReadData::Everything,
        Some(subset) => subset,
        None => ReadData::Nothing,
    };
    let check_options = CheckOptions {
        read_data,
        snapshots: chosen(&session, arguments)?,
        ..CheckOptions::default()
    };
    let display = Display {
        stages: StageProgress::new(context),
        is_json: context.global.json,
        verbosity: context.global.verbosity(),
    };
    let result = check(
        session.repository(),
        &check_options,
        &display,
        session.cancel(),
    );
    display.stages.clear();
    let report = result?;
    if context.global.json {
        print_json(&report);
    } else {
        print_text(context, &report);
    }
    if report.is_sound() {
        return Ok(exit::OK);
    }
    Err(
        Failure::new(format!("repository contains errors ({})", report.errors))
            .hint(advice(&report)),
    )
}

/// The snapshots to look at; `None` for all.
fn chosen(session: &Session, arguments: &Arguments) -> Result<Option<HashSet<Id>>, Failure> {
    let filter: SnapshotFilter = arguments.filter.filter();
    if arguments.ids.is_empty() && filter.is_empty() {
        return Ok(None);
    }
    let all = stored_snapshots(session.repository(), session.cancel())?;
    let list: Vec<&StoredSnapshot> = all.iter().collect();
    if arguments.ids.is_empty() {
        let matching = list
            .into_iter()
            .filter(|stored| filter.matches(&stored.snapshot));
        return Ok(Some(matching.map(|stored| stored.id).collect()));
    }
    let ids = arguments.ids.iter().map(|text| {
        let selected = session.resolve(&list, &text.as_str().into(), &filter);
        selected
            .map(|selected| selected.snapshot.id)
            .map_err(|error| Failure::new(error.to_string()))
    });
    ids.collect::<Result<HashSet<Id>, Failure>>().map(Some)
}

fn advice(report: &CheckReport) -> String {
    let mut steps = Vec::new();
    if report.suggest_repair_index {
        steps.push("`outlast repair index`".to_owned());
    }
    if !report.broken_packs.is_empty() {
        let ids: Vec<String> = report
            .broken_packs
            .iter()
            .take(5)
            .map(Id::to_string)
            .collect();
        let more = if report.broken_packs.len() > 5 {
            " ..."
        } else {
            ""
        };
        steps.push(format!("`outlast repair packs {}{more}`", ids.join(" ")));
    }
    if report.suggest_repair_snapshots {
        steps.push(
            "back up again what still exists, then `outlast repair snapshots --forget`".to_owned(),
        );
    }
    if steps.is_empty() {
        return "docs/damage.md says what to do".to_owned();
    }
    format!(
        "make a copy of the repository first; then {}; see docs/damage.md",
        steps.join(", then ")
    )
}

fn print_json(report: &CheckReport) {
    for snapshot in &report.affected {
        json::print(&AffectedMessage {
            message_type: "affected",
            snapshot_id: snapshot.id,
            files: snapshot.count,
            paths: snapshot
                .paths
                .iter()
                .map(|affected| affected.path.to_string_lossy())
                .collect(),
        });
    }
    json::print(&Summary {
        message_type: "summary",
        num_errors: report.errors,
        broken_packs: (!report.broken_packs.is_empty()).then_some(&report.broken_packs),
        suggest_repair_index: report.suggest_repair_index,
        suggest_prune: report.suggest_prune,
    });
}

fn print_text(context: &Context, report: &CheckReport) {
    for snapshot in &report.affected {
        print_affected(snapshot);
    }
    if !context.is_talkative() {
        return;
    }
    let totals = &report.totals;
    message::line(format!(
        "looked at {} snapshots, {} trees and {} packs; read {} packs, {}",
        totals.snapshots,
        totals.trees,
        totals.packs,
        totals.packs_read,
        units::bytes(totals.bytes_read)
    ));
    if report.is_sound() {
        message::line("no errors were found");
        if totals.packs_read < totals.packs {
            message::line("not all data was read: --read-data finds damage inside packs as well");
        }
    }
}

fn print_affected(snapshot: &AffectedSnapshot) {
    let (id, time) = (snapshot.id.short(), units::time(snapshot.time));
    message::line(format!(
        "affected in snapshot {id} of {time} on {}:",
        clean(&snapshot.hostname)
    ));
    for affected in &snapshot.paths {
        message::line(format!(
            "  {}: {}",
            clean(&affected.path.to_string_lossy()),
            affected.loss
        ));
    }
    let more = snapshot.count.saturating_sub(snapshot.paths.len() as u64);
    if more > 0 {
        message::line(format!("  and {more} more"));
    }
}
