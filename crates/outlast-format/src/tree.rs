//! Trees: the entries of one directory, in the order of their names.

use serde::de::IgnoredAny;

use crate::go_json::append_go_json;
use crate::{FormatError, Node, TREE_BYTES_MAX};

/// Writes a tree entry by entry, so that a directory of any size needs only its bytes in memory.
#[derive(Debug)]
pub struct TreeBuilder {
    bytes: Vec<u8>,
    last_name: Option<Vec<u8>>,
}

impl Default for TreeBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl TreeBuilder {
    /// An empty tree.
    pub fn new() -> Self {
        Self {
            bytes: b"{\"nodes\":[".to_vec(),
            last_name: None,
        }
    }

    /// Adds the next entry. Names must come in strictly increasing order of their bytes.
    pub fn push(&mut self, node: &Node) -> Result<(), FormatError> {
        if let Some(last) = &self.last_name {
            if *last >= node.name {
                return Err(FormatError::TreeOrder {
                    name: node.name_lossy(),
                });
            }
            self.bytes.push(b',');
        }
        append_go_json(&mut self.bytes, node, "tree entry")?;
        let last = self.last_name.get_or_insert_default();
        last.clear();
        last.extend_from_slice(&node.name);
        let size = self.bytes.len() as u64;
        if size > TREE_BYTES_MAX {
            return Err(FormatError::TooLarge {
                what: "tree",
                bytes: size,
                max: TREE_BYTES_MAX,
            });
        }
        Ok(())
    }

    /// The plaintext of the tree blob.
    pub fn finish(mut self) -> Vec<u8> {
        // The line break belongs to the hash: Go's encoder ends documents with one.
        self.bytes.extend_from_slice(b"]}\n");
        self.bytes
    }
}

/// Reads the entries of a tree one by one. Fields that are not known are passed over; names out of
/// order or met twice are an error, after which nothing more is read.
#[derive(Debug)]
pub struct TreeReader<B> {
    bytes: B,
    at: usize,
    state: State,
    last_name: Option<Vec<u8>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Start,
    FirstNode,
    NextNode,
    Done,
}

impl<B: AsRef<[u8]>> TreeReader<B> {
    /// Reads the plaintext of a tree blob.
    pub fn new(bytes: B) -> Self {
        Self {
            bytes,
            at: 0,
            state: State::Start,
            last_name: None,
        }
    }

    /// All entries at once, for trees known to be small.
    pub fn collect_nodes(self) -> Result<Vec<Node>, FormatError> {
        self.collect()
    }

    fn fail<T>(&self, reason: &str) -> Result<T, FormatError> {
        Err(FormatError::Json {
            what: "tree",
            reason: format!("{reason} at byte {}", self.at),
        })
    }

