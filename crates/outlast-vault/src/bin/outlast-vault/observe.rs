//! What operators see of a vault that serves: log lines, and numbers for Prometheus.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use outlast_vault::http::{Body, Events, Handler, Refusal, Request, Response};
use parking_lot::Mutex;

use crate::operator::Operator;

/// Methods that are counted by name; all others are one.
const METHODS: [&str; 4] = ["GET", "HEAD", "POST", "DELETE"];

/// Counts what happens on connections, and logs it.
#[derive(Default)]
pub struct Watch {
    connections: AtomicU64,
    accepted: AtomicU64,
    panics: AtomicU64,
    answers_cut_off: AtomicU64,
    turned_away: Mutex<BTreeMap<&'static str, u64>>,
    requests: Mutex<BTreeMap<(&'static str, u16), u64>>,
    request_microseconds: AtomicU64,
    logs_requests: bool,
}

const fn reason(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::Connections => "too many connections",
        Refusal::ConnectionsOfPeer => "too many connections of one peer",
        Refusal::Handshake => "no TLS",
        Refusal::Malformed => "malformed request",
        Refusal::HeadSlow => "slow head",
        Refusal::Idle => "idle",
        Refusal::UploadSlow => "slow upload",
        Refusal::DownloadSlow => "slow download",
        Refusal::Busy => "busy",
    }
}

impl Watch {
    /// Counts, and logs a line for each request where that is wanted.
    pub fn new(logs_requests: bool) -> Self {
        Self {
            logs_requests,
            ..Self::default()
        }
    }

    fn requested(&self, request: &str, status: u16, microseconds: u64) {
        let method = METHODS.iter().find(|method| **method == request);
        let key = (method.copied().unwrap_or("other"), status);
        *self.requests.lock().entry(key).or_default() += 1;
        self.request_microseconds
            .fetch_add(microseconds, Ordering::Relaxed);
    }
}

impl Events for Watch {
    fn accepted(&self, _peer: &str) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    fn ended(&self, _peer: &str) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
    }

    fn refused(&self, peer: &str, why: Refusal) {
        *self.turned_away.lock().entry(reason(why)).or_default() += 1;
        if why != Refusal::Idle {
            tracing::debug!(peer, why = reason(why), "turned away");
        }
    }

    fn panicked(&self, peer: &str) {
        self.panics.fetch_add(1, Ordering::Relaxed);
        tracing::error!(peer, "a request met a defect of this program");
    }

    fn cut_off(&self, peer: &str) {
        self.answers_cut_off.fetch_add(1, Ordering::Relaxed);
        tracing::error!(peer, "an answer was cut off: an object could not be read");
    }

    fn accept_failed(&self, error: &io::Error) {
        tracing::error!(%error, "the system gives no more connections");
    }
}

/// A handler whose requests are counted.
pub struct Watched<H> {
    /// What answers.
    pub inner: H,
    /// Who counts.
    pub watch: Arc<Watch>,
}

impl<H: Handler> Handler for Watched<H> {
    fn handle(&self, request: Request<'_>) -> Response {
        let start = Instant::now();
        let (method, path) = (request.method.to_owned(), request.path.to_owned());
        let peer = request.peer.to_owned();
        let response = self.inner.handle(request);
        let microseconds = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.watch.requested(&method, response.status, microseconds);
        if self.watch.logs_requests {
            let status = response.status;
            tracing::info!(peer, method, path, status, microseconds, "request");
        }
        if response.status >= 500 {
            tracing::warn!(peer, method, path, status = response.status, "failed");
        }
        response
    }
}

/// Answers `/metrics` and `/health`, for the machine's own monitoring.
pub struct Metrics {
    /// The vault.
    pub operator: Operator,
    /// The connections.
    pub watch: Arc<Watch>,
}

/// Lines of one family of numbers.
struct Family<'a> {
    text: &'a mut String,
    name: &'static str,
}

impl<'a> Family<'a> {
    fn new(text: &'a mut String, name: &'static str, kind: &str, help: &str) -> Self {
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        Self { text, name }
    }

    fn put(&mut self, labels: &str, value: u64) {
        let name = self.name;
        let _ = if labels.is_empty() {
            writeln!(self.text, "{name} {value}")
        } else {
            writeln!(self.text, "{name}{{{labels}}} {value}")
        };
    }
}

impl Metrics {
    /// All numbers, in the text format of Prometheus (version 0.0.4).
    pub fn text(&self) -> Result<String, String> {
        let mut text = String::new();
        self.vault_numbers(&mut text)?;
        self.connection_numbers(&mut text);
        Ok(text)
    }

