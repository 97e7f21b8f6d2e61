//! Retries, limits and faults around a store in memory.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use outlast_object::{ObjectKind, ObjectName};
use outlast_store::conformance::{self, Demands, name_of, sample_bytes};
use outlast_store::faults::{
    CrashImageStore, Damage, Fault, FaultPlan, FaultStore, Moment, Operation, Pattern, Turn,
};
use outlast_store::testing::ManualClock;
use outlast_store::{
    ConnectOptions, Deletes, Limit, Limits, Location, LockStore, MemoryStore, Retry, RetryEvent,
    RetryPolicy, Store, StoreError, Throttle, open,
};
use parking_lot::Mutex;

fn demands() -> Demands {
    Demands {
        objects: 500,
        deletes: true,
    }
}

fn retry<S: Store>(inner: S, clock: &Arc<ManualClock>) -> Retry<S> {
    Retry::new(inner, RetryPolicy::default())
        .with_clock(clock.clone())
        .with_jitter(Arc::new(|| 0.5))
}

#[test]
fn decorators_conform() {
    conformance::run(demands(), &mut |_| {
        let clock = Arc::new(ManualClock::new());
        Ok(Arc::new(retry(MemoryStore::new(), &clock)))
    })
    .unwrap();
    conformance::run(demands(), &mut |_| {
        let limits = Limits {
            upload_kib_per_second: 10,
            download_kib_per_second: 10,
        };
        let throttle = Throttle::with_clock(limits, Arc::new(ManualClock::new()));
        Ok(Arc::new(Limit::new(MemoryStore::new(), Arc::new(throttle))))
    })
    .unwrap();
    conformance::run(demands(), &mut |_| {
        Ok(Arc::new(FaultStore::new(MemoryStore::new())))
    })
    .unwrap();
    conformance::run(demands(), &mut |_| Ok(Arc::new(CrashImageStore::new()))).unwrap();
}

#[test]
fn retries_hide_a_store_that_fails_every_other_time() {
    // Done but reported failed included: whatever is asked, everything still conforms.
    for fault in [Fault::FailBefore, Fault::FailAfter] {
        conformance::run(
            Demands {
                objects: 100,
                deletes: true,
            },
            &mut |_| {
                let mut plan = FaultPlan::none();
                for n in (1..4000).step_by(2) {
                    plan = plan.and(Pattern::any(), Turn::Nth(n), fault);
                }
                let faulty = FaultStore::with_plan(MemoryStore::new(), plan);
                Ok(Arc::new(retry(faulty, &Arc::new(ManualClock::new()))))
            },
        )
        .unwrap();
    }
}

#[test]
fn what_open_assembles_conforms() {
    let folder = tempfile::tempdir().unwrap();
    let options = ConnectOptions {
        limits: Limits {
            upload_kib_per_second: 1 << 30,
            download_kib_per_second: 1 << 30,
        },
        connections: Some(7),
        ..ConnectOptions::default()
    };
    conformance::run(
        Demands {
            objects: 50,
            deletes: true,
        },
        &mut |check| {
            let store = open(&Location::Local(folder.path().join(check)), &options)?;
            assert_eq!(store.connections(), 7);
            Ok(store)
        },
    )
    .unwrap();
}

#[test]
fn retries_wait_longer_and_longer_and_give_up() {
    let clock = Arc::new(ManualClock::new());
    let faulty = FaultStore::new(MemoryStore::new());
    faulty.vanish();
    let events = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&events);
    let store = retry(faulty, &clock).with_observer(Arc::new(move |event: &RetryEvent<'_>| {
        let text = match event {
            RetryEvent::Retrying {
                operation,
                attempt,
                delay,
                ..
            } => {
                format!("{operation} {attempt} {}", delay.as_millis())
            }
            RetryEvent::Recovered { attempts, .. } => format!("recovered {attempts}"),
            RetryEvent::GivenUp { attempts, .. } => format!("given up {attempts}"),
        };
        sink.lock().push(text);
    }));
    let error = store.read(&ObjectName::CONFIG).unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error}");
    let waits = clock.waits();
    let seconds: Vec<f64> = waits.iter().map(Duration::as_secs_f64).collect();
    assert_eq!(seconds[..8], [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0]);
    assert!(waits.iter().sum::<Duration>() <= RetryPolicy::default().elapsed_max);
    assert!(waits.len() > 15, "it gave up after {} tries", waits.len());
    let events = events.lock();
    assert_eq!(events[0], "read config 1 500");
    assert_eq!(
        events.last(),
        Some(&format!("given up {}", waits.len() + 1))
    );
}

