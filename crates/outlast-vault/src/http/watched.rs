//! The bytes of one connection, watched.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::watch::Watch;

/// After our side is closed at most so many bytes are taken and thrown away.
const LINGER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A stream that tells its [`Watch`] when bytes arrive, and that closes in a way that lets the peer read
/// our last answer even if it is still sending.
pub(super) struct Watched<S> {
    inner: S,
    watch: Watch,
    peer_ended: bool,
    lingering: Option<usize>,
}

impl<S> Watched<S> {
    pub(super) fn new(inner: S, watch: Watch) -> Self {
        Self {
            inner,
            watch,
            peer_ended: false,
            lingering: None,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(context, buffer))?;
        if buffer.filled().len() > before {
            self.watch.received();
        } else {
            self.peer_ended = true;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let mut taken = match this.lingering {
            Some(taken) => taken,
            None => {
                ready!(Pin::new(&mut this.inner).poll_shutdown(context))?;
                if this.peer_ended || !this.watch.may_be_sending() {
                    return Poll::Ready(Ok(()));
                }
                this.watch.closing();
                0
            }
        };
        let mut room = [0; 8 * 1024];
        while taken < LINGER_BYTES_MAX {
            this.lingering = Some(taken);
            let mut buffer = ReadBuf::new(&mut room);
            let read = ready!(Pin::new(&mut this.inner).poll_read(context, &mut buffer));
            if read.is_err() || buffer.filled().is_empty() {
                break;
            }
            taken += buffer.filled().len();
        }
        Poll::Ready(Ok(()))
    }
}
