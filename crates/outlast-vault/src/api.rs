//! The vault's own API under `/v1`: what restic's protocol cannot say. Nothing in it removes,
//! changes or administers anything.
//!
//! Answers are JSON but for receipts, lists, checkpoints and tiles; errors are always JSON.

use std::io::Read;
use std::thread;

use outlast_custody::{IdText, LIST_OBJECTS_MAX, ObjectList, RepositoryName, Scope};
use outlast_object::{Id, ObjectKind, ObjectName};
use outlast_wire::api::{
    ErrorBody, ErrorDetail, NAMES_MAX, ObjectPage, ObjectRow, Outcome, Presence, RepositoryState,
    SEALS_MAX, SealMade, SealPage, SealRow,
};
use outlast_wire::batch::{BATCH_BYTES_MAX, decode};
use serde::Serialize;

use crate::VaultError;
use crate::accept::Accepted;
use crate::face::status_of;
use crate::http::{Body, Request, Response};
use crate::index::Admission;
use crate::vault::{Caller, Vault};

/// Bytes of a record in a list of objects.
const LIST_RECORD_BYTES: u64 = 33;
/// Objects of one batch that are written at the same time: their syncs share the disk's work.
const BATCH_THREADS: usize = 8;

/// An answer that is no success.
struct Refused {
    status: u16,
    code: &'static str,
    message: String,
    object: Option<String>,
}

const fn code_of(error: &VaultError) -> &'static str {
    match error {
        VaultError::Forbidden(_) => "forbidden",
        VaultError::Unauthorised => "unauthorised",
        VaultError::NoRepository(_) => "no_repository",
        VaultError::NotFound(_) => "not_found",
        VaultError::OtherBytes(_) => "other_bytes",
        VaultError::Shape(_) => "shape",
        VaultError::Full(_) => "full",
        VaultError::Upload(_) => "upload",
        VaultError::SealIncomplete(_) => "seal_incomplete",
        VaultError::Hold(_) => "hold",
        VaultError::Name(_) => "name",
        VaultError::ReadOnly(_) => "read_only",
        VaultError::Disk(_) | VaultError::Journal(_) | VaultError::Index(_) => "failed",
    }
}

impl From<VaultError> for Refused {
    fn from(error: VaultError) -> Self {
        let (status, object) = match &error {
            VaultError::SealIncomplete(name) => (409, Some(name.to_string())),
            VaultError::NotFound(name) | VaultError::OtherBytes(name) => {
                (status_of(&error), Some(name.to_string()))
            }
            _ => (status_of(&error), None),
        };
        Self {
            status,
            code: code_of(&error),
            message: error.to_string(),
            object,
        }
    }
}

fn refused(status: u16, code: &'static str, message: &str) -> Refused {
    Refused {
        status,
        code,
        message: message.to_owned(),
        object: None,
    }
}

fn not_found() -> Refused {
    refused(404, "not_found", "there is nothing here")
}

fn json<T: Serialize>(status: u16, value: &T) -> Response {
    let mut headers = vec![("content-type", "application/json".to_owned())];
    if status == 401 {
        let realm = "Basic realm=\"outlast vault\"".to_owned();
        headers.push(("www-authenticate", realm));
    }
    Response {
        status,
        headers,
        // Texts, numbers and lists of them always have a JSON form.
        body: Body::Bytes(serde_json::to_vec(value).unwrap_or_default()),
    }
}

fn raw(media_type: &str, bytes: Vec<u8>) -> Response {
    Response {
        status: 200,
        headers: vec![("content-type", media_type.to_owned())],
        body: Body::Bytes(bytes),
    }
}

/// Answers a request whose path below `/v1` has these names.
pub(crate) fn answer(
    vault: &Vault,
    request: Request<'_>,
    caller: Result<Option<Caller>, VaultError>,
    names: &[&str],
) -> Response {
    let outcome = match caller {
        Ok(caller) => respond(vault, request, caller.as_ref(), names),
        Err(error) => Err(error.into()),
    };
    outcome.unwrap_or_else(|refused| {
        let error = ErrorDetail {
            code: refused.code.to_owned(),
            message: refused.message,
            object: refused.object,
        };
        json(refused.status, &ErrorBody { error })
    })
}

