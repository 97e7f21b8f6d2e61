//! One request and its answer, between a connection and the thread of a handler.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io::{self, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use hyper::body::{Bytes, Incoming};
use hyper::header::{
    CONNECTION, CONTENT_LENGTH, DATE, EXPECT, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER,
    TRANSFER_ENCODING,
};
use hyper::{Method, StatusCode};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::answer::{Answer, Source};
use super::events::{Events, Refusal};
use super::limits::{Limits, METHOD_BYTES_MAX, PIECE_BYTES, PIECES_WAITING};
use super::upload::{self, BodyReader, Broken, Handed, Upload};
use super::watch::Watch;
use super::{Body, Handler, Request, Response};

/// When those who find us busy may come again, in seconds.
const RETRY_SECONDS: &str = "5";

/// What all connections of a server share.
pub(super) struct Shared {
    pub(super) handler: Arc<dyn Handler>,
    pub(super) events: Arc<dyn Events>,
    pub(super) limits: Arc<Limits>,
    /// Room for requests at work or waiting for a thread.
    pub(super) places: Arc<Semaphore>,
}

/// One connection, as its requests see it.
#[derive(Clone)]
pub(super) struct Line {
    pub(super) shared: Arc<Shared>,
    pub(super) peer: Arc<str>,
    pub(super) watch: Watch,
}

/// Answers one request: gives it to a thread, and hands its body over until that thread has an answer.
pub(super) async fn answer(
    line: Line,
    request: hyper::Request<Incoming>,
) -> Result<hyper::Response<Answer>, Infallible> {
    line.watch.answering();
    let (parts, incoming) = request.into_parts();
    let is_head = parts.method == Method::HEAD;
    let expects_continue = parts.headers.contains_key(EXPECT);
    let (mut upload, body) = upload::channel(incoming, line.shared.limits.pace);
    let places = Arc::clone(&line.shared.places);
    let begun = match (read_head(&parts, &upload), places.try_acquire_owned()) {
        (Err(status), _) => Err(status),
        (Ok(_), Err(_)) => {
            line.shared.events.refused(&line.peer, Refusal::Busy);
            Err(StatusCode::SERVICE_UNAVAILABLE)
        }
        (Ok(head), Ok(place)) => Ok(begin(&line, head, body, place)),
    };
    let (answered, handed) = match begun {
        Ok(answered) => await_answer(answered, &mut upload).await,
        Err(status) => (Answered::empty(status), None),
    };
    if handed == Some(Handed::Broken(Broken::Slow)) {
        line.shared.events.refused(&line.peer, Refusal::UploadSlow);
    }
    let is_reusable = settle_rest(&line, upload, handed, expects_continue);
    Ok(respond(&line, answered, is_head, is_reusable))
}

/// What a handler sees of a request, besides its body.
struct Head {
    method: String,
    path: String,
    query: String,
    headers: Vec<(String, String)>,
    content_length: Option<u64>,
}

fn read_head(parts: &hyper::http::request::Parts, upload: &Upload) -> Result<Head, StatusCode> {
    let method = parts.method.as_str();
    if method.len() > METHOD_BYTES_MAX {
        return Err(StatusCode::NOT_IMPLEMENTED);
    }
    let path = parts.uri.path();
    if !path.starts_with('/') {
        return Err(StatusCode::BAD_REQUEST);
    }
    let headers = parts.headers.iter().filter_map(|(name, value)| {
        let value = value.to_str().ok()?;
        Some((name.as_str().to_string(), value.to_string()))
    });
    Ok(Head {
        method: method.to_string(),
        path: path.to_string(),
        query: parts.uri.query().unwrap_or_default().to_string(),
        headers: headers.collect(),
        content_length: upload.length(),
    })
}

/// What a handler's thread gives back.
struct Answered {
    status: StatusCode,
    headers: HeaderMap,
    source: Source,
    length: u64,
}

impl Answered {
    fn empty(status: StatusCode) -> Self {
        let mut headers = HeaderMap::new();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, HeaderValue::from_static(RETRY_SECONDS));
        }
        Self {
            status,
            headers,
            source: Source::Bytes(Bytes::new()),
            length: 0,
        }
    }
}

/// Gives a request to a thread.
fn begin(
    line: &Line,
    head: Head,
    body: BodyReader,
    place: OwnedSemaphorePermit,
) -> oneshot::Receiver<Answered> {
    let (sender, receiver) = oneshot::channel();
    let line = line.clone();
    tokio::task::spawn_blocking(move || {
        handle(&line, &head, body, sender);
        drop(place);
    });
    receiver
}

/// Waits for the thread's answer while its body is handed over.
async fn await_answer(
    answered: oneshot::Receiver<Answered>,
    upload: &mut Upload,
) -> (Answered, Option<Handed>) {
    let mut answered = pin!(answered);
    let mut handing = pin!(upload.hand_over());
    let mut handed = None;
    let found = poll_fn(|context| {
        if let Poll::Ready(found) = answered.as_mut().poll(context) {
            return Poll::Ready(found);
        }
        if handed.is_none()
            && let Poll::Ready(result) = handing.as_mut().poll(context)
        {
            handed = Some(result);
        }
        Poll::Pending
    })
    .await;
    // The thread always answers, unless the server is being torn down around it.
    let found = found.unwrap_or_else(|_| Answered::empty(StatusCode::INTERNAL_SERVER_ERROR));
    (found, handed)
}

