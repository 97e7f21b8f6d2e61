//! The simulated disk does what it says: what is durable stays, what is not may go.

use std::collections::BTreeSet;
use std::io::ErrorKind;

use super::*;
use crate::disk::conformance;

const CAPACITY: u64 = 1 << 20;
const SEEDS: std::ops::Range<u64> = 0..200;

fn disk() -> SimulatedDisk {
    SimulatedDisk::new(CAPACITY)
}

/// What an accept does, in its order.
fn put(disk: &SimulatedDisk, path: &str, bytes: &[u8]) -> io::Result<Linked> {
    let mut file = disk.create_unnamed()?;
    file.write_all(bytes)?;
    file.sync()?;
    let linked = file.link(path)?;
    disk.sync_directory(split(path).0)?;
    Ok(linked)
}

/// The same with a bug in it: the content is never synced.
fn put_unsynced(disk: &SimulatedDisk, path: &str, bytes: &[u8]) {
    let mut file = disk.create_unnamed().unwrap();
    file.write_all(bytes).unwrap();
    file.link(path).unwrap();
    disk.sync_directory(split(path).0).unwrap();
}

fn content(disk: &SimulatedDisk, path: &str) -> Option<Vec<u8>> {
    disk.size(path).unwrap()?;
    Some(disk.read_range(path, 0, usize::MAX).unwrap())
}

#[test]
fn it_keeps_the_promises_of_a_disk() {
    conformance::run(&disk());
}

#[test]
fn what_is_durable_is_in_every_image() {
    let disk = disk();
    disk.make_directories("data/ab").unwrap();
    put(&disk, "data/ab/x", &[7; 5000]).unwrap();
    disk.append("journal", 0, &[1; 700]).unwrap();
    disk.append("journal", 700, &[2; 700]).unwrap();
    disk.truncate("journal", 900).unwrap();
    disk.replace("small", b"old").unwrap();
    disk.replace("small", b"new").unwrap();
    let journal = [&[1; 700][..], &[2; 200]].concat();
    for seed in SEEDS {
        let image = disk.crash_image(seed);
        assert_eq!(content(&image, "data/ab/x").unwrap(), [7; 5000]);
        assert_eq!(content(&image, "journal").unwrap(), journal);
        assert_eq!(content(&image, "small").unwrap(), b"new");
        assert_eq!(image.space().unwrap(), disk.space().unwrap());
    }
}

#[test]
fn a_link_before_the_sync_is_caught() {
    let disk = disk();
    put_unsynced(&disk, "x", &[7; 2000]);
    let found: BTreeSet<Vec<u8>> = SEEDS
        .map(|seed| content(&disk.crash_image(seed), "x").expect("the name is durable"))
        .collect();
    assert!(found.contains(&Vec::new()), "sometimes empty");
    assert!(found.contains(&vec![0; 2000]), "sometimes zeros");
    assert!(found.contains(&vec![7; 512]), "sometimes torn");
    assert!(found.contains(&vec![7; 2000]), "sometimes whole");
    let garbage = |bytes: &Vec<u8>| bytes.iter().any(|byte| *byte != 7 && *byte != 0);
    assert!(found.iter().any(garbage), "sometimes garbage");
}

#[test]
fn a_name_that_was_not_synced_may_be_lost() {
    let disk = disk();
    let mut file = disk.create_unnamed().unwrap();
    file.write_all(b"bytes").unwrap();
    file.sync().unwrap();
    file.link("x").unwrap();
    let found: BTreeSet<_> = SEEDS
        .map(|seed| content(&disk.crash_image(seed), "x"))
        .collect();
    assert_eq!(found, BTreeSet::from([None, Some(b"bytes".to_vec())]));
    assert_eq!(content(&disk.crash_image(SEED_DURABLE_ONLY), "x"), None);
    assert!(content(&disk.crash_image(SEED_EVERYTHING), "x").is_some());
}

#[test]
fn a_file_without_a_name_leaves_nothing() {
    let disk = disk();
    let mut file = disk.create_unnamed().unwrap();
    file.write_all(&[1; 3000]).unwrap();
    file.sync().unwrap();
    for seed in SEEDS {
        assert_eq!(disk.crash_image(seed).space().unwrap().free, CAPACITY);
    }
    drop(file);
    assert_eq!(disk.space().unwrap().free, CAPACITY);
}

#[test]
fn a_crash_at_any_step_of_an_accept_leaves_all_or_nothing() {
    let steps = {
        let disk = disk();
        put(&disk, "x", &[7; 2000]).unwrap();
        disk.operation_count()
    };
    let crashes = [
        Fault::CrashBefore,
        Fault::CrashDuring,
        Fault::CrashAfter,
        Fault::TornCrash { sectors: 1 },
    ];
    for number in 1..=steps {
        for fault in crashes {
            let disk = disk();
            disk.set_faults(FaultPlan::none().at(number, fault));
            let error = put(&disk, "x", &[7; 2000]).unwrap_err();
            assert!(PowerLost::is(&error));
            assert!(disk.has_crashed());
            assert!(PowerLost::is(&disk.size("x").unwrap_err()));
            assert!(PowerLost::is(&disk.append("y", 0, b"").unwrap_err()));
            for seed in SEEDS {
                let image = disk.crash_image(seed);
                if let Some(bytes) = content(&image, "x") {
                    assert_eq!(bytes, [7; 2000]);
                }
                put(&image, "x", &[7; 2000]).unwrap();
                assert_eq!(content(&image, "x").unwrap(), [7; 2000]);
            }
        }
    }
}

