//! restic's REST protocol over a vault: what stock clients speak.
//!
//! Paths are `/<repository>/...`, and `/as-of/<position or time>/<repository>/...` for the repository
//! as it was. Token and secret are user name and password. Nothing here removes, changes or
//! administers anything. Locks are taken and forgotten: nobody has to be kept from removing what
//! nobody can remove, and no planted one stops anybody.

use std::io::{self, Read};
use std::sync::Arc;

use outlast_custody::Scope;
use outlast_object::{Id, ObjectKind, ObjectName, ShapeError, hash};

use crate::VaultError;
use crate::accept::accepted_bytes_max;
use crate::api::{self, Api};
use crate::http::{Body, Handler, Request, Response, Wanted, basic_credentials, segments, wanted};
use crate::vault::{Caller, Vault};
use crate::view::View;

/// The media type of listings with sizes.
const LISTING_V2: &str = "application/vnd.x.restic.rest.v2";
/// The media type of listings without.
const LISTING_V1: &str = "application/vnd.x.restic.rest.v1";
/// Bytes of a part that are in memory at a time.
const PIECE_BYTES: usize = 256 * 1024;

/// Answers requests from a vault.
pub struct Face {
    vault: Arc<Vault>,
    api: Api,
}

/// What a request is about, below its repository.
enum Target {
    Repository,
    Kind(ObjectKind),
    Object(ObjectName),
}

/// An answer that is no success, with its status.
struct Refused(u16, String);

/// The status that goes with an error.
pub(crate) fn status_of(error: &VaultError) -> u16 {
    match error {
        VaultError::Unauthorised => 401,
        VaultError::Forbidden(_)
        | VaultError::OtherBytes(_)
        | VaultError::Hold(_)
        | VaultError::SealIncomplete(_) => 403,
        VaultError::NoRepository(_) | VaultError::NotFound(_) | VaultError::Name(_) => 404,
        // Bytes that were changed on the way may be whole the next time; what cannot be taken at
        // all must not be tried for a quarter of an hour.
        VaultError::Shape(ShapeError::Hash { .. }) | VaultError::Upload(_) => 400,
        VaultError::Shape(_) => 403,
        VaultError::TooMany { .. } => 429,
        VaultError::Full(_) => 507,
        VaultError::Disk(error) if error.kind() == io::ErrorKind::StorageFull => 507,
        VaultError::ReadOnly(_) => 503,
        VaultError::Disk(_)
        | VaultError::Journal(_)
        | VaultError::Index(_)
        | VaultError::Damaged(_) => 500,
    }
}

impl From<VaultError> for Refused {
    fn from(error: VaultError) -> Self {
        Self(status_of(&error), error.to_string())
    }
}

fn not_found() -> Refused {
    Refused(404, "there is nothing here".to_owned())
}

fn plain(status: u16, text: &str) -> Response {
    let mut headers = vec![("content-type", "text/plain; charset=utf-8".to_owned())];
    if status == 401 {
        headers.push((
            "www-authenticate",
            "Basic realm=\"outlast vault\"".to_owned(),
        ));
    }
    Response {
        status,
        headers,
        body: Body::Bytes(format!("{text}\n").into_bytes()),
    }
}

fn header<'a>(request: &'a Request<'_>, name: &str) -> Option<&'a str> {
    let found = request.headers.iter().find(|(found, _)| found == name);
    found.map(|(_, value)| value.as_str())
}

impl Face {
    /// The face of this vault.
    pub fn new(vault: Arc<Vault>) -> Self {
        Self {
            vault,
            api: Api::default(),
        }
    }

