//! `repair`: mends an index, packs or snapshots; and `recover`, which finds lost trees.

use std::path::Path;

use clap::{Args, Subcommand};
use outlast_format::BlobHandle;
use outlast_object::{Id, ObjectName};
use outlast_ops::{Session, stored_snapshots};
use outlast_repo::{
    NotRemoved, Progress, Removal, RepairIndexOptions, RepairOriginals, RepairPacksObserver,
    RepairSnapshotsObserver, Stage, StoredSnapshot, Trimmed, recover, repair_index, repair_packs,
    repair_snapshots,
};

use super::prune::StageProgress;
use crate::args::FilterArguments;
use crate::context::Context;
use crate::exit::{self, Failure};
use crate::render::message;

/// Arguments of `repair`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Make the index say what the packs say of themselves
    Index(IndexArguments),
    /// Bring to safety what is intact in damaged packs
    Packs(PacksArguments),
    /// Leave out of snapshots what is lost
    Snapshots(SnapshotsArguments),
}

#[derive(Debug, Args)]
struct IndexArguments {
    /// Look into all packs, and believe no index
    #[arg(long)]
    read_all_packs: bool,
}

#[derive(Debug, Args)]
struct PacksArguments {
    /// Packs, by their whole ids
    #[arg(value_name = "PACK", required = true)]
    packs: Vec<Id>,
}

#[derive(Debug, Args)]
struct SnapshotsArguments {
    /// Change nothing, only show what would be done
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// Remove the damaged snapshots
    #[arg(long)]
    forget: bool,
    #[command(flatten)]
    filter: FilterArguments,
    /// Snapshots to repair; all if none is named
    #[arg(value_name = "SNAPSHOT")]
    ids: Vec<String>,
}

struct Display {
    stages: StageProgress,
    is_talkative: bool,
}

impl Display {
    fn new(context: &Context) -> Self {
        Self {
            stages: StageProgress::new(context),
            is_talkative: context.is_talkative(),
        }
    }

    fn tell(&self, text: &str) {
        if self.is_talkative {
            self.stages.suspend(|| message::line(text));
        }
    }
}

impl Progress for Display {
    fn begin(&self, stage: Stage, steps: u64) {
        self.stages.begin(stage, steps);
    }

    fn advance(&self, stage: Stage, steps: u64) {
        self.stages.advance(stage, steps);
    }
}

impl RepairPacksObserver for Display {
    fn copy_kept(&self, pack: Id, path: &Path) {
        self.tell(&format!(
            "a copy of pack {} as it is lies at {}",
            pack.short(),
            path.display()
        ));
    }

    fn copy_failed(&self, pack: Id, reason: &str) {
        self.stages.suspend(|| {
            message::warning(&format!("there is no whole copy of pack {pack}: {reason}"))
        });
    }

    fn pack_salvaged(&self, pack: Id, intact: usize, lost: &[BlobHandle]) {
        self.tell(&format!(
            "pack {}: {intact} blobs brought to safety, {} lost",
            pack.short(),
            lost.len()
        ));
    }
}

impl RepairSnapshotsObserver for Display {
    fn trimmed(&self, snapshot: Id, what: &Trimmed) {
        self.tell(&format!(
            "snapshot {}: {}",
            snapshot.short(),
            super::clean(&what.to_string())
        ));
    }

    fn snapshot_repaired(&self, snapshot: &StoredSnapshot, new: Option<Id>) {
        let old = snapshot.id.short();
        self.tell(&match new {
            Some(new) => format!("snapshot {old} was repaired and is kept as {}", new.short()),
            None => format!("snapshot {old} would be repaired"),
        });
    }

    fn snapshot_lost(&self, snapshot: &StoredSnapshot, removed: bool) {
        let verb = if removed {
            "was removed"
        } else {
            "would be removed with --forget"
        };
        self.tell(&format!(
            "nothing remains of snapshot {}; it {verb}",
            snapshot.id.short()
        ));
    }
}

/// Repairs.
pub fn run(context: &Context, arguments: &Arguments) -> Result<u8, Failure> {
    let session = context.open()?;
    match &arguments.what {
        What::Index(arguments) => run_index(context, &session, arguments),
        What::Packs(arguments) => run_packs(context, &session, arguments),
        What::Snapshots(arguments) => run_snapshots(context, &session, arguments),
    }
}

/// Tells what is still there though it should be gone.
fn report_left(left: &[NotRemoved]) -> u8 {
    for object in left {
        let reason = object
            .error
            .as_ref()
            .map_or_else(|| "not tried".to_owned(), ToString::to_string);
        message::warning(&format!("{} could not be removed: {reason}", object.name));
    }
    if left.is_empty() {
        exit::OK
    } else {
        exit::FAILED
    }
}

