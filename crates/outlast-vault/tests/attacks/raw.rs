//! Requests byte by byte, as no client library would send them.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

/// No test waits longer than this for a server that does nothing.
const PATIENCE: Duration = Duration::from_secs(30);

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// In lower case.
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A connection that is made again whenever the server has closed it.
pub struct Line {
    address: SocketAddr,
    stream: Option<TcpStream>,
}

pub fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// A request with a body of its announced length.
pub fn request(method: &str, path: &str, authorization: Option<&str>, body: &[u8]) -> Vec<u8> {
    let authorization =
        authorization.map_or_else(String::new, |value| format!("Authorization: {value}\r\n"));
    let length = if body.is_empty() && matches!(method, "GET" | "HEAD" | "DELETE") {
        String::new()
    } else {
        format!("Content-Length: {}\r\n", body.len())
    };
    let head = format!("{method} {path} HTTP/1.1\r\nHost: vault\r\n{authorization}{length}\r\n");
    [head.as_bytes(), body].concat()
}

impl Line {
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address,
            stream: None,
        }
    }

    /// Asks, and reads the answer.
    pub fn ask(
        &mut self,
        method: &str,
        path: &str,
        authorization: Option<&str>,
        body: &[u8],
    ) -> Answer {
        self.send(
            &request(method, path, authorization, body),
            method == "HEAD",
        )
    }

    /// Sends bytes that are one request, and reads the answer.
    pub fn send(&mut self, bytes: &[u8], is_head: bool) -> Answer {
        let reused = self.stream.is_some();
        match self.try_send(bytes, is_head) {
            Some(answer) => answer,
            // The server may have closed the connection after the last answer.
            None if reused => self.send(bytes, is_head),
            None => panic!("no answer to {}", String::from_utf8_lossy(bytes)),
        }
    }

    fn try_send(&mut self, bytes: &[u8], is_head: bool) -> Option<Answer> {
        let mut stream = self.stream.take().unwrap_or_else(|| connect(self.address));
        // A server that refuses early may close before it has read everything.
        let _ = stream.write_all(bytes);
        let answer = read_answer(&mut stream, is_head)?;
        if !answer.head.contains("connection: close") {
            self.stream = Some(stream);
        }
        Some(answer)
    }
}

/// Reads one answer; none where the server closed instead.
pub fn read_answer(stream: &mut TcpStream, is_head: bool) -> Option<Answer> {
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).ok()?;
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).ok()?.to_lowercase();
        let status: u16 = head.split(' ').nth(1)?.parse().ok()?;
        if status == 100 {
            continue;
        }
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; if is_head { 0 } else { length }];
        stream.read_exact(&mut body).ok()?;
        return Some(Answer { status, head, body });
    }
}

/// Sends bytes on a connection of their own, says that there will be no more, and reads all answers.
pub fn talk(address: SocketAddr, bytes: &[u8]) -> Vec<Answer> {
    let mut stream = connect(address);
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(Shutdown::Write);
    let mut answers = Vec::new();
    while let Some(answer) = read_answer(&mut stream, false) {
        answers.push(answer);
    }
    answers
}

/// Reads until the server has closed; gives what came.
pub fn read_all(stream: &mut TcpStream) -> String {
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
