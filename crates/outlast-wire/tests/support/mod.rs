//! A server that says whatever the test wants, and invites to it.

#![allow(
    clippy::unwrap_used,
    dead_code,
    reason = "each test program uses a part"
)]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use outlast_custody::{Scope, TokenId};
use outlast_log::{KeyKind, SigningKey};
use outlast_store::Clock;
use outlast_wire::{Invite, RestOptions, VaultClient};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// What a server answers: status and body.
pub type Said = (u16, Vec<u8>);
/// Decides what is answered to a path with its query.
pub type Script = Box<dyn FnMut(&str) -> Said + Send>;

/// A server on this machine, for as long as it lives.
pub struct Fake {
    pub address: String,
    pub requests: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the accepting thread.
        let _ = TcpStream::connect(&self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Answers one request. Whoever breaks off is the test's own client.
fn answer<S: Read + Write>(mut stream: S, script: &mut Script) -> std::io::Result<()> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
        if !head[0].is_ascii_uppercase() {
            // A client that speaks TLS where there is none.
            return Ok(());
        }
    }
    let head = String::from_utf8_lossy(&head).to_lowercase();
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .map_or(0, |length| length.trim().parse().unwrap());
    if head.contains("100-continue") {
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    let (status, said) = script(&path);
    let location = if (300..400).contains(&status) {
        "location: http://192.0.2.1/elsewhere\r\n"
    } else {
        ""
    };
    let head = format!(
        "HTTP/1.1 {status} Said\r\ncontent-length: {}\r\n{location}connection: close\r\n\r\n",
        said.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(&said)?;
    stream.flush()
}

impl Fake {
    /// Begins to answer, over TLS where a configuration for it is given.
    pub fn new(tls: Option<ServerConfig>, mut script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let stop = Arc::new(AtomicBool::new(false));
        let requests = Arc::new(AtomicUsize::new(0));
        let (stopped, counted) = (Arc::clone(&stop), Arc::clone(&requests));
        let tls = tls.map(Arc::new);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                counted.fetch_add(1, Ordering::SeqCst);
                let stream = stream.unwrap();
                let _ = match &tls {
                    None => answer(stream, &mut script),
                    Some(tls) => {
                        let connection = ServerConnection::new(Arc::clone(tls)).unwrap();
                        answer(StreamOwned::new(connection, stream), &mut script)
                    }
                };
            }
        });
        Self {
            address,
            requests,
            stop,
            thread: Some(thread),
        }
    }

    /// Always says the same.
    pub fn saying(status: u16, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        Self::new(None, Box::new(move |_| (status, body.clone())))
    }

    /// Says these one after the other, and the last one for ever.
    pub fn saying_in_turn(mut all: Vec<Said>) -> Self {
        all.reverse();
        let next = move |_: &str| match all.len() {
            1 => all[0].clone(),
            _ => all.pop().unwrap(),
        };
        Self::new(None, Box::new(next))
    }

    /// How often it was asked.
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    /// An invite to it.
    pub fn invite(&self, pin: Option<[u8; 32]>) -> Invite {
        Invite {
            addresses: vec![self.address.clone()],
            pin,
            identity: key().verifier(),
            repository: "web1".parse().unwrap(),
            token: TokenId::from_bytes([1; 8]),
            secret: "ab".repeat(32),
            scopes: vec![Scope::Append],
        }
    }

    /// A client for it that never waits.
    pub fn client(&self) -> VaultClient {
        self.client_with(None)
    }

    /// The same, for a pinned key.
    pub fn client_with(&self, pin: Option<[u8; 32]>) -> VaultClient {
        let client = VaultClient::new(&self.invite(pin), &self.address, RestOptions::default());
        client.unwrap().with_clock(Arc::new(Hasty::default()))
    }
}

/// The identity whose word counts.
pub fn key() -> SigningKey {
    SigningKey::from_seed("vault.example", KeyKind::Note, &[1; 32]).unwrap()
}

/// A clock on which waiting takes no time.
#[derive(Default)]
pub struct Hasty(Mutex<Duration>);

impl Clock for Hasty {
    fn now(&self) -> Duration {
        *self.0.lock().unwrap()
    }

    fn wait(&self, duration: Duration) {
        *self.0.lock().unwrap() += duration;
    }
}
