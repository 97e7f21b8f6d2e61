//! The body of a request on its way from a connection to the thread of a handler.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{self, Read};
use std::pin::Pin;
use std::sync::Arc;

use hyper::body::{Body as _, Buf as _, Bytes, Incoming};
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, timeout};

use super::limits::{DRAIN_BYTES_MAX, Meter, PIECE_BYTES, PIECES_WAITING, Pace};

/// Why a body ended before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Broken {
    #[error("the peer sends its body too slowly")]
    Slow,
    #[error("the peer broke off in the middle of its body")]
    Gone,
}

impl From<Broken> for io::Error {
    fn from(broken: Broken) -> Self {
        let kind = match broken {
            Broken::Slow => io::ErrorKind::TimedOut,
            Broken::Gone => io::ErrorKind::UnexpectedEof,
        };
        Self::new(kind, broken)
    }
}

enum Piece {
    /// What came, as it came: nothing is copied to make one of it.
    Bytes(VecDeque<Bytes>),
    /// The body is complete. Without it the body is broken, however the channel came to be closed.
    End,
    Broken(Broken),
}

/// What became of handing a body over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Handed {
    /// It is complete.
    All,
    /// It broke.
    Broken(Broken),
    /// The handler wants no more of it.
    NotWanted,
}

/// The connection's side.
pub(super) struct Upload {
    incoming: Incoming,
    meter: Meter,
    pieces: mpsc::Sender<Piece>,
    wanted: Arc<Notify>,
    /// Whether anything was asked of the peer, which is what makes hyper send `100 Continue`.
    pub(super) is_started: bool,
}

/// The handler's side: blocks until bytes are there.
pub(super) struct BodyReader {
    pieces: mpsc::Receiver<Piece>,
    wanted: Arc<Notify>,
    current: VecDeque<Bytes>,
    end: Option<Result<(), Broken>>,
}

/// Both sides for one body.
pub(super) fn channel(incoming: Incoming, pace: Pace) -> (Upload, BodyReader) {
    let (sender, receiver) = mpsc::channel(PIECES_WAITING);
    let wanted = Arc::new(Notify::new());
    let reader = BodyReader {
        pieces: receiver,
        wanted: Arc::clone(&wanted),
        current: VecDeque::new(),
        end: incoming.is_end_stream().then_some(Ok(())),
    };
    let upload = Upload {
        incoming,
        meter: Meter::new(pace),
        pieces: sender,
        wanted,
        is_started: false,
    };
    (upload, reader)
}

impl Upload {
    /// Whether all of it has been read.
    pub(super) fn is_complete(&self) -> bool {
        self.incoming.is_end_stream()
    }

    /// The length that the peer declared, or that is known because there is no body.
    pub(super) fn length(&self) -> Option<u64> {
        self.incoming.size_hint().exact()
    }

    /// Whether more is known to be left than would be drained.
    pub(super) fn is_beyond_draining(&self) -> bool {
        self.incoming.size_hint().lower() > DRAIN_BYTES_MAX
    }

    /// Hands the body to the handler as that reads it. Nothing is asked of the peer before the handler asks.
    pub(super) async fn hand_over(&mut self) -> Handed {
        self.wanted.notified().await;
        self.is_started = true;
        loop {
            let (bytes, end) = self.gather().await;
            if !bytes.is_empty() && self.pieces.send(Piece::Bytes(bytes)).await.is_err() {
                return Handed::NotWanted;
            }
            let (piece, handed) = match end {
                None => continue,
                Some(Ok(())) => (Piece::End, Handed::All),
                Some(Err(broken)) => (Piece::Broken(broken), Handed::Broken(broken)),
            };
            // Whoever wants no more of it has no use for the end either.
            let _ = self.pieces.send(piece).await;
            return handed;
        }
    }

    /// What comes next, at least a piece's worth unless the body ends: waking the handler's thread for
    /// every record of TLS costs more than what it then does with it.
    async fn gather(&mut self) -> (VecDeque<Bytes>, Option<Result<(), Broken>>) {
        let (mut gathered, mut count) = (VecDeque::new(), 0);
        while count < PIECE_BYTES {
            match self.next().await {
                Ok(Some(bytes)) if bytes.is_empty() => {}
                Ok(Some(bytes)) => {
                    count += bytes.len();
                    gathered.push_back(bytes);
                }
                Ok(None) => return (gathered, Some(Ok(()))),
                Err(broken) => return (gathered, Some(Err(broken))),
            }
        }
        (gathered, None)
    }

    /// Reads on without keeping anything. Returns whether the end was reached within [`DRAIN_BYTES_MAX`].
    pub(super) async fn drain(&mut self) -> bool {
        let mut left = DRAIN_BYTES_MAX;
        loop {
            match self.next().await {
                Ok(None) => return true,
                Ok(Some(bytes)) => match left.checked_sub(bytes.len() as u64) {
                    Some(rest) => left = rest,
                    None => return false,
                },
                Err(_) => return false,
            }
        }
    }

    async fn next(&mut self) -> Result<Option<Bytes>, Broken> {
        let begin = Instant::now();
        let incoming = &mut self.incoming;
        let frame = poll_fn(|context| Pin::new(&mut *incoming).poll_frame(context));
        let frame = timeout(self.meter.patience(), frame)
            .await
            .map_err(|_| Broken::Slow)?;
        self.meter.waited(begin.elapsed());
        match frame {
            None => Ok(None),
            Some(Err(_)) => Err(Broken::Gone),
            Some(Ok(frame)) => {
                // Trailers mean nothing to us.
                let bytes = frame.into_data().unwrap_or_default();
                self.meter.passed(bytes.len());
                Ok(Some(bytes))
            }
        }
    }
}

impl Read for BodyReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            if let Some(first) = self.current.front_mut() {
                let count = buffer.len().min(first.len());
                first.copy_to_slice(&mut buffer[..count]);
                if first.is_empty() {
                    self.current.pop_front();
                }
                return Ok(count);
            }
            if let Some(end) = self.end {
                return end.map(|()| 0).map_err(io::Error::from);
            }
            self.wanted.notify_one();
            match self.pieces.blocking_recv() {
                Some(Piece::Bytes(bytes)) => self.current = bytes,
                Some(Piece::End) => self.end = Some(Ok(())),
                Some(Piece::Broken(broken)) => self.end = Some(Err(broken)),
                None => self.end = Some(Err(Broken::Gone)),
            }
        }
    }
}
