//! What is predicted, and that more in an attacker's hands never leaves more.

use proptest::prelude::*;

use super::*;
use crate::policy::Policy;

const NOW: u64 = 1_800_000_000;
const DAY: u64 = 86_400;
const POLICY: &str = "
    require = 'safe'
    [custodians.bucket]
    party = 'Cloud'
    restore_bytes_per_second = 1000
    [custodians.disk]
    party = 'us'
    restore_bytes_per_second = 5000
    [custodians.folder]
    party = 'us'
    [custodians.vault]
    party = 'Hoster'
    network = 'rack'
    [groups.safe]
    need = 2
    of = ['vault', 'bucket', 'disk', 'folder']
    [hosts.web]
    network = 'rack'
    [hosts.desk]
    party = 'us'
    [credentials.append]
    power = 'append'
    custodian = 'vault'
    hosts = ['web']
    [credentials.restore]
    power = 'read'
    custodian = 'vault'
    hosts = ['desk']
    [credentials.put]
    power = 'append'
    custodian = 'bucket'
    hosts = ['web']
    [credentials.admin]
    power = 'full'
    custodian = 'bucket'
    hosts = ['desk']
    [credentials.plug]
    power = 'full'
    custodian = 'disk'
    hosts = ['desk']
    [credentials.login]
    power = 'append'
    custodian = 'folder'
    hosts = ['web']
    [credentials.key]
    power = 'repository-key'
    hosts = ['web', 'desk']
";

fn policy() -> Policy {
    toml::from_str(POLICY).unwrap()
}

fn kinds(attached_from: Option<u64>) -> BTreeMap<String, CustodianKind> {
    [
        ("bucket", CustodianKind::BucketCompliance),
        ("disk", CustodianKind::Disk { attached_from }),
        ("folder", CustodianKind::Directory),
        ("vault", CustodianKind::Vault),
    ]
    .map(|(name, kind)| (name.to_owned(), kind))
    .into()
}

fn copies() -> Vec<SnapshotCopy> {
    let copy = |custodian: &str, days: u64, held_days: Option<u64>| SnapshotCopy {
        custodian: custodian.to_owned(),
        data_set: "mail".to_owned(),
        moment: NOW - days * DAY,
        bytes: 10_000,
        held_until: held_days.map(|days| NOW + days * DAY),
    };
    vec![
        copy("vault", 1, Some(30)),
        copy("vault", 2, Some(29)),
        copy("bucket", 1, Some(9)),
        copy("bucket", 3, Some(20)),
        copy("disk", 7, None),
        copy("folder", 0, None),
        copy("nobody", 0, None),
    ]
}

fn outcome(taken: &[Subject], attached_from: Option<u64>, days: u64) -> Outcome {
    let (policy, kinds) = (policy(), kinds(attached_from));
    let attack = Attack::lasting(NOW, days * DAY);
    Survey::new(&policy, &kinds, &copies(), &[], attack).outcome(taken)
}

fn host(name: &str) -> Subject {
    Subject::Host(name.to_owned())
}

