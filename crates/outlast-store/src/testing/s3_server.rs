//! A server in this process that speaks as much of S3 as a repository needs, and misbehaves when told
//! to. It checks no signatures.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use md5::{Digest, Md5};
use parking_lot::Mutex;
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use quick_xml::escape::escape;
use url::Url;

use super::http::{Answer, SeenRequest};
use super::s3_state::{Bucket, Page, Version};
use super::scripted::{Handler, Misbehaviour, Scripted};
use crate::{S3Credentials, S3Location, S3Options, Secret, StoreError};

/// Entries of a page, unless less is asked for.
const PAGE_KEYS_MAX: usize = 1000;

/// A server of buckets in memory on a free port of this machine. It stops when it is dropped.
#[derive(Debug)]
pub struct S3Server {
    served: Scripted<State>,
}

#[derive(Debug, Default)]
struct State {
    buckets: Mutex<BTreeMap<String, Bucket>>,
    encodes_nothing: AtomicBool,
    /// Zero for as many as are asked for.
    page_keys: AtomicUsize,
}

/// A request, taken apart.
struct Asked<'a> {
    request: &'a SeenRequest,
    body: &'a [u8],
    bucket: String,
    key: String,
    query: BTreeMap<String, String>,
}

impl S3Server {
    /// Starts a server without buckets.
    ///
    /// # Errors
    /// Whatever keeps it from listening.
    pub fn start() -> io::Result<Self> {
        let served = Scripted::start(State::default())?;
        Ok(Self { served })
    }

    /// The location of a repository, as "bucket/a/b".
    ///
    /// # Errors
    /// Whatever is wrong with the path.
    pub fn location(&self, path: &str) -> Result<S3Location, StoreError> {
        S3Location::parse(&format!("http://{}/{path}", self.served.address()))
    }

    /// What a client needs besides the location: any keys will do.
    pub fn options(&self) -> S3Options {
        S3Options {
            credentials: Some(S3Credentials {
                access_key: "key".to_owned(),
                secret_key: Secret::new("secret"),
                session_token: None,
            }),
            ..S3Options::default()
        }
    }

    /// Makes a bucket that keeps versions, without a lock.
    pub fn make_versioned(&self, bucket: &str) {
        let mut buckets = self.served.handler().buckets.lock();
        buckets.entry(bucket.to_owned()).or_default().has_versions = true;
    }

    /// Puts something into a bucket over whatever is there, as anybody with its keys can.
    pub fn plant(&self, bucket: &str, key: &str, bytes: &[u8]) {
        let mut buckets = self.served.handler().buckets.lock();
        let bucket = buckets.entry(bucket.to_owned()).or_default();
        bucket.put(key, Some(bytes.to_vec()), None);
    }

    /// Puts a delete marker over a key.
    pub fn hide(&self, bucket: &str, key: &str) {
        let mut buckets = self.served.handler().buckets.lock();
        buckets
            .entry(bucket.to_owned())
            .or_default()
            .delete(key, None);
    }

    /// The ids of the versions of a key, oldest first.
    pub fn version_ids(&self, bucket: &str, key: &str) -> Vec<String> {
        let buckets = self.served.handler().buckets.lock();
        let Some(bucket) = buckets.get(bucket) else {
            return Vec::new();
        };
        let all = bucket.all(key, None, usize::MAX - 1).entries;
        let mut ids: Vec<String> = all
            .into_iter()
            .filter(|(other, _, _)| other == key)
            .map(|(_, version, _)| version.id)
            .collect();
        ids.reverse();
        ids
    }

    /// Gives at most so many entries a page from now on.
    pub fn give_small_pages(&self, entries: usize) {
        let state = self.served.handler();
        state.page_keys.store(entries, Ordering::Relaxed);
    }

    /// Ignores from now on that keys are to be encoded in listings, as some servers do.
    pub fn encode_nothing(&self) {
        let state = self.served.handler();
        state.encodes_nothing.store(true, Ordering::Relaxed);
    }

