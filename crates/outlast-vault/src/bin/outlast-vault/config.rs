//! The vault's configuration: `vault.toml` in its folder.
//!
//! Unknown keys and states that would be insecure are refused, never ignored.

use std::net::SocketAddr;
use std::path::PathBuf;

use outlast_vault::http::{Limits, Listen};
use serde::{Deserialize, Serialize};

use crate::exit::Failure;
use crate::units::{parse_length, parse_size};

/// The file's name in the vault's folder.
pub const FILE: &str = "vault.toml";
/// The port that vaults have unless another is chosen.
pub const PORT: u16 = 8484;
/// The version of the configuration that this program reads.
const VERSION: u32 = 1;
/// A vault is read through at least so often.
const SCRUB_SECONDS_MAX: u64 = 366 * 86_400;

/// The configuration as it is written.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Version of the format.
    pub version: u32,
    /// Host and port by which others reach the vault: what invites say.
    pub addresses: Vec<String>,
    /// Where it listens: addresses, or `unix:/path`.
    pub listen: Vec<String>,
    /// The folder of objects, ledger and log; in the vault's folder unless it is absolute.
    #[serde(default = "default_store")]
    pub store: PathBuf,
    /// Whether stored objects get the file system's immutable flag, where the vault has the right.
    #[serde(default = "yes")]
    pub immutable: bool,
    /// Whether the vault denies itself at start all files and ports that it does not need.
    #[serde(default = "yes")]
    pub landlock: bool,
    /// TLS.
    #[serde(default)]
    pub tls: TlsSettings,
    /// Bounds on what peers can make the vault do.
    #[serde(default)]
    pub limits: LimitSettings,
    /// What holds for new repositories unless said otherwise.
    #[serde(default)]
    pub repositories: RepositoryDefaults,
    /// Reading everything through.
    #[serde(default)]
    pub scrub: ScrubSettings,
    /// Numbers for Prometheus.
    #[serde(default)]
    pub metrics: MetricsSettings,
    /// What is logged.
    #[serde(default)]
    pub log: LogSettings,
}

/// TLS.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TlsSettings {
    /// The certificate chain, PEM.
    pub certificate: PathBuf,
    /// Its key, PEM.
    pub key: PathBuf,
    /// No TLS: for a proxy in front, on loopback addresses and unix sockets only.
    pub plain: bool,
    /// With `plain`: the pin of the proxy's certificate, 64 hexadecimal digits, for invites.
    pub proxy_pin: Option<String>,
}

impl Default for TlsSettings {
    fn default() -> Self {
        Self {
            certificate: "certificate.pem".into(),
            key: "private/certificate-key.pem".into(),
            plain: false,
            proxy_pin: None,
        }
    }
}

/// Bounds on what peers can make the vault do.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitSettings {
    /// Connections at once.
    pub connections: Option<u32>,
    /// Connections at once from one address. Behind a proxy: as many as `connections`.
    pub connections_of_peer: Option<u32>,
    /// Requests at work at once.
    pub threads: Option<u32>,
}

/// What holds for new repositories unless said otherwise.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RepositoryDefaults {
    /// Most that a repository may take.
    pub quota: String,
    /// How long everything is held from its admission.
    pub hold_min: String,
    /// How long a seal holds.
    pub hold: String,
    /// The longest hold that can be asked for.
    pub hold_max: String,
}

impl Default for RepositoryDefaults {
    fn default() -> Self {
        Self {
            quota: "1T".to_owned(),
            hold_min: "90d".to_owned(),
            hold: "90d".to_owned(),
            hold_max: "2y".to_owned(),
        }
    }
}

/// Reading everything through.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScrubSettings {
    /// How often.
    pub every: String,
    /// How fast at most, bytes a second; `0` for as fast as the disk is.
    pub bytes_per_second: String,
}

impl Default for ScrubSettings {
    fn default() -> Self {
        Self {
            every: "30d".to_owned(),
            bytes_per_second: "50M".to_owned(),
        }
    }
}

/// Numbers for Prometheus.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MetricsSettings {
    /// Where they are answered, a loopback address; nowhere unless set.
    pub listen: Option<SocketAddr>,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// What is logged.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogSettings {
    /// How.
    pub format: LogFormat,
    /// Whether every request gets a line.
    pub requests: bool,
}

fn yes() -> bool {
    true
}

fn default_store() -> PathBuf {
    "store".into()
}

fn refused(what: &str, why: impl std::fmt::Display) -> Failure {
    Failure::new(format!("{FILE}: {what}: {why}"))
}

/// Reads where to listen.
fn parse_listen(text: &str) -> Result<Listen, String> {
    if let Some(path) = text.strip_prefix("unix:") {
        let path = PathBuf::from(path);
        if !path.is_absolute() {
            return Err(format!("{text:?} needs an absolute path after \"unix:\""));
        }
        return Ok(Listen::Unix(path));
    }
    let address = text.parse::<SocketAddr>().map_err(|_| {
        format!(
            "{text:?} is no address: write it as 0.0.0.0:{PORT}, [::]:{PORT} or unix:/run/vault.sock"
        )
    })?;
    Ok(Listen::Tcp(address))
}

