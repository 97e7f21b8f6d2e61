//! What stands after the question mark.

use std::str::FromStr;

use outlast_object::Id;

use super::{Refused, refused};

/// A query, taken apart.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Query {
    pub(super) snapshot: Option<Id>,
    after: Option<String>,
    limit: Option<usize>,
}

fn bad() -> Refused {
    refused(400, "query", "the query cannot be understood")
}

fn once<T>(slot: &mut Option<T>, value: T) -> Result<(), Refused> {
    match slot.replace(value) {
        None => Ok(()),
        // Which of the two was meant nobody knows.
        Some(_) => Err(bad()),
    }
}

impl Query {
    pub(super) fn parse(text: &str) -> Result<Self, Refused> {
        let mut query = Self::default();
        for part in text.split('&').filter(|part| !part.is_empty()) {
            let (key, value) = part.split_once('=').ok_or_else(bad)?;
            match key {
                "snapshot" => once(&mut query.snapshot, value.parse().map_err(|_| bad())?)?,
                "after" => once(&mut query.after, value.to_owned())?,
                "limit" => once(&mut query.limit, value.parse().map_err(|_| bad())?)?,
                _ => return Err(bad()),
            }
        }
        Ok(query)
    }

    /// Entries in a page: what was asked for, within bounds.
    pub(super) fn page(&self, most: usize) -> usize {
        self.limit.unwrap_or(most).clamp(1, most)
    }

    /// After what the page begins.
    pub(super) fn after<T: FromStr>(&self) -> Result<Option<T>, Refused> {
        let parse = |text: &String| text.parse().map_err(|_| bad());
        self.after.as_ref().map(parse).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_understood_or_refused() {
        assert_eq!(Query::parse("").ok(), Some(Query::default()));
        let text = format!("snapshot={}&after=7&limit=3", "ab".repeat(32));
        let query = Query::parse(&text).ok();
        let query = query.unwrap_or_default();
        assert_eq!(query.after::<u64>().ok(), Some(Some(7)));
        assert!(query.after::<Id>().is_err());
        assert_eq!((query.page(2), query.page(10)), (2, 3));
        assert_eq!(Query::default().page(10), 10);
        for bad in [
            "limit",
            "limit=x",
            "limit=-1",
            "limit=1&limit=2",
            "snapshot=12",
            "delete=1",
            "after=1&after=2",
        ] {
            assert!(Query::parse(bad).is_err(), "{bad}");
        }
    }
}
