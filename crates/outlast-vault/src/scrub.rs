//! Reads everything that is kept, while the vault serves, and compares it with its names.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use outlast_custody::{Event, RepositoryName, Scrub};
use outlast_object::{Id, ObjectKind, ObjectName};
use parking_lot::Mutex;

use crate::VaultError;
use crate::accept::object_path;
use crate::fsck::damage;
use crate::index::Admission;
use crate::vault::Vault;

/// Objects that are looked up at a time.
const PAGE: usize = 256;
/// Damaged objects that are named in the log's entry; all are counted.
const EXAMPLES_MAX: usize = 8;
/// Damaged objects that are remembered by name.
const DAMAGED_MAX: usize = 100_000;

/// The kinds in the order in which they are read.
const KINDS: [ObjectKind; 5] = [
    ObjectKind::Config,
    ObjectKind::Key,
    ObjectKind::Snapshot,
    ObjectKind::Index,
    ObjectKind::Pack,
];

/// How far a scrub has come, and what it found so far: enough to go on after a restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScrubState {
    /// Vault time at which it began, seconds since 1970.
    pub started: u64,
    /// The last object that was read; none at the beginning.
    pub last: Option<(RepositoryName, ObjectName)>,
    /// Objects read.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Damaged or missing ones.
    pub damaged: Vec<(RepositoryName, ObjectName)>,
}

/// A text that is no state of a scrub.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is no state of a scrub")]
pub struct ScrubStateError;

impl fmt::Display for ScrubState {
    /// Lines: start, objects and bytes; the last object; the damaged ones.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} {} {}", self.started, self.objects, self.bytes)?;
        let line = |f: &mut fmt::Formatter<'_>,
                    (repository, name): &(RepositoryName, ObjectName)| {
            writeln!(f, "{repository} {} {}", name.kind().folder(), name.id())
        };
        match &self.last {
            None => writeln!(f, "-")?,
            Some(last) => line(f, last)?,
        }
        self.damaged.iter().try_for_each(|damaged| line(f, damaged))
    }
}

impl FromStr for ScrubState {
    type Err = ScrubStateError;

    fn from_str(text: &str) -> Result<Self, ScrubStateError> {
        let mut lines = text.lines();
        let mut numbers = lines.next().unwrap_or_default().split(' ');
        let mut number = || {
            let number = numbers.next().and_then(|text| text.parse::<u64>().ok());
            number.ok_or(ScrubStateError)
        };
        let (started, objects, bytes) = (number()?, number()?, number()?);
        let object = |line: &str| {
            let mut words = line.split(' ');
            let repository = words.next().and_then(|text| text.parse().ok());
            let kind = words.next().and_then(ObjectKind::from_folder);
            let id = words.next().and_then(|text| text.parse::<Id>().ok());
            match (repository, kind, id) {
                (Some(repository), Some(kind), Some(id)) => {
                    Ok((repository, ObjectName::new(kind, id)))
                }
                _ => Err(ScrubStateError),
            }
        };
        let last = match lines.next().ok_or(ScrubStateError)? {
            "-" => None,
            line => Some(object(line)?),
        };
        let damaged = lines.map(object).collect::<Result<_, _>>()?;
        Ok(Self {
            started,
            last,
            objects,
            bytes,
            damaged,
        })
    }
}

/// What goes with a scrub.
pub struct ScrubOptions<'a> {
    /// Objects that are read at the same time.
    pub threads: usize,
    /// Told of the bytes of each object that was read; may take its time, which bounds the speed.
    pub pace: &'a (dyn Fn(u64) + Sync),
    /// Told of the state after each page, to be kept.
    pub progress: &'a mut dyn FnMut(&ScrubState),
    /// Ends the scrub early when it becomes true; it can be gone on with.
    pub stop: &'a AtomicBool,
}

impl Vault {
    /// The state of a scrub that begins now.
    pub fn scrub_start(&self) -> ScrubState {
        ScrubState {
            started: self.time(),
            last: None,
            objects: 0,
            bytes: 0,
            damaged: Vec::new(),
        }
    }

