//! The configuration of `protect`: a TOML file in the user's configuration folder.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use outlast_custody::PolicyText;
use serde::{Deserialize, Serialize};

/// Larger files are no configuration.
pub const CONFIG_BYTES_MAX: u64 = 1024 * 1024;

/// What `protect` remembers. Unknown keys are refused: a misspelt one must not be silently without
/// effect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Configuration {
    /// The repository's location, as for `--repo`.
    pub repository: String,
    /// The file with the repository's password, readable by its owner only.
    pub password_file: PathBuf,
    /// What is protected; absolute paths.
    #[serde(default)]
    pub paths: Vec<PathBuf>,
    /// Patterns that are left out.
    #[serde(default)]
    pub exclude: Vec<String>,
    /// Names of the custodians that take backups; all that can, if there is no list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub custodians: Option<Vec<String>>,
    /// Most bytes that are kept on this machine for custodians that were away.
    #[serde(default = "spool_bytes_max")]
    pub spool_bytes_max: u64,
    /// When a backup is safe; two parties must vouch for it, if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub custody: Option<PolicyText>,
}

/// Bytes of the spool unless set otherwise.
const SPOOL_BYTES_MAX: u64 = 16 * 1024 * 1024 * 1024;

fn spool_bytes_max() -> u64 {
    SPOOL_BYTES_MAX
}

impl Configuration {
    /// A configuration that names the repository and its password, and nothing else.
    pub fn new(repository: String, password_file: PathBuf) -> Self {
        Self {
            repository,
            password_file,
            paths: Vec::new(),
            exclude: Vec::new(),
            custodians: None,
            spool_bytes_max: SPOOL_BYTES_MAX,
            custody: None,
        }
    }
}

/// The configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigurationError {
    /// The file cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The file is not a valid configuration.
    #[error("{} is not valid: {reason}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong, with the line.
        reason: String,
    },
    /// A secret that others can read.
    #[error("{} can be read by others (mode {mode:o}); make it yours alone with: chmod 600 {}", path.display(), path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// No place for the files is known.
    #[error("neither HOME nor XDG_CONFIG_HOME and XDG_DATA_HOME say where your files are")]
    NoHome,
}

/// Where `protect` keeps its files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// The configuration.
    pub config_file: PathBuf,
    /// The password of the repository it makes.
    pub password_file: PathBuf,
    /// The repository it makes.
    pub repository: PathBuf,
    /// The folder of custodians.
    pub custodians: PathBuf,
    /// The folder of receipts.
    pub receipts: PathBuf,
    /// The folder in which the snapshots of each data set are remembered.
    pub data_sets: PathBuf,
    /// The folder of objects that custodians did not take in time.
    pub spool: PathBuf,
}

impl Places {
    /// The places by the XDG Base Directory Specification.
    pub fn of_user() -> Result<Self, ConfigurationError> {
        let absolute = |name| {
            std::env::var_os(name)
                .map(PathBuf::from)
                .filter(|path| path.is_absolute())
        };
        let home = absolute("HOME");
        let below_home = |folder: &str| home.as_ref().map(|home| home.join(folder));
        let config = absolute("XDG_CONFIG_HOME").or_else(|| below_home(".config"));
        let data = absolute("XDG_DATA_HOME").or_else(|| below_home(".local/share"));
        let (Some(config), Some(data)) = (config, data) else {
            return Err(ConfigurationError::NoHome);
        };
        Ok(Self {
            config_file: config.join("outlast/outlast.toml"),
            password_file: config.join("outlast/repository.key"),
            repository: data.join("outlast/repository"),
            custodians: config.join("outlast/custodians"),
            receipts: data.join("outlast/receipts"),
            data_sets: data.join("outlast/data-sets"),
            spool: data.join("outlast/spool"),
        })
    }
}

impl Configuration {
    /// Reads a configuration; `None` if there is none yet.
    pub fn read(path: &Path) -> Result<Option<Self>, ConfigurationError> {
        let failed = |source| ConfigurationError::Io {
            path: path.to_owned(),
            source,
        };
        let file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            result => result.map_err(failed)?,
        };
        let mut text = String::new();
        file.take(CONFIG_BYTES_MAX)
            .read_to_string(&mut text)
            .map_err(failed)?;
        let parsed = toml::from_str(&text);
        let invalid = |error: toml::de::Error| ConfigurationError::Invalid {
            path: path.to_owned(),
            reason: error.to_string().trim_end().to_owned(),
        };
        parsed.map(Some).map_err(invalid)
    }

    /// Writes the configuration; the old one stays until the new one is durable.
    pub fn write(&self, path: &Path) -> Result<(), ConfigurationError> {
        let failed = |source| ConfigurationError::Io {
            path: path.to_owned(),
            source,
        };
        let text = toml::to_string_pretty(self).map_err(|error| ConfigurationError::Invalid {
            path: path.to_owned(),
            reason: error.to_string(),
        })?;
        let comment = "# Made by `outlast protect`. Unknown keys are refused.\n";
        write_durably(path, format!("{comment}{text}").as_bytes(), 0o600).map_err(failed)
    }
}

/// Writes a file so that after a crash there is the old one or the new one, whole. Folders are made
/// for the owner alone.
pub fn write_durably(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let existed = folder.exists();
    fs::create_dir_all(folder)?;
    if !existed {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o700))?;
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = folder.join(format!(".{name}.{}.new", std::process::id()));
    // Left behind by a crash of a process that had this number.
    let _ = fs::remove_file(&temporary);
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&temporary)
        .and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        });
    // A crash here leaves the temporary file, which nobody reads.
    let renamed = written.and_then(|()| fs::rename(&temporary, path));
    if renamed.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    renamed?;
    File::open(folder)?.sync_all()
}

/// The beginning of a file, up to `bytes_max`; none if there is no file.
///
/// # Errors
/// Those of the file system.
pub(crate) fn read_at_most(path: &Path, bytes_max: u64) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        result => result?,
    };
    let mut bytes = Vec::new();
    file.take(bytes_max).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

/// Reads a password file that only its owner may be able to read. One line break at the end is not
/// part of the password.
pub(crate) fn read_secret(
    path: &Path,
) -> Result<Option<zeroize::Zeroizing<Vec<u8>>>, ConfigurationError> {
    let failed = |source| ConfigurationError::Io {
        path: path.to_owned(),
        source,
    };
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        result => result.map_err(failed)?,
    };
    let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(ConfigurationError::Exposed {
            path: path.to_owned(),
            mode,
        });
    }
    let mut secret = zeroize::Zeroizing::new(Vec::with_capacity(256));
    file.take(CONFIG_BYTES_MAX)
        .read_to_end(&mut secret)
        .map_err(failed)?;
    while matches!(secret.last(), Some(b'\n' | b'\r')) {
        secret.pop();
    }
    if secret.is_empty() {
        let reason = "it holds no password".to_owned();
        return Err(ConfigurationError::Invalid {
            path: path.to_owned(),
            reason,
        });
    }
    Ok(Some(secret))
}
