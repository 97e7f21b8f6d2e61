//! What the loss of any party, network, machine or credential would destroy and expose.
//!
//! The answer is an upper bound: whoever holds what is named destroys at most what is said, and what is
//! said to remain does remain. So everything that is not known counts as the worst that it could be.

mod findings;
mod world;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::policy::{Policy, Power};
pub use findings::Finding;
use world::reach;
pub use world::{Attack, Credential, CustodianKind, Known, Loss, SnapshotCopy};

/// Something that somebody else may come to hold, with all that follows from it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case", tag = "what", content = "name")]
pub enum Subject {
    /// A party: all its custodians and machines.
    Party(String),
    /// A network: all custodians and machines in it, from their consoles.
    Network(String),
    /// A machine: all credentials that it has.
    Host(String),
    /// A credential.
    Credential(String),
}

/// What is left of a data set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Remains {
    /// The custodians, by number, that still have a snapshot of it.
    pub custodians: Vec<usize>,
    /// The moment of the newest snapshot that is left, seconds since 1970.
    pub newest: Option<u64>,
    /// That of the oldest.
    pub oldest: Option<u64>,
    /// How long it takes to read the newest one from the fastest custodian that has it, seconds; none
    /// where nothing is left or no rate is declared.
    pub restore_seconds: Option<u64>,
}

/// What follows from the loss of some subjects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// What is lost to somebody.
    pub taken: Vec<Subject>,
    /// What is destroyed at each custodian, by number.
    pub losses: Vec<Loss>,
    /// The custodians, by number, whose ciphertext is read.
    pub ciphertext: Vec<usize>,
    /// Those of them whose copies are readable, since the key is taken as well.
    pub readable: Vec<usize>,
    /// What is left of each data set, in the order of the table.
    pub remains: Vec<Remains>,
}

impl Outcome {
    /// The data sets, by number, of which there were copies and nothing is left.
    pub fn gone(&self) -> impl Iterator<Item = usize> {
        let remains = self.remains.iter().enumerate();
        remains.filter_map(|(number, of)| of.newest.is_none().then_some(number))
    }
}

/// The whole answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Table {
    /// The data sets, by name.
    pub data_sets: Vec<String>,
    /// Every subject alone, then every pair.
    pub outcomes: Vec<Outcome>,
    /// What should be changed.
    pub findings: Vec<Finding>,
}

/// Computes what the loss of every subject, and of every pair of them, means.
///
/// Credentials are those that the policy declares and `discovered` besides. A custodian whose kind is
/// not given counts as the weakest.
pub fn survivability(
    policy: &Policy,
    kinds: &BTreeMap<String, CustodianKind>,
    copies: &[SnapshotCopy],
    discovered: &[Credential],
    attack: Attack,
) -> Table {
    Survey::new(policy, kinds, copies, discovered, attack).table()
}

/// What a custodian has of a data set.
#[derive(Debug, Clone, Copy, Default)]
struct Kept {
    /// Moments of the oldest and newest snapshot, and the size of the newest.
    all: Option<Span>,
    /// The same of those that are held beyond the attack.
    held: Option<Span>,
}

#[derive(Debug, Clone, Copy)]
struct Span {
    oldest: u64,
    newest: u64,
    bytes: u64,
}

impl Span {
    fn with(span: Option<Self>, copy: &SnapshotCopy) -> Self {
        let (moment, bytes) = (copy.moment, copy.bytes);
        let mut span = span.unwrap_or(Self {
            oldest: moment,
            newest: moment,
            bytes,
        });
        span.oldest = span.oldest.min(moment);
        if moment > span.newest {
            (span.newest, span.bytes) = (moment, bytes);
        } else if moment == span.newest {
            span.bytes = span.bytes.max(bytes);
        }
        span
    }
}