#[test]
fn attempts_are_bounded_and_stop_when_cancelled() {
    let clock = Arc::new(ManualClock::new());
    let faulty = Arc::new(FaultStore::new(MemoryStore::new()));
    faulty.vanish();
    let policy = RetryPolicy {
        attempts_max: 3,
        ..RetryPolicy::default()
    };
    let store = Retry::new(Arc::clone(&faulty), policy).with_clock(clock.clone());
    assert!(store.list_all(ObjectKind::Pack).is_err());
    assert_eq!(faulty.trace().len(), 3);
    clock.cancel();
    assert!(store.list_all(ObjectKind::Pack).is_err());
    assert_eq!(faulty.trace().len(), 4);
}

#[test]
fn permanent_failures_are_not_retried() {
    for fault in [
        Fault::Deny,
        Fault::Full,
        Fault::CrashBefore,
        Fault::CrashAfter,
    ] {
        let clock = Arc::new(ManualClock::new());
        let plan = FaultPlan::one(Pattern::changes(), Turn::Every, fault);
        let store = retry(FaultStore::with_plan(MemoryStore::new(), plan), &clock);
        assert!(store.write(&ObjectName::CONFIG, b"config").is_err());
        assert_eq!(clock.waits(), []);
    }
}

#[test]
fn limits_hold_on_average_in_both_directions() {
    let clock = Arc::new(ManualClock::new());
    let limits = Limits {
        upload_kib_per_second: 64,
        download_kib_per_second: 128,
    };
    let throttle = Arc::new(Throttle::with_clock(limits, clock.clone()));
    assert!(!throttle.is_unlimited());
    let store = Limit::new(MemoryStore::new(), throttle);
    let total = |clock: &ManualClock| clock.waits().iter().sum::<Duration>().as_secs_f64();
    let mut names = Vec::new();
    for seed in 0..10 {
        let bytes = sample_bytes(seed, 64 * 1024);
        let name = name_of(ObjectKind::Pack, &bytes);
        store.write(&name, &bytes).unwrap();
        names.push(name);
    }
    // 640 KiB at 64 KiB a second, the first second's worth at once.
    assert!((total(&clock) - 9.0).abs() < 0.01, "{}", total(&clock));
    for name in &names {
        store.read(name).unwrap();
        store.read_range(name, 0, 64 * 1024).unwrap();
    }
    // 1280 KiB at 128 KiB a second, the first second's worth at once.
    assert!((total(&clock) - 18.0).abs() < 0.01, "{}", total(&clock));
    // A pause refills one second's worth, and no more.
    clock.advance(Duration::from_secs(3600));
    let before = total(&clock);
    for seed in 10..13 {
        let bytes = sample_bytes(seed, 64 * 1024);
        store
            .write(&name_of(ObjectKind::Pack, &bytes), &bytes)
            .unwrap();
    }
    assert!((total(&clock) - before - 2.0).abs() < 0.01);
    assert!(Throttle::new(Limits::default()).is_unlimited());
}

#[test]
fn a_crash_stops_everything_and_tears_at_most_the_write_in_hand() {
    let names: Vec<ObjectName> = (0..4u64)
        .map(|n| name_of(ObjectKind::Pack, &sample_bytes(n, 100)))
        .collect();
    for n in 1..=4 {
        for moment in Moment::ALL {
            let store = FaultStore::with_plan(MemoryStore::new(), FaultPlan::at_change(n, moment));
            let results: Vec<bool> = (0..4u64)
                .map(|n| {
                    store
                        .write(&names[n as usize], &sample_bytes(n, 100))
                        .is_ok()
                })
                .collect();
            let lives = moment == Moment::DoneButReported;
            let expected: Vec<bool> = (1..=4)
                .map(|write| write < n || (lives && write > n))
                .collect();
            assert_eq!(results, expected, "{n} {moment:?}");
            assert_eq!(store.has_crashed(), !lives);
            assert_eq!(
                store.exists(&names[0]).is_ok(),
                lives,
                "reads fail after a crash too"
            );
            let contents = store.inner().contents();
            let visible = match moment {
                Moment::Before => n - 1,
                Moment::During | Moment::After => n,
                Moment::DoneButReported => 4,
            };
            assert_eq!(contents.len(), visible, "{n} {moment:?}");
            let torn = contents.values().filter(|bytes| bytes.len() != 100).count();
            assert_eq!(torn, usize::from(moment == Moment::During));
            store.set_plan(FaultPlan::none());
            assert!(store.exists(&names[0]).is_ok());
        }
    }
}

#[test]
fn patterns_count_only_what_they_match() {
    let snapshot = name_of(ObjectKind::Snapshot, b"snapshot");
    let pack = name_of(ObjectKind::Pack, b"pack");
    let plan = FaultPlan::one(
        Pattern::operation(Operation::Write).of(ObjectKind::Snapshot),
        Turn::From(2),
        Fault::Deny,
    )
    .and(
        Pattern::operation(Operation::Size).with(pack),
        Turn::Nth(2),
        Fault::FailBefore,
    );
    let store = FaultStore::with_plan(MemoryStore::new(), plan);
    store.write(&pack, b"pack").unwrap();
    store.write(&snapshot, b"snapshot").unwrap();
    assert!(store.write(&snapshot, b"snapshot").is_err());
    assert!(store.write(&snapshot, b"snapshot").is_err());
    store.write(&pack, b"pack").unwrap();
    store.size(&snapshot).unwrap();
    store.size(&pack).unwrap();
    assert!(store.size(&pack).is_err());
    store.size(&pack).unwrap();
    assert_eq!(store.changes(), 5);
    let denied = store
        .trace()
        .iter()
        .filter(|t| t.fault == Some(Fault::Deny))
        .count();
    assert_eq!(denied, 2);
    store.clear_trace();
    assert_eq!(store.trace(), []);
}