fn respond(
    vault: &Vault,
    request: Request<'_>,
    caller: Option<&Caller>,
    names: &[&str],
) -> Result<Response, Refused> {
    let (reads, posts) = (request.method == "GET", request.method == "POST");
    let wrong_method = || refused(405, "method", "not with this method");
    if let ["log", path @ ..] = names {
        if !reads {
            return Err(wrong_method());
        }
        let bytes = vault.log_file(caller, &path.join("/"))?;
        return Ok(raw(
            "application/octet-stream",
            bytes.ok_or_else(not_found)?,
        ));
    }
    let ["repositories", name, rest @ ..] = names else {
        return Err(not_found());
    };
    let caller = caller.ok_or(VaultError::Unauthorised)?;
    if caller.repository().as_str() != *name {
        return Err(VaultError::Forbidden("it is for another repository").into());
    }
    let query = Query::parse(request.query)?;
    match (rest, reads, posts) {
        ([], true, _) => state(vault, caller),
        (["presence"], _, true) => presence(vault, caller, request),
        (["objects"], _, true) => put_batch(vault, caller, request),
        (["objects", folder], true, _) => objects(vault, caller, folder, &query),
        (["seals"], _, true) => make_seal(vault, caller, request, &query),
        (["seals"], true, _) => seals(vault, caller, &query),
        (["seals", index], true, _) => Ok(json(200, &seal_row(vault, caller, index)?)),
        (["seals", index, "receipt"], true, _) => {
            let row = seal_row(vault, caller, index)?;
            let receipt = vault.receipt(caller.repository(), row.index)?;
            let text = receipt.encode().into_bytes();
            Ok(raw("text/plain; charset=utf-8", text))
        }
        (["seals", index, "list"], true, _) => {
            let row = seal_row(vault, caller, index)?;
            let list = vault.sealed_list(&row.seal)?.ok_or_else(not_found)?;
            Ok(raw("application/octet-stream", list.encode()))
        }
        ([] | ["presence" | "objects" | "seals"] | ["objects" | "seals", _], _, _)
        | (["seals", _, "receipt" | "list"], _, _) => Err(wrong_method()),
        _ => Err(not_found()),
    }
}

/// What stands after the question mark.
#[derive(Default)]
struct Query {
    snapshot: Option<Id>,
    after: Option<String>,
    limit: Option<usize>,
}

impl Query {
    fn parse(text: &str) -> Result<Self, Refused> {
        let mut query = Self::default();
        for part in text.split('&').filter(|part| !part.is_empty()) {
            let bad = || refused(400, "query", "the query cannot be understood");
            let (key, value) = part.split_once('=').ok_or_else(bad)?;
            match key {
                "snapshot" => query.snapshot = Some(value.parse().map_err(|_| bad())?),
                "after" => query.after = Some(value.to_owned()),
                "limit" => query.limit = Some(value.parse().map_err(|_| bad())?),
                _ => return Err(bad()),
            }
        }
        Ok(query)
    }

    /// Entries in a page: what was asked for, within bounds.
    fn page(&self, most: usize) -> usize {
        self.limit.unwrap_or(most).clamp(1, most)
    }
}

/// Reads a body of at most `max` bytes.
fn body(request: Request<'_>, max: u64) -> Result<Vec<u8>, Refused> {
    let too_long = || refused(413, "too_long", "the body is longer than it may be");
    if request.content_length.is_some_and(|length| length > max) {
        return Err(too_long());
    }
    let mut bytes = Vec::new();
    let read = request.body.take(max + 1).read_to_end(&mut bytes);
    read.map_err(VaultError::Upload)?;
    if bytes.len() as u64 > max {
        return Err(too_long());
    }
    Ok(bytes)
}

fn list_of(bytes: &[u8]) -> Result<ObjectList, Refused> {
    ObjectList::decode(bytes).map_err(|error| refused(400, "list", &error.to_string()))
}

fn presence_of(admission: &Admission) -> Presence {
    Presence {
        size: admission.size,
        position: admission.position,
        time: admission.time,
    }
}

fn state(vault: &Vault, caller: &Caller) -> Result<Response, Refused> {
    let repository = caller.repository();
    let kept = vault.kept(repository)?;
    Ok(json(
        200,
        &RepositoryState {
            repository: repository.clone(),
            settings: vault.settings(repository)?,
            objects: kept.objects,
            bytes: kept.bytes,
            has_exact_seals: vault.has_exact_seals(repository)?,
            scopes: caller.scopes().to_vec(),
            time: vault.time(),
            log_entries: vault.log_size(),
            identity: vault.identity().to_string(),
            read_only: vault.read_only_reason(),
            software: concat!("outlast-vault ", env!("CARGO_PKG_VERSION")).to_owned(),
        },
    ))
}

fn presence(vault: &Vault, caller: &Caller, request: Request<'_>) -> Result<Response, Refused> {
    let view = vault.view(caller)?;
    let list = list_of(&body(request, NAMES_MAX as u64 * LIST_RECORD_BYTES)?)?;
    let found = vault.presence(&view, &list)?;
    let answer: Vec<Option<Presence>> = found
        .iter()
        .map(|admission| admission.as_ref().map(presence_of))
        .collect();
    Ok(json(200, &answer))
}

fn objects(
    vault: &Vault,
    caller: &Caller,
    folder: &str,
    query: &Query,
) -> Result<Response, Refused> {
    let kind = ObjectKind::from_folder(folder)
        .filter(|kind| !matches!(kind, ObjectKind::Lock | ObjectKind::Config));
    let kind = kind.ok_or_else(not_found)?;
    let after = match &query.after {
        None => None,
        Some(text) => {
            let id: Result<Id, _> = text.parse();
            Some(id.map_err(|_| refused(400, "query", "\"after\" is no id"))?)
        }
    };
    let view = vault.view(caller)?;
    let page = query.page(NAMES_MAX);
    let (mut rows, mut more) = (Vec::new(), false);
    vault.list_after(&view, kind, after, &mut |name, admission| {
        more = rows.len() == page;
        if !more {
            rows.push(ObjectRow {
                id: IdText(name.id()),
                presence: presence_of(&admission),
            });
        }
        !more
    })?;
    let next = more.then(|| rows.last().map(|row| row.id)).flatten();
    let objects = rows;
    Ok(json(200, &ObjectPage { objects, next }))
}

