//! The report: plain data, signed as a note, and shown as text or HTML.

use std::fmt::Write as _;
use std::path::Path;

use outlast_custody::{Loss, Subject, Table};
use outlast_log::{Note, VerifierKey};
use serde::{Deserialize, Serialize};

use super::ProveError;
use super::probes::{Attempt, Outcome};
use crate::config::{ConfigurationError, read_at_most};
use crate::html::escape;
use crate::safety::{Safety, SetStatus};
use crate::status::moment;

/// Largest report that is read, in bytes.
const REPORT_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// The form of reports that this program writes and reads.
const VERSION: u32 = 1;
/// Seconds in an hour.
const HOUR: u64 = 3600;

/// What was found out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// The form of the report.
    pub version: u32,
    /// The machine that made it.
    pub host: String,
    /// When, seconds since 1970.
    pub made: u64,
    /// The custodians, by number.
    pub custodians: Vec<String>,
    /// Data sets, and whether each is safe by the policy.
    pub data_sets: Vec<(String, bool)>,
    /// What the loss of each thing, and of each pair, means.
    pub losses: Vec<RowOfLoss>,
    /// What should be changed.
    pub findings: Vec<String>,
    /// What was tried.
    pub attempts: Vec<Attempt>,
}

/// What follows if something is somebody's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RowOfLoss {
    /// What.
    pub subject: String,
    /// Custodians whose copies are destroyed, and whether what is held survives.
    pub destroyed: Vec<(String, bool)>,
    /// Custodians whose ciphertext is read.
    pub ciphertext: Vec<String>,
    /// Custodians whose copies are readable.
    pub readable: Vec<String>,
    /// Data sets of which nothing is left.
    pub gone: Vec<String>,
    /// Custodians that still have copies of every data set that is left.
    pub remains: Vec<String>,
    /// The moment to which the worst-off data set that is left goes back, seconds since 1970.
    pub back_to: Option<u64>,
    /// Estimated hours to restore everything that is left, one after the other; none where a rate is not
    /// declared.
    pub restore_hours: Option<u64>,
}

impl Report {
    pub(super) fn new(
        host: &str,
        made: u64,
        safety: &Safety,
        sets: &[SetStatus],
        table: &Table,
        attempts: Vec<Attempt>,
    ) -> Self {
        let custodians = safety.names();
        let name = |number: &usize| custodians.get(*number).cloned().unwrap_or_default();
        let subject = |subjects: &[Subject]| {
            let texts: Vec<String> = subjects.iter().map(ToString::to_string).collect();
            texts.join(" and ")
        };
        let row = |outcome: &outlast_custody::Outcome| {
            let gone = outcome
                .gone()
                .filter_map(|set| table.data_sets.get(set).cloned());
            let left = || outcome.remains.iter().filter(|one| one.newest.is_some());
            let with_all = (0..custodians.len())
                .filter(|number| left().all(|one| one.custodians.contains(number)));
            let seconds: Option<Vec<u64>> = left().map(|one| one.restore_seconds).collect();
            let destroyed = outcome.losses.iter().enumerate();
            RowOfLoss {
                subject: subject(&outcome.taken),
                destroyed: destroyed
                    .filter(|(_, loss)| **loss != Loss::Nothing)
                    .map(|(number, loss)| (name(&number), *loss == Loss::NotHeld))
                    .collect(),
                ciphertext: outcome.ciphertext.iter().map(name).collect(),
                readable: outcome.readable.iter().map(name).collect(),
                gone: gone.collect(),
                remains: with_all.map(|number| name(&number)).collect(),
                back_to: left().filter_map(|one| one.newest).min(),
                restore_hours: seconds
                    .filter(|seconds| !seconds.is_empty())
                    .map(|seconds| seconds.iter().sum::<u64>().div_ceil(HOUR)),
            }
        };
        Self {
            version: VERSION,
            host: host.to_owned(),
            made,
            losses: table.outcomes.iter().map(row).collect(),
            findings: table.findings.iter().map(ToString::to_string).collect(),
            data_sets: sets
                .iter()
                .map(|set| {
                    let name = format!("{}:{}", set.set.host, set.set.paths.join(" "));
                    let newest = set.newest.as_ref();
                    (name, newest.is_some_and(|newest| newest.verdict.is_safe()))
                })
                .collect(),
            custodians,
            attempts,
        }
    }

    /// The attempts that succeeded and should not have, and what was seen and should not be so.
    pub fn red_lines(&self) -> impl Iterator<Item = &Attempt> {
        let attempts = self.attempts.iter();
        attempts.filter(|attempt| attempt.outcome.is_red())
    }

    /// Whether the loss of any one thing leaves every data set, and nothing succeeded that should not
    /// have.
    pub fn is_clean(&self) -> bool {
        let single = self
            .losses
            .iter()
            .filter(|row| !row.subject.contains(" and "));
        self.red_lines().next().is_none() && single.clone().all(|row| row.gone.is_empty())
    }

    /// The text that is signed.
    pub(super) fn to_text(&self) -> String {
        // Texts and numbers always have a JSON form; a note's text ends with a line break.
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text
    }
}

