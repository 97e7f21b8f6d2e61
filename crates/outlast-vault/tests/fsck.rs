//! Checks that nobody has to believe: whatever is changed in a vault's folder is named, and a scrub
//! finds what rots while the vault serves.

#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use outlast_custody::{Event, ObjectList, Scope};
use outlast_object::{ObjectKind, ObjectName, hash};
use outlast_vault::disk::{Disk, Fault, FaultPlan, SimulatedDisk};
use outlast_vault::{
    Caller, Finding, FsckReport, Index, ScrubOptions, ScrubState, Vault, VaultError,
};

use support::*;

/// Packs of the tests: enough entries for more than one bundle.
const PACKS: u64 = 300;

fn snapshot_name() -> ObjectName {
    ObjectName::new(ObjectKind::Snapshot, hash(&[9; 200]))
}

/// A backup with an exact seal.
fn back_up(vault: &Vault, caller: &Caller) {
    let mut names = vec![ObjectName::CONFIG, snapshot_name()];
    for seed in 0..PACKS {
        let bytes = pack(seed, 300);
        put(vault, caller, &bytes, ObjectKind::Pack).unwrap();
        names.push(ObjectName::pack(hash(&bytes)));
    }
    put(vault, caller, &[9; 200], ObjectKind::Snapshot).unwrap();
    let list = ObjectList::new(names);
    let seal = vault.seal(caller, snapshot_name().id(), &list).unwrap();
    let until = vault.held_until(&repository(), seal).unwrap().unwrap();
    vault.extend(&repository(), seal, until + DAY).unwrap();
}

/// A vault in a folder, with a backup in it, that nobody has open: a copy of one that is made once.
fn vault_at(folder: &Path) -> World {
    static ORIGINAL: OnceLock<tempfile::TempDir> = OnceLock::new();
    let original = ORIGINAL.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let world = World::new(folder.path());
        let (vault, caller) = world.initialised();
        back_up(&vault, &caller);
        folder
    });
    copy(original.path(), folder);
    World::new(folder)
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn texts(report: &FsckReport) -> String {
    let texts: Vec<_> = report.findings.iter().map(ToString::to_string).collect();
    texts.join("\n")
}

/// A file below a folder, the first by name at each step.
fn some_file(folder: &Path) -> PathBuf {
    let mut names: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    names.sort();
    match names.remove(0) {
        path if path.is_dir() => some_file(&path),
        path => path,
    }
}

#[test]
fn an_honest_vault_is_clean() {
    let folder = tempfile::tempdir().unwrap();
    let world = vault_at(folder.path());
    let report = world.fsck(true).unwrap();
    assert!(
        report.is_clean() && report.findings.is_empty(),
        "{}",
        texts(&report)
    );
    assert_eq!((report.objects, report.seals), (PACKS + 3, 1));
    assert!(report.entries > PACKS && report.bytes_read > PACKS * 300);
}

/// What may be done to a file.
const TAMPERINGS: [&str; 4] = ["flipped", "cut", "longer", "gone"];

fn tamper(path: &Path, how: &str) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    match how {
        "flipped" => bytes[middle] ^= 1,
        "cut" => bytes.truncate(middle),
        "longer" => bytes.push(0),
        _ => return fs::remove_file(path).unwrap(),
    }
    fs::write(path, bytes).unwrap();
}

#[test]
fn objects_that_were_tampered_with_are_named() {
    for kind in ["data", "keys", "snapshots", "config"] {
        for how in TAMPERINGS {
            let folder = tempfile::tempdir().unwrap();
            let world = vault_at(folder.path());
            let base = folder.path().join("repositories/web1").join(kind);
            let path = if base.is_file() {
                base
            } else {
                some_file(&base)
            };
            tamper(&path, how);
            let report = world.fsck(true).unwrap();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            assert!(
                texts(&report).contains(&name),
                "{kind} {how}: {}",
                texts(&report)
            );
            assert!(
                report.is_ledger_sound() && !report.is_clean(),
                "{kind} {how}"
            );
            assert_eq!(report.object_findings, 1);
        }
    }
}

#[test]
fn lists_that_were_tampered_with_are_named() {
    for how in TAMPERINGS {
        let folder = tempfile::tempdir().unwrap();
        let world = vault_at(folder.path());
        tamper(&some_file(&folder.path().join("ledger/lists")), how);
        let report = world.fsck(false).unwrap();
        assert!(!report.is_ledger_sound(), "{how}");
        assert!(
            matches!(report.findings[0], Finding::List { .. }),
            "{}",
            texts(&report)
        );
    }
}

#[test]
fn a_journal_that_was_tampered_with_is_not_sound() {
    for how in TAMPERINGS {
        let folder = tempfile::tempdir().unwrap();
        let world = vault_at(folder.path());
        tamper(&some_file(&folder.path().join("ledger/journal")), how);
        let report = world.fsck(false).unwrap();
        if how == "longer" {
            // What follows the last acknowledged batch was told to nobody, and is cut off.
            assert!(report.is_clean(), "{}", texts(&report));
        } else {
            assert!(!report.is_ledger_sound(), "{how}");
            assert!(
                matches!(report.findings[0], Finding::Ledger(_)),
                "{}",
                texts(&report)
            );
        }
    }
}