/// Checks host and port, as invites need them.
///
/// # Errors
/// A sentence for the person who wrote it.
pub fn check_address(text: &str) -> Result<(), String> {
    let wrong = || format!("{text:?} is no host and port: write it as vault.example.org:{PORT}");
    let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    port.parse::<u16>()
        .ok()
        .filter(|port| *port > 0)
        .ok_or_else(wrong)?;
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let fine = match bare {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            !host.is_empty()
                && host.len() <= 253
                && host
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
        }
    };
    fine.then_some(()).ok_or_else(wrong)
}

impl Config {
    /// The configuration of a new vault.
    pub fn new(addresses: Vec<String>, listen: Vec<String>) -> Self {
        Self {
            version: VERSION,
            addresses,
            listen,
            store: default_store(),
            immutable: true,
            landlock: true,
            tls: TlsSettings::default(),
            limits: LimitSettings::default(),
            repositories: RepositoryDefaults::default(),
            scrub: ScrubSettings::default(),
            metrics: MetricsSettings::default(),
            log: LogSettings::default(),
        }
    }

    /// Reads and checks a configuration.
    ///
    /// # Errors
    /// What is wrong with it, for the operator.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        let config: Self = toml::from_str(text)
            .map_err(|error| Failure::new(format!("{FILE}: {}", error.to_string().trim_end())))?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), Failure> {
        if self.version != VERSION {
            let why = format!("this program reads version {VERSION}");
            return Err(refused("version", why));
        }
        if self.addresses.is_empty() || self.addresses.len() > 4 {
            return Err(refused("addresses", "one to four are needed"));
        }
        for address in &self.addresses {
            check_address(address).map_err(|why| refused("addresses", why))?;
        }
        let listens = self.listens()?;
        if listens.is_empty() {
            return Err(refused("listen", "at least one address is needed"));
        }
        for listen in &listens {
            if let Listen::Tcp(address) = listen
                && self.tls.plain
                && !address.ip().to_canonical().is_loopback()
            {
                let why = format!(
                    "plain HTTP at {address} would show tokens and backups to the network; it is allowed at loopback addresses and unix sockets only"
                );
                return Err(refused("tls.plain", why));
            }
        }
        self.proxy_pin()?;
        if let Some(address) = self.metrics.listen
            && !address.ip().to_canonical().is_loopback()
        {
            let why = "metrics go over plain HTTP, so only a loopback address is allowed";
            return Err(refused("metrics.listen", why));
        }
        let limits = self.limits();
        if limits.connections == 0 || limits.connections_of_peer == 0 || limits.threads == 0 {
            return Err(refused("limits", "nothing could connect with a limit of 0"));
        }
        let length = |what: &str, text: &str| parse_length(text).map_err(|why| refused(what, why));
        let defaults = &self.repositories;
        let hold = length("repositories.hold", &defaults.hold)?;
        let hold_min = length("repositories.hold_min", &defaults.hold_min)?;
        let hold_max = length("repositories.hold_max", &defaults.hold_max)?;
        parse_size(&defaults.quota).map_err(|why| refused("repositories.quota", why))?;
        if hold > hold_max || hold_min > hold_max {
            let why = "it must not be shorter than hold and hold_min";
            return Err(refused("repositories.hold_max", why));
        }
        let every = self.scrub_seconds()?;
        if every == 0 || every > SCRUB_SECONDS_MAX {
            let why = "everything must be read through at least once a year";
            return Err(refused("scrub.every", why));
        }
        self.scrub_bytes_per_second()?;
        Ok(())
    }

    /// The pin of the proxy's certificate, if there is one.
    ///
    /// # Errors
    /// A text that is no pin.
    pub fn proxy_pin(&self) -> Result<Option<[u8; 32]>, Failure> {
        let Some(text) = &self.tls.proxy_pin else {
            return Ok(None);
        };
        let id = text.parse::<outlast_object::Id>();
        let id = id.map_err(|_| refused("tls.proxy_pin", "it is not 64 hexadecimal digits"))?;
        if !self.tls.plain {
            return Err(refused("tls.proxy_pin", "it goes with `plain = true`"));
        }
        Ok(Some(*id.as_bytes()))
    }

    /// Where the vault listens.
    ///
    /// # Errors
    /// An entry that is no address.
    pub fn listens(&self) -> Result<Vec<Listen>, Failure> {
        let listens = self.listen.iter().map(|text| parse_listen(text));
        listens
            .collect::<Result<_, _>>()
            .map_err(|why| refused("listen", why))
    }

    /// Bounds for the server.
    pub fn limits(&self) -> Limits {
        let usual = Limits::default();
        let chosen = &self.limits;
        Limits {
            connections: chosen.connections.unwrap_or(usual.connections),
            connections_of_peer: chosen
                .connections_of_peer
                .unwrap_or(usual.connections_of_peer),
            threads: chosen.threads.unwrap_or(usual.threads),
            ..usual
        }
    }

    /// How often everything is read through, seconds.
    ///
    /// # Errors
    /// A text that is no length of time.
    pub fn scrub_seconds(&self) -> Result<u64, Failure> {
        parse_length(&self.scrub.every).map_err(|why| refused("scrub.every", why))
    }

    /// How fast, bytes a second; none for no limit.
    ///
    /// # Errors
    /// A text that is no size.
    pub fn scrub_bytes_per_second(&self) -> Result<Option<u64>, Failure> {
        let bytes = parse_size(&self.scrub.bytes_per_second);
        let bytes = bytes.map_err(|why| refused("scrub.bytes_per_second", why))?;
        Ok((bytes > 0).then_some(bytes))
    }

    /// The text of a new vault's file, with a comment on each key.
    pub fn to_commented_text(&self) -> String {
        let list = |items: &[String]| {
            let quoted: Vec<_> = items.iter().map(|item| format!("{item:?}")).collect();
            quoted.join(", ")
        };
        format!(
            r#"# The configuration of an outlast vault. Keys that are not known are refused.
version = {VERSION}

# Host and port by which others reach this vault: what invites say.
addresses = [{}]

# Where it listens: "address:port" or "unix:/absolute/path".
listen = [{}]

# Objects, ledger and log. May be on a disk of its own.
store = "store"

# Set the file system's immutable flag on stored objects, where the vault has the right
# (CAP_LINUX_IMMUTABLE). `chattr -i` takes it off.
immutable = {}

# [tls]
# certificate = "certificate.pem"           # a chain of your own, if you like
# key = "private/certificate-key.pem"
# plain = false                             # true: behind a proxy on this machine;
#                                           # then proxy_pin = "…" goes into invites

# [repositories]                            # for new ones, unless said otherwise
# quota = "1T"
# hold_min = "90d"                          # everything, from its admission
# hold = "90d"                              # what a seal covers
# hold_max = "2y"

# [scrub]
# every = "30d"
# bytes_per_second = "50M"                  # 0: as fast as the disk

# [metrics]
# listen = "127.0.0.1:9484"                 # Prometheus, at /metrics

# [log]
# format = "text"                           # or "json"
# requests = false                          # a line for each request
"#,
            list(&self.addresses),
            list(&self.listen),
            self.immutable,
        )
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn text() -> String {
        Config::new(vec!["localhost:8484".into()], vec!["127.0.0.1:0".into()]).to_commented_text()
    }

    #[test]
    fn a_new_file_says_what_the_defaults_are() {
        let plain = Config::parse(&text()).unwrap();
        // The commented lines are the defaults themselves.
        let uncommented: String = text()
            .lines()
            .map(|line| match line.strip_prefix("# ") {
                Some(key) if key.starts_with('[') || key.contains(" = ") => format!("{key}\n"),
                _ => format!("{line}\n"),
            })
            .collect();
        let mut full = Config::parse(&uncommented).unwrap();
        assert_eq!(full.metrics.listen.take().unwrap().port(), 9484);
        assert_eq!(
            toml::to_string(&full).unwrap(),
            toml::to_string(&plain).unwrap()
        );
    }

    #[test]
    fn insecure_and_unknown_states_are_refused() {
        for (addition, reason) in [
            ("surprise = 1", "unknown field"),
            ("[tls]\nplainn = true", "unknown field"),
            ("[metrics]\nlisten = \"0.0.0.0:9484\"", "loopback"),
            ("[scrub]\nevery = \"0d\"", "once a year"),
            ("[scrub]\nevery = \"never\"", "length of time"),
            ("[repositories]\nhold = \"9y\"", "hold_max"),
            ("[repositories]\nquota = \"much\"", "no size"),
            ("[limits]\nthreads = 0", "limit of 0"),
        ] {
            let failure = Config::parse(&format!("{}\n{addition}\n", text())).unwrap_err();
            assert!(failure.message.contains(reason), "{}", failure.message);
        }
        let open = text().replace("127.0.0.1:0", "0.0.0.0:8484") + "[tls]\nplain = true\n";
        let failure = Config::parse(&open).unwrap_err();
        assert!(failure.message.contains("plain HTTP"), "{failure:?}");
        for (from, to) in [
            ("version = 1", "version = 2"),
            ("127.0.0.1:0", "nowhere"),
            ("127.0.0.1:0", "unix:relative"),
            ("localhost:8484", "localhost"),
            ("localhost:8484", "local host:1"),
        ] {
            assert!(Config::parse(&text().replace(from, to)).is_err(), "{to}");
        }
    }
}
