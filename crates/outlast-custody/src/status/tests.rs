//! What counts towards safe and what never does.

use outlast_log::{
    Checkpoint, KeyKind, OfflineProof, SigningKey, cosign, cosigner_key, prove_consistency,
    prove_inclusion, tree_root,
};
use outlast_object::{Id, ObjectName};
use proptest::prelude::*;

use super::*;
use crate::entry::{Entry, Event, IdText, Seal, Start};
use crate::evidence::{Evidence, EvidenceKind};
use crate::list::ObjectList;
use crate::receipt::{Receipt, VerifiedReceipt};

const DAY: u64 = 86_400;
const NOW: u64 = 1_800_000_000;
const POLICY: &str = "
    require = 'safe'
    verified_days_max = 30
    [custodians.a]
    party = 'A'
    [custodians.b]
    party = 'B'
    [custodians.c]
    party = 'C'
    [custodians.disk]
    party = 'us'
    [groups.safe]
    need = 2
    of = ['a', 'b', 'c', 'disk']
    [evidence.retention]
    age_days_max = 3
    tamper_test_days_max = 30
    [evidence.disk]
    age_days_max = 40
";

fn policy() -> Policy {
    toml::from_str(POLICY).unwrap()
}

fn key(name: &str) -> SigningKey {
    let mut seed = [7; 32];
    seed[0] = name.as_bytes()[0];
    SigningKey::from_seed(name, KeyKind::Note, &seed).unwrap()
}

fn list(number: u8) -> ObjectList {
    ObjectList::new([
        ObjectName::CONFIG,
        ObjectName::pack(Id::from_bytes([number; 32])),
    ])
}

fn snapshot(number: u8) -> Id {
    Id::from_bytes([number; 32])
}

fn wanted(number: u8) -> Wanted {
    Wanted::new(snapshot(number), &list(number))
}

fn root_id(list: &ObjectList) -> IdText {
    IdText(Id::from_bytes(*list.root().as_bytes()))
}

/// A seal of the snapshot of this number, which a test changes.
fn seal(number: u8) -> Seal {
    Seal {
        repository: "web1".parse().unwrap(),
        snapshot: IdText(snapshot(number)),
        list: Some(root_id(&list(number))),
        objects: 2,
        bytes: 9,
        until: NOW + 20 * DAY,
        verified: NOW - 5 * DAY,
        token: None,
        previous: IdText(Id::default()),
    }
}

fn entry(time: u64, seal: Seal) -> Entry {
    Entry::new(time, time, [3; 16], Event::Seal(seal))
}

/// The receipt of the last of the entries of a log.
fn receipt_of(entries: &[Entry], key: &SigningKey, witnesses: &[SigningKey]) -> Receipt {
    let leaves: Vec<_> = entries.iter().map(Entry::leaf).collect();
    let size = leaves.len() as u64;
    let root = tree_root(leaves.iter().copied());
    let origin = key.verifier().name().to_owned();
    let mut checkpoint = Checkpoint { origin, size, root }.sign(key).unwrap();
    for witness in witnesses {
        checkpoint = cosign(&checkpoint, witness, NOW);
    }
    let read = |level: u8, index: u64| -> Result<_, ()> {
        let from = (index << level) as usize;
        Ok(tree_root(leaves[from..from + (1 << level)].iter().copied()))
    };
    Receipt {
        entry: entries.last().unwrap().encode(),
        proof: OfflineProof {
            extra: None,
            index: size - 1,
            hashes: prove_inclusion(size - 1, size, read).unwrap(),
            checkpoint,
        },
    }
}

fn receipt(key: &SigningKey, seal: Seal) -> VerifiedReceipt {
    let receipt = receipt_of(&[entry(NOW - DAY, seal)], key, &[]);
    receipt.verify(&key.verifier(), &[]).unwrap()
}

fn evidence(number: u8) -> Evidence {
    Evidence {
        kind: EvidenceKind::Disk,
        custodian: "disk".to_owned(),
        snapshot: IdText(snapshot(number)),
        list: root_id(&list(number)),
        objects: 2,
        bytes: 9,
        observed: NOW - 10 * DAY,
        retained_until: None,
        versions: None,
        tamper_tested: None,
    }
}