#[test]
fn a_checkpoint_that_was_tampered_with_is_not_sound() {
    for how in TAMPERINGS {
        let folder = tempfile::tempdir().unwrap();
        let world = vault_at(folder.path());
        tamper(&folder.path().join("log/checkpoint"), how);
        let report = world.fsck(false).unwrap();
        assert!(!report.is_ledger_sound(), "{how}: {}", texts(&report));
    }
}

#[test]
fn tiles_and_bundles_are_mended_from_the_journal() {
    for what in ["log/tile/0", "log/tile/entries"] {
        for how in TAMPERINGS {
            let folder = tempfile::tempdir().unwrap();
            let world = vault_at(folder.path());
            let path = some_file(&folder.path().join(what));
            let before = fs::read(&path).unwrap();
            tamper(&path, how);
            let report = world.fsck(false).unwrap();
            assert!(report.is_clean(), "{}", texts(&report));
            assert!(
                matches!(report.findings[0], Finding::Mended(_)),
                "{}",
                texts(&report)
            );
            assert_eq!(fs::read(&path).unwrap(), before, "{what} {how}");
        }
    }
}

#[test]
fn a_ledger_that_is_gone_or_shorter_is_missed() {
    let folder = tempfile::tempdir().unwrap();
    let world = vault_at(folder.path());
    let index = || Arc::new(Index::in_memory().unwrap());
    let known = world.fsck(false).unwrap().entries;
    let later = outlast_vault::fsck(
        &world.disk,
        &index(),
        key(),
        known + 1,
        false,
        &mut |_, _| (),
    );
    let later = later.unwrap();
    assert!(!later.is_ledger_sound(), "{}", texts(&later));
    // Everything that the vault ever stated is removed, and its objects stay.
    fs::remove_dir_all(folder.path().join("ledger")).unwrap();
    fs::remove_dir_all(folder.path().join("log")).unwrap();
    let report = world.fsck(false).unwrap();
    assert!(!report.is_ledger_sound(), "{}", texts(&report));
    let opened = world.open_with(Index::in_memory().unwrap());
    assert!(matches!(opened, Err(VaultError::Journal(_))));
}

#[test]
fn files_that_the_log_does_not_know_are_told_of() {
    let folder = tempfile::tempdir().unwrap();
    let world = vault_at(folder.path());
    let data = folder.path().join("repositories/web1/data/ab");
    fs::create_dir_all(&data).unwrap();
    fs::write(data.join("ab".repeat(32)), b"stray").unwrap();
    let report = world.fsck(false).unwrap();
    assert!(report.is_clean());
    assert!(
        matches!(report.findings[0], Finding::Stray(_)),
        "{}",
        texts(&report)
    );
}

#[test]
fn a_vault_stays_read_only_until_a_check_has_passed() {
    let disk = Arc::new(SimulatedDisk::new(1 << 30));
    let world = World::on(Arc::clone(&disk) as Arc<dyn Disk>);
    let (vault, caller) = world.initialised();
    let bytes = pack(1, 500);
    put(&vault, &caller, &bytes, ObjectKind::Pack).unwrap();
    let append = outlast_vault::disk::OperationKind::Append;
    disk.set_faults(FaultPlan::none().from_of_kind(0, append, Fault::Refused));
    assert!(put(&vault, &caller, &pack(2, 500), ObjectKind::Pack).is_err());
    disk.set_faults(FaultPlan::none());
    let reason = vault.read_only_reason().expect("the ledger failed");
    assert!(matches!(
        put(&vault, &caller, &pack(77, 500), ObjectKind::Pack),
        Err(VaultError::ReadOnly(_))
    ));
    drop(vault);
    // After a restart it still reads, and still takes nothing.
    let vault = world.open();
    assert_eq!(vault.read_only_reason(), Some(reason));
    assert!(matches!(
        vault.set_repository(&repository(), settings()),
        Err(VaultError::ReadOnly(_))
    ));
    let view = vault.view(&caller).unwrap();
    vault.look(&view, &ObjectName::pack(hash(&bytes))).unwrap();
    drop(vault);
    assert!(world.fsck(false).unwrap().is_clean());
    let vault = world.open();
    assert_eq!(vault.read_only_reason(), None);
    put(&vault, &caller, &pack(78, 500), ObjectKind::Pack).unwrap();
}

