//! One HTTP exchange with a REST server: addresses, credentials, redirects, bodies, failures.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use outlast_object::ObjectName;
use ureq::http::{Method, Request, Response, StatusCode, header};
use ureq::{Agent, Body, SendBody};
use url::{Host, Url};

use super::pinned;
use super::tls::{TlsOptions, tls_config};
use crate::StoreError;
use crate::error::Attempted;
use crate::limit::Throttle;
use crate::location::{RestLocation, Secret};

/// The second version of the protocol: listings come with sizes.
const ACCEPT: &str = "application/vnd.x.restic.rest.v2";
/// Redirects followed for one request.
const REDIRECTS_MAX: usize = 5;
/// How much of an error's text is read.
const REASON_BYTES_MAX: u64 = 512;
/// Bodies go through the throttle in pieces of this size.
const PIECE_BYTES: usize = 64 * 1024;
/// Bodies from this size on are announced and sent only when the server says that it wants them: an
/// object that is there already, or that has no room, is not uploaded in vain, and the server's
/// reason arrives instead of a broken connection. It costs one round trip.
const ANNOUNCED_BYTES_MIN: usize = 1024 * 1024;
/// Largest header of an answer.
const HEADER_BYTES_MAX: usize = 64 * 1024;

/// When a connection counts as dead. There is no limit on how long a transfer may take as long as
/// it moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// To connect, TLS handshake included.
    pub connect: Duration,
    /// Without a single byte moving, be it in a body or while the server makes an answer.
    pub idle: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(30),
            idle: Duration::from_secs(5 * 60),
        }
    }
}

/// Everything about the connection but the address.
pub struct RestOptions {
    /// The user, where the location names none.
    pub user: Option<String>,
    /// The password, where the location names neither user nor password.
    pub password: Option<Secret>,
    /// How TLS connections are made.
    pub tls: TlsOptions,
    /// Requests at a time.
    pub connections: usize,
    /// When a connection counts as dead.
    pub timeouts: Timeouts,
    /// How fast bodies may go.
    pub throttle: Option<Arc<Throttle>>,
}

impl Default for RestOptions {
    fn default() -> Self {
        Self {
            user: None,
            password: None,
            tls: TlsOptions::default(),
            // As many as restic's default.
            connections: 5,
            timeouts: Timeouts::default(),
            throttle: None,
        }
    }
}

/// Makes requests below one address.
pub(super) struct Client {
    agent: Agent,
    base: Url,
    authorization: Option<Secret>,
    throttle: Option<Arc<Throttle>>,
    /// Set when the server turns out not to understand announcements.
    announces_nothing: AtomicBool,
    pub(super) location: String,
}

/// A request that brought no usable answer.
pub(crate) enum Failure {
    /// No answer came, or not all of it. Whether the server did what it was asked is unknown.
    Transport(String),
    /// The server answered something else than success.
    Status(StatusCode, String),
    /// We refuse to go on; asking again changes nothing.
    Refused(String),
}

impl Client {
    pub(super) fn new(location: &RestLocation, options: &RestOptions) -> Result<Self, StoreError> {
        let agent = agent(&location.url, options)?;
        Ok(Self {
            agent,
            base: location.url.clone(),
            authorization: authorization(location, options),
            throttle: options.throttle.clone(),
            announces_nothing: AtomicBool::new(false),
            location: location.to_string(),
        })
    }

    /// Makes a request to `path` below the repository's address and returns a successful answer.
    pub(super) fn request(
        &self,
        method: &Method,
        path: &str,
        range: Option<&str>,
        body: Option<&[u8]>,
    ) -> Result<Response<Body>, Failure> {
        let refused = |_| Failure::Refused("the address cannot be extended".to_owned());
        let mut url = self.base.join(path).map_err(refused)?;
        for _ in 0..REDIRECTS_MAX {
            let mut answer = self.exchange(method, &url, range, body)?;
            let status = answer.status();
            if status.is_success() {
                if *method != Method::GET {
                    finish(answer.body_mut().as_reader());
                }
                return Ok(answer);
            }
            if !status.is_redirection() {
                return Err(Failure::Status(status, reason(&mut answer)));
            }
            url = redirected(method, &url, &answer)?;
        }
        Err(Failure::Refused("it redirects without end".to_owned()))
    }

    /// Makes one request, and gives whatever is answered. Redirects are answers like others.
    pub(super) fn answer(
        &self,
        method: &Method,
        path: &str,
        body: Option<&[u8]>,
    ) -> Result<Response<Body>, Failure> {
        let refused = |_| Failure::Refused("the address cannot be extended".to_owned());
        let url = self.base.join(path).map_err(refused)?;
        self.exchange(method, &url, None, body)
    }

