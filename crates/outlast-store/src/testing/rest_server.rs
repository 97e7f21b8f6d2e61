//! A restic REST server in this process, which misbehaves when told to.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use outlast_object::{ObjectKind, ObjectName};
use parking_lot::Mutex;

use super::http::{Answer, SeenRequest};
use super::scripted::{Handler, Misbehaviour, Scripted};
use crate::{Capabilities, Deletes, LockStore, MemoryStore, Store, StoreError};

#[derive(Debug, Default)]
struct State {
    repositories: Mutex<BTreeMap<String, Arc<MemoryStore>>>,
    authorization: Mutex<Option<String>>,
    append_only: AtomicBool,
    vault: Mutex<Option<Capabilities>>,
    first_version: AtomicBool,
    no_ranges: AtomicBool,
}

/// A restic REST server on a free port of this machine. Each path is a repository in memory.
#[derive(Debug)]
pub struct RestServer {
    served: Scripted<State>,
}

impl RestServer {
    /// Starts a server. It stops when it is dropped.
    ///
    /// # Errors
    /// Whatever keeps it from listening.
    pub fn start() -> io::Result<Self> {
        let served = Scripted::start(State::default())?;
        Ok(Self { served })
    }

    /// The location of a repository for `--repo`, with a path as "a/b".
    pub fn location(&self, path: &str) -> String {
        format!("rest:http://{}/{path}/", self.served.address())
    }

    /// The repository at `path`, made if there is none.
    pub fn repository(&self, path: &str) -> Arc<MemoryStore> {
        let mut repositories = self.served.handler().repositories.lock();
        Arc::clone(repositories.entry(format!("/{path}/")).or_default())
    }

    /// Asks for these credentials from now on.
    pub fn require(&self, user: &str, password: &str) {
        use base64::Engine;
        let text = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
        *self.served.handler().authorization.lock() = Some(format!("Basic {text}"));
    }

    /// Refuses to delete anything but locks from now on.
    pub fn make_append_only(&self) {
        self.served
            .handler()
            .append_only
            .store(true, Ordering::Relaxed);
    }

    /// Behaves as a vault from now on, towards somebody with a token of these capabilities: the same
    /// bytes again succeed, locks are taken and forgotten, and what the token is not for is 403.
    pub fn become_vault(&self, capabilities: Capabilities) {
        *self.served.handler().vault.lock() = Some(capabilities);
    }

    /// Speaks only the first version of the protocol from now on.
    pub fn speak_first_version(&self) {
        self.served
            .handler()
            .first_version
            .store(true, Ordering::Relaxed);
    }

    /// Ignores ranges from now on.
    pub fn ignore_ranges(&self) {
        self.served
            .handler()
            .no_ranges
            .store(true, Ordering::Relaxed);
    }

    /// Misbehaves for the next `times` requests with this method whose target contains a text.
    pub fn misbehave(
        &self,
        method: &'static str,
        target_part: &str,
        times: usize,
        misbehaviour: Misbehaviour,
    ) {
        self.misbehave_later(method, target_part, 0, times, misbehaviour);
    }

    /// Like [`RestServer::misbehave`], after `skip` such requests have been served well.
    pub fn misbehave_later(
        &self,
        method: &'static str,
        target_part: &str,
        skip: usize,
        times: usize,
        misbehaviour: Misbehaviour,
    ) {
        self.served
            .misbehave(method, target_part, skip, times, misbehaviour);
    }

    /// How many connections there have been.
    pub fn connections(&self) -> usize {
        self.served.connections()
    }

    /// The requests seen so far, oldest first.
    pub fn requests(&self) -> Vec<SeenRequest> {
        self.served.requests()
    }
}

impl Handler for State {
    fn answer(&self, request: &SeenRequest, body: &[u8]) -> Answer {
        let wanted = self.authorization.lock().clone();
        if wanted.is_some() && request.header("authorization") != wanted.as_deref() {
            return Answer::new(401);
        }
        let target = request.target.as_str();
        if let Some(path) = target.strip_suffix("?create=true") {
            self.repositories.lock().entry(path.to_owned()).or_default();
            return Answer::new(if request.method == "POST" { 200 } else { 405 });
        }
        let Some((path, place)) = split_target(target) else {
            return Answer::new(404);
        };
        let Some(store) = self.repositories.lock().get(path).cloned() else {
            return Answer::new(404);
        };
        let vault = *self.vault.lock();
        if let Some(answer) = vault.and_then(|may| as_vault(may, request, &place, &store, body)) {
            return answer;
        }
        let answered = match (request.method.as_str(), place) {
            ("GET", Place::Listing(kind)) => self.listing(&store, kind),
            ("GET", Place::Object(name)) => self.get(&store, &name, request),
            ("HEAD", Place::Object(name)) => store.size(&name).map(|size| {
                let mut answer = Answer::with_body(200, []);
                answer.announced = Some(size);
                answer
            }),
            ("POST", Place::Object(name)) => Ok(match store.exists(&name) {
                // As the real one: an object that exists is refused, whatever its bytes, also
                // when it came to exist between the look and the write.
                Ok(true) => Answer::new(403),
                _ => match store.write(&name, body) {
                    Ok(()) => Answer::new(200),
                    Err(StoreError::AlreadyExists { .. }) => Answer::new(403),
                    Err(_) => Answer::new(500),
                },
            }),
            ("DELETE", Place::Object(name)) if name.kind() == ObjectKind::Lock => {
                store.remove_lock(&name.id()).map(|()| Answer::new(200))
            }
            ("DELETE", Place::Object(_)) if self.append_only.load(Ordering::Relaxed) => {
                Ok(Answer::new(403))
            }
            ("DELETE", Place::Object(name)) => store.delete(&name).map(|()| Answer::new(200)),
            _ => Ok(Answer::new(405)),
        };
        answered.unwrap_or_else(|_| Answer::new(404))
    }
}

