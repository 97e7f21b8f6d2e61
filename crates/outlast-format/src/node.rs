//! Entries of a tree: one file system object each.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use outlast_object::Id;
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use crate::go_json::broken_text;
use crate::{Mode, Time, quote_name, unquote_name};

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub enum NodeKind {
    /// Regular file.
    #[default]
    File,
    /// Directory.
    Directory,
    /// Symbolic link.
    Symlink,
    /// Block device.
    BlockDevice,
    /// Character device.
    CharacterDevice,
    /// Named pipe.
    Fifo,
    /// Unix domain socket.
    Socket,
    /// A type this program does not know.
    Other(String),
}

impl NodeKind {
    /// The word for the kind in the repository.
    pub fn as_str(&self) -> &str {
        match self {
            NodeKind::File => "file",
            NodeKind::Directory => "dir",
            NodeKind::Symlink => "symlink",
            NodeKind::BlockDevice => "dev",
            NodeKind::CharacterDevice => "chardev",
            NodeKind::Fifo => "fifo",
            NodeKind::Socket => "socket",
            NodeKind::Other(text) => text,
        }
    }

    fn from_text(text: &str) -> Self {
        match text {
            "file" => NodeKind::File,
            "dir" => NodeKind::Directory,
            "symlink" => NodeKind::Symlink,
            "dev" => NodeKind::BlockDevice,
            "chardev" => NodeKind::CharacterDevice,
            "fifo" => NodeKind::Fifo,
            "socket" => NodeKind::Socket,
            other => NodeKind::Other(other.to_owned()),
        }
    }
}

impl fmt::Display for NodeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One extended attribute; ACLs and capabilities are among them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExtendedAttribute {
    /// The name with its namespace, as `user.comment`.
    pub name: String,
    /// The value; `None` is Go's null, which an empty value may be written as.
    #[serde(with = "base64_bytes")]
    pub value: Option<Vec<u8>>,
}

/// One entry of a tree: a file system object with its metadata.
#[derive(Debug, Clone)]
pub struct Node {
    /// The last part of its path: any bytes.
    pub name: Vec<u8>,
    /// What it is.
    pub kind: NodeKind,
    /// Permissions and type.
    pub mode: Mode,
    /// When the content was last modified.
    pub mtime: Time,
    /// When it was last accessed.
    pub atime: Time,
    /// When the inode was last changed.
    pub ctime: Time,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// The owner's name; empty when unknown.
    pub user: String,
    /// The group's name; empty when unknown.
    pub group: String,
    /// Inode number; 0 when unknown.
    pub inode: u64,
    /// The device that holds it, as `st_dev`; 0 when unknown.
    pub device_id: u64,
    /// Size of the content in bytes.
    pub size: u64,
    /// Number of hard links.
    pub links: u64,
    /// Where a symbolic link points: any bytes.
    pub link_target: Vec<u8>,
    /// Extended attributes.
    pub extended_attributes: Vec<ExtendedAttribute>,
    /// Attributes of other operating systems, passed on as they are.
    pub generic_attributes: BTreeMap<String, Box<RawValue>>,
    /// Device number of a device node, as `st_rdev`.
    pub device: u64,
    /// The blobs of a file's content; `None` for what is not a file.
    pub content: Option<Vec<Id>>,
    /// The tree of a directory.
    pub subtree: Option<Id>,
    /// An error met when the entry was read.
    pub error: String,
}

impl Default for Node {
    fn default() -> Self {
        Self {
            name: Vec::new(),
            kind: NodeKind::File,
            mode: Mode(0),
            mtime: Time::ZERO,
            atime: Time::ZERO,
            ctime: Time::ZERO,
            uid: 0,
            gid: 0,
            user: String::new(),
            group: String::new(),
            inode: 0,
            device_id: 0,
            size: 0,
            links: 0,
            link_target: Vec::new(),
            extended_attributes: Vec::new(),
            generic_attributes: BTreeMap::new(),
            device: 0,
            content: None,
            subtree: None,
            error: String::new(),
        }
    }
}

impl Node {
    /// The name for messages.
    pub fn name_lossy(&self) -> String {
        String::from_utf8_lossy(&self.name).into_owned()
    }

