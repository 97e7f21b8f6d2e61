//! `stats`: how much there is.

use clap::Args;
use outlast_ops::choose_snapshots;
use outlast_repo::{Stats, StatsMode, stats};

use super::prune::StageProgress;
use crate::args::FilterArguments;
use crate::context::Context;
use crate::exit::{self, Failure};
use crate::render::{json, message, units};

/// Arguments of `stats`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    filter: FilterArguments,
    /// What is counted: restore-size, files-by-contents, blobs-per-file or raw-data
    #[arg(long, default_value = "restore-size", value_name = "MODE")]
    mode: String,
    /// Ids of snapshots, or `latest`; without any, all that the filter lets through
    #[arg(value_name = "SNAPSHOT")]
    ids: Vec<String>,
}

/// Counts.
pub fn run(context: &Context, arguments: &Arguments) -> Result<u8, Failure> {
    let mode: StatsMode = arguments
        .mode
        .parse()
        .map_err(|error: outlast_repo::ParseStatsModeError| Failure::new(error.to_string()))?;
    let session = context.open()?;
    let _lock = session.lock_for_reading()?;
    let chosen = choose_snapshots(&session, &arguments.ids, &arguments.filter.filter())?;
    session.load_index()?;
    if context.is_talkative() {
        message::line("scanning...");
    }
    let progress = StageProgress::new(context);
    let (repository, cancel) = (session.repository(), session.cancel());
    let result = stats(repository, &chosen, mode, &progress, cancel);
    progress.clear();
    let counted = result?;
    if context.global.json {
        json::print(&counted);
    } else {
        print(&arguments.mode, &counted);
    }
    Ok(exit::OK)
}

fn print(mode: &str, counted: &Stats) {
    message::line(format!("Stats in {mode} mode:"));
    let row = |name: &str, value: String| message::line(format!("{name:>24}:  {value}"));
    row("Snapshots processed", counted.snapshots_count.to_string());
    if counted.total_blob_count > 0 {
        row("Total Blob Count", counted.total_blob_count.to_string());
    }
    if counted.total_file_count > 0 {
        row("Total File Count", counted.total_file_count.to_string());
    }
    if counted.total_uncompressed_size > 0 {
        let size = units::bytes(counted.total_uncompressed_size);
        row("Total Uncompressed Size", size);
    }
    row("Total Size", units::bytes(counted.total_size));
    if counted.compression_progress > 0.0 {
        let progress = format!("{:.2}%", counted.compression_progress);
        row("Compression Progress", progress);
    }
    if counted.compression_ratio > 0.0 {
        let ratio = format!("{:.2}x", counted.compression_ratio);
        row("Compression Ratio", ratio);
    }
    if counted.compression_space_saving > 0.0 {
        let saving = format!("{:.2}%", counted.compression_space_saving);
        row("Compression Space Saving", saving);
    }
}
