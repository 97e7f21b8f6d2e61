//! Which packs are read from end to end.

use std::str::FromStr;

use outlast_object::{Id, hash};

/// Largest number of groups that packs can be divided into: they are told apart by one byte.
const GROUPS_MAX: u32 = 256;

/// Which packs are read from end to end.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum ReadData {
    /// None: only what is there and how large it is.
    #[default]
    Nothing,
    /// All of them.
    Everything,
    /// The nth of so many groups. Reading every group reads everything.
    Group {
        /// Which group, counted from 1.
        group: u32,
        /// How many groups there are.
        groups: u32,
    },
    /// So many of a hundred packs, at random, one at least.
    Percent(f64),
    /// About so many bytes, at random.
    Bytes(u64),
}

/// A subset that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseSubsetError {
    /// Neither a group nor a percentage nor a size.
    #[error("invalid subset {0:?}: use n/t, a percentage such as 2.5%, or a size such as 50M")]
    Invalid(String),
    /// A group that does not exist.
    #[error(
        "invalid subset {0:?}: n and t must be positive, n at most t, and t at most {GROUPS_MAX}"
    )]
    Group(String),
    /// A percentage outside what is possible.
    #[error("invalid subset {0:?}: a percentage must be above 0 and at most 100")]
    Percent(String),
    /// No bytes at all.
    #[error("invalid subset {0:?}: a size must be above 0")]
    Bytes(String),
}

impl FromStr for ReadData {
    type Err = ParseSubsetError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || ParseSubsetError::Invalid(text.to_owned());
        if let Some((group, groups)) = text.split_once('/') {
            let number = |part: &str| part.parse::<u32>().map_err(|_| invalid());
            let (group, groups) = (number(group)?, number(groups)?);
            if group == 0 || group > groups || groups > GROUPS_MAX {
                return Err(ParseSubsetError::Group(text.to_owned()));
            }
            return Ok(ReadData::Group { group, groups });
        }
        if let Some(percent) = text.strip_suffix('%') {
            let percent: f64 = percent.parse().map_err(|_| invalid())?;
            if !(percent > 0.0 && percent <= 100.0) {
                return Err(ParseSubsetError::Percent(text.to_owned()));
            }
            return Ok(ReadData::Percent(percent));
        }
        match parse_bytes(text).ok_or_else(invalid)? {
            0 => Err(ParseSubsetError::Bytes(text.to_owned())),
            bytes => Ok(ReadData::Bytes(bytes)),
        }
    }
}

/// A size with restic's suffixes: powers of 1024, `b` for bytes.
fn parse_bytes(text: &str) -> Option<u64> {
    let (number, shift) = match text.chars().last()?.to_ascii_lowercase() {
        'b' => (&text[..text.len() - 1], 0),
        'k' => (&text[..text.len() - 1], 10),
        'm' => (&text[..text.len() - 1], 20),
        'g' => (&text[..text.len() - 1], 30),
        't' => (&text[..text.len() - 1], 40),
        _ => (text, 0),
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}

impl ReadData {
    /// Chooses among packs with their sizes in bytes. `seed` decides what is random.
    pub(super) fn choose(self, packs: &[(Id, u64)], seed: u64) -> Vec<(Id, u64)> {
        match self {
            ReadData::Nothing => Vec::new(),
            ReadData::Everything => packs.to_vec(),
            ReadData::Group { group, groups } => packs
                .iter()
                .filter(|(id, _)| u32::from(id.as_bytes()[0]) % groups.max(1) + 1 == group)
                .copied()
                .collect(),
            ReadData::Percent(percent) => at_random(packs, percent / 100.0, seed),
            ReadData::Bytes(bytes) => {
                let total: u64 = packs.iter().map(|(_, size)| size).sum();
                at_random(packs, bytes as f64 / total.max(1) as f64, seed)
            }
        }
    }
}

fn at_random(packs: &[(Id, u64)], share: f64, seed: u64) -> Vec<(Id, u64)> {
    let wanted = (packs.len() as f64 * share.min(1.0)) as usize;
    let mut shuffled = packs.to_vec();
    shuffled.sort_by_cached_key(|(id, _)| {
        let mut bytes = seed.to_le_bytes().to_vec();
        bytes.extend_from_slice(id.as_bytes());
        hash(&bytes)
    });
    shuffled.truncate(wanted.max(1));
    shuffled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subsets_are_understood_or_refused() {
        let parse = |text: &str| text.parse::<ReadData>();
        assert_eq!(
            parse("2/5"),
            Ok(ReadData::Group {
                group: 2,
                groups: 5
            })
        );
        assert_eq!(parse("2.5%"), Ok(ReadData::Percent(2.5)));
        assert_eq!(parse("100"), Ok(ReadData::Bytes(100)));
        assert_eq!(parse("3k"), Ok(ReadData::Bytes(3072)));
        assert_eq!(parse("1T"), Ok(ReadData::Bytes(1 << 40)));
        for bad in [
            "",
            "/",
            "0/3",
            "4/3",
            "1/257",
            "1/2/3",
            "-1/2",
            "0%",
            "101%",
            "NaN%",
            "x%",
            "0",
            "0k",
            "5x",
            "k",
            "-3",
            "99999999999999999999",
            "99999999999t",
            "é",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn groups_make_up_the_whole_and_shares_are_kept() {
        let packs: Vec<(Id, u64)> = (0..1000_u32)
            .map(|n| (hash(&n.to_le_bytes()), 10))
            .collect();
        let mut all: Vec<_> = (1..=7)
            .flat_map(|group| ReadData::Group { group, groups: 7 }.choose(&packs, 1))
            .collect();
        all.sort_unstable();
        let mut sorted = packs.clone();
        sorted.sort_unstable();
        assert_eq!(all, sorted);
        assert_eq!(ReadData::Percent(10.0).choose(&packs, 1).len(), 100);
        assert_eq!(ReadData::Percent(0.001).choose(&packs, 1).len(), 1);
        assert_eq!(ReadData::Bytes(500).choose(&packs, 1).len(), 50);
        assert_eq!(ReadData::Bytes(u64::MAX).choose(&packs, 1).len(), 1000);
        let (one, two) = (
            ReadData::Bytes(500).choose(&packs, 1),
            ReadData::Bytes(500).choose(&packs, 2),
        );
        assert_ne!(one, two);
        assert!(ReadData::Everything.choose(&[], 1).is_empty());
        assert!(ReadData::Percent(5.0).choose(&[], 1).is_empty());
    }
}
