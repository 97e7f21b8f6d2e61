//! Which operations fail, and how.

use outlast_object::{ObjectKind, ObjectName};

/// What can be asked of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// `prepare`
    Prepare,
    /// `write`
    Write,
    /// `read`
    Read,
    /// `read_range`
    ReadRange,
    /// `size`
    Size,
    /// `list`
    List,
    /// `remove_lock`
    RemoveLock,
    /// `delete`
    Delete,
}

impl Operation {
    /// Whether it changes what the store holds.
    pub fn is_change(self) -> bool {
        use Operation::{Delete, Prepare, RemoveLock, Write};
        matches!(self, Prepare | Write | RemoveLock | Delete)
    }
}

/// Which operations a fault is for. Everything that is not set matches.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pattern {
    operation: Option<Operation>,
    changes_only: bool,
    kind: Option<ObjectKind>,
    name: Option<ObjectName>,
}

impl Pattern {
    /// All operations.
    pub fn any() -> Self {
        Self::default()
    }

    /// All operations that change what the store holds.
    pub fn changes() -> Self {
        Self {
            changes_only: true,
            ..Self::default()
        }
    }

    /// One operation.
    pub fn operation(operation: Operation) -> Self {
        Self {
            operation: Some(operation),
            ..Self::default()
        }
    }

    /// The same, with objects of one kind only.
    #[must_use]
    pub fn of(self, kind: ObjectKind) -> Self {
        Self {
            kind: Some(kind),
            ..self
        }
    }

    /// The same, with one object only.
    #[must_use]
    pub fn with(self, name: ObjectName) -> Self {
        Self {
            name: Some(name),
            ..self
        }
    }

    pub(super) fn matches(
        &self,
        operation: Operation,
        kind: Option<ObjectKind>,
        name: Option<&ObjectName>,
    ) -> bool {
        self.operation.is_none_or(|wanted| wanted == operation)
            && (!self.changes_only || operation.is_change())
            && self.kind.is_none_or(|wanted| kind == Some(wanted))
            && self.name.is_none_or(|wanted| name == Some(&wanted))
    }
}

/// Which of the matching operations a fault is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// All of them.
    Every,
    /// The nth one, counted from 1.
    Nth(usize),
    /// The nth one and all that follow, counted from 1.
    From(usize),
}

impl Turn {
    pub(super) fn is_now(self, count: usize) -> bool {
        match self {
            Turn::Every => true,
            Turn::Nth(n) => count == n,
            Turn::From(n) => count >= n,
        }
    }
}

/// What happens to an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It fails and was not done; another try may help.
    FailBefore,
    /// It was done and is reported to have failed; another try may help.
    FailAfter,
    /// It was not done, and nothing is done from here on.
    CrashBefore,
    /// It was done, but nobody hears of it, and nothing is done from here on.
    CrashAfter,
    /// So many bytes of a write become visible, and nothing is done from here on. A store that keeps
    /// its promises never does this; the network share it lies on may.
    Torn(usize),
    /// It fails: credentials do not allow it.
    Deny,
    /// It fails: no space is left.
    Full,
}

/// The moments of a change at which a program can be killed, for tests that try them all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Before the store did it.
    Before,
    /// In the middle of it.
    During,
    /// After it, and before anybody heard of it.
    After,
    /// The store did it and reported failure; the program lives on.
    DoneButReported,
}

impl Moment {
    /// All moments.
    pub const ALL: [Moment; 4] = [
        Moment::Before,
        Moment::During,
        Moment::After,
        Moment::DoneButReported,
    ];
}

/// What will go wrong.
#[derive(Debug, Clone, Default)]
pub struct FaultPlan {
    pub(super) rules: Vec<Rule>,
}

#[derive(Debug, Clone)]
pub(super) struct Rule {
    pub pattern: Pattern,
    pub turn: Turn,
    pub fault: Fault,
    pub count: usize,
}

impl FaultPlan {
    /// Nothing goes wrong.
    pub fn none() -> Self {
        Self::default()
    }

    /// One fault.
    pub fn one(pattern: Pattern, turn: Turn, fault: Fault) -> Self {
        Self::none().and(pattern, turn, fault)
    }

    /// The program is killed at the nth change, counted from 1.
    pub fn at_change(n: usize, moment: Moment) -> Self {
        let fault = match moment {
            Moment::Before => Fault::CrashBefore,
            // A few bytes are enough to be seen and too few to be of use.
            Moment::During => Fault::Torn(20),
            Moment::After => Fault::CrashAfter,
            Moment::DoneButReported => Fault::FailAfter,
        };
        Self::one(Pattern::changes(), Turn::Nth(n), fault)
    }

    /// The same plan with another fault. Where several are due, the first one happens.
    #[must_use]
    pub fn and(mut self, pattern: Pattern, turn: Turn, fault: Fault) -> Self {
        self.rules.push(Rule {
            pattern,
            turn,
            fault,
            count: 0,
        });
        self
    }
}

/// What is wrong with one object, for whoever reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damage {
    /// This bit is flipped, counted from the lowest bit of the first byte.
    FlippedBit(u64),
    /// Only so many bytes are left.
    Truncated(u64),
    /// It holds what this object should hold.
    Swapped(ObjectName),
    /// It is gone.
    Missing,
}