#[test]
fn what_each_kind_of_custodian_loses() {
    use Loss::{Everything, NotHeld, Nothing};
    let credential = |name: &str| vec![Subject::Credential(name.to_owned())];
    let party = |name: &str| vec![Subject::Party(name.to_owned())];
    let network = vec![Subject::Network("rack".to_owned())];
    let at_once = |taken: Vec<Subject>, losses, newest| (taken, None, 0, losses, newest);
    // In the order of names: bucket, disk, folder, vault.
    for (taken, attached, days, expected, newest) in [
        (credential("append"), None, 900, [Nothing; 4], Some(0)),
        (credential("put"), None, 900, [Nothing; 4], Some(0)),
        (credential("key"), None, 900, [Nothing; 4], Some(0)),
        at_once(
            credential("login"),
            [Nothing, Nothing, Everything, Nothing],
            Some(1),
        ),
        at_once(
            vec![host("web")],
            [Nothing, Nothing, Everything, Nothing],
            Some(1),
        ),
        at_once(network, [Nothing, Nothing, Everything, Everything], Some(1)),
        at_once(
            party("Hoster"),
            [Nothing, Nothing, Nothing, Everything],
            Some(0),
        ),
        at_once(
            party("us"),
            [NotHeld, Everything, Everything, Nothing],
            Some(1),
        ),
        at_once(
            vec![host("desk")],
            [NotHeld, Nothing, Nothing, Nothing],
            Some(0),
        ),
        (
            vec![host("desk")],
            Some(NOW - 1),
            0,
            [NotHeld, Everything, Nothing, Nothing],
            Some(0),
        ),
        (
            vec![host("desk")],
            Some(NOW + 6 * DAY),
            5,
            [NotHeld, Nothing, Nothing, Nothing],
            Some(0),
        ),
        (
            vec![host("desk")],
            Some(NOW + 6 * DAY),
            6,
            [NotHeld, Everything, Nothing, Nothing],
            Some(0),
        ),
        (
            [party("Hoster"), party("us")].concat(),
            None,
            8,
            [NotHeld, Everything, Everything, Everything],
            Some(1),
        ),
        (
            [party("Hoster"), party("us")].concat(),
            None,
            9,
            [NotHeld, Everything, Everything, Everything],
            Some(3),
        ),
        (
            [party("Hoster"), party("us")].concat(),
            None,
            20,
            [NotHeld, Everything, Everything, Everything],
            None,
        ),
    ] {
        let outcome = outcome(&taken, attached, days);
        assert_eq!(outcome.losses, expected, "{taken:?} {days}");
        let newest = newest.map(|days| NOW - days * DAY);
        assert_eq!(outcome.remains[0].newest, newest, "{taken:?} {days}");
    }
}

#[test]
fn who_reads_and_how_long_a_restore_takes() {
    // The machine that backs up has the key, and reads what its logins read.
    assert_eq!(outcome(&[host("web")], None, 0).readable, [2]);
    let desk = outcome(&[host("desk")], None, 0);
    assert_eq!(
        (&desk.ciphertext, &desk.readable),
        (&vec![0, 3], &vec![0, 3])
    );
    let hoster = outcome(&[Subject::Party("Hoster".to_owned())], None, 0);
    assert_eq!(
        (hoster.ciphertext.as_slice(), hoster.readable.len()),
        ([3].as_slice(), 0)
    );
    let both = [
        Subject::Party("Hoster".to_owned()),
        Subject::Credential("key".to_owned()),
    ];
    assert_eq!(outcome(&both, None, 0).readable, [3]);
    // The vault and the folder declare no rate, the bucket does.
    let both = [host("web"), Subject::Party("Hoster".to_owned())];
    assert_eq!(outcome(&both, None, 0).remains[0].restore_seconds, Some(10));
    assert_eq!(outcome(&[], None, 0).remains[0].restore_seconds, None);
}

#[test]
fn the_table_has_every_pair_and_tells_what_to_change() {
    let (policy, kinds) = (policy(), kinds(Some(NOW)));
    let discovered = Credential {
        name: "admin".to_owned(),
        power: Power::Full,
        custodian: Some("bucket".to_owned()),
        hosts: vec!["web".to_owned()],
        known: Known::Discovered,
    };
    let attack = Attack::at(NOW);
    let table = survivability(&policy, &kinds, &copies(), &[discovered], attack);
    let subjects = 3 + 1 + 2 + 7;
    assert_eq!(table.outcomes.len(), subjects * (subjects + 1) / 2);
    let told: Vec<_> = table.findings.iter().map(ToString::to_string).collect();
    for expected in [
        "one stolen machine, web, reaches 2 custodians: bucket, folder",
        "one stolen machine, desk, reaches 2 custodians: bucket, disk",
        "the machine web reads the backups at bucket, folder: it has the key and the ciphertext",
        "folder is unprotected: whoever writes there can remove everything",
        "admin was found on web and is not declared there",
    ] {
        assert!(
            told.iter().any(|told| told == expected),
            "{expected}: {told:#?}"
        );
    }
    let alone = [SnapshotCopy {
        data_set: "alone".to_owned(),
        ..copies().remove(5)
    }];
    let table = survivability(&policy, &kinds, &alone, &[], attack);
    let told = table.findings.iter().map(ToString::to_string);
    let gone = "the loss of the credential login leaves nothing of alone";
    assert!(told.into_iter().any(|told| told == gone));
}

