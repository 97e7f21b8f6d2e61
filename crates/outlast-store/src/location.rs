//! Where a repository is: the strings that restic takes for `--repo`.

use std::ffi::OsStr;
use std::fmt;
use std::path::PathBuf;

use percent_encoding::percent_decode_str;
use url::Url;

use crate::StoreError;
use crate::s3::S3Location;
use crate::sftp::SftpLocation;

/// Kinds of stores that restic knows and that cannot be opened yet.
const KINDS_NOT_SUPPORTED: [&str; 5] = ["b2", "azure", "gs", "swift", "rclone"];

/// A text that is not shown by accident.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Guards `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The place of a repository. Shown without passwords.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A folder of this machine.
    Local(PathBuf),
    /// A restic REST server.
    Rest(RestLocation),
    /// A bucket that speaks S3.
    S3(S3Location),
    /// A folder behind SFTP.
    Sftp(SftpLocation),
}

/// A repository at a restic REST server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestLocation {
    /// The repository's address, ending in a slash, without credentials.
    pub url: Url,
    /// The user's name, if the location has one.
    pub user: Option<String>,
    /// The password, if the location has one.
    pub password: Option<Secret>,
}

impl Location {
    /// Understands a location: a path, `local:path`, `rest:http(s)://user:password@host:port/path/`,
    /// `s3:https://host/bucket/path`, `sftp:user@host:path` or `sftp://user@host:port/path`.
    ///
    /// # Errors
    /// [`StoreError::Location`] for what cannot be understood and for kinds not supported yet. The
    /// message holds no password.
    pub fn parse(text: &str) -> Result<Self, StoreError> {
        let refuse = |message: String| Err(StoreError::Location(message));
        if text.is_empty() {
            return refuse("the repository's location is empty".to_owned());
        }
        if text.contains('\0') {
            return refuse("the repository's location contains a NUL character".to_owned());
        }
        match text.split_once(':') {
            Some(("local", "")) => refuse("no path follows \"local:\"".to_owned()),
            Some(("local", path)) => Ok(Location::Local(path.into())),
            Some(("rest", address)) => RestLocation::parse(address).map(Location::Rest),
            Some(("s3", address)) => S3Location::parse(address).map(Location::S3),
            Some(("sftp", address)) => SftpLocation::parse(address).map(Location::Sftp),
            Some((kind, _)) if KINDS_NOT_SUPPORTED.contains(&kind) => refuse(format!(
                "repositories at \"{kind}:\" are not supported yet; a folder, \"local:PATH\", \
                 \"sftp:USER@HOST:PATH\", \"rest:https://HOST/PATH/\" and \"s3:https://HOST/BUCKET/PATH\" are"
            )),
            Some(("http" | "https", _)) => refuse(
                "put \"rest:\" before the address if there is a restic REST server".to_owned(),
            ),
            Some((kind, _)) if !is_path(text) => refuse(format!(
                "\"{}:\" is no kind of store; if this is a folder's name, put \"local:\" before it",
                kind.chars().take(20).collect::<String>()
            )),
            _ => Ok(Location::Local(text.into())),
        }
    }

    /// Like [`Location::parse`]; what is not UTF-8 can only be a folder.
    ///
    /// # Errors
    /// As of [`Location::parse`].
    pub fn parse_os(text: &OsStr) -> Result<Self, StoreError> {
        match text.to_str() {
            Some(text) => Self::parse(text),
            None => Ok(Location::Local(text.into())),
        }
    }
}

/// Whether the text is a path, colons or not.
fn is_path(text: &str) -> bool {
    ["/", "./", "../"]
        .iter()
        .any(|start| text.starts_with(start))
}

