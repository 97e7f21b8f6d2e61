//! What a world is made of, by its seed: custodians, parties, machines, credentials, a policy.

use std::collections::BTreeMap;

use outlast_custody::{
    Credential, CredentialText, CustodianText, EvidenceText, GroupText, HostText, Known, Need,
    Policy, PolicyError, PolicyText, Power, ReadingText, RetentionText, WitnessText,
};

use outlast_log::{SigningKey, cosigner_key};

use crate::failure::Failure;
use crate::place::Lock;
use crate::random::Random;

/// Machines that hold credentials.
const HOSTS: usize = 4;
/// The witness of the worlds that have one, and what its key is made of.
const WITNESS: &str = "witness.example";
const WITNESS_SEED: [u8; 32] = [11; 32];
/// Attempts at a policy that makes sense.
const ATTEMPTS: usize = 100;
/// The machine that is backed up, and has the tokens for that and the key.
pub const CLIENT_HOST: &str = "h0";

/// What a custodian is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A vault.
    Vault,
    /// A bucket.
    Bucket(Lock),
    /// A disk that is attached for a day, every so many days.
    Disk {
        /// How many.
        every_days: u64,
    },
    /// A directory.
    Directory,
}

/// Everything that is decided before the world begins.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The custodians in the order of the policy.
    pub kinds: Vec<Kind>,
    /// The policy.
    pub policy: Policy,
    /// Credentials that the policy does not declare.
    pub discovered: Vec<Credential>,
    /// Number of data sets.
    pub data_sets: usize,
    /// Days before the attack.
    pub days: u64,
    /// Days that the attack lasts; zero is a moment.
    pub attack_days: u64,
    /// How long holds and retention are, days.
    pub period_days: u64,
    /// How long a snapshot is kept from its making where retention is renewed, days.
    pub keep_days: u64,
    /// The machine that renews retention.
    pub renewer_host: String,
}

impl Plan {
    /// The plan of a seed.
    ///
    /// # Errors
    /// [`Failure::Simulation`] if no policy can be made up.
    pub fn new(random: &mut Random) -> Result<Self, Failure> {
        let count = random.between(2, 5);
        let count = usize::try_from(count).unwrap_or(2);
        let kinds: Vec<_> = (0..count).map(|_| kind(random)).collect();
        let mut policy = Err(PolicyError::OneParty(String::new()));
        for _ in 0..ATTEMPTS {
            policy = Policy::parse(policy_text(count, random)?);
            if policy.is_ok() {
                break;
            }
        }
        let text = policy.map_err(Failure::simulation)?.text().clone();
        let (declared, discovered) = credentials(&kinds, random);
        let policy = Policy::parse(PolicyText {
            credentials: declared,
            ..text
        });
        let period_days = random.between(6, 40);
        Ok(Self {
            kinds,
            policy: policy.map_err(Failure::simulation)?,
            discovered,
            data_sets: usize::try_from(random.between(1, 2)).unwrap_or(1),
            days: random.between(2, 14),
            attack_days: if random.chance(50) {
                0
            } else {
                random.between(1, period_days * 2)
            },
            period_days,
            keep_days: random.between(period_days, period_days * 2),
            renewer_host: host(random.place(HOSTS)),
        })
    }
}

/// The key of the witness.
///
/// # Errors
/// [`Failure::Simulation`].
pub fn witness() -> Result<SigningKey, Failure> {
    cosigner_key(WITNESS, &WITNESS_SEED).map_err(Failure::simulation)
}

/// A vault and a bucket in compliance mode of two parties, and nobody who attacks them.
///
/// # Errors
/// [`Failure::Simulation`] if that is no policy.
pub fn peaceful(period_days: u64, keep_days: u64) -> Result<Plan, Failure> {
    let custodians = (0..2).map(|number| {
        let text = CustodianText {
            party: format!("p{number}"),
            ..CustodianText::default()
        };
        (custodian(number), text)
    });
    let evidence = EvidenceText {
        retention: Some(RetentionText::default()),
        ..EvidenceText::default()
    };
    let policy = Policy::two_parties(custodians.collect(), evidence);
    Ok(Plan {
        kinds: vec![Kind::Vault, Kind::Bucket(Lock::Compliance)],
        policy: policy.map_err(Failure::simulation)?,
        discovered: Vec::new(),
        data_sets: 2,
        days: 0,
        attack_days: 0,
        period_days,
        keep_days,
        renewer_host: host(1),
    })
}

fn host(number: usize) -> String {
    format!("h{number}")
}

fn custodian(number: usize) -> String {
    format!("c{number}")
}

