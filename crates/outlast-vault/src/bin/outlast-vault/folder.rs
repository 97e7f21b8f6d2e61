//! The vault's folder: configuration, keys, and who may touch them.
//!
//! ```text
//! vault.toml                     configuration
//! certificate.pem                TLS certificate
//! private/identity               signing key
//! private/certificate-key.pem    TLS key
//! store/                         objects, ledger, log
//! index.redb                     can be removed: it is made again from the log
//! lock, control.sock             the one process that has the vault open
//! ```

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use outlast_log::{KeyKind, SigningKey};
use outlast_vault::disk::{Disk, RealDisk};
use outlast_vault::http::{Tls, pin_of_pem, self_signed};
use outlast_vault::{Entropy, FsckProgress, FsckReport, Index, Vault, VaultError, fsck};

use crate::config::{self, Config};
use crate::exit::{self, Failure};
use crate::world::{SystemClock, SystemEntropy};

/// Longest file of the configuration that is read, in bytes.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// Bits of a mode that let others than the owner in.
const OTHERS: u32 = 0o077;

/// The folder of a vault that exists.
#[derive(Debug, Clone)]
pub struct Folder {
    path: PathBuf,
    /// Its configuration.
    pub config: Config,
}

/// The right to open the vault; only one process has it at a time.
#[derive(Debug)]
pub struct Exclusive {
    _lock: File,
}

fn failed(what: &str, path: &Path, error: &io::Error) -> Failure {
    Failure::new(format!("cannot {what} {}: {error}", path.display()))
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let fail = |error| failed("read", path, &error);
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(fail)?;
    file.take(FILE_BYTES_MAX)
        .read_to_end(&mut bytes)
        .map_err(fail)?;
    Ok(bytes)
}

/// Writes a new file, durably; an existing one is never replaced.
fn write_new(path: &Path, mode: u32, bytes: &[u8]) -> Result<(), Failure> {
    let fail = |error| failed("write", path, &error);
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .map_err(fail)?;
    file.write_all(bytes).map_err(fail)?;
    file.sync_all().map_err(fail)
}

fn make_directory(path: &Path) -> Result<(), Failure> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|error| failed("make", path, &error))
}

impl Folder {
    /// Makes a new vault in a folder that is empty or does not exist.
    ///
    /// # Errors
    /// If anything is there already; those of the system.
    pub fn create(path: &Path, name: &str, config: &Config) -> Result<Self, Failure> {
        let there = fs::read_dir(path).map(|mut names| names.next().is_some());
        if there.unwrap_or(false) {
            let message = format!("{} is not empty", path.display());
            return Err(Failure::new(message).hint("choose another folder with --vault"));
        }
        let mut seed = [0; 32];
        SystemEntropy
            .fill(&mut seed)
            .map_err(|error| failed("get randomness for", path, &error))?;
        let key = SigningKey::from_seed(name, KeyKind::Note, &seed).map_err(|error| {
            Failure::new(format!(
                "{name:?} cannot be the name of an identity: {error}"
            ))
        })?;
        // The certificate has the names by which the vault is reached, for clients that check names
        // as stock restic does.
        let mut names: Vec<String> = config
            .addresses
            .iter()
            .filter_map(|address| address.rsplit_once(':'))
            .map(|(host, _)| host.trim_matches(['[', ']']).to_owned())
            .collect();
        for local in ["localhost", "127.0.0.1", "::1"] {
            if !names.iter().any(|name| name == local) {
                names.push(local.to_owned());
            }
        }
        let certificate = self_signed(&names)
            .map_err(|error| Failure::new(format!("cannot make a certificate: {error}")))?;

        make_directory(path)?;
        make_directory(&path.join("private"))?;
        write_new(
            &path.join("private/identity"),
            0o600,
            format!("{}\n", key.to_secret_text()).as_bytes(),
        )?;
        write_new(
            &path.join(&config.tls.key),
            0o600,
            certificate.key_pem.as_bytes(),
        )?;
        write_new(
            &path.join(&config.tls.certificate),
            0o644,
            certificate.certificate_pem.as_bytes(),
        )?;
        // The configuration comes last: without it there is no vault, and init can be repeated
        // once the rest is removed.
        write_new(
            &path.join(config::FILE),
            0o600,
            config.to_commented_text().as_bytes(),
        )?;
        for folder in [path.join("private"), path.to_owned()] {
            let synced = File::open(&folder).and_then(|file| file.sync_all());
            synced.map_err(|error| failed("sync", &folder, &error))?;
        }
        Self::open(path)
    }