/// Deals with what the handler did not read. Returns whether the connection may be used again.
fn settle_rest(
    line: &Line,
    mut upload: Upload,
    handed: Option<Handed>,
    expects_continue: bool,
) -> bool {
    if handed == Some(Handed::All) || upload.is_complete() {
        line.watch.set_unread(false);
        return true;
    }
    line.watch.set_unread(true);
    let is_broken = matches!(handed, Some(Handed::Broken(_)));
    // A peer that was never asked to continue will not send its body now.
    let is_withheld = expects_continue && !upload.is_started;
    if is_broken || is_withheld || upload.is_beyond_draining() {
        return false;
    }
    let watch = line.watch.clone();
    // Beside the answer, which must not wait for the peer to have sent everything.
    tokio::spawn(async move {
        if upload.drain().await {
            watch.set_unread(false);
        }
    });
    true
}

fn respond(
    line: &Line,
    answered: Answered,
    is_head: bool,
    is_reusable: bool,
) -> hyper::Response<Answer> {
    let Answered {
        status,
        mut headers,
        source,
        length,
    } = answered;
    let has_body = status != StatusCode::NO_CONTENT && status != StatusCode::NOT_MODIFIED;
    if has_body {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    if !is_reusable {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    let sent = if is_head || !has_body { 0 } else { length };
    let pace = line.shared.limits.pace;
    let body = Answer::new(source, sent, pace, line.watch.clone());
    let mut response = hyper::Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// What runs on a handler's thread.
fn handle(line: &Line, head: &Head, mut body: BodyReader, sender: oneshot::Sender<Answered>) {
    // The peer may have gone while this waited for a thread.
    if sender.is_closed() {
        return;
    }
    let request = Request {
        method: &head.method,
        path: &head.path,
        query: &head.query,
        headers: &head.headers,
        content_length: head.content_length,
        peer: &line.peer,
        body: &mut body,
    };
    let handler = &line.shared.handler;
    let result = catch_unwind(AssertUnwindSafe(|| handler.handle(request)));
    drop(body);
    let failed = Answered::empty(StatusCode::INTERNAL_SERVER_ERROR);
    let Ok(response) = result else {
        line.shared.events.panicked(&line.peer);
        let _ = sender.send(failed);
        return;
    };
    let Some((status, headers)) = checked(&response) else {
        let _ = sender.send(failed);
        return;
    };
    let (source, length, stream) = match response.body {
        Body::Bytes(bytes) => {
            let length = bytes.len() as u64;
            (Source::Bytes(Bytes::from(bytes)), length, None)
        }
        Body::Stream(reader, length) => {
            let (pieces, receiver) = mpsc::channel(PIECES_WAITING);
            (Source::Stream(receiver), length, Some((reader, pieces)))
        }
    };
    let answered = Answered {
        status,
        headers,
        source,
        length,
    };
    if sender.send(answered).is_err() || head.method == "HEAD" {
        return;
    }
    let Some((mut reader, pieces)) = stream else {
        return;
    };
    match catch_unwind(AssertUnwindSafe(|| {
        stream_out(&mut *reader, length, &pieces)
    })) {
        Ok(Ok(())) => {}
        Ok(Err(_)) => line.shared.events.cut_off(&line.peer),
        Err(_) => line.shared.events.panicked(&line.peer),
    }
}

/// Status and headers of an answer, if they can be sent; otherwise the handler has a fault.
fn checked(response: &Response) -> Option<(StatusCode, HeaderMap)> {
    let status = StatusCode::from_u16(response.status).ok()?;
    if !(200..=599).contains(&response.status) {
        return None;
    }
    let mut headers = HeaderMap::new();
    for (name, value) in &response.headers {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        let value = HeaderValue::from_str(value).ok()?;
        // These are ours to decide.
        if ![CONTENT_LENGTH, CONNECTION, DATE, TRANSFER_ENCODING].contains(&name) {
            headers.try_append(name, value).ok()?;
        }
    }
    Some((status, headers))
}

/// Reads `length` bytes and hands them on. A connection that is gone is no error.
fn stream_out(reader: &mut dyn Read, length: u64, pieces: &mpsc::Sender<Bytes>) -> io::Result<()> {
    let mut left = length;
    while left > 0 {
        let wanted = left.min(PIECE_BYTES as u64) as usize;
        let mut piece = vec![0; wanted];
        let count = match reader.read(&mut piece) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => count.min(wanted),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        piece.truncate(count);
        left -= count as u64;
        if pieces.blocking_send(Bytes::from(piece)).is_err() {
            return Ok(());
        }
    }
    Ok(())
}
