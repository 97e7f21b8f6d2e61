//! Listings of a REST server, read as they come in.

use std::cell::Cell;
use std::fmt;
use std::io::{self, BufReader, Read};

use outlast_object::Id;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, SeqAccess, Visitor};

/// Largest listing read: some ten million entries.
pub const LISTING_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// Largest single entry; real ones have about a hundred bytes.
const ENTRY_BYTES_MAX: u64 = 16 * 1024;

/// An entry of either version of the protocol.
#[derive(Deserialize)]
#[serde(untagged)]
enum Entry {
    Described { name: String, size: Option<u64> },
    Bare(String),
}

/// Calls `visit` with the id and, where the server tells it, the size of each object listed.
/// Names that are no ids are passed over.
///
/// # Errors
/// What cannot be understood in a body that is no listing, is cut off or is too large.
pub fn read_listing(body: impl Read, visit: &mut dyn FnMut(Id, Option<u64>)) -> Result<(), String> {
    let entry_bytes = Cell::new(0);
    let reader = Bounded {
        inner: BufReader::with_capacity(64 * 1024, body),
        total_left: LISTING_BYTES_MAX,
        entry_bytes: &entry_bytes,
    };
    let mut deserializer = serde_json::Deserializer::from_reader(reader);
    let listing = Listing {
        entry_bytes: &entry_bytes,
        visit,
    };
    let end = listing
        .deserialize(&mut deserializer)
        .and_then(|()| deserializer.end());
    end.map_err(|error| format!("the listing cannot be understood: {error}"))
}

/// Counts what an entry takes, so that no single one fills the memory.
struct Bounded<'a, R> {
    inner: R,
    total_left: u64,
    entry_bytes: &'a Cell<u64>,
}

impl<R: Read> Read for Bounded<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.entry_bytes.set(self.entry_bytes.get() + count as u64);
        self.total_left = self.total_left.saturating_sub(count as u64);
        if self.total_left == 0 || self.entry_bytes.get() > ENTRY_BYTES_MAX {
            return Err(io::Error::other("it is too large"));
        }
        Ok(count)
    }
}

struct Listing<'a> {
    entry_bytes: &'a Cell<u64>,
    visit: &'a mut dyn FnMut(Id, Option<u64>),
}

impl<'de> DeserializeSeed<'de> for Listing<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Listing<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of names")
    }

    /// Some servers say `null` where there is nothing to list.
    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        while let Some(entry) = entries.next_element()? {
            self.entry_bytes.set(0);
            let (name, size) = match entry {
                Entry::Described { name, size } => (name, size),
                Entry::Bare(name) => (name, None),
            };
            if let Ok(id) = name.parse() {
                (self.visit)(id, size);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(text: &str) -> Result<Vec<(Id, Option<u64>)>, String> {
        let mut found = Vec::new();
        read_listing(text.as_bytes(), &mut |id, size| found.push((id, size)))?;
        Ok(found)
    }

    #[test]
    fn both_versions_and_foreign_names() {
        let (a, b) = (Id::from_bytes([0xaa; 32]), Id::from_bytes([0xbb; 32]));
        let text = format!(
            r#" [{{"name":"{a}","size":7,"more":[1]}}, "{b}", {{"name":"x.tmp","size":1}}, "tmp"]"#
        );
        assert_eq!(listed(&text).unwrap(), [(a, Some(7)), (b, None)]);
        assert_eq!(listed("[]").unwrap(), []);
        assert_eq!(listed("null").unwrap(), []);
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "",
            "[",
            "{}",
            "[1]",
            "[] []",
            r#"[{"name":"x"},"#,
            r#"[{"name":"x","size":-1}]"#,
            "<html>no</html>",
        ] {
            assert!(listed(text).is_err(), "{text}");
        }
    }

    #[test]
    fn one_entry_cannot_fill_the_memory() {
        let endless = io::repeat(b'x');
        let error = read_listing(b"[\"".chain(endless), &mut |_, _| {}).unwrap_err();
        assert!(error.contains("too large"), "{error}");
        // Many entries are no problem.
        let text = format!("[{}\"end\"]", "\"foreign name\",".repeat(100_000));
        assert_eq!(listed(&text).unwrap(), []);
    }
}
