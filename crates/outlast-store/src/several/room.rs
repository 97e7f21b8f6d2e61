//! Room in memory, and patience with places that lag.

use std::time::{Duration, Instant};

use parking_lot::MutexGuard;

use super::queue::{Job, LOOK_AGAIN, PlaceState, Report, Shared, Standing, State, reports_of};

/// A place may be silent for so many times as long as another takes for an object.
const SILENCE_FACTOR: u32 = 4;

impl Shared {
    /// Whether a place has been silent for much longer than another takes for an object.
    fn is_silent(&self, state: &State, place: &PlaceState) -> bool {
        let quickest = state.places.iter().filter_map(|place| place.took).min();
        let silence = quickest.map_or(self.options.patience, |took| {
            self.options.patience.max(took * SILENCE_FACTOR)
        });
        match place.standing {
            Standing::Away(_) => true,
            Standing::Waiting => self.began.elapsed() >= self.options.gathering,
            Standing::Ready => place.progress.elapsed() >= silence,
        }
    }

    /// Whether a place keeps about the pace of the fastest, so that it may set the pace for all.
    fn keeps_pace(&self, state: &State, place: &PlaceState) -> bool {
        let most = state.places.iter().map(|place| place.sent_bytes).max();
        let slack = self.options.memory_bytes / 4;
        (place.sent_bytes + slack) * 5 >= most.unwrap_or(0) * 4 && !self.is_silent(state, place)
    }

    /// The oldest job that is safe at one place and missing at others, none of which is worth waiting
    /// for.
    fn lagging(&self, state: &State, is_worth: &dyn Fn(&PlaceState) -> bool) -> Option<u64> {
        let worth: Vec<&PlaceState> = state.places.iter().filter(|one| is_worth(one)).collect();
        let lags = |(number, job): (&u64, &Job)| {
            let can = job.bytes.is_some() && !job.is_moving && state.is_safe(*number);
            let needs = job.waiting > 0 || job.is_owed;
            let is_waited_for = || worth.iter().any(|place| place.waits_for(*number));
            (can && needs && !is_waited_for()).then_some(*number)
        };
        state.jobs.iter().find_map(lags)
    }

    pub(super) fn make_room<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        size: u64,
    ) -> MutexGuard<'a, State> {
        while state.memory > 0 && state.memory + size > self.options.memory_bytes {
            let found = self.lagging(&state, &|place| self.keeps_pace(&state, place));
            state = match found {
                Some(number) => self.relieve(state, number),
                None => {
                    self.changed.wait_for(&mut state, LOOK_AGAIN);
                    state
                }
            };
        }
        state
    }

    /// Sees to it that nothing that one place has is only in memory for another.
    pub(super) fn relieve_all<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        limit: Instant,
    ) -> MutexGuard<'a, State> {
        loop {
            let left = limit.saturating_duration_since(Instant::now());
            let is_worth = |place: &PlaceState| {
                !left.is_zero()
                    && !self.is_silent(&state, place)
                    && self.may_end_in(&state, place, left)
            };
            let found = self.lagging(&state, &is_worth);
            let lags_at_all = self.lagging(&state, &|_| false).is_some();
            match found {
                Some(number) => state = self.relieve(state, number),
                None if !lags_at_all => return state,
                None => {
                    self.changed.wait_for(&mut state, LOOK_AGAIN);
                }
            }
        }
    }

    /// Takes a job out of memory: into the spool, from where places still get it, or, where there is
    /// none or no room in it, out of the queues of those who have not begun with it.
    pub(super) fn relieve<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        number: u64,
    ) -> MutexGuard<'a, State> {
        let spools = self.spools(&state);
        let Some(job) = state.jobs.get_mut(&number) else {
            return state;
        };
        let Some(bytes) = job.bytes.clone() else {
            return state;
        };
        let (name, size) = (job.name, job.size);
        let mut is_kept = false;
        if let (true, Some(spool)) = (spools, &self.options.spool) {
            job.is_moving = true;
            MutexGuard::unlocked(&mut state, || {
                // A spool that fails is as one that is full: the place is completed from another.
                is_kept = spool.keep(&name, &bytes).unwrap_or(false);
            });
        }
        if let Some(job) = state.jobs.get_mut(&number) {
            job.is_moving = false;
            job.is_spooled = is_kept;
            if job.bytes.take().is_some() {
                state.memory = state.memory.saturating_sub(size);
            }
        }
        if !is_kept {
            self.give_up(&mut state, number);
        }
        self.forget_if_settled(&mut state, number);
        self.changed.notify_all();
        state
    }

    fn give_up(&self, state: &mut State, number: u64) {
        let mut dropped = 0;
        for place in &mut state.places {
            let before = place.queue.len();
            place.queue.retain(|other| *other != number);
            if place.queue.len() < before {
                place.missing += 1;
                dropped += 1;
            }
        }
        if let Some(job) = state.jobs.get_mut(&number) {
            job.waiting = job.waiting.saturating_sub(dropped);
        }
    }

    /// Waits for places that lag as long as that is worth it.
    pub(super) fn finish(&self) -> Vec<Report> {
        let worked = self.began.elapsed();
        let allowed = self
            .options
            .patience
            .max(worked.mul_f64(self.options.lag_share.clamp(0.0, 1.0)));
        let limit = Instant::now() + allowed;
        let mut state = self.state.lock();
        loop {
            let left = limit.saturating_duration_since(Instant::now());
            let worth = |place: &PlaceState| match place.standing {
                Standing::Away(_) => false,
                Standing::Waiting => place.has_work() && !self.is_silent(&state, place),
                Standing::Ready => {
                    place.has_work()
                        && !self.is_silent(&state, place)
                        && self.may_end_in(&state, place, left)
                }
            };
            if left.is_zero() || !state.places.iter().any(worth) {
                break;
            }
            self.changed.wait_for(&mut state, LOOK_AGAIN.min(left));
        }
        state = self.relieve_all(state, Instant::now());
        for place in &mut state.places {
            // What is left in the queues is in the spool, for the next time.
            place.missing += (place.queue.len() + place.in_flight.len()) as u64;
            place.queue.clear();
        }
        state.is_stopping = true;
        self.changed.notify_all();
        reports_of(&state)
    }

    /// Whether a place that goes on at its pace gets everything in this time.
    fn may_end_in(&self, state: &State, place: &PlaceState, left: Duration) -> bool {
        let Some(began) = place.began.filter(|_| place.sent > 0) else {
            return true;
        };
        let queued = place
            .queue
            .iter()
            .filter_map(|number| state.jobs.get(number));
        let bytes: u64 = queued.map(|job| job.size).sum();
        let rate = place.sent_bytes as f64 / began.elapsed().as_secs_f64().max(0.001);
        bytes as f64 <= rate * left.as_secs_f64()
    }
}
