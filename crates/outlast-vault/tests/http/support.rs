//! A server under test, a handler that does what its path says, and raw peers.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use outlast_vault::http::{
    Body, Events, Handler, Limits, Listen, Pace, Refusal, Request, Response, Server, Stop, Tls,
    Wanted, wanted,
};

/// No test waits longer than this for a server that does nothing.
const PATIENCE: Duration = Duration::from_secs(20);

/// What was observed, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    Accepted,
    Ended,
    Refused(Refusal),
    Panicked,
    CutOff,
    /// The handler's reader failed in this way after so many bytes.
    BodyFailed(io::ErrorKind, u64),
    /// A handler waits to be told to go on.
    Waits,
}

/// Passes on what it sees.
pub struct Observer(Mutex<Sender<Seen>>);

impl Observer {
    pub fn saw(&self, seen: Seen) {
        let _ = self.0.lock().unwrap().send(seen);
    }
}

impl Events for Observer {
    fn accepted(&self, _peer: &str) {
        self.saw(Seen::Accepted);
    }
    fn ended(&self, _peer: &str) {
        self.saw(Seen::Ended);
    }
    fn refused(&self, _peer: &str, why: Refusal) {
        self.saw(Seen::Refused(why));
    }
    fn panicked(&self, _peer: &str) {
        self.saw(Seen::Panicked);
    }
    fn cut_off(&self, _peer: &str) {
        self.saw(Seen::CutOff);
    }
}

/// Does what the path says.
struct Obedient {
    observer: Arc<Observer>,
    go_on: Mutex<Receiver<()>>,
}

/// The bytes of a stream: each is its position.
struct Counting(u64);

impl Read for Counting {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        for byte in buffer.iter_mut() {
            *byte = self.0 as u8;
            self.0 += 1;
        }
        Ok(buffer.len())
    }
}

/// A reader that panics after some bytes.
struct Exploding(u64);

impl Read for Exploding {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        assert!(self.0 > 0, "an explosion that the test wants");
        let count = buffer.len().min(self.0 as usize);
        self.0 -= count as u64;
        Ok(count)
    }
}

pub fn text(status: u16, text: impl Into<String>) -> Response {
    Response {
        status,
        headers: vec![("content-type", "text/plain".to_string())],
        body: Body::Bytes(text.into().into_bytes()),
    }
}

impl Obedient {
    /// Counts the body without keeping it.
    fn size(&self, request: Request<'_>) -> Response {
        let mut buffer = vec![0; 32 * 1024];
        let mut size = 0;
        loop {
            match request.body.read(&mut buffer) {
                Ok(0) => return text(200, format!("{size} of {:?}", request.content_length)),
                Ok(count) => size += count as u64,
                Err(error) => {
                    self.observer.saw(Seen::BodyFailed(error.kind(), size));
                    // An error is not forgotten.
                    assert!(request.body.read(&mut buffer).is_err());
                    return text(400, "your body is broken");
                }
            }
        }
    }

    fn wait(&self) {
        self.observer.saw(Seen::Waits);
        self.go_on
            .lock()
            .unwrap()
            .recv_timeout(PATIENCE)
            .expect("the test lets the handler go on");
    }
}

fn stream(request: &Request<'_>) -> Response {
    let total: u64 = request.query.parse().unwrap_or(0);
    let range = request.headers.iter().find(|(name, _)| name == "range");
    let range = range.map_or(Wanted::Whole, |(_, value)| wanted(value, total));
    let headers = range
        .content_range(total)
        .map(|value| ("content-range", value));
    let (status, body) = match range {
        Wanted::Whole => (200, Body::Stream(Box::new(Counting(0)), total)),
        Wanted::Part { start, length } => (206, Body::Stream(Box::new(Counting(start)), length)),
        Wanted::Nothing => (416, Body::Bytes(Vec::new())),
    };
    Response {
        status,
        headers: headers.into_iter().collect(),
        body,
    }
}

