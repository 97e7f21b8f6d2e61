//! Reading everything through: on a schedule while the vault serves, or when an operator asks.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use outlast_vault::{ScrubOptions, ScrubState, Vault};
use parking_lot::Mutex;

use crate::exit::Failure;
use crate::folder::Folder;

/// How often it is looked whether a scrub is due.
const LOOK_TIME: Duration = Duration::from_secs(60);
/// The longest pause at a time, so that a stop is noticed.
const PAUSE_MAX: Duration = Duration::from_millis(200);
/// Objects read at the same time: hashing one while reading another.
const THREADS: usize = 2;

/// Whoever scrubs a vault; one scrub at a time.
#[derive(Clone)]
pub struct Scrubber {
    vault: Arc<Vault>,
    kept: PathBuf,
    every_seconds: u64,
    bytes_per_second: Option<u64>,
    is_busy: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
}

/// Gives the turn back when it is dropped.
struct Turn<'a>(&'a AtomicBool);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

/// Lets so many bytes a second pass.
struct Pace<'a> {
    bytes_per_second: Option<u64>,
    start: Instant,
    passed: Mutex<u64>,
    stop: &'a AtomicBool,
}

impl Pace<'_> {
    fn pass(&self, bytes: u64) {
        let Some(rate) = self.bytes_per_second else {
            return;
        };
        let passed = {
            let mut passed = self.passed.lock();
            *passed += bytes;
            *passed
        };
        let due = Duration::from_secs_f64(passed as f64 / rate as f64);
        while !self.stop.load(Ordering::Relaxed) {
            let early = due.saturating_sub(self.start.elapsed());
            if early.is_zero() {
                return;
            }
            thread::sleep(early.min(PAUSE_MAX));
        }
    }
}

impl Scrubber {
    /// For a vault in its folder.
    ///
    /// # Errors
    /// If the configuration says no schedule.
    pub fn new(vault: Arc<Vault>, folder: &Folder) -> Result<Self, Failure> {
        Ok(Self {
            vault,
            kept: folder.path().join("scrub.state"),
            every_seconds: folder.config.scrub_seconds()?,
            bytes_per_second: folder.config.scrub_bytes_per_second()?,
            is_busy: Arc::default(),
            stop: Arc::default(),
        })
    }

    /// Ends what is going on; it is gone on with at the next start.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
    }

    /// Scrubs whenever it is due, and has the vault log what it counted, until the process ends.
    pub fn run_on_schedule(&self) {
        while !self.stop.load(Ordering::Relaxed) {
            if let Err(error) = self.vault.tick() {
                tracing::error!(%error, "what was refused cannot be logged");
            }
            let due = match self.vault.last_scrub() {
                Some(last) => self.vault.time() >= last.saturating_add(self.every_seconds),
                // A new vault has nothing to read through; its first scrub is due after a while too.
                None => self.vault.log_size() > 0 && self.first_is_due(),
            };
            let is_writable = self.vault.read_only_reason().is_none();
            if is_writable && (due || self.kept.exists()) {
                self.run_due();
            }
            thread::sleep(LOOK_TIME);
        }
    }

    fn first_is_due(&self) -> bool {
        let mut first = None;
        // The first entry is the first start.
        let read = self.vault.entries(0, &mut |_, entry| {
            first = Some(entry.time);
            false
        });
        let first = first.filter(|_| read.is_ok());
        first.is_some_and(|first| self.vault.time() >= first.saturating_add(self.every_seconds))
    }

    fn run_due(&self) {
        tracing::info!("reading everything through");
        match self.run(self.bytes_per_second, &mut |_, _| ()) {
            Ok(Some(state)) if state.damaged.is_empty() => {
                tracing::info!(
                    objects = state.objects,
                    bytes = state.bytes,
                    "everything is whole"
                );
            }
            Ok(Some(state)) => {
                for (repository, name) in &state.damaged {
                    tracing::error!(%repository, %name, "an object is damaged or missing");
                }
            }
            Ok(None) => tracing::info!("reading stopped; it goes on at the next start"),
            Err(failure) => tracing::error!("reading failed: {}", failure.message),
        }
    }

    /// Scrubs now, from where an earlier scrub was stopped. None if it was stopped.
    ///
    /// # Errors
    /// If one is at work already; those of the vault.
    pub fn run(
        &self,
        bytes_per_second: Option<u64>,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Option<ScrubState>, Failure> {
        if self.is_busy.swap(true, Ordering::SeqCst) {
            return Err(Failure::new("everything is being read through already")
                .hint("`outlast-vault log show` has the result when it is done"));
        }
        let _turn = Turn(&self.is_busy);
        let kept = fs::read_to_string(&self.kept).ok();
        let state = kept.and_then(|text| text.parse().ok());
        let state = state.unwrap_or_else(|| self.vault.scrub_start());
        let mut total = 0;
        for (repository, _) in self.vault.repositories() {
            total += self.vault.kept(&repository)?.bytes;
        }
        let pace = Pace {
            bytes_per_second,
            start: Instant::now(),
            passed: Mutex::new(0),
            stop: &self.stop,
        };
        let outcome = self.vault.scrub(
            state,
            ScrubOptions {
                threads: THREADS,
                pace: &|bytes| pace.pass(bytes),
                progress: &mut |state| {
                    self.keep(state);
                    progress(state.bytes, total);
                },
                stop: &self.stop,
            },
        )?;
        if outcome.is_some() {
            // Left behind it would only make the next scrub find nothing to do.
            let _ = fs::remove_file(&self.kept);
        }
        Ok(outcome)
    }

    /// Keeps the state for a restart; one that is lost costs reading again.
    fn keep(&self, state: &ScrubState) {
        let new = self.kept.with_extension("new");
        let written = fs::write(&new, state.to_string());
        if let Err(error) = written.and_then(|()| fs::rename(&new, &self.kept)) {
            tracing::debug!(%error, "the state of the scrub cannot be kept");
        }
    }
}
