//! `restore`: puts files and folders of a snapshot into a folder.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;
use outlast_ops::choose_snapshot;
use outlast_repo::{Overwrite, RestoreOptions, RestoreSelection, restore};
use outlast_source::MetadataOptions;
use outlast_source::pattern::PatternList;

use super::backup::patterns_of_file;
use crate::args::FilterArguments;
use crate::context::Context;
use crate::exit::{self, Failure};
use crate::render::entry::snapshot_line;
use crate::render::message;

mod display;

pub use display::RestoreDisplay;

/// Arguments of `restore`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    filter: FilterArguments,
    #[command(flatten)]
    excludes: Excludes,
    #[command(flatten)]
    includes: Includes,
    /// Remove what the snapshot does not have; try it with --dry-run -vv first
    #[arg(long)]
    delete: bool,
    /// Write nothing, only show what would be done
    #[arg(long)]
    dry_run: bool,
    /// Do not put back extended attributes that match a pattern
    #[arg(long, value_name = "PATTERN")]
    exclude_xattr: Vec<OsString>,
    /// Put back only extended attributes that match a pattern
    #[arg(long, value_name = "PATTERN")]
    include_xattr: Vec<OsString>,
    /// What happens to what is there: always, if-changed, if-newer or never
    #[arg(long, default_value = "always", value_name = "BEHAVIOR")]
    overwrite: Overwrite,
    /// Owners and groups by their names instead of their numbers
    #[arg(long)]
    ownership_by_name: bool,
    /// Leave holes in files where the content is zeros
    #[arg(long)]
    sparse: bool,
    /// Folder to restore into
    #[arg(short, long, value_name = "FOLDER")]
    target: Option<PathBuf>,
    /// Read everything back and compare
    #[arg(long)]
    verify: bool,
    /// Snapshot: an id or latest, with a folder after a colon
    #[arg(value_name = "SNAPSHOT")]
    snapshot: Vec<String>,
}

#[derive(Debug, Args)]
struct Excludes {
    /// Leave out what matches a pattern
    #[arg(short, long, value_name = "PATTERN")]
    exclude: Vec<OsString>,
    /// Likewise, upper and lower case alike
    #[arg(long, value_name = "PATTERN")]
    iexclude: Vec<OsString>,
    /// Read patterns to leave out from a file
    #[arg(long, value_name = "FILE")]
    exclude_file: Vec<PathBuf>,
    /// Likewise, upper and lower case alike
    #[arg(long, value_name = "FILE")]
    iexclude_file: Vec<PathBuf>,
}

#[derive(Debug, Args)]
struct Includes {
    /// Restore only what matches a pattern
    #[arg(short, long, value_name = "PATTERN")]
    include: Vec<OsString>,
    /// Likewise, upper and lower case alike
    #[arg(long, value_name = "PATTERN")]
    iinclude: Vec<OsString>,
    /// Read patterns to restore from a file
    #[arg(long, value_name = "FILE")]
    include_file: Vec<PathBuf>,
    /// Likewise, upper and lower case alike
    #[arg(long, value_name = "FILE")]
    iinclude_file: Vec<PathBuf>,
}

fn list(patterns: &[OsString], files: &[PathBuf], fold_case: bool) -> Result<PatternList, Failure> {
    let mut list = PatternList::new();
    let failed = |error: outlast_source::SourceError| Failure::new(error.to_string());
    for file in files {
        for pattern in patterns_of_file(file)? {
            list.push(&pattern, fold_case).map_err(failed)?;
        }
    }
    for pattern in patterns {
        list.push(pattern.as_encoded_bytes(), fold_case)
            .map_err(failed)?;
    }
    Ok(list)
}

fn selection(excludes: &Excludes, includes: &Includes) -> Result<RestoreSelection, Failure> {
    let exclude = [
        list(&excludes.exclude, &excludes.exclude_file, false)?,
        list(&excludes.iexclude, &excludes.iexclude_file, true)?,
    ];
    let include = [
        list(&includes.include, &includes.include_file, false)?,
        list(&includes.iinclude, &includes.iinclude_file, true)?,
    ];
    let used = |lists: [PatternList; 2]| -> Vec<PatternList> {
        lists.into_iter().filter(|list| !list.is_empty()).collect()
    };
    match (used(exclude), used(include)) {
        (exclude, include) if exclude.is_empty() && include.is_empty() => Ok(RestoreSelection::All),
        (exclude, include) if include.is_empty() => Ok(RestoreSelection::Exclude(exclude)),
        (exclude, include) if exclude.is_empty() => Ok(RestoreSelection::Include(include)),
        _ => Err(Failure::new(
            "exclude and include patterns are mutually exclusive",
        )),
    }
}

fn options(arguments: &Arguments) -> Result<RestoreOptions, Failure> {
    if !arguments.exclude_xattr.is_empty() && !arguments.include_xattr.is_empty() {
        return Err(Failure::new(
            "exclude and include xattr patterns are mutually exclusive",
        ));
    }
    Ok(RestoreOptions {
        selection: selection(&arguments.excludes, &arguments.includes)?,
        overwrite: arguments.overwrite,
        delete: arguments.delete,
        sparse: arguments.sparse,
        verify: arguments.verify,
        dry_run: arguments.dry_run,
        metadata: MetadataOptions {
            ownership_by_name: arguments.ownership_by_name,
            excluded_xattrs: list(&arguments.exclude_xattr, &[], false)?,
            included_xattrs: list(&arguments.include_xattr, &[], false)?,
        },
    })
}

/// Restores.
pub fn run(context: &Context, arguments: &Arguments) -> Result<u8, Failure> {
    let text = match arguments.snapshot.as_slice() {
        [text] => text,
        [] => return Err(Failure::new("no snapshot ID specified").hint("for example: latest")),
        several => {
            return Err(Failure::new(format!(
                "more than one snapshot ID specified: {}",
                several.join(" ")
            )));
        }
    };
    let Some(target) = &arguments.target else {
        return Err(Failure::new(
            "please specify a directory to restore to (--target)",
        ));
    };
    let options = options(arguments)?;
    let session = context.open()?;
    let _lock = session.lock_for_reading()?;
    let chosen = choose_snapshot(&session, text, &arguments.filter.filter())?;
    session.load_index()?;
    let tree = chosen.tree(&session)?;
    if context.is_talkative() {
        message::line(format!(
            "restoring {} to {}",
            snapshot_line(&chosen.stored),
            target.display()
        ));
    }
    let display = RestoreDisplay::new(context);
    let (repository, cancel) = (session.repository(), session.cancel());
    let result = restore(repository, tree, target, &options, &display, cancel);
    display.clear();
    let outcome = result?;
    display.print_summary(&outcome, &options);
    if outcome.errors > 0 {
        return Err(Failure::new(format!(
            "{} errors: not everything was restored as it was",
            outcome.errors
        ))
        .hint(
            "everything else is in place; `outlast check --read-data` tells what is damaged, \
             docs/damage.md what to do",
        ));
    }
    Ok(exit::OK)
}