/// Facts in which the vaults are known, and nothing else.
fn met() -> Facts {
    let mut facts = Facts::new();
    for name in ["a", "b", "c"] {
        facts.pin(name, key(name).verifier(), "web1".parse().unwrap());
    }
    facts
}

fn standing(facts: &Facts, custodian: &str, now: u64) -> Standing {
    let policy = policy();
    let number = policy.number_of(custodian).unwrap();
    status(&policy, facts, &[wanted(1)], now)[0].standings[number]
}

fn is_safe(facts: &Facts) -> bool {
    status(&policy(), facts, &[wanted(1)], NOW)[0]
        .verdict
        .is_safe()
}

#[test]
fn two_parties_make_it_safe_until_the_first_of_them_ends() {
    let mut facts = met();
    let missing = |facts: &Facts| {
        status(&policy(), facts, &[wanted(1)], NOW)[0]
            .verdict
            .clone()
    };
    let not_yet = |by: &[usize], missing: &[usize]| SafetyVerdict::NotYet {
        by: by.to_vec(),
        missing: missing.to_vec(),
    };
    assert!(matches!(missing(&facts), SafetyVerdict::NotYet { missing, .. } if missing.len() == 2));
    facts.add_receipt("a", &receipt(&key("a"), seal(1)));
    assert_eq!(missing(&facts), not_yet(&[0], &[1]));
    facts.add_evidence(evidence(1));
    let safe = SafetyVerdict::Safe {
        until: NOW + 20 * DAY,
        held_until: NOW + 20 * DAY,
        by: vec![0, 3],
    };
    assert_eq!(missing(&facts), safe);
    // A third party that holds longer moves the end to that of the better two.
    let longer = Seal {
        until: NOW + 90 * DAY,
        verified: NOW,
        ..seal(1)
    };
    facts.add_receipt("b", &receipt(&key("b"), longer));
    let safe = SafetyVerdict::Safe {
        until: NOW + 30 * DAY,
        held_until: NOW + 30 * DAY,
        by: vec![0, 1, 3],
    };
    assert_eq!(missing(&facts), safe);
    let later = status(&policy(), &facts, &[wanted(1), wanted(2)], NOW + 30 * DAY);
    assert!(!later[0].verdict.is_safe());
    assert!(!later[1].verdict.is_safe());
}

#[test]
fn receipts_that_do_not_fit_never_count() {
    let cases: Vec<(Seal, Why)> = vec![
        (
            Seal {
                snapshot: IdText(snapshot(2)),
                ..seal(1)
            },
            Why::NoReceipt,
        ),
        (
            Seal {
                list: Some(root_id(&list(2))),
                ..seal(1)
            },
            Why::OtherList,
        ),
        (
            Seal {
                list: None,
                ..seal(1)
            },
            Why::OtherList,
        ),
        (
            Seal {
                repository: "web2".parse().unwrap(),
                ..seal(1)
            },
            Why::OtherRepository,
        ),
        (
            Seal {
                until: NOW,
                ..seal(1)
            },
            Why::Ended { until: Some(NOW) },
        ),
        (
            Seal {
                verified: NOW - 30 * DAY,
                ..seal(1)
            },
            Why::Stale {
                observed: NOW - 30 * DAY,
            },
        ),
        (
            Seal {
                verified: NOW + DAY,
                until: NOW + 900 * DAY,
                ..seal(1)
            },
            Why::FromTheFuture { time: NOW + DAY },
        ),
    ];
    for (seal, why) in cases {
        let mut facts = met();
        facts.add_evidence(evidence(1));
        facts.add_receipt("a", &receipt(&key("a"), seal));
        assert_eq!(standing(&facts, "a", NOW), Standing::Missing(why));
        assert!(!is_safe(&facts), "{why:?}");
    }
    // Signed by another party, or by nobody that is known.
    let mut facts = met();
    facts.add_receipt("a", &receipt(&key("b"), seal(1)));
    facts.add_receipt("disk", &receipt(&key("b"), seal(1)));
    facts.add_receipt("nobody", &receipt(&key("b"), seal(1)));
    assert_eq!(
        standing(&facts, "a", NOW),
        Standing::Missing(Why::OtherIdentity)
    );
    assert_eq!(
        standing(&facts, "disk", NOW),
        Standing::Missing(Why::NoEvidence)
    );
    assert_eq!(
        standing(&facts, "b", NOW),
        Standing::Missing(Why::NoReceipt)
    );
    // The key of another vault of the same name.
    let same_name = SigningKey::from_seed("a", KeyKind::Note, &[1; 32]).unwrap();
    facts.add_receipt("a", &receipt(&same_name, seal(1)));
    assert_eq!(
        standing(&facts, "a", NOW),
        Standing::Missing(Why::OtherIdentity)
    );
    assert!(!is_safe(&facts));
}

