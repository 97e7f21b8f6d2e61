//! `ls`: what is in a snapshot.

use std::path::{Path, PathBuf};

use clap::Args;
use outlast_format::Time;
use outlast_ops::choose_snapshot;
use outlast_repo::{StoredSnapshot, TreeWalk, WalkEntry, WalkStep, clean_path};
use serde::Serialize;

use crate::args::FilterArguments;
use crate::context::Context;
use crate::exit::{self, Failure};
use crate::render::entry::{EntryLine, snapshot_line};
use crate::render::json::{self, SnapshotItem};
use crate::render::message;

mod ncdu;

/// Entries that are held to be sorted, at most.
const SORTED_ENTRIES_MAX: usize = 20_000_000;

/// Arguments of `ls`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    filter: FilterArguments,
    /// Show sizes in units for people
    #[arg(long)]
    human_readable: bool,
    /// Show type, permissions, owner, size and time
    #[arg(short, long)]
    long: bool,
    /// Write what `ncdu -f -` reads
    #[arg(long)]
    ncdu: bool,
    /// Also what is beneath the folders in the listed folders
    #[arg(long)]
    recursive: bool,
    /// Turn the order round
    #[arg(long)]
    reverse: bool,
    /// Order by name, size, time (or mtime), atime, ctime or extension
    #[arg(short, long, default_value = "name", value_name = "MODE")]
    sort: SortMode,
    /// Snapshot: an id or latest, with a folder after a colon
    #[arg(value_name = "SNAPSHOT")]
    snapshot: Option<String>,
    /// Only what is in these folders
    #[arg(value_name = "DIR")]
    folders: Vec<String>,
}

/// By what entries are ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SortMode {
    Name,
    Size,
    Mtime,
    Atime,
    Ctime,
    Extension,
}

impl std::str::FromStr for SortMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "name" => SortMode::Name,
            "size" => SortMode::Size,
            "time" | "mtime" => SortMode::Mtime,
            "atime" => SortMode::Atime,
            "ctime" => SortMode::Ctime,
            "extension" => SortMode::Extension,
            _ => {
                return Err("there are name, size, time, mtime, atime, ctime and extension".into());
            }
        })
    }
}

/// An entry as restic's `ls` writes it.
#[derive(Serialize)]
struct NodeMessage<'a> {
    name: &'a str,
    r#type: &'a str,
    path: &'a str,
    uid: u32,
    gid: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(skip_serializing_if = "is_zero")]
    mode: u32,
    permissions: &'a str,
    mtime: Time,
    atime: Time,
    ctime: Time,
    #[serde(skip_serializing_if = "is_zero_long")]
    inode: u64,
    message_type: &'static str,
    struct_type: &'static str,
}

fn is_zero(value: &u32) -> bool {
    *value == 0
}

fn is_zero_long(value: &u64) -> bool {
    *value == 0
}

#[derive(Serialize)]
struct SnapshotMessage<'a> {
    #[serde(flatten)]
    snapshot: SnapshotItem<'a>,
    message_type: &'static str,
    struct_type: &'static str,
}

/// Which entries are wanted.
struct Folders {
    folders: Vec<PathBuf>,
    recursive: bool,
}

impl Folders {
    fn new(arguments: &Arguments) -> Result<Self, Failure> {
        let mut folders = Vec::new();
        for folder in &arguments.folders {
            if !folder.starts_with('/') {
                return Err(Failure::new(
                    "all path filters must be absolute, starting with a forward slash '/'",
                ));
            }
            folders.push(PathBuf::from(clean_path(folder)));
        }
        Ok(Self {
            folders,
            recursive: arguments.recursive,
        })
    }

    /// Whether the entry is listed, and whether what is beneath it is looked at.
    fn decide(&self, path: &Path) -> (bool, bool) {
        if self.folders.is_empty() {
            return (true, true);
        }
        let within = self.folders.iter().any(|folder| path.starts_with(folder));
        let approaching = self.folders.iter().any(|folder| folder.starts_with(path));
        (within, approaching || (within && self.recursive))
    }
}

/// Lists a snapshot.
pub fn run(context: &Context, arguments: &Arguments) -> Result<u8, Failure> {
    let Some(text) = &arguments.snapshot else {
        return Err(Failure::new(
            "no snapshot ID specified, specify snapshot ID or use special ID 'latest'",
        ));
    };
    if arguments.ncdu && context.global.json {
        return Err(Failure::new("--json and --ncdu exclude each other"));
    }
    if arguments.ncdu && (arguments.sort != SortMode::Name || arguments.reverse) {
        return Err(Failure::new("--sort and --reverse exclude --ncdu"));
    }
    let folders = Folders::new(arguments)?;
    let session = context.open()?;
    let _lock = session.lock_for_reading()?;
    let chosen = choose_snapshot(&session, text, &arguments.filter.filter())?;
    session.load_index()?;
    let tree = chosen.tree(&session)?;
    let mut lister = Lister::begin(context, arguments, &chosen.stored);
    let mut walk = TreeWalk::new(session.repository(), Path::new("/"), tree, session.cancel());
    let mut problems = 0;
    while let Some(step) = walk.step()? {
        match step {
            WalkStep::Entry(entry) => {
                let (listed, descend) = folders.decide(&entry.path);
                if entry.node.is_directory() && !descend {
                    walk.skip_directory();
                }
                lister.entry(entry, listed, descend)?;
            }
            WalkStep::Leave(entry) => lister.leave(&entry),
            WalkStep::Problem { path, problem } => {
                problems += 1;
                message::warning(&format!("{}: {problem}", path.display()));
            }
        }
    }
    lister.end();
    if problems > 0 {
        return Err(Failure::new(format!(
            "{problems} places of the snapshot are damaged and could not be listed"
        ))
        .hint("`outlast check` tells what is damaged, docs/damage.md what to do"));
    }
    Ok(exit::OK)
}

