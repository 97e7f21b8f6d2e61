//! A disk that is full, in steps: each takes away what may be missed most easily, and breaks nothing.

#![allow(clippy::unwrap_used)]

mod support;

use std::num::NonZeroUsize;
use std::sync::Arc;

use outlast_custody::{Event, ObjectList, Scope};
use outlast_object::{ObjectKind, ObjectName, hash};
use outlast_vault::disk::{Disk, SimulatedDisk};
use outlast_vault::{Accepted, Caller, Vault, VaultError};

use support::*;

const MIB: u64 = 1 << 20;
/// More than every reserve.
const CAPACITY: u64 = 1024 * MIB;

struct Full {
    disk: Arc<SimulatedDisk>,
    world: World,
}

impl Full {
    fn new() -> Self {
        let disk = Arc::new(SimulatedDisk::new(CAPACITY));
        let world = World::on(Arc::clone(&disk) as Arc<dyn Disk>);
        Self { disk, world }
    }

    /// Leaves so many bytes free.
    fn leave(&self, free: u64) {
        self.disk.set_capacity(CAPACITY);
        let used = CAPACITY - self.disk.space().unwrap().free;
        self.disk.set_capacity(used + free);
    }
}

const SNAPSHOT: [u8; 300] = [8; 300];

fn pack_name(bytes: &[u8]) -> ObjectName {
    ObjectName::new(ObjectKind::Pack, hash(bytes))
}

/// A pack and a snapshot; the list of what they need.
fn back_up(vault: &Vault, caller: &Caller) -> ObjectList {
    put(vault, caller, &pack(1, 500), ObjectKind::Pack).unwrap();
    put(vault, caller, &SNAPSHOT, ObjectKind::Snapshot).unwrap();
    list_of(1)
}

/// Config and snapshot, and with `packs` the first pack.
fn list_of(packs: usize) -> ObjectList {
    let snapshot = ObjectName::new(ObjectKind::Snapshot, hash(&SNAPSHOT));
    let pack = pack_name(&pack(1, 500));
    let names = [ObjectName::CONFIG, snapshot].into_iter();
    ObjectList::new(names.chain(std::iter::repeat_n(pack, packs)))
}

fn assert_full<T: std::fmt::Debug>(outcome: Result<T, VaultError>) {
    assert!(matches!(outcome, Err(VaultError::Full(_))), "{outcome:?}");
}

fn assert_readable(vault: &Vault, reader: &Caller) {
    let view = vault.view(reader).unwrap();
    assert!(vault.read(&view, &ObjectName::CONFIG).is_ok());
    let seals = vault.seals(&repository()).unwrap();
    assert!(vault.receipt(&repository(), seals[0].0).is_ok());
}

#[test]
fn a_full_disk_refuses_cleanly_and_the_ledger_still_works() {
    let full = Full::new();
    let (vault, append) = full.world.initialised();
    let reader = caller(&vault, &[Scope::Restore]);
    let list = back_up(&vault, &append);
    let seal = vault.seal(&append, hash(&SNAPSHOT), &list).unwrap();

    // Uploads leave a reserve; everything that the ledger does goes on in it.
    full.leave(200 * MIB);
    let more = pack(2, 500);
    assert_full(put(&vault, &append, &more, ObjectKind::Pack));
    let offered = [(pack_name(&more), more.as_slice())];
    let mut outcomes = vault.accept_many(&append, &offered, NonZeroUsize::MIN);
    assert_full(outcomes.remove(0));
    // What is kept already is still acknowledged.
    let known = put(&vault, &append, &pack(1, 500), ObjectKind::Pack).unwrap();
    assert!(matches!(known, Accepted::Known(_)));
    vault.seal(&append, hash(&SNAPSHOT), &list_of(0)).unwrap();
    let other = vault.add_token(&repository(), &[Scope::Append], "other");
    vault.revoke_token(other.unwrap().token).unwrap();
    assert_readable(&vault, &reader);

    // Lists of seals leave a part of the reserve: no token fills a disk with them.
    full.leave(60 * MIB);
    assert_full(vault.seal(&append, hash(&SNAPSHOT), &list));
    vault.seal_everything(&append, hash(&SNAPSHOT)).unwrap();
    let until = vault.held_until(&repository(), seal).unwrap().unwrap();
    vault.extend(&repository(), seal, until + DAY).unwrap();
    vault.count_answer(507);
    full.world.clocks.pass(3700);
    vault.tick().unwrap();
    assert!(logged_refusals(&vault) > 0);
    assert_readable(&vault, &reader);

    // The ledger stops before it fails.
    full.leave(8 * MIB);
    let before = logged_refusals(&vault);
    assert_full(vault.revoke_token(append.token()));
    vault.count_answer(507);
    full.world.clocks.pass(3700);
    assert_full(vault.tick());
    assert_eq!(vault.read_only_reason(), None);
    assert_readable(&vault, &reader);

    // A start works even where nothing can be written, and changes nothing.
    full.leave(0);
    drop(vault);
    let again = full.world.open();
    assert_eq!(again.read_only_reason(), None);
    assert_readable(&again, &reader);
    assert_full(again.set_repository(&repository(), settings()));
    again.count_answer(507);
    full.world.clocks.pass(3700);
    assert_full(again.tick());

    // With room again, it goes on where it was, and forgot no refusal.
    full.leave(CAPACITY / 2);
    put(&again, &append, &more, ObjectKind::Pack).unwrap();
    again.close().unwrap();
    assert!(logged_refusals(&again) > before);
    drop(again);
    assert!(full.world.fsck(true).unwrap().is_clean());
}

/// Refusals for want of room that the log tells of.
fn logged_refusals(vault: &Vault) -> u64 {
    let mut count = 0;
    vault
        .entries(0, &mut |_, entry| {
            if let Event::Refusals(refusals) = entry.event {
                count += refusals.counts.get("full").copied().unwrap_or(0);
            }
            true
        })
        .unwrap();
    count
}

#[test]
fn lists_of_seals_count_against_the_quota() {
    let full = Full::new();
    let (vault, append) = full.world.initialised();
    let list = back_up(&vault, &append);
    let mut tight = settings();
    // Everything that is there fits to the byte: it can still be sealed.
    tight.quota_bytes = 155 + key_file().len() as u64 + 500 + 300;
    vault.set_repository(&repository(), tight.clone()).unwrap();
    vault.seal(&append, hash(&SNAPSHOT), &list).unwrap();
    tight.quota_bytes += 400;
    vault.set_repository(&repository(), tight).unwrap();
    // The list is 99 bytes, so what fits without it does not fit with it; after a restart neither.
    assert_full(put(&vault, &append, &pack(2, 302), ObjectKind::Pack));
    drop(vault);
    let vault = full.world.open();
    assert_full(put(&vault, &append, &pack(2, 302), ObjectKind::Pack));
    put(&vault, &append, &pack(2, 301), ObjectKind::Pack).unwrap();
}
