//! What each place has still to get, and who waits for it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use outlast_object::{ObjectKind, ObjectName};
use parking_lot::{Condvar, Mutex};

use super::SeveralOptions;
use crate::{Capabilities, Deletes, StoreError};

/// How long somebody waits before looking again whether waiting still makes sense.
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Why nothing can be written where every place that answers is behind.
const LACKING: &str = "those that answer lack something; `outlast sync` completes them";

/// How a place stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It has not answered yet.
    Waiting,
    /// It has answered and takes objects.
    Ready,
    /// It cannot be reached, or failed, or is not to be used, for this reason.
    Away(String),
}

/// How a place stands after the work.
#[derive(Debug, Clone)]
pub struct Report {
    /// The place.
    pub name: String,
    /// Whether it can be reached.
    pub standing: Standing,
    /// Objects that it took.
    pub sent: u64,
    /// Their bytes.
    pub sent_bytes: u64,
    /// Objects of this work that it does not have.
    pub missing: u64,
    /// It lacked something from before.
    pub was_behind: bool,
}

impl Report {
    /// Whether the place has everything that was written, and had everything before.
    pub fn is_complete(&self) -> bool {
        self.standing == Standing::Ready && self.missing == 0 && !self.was_behind
    }
}

/// What a place showed when it was met.
pub(super) struct Met {
    pub(super) store: Arc<dyn Deletes>,
    pub(super) config: Option<Vec<u8>>,
    pub(super) ids: BTreeSet<ObjectName>,
}

/// How a place joins.
pub(super) enum Joining {
    Ready,
    Enrol(Arc<dyn Deletes>),
    Refused,
}

/// Something to be sent. Without bytes it is in the spool.
pub(super) struct Task {
    number: u64,
    pub(super) name: ObjectName,
    pub(super) bytes: Option<Arc<[u8]>>,
    size: u64,
}

pub(super) struct Job {
    pub(super) name: ObjectName,
    pub(super) size: u64,
    /// None once it is in the spool, or given up.
    pub(super) bytes: Option<Arc<[u8]>>,
    /// Places that are still to take it.
    pub(super) waiting: usize,
    /// Places that have it.
    pub(super) done: Vec<usize>,
    pub(super) error: Option<StoreError>,
    /// Some place does not get it from the queue, so that the spool has to keep it.
    pub(super) is_owed: bool,
    /// Whoever wrote it still waits.
    pub(super) is_awaited: bool,
    /// Somebody is bringing it to the spool.
    pub(super) is_moving: bool,
    /// It is in the spool.
    pub(super) is_spooled: bool,
}

pub(super) struct PlaceState {
    pub(super) name: String,
    pub(super) store: Option<Arc<dyn Deletes>>,
    pub(super) met: Option<Met>,
    pub(super) standing: Standing,
    pub(super) queue: VecDeque<u64>,
    pub(super) in_flight: Vec<u64>,
    pub(super) sent: u64,
    pub(super) sent_bytes: u64,
    pub(super) missing: u64,
    pub(super) was_behind: bool,
    pub(super) began: Option<Instant>,
    pub(super) progress: Instant,
    pub(super) took: Option<Duration>,
}

impl PlaceState {
    pub(super) fn has_work(&self) -> bool {
        !self.in_flight.is_empty() || !self.queue.is_empty()
    }

    pub(super) fn waits_for(&self, number: u64) -> bool {
        self.in_flight.contains(&number) || self.queue.contains(&number)
    }

    /// Whether it would show what is not whole if it got an index or a snapshot.
    pub(super) fn is_behind(&self) -> bool {
        self.was_behind || self.missing > 0
    }
}

pub(super) struct State {
    pub(super) places: Vec<PlaceState>,
    pub(super) jobs: BTreeMap<u64, Job>,
    pub(super) next: u64,
    /// Bytes of all jobs that are in memory.
    pub(super) memory: u64,
    pub(super) primary: Option<usize>,
    /// The primary's config; none for a new repository.
    pub(super) config: Option<Vec<u8>>,
    /// What the spool need not keep any longer: every place has it.
    pub(super) releasable: Vec<ObjectName>,
    pub(super) is_stopping: bool,
}

