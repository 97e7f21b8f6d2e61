//! Locks: so that nobody removes what another program is adding.
//!
//! A lock that cannot be read, or that claims to come from the future, was either planted or made by
//! a broken clock; it is named in a notice and passed over, so that it stops nobody.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use outlast_format::{Lock, decode_unpacked, encode_unpacked};
use outlast_object::{Id, ObjectKind, ObjectName, hash};
use outlast_store::LockStore;
use parking_lot::{Condvar, Mutex};

use crate::environment::random_iv;
use crate::repository::read_verified;
use crate::{Cancel, Environment, Notice, RepoError, Repository};

/// A lock that was not refreshed for so long belongs to a program that is gone.
pub const STALE_LOCK_SECONDS: i64 = 30 * 60;
/// A lock may be this far ahead of our clock before it counts as one from the future.
const FUTURE_LOCK_SECONDS: i64 = 30 * 60;
/// How often a lock is refreshed.
const REFRESH: Duration = Duration::from_secs(5 * 60);
/// How long refreshing may fail before the lock counts as lost: before others take it for stale.
const LOST_AFTER: Duration = Duration::from_secs(25 * 60);
/// Wait between writing a lock and looking for others once more.
const SETTLE: Duration = Duration::from_millis(200);
/// Wait between tries when somebody else holds the lock, at most.
const RETRY_MAX: Duration = Duration::from_secs(60);
/// First wait between tries.
const RETRY_MIN: Duration = Duration::from_secs(5);

/// Whether others may use the repository at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockMode {
    /// Others may read and add.
    Shared,
    /// Nobody else may do anything.
    Exclusive,
}

/// One lock, for listings.
#[derive(Debug, Clone)]
pub struct LockInfo {
    /// The lock's id.
    pub id: Id,
    /// What it says, or why it cannot be read.
    pub lock: Result<Lock, String>,
    /// Whether its owner seems to be gone.
    pub stale: bool,
    /// Whether it claims to come from the future.
    pub future: bool,
}

impl LockInfo {
    /// Who holds it, for messages.
    pub fn holder(&self) -> String {
        match &self.lock {
            Ok(lock) => format!(
                "PID {} on {} by {} since {}",
                lock.pid, lock.hostname, lock.username, lock.time
            ),
            Err(reason) => format!("an unreadable lock ({reason})"),
        }
    }
}

/// All locks. Empty files, which stores leave when they are full, are passed over.
pub fn list_locks(repository: &Repository) -> Result<Vec<LockInfo>, RepoError> {
    let mut locks = Vec::new();
    for info in repository.store().list_all(ObjectKind::Lock)? {
        if info.size == 0 {
            continue;
        }
        let name = ObjectName::new(ObjectKind::Lock, info.id);
        let lock = read_verified(repository.store(), &name).and_then(|bytes| {
            decode_unpacked(&bytes, repository.key())
                .and_then(|json| Lock::from_json(&json))
                .map_err(|error| RepoError::damaged(name, error))
        });
        let lock = match lock {
            Ok(lock) => Ok(lock),
            // Its owner has finished since it was listed.
            Err(RepoError::Store(error)) if error.is_not_found() => continue,
            Err(RepoError::Store(error)) if error.is_retryable() => return Err(error.into()),
            Err(error) => Err(error.to_string()),
        };
        let stale = lock
            .as_ref()
            .is_ok_and(|lock| is_stale(lock, repository.environment()));
        let future = lock
            .as_ref()
            .is_ok_and(|lock| is_future(lock, repository.environment()));
        locks.push(LockInfo {
            id: info.id,
            lock,
            stale,
            future,
        });
    }
    Ok(locks)
}

fn is_future(lock: &Lock, environment: &Environment) -> bool {
    lock.time.seconds()
        > environment
            .clock
            .now()
            .seconds()
            .saturating_add(FUTURE_LOCK_SECONDS)
}

fn is_stale(lock: &Lock, environment: &Environment) -> bool {
    let now = environment.clock.now().seconds();
    if now.saturating_sub(lock.time.seconds()) > STALE_LOCK_SECONDS {
        return true;
    }
    let ours = lock.hostname == environment.hostname && lock.pid != i64::from(environment.pid);
    ours && !process_exists(lock.pid)
}

