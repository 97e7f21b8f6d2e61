//! What is told while a place is completed from others.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

use std::sync::{Arc, Mutex};

use outlast_object::{ObjectKind, ObjectName, hash};
use outlast_ops::{SyncExtras, SyncPlace, SyncStep, complete};
use outlast_repo::Cancel;
use outlast_store::{Deletes, MemoryStore};

fn place(name: &str) -> SyncPlace {
    let store: Arc<dyn Deletes> = Arc::new(MemoryStore::new());
    SyncPlace {
        name: name.to_owned(),
        store,
        custodian: None,
    }
}

fn fill(place: &SyncPlace, kind: ObjectKind, count: u8) {
    for number in 0..count {
        let bytes = vec![number; 100 + usize::from(number)];
        let name = ObjectName::new(kind, hash(&bytes));
        place.store.write(&name, &bytes).unwrap();
    }
}

#[test]
fn steps_go_up_to_everything_that_is_copied() {
    let (source, target) = (place("own"), place("usb"));
    source.store.write(&ObjectName::CONFIG, b"config").unwrap();
    fill(&source, ObjectKind::Key, 2);
    fill(&source, ObjectKind::Pack, 9);
    fill(&source, ObjectKind::Index, 3);
    fill(&source, ObjectKind::Snapshot, 4);
    let steps = Mutex::new(Vec::new());
    let remember = |step: &SyncStep<'_>| {
        assert_eq!(step.place, "usb");
        let objects = (step.objects, step.objects_total);
        let bytes = (step.bytes, step.bytes_total);
        steps.lock().unwrap().push((objects, bytes));
    };
    let run = || {
        complete(
            &target,
            &[&source],
            &SyncExtras::default(),
            &Cancel::default(),
            &remember,
        )
    };
    let synced = run();
    assert!(synced.is_complete(), "{synced:?}");
    assert_eq!(synced.copied, 18);
    let told = std::mem::take(&mut *steps.lock().unwrap());
    assert_eq!(told[0], ((0, 2), (0, 201)));
    assert!(told.windows(2).all(|pair| pair[0].0.0 <= pair[1].0.0));
    assert!(told.windows(2).all(|pair| pair[0].1.0 <= pair[1].1.0));
    assert!(
        told.iter()
            .all(|(of, bytes)| of.0 <= of.1 && bytes.0 <= bytes.1)
    );
    // Once for each object, and once before each kind, when its total is known.
    assert_eq!(told.len(), 18 + 4);
    let last = told.last().unwrap();
    assert_eq!(last.0, (18, 18));
    assert_eq!(last.1, (synced.copied_bytes, synced.copied_bytes));

    // Where nothing is missing nothing is told.
    assert_eq!(run().copied, 0);
    assert!(steps.lock().unwrap().is_empty());
}
