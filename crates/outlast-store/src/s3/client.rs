//! One signed exchange with an S3 server: addresses, regions, bodies, failures, and how many there
//! were.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use md5::{Digest, Md5};
use outlast_object::{Id, ObjectName, hash};
use parking_lot::Mutex;
use ureq::http::{Method, Request, Response, header};
use ureq::{Agent, Body, SendBody};
use url::{Host, Url};

use super::credentials::S3Credentials;
use super::location::S3Location;
use super::sign;
use super::xml::{self, Element};
use super::{S3Options, S3Style};
use crate::error::Attempted;
use crate::limit::Throttle;
use crate::rest::client as http;
use crate::{RestOptions, StoreError};

/// The region of servers that know of none.
const REGION: &str = "us-east-1";
/// How much of an error's text is read.
const REASON_BYTES_MAX: u64 = 16 * 1024;
/// How much of an error's text is shown.
const REASON_CHARACTERS_MAX: usize = 300;
/// What is said of an answer that is no document, or another than was asked for.
const NO_DOCUMENT: &str =
    "its answer is not a document of S3; is it the right address, without a proxy?";
/// Largest document that is read: a page of 1000 versions has some 500 kB.
const DOCUMENT_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Requests so far, by the classes that providers charge for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RequestCounts {
    /// Writes of objects, retention and settings.
    pub writes: u64,
    /// Pages of listings.
    pub lists: u64,
    /// Reads of objects and of what is known of them.
    pub reads: u64,
    /// Removals.
    pub deletes: u64,
    /// Bytes of bodies sent.
    pub bytes_up: u64,
    /// Bytes of bodies received.
    pub bytes_down: u64,
}

#[derive(Default)]
struct Counters {
    writes: AtomicU64,
    lists: AtomicU64,
    reads: AtomicU64,
    deletes: AtomicU64,
    bytes_up: AtomicU64,
    bytes_down: AtomicU64,
}

/// A body with what is signed and checked of it.
#[derive(Clone, Copy)]
pub(super) struct Payload<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) hash: Id,
    pub(super) md5: [u8; 16],
}

impl<'a> Payload<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            hash: hash(bytes),
            md5: Md5::digest(bytes).into(),
        }
    }

    /// The tag under which servers keep these bytes, unless they encrypt them by other means.
    pub(super) fn etag(&self) -> String {
        self.md5
            .iter()
            .fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
    }
}

/// A request.
pub(super) struct Call<'a> {
    pub(super) method: Method,
    /// The key within the bucket; none for the bucket itself.
    pub(super) key: Option<&'a str>,
    pub(super) query: Vec<(&'static str, String)>,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Option<Payload<'a>>,
}

impl<'a> Call<'a> {
    pub(super) fn object(method: Method, key: &'a str) -> Self {
        Self {
            method,
            key: Some(key),
            query: Vec::new(),
            headers: Vec::new(),
            body: None,
        }
    }

    pub(super) fn bucket(method: Method) -> Self {
        Self {
            method,
            key: None,
            query: Vec::new(),
            headers: Vec::new(),
            body: None,
        }
    }

    pub(super) fn query(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.query.push((name, value.into()));
        self
    }

    pub(super) fn version(self, version: Option<&str>) -> Self {
        match version {
            Some(version) => self.query("versionId", version),
            None => self,
        }
    }

    pub(super) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(super) fn body(mut self, body: Payload<'a>) -> Self {
        self.body = Some(body);
        self
    }
}

/// A request that brought no usable answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// No answer came, or not all of it. Whether the server did what it was asked is unknown.
    Transport(String),
    /// The server answered something else than success.
    Status {
        status: u16,
        /// The code of the error, as `NoSuchKey`; empty where there is none.
        code: String,
        reason: String,
    },
    /// The answer is not the document that was asked for.
    NoDocument,
    /// We refuse to go on; asking again changes nothing.
    Refused(String),
}

impl Failure {
    /// The thing asked for is not there. A delete marker that is asked for by its version counts.
    pub(super) fn is_not_found(&self) -> bool {
        match self {
            Failure::Status { status, code, .. } => {
                matches!(*status, 404 | 410) && code != "NoSuchBucket"
            }
            _ => false,
        }
    }

    /// These credentials, or nobody, may do this.
    pub(super) fn is_refused(&self) -> bool {
        matches!(
            self,
            Failure::Status {
                status: 401 | 403 | 405 | 409,
                ..
            }
        )
    }

