//! The export format of ncdu, version 1.2, for `ncdu -f -`.

use outlast_format::{NodeKind, Snapshot, to_go_json};
use outlast_repo::WalkEntry;
use serde::Serialize;

use crate::render::message;

/// ncdu counts blocks of this many bytes.
const BLOCK_BYTES: u64 = 512;

/// Writes the document piece by piece.
#[derive(Default)]
pub struct Ncdu {
    depth: usize,
}

#[derive(Serialize)]
struct Item {
    name: String,
    asize: u64,
    dsize: u64,
    dev: u64,
    ino: u64,
    nlink: u64,
    notreg: bool,
    uid: u32,
    gid: u32,
    mode: u32,
    mtime: i64,
}

fn text<T: Serialize>(value: &T) -> String {
    // Numbers and text can always be written.
    String::from_utf8(to_go_json(value).unwrap_or_default()).unwrap_or_default()
}

impl Ncdu {
    /// Opens the document.
    pub fn begin(snapshot: &Snapshot) -> Self {
        message::bytes(format!("[1, 2, {}, [{{\"name\":\"/\"}}", text(snapshot)).as_bytes());
        Self { depth: 0 }
    }

    /// Writes an entry. A folder that is only passed through is written, too, so that what is beneath
    /// it has a place.
    pub fn entry(&mut self, entry: &WalkEntry, listed: bool, descend: bool) {
        let is_open = entry.node.is_directory() && descend;
        if !listed && !is_open {
            return;
        }
        let item = text(&item(entry));
        let indent = "  ".repeat(self.depth + 1);
        if is_open {
            message::bytes(format!(",\n{indent}[\n{indent}  {item}").as_bytes());
            self.depth += 1;
        } else {
            message::bytes(format!(",\n{indent}{item}").as_bytes());
        }
    }

    /// Closes a folder.
    pub fn leave(&mut self, _: &WalkEntry) {
        let indent = "  ".repeat(self.depth);
        self.depth = self.depth.saturating_sub(1);
        message::bytes(format!("\n{indent}]").as_bytes());
    }

    /// Closes the document.
    pub fn end(&mut self) {
        message::bytes(b"\n]\n]\n");
    }
}

fn item(entry: &WalkEntry) -> Item {
    let node = &entry.node;
    let size = if node.is_file() { node.size } else { 0 };
    Item {
        name: node.name_lossy(),
        asize: size,
        dsize: size.div_ceil(BLOCK_BYTES).saturating_mul(BLOCK_BYTES),
        dev: node.device_id,
        ino: node.inode,
        nlink: node.links,
        notreg: node.kind != NodeKind::File && node.kind != NodeKind::Directory,
        uid: node.uid,
        gid: node.gid,
        mode: node.mode.permissions(),
        mtime: node.mtime.seconds(),
    }
}
