//! A server on a free port of this machine, which misbehaves when told to.

use std::io::{self, BufReader, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;

use parking_lot::Mutex;

use super::http::{Answer, SeenRequest, read_body, read_request, send};

/// Pieces in which an endless body goes out, bytes, roughly.
const PIECE_BYTES: usize = 64 * 1024;
/// An endless body ends after so many bytes, so that a client that believes in it does not hang.
const ENDLESS_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// What a server does instead of answering as it should.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Misbehaviour {
    /// Answers with this status and does nothing.
    Refuse(u16),
    /// Answers with this status, these headers and this body, and does nothing.
    Answer(u16, Vec<(&'static str, String)>, Vec<u8>),
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
    /// Claims that the body has so many bytes, sends it and closes the connection.
    WrongLength(u64),
    /// Sends another body.
    OtherBody(Vec<u8>),
    /// Sends the body with one text in it replaced by another wherever it is.
    Replace(String, String),
    /// Sends the answer with another value of a header.
    OtherHeader(&'static str, String),
    /// Does and answers as if this target had been asked for.
    OtherTarget(String),
    /// Sends the first text and then the second again and again, without ever saying that it ends.
    Endless(String, String),
    /// Sends the client elsewhere.
    Redirect(u16, String),
    /// Never answers.
    Silence,
}

/// What answers requests as it should.
pub(super) trait Handler: Send + Sync + 'static {
    fn answer(&self, request: &SeenRequest, body: &[u8]) -> Answer;
}

#[derive(Debug)]
struct Rule {
    method: &'static str,
    target_part: String,
    skip: usize,
    times: usize,
    misbehaviour: Misbehaviour,
}

/// A server. It stops when it is dropped.
#[derive(Debug)]
pub(super) struct Scripted<H: Handler> {
    address: SocketAddr,
    shared: Arc<Shared<H>>,
}

#[derive(Debug)]
struct Shared<H> {
    handler: H,
    rules: Mutex<Vec<Rule>>,
    seen: Mutex<Vec<SeenRequest>>,
    stopped: AtomicBool,
    connections: AtomicUsize,
    endless_bytes: AtomicU64,
}

impl<H: Handler> Scripted<H> {
    /// Starts a server.
    pub(super) fn start(handler: H) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            handler,
            rules: Mutex::default(),
            seen: Mutex::default(),
            stopped: AtomicBool::default(),
            connections: AtomicUsize::default(),
            endless_bytes: AtomicU64::default(),
        });
        let of_thread = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let shared = Arc::clone(&of_thread);
                if shared.stopped.load(Ordering::Relaxed) {
                    return;
                }
                if let Ok(stream) = stream {
                    shared.connections.fetch_add(1, Ordering::Relaxed);
                    // What goes wrong with a connection is for the client to notice.
                    thread::spawn(move || shared.serve(stream));
                }
            }
        });
        Ok(Self { address, shared })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn handler(&self) -> &H {
        &self.shared.handler
    }

    /// After `skip` requests with this method whose target contains a text have been served well, it
    /// misbehaves for the next `times` of them.
    pub(super) fn misbehave(
        &self,
        method: &'static str,
        target_part: &str,
        skip: usize,
        times: usize,
        misbehaviour: Misbehaviour,
    ) {
        let target_part = target_part.to_owned();
        self.shared.rules.lock().push(Rule {
            method,
            target_part,
            skip,
            times,
            misbehaviour,
        });
    }

    /// Forgets all that it was told to do wrong.
    pub(super) fn behave(&self) {
        self.shared.rules.lock().clear();
    }

    pub(super) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Relaxed)
    }

    pub(super) fn requests(&self) -> Vec<SeenRequest> {
        self.shared.seen.lock().clone()
    }

    /// The bytes that clients took of endless bodies, as far as they left this process.
    pub(super) fn endless_bytes(&self) -> u64 {
        self.shared.endless_bytes.load(Ordering::Relaxed)
    }
}

