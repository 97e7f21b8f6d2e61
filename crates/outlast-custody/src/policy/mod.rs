//! Which parties must have vouched for a snapshot before it is safe.
//!
//! The idea of the grammar is that of C2SP's tlog-policy: custodians, groups of which so many must
//! vouch, one group that is required. Parties are counted, not servers: a party that runs several
//! custodians counts once, in nested groups too.

mod parties;
mod quorums;
mod text;

use std::collections::{BTreeMap, BTreeSet};

use outlast_log::{KeyKind, VerifierKey};
use serde::Deserialize;

use crate::evidence::EvidenceKind;
use parties::parties_of;
pub use quorums::CUSTODIANS_MAX;
pub(crate) use quorums::Custodians;
use quorums::{Way, choose};
pub use text::{
    CredentialText, CustodianText, EvidenceText, GroupText, HostText, Need, PolicyText, Power,
    ReadingText, RetentionText, WitnessText,
};

/// Fewest parties that may suffice: one alone is what backups must not rest on.
pub const PARTIES_MIN: u32 = 2;
/// Most groups of a policy.
const GROUPS_MAX: usize = 64;
/// Longest name, in bytes.
const NAME_BYTES_MAX: usize = 128;
/// The group of a policy that nobody wrote.
const DEFAULT_GROUP: &str = "two parties";
const DAY_SECONDS: u64 = 86_400;

/// Why a policy is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// A name that is empty, too long or has control characters.
    #[error("{0:?} is no name: use 1 to {NAME_BYTES_MAX} bytes without control characters")]
    Name(String),
    /// A name without a meaning.
    #[error("{by} names {name:?}, which is neither a custodian nor a group")]
    Unknown {
        /// Where it is named.
        by: String,
        /// What is unknown.
        name: String,
    },
    /// A custodian or host that does not exist.
    #[error("the credential {credential:?} names the {what} {name:?}, which is not in the policy")]
    UnknownOfCredential {
        /// The credential.
        credential: String,
        /// `custodian` or `host`.
        what: &'static str,
        /// The unknown name.
        name: String,
    },
    /// A credential that must be for a custodian and is not, or the reverse.
    #[error(
        "the credential {0:?} must name the custodian that it is for, and the key of a repository none"
    )]
    Credential(String),
    /// A custodian and a group of one name.
    #[error("{0:?} is the name of a custodian and of a group")]
    SameName(String),
    /// A group that contains itself.
    #[error("the group {0:?} contains itself")]
    Cycle(String),
    /// A member that is named twice, in one group or in several.
    #[error("{0:?} is a member of groups more than once; a vote is counted once")]
    Twice(String),
    /// A group that has no effect.
    #[error("the group {0:?} is not part of the required group, so it would have no effect")]
    Unused(String),
    /// More are needed than there are, or none.
    #[error("the group {group:?} needs {need} of {members} members")]
    Need {
        /// The group.
        group: String,
        /// How many it needs.
        need: u32,
        /// How many it has.
        members: usize,
    },
    /// More are needed than there are parties.
    #[error(
        "the group {group:?} needs {need} parties and can never have them: its members are of {}",
        known(parties)
    )]
    TooFewParties {
        /// The group.
        group: String,
        /// How many members it needs.
        need: u32,
        /// The parties that there are. Custodians that share a network, an administration or an
        /// account are one.
        parties: Vec<String>,
    },
    /// One party would do.
    #[error(
        "the required {0:?} would be satisfied by one party alone; at least {PARTIES_MIN} must be needed"
    )]
    OneParty(String),
    /// Too many custodians or groups.
    #[error("a policy has at most {max} {what}")]
    TooMany {
        /// What there are too many of.
        what: &'static str,
        /// The limit.
        max: usize,
    },
    /// Too many ways to satisfy a group.
    #[error("there are too many ways to satisfy the group {0:?}")]
    TooComplex(String),
    /// A key that is none of a witness, or that another one has.
    #[error(
        "the key of the witness {0:?} is no key of a witness, or another one's: it reads name+id+base64"
    )]
    WitnessKey(String),
    /// More cosignatures are demanded than anybody could give.
    #[error("{need} cosignatures are demanded, and the witnesses are of {parties} parties")]
    Cosignatures {
        /// How many are demanded.
        need: u32,
        /// Parties of witnesses.
        parties: usize,
    },
}

