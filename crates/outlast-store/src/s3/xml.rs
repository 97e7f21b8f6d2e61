//! As much of XML as the answers of S3 need: a small tree, bounded in every direction.

use quick_xml::Reader;
use quick_xml::events::Event;

/// Elements within each other.
const DEPTH_MAX: usize = 16;
/// Elements in an answer: a page of 1000 versions has some 10,000.
const ELEMENTS_MAX: usize = 200_000;

/// An element with what is in it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Element {
    /// Without its namespace.
    pub(super) name: String,
    /// The text directly inside.
    pub(super) text: String,
    pub(super) children: Vec<Element>,
}

impl Element {
    /// The first child of this name.
    pub(super) fn child(&self, name: &str) -> Option<&Element> {
        self.children.iter().find(|child| child.name == name)
    }

    /// The text of the first child of this name.
    pub(super) fn text_of(&self, name: &str) -> Option<&str> {
        self.child(name).map(|child| child.text.trim())
    }

    /// All children of this name.
    pub(super) fn children_of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Element> {
        self.children.iter().filter(move |child| child.name == name)
    }
}

/// Reads a document. What it cannot be is said in a few words.
pub(super) fn parse(bytes: &[u8]) -> Result<Element, String> {
    let mut reader = Reader::from_reader(bytes);
    let mut open: Vec<Element> = Vec::new();
    let mut elements = 0_usize;
    let named = |name: &[u8]| Element {
        name: String::from_utf8_lossy(name).into_owned(),
        ..Element::default()
    };
    loop {
        let event = reader.read_event().map_err(|error| error.to_string())?;
        let closed = match event {
            Event::Start(start) => {
                elements += 1;
                if open.len() >= DEPTH_MAX || elements > ELEMENTS_MAX {
                    return Err("the answer has more elements than it may have".to_owned());
                }
                open.push(named(start.local_name().as_ref()));
                None
            }
            Event::Empty(empty) => {
                elements += 1;
                if elements > ELEMENTS_MAX {
                    return Err("the answer has more elements than it may have".to_owned());
                }
                Some(named(empty.local_name().as_ref()))
            }
            Event::End(_) => open.pop(),
            Event::Text(text) => {
                if let Some(element) = open.last_mut() {
                    element.text.push_str(&String::from_utf8_lossy(&text));
                }
                None
            }
            Event::CData(text) => {
                if let Some(element) = open.last_mut() {
                    element.text.push_str(&String::from_utf8_lossy(&text));
                }
                None
            }
            Event::GeneralRef(reference) => {
                let resolved = match reference.resolve_char_ref() {
                    Ok(Some(character)) => character,
                    _ => predefined(&reference).ok_or("an unknown entity")?,
                };
                if let Some(element) = open.last_mut() {
                    element.text.push(resolved);
                }
                None
            }
            Event::Eof => return Err("no document".to_owned()),
            _ => None,
        };
        if let Some(element) = closed {
            match open.last_mut() {
                Some(parent) => parent.children.push(element),
                None => return Ok(element),
            }
        }
    }
}

fn predefined(name: &[u8]) -> Option<char> {
    match name {
        b"amp" => Some('&'),
        b"lt" => Some('<'),
        b"gt" => Some('>'),
        b"quot" => Some('"'),
        b"apos" => Some('\''),
        _ => None,
    }
}

/// Text fit to stand inside an element.
pub(super) fn escape(text: &str) -> String {
    quick_xml::escape::escape(text).into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_tree() {
        let text = "<?xml version=\"1.0\"?><a xmlns=\"u\"><b>1 &amp; 2&#33;</b><n:c/><b><d> x </d></b></a>";
        let root = parse(text.as_bytes()).unwrap();
        assert_eq!(root.text_of("b"), Some("1 & 2!"));
        assert!(root.child("c").is_some());
        let last = root.children_of("b").last().unwrap();
        assert_eq!(last.text_of("d"), Some("x"));
        assert_eq!(escape("<&>"), "&lt;&amp;&gt;");
    }

    #[test]
    fn damage_is_refused() {
        let deep = "<a>".repeat(1000);
        let wide = format!("<a>{}</a>", "<b/>".repeat(ELEMENTS_MAX));
        for text in ["", "no", "<a>", "<a><b></a>", "<a>&lol;</a>", &deep, &wide] {
            assert!(parse(text.as_bytes()).is_err());
        }
    }

    proptest! {
        #[test]
        fn junk_does_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn texts_come_back(text in "[ -~äöü]{0,40}") {
            let root = parse(format!("<a><b>{}</b></a>", escape(&text)).as_bytes()).unwrap();
            prop_assert_eq!(root.text_of("b"), Some(text.trim()));
        }
    }
}
