//! Every durable step of a vault fails in every way; what it acknowledged is there afterwards.

#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;
use std::io::Read;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use outlast_custody::{Event, ObjectList, Receipt, Scope};
use outlast_object::{ObjectKind, ObjectName, hash};
use outlast_vault::disk::{Disk, Fault, FaultPlan, OperationKind, SimulatedDisk};
use outlast_vault::{Accepted, Caller, Index, ScrubOptions, Vault, VaultError, object_path};

use support::*;

/// Room on the disk: more than the reserve that uploads never fill.
const CAPACITY: u64 = 1 << 30;
/// Images of a loss of power that are looked at for each fault, besides the two extremes.
const SEEDS: u64 = 4;

/// What a vault said that it keeps.
#[derive(Default)]
struct Acknowledged {
    objects: BTreeMap<ObjectName, Vec<u8>>,
    receipts: Vec<String>,
    /// Seals with the end of their extended holds.
    holds: Vec<(u64, u64)>,
    /// Tokens that are revoked, with their secrets.
    revoked: Vec<(String, String)>,
    /// When a scrub that found nothing began.
    scrubbed: Option<u64>,
    /// Whether refusals were logged.
    refusals: bool,
}

fn steps() -> Vec<(ObjectKind, Vec<u8>)> {
    vec![
        (ObjectKind::Key, key_file()),
        (ObjectKind::Config, vec![5; 155]),
        (ObjectKind::Pack, pack(1, 3000)),
        (ObjectKind::Pack, pack(2, 600)),
        (ObjectKind::Index, vec![7; 700]),
        (ObjectKind::Snapshot, vec![8; 300]),
    ]
}

fn name_of(kind: ObjectKind, bytes: &[u8]) -> ObjectName {
    ObjectName::new(kind, hash(bytes))
}

/// How a backup is sent.
#[derive(Clone, Copy, Debug)]
enum Sending {
    OneByOne,
    InABatch,
}

/// Does everything once, from the first step on, and notes what is acknowledged.
fn work(
    world: &World,
    sending: Sending,
    acknowledged: &mut Acknowledged,
) -> Result<(), VaultError> {
    let vault = world.open_with(Index::in_memory()?)?;
    if vault.settings(&repository()).is_err() {
        vault.set_repository(&repository(), settings())?;
    }
    let made = vault.add_token(&repository(), &[Scope::Append, Scope::Enrol], "test")?;
    let caller = vault.authenticate(&made.token.to_string(), &made.secret)?;
    let (enrolment, backup): (Vec<_>, Vec<_>) = steps()
        .into_iter()
        .partition(|(kind, _)| matches!(kind, ObjectKind::Key | ObjectKind::Config));
    put_one_by_one(&vault, &caller, enrolment, acknowledged)?;
    match sending {
        Sending::OneByOne => put_one_by_one(&vault, &caller, backup, acknowledged)?,
        Sending::InABatch => put_in_a_batch(&vault, &caller, &backup, acknowledged)?,
    }
    let index = seal(&vault, &caller, acknowledged)?;
    operate(&vault, index, acknowledged)?;
    vault.revoke_token(made.token)?;
    let credentials = (made.token.to_string(), made.secret);
    acknowledged.revoked.push(credentials);
    vault.count_answer(403);
    vault.close()?;
    acknowledged.refusals = true;
    Ok(())
}

/// What an operator does: a longer hold, and a scrub.
fn operate(vault: &Vault, seal: u64, acknowledged: &mut Acknowledged) -> Result<(), VaultError> {
    let until = vault.held_until(&repository(), seal)?.unwrap() + DAY;
    vault.extend(&repository(), seal, until)?;
    acknowledged.holds.push((seal, until));
    let options = ScrubOptions {
        threads: 1,
        pace: &|_| (),
        progress: &mut |_| (),
        stop: &AtomicBool::new(false),
    };
    let state = vault.scrub(vault.scrub_start(), options)?.unwrap();
    assert_eq!(state.damaged, []);
    acknowledged.scrubbed = Some(state.started);
    Ok(())
}

fn put_one_by_one(
    vault: &Vault,
    caller: &Caller,
    objects: Vec<(ObjectKind, Vec<u8>)>,
    acknowledged: &mut Acknowledged,
) -> Result<(), VaultError> {
    let is_there = vault.object(&repository(), &ObjectName::CONFIG)?.is_some();
    for (kind, bytes) in objects {
        if kind == ObjectKind::Key && is_there {
            continue;
        }
        put(vault, caller, &bytes, kind)?;
        if kind != ObjectKind::Key {
            acknowledged.objects.insert(name_of(kind, &bytes), bytes);
        }
    }
    Ok(())
}