/// Everything that is known, arranged so that any set of subjects is looked up quickly.
pub struct Survey<'a> {
    policy: &'a Policy,
    kinds: Vec<CustodianKind>,
    credentials: Vec<Credential>,
    data_sets: Vec<String>,
    /// What each custodian has of each data set.
    kept: Vec<Vec<Kept>>,
    attack: Attack,
}

impl<'a> Survey<'a> {
    /// Arranges what is known; see [`survivability`].
    pub fn new(
        policy: &'a Policy,
        kinds: &BTreeMap<String, CustodianKind>,
        copies: &[SnapshotCopy],
        discovered: &[Credential],
        attack: Attack,
    ) -> Self {
        let declared = policy.text().credentials.iter();
        let declared = declared.map(|(name, text)| Credential::declared(name, text));
        let names: BTreeSet<&str> = copies.iter().map(|copy| copy.data_set.as_str()).collect();
        let numbers: BTreeMap<&str, usize> = names.iter().copied().zip(0..).collect();
        let mut kept = vec![vec![Kept::default(); names.len()]; policy.custodians().len()];
        for copy in copies {
            let (Some(custodian), Some(set)) = (
                policy.number_of(&copy.custodian),
                numbers.get(copy.data_set.as_str()),
            ) else {
                continue;
            };
            let of = &mut kept[custodian][*set];
            of.all = Some(Span::with(of.all, copy));
            if copy.held_until.is_some_and(|until| until > attack.ends) {
                of.held = Some(Span::with(of.held, copy));
            }
        }
        let kinds = policy.custodians().iter().map(|custodian| {
            let kind = kinds.get(custodian.name());
            kind.copied().unwrap_or(CustodianKind::Directory)
        });
        Self {
            policy,
            kinds: kinds.collect(),
            credentials: declared.chain(discovered.iter().cloned()).collect(),
            data_sets: names.into_iter().map(str::to_owned).collect(),
            kept,
            attack,
        }
    }

    /// The names of the data sets, in order.
    pub fn data_sets(&self) -> &[String] {
        &self.data_sets
    }

    /// Everything that can be lost to somebody: parties, networks, machines, credentials.
    pub fn subjects(&self) -> Vec<Subject> {
        let text = self.policy.text();
        let mut parties: BTreeSet<_> = self.policy.parties().iter().cloned().collect();
        let mut networks = BTreeSet::new();
        let custodians = text.custodians.values();
        networks.extend(custodians.filter_map(|custodian| custodian.network.clone()));
        let mut hosts: BTreeSet<_> = text.hosts.keys().cloned().collect();
        for host in text.hosts.values() {
            networks.extend(host.network.clone());
            let party = host.party.as_ref();
            parties.extend(party.filter(|party| !self.is_of_custodian(party)).cloned());
        }
        let of_credentials = self
            .credentials
            .iter()
            .flat_map(|of| of.hosts.iter().cloned());
        hosts.extend(of_credentials);
        let credentials: BTreeSet<_> = self.credentials.iter().map(|of| of.name.clone()).collect();
        let parties = parties.into_iter().map(Subject::Party);
        parties
            .chain(networks.into_iter().map(Subject::Network))
            .chain(hosts.into_iter().map(Subject::Host))
            .chain(credentials.into_iter().map(Subject::Credential))
            .collect()
    }

