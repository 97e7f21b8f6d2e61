//! `list`: the ids of what a repository holds.

use clap::Args;
use outlast_format::BlobKind;
use outlast_object::ObjectKind;
use outlast_repo::{list_blobs, list_objects};

use crate::context::Context;
use crate::exit::{self, Failure};
use crate::render::message;

/// Arguments of `list`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// blobs, packs, index, snapshots, keys or locks
    #[arg(value_name = "KIND")]
    kind: String,
}

/// Lists ids.
pub fn run(context: &Context, arguments: &Arguments) -> Result<u8, Failure> {
    let kind = match arguments.kind.as_str() {
        "blobs" => None,
        "packs" => Some(ObjectKind::Pack),
        "index" => Some(ObjectKind::Index),
        "snapshots" => Some(ObjectKind::Snapshot),
        "keys" => Some(ObjectKind::Key),
        "locks" => Some(ObjectKind::Lock),
        other => {
            return Err(Failure::new(format!("there are no {other:?} to list"))
                .hint("there are blobs, packs, index, snapshots, keys and locks"));
        }
    };
    let session = context.open()?;
    // A lock of our own would be among the locks.
    let _lock = match kind {
        Some(ObjectKind::Lock) => None,
        _ => session.lock_for_reading()?,
    };
    let Some(kind) = kind else {
        session.load_index()?;
        list_blobs(session.repository(), &mut |handle| {
            let word = match handle.kind {
                BlobKind::Data => "data",
                BlobKind::Tree => "tree",
            };
            message::line(format!("{word} {}", handle.id));
        });
        return Ok(exit::OK);
    };
    for id in list_objects(session.repository(), kind)? {
        message::line(id.to_hex());
    }
    Ok(exit::OK)
}
