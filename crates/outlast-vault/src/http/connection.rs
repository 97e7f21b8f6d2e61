//! One connection from its first byte to its last.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch as signal;

use super::events::Refusal;
use super::exchange::{self, Line, Shared};
use super::limits::PIECE_BYTES;
use super::watch::{Stage, Watch};
use super::watched::Watched;

/// Speaks HTTP/1.1 over a stream until the peer has had enough, is too slow, or the server stops.
pub(super) async fn serve<S>(
    stream: S,
    peer: Arc<str>,
    shared: Arc<Shared>,
    mut stop: signal::Receiver<bool>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let limits = &shared.limits;
    let watch = Watch::new(Arc::clone(limits));
    let stream = Watched::new(stream, watch.clone());
    let line = Line {
        shared: Arc::clone(&shared),
        peer: Arc::clone(&peer),
        watch: watch.clone(),
    };
    let service = service_fn(move |request| exchange::answer(line.clone(), request));
    let connection = http1::Builder::new()
        // Time is kept by the watch.
        .header_read_timeout(None)
        .max_header_size(limits.head_bytes)
        .max_headers(limits.headers)
        .max_buf_size(PIECE_BYTES.max(limits.head_bytes))
        // Some send all they have to say, close their side and wait for the answer.
        .half_close(true)
        .serve_connection(TokioIo::new(stream), service);

    let mut connection = pin!(connection);
    let mut overdue = pin!(watch.overdue());
    let mut stopping = pin!(async move { stop.wait_for(|stop| *stop).await.is_ok() });
    let mut is_stopping = false;
    let refusal = poll_fn(|context| {
        if !is_stopping && stopping.as_mut().poll(context).is_ready() {
            is_stopping = true;
            connection.as_mut().graceful_shutdown();
        }
        if let Poll::Ready(result) = connection.as_mut().poll(context) {
            return Poll::Ready(result.err().and_then(|error| why_ended(&error)));
        }
        let overdue = overdue.as_mut().poll(context);
        overdue.map(|stage| why_overdue(stage).filter(|_| !is_stopping))
    })
    .await;
    if let Some(refusal) = refusal {
        shared.events.refused(&peer, refusal);
    }
}

/// Peers come and go, which is no news; those who speak something else are.
fn why_ended(error: &hyper::Error) -> Option<Refusal> {
    error.is_parse().then_some(Refusal::Malformed)
}

fn why_overdue(stage: Stage) -> Option<Refusal> {
    match stage {
        Stage::Head => Some(Refusal::HeadSlow),
        Stage::Idle => Some(Refusal::Idle),
        Stage::Sending => Some(Refusal::DownloadSlow),
        Stage::ClosingUnheard => Some(Refusal::Malformed),
        Stage::Answering | Stage::Closing => None,
    }
}
