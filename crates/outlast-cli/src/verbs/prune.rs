//! `prune`: removes data that no snapshot needs.

use std::collections::HashSet;

use clap::Args;
use outlast_object::Id;
use outlast_ops::Session;
use outlast_repo::{
    MaxUnused, Progress, PruneObserver, PruneOptions, PrunePreview, Removal, Stage, preview_prune,
    prune,
};
use serde::Serialize;

use crate::context::Context;
use crate::exit::{self, Failure};
use crate::parse;
use crate::render::{json, message, progress, units};

/// Arguments of `prune`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Change nothing, only show what would be done
    #[arg(short = 'n', long)]
    dry_run: bool,
    #[command(flatten)]
    pruning: PruneArguments,
    /// Make room where not even a new index can be written (unsafe, read the documentation)
    #[arg(long, value_name = "STRING")]
    unsafe_recover_no_free_space: Option<String>,
}

/// How data is removed.
#[derive(Debug, Args)]
pub struct PruneArguments {
    /// Unused data that may stay: bytes, a percentage, or `unlimited`
    #[arg(long, value_name = "LIMIT", default_value = "5%")]
    max_unused: MaxUnused,
    /// Store anew at most so much in all
    #[arg(long, value_name = "SIZE")]
    max_repack_size: Option<String>,
    /// Store anew only packs of trees
    #[arg(long)]
    repack_cacheable_only: bool,
    /// Merge small packs
    #[arg(long, hide = true)]
    repack_small: bool,
    /// Merge packs smaller than this
    #[arg(long, value_name = "SIZE")]
    repack_smaller_than: Option<String>,
    /// Compress data that is not compressed
    #[arg(long)]
    repack_uncompressed: bool,
}

impl PruneArguments {
    fn options(&self) -> Result<PruneOptions, Failure> {
        let size = |text: &Option<String>| {
            text.as_deref()
                .map(parse::size)
                .transpose()
                .map_err(Failure::new)
        };
        Ok(PruneOptions {
            max_unused: self.max_unused,
            max_repack_bytes: size(&self.max_repack_size)?,
            repack_cacheable_only: self.repack_cacheable_only,
            repack_small: self.repack_small,
            repack_smaller_than: size(&self.repack_smaller_than)?,
            repack_uncompressed: self.repack_uncompressed,
            recover_space: false,
        })
    }
}

/// Shows how far a run of several stages has come.
pub struct StageProgress {
    bar: progress::Progress,
    is_talkative: bool,
}

impl StageProgress {
    /// As the global options want it.
    pub fn new(context: &Context) -> Self {
        let is_talkative = context.is_talkative();
        Self {
            bar: progress::Progress::items(is_talkative),
            is_talkative,
        }
    }

    /// Takes the bar away.
    pub fn clear(&self) {
        self.bar.clear();
    }

    /// Runs `print` without the bar in the way.
    pub fn suspend(&self, print: impl FnOnce()) {
        self.bar.suspend(print);
    }
}

fn stage_text(stage: Stage) -> &'static str {
    match stage {
        Stage::FindUsed => "snapshots looked through",
        Stage::VerifyCopies => "copies verified",
        Stage::Repack => "packs stored anew",
        Stage::RewriteIndex => "index files written",
        Stage::Remove => "files deleted",
        Stage::Copy => "blobs copied",
        Stage::Rewrite => "snapshots rewritten",
        Stage::CheckTrees => "snapshots looked through",
        Stage::ReadPacks => "packs read",
        Stage::FindAffected => "snapshots searched for what is affected",
        Stage::ReadHeaders => "pack headers read",
        Stage::Count => "snapshots counted",
    }
}

impl Progress for StageProgress {
    fn begin(&self, stage: Stage, steps: u64) {
        self.bar.restart(steps);
        self.bar.set_message(stage_text(stage).to_owned());
    }

    fn advance(&self, _: Stage, steps: u64) {
        self.bar.add(steps);
    }
}

impl PruneObserver for StageProgress {
    fn planned(&self, preview: &PrunePreview) {
        if self.is_talkative {
            self.bar.suspend(|| print_preview(preview));
        }
    }
}

