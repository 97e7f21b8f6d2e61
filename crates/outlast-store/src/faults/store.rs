//! A store that fails by plan, and writes down what it was asked.

use std::collections::HashMap;
use std::io;

use outlast_object::{Id, ObjectKind, ObjectName};
use parking_lot::Mutex;

use super::plan::{Damage, Fault, FaultPlan, Operation};
use crate::{Capabilities, Deletes, LockStore, ObjectInfo, Store, StoreError};

/// One operation that was asked of a [`FaultStore`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Traced {
    /// What was asked.
    pub operation: Operation,
    /// The kind of objects concerned.
    pub kind: Option<ObjectKind>,
    /// The object concerned.
    pub name: Option<ObjectName>,
    /// The fault that happened to it.
    pub fault: Option<Fault>,
}

/// Wraps a store and lets it fail by plan. Without a plan it only keeps a trace.
#[derive(Debug)]
pub struct FaultStore<S> {
    inner: S,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    plan: FaultPlan,
    crashed: bool,
    vanished: bool,
    bytes_left: Option<u64>,
    damage: HashMap<ObjectName, Damage>,
    trace: Vec<Traced>,
}

impl<S> FaultStore<S> {
    /// A store that does all that `inner` does.
    pub fn new(inner: S) -> Self {
        Self {
            inner,
            state: Mutex::default(),
        }
    }

    /// A store that fails by `plan`.
    pub fn with_plan(inner: S, plan: FaultPlan) -> Self {
        Self {
            inner,
            state: Mutex::new(State {
                plan,
                ..State::default()
            }),
        }
    }

    /// The store without faults.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// Fails by `plan` from now on, counting anew. A crashed or vanished store comes back.
    pub fn set_plan(&self, plan: FaultPlan) {
        let mut state = self.state.lock();
        state.plan = plan;
        state.crashed = false;
        state.vanished = false;
    }

    /// Whether a planned crash has happened.
    pub fn has_crashed(&self) -> bool {
        self.state.lock().crashed
    }

    /// Cannot be reached from now on.
    pub fn vanish(&self) {
        self.state.lock().vanished = true;
    }

    /// Can be reached again.
    pub fn come_back(&self) {
        self.state.lock().vanished = false;
    }

    /// Has room for so many more bytes; `None` is room without end.
    pub fn set_room(&self, bytes: Option<u64>) {
        self.state.lock().bytes_left = bytes;
    }

    /// Shows this object damaged from now on.
    pub fn damage(&self, name: &ObjectName, damage: Damage) {
        self.state.lock().damage.insert(*name, damage);
    }

    /// Shows all objects as they are again.
    pub fn heal(&self) {
        self.state.lock().damage.clear();
    }

    /// What was asked so far, oldest first.
    pub fn trace(&self) -> Vec<Traced> {
        self.state.lock().trace.clone()
    }

    /// Forgets what was asked so far.
    pub fn clear_trace(&self) {
        self.state.lock().trace.clear();
    }

    /// How many changes were asked for so far: a test that tries a fault at each change stops when
    /// it has passed this number.
    pub fn changes(&self) -> usize {
        self.state
            .lock()
            .trace
            .iter()
            .filter(|traced| traced.operation.is_change())
            .count()
    }

    fn damage_of(&self, name: &ObjectName) -> Option<Damage> {
        self.state.lock().damage.get(name).copied()
    }
}

impl<S: Store> FaultStore<S> {
    fn unavailable(&self, operation: Operation, reason: &str) -> StoreError {
        let operation = format!("{operation:?}").to_lowercase();
        StoreError::Unavailable {
            operation,
            location: self.location(),
            reason: reason.to_owned(),
        }
    }

    fn crashed(&self, operation: Operation) -> StoreError {
        StoreError::Io {
            operation: format!("{operation:?}").to_lowercase(),
            location: self.location(),
            source: io::Error::other("the program was killed (injected)"),
        }
    }

