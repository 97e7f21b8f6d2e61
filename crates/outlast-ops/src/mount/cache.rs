//! What was read lately, up to a number of bytes.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use parking_lot::Mutex;

/// Keeps the values used last, as long as their bytes fit. Larger ones are not kept at all.
#[derive(Debug)]
pub(super) struct Cache<K, V> {
    state: Mutex<State<K, V>>,
    bytes_max: usize,
}

#[derive(Debug)]
struct State<K, V> {
    values: HashMap<K, Slot<V>>,
    bytes: usize,
    clock: u64,
}

#[derive(Debug)]
struct Slot<V> {
    value: Arc<V>,
    bytes: usize,
    used: u64,
}

impl<K: Copy + Eq + Hash, V> Cache<K, V> {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self {
            state: Mutex::new(State {
                values: HashMap::new(),
                bytes: 0,
                clock: 0,
            }),
            bytes_max,
        }
    }

    pub(super) fn get(&self, key: &K) -> Option<Arc<V>> {
        let mut state = self.state.lock();
        state.clock += 1;
        let now = state.clock;
        let slot = state.values.get_mut(key)?;
        slot.used = now;
        Some(Arc::clone(&slot.value))
    }

    pub(super) fn insert(&self, key: K, value: &Arc<V>, bytes: usize) {
        if bytes > self.bytes_max {
            return;
        }
        let mut state = self.state.lock();
        state.clock += 1;
        let slot = Slot {
            value: Arc::clone(value),
            bytes,
            used: state.clock,
        };
        if let Some(before) = state.values.insert(key, slot) {
            state.bytes -= before.bytes;
        }
        state.bytes += bytes;
        while state.bytes > self.bytes_max {
            let oldest = state.values.iter().min_by_key(|(_, slot)| slot.used);
            let Some(oldest) = oldest.map(|(key, _)| *key) else {
                break;
            };
            if let Some(slot) = state.values.remove(&oldest) {
                state.bytes -= slot.bytes;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_go_and_the_bytes_stay_within_bounds() {
        let cache = Cache::new(100);
        for key in 0..5 {
            cache.insert(key, &Arc::new(key), 20);
        }
        assert_eq!(cache.get(&0).as_deref(), Some(&0));
        cache.insert(5, &Arc::new(5), 30);
        assert!(cache.get(&1).is_none() && cache.get(&2).is_none());
        assert!(cache.get(&0).is_some() && cache.get(&3).is_some());
        cache.insert(6, &Arc::new(6), 101);
        assert!(cache.get(&6).is_none());
        cache.insert(5, &Arc::new(7), 100);
        assert_eq!(cache.get(&5).as_deref(), Some(&7));
        assert!(cache.get(&0).is_none());
        assert_eq!(cache.state.lock().bytes, 100);
    }
}
