//! The vault's own API under `/v1`: what restic's protocol cannot say. Nothing in it removes,
//! changes or administers anything.
//!
//! [`ROUTES`] is the whole of it. Answers are JSON but for receipts, lists, checkpoints and tiles;
//! errors are always JSON.

mod bodies;
mod objects;
mod query;
mod seals;

use outlast_object::ShapeError;
use outlast_wire::api::{ErrorBody, ErrorDetail, RepositoryState};
use serde::Serialize;

use crate::VaultError;
use crate::face::status_of;
use crate::http::{Body, PathError, Request, Response};
use crate::vault::{Caller, Vault};

use bodies::Bodies;

/// What a route does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    State,
    Presence,
    List,
    Put,
    Seal,
    Seals,
    SealOf,
    Receipt,
    SealedList,
    LogFile,
}

/// A request that is answered: method, path with its variable parts in braces, and what it does.
type Route = (&'static str, &'static str, Action);

/// Everything that the API answers. All else is 404, or 405 where only the method is another.
const ROUTES: &[Route] = &[
    ("GET", "/v1/repositories/{name}", Action::State),
    ("POST", "/v1/repositories/{name}/presence", Action::Presence),
    (
        "GET",
        "/v1/repositories/{name}/objects/{folder}",
        Action::List,
    ),
    ("POST", "/v1/repositories/{name}/objects", Action::Put),
    ("POST", "/v1/repositories/{name}/seals", Action::Seal),
    ("GET", "/v1/repositories/{name}/seals", Action::Seals),
    (
        "GET",
        "/v1/repositories/{name}/seals/{index}",
        Action::SealOf,
    ),
    (
        "GET",
        "/v1/repositories/{name}/seals/{index}/receipt",
        Action::Receipt,
    ),
    (
        "GET",
        "/v1/repositories/{name}/seals/{index}/list",
        Action::SealedList,
    ),
    ("GET", "/v1/log/checkpoint", Action::LogFile),
    ("GET", "/v1/log/tile/{path}", Action::LogFile),
];

/// Method and path of everything that the API under `/v1` answers, variable parts in braces. A part
/// called `{path}` stands for any number of names.
pub fn routes() -> impl Iterator<Item = (&'static str, &'static str)> {
    ROUTES.iter().map(|(method, path, _)| (*method, *path))
}

/// Whether the names of a path are those of a template.
fn fits(template: &str, names: &[&str]) -> bool {
    let mut names = names.iter();
    for part in template.split('/').skip(1) {
        match (part, names.next()) {
            ("{path}", Some(_)) => return true,
            (part, Some(name)) if part == *name || part.starts_with('{') => {}
            _ => return false,
        }
    }
    names.next().is_none()
}

/// Finds what a request is for.
fn route(method: &str, names: &[&str]) -> Result<Action, Refused> {
    let mut is_known = false;
    for (of, template, action) in ROUTES {
        if fits(template, names) {
            if *of == method {
                return Ok(*action);
            }
            is_known = true;
        }
    }
    if is_known {
        Err(refused(405, "method", "not with this method"))
    } else {
        Err(not_found())
    }
}

/// An answer that is no success.
#[derive(Debug)]
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
        VaultError::Shape(ShapeError::Hash { .. }) => "hash",
        VaultError::Shape(_) => "shape",
        VaultError::Full(_) => "full",
        VaultError::TooMany { .. } => "too_many",
        VaultError::Upload(_) => "upload",
        VaultError::SealIncomplete(_) => "seal_incomplete",
        VaultError::Hold(_) => "hold",
        VaultError::Name(_) => "name",
        VaultError::ReadOnly(_) => "read_only",
        VaultError::Damaged(_) => "damaged",
        VaultError::Disk(_) | VaultError::Journal(_) | VaultError::Index(_) => "failed",
    }
}