impl Handler for Obedient {
    fn handle(&self, request: Request<'_>) -> Response {
        match request.path {
            "/echo" => {
                let mut body = String::new();
                match request.body.read_to_string(&mut body) {
                    Ok(_) => text(200, body),
                    Err(_) => text(400, "broken"),
                }
            }
            "/size" => self.size(request),
            "/stream" => stream(&request),
            "/short" => Response {
                status: 200,
                headers: Vec::new(),
                body: Body::Stream(Box::new(io::repeat(7).take(1000)), 2000),
            },
            "/explode" => Response {
                status: 200,
                headers: Vec::new(),
                body: Body::Stream(Box::new(Exploding(1000)), 2000),
            },
            "/panic" => panic!("a panic that the test wants"),
            "/wait" => {
                self.wait();
                text(200, "waited")
            }
            "/wait-size" => {
                self.wait();
                self.size(request)
            }
            "/early" => text(409, "no"),
            "/nothing" => text(204, "never sent"),
            "/nonsense" => text(99, ""),
            "/split" => Response {
                status: 200,
                headers: vec![("x-name", "a\r\nx-other: b".to_string())],
                body: Body::Bytes(Vec::new()),
            },
            "/head" => text(
                200,
                format!(
                    "{} {} {} {:?}",
                    request.method, request.path, request.query, request.headers
                ),
            ),
            _ => text(404, "nothing here"),
        }
    }
}

/// A running server. Stopped when it is dropped.
pub struct Running {
    pub listen: Listen,
    pub stop: Stop,
    pub go_on: Sender<()>,
    seen: Receiver<Seen>,
    thread: Option<JoinHandle<()>>,
}

/// Limits that let nothing happen by itself while a test runs.
pub fn limits() -> Limits {
    let never = Duration::from_secs(3600);
    Limits {
        head_time: never,
        idle_time: never,
        pace: Pace {
            grace: never,
            stall: never,
            ..Pace::default()
        },
        stop_time: Duration::from_millis(50),
        ..Limits::default()
    }
}

pub fn loopback() -> Listen {
    Listen::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
}

pub fn start(limits: Limits) -> Running {
    start_at(&loopback(), None, limits)
}

pub fn start_at(listen: &Listen, tls: Option<Tls>, limits: Limits) -> Running {
    let (observed, seen) = channel();
    let (go_on, told) = channel();
    let observer = Arc::new(Observer(Mutex::new(observed)));
    let handler = Arc::new(Obedient {
        observer: Arc::clone(&observer),
        go_on: Mutex::new(told),
    });
    let server = Server::bind(listen, tls, limits, handler, observer).unwrap();
    Running {
        listen: server.local_address().clone(),
        stop: server.stop_handle(),
        go_on,
        seen,
        thread: Some(std::thread::spawn(move || server.run())),
    }
}

impl Running {
    pub fn address(&self) -> SocketAddr {
        match &self.listen {
            Listen::Tcp(address) => *address,
            Listen::Unix(_) => panic!("a unix socket"),
        }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address())
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Waits until this was observed.
    pub fn await_seen(&self, expected: &Seen) {
        let mut before = Vec::new();
        while let Ok(seen) = self.seen.recv_timeout(PATIENCE) {
            if seen == *expected {
                return;
            }
            before.push(seen);
        }
        panic!("{expected:?} was not observed, only {before:?}");
    }

    /// All that was observed and not yet waited for.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.try_iter().collect()
    }

    pub fn join(&mut self) {
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.stop();
        self.join();
    }
}

/// Sends bytes, says that there will be no more, and reads all that comes back.
pub fn talk(server: &Running, bytes: &str) -> String {
    let mut stream = server.connect();
    stream.write_all(bytes.as_bytes()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    read_all(&mut stream)
}

/// Reads until the peer has closed. How it closed does not matter.
pub fn read_all(stream: &mut impl Read) -> String {
    let mut bytes = Vec::new();
    if let Err(error) = stream.read_to_end(&mut bytes) {
        let kind = error.kind();
        assert!(
            kind != io::ErrorKind::WouldBlock && kind != io::ErrorKind::TimedOut,
            "the server neither answers nor closes"
        );
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Reads one answer that says its length: its head in lower case, and its body.
pub fn read_answer(stream: &mut impl Read) -> (String, Vec<u8>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    (head, body)
}