    /// Misbehaves for the next `times` requests with this method whose target contains a text.
    pub fn misbehave(
        &self,
        method: &'static str,
        target_part: &str,
        times: usize,
        misbehaviour: Misbehaviour,
    ) {
        self.served
            .misbehave(method, target_part, 0, times, misbehaviour);
    }

    /// Forgets all that it was told to do wrong.
    pub fn behave(&self) {
        self.served.behave();
    }

    /// The bytes that clients took of endless bodies, as far as they left this process.
    pub fn endless_bytes(&self) -> u64 {
        self.served.endless_bytes()
    }

    /// How many connections there have been.
    pub fn connections(&self) -> usize {
        self.served.connections()
    }

    /// The requests seen so far, oldest first.
    pub fn requests(&self) -> Vec<SeenRequest> {
        self.served.requests()
    }
}

impl Handler for State {
    fn answer(&self, request: &SeenRequest, body: &[u8]) -> Answer {
        let Some(asked) = Asked::of(request, body) else {
            return error(400, "InvalidURI");
        };
        if !request
            .headers
            .iter()
            .any(|(name, _)| name == "authorization")
        {
            return error(403, "AccessDenied");
        }
        let mut buckets = self.buckets.lock();
        let is_making = asked.is("PUT") && asked.key.is_empty() && asked.query.is_empty();
        if is_making {
            let has_lock = request.header("x-amz-bucket-object-lock-enabled") == Some("true");
            let bucket = buckets.entry(asked.bucket.clone()).or_default();
            bucket.has_lock |= has_lock;
            bucket.has_versions |= has_lock;
            return Answer::with_body(200, []);
        }
        match buckets.get_mut(&asked.bucket) {
            None => error(404, "NoSuchBucket"),
            Some(bucket) if asked.key.is_empty() => self.of_bucket(bucket, &asked),
            Some(bucket) => of_object(bucket, &asked),
        }
    }
}

impl State {
    fn of_bucket(&self, bucket: &Bucket, asked: &Asked<'_>) -> Answer {
        match asked.request.method.as_str() {
            "HEAD" => Answer::with_body(200, []),
            "GET" if asked.query.contains_key("versioning") => {
                let status = match bucket.has_versions {
                    true => "<Status>Enabled</Status>",
                    false => "",
                };
                document("VersioningConfiguration", status)
            }
            "GET" if asked.query.contains_key("versions") => self.versions(bucket, asked),
            "GET" if asked.query.contains_key("list-type") => self.keys(bucket, asked),
            "GET" if asked.query.contains_key("object-lock") && bucket.has_lock => document(
                "ObjectLockConfiguration",
                "<ObjectLockEnabled>Enabled</ObjectLockEnabled>",
            ),
            "GET" if asked.query.contains_key("object-lock") => {
                error(404, "ObjectLockConfigurationNotFoundError")
            }
            _ => error(501, "NotImplemented"),
        }
    }

    fn page_keys(&self, asked: &Asked<'_>) -> usize {
        let wanted = asked.query.get("max-keys").and_then(|max| max.parse().ok());
        let most = match self.page_keys.load(Ordering::Relaxed) {
            0 => PAGE_KEYS_MAX,
            set => set,
        };
        wanted.unwrap_or(PAGE_KEYS_MAX).min(most)
    }

    fn encodes(&self, asked: &Asked<'_>) -> bool {
        asked.query.contains_key("encoding-type") && !self.encodes_nothing.load(Ordering::Relaxed)
    }