    fn exchange(
        &self,
        method: &Method,
        url: &Url,
        range: Option<&str>,
        body: Option<&[u8]>,
    ) -> Result<Response<Body>, Failure> {
        let mut request = Request::builder()
            .method(method)
            .uri(url.as_str())
            .header(header::ACCEPT, ACCEPT);
        if let Some(authorization) = &self.authorization {
            request = request.header(header::AUTHORIZATION, authorization.reveal());
        }
        if let Some(range) = range {
            request = request.header(header::RANGE, range);
        }
        let Some(left) = body else {
            let request = request
                .body(())
                .map_err(|error| Failure::Refused(error.to_string()))?;
            return self.agent.run(request).map_err(failure);
        };
        let announced =
            left.len() >= ANNOUNCED_BYTES_MIN && !self.announces_nothing.load(Ordering::Relaxed);
        if announced {
            request = request.header(header::EXPECT, "100-continue");
        }
        let mut pieces = Pieces {
            left,
            throttle: self.throttle.as_deref(),
        };
        let request = request
            .header(header::CONTENT_TYPE, "application/octet-stream")
            .header(header::CONTENT_LENGTH, left.len())
            .body(SendBody::from_reader(&mut pieces))
            .map_err(|error| Failure::Refused(error.to_string()))?;
        let answer = self.agent.run(request).map_err(failure)?;
        if announced && answer.status() == StatusCode::EXPECTATION_FAILED {
            self.announces_nothing.store(true, Ordering::Relaxed);
            return self.exchange(method, url, range, body);
        }
        Ok(answer)
    }

    /// Reads a body of at most `max` bytes, as fast as the throttle allows.
    pub(super) fn read_body(&self, body: &mut Body, max: u64) -> Result<Vec<u8>, Failure> {
        let mut bytes = Vec::new();
        self.read_pieces(body, max, |piece| bytes.extend_from_slice(piece))?;
        finish(body.as_reader());
        Ok(bytes)
    }

    /// Hands a body of at most `max` bytes to `take`, piece by piece, as fast as the throttle
    /// allows; what goes beyond is not read. Returns the number of bytes.
    pub(super) fn read_pieces(
        &self,
        body: &mut Body,
        max: u64,
        mut take: impl FnMut(&[u8]),
    ) -> Result<u64, Failure> {
        read_pieces(body, max, self.throttle.as_deref(), &mut take)
    }

    /// What a failure means for the caller of the store.
    pub(super) fn error(
        &self,
        verb: &str,
        name: Option<&ObjectName>,
        failure: Failure,
    ) -> StoreError {
        let attempted = Attempted::new(verb, name, &self.location);
        let (status, reason) = match failure {
            Failure::Transport(reason) => return attempted.unavailable(reason),
            Failure::Refused(reason) => return attempted.denied(reason),
            Failure::Status(status, reason) => (status, reason),
        };
        match (status.as_u16(), name) {
            (404 | 410, Some(name)) => attempted.not_found(name),
            (401, _) => attempted.denied(format!(
                "user name or password are missing or wrong ({reason})"
            )),
            (413 | 507, _) => attempted.full(reason),
            (408 | 425 | 429, _) => attempted.unavailable(reason),
            // "Not implemented" stays so; every other failure of a server may pass.
            (500.., _) if status != StatusCode::NOT_IMPLEMENTED => attempted.unavailable(reason),
            _ => attempted.denied(reason),
        }
    }
}

/// Hands a body of at most `max` bytes to `take`, piece by piece. Returns the number of bytes.
pub(crate) fn read_pieces(
    body: &mut Body,
    max: u64,
    throttle: Option<&Throttle>,
    take: &mut dyn FnMut(&[u8]),
) -> Result<u64, Failure> {
    let mut reader = body.as_reader().take(max);
    let mut piece = vec![0; PIECE_BYTES];
    let mut total = 0;
    loop {
        match reader.read(&mut piece) {
            Ok(0) => return Ok(total),
            Ok(count) => {
                take(&piece[..count]);
                total += count as u64;
                if let Some(throttle) = throttle {
                    throttle.download(count);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Failure::Transport(error.to_string())),
        }
    }
}

/// What makes the connections to a server at `url`, with bounds and waits as `options` say.
pub(crate) fn agent(url: &Url, options: &RestOptions) -> Result<Agent, StoreError> {
    let mut config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .user_agent(concat!("outlast/", env!("CARGO_PKG_VERSION")))
        .max_response_header_size(HEADER_BYTES_MAX)
        .max_idle_connections(options.connections)
        .max_idle_connections_per_host(options.connections)
        .timeout_connect(Some(options.timeouts.connect))
        .timeout_per_read(Some(options.timeouts.idle))
        .timeout_per_write(Some(options.timeouts.idle));
    let pin = options.tls.pin;
    if pin.is_some() && url.scheme() != "https" {
        let message = "a server whose key is pinned is reached by https only".to_owned();
        return Err(StoreError::Location(message));
    }
    if url.scheme() == "https" && pin.is_none() {
        config = config.tls_config(tls_config(&options.tls)?);
    }
    if is_this_machine(url) {
        // A proxy is elsewhere: "localhost" would be another machine there.
        config = config.proxy(None);
    }
    let config = config.build();
    match pin {
        Some(pin) => {
            pinned::agent(config, pin).map_err(|error| StoreError::Location(error.to_string()))
        }
        None => Ok(config.into()),
    }
}

/// Reads the little that may be left of a body: only a connection whose answer was read to its end
/// can serve again.
pub(crate) fn finish(mut rest: impl Read) {
    // The answer itself is already known; a connection that fails now will not be used again.
    let _ = rest
        .by_ref()
        .take(REASON_BYTES_MAX)
        .read_to_end(&mut Vec::new());
}

/// A body on its way up, let through by the throttle.
pub(crate) struct Pieces<'a> {
    pub(crate) left: &'a [u8],
    pub(crate) throttle: Option<&'a Throttle>,
}

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len().min(PIECE_BYTES);
        let count = (&mut self.left).take(most as u64).read(buffer)?;
        if let Some(throttle) = self.throttle {
            throttle.upload(count);
        }
        Ok(count)
    }
}

