//! What a verdict may rest on: what was verified, and what was read back.

use std::collections::HashMap;

use outlast_log::{Hash, VerifiedCheckpoint, VerifierKey};
use outlast_object::Id;

use super::logs::{Logs, NoFork, check_fork};
use crate::entry::IdText;
use crate::evidence::Evidence;
use crate::list::ObjectList;
use crate::names::RepositoryName;
use crate::receipt::VerifiedReceipt;

/// A snapshot, and all that it needs, as its owner knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Wanted {
    /// The snapshot.
    pub snapshot: Id,
    /// Root of the list of the objects that it needs.
    pub list: Id,
}

impl Wanted {
    /// A snapshot with these objects.
    pub fn new(snapshot: Id, list: &ObjectList) -> Self {
        Self {
            snapshot,
            list: Id::from_bytes(*list.root().as_bytes()),
        }
    }
}

/// A custodian that signs, as it was met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pin {
    pub(super) identity: VerifierKey,
    pub(super) repository: RepositoryName,
}

/// What counts of a receipt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SealFact {
    pub(super) identity: VerifierKey,
    pub(super) repository: RepositoryName,
    pub(super) list: Option<IdText>,
    pub(super) index: u64,
    pub(super) time: u64,
    pub(super) until: u64,
    pub(super) verified: u64,
    pub(super) cosigners: Vec<VerifierKey>,
}

impl SealFact {
    pub(super) fn of(receipt: &VerifiedReceipt) -> Self {
        let seal = receipt.seal();
        let cosignatures = receipt.proof().checkpoint().cosignatures();
        Self {
            identity: receipt.custodian().clone(),
            repository: seal.repository.clone(),
            list: seal.list,
            index: receipt.proof().index(),
            time: receipt.time(),
            until: seal.until,
            verified: seal.verified,
            cosigners: cosignatures.iter().map(|of| of.witness.clone()).collect(),
        }
    }
}

/// What is known of one custodian.
#[derive(Debug, Clone, Default)]
pub(super) struct CustodianFacts {
    pub(super) pin: Option<Pin>,
    pub(super) seals: HashMap<Id, Vec<SealFact>>,
    pub(super) evidence: HashMap<Id, Vec<Evidence>>,
}

/// Everything that is known of one repository at its custodians.
///
/// Receipts come in verified; what they show of their logs is kept and compared, so that whoever
/// signed two pasts counts for nothing any more.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    pub(super) custodians: HashMap<String, CustodianFacts>,
    pub(super) logs: Logs,
}

impl Facts {
    /// Nothing is known.
    pub fn new() -> Self {
        Self::default()
    }

    /// The custodian signs, with this identity, for the repository of this name. A custodian without
    /// a pin can only show evidence, one with a pin is believed its signature only.
    pub fn pin(&mut self, custodian: &str, identity: VerifierKey, repository: RepositoryName) {
        self.of(custodian).pin = Some(Pin {
            identity,
            repository,
        });
    }

    /// Adds a receipt that is said to be of this custodian. Whether it is, the verdict finds out.
    pub fn add_receipt(&mut self, custodian: &str, receipt: &VerifiedReceipt) {
        self.logs.add_receipt(receipt);
        let fact = SealFact::of(receipt);
        self.add_fact(custodian, receipt.seal().snapshot.0, fact);
    }

    pub(super) fn add_fact(&mut self, custodian: &str, snapshot: Id, fact: SealFact) {
        let seals = &mut self.of(custodian).seals;
        seals.entry(snapshot).or_default().push(fact);
    }

    /// Adds evidence.
    pub fn add_evidence(&mut self, evidence: Evidence) {
        let found = &mut self.of(&evidence.custodian).evidence;
        found.entry(evidence.snapshot.0).or_default().push(evidence);
    }

    /// Adds a state of the log with this identity that somebody saw. A log that shows two roots of one
    /// size is not believed any more.
    pub fn add_checkpoint(&mut self, identity: &VerifierKey, seen: &VerifiedCheckpoint) {
        self.logs.add_checkpoint(identity, seen);
    }

    /// Adds the proof that a log has two pasts: two checkpoints that it signed, the root `shown` of
    /// the first entries of the larger, and the proof that these are its first entries. For two
    /// checkpoints of one size the last two are not looked at.
    ///
    /// # Errors
    /// [`NoFork`] if that is not shown; the log is believed as before then.
    pub fn add_fork(
        &mut self,
        identity: &VerifierKey,
        smaller: &VerifiedCheckpoint,
        larger: &VerifiedCheckpoint,
        shown: &Hash,
        proof: &[Hash],
    ) -> Result<(), NoFork> {
        if smaller.checkpoint().origin != identity.name() {
            return Err(NoFork::OtherLog);
        }
        check_fork(smaller, larger, shown, proof)?;
        self.logs.distrust(identity);
        Ok(())
    }

    /// Believes nothing any more that this identity signed, since the caller found out elsewhere that
    /// its log has two pasts.
    pub fn distrust(&mut self, identity: &VerifierKey) {
        self.logs.distrust(identity);
    }

    /// Whether what this identity signed is believed.
    pub fn is_distrusted(&self, identity: &VerifierKey) -> bool {
        self.logs.is_forked(identity)
    }

    fn of(&mut self, custodian: &str) -> &mut CustodianFacts {
        // Names repeat a lot, so one that is there is not copied.
        if !self.custodians.contains_key(custodian) {
            let facts = CustodianFacts::default();
            self.custodians.insert(custodian.to_owned(), facts);
        }
        self.custodians.entry(custodian.to_owned()).or_default()
    }
}