    /// Whether all metadata, content and subtree are the same.
    pub fn is_same(&self, other: &Node) -> bool {
        let generic = |node: &Node| -> Vec<(String, String)> {
            let attributes = node.generic_attributes.iter();
            attributes
                .map(|(name, value)| (name.clone(), value.get().to_owned()))
                .collect()
        };
        self.name == other.name
            && self.kind == other.kind
            && self.mode == other.mode
            && self.mtime.instant() == other.mtime.instant()
            && self.atime.instant() == other.atime.instant()
            && self.ctime.instant() == other.ctime.instant()
            && (self.uid, self.gid) == (other.uid, other.gid)
            && (&self.user, &self.group) == (&other.user, &other.group)
            && (self.inode, self.device_id) == (other.inode, other.device_id)
            && (self.size, self.links) == (other.size, other.links)
            && self.link_target == other.link_target
            && self.extended_attributes == other.extended_attributes
            && self.device == other.device
            && self.content == other.content
            && self.subtree == other.subtree
            && self.error == other.error
            && (self.generic_attributes.is_empty() && other.generic_attributes.is_empty()
                || generic(self) == generic(other))
    }

    /// Whether it is a directory.
    pub fn is_directory(&self) -> bool {
        self.kind == NodeKind::Directory
    }

    /// Whether it is a regular file.
    pub fn is_file(&self) -> bool {
        self.kind == NodeKind::File
    }
}

mod base64_bytes {
    //! Byte strings as Go writes them: standard base64, null for a nil slice.

    use base64::Engine as _;
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};

    use super::STANDARD;

    pub(super) fn serialize<S: Serializer>(
        value: &Option<Vec<u8>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(bytes) => serializer.serialize_str(&STANDARD.encode(bytes)),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Vec<u8>>, D::Error> {
        let text: Option<std::borrow::Cow<'de, str>> = Option::deserialize(deserializer)?;
        text.map(|text| STANDARD.decode(text.as_bytes()).map_err(D::Error::custom))
            .transpose()
    }
}

fn is_zero<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// The node as it stands in JSON. The order of the fields is part of the hash of a tree.
#[derive(Serialize)]
struct NodeDocument<'a> {
    name: &'a str,
    r#type: &'a str,
    #[serde(skip_serializing_if = "is_zero")]
    mode: u32,
    mtime: Time,
    atime: Time,
    ctime: Time,
    uid: u32,
    gid: u32,
    #[serde(skip_serializing_if = "str::is_empty")]
    user: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    group: &'a str,
    #[serde(skip_serializing_if = "is_zero")]
    inode: u64,
    #[serde(skip_serializing_if = "is_zero")]
    device_id: u64,
    #[serde(skip_serializing_if = "is_zero")]
    size: u64,
    #[serde(skip_serializing_if = "is_zero")]
    links: u64,
    #[serde(skip_serializing_if = "LinkTarget::is_empty")]
    linktarget: LinkTarget<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    linktarget_raw: Option<String>,
    #[serde(skip_serializing_if = "<[ExtendedAttribute]>::is_empty")]
    extended_attributes: &'a [ExtendedAttribute],
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    generic_attributes: &'a BTreeMap<String, Box<RawValue>>,
    #[serde(skip_serializing_if = "is_zero")]
    device: u64,
    content: &'a Option<Vec<Id>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subtree: &'a Option<Id>,
    #[serde(skip_serializing_if = "str::is_empty")]
    error: &'a str,
}

/// Where a symbolic link points to, as JSON.
#[derive(Serialize)]
#[serde(untagged)]
enum LinkTarget<'a> {
    Text(&'a str),
    /// Bytes that are not UTF-8; they are kept as they are beside this.
    Broken(Box<RawValue>),
}

impl LinkTarget<'_> {
    fn is_empty(&self) -> bool {
        matches!(self, LinkTarget::Text(""))
    }
}

impl Serialize for Node {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (target, target_raw) = match std::str::from_utf8(&self.link_target) {
            Ok(text) => (LinkTarget::Text(text), None),
            Err(_) => (
                LinkTarget::Broken(broken_text(&self.link_target).map_err(S::Error::custom)?),
                Some(STANDARD.encode(&self.link_target)),
            ),
        };
        let document = NodeDocument {
            name: &quote_name(&self.name),
            r#type: self.kind.as_str(),
            mode: self.mode.0,
            mtime: self.mtime,
            atime: self.atime,
            ctime: self.ctime,
            uid: self.uid,
            gid: self.gid,
            user: &self.user,
            group: &self.group,
            inode: self.inode,
            device_id: self.device_id,
            size: self.size,
            links: self.links,
            linktarget: target,
            linktarget_raw: target_raw,
            extended_attributes: &self.extended_attributes,
            generic_attributes: &self.generic_attributes,
            device: self.device,
            content: &self.content,
            subtree: &self.subtree,
            error: &self.error,
        };
        document.serialize(serializer)
    }
}

