//! The key in n shares, any k of which bring it back, by Shamir's scheme over bytes.
//!
//! What is shared is the password, 16 random bytes and a check over both. Every share carries a
//! commitment to each of the n: the hash of its number and bytes. So a share that was mistyped,
//! forged or comes from another kit is found and named, before and beside the check at the end. The
//! random bytes keep whoever has fewer than k shares from trying passwords against commitments.

use outlast_object::hash;
use zeroize::Zeroizing;

use super::content::KitId;

/// Most shares.
pub const SHARES_MAX: u8 = 16;
/// Bytes of a commitment.
pub const COMMITMENT_BYTES: usize = 16;
/// Bytes that make the commitments say nothing about the password.
pub const BLINDING_BYTES: usize = 16;
const CHECK_BYTES: usize = 8;

/// A share.
#[derive(Clone, PartialEq, Eq)]
pub struct Share {
    /// Which, from 1.
    pub number: u8,
    /// How many bring back the key.
    pub threshold: u8,
    /// The hashes of all shares, by number.
    pub commitments: Vec<[u8; COMMITMENT_BYTES]>,
    /// Its bytes.
    pub value: Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for Share {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Share({} of {})", self.number, self.commitments.len())
    }
}

/// Why shares do not make a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SplitError {
    /// Not 2 <= k <= n <= 16.
    #[error("a key is split into n shares, of which k bring it back: 2 <= k <= n <= {SHARES_MAX}")]
    Numbers,
    /// A share is not what its own commitment says.
    #[error("share {0} is not whole: type its sheet again")]
    NotWhole(u8),
    /// A share that belongs to others than most of those that are there.
    #[error(
        "share {0} is not of the same kit as the others: it is wrong or forged; use another one"
    )]
    Foreign(u8),
    /// Too few.
    #[error("{have} of {need} shares that are needed are there; find {} more", .need - .have)]
    TooFew {
        /// Sound shares that are there.
        have: u8,
        /// Those needed.
        need: u8,
    },
    /// They fit together and hold no key.
    #[error("the shares fit together, but the key in them is damaged")]
    Damaged,
}

fn commitment(id: &KitId, number: u8, value: &[u8]) -> [u8; COMMITMENT_BYTES] {
    let mut text = Zeroizing::new(b"outlast-kit-share ".to_vec());
    text.extend_from_slice(&id.0);
    text.push(number);
    text.extend_from_slice(value);
    let digest = hash(&text);
    let mut short = [0; COMMITMENT_BYTES];
    short.copy_from_slice(&digest.as_bytes()[..COMMITMENT_BYTES]);
    short
}

fn check_of(id: &KitId, secret: &[u8]) -> Vec<u8> {
    let mut text = Zeroizing::new(b"outlast-kit-secret ".to_vec());
    text.extend_from_slice(&id.0);
    text.extend_from_slice(secret);
    hash(&text).as_bytes()[..CHECK_BYTES].to_vec()
}

/// Splits a password. `blinding` is fresh randomness.
///
/// # Errors
/// [`SplitError::Numbers`].
pub fn split(
    id: &KitId,
    password: &[u8],
    (threshold, total): (u8, u8),
    blinding: &[u8; BLINDING_BYTES],
) -> Result<Vec<Share>, SplitError> {
    if !(2..=total).contains(&threshold) || total > SHARES_MAX {
        return Err(SplitError::Numbers);
    }
    let mut secret = Zeroizing::new(blinding.to_vec());
    secret.extend_from_slice(password);
    let check = check_of(id, &secret);
    secret.extend_from_slice(&check);
    let dealt = blahaj::Sharks(threshold).dealer(&secret);
    let values: Vec<Zeroizing<Vec<u8>>> = dealt
        .take(usize::from(total))
        // The first byte of each is its number.
        .map(|share| Zeroizing::new(Vec::from(&share)[1..].to_vec()))
        .collect();
    let commitments: Vec<_> = (1..=total)
        .zip(&values)
        .map(|(number, value)| commitment(id, number, value))
        .collect();
    let shares = (1..=total).zip(values).map(|(number, value)| Share {
        number,
        threshold,
        commitments: commitments.clone(),
        value,
    });
    Ok(shares.collect())
}

/// Whether the share is what its own sheet says of it.
fn is_whole(id: &KitId, share: &Share) -> bool {
    let at = usize::from(share.number).checked_sub(1);
    let told = at.and_then(|at| share.commitments.get(at));
    told == Some(&commitment(id, share.number, &share.value))
}

