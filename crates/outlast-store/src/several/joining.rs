//! How places join: whose repository it is, and who still needs it.

use std::sync::Arc;
use std::time::Instant;

use super::queue::{Joining, LOOK_AGAIN, Met, PlaceState, Shared, Standing, State, all_away};
use crate::StoreError;

impl Shared {
    /// Waits until a place can be read from; gives it. Of those that answer in time, it is the one
    /// that has the most to show.
    pub(super) fn gather(&self) -> Result<usize, StoreError> {
        let mut state = self.state.lock();
        let mut first_found = None;
        loop {
            let has_answered =
                |place: &PlaceState| place.met.is_some() || place.standing != Standing::Waiting;
            let found = |place: &PlaceState| {
                let met = place.met.as_ref()?;
                met.config.as_ref().map(|_| met.ids.len())
            };
            let all_answered = state.places.iter().all(has_answered);
            if state.places.iter().any(|place| found(place).is_some()) {
                let since = *first_found.get_or_insert_with(Instant::now);
                if all_answered || since.elapsed() >= self.options.gathering {
                    // The first of those that have the most.
                    let rank = |(at, place): (usize, &PlaceState)| {
                        found(place).map(|count| (count, std::cmp::Reverse(at)))
                    };
                    let best = state.places.iter().enumerate().filter_map(rank).max();
                    let primary = best.map_or(0, |(_, at)| at.0);
                    return Ok(self.choose(&mut state, primary));
                }
            } else if all_answered {
                let new = state.places.iter().position(|place| place.met.is_some());
                return match new {
                    Some(primary) => Ok(self.choose(&mut state, primary)),
                    None => Err(all_away(&state)),
                };
            }
            self.changed.wait_for(&mut state, LOOK_AGAIN);
        }
    }

    fn choose(&self, state: &mut State, primary: usize) -> usize {
        let met = state
            .places
            .get(primary)
            .and_then(|place| place.met.as_ref());
        state.config = met.and_then(|met| met.config.clone());
        state.primary = Some(primary);
        for place in &mut state.places {
            place.store = place.met.as_ref().map(|met| Arc::clone(&met.store));
        }
        self.changed.notify_all();
        primary
    }

    /// A place has answered: waits until it is clear what it joins.
    pub(super) fn join(&self, at: usize, met: Met) -> Joining {
        let mut state = self.state.lock();
        let store = Arc::clone(&met.store);
        if let Some(place) = state.places.get_mut(at) {
            place.met = Some(met);
        }
        self.changed.notify_all();
        while state.primary.is_none() && !state.is_stopping {
            self.changed.wait(&mut state);
        }
        let expected = state.config.clone();
        let primary = state.primary.and_then(|at| state.places.get(at));
        let of_primary = primary.and_then(|place| place.met.as_ref());
        let ids = of_primary.map(|met| met.ids.clone()).unwrap_or_default();
        let from = of_primary.map(|met| Arc::clone(&met.store));
        let Some(place) = state.places.get_mut(at) else {
            return Joining::Refused;
        };
        place.store = Some(store);
        let own = place.met.as_ref();
        let own_config = own.and_then(|met| met.config.clone());
        place.was_behind = own.is_some_and(|met| !ids.is_subset(&met.ids));
        match (expected, own_config, from) {
            (Some(expected), Some(own), _) if expected != own => {
                drop(state);
                self.away(at, "it keeps another repository".to_owned());
                Joining::Refused
            }
            (Some(_), None, Some(from)) => Joining::Enrol(from),
            (None, Some(_), _) => {
                drop(state);
                let reason = "it keeps a repository already, and the others none";
                self.away(at, reason.to_owned());
                Joining::Refused
            }
            _ => Joining::Ready,
        }
    }

    /// A place takes objects from now on.
    pub(super) fn ready(&self, at: usize) {
        let mut state = self.state.lock();
        if let Some(place) = state.places.get_mut(at)
            && place.standing == Standing::Waiting
        {
            place.standing = Standing::Ready;
            place.began = Some(Instant::now());
            place.progress = Instant::now();
        }
        self.changed.notify_all();
    }
}
