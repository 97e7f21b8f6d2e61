//! Where a bucket is.

use std::fmt;

use url::Url;

use crate::StoreError;

/// Longest name of a bucket; AWS takes 63 characters, others more.
const BUCKET_BYTES_MAX: usize = 255;

/// A repository in a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Location {
    /// The server: scheme, host and port, without a path.
    pub endpoint: Url,
    /// The bucket.
    pub bucket: String,
    /// The folder within the bucket, without slashes at either end; empty for the bucket itself.
    pub prefix: String,
}

impl S3Location {
    /// Understands what follows `s3:`, as restic does: `https://host:port/bucket/path`,
    /// `//host/bucket/path` or `host/bucket/path`; without a scheme it is https.
    ///
    /// # Errors
    /// [`StoreError::Location`] for what cannot be understood, and for addresses with credentials.
    pub fn parse(address: &str) -> Result<Self, StoreError> {
        // The address is never quoted: somebody may have put a key into it.
        let refuse = |why: &str| {
            Err(StoreError::Location(format!(
                "the address after \"s3:\" cannot be used: {why}; expected \
                 https://HOST/BUCKET/PATH"
            )))
        };
        let with_scheme = if address.contains("://") {
            address.to_owned()
        } else {
            format!("https://{}", address.trim_start_matches('/'))
        };
        let mut url = match Url::parse(&with_scheme) {
            Ok(url) => url,
            Err(error) => return refuse(&error.to_string()),
        };
        if !matches!(url.scheme(), "http" | "https") {
            return refuse("it begins neither with http:// nor with https://");
        }
        if !url.username().is_empty() || url.password().is_some() {
            return refuse(
                "credentials do not belong into a location: set AWS_ACCESS_KEY_ID and \
                 AWS_SECRET_ACCESS_KEY, or name a file in AWS_SHARED_CREDENTIALS_FILE",
            );
        }
        if url.query().is_some() || url.fragment().is_some() {
            return refuse("it has a query or a fragment");
        }
        let decoded = percent_encoding::percent_decode_str(url.path())
            .decode_utf8_lossy()
            .into_owned();
        let path = decoded.trim_matches('/');
        let (bucket, prefix) = path.split_once('/').unwrap_or((path, ""));
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if bucket.is_empty() || bucket.len() > BUCKET_BYTES_MAX || !bucket.chars().all(fits) {
            return refuse("it names no bucket after the host");
        }
        if prefix.split('/').any(|part| matches!(part, "." | "..")) || prefix.contains("//") {
            return refuse("its path has empty parts or dots");
        }
        let (bucket, prefix) = (bucket.to_owned(), prefix.to_owned());
        url.set_path("/");
        Ok(Self {
            endpoint: url,
            bucket,
            prefix,
        })
    }

    /// The bucket alone, for another use of it.
    pub fn with_prefix(&self, prefix: &str) -> Self {
        Self {
            prefix: prefix.trim_matches('/').to_owned(),
            ..self.clone()
        }
    }

    /// The region that the host's name tells, as AWS and several others have it.
    pub fn region_of_host(&self) -> Option<&str> {
        let host = self.endpoint.host_str()?;
        // s3.REGION.amazonaws.com, s3-REGION.amazonaws.com, s3.REGION.wasabisys.com,
        // s3.REGION.backblazeb2.com.
        let rest = host.strip_prefix("s3.").or(host.strip_prefix("s3-"))?;
        let rest = rest.strip_prefix("dualstack.").unwrap_or(rest);
        let known = [
            ".amazonaws.com",
            ".amazonaws.com.cn",
            ".wasabisys.com",
            ".backblazeb2.com",
        ];
        let region = known.iter().find_map(|end| rest.strip_suffix(end))?;
        (!region.is_empty() && !region.contains('.')).then_some(region)
    }
}

impl fmt::Display for S3Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3:{}{}", self.endpoint, self.bucket)?;
        if !self.prefix.is_empty() {
            write!(f, "/{}", self.prefix)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restics_ways_to_write_it() {
        for (text, shown) in [
            (
                "https://s3.eu-central-1.amazonaws.com/b/a/c/",
                "s3:https://s3.eu-central-1.amazonaws.com/b/a/c",
            ),
            (
                "s3.amazonaws.com/bucket",
                "s3:https://s3.amazonaws.com/bucket",
            ),
            ("//host/bucket/x", "s3:https://host/bucket/x"),
            (
                "http://127.0.0.1:9000/b.c/x%20y",
                "s3:http://127.0.0.1:9000/b.c/x y",
            ),
        ] {
            assert_eq!(S3Location::parse(text).unwrap().to_string(), shown);
        }
        for (text, region) in [
            ("s3.eu-central-1.amazonaws.com/b", Some("eu-central-1")),
            ("s3.amazonaws.com/b", None),
            ("s3.us-west-004.backblazeb2.com/b", Some("us-west-004")),
            ("127.0.0.1/b", None),
        ] {
            assert_eq!(S3Location::parse(text).unwrap().region_of_host(), region);
        }
    }

    #[test]
    fn refusals_say_why_and_quote_no_secret() {
        for (text, why) in [
            ("", "cannot be used"),
            ("https://host/", "no bucket"),
            ("https://key:geheim@host/b", "AWS_ACCESS_KEY_ID"),
            ("ftp://host/b", "neither"),
            ("https://host/b?versions", "query"),
            ("https://host/b/a//c", "empty parts"),
            ("https://host/b%20c", "no bucket"),
        ] {
            let message = S3Location::parse(text).unwrap_err().to_string();
            assert!(message.contains(why), "{text}: {message}");
            assert!(!message.contains("geheim"), "{message}");
        }
    }
}