    fn keys(&self, bucket: &Bucket, asked: &Asked<'_>) -> Answer {
        let after = asked.query.get("continuation-token").map(String::as_str);
        let page = bucket.newest(asked.text("prefix"), after, self.page_keys(asked));
        let mut text = beginning(&page, self.encodes(asked));
        if let Some((last, _, _)) = page.entries.last().filter(|_| page.is_truncated) {
            let token = escape(last.as_str());
            text += &format!("<NextContinuationToken>{token}</NextContinuationToken>");
        }
        for (key, version, _) in &page.entries {
            let key = shown(key, self.encodes(asked));
            // Writing to a string cannot fail.
            let _ = write!(
                text,
                "<Contents><Key>{key}</Key>{}</Contents>",
                facts(version)
            );
        }
        document("ListBucketResult", &text)
    }

    fn versions(&self, bucket: &Bucket, asked: &Asked<'_>) -> Answer {
        let key = asked.query.get("key-marker");
        let after = key.map(|key| (key.as_str(), asked.text("version-id-marker")));
        let page = bucket.all(asked.text("prefix"), after, self.page_keys(asked));
        let mut text = beginning(&page, self.encodes(asked));
        if let Some((key, version, _)) = page.entries.last().filter(|_| page.is_truncated) {
            let (key, id) = (shown(key, self.encodes(asked)), escape(&version.id));
            text += &format!("<NextKeyMarker>{key}</NextKeyMarker>");
            text += &format!("<NextVersionIdMarker>{id}</NextVersionIdMarker>");
        }
        for (key, version, is_newest) in &page.entries {
            let key = shown(key, self.encodes(asked));
            let id = escape(&version.id);
            let (name, facts) = match version.bytes {
                Some(_) => ("Version", facts(version)),
                None => ("DeleteMarker", String::new()),
            };
            // Writing to a string cannot fail.
            let _ = write!(
                text,
                "<{name}><Key>{key}</Key><VersionId>{id}</VersionId><IsLatest>{is_newest}</IsLatest>\
                 {facts}</{name}>"
            );
        }
        document("ListVersionsResult", &text)
    }
}

fn beginning(page: &Page, encodes: bool) -> String {
    let encoding = match encodes {
        true => "<EncodingType>url</EncodingType>",
        false => "",
    };
    format!("<IsTruncated>{}</IsTruncated>{encoding}", page.is_truncated)
}

fn shown(key: &str, encodes: bool) -> String {
    match encodes {
        true => utf8_percent_encode(key, NON_ALPHANUMERIC).to_string(),
        false => escape(key).into_owned(),
    }
}

fn facts(version: &Version) -> String {
    let bytes = version.bytes.as_deref().map_or(&[][..], Vec::as_slice);
    let (size, etag) = (bytes.len(), etag(bytes));
    format!("<Size>{size}</Size><ETag>&quot;{etag}&quot;</ETag>")
}