    fn answer(&self, request: Request<'_>) -> Result<Response, Refused> {
        let path = match segments(request.path) {
            Ok(path) => path,
            Err(error) if request.path.starts_with("/v1/") => {
                return Ok(api::crooked_path(&error));
            }
            Err(error) => return Err(Refused(400, error.to_string())),
        };
        let names: Vec<&str> = path.names.iter().map(String::as_str).collect();
        let caller = basic_credentials(request.headers)
            .map(|(token, secret)| self.vault.authenticate(&token, &secret))
            .transpose();
        if names.first() == Some(&"v1") {
            return Ok(self.api.answer(&self.vault, request, caller, &names));
        }
        let caller = caller?;
        match names.as_slice() {
            ["health"] if !matches!(request.method, "GET" | "HEAD") => {
                Err(Refused(405, "health is for reading".to_owned()))
            }
            ["health"] => match self.vault.read_only_reason() {
                None => Ok(plain(200, "ok")),
                // The reason may name paths: it is for the operator.
                Some(_) => Err(Refused(503, "read-only".to_owned())),
            },
            ["checkpoint"] | ["tile", ..] => self.log_file(request, caller.as_ref()),
            ["as-of", when, repository, rest @ ..] => {
                let caller = caller.ok_or(VaultError::Unauthorised)?;
                let view = self.view_at(&caller, when)?;
                check_repository(&caller, repository)?;
                self.as_of(&request, &view, &target(rest)?)
            }
            [repository, rest @ ..] => {
                let caller = caller.ok_or(VaultError::Unauthorised)?;
                check_repository(&caller, repository)?;
                self.live(request, &caller, &target(rest)?)
            }
            [] => Err(not_found()),
        }
    }

    fn log_file(&self, request: Request<'_>, caller: Option<&Caller>) -> Result<Response, Refused> {
        if !matches!(request.method, "GET" | "HEAD") {
            return Err(Refused(405, "the log is for reading".to_owned()));
        }
        let path = request.path.trim_start_matches('/');
        let bytes = self.vault.log_file(caller, path)?.ok_or_else(not_found)?;
        Ok(Response {
            status: 200,
            headers: vec![("content-type", "application/octet-stream".to_owned())],
            body: Body::Bytes(bytes),
        })
    }

    fn view_at(&self, caller: &Caller, when: &str) -> Result<View, Refused> {
        if let Ok(position) = when.parse::<u64>() {
            return Ok(self.vault.view_before(caller, position)?);
        }
        let time = parse_time(when).ok_or_else(|| {
            let message = "as-of needs a position in the log, a date as 2026-11-01, or a time as 2026-11-01T08:00:00Z";
            Refused(400, message.to_owned())
        })?;
        Ok(self.vault.view_at(caller, time)?)
    }

    /// A repository as it was: for reading. Locks are answered as if taken, since stock clients
    /// read nothing without.
    fn as_of(
        &self,
        request: &Request<'_>,
        view: &View,
        target: &Target,
    ) -> Result<Response, Refused> {
        match (request.method, target) {
            ("GET" | "HEAD", _) => self.read(request, view, target),
            ("POST" | "DELETE", Target::Object(name)) if name.kind() == ObjectKind::Lock => {
                Ok(plain(200, "ok"))
            }
            _ => Err(Refused(
                403,
                "a view of the past cannot be changed".to_owned(),
            )),
        }
    }

    fn live(
        &self,
        request: Request<'_>,
        caller: &Caller,
        target: &Target,
    ) -> Result<Response, Refused> {
        match (request.method, target) {
            ("GET" | "HEAD", _) => {
                let view = self.vault.view(caller)?;
                self.read(&request, &view, target)
            }
            ("POST", Target::Repository) if request.query == "create=true" => {
                // Its folders come with the first object.
                self.vault.view(caller)?;
                Ok(plain(200, "ok"))
            }
            ("POST", Target::Object(name)) if name.kind() == ObjectKind::Lock => {
                take_lock(request, name)
            }
            ("POST", Target::Object(name)) => self.put(request, caller, name),
            ("DELETE", Target::Object(name)) if name.kind() == ObjectKind::Lock => {
                Ok(plain(200, "ok"))
            }
            ("DELETE", _) => Err(Refused(
                403,
                "nothing is removed from a vault, whatever the token".to_owned(),
            )),
            _ => Err(Refused(405, "not a request of this protocol".to_owned())),
        }
    }