#[test]
fn one_identity_is_one_custodian() {
    let mut facts = met();
    facts.pin("b", key("a").verifier(), "web1".parse().unwrap());
    facts.add_receipt("a", &receipt(&key("a"), seal(1)));
    facts.add_receipt("b", &receipt(&key("a"), seal(1)));
    assert_eq!(
        standing(&facts, "b", NOW),
        Standing::Missing(Why::SameAs(0))
    );
    assert!(!is_safe(&facts));
}

#[test]
fn evidence_counts_as_the_policy_says() {
    let retention = Evidence {
        kind: EvidenceKind::Retention,
        observed: NOW - DAY,
        retained_until: Some(NOW + 9 * DAY),
        tamper_tested: Some(NOW - 8 * DAY),
        ..evidence(1)
    };
    let of = |evidence: Evidence| {
        let mut facts = met();
        facts.add_evidence(evidence);
        standing(&facts, "disk", NOW)
    };
    let counts = of(retention.clone());
    let counts = counts.counts().unwrap();
    assert_eq!(
        (counts.until, counts.held_until),
        (NOW + 2 * DAY, NOW + 9 * DAY)
    );
    let missing = |change: &dyn Fn(&mut Evidence)| {
        let mut changed = retention.clone();
        change(&mut changed);
        match of(changed) {
            Standing::Missing(why) => why,
            Standing::Counts(counts) => panic!("{counts:?}"),
        }
    };
    let stale = NOW - 3 * DAY;
    assert_eq!(
        missing(&|of| of.observed = stale),
        Why::Stale { observed: stale }
    );
    assert_eq!(
        missing(&|of| of.retained_until = None),
        Why::Ended { until: None }
    );
    assert_eq!(
        missing(&|of| of.retained_until = Some(NOW)),
        Why::Ended { until: Some(NOW) }
    );
    assert_eq!(
        missing(&|of| of.tamper_tested = None),
        Why::Untested { tested: None }
    );
    let long_ago = Some(NOW - 30 * DAY);
    assert_eq!(
        missing(&|of| of.tamper_tested = long_ago),
        Why::Untested { tested: long_ago }
    );
    assert_eq!(missing(&|of| of.list = root_id(&list(2))), Why::OtherList);
    assert_eq!(
        missing(&|of| of.snapshot = IdText(snapshot(2))),
        Why::NoEvidence
    );
    let directory = EvidenceKind::Directory;
    assert_eq!(
        missing(&|of| of.kind = directory),
        Why::KindNotCounted(directory)
    );
    let soon = NOW + DAY;
    assert_eq!(
        missing(&|of| of.observed = soon),
        Why::FromTheFuture { time: soon }
    );
    // A custodian that signs is not believed without its signature.
    let mut facts = met();
    facts.add_evidence(Evidence {
        custodian: "a".to_owned(),
        ..retention.clone()
    });
    assert_eq!(
        standing(&facts, "a", NOW),
        Standing::Missing(Why::NoReceipt)
    );
}

