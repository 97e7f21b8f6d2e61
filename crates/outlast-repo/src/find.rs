//! Searching snapshots for names, and for the places where blobs, trees and packs are used:
//! restic's `find`.
//!
//! One snapshot is searched at a time, entry by entry, in bounded memory. What is damaged is
//! reported with its path, and the search goes on beside it.

mod objects;
mod time;

pub use objects::{FoundObject, ObjectQuery, find_objects, packs_of};
pub use time::parse_find_time;

use std::path::PathBuf;

use outlast_format::Time;
use outlast_object::Id;
use outlast_source::pattern::Pattern;

use crate::{Cancel, RepoError, Repository, TreeWalk, WalkEntry, WalkProblem, WalkStep};

/// Which entries are sought.
#[derive(Debug, Clone)]
pub struct NameQuery {
    patterns: Vec<Pattern>,
    /// An empty pattern was among them, which everything matches.
    everything: bool,
    oldest: Option<Time>,
    newest: Option<Time>,
}

/// What a search tells as it goes.
#[derive(Debug)]
pub enum FindEvent {
    /// An entry that was sought.
    Match(Box<WalkEntry>),
    /// A place where a blob or tree that was sought is used.
    Object(FoundObject),
    /// A damaged place; what lies beneath it is not searched.
    Problem {
        /// The directory, or the entry within it.
        path: PathBuf,
        /// What is wrong with it.
        problem: WalkProblem,
    },
}

impl NameQuery {
    /// Entries whose path matches any of the patterns, last modified neither before `oldest` nor
    /// after `newest`. A pattern that cannot be understood, or a range that ends before it begins,
    /// is refused.
    pub fn new<P: AsRef<[u8]>>(
        patterns: &[P],
        ignore_case: bool,
        oldest: Option<Time>,
        newest: Option<Time>,
    ) -> Result<Self, RepoError> {
        if let (Some(oldest), Some(newest)) = (oldest, newest)
            && oldest.instant() > newest.instant()
        {
            let message = "--oldest must specify a time before --newest";
            return Err(RepoError::Refused(message.to_owned()));
        }
        let is_empty = |pattern: &&P| pattern.as_ref().is_empty();
        let compiled = patterns
            .iter()
            .filter(|pattern| !is_empty(pattern))
            .map(|pattern| Pattern::new(pattern.as_ref(), ignore_case));
        Ok(Self {
            everything: patterns.iter().any(|pattern| is_empty(&pattern)),
            patterns: compiled.collect::<Result<_, _>>()?,
            oldest,
            newest,
        })
    }

    fn matches(&self, entry: &WalkEntry) -> bool {
        let mtime = entry.node.mtime.instant();
        let in_range = self.oldest.is_none_or(|oldest| mtime >= oldest.instant())
            && self.newest.is_none_or(|newest| mtime <= newest.instant());
        let named = |pattern: &Pattern| pattern.matches(&entry.path);
        in_range && (self.everything || self.patterns.iter().any(named))
    }

    fn may_match_beneath(&self, entry: &WalkEntry) -> bool {
        let beneath = |pattern: &Pattern| pattern.child_may_match(&entry.path);
        self.everything || self.patterns.iter().any(beneath)
    }
}

/// Searches the snapshot with this root tree for names.
pub fn find_names(
    repository: &Repository,
    root: Id,
    query: &NameQuery,
    cancel: &Cancel,
    report: &mut dyn FnMut(FindEvent),
) -> Result<(), RepoError> {
    let mut walk = TreeWalk::new(repository, "/".as_ref(), root, cancel);
    while let Some(step) = walk.step()? {
        match step {
            WalkStep::Entry(entry) => {
                if entry.node.is_directory() && !query.may_match_beneath(&entry) {
                    walk.skip_directory();
                }
                if query.matches(&entry) {
                    report(FindEvent::Match(Box::new(entry)));
                }
            }
            WalkStep::Leave(_) => {}
            WalkStep::Problem { path, problem } => report(FindEvent::Problem { path, problem }),
        }
    }
    Ok(())
}