    fn put(
        &self,
        request: Request<'_>,
        caller: &Caller,
        name: &ObjectName,
    ) -> Result<Response, Refused> {
        // Some clients send small objects in chunks and say no length.
        let length = request.content_length;
        self.vault.accept(caller, name, length, request.body)?;
        if name.kind() == ObjectKind::Snapshot && caller.may(Scope::Append) {
            self.vault.seal_unless_sealed(caller, name.id())?;
        }
        Ok(plain(200, "ok"))
    }

    fn read(
        &self,
        request: &Request<'_>,
        view: &View,
        target: &Target,
    ) -> Result<Response, Refused> {
        match target {
            Target::Repository => Err(not_found()),
            Target::Kind(ObjectKind::Lock) => Ok(listing(request, &[])),
            Target::Object(name) if name.kind() == ObjectKind::Lock => Err(not_found()),
            Target::Kind(kind) => {
                let mut objects = Vec::new();
                self.vault.list(view, *kind, &mut |name, admission| {
                    objects.push((name, admission));
                    true
                })?;
                // What was lost or cut on the disk is not shown as if it were there, so that a client's
                // check finds it.
                let mut present = Vec::with_capacity(objects.len());
                for (name, admission) in objects {
                    if let Some(size) = self.vault.size_left(view, &name, &admission)? {
                        present.push((name.id(), size));
                    }
                }
                Ok(listing(request, &present))
            }
            Target::Object(name) if request.method == "HEAD" => {
                let admission = self.vault.look(view, name)?;
                let size = self.vault.size_left(view, name, &admission)?;
                let size = size.ok_or(VaultError::NotFound(*name))?;
                Ok(stream(200, Box::new(io::empty()), size))
            }
            Target::Object(name) => self.object(request, view, name),
        }
    }

    fn object(
        &self,
        request: &Request<'_>,
        view: &View,
        name: &ObjectName,
    ) -> Result<Response, Refused> {
        let admission = self.vault.look(view, name)?;
        let size = self.vault.size_left(view, name, &admission)?;
        let size = size.ok_or(VaultError::NotFound(*name))?;
        let part = header(request, "range").map_or(Wanted::Whole, |range| wanted(range, size));
        let mut response = match part {
            Wanted::Whole => stream(200, self.vault.read(view, name)?.0, size),
            Wanted::Part { start, length } => {
                // Refused before the answer begins, not in its middle.
                self.vault.may_read(view, name, length)?;
                let pieces = Pieces {
                    vault: Arc::clone(&self.vault),
                    view: view.clone(),
                    name: *name,
                    offset: start,
                    left: length,
                    piece: io::Cursor::default(),
                };
                stream(206, Box::new(pieces), length)
            }
            Wanted::Nothing => plain(416, "the object ends before that"),
        };
        if let Some(range) = part.content_range(size) {
            response.headers.push(("content-range", range));
        }
        Ok(response)
    }
}

impl Handler for Face {
    fn handle(&self, request: Request<'_>) -> Response {
        let mut response = self
            .answer(request)
            .unwrap_or_else(|Refused(status, text)| plain(status, &text));
        if response.status == 429 {
            // The next minute begins by then.
            response.headers.push(("retry-after", "60".to_owned()));
        }
        self.vault.count_answer(response.status);
        response
    }
}

/// A part of an object, read piece by piece.
struct Pieces {
    vault: Arc<Vault>,
    view: View,
    name: ObjectName,
    offset: u64,
    left: u64,
    piece: io::Cursor<Vec<u8>>,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.piece.read(buffer)?;
        if count > 0 || self.left == 0 || buffer.is_empty() {
            return Ok(count);
        }
        let length = usize::try_from(self.left)
            .unwrap_or(PIECE_BYTES)
            .min(PIECE_BYTES);
        let piece = self
            .vault
            .read_range(&self.view, &self.name, self.offset, length)
            .map_err(io::Error::other)?;
        if piece.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.offset += piece.len() as u64;
        self.left = self.left.saturating_sub(piece.len() as u64);
        self.piece = io::Cursor::new(piece);
        self.piece.read(buffer)
    }
}

fn stream(status: u16, reader: Box<dyn Read + Send>, size: u64) -> Response {
    Response {
        status,
        headers: vec![("content-type", "application/octet-stream".to_owned())],
        body: Body::Stream(reader, size),
    }
}