impl State {
    fn listing(&self, store: &MemoryStore, kind: ObjectKind) -> Result<Answer, StoreError> {
        let version = if self.first_version.load(Ordering::Relaxed) {
            1
        } else {
            2
        };
        let mut text = String::new();
        store.list(kind, &mut |info| {
            let separator = if text.is_empty() { "" } else { "," };
            // Writing to a string cannot fail.
            let _ = match version {
                1 => write!(text, "{separator}\"{}\"", info.id),
                _ => write!(
                    text,
                    "{separator}{{\"name\":\"{}\",\"size\":{}}}",
                    info.id, info.size
                ),
            };
        })?;
        let mut answer = Answer::with_body(200, format!("[{text}]"));
        let kind = format!("application/vnd.x.restic.rest.v{version}");
        answer.headers.push(("Content-Type", kind));
        Ok(answer)
    }

    fn get(
        &self,
        store: &MemoryStore,
        name: &ObjectName,
        request: &SeenRequest,
    ) -> Result<Answer, StoreError> {
        let bytes = store.read(name)?;
        let range = request.header("range").and_then(parse_range);
        let Some((start, last)) = range.filter(|_| !self.no_ranges.load(Ordering::Relaxed)) else {
            return Ok(Answer::with_body(200, bytes));
        };
        let size = bytes.len() as u64;
        if start >= size {
            return Ok(Answer::new(416));
        }
        let last = last.min(size - 1);
        let part = bytes[start as usize..=last as usize].to_vec();
        let mut answer = Answer::with_body(206, part);
        answer
            .headers
            .push(("Content-Range", format!("bytes {start}-{last}/{size}")));
        Ok(answer)
    }
}

/// What a vault answers where it is not what any server does.
fn as_vault(
    may: Capabilities,
    request: &SeenRequest,
    place: &Place,
    store: &MemoryStore,
    body: &[u8],
) -> Option<Answer> {
    let name = match place {
        Place::Listing(ObjectKind::Lock) => return Some(Answer::with_body(200, "[]")),
        Place::Listing(_) => return None,
        Place::Object(name) => name,
    };
    let refused = || Some(Answer::new(403));
    match (request.method.as_str(), name.kind()) {
        ("POST" | "DELETE", ObjectKind::Lock) => Some(Answer::new(200)),
        (_, ObjectKind::Lock) => Some(Answer::new(404)),
        ("DELETE", _) => refused(),
        ("GET", ObjectKind::Pack) if !may.reads_packs => refused(),
        ("POST", _) if !may.adds => refused(),
        ("POST", ObjectKind::Config | ObjectKind::Key) if !may.adds_keys => refused(),
        ("POST", _) => Some(Answer::new(store.write(name, body).map_or(403, |()| 200))),
        _ => None,
    }
}

enum Place {
    Listing(ObjectKind),
    Object(ObjectName),
}

/// Splits "/a/b/data/<id>" into the repository's path, "/a/b/", and what is meant there.
fn split_target(target: &str) -> Option<(&str, Place)> {
    if let Some(path) = target.strip_suffix("config") {
        return Some((path, Place::Object(ObjectName::CONFIG)));
    }
    let (folder, id) = target.rsplit_once('/')?;
    let (path, folder) = folder.rsplit_once('/')?;
    let path = target.get(..=path.len())?;
    let kind = ObjectKind::from_folder(folder)?;
    match id {
        "" => Some((path, Place::Listing(kind))),
        id => Some((path, Place::Object(ObjectName::new(kind, id.parse().ok()?)))),
    }
}

fn parse_range(text: &str) -> Option<(u64, u64)> {
    let (start, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    Some((start.parse().ok()?, last.parse().ok()?))
}