    /// Notes the operation and decides what happens to it.
    fn enter(
        &self,
        operation: Operation,
        kind: Option<ObjectKind>,
        name: Option<&ObjectName>,
        bytes: u64,
    ) -> Result<Option<Fault>, StoreError> {
        let mut state = self.state.lock();
        if state.crashed {
            return Err(self.crashed(operation));
        }
        let mut due = None;
        for rule in &mut state.plan.rules {
            if rule.pattern.matches(operation, kind, name) {
                rule.count += 1;
                if due.is_none() && rule.turn.is_now(rule.count) {
                    due = Some(rule.fault);
                }
            }
        }
        let traced = Traced {
            operation,
            kind,
            name: name.copied(),
            fault: due,
        };
        state.trace.push(traced);
        if state.vanished {
            return Err(self.unavailable(operation, "it has vanished (injected)"));
        }
        if let (Operation::Write, Some(left)) = (operation, &mut state.bytes_left) {
            match left.checked_sub(bytes) {
                Some(rest) => *left = rest,
                None => due = Some(Fault::Full),
            }
        }
        if matches!(
            due,
            Some(Fault::CrashBefore | Fault::CrashAfter | Fault::Torn(_))
        ) {
            state.crashed = true;
        }
        match due {
            Some(Fault::FailBefore) => Err(self.unavailable(operation, "injected, not done")),
            Some(Fault::CrashBefore) => Err(self.crashed(operation)),
            Some(Fault::Deny) => Err(StoreError::Denied {
                operation: format!("{operation:?}").to_lowercase(),
                location: self.location(),
                reason: "injected".to_owned(),
            }),
            Some(Fault::Full) => Err(StoreError::Full {
                location: self.location(),
                reason: "injected".to_owned(),
            }),
            after => Ok(after),
        }
    }

    /// Does an operation, with whatever the plan has for it.
    fn apply<T>(
        &self,
        operation: Operation,
        kind: Option<ObjectKind>,
        name: Option<&ObjectName>,
        call: impl FnOnce() -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        match self.enter(operation, kind, name, 0)? {
            None => call(),
            Some(Fault::FailAfter) => {
                call()?;
                Err(self.unavailable(operation, "injected, but it was done"))
            }
            Some(Fault::CrashAfter) => {
                call()?;
                Err(self.crashed(operation))
            }
            // Only writes can be torn: anything else is simply not done.
            Some(_) => Err(self.crashed(operation)),
        }
    }

    fn damaged(
        &self,
        name: &ObjectName,
        read: impl FnOnce(&ObjectName) -> Result<Vec<u8>, StoreError>,
    ) -> Result<Vec<u8>, StoreError> {
        match self.damage_of(name) {
            Some(Damage::Missing) => Err(StoreError::NotFound {
                name: *name,
                location: self.location(),
            }),
            Some(Damage::Swapped(other)) => read(&other),
            Some(Damage::FlippedBit(bit)) => {
                let mut bytes = read(name)?;
                flip(&mut bytes, bit);
                Ok(bytes)
            }
            Some(Damage::Truncated(size)) => {
                let mut bytes = read(name)?;
                bytes.truncate(usize::try_from(size).unwrap_or(usize::MAX));
                Ok(bytes)
            }
            None => read(name),
        }
    }
}

fn flip(bytes: &mut [u8], bit: u64) {
    let index = usize::try_from(bit / 8).unwrap_or(usize::MAX);
    if let Some(byte) = bytes.get_mut(index) {
        *byte ^= 1 << (bit % 8);
    }
}

impl<S: Store> Store for FaultStore<S> {
    fn location(&self) -> String {
        self.inner.location()
    }

