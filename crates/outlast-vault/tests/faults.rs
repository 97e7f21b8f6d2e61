//! Every durable step of a vault fails in every way; what it acknowledged is there afterwards.

#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;

use outlast_custody::{ObjectList, Receipt, Scope};
use outlast_object::{ObjectKind, ObjectName, hash};
use outlast_vault::disk::{Disk, Fault, FaultPlan, SimulatedDisk};
use outlast_vault::{Caller, Index, Vault, VaultError, object_path};

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

/// Does everything once, from the first step on, and notes what is acknowledged.
fn work(world: &World, acknowledged: &mut Acknowledged) -> Result<(), VaultError> {
    let vault = world.open_with(Index::in_memory()?)?;
    if vault.settings(&repository()).is_err() {
        vault.set_repository(&repository(), settings())?;
    }
    let made = vault.add_token(&repository(), &[Scope::Append, Scope::Enrol], "test")?;
    let caller = vault.authenticate(&made.token.to_string(), &made.secret)?;
    work_as(&vault, &caller, acknowledged)
}

fn work_as(
    vault: &Vault,
    caller: &Caller,
    acknowledged: &mut Acknowledged,
) -> Result<(), VaultError> {
    let is_there = vault.object(&repository(), &ObjectName::CONFIG)?.is_some();
    for (kind, bytes) in steps() {
        if kind == ObjectKind::Key && is_there {
            continue;
        }
        put(vault, caller, &bytes, kind)?;
        if kind != ObjectKind::Key {
            acknowledged.objects.insert(name_of(kind, &bytes), bytes);
        }
    }
    let snapshot = hash(&[8; 300]);
    let list = ObjectList::new(acknowledged.objects.keys().copied());
    let seal = vault.seal(caller, snapshot, &list)?;
    let receipt = vault.receipt(&repository(), seal)?;
    acknowledged.receipts.push(receipt.encode());
    Ok(())
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
    drop(vault);
    // And it goes on: the client does everything again, and everything is there.
    let mut again = Acknowledged::default();
    work(&world, &mut again).unwrap_or_else(|error| panic!("{what}: does not go on: {error}"));
    assert_eq!(again.objects.len(), steps().len() - 1, "{what}");
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
    let disk = Arc::new(SimulatedDisk::new(CAPACITY));
    let world = World::on(Arc::clone(&disk) as Arc<dyn Disk>);
    work(&world, &mut Acknowledged::default()).unwrap();
    let operations = disk.operation_count();
    assert!(operations > 50, "{operations}");

    for number in 1..=operations {
        for fault in faults() {
            let disk = Arc::new(SimulatedDisk::new(CAPACITY));
            disk.set_faults(FaultPlan::none().at(number, fault));
            let world = World::on(Arc::clone(&disk) as Arc<dyn Disk>);
            let mut acknowledged = Acknowledged::default();
            let outcome = work(&world, &mut acknowledged);
            let operation = &disk.operations()[number as usize - 1];
            let what = format!("{fault:?} at {number}, {operation:?}");
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
fn a_full_disk_refuses_cleanly_and_the_ledger_still_works() {
    let disk = Arc::new(SimulatedDisk::new(CAPACITY));
    let world = World::on(Arc::clone(&disk) as Arc<dyn Disk>);
    let (vault, append) = world.initialised();
    put(&vault, &append, &pack(1, 500), ObjectKind::Pack).unwrap();
    disk.set_capacity(100 << 20);
    let full = put(&vault, &append, &pack(2, 500), ObjectKind::Pack);
    assert!(matches!(full, Err(VaultError::Full(_))), "{full:?}");
    let reader = caller(&vault, &[Scope::Restore]);
    let view = vault.view(&reader).unwrap();
    let there = name_of(ObjectKind::Pack, &pack(1, 500));
    assert!(vault.read(&view, &there).is_ok());
    vault.revoke_token(reader.token()).unwrap();
    disk.set_capacity(CAPACITY);
    put(&vault, &append, &pack(2, 500), ObjectKind::Pack).unwrap();
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
    let kind = outlast_vault::disk::OperationKind::Append;
    disk.set_faults(FaultPlan::none().from_of_kind(0, kind, Fault::Refused));
    let failed = put(&vault, &append, &pack(2, 500), ObjectKind::Pack);
    assert!(matches!(failed, Err(VaultError::ReadOnly(_))), "{failed:?}");
    disk.set_faults(FaultPlan::none());
    let later = put(&vault, &append, &pack(3, 500), ObjectKind::Pack);
    assert!(matches!(later, Err(VaultError::ReadOnly(_))), "{later:?}");
    // What was kept can still be read, and a new start goes on.
    let view = vault.view(&append).unwrap();
    assert!(vault.read(&view, &ObjectName::CONFIG).is_ok());
    drop(vault);
    let vault = world.open();
    assert!(put(&vault, &append, &pack(2, 500), ObjectKind::Pack).is_ok());
}