fn known(parties: &[String]) -> String {
    match parties {
        [] => "no party".to_owned(),
        [one] => format!("one party ({one})"),
        many => format!("{} parties ({})", many.len(), many.join("; ")),
    }
}

/// A custodian of a valid policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyCustodian {
    name: String,
    text: CustodianText,
    party: usize,
}

impl PolicyCustodian {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What was written of it.
    pub fn text(&self) -> &CustodianText {
        &self.text
    }

    /// The number of its party: custodians with the same number count once.
    pub fn party(&self) -> usize {
        self.party
    }
}

/// A witness of a valid policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyWitness {
    /// Who answers for it.
    pub party: String,
    /// Its key.
    pub key: VerifierKey,
}

/// A policy that makes sense. Only parsing makes one.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "PolicyText")]
pub struct Policy {
    text: PolicyText,
    custodians: Vec<PolicyCustodian>,
    parties: Vec<String>,
    witnesses: Vec<PolicyWitness>,
    quorums: Vec<Custodians>,
}

impl TryFrom<PolicyText> for Policy {
    type Error = PolicyError;

    fn try_from(text: PolicyText) -> Result<Self, PolicyError> {
        Self::parse(text)
    }
}

impl Policy {
    /// Checks a policy as written.
    ///
    /// # Errors
    /// [`PolicyError`], with the first thing that is wrong.
    pub fn parse(text: PolicyText) -> Result<Self, PolicyError> {
        let quorums = {
            check_names(&text)?;
            check_credentials(&text)?;
            check_members(&text)?;
            let all: Vec<_> = text.custodians.values().collect();
            let (numbers, parties) = parties_of(&all);
            let resolver = Resolver {
                text: &text,
                numbers: &numbers,
                parties: &parties,
            };
            resolver.ways("require", &text.require)?
        };
        let quorums: Vec<_> = quorums.into_iter().map(|way| way.custodians).collect();
        if quorums
            .iter()
            .any(|quorum| quorum.count_ones() < PARTIES_MIN)
        {
            return Err(PolicyError::OneParty(text.require));
        }
        Self::with_quorums(text, quorums)
    }

    /// The policy of who wrote none: two parties of all custodians. It stands, and nothing is safe
    /// by it, where there are fewer.
    ///
    /// # Errors
    /// [`PolicyError::Name`], [`PolicyError::TooMany`].
    pub fn two_parties(
        custodians: BTreeMap<String, CustodianText>,
        evidence: EvidenceText,
    ) -> Result<Self, PolicyError> {
        let of: Vec<_> = custodians.keys().cloned().collect();
        let group = GroupText {
            need: Need::Number(PARTIES_MIN),
            of,
        };
        let mut name = DEFAULT_GROUP.to_owned();
        while custodians.contains_key(&name) {
            name.push('.');
        }
        let text = PolicyText {
            require: name.clone(),
            verified_days_max: text::VERIFIED_DAYS_MAX,
            cosignatures_min: 0,
            custodians,
            groups: BTreeMap::from([(name, group)]),
            evidence,
            witnesses: BTreeMap::new(),
            hosts: BTreeMap::new(),
            credentials: BTreeMap::new(),
        };
        match Self::parse(text.clone()) {
            Err(PolicyError::TooFewParties { .. } | PolicyError::Need { .. }) => {
                Self::with_quorums(text, Vec::new())
            }
            outcome => outcome,
        }
    }

    fn with_quorums(text: PolicyText, quorums: Vec<Custodians>) -> Result<Self, PolicyError> {
        let all: Vec<_> = text.custodians.values().collect();
        let (numbers, parties) = parties_of(&all);
        let custodians = text.custodians.iter().zip(numbers);
        let custodians = custodians.map(|((name, of), party)| PolicyCustodian {
            name: name.clone(),
            text: of.clone(),
            party,
        });
        Ok(Self {
            custodians: custodians.collect(),
            parties,
            witnesses: witnesses(&text)?,
            quorums,
            text,
        })
    }

    /// The policy as it was written.
    pub fn text(&self) -> &PolicyText {
        &self.text
    }

    /// The custodians, by name. Everywhere else their number is their place here.
    pub fn custodians(&self) -> &[PolicyCustodian] {
        &self.custodians
    }

