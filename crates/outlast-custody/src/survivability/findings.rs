//! What of the spread of credentials and copies should be changed.

use std::fmt;

use serde::Serialize;

use super::{CustodianKind, Known, Loss, Outcome, Subject, Survey};

/// Something that should be changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "finding")]
pub enum Finding {
    /// Whoever steals one machine destroys copies at several custodians.
    OneMachine {
        /// The machine.
        host: String,
        /// The custodians, by name.
        custodians: Vec<String>,
    },
    /// The loss of one thing leaves nothing of a data set.
    NothingLeft {
        /// What.
        subject: Subject,
        /// The data sets, by name.
        data_sets: Vec<String>,
    },
    /// One party, network or machine reads the backups.
    Readable {
        /// Which.
        subject: Subject,
        /// The custodians, by name, whose copies it reads.
        custodians: Vec<String>,
    },
    /// A custodian keeps copies that whoever writes there can remove.
    Unprotected {
        /// The custodian.
        custodian: String,
    },
    /// A credential lies somewhere and the policy does not say so.
    Undeclared {
        /// The credential.
        credential: String,
        /// The machines where it was found.
        hosts: Vec<String>,
    },
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OneMachine { host, custodians } => write!(
                f,
                "one stolen machine, {host}, reaches {} custodians: {}",
                custodians.len(),
                custodians.join(", ")
            ),
            Self::NothingLeft { subject, data_sets } => write!(
                f,
                "the loss of {subject} leaves nothing of {}",
                data_sets.join(", ")
            ),
            Self::Readable {
                subject,
                custodians,
            } => write!(
                f,
                "{subject} reads the backups at {}: it has the key and the ciphertext",
                custodians.join(", ")
            ),
            Self::Unprotected { custodian } => write!(
                f,
                "{custodian} is unprotected: whoever writes there can remove everything"
            ),
            Self::Undeclared { credential, hosts } => write!(
                f,
                "{credential} was found on {} and is not declared there",
                hosts.join(", ")
            ),
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, name) = match self {
            Self::Party(name) => ("the party", name),
            Self::Network(name) => ("the network", name),
            Self::Host(name) => ("the machine", name),
            Self::Credential(name) => ("the credential", name),
        };
        write!(f, "{what} {name}")
    }
}

/// All findings; `single` holds what follows from each subject alone.
pub(super) fn of(survey: &Survey<'_>, single: &[Outcome]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let names = |numbers: &mut dyn Iterator<Item = usize>| -> Vec<String> {
        let custodians = survey.policy.custodians();
        numbers
            .map(|number| custodians[number].name().to_owned())
            .collect()
    };
    for outcome in single {
        let [subject] = outcome.taken.as_slice() else {
            continue;
        };
        let losses = outcome.losses.iter().enumerate();
        let mut hit = losses.filter_map(|(number, loss)| (*loss > Loss::Nothing).then_some(number));
        let custodians = names(&mut hit);
        if let Subject::Host(host) = subject
            && custodians.len() > 1
        {
            findings.push(Finding::OneMachine {
                host: host.clone(),
                custodians,
            });
        }
        let data_sets: Vec<_> = outcome
            .gone()
            .map(|set| survey.data_sets[set].clone())
            .collect();
        if !data_sets.is_empty() {
            findings.push(Finding::NothingLeft {
                subject: subject.clone(),
                data_sets,
            });
        }
        // A credential alone reads nothing: it takes the key as well.
        if !outcome.readable.is_empty() {
            findings.push(Finding::Readable {
                subject: subject.clone(),
                custodians: names(&mut outcome.readable.iter().copied()),
            });
        }
    }
    for (number, kind) in survey.kinds.iter().enumerate() {
        if matches!(
            kind,
            CustodianKind::BucketUnlocked | CustodianKind::Directory
        ) {
            let custodian = survey.policy.custodians()[number].name().to_owned();
            findings.push(Finding::Unprotected { custodian });
        }
    }
    findings.extend(undeclared(survey));
    findings
}

fn undeclared<'a>(survey: &'a Survey<'_>) -> impl Iterator<Item = Finding> + use<'a> {
    let declared = &survey.policy.text().credentials;
    let discovered = survey.credentials.iter();
    let discovered = discovered.filter(|credential| credential.known == Known::Discovered);
    discovered.filter_map(|credential| {
        let text = declared.get(&credential.name);
        let hosts = credential.hosts.iter().filter(|host| {
            let is_declared = text.is_some_and(|text| text.hosts.contains(host));
            !is_declared
        });
        let hosts: Vec<_> = hosts.cloned().collect();
        (!hosts.is_empty()).then(|| Finding::Undeclared {
            credential: credential.name.clone(),
            hosts,
        })
    })
}
