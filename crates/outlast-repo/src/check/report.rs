//! The result of a check, and how findings are collected on the way.

use outlast_object::Id;
use parking_lot::Mutex;

use super::affected::AffectedSnapshot;
use super::{CheckObserver, Finding, Severity};

/// Findings that are kept; all are counted and shown to the observer.
pub const FINDINGS_MAX: usize = 10_000;

/// What a check found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CheckReport {
    /// What was found, the first [`FINDINGS_MAX`] of it.
    pub findings: Vec<Finding>,
    /// Errors, all of them.
    pub errors: u64,
    /// Warnings, all of them.
    pub warnings: u64,
    /// Hints, all of them.
    pub hints: u64,
    /// Packs that `repair packs` should be run on.
    pub broken_packs: Vec<Id>,
    /// Snapshots that cannot be read.
    pub broken_snapshots: Vec<Id>,
    /// Whether `repair index` would help.
    pub suggest_repair_index: bool,
    /// Whether `repair snapshots` would help.
    pub suggest_repair_snapshots: bool,
    /// Whether `prune` would tidy up.
    pub suggest_prune: bool,
    /// Snapshots of which something is lost.
    pub affected: Vec<AffectedSnapshot>,
    /// What was looked at.
    pub totals: CheckTotals,
}

impl CheckReport {
    /// Whether nothing is damaged or missing, as far as the check looked.
    pub fn is_sound(&self) -> bool {
        self.errors == 0
    }
}

/// What a check looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CheckTotals {
    /// Snapshots.
    pub snapshots: u64,
    /// Trees.
    pub trees: u64,
    /// Trees that the credentials do not read; nobody knows how many lie beneath them.
    pub trees_not_checked: u64,
    /// Packs in the store.
    pub packs: u64,
    /// Packs without an index.
    pub unreferenced_packs: u64,
    /// Packs that were read from end to end.
    pub packs_read: u64,
    /// Their bytes.
    pub bytes_read: u64,
}

/// Collects findings from many threads.
pub(super) struct Findings<'a> {
    observer: &'a dyn CheckObserver,
    report: Mutex<CheckReport>,
}

impl<'a> Findings<'a> {
    pub(super) fn new(observer: &'a dyn CheckObserver) -> Self {
        Self {
            observer,
            report: Mutex::default(),
        }
    }

    pub(super) fn add(&self, finding: Finding) {
        self.observer.finding(&finding);
        let mut report = self.report.lock();
        match finding.severity() {
            Severity::Error => report.errors += 1,
            Severity::Warning => report.warnings += 1,
            Severity::Hint => report.hints += 1,
        }
        match &finding {
            Finding::BadIndex { .. }
            | Finding::PackNotChecked { .. }
            | Finding::DuplicatePack { .. }
            | Finding::WrongIndex { .. } => {
                report.suggest_repair_index = true;
            }
            Finding::MixedPack { .. } | Finding::UnreferencedPack { .. } => {
                report.suggest_prune = true;
            }
            Finding::DamagedPack { pack, .. } => {
                report.broken_packs.push(*pack);
                report.suggest_repair_snapshots = true;
            }
            Finding::BadSnapshot { id, .. } => report.broken_snapshots.push(*id),
            Finding::MissingBlob { .. }
            | Finding::UnreadableTree { .. }
            | Finding::BadTree { .. } => report.suggest_repair_snapshots = true,
            _ => {}
        }
        if report.findings.len() < FINDINGS_MAX {
            report.findings.push(finding);
        }
    }

    pub(super) fn totals(&self, change: impl FnOnce(&mut CheckTotals)) {
        change(&mut self.report.lock().totals);
    }

    pub(super) fn into_report(self) -> CheckReport {
        let mut report = self.report.into_inner();
        // Threads found them in no particular order.
        report
            .findings
            .sort_by_key(|finding| (std::cmp::Reverse(finding.severity()), finding.to_string()));
        report.broken_packs.sort_unstable();
        report.broken_snapshots.sort_unstable();
        report
    }
}
