//! The server: takes connections, bounds them, and stops without breaking what it has begun.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch as signal};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use super::connection;
use super::events::{Events, Refusal};
use super::exchange::Shared;
use super::limits::Limits;
use super::{Handler, Tls};

/// What the system cannot give now it may be able to give after so long.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Handlers that are still at work when the time for stopping is over get so long to notice that their
/// connection is gone.
const THREADS_END_TIME: Duration = Duration::from_secs(1);

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// At this address; port 0 lets the system choose.
    Tcp(SocketAddr),
    /// At this unix socket, which is made, with the permissions that the process gives to new files, and removed in
    /// the end. One that is left from a process that is gone is replaced.
    Unix(PathBuf),
}

impl fmt::Display for Listen {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(formatter, "{address}"),
            Self::Unix(path) => write!(formatter, "unix:{}", path.display()),
        }
    }
}

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Passwords and backups would go over a network for all to read and change.
    #[error(
        "refusing to listen at {0} without TLS: plain HTTP is for loopback addresses and unix sockets only"
    )]
    PlainText(SocketAddr),
    /// The system does not let us listen there.
    #[error("cannot listen at {listen}: {source}")]
    Listen {
        /// Where.
        listen: Listen,
        /// What the system said.
        source: io::Error,
    },
    /// The system gives us no threads or no way to wait for sockets.
    #[error("cannot start threads: {0}")]
    Threads(io::Error),
}

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// A server that listens. Connections are answered once it [runs](Server::run).
pub struct Server {
    // Before the runtime, to which it belongs.
    listener: Listener,
    runtime: Runtime,
    local: Listen,
    acceptor: Option<TlsAcceptor>,
    shared: Arc<Shared>,
    stop: Stop,
}

impl fmt::Debug for Server {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Server")
            .field("local", &self.local)
            .finish_non_exhaustive()
    }
}

/// Stops a server from wherever it is wanted, for example when a signal comes. Can be cloned.
#[derive(Debug, Clone)]
pub struct Stop(Arc<signal::Sender<bool>>);

impl Stop {
    /// No connections are taken any more; requests that have begun may end within [`Limits::stop_time`].
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

impl Server {
    /// Begins to listen. Without TLS only loopback addresses and unix sockets are allowed.
    pub fn bind(
        listen: &Listen,
        tls: Option<Tls>,
        limits: Limits,
        handler: Arc<dyn Handler>,
        events: Arc<dyn Events>,
    ) -> Result<Self, BindError> {
        if let (Listen::Tcp(address), None) = (listen, &tls)
            && !address.ip().to_canonical().is_loopback()
        {
            return Err(BindError::PlainText(*address));
        }
        let runtime = Builder::new_multi_thread()
            .enable_io()
            .enable_time()
            .max_blocking_threads(limits.threads.max(1) as usize)
            .thread_name("vault-http")
            .build()
            .map_err(BindError::Threads)?;
        let (listener, local) = {
            let _inside = runtime.enter();
            let failed = |source| BindError::Listen {
                listen: listen.clone(),
                source,
            };
            open(listen, &runtime).map_err(failed)?
        };
        let places = limits.threads.max(1).saturating_add(limits.waiting) as usize;
        Ok(Self {
            listener,
            runtime,
            local,
            acceptor: tls.map(|tls| TlsAcceptor::from(tls.config())),
            shared: Arc::new(Shared {
                handler,
                events,
                limits: Arc::new(limits),
                places: Arc::new(Semaphore::new(places.min(Semaphore::MAX_PERMITS))),
            }),
            stop: Stop(Arc::new(signal::Sender::new(false))),
        })
    }

    /// Where it listens, with the port that the system chose.
    pub fn local_address(&self) -> &Listen {
        &self.local
    }

    /// What stops it.
    pub fn stop_handle(&self) -> Stop {
        self.stop.clone()
    }

    /// Answers requests until it is stopped and either all connections have ended or the time for that is over.
    pub fn run(self) {
        let Self {
            listener,
            runtime,
            local,
            acceptor,
            shared,
            stop,
        } = self;
        let stop_time = shared.limits.stop_time;
        let connections = shared.limits.connections;
        let door = Door {
            room: Arc::new(Semaphore::new(connections as usize)),
            peers: Arc::default(),
            acceptor,
            shared,
            stop: stop.0.subscribe(),
        };
        runtime.block_on(async {
            let mut stopped = door.stop.clone();
            let is_stopped = stopped.wait_for(|stop| *stop);
            either(is_stopped, door.take_all(&listener)).await;
            // Whoever comes now is told so by the system.
            drop(listener);
            if let Listen::Unix(path) = &local {
                let _ = std::fs::remove_file(path);
            }
            let _ = timeout(stop_time, door.room.acquire_many(connections)).await;
        });
        runtime.shutdown_timeout(THREADS_END_TIME);
    }
}

/// Waits for the first of two.
async fn either<A, B>(first: impl Future<Output = A>, second: impl Future<Output = B>) {
    let mut first = std::pin::pin!(first);
    let mut second = std::pin::pin!(second);
    std::future::poll_fn(|context| {
        if first.as_mut().poll(context).is_ready() {
            return std::task::Poll::Ready(());
        }
        second.as_mut().poll(context).map(|_| ())
    })
    .await;
}

fn open(listen: &Listen, runtime: &Runtime) -> io::Result<(Listener, Listen)> {
    match listen {
        Listen::Tcp(address) => {
            let listener = runtime.block_on(TcpListener::bind(address))?;
            let local = Listen::Tcp(listener.local_addr()?);
            Ok((Listener::Tcp(listener), local))
        }
        Listen::Unix(path) => {
            remove_abandoned(path);
            let listener = UnixListener::bind(path)?;
            Ok((Listener::Unix(listener), listen.clone()))
        }
    }
}

/// Removes a socket that nobody listens at. Anything else stays, and makes listening there fail.
fn remove_abandoned(path: &Path) {
    let is_socket =
        std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket());
    if is_socket
        && let Err(error) = std::os::unix::net::UnixStream::connect(path)
        && error.kind() == io::ErrorKind::ConnectionRefused
    {
        let _ = std::fs::remove_file(path);
    }
}