    /// Reads everything that was admitted, from where `state` stands to the end, and logs what was
    /// found. Gives the state at the end, or none if it was stopped.
    ///
    /// Damaged objects cannot be sealed from then on, and count in what the vault says of itself.
    ///
    /// # Errors
    /// Those of the index and of the ledger.
    pub fn scrub(
        &self,
        mut state: ScrubState,
        options: ScrubOptions<'_>,
    ) -> Result<Option<ScrubState>, VaultError> {
        for (repository, _) in self.repositories() {
            let done = state.last.as_ref().map(|(last, _)| last.clone());
            if done.is_some_and(|last| repository < last) {
                continue;
            }
            for (rank, kind) in KINDS.into_iter().enumerate() {
                if !self.scrub_kind(&repository, rank, kind, &mut state, &options)? {
                    return Ok(None);
                }
                (options.progress)(&state);
            }
        }
        *self.damaged.lock() = state.damaged.iter().cloned().collect();
        let name = |(repository, name): &(RepositoryName, ObjectName)| {
            format!("{repository}/{}/{}", name.kind().folder(), name.id())
        };
        let examples = state.damaged.iter().take(EXAMPLES_MAX).map(name);
        self.commit(vec![Event::Scrub(Scrub {
            started: state.started,
            objects: state.objects,
            bytes: state.bytes,
            damaged: state.damaged.len() as u64,
            examples: examples.collect(),
        })])?;
        Ok(Some(state))
    }

    /// Reads the rest of one kind. False if it was stopped.
    fn scrub_kind(
        &self,
        repository: &RepositoryName,
        rank: usize,
        kind: ObjectKind,
        state: &mut ScrubState,
        options: &ScrubOptions<'_>,
    ) -> Result<bool, VaultError> {
        loop {
            let after = match &state.last {
                Some((last, name)) if last == repository => {
                    let last_rank = KINDS.iter().position(|known| *known == name.kind());
                    match last_rank.cmp(&Some(rank)) {
                        std::cmp::Ordering::Greater => return Ok(true),
                        std::cmp::Ordering::Equal => Some(name.id()),
                        std::cmp::Ordering::Less => None,
                    }
                }
                _ => None,
            };
            let mut page: Vec<(ObjectName, Admission)> = Vec::new();
            self.index
                .list(repository, kind, after, &mut |name, admission| {
                    page.push((name, admission));
                    page.len() < PAGE
                })?;
            let Some((last, _)) = page.last().copied() else {
                return Ok(true);
            };
            let damaged = self.read_page(repository, &page, options);
            if options.stop.load(Ordering::Relaxed) {
                return Ok(false);
            }
            state.objects += page.len() as u64;
            state.bytes += page
                .iter()
                .map(|(_, admission)| admission.size)
                .sum::<u64>();
            let room = DAMAGED_MAX.saturating_sub(state.damaged.len());
            state.damaged.extend(
                damaged
                    .into_iter()
                    .take(room)
                    .map(|name| (repository.clone(), name)),
            );
            state.last = Some((repository.clone(), last));
            if page.len() < PAGE || kind == ObjectKind::Config {
                return Ok(true);
            }
        }
    }

    /// Reads objects; gives those that are damaged.
    fn read_page(
        &self,
        repository: &RepositoryName,
        page: &[(ObjectName, Admission)],
        options: &ScrubOptions<'_>,
    ) -> Vec<ObjectName> {
        let (next, damaged) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
        let work = || {
            while let Some((name, admission)) = page.get(next.fetch_add(1, Ordering::Relaxed)) {
                if options.stop.load(Ordering::Relaxed) {
                    return;
                }
                let path = object_path(repository, name);
                // A second look: a disk that failed for a moment has lost nothing.
                if damage(&*self.disk, &path, admission).is_some()
                    && damage(&*self.disk, &path, admission).is_some()
                {
                    damaged.lock().push(*name);
                }
                (options.pace)(admission.size);
            }
        };
        thread::scope(|scope| {
            for _ in 1..options.threads.clamp(1, page.len().max(1)) {
                // Without a thread the others do its share.
                let _ = thread::Builder::new().spawn_scoped(scope, work);
            }
            work();
        });
        let mut damaged = damaged.into_inner();
        damaged.sort_unstable();
        damaged
    }

    /// When everything was last read from end to end and found whole: the vault time at which that
    /// reading began, seconds since 1970.
    pub fn scrubbed(&self) -> Option<u64> {
        self.state.read().scrubbed
    }

    /// When the last scrub began, whatever it found.
    pub fn last_scrub(&self) -> Option<u64> {
        self.state.read().last_scrub
    }

    /// How many objects are known to be missing or damaged since the last scrub.
    pub fn known_damaged(&self) -> usize {
        self.damaged.lock().len()
    }
}