    /// The vault in this folder.
    ///
    /// # Errors
    /// If there is none, or its files are open to others.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        let file = path.join(config::FILE);
        let bytes = match fs::symlink_metadata(&file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(
                    Failure::new(format!("there is no vault in {}", path.display()))
                        .code(exit::NO_VAULT)
                        .hint(
                            "make one with `outlast-vault init`, or name its folder with --vault",
                        ),
                );
            }
            _ => read(&file)?,
        };
        let text = String::from_utf8(bytes)
            .map_err(|_| Failure::new(format!("{} is not UTF-8", file.display())))?;
        let config = Config::parse(&text)?;
        let path = fs::canonicalize(path).map_err(|error| failed("find", path, &error))?;
        let folder = Self { path, config };
        folder.check_private()?;
        Ok(folder)
    }

    /// Refuses what others could read or change.
    fn check_private(&self) -> Result<(), Failure> {
        let secret = ["private/identity".into(), self.config.tls.key.clone()];
        let owner = self.metadata(Path::new(""))?.uid();
        for (path, forbidden) in [
            (PathBuf::new(), 0o022),
            (PathBuf::from(config::FILE), 0o022),
            (PathBuf::from("private"), OTHERS),
        ]
        .into_iter()
        .chain(secret.map(|path| (path, OTHERS)))
        {
            let mode = self.metadata(&path)?.mode();
            if mode & forbidden != 0 {
                let path = self.path.join(path);
                let message = format!(
                    "{} is open to others than its owner (mode {:o})",
                    path.display(),
                    mode & 0o777
                );
                return Err(
                    Failure::new(message).hint(format!("`chmod go-rwx {}`", path.display()))
                );
            }
        }
        let us = rustix::process::geteuid().as_raw();
        if us != owner {
            let message = format!(
                "{} belongs to the user with number {owner}, and this runs as {us}",
                self.path.display()
            );
            return Err(Failure::new(message)
                .hint("run it as that user, for example with `sudo -u outlast-vault`"));
        }
        Ok(())
    }

    fn metadata(&self, path: &Path) -> Result<fs::Metadata, Failure> {
        let path = self.path.join(path);
        fs::metadata(&path).map_err(|error| failed("look at", &path, &error))
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where objects, ledger and log are.
    pub fn store(&self) -> PathBuf {
        self.path.join(&self.config.store)
    }

    /// The index, which can be made again.
    pub fn index(&self) -> PathBuf {
        self.path.join("index.redb")
    }

    /// The socket of the process that serves.
    pub fn socket(&self) -> PathBuf {
        self.path.join("control.sock")
    }

    /// Takes the right to open the vault, if nobody has it.
    ///
    /// # Errors
    /// Those of the system.
    pub fn try_exclusive(&self) -> Result<Option<Exclusive>, Failure> {
        let path = self.path.join("lock");
        let mut options = OpenOptions::new();
        let file = options
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(|error| failed("open", &path, &error))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Exclusive { _lock: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(failed("lock", &path, &error)),
        }
    }

    /// The signing key.
    ///
    /// # Errors
    /// If it cannot be read or is none.
    pub fn key(&self) -> Result<SigningKey, Failure> {
        let path = self.path.join("private/identity");
        let text = String::from_utf8(read(&path)?).unwrap_or_default();
        text.trim()
            .parse()
            .map_err(|error| Failure::new(format!("{} is no signing key: {error}", path.display())))
    }

    /// What is needed to speak TLS; none for plain HTTP.
    ///
    /// # Errors
    /// If certificate and key cannot be read or do not fit.
    pub fn tls(&self) -> Result<Option<Tls>, Failure> {
        if self.config.tls.plain {
            return Ok(None);
        }
        let chain = read(&self.path.join(&self.config.tls.certificate))?;
        let key = read(&self.path.join(&self.config.tls.key))?;
        let tls = Tls::from_pem(&chain, &key).map_err(|error| Failure::new(error.to_string()))?;
        Ok(Some(tls))
    }

    /// The pin of the certificate that clients meet, which invites carry; none without TLS.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn pin(&self) -> Result<Option<[u8; 32]>, Failure> {
        if self.config.tls.plain {
            return self.config.proxy_pin();
        }
        let chain = read(&self.path.join(&self.config.tls.certificate))?;
        let pin = pin_of_pem(&chain).map_err(|error| Failure::new(error.to_string()))?;
        Ok(Some(pin))
    }

    /// The disk of objects, ledger and log.
    ///
    /// # Errors
    /// Those of the system.
    pub fn disk(&self, _exclusive: &Exclusive) -> Result<Arc<dyn Disk>, Failure> {
        let store = self.store();
        make_directory(&store)?;
        let disk = RealDisk::open(&store).map_err(|error| failed("open", &store, &error))?;
        disk.remove_leftovers()
            .map_err(|error| failed("clear", &store, &error))?;
        Ok(Arc::new(disk))
    }

    /// Checks the vault. If its ledger is sound, its index is made anew on the way.
    ///
    /// # Errors
    /// Those of the system.
    pub fn fsck(
        &self,
        exclusive: &Exclusive,
        reads_data: bool,
        progress: FsckProgress<'_>,
    ) -> Result<FsckReport, Failure> {
        let disk = self.disk(exclusive)?;
        let new = self.path.join("index.redb.new");
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed("remove", &new, &error));
            }
            _ => {}
        }
        // What the index that is there has seen must still be in the ledger.
        let known = match fs::symlink_metadata(self.index()) {
            Ok(_) => Index::open(&self.index()).and_then(|index| index.applied()),
            Err(_) => Ok(outlast_vault::Applied::default()),
        };
        let known = known.map_or(0, |applied| applied.entries);
        let index = Arc::new(Index::open(&new)?);
        let report = fsck(&disk, &index, self.key()?, known, reads_data, progress)?;
        drop(index);
        if report.is_ledger_sound() {
            let path = self.index();
            fs::rename(&new, &path).map_err(|error| failed("replace", &path, &error))?;
        } else {
            // What is there may be of use to whoever repairs it.
            let _ = fs::remove_file(&new);
        }
        Ok(report)
    }

    /// Opens the vault. An index that does not fit the log is made again.
    ///
    /// # Errors
    /// Those of the vault.
    pub fn vault(&self, exclusive: &Exclusive) -> Result<Vault, Failure> {
        let disk = self.disk(exclusive)?;
        let open = |index: Index| {
            Vault::open(
                Arc::clone(&disk),
                Arc::new(index),
                self.key().map_err(Opening::Failure)?,
                Arc::new(SystemClock),
                Arc::new(SystemEntropy),
            )
            .map_err(Opening::Vault)
        };
        let path = self.index();
        let first = Index::open(&path).map_err(Opening::Vault).and_then(open);
        let vault = match first {
            Err(Opening::Vault(VaultError::Index(reason))) => {
                tracing::warn!(reason, "the index is made again from the log");
                match fs::remove_file(&path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => {
                        return Err(failed("remove", &path, &error));
                    }
                    _ => {}
                }
                Index::open(&path).map_err(Opening::Vault).and_then(open)
            }
            other => other,
        };
        let vault = vault.map_err(|error| match error {
            Opening::Failure(failure) => failure,
            Opening::Vault(error) => Failure::new(error.to_string())
                .hint("`outlast-vault fsck` says what is wrong in detail"),
        })?;
        Ok(if self.config.immutable {
            vault.with_immutable_objects()
        } else {
            vault
        })
    }
}

enum Opening {
    Failure(Failure),
    Vault(VaultError),
}