/// Reads a report and verifies offline who signed it.
///
/// # Errors
/// [`ProveError::Unproven`] if it is not what one of these identities signed.
pub fn open_report(
    path: &Path,
    identities: &[VerifierKey],
) -> Result<(Report, Vec<VerifierKey>), ProveError> {
    let unproven = |reason: String| ProveError::Unproven {
        path: path.to_owned(),
        reason,
    };
    let bytes = read_at_most(path, REPORT_BYTES_MAX)
        .and_then(|bytes| bytes.ok_or_else(|| std::io::ErrorKind::NotFound.into()))
        .map_err(|source| ConfigurationError::Io {
            path: path.to_owned(),
            source,
        })?;
    let note = Note::parse(&bytes).map_err(|error| unproven(error.to_string()))?;
    let verified = note
        .open(identities)
        .map_err(|error| unproven(error.to_string()))?;
    let report: Report = serde_json::from_str(verified.text())
        .map_err(|error| unproven(format!("it is signed and no report: {error}")))?;
    if report.version != VERSION {
        let version = report.version;
        return Err(unproven(format!("its form {version} is not known here")));
    }
    Ok((report, verified.signers().to_vec()))
}

/// The report as a page that can be printed. It is a rendering: what counts is the signed note.
pub fn html(report: &Report) -> String {
    let mut page = String::from(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>What would be lost</title>\n\
         <style>body{font:14px/1.4 sans-serif;margin:2em;max-width:70em}table{border-collapse:collapse}\
         td,th{border:1px solid #999;padding:.2em .5em;text-align:left;vertical-align:top}\
         .bad{color:#b00;font-weight:bold}@media print{body{margin:0}}</style></head><body>\n",
    );
    // Writing to a string cannot fail.
    let _ = writeln!(
        page,
        "<h1>What would be lost</h1>\n<p>Made by {} at {}.</p>",
        escape(&report.host),
        moment(report.made)
    );
    let class = |is_bad: bool| if is_bad { " class=\"bad\"" } else { "" };
    page.push_str("<h2>Data sets</h2>\n<ul>\n");
    for (name, is_safe) in &report.data_sets {
        let word = if *is_safe { "safe" } else { "NOT SAFE YET" };
        let _ = writeln!(page, "<li{}>{}: {word}</li>", class(!is_safe), escape(name));
    }
    page.push_str("</ul>\n<h2>What should be changed</h2>\n<ul>\n");
    for finding in &report.findings {
        let _ = writeln!(page, "<li class=\"bad\">{}</li>", escape(finding));
    }
    page.push_str("</ul>\n<h2>What was tried</h2>\n<table><tr><th>at</th><th>with</th><th>what</th><th>outcome</th></tr>\n");
    for attempt in &report.attempts {
        let is_bad = attempt.outcome.is_red();
        let _ = writeln!(
            page,
            "<tr{}><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            class(is_bad),
            escape(&attempt.custodian),
            escape(&attempt.credential),
            escape(&attempt.what),
            escape(&outcome_text(attempt))
        );
    }
    page.push_str("</table>\n<h2>What the loss of each would mean</h2>\n<table><tr><th>lost</th><th>destroyed</th><th>readable</th><th>nothing left of</th><th>left at</th><th>back to</th><th>hours to restore</th></tr>\n");
    for row in &report.losses {
        let destroyed: Vec<String> = row.destroyed.iter().map(destroyed_text).collect();
        let hours = row
            .restore_hours
            .map_or("?".to_owned(), |hours| hours.to_string());
        let _ = writeln!(
            page,
            "<tr{}><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{hours}</td></tr>",
            class(!row.gone.is_empty()),
            escape(&row.subject),
            escape(&destroyed.join(", ")),
            escape(&row.readable.join(", ")),
            escape(&row.gone.join(", ")),
            escape(&row.remains.join(", ")),
            row.back_to.map_or_else(|| "-".to_owned(), moment)
        );
    }
    page.push_str("</table>\n</body></html>\n");
    page
}

/// A destroyed copy, for people.
pub(super) fn destroyed_text((name, keeps_held): &(String, bool)) -> String {
    match keeps_held {
        true => format!("{name}, but for what is held"),
        false => name.clone(),
    }
}

/// What became of an attempt, for people.
fn outcome_text(attempt: &Attempt) -> String {
    match (&attempt.outcome, &attempt.fix) {
        (Outcome::Succeeded, Some(fix)) => format!("SUCCEEDED: {fix}"),
        (Outcome::Succeeded, None) => "SUCCEEDED".to_owned(),
        (Outcome::Wrong(seen), Some(fix)) => format!("WRONG: {seen}: {fix}"),
        (Outcome::Wrong(seen), None) => format!("WRONG: {seen}"),
        (Outcome::Allowed, _) => "allowed, as it may be".to_owned(),
        (Outcome::Refused(reason), _) => format!("refused: {reason}"),
        (Outcome::NotTried(reason), _) => format!("not tried: {reason}"),
    }
}

impl std::fmt::Display for Attempt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            custodian,
            credential,
            what,
            ..
        } = self;
        write!(
            f,
            "{custodian}: {what}, with the {credential}: {}",
            outcome_text(self)
        )
    }
}