impl RestLocation {
    fn parse(address: &str) -> Result<Self, StoreError> {
        // The parser's messages do not quote the address, nor may ours: it can hold a password.
        let refuse = |why: &str| {
            Err(StoreError::Location(format!(
                "the address after \"rest:\" cannot be used: {why}; expected http(s)://HOST/PATH/"
            )))
        };
        let mut url = match Url::parse(address) {
            Ok(url) => url,
            Err(error) => return refuse(&error.to_string()),
        };
        match url.scheme() {
            "http" | "https" => {}
            "http+unix" => return refuse("Unix sockets are not supported yet"),
            _ => return refuse("it begins neither with http:// nor with https://"),
        }
        if url.query().is_some() || url.fragment().is_some() {
            return refuse("it has a query or a fragment");
        }
        let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let user = (!url.username().is_empty()).then(|| decode(url.username()));
        let password = url.password().map(|password| Secret::new(decode(password)));
        if url
            .set_username("")
            .and_then(|()| url.set_password(None))
            .is_err()
        {
            return refuse("it has no host");
        }
        if !url.path().ends_with('/') {
            let path = format!("{}/", url.path());
            url.set_path(&path);
        }
        Ok(Self {
            url,
            user,
            password,
        })
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Location::Local(path) => path.display().fmt(f),
            Location::Rest(rest) => rest.fmt(f),
            Location::S3(s3) => s3.fmt(f),
            Location::Sftp(sftp) => sftp.fmt(f),
        }
    }
}

impl fmt::Display for RestLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = self.url.clone();
        if let Some(user) = &self.user {
            let password = self.password.as_ref().map(|_| "***");
            // Neither can fail for an address that has a host, and these have one.
            let _ = shown
                .set_username(user)
                .and_then(|()| shown.set_password(password));
        }
        write!(f, "rest:{shown}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders() {
        for (text, path) in [
            ("/srv/repository", "/srv/repository"),
            ("relative/path", "relative/path"),
            ("local:/srv/a:b", "/srv/a:b"),
            ("local:rest:http://x/", "rest:http://x/"),
            ("/srv/a:b", "/srv/a:b"),
            ("./a:b", "./a:b"),
            ("../s3:x", "../s3:x"),
        ] {
            assert_eq!(
                Location::parse(text).unwrap(),
                Location::Local(path.into()),
                "{text}"
            );
        }
    }

    #[test]
    fn rest_addresses() {
        let Location::Rest(rest) =
            Location::parse("rest:https://me:p%40ss%2F@host:8000/a/b").unwrap()
        else {
            panic!("not a REST location");
        };
        assert_eq!(rest.url.as_str(), "https://host:8000/a/b/");
        assert_eq!(rest.user.as_deref(), Some("me"));
        assert_eq!(rest.password.as_ref().unwrap().reveal(), "p@ss/");
        assert_eq!(rest.to_string(), "rest:https://me:***@host:8000/a/b/");
        assert!(!format!("{rest:?}").contains("p@ss"));
        for (text, shown) in [
            ("rest:http://127.0.0.1:8000", "rest:http://127.0.0.1:8000/"),
            (
                "rest:http://me@[::1]:8000/x/",
                "rest:http://me@[::1]:8000/x/",
            ),
        ] {
            assert_eq!(Location::parse(text).unwrap().to_string(), shown);
        }
    }

    #[test]
    fn refusals_say_why_and_hold_no_password() {
        for (text, why) in [
            ("", "empty"),
            ("local:", "no path"),
            ("a\0b", "NUL"),
            ("s3:https://key:geheim@host/bucket", "AWS_ACCESS_KEY_ID"),
            ("sftp:me:geheim@host:/x", "password"),
            ("b2:x", "not supported yet"),
            ("azure:x", "not supported yet"),
            ("gs:x", "not supported yet"),
            ("swift:x", "not supported yet"),
            ("rclone:x:y", "not supported yet"),
            ("https://me:geheim@host/", "rest:"),
            ("floppy:x", "local:"),
            ("rest:", "cannot be used"),
            ("rest:me:geheim@host/x", "neither with http"),
            ("rest:ftp://me:geheim@host/x", "neither with http"),
            ("rest:http://me:geheim@/x", "cannot be used"),
            ("rest:http://me:geheim@host/x?y", "query"),
            ("rest:http://me:geheim@ho st/x", "cannot be used"),
            ("rest:http+unix:///run/x:/", "Unix"),
        ] {
            let message = Location::parse(text).unwrap_err().to_string();
            assert!(message.contains(why), "{text}: {message}");
            assert!(!message.contains("geheim"), "{message}");
        }
    }
}
