//! As much of HTTP/1.1 as a test server needs.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;

/// Largest header and body that are read.
const HEADER_BYTES_MAX: u64 = 64 * 1024;
const BODY_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// The head of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenRequest {
    /// The method, as "GET".
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Names in lower case, and values.
    pub headers: Vec<(String, String)>,
}

impl SeenRequest {
    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }
}

/// An answer to be sent.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
    /// What `Content-Length` says, if not the truth.
    pub announced: Option<u64>,
}

impl Answer {
    pub(super) fn new(status: u16) -> Self {
        let body = format!("status {status}\n").into_bytes();
        Self {
            status,
            headers: Vec::new(),
            body,
            announced: None,
        }
    }

    pub(super) fn with_body(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: body.into(),
            announced: None,
        }
    }
}

/// Reads the head of the next request; `None` when the client has gone.
pub(super) fn read_request(reader: &mut BufReader<TcpStream>) -> io::Result<Option<SeenRequest>> {
    let mut head = reader.take(HEADER_BYTES_MAX);
    let mut line = String::new();
    if head.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace().map(str::to_owned);
    let (Some(method), Some(target)) = (words.next(), words.next()) else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    let mut headers = Vec::new();
    loop {
        line.clear();
        if head.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match line.trim_end().split_once(':') {
            Some((name, value)) => {
                headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
            }
            None => {
                return Ok(Some(SeenRequest {
                    method,
                    target,
                    headers,
                }));
            }
        }
    }
}

/// Reads the body that belongs to `request`.
pub(super) fn read_body(
    reader: &mut BufReader<TcpStream>,
    request: &SeenRequest,
) -> io::Result<Vec<u8>> {
    if request.header("transfer-encoding").is_some() {
        // As some real servers: nothing without its length.
        return Err(io::ErrorKind::Unsupported.into());
    }
    let length = request
        .header("content-length")
        .and_then(|text| text.parse().ok())
        .unwrap_or(0);
    let mut body = Vec::new();
    reader
        .take(length.min(BODY_BYTES_MAX))
        .read_to_end(&mut body)?;
    if body.len() as u64 != length {
        Err(io::ErrorKind::UnexpectedEof.into())
    } else {
        Ok(body)
    }
}

/// Sends an answer; `body` is left out for HEAD.
pub(super) fn send(mut stream: &TcpStream, answer: &Answer, is_head: bool) -> io::Result<()> {
    let length = answer.announced.unwrap_or(answer.body.len() as u64);
    let mut head = format!(
        "HTTP/1.1 {} Status\r\nContent-Length: {length}\r\n",
        answer.status
    );
    for (name, value) in &answer.headers {
        head += &format!("{name}: {value}\r\n");
    }
    head += "\r\n";
    let mut message = head.into_bytes();
    if !is_head {
        message.extend_from_slice(&answer.body);
    }
    stream.write_all(&message)
}
