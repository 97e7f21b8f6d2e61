//! `sync`: completes the copies of custodians from one another, object by object, without a password.
//!
//! What is copied is ciphertext under its name, verified before it is written. Packs come first and
//! snapshots last, and nothing that refers to others is written where something before it is missing;
//! so what breaks off leaves a copy that shows nothing torn, and the next run goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use outlast_object::{Id, ObjectKind, ObjectName, hash};
use outlast_repo::Cancel;
use outlast_store::{ConnectOptions, Deletes, Spool, Store, StoreError};
use parking_lot::Mutex;

use crate::buckets::is_due;
use crate::config::{Configuration, Places};
use crate::custodian::{Custodian, CustodianError, Custodians, find_place, is_custodian_location};
use crate::data_sets::DataSets;
use crate::keepers::{Kept, OWN, keepers, open_custodian, open_spool, prove_one};

/// The order in which kinds are copied.
const ORDER: [ObjectKind; 4] = [
    ObjectKind::Key,
    ObjectKind::Pack,
    ObjectKind::Index,
    ObjectKind::Snapshot,
];

/// Objects that are copied at a time.
const COPY_THREADS: usize = 4;

/// A place from which objects are taken, or to which they go.
pub struct SyncPlace {
    /// Its name.
    pub name: String,
    /// Its store.
    pub store: Arc<dyn Deletes>,
    /// Who it is, unless it is a repository of one's own.
    pub custodian: Option<Custodian>,
}

/// How far the copy of one place is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SyncStep<'a> {
    /// The place.
    pub place: &'a str,
    /// Objects that were copied so far.
    pub objects: u64,
    /// Objects that are to be copied, as far as is known.
    pub objects_total: u64,
    /// Bytes that were copied so far.
    pub bytes: u64,
    /// Bytes that are to be copied, as the places list them. They may claim anything.
    pub bytes_total: u64,
}

/// Told before the objects of a kind are copied, and of each object that was.
pub type SyncProgress<'a> = &'a (dyn Fn(&SyncStep<'_>) + Sync);

/// What became of one place.
#[derive(Debug)]
pub struct Synced {
    /// The place.
    pub name: String,
    /// Objects that were copied to it.
    pub copied: u64,
    /// Their bytes.
    pub copied_bytes: u64,
    /// Objects that it lacks and nobody here can give.
    pub lacking: u64,
    /// Why it was not completed, if so.
    pub failure: Option<String>,
}

impl Synced {
    /// Whether it has everything now that anybody else has.
    pub fn is_complete(&self) -> bool {
        self.failure.is_none() && self.lacking == 0
    }
}

/// The places of this machine: all custodians, also those that are only read from, and a repository
/// of one's own. Those that cannot be reached are given with the reason.
///
/// # Errors
/// [`CustodianError`] if they cannot be listed.
#[allow(clippy::type_complexity)]
pub fn sync_places(
    places: &Places,
    configuration: Option<&Configuration>,
    connect: &ConnectOptions,
) -> Result<(Vec<SyncPlace>, Vec<(String, String)>), CustodianError> {
    let (mut found, mut away) = (Vec::new(), Vec::new());
    let own = configuration.filter(|one| !is_custodian_location(&one.repository));
    if let Some(configuration) = own {
        let mut connect = connect.clone();
        let location = find_place(&configuration.repository, None, &mut connect)?.location;
        match outlast_store::open(&location, &connect) {
            Ok(store) => found.push(SyncPlace {
                name: OWN.to_owned(),
                store,
                custodian: None,
            }),
            Err(error) => away.push((OWN.to_owned(), error.to_string())),
        }
    }
    let named = configuration.and_then(|configuration| configuration.custodians.as_ref());
    for custodian in Custodians::of(places).list()? {
        let is_named = named.is_none_or(|names| names.contains(&custodian.name));
        if custodian.takes_backups() && !is_named {
            continue;
        }
        match open_custodian(&custodian, connect) {
            Ok(store) => found.push(SyncPlace {
                name: custodian.name.clone(),
                store,
                custodian: Some(custodian.clone()),
            }),
            Err(error) => away.push((custodian.name.clone(), error.to_string())),
        }
        // A bucket may have keys to read with, which those that add to it must not do.
        if let Some(reader) = custodian.reader()
            && let Ok(store) = open_custodian(&reader, connect)
        {
            found.push(SyncPlace {
                name: reader.name.clone(),
                store,
                custodian: Some(reader),
            });
        }
    }
    Ok((found, away))
}

/// What else is known when a place is completed.
#[derive(Default)]
pub struct SyncExtras<'a> {
    /// What was kept on this machine for places that were away.
    pub spool: Option<&'a Spool>,
    /// What the backups of this machine need, if that is known. What else a place lists and nobody can
    /// give is passed over then.
    pub needed: Option<&'a BTreeSet<ObjectName>>,
    /// When snapshots were made or first admitted, as far as that is known. They are copied in this
    /// order, since the last one that a vault admits is its latest.
    pub times: BTreeMap<Id, Age>,
}

/// Seconds since 1970, and the order within a second.
pub type Age = (u64, u64);

/// What one source has.
struct Source<'a> {
    store: &'a dyn Store,
    reads_packs: bool,
}

