//! Objects: whether they are there, what is there, and many of them in one upload.

use std::num::NonZeroUsize;

use outlast_custody::{IdText, ObjectList, Scope};
use outlast_object::{Id, ObjectKind, ObjectName};
use outlast_wire::api::{NAMES_MAX, ObjectPage, ObjectRow, Outcome, Presence};
use outlast_wire::batch::{BATCH_BYTES_MAX, decode};

use super::bodies::Bodies;
use super::query::Query;
use super::{Refused, json, not_found, refused};
use crate::VaultError;
use crate::accept::Accepted;
use crate::http::{Request, Response};
use crate::index::Admission;
use crate::vault::{Caller, Vault};

/// Bytes of a record in a list of objects.
pub(super) const LIST_RECORD_BYTES: u64 = 33;
/// Objects of one batch that are written at the same time: while one waits for its sync, the disk
/// takes others along.
const BATCH_THREADS: NonZeroUsize = NonZeroUsize::new(16).unwrap();

pub(super) fn list_of(bytes: &[u8]) -> Result<ObjectList, Refused> {
    ObjectList::decode(bytes).map_err(|error| refused(400, "list", &error.to_string()))
}

fn presence_of(admission: &Admission) -> Presence {
    Presence {
        size: admission.size,
        position: admission.position,
        time: admission.time,
    }
}

/// Which of the objects in a list are there.
pub(super) fn presence(
    vault: &Vault,
    caller: &Caller,
    bodies: &Bodies,
    request: Request<'_>,
) -> Result<Response, Refused> {
    let view = vault.view(caller)?;
    let most = NAMES_MAX as u64 * LIST_RECORD_BYTES;
    let list = list_of(&bodies.read(caller.repository(), request, most)?)?;
    let found = vault.presence(&view, &list)?;
    let answer: Vec<Option<Presence>> = found
        .iter()
        .map(|admission| admission.as_ref().map(presence_of))
        .collect();
    Ok(json(200, &answer))
}

/// A page of the objects of a kind.
pub(super) fn list(
    vault: &Vault,
    caller: &Caller,
    folder: &str,
    query: &Query,
) -> Result<Response, Refused> {
    let kind = ObjectKind::from_folder(folder)
        .filter(|kind| !matches!(kind, ObjectKind::Lock | ObjectKind::Config));
    let kind = kind.ok_or_else(not_found)?;
    let after: Option<Id> = query.after()?;
    let view = vault.view(caller)?;
    let page = query.page(NAMES_MAX);
    let (mut objects, mut more) = (Vec::new(), false);
    vault.list_after(&view, kind, after, &mut |name, admission| {
        more = objects.len() == page;
        if !more {
            objects.push(ObjectRow {
                id: IdText(name.id()),
                presence: presence_of(&admission),
            });
        }
        !more
    })?;
    let next = more.then(|| objects.last().map(|row| row.id)).flatten();
    Ok(json(200, &ObjectPage { objects, next }))
}

/// Takes a batch; says what became of each object.
pub(super) fn put(
    vault: &Vault,
    caller: &Caller,
    bodies: &Bodies,
    request: Request<'_>,
) -> Result<Response, Refused> {
    caller.require(Scope::Append, "only an append token puts backups")?;
    let bytes = bodies.read(caller.repository(), request, BATCH_BYTES_MAX as u64)?;
    let objects = decode(&bytes).map_err(|error| refused(400, "batch", &error.to_string()))?;
    let accepted = vault.accept_many(caller, &objects, BATCH_THREADS);
    for ((name, _), outcome) in objects.iter().zip(&accepted) {
        if name.kind() == ObjectKind::Snapshot && outcome.is_ok() {
            vault.seal_unless_sealed(caller, name.id())?;
        }
    }
    let outcomes: Vec<Outcome> = objects
        .iter()
        .zip(accepted)
        .map(|((name, _), accepted)| outcome(name, accepted))
        .collect();
    Ok(json(200, &outcomes))
}

fn outcome(name: &ObjectName, accepted: Result<Accepted, VaultError>) -> Outcome {
    let error = match accepted {
        Ok(Accepted::New(position)) => return Outcome::Stored { position },
        Ok(Accepted::Known(position)) => return Outcome::Known { position },
        // No kind that comes in batches is ever taken provisionally.
        Ok(Accepted::Provisional) => VaultError::Forbidden("keys do not come in batches"),
        Err(error) => error,
    };
    let refused = Refused {
        object: Some(name.to_string()),
        ..Refused::from(error)
    };
    Outcome::Refused(refused.into())
}