#[test]
fn a_check_that_finds_damage_leaves_the_vault_read_only() {
    let folder = tempfile::tempdir().unwrap();
    let world = vault_at(folder.path());
    fs::write(folder.path().join("ledger/failed"), "the disk failed").unwrap();
    let list = some_file(&folder.path().join("ledger/lists"));
    let before = fs::read(&list).unwrap();
    fs::remove_file(&list).unwrap();
    assert!(!world.fsck(false).unwrap().is_ledger_sound());
    assert!(world.open().read_only_reason().is_some());
    fs::write(&list, before).unwrap();
    assert!(world.fsck(false).unwrap().is_clean());
    assert!(world.open().read_only_reason().is_none());
}

/// Scrubs to the end, and notes the states on the way.
fn scrub(vault: &Vault, from: ScrubState, states: &mut Vec<ScrubState>) -> ScrubState {
    let read = AtomicU64::new(0);
    let stop = AtomicBool::new(false);
    let end = vault.scrub(
        from,
        ScrubOptions {
            threads: 2,
            pace: &|bytes| {
                read.fetch_add(bytes, Ordering::SeqCst);
            },
            progress: &mut |state| states.push(state.clone()),
            stop: &stop,
        },
    );
    end.unwrap().unwrap()
}

#[test]
fn a_scrub_names_what_rots_and_keeps_it_from_being_sealed() {
    let folder = tempfile::tempdir().unwrap();
    let world = vault_at(folder.path());
    let vault = world.open();
    let caller = caller(&vault, &[Scope::Append]);
    let mut states = Vec::new();
    let clean = scrub(&vault, vault.scrub_start(), &mut states);
    assert_eq!((clean.objects, clean.damaged.len()), (PACKS + 3, 0));

    let path = some_file(&folder.path().join("repositories/web1/data"));
    let name = ObjectName::pack(path.file_name().unwrap().to_str().unwrap().parse().unwrap());
    tamper(&path, "flipped");
    world.clocks.pass(DAY);
    let found = scrub(&vault, vault.scrub_start(), &mut Vec::new());
    assert_eq!(found.damaged, [(repository(), name)]);
    assert_eq!(vault.known_damaged(), 1);
    let list = ObjectList::new([ObjectName::CONFIG, snapshot_name(), name]);
    let refused = vault.seal(&caller, snapshot_name().id(), &list);
    assert!(matches!(refused, Err(VaultError::SealIncomplete(bad)) if bad == name));
    // The log says so as well.
    let mut last = None;
    vault
        .entries(0, &mut |_, entry| {
            if let Event::Scrub(scrub) = entry.event {
                last = Some(scrub);
            }
            true
        })
        .unwrap();
    let last = last.unwrap();
    assert_eq!((last.damaged, last.objects), (1, PACKS + 3));
    assert!(last.examples[0].ends_with(&name.id().to_hex()));
    assert_eq!(vault.last_scrub(), Some(found.started));
    assert_eq!(vault.scrubbed(), Some(clean.started));
    drop(vault);
    let again = world.open();
    assert_eq!(again.scrubbed(), Some(clean.started));
}

#[test]
fn a_scrub_goes_on_where_it_was_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let world = vault_at(folder.path());
    let vault = world.open();
    let mut states = Vec::new();
    let whole = scrub(&vault, vault.scrub_start(), &mut states);
    for state in states {
        let kept: ScrubState = state.to_string().parse().unwrap();
        assert_eq!(kept, state);
        let end = scrub(&vault, kept, &mut Vec::new());
        assert_eq!((end.objects, end.bytes), (whole.objects, whole.bytes));
    }
    // Stopped at once, it has logged nothing.
    let entries = vault.log_size();
    let stop = AtomicBool::new(true);
    let stopped = vault.scrub(
        vault.scrub_start(),
        ScrubOptions {
            threads: 2,
            pace: &|_| (),
            progress: &mut |_| (),
            stop: &stop,
        },
    );
    assert_eq!(stopped.unwrap(), None);
    assert_eq!(vault.log_size(), entries);
    for nonsense in ["", "1 2", "1 2 3", "1 2 3\nx", "a b c\n-"] {
        assert!(nonsense.parse::<ScrubState>().is_err(), "{nonsense:?}");
    }
}

#[test]
fn a_receipt_says_when_its_objects_were_last_read() {
    let folder = tempfile::tempdir().unwrap();
    let world = vault_at(folder.path());
    let vault = world.open_with(Index::in_memory().unwrap()).unwrap();
    let caller = caller(&vault, &[Scope::Append]);
    let list = ObjectList::new([ObjectName::CONFIG, snapshot_name()]);
    let verified = |vault: &Vault| {
        let index = vault.seal(&caller, snapshot_name().id(), &list).unwrap();
        let seal = vault.seal_at(&repository(), index).unwrap().unwrap();
        seal.verified
    };
    let admitted = verified(&vault);
    world.clocks.pass(30 * DAY);
    assert_eq!(verified(&vault), admitted);
    let began = scrub(&vault, vault.scrub_start(), &mut Vec::new()).started;
    world.clocks.pass(DAY);
    assert!(began > admitted);
    assert_eq!(verified(&vault), began);
}
