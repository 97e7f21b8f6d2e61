//! Listings that come in pages from somebody who may want to keep us busy for ever.

use super::WireError;

/// Puts pages together. Rows must ascend strictly, and a page that is not the last must bring some:
/// so a listing ends, at the latest where there are more rows than there can be.
pub(super) struct Pages<R, K> {
    rows: Vec<R>,
    rows_max: usize,
    key: fn(&R) -> K,
}

fn malformed<T>(what: &str) -> Result<T, WireError> {
    Err(WireError::Malformed(what.to_owned()))
}

impl<R, K: Ord> Pages<R, K> {
    pub(super) fn new(rows_max: usize, key: fn(&R) -> K) -> Self {
        Self {
            rows: Vec::new(),
            rows_max,
            key,
        }
    }

    /// Takes a page; gives after what the next one begins, if there is one.
    pub(super) fn take(&mut self, page: Vec<R>, next: Option<K>) -> Result<Option<K>, WireError> {
        if self.rows.len().saturating_add(page.len()) > self.rows_max {
            return malformed("a listing without end");
        }
        let brings_none = page.is_empty();
        for row in page {
            let last = self.rows.last().map(self.key);
            if last.is_some_and(|last| last >= (self.key)(&row)) {
                return malformed("a listing out of order");
            }
            self.rows.push(row);
        }
        if next.is_some() && (brings_none || next != self.rows.last().map(self.key)) {
            return malformed("a listing that does not go on where it stopped");
        }
        Ok(next)
    }

    pub(super) fn into_rows(self) -> Vec<R> {
        self.rows
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn pages() -> Pages<u64, u64> {
        Pages::new(5, |row| *row)
    }

    #[test]
    fn pages_are_put_together() {
        let mut all = pages();
        assert_eq!(all.take(vec![1, 2], Some(2)).unwrap(), Some(2));
        assert_eq!(all.take(vec![5], None).unwrap(), None);
        assert_eq!(all.into_rows(), [1, 2, 5]);
        assert_eq!(pages().take(vec![], None).unwrap(), None);
    }

    #[test]
    fn whoever_wants_to_keep_us_busy_is_stopped() {
        assert!(pages().take(vec![1, 1], None).is_err());
        assert!(pages().take(vec![2, 1], None).is_err());
        assert!(pages().take(vec![], Some(1)).is_err());
        assert!(pages().take(vec![1, 2], Some(1)).is_err());
        assert!(pages().take((0..6).collect(), None).is_err());
        let mut all = pages();
        all.take(vec![1, 2], Some(2)).unwrap();
        assert!(all.take(vec![2, 3], None).is_err());
    }
}