impl State {
    /// Whether a place has the object that has everything else too. Only then may others be left
    /// behind: if each missed something else, none could show anything.
    pub(super) fn is_safe(&self, number: u64) -> bool {
        let is_whole = |at: &usize| {
            let place = self.places.get(*at);
            place.is_some_and(|place| !place.is_behind() && place.standing == Standing::Ready)
        };
        let job = self.jobs.get(&number);
        job.is_some_and(|job| job.done.iter().any(is_whole))
    }
}

/// What all threads share.
pub(super) struct Shared {
    pub(super) state: Mutex<State>,
    pub(super) changed: Condvar,
    pub(super) options: SeveralOptions,
    pub(super) began: Instant,
}

fn is_bulk(kind: ObjectKind) -> bool {
    kind == ObjectKind::Pack
}

/// What is not to be shown before everything that it refers to.
fn shows_others(kind: ObjectKind) -> bool {
    matches!(kind, ObjectKind::Index | ObjectKind::Snapshot)
}

impl Shared {
    pub(super) fn new(names: Vec<String>, options: SeveralOptions) -> Self {
        let now = Instant::now();
        let place = |name| PlaceState {
            name,
            store: None,
            met: None,
            standing: Standing::Waiting,
            queue: VecDeque::new(),
            in_flight: Vec::new(),
            sent: 0,
            sent_bytes: 0,
            missing: 0,
            was_behind: false,
            began: None,
            progress: now,
            took: None,
        };
        Self {
            state: Mutex::new(State {
                places: names.into_iter().map(place).collect(),
                jobs: BTreeMap::new(),
                next: 0,
                memory: 0,
                primary: None,
                config: None,
                releasable: Vec::new(),
                is_stopping: false,
            }),
            changed: Condvar::new(),
            options,
            began: now,
        }
    }

    pub(super) fn connections(&self) -> usize {
        self.options.connections.max(1)
    }

    pub(super) fn names(&self) -> Vec<String> {
        let state = self.state.lock();
        state
            .places
            .iter()
            .map(|place| place.name.clone())
            .collect()
    }

    pub(super) fn name(&self, at: usize) -> String {
        let state = self.state.lock();
        state
            .places
            .get(at)
            .map_or_else(String::new, |place| place.name.clone())
    }

    pub(super) fn store(&self, at: usize) -> Option<Arc<dyn Deletes>> {
        let state = self.state.lock();
        state.places.get(at)?.store.clone()
    }

    pub(super) fn place(&self, name: &str) -> Option<Arc<dyn Deletes>> {
        let state = self.state.lock();
        let place = state.places.iter().find(|place| place.name == name)?;
        place.store.clone()
    }

    /// The places in the order in which they are asked.
    pub(super) fn order(&self, primary: usize) -> Vec<usize> {
        let count = self.state.lock().places.len();
        let others = (0..count).filter(|at| *at != primary);
        std::iter::once(primary).chain(others).collect()
    }

    pub(super) fn capabilities(&self) -> Vec<Capabilities> {
        let state = self.state.lock();
        let stores = state.places.iter().filter_map(|place| place.store.as_ref());
        stores.map(|store| store.capabilities()).collect()
    }

    /// A place is out: it gets nothing more.
    pub(super) fn away(&self, at: usize, reason: String) {
        let mut state = self.state.lock();
        let Some(place) = state.places.get_mut(at) else {
            return;
        };
        place.standing = Standing::Away(reason.clone());
        let left: Vec<u64> = place.queue.drain(..).collect();
        place.missing += left.len() as u64;
        let name = place.name.clone();
        for number in left {
            self.settle(&mut state, at, number, Err(unavailable(&name, &reason)));
        }
        self.changed.notify_all();
    }