    /// What follows if all of these subjects are somebody's.
    pub fn outcome(&self, taken: &[Subject]) -> Outcome {
        let mut losses = vec![Loss::Nothing; self.kinds.len()];
        let mut ciphertext = BTreeSet::new();
        for (number, custodian) in self.policy.custodians().iter().enumerate() {
            let is_taken = taken.iter().any(|subject| match subject {
                Subject::Party(party) => self.policy.parties()[custodian.party()] == *party,
                Subject::Network(network) => custodian.text().network.as_ref() == Some(network),
                Subject::Host(_) | Subject::Credential(_) => false,
            });
            if is_taken {
                losses[number] = Loss::Everything;
                ciphertext.insert(number);
            }
        }
        let mut has_key = false;
        for credential in &self.credentials {
            if !self.is_stolen(credential, taken) {
                continue;
            }
            has_key |= credential.power == Power::RepositoryKey;
            let custodian = credential.custodian.as_ref();
            let Some(number) = custodian.and_then(|name| self.policy.number_of(name)) else {
                continue;
            };
            let (loss, reads) = reach(self.kinds[number], credential.power, self.attack);
            losses[number] = losses[number].max(loss);
            if reads {
                ciphertext.insert(number);
            }
        }
        let ciphertext: Vec<_> = ciphertext.into_iter().collect();
        let sets = 0..self.data_sets.len();
        Outcome {
            taken: taken.to_vec(),
            remains: sets.map(|set| self.remains(set, &losses)).collect(),
            losses,
            readable: if has_key {
                ciphertext.clone()
            } else {
                Vec::new()
            },
            ciphertext,
        }
    }

    /// The whole table.
    pub fn table(&self) -> Table {
        let subjects = self.subjects();
        let single = subjects.iter().map(std::slice::from_ref);
        let mut outcomes: Vec<_> = single.map(|subject| self.outcome(subject)).collect();
        for (number, one) in subjects.iter().enumerate() {
            for two in &subjects[number + 1..] {
                outcomes.push(self.outcome(&[one.clone(), two.clone()]));
            }
        }
        Table {
            data_sets: self.data_sets.clone(),
            findings: findings::of(self, &outcomes[..subjects.len()]),
            outcomes,
        }
    }

    /// Whether the party, by one of the names that custodians give, is one with custodians.
    fn is_of_custodian(&self, party: &str) -> bool {
        let mut custodians = self.policy.custodians().iter();
        custodians.any(|custodian| custodian.text().party == party)
    }

    /// Whether a machine of this party belongs to the taken party, which may go by several names.
    fn is_party(&self, party: &str, taken: &str) -> bool {
        let mut custodians = self.policy.custodians().iter();
        party == taken
            || custodians.any(|custodian| {
                custodian.text().party == party && self.policy.parties()[custodian.party()] == taken
            })
    }

    fn is_stolen(&self, credential: &Credential, taken: &[Subject]) -> bool {
        let hosts = &self.policy.text().hosts;
        taken.iter().any(|subject| match subject {
            Subject::Credential(name) => credential.name == *name,
            Subject::Host(host) => credential.hosts.contains(host),
            Subject::Network(network) => credential.hosts.iter().any(|host| {
                let text = hosts.get(host);
                text.is_some_and(|text| text.network.as_ref() == Some(network))
            }),
            Subject::Party(taken) => credential.hosts.iter().any(|host| {
                let party = hosts.get(host).and_then(|text| text.party.as_ref());
                party.is_some_and(|party| self.is_party(party, taken))
            }),
        })
    }

    fn remains(&self, set: usize, losses: &[Loss]) -> Remains {
        let left = losses.iter().enumerate().filter_map(|(number, loss)| {
            let kept = &self.kept[number][set];
            let span = match loss {
                Loss::Nothing => kept.all,
                Loss::NotHeld => kept.held,
                Loss::Everything => None,
            };
            Some((number, span?))
        });
        let left: Vec<_> = left.collect();
        let newest = left.iter().map(|(_, span)| span.newest).max();
        let with_newest = left.iter().filter(|(_, span)| Some(span.newest) == newest);
        let seconds = with_newest.filter_map(|(number, span)| {
            let text = self.policy.custodians()[*number].text();
            let rate = text.restore_bytes_per_second.filter(|rate| *rate > 0)?;
            Some(span.bytes.div_ceil(rate))
        });
        Remains {
            custodians: left.iter().map(|(number, _)| *number).collect(),
            newest,
            oldest: left.iter().map(|(_, span)| span.oldest).min(),
            restore_seconds: seconds.min(),
        }
    }
}

#[cfg(test)]
mod tests;
