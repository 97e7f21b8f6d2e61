//! What policies are taken, what is refused and with which words.

use outlast_log::{SigningKey, cosigner_key};

use super::*;

const CUSTODIANS: &str = r#"
    [custodians.vault]
    party = "Hoster"
    [custodians.second]
    party = "Hoster"
    [custodians.bucket]
    party = "Cloud"
    account = "1234"
    [custodians.disk]
    party = "us"
"#;

fn parse(head: &str, tail: &str) -> Result<Policy, String> {
    let parsed = toml::from_str(&format!("{head}\n{CUSTODIANS}\n{tail}"));
    parsed.map_err(|error: toml::de::Error| error.message().to_owned())
}

/// The names of the custodians of each way to satisfy the policy.
fn ways(policy: &Policy) -> Vec<String> {
    let mut ways: Vec<_> = policy
        .quorums()
        .iter()
        .map(|quorum| {
            let of = policy.custodians().iter().enumerate();
            let of = of.filter(|(number, _)| quorum >> number & 1 == 1);
            let names: Vec<_> = of.map(|(_, custodian)| custodian.name()).collect();
            names.join(" ")
        })
        .collect();
    ways.sort();
    ways
}

#[test]
fn a_party_counts_once_in_a_group() {
    let groups = "[groups.safe]\nneed = 2\nof = ['vault', 'second', 'bucket', 'disk']";
    let policy = parse("require = 'safe'", groups).unwrap();
    let expected = [
        "bucket disk",
        "bucket second",
        "bucket vault",
        "disk second",
        "disk vault",
    ];
    assert_eq!(ways(&policy), expected);
    assert_eq!(policy.parties().len(), 3);
    assert_eq!(policy.number_of("disk"), Some(1));
    assert_eq!(policy.number_of("none"), None);
}

#[test]
fn a_party_counts_once_in_nested_groups_too() {
    let groups = "
        [groups.safe]
        need = 'all'
        of = ['servers', 'others']
        [groups.servers]
        need = 'any'
        of = ['vault', 'bucket']
        [groups.others]
        need = 'any'
        of = ['second', 'disk']";
    let policy = parse("require = 'safe'", groups).unwrap();
    assert_eq!(
        ways(&policy),
        ["bucket disk", "bucket second", "disk vault"]
    );
}

#[test]
fn what_makes_no_sense_is_refused() {
    let safe = |need: &str, of: &str| format!("[groups.safe]\nneed = {need}\nof = [{of}]");
    let all = "'vault', 'second', 'bucket'";
    let refused = |tail: String, expected| ("require = 'safe'", tail, expected);
    for (head, tail, expected) in [
        ("require = 'save'", safe("2", all), "require names \"save\""),
        refused(safe("2", "'vault', 'tape'"), "names \"tape\""),
        refused(
            safe("3", all),
            "needs 3 parties and can never have them: its members are of 2 parties (Cloud; Hoster)",
        ),
        refused(safe("2", "'vault', 'second'"), "of one party (Hoster)"),
        refused(safe("4", all), "needs 4 of 3 members"),
        refused(safe("0", all), "needs 0 of 3 members"),
        refused(safe("-1", all), "a number, \"any\" or \"all\""),
        refused(safe("'most'", all), "a number, \"any\" or \"all\""),
        refused(safe("1", "'vault', 'bucket'"), "one party alone"),
        ("require = 'vault'", String::new(), "one party alone"),
        refused(safe("2", "'vault', 'bucket', 'vault'"), "more than once"),
        refused(safe("2", "'vault', 'safe'"), "contains itself"),
        refused(
            safe("2", "'vault', 'x'")
                + "\n[groups.x]\nneed = 1\nof = ['y']\n[groups.y]\nneed = 1\nof = ['x']",
            "more than once",
        ),
        refused(
            safe("2", "'vault', 'bucket'")
                + "\n[groups.x]\nneed = 1\nof = ['y']\n[groups.y]\nneed = 1\nof = ['x']",
            "contains itself",
        ),
        refused(
            safe("2", "'vault', 'bucket'") + "\n[groups.more]\nneed = 1\nof = ['disk']",
            "would have no effect",
        ),
        refused(
            safe("2", "'vault', 'bucket'") + "\n[groups.disk]\nneed = 1\nof = ['disk']",
            "custodian and of a group",
        ),
        (
            "require = 'safe'\nrequires = 1",
            safe("2", all),
            "unknown field",
        ),
        refused(safe("2", all) + "\nonly = 1", "unknown field"),
        refused(safe("2", all) + "\n[evidence.tape]", "unknown field"),
        refused(
            safe("2", all) + "\n[evidence.disk]\nage = 1",
            "unknown field",
        ),
        refused(safe("2", all) + "\n[hosts.'']", "is no name"),
        (
            "require = 'safe'\ncosignatures_min = 1",
            safe("2", all),
            "1 cosignatures are demanded",
        ),
        refused(
            safe("2", all) + "\n[credentials.a]\npower = 'append'\ncustodian = 'tape'",
            "custodian \"tape\"",
        ),
        refused(
            safe("2", all)
                + "\n[credentials.a]\npower = 'append'\ncustodian = 'vault'\nhosts = ['web']",
            "host \"web\"",
        ),
        refused(
            safe("2", all) + "\n[credentials.a]\npower = 'repository-key'\ncustodian = 'vault'",
            "key of a repository none",
        ),
        refused(
            safe("2", all) + "\n[witnesses.a]\nparty = 'w'\nkey = 'a+b+c'",
            "no key of a witness",
        ),
    ] {
        let error = parse(head, &tail).unwrap_err();
        assert!(error.contains(expected), "{tail}\n{error}\n{expected}");
    }
}

