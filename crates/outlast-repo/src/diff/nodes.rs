//! When two entries are the same.

use std::collections::BTreeMap;

use outlast_format::{ExtendedAttribute, Node};

/// Whether two entries are the same in everything that is recorded.
pub(super) fn same(a: &Node, b: &Node) -> bool {
    a.content == b.content && same_but_for_content(a, b)
}

/// Whether two entries are the same but perhaps for their content. Times are compared as points in
/// time, attributes without regard to their order.
pub(super) fn same_but_for_content(a: &Node, b: &Node) -> bool {
    let times = |node: &Node| {
        [
            node.mtime.instant(),
            node.atime.instant(),
            node.ctime.instant(),
        ]
    };
    let numbers = |node: &Node| {
        [
            u64::from(node.mode.0),
            u64::from(node.uid),
            u64::from(node.gid),
            node.inode,
            node.device_id,
            node.size,
            node.links,
            node.device,
        ]
    };
    a.name == b.name
        && a.kind == b.kind
        && times(a) == times(b)
        && numbers(a) == numbers(b)
        && a.user == b.user
        && a.group == b.group
        && a.link_target == b.link_target
        && a.subtree == b.subtree
        && a.error == b.error
        && attributes(&a.extended_attributes) == attributes(&b.extended_attributes)
        && same_generic(a, b)
}

fn attributes(list: &[ExtendedAttribute]) -> BTreeMap<&str, &[u8]> {
    let pairs = list.iter().map(|attribute| {
        let value = attribute.value.as_deref().unwrap_or_default();
        (attribute.name.as_str(), value)
    });
    pairs.collect()
}

fn same_generic(a: &Node, b: &Node) -> bool {
    let (a, b) = (&a.generic_attributes, &b.generic_attributes);
    a.len() == b.len()
        && a.iter()
            .zip(b)
            .all(|((name_a, value_a), (name_b, value_b))| {
                name_a == name_b && value_a.get() == value_b.get()
            })
}
