//! The body of an answer on its way from the thread of a handler to a connection.

use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::body::{Body, Bytes, Frame, SizeHint};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::limits::{Meter, PIECE_BYTES, Pace};
use super::watch::Watch;

/// The handler's reader ended early. The connection is cut, so that nobody takes the answer for complete.
#[derive(Debug, thiserror::Error)]
#[error("the answer ended before its end")]
pub(super) struct CutOff;

/// Where the bytes come from.
pub(super) enum Source {
    Bytes(Bytes),
    Stream(mpsc::Receiver<Bytes>),
}

/// The body of one answer, as hyper takes it.
pub(super) struct Answer {
    source: Source,
    left: u64,
    meter: Meter,
    /// When the last piece was handed to hyper, which comes back once the peer has taken it.
    handed: Option<Instant>,
    watch: Watch,
}

impl Answer {
    pub(super) fn new(source: Source, length: u64, pace: Pace, watch: Watch) -> Self {
        Self {
            source,
            left: length,
            meter: Meter::new(pace),
            handed: None,
            watch,
        }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = CutOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, CutOff>>> {
        let this = &mut *self;
        if let Some(handed) = this.handed.take() {
            this.meter.waited(handed.elapsed());
        }
        if this.left == 0 {
            return Poll::Ready(None);
        }
        let piece = match &mut this.source {
            // In pieces, so that a slow peer is noticed in between.
            Source::Bytes(bytes) => bytes.split_to(bytes.len().min(PIECE_BYTES)),
            Source::Stream(pieces) => match pieces.poll_recv(context) {
                Poll::Ready(piece) => piece.unwrap_or_default(),
                Poll::Pending => {
                    // Now the handler is to blame, not the peer.
                    this.watch.answering();
                    return Poll::Pending;
                }
            },
        };
        let Some(left) = this.left.checked_sub(piece.len() as u64) else {
            return Poll::Ready(Some(Err(CutOff)));
        };
        if piece.is_empty() {
            return Poll::Ready(Some(Err(CutOff)));
        }
        this.left = left;
        this.meter.passed(piece.len());
        let now = Instant::now();
        this.handed = Some(now);
        this.watch.sending(now + this.meter.patience());
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.watch.idle();
    }
}
