//! Reading an index as all programs write it, without looking at each name and number through serde.
//!
//! An index of ten million blobs is gigabytes of JSON of one shape. This reads that shape and nothing
//! else; of whatever differs, be it a blank, it says nothing, and serde decides.

use outlast_object::Id;

use crate::{BlobKind, IndexBlob, IndexFile, IndexPack};

/// Blobs that room is made for in a pack.
const BLOBS_RESERVED: usize = 64;

/// The index, if it has exactly the usual shape.
pub(crate) fn scan(json: &[u8]) -> Option<IndexFile> {
    let mut rest = Scanner(json);
    let mut packs = Vec::new();
    rest.expect(b"{\"packs\":[")?;
    if !rest.takes(b"]") {
        loop {
            packs.push(rest.pack()?);
            if !rest.takes(b",") {
                rest.expect(b"]")?;
                break;
            }
        }
    }
    rest.expect(b"}")?;
    // Go ends documents with a line break in some versions.
    rest.takes(b"\n");
    rest.0.is_empty().then_some(IndexFile {
        supersedes: Vec::new(),
        packs,
    })
}

struct Scanner<'a>(&'a [u8]);

impl Scanner<'_> {
    fn takes(&mut self, text: &[u8]) -> bool {
        match self.0.strip_prefix(text) {
            Some(rest) => {
                self.0 = rest;
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, text: &[u8]) -> Option<()> {
        self.takes(text).then_some(())
    }

    fn pack(&mut self) -> Option<IndexPack> {
        self.expect(b"{\"id\":\"")?;
        let id = self.id()?;
        self.expect(b"\",\"blobs\":[")?;
        let mut blobs = Vec::with_capacity(BLOBS_RESERVED);
        if !self.takes(b"]") {
            loop {
                blobs.push(self.blob()?);
                if !self.takes(b",") {
                    self.expect(b"]")?;
                    break;
                }
            }
        }
        self.expect(b"}")?;
        Some(IndexPack { id, blobs })
    }

    fn blob(&mut self) -> Option<IndexBlob> {
        self.expect(b"{\"id\":\"")?;
        let id = self.id()?;
        self.expect(b"\",\"type\":\"")?;
        let kind = if self.takes(b"data") {
            BlobKind::Data
        } else {
            self.expect(b"tree")?;
            BlobKind::Tree
        };
        self.expect(b"\",\"offset\":")?;
        let offset = self.number()?;
        self.expect(b",\"length\":")?;
        let length = self.number()?;
        let uncompressed_length = match self.takes(b",\"uncompressed_length\":") {
            true => self.number()?,
            false => 0,
        };
        self.expect(b"}")?;
        Some(IndexBlob {
            id,
            kind,
            offset,
            length,
            uncompressed_length,
        })
    }

    fn id(&mut self) -> Option<Id> {
        let (digits, rest) = self.0.split_first_chunk::<64>()?;
        let mut bytes = [0; 32];
        let mut wrong = 0;
        let (pairs, _) = digits.as_chunks::<2>();
        for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
            let (high, low) = (VALUES[usize::from(*high)], VALUES[usize::from(*low)]);
            wrong |= high | low;
            *byte = high << 4 | (low & 15);
        }
        self.0 = rest;
        (wrong < WRONG).then(|| Id::from_bytes(bytes))
    }

    /// A whole number that fits, without a sign, a fraction or zeros in front.
    fn number(&mut self) -> Option<u32> {
        let digits = self
            .0
            .iter()
            .take(11)
            .take_while(|byte| byte.is_ascii_digit());
        let digits = digits.count();
        if digits == 0 || digits > 10 || (digits > 1 && self.0[0] == b'0') {
            return None;
        }
        let (number, rest) = self.0.split_at(digits);
        let value = number
            .iter()
            .fold(0_u64, |value, digit| value * 10 + u64::from(digit - b'0'));
        // What follows must end the number: a fraction or an exponent is for serde.
        if !matches!(rest.first(), Some(b',' | b'}')) {
            return None;
        }
        self.0 = rest;
        u32::try_from(value).ok()
    }
}

/// The value of what is no hexadecimal digit in lower case.
const WRONG: u8 = 0x10;

/// Values of hexadecimal digits.
const VALUES: [u8; 256] = {
    let mut values = [WRONG; 256];
    let mut digit = 0;
    while digit < 10 {
        values[(b'0' + digit) as usize] = digit;
        digit += 1;
    }
    let mut letter = 0;
    while letter < 6 {
        values[(b'a' + letter) as usize] = 10 + letter;
        letter += 1;
    }
    values
};

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file() -> impl Strategy<Value = IndexFile> {
        let id = || any::<[u8; 32]>().prop_map(Id::from_bytes);
        let kind = prop_oneof![Just(BlobKind::Data), Just(BlobKind::Tree)];
        let length = || prop_oneof![Just(0), any::<u32>()];
        let blob = (id(), kind, length(), length(), length()).prop_map(
            |(id, kind, offset, length, uncompressed_length)| IndexBlob {
                id,
                kind,
                offset,
                length,
                uncompressed_length,
            },
        );
        let blobs = prop::collection::vec(blob, 0..4);
        let pack = (id(), blobs).prop_map(|(id, blobs)| IndexPack { id, blobs });
        prop::collection::vec(pack, 0..4).prop_map(|packs| IndexFile {
            supersedes: Vec::new(),
            packs,
        })
    }

    proptest! {
        #[test]
        fn what_we_write_is_read(file in file()) {
            prop_assert_eq!(scan(&file.to_json().unwrap()), Some(file));
        }

        /// Whatever somebody changes: what is read is what serde reads.
        #[test]
        fn nothing_is_read_differently(
            file in file(),
            at in any::<prop::sample::Index>(),
            piece in prop_oneof![
                any::<u8>().prop_map(|byte| vec![byte]),
                Just(b"00".to_vec()), Just(b"-1".to_vec()), Just(b".5".to_vec()), Just(b"e3".to_vec()),
                Just(b" ".to_vec()), Just(b"4294967296".to_vec()), Just(b",\"x\":1".to_vec()),
            ],
            removed in 0_usize..3,
        ) {
            let mut json = file.to_json().unwrap();
            let at = at.index(json.len());
            json.splice(at..(at + removed).min(json.len()), piece);
            if let Some(read) = scan(&json) {
                let judge: IndexFile = serde_json::from_slice(&json).unwrap();
                prop_assert_eq!(read, judge);
            }
        }
    }

    #[test]
    fn digits_are_lower_case_and_whole() {
        let json = |id: &str| format!("{{\"packs\":[{{\"id\":\"{id}\",\"blobs\":[]}}]}}");
        assert!(scan(json(&"0a".repeat(32)).as_bytes()).is_some());
        assert!(scan(json(&"0A".repeat(32)).as_bytes()).is_none());
        assert!(scan(json(&"0g".repeat(32)).as_bytes()).is_none());
        assert!(scan(json(&"0a".repeat(31)).as_bytes()).is_none());
        assert!(scan(b"{\"packs\":[]}\n").is_some());
        assert!(scan(b"{\"packs\":[]}x").is_none());
    }
}
