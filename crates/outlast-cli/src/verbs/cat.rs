//! `cat`: one object as it is inside.

use clap::Args;
use outlast_object::{Id, ObjectKind};
use outlast_ops::{Session, choose_snapshot};
use outlast_repo::{
    RepoError, Repository, SnapshotFilter, cat_blob, cat_config, cat_index, cat_key, cat_lock,
    cat_master_key, cat_pack, cat_snapshot, list_objects,
};

use crate::context::Context;
use crate::exit::{self, Failure};
use crate::render::message;

/// Arguments of `cat`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// config, masterkey, or one of pack, blob, snapshot, index, key and lock with an id, or tree
    /// with a snapshot and a folder in it
    #[arg(value_name = "KIND [ID]")]
    what: Vec<String>,
}

const KINDS: &str = "config, index, snapshot, key, masterkey, lock, pack, blob and tree";

/// Prints an object.
pub fn run(context: &Context, arguments: &Arguments) -> Result<u8, Failure> {
    let (kind, id) = match arguments.what.as_slice() {
        [] => {
            return Err(Failure::new("type not specified").hint(format!("there are {KINDS}")));
        }
        [kind] => (kind.as_str(), None),
        [kind, id] => (kind.as_str(), Some(id.as_str())),
        _ => return Err(Failure::new("too many arguments")),
    };
    if !KINDS
        .replace(" and ", ", ")
        .split(", ")
        .any(|known| known == kind)
    {
        return Err(
            Failure::new(format!("invalid type {kind:?}")).hint(format!("there are {KINDS}"))
        );
    }
    let session = context.open()?;
    let _lock = session.lock_for_reading()?;
    let repository = session.repository();
    match (kind, id) {
        ("config", _) => print(&cat_config(repository)?),
        ("masterkey", _) => print(&cat_master_key(repository)?),
        (_, None) => return Err(Failure::new(format!("which {kind}? An ID is missing"))),
        ("tree", Some(id)) => {
            let chosen = choose_snapshot(&session, id, &SnapshotFilter::default())?;
            session.load_index()?;
            let tree = chosen.tree(&session)?;
            message::bytes(&repository.load_blob(outlast_format::BlobHandle::tree(tree))?);
        }
        ("blob", Some(id)) => {
            session.load_index()?;
            message::bytes(&cat_blob(repository, whole_id(id)?)?);
        }
        ("pack", Some(id)) => {
            message::bytes(&cat_pack(
                repository,
                find(repository, ObjectKind::Pack, id)?,
            )?);
        }
        ("index", Some(id)) => {
            print(&cat_index(
                repository,
                find(repository, ObjectKind::Index, id)?,
            )?);
        }
        ("snapshot", Some(id)) => print(&cat_snapshot(repository, snapshot(&session, id)?)?),
        ("key", Some(id)) => {
            print(&cat_key(
                repository,
                find(repository, ObjectKind::Key, id)?,
            )?);
        }
        (_, Some(id)) => {
            print(&cat_lock(
                repository,
                find(repository, ObjectKind::Lock, id)?,
            )?);
        }
    }
    Ok(exit::OK)
}

fn print(document: &[u8]) {
    message::bytes(document);
    message::bytes(b"\n");
}

fn whole_id(text: &str) -> Result<Id, Failure> {
    text.parse()
        .map_err(|_| Failure::new(format!("unable to parse ID: {text:?} is not a whole ID")))
}

fn snapshot(session: &Session, text: &str) -> Result<Id, RepoError> {
    let chosen = choose_snapshot(session, text, &SnapshotFilter::default())?;
    Ok(chosen.stored.id)
}

/// The object whose id is or begins with `text`.
fn find(repository: &Repository, kind: ObjectKind, text: &str) -> Result<Id, Failure> {
    if let Ok(id) = text.parse() {
        return Ok(id);
    }
    let all = list_objects(repository, kind)?;
    let mut matching = all.iter().filter(|id| id.to_hex().starts_with(text));
    match (matching.next(), matching.next()) {
        (Some(id), None) => Ok(*id),
        (Some(_), Some(_)) => Err(Failure::new(format!(
            "multiple IDs with prefix {text:?} found"
        ))),
        (None, _) => Err(Failure::new(format!(
            "no matching ID found for prefix {text:?}"
        ))),
    }
}
