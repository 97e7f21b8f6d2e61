//! Another try for whatever may succeed a little later.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use outlast_object::{Id, ObjectKind, ObjectName};

use crate::clock::{Clock, SystemClock};
use crate::{Capabilities, Deletes, LockStore, ObjectInfo, Store, StoreError};

/// How often, how long and how patiently to try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Attempts at most, the first one included.
    pub attempts_max: u32,
    /// No attempt begins later than this after the first one.
    pub elapsed_max: Duration,
    /// The pause after the first failure; each further one is twice as long.
    pub delay_first: Duration,
    /// The longest pause.
    pub delay_max: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            attempts_max: 30,
            elapsed_max: Duration::from_secs(15 * 60),
            delay_first: Duration::from_millis(500),
            delay_max: Duration::from_secs(60),
        }
    }
}

impl RetryPolicy {
    /// The pause after the `attempt`th failure, between a half and one and a half of the nominal
    /// one, so that many clients do not come back to a struggling server all at once.
    fn delay(&self, attempt: u32, random: f64) -> Duration {
        let doublings = attempt.saturating_sub(1).min(20);
        let nominal = self
            .delay_first
            .saturating_mul(1 << doublings)
            .min(self.delay_max);
        nominal.mul_f64(0.5 + random.clamp(0.0, 1.0))
    }
}

/// What an observer is told.
#[derive(Debug)]
pub enum RetryEvent<'a> {
    /// An attempt failed; another follows after a pause.
    Retrying {
        /// What was attempted, as "write data/ab…".
        operation: &'a str,
        /// Attempts made so far.
        attempt: u32,
        /// Why it failed.
        error: &'a StoreError,
        /// The pause.
        delay: Duration,
    },
    /// It has succeeded after all.
    Recovered {
        /// What was attempted.
        operation: &'a str,
        /// Attempts made.
        attempts: u32,
    },
    /// It has failed too often or for too long. The caller gets the error.
    GivenUp {
        /// What was attempted.
        operation: &'a str,
        /// Attempts made.
        attempts: u32,
        /// Why the last one failed.
        error: &'a StoreError,
    },
}

