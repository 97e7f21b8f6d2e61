//! A server with something to lose, and ways to misbehave.

use std::sync::Arc;
use std::time::Duration;

use outlast_object::{ObjectKind, ObjectName};
use outlast_store::conformance::{name_of, sample_bytes};
use outlast_store::testing::{ManualClock, Misbehaviour, S3Server};
use outlast_store::{RestOptions, Retry, RetryPolicy, S3Options, S3Store, Store, StoreError};

pub const DAY: Duration = Duration::from_secs(24 * 60 * 60);
pub const ALWAYS: usize = usize::MAX;
/// Attempts of the tests that expect to fail.
pub const ATTEMPTS: u32 = 3;

pub fn store(server: &S3Server, path: &str, options: &S3Options) -> S3Store {
    let location = server.location(path).unwrap();
    S3Store::new(&location, options, &RestOptions::default()).unwrap()
}

/// Retries a few times without waiting.
pub fn patient(store: S3Store) -> Retry<S3Store> {
    let policy = RetryPolicy {
        attempts_max: ATTEMPTS,
        ..RetryPolicy::default()
    };
    Retry::new(store, policy).with_clock(Arc::new(ManualClock::new()))
}

/// A server with one pack in a bucket with retention, and with nothing known of it yet.
pub struct World {
    pub server: S3Server,
    pub bytes: Vec<u8>,
    pub name: ObjectName,
}

impl World {
    pub fn new() -> Self {
        let server = S3Server::start().unwrap();
        let bytes = sample_bytes(1, 5000);
        let name = name_of(ObjectKind::Pack, &bytes);
        let world = Self {
            server,
            bytes,
            name,
        };
        let store = world.store();
        store.prepare().unwrap();
        store.write(&name, &world.bytes).unwrap();
        store.write(&ObjectName::CONFIG, b"the config").unwrap();
        world
    }

    pub fn store(&self) -> S3Store {
        let options = S3Options {
            retention: Some(30 * DAY),
            ..self.server.options()
        };
        store(&self.server, "bucket/a", &options)
    }

    pub fn key(&self) -> String {
        let id = self.name.id().to_string();
        format!("a/data/{}/{id}", &id[..2])
    }

    /// What comes of reading while the server misbehaves so whenever such a request comes.
    pub fn read_while(
        &self,
        method: &'static str,
        part: &str,
        wrong: &Misbehaviour,
    ) -> Result<Vec<u8>, StoreError> {
        self.server.misbehave(method, part, ALWAYS, wrong.clone());
        let read = patient(self.store()).read(&self.name);
        self.server.behave();
        read
    }
}

pub fn text(body: &str) -> Misbehaviour {
    Misbehaviour::OtherBody(body.as_bytes().to_vec())
}

pub fn replace(from: &str, to: &str) -> Misbehaviour {
    Misbehaviour::Replace(from.to_owned(), to.to_owned())
}

pub fn refusal(status: u16, code: &str) -> Misbehaviour {
    let body = format!("<Error><Code>{code}</Code><Message>so it is</Message></Error>");
    let headers = vec![("Retry-After", "100000000".to_owned())];
    Misbehaviour::Answer(status, headers, body.into_bytes())
}

/// A page of versions of one pack or other key.
pub fn listing(entries: &str, is_truncated: bool, next: &str) -> Misbehaviour {
    text(&format!(
        "<ListVersionsResult><IsTruncated>{is_truncated}</IsTruncated>\
         <NextKeyMarker>{next}</NextKeyMarker>{entries}</ListVersionsResult>"
    ))
}

pub fn entry(key: &str, size: &str) -> String {
    format!("<Version><Key>{key}</Key><VersionId>v</VersionId><Size>{size}</Size></Version>")
}