#[test]
fn witnesses_have_keys_of_their_own() {
    let key = |name: &str| -> SigningKey { cosigner_key(name, &[1; 32]).unwrap() };
    let one = key("one").verifier();
    let groups = "[groups.safe]\nneed = 2\nof = ['vault', 'bucket']";
    let witness = |name: &str, key: &VerifierKey| {
        format!("\n[witnesses.{name}]\nparty = '{name}'\nkey = '{key}'")
    };
    let head = "require = 'safe'\ncosignatures_min = 1";
    let policy = parse(head, &(groups.to_owned() + &witness("one", &one))).unwrap();
    assert_eq!(policy.witnesses()[0].key, one);
    let twice = groups.to_owned() + &witness("one", &one) + &witness("two", &one);
    assert!(parse(head, &twice).unwrap_err().contains("another one's"));
    let log = SigningKey::from_seed("log", KeyKind::Note, &[1; 32]).unwrap();
    let tail = groups.to_owned() + &witness("log", &log.verifier());
    assert!(
        parse(head, &tail)
            .unwrap_err()
            .contains("no key of a witness")
    );
}

#[test]
fn limits_hold() {
    let custodian = |number: usize| CustodianText {
        party: format!("party {number}"),
        ..CustodianText::default()
    };
    let of = |count: usize| (0..count).map(|number| (format!("c{number:02}"), custodian(number)));
    let many = Policy::two_parties(of(16).collect(), EvidenceText::default()).unwrap();
    assert_eq!(many.quorums().len(), 16 * 15 / 2);
    let mut half = many.text().clone();
    half.groups.values_mut().next().unwrap().need = Need::Number(8);
    assert_eq!(Policy::parse(half).unwrap().quorums().len(), 12_870);
    let more = Policy::two_parties(of(17).collect(), EvidenceText::default());
    assert!(matches!(more, Err(PolicyError::TooMany { max: 16, .. })));
    // Nobody wrote a policy, and there is one party: nothing is safe, and that is no error.
    for count in [0, 1] {
        let one = Policy::two_parties(of(count).collect(), EvidenceText::default()).unwrap();
        assert!(one.quorums().is_empty());
    }
}

#[test]
fn a_policy_is_written_as_it_is_read() {
    let groups = "[groups.safe]\nneed = 'all'\nof = ['vault', 'bucket']\n[evidence.retention]";
    let policy = parse("require = 'safe'", groups).unwrap();
    let written = toml::to_string(policy.text()).unwrap();
    assert_eq!(toml::from_str::<Policy>(&written).unwrap(), policy);
    assert_eq!(
        policy.evidence_seconds_max(EvidenceKind::Retention),
        Some(3 * 86_400)
    );
    assert_eq!(policy.evidence_seconds_max(EvidenceKind::Disk), None);
    assert_eq!(policy.tamper_test_seconds_max(), None);
}
