//! A restic REST server in this process, which misbehaves when told to.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io::{self, BufReader};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use outlast_object::{ObjectKind, ObjectName};
use parking_lot::Mutex;

pub use super::http::SeenRequest;
use super::http::{Answer, read_body, read_request, send};
use crate::{Capabilities, Deletes, LockStore, MemoryStore, Store, StoreError};

/// What a server does instead of answering as it should.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Misbehaviour {
    /// Answers with this status and does nothing.
    Refuse(u16),
    /// Does what it was asked and reports failure.
    DoneButReported(u16),
    /// Does what it was asked and closes the connection instead of answering.
    LoseAnswer,
    /// Closes the connection before it has read the request's body.
    CloseEarly,
    /// Answers with this status before it has read the body, and closes the connection.
    RefuseEarly(u16),
    /// Sends so many bytes of the body and closes the connection.
    CutBody(usize),
    /// Sends so many bytes of the body and claims that this is all.
    ShortBody(usize),
    /// Sends another body.
    OtherBody(Vec<u8>),
    /// Sends the client elsewhere.
    Redirect(u16, String),
    /// Never answers.
    Silence,
}

#[derive(Debug)]
struct Rule {
    method: &'static str,
    target_part: String,
    skip: usize,
    times: usize,
    misbehaviour: Misbehaviour,
}

#[derive(Debug, Default)]
struct State {
    repositories: Mutex<BTreeMap<String, Arc<MemoryStore>>>,
    rules: Mutex<Vec<Rule>>,
    seen: Mutex<Vec<SeenRequest>>,
    authorization: Mutex<Option<String>>,
    append_only: AtomicBool,
    vault: Mutex<Option<Capabilities>>,
    first_version: AtomicBool,
    no_ranges: AtomicBool,
    stopped: AtomicBool,
    connections: AtomicUsize,
}

/// A restic REST server on a free port of this machine. Each path is a repository in memory.
#[derive(Debug)]
pub struct RestServer {
    address: SocketAddr,
    state: Arc<State>,
}

impl RestServer {
    /// Starts a server. It stops when it is dropped.
    ///
    /// # Errors
    /// Whatever keeps it from listening.
    pub fn start() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let state = Arc::clone(&shared);
                if state.stopped.load(Ordering::Relaxed) {
                    return;
                }
                if let Ok(stream) = stream {
                    state.connections.fetch_add(1, Ordering::Relaxed);
                    // What goes wrong with a connection is for the client to notice.
                    thread::spawn(move || state.serve(stream));
                }
            }
        });
        Ok(Self { address, state })
    }

    /// The location of a repository for `--repo`, with a path as "a/b".
    pub fn location(&self, path: &str) -> String {
        format!("rest:http://{}/{path}/", self.address)
    }

    /// The repository at `path`, made if there is none.
    pub fn repository(&self, path: &str) -> Arc<MemoryStore> {
        let mut repositories = self.state.repositories.lock();
        Arc::clone(repositories.entry(format!("/{path}/")).or_default())
    }

    /// Asks for these credentials from now on.
    pub fn require(&self, user: &str, password: &str) {
        use base64::Engine;
        let text = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
        *self.state.authorization.lock() = Some(format!("Basic {text}"));
    }

    /// Refuses to delete anything but locks from now on.
    pub fn make_append_only(&self) {
        self.state.append_only.store(true, Ordering::Relaxed);
    }

    /// Behaves as a vault from now on, towards somebody with a token of these capabilities: the same
    /// bytes again succeed, locks are taken and forgotten, and what the token is not for is 403.
    pub fn become_vault(&self, capabilities: Capabilities) {
        *self.state.vault.lock() = Some(capabilities);
    }

    /// Speaks only the first version of the protocol from now on.
    pub fn speak_first_version(&self) {
        self.state.first_version.store(true, Ordering::Relaxed);
    }

    /// Ignores ranges from now on.
    pub fn ignore_ranges(&self) {
        self.state.no_ranges.store(true, Ordering::Relaxed);
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
        let target_part = target_part.to_owned();
        self.state.rules.lock().push(Rule {
            method,
            target_part,
            skip,
            times,
            misbehaviour,
        });
    }

    /// How many connections there have been.
    pub fn connections(&self) -> usize {
        self.state.connections.load(Ordering::Relaxed)
    }

    /// The requests seen so far, oldest first.
    pub fn requests(&self) -> Vec<SeenRequest> {
        self.state.seen.lock().clone()
    }
}