    fn peek(&mut self) -> Option<u8> {
        let bytes = self.bytes.as_ref();
        while matches!(bytes.get(self.at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
        bytes.get(self.at).copied()
    }

    fn expect(&mut self, byte: u8) -> Result<(), FormatError> {
        if self.peek() != Some(byte) {
            return self.fail(&format!("expected {:?}", char::from(byte)));
        }
        self.at += 1;
        Ok(())
    }

    fn value<T: serde::de::DeserializeOwned>(&mut self) -> Result<T, FormatError> {
        let rest = self.bytes.as_ref().get(self.at..).unwrap_or_default();
        let mut values = serde_json::Deserializer::from_slice(rest).into_iter::<T>();
        match values.next() {
            Some(Ok(value)) => {
                self.at += values.byte_offset();
                Ok(value)
            }
            Some(Err(error)) => Err(FormatError::json("tree", &error)),
            None => self.fail("the document ends too early"),
        }
    }

    /// Goes forward to the first entry: past `{`, fields of other names, `"nodes":` and `[`.
    fn start(&mut self) -> Result<State, FormatError> {
        self.expect(b'{')?;
        if self.peek() == Some(b'}') {
            self.at += 1;
            return self.end();
        }
        loop {
            let key: String = self.value()?;
            self.expect(b':')?;
            if key == "nodes" {
                if self.peek() == Some(b'n') {
                    // Go writes null for a list that was never filled.
                    let _: Option<IgnoredAny> = self.value()?;
                    return self.after_nodes();
                }
                self.expect(b'[')?;
                return Ok(State::FirstNode);
            }
            let _: IgnoredAny = self.value()?;
            if self.peek() == Some(b'}') {
                self.at += 1;
                return self.end();
            }
            self.expect(b',')?;
        }
    }

    /// Reads what follows the entries up to the end of the document.
    fn after_nodes(&mut self) -> Result<State, FormatError> {
        while self.peek() == Some(b',') {
            self.at += 1;
            let key: String = self.value()?;
            if key == "nodes" {
                return self.fail("a second list of entries");
            }
            self.expect(b':')?;
            let _: IgnoredAny = self.value()?;
        }
        self.expect(b'}')?;
        self.end()
    }

    fn end(&mut self) -> Result<State, FormatError> {
        if self.peek().is_some() {
            self.fail("trailing bytes")
        } else {
            Ok(State::Done)
        }
    }

    fn advance(&mut self) -> Result<Option<Node>, FormatError> {
        if self.state == State::Start {
            self.state = self.start()?;
        }
        if self.state == State::Done {
            return Ok(None);
        }
        if self.peek() == Some(b']') {
            self.at += 1;
            self.state = self.after_nodes()?;
            return Ok(None);
        }
        if self.state == State::NextNode {
            self.expect(b',')?;
        }
        self.state = State::NextNode;
        let node: Node = self.value()?;
        if self
            .last_name
            .as_ref()
            .is_some_and(|last| *last >= node.name)
        {
            return Err(FormatError::TreeOrder {
                name: node.name_lossy(),
            });
        }
        self.last_name = Some(node.name.clone());
        Ok(Some(node))
    }
}

impl<B: AsRef<[u8]>> Iterator for TreeReader<B> {
    type Item = Result<Node, FormatError>;

    fn next(&mut self) -> Option<Self::Item> {
        let result = self.advance();
        if result.is_err() {
            self.state = State::Done;
        }
        result.transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str) -> Node {
        Node {
            name: name.into(),
            content: Some(Vec::new()),
            ..Node::default()
        }
    }

    fn names(json: &[u8]) -> Result<Vec<String>, FormatError> {
        TreeReader::new(json)
            .map(|node| node.map(|node| node.name_lossy()))
            .collect()
    }

    #[test]
    fn built_trees_read_back() {
        assert_eq!(TreeBuilder::new().finish(), b"{\"nodes\":[]}\n");
        let mut builder = TreeBuilder::new();
        for name in ["a", "a.b", "ab", "b"] {
            builder.push(&node(name)).unwrap();
        }
        assert!(matches!(
            builder.push(&node("b")),
            Err(FormatError::TreeOrder { .. })
        ));
        assert_eq!(names(&builder.finish()).unwrap(), ["a", "a.b", "ab", "b"]);
    }

    #[test]
    fn unknown_fields_null_and_spaces_are_accepted() {
        assert_eq!(names(b"{}").unwrap().len(), 0);
        assert_eq!(names(b"{\"nodes\":null}").unwrap().len(), 0);
        let json =
            br#" { "x" : [1,{"y":2}] , "nodes" : [ {"name":"a"} , {"name":"b"} ] , "z":"q" } "#;
        assert_eq!(names(json).unwrap(), ["a", "b"]);
    }

    #[test]
    fn damaged_trees_are_errors() {
        for json in [
            &b""[..],
            b"{",
            b"[",
            b"{\"nodes\":[",
            b"{\"nodes\":[{\"name\":\"a\"}",
            b"{\"nodes\":[]}x",
            b"{\"nodes\":[{\"name\":\"b\"},{\"name\":\"a\"}]}",
            b"{\"nodes\":[{\"name\":\"a\"},{\"name\":\"a\"}]}",
            b"{\"nodes\":[],\"nodes\":[]}",
            b"{\"nodes\":[1]}",
            b"{\"nodes\":[{\"name\":\"a\"} {\"name\":\"b\"}]}",
            b"null",
            b"\xff\xfe",
        ] {
            assert!(names(json).is_err(), "{}", String::from_utf8_lossy(json));
        }
    }
}