#[test]
fn a_full_store_keeps_what_it_has() {
    let store = FaultStore::new(MemoryStore::new());
    store.set_room(Some(150));
    let (a, b) = (sample_bytes(1, 100), sample_bytes(2, 100));
    store.write(&name_of(ObjectKind::Pack, &a), &a).unwrap();
    let error = store.write(&name_of(ObjectKind::Pack, &b), &b).unwrap_err();
    assert!(matches!(error, StoreError::Full { .. }), "{error}");
    assert_eq!(store.inner().contents().len(), 1);
    store.set_room(None);
    store.write(&name_of(ObjectKind::Pack, &b), &b).unwrap();
}

#[test]
fn damage_shows_in_every_way_of_reading() {
    let store = FaultStore::new(MemoryStore::new());
    let (a, b) = (sample_bytes(1, 100), sample_bytes(2, 50));
    let (name, other) = (name_of(ObjectKind::Pack, &a), name_of(ObjectKind::Pack, &b));
    store.write(&name, &a).unwrap();
    store.write(&other, &b).unwrap();
    let size_listed = || {
        let all = store.list_all(ObjectKind::Pack).unwrap();
        all.iter()
            .find(|info| info.id == name.id())
            .map(|info| info.size)
    };

    store.damage(&name, Damage::FlippedBit(8 * 40 + 3));
    let mut flipped = a.clone();
    flipped[40] ^= 8;
    assert_eq!(store.read(&name).unwrap(), flipped);
    assert_eq!(store.read_range(&name, 30, 20).unwrap(), flipped[30..50]);
    assert_eq!(store.read_range(&name, 41, 20).unwrap(), a[41..61]);
    assert_eq!(store.read_range(&name, 0, 40).unwrap(), a[..40]);

    store.damage(&name, Damage::Truncated(60));
    assert_eq!(store.read(&name).unwrap(), a[..60]);
    assert_eq!(store.size(&name).unwrap(), 60);
    assert_eq!(size_listed(), Some(60));
    assert_eq!(store.read_range(&name, 50, 10).unwrap(), a[50..60]);
    let error = store.read_range(&name, 50, 11).unwrap_err();
    assert!(
        matches!(error, StoreError::Truncated { size: 60, .. }),
        "{error}"
    );

    store.damage(&name, Damage::Swapped(other));
    assert_eq!(store.read(&name).unwrap(), b);
    assert_eq!(store.read_range(&name, 10, 10).unwrap(), b[10..20]);
    assert_eq!(store.size(&name).unwrap(), 50);
    assert_eq!(size_listed(), Some(50));

    store.damage(&name, Damage::Missing);
    assert!(store.read(&name).unwrap_err().is_not_found());
    assert!(store.read_range(&name, 0, 1).unwrap_err().is_not_found());
    assert!(!store.exists(&name).unwrap());
    assert_eq!(size_listed(), None);

    store.heal();
    assert_eq!(store.read(&name).unwrap(), a);
}

#[test]
fn images_are_what_was_there_after_each_change() {
    let before = MemoryStore::new();
    before.write(&ObjectName::CONFIG, b"config").unwrap();
    let store = CrashImageStore::from_contents(before.contents());
    let pack = name_of(ObjectKind::Pack, b"pack");
    let lock = name_of(ObjectKind::Lock, b"lock");
    store.write(&lock, b"lock").unwrap();
    store.write(&pack, b"pack").unwrap();
    store.write(&pack, b"pack").unwrap();
    assert!(store.write(&pack, b"other").is_err());
    store.remove_lock(&lock.id()).unwrap();
    store.remove_lock(&lock.id()).unwrap();
    store.delete(&pack).unwrap();
    let images: Vec<Vec<ObjectName>> = store
        .images()
        .iter()
        .map(|image| image.keys().copied().collect())
        .collect();
    let config = ObjectName::CONFIG;
    assert_eq!(
        images,
        [
            vec![config],
            vec![config, lock],
            vec![config, lock, pack],
            vec![config, pack],
            vec![config],
        ]
    );
    let torn = store.torn_images(2);
    assert_eq!(torn.len(), 2);
    assert_eq!(*torn[1][&pack], *b"pa");
    assert_eq!(*torn[1][&lock], *b"lock");
    assert_eq!(store.contents().len(), 1);
}
