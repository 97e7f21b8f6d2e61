//! What is in a bucket: keys, and all versions of each.

use percent_encoding::percent_decode_str;
use ureq::http::Method;

use super::client::{Call, Failure, S3Client};
use super::xml::Element;

/// Keys of a page. Servers give no more than 1000.
const PAGE_KEYS: &str = "1000";

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

/// Calls `visit` with key and size of everything whose key begins with `prefix`.
pub(super) fn objects(
    client: &S3Client,
    prefix: &str,
    visit: &mut dyn FnMut(&str, u64),
) -> Result<(), Failure> {
    let mut token: Option<String> = None;
    loop {
        let mut call = Call::bucket(Method::GET)
            .query("list-type", "2")
            .query("encoding-type", "url")
            .query("max-keys", PAGE_KEYS)
            .query("prefix", prefix);
        if let Some(token) = &token {
            call = call.query("continuation-token", token);
        }
        let page = client.document(&call)?;
        for entry in page.children_of("Contents") {
            visit(&key_of(entry)?, size_of(entry)?);
        }
        if page.text_of("IsTruncated") != Some("true") {
            return Ok(());
        }
        let next = page.text_of("NextContinuationToken").map(str::to_owned);
        if next.is_none() || next == token {
            return Err(Failure::Refused("its listing does not go on".to_owned()));
        }
        token = next;
    }
}

/// Calls `visit` with the versions of each key that begins with `prefix`, newest first, markers
/// among them, until `visit` says that it is enough.
pub(super) fn versions(
    client: &S3Client,
    prefix: &str,
    visit: &mut dyn FnMut(Vec<Version>) -> bool,
) -> Result<(), Failure> {
    let mut marker: Option<(String, String)> = None;
    let mut of_key: Vec<Version> = Vec::new();
    loop {
        let mut call = Call::bucket(Method::GET)
            .query("versions", "")
            .query("encoding-type", "url")
            .query("max-keys", PAGE_KEYS)
            .query("prefix", prefix);
        if let Some((key, version)) = &marker {
            call = call.query("key-marker", key);
            if !version.is_empty() {
                call = call.query("version-id-marker", version);
            }
        }
        let page = client.document(&call)?;
        for entry in &page.children {
            let is_marker = match entry.name.as_str() {
                "Version" => false,
                "DeleteMarker" => true,
                _ => continue,
            };
            let version = Version {
                key: key_of(entry)?,
                id: entry.text_of("VersionId").unwrap_or("null").to_owned(),
                size: if is_marker { 0 } else { size_of(entry)? },
                etag: entry
                    .text_of("ETag")
                    .unwrap_or("")
                    .trim_matches('"')
                    .to_owned(),
                is_marker,
            };
            if of_key.last().is_some_and(|last| last.key != version.key)
                && !visit(std::mem::take(&mut of_key))
            {
                return Ok(());
            }
            of_key.push(version);
        }
        if page.text_of("IsTruncated") != Some("true") {
            break;
        }
        let text = |name| decoded(page.text_of(name).unwrap_or(""));
        let next = Some((text("NextKeyMarker"), text("NextVersionIdMarker")));
        if next == marker || next.as_ref().is_some_and(|(key, _)| key.is_empty()) {
            return Err(Failure::Refused("its listing does not go on".to_owned()));
        }
        marker = next;
    }
    if !of_key.is_empty() {
        visit(of_key);
    }
    Ok(())
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

fn key_of(entry: &Element) -> Result<String, Failure> {
    let key = entry.text_of("Key");
    key.map(decoded)
        .ok_or_else(|| Failure::Transport("an entry of the listing has no key".to_owned()))
}

fn size_of(entry: &Element) -> Result<u64, Failure> {
    let size = entry.text_of("Size").and_then(|text| text.parse().ok());
    size.ok_or_else(|| Failure::Transport("an entry of the listing has no size".to_owned()))
}

fn decoded(text: &str) -> String {
    percent_decode_str(&text.replace('+', " "))
        .decode_utf8_lossy()
        .into_owned()
}
