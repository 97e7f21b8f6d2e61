//! What a custodian signs, and how anybody checks it offline: entries, seals, holds, receipts.
//!
//! A custodian's log consists of [`Entry`]s. A [`Seal`] names a snapshot and, by the root of an
//! [`ObjectList`], the objects it needs; a [`Receipt`] proves that a seal is in the log.
//!
//! Invariants: nothing here reads a clock or does input or output; an unverified receipt cannot be
//! used as a verified one; a hold only ever grows.

mod entry;
mod evidence;
mod list;
mod names;
mod policy;
mod receipt;
mod renewal;
mod status;
mod survivability;

pub use entry::{
    Admit, ENTRY_BYTES_MAX, Entry, EntryError, Event, Hold, IdText, Refusals, RepositoryAdded,
    Revoke, Scope, Scrub, Seal, Settings, Start, TokenAdded,
};
pub use evidence::{EVIDENCE_BYTES_MAX, Evidence, EvidenceError, EvidenceKind};
pub use list::{LIST_OBJECTS_MAX, ListError, ObjectList};
pub use names::{NameError, RepositoryName, TokenId};
pub use policy::{
    CUSTODIANS_MAX, CredentialText, CustodianText, EvidenceText, GroupText, HostText, Need,
    PARTIES_MIN, Policy, PolicyCustodian, PolicyError, PolicyText, PolicyWitness, Power,
    ReadingText, RetentionText, WitnessText,
};
pub use receipt::{Receipt, ReceiptError, VerifiedReceipt};
pub use renewal::Renewal;
pub use status::{
    Counts, Facts, NoFork, Proof, SafetyVerdict, SnapshotStatus, Standing, Wanted, Why, status,
};
pub use survivability::{
    Attack, Credential, CustodianKind, Finding, Known, Loss, Outcome, Remains, SnapshotCopy,
    Subject, Survey, Table, survivability,
};