fn print_preview(preview: &PrunePreview) {
    let (blobs, bytes) = (&preview.statistics.blobs, &preview.statistics.bytes);
    let row = |what: &str, count: u64, size: u64| {
        message::line(format!(
            "{what:<18} {count:>8} blobs / {}",
            units::bytes(size)
        ));
    };
    message::line("");
    row("to repack:", blobs.repack, bytes.repack);
    row("this removes:", blobs.repack_remove, bytes.repack_remove);
    row(
        "to delete:",
        blobs.remove,
        bytes.remove + bytes.unreferenced,
    );
    row("total prune:", blobs.remove_total, bytes.remove_total);
    if bytes.uncompressed > 0 {
        message::line(format!(
            "not yet compressed: {}",
            units::bytes(bytes.uncompressed)
        ));
    }
    row("remaining:", blobs.remaining, bytes.remaining);
    let share = if bytes.remaining == 0 {
        0.0
    } else {
        bytes.remaining_unused as f64 / bytes.remaining as f64
    };
    message::line(format!(
        "unused size after prune: {} ({:.2}% of remaining size)",
        units::bytes(bytes.remaining_unused),
        share * 100.0
    ));
    message::line("");
}

#[derive(Serialize)]
struct Summary<'a> {
    message_type: &'static str,
    #[serde(flatten)]
    statistics: &'a outlast_repo::PruneStatistics,
}

/// Removes data that no snapshot needs.
pub fn run(context: &Context, arguments: &Arguments) -> Result<u8, Failure> {
    let session = context.open()?;
    if arguments.dry_run {
        return preview(context, &session, &arguments.pruning, &[]);
    }
    if context.global.no_lock {
        return Err(Failure::new(
            "--no-lock is only applicable in combination with --dry-run for prune command",
        ));
    }
    let lock = session.lock_exclusive()?;
    let removal = Removal::new(session.repository(), session.deletes(), &lock)?;
    let mut options = arguments.pruning.options()?;
    if let Some(id) = &arguments.unsafe_recover_no_free_space {
        let own = session.repository().config().id.to_hex();
        if *id != own {
            return Err(Failure::new(
                "must pass id of repository to --unsafe-recover-no-free-space",
            )
            .hint("try `prune --max-repack-size 0` first"));
        }
        options.recover_space = true;
    }
    execute(context, &session, &removal, &options)
}

/// Shows what would be removed if `without` were forgotten.
pub fn preview(
    context: &Context,
    session: &Session,
    arguments: &PruneArguments,
    without: &[Id],
) -> Result<u8, Failure> {
    let options = arguments.options()?;
    let progress = StageProgress::new(context);
    let without: HashSet<Id> = without.iter().copied().collect();
    let found = preview_prune(
        session.repository(),
        &options,
        &without,
        &progress,
        session.cancel(),
    );
    progress.clear();
    show(context, &found?);
    Ok(exit::OK)
}

fn show(context: &Context, preview: &PrunePreview) {
    if context.global.json {
        json::print(&Summary {
            message_type: "summary",
            statistics: &preview.statistics,
        });
    } else if context.is_talkative() {
        print_preview(preview);
    }
}

/// Prunes within a lock that is held already.
pub fn run_with(
    context: &Context,
    session: &Session,
    removal: &Removal<'_>,
    arguments: &PruneArguments,
) -> Result<u8, Failure> {
    execute(context, session, removal, &arguments.options()?)
}

fn execute(
    context: &Context,
    session: &Session,
    removal: &Removal<'_>,
    options: &PruneOptions,
) -> Result<u8, Failure> {
    options.check(session.repository())?;
    let progress = StageProgress::new(context);
    let outcome = prune(
        session.repository(),
        removal,
        options,
        &progress,
        session.cancel(),
    );
    progress.clear();
    let outcome = outcome?;
    for left in &outcome.not_removed {
        let reason = left
            .error
            .as_ref()
            .map_or_else(|| "not tried".to_owned(), ToString::to_string);
        message::warning(&format!("{} could not be removed: {reason}", left.name));
    }
    if context.global.json {
        show(context, &outcome.preview);
    } else if context.is_talkative() {
        message::line("done");
    }
    Ok(if outcome.not_removed.is_empty() {
        exit::OK
    } else {
        exit::FAILED
    })
}
