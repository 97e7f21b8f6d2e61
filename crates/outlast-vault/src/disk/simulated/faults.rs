//! What can go wrong at an operation, and the plan that says where.

use std::collections::BTreeMap;
use std::io;

use rustix::io::Errno;

/// What a disk writes whole or not at all, in bytes.
pub const SECTOR_BYTES: usize = 512;

/// What kind of operation was asked for. All change something; reading has no number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OperationKind {
    /// An unnamed file is made.
    Create,
    /// Bytes are written to an unnamed file.
    Write,
    /// The content of an unnamed file is made durable.
    Sync,
    /// An unnamed file is given its name.
    Link,
    /// The names of a directory are made durable.
    SyncDirectory,
    /// One directory is made, durably.
    MakeDirectory,
    /// Bytes are added to a file, durably.
    Append,
    /// A file is cut off, durably.
    Truncate,
    /// A file is replaced, durably.
    Replace,
    /// A file is made immutable.
    MakeImmutable,
}

/// An operation that was asked for, whether or not it was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// Its running number, from 1.
    pub number: u64,
    /// What was asked for.
    pub kind: OperationKind,
    /// On what. Unnamed files are told apart as `unnamed-<number>`.
    pub path: String,
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Not done, and an error reported. A sync that failed so is never made up for: later ones of the
    /// same file succeed and do nothing, as with kernels that drop what they could not write.
    Refused,
    /// Not done, since the disk is full.
    NoSpace,
    /// Done and durable, and still an error reported.
    DoneButError,
    /// Done as far as anybody can see, but not durable; an error is reported.
    Unsynced,
    /// The power is lost before the operation.
    CrashBefore,
    /// The power is lost while it is under way: done in memory, and on the disk perhaps.
    CrashDuring,
    /// The power is lost when it has been done, before that is reported.
    CrashAfter,
    /// Of what was to be written only so many sectors arrive, in memory; an error is reported.
    Torn {
        /// How many.
        sectors: usize,
    },
    /// The same, and the power is lost.
    TornCrash {
        /// How many.
        sectors: usize,
    },
}

/// Which operation fails, and how.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FaultPlan {
    once: BTreeMap<u64, Fault>,
    lasting: Vec<(u64, Option<OperationKind>, Fault)>,
}

impl FaultPlan {
    /// Nothing fails.
    #[must_use]
    pub fn none() -> FaultPlan {
        FaultPlan::default()
    }

    /// The operation `number` fails, and no other.
    #[must_use]
    pub fn at(mut self, number: u64, fault: Fault) -> FaultPlan {
        self.once.insert(number, fault);
        self
    }

    /// All operations from `number` on fail.
    #[must_use]
    pub fn from(mut self, number: u64, fault: Fault) -> FaultPlan {
        self.lasting.push((number, None, fault));
        self
    }

    /// All operations of one kind from `number` on fail.
    #[must_use]
    pub fn from_of_kind(mut self, number: u64, kind: OperationKind, fault: Fault) -> FaultPlan {
        self.lasting.push((number, Some(kind), fault));
        self
    }

    fn fault(&self, number: u64, kind: OperationKind) -> Option<Fault> {
        let lasting = || {
            let applies = |(from, of, _): &&(u64, Option<OperationKind>, Fault)| {
                *from <= number && of.is_none_or(|of| of == kind)
            };
            self.lasting.iter().find(applies).map(|entry| entry.2)
        };
        self.once.get(&number).copied().or_else(lasting)
    }

    /// How an operation goes, unless it does not even begin.
    pub(super) fn course(&self, number: u64, kind: OperationKind) -> Result<Course, Stopped> {
        let course = |prefix, durable, end| {
            Ok(Course {
                prefix,
                durable,
                end,
            })
        };
        let bytes = |sectors: usize| Some(sectors.saturating_mul(SECTOR_BYTES));
        match self.fault(number, kind) {
            None => course(None, true, End::Reported),
            Some(Fault::DoneButError) => course(None, true, End::Error),
            Some(Fault::Unsynced) => course(None, false, End::Error),
            Some(Fault::CrashAfter) => course(None, true, End::Crash),
            Some(Fault::CrashDuring) => course(None, false, End::Crash),
            Some(Fault::Torn { sectors }) => course(bytes(sectors), false, End::Error),
            Some(Fault::TornCrash { sectors }) => course(bytes(sectors), false, End::Crash),
            Some(Fault::Refused) => Err(Stopped::Error(Errno::IO)),
            Some(Fault::NoSpace) => Err(Stopped::Error(Errno::NOSPC)),
            Some(Fault::CrashBefore) => Err(Stopped::Crash),
        }
    }
}

/// Why an operation did not begin.
pub(super) enum Stopped {
    Error(Errno),
    Crash,
}

/// How an operation goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Course {
    prefix: Option<usize>,
    /// Whether what is durable on return becomes so.
    pub(super) durable: bool,
    pub(super) end: End,
}

impl Course {
    /// The part of the bytes that arrives.
    pub(super) fn arriving<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        let length = self.prefix.unwrap_or(bytes.len()).min(bytes.len());
        &bytes[..length]
    }
}

/// What is told of an operation in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Reported,
    Error,
    Crash,
}

/// The error of every operation after a simulated loss of power.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the simulated disk has lost its power")]
pub struct PowerLost;

impl PowerLost {
    /// Whether an error is this one.
    #[must_use]
    pub fn is(error: &io::Error) -> bool {
        error.get_ref().is_some_and(|inner| inner.is::<PowerLost>())
    }
}

impl From<PowerLost> for io::Error {
    fn from(lost: PowerLost) -> io::Error {
        io::Error::other(lost)
    }
}
