//! Whether a set of custodians satisfies a policy, found out the slow and obvious way.
//!
//! It shares no code with the policy that is being tested: parties are joined by looking for what is
//! shared until nothing changes, and every choice of one custodian a party is tried.

use std::collections::BTreeSet;

use outlast_custody::{Need, PolicyText};

/// The sets of custodians that are one party each.
fn parties(text: &PolicyText) -> Vec<BTreeSet<&str>> {
    let mut parties: Vec<BTreeSet<&str>> = text
        .custodians
        .keys()
        .map(|name| BTreeSet::from([name.as_str()]))
        .collect();
    let share = |one: &str, two: &str| {
        let (Some(one), Some(two)) = (text.custodians.get(one), text.custodians.get(two)) else {
            return false;
        };
        let same = |one: &Option<String>, two: &Option<String>| one.is_some() && one == two;
        one.party == two.party
            || same(&one.network, &two.network)
            || same(&one.administration, &two.administration)
            || same(&one.account, &two.account)
    };
    'again: loop {
        for one in 0..parties.len() {
            for two in one + 1..parties.len() {
                let linked = parties[one]
                    .iter()
                    .any(|left| parties[two].iter().any(|right| share(left, right)));
                if linked {
                    let other = parties.remove(two);
                    parties[one].extend(other);
                    continue 'again;
                }
            }
        }
        return parties;
    }
}

fn counts(text: &PolicyText, name: &str, chosen: &BTreeSet<&str>) -> bool {
    let Some(group) = text.groups.get(name) else {
        return chosen.contains(name);
    };
    let have = group
        .of
        .iter()
        .filter(|member| counts(text, member, chosen))
        .count();
    match group.need {
        Need::Any => have > 0,
        Need::All => have == group.of.len(),
        Need::Number(need) => usize::try_from(need).is_ok_and(|need| have >= need),
    }
}

fn any_choice<'a>(
    text: &PolicyText,
    parties: &[Vec<&'a str>],
    chosen: &mut BTreeSet<&'a str>,
) -> bool {
    let Some((party, rest)) = parties.split_first() else {
        return counts(text, &text.require, chosen);
    };
    for custodian in party {
        chosen.insert(custodian);
        if any_choice(text, rest, chosen) {
            return true;
        }
        chosen.remove(custodian);
    }
    party.is_empty() && any_choice(text, rest, chosen)
}

/// Whether these custodians, each party counted once, satisfy the policy.
pub fn is_satisfied(text: &PolicyText, by: &BTreeSet<String>) -> bool {
    let parties = parties(text);
    let there: Vec<Vec<&str>> = parties
        .iter()
        .map(|party| {
            party
                .iter()
                .copied()
                .filter(|name| by.contains(*name))
                .collect()
        })
        .collect();
    any_choice(text, &there, &mut BTreeSet::new())
}