/// Writes or collects entries.
struct Lister<'a> {
    arguments: &'a Arguments,
    is_json: bool,
    ncdu: Option<ncdu::Ncdu>,
    /// Entries that wait to be sorted.
    waiting: Option<Vec<WalkEntry>>,
}

impl<'a> Lister<'a> {
    fn begin(context: &Context, arguments: &'a Arguments, stored: &StoredSnapshot) -> Self {
        let is_json = context.global.json;
        let mut ncdu = None;
        if is_json {
            json::print(&SnapshotMessage {
                snapshot: SnapshotItem::new(stored.id, &stored.snapshot),
                message_type: "snapshot",
                struct_type: "snapshot",
            });
        } else if arguments.ncdu {
            ncdu = Some(ncdu::Ncdu::begin(&stored.snapshot));
        } else if context.is_talkative() {
            message::line(format!(
                "{} filtered by [{}]:",
                snapshot_line(stored),
                super::clean(&arguments.folders.join(" "))
            ));
        }
        let sorts = arguments.sort != SortMode::Name || arguments.reverse;
        Self {
            arguments,
            is_json,
            ncdu,
            waiting: sorts.then(Vec::new),
        }
    }

    fn entry(&mut self, entry: WalkEntry, listed: bool, descend: bool) -> Result<(), Failure> {
        if let Some(ncdu) = &mut self.ncdu {
            ncdu.entry(&entry, listed, descend);
            return Ok(());
        }
        if !listed {
            return Ok(());
        }
        match &mut self.waiting {
            None => self.print(&entry),
            Some(waiting) if waiting.len() >= SORTED_ENTRIES_MAX => {
                return Err(Failure::new(format!(
                    "more than {SORTED_ENTRIES_MAX} entries cannot be sorted"
                ))
                .hint("leave out --sort and --reverse"));
            }
            Some(waiting) => waiting.push(entry),
        }
        Ok(())
    }

    fn leave(&mut self, entry: &WalkEntry) {
        if let Some(ncdu) = &mut self.ncdu {
            ncdu.leave(entry);
        }
    }

    fn end(&mut self) {
        if let Some(mut waiting) = self.waiting.take() {
            sort(&mut waiting, self.arguments.sort);
            if self.arguments.reverse {
                waiting.reverse();
            }
            for entry in &waiting {
                self.print(entry);
            }
        }
        if let Some(ncdu) = &mut self.ncdu {
            ncdu.end();
        }
    }

    fn print(&self, entry: &WalkEntry) {
        let node = &entry.node;
        if self.is_json {
            json::print(&NodeMessage {
                name: &node.name_lossy(),
                r#type: node.kind.as_str(),
                path: &entry.path.to_string_lossy(),
                uid: node.uid,
                gid: node.gid,
                size: node.is_file().then_some(node.size),
                mode: node.mode.0,
                permissions: &node.mode.to_go_string(),
                mtime: node.mtime,
                atime: node.atime,
                ctime: node.ctime,
                inode: node.inode,
                message_type: "node",
                struct_type: "node",
            });
            return;
        }
        let line = EntryLine {
            entry,
            long: self.arguments.long,
            human_readable: self.arguments.human_readable,
        };
        message::raw_line(&line.bytes());
    }
}

fn sort(entries: &mut [WalkEntry], mode: SortMode) {
    let extension = |entry: &WalkEntry| {
        let name = String::from_utf8_lossy(&entry.node.name).into_owned();
        name.rfind('.')
            .map(|dot| name[dot..].to_owned())
            .unwrap_or_default()
    };
    entries.sort_by(|a, b| {
        let (one, two) = (&a.node, &b.node);
        let order = match mode {
            SortMode::Name => std::cmp::Ordering::Equal,
            SortMode::Size => one.size.cmp(&two.size),
            SortMode::Mtime => one.mtime.instant().cmp(&two.mtime.instant()),
            SortMode::Atime => one.atime.instant().cmp(&two.atime.instant()),
            SortMode::Ctime => one.ctime.instant().cmp(&two.ctime.instant()),
            SortMode::Extension => extension(a).cmp(&extension(b)),
        };
        order.then_with(|| a.path.as_os_str().cmp(b.path.as_os_str()))
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_shown_and_what_lies_in_them() {
        let decide = |folders: &[&str], recursive, path: &str| {
            Folders {
                folders: folders.iter().map(PathBuf::from).collect(),
                recursive,
            }
            .decide(Path::new(path))
        };
        assert_eq!(decide(&[], false, "/a"), (true, true));
        assert_eq!(decide(&["/a/b"], false, "/a"), (false, true));
        assert_eq!(decide(&["/a/b"], false, "/a/b"), (true, true));
        assert_eq!(decide(&["/a/b"], false, "/a/b/c"), (true, false));
        assert_eq!(decide(&["/a/b"], true, "/a/b/c"), (true, true));
        assert_eq!(decide(&["/a/b"], true, "/a/bc"), (false, false));
        assert_eq!(decide(&["/"], false, "/a"), (true, false));
    }
}