#[test]
fn faults_happen_where_the_plan_has_them() {
    let disk = disk();
    let plan = FaultPlan::none()
        .at(1, Fault::Refused)
        .at(2, Fault::DoneButError)
        .at(3, Fault::Torn { sectors: 1 })
        .from_of_kind(4, OperationKind::Append, Fault::NoSpace);
    disk.set_faults(plan);
    disk.append("refused", 0, b"x").unwrap_err();
    disk.append("done", 0, b"x").unwrap_err();
    disk.append("torn", 0, &[1; 2000]).unwrap_err();
    for _ in 0..3 {
        let error = disk.append("full", 0, b"x").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::StorageFull);
    }
    disk.replace("other", b"x").unwrap();
    disk.set_faults(FaultPlan::none().from(8, Fault::Refused));
    disk.replace("other", b"y").unwrap_err();
    disk.truncate("other", 0).unwrap_err();
    assert_eq!(content(&disk, "refused"), None);
    assert_eq!(content(&disk, "done").unwrap(), b"x");
    assert_eq!(content(&disk, "torn").unwrap(), [1; 512]);
    assert_eq!(content(&disk, "full"), None);
    assert_eq!(content(&disk, "other").unwrap(), b"x");
    let operations = disk.operations();
    assert_eq!(operations.len(), 9);
    assert_eq!(operations[2].number, 3);
    assert_eq!(operations[2].kind, OperationKind::Append);
    assert_eq!(operations[2].path, "torn");
}

#[test]
fn a_second_sync_does_not_make_up_for_a_failed_one() {
    for fault in [Fault::Refused, Fault::Unsynced] {
        let disk = disk();
        disk.set_faults(FaultPlan::none().at(3, fault));
        let mut file = disk.create_unnamed().unwrap();
        file.write_all(b"bytes").unwrap();
        file.sync().unwrap_err();
        file.sync().unwrap();
        file.link("x").unwrap();
        disk.sync_directory("").unwrap();
        let image = disk.crash_image(SEED_DURABLE_ONLY);
        assert_eq!(content(&image, "x").unwrap(), b"");
    }
}

#[test]
fn a_torn_append_is_whole_torn_or_missing() {
    let disk = disk();
    disk.append("journal", 0, &[1; 300]).unwrap();
    disk.set_faults(FaultPlan::none().at(2, Fault::CrashDuring));
    disk.append("journal", 300, &[2; 1000]).unwrap_err();
    let mut sizes = BTreeSet::new();
    for seed in SEEDS {
        let bytes = content(&disk.crash_image(seed), "journal").unwrap();
        assert_eq!(bytes[..300], [1; 300]);
        sizes.insert(bytes.len());
    }
    assert_eq!(sizes, BTreeSet::from([300, 512, 1024, 1300]));
}

#[test]
fn a_cut_or_replacement_that_was_cut_short_leaves_old_or_new() {
    let disk = disk();
    disk.append("journal", 0, &[1; 300]).unwrap();
    disk.replace("small", b"old").unwrap();
    disk.set_faults(FaultPlan::none().from(3, Fault::Unsynced));
    disk.truncate("journal", 100).unwrap_err();
    disk.replace("small", b"new").unwrap_err();
    let images = || SEEDS.map(|seed| disk.crash_image(seed));
    let small: BTreeSet<_> = images()
        .map(|image| content(&image, "small").unwrap())
        .collect();
    assert_eq!(small, BTreeSet::from([b"new".to_vec(), b"old".to_vec()]));
    let sizes: BTreeSet<_> = images()
        .map(|image| image.size("journal").unwrap())
        .collect();
    assert_eq!(sizes, BTreeSet::from([Some(100), Some(300)]));
}

#[test]
fn the_same_seed_gives_the_same_image() {
    let disk = disk();
    for number in 0..20 {
        put_unsynced(&disk, &format!("{number}"), &[number; 1500]);
    }
    let contents = |seed| {
        let image = disk.crash_image(seed);
        (0..20)
            .map(|number| content(&image, &format!("{number}")))
            .collect::<Vec<_>>()
    };
    for seed in SEEDS {
        assert_eq!(contents(seed), contents(seed));
    }
    assert_ne!(contents(2), contents(3));
}

#[test]
fn a_full_disk_refuses_and_takes_again_what_is_freed() {
    let disk = SimulatedDisk::new(1000);
    put(&disk, "x", &[1; 600]).unwrap();
    let error = put(&disk, "y", &[1; 600]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StorageFull);
    assert_eq!(
        disk.append("j", 0, &[1; 600]).unwrap_err().kind(),
        ErrorKind::StorageFull
    );
    assert_eq!(disk.size("j").unwrap(), None);
    assert_eq!(disk.space().unwrap().free, 400);
    disk.remove("x").unwrap();
    put(&disk, "y", &[1; 600]).unwrap();
}

#[test]
fn tampering_changes_the_disk_itself() {
    let disk = disk();
    put(&disk, "x", b"abcd").unwrap();
    put(&disk, "gone", b"abcd").unwrap();
    assert!(disk.make_immutable("x").unwrap());
    assert!(disk.append("x", 4, b"e").is_err());
    assert!(disk.truncate("x", 0).is_err());
    assert!(disk.replace("x", b"e").is_err());
    disk.flip("x", 1).unwrap();
    disk.cut("x", 3).unwrap();
    disk.remove("gone").unwrap();
    disk.plant("planted", b"evil").unwrap();
    assert!(disk.flip("x", 3).is_err());
    for seed in SEEDS {
        let image = disk.crash_image(seed);
        assert_eq!(content(&image, "x").unwrap(), b"acc");
        assert_eq!(content(&image, "gone"), None);
        assert_eq!(content(&image, "planted").unwrap(), b"evil");
    }
    disk.set_unreadable("x", true);
    assert!(disk.open("x").is_err());
    disk.set_unreadable("x", false);
    assert!(disk.open("x").is_ok());
}
