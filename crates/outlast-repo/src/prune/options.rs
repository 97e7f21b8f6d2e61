//! What pruning is asked to do.

use std::str::FromStr;

use crate::{RepoError, Repository};

/// How much unused data may stay, because repacking it costs time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum MaxUnused {
    /// So many bytes.
    Bytes(u64),
    /// So many percent of what is then in the repository; at least 0 and below 100.
    Percent(f64),
    /// Any amount.
    Unlimited,
}

impl Default for MaxUnused {
    fn default() -> Self {
        MaxUnused::Percent(5.0)
    }
}

impl MaxUnused {
    /// Bytes that may stay unused where `used` bytes are used.
    pub fn bytes(self, used: u64) -> u64 {
        match self {
            MaxUnused::Bytes(bytes) => bytes,
            MaxUnused::Percent(percent) => (percent / (100.0 - percent) * used as f64) as u64,
            MaxUnused::Unlimited => u64::MAX,
        }
    }
}

/// The text is not a limit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "invalid limit of unused data {0:?}: give bytes as 10G, a percentage below 100% or unlimited"
)]
pub struct ParseMaxUnusedError(pub String);

impl FromStr for MaxUnused {
    type Err = ParseMaxUnusedError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let failed = || ParseMaxUnusedError(text.to_owned());
        let trimmed = text.trim();
        if trimmed == "unlimited" {
            return Ok(MaxUnused::Unlimited);
        }
        if let Some(number) = trimmed.strip_suffix('%') {
            let percent: f64 = number.trim().parse().map_err(|_| failed())?;
            let fits = (0.0..100.0).contains(&percent);
            return if fits {
                Ok(MaxUnused::Percent(percent))
            } else {
                Err(failed())
            };
        }
        let factor: u64 = match trimmed.chars().last().ok_or_else(failed)? {
            'k' | 'K' => 1 << 10,
            'm' | 'M' => 1 << 20,
            'g' | 'G' => 1 << 30,
            't' | 'T' => 1 << 40,
            _ => 1,
        };
        let number = trimmed.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let suffix = &trimmed[number.len()..];
        if suffix.len() > 1 || (factor == 1 && !matches!(suffix, "" | "b" | "B")) {
            return Err(failed());
        }
        let number: u64 = number.parse().map_err(|_| failed())?;
        let bytes = number.checked_mul(factor).ok_or_else(failed)?;
        Ok(MaxUnused::Bytes(bytes))
    }
}

/// How to prune; the defaults are restic's.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct PruneOptions {
    /// Unused data that may stay.
    pub max_unused: MaxUnused,
    /// Bytes of packs that are repacked at most; `None` for any number.
    pub max_repack_bytes: Option<u64>,
    /// Repack only packs with trees, which are in the local cache.
    pub repack_cacheable_only: bool,
    /// Packs smaller than 80 percent of the size of new packs count as small and are merged. Without
    /// it packs count as small that are much smaller than the rest.
    pub repack_small: bool,
    /// Packs smaller than so many bytes count as small; goes before `repack_small`.
    pub repack_smaller_than: Option<u64>,
    /// Compress data that was stored without compression.
    pub repack_uncompressed: bool,
    /// Make room where not even a new index can be written: repack nothing, and where there is no
    /// room for new index files, remove the old ones first. A crash there needs `repair index`.
    pub recover_space: bool,
}

impl PruneOptions {
    /// [`RepoError::Refused`] where the options do not fit the repository.
    pub fn check(&self, repository: &Repository) -> Result<(), RepoError> {
        let refuse = |text: &str| Err(RepoError::Refused(text.to_owned()));
        if self.repack_uncompressed && repository.config().version < 2 {
            return refuse("compression needs repository version 2: run `migrate upgrade_repo_v2`");
        }
        if self.repack_uncompressed && repository.options().compression.level().is_none() {
            return refuse("compression is switched off, so nothing can be compressed");
        }
        if self
            .repack_smaller_than
            .is_some_and(|bytes| bytes > repository.pack_bytes())
        {
            return refuse("the limit of small packs is larger than the size of new packs");
        }
        Ok(())
    }

    pub(super) fn repack_bytes_max(&self) -> u64 {
        if self.recover_space {
            0
        } else {
            self.max_repack_bytes.unwrap_or(u64::MAX)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_as_restic_reads_them() {
        let limit = |text: &str| text.parse::<MaxUnused>().ok();
        assert_eq!(limit("5%"), Some(MaxUnused::Percent(5.0)));
        assert_eq!(limit(" 0% "), Some(MaxUnused::Percent(0.0)));
        assert_eq!(limit("10k"), Some(MaxUnused::Bytes(10_240)));
        assert_eq!(limit("3G"), Some(MaxUnused::Bytes(3 << 30)));
        assert_eq!(limit("7"), Some(MaxUnused::Bytes(7)));
        assert_eq!(limit("unlimited"), Some(MaxUnused::Unlimited));
        for bad in [
            "",
            "%",
            "100%",
            "-1%",
            "NaN%",
            "-1",
            "5x",
            "5KK",
            "99999999999T",
            "k",
        ] {
            assert_eq!(limit(bad), None, "{bad}");
        }
        assert_eq!(MaxUnused::Percent(5.0).bytes(95), 5);
        assert_eq!(MaxUnused::Percent(0.0).bytes(1 << 40), 0);
    }
}