fn run_index(
    context: &Context,
    session: &Session,
    arguments: &IndexArguments,
) -> Result<u8, Failure> {
    let lock = session.lock_exclusive()?;
    let removal = Removal::new(session.repository(), session.deletes(), &lock)?;
    let display = Display::new(context);
    let options = RepairIndexOptions {
        read_all_packs: arguments.read_all_packs,
    };
    let result = repair_index(
        session.repository(),
        &removal,
        options,
        &display,
        session.cancel(),
    );
    display.stages.clear();
    let outcome = result?;
    for (pack, reason) in &outcome.packs_damaged {
        message::warning(&format!("{} is damaged: {reason}", ObjectName::pack(*pack)));
    }
    if !outcome.packs_damaged.is_empty() {
        let ids: Vec<String> = outcome
            .packs_damaged
            .iter()
            .map(|(id, _)| id.to_string())
            .collect();
        message::hint(&format!("next: outlast repair packs {}", ids.join(" ")));
    }
    if outcome.has_changes() {
        display.tell(&format!(
            "{} packs added to the index, {} corrected, {} that are gone taken out; {} index files replaced, {} unreadable ones removed",
            outcome.packs_added.len(),
            outcome.packs_corrected.len(),
            outcome.packs_gone.len(),
            outcome.files_replaced,
            outcome.bad_files.len()
        ));
    } else {
        display.tell("the index was right; nothing was changed");
    }
    Ok(report_left(&outcome.not_removed))
}

fn run_packs(
    context: &Context,
    session: &Session,
    arguments: &PacksArguments,
) -> Result<u8, Failure> {
    let lock = session.lock_exclusive()?;
    let removal = Removal::new(session.repository(), session.deletes(), &lock)?;
    let display = Display::new(context);
    let copies = std::env::current_dir()?;
    let result = repair_packs(
        session.repository(),
        &removal,
        &arguments.packs,
        &copies,
        &display,
        session.cancel(),
    );
    display.stages.clear();
    let outcome = result?;
    display.tell(&format!(
        "{} blobs were stored anew, {} are lost",
        outcome.salvaged,
        outcome.lost.len()
    ));
    if !outcome.lost.is_empty() {
        message::hint(
            "back up again: what still exists at its source mends its snapshots; then `outlast repair snapshots --forget`",
        );
    }
    Ok(report_left(&outcome.not_removed))
}

fn run_snapshots(
    context: &Context,
    session: &Session,
    arguments: &SnapshotsArguments,
) -> Result<u8, Failure> {
    let removes = arguments.forget && !arguments.dry_run;
    let exclusive = if removes {
        Some(session.lock_exclusive()?)
    } else {
        None
    };
    let _shared = if removes || arguments.dry_run {
        None
    } else {
        session.lock_shared()?
    };
    let removal = match &exclusive {
        Some(lock) => Some(Removal::new(session.repository(), session.deletes(), lock)?),
        None => None,
    };
    let chosen = choose(session, arguments)?;
    session.load_index()?;
    let originals = match &removal {
        _ if arguments.dry_run => RepairOriginals::DryRun,
        Some(removal) => RepairOriginals::Forget(removal),
        None => RepairOriginals::Keep,
    };
    let display = Display::new(context);
    let result = repair_snapshots(
        session.repository(),
        originals,
        &chosen,
        &display,
        session.cancel(),
    );
    display.stages.clear();
    let outcome = result?;
    let verb = if arguments.dry_run {
        "would be"
    } else {
        "were"
    };
    display.tell(&format!(
        "{} snapshots {verb} repaired, {} are intact, of {} nothing remains",
        outcome.repaired.len(),
        outcome.intact.len(),
        outcome.lost.len()
    ));
    Ok(exit::OK)
}

fn choose(
    session: &Session,
    arguments: &SnapshotsArguments,
) -> Result<Vec<StoredSnapshot>, Failure> {
    let all = stored_snapshots(session.repository(), session.cancel())?;
    let filter = arguments.filter.filter();
    if arguments.ids.is_empty() {
        return Ok(all
            .into_iter()
            .filter(|stored| filter.matches(&stored.snapshot))
            .collect());
    }
    let list: Vec<&StoredSnapshot> = all.iter().collect();
    let found = arguments.ids.iter().map(|text| {
        let selected = session.resolve(&list, &text.as_str().into(), &filter);
        selected
            .map(|selected| selected.snapshot.clone())
            .map_err(|error| Failure::new(error.to_string()))
    });
    found.collect()
}

/// Makes a snapshot of what no snapshot reaches.
pub fn run_recover(context: &Context) -> Result<u8, Failure> {
    let session = context.open()?;
    let _lock = session.lock_shared()?;
    let display = Display::new(context);
    let result = recover(
        session.repository(),
        &super::program_version(),
        &display,
        session.cancel(),
    );
    display.stages.clear();
    let outcome = result?;
    for tree in &outcome.unreadable {
        message::warning(&format!("tree {tree} cannot be read"));
    }
    display.tell(&match outcome.snapshot {
        Some(id) => format!(
            "{} trees that nothing reached are in snapshot {}",
            outcome.roots.len(),
            id.short()
        ),
        None => "no tree was found that no snapshot reaches".to_owned(),
    });
    Ok(exit::OK)
}