/// Whether a process of this machine with this number exists.
fn process_exists(pid: i64) -> bool {
    let Some(pid) = i32::try_from(pid)
        .ok()
        .and_then(rustix::process::Pid::from_raw)
    else {
        return false;
    };
    // EPERM means that it exists and belongs to somebody else.
    !matches!(
        rustix::process::test_kill_process(pid),
        Err(rustix::io::Errno::SRCH)
    )
}

/// Fails if another lock excludes one of this mode.
fn check_others(
    repository: &Repository,
    mode: LockMode,
    own: Option<Id>,
) -> Result<bool, RepoError> {
    let mut others = false;
    for info in list_locks(repository)? {
        if Some(info.id) == own {
            continue;
        }
        let environment = repository.environment();
        let lock = match &info.lock {
            Ok(lock) => lock,
            Err(reason) => {
                environment.notice(Notice::BadLock {
                    id: info.id,
                    reason: reason.clone(),
                });
                continue;
            }
        };
        if info.future {
            let time = lock.time.to_string();
            environment.notice(Notice::FutureLock {
                id: info.id,
                holder: info.holder(),
                time,
            });
            continue;
        }
        others = true;
        if !info.stale && (lock.exclusive || mode == LockMode::Exclusive) {
            let (holder, exclusive) = (info.holder(), lock.exclusive);
            return Err(RepoError::Locked {
                holder,
                exclusive,
                id: info.id,
            });
        }
    }
    Ok(others)
}

struct Shared {
    repository: Id,
    store: Arc<dyn LockStore>,
    key: outlast_format::MasterKey,
    version: u32,
    environment: Environment,
    exclusive: bool,
    current: Mutex<Id>,
    stop: Mutex<bool>,
    wake: Condvar,
    lost: AtomicBool,
    cancel: Cancel,
}

impl Shared {
    /// Writes a lock with the time of now; gives its id.
    fn write(&self) -> Result<Id, RepoError> {
        let environment = &self.environment;
        let lock = Lock {
            time: environment.clock.now(),
            exclusive: self.exclusive,
            hostname: environment.hostname.clone(),
            username: environment.username.clone(),
            pid: i64::from(environment.pid),
            uid: environment.uid,
            gid: environment.gid,
        };
        let sealed = encode_unpacked(&lock.to_json()?, self.version, &self.key, random_iv()?)?;
        let id = hash(&sealed);
        self.store
            .write(&ObjectName::new(ObjectKind::Lock, id), &sealed)?;
        Ok(id)
    }

    /// Refreshes until told to stop: a new lock first, then the old one goes, so that there is
    /// always one.
    fn refresh(&self) {
        let mut last_success = self.environment.clock.monotonic();
        let mut stop = self.stop.lock();
        while !*stop {
            if !self.wake.wait_for(&mut stop, REFRESH).timed_out() {
                continue;
            }
            parking_lot::MutexGuard::unlocked(&mut stop, || match self.write() {
                Ok(id) => {
                    last_success = self.environment.clock.monotonic();
                    let old = std::mem::replace(&mut *self.current.lock(), id);
                    if let Err(error) = self.store.remove_lock(&old) {
                        self.environment
                            .notice(Notice::Other(format!("an old lock remains: {error}")));
                    }
                }
                Err(error) => {
                    self.environment.notice(Notice::Other(format!(
                        "the lock could not be refreshed: {error}"
                    )));
                    if self
                        .environment
                        .clock
                        .monotonic()
                        .saturating_sub(last_success)
                        > LOST_AFTER
                    {
                        self.lost.store(true, Ordering::Relaxed);
                        self.cancel.cancel();
                    }
                }
            });
        }
    }
}

/// A lock of ours; removed when dropped. Without a store to lock (`--no-lock`) use none.
pub struct LockGuard {
    shared: Arc<Shared>,
    refresher: Option<std::thread::JoinHandle<()>>,
    others_seen: bool,
}

impl std::fmt::Debug for LockGuard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LockGuard({})", self.shared.current.lock().short())
    }
}

