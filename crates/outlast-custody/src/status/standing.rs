//! How one custodian stands to one snapshot.

use std::fmt;

use outlast_log::VerifierKey;
use serde::Serialize;

use super::facts::{CustodianFacts, Facts, Pin, SealFact, Wanted};
use crate::evidence::{Evidence, EvidenceKind};
use crate::policy::Policy;

/// How far the clocks of others may be ahead, seconds. What is dated later counts for nothing: its
/// hold may end sooner than it says.
const AHEAD_SECONDS_MAX: u64 = 3600;

/// How a custodian stands to a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It counts.
    Counts(Counts),
    /// It does not.
    Missing(Why),
}

impl Standing {
    /// What it counts by, if it does.
    pub fn counts(&self) -> Option<&Counts> {
        match self {
            Self::Counts(counts) => Some(counts),
            Self::Missing(_) => None,
        }
    }
}

/// A custodian counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// It counts until then if nothing is renewed, seconds since 1970.
    pub until: u64,
    /// It is bound to keep everything until then, seconds since 1970. For what binds nobody, such as
    /// a disk, the same as `until`.
    pub held_until: u64,
    /// By what.
    pub proof: Proof,
}

/// What a custodian counts by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Proof {
    /// A receipt.
    Receipt {
        /// The index of the seal in the custodian's log.
        index: u64,
        /// When it was made, by the custodian's time, seconds since 1970.
        time: u64,
        /// The oldest reading of its objects, likewise.
        verified: u64,
        /// How many parties cosigned, the custodian's own not counted.
        cosignatures: u32,
    },
    /// Evidence.
    Evidence {
        /// What was done.
        kind: EvidenceKind,
        /// When, seconds since 1970.
        observed: u64,
    },
}

/// Why a custodian does not count. The order is how near it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// Nothing is known there of this snapshot: no receipt, where it signs.
    NoReceipt,
    /// The same where it does not sign.
    NoEvidence,
    /// Signed by another identity than the pinned one.
    OtherIdentity,
    /// For another repository.
    OtherRepository,
    /// For other objects than those that the snapshot needs.
    OtherList,
    /// The policy lets this kind of evidence not count.
    KindNotCounted(EvidenceKind),
    /// Another custodian has the same identity, so they are one; the other one, by number, counts.
    SameAs(usize),
    /// Its log has two pasts: nothing that it signed is believed.
    Forked,
    /// Dated in the future.
    FromTheFuture {
        /// When it claims to be made, seconds since 1970.
        time: u64,
    },
    /// The hold or the retention has ended.
    Ended {
        /// When, seconds since 1970; none where nothing retains the objects.
        until: Option<u64>,
    },
    /// Too few witnesses have cosigned.
    Unwitnessed {
        /// How many parties have.
        have: u32,
        /// How many must.
        need: u32,
    },
    /// No test showed lately that nobody can remove anything.
    Untested {
        /// When one last did, seconds since 1970.
        tested: Option<u64>,
    },
    /// The objects were last read too long ago.
    Stale {
        /// When, seconds since 1970.
        observed: u64,
    },
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoReceipt => "no receipt",
            Self::NoEvidence => "nothing was read back from it",
            Self::OtherIdentity => "the receipt is signed by somebody else",
            Self::OtherRepository => "the receipt is for another repository",
            Self::OtherList => "it is shown for other objects than the snapshot needs",
            Self::KindNotCounted(EvidenceKind::Retention) => {
                "retention that was read back does not count by the policy"
            }
            Self::KindNotCounted(EvidenceKind::Disk) => "disks do not count by the policy",
            Self::KindNotCounted(EvidenceKind::Directory) => {
                "directories do not count by the policy"
            }
            Self::SameAs(_) => "it has the identity of another custodian, so it is the same",
            Self::Forked => "its log has two pasts: nothing that it signed is believed",
            Self::FromTheFuture { .. } => "what it shows is dated in the future",
            Self::Ended { until: None } => "nothing retains the objects",
            Self::Ended { until: Some(_) } => "the hold has ended",
            Self::Unwitnessed { .. } => "too few witnesses have cosigned the receipt",
            Self::Untested { .. } => "no test showed lately that nobody can remove anything",
            Self::Stale { .. } => "the objects were last read too long ago",
        })
    }
}

/// Judges custodians, one snapshot at a time.
pub(super) struct Judge<'a> {
    policy: &'a Policy,
    now: u64,
    /// What is known of each custodian, in the order of the policy.
    facts: Vec<Option<&'a CustodianFacts>>,
    /// The custodian before it that has the same identity, likewise.
    same: Vec<Option<usize>>,
    forked: Vec<bool>,
}

impl<'a> Judge<'a> {
    pub(super) fn new(policy: &'a Policy, facts: &'a Facts, now: u64) -> Self {
        let of: Vec<_> = policy
            .custodians()
            .iter()
            .map(|custodian| facts.custodians.get(custodian.name()))
            .collect();
        let identity = |number: usize| Some(&of[number]?.pin.as_ref()?.identity);
        let same = (0..of.len()).map(|number| {
            let own = identity(number)?;
            (0..number).find(|before| identity(*before) == Some(own))
        });
        let forked = (0..of.len())
            .map(|number| identity(number).is_some_and(|identity| facts.logs.is_forked(identity)));
        Self {
            policy,
            now,
            same: same.collect(),
            forked: forked.collect(),
            facts: of,
        }
    }