fn authorization(location: &RestLocation, options: &RestOptions) -> Option<Secret> {
    // As with restic: what the location says counts whole, never half and half.
    let (user, password) = if location.user.is_some() || location.password.is_some() {
        (location.user.as_deref(), location.password.as_ref())
    } else {
        (options.user.as_deref(), options.password.as_ref())
    };
    if user.is_none() && password.is_none() {
        return None;
    }
    let text = format!(
        "{}:{}",
        user.unwrap_or(""),
        password.map_or("", Secret::reveal)
    );
    Some(Secret::new(format!("Basic {}", STANDARD.encode(text))))
}

fn is_this_machine(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// Where a redirect leads, if it may be followed: only within the same host, for credentials and
/// ciphertext are nobody else's business, and never from https to http.
fn redirected(method: &Method, from: &Url, answer: &Response<Body>) -> Result<Url, Failure> {
    let refuse = |why: String| Err(Failure::Refused(why));
    let target = answer
        .headers()
        .get(header::LOCATION)
        .and_then(|value| value.to_str().ok());
    let Some(target) = target.and_then(|target| from.join(target).ok()) else {
        return refuse(format!("it redirects to nowhere ({})", answer.status()));
    };
    let shown = target.origin().ascii_serialization();
    let same_origin = target.origin() == from.origin();
    let upgrade =
        from.scheme() == "http" && target.scheme() == "https" && target.host() == from.host();
    if !same_origin && !upgrade {
        return refuse(format!(
            "it redirects to {shown}, where no credentials are sent"
        ));
    }
    let keeps_method = matches!(answer.status().as_u16(), 307 | 308)
        || (matches!(answer.status().as_u16(), 301 | 302)
            && matches!(*method, Method::GET | Method::HEAD));
    if !keeps_method {
        return refuse(format!(
            "it redirects to {shown}{}; use that address",
            target.path()
        ));
    }
    Ok(target)
}

/// What the server says about its refusal, fit to be shown.
fn reason(answer: &mut Response<Body>) -> String {
    let mut text = Vec::new();
    // The status says enough if the text cannot be had.
    let _ = answer
        .body_mut()
        .as_reader()
        .take(REASON_BYTES_MAX)
        .read_to_end(&mut text);
    let text = one_line(&String::from_utf8_lossy(&text));
    if text.is_empty() {
        answer.status().to_string()
    } else {
        format!("{}: {text}", answer.status())
    }
}

/// Without line breaks and other control characters: it comes from outside and goes to a terminal.
pub(crate) fn one_line(text: &str) -> String {
    let plain: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    plain.split_whitespace().collect::<Vec<_>>().join(" ")
}

pub(crate) fn failure(error: ureq::Error) -> Failure {
    let text = error.to_string();
    match error {
        // What the verifier of a pin says has no words of its own.
        _ if text.contains("ApplicationVerificationFailure") => {
            Failure::Refused(pinned::OTHER_KEY.to_owned())
        }
        ureq::Error::Http(_)
        | ureq::Error::BadUri(_)
        | ureq::Error::Tls(_)
        | ureq::Error::Pem(_)
        | ureq::Error::Rustls(_)
        | ureq::Error::InvalidProxyUrl
        | ureq::Error::TlsRequired => Failure::Refused(text),
        // A certificate does not get better by asking again.
        ureq::Error::Io(_) if text.contains("certificate") => Failure::Refused(text),
        _ => Failure::Transport(text),
    }
}