    /// The number of the custodian with this name.
    pub fn number_of(&self, custodian: &str) -> Option<usize> {
        self.custodians
            .binary_search_by(|of| of.name.as_str().cmp(custodian))
            .ok()
    }

    /// The parties, each with all the names that it goes by.
    pub fn parties(&self) -> &[String] {
        &self.parties
    }

    /// The witnesses, with whose keys receipts are to be verified.
    pub fn witnesses(&self) -> &[PolicyWitness] {
        &self.witnesses
    }

    /// How old the oldest reading of a receipt's objects may be, seconds.
    pub fn verified_seconds_max(&self) -> u64 {
        u64::from(self.text.verified_days_max) * DAY_SECONDS
    }

    /// How old evidence of this kind may be, seconds; none where it does not count at all.
    pub fn evidence_seconds_max(&self, kind: EvidenceKind) -> Option<u64> {
        let evidence = &self.text.evidence;
        let days = match kind {
            EvidenceKind::Retention => evidence.retention.as_ref().map(|rule| rule.age_days_max),
            EvidenceKind::Disk => evidence.disk.as_ref().map(|rule| rule.age_days_max),
            EvidenceKind::Directory => evidence.directory.as_ref().map(|rule| rule.age_days_max),
        };
        days.map(|days| u64::from(days) * DAY_SECONDS)
    }

    /// How long ago a bucket's last tamper test may be, seconds; none where no test is demanded.
    pub fn tamper_test_seconds_max(&self) -> Option<u64> {
        let retention = self.text.evidence.retention.as_ref()?;
        let days = retention.tamper_test_days_max?;
        Some(u64::from(days) * DAY_SECONDS)
    }

    /// All the sets of custodians that suffice, each as bits by number.
    pub(crate) fn quorums(&self) -> &[Custodians] {
        &self.quorums
    }
}

fn check_names(text: &PolicyText) -> Result<(), PolicyError> {
    let too_many = |what, max| Err(PolicyError::TooMany { what, max });
    if text.custodians.len() > CUSTODIANS_MAX {
        return too_many("custodians", CUSTODIANS_MAX);
    }
    if text.groups.len() > GROUPS_MAX {
        return too_many("groups", GROUPS_MAX);
    }
    let shared = text.custodians.values().flat_map(|custodian| {
        [
            Some(&custodian.party),
            custodian.network.as_ref(),
            custodian.administration.as_ref(),
            custodian.account.as_ref(),
        ]
    });
    let of_hosts = text
        .hosts
        .values()
        .flat_map(|host| [host.party.as_ref(), host.network.as_ref()]);
    let names = text.custodians.keys().chain(text.groups.keys());
    let names = names
        .chain(text.hosts.keys())
        .chain(text.credentials.keys());
    let names = names.chain(text.witnesses.values().map(|witness| &witness.party));
    for name in names.chain(shared.flatten()).chain(of_hosts.flatten()) {
        let plain = name.trim() == name && !name.chars().any(char::is_control);
        if name.is_empty() || name.len() > NAME_BYTES_MAX || !plain {
            return Err(PolicyError::Name(
                name.chars().take(NAME_BYTES_MAX).collect(),
            ));
        }
    }
    match text
        .groups
        .keys()
        .find(|name| text.custodians.contains_key(*name))
    {
        Some(name) => Err(PolicyError::SameName(name.clone())),
        None => Ok(()),
    }
}

fn check_credentials(text: &PolicyText) -> Result<(), PolicyError> {
    for (name, credential) in &text.credentials {
        let unknown = |what, of: &String| PolicyError::UnknownOfCredential {
            credential: name.clone(),
            what,
            name: of.clone(),
        };
        if credential.custodian.is_none() != (credential.power == Power::RepositoryKey) {
            return Err(PolicyError::Credential(name.clone()));
        }
        if let Some(custodian) = &credential.custodian
            && !text.custodians.contains_key(custodian)
        {
            return Err(unknown("custodian", custodian));
        }
        if let Some(host) = credential
            .hosts
            .iter()
            .find(|host| !text.hosts.contains_key(*host))
        {
            return Err(unknown("host", host));
        }
    }
    Ok(())
}