    fn connections(&self) -> usize {
        self.inner.connections()
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn declare_tree_packs(&self, packs: &[Id]) {
        self.inner.declare_tree_packs(packs);
    }

    fn prepare(&self) -> Result<(), StoreError> {
        self.apply(Operation::Prepare, None, None, || self.inner.prepare())
    }

    fn write(&self, name: &ObjectName, bytes: &[u8]) -> Result<(), StoreError> {
        let operation = Operation::Write;
        match self.enter(operation, Some(name.kind()), Some(name), bytes.len() as u64)? {
            None => self.inner.write(name, bytes),
            Some(Fault::FailAfter) => {
                self.inner.write(name, bytes)?;
                Err(self.unavailable(operation, "injected, but it was done"))
            }
            Some(Fault::Torn(visible)) => {
                self.inner.write(name, &bytes[..visible.min(bytes.len())])?;
                Err(self.crashed(operation))
            }
            Some(_) => {
                self.inner.write(name, bytes)?;
                Err(self.crashed(operation))
            }
        }
    }

    fn read(&self, name: &ObjectName) -> Result<Vec<u8>, StoreError> {
        self.apply(Operation::Read, Some(name.kind()), Some(name), || {
            self.damaged(name, |name| self.inner.read(name))
        })
    }

    fn read_range(
        &self,
        name: &ObjectName,
        offset: u64,
        length: usize,
    ) -> Result<Vec<u8>, StoreError> {
        self.apply(Operation::ReadRange, Some(name.kind()), Some(name), || {
            let end = offset.saturating_add(length as u64);
            match self.damage_of(name) {
                Some(Damage::Truncated(size)) if end > size => Err(StoreError::Truncated {
                    name: *name,
                    offset,
                    end,
                    size,
                }),
                Some(Damage::FlippedBit(bit)) => {
                    let mut bytes = self.inner.read_range(name, offset, length)?;
                    if let Some(bit) = bit.checked_sub(offset.saturating_mul(8)) {
                        flip(&mut bytes, bit);
                    }
                    Ok(bytes)
                }
                _ => self.damaged(name, |name| self.inner.read_range(name, offset, length)),
            }
        })
    }

    fn size(&self, name: &ObjectName) -> Result<u64, StoreError> {
        self.apply(
            Operation::Size,
            Some(name.kind()),
            Some(name),
            || match self.damage_of(name) {
                Some(Damage::Missing) => Err(StoreError::NotFound {
                    name: *name,
                    location: self.location(),
                }),
                Some(Damage::Swapped(other)) => self.inner.size(&other),
                Some(Damage::Truncated(size)) => Ok(self.inner.size(name)?.min(size)),
                Some(Damage::FlippedBit(_)) | None => self.inner.size(name),
            },
        )
    }

    fn list(&self, kind: ObjectKind, visit: &mut dyn FnMut(ObjectInfo)) -> Result<(), StoreError> {
        self.apply(Operation::List, Some(kind), None, || {
            self.inner.list(kind, &mut |info| {
                let damage = self.damage_of(&ObjectName::new(kind, info.id));
                match damage {
                    Some(Damage::Missing) => {}
                    Some(Damage::Truncated(size)) => {
                        visit(ObjectInfo {
                            size: info.size.min(size),
                            ..info
                        });
                    }
                    Some(Damage::Swapped(other)) => {
                        let size = self.inner.size(&other).unwrap_or(info.size);
                        visit(ObjectInfo { size, ..info });
                    }
                    Some(Damage::FlippedBit(_)) | None => visit(info),
                }
            })
        })
    }
}

impl<S: LockStore> LockStore for FaultStore<S> {
    fn remove_lock(&self, id: &Id) -> Result<(), StoreError> {
        let name = ObjectName::new(ObjectKind::Lock, *id);
        self.apply(
            Operation::RemoveLock,
            Some(ObjectKind::Lock),
            Some(&name),
            || self.inner.remove_lock(id),
        )
    }
}

impl<S: Deletes> Deletes for FaultStore<S> {
    fn delete(&self, name: &ObjectName) -> Result<(), StoreError> {
        self.apply(Operation::Delete, Some(name.kind()), Some(name), || {
            self.inner.delete(name)
        })
    }
}