    /// One place less waits for the job: it has it, or will not get it from here.
    fn settle(&self, state: &mut State, at: usize, number: u64, outcome: Result<(), StoreError>) {
        let Some(job) = state.jobs.get_mut(&number) else {
            return;
        };
        job.waiting = job.waiting.saturating_sub(1);
        match outcome {
            Ok(()) => job.done.push(at),
            Err(error) => {
                job.is_owed = true;
                job.error = job.error.take().or(Some(error));
            }
        }
        self.forget_if_settled(state, number);
    }

    /// Whether what a place does not get is kept in the spool: where it could not be read back from
    /// another place.
    pub(super) fn spools(&self, state: &State) -> bool {
        let reads = |place: &PlaceState| {
            let store = place.store.as_ref();
            place.standing == Standing::Ready
                && store.is_some_and(|store| store.capabilities().reads_packs)
        };
        self.options.spool.is_some() && !state.places.iter().any(reads)
    }

    pub(super) fn forget_if_settled(&self, state: &mut State, number: u64) {
        let spools = self.spools(state);
        let Some(job) = state.jobs.get(&number) else {
            return;
        };
        let is_kept = job.is_owed && spools && job.bytes.is_some() && !job.done.is_empty();
        if job.waiting == 0 && !job.is_awaited && !is_kept && !job.is_moving {
            let in_memory = job.bytes.as_ref().map_or(0, |_| job.size);
            let released = (job.is_spooled && !job.is_owed).then_some(job.name);
            state.releasable.extend(released);
            state.memory = state.memory.saturating_sub(in_memory);
            state.jobs.remove(&number);
        }
    }

    /// The next thing to bring to a place; none when there will be nothing more.
    pub(super) fn next(&self, at: usize) -> Option<Task> {
        let mut state = self.state.lock();
        loop {
            let place = state.places.get(at)?;
            if state.is_stopping || place.standing != Standing::Ready {
                return None;
            }
            let head = place.queue.front().copied();
            let Some((number, job)) =
                head.and_then(|number| Some((number, state.jobs.get(&number)?)))
            else {
                self.changed.wait(&mut state);
                continue;
            };
            let name = job.name;
            if shows_others(name.kind()) && place.is_behind() {
                // It must not show what it does not have whole.
                let error = unavailable(&place.name, "it is behind");
                if let Some(place) = state.places.get_mut(at) {
                    place.queue.pop_front();
                    place.missing += 1;
                }
                self.settle(&mut state, at, number, Err(error));
                self.changed.notify_all();
                continue;
            }
            if !is_bulk(name.kind()) && !place.in_flight.is_empty() {
                self.changed.wait(&mut state);
                continue;
            }
            let task = Task {
                number,
                name,
                bytes: job.bytes.clone(),
                size: job.size,
            };
            let place = state.places.get_mut(at)?;
            place.queue.pop_front();
            place.in_flight.push(number);
            return Some(task);
        }
    }

    pub(super) fn read_spooled(&self, name: &ObjectName) -> Result<Vec<u8>, StoreError> {
        match &self.options.spool {
            Some(spool) => spool.read(name),
            None => Err(StoreError::NotFound {
                name: *name,
                location: "the spool".to_owned(),
            }),
        }
    }

    /// A place took an object, or did not.
    pub(super) fn done(
        &self,
        at: usize,
        task: &Task,
        outcome: Result<(), StoreError>,
        took: Duration,
    ) {
        let mut state = self.state.lock();
        let mut failed = None;
        if let Some(place) = state.places.get_mut(at) {
            place.in_flight.retain(|number| *number != task.number);
            match &outcome {
                Ok(()) => {
                    place.sent += 1;
                    place.sent_bytes += task.size;
                    place.progress = Instant::now();
                    place.took = Some(took);
                }
                Err(error) => {
                    place.missing += 1;
                    failed = Some(error.to_string());
                }
            }
        }
        self.settle(&mut state, at, task.number, outcome);
        let releasable = std::mem::take(&mut state.releasable);
        drop(state);
        for (name, spool) in releasable.iter().zip(self.options.spool.iter().cycle()) {
            // What stays only takes room, until the next time that everything is brought up to date.
            let _ = spool.release(name);
        }
        match failed {
            // The store has tried again as often as makes sense. More of the same would only be late.
            Some(reason) => self.away(at, reason),
            None => {
                self.changed.notify_all();
            }
        }
    }