/// Checks that members exist, each once, that no group contains itself and that none is unused.
fn check_members(text: &PolicyText) -> Result<(), PolicyError> {
    if !text.custodians.contains_key(&text.require) && !text.groups.contains_key(&text.require) {
        return Err(PolicyError::Unknown {
            by: "require".to_owned(),
            name: text.require.clone(),
        });
    }
    let mut seen = BTreeSet::new();
    for (name, group) in &text.groups {
        for member in &group.of {
            if !text.custodians.contains_key(member) && !text.groups.contains_key(member) {
                return Err(PolicyError::Unknown {
                    by: format!("the group {name:?}"),
                    name: member.clone(),
                });
            }
            if !seen.insert(member) {
                return Err(PolicyError::Twice(member.clone()));
            }
        }
    }
    // Since no group is a member twice, to go up from a group is one path, which ends or goes round.
    let above: BTreeMap<&str, &str> = text
        .groups
        .iter()
        .flat_map(|(name, group)| group.of.iter().map(move |of| (of.as_str(), name.as_str())))
        .collect();
    for start in text.groups.keys() {
        let mut at = start.as_str();
        for _ in 0..=text.groups.len() {
            match above.get(at) {
                Some(group) if *group == start => return Err(PolicyError::Cycle(start.clone())),
                Some(group) => at = group,
                None => break,
            }
        }
    }
    for start in text.groups.keys() {
        let mut at = start.as_str();
        while at != text.require {
            let group = above.get(at);
            at = group.ok_or_else(|| PolicyError::Unused(start.clone()))?;
        }
    }
    Ok(())
}

fn witnesses(text: &PolicyText) -> Result<Vec<PolicyWitness>, PolicyError> {
    let mut witnesses = Vec::new();
    for (name, witness) in &text.witnesses {
        let wrong = || PolicyError::WitnessKey(name.clone());
        let key: VerifierKey = witness.key.parse().map_err(|_| wrong())?;
        // One key under two names would count twice.
        let is_known = witnesses.iter().any(|of: &PolicyWitness| of.key == key);
        if key.kind() != KeyKind::Cosignature || is_known {
            return Err(wrong());
        }
        witnesses.push(PolicyWitness {
            party: witness.party.clone(),
            key,
        });
    }
    let parties: BTreeSet<_> = text.witnesses.values().map(|of| &of.party).collect();
    let need = text.cosignatures_min;
    if usize::try_from(need).is_ok_and(|need| need <= parties.len()) {
        return Ok(witnesses);
    }
    Err(PolicyError::Cosignatures {
        need,
        parties: parties.len(),
    })
}

/// Finds the ways to satisfy groups of a policy whose members have been checked.
struct Resolver<'a> {
    text: &'a PolicyText,
    numbers: &'a [usize],
    parties: &'a [String],
}

impl Resolver<'_> {
    fn ways(&self, by: &str, name: &str) -> Result<Vec<Way>, PolicyError> {
        if let Some(number) = self.text.custodians.keys().position(|of| of == name) {
            return Ok(vec![Way::of_custodian(number, self.numbers[number])]);
        }
        let Some(group) = self.text.groups.get(name) else {
            return Err(PolicyError::Unknown {
                by: by.to_owned(),
                name: name.to_owned(),
            });
        };
        let members = group.of.len();
        let all = u32::try_from(members).unwrap_or(u32::MAX);
        let need = match group.need {
            Need::Any => 1,
            Need::All => all,
            Need::Number(need) => need,
        };
        if need == 0 || need > all {
            return Err(PolicyError::Need {
                group: name.to_owned(),
                need,
                members,
            });
        }
        // Groups are a tree of at most so many, so this ends.
        let of = group.of.iter().map(|member| self.ways(name, member));
        let of = of.collect::<Result<Vec<_>, _>>()?;
        let ways = choose(name, usize::try_from(need).unwrap_or(members), &of)?;
        if ways.is_empty() {
            let mut parties = BTreeSet::new();
            self.parties_below(name, &mut parties);
            return Err(PolicyError::TooFewParties {
                group: name.to_owned(),
                need,
                parties: parties.into_iter().collect(),
            });
        }
        Ok(ways)
    }

    fn parties_below(&self, name: &str, found: &mut BTreeSet<String>) {
        if let Some(number) = self.text.custodians.keys().position(|of| of == name) {
            found.insert(self.parties[self.numbers[number]].clone());
        }
        for member in self
            .text
            .groups
            .get(name)
            .iter()
            .flat_map(|group| &group.of)
        {
            self.parties_below(member, found);
        }
    }
}

#[cfg(test)]
mod tests;