#[test]
fn a_log_with_two_pasts_counts_for_nothing() {
    let start = |software: &str| {
        let software = software.to_owned();
        Entry::new(NOW - DAY, NOW, [4; 16], Event::Start(Start { software }))
    };
    let sealed = entry(NOW - DAY, seal(1));
    let verify = |entries: &[Entry]| {
        let receipt = receipt_of(entries, &key("a"), &[]);
        receipt.verify(&key("a").verifier(), &[]).unwrap()
    };
    let before = || {
        let mut facts = met();
        facts.add_evidence(evidence(1));
        facts.add_receipt("a", &verify(&[start("x"), sealed.clone()]));
        assert!(is_safe(&facts));
        facts
    };
    let identity = key("a").verifier();
    let other = verify(&[start("y"), sealed.clone()]);

    // Two roots of one size, in a receipt for something else and in a checkpoint.
    let mut facts = before();
    facts.add_receipt("b", &other);
    assert_eq!(standing(&facts, "a", NOW), Standing::Missing(Why::Forked));
    assert!(!is_safe(&facts) && facts.is_distrusted(&identity));
    let mut facts = before();
    facts.add_checkpoint(&identity, other.proof().checkpoint());
    assert!(!is_safe(&facts));

    // Two entries at one place, in logs of different sizes.
    let mut facts = before();
    let elsewhere = entry(NOW, seal(9));
    facts.add_receipt("a", &verify(&[start("x"), elsewhere.clone()]));
    assert!(!is_safe(&facts));

    // Another beginning of a longer log, with its proof.
    let longer = [start("y"), sealed.clone(), elsewhere];
    let larger = verify(&longer);
    let leaves: Vec<_> = longer.iter().map(Entry::leaf).collect();
    let read = |level: u8, index: u64| -> Result<_, ()> {
        let from = (index << level) as usize;
        Ok(tree_root(leaves[from..from + (1 << level)].iter().copied()))
    };
    let proof = prove_consistency(2, 3, read).unwrap();
    let shown = tree_root(leaves[..2].iter().copied());
    let mut facts = before();
    let own = verify(&[start("x"), sealed.clone()]);
    let (own, larger) = (own.proof().checkpoint(), larger.proof().checkpoint());
    let honest = own.checkpoint().root;
    for (identity, smaller, shown, proof) in [
        (&identity, own, honest, proof.as_slice()),
        (&identity, own, shown, &proof[..proof.len() - 1]),
        (
            &identity,
            other.proof().checkpoint(),
            shown,
            proof.as_slice(),
        ),
        (&key("b").verifier(), own, shown, proof.as_slice()),
    ] {
        assert!(
            facts
                .add_fork(identity, smaller, larger, &shown, proof)
                .is_err()
        );
        assert!(is_safe(&facts));
    }
    assert_eq!(
        facts.add_fork(&identity, own, larger, &shown, &proof),
        Ok(())
    );
    assert!(!is_safe(&facts));
}

#[test]
fn witnesses_of_other_parties_count_once_each() {
    let one = cosigner_key("w1.example", &[1; 32]).unwrap();
    let two = cosigner_key("w2.example", &[2; 32]).unwrap();
    let own = cosigner_key("w3.example", &[3; 32]).unwrap();
    let witness = |name: &str, party: &str, key: &SigningKey| {
        format!(
            "[witnesses.{name}]\nparty = '{party}'\nkey = '{}'\n",
            key.verifier()
        )
    };
    let text = format!(
        "cosignatures_min = 2\n{POLICY}\n{}{}{}[witnesses.none]\nparty = 'Z'\nkey = '{}'",
        witness("one", "W", &one),
        witness("two", "W", &two),
        witness("own", "A", &own),
        cosigner_key("w4.example", &[4; 32]).unwrap().verifier(),
    );
    let policy: Policy = toml::from_str(&text).unwrap();
    let keys: Vec<_> = policy.witnesses().iter().map(|of| of.key.clone()).collect();
    let receipt = receipt_of(&[entry(NOW - DAY, seal(1))], &key("a"), &[one, two, own]);
    let mut facts = met();
    facts.add_receipt("a", &receipt.verify(&key("a").verifier(), &keys).unwrap());
    let standing = status(&policy, &facts, &[wanted(1)], NOW)[0].standings[0];
    let why = Why::Unwitnessed { have: 1, need: 2 };
    assert_eq!(standing, Standing::Missing(why));
}

