//! What the guard says, in words for people.

use std::fmt;

use outlast_format::Time;
use outlast_object::Id;

use crate::snapshots::StoredSnapshot;

/// How many snapshots a message names.
const NAMED_MAX: usize = 5;

/// A snapshot and the time it claims.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dated {
    /// The snapshot.
    pub id: Id,
    /// When it was made, as it claims.
    pub time: Time,
}

impl Dated {
    pub(super) fn of(stored: &StoredSnapshot) -> Self {
        Self {
            id: stored.id,
            time: stored.snapshot.time,
        }
    }
}

/// What proves that a snapshot was not there at the time it claims.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Evidence {
    /// The store admitted it late, after one that claims to be newer.
    Admitted {
        /// When it was admitted.
        seen: Time,
    },
    /// A newer snapshot has an older one as its parent.
    PassedOver {
        /// The newer snapshot.
        by: Id,
        /// Its parent.
        parent: Id,
    },
}

/// Something to be shown; forget goes on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GuardNotice {
    /// Snapshots dated in the future are kept and not counted.
    #[error(
        "dated in the future, kept and not counted: {}{}",
        List(snapshots),
        pushed_out(would_push_out)
    )]
    FutureDated {
        /// The snapshots, newest first.
        snapshots: Vec<Dated>,
        /// What would have been removed if they were counted.
        would_push_out: Vec<Dated>,
    },
}

/// A reason to remove nothing of the group before somebody has looked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GuardFinding {
    /// Too many snapshots at once.
    #[error(
        "{} more snapshots than usual were made at once: {}; because of them {} would be removed: {}",
        snapshots.len(),
        List(snapshots),
        would_lose.len(),
        List(would_lose)
    )]
    Burst {
        /// The snapshots that are too many, newest first.
        snapshots: Vec<Dated>,
        /// What the policy would keep without them.
        would_lose: Vec<Dated>,
    },
    /// Snapshots that were added later than they claim.
    #[error(
        "{} snapshots were added later than they claim to have been made: {}; because of them {} \
         would be removed: {}",
        snapshots.len(),
        Proven(snapshots),
        would_lose.len(),
        List(would_lose)
    )]
    BackDated {
        /// The snapshots and what proves it, newest first.
        snapshots: Vec<(Dated, Evidence)>,
        /// What the policy would keep without them, or without those that accuse them.
        would_lose: Vec<Dated>,
    },
}

impl GuardFinding {
    /// How to proceed.
    pub fn hint(&self) -> &'static str {
        "look at these snapshots; forget by their IDs those that are not yours, or repeat with \
         --allow-burst if all is as it should be"
    }

    /// What would be lost.
    pub fn would_lose(&self) -> &[Dated] {
        match self {
            GuardFinding::Burst { would_lose, .. } | GuardFinding::BackDated { would_lose, .. } => {
                would_lose
            }
        }
    }
}

fn pushed_out(list: &[Dated]) -> String {
    if list.is_empty() {
        return String::new();
    }
    format!("; counted, they would have pushed out {}", List(list))
}

fn write_list<T>(
    f: &mut fmt::Formatter<'_>,
    list: &[T],
    write: impl Fn(&mut fmt::Formatter<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    for (number, item) in list.iter().take(NAMED_MAX).enumerate() {
        if number > 0 {
            f.write_str(", ")?;
        }
        write(f, item)?;
    }
    match list.len().saturating_sub(NAMED_MAX) {
        0 => Ok(()),
        more => write!(f, " and {more} more"),
    }
}

struct List<'a>(&'a [Dated]);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_list(f, self.0, |f, dated| {
            write!(f, "{} ({})", dated.id.short(), dated.time)
        })
    }
}

struct Proven<'a>(&'a [(Dated, Evidence)]);

impl fmt::Display for Proven<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_list(f, self.0, |f, (dated, evidence)| {
            write!(f, "{} ({}, ", dated.id.short(), dated.time)?;
            match evidence {
                Evidence::Admitted { seen } => write!(f, "admitted {seen})"),
                Evidence::PassedOver { by, .. } => write!(f, "unknown to {})", by.short()),
            }
        })
    }
}
