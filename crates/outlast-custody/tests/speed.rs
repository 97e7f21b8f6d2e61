//! A verdict over everything that a large user has is there at once.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::time::Instant;

use outlast_custody::{
    Attack, Credential, CustodianKind, CustodianText, Evidence, EvidenceKind, EvidenceText, Facts,
    IdText, Known, Policy, Power, SnapshotCopy, Wanted, status, survivability,
};
use outlast_object::Id;

const NOW: u64 = 1_800_000_000;

#[test]
fn a_million_facts_are_judged_in_no_time() {
    let custodians = (0..5).map(|number| {
        let party = format!("party {number}");
        let text = CustodianText {
            party,
            ..CustodianText::default()
        };
        (format!("c{number}"), text)
    });
    let rule = EvidenceText {
        disk: Some(Default::default()),
        ..EvidenceText::default()
    };
    let policy = Policy::two_parties(custodians.collect(), rule).unwrap();
    let id = |number: u32| {
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(&number.to_le_bytes());
        Id::from_bytes(bytes)
    };
    let mut facts = Facts::new();
    let mut all = Vec::new();
    for number in 0..200_000 {
        let (snapshot, list) = (id(number), id(number));
        all.push(Wanted { snapshot, list });
        for custodian in policy.custodians() {
            facts.add_evidence(Evidence {
                custodian: custodian.name().to_owned(),
                snapshot: IdText(snapshot),
                list: IdText(list),
                kind: EvidenceKind::Disk,
                objects: 2,
                bytes: 9,
                observed: NOW - 10,
                retained_until: None,
                versions: None,
                tamper_tested: None,
            });
        }
    }
    let began = Instant::now();
    let statuses = status(&policy, &facts, &all, NOW);
    let took = began.elapsed();
    assert!(statuses.iter().all(|of| of.verdict.is_safe()));
    // It takes a fraction of this; machines that test are slow at times.
    assert!(took.as_secs() < 5, "{took:?}");
}

#[test]
fn the_table_of_a_large_user_is_made_in_no_time() {
    let custodians = (0..5).map(|number| {
        let party = format!("party {number}");
        let text = CustodianText {
            party,
            ..CustodianText::default()
        };
        (format!("c{number}"), text)
    });
    let policy = Policy::two_parties(custodians.collect(), EvidenceText::default()).unwrap();
    let names: Vec<String> = (0..5).map(|number| format!("c{number}")).collect();
    let kinds: BTreeMap<_, _> = names
        .iter()
        .map(|name| (name.clone(), CustodianKind::Vault))
        .collect();
    let mut copies = Vec::new();
    for set in 0..200 {
        for day in 0..1000 {
            copies.extend(names.iter().map(|custodian| SnapshotCopy {
                custodian: custodian.clone(),
                data_set: format!("set {set}"),
                moment: NOW - day * 86_400,
                bytes: 1 << 30,
                held_until: Some(NOW + 1),
            }));
        }
    }
    let credentials: Vec<_> = (0..60)
        .map(|number: usize| Credential {
            name: format!("credential {number}"),
            power: Power::Append,
            custodian: Some(names[number % 5].clone()),
            hosts: vec![format!("host {}", number / 3)],
            known: Known::Discovered,
        })
        .collect();
    let began = Instant::now();
    let table = survivability(&policy, &kinds, &copies, &credentials, Attack::at(NOW));
    let took = began.elapsed();
    let subjects = 5 + 20 + 60;
    assert_eq!(table.outcomes.len(), subjects * (subjects + 1) / 2);
    assert!(took.as_secs() < 10, "{took:?}");
}