fn kind(random: &mut Random) -> Kind {
    match random.below(10) {
        0..4 => Kind::Vault,
        4 | 5 => Kind::Bucket(Lock::Compliance),
        6 => Kind::Bucket(Lock::Governance),
        7 => Kind::Directory,
        8 => Kind::Disk {
            every_days: random.between(1, 8),
        },
        _ => Kind::Bucket(Lock::None),
    }
}

/// A name of a few, or none.
fn some_of(prefix: &str, few: u64, percent: u64, random: &mut Random) -> Option<String> {
    let is_some = random.chance(percent);
    is_some.then(|| format!("{prefix}{}", random.below(few)))
}

fn policy_text(count: usize, random: &mut Random) -> Result<PolicyText, Failure> {
    let custodians: BTreeMap<_, _> = (0..count)
        .map(|number| {
            let party = if random.chance(30) {
                random.place(count)
            } else {
                number
            };
            let text = CustodianText {
                party: format!("p{party}"),
                network: some_of("n", 3, 20, random),
                administration: some_of("admin", 3, 10, random),
                account: some_of("account", 3, 10, random),
                restore_bytes_per_second: random.chance(50).then(|| random.between(1, 1000)),
            };
            (custodian(number), text)
        })
        .collect();
    let reading = |random: &mut Random| ReadingText {
        age_days_max: u32::try_from(random.between(1, 12)).unwrap_or(1),
    };
    let evidence = EvidenceText {
        retention: random.chance(90).then(|| RetentionText {
            age_days_max: u32::try_from(random.between(1, 5)).unwrap_or(1),
            tamper_test_days_max: random.chance(50).then_some(7),
        }),
        disk: random.chance(90).then(|| reading(random)),
        directory: random.chance(70).then(|| reading(random)),
    };
    let is_witnessed = random.chance(40);
    let hosts = (0..HOSTS).map(|number| {
        let text = HostText {
            party: some_of("p", 6, 40, random),
            network: some_of("n", 3, 30, random),
        };
        (host(number), text)
    });
    let witness = WitnessText {
        party: "witness".to_owned(),
        key: witness()?.verifier().to_string(),
    };
    let witnesses = is_witnessed.then(|| (WITNESS.to_owned(), witness));
    Ok(PolicyText {
        require: "safe".to_owned(),
        verified_days_max: 400,
        cosignatures_min: u32::from(is_witnessed),
        hosts: hosts.collect(),
        groups: groups(custodians.keys().cloned().collect(), random),
        custodians,
        evidence,
        witnesses: witnesses.into_iter().collect(),
        credentials: BTreeMap::new(),
    })
}

/// Flat groups, and nested ones.
fn groups(mut of: Vec<String>, random: &mut Random) -> BTreeMap<String, GroupText> {
    let mut groups = BTreeMap::new();
    if of.len() > 2 && random.chance(35) {
        let inner = of.split_off(of.len() - 2);
        let need = if random.chance(70) {
            Need::Any
        } else {
            Need::All
        };
        groups.insert("inner".to_owned(), GroupText { need, of: inner });
        of.push("inner".to_owned());
    }
    let most = u64::try_from(of.len()).unwrap_or(2);
    let need = match random.between(1, most) {
        all if all == most => Need::All,
        need => Need::Number(u32::try_from(need).unwrap_or(2)),
    };
    groups.insert("safe".to_owned(), GroupText { need, of });
    groups
}

/// Who has which credentials, some of them as the policy says.
fn credentials(
    kinds: &[Kind],
    random: &mut Random,
) -> (BTreeMap<String, CredentialText>, Vec<Credential>) {
    let mut all = vec![(
        "key".to_owned(),
        Power::RepositoryKey,
        None,
        vec![CLIENT_HOST.to_owned()],
    )];
    for (number, _) in kinds.iter().enumerate() {
        for (word, power, percent) in [
            ("append", Power::Append, 100),
            ("read", Power::Read, 40),
            ("renew", Power::Renew, 30),
            ("full", Power::Full, 35),
            ("root", Power::Root, 20),
        ] {
            if !random.chance(percent) {
                continue;
            }
            let mut hosts = Vec::new();
            if power == Power::Append {
                hosts.push(CLIENT_HOST.to_owned());
            }
            if power != Power::Append || random.chance(10) {
                hosts.push(host(random.place(HOSTS)));
            }
            hosts.dedup();
            all.push((
                format!("{word}-{number}"),
                power,
                Some(custodian(number)),
                hosts,
            ));
        }
    }
    let mut declared = BTreeMap::new();
    let mut discovered = Vec::new();
    for (name, power, custodian, hosts) in all {
        if random.chance(60) {
            declared.insert(
                name,
                CredentialText {
                    power,
                    custodian,
                    hosts,
                },
            );
        } else {
            discovered.push(Credential {
                name,
                power,
                custodian,
                hosts,
                known: Known::Discovered,
            });
        }
    }
    (declared, discovered)
}