impl LockGuard {
    /// Locks the repository, waiting for others up to `retry`. `cancel` is set if the lock is lost.
    pub fn acquire(
        repository: &Repository,
        mode: LockMode,
        retry: Duration,
        cancel: &Cancel,
    ) -> Result<Self, RepoError> {
        let clock = Arc::clone(&repository.environment().clock);
        let deadline = clock.monotonic().saturating_add(retry);
        let mut wait = RETRY_MIN;
        loop {
            match Self::try_acquire(repository, mode, cancel) {
                Err(RepoError::Locked { .. }) if clock.monotonic() < deadline => {
                    cancel.check()?;
                    let left = deadline.saturating_sub(clock.monotonic());
                    clock.sleep(wait.min(left).max(Duration::from_millis(10)));
                    wait = (wait * 2).min(RETRY_MAX);
                }
                result => return result,
            }
        }
    }

    fn try_acquire(
        repository: &Repository,
        mode: LockMode,
        cancel: &Cancel,
    ) -> Result<Self, RepoError> {
        let others_seen = check_others(repository, mode, None)?;
        let shared = Arc::new(Shared {
            repository: repository.config().id,
            store: repository.shared_store(),
            key: repository.key().clone(),
            version: repository.config().version,
            environment: repository.environment().clone(),
            exclusive: mode == LockMode::Exclusive,
            current: Mutex::new(Id::default()),
            stop: Mutex::new(false),
            wake: Condvar::new(),
            lost: AtomicBool::new(false),
            cancel: cancel.clone(),
        });
        let id = shared.write()?;
        *shared.current.lock() = id;
        // From here on dropping the guard removes the lock.
        let mut guard = Self {
            shared,
            refresher: None,
            others_seen,
        };
        if others_seen || mode == LockMode::Exclusive {
            // Somebody may have looked just before our lock appeared.
            repository.environment().clock.sleep(SETTLE);
        }
        check_others(repository, mode, Some(id))?;
        let shared = Arc::clone(&guard.shared);
        guard.refresher = std::thread::Builder::new()
            .name("lock".to_owned())
            .spawn(move || shared.refresh())
            .map_err(|source| RepoError::Io {
                operation: "start a thread".to_owned(),
                source,
            })
            .map(Some)?;
        Ok(guard)
    }

    /// Whether other locks were there, live or left behind: a sign of concurrent or interrupted
    /// work.
    pub fn others_seen(&self) -> bool {
        self.others_seen
    }

    /// [`RepoError::LockLost`] when the lock could not be refreshed in time.
    pub fn check(&self) -> Result<(), RepoError> {
        if self.shared.lost.load(Ordering::Relaxed) {
            Err(RepoError::LockLost)
        } else {
            Ok(())
        }
    }
}

/// A lock that excludes everybody else: what code that removes things asks for.
#[derive(Debug)]
pub struct ExclusiveLock(LockGuard);

impl ExclusiveLock {
    /// Locks the repository, waiting for others up to `retry`. `cancel` is set if the lock is lost.
    pub fn acquire(
        repository: &Repository,
        retry: Duration,
        cancel: &Cancel,
    ) -> Result<Self, RepoError> {
        LockGuard::acquire(repository, LockMode::Exclusive, retry, cancel).map(Self)
    }

    /// Whether it is a lock of this repository.
    pub fn is_of(&self, repository: &Repository) -> bool {
        self.0.shared.repository == repository.config().id
    }

    /// Whether other locks were there: a sign of interrupted work.
    pub fn others_seen(&self) -> bool {
        self.0.others_seen()
    }

    /// [`RepoError::LockLost`] when the lock could not be refreshed in time.
    pub fn check(&self) -> Result<(), RepoError> {
        self.0.check()
    }
}

impl Drop for LockGuard {
    fn drop(&mut self) {
        *self.shared.stop.lock() = true;
        self.shared.wake.notify_all();
        if let Some(thread) = self.refresher.take()
            && thread.join().is_err()
        {
            self.shared
                .environment
                .notice(Notice::Other("refreshing the lock failed".to_owned()));
        }
        let id = *self.shared.current.lock();
        if let Err(error) = self.shared.store.remove_lock(&id) {
            let text = format!("lock {} could not be removed: {error}", id.short());
            self.shared.environment.notice(Notice::Other(text));
        }
    }
}