/// Completes `target` from the others and from the spool.
///
/// # Errors
/// None: what goes wrong is part of the answer, since other places are completed all the same.
pub fn complete(
    target: &SyncPlace,
    sources: &[&SyncPlace],
    from: &SyncExtras<'_>,
    cancel: &Cancel,
    progress: SyncProgress<'_>,
) -> Synced {
    let mut synced = Synced {
        name: target.name.clone(),
        copied: 0,
        copied_bytes: 0,
        lacking: 0,
        failure: None,
    };
    if let Err(error) = copy_all(target, sources, from, cancel, progress, &mut synced) {
        synced.failure = Some(error.to_string());
    }
    synced
}

fn copy_all(
    target: &SyncPlace,
    all: &[&SyncPlace],
    from: &SyncExtras<'_>,
    cancel: &Cancel,
    progress: SyncProgress<'_>,
    synced: &mut Synced,
) -> Result<(), StoreError> {
    let own = config_of(&*target.store)?;
    let mut sources = Vec::new();
    for place in all {
        // Whoever cannot be asked now is asked the next time.
        let Ok(Some(config)) = config_of(&*place.store) else {
            continue;
        };
        if own.as_ref().is_none_or(|own| *own == config) {
            sources.push((config, place));
        }
    }
    let config = own
        .clone()
        .or(sources.first().map(|(config, _)| config.clone()));
    let Some(config) = config else {
        return Ok(());
    };
    let sources = sources.iter().filter(|(of, _)| *of == config);
    let sources: Vec<Source<'_>> = sources
        .map(|(_, place)| Source {
            store: &*place.store,
            reads_packs: place.store.capabilities().reads_packs,
        })
        .collect();
    let spool = from.spool;
    let spooled: BTreeSet<ObjectName> = match spool {
        Some(spool) => spool.names()?.into_iter().collect(),
        None => BTreeSet::new(),
    };
    let is_new = own.is_none();
    if is_new {
        target.store.prepare()?;
    }
    for kind in ORDER {
        if kind == ObjectKind::Key && !is_new {
            // Keys are the owner's: a custodian that has the repository has those it is to have.
            continue;
        }
        if kind != ObjectKind::Key && kind != ObjectKind::Pack && synced.lacking > 0 {
            return Ok(());
        }
        let mut missing = missing_of(kind, target, &sources, &spooled)?;
        if kind == ObjectKind::Snapshot {
            missing.sort_by_key(|(name, _)| from.times.get(&name.id()).copied());
        }
        // Snapshots one after the other, for their order; everything else as fast as it goes.
        let threads = match kind {
            ObjectKind::Snapshot => 1,
            _ => COPY_THREADS.min(missing.len()),
        };
        if missing.is_empty() && kind != ObjectKind::Key {
            continue;
        }
        let bytes = missing
            .iter()
            .fold(synced.copied_bytes, |sum, one| sum.saturating_add(one.1));
        let copying = Copying {
            objects_total: synced.copied + missing.len() as u64,
            bytes_total: bytes,
            target,
            sources: &sources,
            from,
            missing: &missing,
            next: AtomicUsize::new(0),
            state: Mutex::new((&mut *synced, None)),
        };
        progress(&copying.step(copying.state.lock().0));
        thread::scope(|scope| {
            for _ in 1..threads {
                scope.spawn(|| copying.run(cancel, progress));
            }
            copying.run(cancel, progress);
        });
        if let (_, Some(error)) = copying.state.into_inner() {
            return Err(error);
        }
        if kind == ObjectKind::Key && is_new {
            target.store.write(&ObjectName::CONFIG, &config)?;
        }
    }
    Ok(())
}

/// Objects of one kind on their way.
struct Copying<'a> {
    target: &'a SyncPlace,
    sources: &'a [Source<'a>],
    from: &'a SyncExtras<'a>,
    missing: &'a [(ObjectName, u64)],
    /// Objects that were copied before, and these.
    objects_total: u64,
    /// Their bytes, as listed.
    bytes_total: u64,
    next: AtomicUsize,
    /// What was done, and the first error, after which no more is begun.
    state: Mutex<(&'a mut Synced, Option<StoreError>)>,
}