    fn vault_numbers(&self, text: &mut String) -> Result<(), String> {
        let vault = &self.operator.vault;
        let space = vault.space().map_err(|error| error.to_string())?;
        for (name, help, value) in [
            (
                "outlast_vault_log_entries",
                "Entries in the log.",
                vault.log_size(),
            ),
            (
                "outlast_vault_time_seconds",
                "The vault's guarded time, since 1970.",
                vault.time(),
            ),
            (
                "outlast_vault_read_only",
                "1 if the vault takes nothing until fsck has passed.",
                u64::from(vault.read_only_reason().is_some()),
            ),
            (
                "outlast_vault_damaged_objects",
                "Objects found damaged or missing.",
                vault.known_damaged() as u64,
            ),
            (
                "outlast_vault_last_scrub_seconds",
                "Vault time at which the last scrub began; 0 if there was none.",
                vault.last_scrub().unwrap_or(0),
            ),
            (
                "outlast_vault_disk_free_bytes",
                "Free bytes on the vault's disk.",
                space.free,
            ),
            (
                "outlast_vault_disk_bytes",
                "Size of the vault's disk.",
                space.total,
            ),
        ] {
            Family::new(text, name, "gauge", help).put("", value);
        }
        let repositories = vault.repositories();
        let mut rows = Vec::new();
        for (name, settings) in &repositories {
            let kept = vault.kept(name).map_err(|error| error.to_string())?;
            rows.push((
                format!("repository=\"{name}\""),
                [kept.objects, kept.bytes, settings.quota_bytes],
            ));
        }
        for (number, (name, help)) in [
            (
                "outlast_vault_repository_objects",
                "Objects kept of a repository.",
            ),
            (
                "outlast_vault_repository_bytes",
                "Bytes kept of a repository.",
            ),
            (
                "outlast_vault_repository_quota_bytes",
                "Most that a repository may take.",
            ),
        ]
        .into_iter()
        .enumerate()
        {
            let mut family = Family::new(text, name, "gauge", help);
            for (labels, values) in &rows {
                family.put(labels, values[number]);
            }
        }
        Ok(())
    }

    fn connection_numbers(&self, text: &mut String) {
        let watch = &self.watch;
        let read = |number: &AtomicU64| number.load(Ordering::Relaxed);
        Family::new(
            text,
            "outlast_vault_connections",
            "gauge",
            "Connections that are open.",
        )
        .put("", read(&watch.connections));
        for (name, help, value) in [
            (
                "outlast_vault_connections_total",
                "Connections that were taken.",
                read(&watch.accepted),
            ),
            (
                "outlast_vault_panics_total",
                "Requests that met a defect of the program.",
                read(&watch.panics),
            ),
            (
                "outlast_vault_answers_cut_off_total",
                "Answers that were cut off because an object could not be read.",
                read(&watch.answers_cut_off),
            ),
            (
                "outlast_vault_request_microseconds_total",
                "Time spent answering requests.",
                read(&watch.request_microseconds),
            ),
        ] {
            Family::new(text, name, "counter", help).put("", value);
        }
        let mut family = Family::new(
            text,
            "outlast_vault_requests_total",
            "counter",
            "Requests answered.",
        );
        for ((method, status), count) in &*watch.requests.lock() {
            family.put(&format!("method=\"{method}\",status=\"{status}\""), *count);
        }
        let mut family = Family::new(
            text,
            "outlast_vault_refusals_total",
            "counter",
            "Requests that were refused.",
        );
        for (word, count) in self.operator.vault.refusals() {
            family.put(&format!("reason=\"{word}\""), count);
        }
        let mut family = Family::new(
            text,
            "outlast_vault_turned_away_total",
            "counter",
            "Connections and requests that were turned away.",
        );
        for (why, count) in &*watch.turned_away.lock() {
            family.put(&format!("reason=\"{why}\""), *count);
        }
    }
}

impl Handler for Metrics {
    fn handle(&self, request: Request<'_>) -> Response {
        let (status, text) = match (request.method, request.path) {
            ("GET" | "HEAD", "/metrics") => match self.text() {
                Ok(text) => (200, text),
                Err(error) => (500, error),
            },
            _ => (404, "numbers are at /metrics\n".to_owned()),
        };
        Response {
            status,
            headers: vec![(
                "content-type",
                "text/plain; version=0.0.4; charset=utf-8".to_owned(),
            )],
            body: Body::Bytes(text.into_bytes()),
        }
    }
}
