//! The threads of one place: they meet it, and then bring it what it is to have.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use outlast_object::{Id, ObjectKind, ObjectName};

use super::Connect;
use super::queue::{Joining, Met, Shared};
use crate::{Deletes, StoreError};

/// Meets a place, and works for it until everything is done or the place fails.
pub(super) fn run(shared: &Arc<Shared>, at: usize, connect: Connect) {
    let met = match connect().and_then(meet) {
        Ok(met) => met,
        Err(error) => return shared.away(at, error.to_string()),
    };
    let store = Arc::clone(&met.store);
    let joined = match shared.join(at, met) {
        Joining::Ready => Ok(()),
        Joining::Enrol(from) => enrol(&*from, &*store),
        Joining::Refused => return,
    };
    if let Err(error) = joined {
        return shared.away(at, error.to_string());
    }
    shared.ready(at);
    for _ in 1..shared.connections() {
        let (shared, store) = (Arc::clone(shared), Arc::clone(&store));
        thread::spawn(move || work(&shared, at, &*store));
    }
    work(shared, at, &*store);
}

/// What a place has: its config, and the names of its indexes and snapshots.
fn meet(store: Arc<dyn Deletes>) -> Result<Met, StoreError> {
    let config = match store.read(&ObjectName::CONFIG) {
        Ok(bytes) => Some(bytes),
        Err(error) if error.is_not_found() => None,
        Err(error) => return Err(error),
    };
    let mut ids = BTreeSet::new();
    if config.is_some() {
        for kind in [ObjectKind::Index, ObjectKind::Snapshot] {
            let mut of_kind = |id: Id| ids.insert(ObjectName::new(kind, id));
            store.list(kind, &mut |info| {
                of_kind(info.id);
            })?;
        }
    } else {
        store.prepare()?;
    }
    Ok(Met { store, config, ids })
}

/// Gives a new place the keys and the config of one that has them, in this order: without a config
/// there is no repository, and what broke off can be repeated.
fn enrol(from: &dyn Deletes, to: &dyn Deletes) -> Result<(), StoreError> {
    for info in from.list_all(ObjectKind::Key)? {
        let name = ObjectName::new(ObjectKind::Key, info.id);
        to.write(&name, &from.read(&name)?)?;
    }
    to.write(&ObjectName::CONFIG, &from.read(&ObjectName::CONFIG)?)
}

fn work(shared: &Shared, at: usize, store: &dyn Deletes) {
    while let Some(task) = shared.next(at) {
        let began = Instant::now();
        let outcome = match &task.bytes {
            Some(bytes) => store.write(&task.name, bytes),
            None => shared
                .read_spooled(&task.name)
                .and_then(|bytes| store.write(&task.name, &bytes)),
        };
        shared.done(at, &task, outcome, began.elapsed());
    }
}