/// The password, from enough shares of one kit. Shares that are not what the others say of them are
/// named and not used; where enough others are there, they do no harm.
///
/// # Errors
/// With the problems of single shares, and the reason why there is no password.
pub fn combine(
    id: &KitId,
    shares: &[Share],
) -> (Result<Zeroizing<Vec<u8>>, SplitError>, Vec<SplitError>) {
    let mut problems = Vec::new();
    let mut groups: Vec<Vec<&Share>> = Vec::new();
    for share in shares {
        if !is_whole(id, share) {
            problems.push(SplitError::NotWhole(share.number));
            continue;
        }
        let fits = |group: &&mut Vec<&Share>| {
            group.first().is_some_and(|first| {
                (first.threshold, &first.commitments) == (share.threshold, &share.commitments)
            })
        };
        match groups.iter_mut().find(fits) {
            Some(group) if group.iter().any(|known| known.number == share.number) => {}
            Some(group) => group.push(share),
            None => groups.push(vec![share]),
        }
    }
    groups.sort_by_key(|group| std::cmp::Reverse(group.len()));
    let mut groups = groups.into_iter();
    let Some(group) = groups.next() else {
        let need = shares.first().map_or(2, |share| share.threshold);
        return (Err(SplitError::TooFew { have: 0, need }), problems);
    };
    problems.extend(
        groups
            .flatten()
            .map(|share| SplitError::Foreign(share.number)),
    );
    let (have, need) = (
        group.len().min(usize::from(u8::MAX)) as u8,
        group[0].threshold,
    );
    if have < need {
        return (Err(SplitError::TooFew { have, need }), problems);
    }
    (join(id, need, &group), problems)
}

fn join(id: &KitId, need: u8, group: &[&Share]) -> Result<Zeroizing<Vec<u8>>, SplitError> {
    let given: Vec<blahaj::Share> = group
        .iter()
        .take(usize::from(need))
        .filter_map(|share| {
            let mut bytes = Zeroizing::new(vec![share.number]);
            bytes.extend_from_slice(&share.value);
            blahaj::Share::try_from(bytes.as_slice()).ok()
        })
        .collect();
    let scheme = blahaj::Sharks(need);
    let secret = scheme.recover(&given);
    let secret = Zeroizing::new(secret.map_err(|_| SplitError::Damaged)?);
    let at = secret.len().checked_sub(CHECK_BYTES);
    let (content, check) = secret.split_at(at.ok_or(SplitError::Damaged)?);
    if check_of(id, content) != check || content.len() < BLINDING_BYTES {
        return Err(SplitError::Damaged);
    }
    Ok(Zeroizing::new(content[BLINDING_BYTES..].to_vec()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const ID: KitId = KitId([1, 2, 3, 4, 5]);
    const PASSWORD: &[u8] = b"the password";

    fn shares(blinding: u8) -> Vec<Share> {
        split(&ID, PASSWORD, (2, 3), &[blinding; BLINDING_BYTES]).unwrap()
    }

    #[test]
    fn each_pair_brings_it_back_and_no_single_one() {
        let all = shares(1);
        for (first, second) in [(0, 1), (0, 2), (1, 2), (2, 0)] {
            let pair = [all[first].clone(), all[second].clone()];
            let (password, problems) = combine(&ID, &pair);
            assert_eq!(password.unwrap().as_slice(), PASSWORD);
            assert_eq!(problems, []);
        }
        for one in &all {
            let twice = [one.clone(), one.clone()];
            let (password, _) = combine(&ID, &twice);
            assert_eq!(password, Err(SplitError::TooFew { have: 1, need: 2 }));
        }
        let (password, _) = combine(&ID, &[]);
        assert!(password.is_err());
    }

    #[test]
    fn a_wrong_share_is_named_and_others_do_without_it() {
        let mut all = shares(1);
        all[1].value[3] ^= 1;
        let (password, problems) = combine(&ID, &all);
        assert_eq!(problems, [SplitError::NotWhole(2)]);
        assert_eq!(password.unwrap().as_slice(), PASSWORD);
        let (password, problems) = combine(&ID, &all[..2]);
        assert_eq!(problems, [SplitError::NotWhole(2)]);
        assert_eq!(password, Err(SplitError::TooFew { have: 1, need: 2 }));
    }

    #[test]
    fn a_share_that_claims_to_be_of_the_kit_is_named() {
        let mut all = shares(1);
        // Consistent in itself, as a forger makes it, and of another dealing.
        all[0] = shares(2)[0].clone();
        let (password, problems) = combine(&ID, &all);
        assert_eq!(problems, [SplitError::Foreign(1)]);
        assert_eq!(password.unwrap().as_slice(), PASSWORD);
        let (password, problems) = combine(&ID, &all[..2]);
        assert_eq!(problems.len(), 1);
        assert!(password.is_err());
        // Under another kit's id nothing fits.
        let (password, problems) = combine(&KitId([0; 5]), &shares(1));
        assert_eq!((problems.len(), password.is_err()), (3, true));
    }

    #[test]
    fn numbers_that_make_no_sense_are_refused() {
        for numbers in [(0, 3), (1, 3), (4, 3), (2, 17), (2, 0)] {
            let outcome = split(&ID, PASSWORD, numbers, &[1; BLINDING_BYTES]);
            assert_eq!(outcome, Err(SplitError::Numbers), "{numbers:?}");
        }
        let most = split(&ID, b"", (16, 16), &[1; BLINDING_BYTES]).unwrap();
        assert_eq!(combine(&ID, &most).0.unwrap().as_slice(), b"");
    }
}