    /// Writes an object: returns when one place has it, and what others do not get is kept.
    pub(super) fn write(&self, name: &ObjectName, bytes: &[u8]) -> Result<(), StoreError> {
        let size = bytes.len() as u64;
        let mut state = self.state.lock();
        if state.is_stopping {
            return Err(unavailable("every place", "the work has ended"));
        }
        if shows_others(name.kind()) {
            let limit = Instant::now() + self.options.patience;
            state = self.relieve_all(state, limit);
        }
        state = self.make_room(state, size);
        let is_ready = |place: &PlaceState| !matches!(place.standing, Standing::Away(_));
        let number = state.next;
        state.next += 1;
        let mut waiting = 0;
        for place in &mut state.places {
            if is_ready(place) {
                if !place.has_work() {
                    // It was idle, not silent.
                    place.progress = Instant::now();
                }
                place.queue.push_back(number);
                waiting += 1;
            } else {
                place.missing += 1;
            }
        }
        if waiting == 0 {
            return Err(all_away(&state));
        }
        let is_owed = waiting < state.places.len();
        state.memory += size;
        let job = Job {
            name: *name,
            size,
            bytes: Some(bytes.into()),
            waiting,
            done: Vec::new(),
            error: None,
            is_owed,
            is_awaited: true,
            is_moving: false,
            is_spooled: false,
        };
        state.jobs.insert(number, job);
        self.changed.notify_all();
        let outcome = loop {
            if state.is_safe(number) {
                break Ok(());
            }
            let Some(job) = state.jobs.get_mut(&number) else {
                break Ok(());
            };
            if job.waiting == 0 {
                break Err(job
                    .error
                    .take()
                    .unwrap_or_else(|| unavailable("every place", LACKING)));
            }
            self.changed.wait(&mut state);
        };
        if outcome.is_ok()
            && self.spools(&state)
            && state.jobs.get(&number).is_some_and(|job| job.is_owed)
        {
            state = self.relieve(state, number);
        }
        if let Some(job) = state.jobs.get_mut(&number) {
            job.is_awaited = false;
        }
        self.forget_if_settled(&mut state, number);
        self.changed.notify_all();
        outcome
    }

    pub(super) fn reports(&self) -> Vec<Report> {
        reports_of(&self.state.lock())
    }

    pub(super) fn stop(&self) {
        self.state.lock().is_stopping = true;
        self.changed.notify_all();
    }
}

pub(super) fn reports_of(state: &State) -> Vec<Report> {
    let report = |place: &PlaceState| Report {
        name: place.name.clone(),
        standing: place.standing.clone(),
        sent: place.sent,
        sent_bytes: place.sent_bytes,
        missing: place.missing,
        was_behind: place.was_behind,
    };
    state.places.iter().map(report).collect()
}

fn unavailable(place: &str, reason: &str) -> StoreError {
    StoreError::Unavailable {
        operation: "take it".to_owned(),
        location: place.to_owned(),
        reason: reason.to_owned(),
    }
}

/// The error of the first place that is away.
pub(super) fn all_away(state: &State) -> StoreError {
    let reasons = state
        .places
        .iter()
        .filter_map(|place| match &place.standing {
            Standing::Away(reason) => Some(format!("{}: {reason}", place.name)),
            _ => None,
        });
    StoreError::Unavailable {
        operation: "be reached".to_owned(),
        location: "every place".to_owned(),
        reason: reasons.collect::<Vec<_>>().join("; "),
    }
}
