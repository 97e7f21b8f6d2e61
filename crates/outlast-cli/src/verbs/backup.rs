//! `backup`: makes a snapshot.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use clap::Args;
use outlast_ops::{BackupRequest, BackupTarget, Places, run_backup, vouch};
use outlast_repo::{ChangeDetection, GroupBy};
use outlast_source::Excludes;

use crate::context::Context;
use crate::exit::{self, Failure};
use crate::parse;
use crate::render::{json, message};

mod files_from;
mod progress;

pub use files_from::patterns_of_file;
pub use progress::{BackupDisplay, print_summary};

const INCOMPLETE_TEXT: &str = "at least one source file could not be read";

/// Arguments of `backup`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Write nothing, only show what would be done
    #[arg(short = 'n', long)]
    dry_run: bool,
    #[command(flatten)]
    excludes: ExcludeArguments,
    /// Read what to back up from a file: one pattern of paths a line
    #[arg(long, value_name = "FILE")]
    files_from: Vec<PathBuf>,
    /// Likewise, one path a line, taken as it stands
    #[arg(long, value_name = "FILE")]
    files_from_verbatim: Vec<PathBuf>,
    /// Likewise, paths ended by zero bytes
    #[arg(long, value_name = "FILE")]
    files_from_raw: Vec<PathBuf>,
    /// Read all files again, whatever the parent says
    #[arg(short, long)]
    force: bool,
    /// The parent has these in common: host, paths, tags, separated by commas
    #[arg(short, long, default_value = "host,paths", value_name = "GROUP")]
    group_by: String,
    /// Host of the snapshot
    #[arg(short = 'H', long, env = "RESTIC_HOST", value_name = "HOSTNAME")]
    host: Option<String>,
    /// A new change time does not make a file count as changed
    #[arg(long)]
    ignore_ctime: bool,
    /// Neither do a new inode number or change time
    #[arg(long)]
    ignore_inode: bool,
    /// Do not count beforehand what there is
    #[arg(long)]
    no_scan: bool,
    /// Snapshot to compare with
    #[arg(long, value_name = "SNAPSHOT")]
    parent: Option<String>,
    /// Read so many files at the same time
    #[arg(long, env = "RESTIC_READ_CONCURRENCY", value_name = "N")]
    read_concurrency: Option<usize>,
    /// Make no snapshot if nothing changed since the parent
    #[arg(long)]
    skip_if_unchanged: bool,
    /// Back up standard input
    #[arg(long)]
    stdin: bool,
    /// Name of the file for standard input or the output of a command
    #[arg(long, default_value = "stdin", value_name = "FILENAME")]
    stdin_filename: String,
    /// Run the arguments as a command and back up what it prints
    #[arg(long)]
    stdin_from_command: bool,
    /// Tags of the snapshot
    #[arg(long, value_name = "TAG[,TAG,...]")]
    tag: Vec<String>,
    /// Time of the snapshot, as '2012-11-01 22:08:41'
    #[arg(long, value_name = "TIME")]
    time: Option<String>,
    /// After an incident: rely only on what the custodian took before this moment (2026-11-01,
    /// 2026-11-01T08:00:00Z or a position in its log), and store what came later afresh
    #[arg(long, value_name = "MOMENT")]
    trust_before: Option<String>,
    /// Keep access times
    #[arg(long)]
    with_atime: bool,
    /// Files and folders, or a command
    #[arg(value_name = "FILE/DIR", allow_hyphen_values = false)]
    targets: Vec<OsString>,
}

/// What is left out.
#[derive(Debug, Args)]
pub struct ExcludeArguments {
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
    /// Leave out folders tagged as caches
    #[arg(long)]
    exclude_caches: bool,
    /// Leave out folders that hold this file, if it begins with the header
    #[arg(long, value_name = "FILENAME[:HEADER]")]
    exclude_if_present: Vec<String>,
    /// Leave out larger files
    #[arg(long, value_name = "SIZE")]
    exclude_larger_than: Option<String>,
    /// Stay on the file systems of the targets
    #[arg(short = 'x', long)]
    one_file_system: bool,
}

impl ExcludeArguments {
    /// The excludes, and the patterns that a snapshot keeps: as in restic, those of `--exclude`.
    pub fn build(&self) -> Result<(Excludes, Vec<String>), Failure> {
        let failed = |error: outlast_source::SourceError| Failure::new(error.to_string());
        let mut excludes = Excludes::default();
        let groups = [
            (&self.exclude, &self.exclude_file, false),
            (&self.iexclude, &self.iexclude_file, true),
        ];
        for (patterns, files, fold_case) in groups {
            let arguments = patterns.iter().map(|pattern| pattern.as_bytes().to_vec());
            let mut all: Vec<Vec<u8>> = arguments.collect();
            for file in files {
                all.extend(files_from::patterns_of_file(file)?);
            }
            for pattern in all {
                excludes.add_pattern(&pattern, fold_case).map_err(failed)?;
            }
        }
        if self.exclude_caches {
            excludes.add_caches();
        }
        for marker in &self.exclude_if_present {
            let (name, header) = marker.split_once(':').unwrap_or((marker, ""));
            excludes
                .add_marker(name, header.as_bytes())
                .map_err(failed)?;
        }
        if let Some(size) = &self.exclude_larger_than {
            excludes.set_bytes_max(parse::size(size).map_err(Failure::new)?);
        }
        if self.one_file_system {
            excludes.set_one_file_system();
        }
        let texts = self.exclude.iter();
        let texts = texts.map(|pattern| pattern.to_string_lossy().into_owned());
        Ok((excludes, texts.collect()))
    }
}

