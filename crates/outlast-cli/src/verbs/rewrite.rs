//! `rewrite`: snapshots without files that should not be in them, or with another host or time.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;
use outlast_object::Id;
use outlast_ops::stored_snapshots;
use outlast_repo::{
    Originals, Progress, Removal, RepoError, RewriteObserver, RewriteOptions, Stage,
    StoredSnapshot, TreeFilter, rewrite,
};
use outlast_source::pattern::PatternList;

use super::backup::patterns_of_file;
use super::prune::StageProgress;
use crate::args::FilterArguments;
use crate::context::Context;
use crate::exit::{self, Failure};
use crate::parse;
use crate::render::message;

/// Arguments of `rewrite`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Leave out what matches a pattern
    #[arg(short, long, value_name = "PATTERN")]
    exclude: Vec<OsString>,
    /// Likewise, upper and lower case alike
    #[arg(long, value_name = "PATTERN")]
    iexclude: Vec<OsString>,
    /// Read patterns from a file
    #[arg(long, value_name = "FILE")]
    exclude_file: Vec<PathBuf>,
    /// Likewise, upper and lower case alike
    #[arg(long, value_name = "FILE")]
    iexclude_file: Vec<PathBuf>,
    /// Keep only what matches a pattern
    #[arg(short, long, value_name = "PATTERN")]
    include: Vec<OsString>,
    /// Likewise, upper and lower case alike
    #[arg(long, value_name = "PATTERN")]
    iinclude: Vec<OsString>,
    /// Read patterns of what is kept from a file
    #[arg(long, value_name = "FILE")]
    include_file: Vec<PathBuf>,
    /// Likewise, upper and lower case alike
    #[arg(long, value_name = "FILE")]
    iinclude_file: Vec<PathBuf>,
    /// Remove the snapshots that were rewritten
    #[arg(long)]
    forget: bool,
    /// Change nothing, only show what would be done
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// Host of the new snapshots
    #[arg(long, value_name = "HOSTNAME")]
    new_host: Option<String>,
    /// Time of the new snapshots
    #[arg(long, value_name = "TIME")]
    new_time: Option<String>,
    /// Count files and bytes where a snapshot does not say
    #[arg(short = 's', long)]
    snapshot_summary: bool,
    #[command(flatten)]
    filter: FilterArguments,
    /// Snapshots to rewrite; all if none is named
    #[arg(value_name = "SNAPSHOT")]
    ids: Vec<String>,
}

/// Patterns and files of patterns, with and without regard to case.
type Sources<'a> = [(&'a [OsString], &'a [PathBuf], bool); 2];

fn lists(sources: Sources<'_>) -> Result<Vec<PatternList>, Failure> {
    let mut lists = Vec::new();
    for (patterns, files, fold_case) in sources {
        let mut list = PatternList::new();
        let mut all = Vec::new();
        for file in files {
            all.extend(patterns_of_file(file)?);
        }
        all.extend(
            patterns
                .iter()
                .map(|pattern| pattern.as_encoded_bytes().to_vec()),
        );
        for pattern in all {
            list.push(&pattern, fold_case)
                .map_err(|error| Failure::new(error.to_string()))?;
        }
        if !list.is_empty() {
            lists.push(list);
        }
    }
    Ok(lists)
}

impl Arguments {
    fn tree_filter(&self) -> Result<Option<TreeFilter>, Failure> {
        let excludes = lists([
            (&self.exclude, &self.exclude_file, false),
            (&self.iexclude, &self.iexclude_file, true),
        ])?;
        let includes = lists([
            (&self.include, &self.include_file, false),
            (&self.iinclude, &self.iinclude_file, true),
        ])?;
        match (excludes.is_empty(), includes.is_empty()) {
            (true, true) => Ok(None),
            (false, true) => Ok(Some(TreeFilter::Exclude(excludes))),
            (true, false) => Ok(Some(TreeFilter::Include(includes))),
            (false, false) => Err(Failure::new(
                "exclude and include patterns are mutually exclusive",
            )),
        }
    }
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

impl RewriteObserver for Display {
    fn snapshot_rewritten(&self, snapshot: &StoredSnapshot, new: Option<Id>) {
        if self.is_talkative {
            let old = snapshot.id.short();
            message::line(match new {
                Some(new) => format!(
                    "snapshot {old} was rewritten and is kept as {}",
                    new.short()
                ),
                None => format!("snapshot {old} would be rewritten"),
            });
        }
    }

    fn snapshot_failed(&self, snapshot: &StoredSnapshot, error: &RepoError) {
        message::warning(&format!(
            "snapshot {} could not be rewritten: {error}",
            snapshot.id.short()
        ));
    }
}

/// Rewrites snapshots.
pub fn run(context: &Context, arguments: &Arguments) -> Result<u8, Failure> {
    let now = context.environment().clock.now();
    let time = arguments
        .new_time
        .as_deref()
        .map(|text| parse::local_time(text, now));
    let options = RewriteOptions {
        filter: arguments.tree_filter()?,
        hostname: arguments.new_host.clone(),
        time: time.transpose().map_err(Failure::new)?,
        summary: arguments.snapshot_summary,
        dry_run: arguments.dry_run,
    };
    let nothing = options.filter.is_none() && options.hostname.is_none() && options.time.is_none();
    if nothing && !options.summary {
        return Err(Failure::new(
            "nothing to do: no excludes or includes provided and no new metadata provided",
        ));
    }
    let session = context.open()?;
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
    let all = stored_snapshots(session.repository(), session.cancel())?;
    let filter = arguments.filter.filter();
    let list: Vec<&StoredSnapshot> = all.iter().collect();
    let chosen: Vec<StoredSnapshot> = if arguments.ids.is_empty() {
        list.into_iter()
            .filter(|stored| filter.matches(&stored.snapshot))
            .cloned()
            .collect()
    } else {
        let found = arguments.ids.iter().map(|text| {
            let selected = session.resolve(&list, &text.as_str().into(), &filter);
            selected
                .map(|selected| selected.snapshot.clone())
                .map_err(|error| Failure::new(error.to_string()))
        });
        found.collect::<Result<_, _>>()?
    };
    session.load_index()?;
    let display = Display {
        stages: StageProgress::new(context),
        is_talkative: context.is_talkative(),
    };
    let originals = removal.as_ref().map_or(Originals::Keep, Originals::Remove);
    let result = rewrite(
        session.repository(),
        originals,
        &chosen,
        &options,
        &display,
        session.cancel(),
    );
    display.stages.clear();
    let outcome = result?;
    if context.is_talkative() {
        let verb = if arguments.dry_run {
            "would be"
        } else {
            "were"
        };
        message::line(format!(
            "{} snapshots {verb} rewritten",
            outcome.changed.len()
        ));
    }
    if outcome.failed.is_empty() {
        return Ok(exit::OK);
    }
    Err(Failure::new(format!(
        "{} snapshots could not be rewritten",
        outcome.failed.len()
    )))
}