fn etag(bytes: &[u8]) -> String {
    let digest: [u8; 16] = Md5::digest(bytes).into();
    digest
        .iter()
        .fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

fn of_object(bucket: &mut Bucket, asked: &Asked<'_>) -> Answer {
    let id = asked.query.get("versionId").map(String::as_str);
    if asked.query.contains_key("retention") {
        return of_retention(bucket, asked, id);
    }
    match asked.request.method.as_str() {
        "PUT" => {
            let header = |name: &str| asked.request.header(name).map(str::to_owned);
            let mode = header("x-amz-object-lock-mode");
            let retention = mode.zip(header("x-amz-object-lock-retain-until-date"));
            if retention.is_some() && !bucket.has_lock {
                return error(400, "InvalidRequest");
            }
            let id = bucket.put(&asked.key, Some(asked.body.to_vec()), retention);
            let mut answer = Answer::with_body(200, []);
            answer
                .headers
                .push(("ETag", format!("\"{}\"", etag(asked.body))));
            if bucket.has_versions {
                answer.headers.push(("x-amz-version-id", id));
            }
            answer
        }
        "DELETE" if bucket.delete(&asked.key, id) => Answer::with_body(204, []),
        "DELETE" => error(403, "AccessDenied"),
        "GET" | "HEAD" => match bucket.get(&asked.key, id) {
            Some(version) => read(bucket, version, asked),
            None if id.is_some() => error(404, "NoSuchVersion"),
            None => error(404, "NoSuchKey"),
        },
        _ => error(501, "NotImplemented"),
    }
}

fn read(bucket: &Bucket, version: &Version, asked: &Asked<'_>) -> Answer {
    let Some(bytes) = &version.bytes else {
        return error(404, "NoSuchKey");
    };
    let size = bytes.len();
    let mut answer = match asked.request.header("range").and_then(range) {
        Some((start, _)) if start >= size => return error(416, "InvalidRange"),
        Some((start, last)) => {
            let last = last.min(size - 1);
            let part = bytes.get(start..=last).unwrap_or(&[]);
            let mut answer = Answer::with_body(206, part);
            let told = format!("bytes {start}-{last}/{size}");
            answer.headers.push(("Content-Range", told));
            answer
        }
        None => Answer::with_body(200, bytes.as_slice()),
    };
    answer
        .headers
        .push(("ETag", format!("\"{}\"", etag(bytes))));
    if bucket.has_versions {
        let id = version.id.clone();
        answer.headers.push(("x-amz-version-id", id));
    }
    answer
}

fn range(text: &str) -> Option<(usize, usize)> {
    let (start, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    Some((start.parse().ok()?, last.parse().ok()?))
}

fn of_retention(bucket: &mut Bucket, asked: &Asked<'_>, id: Option<&str>) -> Answer {
    if !bucket.has_lock {
        return error(400, "InvalidRequest");
    }
    let Some(version) = bucket.get_mut(&asked.key, id) else {
        return error(404, "NoSuchKey");
    };
    if asked.is("GET") {
        return match &version.retention {
            None => error(404, "NoSuchObjectLockConfiguration"),
            Some((mode, until)) => document(
                "Retention",
                &format!("<Mode>{mode}</Mode><RetainUntilDate>{until}</RetainUntilDate>"),
            ),
        };
    }
    let text = String::from_utf8_lossy(asked.body);
    let inside = |name: &str| {
        let (_, rest) = text.split_once(&format!("<{name}>"))?;
        Some(rest.split_once('<')?.0.to_owned())
    };
    let Some((mode, until)) = inside("Mode").zip(inside("RetainUntilDate")) else {
        return error(400, "MalformedXML");
    };
    // The moments are all written in one way, in which later is greater.
    let weaker = |(old_mode, old_until): &(String, String)| {
        old_mode == "COMPLIANCE" && (mode != "COMPLIANCE" || until < *old_until)
    };
    if version.retention.as_ref().is_some_and(weaker) {
        return error(403, "AccessDenied");
    }
    version.retention = Some((mode, until));
    Answer::with_body(200, [])
}

impl<'a> Asked<'a> {
    fn of(request: &'a SeenRequest, body: &'a [u8]) -> Option<Self> {
        let url = Url::parse(&format!("http://host{}", request.target)).ok()?;
        let path = percent_decode_str(url.path()).decode_utf8().ok()?;
        let path = path.strip_prefix('/')?;
        let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
        let pairs = url.query_pairs();
        Some(Self {
            request,
            body,
            bucket: bucket.to_owned(),
            key: key.to_owned(),
            query: pairs
                .map(|(name, value)| (name.into_owned(), value.into_owned()))
                .collect(),
        })
    }

    fn is(&self, method: &str) -> bool {
        self.request.method == method
    }

    fn text(&self, name: &str) -> &str {
        self.query.get(name).map_or("", String::as_str)
    }
}

fn document(name: &str, inside: &str) -> Answer {
    let text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <{name} xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{inside}</{name}>"
    );
    Answer::with_body(200, text)
}

fn error(status: u16, code: &str) -> Answer {
    let text = format!("<Error><Code>{code}</Code><Message>as in a test</Message></Error>");
    Answer::with_body(status, text)
}
