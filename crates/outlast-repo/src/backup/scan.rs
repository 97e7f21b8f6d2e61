//! Counting what there is to back up, so that progress can be told.

use outlast_source::{Place, Source};

use crate::{Cancel, RepoError};

/// What a source holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ScanTotals {
    /// Regular files.
    pub files: u64,
    /// Directories.
    pub directories: u64,
    /// Everything else.
    pub others: u64,
    /// Bytes in regular files.
    pub bytes: u64,
}

/// Walks the source and reports the totals so far from time to time. Errors are passed over: the
/// backup itself reports them.
pub fn scan(
    source: &dyn Source,
    cancel: &Cancel,
    mut report: impl FnMut(ScanTotals),
) -> Result<ScanTotals, RepoError> {
    let mut totals = ScanTotals::default();
    let mut waiting: Vec<Place> = vec![source.root()];
    while let Some(place) = waiting.pop() {
        let Ok(names) = source.names(&place) else {
            continue;
        };
        for name in names {
            cancel.check()?;
            let Ok(Some(found)) = source.look(&place, &name) else {
                continue;
            };
            if let Some(place) = found.place {
                totals.directories += 1;
                waiting.push(place);
            } else if found.node.is_file() {
                totals.files += 1;
                totals.bytes += found.node.size;
            } else {
                totals.others += 1;
            }
        }
        report(totals);
    }
    Ok(totals)
}
