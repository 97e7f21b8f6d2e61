//! `find`: files by their names, and blobs, trees and packs by their ids.

use clap::Args;
use outlast_format::{BlobKind, Time};
use outlast_object::Id;
use outlast_ops::{Session, choose_snapshots};
use outlast_repo::{
    FindEvent, FoundObject, NameQuery, ObjectQuery, StoredSnapshot, WalkEntry, WalkProblem, Zone,
    find_names, find_objects, packs_of, parse_find_time,
};
use serde::Serialize;

use crate::args::FilterArguments;
use crate::context::Context;
use crate::exit::{self, Failure};
use crate::render::entry::EntryLine;
use crate::render::{json, message, units};

/// Arguments of `find`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    filter: FilterArguments,
    /// The patterns are beginnings of ids of blobs
    #[arg(long)]
    blob: bool,
    /// The patterns are beginnings of ids of trees
    #[arg(long)]
    tree: bool,
    /// The patterns are beginnings of ids of packs
    #[arg(long)]
    pack: bool,
    /// Show the packs that hold the blobs (with --blob or --tree)
    #[arg(long)]
    show_pack_id: bool,
    /// Show sizes in units for people
    #[arg(long)]
    human_readable: bool,
    /// Upper and lower case alike
    #[arg(short, long)]
    ignore_case: bool,
    /// Show type, permissions, owner, size and time
    #[arg(short, long)]
    long: bool,
    /// Only what was modified at this time or earlier
    #[arg(short = 'N', long, value_name = "TIME")]
    newest: Option<String>,
    /// Only what was modified at this time or later
    #[arg(short = 'O', long, value_name = "TIME")]
    oldest: Option<String>,
    /// Search the oldest snapshot first
    #[arg(short = 'R', long)]
    reverse: bool,
    /// Search this snapshot only (may be given several times)
    #[arg(short, long, value_name = "ID")]
    snapshot: Vec<String>,
    /// Names, with * ? [] and **, or ids
    #[arg(value_name = "PATTERN")]
    patterns: Vec<String>,
}

#[derive(Serialize)]
struct FileMatches<'a> {
    matches: Vec<MatchedNode>,
    hits: usize,
    snapshot: &'a Id,
}

/// An entry as restic's `find` writes it.
#[derive(Serialize)]
struct MatchedNode {
    path: String,
    permissions: String,
    r#type: String,
    #[serde(skip_serializing_if = "is_zero")]
    mode: u64,
    mtime: Time,
    atime: Time,
    ctime: Time,
    uid: u32,
    gid: u32,
    #[serde(skip_serializing_if = "String::is_empty")]
    user: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    group: String,
    #[serde(skip_serializing_if = "is_zero")]
    inode: u64,
    #[serde(skip_serializing_if = "is_zero")]
    device_id: u64,
    #[serde(skip_serializing_if = "is_zero")]
    size: u64,
    #[serde(skip_serializing_if = "is_zero")]
    links: u64,
    #[serde(skip_serializing_if = "String::is_empty")]
    linktarget: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    error: String,
}

fn is_zero(value: &u64) -> bool {
    *value == 0
}

impl MatchedNode {
    fn new(entry: WalkEntry) -> Self {
        let node = entry.node;
        Self {
            path: entry.path.to_string_lossy().into_owned(),
            permissions: node.mode.to_go_string(),
            r#type: node.kind.as_str().to_owned(),
            mode: node.mode.0.into(),
            mtime: node.mtime,
            atime: node.atime,
            ctime: node.ctime,
            uid: node.uid,
            gid: node.gid,
            user: node.user,
            group: node.group,
            inode: node.inode,
            device_id: node.device_id,
            size: node.size,
            links: node.links,
            linktarget: String::from_utf8_lossy(&node.link_target).into_owned(),
            error: node.error,
        }
    }
}

#[derive(Serialize)]
struct ObjectMatch {
    object_type: &'static str,
    id: Id,
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_tree: Option<Id>,
    snapshot: Id,
    time: Time,
}

/// Finds.
pub fn run(context: &Context, arguments: &Arguments) -> Result<u8, Failure> {
    if arguments.patterns.is_empty() {
        return Err(Failure::new("wrong number of arguments").hint("name what to look for"));
    }
    let kinds = [arguments.blob, arguments.tree, arguments.pack];
    if kinds.iter().filter(|kind| **kind).count() > 1 {
        return Err(Failure::new(
            "cannot have several ID types: --blob, --tree and --pack exclude each other",
        ));
    }
    let by_id = kinds.contains(&true);
    let names = if by_id {
        None
    } else {
        Some(name_query(arguments)?)
    };
    let session = context.open()?;
    let _lock = session.lock_for_reading()?;
    session.load_index()?;
    let filter = arguments.filter.filter();
    let mut snapshots = choose_snapshots(&session, &arguments.snapshot, &filter)?;
    if arguments.reverse {
        snapshots.reverse();
    }
    let problems = match names {
        Some(query) => search_names(context, arguments, &session, &snapshots, &query)?,
        None => search_objects(context, arguments, &session, &snapshots)?,
    };
    if problems > 0 {
        return Err(Failure::new(format!(
            "{problems} places of snapshots are damaged and could not be searched"
        ))
        .hint("`outlast check` tells what is damaged, docs/damage.md what to do"));
    }
    Ok(exit::OK)
}

