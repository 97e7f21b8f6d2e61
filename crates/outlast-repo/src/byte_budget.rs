//! Keeping the memory bounded that many threads take for large things at the same time.

use parking_lot::{Condvar, Mutex};

/// Bytes that threads may hold together. One that wants more than all of it waits until it is alone.
#[derive(Debug)]
pub(crate) struct ByteBudget {
    bytes_max: u64,
    held: Mutex<u64>,
    /// Told when something was given back.
    changed: Condvar,
}

/// Bytes that are held until this is dropped.
#[derive(Debug)]
pub(crate) struct HeldBytes<'a> {
    budget: &'a ByteBudget,
    bytes: u64,
}

impl ByteBudget {
    pub(crate) fn new(bytes_max: u64) -> Self {
        Self {
            bytes_max,
            held: Mutex::new(0),
            changed: Condvar::new(),
        }
    }

    /// Waits until so many bytes are free. A thread must not ask while it holds some.
    pub(crate) fn take(&self, bytes: u64) -> HeldBytes<'_> {
        let mut held = self.held.lock();
        while *held > 0 && held.saturating_add(bytes) > self.bytes_max {
            self.changed.wait(&mut held);
        }
        *held = held.saturating_add(bytes);
        HeldBytes {
            budget: self,
            bytes,
        }
    }
}

impl Drop for HeldBytes<'_> {
    fn drop(&mut self) {
        let mut held = self.budget.held.lock();
        *held = held.saturating_sub(self.bytes);
        self.budget.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn never_more_than_allowed_is_held_but_by_one_alone() {
        let budget = ByteBudget::new(100);
        let (now, most) = (AtomicU64::new(0), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for thread in 0..8_u64 {
                let (budget, now, most) = (&budget, &now, &most);
                scope.spawn(move || {
                    for turn in 0..200 {
                        let bytes = (thread * 31 + turn * 17) % 130;
                        let _held = budget.take(bytes);
                        let sum = now.fetch_add(bytes, Ordering::SeqCst) + bytes;
                        most.fetch_max(
                            if bytes > 100 { sum - bytes } else { sum },
                            Ordering::SeqCst,
                        );
                        now.fetch_sub(bytes, Ordering::SeqCst);
                    }
                });
            }
        });
        assert!(most.load(Ordering::SeqCst) <= 100);
        assert_eq!(*budget.held.lock(), 0);
    }
}