impl From<VaultError> for Refused {
    fn from(error: VaultError) -> Self {
        let (status, object) = match &error {
            VaultError::SealIncomplete(name) => (409, Some(name.to_string())),
            VaultError::NotFound(name)
            | VaultError::OtherBytes(name)
            | VaultError::Damaged(name) => (status_of(&error), Some(name.to_string())),
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

impl From<Refused> for ErrorDetail {
    fn from(refused: Refused) -> Self {
        Self {
            code: refused.code.to_owned(),
            message: refused.message,
            object: refused.object,
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

fn told(refused: Refused) -> Response {
    let status = refused.status;
    let error = refused.into();
    json(status, &ErrorBody { error })
}

/// The answer to a path that cannot be taken apart.
pub(crate) fn crooked_path(error: &PathError) -> Response {
    told(refused(400, "path", &error.to_string()))
}

fn not_found() -> Refused {
    refused(404, "not_found", "there is nothing here")
}

fn json<T: Serialize>(status: u16, value: &T) -> Response {
    let mut headers = vec![("content-type", "application/json".to_owned())];
    match status {
        401 => {
            let realm = "Basic realm=\"outlast vault\"".to_owned();
            headers.push(("www-authenticate", realm));
        }
        503 => headers.push(("retry-after", "5".to_owned())),
        _ => {}
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

/// Answers what is below `/v1`.
#[derive(Default)]
pub(crate) struct Api {
    bodies: Bodies,
}

impl Api {
    /// Answers a request whose path has these names, `v1` included.
    pub(crate) fn answer(
        &self,
        vault: &Vault,
        request: Request<'_>,
        caller: Result<Option<Caller>, VaultError>,
        names: &[&str],
    ) -> Response {
        let outcome = match caller {
            Ok(caller) => self.respond(vault, request, caller.as_ref(), names),
            Err(error) => Err(error.into()),
        };
        outcome.unwrap_or_else(told)
    }

    fn respond(
        &self,
        vault: &Vault,
        request: Request<'_>,
        caller: Option<&Caller>,
        names: &[&str],
    ) -> Result<Response, Refused> {
        let action = route(request.method, names)?;
        if action == Action::LogFile {
            let path = names.get(2..).unwrap_or_default().join("/");
            let bytes = vault.log_file(caller, &path)?.ok_or_else(not_found)?;
            return Ok(raw("application/octet-stream", bytes));
        }
        let caller = caller.ok_or(VaultError::Unauthorised)?;
        let part = |at: usize| names.get(at).copied().unwrap_or_default();
        if caller.repository().as_str() != part(2) {
            return Err(VaultError::Forbidden("it is for another repository").into());
        }
        let query = query::Query::parse(request.query)?;
        match action {
            Action::State => state(vault, caller),
            Action::Presence => objects::presence(vault, caller, &self.bodies, request),
            Action::List => objects::list(vault, caller, part(4), &query),
            Action::Put => objects::put(vault, caller, &self.bodies, request),
            Action::Seal => seals::make(vault, caller, &self.bodies, request, &query),
            Action::Seals => seals::list(vault, caller, &query),
            Action::SealOf => seals::one(vault, caller, part(4)),
            Action::Receipt => seals::receipt(vault, caller, part(4)),
            Action::SealedList => seals::sealed_list(vault, caller, part(4)),
            Action::LogFile => Err(not_found()),
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_of_the_table_lead_anywhere() {
        let found = |method: &str, path: &str| {
            let names: Vec<&str> = path.split('/').collect();
            route(method, &names).map_err(|refused| refused.status)
        };
        assert_eq!(found("GET", "v1/repositories/web1"), Ok(Action::State));
        assert_eq!(
            found("POST", "v1/repositories/web1/objects"),
            Ok(Action::Put)
        );
        assert_eq!(
            found("GET", "v1/repositories/web1/seals/7/receipt"),
            Ok(Action::Receipt)
        );
        assert_eq!(
            found("GET", "v1/log/tile/entries/x001/000"),
            Ok(Action::LogFile)
        );
        for path in [
            "v1",
            "v1/repositories",
            "v1/repositories/web1/seals/7/receipt/x",
            "v1/repositories/web1/tokens",
            "v1/log",
            "v1/log/tile",
            "v2/repositories/web1",
        ] {
            assert_eq!(found("GET", path), Err(404), "{path}");
        }
        for (method, path) in [
            ("DELETE", "v1/repositories/web1"),
            ("HEAD", "v1/repositories/web1"),
            ("GET", "v1/repositories/web1/presence"),
            ("PUT", "v1/repositories/web1/objects"),
            ("POST", "v1/log/checkpoint"),
        ] {
            assert_eq!(found(method, path), Err(405), "{method} {path}");
        }
    }

    #[test]
    fn nothing_in_the_table_removes() {
        for (method, path) in routes() {
            assert!(matches!(method, "GET" | "POST"), "{method} {path}");
            let of_repository = path.starts_with("/v1/repositories/{name}");
            assert!(of_repository || path.starts_with("/v1/log/"), "{path}");
        }
    }
}
