//! Backing up: choosing the source and the parent, then the engine's work.

use std::ffi::OsString;
use std::io::Read;
use std::path::PathBuf;
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use outlast_format::Time;
use outlast_object::{ObjectKind, ObjectName};
use outlast_repo::{
    BackupObserver, BackupOptions, BackupOutcome, ChangeDetection, GroupBy, Notice, ParentQuery,
    ParentSnapshot, RepoError, ScanTotals, StoredSnapshot, backup, find_snapshot, scan,
    select_parent,
};
use outlast_source::{Excludes, FileTree, FileTreeOptions, Source, StreamSource, Warn};

use crate::Session;
use crate::session::stored_snapshots;

/// How often it is looked whether somebody asked to stop, while a command is silent.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What is backed up.
pub enum Target {
    /// Files and directories.
    Files(Vec<PathBuf>),
    /// A stream, under this file name.
    Stream(String, Box<dyn Read + Send>),
    /// The output of a command, under this file name.
    Command(String, Vec<OsString>),
}

/// What a backup is to do.
pub struct BackupRequest {
    /// What is backed up.
    pub target: Target,
    /// What is left out.
    pub excludes: Excludes,
    /// The patterns of `excludes` as text, for the snapshot.
    pub exclude_texts: Vec<String>,
    /// Keep access times.
    pub with_atime: bool,
    /// Tags.
    pub tags: Vec<String>,
    /// Host of the snapshot.
    pub hostname: String,
    /// Time of the snapshot; `None` for now.
    pub time: Option<Time>,
    /// The snapshot to compare with, as asked for.
    pub parent: Option<String>,
    /// What the parent must have in common.
    pub group_by: GroupBy,
    /// Read everything, compare with nothing.
    pub force: bool,
    /// By what a file counts as changed.
    pub detection: ChangeDetection,
    /// Make no snapshot if nothing changed.
    pub skip_if_unchanged: bool,
    /// Write nothing.
    pub dry_run: bool,
    /// Files read at the same time.
    pub read_concurrency: Option<usize>,
    /// Count beforehand what there is.
    pub scan: bool,
    /// Program name and version.
    pub program_version: String,
    /// Where warnings about metadata go.
    pub warn: Option<Warn>,
}

/// What a backup did.
#[derive(Debug)]
pub struct BackupRun {
    /// The engine's result.
    pub outcome: BackupOutcome,
    /// The snapshot compared with.
    pub parent: Option<StoredSnapshot>,
    /// The paths of the snapshot.
    pub paths: Vec<String>,
}

/// The paths that a snapshot of these targets shows.
pub fn target_paths(targets: &[PathBuf]) -> Result<Vec<String>, RepoError> {
    let tree = FileTree::new(targets, FileTreeOptions::default())?;
    Ok(tree
        .paths()
        .iter()
        .map(|path| path.to_string_lossy().into_owned())
        .collect())
}

