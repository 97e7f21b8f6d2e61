//! What a client keeps of custodians and reads again: policies as written, and evidence.

use std::str::from_utf8;

use outlast_custody::{Evidence, EvidenceKind, Facts, IdText, Policy, Wanted, status};
use outlast_object::Id;

/// A policy with a bit of everything.
pub(crate) const POLICY: &str = "
require = 'safe'
cosignatures_min = 0
[custodians.a]
party = 'A'
network = 'n'
[custodians.b]
party = 'B'
[custodians.c]
party = 'C'
account = 'x'
[groups.safe]
need = 2
of = ['a', 'inner']
[groups.inner]
need = 'any'
of = ['b', 'c']
[evidence.retention]
age_days_max = 3
[evidence.disk]
[hosts.h]
network = 'n'
[credentials.k]
power = 'append'
custodian = 'a'
hosts = ['h']
";

fn evidence() -> Evidence {
    let nothing = IdText(Id::from_bytes([0; 32]));
    Evidence {
        kind: EvidenceKind::Retention,
        custodian: "b".to_owned(),
        snapshot: nothing,
        list: nothing,
        objects: 1,
        bytes: 2,
        observed: 3,
        retained_until: Some(u64::MAX),
        versions: None,
        tamper_tested: Some(4),
    }
}

/// Evidence as it is kept.
pub(crate) fn true_evidence() -> Vec<u8> {
    evidence().encode()
}

/// Evidence: what is read is written again the same, and judged whatever it says.
pub fn kept_evidence(data: &[u8]) {
    let Ok(evidence) = Evidence::decode(data) else {
        return;
    };
    assert_eq!(Evidence::decode(&evidence.encode()), Ok(evidence.clone()));
    let policy: Policy = toml::from_str(POLICY).expect("a policy");
    let wanted = Wanted {
        snapshot: evidence.snapshot.0,
        list: evidence.list.0,
    };
    let mut facts = Facts::new();
    facts.add_evidence(evidence);
    for now in [0, 5, 1_800_000_000, u64::MAX] {
        let status = status(&policy, &facts, &[wanted], now);
        assert!(!status[0].verdict.is_safe(), "one party alone made it safe");
    }
}

/// A policy: if it is taken, one party alone never satisfies it, and it is read as it is written.
pub fn policy(data: &[u8]) {
    let Some(policy) = from_utf8(data)
        .ok()
        .and_then(|text| toml::from_str::<Policy>(text).ok())
    else {
        return;
    };
    assert_eq!(Policy::parse(policy.text().clone()), Ok(policy.clone()));
    for custodian in policy.custodians() {
        let mut facts = Facts::new();
        facts.add_evidence(Evidence {
            custodian: custodian.name().to_owned(),
            ..evidence()
        });
        let wanted = Wanted {
            snapshot: evidence().snapshot.0,
            list: evidence().list.0,
        };
        let status = status(&policy, &facts, &[wanted], 4);
        assert!(!status[0].verdict.is_safe(), "one party alone made it safe");
    }
}
