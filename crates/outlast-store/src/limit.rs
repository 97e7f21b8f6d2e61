//! Limits on how fast bytes go up and down.

use std::sync::Arc;
use std::time::Duration;

use outlast_object::{Id, ObjectKind, ObjectName};
use parking_lot::Mutex;

use crate::clock::{Clock, SystemClock};
use crate::{Capabilities, Deletes, LockStore, ObjectInfo, Store, StoreError};

/// How fast bytes may go, in KiB a second. Zero is no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Towards the store.
    pub upload_kib_per_second: u64,
    /// From the store.
    pub download_kib_per_second: u64,
}

/// A token bucket for each direction, shared by everything that uses one line.
///
/// The buckets hold a second's worth. Whoever takes more than is there waits until the debt is
/// paid; so the rate holds on average however large the pieces are, and adapters that take small
/// pieces send evenly.
pub struct Throttle {
    up: Option<Bucket>,
    down: Option<Bucket>,
    clock: Arc<dyn Clock>,
}

struct Bucket {
    bytes_per_second: f64,
    state: Mutex<BucketState>,
}

struct BucketState {
    /// Bytes that may go at once; below zero while somebody waits.
    bytes: f64,
    filled: Duration,
}

impl Throttle {
    /// Holds to `limits` on the machine's clock.
    pub fn new(limits: Limits) -> Self {
        Self::with_clock(limits, Arc::new(SystemClock::default()))
    }

    /// Holds to `limits` on `clock`.
    pub fn with_clock(limits: Limits, clock: Arc<dyn Clock>) -> Self {
        let now = clock.now();
        let bucket = |kib_per_second: u64| {
            (kib_per_second > 0).then(|| {
                let bytes_per_second = kib_per_second as f64 * 1024.0;
                let state = BucketState {
                    bytes: bytes_per_second,
                    filled: now,
                };
                Bucket {
                    bytes_per_second,
                    state: Mutex::new(state),
                }
            })
        };
        let up = bucket(limits.upload_kib_per_second);
        let down = bucket(limits.download_kib_per_second);
        Self { up, down, clock }
    }

    /// Whether there is any limit at all.
    pub fn is_unlimited(&self) -> bool {
        self.up.is_none() && self.down.is_none()
    }

    /// Waits until `bytes` more may go up.
    pub fn upload(&self, bytes: usize) {
        self.take(self.up.as_ref(), bytes);
    }

    /// Waits until `bytes` more may come down.
    pub fn download(&self, bytes: usize) {
        self.take(self.down.as_ref(), bytes);
    }

    fn take(&self, bucket: Option<&Bucket>, bytes: usize) {
        if let Some(bucket) = bucket {
            let pause = bucket.take(bytes, self.clock.now());
            if !pause.is_zero() {
                self.clock.wait(pause);
            }
        }
    }
}

impl Bucket {
    fn take(&self, bytes: usize, now: Duration) -> Duration {
        let mut state = self.state.lock();
        let passed = now.saturating_sub(state.filled).as_secs_f64();
        let filled = state.bytes + passed * self.bytes_per_second;
        state.bytes = filled.min(self.bytes_per_second) - bytes as f64;
        state.filled = state.filled.max(now);
        Duration::from_secs_f64((-state.bytes / self.bytes_per_second).max(0.0))
    }
}

/// A store whose objects go up and come down no faster than a [`Throttle`] lets them.
///
/// Whole objects are paced. Adapters that send over a network take the throttle themselves and pace
/// smaller pieces.
pub struct Limit<S> {
    inner: S,
    throttle: Arc<Throttle>,
}

impl<S> Limit<S> {
    /// Paces `inner` by `throttle`.
    pub fn new(inner: S, throttle: Arc<Throttle>) -> Self {
        Self { inner, throttle }
    }
}

impl<S: Store> Store for Limit<S> {
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
        self.inner.prepare()
    }

    fn write(&self, name: &ObjectName, bytes: &[u8]) -> Result<(), StoreError> {
        self.throttle.upload(bytes.len());
        self.inner.write(name, bytes)
    }

    fn read(&self, name: &ObjectName) -> Result<Vec<u8>, StoreError> {
        let bytes = self.inner.read(name)?;
        self.throttle.download(bytes.len());
        Ok(bytes)
    }

    fn read_range(
        &self,
        name: &ObjectName,
        offset: u64,
        length: usize,
    ) -> Result<Vec<u8>, StoreError> {
        let bytes = self.inner.read_range(name, offset, length)?;
        self.throttle.download(bytes.len());
        Ok(bytes)
    }

    fn read_range_into(
        &self,
        name: &ObjectName,
        offset: u64,
        length: usize,
        buffer: &mut Vec<u8>,
    ) -> Result<(), StoreError> {
        self.inner.read_range_into(name, offset, length, buffer)?;
        self.throttle.download(buffer.len());
        Ok(())
    }

    fn size(&self, name: &ObjectName) -> Result<u64, StoreError> {
        self.inner.size(name)
    }

    fn list(&self, kind: ObjectKind, visit: &mut dyn FnMut(ObjectInfo)) -> Result<(), StoreError> {
        self.inner.list(kind, visit)
    }
}

impl<S: LockStore> LockStore for Limit<S> {
    fn remove_lock(&self, id: &Id) -> Result<(), StoreError> {
        self.inner.remove_lock(id)
    }
}

impl<S: Deletes> Deletes for Limit<S> {
    fn delete(&self, name: &ObjectName) -> Result<(), StoreError> {
        self.inner.delete(name)
    }
}
