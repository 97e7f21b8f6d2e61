//! What is in a bucket: keys, and all versions of each.

use percent_encoding::percent_decode_str;
use ureq::http::Method;

use super::client::{Call, Failure, S3Client};
use super::xml::Element;

/// Keys of a page. Servers give no more than 1000.
const PAGE_KEYS: &str = "1000";
/// What servers call both kinds of listings.
const DOCUMENTS: [&str; 2] = ["ListBucketResult", "ListVersionsResult"];
/// Entries of a listing. A repository of an exabyte has no more objects.
const LISTED_MAX: u64 = 100_000_000;
/// Pages without any entry, one after another.
const EMPTY_PAGES_MAX: u64 = 1000;
/// Versions of one key that are kept in memory, some 200 bytes each.
const VERSIONS_KEPT_MAX: usize = 10_000;
/// Length of ids of versions and of tags. Those of AWS have at most 1024 bytes.
const ID_BYTES_MAX: usize = 1024;

/// One version of one key, or a delete marker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Version {
    pub(super) key: String,
    /// `null` for what was written without versioning.
    pub(super) id: String,
    pub(super) size: u64,
    /// Without quotes.
    pub(super) etag: String,
    /// Nothing is read here: a plain deletion left it.
    pub(super) is_marker: bool,
}

impl Version {
    /// Whether both have, as far as the server tells, the same bytes.
    pub(super) fn looks_like(&self, other: &Version) -> bool {
        self.size == other.size && self.etag == other.etag && !self.etag.is_empty()
    }
}

/// What keeps a listing from going round in circles or on for ever.
struct Progress<'a> {
    prefix: &'a str,
    last_key: Option<String>,
    listed: u64,
    /// Entries when the page began.
    listed_before: u64,
    empty_pages: u64,
    pages: u64,
    /// A place where a page ended, looked back at until twice as many pages have passed.
    landmark: Option<(String, String)>,
}

impl<'a> Progress<'a> {
    fn new(prefix: &'a str) -> Self {
        Self {
            prefix,
            last_key: None,
            listed: 0,
            listed_before: 0,
            empty_pages: 0,
            pages: 0,
            landmark: None,
        }
    }

    /// Takes the next key. Returns whether it is another than the one before.
    fn entry(&mut self, key: &str) -> Result<bool, Failure> {
        self.listed += 1;
        if !key.starts_with(self.prefix) {
            return refuse("it lists what was not asked for");
        }
        if self.listed > LISTED_MAX {
            return refuse("its listing does not end");
        }
        match self.last_key.as_deref() {
            Some(last) if last == key => return Ok(false),
            Some(last) if last > key => return refuse("its listing is out of order"),
            _ => {}
        }
        self.last_key = Some(key.to_owned());
        Ok(true)
    }

    /// Takes the place where the next page begins.
    fn turn(&mut self, next: &(String, String)) -> Result<(), Failure> {
        self.pages += 1;
        self.empty_pages = match self.listed == self.listed_before {
            true => self.empty_pages + 1,
            false => 0,
        };
        self.listed_before = self.listed;
        let seen = self.landmark.as_ref() == Some(next);
        if seen || next.0.is_empty() || self.empty_pages > EMPTY_PAGES_MAX {
            return refuse("its listing does not go on");
        }
        if self.pages.is_power_of_two() {
            self.landmark = Some(next.clone());
        }
        Ok(())
    }
}

fn refuse<T>(why: &str) -> Result<T, Failure> {
    Err(Failure::Refused(why.to_owned()))
}

/// Calls `visit` with key and size of everything whose key begins with `prefix`, each once.
pub(super) fn objects(
    client: &S3Client,
    prefix: &str,
    visit: &mut dyn FnMut(&str, u64),
) -> Result<(), Failure> {
    let mut token: Option<String> = None;
    let mut progress = Progress::new(prefix);
    loop {
        let mut call = page_call(prefix).query("list-type", "2");
        if let Some(token) = &token {
            call = call.query("continuation-token", token);
        }
        let page = client.document(&call, &DOCUMENTS)?;
        let keys = Keys::of(&page);
        for entry in page.children_of("Contents") {
            let key = keys.key_of(entry)?;
            if !progress.entry(&key)? {
                return refuse("its listing repeats itself");
            }
            visit(&key, size_of(entry)?);
        }
        if page.text_of("IsTruncated") != Some("true") {
            return Ok(());
        }
        let next = page.text_of("NextContinuationToken").unwrap_or("");
        progress.turn(&(next.to_owned(), String::new()))?;
        token = Some(next.to_owned());
    }
}