/// What is said of one object counts, whatever became of the others.
fn put_in_a_batch(
    vault: &Vault,
    caller: &Caller,
    objects: &[(ObjectKind, Vec<u8>)],
    acknowledged: &mut Acknowledged,
) -> Result<(), VaultError> {
    let offered: Vec<_> = objects
        .iter()
        .map(|(kind, bytes)| (name_of(*kind, bytes), bytes.as_slice()))
        .collect();
    let mut failed = None;
    // One thread, so that operations always have the same numbers.
    let outcomes = vault.accept_many(caller, &offered, NonZeroUsize::MIN);
    assert_eq!(outcomes.len(), offered.len());
    for ((name, bytes), outcome) in offered.into_iter().zip(outcomes) {
        match outcome {
            Ok(_) => {
                acknowledged.objects.insert(name, bytes.to_vec());
            }
            Err(error) => failed = Some(error),
        }
    }
    failed.map_or(Ok(()), Err)
}

fn seal(
    vault: &Vault,
    caller: &Caller,
    acknowledged: &mut Acknowledged,
) -> Result<u64, VaultError> {
    let snapshot = hash(&[8; 300]);
    let list = ObjectList::new(acknowledged.objects.keys().copied());
    let seal = vault.seal(caller, snapshot, &list)?;
    let receipt = vault.receipt(&repository(), seal)?;
    acknowledged.receipts.push(receipt.encode());
    Ok(seal)
}

/// Opens the vault on a disk as it was found, and looks for everything.
fn look(disk: SimulatedDisk, acknowledged: &Acknowledged, what: &str) {
    let world = World::on(Arc::new(disk));
    let vault = world.open_with(Index::in_memory().unwrap());
    let vault = vault.unwrap_or_else(|error| panic!("{what}: does not open: {error}"));
    for (name, bytes) in &acknowledged.objects {
        let admission = vault.object(&repository(), name).unwrap();
        assert!(admission.is_some(), "{what}: {name} is not in the log");
        let mut found = Vec::new();
        let mut file = world.disk.open(&object_path(&repository(), name)).unwrap();
        file.read_to_end(&mut found).unwrap();
        assert!(found == *bytes, "{what}: {name} has other bytes");
    }
    for text in &acknowledged.receipts {
        let receipt = Receipt::parse(text).unwrap();
        let receipt = receipt.verify(&vault.identity(), &[]).unwrap();
        let seals = vault.seals(&repository()).unwrap();
        let index = receipt.proof().index();
        let found = seals.iter().find(|(found, _)| *found == index);
        let (_, seal) = found.unwrap_or_else(|| panic!("{what}: the seal is gone"));
        assert!(seal == receipt.seal(), "{what}: another seal");
        vault.sealed_list(seal).unwrap();
    }
    look_at_what_the_operator_did(&vault, acknowledged, what);
    let was_read_only = vault.read_only_reason().is_some();
    drop(vault);
    // Whatever happened, a check finds nothing wrong, and lets the vault take uploads again.
    let report = world.fsck(true).unwrap();
    assert!(report.is_clean(), "{what}: {:?}", report.findings);
    assert!(
        report.objects >= acknowledged.objects.len() as u64,
        "{what}"
    );
    let vault = world.open_with(Index::in_memory().unwrap()).unwrap();
    assert!(
        vault.read_only_reason().is_none(),
        "{what}, {was_read_only}"
    );
    drop(vault);
    // And it goes on: the client does everything again, and everything is there.
    let mut again = Acknowledged::default();
    work(&world, Sending::OneByOne, &mut again)
        .unwrap_or_else(|error| panic!("{what}: does not go on: {error}"));
    assert_eq!(again.objects.len(), steps().len() - 1, "{what}");
}