fn name_query(arguments: &Arguments) -> Result<NameQuery, Failure> {
    let zone = Zone::system();
    let date = |text: &Option<String>| match text {
        None => Ok(None),
        Some(text) => parse_find_time(text, &zone).map(Some).ok_or_else(|| {
            Failure::new(format!("unable to parse time: {text:?}"))
                .hint("write it as 2006-01-02 or \"2006-01-02 15:04:05\"")
        }),
    };
    let (oldest, newest) = (date(&arguments.oldest)?, date(&arguments.newest)?);
    Ok(NameQuery::new(
        &arguments.patterns,
        arguments.ignore_case,
        oldest,
        newest,
    )?)
}

fn tell_problem(path: &std::path::Path, problem: &WalkProblem) {
    message::warning(&format!("{}: {problem}", path.display()));
}

fn search_names(
    context: &Context,
    arguments: &Arguments,
    session: &Session,
    snapshots: &[StoredSnapshot],
    query: &NameQuery,
) -> Result<u64, Failure> {
    let is_json = context.global.json;
    let mut list = json::List::begin(is_json);
    let mut problems = 0;
    let mut is_first_snapshot = true;
    for stored in snapshots {
        let mut matches = Vec::new();
        let mut has_heading = !context.is_talkative();
        let mut report = |event: FindEvent| match event {
            FindEvent::Match(entry) if is_json => matches.push(MatchedNode::new(*entry)),
            FindEvent::Match(entry) => {
                if !has_heading {
                    print_heading(stored, is_first_snapshot);
                }
                (has_heading, is_first_snapshot) = (true, false);
                let line = EntryLine {
                    entry: &entry,
                    long: arguments.long,
                    human_readable: arguments.human_readable,
                };
                message::raw_line(&line.bytes());
            }
            FindEvent::Object(_) => {}
            FindEvent::Problem { path, problem } => {
                problems += 1;
                tell_problem(&path, &problem);
            }
        };
        let root = stored.snapshot.tree;
        let (repository, cancel) = (session.repository(), session.cancel());
        find_names(repository, root, query, cancel, &mut report)?;
        if !matches.is_empty() {
            list.push(&FileMatches {
                hits: matches.len(),
                matches,
                snapshot: &stored.id,
            });
        }
    }
    list.end();
    Ok(problems)
}

fn print_heading(stored: &StoredSnapshot, is_first: bool) {
    if !is_first {
        message::line("");
    }
    message::line(format!(
        "Found matching entries in snapshot {} from {}",
        stored.id.short(),
        units::local_time(stored.snapshot.time)
    ));
}

fn object_query(arguments: &Arguments, session: &Session) -> Result<ObjectQuery, Failure> {
    let ids = &arguments.patterns;
    Ok(match (arguments.pack, arguments.tree) {
        (true, _) => ObjectQuery::packs(session.repository(), ids, session.cancel())?,
        (_, true) => ObjectQuery::trees(ids)?,
        _ => ObjectQuery::blobs(ids)?,
    })
}

fn search_objects(
    context: &Context,
    arguments: &Arguments,
    session: &Session,
    snapshots: &[StoredSnapshot],
) -> Result<u64, Failure> {
    let mut query = object_query(arguments, session)?;
    let mut list = json::List::begin(context.global.json);
    let mut problems = 0;
    for stored in snapshots {
        let mut report = |event: FindEvent| match event {
            FindEvent::Object(found) if context.global.json => list.push(&ObjectMatch {
                object_type: object_word(found.handle.kind),
                id: found.handle.id,
                path: found.path.to_string_lossy().into_owned(),
                parent_tree: found.parent_tree,
                snapshot: stored.id,
                time: stored.snapshot.time,
            }),
            FindEvent::Object(found) => print_use(stored, &found),
            FindEvent::Match(_) => {}
            FindEvent::Problem { path, problem } => {
                problems += 1;
                tell_problem(&path, &problem);
            }
        };
        let root = stored.snapshot.tree;
        let (repository, cancel) = (session.repository(), session.cancel());
        find_objects(repository, root, &mut query, cancel, &mut report)?;
    }
    list.end();
    if arguments.show_pack_id && !context.global.json {
        print_packs(session, &query);
    }
    for beginning in query.not_found() {
        message::note(&format!(
            "nothing with an ID that begins with {beginning:?}"
        ));
    }
    Ok(problems)
}

fn object_word(kind: BlobKind) -> &'static str {
    match kind {
        BlobKind::Data => "blob",
        BlobKind::Tree => "tree",
    }
}

fn print_packs(session: &Session, query: &ObjectQuery) {
    let repository = session.repository();
    for handle in query.handles() {
        for pack in packs_of(repository, handle) {
            message::line(format!("Object belongs to pack {pack}"));
        }
        let places: Vec<_> = repository.index().find(handle).collect();
        for place in places {
            message::line(format!(
                " ... Pack {}: <Blob ({}) {}, offset {}, length {}, uncompressed length {}>",
                place.pack_id.short(),
                match handle.kind {
                    BlobKind::Data => "data",
                    BlobKind::Tree => "tree",
                },
                handle.id.short(),
                place.blob.offset,
                place.blob.length,
                place.blob.uncompressed_length
            ));
        }
    }
}

fn print_use(stored: &StoredSnapshot, found: &FoundObject) {
    let path = super::clean(&found.path.to_string_lossy());
    let word = object_word(found.handle.kind);
    message::line(format!("Found {word} {}", found.handle.id));
    match found.parent_tree {
        Some(tree) => {
            message::line(format!(" ... in file {path}"));
            message::line(format!("     (tree {tree})"));
        }
        None => message::line(format!(" ... path {path}")),
    }
    message::line(format!(
        " ... in snapshot {} ({})",
        stored.id.short(),
        units::local_time(stored.snapshot.time)
    ));
}