/// Calls `visit` with the versions of each key that begins with `prefix`, newest first, markers
/// among them, until `visit` says that it is enough. Of very many versions of one key the newest and
/// the oldest are shown.
pub(super) fn versions(
    client: &S3Client,
    prefix: &str,
    visit: &mut dyn FnMut(Vec<Version>) -> bool,
) -> Result<(), Failure> {
    let mut marker: Option<(String, String)> = None;
    let mut of_key: Vec<Version> = Vec::new();
    let mut progress = Progress::new(prefix);
    loop {
        let mut call = page_call(prefix).query("versions", "");
        if let Some((key, version)) = &marker {
            call = call.query("key-marker", key);
            if !version.is_empty() {
                call = call.query("version-id-marker", version);
            }
        }
        let page = client.document(&call, &DOCUMENTS)?;
        let keys = Keys::of(&page);
        for entry in &page.children {
            let is_marker = match entry.name.as_str() {
                "Version" => false,
                "DeleteMarker" => true,
                _ => continue,
            };
            let version = keys.version_of(entry, is_marker)?;
            let is_other = progress.entry(&version.key)?;
            if is_other && !of_key.is_empty() && !visit(std::mem::take(&mut of_key)) {
                return Ok(());
            }
            of_key.push(version);
            if of_key.len() > 2 * VERSIONS_KEPT_MAX {
                // The oldest come last, and one of them is the object. The newest tells of a lock.
                of_key.drain(1..=VERSIONS_KEPT_MAX);
            }
        }
        if page.text_of("IsTruncated") != Some("true") {
            break;
        }
        let key = keys.decoded(page.text_of("NextKeyMarker").unwrap_or(""));
        let version = page.text_of("NextVersionIdMarker").unwrap_or("");
        let next = (key, version.to_owned());
        progress.turn(&next)?;
        marker = Some(next);
    }
    if !of_key.is_empty() {
        visit(of_key);
    }
    Ok(())
}

fn page_call(prefix: &str) -> Call<'static> {
    Call::bucket(Method::GET)
        .query("encoding-type", "url")
        .query("max-keys", PAGE_KEYS)
        .query("prefix", prefix)
}

/// All versions of one key, newest first, markers among them.
pub(super) fn versions_of(client: &S3Client, key: &str) -> Result<Vec<Version>, Failure> {
    let mut found = Vec::new();
    // Longer keys with the same beginning come later.
    versions(client, key, &mut |of_key| {
        if of_key.first().is_some_and(|version| version.key == key) {
            found = of_key;
        }
        false
    })?;
    Ok(found)
}

/// The keys of a page of a listing, with or without versions, as far as the page can be understood.
pub fn read_bucket_page(bytes: &[u8]) -> Option<Vec<String>> {
    let page = super::xml::parse(bytes).ok()?;
    let keys = Keys::of(&page);
    let key = |entry: &Element| match entry.name.as_str() {
        "Contents" => keys
            .key_of(entry)
            .and_then(|key| size_of(entry).map(|_| key)),
        name => keys
            .version_of(entry, name == "DeleteMarker")
            .map(|version| version.key),
    };
    let named =
        |entry: &&Element| ["Contents", "Version", "DeleteMarker"].contains(&entry.name.as_str());
    page.children
        .iter()
        .filter(named)
        .map(|entry| key(entry).ok())
        .collect()
}

/// How the keys of a page are written.
#[derive(Clone, Copy)]
struct Keys {
    are_encoded: bool,
}

impl Keys {
    /// As the page says: some servers do not encode, though they are asked to.
    fn of(page: &Element) -> Self {
        Self {
            are_encoded: page.text_of("EncodingType") == Some("url"),
        }
    }

    fn decoded(self, text: &str) -> String {
        if !self.are_encoded {
            return text.to_owned();
        }
        percent_decode_str(&text.replace('+', " "))
            .decode_utf8_lossy()
            .into_owned()
    }

    fn key_of(self, entry: &Element) -> Result<String, Failure> {
        let key = entry.text_of("Key").map(|key| self.decoded(key));
        key.ok_or_else(|| Failure::Transport("an entry of the listing has no key".to_owned()))
    }

    fn version_of(self, entry: &Element, is_marker: bool) -> Result<Version, Failure> {
        // Ids are never encoded.
        let id = entry.text_of("VersionId").unwrap_or("null");
        let etag = entry.text_of("ETag").unwrap_or("").trim_matches('"');
        if id.len() > ID_BYTES_MAX || etag.len() > ID_BYTES_MAX {
            return refuse("an entry of the listing is longer than it may be");
        }
        Ok(Version {
            key: self.key_of(entry)?,
            id: id.to_owned(),
            size: if is_marker { 0 } else { size_of(entry)? },
            etag: etag.to_owned(),
            is_marker,
        })
    }
}

fn size_of(entry: &Element) -> Result<u64, Failure> {
    let size = entry.text_of("Size").and_then(|text| text.parse().ok());
    size.ok_or_else(|| Failure::Transport("an entry of the listing has no size".to_owned()))
}