fn listing(request: &Request<'_>, objects: &[(Id, u64)]) -> Response {
    let with_sizes = header(request, "accept").is_some_and(|accept| accept.contains(LISTING_V2));
    let mut text = String::from("[");
    for (number, (id, size)) in objects.iter().enumerate() {
        if number > 0 {
            text.push(',');
        }
        if with_sizes {
            text.push_str(&format!("{{\"name\":\"{id}\",\"size\":{size}}}"));
        } else {
            text.push_str(&format!("\"{id}\""));
        }
    }
    text.push(']');
    let media_type = if with_sizes { LISTING_V2 } else { LISTING_V1 };
    Response {
        status: 200,
        headers: vec![("content-type", media_type.to_owned())],
        body: Body::Bytes(text.into_bytes()),
    }
}

fn check_repository(caller: &Caller, repository: &str) -> Result<(), Refused> {
    if caller.repository().as_str() == repository {
        Ok(())
    } else {
        Err(Refused(
            403,
            "this token is for another repository".to_owned(),
        ))
    }
}

fn target(names: &[&str]) -> Result<Target, Refused> {
    match names {
        [] => Ok(Target::Repository),
        ["config"] => Ok(Target::Object(ObjectName::CONFIG)),
        [folder] => ObjectKind::from_folder(folder)
            .map(Target::Kind)
            .ok_or_else(not_found),
        [folder, id] => {
            let kind = ObjectKind::from_folder(folder).filter(|kind| *kind != ObjectKind::Config);
            let id = id
                .parse::<Id>()
                .ok()
                .filter(|parsed| parsed.to_hex() == *id);
            match (kind, id) {
                (Some(kind), Some(id)) => Ok(Target::Object(ObjectName::new(kind, id))),
                _ => Err(not_found()),
            }
        }
        _ => Err(not_found()),
    }
}

/// A lock is looked at as anything else, and forgotten.
fn take_lock(request: Request<'_>, name: &ObjectName) -> Result<Response, Refused> {
    let max = accepted_bytes_max(ObjectKind::Lock);
    let mut bytes = Vec::new();
    request
        .body
        .take(max + 1)
        .read_to_end(&mut bytes)
        .map_err(VaultError::Upload)?;
    if bytes.len() as u64 > max {
        return Err(Refused(403, "that is too long for a lock".to_owned()));
    }
    if hash(&bytes) != name.id() {
        return Err(Refused(
            400,
            "the lock has other bytes than its name says".to_owned(),
        ));
    }
    Ok(plain(200, "ok"))
}

/// Reads `2026-11-01` (its first second, UTC) or a time of RFC 3339, as seconds since 1970.
fn parse_time(text: &str) -> Option<u64> {
    let full = if text.len() == "2026-11-01".len() {
        format!("{text}T00:00:00Z")
    } else {
        text.to_owned()
    };
    let time: jiff::Timestamp = full.parse().ok()?;
    u64::try_from(time.as_second()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_dates_or_moments() {
        assert_eq!(parse_time("1970-01-02"), Some(86_400));
        assert_eq!(parse_time("1970-01-01T01:00:00+01:00"), Some(0));
        assert_eq!(parse_time("1970-01-01T00:01:00Z"), Some(60));
        for bad in [
            "",
            "yesterday",
            "1969-01-01",
            "2026-13-01",
            "99999999999999999999",
        ] {
            assert_eq!(parse_time(bad), None, "{bad}");
        }
    }

    #[test]
    fn only_paths_of_the_protocol_lead_anywhere() {
        let id = "ab".repeat(32);
        assert!(matches!(target(&["data", &id]), Ok(Target::Object(_))));
        assert!(matches!(
            target(&["keys"]),
            Ok(Target::Kind(ObjectKind::Key))
        ));
        for bad in [
            &["data", "x"][..],
            &["config", &id],
            &["ledger"],
            &["data", &id[..2], &id],
            &["data", &id.to_uppercase()],
            &["tmp", &id],
        ] {
            assert!(target(bad).is_err(), "{bad:?}");
        }
    }
}
