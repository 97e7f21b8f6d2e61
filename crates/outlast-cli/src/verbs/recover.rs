//! `recover`: everything back from a kit and any one copy; without a kit, restic's verb of that name.

use std::path::{Path, PathBuf};

use clap::Args;
use outlast_ops::Places;
use outlast_ops::kit::{
    KitCopy, OpenCopies, Patience, TriedCopy, choose_copy, keep_custodian, open_copies, open_copy,
};
use outlast_repo::{Overwrite, RestoreOptions, RestoreSelection, StoredSnapshot, restore};

use super::kit::{InviteArguments, copies_of, open_with, read_sheets, tell_tried, write_secret};
use super::repair;
use super::restore::RestoreDisplay;
use crate::args::FilterArguments;
use crate::context::Context;
use crate::exit::{self, Failure};
use crate::render::entry::snapshot_line;
use crate::render::message;

/// Arguments of `recover`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Get back from what this recovery kit, typed or scanned, says; several sheets in several files
    #[arg(long, value_name = "FILE")]
    kit: Vec<PathBuf>,
    #[command(flatten)]
    invites: InviteArguments,
    /// Try this folder, REST server or bucket too, as a disk that is mounted elsewhere
    #[arg(long, value_name = "LOCATION", requires = "kit")]
    copy: Vec<String>,
    /// Write the repository's password into a file, for other verbs and for restic
    #[arg(long, value_name = "FILE", requires = "kit")]
    password_to: Option<PathBuf>,
    /// Folder to restore into
    #[arg(short, long, value_name = "FOLDER", requires = "kit")]
    target: Option<PathBuf>,
    #[command(flatten)]
    filter: FilterArguments,
    /// Snapshot to restore: an id or latest; without one, all are listed
    #[arg(value_name = "SNAPSHOT", requires = "kit")]
    snapshot: Option<String>,
}

/// Recovers.
pub fn run(context: &Context, arguments: &Arguments) -> Result<u8, Failure> {
    if arguments.kit.is_empty() {
        return repair::run_recover(context);
    }
    if arguments.snapshot.is_some() && arguments.target.is_none() {
        return Err(Failure::new(
            "please specify a directory to restore to (--target)",
        ));
    }
    let kit = read_sheets(&arguments.kit)?;
    let copies = copies_of(&kit, &arguments.invites.read()?, &arguments.copy)?;
    if let (Some(path), Some(password)) = (&arguments.password_to, &kit.password) {
        let mut line = password.clone();
        line.push(b'\n');
        write_secret(path, &line)?;
        message::note(&format!("the password is in {}", path.display()));
        if copies.is_empty() {
            return Ok(exit::OK);
        }
    }
    let tried = open_copies(&copies, &open_with(context, &kit, Patience::Looking)?);
    if tell_tried(context, &tried) == 0 {
        return Err(Failure::new("no copy opens with this kit").hint(
            "bring one within reach; --copy names a folder where one is, --invite brings a token",
        ));
    }
    keep_custodians(context, &tried);
    match (&arguments.snapshot, &arguments.target) {
        (Some(snapshot), Some(target)) => {
            let with = open_with(context, &kit, Patience::Restoring)?;
            bring_back(context, arguments, (&tried, &with), (snapshot, target))
        }
        _ => list(context, arguments, &tried),
    }
}

/// Sets up the vaults that open, to read from, so that all other verbs work too.
fn keep_custodians(context: &Context, tried: &[TriedCopy]) {
    let Ok(places) = Places::of_user() else {
        return;
    };
    for copy in tried.iter().filter(|copy| copy.outcome.is_ok()) {
        match keep_custodian(&places, &copy.copy) {
            Ok(Some(name)) if context.is_talkative() => {
                message::line(format!("vault:{name} is set up here, to read from"));
            }
            Ok(_) => {}
            // Recovery needs no file of its own.
            Err(error) => message::warning(&format!("{} is not set up: {error}", copy.copy.name)),
        }
    }
}

