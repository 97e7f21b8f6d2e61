//! Who is really one party: whoever shares a name, a network, an administration or an account.

use std::collections::BTreeMap;

use super::text::CustodianText;

/// Numbers the parties of custodians, given in order, and names each party.
///
/// Two custodians that have anything in common are one party, and so is who is linked to them by
/// others: one intruder gets at all of them.
pub(super) fn parties_of(custodians: &[&CustodianText]) -> (Vec<usize>, Vec<String>) {
    let mut leader: Vec<usize> = (0..custodians.len()).collect();
    let mut first_with: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for (number, custodian) in custodians.iter().enumerate() {
        let shared = [
            ("party", Some(&custodian.party)),
            ("network", custodian.network.as_ref()),
            ("administration", custodian.administration.as_ref()),
            ("account", custodian.account.as_ref()),
        ];
        for (what, value) in shared {
            let Some(value) = value else { continue };
            let other = *first_with.entry((what, value)).or_insert(number);
            let (one, two) = (find(&leader, other), find(&leader, number));
            leader[one.max(two)] = one.min(two);
        }
    }
    let mut numbers: BTreeMap<usize, usize> = BTreeMap::new();
    let mut members: Vec<Vec<&str>> = Vec::new();
    let mut parties = Vec::new();
    for (number, custodian) in custodians.iter().enumerate() {
        let party = *numbers.entry(find(&leader, number)).or_insert_with(|| {
            members.push(Vec::new());
            members.len() - 1
        });
        members[party].push(&custodian.party);
        parties.push(party);
    }
    let names = members.into_iter().map(|mut names| {
        names.sort_unstable();
        names.dedup();
        names.join(" and ")
    });
    (parties, names.collect())
}

fn find(leader: &[usize], mut number: usize) -> usize {
    while leader[number] != number {
        number = leader[number];
    }
    number
}

#[cfg(test)]
mod tests {
    use super::*;

    fn custodian(party: &str, network: &str, account: &str) -> CustodianText {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        CustodianText {
            party: party.to_owned(),
            network: some(network),
            account: some(account),
            ..CustodianText::default()
        }
    }

    #[test]
    fn whatever_is_shared_makes_one_party_and_links_go_on() {
        let all = [
            custodian("a", "n1", ""),
            custodian("b", "", "x"),
            custodian("c", "", ""),
            custodian("d", "n1", "x"),
            custodian("c", "n2", ""),
            // A network and an account of the same name have nothing in common.
            custodian("e", "x", "n2"),
        ];
        let all: Vec<_> = all.iter().collect();
        let (parties, names) = parties_of(&all);
        assert_eq!(parties, [0, 0, 1, 0, 1, 2]);
        assert_eq!(names, ["a and b and d", "c", "e"]);
    }
}