    pub(super) fn standing(&self, number: usize, wanted: &Wanted) -> Standing {
        let facts = self.facts[number];
        let pin = facts.and_then(|facts| facts.pin.as_ref());
        let judged: Vec<Result<Counts, Why>> = match (facts, pin) {
            (Some(facts), Some(pin)) => {
                let seals = facts.seals.get(&wanted.snapshot).into_iter().flatten();
                seals
                    .map(|seal| self.judge_seal(number, pin, seal, wanted))
                    .collect()
            }
            (Some(facts), None) => {
                let found = facts.evidence.get(&wanted.snapshot).into_iter().flatten();
                found
                    .map(|found| self.judge_evidence(found, wanted))
                    .collect()
            }
            (None, _) => Vec::new(),
        };
        let best = judged.iter().filter_map(|of| of.as_ref().ok());
        if let Some(counts) = best.max_by_key(|counts| (counts.until, counts.held_until)) {
            return Standing::Counts(*counts);
        }
        let nothing = if pin.is_some() {
            Why::NoReceipt
        } else {
            Why::NoEvidence
        };
        let nearest = judged.into_iter().filter_map(Result::err).max();
        Standing::Missing(nearest.unwrap_or(nothing))
    }

    fn judge_seal(
        &self,
        number: usize,
        pin: &Pin,
        seal: &SealFact,
        wanted: &Wanted,
    ) -> Result<Counts, Why> {
        if seal.identity != pin.identity {
            return Err(Why::OtherIdentity);
        }
        if seal.repository != pin.repository {
            return Err(Why::OtherRepository);
        }
        // A seal of everything names no objects, so it does not show that those needed are there.
        if seal.list.is_none_or(|list| list.0 != wanted.list) {
            return Err(Why::OtherList);
        }
        if let Some(other) = self.same[number] {
            return Err(Why::SameAs(other));
        }
        if self.forked[number] {
            return Err(Why::Forked);
        }
        self.check_date(seal.time.max(seal.verified))?;
        if seal.until <= self.now {
            let until = Some(seal.until);
            return Err(Why::Ended { until });
        }
        let have = self.cosigning_parties(number, &seal.cosigners);
        let need = self.policy.text().cosignatures_min;
        if have < need {
            return Err(Why::Unwitnessed { have, need });
        }
        let fresh_until = seal
            .verified
            .saturating_add(self.policy.verified_seconds_max());
        if fresh_until <= self.now {
            let observed = seal.verified;
            return Err(Why::Stale { observed });
        }
        Ok(Counts {
            until: seal.until.min(fresh_until),
            held_until: seal.until,
            proof: Proof::Receipt {
                index: seal.index,
                time: seal.time,
                verified: seal.verified,
                cosignatures: have,
            },
        })
    }

    fn judge_evidence(&self, evidence: &Evidence, wanted: &Wanted) -> Result<Counts, Why> {
        if evidence.list.0 != wanted.list {
            return Err(Why::OtherList);
        }
        let age_max = self.policy.evidence_seconds_max(evidence.kind);
        let age_max = age_max.ok_or(Why::KindNotCounted(evidence.kind))?;
        self.check_date(evidence.observed)?;
        let fresh_until = evidence.observed.saturating_add(age_max);
        let mut counts = Counts {
            until: fresh_until,
            held_until: fresh_until,
            proof: Proof::Evidence {
                kind: evidence.kind,
                observed: evidence.observed,
            },
        };
        if evidence.kind == EvidenceKind::Retention {
            let until = evidence.retained_until;
            let held_until = until
                .filter(|until| *until > self.now)
                .ok_or(Why::Ended { until })?;
            let tested_until = self.tested_until(evidence)?;
            counts.held_until = held_until;
            counts.until = fresh_until.min(held_until).min(tested_until);
        }
        if fresh_until <= self.now {
            let observed = evidence.observed;
            return Err(Why::Stale { observed });
        }
        Ok(counts)
    }

    /// Until when the last tamper test counts, if one is demanded.
    fn tested_until(&self, evidence: &Evidence) -> Result<u64, Why> {
        let Some(age_max) = self.policy.tamper_test_seconds_max() else {
            return Ok(u64::MAX);
        };
        let tested = evidence.tamper_tested;
        let untested = Why::Untested { tested };
        let at = tested.ok_or(untested)?;
        self.check_date(at)?;
        let until = at.saturating_add(age_max);
        if until <= self.now {
            return Err(untested);
        }
        Ok(until)
    }

    fn check_date(&self, time: u64) -> Result<(), Why> {
        if time > self.now.saturating_add(AHEAD_SECONDS_MAX) {
            return Err(Why::FromTheFuture { time });
        }
        Ok(())
    }

    /// How many parties cosigned, other than the custodian's own and those it is one with.
    fn cosigning_parties(&self, number: usize, cosigners: &[VerifierKey]) -> u32 {
        let party = self.policy.custodians()[number].party();
        let own = self.policy.custodians().iter();
        let own = own.filter(|custodian| custodian.party() == party);
        let own: Vec<_> = own.map(|custodian| &custodian.text().party).collect();
        let mut parties: Vec<_> = self
            .policy
            .witnesses()
            .iter()
            .filter(|witness| cosigners.contains(&witness.key))
            .map(|witness| &witness.party)
            .filter(|party| !own.contains(party))
            .collect();
        parties.sort_unstable();
        parties.dedup();
        u32::try_from(parties.len()).unwrap_or(u32::MAX)
    }
}