impl Listener {
    async fn accept(&self) -> io::Result<(Stream, Option<SocketAddr>)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                // Answers are written whole; waiting for more only delays them. A peer that is
                // gone already is found out later.
                let _ = stream.set_nodelay(true);
                Ok((Stream::Tcp(stream), Some(address)))
            }
            Self::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                Ok((Stream::Unix(stream), None))
            }
        }
    }
}

/// How many connections each peer has.
type Peers = Arc<Mutex<HashMap<IpAddr, u32>>>;

/// Lets connections in.
struct Door {
    room: Arc<Semaphore>,
    peers: Peers,
    acceptor: Option<TlsAcceptor>,
    shared: Arc<Shared>,
    stop: signal::Receiver<bool>,
}

/// A connection's place; given back when it is dropped.
struct Seat {
    _room: OwnedSemaphorePermit,
    _share: Option<Share>,
}

/// A connection among those of its peer.
struct Share {
    peers: Peers,
    key: IpAddr,
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut peers = self.peers.lock();
        if let Some(count) = peers.get_mut(&self.key) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                peers.remove(&self.key);
            }
        }
    }
}

impl Door {
    async fn take_all(&self, listener: &Listener) {
        loop {
            match listener.accept().await {
                Ok((stream, address)) => self.take(stream, address),
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    self.shared.events.accept_failed(&error);
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn take(&self, stream: Stream, address: Option<SocketAddr>) {
        let events = &self.shared.events;
        let peer: Arc<str> = match address {
            Some(address) => SocketAddr::new(address.ip().to_canonical(), address.port())
                .to_string()
                .into(),
            None => "unix".into(),
        };
        match self.seat(address.map(|address| address.ip())) {
            Err(refusal) => events.refused(&peer, refusal),
            Ok(seat) => {
                events.accepted(&peer);
                let guest = Guest {
                    peer,
                    shared: Arc::clone(&self.shared),
                    acceptor: self.acceptor.clone(),
                    stop: self.stop.clone(),
                    _seat: seat,
                };
                match stream {
                    Stream::Tcp(stream) => drop(tokio::spawn(guest.serve(stream))),
                    Stream::Unix(stream) => drop(tokio::spawn(guest.serve(stream))),
                }
            }
        }
    }

    fn seat(&self, address: Option<IpAddr>) -> Result<Seat, Refusal> {
        let room = Arc::clone(&self.room)
            .try_acquire_owned()
            .map_err(|_| Refusal::Connections)?;
        let share = address.map(|address| self.share(address)).transpose()?;
        Ok(Seat {
            _room: room,
            _share: share,
        })
    }

    fn share(&self, address: IpAddr) -> Result<Share, Refusal> {
        let key = network(address);
        let mut peers = self.peers.lock();
        let count = peers.entry(key).or_insert(0);
        if *count >= self.shared.limits.connections_of_peer {
            return Err(Refusal::ConnectionsOfPeer);
        }
        *count += 1;
        Ok(Share {
            peers: Arc::clone(&self.peers),
            key,
        })
    }
}

/// What counts as one peer: an IPv4 address, or the IPv6 network that one customer is given at least.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() & (u128::MAX << 64)).into()),
    }
}

/// A connection that was let in.
struct Guest {
    peer: Arc<str>,
    shared: Arc<Shared>,
    acceptor: Option<TlsAcceptor>,
    stop: signal::Receiver<bool>,
    _seat: Seat,
}

impl Guest {
    async fn serve<S>(self, stream: S)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (peer, shared) = (Arc::clone(&self.peer), Arc::clone(&self.shared));
        let stop = self.stop.clone();
        let Some(acceptor) = &self.acceptor else {
            return connection::serve(stream, peer, shared, stop).await;
        };
        match timeout(shared.limits.head_time, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => connection::serve(stream, peer, shared, stop).await,
            _ => shared.events.refused(&peer, Refusal::Handshake),
        }
    }
}

// Also when a connection is torn down with the server.
impl Drop for Guest {
    fn drop(&mut self) {
        self.shared.events.ended(&self.peer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_told_apart() {
        let network = |text: &str| network(text.parse().unwrap());
        assert_eq!(network("192.0.2.1"), network("::ffff:192.0.2.1"));
        assert_ne!(network("192.0.2.1"), network("192.0.2.2"));
        assert_eq!(network("2001:db8::1"), network("2001:db8:0:0:ffff::2"));
        assert_ne!(network("2001:db8::1"), network("2001:db8:0:1::1"));
    }
}