    /// The server does not know such requests.
    pub(super) fn is_unknown_request(&self) -> bool {
        matches!(
            self,
            Failure::Status {
                status: 400 | 405 | 501,
                ..
            }
        )
    }
}

impl From<http::Failure> for Failure {
    fn from(failure: http::Failure) -> Self {
        match failure {
            http::Failure::Transport(reason) => Failure::Transport(reason),
            http::Failure::Refused(reason) => Failure::Refused(reason),
            http::Failure::Status(status, reason) => Failure::Status {
                status: status.as_u16(),
                code: String::new(),
                reason,
            },
        }
    }
}

/// Makes requests to one bucket.
pub(super) struct S3Client {
    agent: Agent,
    place: S3Location,
    credentials: S3Credentials,
    /// Corrected once the server tells better.
    region: Mutex<String>,
    virtual_host: bool,
    throttle: Option<Arc<Throttle>>,
    now: super::Now,
    counters: Counters,
    pub(super) location: String,
}

impl S3Client {
    pub(super) fn new(
        place: &S3Location,
        options: &S3Options,
        http: &RestOptions,
    ) -> Result<Self, StoreError> {
        let credentials = match &options.credentials {
            Some(credentials) => credentials.clone(),
            None => S3Credentials::find(&|name| std::env::var(name).ok())?,
        };
        let region = options.region.clone();
        let region = region.or_else(|| place.region_of_host().map(str::to_owned));
        let host_is_name = matches!(place.endpoint.host(), Some(Host::Domain(_)));
        let virtual_host = match options.style {
            S3Style::Path => false,
            S3Style::VirtualHost => true,
            // A dot in the bucket's name would not match the certificate.
            S3Style::Automatic => {
                let host = place.endpoint.host_str().unwrap_or("");
                host.ends_with(".amazonaws.com") && !place.bucket.contains('.')
            }
        };
        Ok(Self {
            agent: http::agent(&place.endpoint, http)?,
            place: place.clone(),
            credentials,
            region: Mutex::new(region.unwrap_or_else(|| REGION.to_owned())),
            virtual_host: virtual_host && host_is_name,
            throttle: http.throttle.clone(),
            now: options.now,
            counters: Counters::default(),
            location: place.to_string(),
        })
    }

    /// Seconds since 1970.
    pub(super) fn now(&self) -> u64 {
        (self.now)()
    }

    pub(super) fn region(&self) -> String {
        self.region.lock().clone()
    }

    pub(super) fn place(&self) -> &S3Location {
        &self.place
    }

    pub(super) fn counts(&self) -> RequestCounts {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        RequestCounts {
            writes: of(&self.counters.writes),
            lists: of(&self.counters.lists),
            reads: of(&self.counters.reads),
            deletes: of(&self.counters.deletes),
            bytes_up: of(&self.counters.bytes_up),
            bytes_down: of(&self.counters.bytes_down),
        }
    }

    /// Makes a request and returns a successful answer.
    pub(super) fn send(&self, call: &Call<'_>) -> Result<Response<Body>, Failure> {
        let mut answer = self.exchange(call)?;
        if !answer.status().is_success() {
            // The first request may have been signed for the wrong region.
            if self.learn_region(&answer) {
                answer = self.exchange(call)?;
            }
            if !answer.status().is_success() {
                return Err(refusal(&mut answer));
            }
        }
        if call.method != Method::GET {
            http::finish(answer.body_mut().as_reader());
        }
        Ok(answer)
    }

    /// Makes a request whose answer is a document of one of these names. Another document is none: a
    /// page of a proxy, taken for a listing, would say that nothing is there.
    pub(super) fn document(&self, call: &Call<'_>, names: &[&str]) -> Result<Element, Failure> {
        let mut answer = self.send(call)?;
        let bytes = self.read_body(&mut answer, DOCUMENT_BYTES_MAX)?;
        match xml::parse(&bytes) {
            // Some name it after the request, as GetBucketVersioningResponse.
            Ok(document)
                if names.contains(&document.name.as_str())
                    || document.name.ends_with("Response") =>
            {
                Ok(document)
            }
            _ => Err(Failure::NoDocument),
        }
    }

