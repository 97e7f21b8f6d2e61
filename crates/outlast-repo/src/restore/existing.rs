//! Looking at what is in the target before anything is written.

use outlast_object::hash;
use outlast_source::{Target, TargetFile};
use rustix::fs::Stat;

use super::Run;
use super::file::{Decision, FileWork, blob_length};
use super::finish::OddFirst;
use super::observer::RestoreAction;
use super::options::Overwrite;
use crate::RepoError;

/// Decides what is done with a file.
pub(super) fn look_at_existing(run: &Run<'_>, file: &FileWork) -> Result<(), RepoError> {
    let decision = decide(run, file)?;
    match &decision {
        Decision::Skip => {
            file.note_odd(run, OddFirst::Kept);
            run.reporter
                .done(&file.path, RestoreAction::Unchanged, file.size);
        }
        Decision::Write { .. } => run.reporter.planned(file.size),
        Decision::Failed => file.note_odd(run, OddFirst::Lost),
        Decision::Keep => {}
    }
    // Nobody else decides about this file.
    let _ = file.decision.set(decision);
    Ok(())
}

fn decide(run: &Run<'_>, file: &FileWork) -> Result<Decision, RepoError> {
    let nothing = Decision::Write {
        existed: false,
        matches: Vec::new(),
    };
    let Some(target) = run.target.as_ref().filter(|_| !file.fresh) else {
        return Ok(nothing);
    };
    let stat = match target.stat(file.relative()) {
        Ok(Some(stat)) => stat,
        Ok(None) => return Ok(nothing),
        Err(error) => {
            run.target_failed(&file.path, error)?;
            return Ok(Decision::Failed);
        }
    };
    if !may_overwrite(run.options.overwrite, &file.node, &stat) {
        return Ok(Decision::Skip);
    }
    match target.open_file(file.relative()) {
        Ok(Some(open)) => compare(run, target, file, &open, &stat),
        // What cannot be read is replaced.
        Ok(None) | Err(_) => Ok(nothing),
    }
}

/// Whether the rule lets the snapshot's entry take the place of what is there.
#[allow(
    clippy::unnecessary_cast,
    reason = "the types differ between architectures"
)]
pub(super) fn may_overwrite(
    overwrite: Overwrite,
    node: &outlast_format::Node,
    stat: &Stat,
) -> bool {
    let there = (stat.st_mtime as i64, stat.st_mtime_nsec as u32);
    match overwrite {
        Overwrite::Always | Overwrite::IfChanged => true,
        Overwrite::IfNewer => node.mtime.instant() > there,
        Overwrite::Never => false,
    }
}

#[allow(
    clippy::unnecessary_cast,
    reason = "the types differ between architectures"
)]
fn compare(
    run: &Run<'_>,
    target: &Target,
    file: &FileWork,
    open: &TargetFile,
    stat: &Stat,
) -> Result<Decision, RepoError> {
    let size = stat.st_size as u64;
    let mtime = (stat.st_mtime as i64, stat.st_mtime_nsec as u32);
    let same_size = size == file.size;
    if run.options.overwrite == Overwrite::IfChanged
        && same_size
        && mtime == file.node.mtime.instant()
    {
        return Ok(Decision::Keep);
    }
    let mut matches = vec![false; file.content().len()];
    let mut buffer = Vec::new();
    let mut running: u64 = 0;
    for (number, id) in file.content().iter().enumerate() {
        run.cancel.check()?;
        let Some(length) = blob_length(run, *id)? else {
            continue;
        };
        let place = file.place(number, running);
        running = running.saturating_add(length);
        let Some(place) = place else { continue };
        if place.saturating_add(length) > size || length > outlast_format::BLOB_BYTES_MAX {
            continue;
        }
        buffer.resize(length as usize, 0);
        // What cannot be read is written again.
        let filled = open.read_at(&mut buffer, place).unwrap_or(0);
        matches[number] = filled == buffer.len() && hash(&buffer) == *id;
    }
    if same_size && matches.iter().all(|matched| *matched) {
        return Ok(Decision::Keep);
    }
    if !matches.contains(&true) || run.options.dry_run {
        return Ok(Decision::Write {
            existed: true,
            matches,
        });
    }
    keep_matches(run, target, file, stat, matches)
}

/// Makes sure that what matches is still there when the rest is written: a file with other names,
/// or one that cannot be opened for writing, is replaced and begins empty.
fn keep_matches(
    run: &Run<'_>,
    target: &Target,
    file: &FileWork,
    stat: &Stat,
    mut matches: Vec<bool>,
) -> Result<Decision, RepoError> {
    let opened = target
        .create_file(file.relative())
        .and_then(|_| target.stat(file.relative()));
    match opened {
        Ok(now) => {
            if now.is_none_or(|now| now.st_ino != stat.st_ino) {
                matches.fill(false);
            }
            Ok(Decision::Write {
                existed: true,
                matches,
            })
        }
        Err(error) => {
            run.target_failed(&file.path, error)?;
            Ok(Decision::Failed)
        }
    }
}