/// Backs up. `totals` is told what there is, from time to time and at the end.
pub fn run_backup(
    session: &Session,
    request: BackupRequest,
    observer: &dyn BackupObserver,
    totals: &(dyn Fn(ScanTotals, bool) + Sync),
) -> Result<BackupRun, RepoError> {
    let repository = session.repository();
    let lock = if request.dry_run {
        None
    } else {
        session.lock_shared()?
    };
    let time = request
        .time
        .unwrap_or_else(|| repository.environment().clock.now());
    let excludes = request.excludes;
    let mut killer = None;
    let (source, paths): (Box<dyn Source>, Vec<String>) = match request.target {
        Target::Files(targets) => {
            let options = FileTreeOptions {
                excludes,
                with_atime: request.with_atime,
                warn: request.warn,
            };
            let tree = FileTree::new(&targets, options)?;
            let paths = tree
                .paths()
                .iter()
                .map(|path| path.to_string_lossy().into_owned());
            let paths = paths.collect();
            (Box::new(tree), paths)
        }
        Target::Stream(name, reader) => {
            let stream = StreamSource::new(&name, time, reader)?;
            let path = stream.path().to_string_lossy().into_owned();
            (Box::new(stream), vec![path])
        }
        Target::Command(name, command) => {
            let stream = StreamSource::from_command(&name, time, &command)?;
            killer = stream.killer();
            let path = stream.path().to_string_lossy().into_owned();
            (Box::new(stream), vec![path])
        }
    };
    let parent = if request.force {
        None
    } else {
        let query = ParentQuery {
            group_by: request.group_by,
            hostname: &request.hostname,
            paths: &paths,
            tags: &request.tags,
            time,
            now: repository.environment().clock.now(),
        };
        choose_parent(session, request.parent.as_deref(), &query)?
    };
    session.load_trusted_index()?;
    let options = BackupOptions {
        time,
        hostname: request.hostname,
        tags: request.tags,
        paths: paths.clone(),
        excludes: request.exclude_texts,
        parent: parent.as_ref().map(|parent| ParentSnapshot {
            id: parent.id,
            snapshot: parent.snapshot.clone(),
        }),
        detection: request.detection,
        skip_if_unchanged: request.skip_if_unchanged,
        dry_run: request.dry_run,
        read_concurrency: request.read_concurrency,
        adopt_packs: lock
            .as_ref()
            .is_some_and(outlast_repo::LockGuard::others_seen),
        program_version: request.program_version,
    };
    let stop_scan = outlast_repo::Cancel::new();
    let result = std::thread::scope(|scope| {
        if request.scan {
            let (source, stop_scan) = (&*source, &stop_scan);
            scope.spawn(move || {
                // A scan that is stopped or fails only means that there is no estimate.
                if let Ok(found) = scan(source, stop_scan, |found| totals(found, false)) {
                    totals(found, true);
                }
            });
        }
        let (done, until_done) = std::sync::mpsc::channel::<()>();
        if let Some(killer) = killer {
            let cancel = session.cancel();
            // Whoever waits for the output of a silent command sees no request to stop.
            scope.spawn(move || {
                while until_done.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Timeout) {
                    if cancel.is_cancelled() {
                        return killer.kill();
                    }
                }
            });
        }
        let result = backup(repository, &*source, &options, observer, session.cancel());
        drop(done);
        stop_scan.cancel();
        // A command that was ended on request has not failed.
        result.map_err(|error| session.cancel().check().err().unwrap_or(error))
    });
    if let Some(lock) = &lock {
        lock.check()?;
    }
    Ok(BackupRun {
        outcome: result?,
        parent,
        paths,
    })
}

/// The snapshots that may be compared with unasked: with a trust horizon, those admitted before it and
/// those that this host has made itself. A planted one could make changed files look unchanged.
fn trusted_parents<'a>(session: &Session, list: &[&'a StoredSnapshot]) -> Vec<&'a StoredSnapshot> {
    let facts = session.admissions();
    if facts.horizon().is_none() {
        return list.to_vec();
    }
    let own = session.repository().own_snapshots();
    let is_trusted = |stored: &&&StoredSnapshot| {
        let name = ObjectName::new(ObjectKind::Snapshot, stored.id);
        facts.is_trusted(&name) || own.contains(&stored.id)
    };
    list.iter().filter(is_trusted).copied().collect()
}

fn choose_parent(
    session: &Session,
    asked: Option<&str>,
    query: &ParentQuery<'_>,
) -> Result<Option<StoredSnapshot>, RepoError> {
    let all = stored_snapshots(session.repository(), session.cancel())?;
    let list: Vec<&StoredSnapshot> = all.iter().collect();
    let selection = |error: outlast_repo::SelectionError| RepoError::Selection(error.to_string());
    let (parent, warnings) = match asked {
        Some("latest") => {
            let latest = session.resolve(&list, &"latest".into(), &query.filter());
            let selected = latest.map_err(selection)?;
            (Some(selected.snapshot), selected.warnings)
        }
        Some(id) => (
            Some(find_snapshot(&list, id).map_err(selection)?),
            Vec::new(),
        ),
        None => select_parent(&trusted_parents(session, &list), query),
    };
    for warning in warnings {
        session
            .repository()
            .environment()
            .notice(Notice::Other(warning.to_string()));
    }
    Ok(parent.cloned())
}