impl<H: Handler> Drop for Scripted<H> {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
        // Wakes the listening thread, which then sees that it is to stop.
        let _ = TcpStream::connect(self.address);
    }
}

impl<H: Handler> Shared<H> {
    fn serve(&self, stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut reader = BufReader::new(stream.try_clone()?);
        while let Some(request) = read_request(&mut reader)? {
            if self.stopped.load(Ordering::Relaxed) {
                return Ok(());
            }
            self.seen.lock().push(request.clone());
            if !self.exchange(&mut reader, &stream, request)? {
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
        mut request: SeenRequest,
    ) -> io::Result<bool> {
        let is_head = request.method == "HEAD";
        let misbehaviour = self.misbehaviour_for(&request);
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
        let body = read_body(reader, &request)?;
        let Some(misbehaviour) = misbehaviour else {
            let answer = self.handler.answer(&request, &body);
            return send(stream, &answer, is_head).map(|()| true);
        };
        match misbehaviour {
            Misbehaviour::Refuse(status) => {
                return send(stream, &Answer::new(status), is_head).map(|()| true);
            }
            Misbehaviour::Answer(status, headers, body) => {
                let mut answer = Answer::with_body(status, body);
                answer.headers = headers;
                return send(stream, &answer, is_head).map(|()| true);
            }
            Misbehaviour::Redirect(status, target) => {
                let mut answer = Answer::new(status);
                answer.headers.push(("Location", target));
                return send(stream, &answer, is_head).map(|()| true);
            }
            Misbehaviour::Endless(begin, again) => {
                return self.send_endlessly(stream, &begin, &again).map(|()| false);
            }
            Misbehaviour::OtherTarget(target) => {
                request.target = target;
                let answer = self.handler.answer(&request, &body);
                return send(stream, &answer, is_head).map(|()| true);
            }
            _ => {}
        }
        let answer = self.handler.answer(&request, &body);
        send_falsely(stream, answer, misbehaviour, is_head)
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

    fn send_endlessly(&self, mut stream: &TcpStream, begin: &str, again: &str) -> io::Result<()> {
        stream.write_all(b"HTTP/1.1 200 Status\r\nConnection: close\r\n\r\n")?;
        stream.write_all(begin.as_bytes())?;
        let piece = again.repeat(PIECE_BYTES / again.len().max(1) + 1);
        let mut sent = 0;
        // Until the client has enough.
        while sent < ENDLESS_BYTES_MAX {
            stream.write_all(piece.as_bytes())?;
            sent += piece.len() as u64;
            let bytes = piece.len() as u64;
            self.endless_bytes.fetch_add(bytes, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// Sends a right answer in a wrong way. Returns whether the connection goes on.
fn send_falsely(
    stream: &TcpStream,
    mut answer: Answer,
    misbehaviour: Misbehaviour,
    is_head: bool,
) -> io::Result<bool> {
    let mut goes_on = true;
    match misbehaviour {
        Misbehaviour::DoneButReported(status) => answer = Answer::new(status),
        Misbehaviour::CutBody(bytes) => {
            answer.announced.get_or_insert(answer.body.len() as u64);
            answer.body.truncate(bytes);
            goes_on = false;
        }
        Misbehaviour::ShortBody(bytes) => answer.body.truncate(bytes),
        Misbehaviour::WrongLength(bytes) => {
            answer.announced = Some(bytes);
            goes_on = false;
        }
        Misbehaviour::OtherBody(other) => answer.body = other,
        Misbehaviour::Replace(from, to) => {
            let text = String::from_utf8_lossy(&answer.body).replace(&from, &to);
            answer.body = text.into_bytes();
        }
        Misbehaviour::OtherHeader(name, value) => {
            answer.headers.retain(|(other, _)| *other != name);
            answer.headers.push((name, value));
        }
        // Lost: the connection ends without a word.
        _ => return Ok(false),
    }
    send(stream, &answer, is_head).map(|()| goes_on)
}