/// Facts of all sorts: which custodian, good or how it does not fit.
fn add(facts: &mut Facts, custodian: usize, variant: u8, days: u64) {
    let name = ["a", "b", "c", "disk"][custodian];
    if name == "disk" {
        let observed = NOW - days * DAY;
        let list = root_id(&list(if variant == 0 { 2 } else { 1 }));
        facts.add_evidence(Evidence {
            observed,
            list,
            ..evidence(1)
        });
        return;
    }
    let changed = match variant {
        0 => Seal {
            list: Some(root_id(&list(2))),
            ..seal(1)
        },
        1 => Seal {
            repository: "web2".parse().unwrap(),
            ..seal(1)
        },
        2 => Seal {
            verified: NOW - days * DAY,
            ..seal(1)
        },
        3 => Seal {
            until: NOW + days * DAY,
            ..seal(1)
        },
        _ => seal(1),
    };
    let signer = key(if variant == 4 { "b" } else { name });
    // One log would be convicted by two logs of one entry, so this index is that of one entry of a
    // long log, and the checkpoint another each time.
    let number = u64::from(variant) * 64 + days;
    let mut fact = facts::SealFact::of(&receipt(&signer, changed));
    fact.index = number;
    facts.add_fact(name, snapshot(1), fact);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn more_receipts_never_make_less_safe(
        facts in proptest::collection::vec((0_usize..4, 0_u8..6, 0_u64..60), 1..8),
        later in 0_u64..40,
    ) {
        let (policy, now) = (policy(), NOW + later * DAY);
        let mut known = met();
        let mut before: Option<SnapshotStatus> = None;
        for (custodian, variant, days) in facts {
            add(&mut known, custodian, variant, days);
            let after = status(&policy, &known, &[wanted(1)], now).remove(0);
            // A verdict says what its standings say, and two parties are two.
            if let SafetyVerdict::Safe { until, by, .. } = &after.verdict {
                prop_assert!(*until > now && by.len() >= 2);
            }
            if let Some(before) = before {
                for (before, after) in before.standings.iter().zip(&after.standings) {
                    let until = |of: &Standing| of.counts().map(|counts| counts.until);
                    prop_assert!(until(after) >= until(before));
                }
                if let SafetyVerdict::Safe { until: before, .. } = before.verdict {
                    let kept = matches!(after.verdict, SafetyVerdict::Safe { until, .. } if until >= before);
                    prop_assert!(kept);
                }
            }
            before = Some(after);
        }
        // And a fork of every log makes nothing of receipts count.
        for name in ["a", "b", "c"] {
            known.distrust(&key(name).verifier());
        }
        prop_assert!(!status(&policy, &known, &[wanted(1)], now)[0].verdict.is_safe());
    }

    #[test]
    fn time_alone_never_makes_safe(
        facts in proptest::collection::vec((0_usize..4, 0_u8..6, 0_u64..60), 1..8),
        days in 0_u64..60,
        more in 0_u64..60,
    ) {
        let policy = policy();
        let mut known = met();
        for (custodian, variant, days) in facts {
            add(&mut known, custodian, variant, days);
        }
        let at = |days: u64| status(&policy, &known, &[wanted(1)], NOW + days * DAY).remove(0).verdict;
        if let SafetyVerdict::Safe { until, .. } = at(days + more) {
            let earlier = at(days);
            let was = matches!(earlier, SafetyVerdict::Safe { until: before, .. } if before >= until);
            prop_assert!(was, "{earlier:?}");
        }
        if let SafetyVerdict::Safe { until, .. } = at(days) {
            let last = status(&policy, &known, &[wanted(1)], until - 1).remove(0);
            prop_assert!(last.verdict.is_safe());
            let ended = status(&policy, &known, &[wanted(1)], until).remove(0);
            prop_assert!(!ended.verdict.is_safe());
        }
    }
}
