//! Where a repository behind SFTP is: `sftp:user@host:path` or `sftp://user@host:port/path`.

use std::fmt;
use std::net::Ipv6Addr;

use percent_encoding::{
    AsciiSet, CONTROLS, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode,
};
use url::Url;

use crate::StoreError;

/// A repository in a folder behind SFTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SftpLocation {
    /// The user's name, if the location has one; else ssh knows one.
    pub user: Option<String>,
    /// The host, or what ssh's configuration calls it.
    pub host: String,
    /// The port, if the location has one; else ssh knows one.
    pub port: Option<u16>,
    /// The folder; one that does not begin with a slash is below the user's home.
    pub path: String,
}

impl SftpLocation {
    /// Understands what follows `sftp:`.
    ///
    /// # Errors
    /// [`StoreError::Location`]; the message holds nothing that could be a password.
    pub(crate) fn parse(text: &str) -> Result<Self, StoreError> {
        let location = match text.strip_prefix("//") {
            Some(_) => Self::parse_url(text)?,
            None => Self::parse_short(text)?,
        };
        let refuse = |why: &str| Err(refused(why));
        // ssh must not take a name for an option, nor two names for one.
        let is_name = |text: &str| {
            let plain = |c: char| !c.is_whitespace() && !c.is_control();
            !text.is_empty() && !text.starts_with('-') && text.chars().all(plain)
        };
        let host = &location.host;
        let is_plain = !host.contains(HOST_FORBIDDEN);
        let is_address = !host.contains(':') || host.parse::<Ipv6Addr>().is_ok();
        if !is_name(host) || !is_plain || !is_address {
            return refuse("it names no host");
        }
        let is_user = |user: &str| is_name(user) && !user.contains('/');
        if location.user.as_deref().is_some_and(|user| !is_user(user)) {
            return refuse("it names no user");
        }
        if location.path.contains('\0') {
            return refuse("its path contains a NUL character");
        }
        if location.path.starts_with('~') {
            return refuse("servers do not know \"~\"; a path without a slash is below the home");
        }
        Ok(location)
    }

    /// As in `user@host:path`.
    fn parse_short(text: &str) -> Result<Self, StoreError> {
        let parts = text.split_once(':').filter(|(_, path)| !path.is_empty());
        let Some((host, path)) = parts else {
            return Err(refused(NO_PATH));
        };
        // Somebody may think of `user:password@host:path`.
        let path = cleaned(path);
        let first = path.split('/').next().unwrap_or_default();
        if !host.contains('@') && first.contains('@') {
            return Err(refused(NO_PASSWORDS));
        }
        let (user, host) = match host.rsplit_once('@') {
            Some((user, host)) => (Some(user.to_owned()), host),
            None => (None, host),
        };
        Ok(Self {
            user,
            host: host.to_owned(),
            port: None,
            path,
        })
    }

    /// As in `//user@host:port/path`: one slash ends the host, a second one begins an absolute path.
    fn parse_url(text: &str) -> Result<Self, StoreError> {
        // The parser's messages do not quote the address.
        let url =
            Url::parse(&format!("sftp:{text}")).map_err(|error| refused(&error.to_string()))?;
        if url.password().is_some() {
            return Err(refused(NO_PASSWORDS));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(refused(
                "it has a query or a fragment; write them as %3F or %23",
            ));
        }
        let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let host = url.host_str().unwrap_or_default();
        let path = decode(url.path());
        let path = path.strip_prefix('/').unwrap_or_default();
        let cleaned = cleaned(path);
        // In a URL that would lead nowhere else.
        if path.is_empty() || cleaned == "." || cleaned.starts_with("..") {
            return Err(refused(NO_PATH));
        }
        Ok(Self {
            user: (!url.username().is_empty()).then(|| decode(url.username())),
            host: host.trim_matches(['[', ']']).to_owned(),
            port: url.port(),
            path: cleaned,
        })
    }
}

/// What no host's name has, nor any name for one in ssh's configuration that is worth it.
const HOST_FORBIDDEN: [char; 12] = ['#', '%', '/', '<', '>', '?', '@', '[', '\\', ']', '^', '|'];

const NO_PATH: &str = "no path follows the host";
const NO_PASSWORDS: &str =
    "it holds a password, which ssh does not take; use a key, or let ssh ask";

/// The path without detours, as restic takes it: one slash at a time, none at the end, no `.` and no `..`
/// but at the beginning.
fn cleaned(path: &str) -> String {
    let is_absolute = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match (part, parts.last()) {
            ("" | ".", _) => {}
            ("..", None) if is_absolute => {}
            ("..", None | Some(&"..")) => parts.push(part),
            ("..", Some(_)) => {
                parts.pop();
            }
            _ => parts.push(part),
        }
    }
    let path = parts.join("/");
    match (is_absolute, path.as_str()) {
        (true, _) => format!("/{path}"),
        (false, "") => ".".to_owned(),
        _ => path,
    }
}

