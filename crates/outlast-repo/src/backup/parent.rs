//! The parent snapshot: what the source looked like the last time.

use std::sync::atomic::Ordering;

use outlast_format::{Node, Snapshot, TreeReader};
use outlast_object::Id;

use super::{ChangeDetection, Run};
use crate::Notice;

/// A store that did not say beforehand that it does not let packs be read is asked so often.
const TREES_DENIED_MAX: u32 = 3;

/// The snapshot that is compared with.
#[derive(Debug, Clone)]
pub struct ParentSnapshot {
    /// Its id.
    pub id: Id,
    /// Its document.
    pub snapshot: Snapshot,
}

/// Reads the parent's tree of one directory in step with the walk.
pub(super) struct ParentTree {
    reader: Option<TreeReader<Vec<u8>>>,
    ahead: Option<Node>,
}

impl ParentTree {
    /// A directory that the parent does not have.
    pub(super) fn none() -> Self {
        Self {
            reader: None,
            ahead: None,
        }
    }

    /// The parent's tree of this id. One that cannot be read counts as none, with a notice.
    pub(super) fn open(run: &Run<'_>, tree: Option<Id>) -> Self {
        let Some(tree) = tree else {
            return Self::none();
        };
        let environment = run.repository.environment();
        let announced = !run.repository.store().capabilities().reads_packs;
        if !announced && run.trees_denied.load(Ordering::Relaxed) >= TREES_DENIED_MAX {
            return Self::none();
        }
        match run.repository.load_tree(tree) {
            Ok(reader) => Self {
                reader: Some(reader),
                ahead: None,
            },
            Err(error) if error.is_denied() => {
                if run.trees_denied.fetch_add(1, Ordering::Relaxed) == 0 {
                    environment.notice(Notice::ParentNotCached);
                }
                Self::none()
            }
            Err(error) => {
                let object = format!("tree {}", tree.short());
                let reason = error.to_string();
                environment.notice(Notice::BadParent { object, reason });
                Self::none()
            }
        }
    }

    /// The parent's entry of this name. Names must be asked for in increasing order.
    pub(super) fn find(&mut self, run: &Run<'_>, name: &[u8]) -> Option<Node> {
        loop {
            if let Some(node) = &self.ahead {
                match node.name.as_slice().cmp(name) {
                    std::cmp::Ordering::Less => self.ahead = None,
                    std::cmp::Ordering::Equal => return self.ahead.take(),
                    std::cmp::Ordering::Greater => return None,
                }
            }
            match self.reader.as_mut()?.next()? {
                Ok(node) => self.ahead = Some(node),
                Err(error) => {
                    self.reader = None;
                    let (object, reason) = ("tree".to_owned(), error.to_string());
                    run.repository
                        .environment()
                        .notice(Notice::BadParent { object, reason });
                    return None;
                }
            }
        }
    }
}

/// Whether a file's metadata says that its content is what the parent has.
pub(super) fn is_unchanged(now: &Node, before: &Node, detection: ChangeDetection) -> bool {
    let ctime_counts = !detection.ignore_ctime && !detection.ignore_inode;
    before.is_file()
        && before.content.is_some()
        && now.mtime.instant() == before.mtime.instant()
        && now.size == before.size
        && (!ctime_counts || now.ctime.instant() == before.ctime.instant())
        && (detection.ignore_inode || now.inode == before.inode)
}