impl Copying<'_> {
    fn run(&self, cancel: &Cancel, progress: SyncProgress<'_>) {
        while let Some((name, _)) = self.missing.get(self.next.fetch_add(1, Ordering::Relaxed)) {
            if self.state.lock().1.is_some() {
                return;
            }
            let outcome = cancelled(cancel).and_then(|()| self.copy(name, progress));
            if let Err(error) = outcome {
                self.state.lock().1.get_or_insert(error);
                return;
            }
        }
    }

    fn copy(&self, name: &ObjectName, progress: SyncProgress<'_>) -> Result<(), StoreError> {
        let Some(bytes) = fetch(name, self.sources, self.from.spool) else {
            // A name that one place made up must not keep all others from being completed.
            if self.from.needed.is_none_or(|needed| needed.contains(name)) {
                self.state.lock().0.lacking += 1;
            }
            return Ok(());
        };
        self.target.store.write(name, &bytes)?;
        let synced = &mut self.state.lock().0;
        synced.copied += 1;
        synced.copied_bytes += bytes.len() as u64;
        progress(&self.step(synced));
        Ok(())
    }

    fn step(&self, synced: &Synced) -> SyncStep<'_> {
        SyncStep {
            place: &self.target.name,
            objects: synced.copied,
            objects_total: self.objects_total,
            bytes: synced.copied_bytes,
            bytes_total: self.bytes_total.max(synced.copied_bytes),
        }
    }
}

fn cancelled(cancel: &Cancel) -> Result<(), StoreError> {
    cancel.check().map_err(|error| StoreError::Unavailable {
        operation: "go on".to_owned(),
        location: "sync".to_owned(),
        reason: error.to_string(),
    })
}

