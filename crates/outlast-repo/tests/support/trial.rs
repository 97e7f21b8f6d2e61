//! Killing an operation at each change it makes to the store, in every way, and judging what is left.
//!
//! To put another operation on trial, give [`survive`] a store to begin with and the operation as a
//! function of a store that fails.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use outlast_format::Time;
use outlast_object::{Id, ObjectKind, ObjectName};
use outlast_repo::{
    Cancel, Clock, Environment, ExclusiveLock, Finding, Removal, RepoError, Repository, Severity,
    SystemClock,
};
use outlast_store::faults::{Fault, FaultPlan, FaultStore, Moment};
use outlast_store::{Contents, LockStore, MemoryStore};

use super::small::{Files, check_all, open_small, read_snapshot, small_packs};
use super::{PASSWORD, judge, tools};

/// The store that an operation on trial works with.
pub type TrialStore = Arc<FaultStore<MemoryStore>>;

/// The machine's clock, except that nobody has to wait.
#[derive(Debug, Default)]
pub struct ImpatientClock(SystemClock);

impl Clock for ImpatientClock {
    fn now(&self) -> Time {
        self.0.now()
    }

    fn monotonic(&self) -> Duration {
        self.0.monotonic()
    }

    fn sleep(&self, _: Duration) {}
}

/// A process that is killed: afterwards it does not exist, as its locks tell. Each is another one.
pub fn mortal() -> Environment {
    static BORN: AtomicU32 = AtomicU32::new(0);
    Environment {
        clock: Arc::new(ImpatientClock::default()),
        // Beyond the largest number that Linux gives to a process.
        pid: 0x0060_0000 + BORN.fetch_add(1, Ordering::Relaxed),
        ..Environment::quiet()
    }
}

/// Opens the repository as a process that will be killed.
pub fn open_mortal(store: Arc<dyn LockStore>) -> Result<Repository, RepoError> {
    let repository = Repository::open(store, mortal(), PASSWORD, small_packs())?;
    repository.load_index(&Cancel::new())?;
    Ok(repository)
}

/// Opens the repository, locks it for itself and gets the right to remove things.
pub fn with_removal(
    store: &TrialStore,
    work: impl FnOnce(&Repository, &Removal<'_>) -> Result<(), RepoError>,
) -> Result<(), RepoError> {
    let repository = open_mortal(store.clone())?;
    let lock = ExclusiveLock::acquire(&repository, Duration::ZERO, &Cancel::new())?;
    let removal = Removal::new(&repository, &**store, &lock)?;
    work(&repository, &removal)
}

/// What is put on trial.
#[derive(Debug, Clone, Default)]
pub struct Trial {
    /// What the store holds at first.
    pub start: Contents,
    /// Snapshots that the operation may remove.
    pub removable: BTreeSet<Id>,
    /// The repository is damaged at first; the operation repairs it.
    pub is_repair: bool,
}

impl Trial {
    /// An operation that removes no snapshot of a sound repository.
    pub fn of(start: &MemoryStore) -> Self {
        Self {
            start: start.contents(),
            ..Self::default()
        }
    }
}

/// Files of all snapshots that can be read; snapshots that cannot be read whole are left out.
fn readable(contents: &Contents) -> BTreeMap<Id, Files> {
    let store = Arc::new(MemoryStore::from_contents(contents.clone()));
    let repository = open_small(store).unwrap();
    let snapshots = repository.load_snapshots(&Cancel::new()).unwrap();
    snapshots
        .into_iter()
        .filter_map(|(id, _)| Some((id, read_snapshot(&repository, id).ok()?)))
        .collect()
}

/// Kills the operation at each change it makes, in each way. Each time, what is left must be sound,
/// all snapshots that were complete before must still be, and the operation must succeed when it is
/// run again. Gives the number of changes tried.
pub fn survive(trial: &Trial, operation: impl Fn(&TrialStore) -> Result<(), RepoError>) -> usize {
    let before = readable(&trial.start);
    let restic = tools::restic_019();
    for number in 1.. {
        let mut happened = false;
        for moment in Moment::ALL {
            let inner = MemoryStore::from_contents(trial.start.clone());
            let plan = FaultPlan::at_change(number, moment);
            let store = Arc::new(FaultStore::with_plan(inner, plan));
            // Whether it fails is its own affair: some failures do no harm.
            let _ = operation(&store);
            let fault = store
                .trace()
                .into_iter()
                .find(|traced| traced.fault.is_some());
            let Some(fault) = fault else { continue };
            happened = true;
            let torn = matches!(fault.fault, Some(Fault::Torn(_))).then_some(fault.name);
            let label = format!("{moment:?} change {number}, {:?}", fault.name);
            let image = store.inner().contents();
            assert_image(trial, &before, &image, torn.flatten(), &label);
            if let Some(program) = &restic
                && moment == Moment::After
                && !trial.is_repair
            {
                assert_judged(program, &image, &label);
            }
            store.set_plan(FaultPlan::none());
            if let Some(name) = torn.flatten() {
                // Nobody but the store itself can mend what it tore.
                use outlast_store::Deletes;
                store.delete(&name).unwrap();
            }
            operation(&store).unwrap_or_else(|error| panic!("{label}, again: {error}"));
            let healed = store.inner().contents();
            assert_sound(&healed, &label);
            assert_kept(trial, &before, &healed, &label);
            if let Some(program) = &restic
                && moment == Moment::After
            {
                assert_judged(program, &healed, &label);
            }
        }
        if !happened {
            assert!(number > 1, "the operation changes nothing");
            return number - 1;
        }
    }
    unreachable!()
}

fn assert_image(
    trial: &Trial,
    before: &BTreeMap<Id, Files>,
    image: &Contents,
    torn: Option<ObjectName>,
    label: &str,
) {
    assert_kept(trial, before, image, label);
    if trial.is_repair {
        return;
    }
    let store = Arc::new(MemoryStore::from_contents(image.clone()));
    let report = check_all(store).unwrap();
    let wrong: Vec<&Finding> = report
        .findings
        .iter()
        .filter(|finding| finding.severity() == Severity::Error)
        .filter(|finding| torn.is_none() || finding.object() != torn)
        .collect();
    assert!(wrong.is_empty(), "{label}: {wrong:?}");
    assert!(report.affected.is_empty(), "{label}: {:?}", report.affected);
}

fn assert_sound(contents: &Contents, label: &str) {
    let store = Arc::new(MemoryStore::from_contents(contents.clone()));
    let report = check_all(store).unwrap();
    assert!(report.is_sound(), "{label}: {:?}", report.findings);
}

fn assert_kept(trial: &Trial, before: &BTreeMap<Id, Files>, image: &Contents, label: &str) {
    let now = readable(image);
    for (id, files) in before {
        match now.get(id) {
            Some(kept) => assert!(kept == files, "{label}: snapshot {id} is different"),
            None => assert!(
                trial.removable.contains(id)
                    && !image.contains_key(&ObjectName::new(ObjectKind::Snapshot, *id)),
                "{label}: snapshot {id} can no longer be restored"
            ),
        }
    }
}

fn assert_judged(program: &std::path::Path, image: &Contents, label: &str) {
    let mut unlocked = image.clone();
    unlocked.retain(|name, _| name.kind() != ObjectKind::Lock);
    let (content, text) = judge::judge(program, &unlocked, &["check", "--read-data"]);
    assert!(content, "{label}: {text}");
}