fn look_at_what_the_operator_did(vault: &Vault, acknowledged: &Acknowledged, what: &str) {
    for (seal, until) in &acknowledged.holds {
        let held = vault.held_until(&repository(), *seal).unwrap();
        assert_eq!(held, Some(*until), "{what}: another hold");
    }
    for (token, secret) in &acknowledged.revoked {
        let entered = vault.authenticate(token, secret);
        assert!(
            matches!(entered, Err(VaultError::Unauthorised)),
            "{what}: {entered:?}"
        );
    }
    if acknowledged.scrubbed.is_some() {
        assert_eq!(vault.scrubbed(), acknowledged.scrubbed, "{what}: no scrub");
    }
    if acknowledged.refusals {
        let mut found = false;
        let mut visit = |_, entry: outlast_custody::Entry| {
            found |= matches!(entry.event, Event::Refusals(_));
            true
        };
        vault.entries(0, &mut visit).unwrap();
        assert!(found, "{what}: the refusals are gone");
    }
}

fn faults() -> Vec<Fault> {
    vec![
        Fault::Refused,
        Fault::NoSpace,
        Fault::DoneButError,
        Fault::Unsynced,
        Fault::CrashBefore,
        Fault::CrashDuring,
        Fault::CrashAfter,
        Fault::Torn { sectors: 1 },
        Fault::TornCrash { sectors: 1 },
    ]
}

#[test]
fn whatever_fails_what_was_acknowledged_stays() {
    whatever_fails_what_was_acknowledged_stays_when_sent(Sending::OneByOne);
}

#[test]
fn whatever_fails_what_was_acknowledged_of_a_batch_stays() {
    whatever_fails_what_was_acknowledged_stays_when_sent(Sending::InABatch);
}

fn whatever_fails_what_was_acknowledged_stays_when_sent(sending: Sending) {
    let disk = Arc::new(SimulatedDisk::new(CAPACITY));
    let world = World::on(Arc::clone(&disk) as Arc<dyn Disk>);
    work(&world, sending, &mut Acknowledged::default()).unwrap();
    let operations = disk.operation_count();
    assert!(operations > 50, "{operations}");

    for number in 1..=operations {
        for fault in faults() {
            let disk = Arc::new(SimulatedDisk::new(CAPACITY));
            disk.set_faults(FaultPlan::none().at(number, fault));
            let world = World::on(Arc::clone(&disk) as Arc<dyn Disk>);
            let mut acknowledged = Acknowledged::default();
            let outcome = work(&world, sending, &mut acknowledged);
            let operation = &disk.operations()[number as usize - 1];
            let what = format!("{sending:?}, {fault:?} at {number}, {operation:?}");
            if matches!(outcome, Err(VaultError::ReadOnly(_))) && !disk.has_crashed() {
                // The operator restarts the vault, and then the power is lost all the same.
                let _ = world.open_with(Index::in_memory().unwrap());
            }
            for seed in 0..SEEDS {
                look(
                    disk.crash_image(seed),
                    &acknowledged,
                    &format!("{what}, image {seed}"),
                );
            }
            for seed in [u64::MAX, u64::MAX - 1] {
                look(
                    disk.crash_image(seed),
                    &acknowledged,
                    &format!("{what}, image {seed}"),
                );
            }
        }
    }
}

#[test]
fn a_ledger_that_failed_once_accepts_nothing_more() {
    let disk = Arc::new(SimulatedDisk::new(CAPACITY));
    let world = World::on(Arc::clone(&disk) as Arc<dyn Disk>);
    let (vault, append) = world.initialised();
    let before = disk.operation_count();
    put(&vault, &append, &pack(1, 500), ObjectKind::Pack).unwrap();
    let operations = disk.operations();
    let journal = operations
        .iter()
        .position(|operation| operation.path.starts_with("ledger/journal/"))
        .map(|_| operations.len() as u64 - before);
    assert!(journal.is_some());
    let kind = OperationKind::Append;
    disk.set_faults(FaultPlan::none().from_of_kind(0, kind, Fault::Refused));
    let failed = put(&vault, &append, &pack(2, 500), ObjectKind::Pack);
    assert!(matches!(failed, Err(VaultError::ReadOnly(_))), "{failed:?}");
    disk.set_faults(FaultPlan::none());
    let later = put(&vault, &append, &pack(3, 500), ObjectKind::Pack);
    assert!(matches!(later, Err(VaultError::ReadOnly(_))), "{later:?}");
    // What was kept can still be read, and after a check a new start goes on.
    let view = vault.view(&append).unwrap();
    assert!(vault.read(&view, &ObjectName::CONFIG).is_ok());
    drop(vault);
    assert!(world.fsck(true).unwrap().is_clean());
    let vault = world.open();
    assert!(put(&vault, &append, &pack(2, 500), ObjectKind::Pack).is_ok());
}

