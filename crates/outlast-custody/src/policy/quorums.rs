//! All the ways in which a group can be satisfied.
//!
//! A way is a set of custodians of which no two are of one party, however groups are nested. The
//! ways are found once, when a policy is read; a verdict is then a comparison of bits.

use super::PolicyError;

/// Most custodians of a policy.
pub const CUSTODIANS_MAX: usize = 16;
/// Most ways to satisfy a group.
const WAYS_MAX: usize = 20_000;

/// A set of custodians, by their numbers as bits.
pub(crate) type Custodians = u32;

/// One way to satisfy a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Way {
    pub(super) custodians: Custodians,
    /// Their parties, by number as bits.
    parties: u32,
}

impl Way {
    /// The way that consists of one custodian.
    pub(super) fn of_custodian(number: usize, party: usize) -> Self {
        Self {
            custodians: 1 << number,
            parties: 1 << party,
        }
    }
}

/// All ways to choose `need` of the members, each member with the ways to satisfy it, so that every
/// party is used once.
///
/// # Errors
/// [`PolicyError::TooComplex`].
pub(super) fn choose(
    group: &str,
    need: usize,
    members: &[Vec<Way>],
) -> Result<Vec<Way>, PolicyError> {
    let nothing = Way {
        custodians: 0,
        parties: 0,
    };
    // Ways to satisfy so many of the members that were looked at.
    let mut chosen: Vec<Vec<Way>> = vec![Vec::new(); need + 1];
    chosen[0].push(nothing);
    for ways in members {
        for count in (1..=need).rev() {
            let mut more = Vec::new();
            for before in &chosen[count - 1] {
                let apart = ways.iter().filter(|way| way.parties & before.parties == 0);
                more.extend(apart.map(|way| Way {
                    custodians: way.custodians | before.custodians,
                    parties: way.parties | before.parties,
                }));
                if chosen[count].len() + more.len() > WAYS_MAX {
                    return Err(PolicyError::TooComplex(group.to_owned()));
                }
            }
            chosen[count].append(&mut more);
        }
    }
    let mut ways = chosen.pop().unwrap_or_default();
    ways.sort_unstable();
    ways.dedup();
    Ok(ways)
}