#[derive(Deserialize)]
struct NodeInput {
    #[serde(default)]
    name: String,
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(default)]
    mode: u32,
    #[serde(default = "zero_time")]
    mtime: Time,
    #[serde(default = "zero_time")]
    atime: Time,
    #[serde(default = "zero_time")]
    ctime: Time,
    #[serde(default)]
    uid: u32,
    #[serde(default)]
    gid: u32,
    #[serde(default)]
    user: String,
    #[serde(default)]
    group: String,
    #[serde(default)]
    inode: u64,
    #[serde(default)]
    device_id: u64,
    #[serde(default)]
    size: u64,
    #[serde(default)]
    links: u64,
    #[serde(default)]
    linktarget: String,
    #[serde(default, with = "base64_bytes")]
    linktarget_raw: Option<Vec<u8>>,
    #[serde(default)]
    extended_attributes: Option<Vec<ExtendedAttribute>>,
    #[serde(default)]
    generic_attributes: Option<BTreeMap<String, Box<RawValue>>>,
    #[serde(default)]
    device: u64,
    #[serde(default)]
    content: Option<Vec<Id>>,
    #[serde(default)]
    subtree: Option<Id>,
    #[serde(default)]
    error: String,
}

fn zero_time() -> Time {
    Time::ZERO
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let input = NodeInput::deserialize(deserializer)?;
        let name = unquote_name(&input.name)
            .ok_or_else(|| D::Error::custom(format_args!("badly quoted name {:?}", input.name)))?;
        Ok(Node {
            name,
            kind: NodeKind::from_text(&input.kind),
            mode: Mode(input.mode),
            mtime: input.mtime,
            atime: input.atime,
            ctime: input.ctime,
            uid: input.uid,
            gid: input.gid,
            user: input.user,
            group: input.group,
            inode: input.inode,
            device_id: input.device_id,
            size: input.size,
            links: input.links,
            link_target: input
                .linktarget_raw
                .unwrap_or(input.linktarget.into_bytes()),
            extended_attributes: input.extended_attributes.unwrap_or_default(),
            generic_attributes: input.generic_attributes.unwrap_or_default(),
            device: input.device,
            content: input.content,
            subtree: input.subtree,
            error: input.error,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::to_go_json;

    fn text(node: &Node) -> String {
        String::from_utf8(to_go_json(node).unwrap()).unwrap()
    }

    #[test]
    fn smallest_node_has_the_fields_that_are_never_left_out() {
        let node = Node {
            name: b"f".to_vec(),
            content: Some(Vec::new()),
            ..Node::default()
        };
        let zero = "0001-01-01T00:00:00Z";
        assert_eq!(
            text(&node),
            format!(
                r#"{{"name":"f","type":"file","mtime":"{zero}","atime":"{zero}","ctime":"{zero}","uid":0,"gid":0,"content":[]}}"#
            )
        );
    }

    #[test]
    fn odd_names_and_targets_survive() {
        let node = Node {
            name: b"a<\"\xff\n".to_vec(),
            kind: NodeKind::Symlink,
            link_target: b"../\xfe".to_vec(),
            extended_attributes: vec![
                ExtendedAttribute {
                    name: "user.a".into(),
                    value: Some(vec![1, 2]),
                },
                ExtendedAttribute {
                    name: "user.b".into(),
                    value: None,
                },
            ],
            ..Node::default()
        };
        let json = text(&node);
        assert!(json.contains(r#""name":"a\u003c\\\"\\xff\\n""#), "{json}");
        assert!(
            json.contains("\"linktarget\":\"../\\ufffd\",\"linktarget_raw\":\"Li4v/g==\""),
            "{json}"
        );
        assert!(
            json.contains(r#"[{"name":"user.a","value":"AQI="},{"name":"user.b","value":null}]"#)
        );
        let back: Node = serde_json::from_str(&json).unwrap();
        assert_eq!(back.name, node.name);
        assert_eq!(back.link_target, node.link_target);
        assert_eq!(text(&back), json);
    }

    #[test]
    fn unknown_fields_and_kinds_are_accepted() {
        let json = r#"{"name":"x","type":"door","content":null,"later":{"a":[1]}}"#;
        let node: Node = serde_json::from_str(json).unwrap();
        assert_eq!(node.kind, NodeKind::Other("door".to_owned()));
        assert!(serde_json::from_str::<Node>(r#"{"name":"\\q"}"#).is_err());
        assert!(serde_json::from_str::<Node>(r#"{"name":"x","uid":-1}"#).is_err());
    }
}