fn refused(why: &str) -> StoreError {
    StoreError::Location(format!(
        "the address after \"sftp:\" cannot be used: {why}; expected USER@HOST:PATH or \
         //USER@HOST:PORT/PATH"
    ))
}

/// What stands for itself in the user's name of a URL.
const USER_ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_');
/// What does not in its path.
const PATH_ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b'%').add(b'?').add(b'#');

impl fmt::Display for SftpLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (host, path) = (&self.host, &self.path);
        let at = if self.user.is_some() { "@" } else { "" };
        let user = self.user.as_deref().unwrap_or_default();
        let first = path.split('/').next().unwrap_or_default();
        let is_short = self.port.is_none()
            && !host.contains(':')
            && !user.contains(':')
            && (self.user.is_some() || !first.contains('@'));
        if is_short {
            return write!(f, "sftp:{user}{at}{host}:{path}");
        }
        let user = utf8_percent_encode(user, USER_ENCODED);
        let path = utf8_percent_encode(path, PATH_ENCODED);
        let host = match host.contains(':') {
            true => format!("[{host}]"),
            false => host.clone(),
        };
        let port: String = self.port.iter().map(|port| format!(":{port}")).collect();
        write!(f, "sftp://{user}{at}{host}{port}/{path}")
    }
}

#[cfg(test)]
mod tests {
    use crate::Location;

    #[test]
    fn both_forms_as_restic_takes_them() {
        for (text, user, host, port, path, shown) in [
            (
                "sftp:me@host:/srv/r",
                Some("me"),
                "host",
                None,
                "/srv/r",
                "sftp:me@host:/srv/r",
            ),
            ("sftp:host:r/", None, "host", None, "r", "sftp:host:r"),
            (
                "sftp:me@corp@host:r",
                Some("me@corp"),
                "host",
                None,
                "r",
                "sftp:me@corp@host:r",
            ),
            ("sftp:host:/", None, "host", None, "/", "sftp:host:/"),
            (
                "sftp:host:/a:b@c",
                None,
                "host",
                None,
                "/a:b@c",
                "sftp:host:/a:b@c",
            ),
            (
                "sftp://me@host//srv/r",
                Some("me"),
                "host",
                None,
                "/srv/r",
                "sftp:me@host:/srv/r",
            ),
            (
                "sftp://host:22/r",
                None,
                "host",
                Some(22),
                "r",
                "sftp://host:22/r",
            ),
            (
                "sftp:host:../a//b/./../c/",
                None,
                "host",
                None,
                "../a/c",
                "sftp:host:../a/c",
            ),
            ("sftp:host:/../a/..", None, "host", None, "/", "sftp:host:/"),
            (
                "sftp://me@[::1]:2222//srv/a%23b",
                Some("me"),
                "::1",
                Some(2222),
                "/srv/a#b",
                "sftp://me@[::1]:2222//srv/a%23b",
            ),
        ] {
            let Location::Sftp(location) = Location::parse(text).unwrap() else {
                panic!("{text} is no SFTP location");
            };
            assert_eq!(location.user.as_deref(), user, "{text}");
            assert_eq!(location.host, host, "{text}");
            assert_eq!(location.port, port, "{text}");
            assert_eq!(location.path, path, "{text}");
            assert_eq!(location.to_string(), shown, "{text}");
            let again = Location::parse(shown).unwrap();
            assert_eq!(again, Location::Sftp(location), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_used_is_refused_without_showing_passwords() {
        for (text, why) in [
            ("sftp:", "no path"),
            ("sftp:host", "no path"),
            ("sftp:host:", "no path"),
            ("sftp::/x", "no host"),
            ("sftp:me@:/x", "no host"),
            ("sftp:@host:/x", "no user"),
            ("sftp:-oProxyCommand=x:/x", "no host"),
            ("sftp:-x@host:/x", "no user"),
            ("sftp:me@-x:/x", "no host"),
            ("sftp:ho st:/x", "no host"),
            ("sftp:[::1]:/x", "no host"),
            ("sftp:me:geheim@host:/x", "password"),
            ("sftp:me:./geheim@host:/x", "password"),
            ("sftp://me:geheim@host/x", "password"),
            ("sftp:host:~/x", "home"),
            ("sftp:///x", "no host"),
            ("sftp://host/", "no path"),
            ("sftp://host", "no path"),
            ("sftp://host/x?y", "query"),
            ("sftp://a%3Ab/x", "no host"),
            ("sftp:ho<st:x", "no host"),
            ("sftp:/a/b@host:x", "no user"),
            ("sftp://host:22/..%2Fx", "no path"),
            ("sftp://host/a%00b", "NUL"),
            ("sftp://host:geheim/x", "cannot be used"),
            ("sftp://%2Dx/y", "no host"),
        ] {
            let message = Location::parse(text).unwrap_err().to_string();
            assert!(message.contains(why), "{text}: {message}");
            assert!(!message.contains("geheim"), "{message}");
        }
    }
}
