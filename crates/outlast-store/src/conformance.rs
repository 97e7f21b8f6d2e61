//! What every store must do: one suite for all adapters and all decorators.
//!
//! A test calls [`run`] with a function that makes fresh, empty stores. Nothing here panics, so the
//! same suite can examine a real store that somebody wants to trust.

use std::sync::Arc;

use outlast_object::{Id, ObjectKind, ObjectName, hash};

use crate::{Deletes, ObjectInfo, Store, StoreError};

/// What is asked of a store.
#[derive(Debug, Clone, Copy)]
pub struct Demands {
    /// How many objects the listing check writes.
    pub objects: usize,
    /// Whether everything can be deleted; where not, all but locks must be refused.
    pub deletes: bool,
}

impl Default for Demands {
    fn default() -> Self {
        Self {
            objects: 2000,
            deletes: true,
        }
    }
}

/// A store did not do what it must.
#[derive(Debug, thiserror::Error)]
#[error("{check}: {reason}")]
pub struct Failure {
    /// The check that failed.
    pub check: &'static str,
    /// What was expected and what happened.
    pub reason: String,
}

/// Makes a fresh, empty store for the check of this name.
pub type Fresh<'a> = dyn FnMut(&str) -> Result<Arc<dyn Deletes>, StoreError> + 'a;

type Checked = Result<(), String>;
type Check = fn(&dyn Deletes, Demands) -> Checked;

/// All checks, each with a name that is fit for a folder.
const CHECKS: [(&str, Check); 12] = [
    ("prepare-twice", prepare_twice),
    ("write-and-read", write_and_read),
    ("the-config", config),
    ("same-bytes-again", same_bytes_again),
    ("other-bytes-refused", other_bytes_refused),
    ("ranges", ranges),
    ("ranges-outside", ranges_outside),
    ("not-found", not_found),
    ("lists", lists),
    ("every-first-byte", every_first_byte),
    ("concurrent-writers", concurrent_writers),
    ("removal", removal),
];

/// Runs every check, each against a store of its own that `fresh` makes for it, unprepared.
///
/// # Errors
/// The first check that fails.
pub fn run(demands: Demands, fresh: &mut Fresh<'_>) -> Result<(), Failure> {
    for (check, function) in CHECKS {
        let failed = |reason| Failure { check, reason };
        let store = fresh(check).map_err(|error| failed(error.to_string()))?;
        store.prepare().map_err(|error| failed(error.to_string()))?;
        function(&*store, demands).map_err(failed)?;
    }
    Ok(())
}

