//! Signature version 4 of requests, as AWS documents it ("Authenticating Requests: Using the
//! Authorization Header").

use std::fmt::Write;

use outlast_object::{Id, hash};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::credentials::S3Credentials;

/// Bytes of a block of SHA-256, which HMAC pads its key to.
const BLOCK_BYTES: usize = 64;
/// What stays as it is in a canonical address.
const KEPT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');
const KEPT_IN_PATH: &AsciiSet = &KEPT.remove(b'/');

/// A part of a query, encoded as it is signed and sent.
pub(super) fn encode(text: &str) -> String {
    utf8_percent_encode(text, KEPT).to_string()
}

/// A path, encoded as it is signed and sent.
pub(super) fn encode_path(text: &str) -> String {
    utf8_percent_encode(text, KEPT_IN_PATH).to_string()
}

/// A query, sorted and encoded as it is signed and sent.
pub(super) fn canonical_query(query: &[(&str, String)]) -> String {
    let mut parts: Vec<String> = query
        .iter()
        .map(|(name, value)| format!("{}={}", encode(name), encode(value)))
        .collect();
    parts.sort_unstable();
    parts.join("&")
}

/// What is signed of a request.
pub(super) struct Request<'a> {
    pub(super) method: &'a str,
    /// Encoded.
    pub(super) path: &'a str,
    /// Encoded and sorted.
    pub(super) query: &'a str,
    /// Names in lower case, and values; all of them are signed.
    pub(super) headers: &'a [(String, String)],
    pub(super) payload: Id,
}

/// The `Authorization` header of a request that is made at `moment`, as `20261123T181148Z`, which
/// its header `x-amz-date` says too.
pub(super) fn authorization(
    request: &Request<'_>,
    credentials: &S3Credentials,
    region: &str,
    moment: &str,
) -> String {
    let date = moment.get(..8).unwrap_or(moment);
    let scope = format!("{date}/{region}/s3/aws4_request");
    let mut headers: Vec<&(String, String)> = request.headers.iter().collect();
    headers.sort_unstable();
    let names: Vec<&str> = headers.iter().map(|(name, _)| name.as_str()).collect();
    let names = names.join(";");
    let mut canonical = format!("{}\n{}\n{}\n", request.method, request.path, request.query);
    for (name, value) in headers {
        // Writing to a string cannot fail.
        let _ = writeln!(canonical, "{name}:{}", value.trim());
    }
    let _ = write!(canonical, "\n{names}\n{}", request.payload);
    let to_sign = format!(
        "AWS4-HMAC-SHA256\n{moment}\n{scope}\n{}",
        hash(canonical.as_bytes())
    );
    let mut key = format!("AWS4{}", credentials.secret_key.reveal()).into_bytes();
    for part in [date, region, "s3", "aws4_request"] {
        key = hmac(&key, part.as_bytes()).as_bytes().to_vec();
    }
    let signature = hmac(&key, to_sign.as_bytes());
    format!(
        "AWS4-HMAC-SHA256 Credential={}/{scope},SignedHeaders={names},Signature={signature}",
        credentials.access_key
    )
}

/// HMAC with SHA-256 (RFC 2104). It signs requests and keeps nothing secret, which is why it is here
/// and no crate of cryptography is.
fn hmac(key: &[u8], message: &[u8]) -> Id {
    let mut block = [0; BLOCK_BYTES];
    let short = if key.len() > BLOCK_BYTES {
        hash(key).as_bytes().to_vec()
    } else {
        key.to_vec()
    };
    for (place, byte) in block.iter_mut().zip(&short) {
        *place = *byte;
    }
    let keyed = |pad: u8, rest: &[u8]| {
        let mut text: Vec<u8> = block.iter().map(|byte| byte ^ pad).collect();
        text.extend_from_slice(rest);
        hash(&text)
    };
    let inner = keyed(0x36, message);
    keyed(0x5c, inner.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Secret;

    #[test]
    fn hmac_as_rfc_4231_has_it() {
        for (key, message, expected) in [
            (
                vec![0x0b; 20],
                &b"Hi There"[..],
                "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
            ),
            (
                b"Jefe".to_vec(),
                b"what do ya want for nothing?",
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            ),
            (
                vec![0xaa; 131],
                b"Test Using Larger Than Block-Size Key - Hash Key First",
                "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
            ),
        ] {
            assert_eq!(hmac(&key, message).to_string(), expected);
        }
    }

    /// The examples in AWS's description of the signature, with the keys that it uses.
    #[test]
    fn signatures_as_aws_documents_them() {
        let credentials = S3Credentials {
            access_key: "AKIAIOSFODNN7EXAMPLE".to_owned(),
            secret_key: Secret::new("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
            session_token: None,
        };
        let empty = hash(b"");
        let host = ("host", "examplebucket.s3.amazonaws.com".to_owned());
        let date = ("x-amz-date", "20130524T000000Z".to_owned());
        let sha = |id: Id| ("x-amz-content-sha256", id.to_string());
        let body = hash(b"Welcome to Amazon S3.");
        for (method, path, query, more, payload, expected) in [
            (
                "GET",
                "/test.txt".to_owned(),
                String::new(),
                vec![("range", "bytes=0-9".to_owned())],
                empty,
                "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
            ),
            (
                "PUT",
                encode_path("/test$file.text"),
                String::new(),
                vec![
                    ("date", "Fri, 24 May 2013 00:00:00 GMT".to_owned()),
                    ("x-amz-storage-class", "REDUCED_REDUNDANCY".to_owned()),
                ],
                body,
                "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
            ),
            (
                "GET",
                "/".to_owned(),
                canonical_query(&[("lifecycle", String::new())]),
                vec![],
                empty,
                "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
            ),
            (
                "GET",
                "/".to_owned(),
                canonical_query(&[("prefix", "J".to_owned()), ("max-keys", "2".to_owned())]),
                vec![],
                empty,
                "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
            ),
        ] {
            let headers: Vec<(String, String)> = [host.clone(), date.clone(), sha(payload)]
                .into_iter()
                .chain(more)
                .map(|(name, value)| (name.to_owned(), value))
                .collect();
            let request = Request {
                method,
                path: &path,
                query: &query,
                headers: &headers,
                payload,
            };
            let text = authorization(&request, &credentials, "us-east-1", "20130524T000000Z");
            assert!(text.ends_with(expected), "{text}");
            assert!(text.contains("Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/"));
        }
    }
}