/// Somebody who is told of failures that are being dealt with.
pub type RetryObserver = Arc<dyn Fn(&RetryEvent<'_>) + Send + Sync>;

/// A source of numbers from 0 to 1 for the pauses.
pub type Jitter = Arc<dyn Fn() -> f64 + Send + Sync>;

/// Repeats operations that failed with [`StoreError::is_retryable`].
///
/// All operations of a store can be repeated: writing the same bytes again and removing what is
/// gone already are no errors.
pub struct Retry<S> {
    inner: S,
    policy: RetryPolicy,
    clock: Arc<dyn Clock>,
    jitter: Jitter,
    observer: Option<RetryObserver>,
}

impl<S> Retry<S> {
    /// Retries the operations of `inner`.
    pub fn new(inner: S, policy: RetryPolicy) -> Self {
        let clock = Arc::new(SystemClock::default());
        Self {
            inner,
            policy,
            clock,
            jitter: Arc::new(random_fraction),
            observer: None,
        }
    }

    /// The same, on another clock.
    #[must_use]
    pub fn with_clock(self, clock: Arc<dyn Clock>) -> Self {
        Self { clock, ..self }
    }

    /// The same, with other random numbers.
    #[must_use]
    pub fn with_jitter(self, jitter: Jitter) -> Self {
        Self { jitter, ..self }
    }

    /// The same, with somebody to tell.
    #[must_use]
    pub fn with_observer(self, observer: RetryObserver) -> Self {
        Self {
            observer: Some(observer),
            ..self
        }
    }

    fn tell(&self, event: &RetryEvent<'_>) {
        if let Some(observer) = &self.observer {
            observer(event);
        }
    }

    fn attempts<T>(
        &self,
        describe: impl Fn() -> String,
        mut call: impl FnMut() -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let start = self.clock.now();
        let mut attempt = 1;
        loop {
            let error = match call() {
                Ok(value) => {
                    if attempt > 1 {
                        let operation = &describe();
                        self.tell(&RetryEvent::Recovered {
                            operation,
                            attempts: attempt,
                        });
                    }
                    return Ok(value);
                }
                Err(error) if !error.is_retryable() => return Err(error),
                Err(error) => error,
            };
            let operation = &describe();
            let delay = self.policy.delay(attempt, (self.jitter)());
            let elapsed = self.clock.now().saturating_sub(start);
            let too_late = elapsed + delay > self.policy.elapsed_max;
            if attempt >= self.policy.attempts_max || too_late || self.clock.is_cancelled() {
                let event = RetryEvent::GivenUp {
                    operation,
                    attempts: attempt,
                    error: &error,
                };
                self.tell(&event);
                return Err(error);
            }
            self.tell(&RetryEvent::Retrying {
                operation,
                attempt,
                error: &error,
                delay,
            });
            self.clock.wait(delay);
            if self.clock.is_cancelled() {
                return Err(error);
            }
            attempt += 1;
        }
    }
}

/// Some bits of the keys that the standard library draws for its hash tables.
fn random_fraction() -> f64 {
    let bits = RandomState::new().hash_one(0) >> 32;
    bits as f64 / f64::from(u32::MAX)
}

impl<S: Store> Store for Retry<S> {
    fn location(&self) -> String {
        self.inner.location()
    }

    fn connections(&self) -> usize {
        self.inner.connections()
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn declare_tree_packs(&self, packs: &[Id]) {
        self.inner.declare_tree_packs(packs);
    }

    fn prepare(&self) -> Result<(), StoreError> {
        self.attempts(|| "prepare the store".to_owned(), || self.inner.prepare())
    }

    fn write(&self, name: &ObjectName, bytes: &[u8]) -> Result<(), StoreError> {
        self.attempts(|| format!("write {name}"), || self.inner.write(name, bytes))
    }

    fn read(&self, name: &ObjectName) -> Result<Vec<u8>, StoreError> {
        self.attempts(|| format!("read {name}"), || self.inner.read(name))
    }

    fn read_range(
        &self,
        name: &ObjectName,
        offset: u64,
        length: usize,
    ) -> Result<Vec<u8>, StoreError> {
        self.attempts(
            || format!("read {name}"),
            || self.inner.read_range(name, offset, length),
        )
    }

    fn read_range_into(
        &self,
        name: &ObjectName,
        offset: u64,
        length: usize,
        buffer: &mut Vec<u8>,
    ) -> Result<(), StoreError> {
        self.attempts(
            || format!("read {name}"),
            || self.inner.read_range_into(name, offset, length, buffer),
        )
    }

    fn size(&self, name: &ObjectName) -> Result<u64, StoreError> {
        self.attempts(|| format!("look up {name}"), || self.inner.size(name))
    }

    fn list(&self, kind: ObjectKind, visit: &mut dyn FnMut(ObjectInfo)) -> Result<(), StoreError> {
        // The visitor must not see the first half of a listing twice: a listing is gathered whole
        // (40 bytes an object) before it sees any of it.
        let infos = self.attempts(
            || format!("list {}", kind.folder()),
            || {
                let mut infos = Vec::new();
                self.inner.list(kind, &mut |info| infos.push(info))?;
                Ok(infos)
            },
        )?;
        infos.into_iter().for_each(visit);
        Ok(())
    }
}

impl<S: LockStore> LockStore for Retry<S> {
    fn remove_lock(&self, id: &Id) -> Result<(), StoreError> {
        self.attempts(
            || format!("remove locks/{id}"),
            || self.inner.remove_lock(id),
        )
    }
}

impl<S: Deletes> Deletes for Retry<S> {
    fn delete(&self, name: &ObjectName) -> Result<(), StoreError> {
        self.attempts(|| format!("delete {name}"), || self.inner.delete(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_limit_and_scatter() {
        let policy = RetryPolicy::default();
        let seconds: Vec<f64> = (1..=10)
            .map(|attempt| policy.delay(attempt, 0.5).as_secs_f64())
            .collect();
        assert_eq!(
            seconds,
            [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0]
        );
        assert_eq!(policy.delay(2, 0.0), Duration::from_millis(500));
        assert_eq!(policy.delay(2, 1.0), Duration::from_millis(1500));
        assert_eq!(policy.delay(u32::MAX, 0.5), policy.delay_max);
        for _ in 0..100 {
            assert!((0.0..=1.0).contains(&random_fraction()));
        }
    }
}