#[test]
fn an_unknown_kind_is_the_weakest() {
    let policy = policy();
    let survey = Survey::new(&policy, &BTreeMap::new(), &copies(), &[], Attack::at(NOW));
    let outcome = survey.outcome(&[Subject::Credential("append".to_owned())]);
    assert_eq!(outcome.losses[3], Loss::Everything);
}

fn kind() -> impl Strategy<Value = CustodianKind> {
    prop_oneof![
        Just(CustodianKind::Vault),
        Just(CustodianKind::BucketCompliance),
        Just(CustodianKind::BucketGovernance),
        Just(CustodianKind::BucketUnlocked),
        Just(CustodianKind::Directory),
        (0_u64..40).prop_map(|days| CustodianKind::Disk {
            attached_from: Some(NOW + days * DAY)
        }),
        Just(CustodianKind::Disk {
            attached_from: None
        }),
    ]
}

fn power() -> impl Strategy<Value = Power> {
    prop_oneof![
        Just(Power::Append),
        Just(Power::Read),
        Just(Power::Renew),
        Just(Power::Full),
        Just(Power::Root),
        Just(Power::RepositoryKey),
    ]
}

fn leaves_no_more(more: &Outcome, less: &Outcome) -> bool {
    let subset = |one: &[usize], other: &[usize]| one.iter().all(|of| other.contains(of));
    let mut remains = more.remains.iter().zip(&less.remains);
    let mut losses = more.losses.iter().zip(&less.losses);
    losses.all(|(more, less)| more >= less)
        && subset(&less.ciphertext, &more.ciphertext)
        && subset(&less.readable, &more.readable)
        && remains.all(|(more, less)| {
            more.newest <= less.newest && subset(&more.custodians, &less.custodians)
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn more_in_an_attackers_hands_never_leaves_more(
        chosen in proptest::collection::vec(kind(), 4),
        extra in proptest::collection::vec((power(), 0_usize..4, 0_usize..3), 0..5),
        taken in proptest::collection::btree_set(0_usize..20, 0..6),
        more in 0_usize..20,
        days in 0_u64..40,
        longer in 0_u64..40,
    ) {
        let policy = policy();
        let names = ["bucket", "disk", "folder", "vault"];
        let kinds: BTreeMap<_, _> =
            names.iter().map(|name| (*name).to_owned()).zip(chosen).collect();
        let discovered: Vec<_> = extra
            .into_iter()
            .zip(0..)
            .map(|((power, custodian, host), number)| Credential {
                name: format!("found {number}"),
                power,
                custodian: Some(names[custodian].to_owned()),
                hosts: vec![["web", "desk", "other"][host].to_owned()],
                known: Known::Discovered,
            })
            .collect();
        let copies = copies();
        let attack = Attack::lasting(NOW, days * DAY);
        let survey = Survey::new(&policy, &kinds, &copies, &discovered, attack);
        let subjects = survey.subjects();
        let pick = |number: usize| subjects[number % subjects.len()].clone();
        let mut taken: Vec<_> = taken.into_iter().map(pick).collect();
        let before = survey.outcome(&taken);

        let attack = Attack::lasting(NOW, (days + longer) * DAY);
        let long = Survey::new(&policy, &kinds, &copies, &discovered, attack);
        prop_assert!(leaves_no_more(&long.outcome(&taken), &before));
        let fewer = Survey::new(&policy, &kinds, &copies, &[], Attack::lasting(NOW, days * DAY));
        prop_assert!(leaves_no_more(&before, &fewer.outcome(&taken)));
        taken.push(pick(more));
        prop_assert!(leaves_no_more(&survey.outcome(&taken), &before));
        // Copies that are not there do not survive.
        let less = Survey::new(&policy, &kinds, &copies[..3], &discovered, Attack::lasting(NOW, days * DAY));
        prop_assert!(less.outcome(&taken).remains[0].newest <= survey.outcome(&taken).remains[0].newest);
    }
}