fn put_batch(vault: &Vault, caller: &Caller, request: Request<'_>) -> Result<Response, Refused> {
    caller.require(Scope::Append, "only an append token puts backups")?;
    let bytes = body(request, BATCH_BYTES_MAX as u64)?;
    let objects = decode(&bytes).map_err(|error| refused(400, "batch", &error.to_string()))?;
    let outcomes = accept_all(vault, caller, &objects);
    if caller.may(Scope::Append) {
        for ((name, _), outcome) in objects.iter().zip(&outcomes) {
            if name.kind() == ObjectKind::Snapshot && !matches!(outcome, Outcome::Refused(_)) {
                vault.seal_unless_sealed(caller, name.id())?;
            }
        }
    }
    Ok(json(200, &outcomes))
}

/// Takes each object exactly as a single upload is taken, several at the same time: their entries
/// share batches of the log, and their syncs the disk's work.
fn accept_all(vault: &Vault, caller: &Caller, objects: &[(ObjectName, &[u8])]) -> Vec<Outcome> {
    let accept = |(name, bytes): &(ObjectName, &[u8])| {
        let mut reader = *bytes;
        match vault.accept(caller, name, Some(bytes.len() as u64), &mut reader) {
            Ok(Accepted::New(position)) => Outcome::Stored { position },
            Ok(Accepted::Known(position)) => Outcome::Known { position },
            Ok(Accepted::Provisional) => Outcome::Stored { position: 0 },
            Err(error) => {
                let refused = Refused::from(error);
                Outcome::Refused(ErrorDetail {
                    code: refused.code.to_owned(),
                    message: refused.message,
                    object: Some(name.to_string()),
                })
            }
        }
    };
    let next = std::sync::atomic::AtomicUsize::new(0);
    let outcomes = parking_lot::Mutex::new(vec![None; objects.len()]);
    let work = || {
        loop {
            let at = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let Some(object) = objects.get(at) else {
                return;
            };
            let outcome = accept(object);
            outcomes.lock()[at] = Some(outcome);
        }
    };
    thread::scope(|scope| {
        for _ in 1..BATCH_THREADS.min(objects.len()) {
            // Without a thread the others do its share.
            let _ = thread::Builder::new().spawn_scoped(scope, work);
        }
        work();
    });
    outcomes.into_inner().into_iter().flatten().collect()
}

fn make_seal(
    vault: &Vault,
    caller: &Caller,
    request: Request<'_>,
    query: &Query,
) -> Result<Response, Refused> {
    caller.require(Scope::Append, "only an append token seals")?;
    let snapshot = query
        .snapshot
        .ok_or_else(|| refused(400, "query", "?snapshot=ID says what is sealed"))?;
    let list = list_of(&body(request, LIST_OBJECTS_MAX as u64 * LIST_RECORD_BYTES)?)?;
    // A client whose answer was lost asks again: the seal that it has is as good as another.
    let index = match vault.same_seal(caller.repository(), snapshot, &list)? {
        Some(index) => index,
        None => vault.seal(caller, snapshot, &list)?,
    };
    let receipt = vault.receipt(caller.repository(), index)?.encode();
    Ok(json(200, &SealMade { index, receipt }))
}

fn row(vault: &Vault, repository: &RepositoryName, index: u64) -> Result<SealRow, Refused> {
    let seal = vault.seal_at(repository, index)?.ok_or_else(not_found)?;
    let until = vault.held_until(repository, index)?.unwrap_or(seal.until);
    Ok(SealRow { index, until, seal })
}

fn seal_row(vault: &Vault, caller: &Caller, index: &str) -> Result<SealRow, Refused> {
    vault.view(caller)?;
    let index = index.parse::<u64>().map_err(|_| not_found())?;
    row(vault, caller.repository(), index)
}

fn seals(vault: &Vault, caller: &Caller, query: &Query) -> Result<Response, Refused> {
    vault.view(caller)?;
    let after = match &query.after {
        None => None,
        Some(text) => {
            let index: Result<u64, _> = text.parse();
            Some(index.map_err(|_| refused(400, "query", "\"after\" is no index"))?)
        }
    };
    let page = query.page(SEALS_MAX);
    let mut indexes = Vec::new();
    vault.seals_after(caller.repository(), after, &mut |index, seal| {
        if query.snapshot.is_none_or(|id| id == seal.snapshot.0) {
            indexes.push(index);
        }
        indexes.len() <= page
    })?;
    let more = indexes.len() > page;
    indexes.truncate(page);
    let next = more.then(|| indexes.last().copied()).flatten();
    let repository = caller.repository();
    let seals = indexes
        .into_iter()
        .map(|index| row(vault, repository, index));
    let seals = seals.collect::<Result<_, _>>()?;
    Ok(json(200, &SealPage { seals, next }))
}