fn config_of(store: &dyn Store) -> Result<Option<Vec<u8>>, StoreError> {
    match store.read(&ObjectName::CONFIG) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

/// What the target lacks and others list, each with its size as they list it; what only the spool has
/// counts as empty.
fn missing_of(
    kind: ObjectKind,
    target: &SyncPlace,
    sources: &[Source<'_>],
    spooled: &BTreeSet<ObjectName>,
) -> Result<Vec<(ObjectName, u64)>, StoreError> {
    let mut wanted: BTreeMap<Id, u64> = BTreeMap::new();
    for source in sources {
        // One that cannot list now does not keep the others from giving.
        let _ = source.store.list(kind, &mut |info| {
            wanted.insert(info.id, info.size);
        });
    }
    for name in spooled.iter().filter(|name| name.kind() == kind) {
        wanted.entry(name.id()).or_default();
    }
    target.store.list(kind, &mut |info| {
        wanted.remove(&info.id);
    })?;
    let names = wanted.into_iter();
    Ok(names
        .map(|(id, size)| (ObjectName::new(kind, id), size))
        .collect())
}

/// The bytes of an object, verified, from wherever they can be had.
fn fetch(name: &ObjectName, sources: &[Source<'_>], spool: Option<&Spool>) -> Option<Vec<u8>> {
    if let Some(bytes) = spool.and_then(|spool| spool.read(name).ok()) {
        return Some(bytes);
    }
    let can = |source: &&Source<'_>| name.kind() != ObjectKind::Pack || source.reads_packs;
    sources.iter().filter(can).find_map(|source| {
        let bytes = source.store.read(name).ok()?;
        (hash(&bytes) == name.id()).then_some(bytes)
    })
}

/// Lets go of what the spool keeps and every custodian has.
///
/// # Errors
/// [`StoreError`] if a place cannot be listed; then everything stays.
pub fn clear_spool(spool: &Spool, targets: &[&SyncPlace]) -> Result<u64, StoreError> {
    let mut owed: BTreeSet<ObjectName> = spool.names()?.into_iter().collect();
    for kind in [ObjectKind::Pack, ObjectKind::Index, ObjectKind::Snapshot] {
        let mut everywhere: Option<BTreeSet<Id>> = None;
        for target in targets {
            let listed = target.store.list_all(kind)?;
            let ids: BTreeSet<Id> = listed.into_iter().map(|info| info.id).collect();
            everywhere = Some(match everywhere {
                None => ids,
                Some(before) => before.intersection(&ids).copied().collect(),
            });
        }
        let everywhere = everywhere.unwrap_or_default();
        owed.retain(|name| name.kind() != kind || everywhere.contains(&name.id()));
    }
    let mut released = 0;
    for name in owed {
        spool.release(&name)?;
        released += 1;
    }
    Ok(released)
}

/// What a whole run did.
#[derive(Debug)]
pub struct SyncRun {
    /// Each place that was completed, or not.
    pub places: Vec<Synced>,
    /// Receipts and evidence that were missing and are there now, or not.
    pub kept: Vec<Kept>,
    /// Places that were not reached.
    pub away: Vec<(String, String)>,
}

/// Completes every custodian from all others; then asks those that are complete for what is missing of
/// receipts and evidence.
///
/// # Errors
/// [`CustodianError`] if custodians cannot be listed.
pub fn sync_all(
    places: &Places,
    configuration: Option<&Configuration>,
    only: Option<&str>,
    connect: &ConnectOptions,
    cancel: &Cancel,
    progress: SyncProgress<'_>,
) -> Result<SyncRun, CustodianError> {
    let (all, away) = sync_places(places, configuration, connect)?;
    let spool = match configuration {
        Some(configuration) => Some(open_spool(places, configuration)?),
        None => None,
    };
    let takes = |place: &&SyncPlace| {
        let custodian = place.custodian.as_ref();
        custodian.is_none_or(Custodian::takes_backups)
    };
    let targets: Vec<&SyncPlace> = all.iter().filter(takes).collect();
    if let Some(only) = only
        && !targets.iter().any(|target| target.name == only)
    {
        return Err(CustodianError::Unknown(only.to_owned()));
    }
    let needed = needed(places)?;
    let times = times(places, &all, connect)?;
    let mut run = SyncRun {
        places: Vec::new(),
        kept: Vec::new(),
        away,
    };
    for target in &targets {
        if only.is_some_and(|only| only != target.name) {
            continue;
        }
        let sources: Vec<&SyncPlace> = all.iter().filter(|one| one.name != target.name).collect();
        let extras = SyncExtras {
            spool: spool.as_ref(),
            needed: needed.as_ref(),
            times: times.clone(),
        };
        let synced = complete(target, &sources, &extras, cancel, progress);
        if let (true, Some(custodian)) = (synced.is_complete(), &target.custodian) {
            run.kept.extend(prove_missing(places, custodian, connect)?);
        }
        run.places.push(synced);
    }
    let all_here = keepers(places, configuration)?.len()
        == targets.iter().filter(|one| one.custodian.is_some()).count();
    if let (Some(spool), true) = (&spool, all_here) {
        clear_spool(spool, &targets)?;
    }
    Ok(run)
}

/// What the newest snapshots of this machine need; none if it made none.
pub(crate) fn needed(places: &Places) -> Result<Option<BTreeSet<ObjectName>>, CustodianError> {
    let sets = DataSets::of(places);
    let mut needed = BTreeSet::new();
    for set in sets.all()? {
        for snapshot in &set.snapshots {
            if let Some(list) = sets.list(snapshot.list.0)? {
                needed.extend(list.objects().iter().copied());
            }
        }
    }
    Ok((!needed.is_empty()).then_some(needed))
}

/// When snapshots were made, as this machine remembers, or were first admitted, as vaults say.
fn times(
    places: &Places,
    all: &[SyncPlace],
    connect: &ConnectOptions,
) -> Result<BTreeMap<Id, Age>, CustodianError> {
    let mut times: BTreeMap<Id, Age> = BTreeMap::new();
    for custodian in all.iter().filter_map(|place| place.custodian.as_ref()) {
        let rows = custodian.client(connect).ok();
        let rows = rows.and_then(|client| client.objects(ObjectKind::Snapshot).ok());
        for row in rows.into_iter().flatten() {
            let admitted = (row.presence.time, row.presence.position);
            let age = times.entry(row.id.0).or_insert(admitted);
            *age = admitted.min(*age);
        }
    }
    for set in DataSets::of(places).all()? {
        // What was made in a second is newer than what a vault took in it: it took what was there.
        let oldest_first = (u64::MAX / 2..).zip(set.snapshots.iter().rev());
        times.extend(oldest_first.map(|(order, one)| (one.snapshot.0, (one.time, order))));
    }
    Ok(times)
}

/// Asks for receipts or evidence for the newest snapshots for which there are none yet.
fn prove_missing(
    places: &Places,
    custodian: &Custodian,
    connect: &ConnectOptions,
) -> Result<Vec<Kept>, CustodianError> {
    let sets = DataSets::of(places);
    let mut kept = Vec::new();
    for set in sets.all()? {
        let Some(newest) = set.snapshots.first() else {
            continue;
        };
        let name = &custodian.name;
        let evidence = newest.evidence.get(name);
        if newest.receipts.contains_key(name) || evidence.is_some_and(|of| !is_due(custodian, of)) {
            continue;
        }
        let Some(list) = sets.list(newest.list.0)? else {
            continue;
        };
        let snapshot = newest.snapshot.0;
        let outcome = prove_one(places, custodian, connect, (snapshot, &list));
        if let Ok(proven) = &outcome {
            let shown = [(name.clone(), proven.shown())];
            sets.note_of((&set.host, &set.paths), snapshot, &shown)?;
        }
        kept.push(Kept {
            custodian: custodian.clone(),
            outcome,
        });
    }
    Ok(kept)
}