/// Makes a snapshot.
pub fn run(context: &Context, arguments: Arguments) -> Result<u8, Failure> {
    let environment = context.environment();
    let now = environment.clock.now();
    let time = arguments
        .time
        .as_deref()
        .map(|text| parse::local_time(text, now))
        .transpose()
        .map_err(Failure::new)?;
    let (excludes, exclude_texts) = arguments.excludes.build()?;
    let group_by: GroupBy = arguments
        .group_by
        .parse()
        .map_err(|error| Failure::new(format!("{error}")))?;
    let (target, missing) = target(&arguments)?;
    for path in &missing {
        message::warning(&format!("{} does not exist, skipping", path.display()));
    }
    let reads_stdin = |list: &[PathBuf]| list.iter().any(|file| file.as_os_str() == "-");
    let stdin_is_data = arguments.stdin
        || reads_stdin(&arguments.files_from)
        || reads_stdin(&arguments.files_from_verbatim)
        || reads_stdin(&arguments.files_from_raw);
    let session = if stdin_is_data {
        context.open_beside_data()?
    } else {
        context.open()?
    };
    let session = match &arguments.trust_before {
        Some(moment) => context.trusting(session, moment)?,
        None => session,
    };
    let display = BackupDisplay::new(context);
    let totals = |found, complete| display.set_totals(found, complete);
    let tags = arguments
        .tag
        .iter()
        .flat_map(|list| list.split(','))
        .map(|tag| tag.trim().to_owned());
    let request = BackupRequest {
        target,
        excludes,
        exclude_texts,
        with_atime: arguments.with_atime,
        tags: tags.filter(|tag| !tag.is_empty()).collect(),
        hostname: arguments
            .host
            .filter(|host| !host.is_empty())
            .unwrap_or(environment.hostname.clone()),
        time,
        parent: arguments.parent,
        group_by,
        force: arguments.force,
        detection: ChangeDetection {
            ignore_inode: arguments.ignore_inode,
            ignore_ctime: arguments.ignore_ctime,
        },
        skip_if_unchanged: arguments.skip_if_unchanged,
        dry_run: arguments.dry_run,
        read_concurrency: arguments.read_concurrency,
        scan: context.is_watched()
            && !arguments.no_scan
            && !arguments.stdin
            && !arguments.stdin_from_command,
        program_version: super::program_version(),
        warn: Some(Box::new(|path, error| {
            message::warning(&format!("{}: {error}", path.display()))
        })),
    };
    let result = run_backup(&session, request, &display, &totals);
    display.clear();
    let run = result?;
    print_summary(context, &run, arguments.dry_run, display.elapsed());
    let sealed = seal(context, &run);
    let incomplete = run.outcome.errors > 0 || !missing.is_empty();
    if incomplete && context.global.json {
        // Not an error for whoever goes by the message, as in restic.
        json::exit_message(exit::INCOMPLETE, INCOMPLETE_TEXT);
    } else if incomplete {
        message::warning(INCOMPLETE_TEXT);
    }
    // That nobody vouches for the snapshot is worse than that it lacks something.
    sealed?;
    Ok(if incomplete {
        exit::INCOMPLETE
    } else {
        exit::OK
    })
}

/// Gets a receipt, where a custodian keeps the repository.
fn seal(context: &Context, run: &outlast_ops::BackupRun) -> Result<(), Failure> {
    let location = context.location_text()?;
    let (place, connect) = context.place(&location)?;
    let Some(custodian) = &place.custodian else {
        return Ok(());
    };
    let host = match &run.outcome.snapshot {
        Some((_, snapshot)) => snapshot.hostname.clone(),
        None => context.environment().hostname.clone(),
    };
    let kept = vouch(&Places::of_user()?, custodian, &connect, &host, run)?;
    let Some(kept) = kept else {
        // A dry run.
        return Ok(());
    };
    if let Err(error) = kept.outcome {
        return Err(Failure::not_kept(&custodian.name, error));
    }
    super::protect::tell_kept(context, &kept);
    Ok(())
}

/// What is backed up, and the named paths that do not exist.
fn target(arguments: &Arguments) -> Result<(BackupTarget, Vec<PathBuf>), Failure> {
    let name = arguments.stdin_filename.clone();
    let has_files = !arguments.files_from.is_empty()
        || !arguments.files_from_verbatim.is_empty()
        || !arguments.files_from_raw.is_empty();
    if arguments.stdin_from_command {
        if arguments.targets.is_empty() {
            return Err(
                Failure::new("--stdin-from-command needs a command").hint("put it after --")
            );
        }
        return Ok((
            BackupTarget::Command(name, arguments.targets.clone()),
            Vec::new(),
        ));
    }
    if arguments.stdin {
        if has_files || !arguments.targets.is_empty() {
            return Err(Failure::new(
                "--stdin was specified and files were named as well",
            ));
        }
        return Ok((
            BackupTarget::Stream(name, Box::new(std::io::stdin())),
            Vec::new(),
        ));
    }
    let mut paths: Vec<PathBuf> = Vec::new();
    for file in &arguments.files_from {
        paths.extend(files_from::expanded(file)?);
    }
    for file in &arguments.files_from_verbatim {
        paths.extend(files_from::verbatim(file)?);
    }
    for file in &arguments.files_from_raw {
        paths.extend(files_from::raw(file)?);
    }
    paths.extend(arguments.targets.iter().map(PathBuf::from));
    if paths.is_empty() && !has_files {
        return Err(Failure::new(
            "nothing to back up, please specify source files/dirs",
        ));
    }
    let (present, missing): (Vec<_>, Vec<_>) = paths
        .into_iter()
        .partition(|path| path.symlink_metadata().is_ok());
    if present.is_empty() {
        return Err(Failure::new("all source directories/files do not exist"));
    }
    Ok((BackupTarget::Files(present), missing))
}