/// All snapshots of all copies, each with the copies that have it.
fn list(context: &Context, arguments: &Arguments, tried: &[TriedCopy]) -> Result<u8, Failure> {
    let filter = arguments.filter.filter();
    let mut all: Vec<(&StoredSnapshot, Vec<&str>)> = Vec::new();
    for copy in tried {
        let Ok(opened) = &copy.outcome else { continue };
        for stored in opened
            .snapshots
            .iter()
            .filter(|stored| filter.matches(&stored.snapshot))
        {
            match all.iter_mut().find(|(known, _)| known.id == stored.id) {
                Some((_, names)) => names.push(&copy.copy.name),
                None => all.push((stored, vec![&copy.copy.name])),
            }
        }
    }
    all.sort_by_key(|(stored, _)| stored.snapshot.time.instant());
    if !context.global.json {
        for (stored, names) in &all {
            message::line(format!(
                "{}  at {}",
                snapshot_line(stored),
                names.join(", ")
            ));
        }
        message::line(
            "next: the same command with `latest` or an id, and --target FOLDER; after an intrusion, \
             choose one from before it",
        );
    }
    Ok(exit::OK)
}

/// Restores from the first copy that has all of it, whole.
fn bring_back(
    context: &Context,
    arguments: &Arguments,
    (tried, with): (&[TriedCopy], &OpenCopies<'_>),
    (snapshot, target): (&str, &Path),
) -> Result<u8, Failure> {
    let Some((stored, holders)) = choose_copy(tried, snapshot, &arguments.filter.filter()) else {
        return Err(
            Failure::new(format!("no copy has the snapshot {snapshot:?}"))
                .hint("without a snapshot, this command lists all"),
        );
    };
    let count = holders.len();
    for (at, copy) in holders.into_iter().enumerate() {
        if context.is_talkative() {
            message::line(format!(
                "restoring {} from {} to {}",
                snapshot_line(&stored),
                super::clean(&copy.name),
                target.display()
            ));
        }
        match restore_from(context, (copy, with), &stored, target) {
            Ok(0) => {
                if at > 0 && context.is_talkative() {
                    message::line(
                        "everything is in place; files that end in .outlast-damaged are remains of \
                         earlier tries and can go",
                    );
                }
                return Ok(exit::OK);
            }
            Ok(errors) => message::warning(&format!("{}: {errors} errors", copy.name)),
            Err(failure) if failure.code == exit::INTERRUPTED => return Err(failure),
            Err(failure) => message::warning(&format!("{}: {}", copy.name, failure.message)),
        }
    }
    Err(Failure::new(format!(
        "none of {count} copies has all of the snapshot; what could be had is in place"
    ))
    .hint("export each copy into one folder, which brings the sound parts of all together: docs/recovery-kit.md"))
}

/// Restores with every file read back; gives the number of errors.
fn restore_from(
    context: &Context,
    (copy, with): (&KitCopy, &OpenCopies<'_>),
    stored: &StoredSnapshot,
    target: &Path,
) -> Result<u64, Failure> {
    let opened = open_copy(copy, with).map_err(|error| Failure::new(error.to_string()))?;
    let session = &opened.session;
    session.load_index()?;
    let options = RestoreOptions {
        selection: RestoreSelection::All,
        overwrite: Overwrite::default(),
        delete: false,
        sparse: false,
        verify: true,
        dry_run: false,
        metadata: outlast_source::MetadataOptions::default(),
    };
    let display = RestoreDisplay::new(context);
    let (repository, tree) = (session.repository(), stored.snapshot.tree);
    let result = restore(
        repository,
        tree,
        target,
        &options,
        &display,
        session.cancel(),
    );
    display.clear();
    let outcome = result?;
    display.print_summary(&outcome, &options);
    Ok(outcome.errors)
}