    /// Makes a request whose answer is a text.
    pub(super) fn text(&self, call: &Call<'_>) -> Result<String, Failure> {
        let mut answer = self.send(call)?;
        let bytes = self.read_body(&mut answer, DOCUMENT_BYTES_MAX)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// A client of another bucket of the same server. Its requests are counted apart.
    pub(super) fn for_bucket(&self, bucket: &str) -> Self {
        Self {
            agent: self.agent.clone(),
            place: S3Location {
                bucket: bucket.to_owned(),
                ..self.place.clone()
            },
            credentials: self.credentials.clone(),
            region: Mutex::new(self.region()),
            virtual_host: self.virtual_host,
            throttle: self.throttle.clone(),
            now: self.now,
            counters: Counters::default(),
            location: self.location.clone(),
        }
    }

    /// The body of an answer, at most `max` bytes of it.
    pub(super) fn read_body(
        &self,
        answer: &mut Response<Body>,
        max: u64,
    ) -> Result<Vec<u8>, Failure> {
        let mut bytes = Vec::new();
        let throttle = self.throttle.as_deref();
        http::read_pieces(answer.body_mut(), max, throttle, &mut |piece| {
            bytes.extend_from_slice(piece);
        })?;
        http::finish(answer.body_mut().as_reader());
        self.counters
            .bytes_down
            .fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Ok(bytes)
    }

    fn exchange(&self, call: &Call<'_>) -> Result<Response<Body>, Failure> {
        self.count(call);
        let (host, path) = self.host_and_path(call.key)?;
        let query = sign::canonical_query(&call.query);
        let moment = i64::try_from(self.now()).ok();
        let moment = moment.and_then(|seconds| Timestamp::from_second(seconds).ok());
        let moment = moment.ok_or_else(|| Failure::Refused("the clock is wrong".to_owned()))?;
        let moment = moment.strftime("%Y%m%dT%H%M%SZ").to_string();
        let has_body = matches!(call.method, Method::PUT | Method::POST);
        // AWS refuses what does not say its length, also where there is nothing.
        let body = call.body.or_else(|| has_body.then(|| Payload::new(b"")));
        let payload = body.map_or_else(|| hash(b""), |body| body.hash);
        let mut headers = vec![
            ("host".to_owned(), host.clone()),
            ("x-amz-content-sha256".to_owned(), payload.to_string()),
            ("x-amz-date".to_owned(), moment.clone()),
        ];
        if let Some(token) = &self.credentials.session_token {
            headers.push(("x-amz-security-token".to_owned(), token.reveal().to_owned()));
        }
        if let Some(body) = body {
            headers.push(("content-md5".to_owned(), STANDARD.encode(body.md5)));
        }
        let more = call.headers.iter();
        headers.extend(more.map(|(name, value)| ((*name).to_owned(), value.clone())));
        let signed = sign::Request {
            method: call.method.as_str(),
            path: &path,
            query: &query,
            headers: &headers,
            payload,
        };
        let authorization =
            sign::authorization(&signed, &self.credentials, &self.region(), &moment);
        let separator = if query.is_empty() { "" } else { "?" };
        let scheme = self.place.endpoint.scheme();
        let mut request = Request::builder()
            .method(&call.method)
            .uri(format!("{scheme}://{host}{path}{separator}{query}"))
            .header(header::AUTHORIZATION, authorization);
        for (name, value) in &headers {
            request = request.header(name.as_str(), value.as_str());
        }
        let refused = |error: ureq::http::Error| Failure::Refused(error.to_string());
        let answer = match body {
            None => self.agent.run(request.body(()).map_err(refused)?),
            Some(body) => {
                let mut pieces = http::Pieces {
                    left: body.bytes,
                    throttle: self.throttle.as_deref(),
                };
                let request = request
                    .header(header::CONTENT_LENGTH, body.bytes.len())
                    .body(SendBody::from_reader(&mut pieces))
                    .map_err(refused)?;
                self.agent.run(request)
            }
        };
        Ok(answer.map_err(http::failure)?)
    }

    fn host_and_path(&self, key: Option<&str>) -> Result<(String, String), Failure> {
        let endpoint = &self.place.endpoint;
        let host = endpoint.host_str();
        let mut host = host
            .ok_or_else(|| Failure::Refused("it has no host".to_owned()))?
            .to_owned();
        if let Some(port) = endpoint.port() {
            host = format!("{host}:{port}");
        }
        let key = sign::encode_path(key.unwrap_or(""));
        let bucket = &self.place.bucket;
        Ok(if self.virtual_host {
            (format!("{bucket}.{host}"), format!("/{key}"))
        } else if key.is_empty() {
            (host, format!("/{bucket}"))
        } else {
            (host, format!("/{bucket}/{key}"))
        })
    }

    fn count(&self, call: &Call<'_>) {
        let counter = match call.method {
            Method::PUT | Method::POST => &self.counters.writes,
            Method::DELETE => &self.counters.deletes,
            Method::GET if call.query.iter().any(|(name, _)| *name == "prefix") => {
                &self.counters.lists
            }
            _ => &self.counters.reads,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        let bytes = call.body.map_or(0, |body| body.bytes.len() as u64);
        self.counters.bytes_up.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Whether the server told a region that we did not know.
    fn learn_region(&self, answer: &Response<Body>) -> bool {
        let told = answer.headers().get("x-amz-bucket-region");
        let Some(told) = told.and_then(|value| value.to_str().ok()) else {
            return false;
        };
        let mut region = self.region.lock();
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
        if told == *region || told.is_empty() || !told.chars().all(plain) {
            return false;
        }
        told.clone_into(&mut region);
        true
    }

    /// What a failure means for the caller of the store.
    pub(super) fn error(
        &self,
        verb: &str,
        name: Option<&ObjectName>,
        failure: Failure,
    ) -> StoreError {
        let attempted = Attempted::new(verb, name, &self.location);
        let (status, code, reason) = match failure {
            Failure::Transport(reason) => return attempted.unavailable(reason),
            Failure::NoDocument => return attempted.unavailable(NO_DOCUMENT),
            Failure::Refused(reason) => return attempted.denied(reason),
            Failure::Status {
                status,
                code,
                reason,
            } => (status, code, reason),
        };
        let passing = [
            "SlowDown",
            "RequestTimeout",
            "OperationAborted",
            "ServiceUnavailable",
        ];
        match (status, name) {
            (404 | 410, Some(name)) if code != "NoSuchBucket" => attempted.not_found(name),
            (413 | 507, _) => attempted.full(reason),
            _ if code.contains("QuotaExceeded") || code == "EntityTooLarge" => {
                attempted.full(reason)
            }
            (408 | 425 | 429, _) => attempted.unavailable(reason),
            // "Not implemented" stays so; every other failure of a server may pass.
            (500.., _) if status != 501 => attempted.unavailable(reason),
            _ if passing.contains(&code.as_str()) => attempted.unavailable(reason),
            _ => attempted.denied(format!("{reason}{}", advice(&code))),
        }
    }
}

/// What mends an error of this code.
fn advice(code: &str) -> &'static str {
    match code {
        "NoSuchBucket" => "; make the bucket first, with Object Lock: that cannot always be added",
        "InvalidAccessKeyId" | "SignatureDoesNotMatch" => {
            "; look at AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        }
        "ExpiredToken" | "InvalidToken" => "; these were temporary credentials: get new ones",
        "RequestTimeTooSkewed" => "; set this machine's clock",
        "AuthorizationHeaderMalformed" => "; set the bucket's region in AWS_REGION",
        "AccessDenied" => "; the credentials lack a right, or the object is retained",
        _ => "",
    }
}

/// What the server says about its refusal, fit to be shown.
fn refusal(answer: &mut Response<Body>) -> Failure {
    let status = answer.status();
    let mut text = Vec::new();
    // The status says enough if the text cannot be had.
    let _ = http::read_pieces(answer.body_mut(), REASON_BYTES_MAX, None, &mut |piece| {
        text.extend_from_slice(piece);
    });
    let document = xml::parse(&text).unwrap_or_default();
    let code = http::one_line(document.text_of("Code").unwrap_or(""));
    let message = document.text_of("Message").unwrap_or("");
    let message: String = http::one_line(message)
        .chars()
        .take(REASON_CHARACTERS_MAX)
        .collect();
    let said = [code.as_str(), message.as_str()];
    let said: Vec<&str> = said.into_iter().filter(|part| !part.is_empty()).collect();
    let mut reason = if said.is_empty() {
        status.to_string()
    } else {
        format!("{status}: {}", said.join(": "))
    };
    let elsewhere = answer.headers().get(header::LOCATION);
    let elsewhere = elsewhere.and_then(|target| Url::parse(target.to_str().ok()?).ok());
    if let Some(target) = elsewhere.filter(|_| status.is_redirection()) {
        let shown = target.origin().ascii_serialization();
        reason += &format!("; it redirects to {shown}, where no signed request is sent");
    }
    Failure::Status {
        status: status.as_u16(),
        code,
        reason,
    }
}