impl Drop for RestServer {
    fn drop(&mut self) {
        self.state.stopped.store(true, Ordering::Relaxed);
        // Wakes the listening thread, which then sees that it is to stop.
        let _ = TcpStream::connect(self.address);
    }
}

impl State {
    fn serve(&self, stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut reader = BufReader::new(stream.try_clone()?);
        while let Some(request) = read_request(&mut reader)? {
            if self.stopped.load(Ordering::Relaxed) {
                return Ok(());
            }
            self.seen.lock().push(request.clone());
            if !self.exchange(&mut reader, &stream, &request)? {
                return stream.shutdown(Shutdown::Both);
            }
        }
        Ok(())
    }

    /// Answers one request. Returns whether the connection goes on.
    fn exchange(
        &self,
        reader: &mut BufReader<TcpStream>,
        stream: &TcpStream,
        request: &SeenRequest,
    ) -> io::Result<bool> {
        let is_head = request.method == "HEAD";
        let misbehaviour = self.misbehaviour_for(request);
        match &misbehaviour {
            Some(Misbehaviour::CloseEarly) => return Ok(false),
            Some(Misbehaviour::RefuseEarly(status)) => {
                send(stream, &Answer::new(*status), is_head)?;
                return Ok(false);
            }
            Some(Misbehaviour::Silence) => {
                // Until the client gives up.
                io::copy(reader, &mut io::sink())?;
                return Ok(false);
            }
            _ => {}
        }
        let body = read_body(reader, request)?;
        match misbehaviour {
            None => send(stream, &self.answer(request, &body), is_head).map(|()| true),
            Some(Misbehaviour::Refuse(status)) => {
                send(stream, &Answer::new(status), is_head).map(|()| true)
            }
            Some(Misbehaviour::DoneButReported(status)) => {
                self.answer(request, &body);
                send(stream, &Answer::new(status), is_head).map(|()| true)
            }
            Some(Misbehaviour::CutBody(bytes)) => {
                let mut answer = self.answer(request, &body);
                answer.announced.get_or_insert(answer.body.len() as u64);
                answer.body.truncate(bytes);
                send(stream, &answer, is_head).map(|()| false)
            }
            Some(Misbehaviour::ShortBody(bytes)) => {
                let mut answer = self.answer(request, &body);
                answer.body.truncate(bytes);
                send(stream, &answer, is_head).map(|()| true)
            }
            Some(Misbehaviour::OtherBody(other)) => {
                let mut answer = self.answer(request, &body);
                answer.body = other;
                send(stream, &answer, is_head).map(|()| true)
            }
            Some(Misbehaviour::Redirect(status, target)) => {
                let mut answer = Answer::new(status);
                answer.headers.push(("Location", target));
                send(stream, &answer, is_head).map(|()| true)
            }
            // Lost: the connection ends without a word.
            Some(_) => {
                self.answer(request, &body);
                Ok(false)
            }
        }
    }

    fn misbehaviour_for(&self, request: &SeenRequest) -> Option<Misbehaviour> {
        let mut rules = self.rules.lock();
        let rule = rules.iter_mut().find(|rule| {
            rule.times > 0
                && rule.method == request.method
                && request.target.contains(&rule.target_part)
        })?;
        if rule.skip > 0 {
            rule.skip -= 1;
            return None;
        }
        rule.times -= 1;
        Some(rule.misbehaviour.clone())
    }

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