#[test]
fn a_batch_syncs_each_folder_once_and_is_one_batch_of_the_log() {
    let disk = Arc::new(SimulatedDisk::new(CAPACITY));
    let world = World::on(Arc::clone(&disk) as Arc<dyn Disk>);
    let (vault, append) = world.initialised();
    let mut packs: Vec<Vec<u8>> = (0..600).map(|seed| pack(seed, 200)).collect();
    // One comes twice, and one is not what its name says.
    packs.push(pack(3, 200));
    let mut offered: Vec<_> = packs
        .iter()
        .map(|bytes| (name_of(ObjectKind::Pack, bytes), bytes.as_slice()))
        .collect();
    let wrong = name_of(ObjectKind::Pack, &pack(7777, 200));
    offered.push((wrong, packs[0].as_slice()));
    offered.push((ObjectName::CONFIG, &[5; 155]));
    let before = disk.operations().len();
    let outcomes = vault.accept_many(&append, &offered, NonZeroUsize::MIN);
    let operations = disk.operations().split_off(before);
    let count = |kind: OperationKind| {
        let of_kind = operations.iter().filter(|operation| operation.kind == kind);
        of_kind.count()
    };
    let folders: std::collections::BTreeSet<_> = offered[..600]
        .iter()
        .map(|(name, _)| name.id().to_hex()[..2].to_owned())
        .collect();
    assert_eq!(count(OperationKind::SyncDirectory), folders.len());
    assert_eq!(count(OperationKind::Append), 1);

    let positions: Vec<u64> = outcomes[..600]
        .iter()
        .map(|outcome| match outcome {
            Ok(Accepted::New(position)) => *position,
            other => panic!("{other:?}"),
        })
        .collect();
    assert!(positions.is_sorted_by(|first, second| first + 1 == *second));
    assert!(matches!(outcomes[600], Ok(Accepted::Known(position)) if position == positions[3]));
    assert!(matches!(outcomes[601], Err(VaultError::Shape(_))));
    assert!(matches!(outcomes[602], Err(VaultError::Forbidden(_))));
}

#[test]
fn a_batch_is_bounded_by_the_quota_as_single_uploads_are() {
    let disk = Arc::new(SimulatedDisk::new(CAPACITY));
    let world = World::on(Arc::clone(&disk) as Arc<dyn Disk>);
    let (vault, append) = world.initialised();
    let mut tight = settings();
    tight.quota_bytes = 155 + key_file().len() as u64 + 2500;
    vault.set_repository(&repository(), tight).unwrap();
    let packs: Vec<Vec<u8>> = (0..4).map(|seed| pack(seed, 1000)).collect();
    let offered: Vec<_> = packs
        .iter()
        .map(|bytes| (name_of(ObjectKind::Pack, bytes), bytes.as_slice()))
        .collect();
    let mut outcomes = vault.accept_many(&append, &offered, NonZeroUsize::MIN);
    let refused = outcomes.split_off(2);
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    for outcome in refused {
        assert!(matches!(outcome, Err(VaultError::Full(_))), "{outcome:?}");
    }
}

#[test]
fn what_is_put_back_after_a_loss_uses_no_more_of_the_quota() {
    let disk = Arc::new(SimulatedDisk::new(CAPACITY));
    let world = World::on(Arc::clone(&disk) as Arc<dyn Disk>);
    let (vault, append) = world.initialised();
    let mut tight = settings();
    tight.quota_bytes = 155 + key_file().len() as u64 + 2500;
    vault.set_repository(&repository(), tight).unwrap();
    let lost = pack(1, 1000);
    put(&vault, &append, &lost, ObjectKind::Pack).unwrap();
    let offered = [(name_of(ObjectKind::Pack, &lost), lost.as_slice())];
    for _ in 0..2 {
        let path = object_path(&repository(), &offered[0].0);
        disk.remove(&path).unwrap();
        put(&vault, &append, &lost, ObjectKind::Pack).unwrap();
        disk.remove(&path).unwrap();
        let outcomes = vault.accept_many(&append, &offered, NonZeroUsize::MIN);
        assert!(outcomes[0].is_ok(), "{outcomes:?}");
    }
    put(&vault, &append, &pack(2, 1000), ObjectKind::Pack).unwrap();
    let full = put(&vault, &append, &pack(3, 1000), ObjectKind::Pack);
    assert!(matches!(full, Err(VaultError::Full(_))), "{full:?}");
}