/// A pack's worth of bytes that compress badly and differ by `seed`.
pub fn sample_bytes(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(length + Id::LEN);
    let mut block = hash(&seed.to_le_bytes());
    while bytes.len() < length {
        bytes.extend_from_slice(block.as_bytes());
        block = hash(block.as_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// The name that `bytes` have as an object of this kind.
pub fn name_of(kind: ObjectKind, bytes: &[u8]) -> ObjectName {
    ObjectName::new(kind, hash(bytes))
}

fn ensure(condition: bool, reason: impl FnOnce() -> String) -> Checked {
    if condition { Ok(()) } else { Err(reason()) }
}

fn done<T>(what: &str, result: Result<T, StoreError>) -> Result<T, String> {
    result.map_err(|error| format!("{what}: {error}"))
}

fn put(store: &dyn Deletes, kind: ObjectKind, bytes: &[u8]) -> Result<ObjectName, String> {
    let name = name_of(kind, bytes);
    done("write", store.write(&name, bytes))?;
    Ok(name)
}

fn holds(store: &dyn Deletes, name: &ObjectName, bytes: &[u8]) -> Checked {
    let found = done("read", store.read(name))?;
    ensure(found == bytes, || {
        format!("{name} reads back as {} other bytes", found.len())
    })?;
    let size = done("size", store.size(name))?;
    ensure(size == bytes.len() as u64, || {
        format!("{name} has size {size}, not {}", bytes.len())
    })?;
    ensure(done("exists", store.exists(name))?, || {
        format!("{name} does not exist")
    })
}

fn prepare_twice(store: &dyn Deletes, _: Demands) -> Checked {
    let name = put(store, ObjectKind::Snapshot, b"kept")?;
    done("prepare again", store.prepare())?;
    holds(store, &name, b"kept")?;
    ensure(store.connections() > 0, || {
        "no connection is suitable".to_owned()
    })
}

fn write_and_read(store: &dyn Deletes, _: Demands) -> Checked {
    for kind in ObjectKind::ALL {
        for length in [0, 1, 4097, 60_000] {
            let bytes = sample_bytes(length as u64, length);
            if kind != ObjectKind::Config {
                let name = put(store, kind, &bytes)?;
                holds(store, &name, &bytes)?;
            }
        }
    }
    let large = sample_bytes(1, 5 * 1024 * 1024 + 1);
    let name = put(store, ObjectKind::Pack, &large)?;
    holds(store, &name, &large)
}

fn config(store: &dyn Deletes, _: Demands) -> Checked {
    let name = ObjectName::CONFIG;
    ensure(!done("exists", store.exists(&name))?, || {
        "a new store has a config".to_owned()
    })?;
    let listed = done("list", store.list_all(ObjectKind::Config))?;
    ensure(listed.is_empty(), || {
        "a new store lists a config".to_owned()
    })?;
    done("write", store.write(&name, b"the config"))?;
    holds(store, &name, b"the config")?;
    let expected = [ObjectInfo {
        id: name.id(),
        size: 10,
    }];
    let listed = done("list", store.list_all(ObjectKind::Config))?;
    ensure(listed == expected, || {
        format!("the config is listed as {listed:?}")
    })?;
    done("write again", store.write(&name, b"the config"))?;
    refused(store.write(&name, b"another one"))?;
    holds(store, &name, b"the config")
}

fn same_bytes_again(store: &dyn Deletes, _: Demands) -> Checked {
    for kind in ObjectKind::ALL {
        let bytes = sample_bytes(7, 3000);
        let name = put(store, kind, &bytes)?;
        done("write the same again", store.write(&name, &bytes))?;
        holds(store, &name, &bytes)?;
    }
    Ok(())
}

fn refused(result: Result<(), StoreError>) -> Checked {
    match result {
        Err(StoreError::AlreadyExists { .. }) => Ok(()),
        Err(error) => Err(format!(
            "other bytes were refused with the wrong error: {error}"
        )),
        Ok(()) => Err("other bytes were accepted under an existing name".to_owned()),
    }
}

fn other_bytes_refused(store: &dyn Deletes, _: Demands) -> Checked {
    for kind in ObjectKind::ALL {
        let bytes = sample_bytes(8, 3000);
        let name = put(store, kind, &bytes)?;
        let mut flipped = bytes.clone();
        flipped[1500] ^= 1;
        for other in [
            &flipped[..],
            &bytes[..2999],
            &[&bytes[..], b"x"].concat(),
            b"",
        ] {
            refused(store.write(&name, other))?;
            holds(store, &name, &bytes)?;
        }
    }
    Ok(())
}

fn ranges(store: &dyn Deletes, _: Demands) -> Checked {
    let bytes = sample_bytes(2, 100_000);
    for kind in [ObjectKind::Pack, ObjectKind::Index] {
        let name = put(store, kind, &bytes)?;
        let wanted = [
            0..100_000,
            0..1,
            99_999..100_000,
            1..99_999,
            4096..8192,
            50_000..50_033,
        ];
        let empty = [0..0, 5..5, 100_000..100_000];
        let mut buffer = vec![0xA5; 20_000];
        for range in wanted.into_iter().chain(empty) {
            let found = done(
                "range",
                store.read_range(&name, range.start as u64, range.len()),
            )?;
            ensure(found == bytes[range.clone()], || {
                format!("{range:?} reads other bytes")
            })?;
            // What the buffer held before, more or less than is asked for, must not show.
            let (offset, length) = (range.start as u64, range.len());
            let read = store.read_range_into(&name, offset, length, &mut buffer);
            done("range into a buffer", read)?;
            ensure(buffer == bytes[range.clone()], || {
                format!("{range:?} reads other bytes into a buffer that was used before")
            })?;
        }
    }
    Ok(())
}

fn ranges_outside(store: &dyn Deletes, _: Demands) -> Checked {
    let name = put(store, ObjectKind::Pack, &sample_bytes(3, 1000))?;
    let outside = [
        (0, 1001),
        (999, 2),
        (1000, 1),
        (1001, 0),
        (1001, 1),
        (u64::MAX, 1),
        (u64::MAX, usize::MAX),
        (0, usize::MAX),
        (500, 1 << 40),
    ];
    for (offset, length) in outside {
        match store.read_range(&name, offset, length) {
            Err(StoreError::Truncated { size: 1000, .. }) => {}
            Err(error) => return Err(format!("{length} from {offset}: wrong error: {error}")),
            Ok(found) => {
                return Err(format!("{length} from {offset} gave {} bytes", found.len()));
            }
        }
        let into = store.read_range_into(&name, offset, length, &mut Vec::new());
        ensure(matches!(into, Err(StoreError::Truncated { .. })), || {
            format!("{length} from {offset} into a buffer gave {into:?}")
        })?;
    }
    Ok(())
}

fn not_found(store: &dyn Deletes, demands: Demands) -> Checked {
    for kind in ObjectKind::ALL {
        let name = name_of(kind, b"never written");
        let errors = [
            store.read(&name).err(),
            store.read_range(&name, 0, 1).err(),
            store.read_range(&name, 0, 0).err(),
            store.size(&name).err(),
        ];
        for (call, error) in errors.into_iter().enumerate() {
            let right = matches!(&error, Some(StoreError::NotFound { name: n, .. }) if *n == name);
            ensure(right, || {
                format!("call {call} for a missing {kind} gave {error:?}")
            })?;
        }
        ensure(!done("exists", store.exists(&name))?, || {
            format!("a missing {kind} exists")
        })?;
        let listed = done("list", store.list_all(kind))?;
        ensure(listed.is_empty(), || {
            format!("an empty store lists {listed:?}")
        })?;
        if demands.deletes {
            done("delete what is not there", store.delete(&name))?;
        }
    }
    done(
        "remove a lock that is not there",
        store.remove_lock(&hash(b"never")),
    )
}

fn lists(store: &dyn Deletes, demands: Demands) -> Checked {
    let mut expected = Vec::with_capacity(demands.objects);
    for seed in 0..demands.objects {
        let bytes = sample_bytes(seed as u64, seed % 97);
        // Short ones repeat: equal bytes are one object.
        let name = put(store, ObjectKind::Snapshot, &bytes)?;
        expected.push(ObjectInfo {
            id: name.id(),
            size: bytes.len() as u64,
        });
    }
    put(store, ObjectKind::Lock, b"of another kind")?;
    expected.sort_unstable();
    expected.dedup();
    let listed = done("list", store.list_all(ObjectKind::Snapshot))?;
    ensure(listed == expected, || {
        format!(
            "{} objects are listed instead of {}",
            listed.len(),
            expected.len()
        )
    })?;
    let locks = done("list locks", store.list_all(ObjectKind::Lock))?;
    ensure(locks.len() == 1, || {
        format!("{} locks are listed instead of 1", locks.len())
    })?;
    // The visitor may use the store.
    let mut failure = None;
    done(
        "list",
        store.list(ObjectKind::Lock, &mut |info| {
            failure = store
                .size(&ObjectName::new(ObjectKind::Lock, info.id))
                .err();
        }),
    )?;
    ensure(failure.is_none(), || {
        format!("size while listing: {failure:?}")
    })
}

fn every_first_byte(store: &dyn Deletes, _: Demands) -> Checked {
    let mut seen = [false; 256];
    let mut seed = 0u64;
    let mut written = 0;
    while written < seen.len() {
        let bytes = seed.to_le_bytes();
        seed += 1;
        let first = usize::from(hash(&bytes).as_bytes()[0]);
        if !std::mem::replace(&mut seen[first], true) {
            let name = put(store, ObjectKind::Pack, &bytes)?;
            holds(store, &name, &bytes)?;
            written += 1;
        }
    }
    let listed = done("list", store.list_all(ObjectKind::Pack))?;
    ensure(listed.len() == 256, || {
        format!("{} packs are listed instead of 256", listed.len())
    })?;
    let in_order = (0..=u8::MAX)
        .zip(&listed)
        .all(|(byte, info)| info.id.as_bytes()[0] == byte);
    ensure(in_order, || {
        "the packs listed are not those written".to_owned()
    })
}

fn concurrent_writers(store: &dyn Deletes, _: Demands) -> Checked {
    let bytes = sample_bytes(4, 300_000);
    let name = name_of(ObjectKind::Pack, &bytes);
    let results = in_parallel(8, |_| store.write(&name, &bytes));
    for result in results {
        done("one of many writers of the same bytes", result)?;
    }
    holds(store, &name, &bytes)?;

    // Only the config can have other bytes under its name: one writer wins, and stays the winner.
    let content = |writer: usize| sample_bytes(writer as u64, 2000);
    let results = in_parallel(8, |writer| {
        store.write(&ObjectName::CONFIG, &content(writer))
    });
    let (mut winner, mut winners) = (0, 0);
    for (writer, result) in results.into_iter().enumerate() {
        if result.is_ok() {
            (winner, winners) = (writer, winners + 1);
        } else {
            refused(result)?;
        }
    }
    ensure(winners == 1, || {
        format!("{winners} writers of different configs succeeded")
    })?;
    holds(store, &ObjectName::CONFIG, &content(winner))
}

fn in_parallel<T: Send>(count: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    std::thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = (0..count)
            .map(|index| scope.spawn(move || work(index)))
            .collect();
        let results = threads.into_iter().map(std::thread::ScopedJoinHandle::join);
        results
            .map(|result| result.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    })
}

fn removal(store: &dyn Deletes, demands: Demands) -> Checked {
    let lock = put(store, ObjectKind::Lock, b"a lock")?;
    // A snapshot with the id of a lock shows that only locks go.
    let snapshot = put(store, ObjectKind::Snapshot, b"a lock")?;
    done("remove_lock", store.remove_lock(&lock.id()))?;
    ensure(!done("exists", store.exists(&lock))?, || {
        "the removed lock exists".to_owned()
    })?;
    holds(store, &snapshot, b"a lock")?;
    done("remove_lock again", store.remove_lock(&lock.id()))?;
    done("write the lock anew", store.write(&lock, b"a lock"))?;

    for kind in ObjectKind::ALL
        .into_iter()
        .filter(|kind| *kind != ObjectKind::Lock)
    {
        let bytes = sample_bytes(5, 500);
        let name = put(store, kind, &bytes)?;
        let part = done("range", store.read_range(&name, 10, 10))?;
        ensure(part == bytes[10..20], || {
            "a range reads other bytes".to_owned()
        })?;
        let deleted = store.delete(&name);
        if demands.deletes {
            done("delete", deleted)?;
            let gone = store
                .read_range(&name, 10, 10)
                .is_err_and(|error| error.is_not_found())
                && store.read(&name).is_err_and(|error| error.is_not_found());
            ensure(gone, || format!("the deleted {kind} can still be read"))?;
            done("delete again", store.delete(&name))?;
            done("write anew", store.write(&name, &bytes))?;
        } else {
            let denied = matches!(deleted, Err(StoreError::DeletesRefused { .. }));
            ensure(denied, || {
                format!("deleting a {kind} should be refused, not {deleted:?}")
            })?;
        }
        holds(store, &name, &bytes)?;
    }
    Ok(())
}
