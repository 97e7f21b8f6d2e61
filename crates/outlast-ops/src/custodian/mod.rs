//! Custodians: those who keep copies, and how each is reached.
//!
//! Each is a file of its own in the configuration folder, for its owner alone: `NAME.invite` with the
//! invite of a vault as it was given, or `NAME.toml` with what is known of a disk, a directory or a
//! bucket. `vault:NAME`, `disk:NAME` and so on are the locations of their repositories.

mod bucket;
mod folder;
mod place;

pub use bucket::{
    BucketCustodian, BucketKeys, BucketLookup, BucketUse, RETENTION_DAYS as BUCKET_RETENTION_DAYS,
};
pub use folder::{FolderCustodian, RemoteFolder};
pub use place::{
    Meeting, Place, admission_facts, find_place, is_custodian_location, meet, parse_horizon,
    place_of_custodian,
};

use folder::Described;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use outlast_custody::Scope;
use outlast_store::{ConnectOptions, RestOptions, StoreError};
use outlast_wire::{Invite, InviteError, VaultClient, WireError};

use crate::config::{ConfigurationError, Places, read_secret, write_durably};

/// How locations of vaults begin.
const VAULT: &str = "vault:";
/// How those of removable disks do.
const DISK: &str = "disk:";
/// How those of directories do.
const DIRECTORY: &str = "directory:";
/// How those of buckets do.
const BUCKET: &str = "bucket:";
/// How names end by which a custodian is meant as a place to read from.
const READER: &str = "-restore";
/// How the files of vaults are called.
const INVITE: &str = "invite";
/// How the files of others are called.
const DESCRIPTION: &str = "toml";
/// Longest name.
const NAME_BYTES_MAX: usize = 64;

/// What goes wrong with custodians.
#[derive(Debug, thiserror::Error)]
pub enum CustodianError {
    /// A file.
    #[error(transparent)]
    Configuration(#[from] ConfigurationError),
    /// The line is no invite.
    #[error(transparent)]
    Invite(#[from] InviteError),
    /// There is no custodian of that name.
    #[error("there is no custodian {0:?}; `outlast custodian list` shows them")]
    Unknown(String),
    /// A name that cannot be one.
    #[error("{0:?} is no name for a custodian: use 1 to 64 of a-z, 0-9, '.', '_' and '-'")]
    Name(String),
    /// It signs nothing and has no log.
    #[error("{0} is no vault")]
    NoVault(String),
    /// A disk that is not there now.
    #[error("the disk {name} is not attached; it was last seen at {}", path.display())]
    DiskAway {
        /// The custodian.
        name: String,
        /// Where it was.
        path: PathBuf,
    },
    /// A folder that cannot become a custodian.
    #[error("{}: {reason}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// Somebody else has the name.
    #[error("there is another custodian {0:?}; choose a name with --name")]
    Taken(String),
    /// The custody policy of the configuration.
    #[error("the custody policy: {0}")]
    Policy(outlast_custody::PolicyError),
    /// Only vaults show the past.
    #[error("--as-of is for the repositories of custodians, as -r vault:NAME")]
    AsOf,
    /// A time that is none.
    #[error(
        "{0:?} is no moment: write 2026-11-01, 2026-11-01T08:00:00Z, or a position in the vault's log"
    )]
    Moment(String),
    /// The address cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The vault.
    #[error(transparent)]
    Wire(#[from] WireError),
}

/// A custodian, under the name by which it is known here.
#[derive(Debug, Clone)]
pub struct Custodian {
    /// The name.
    pub name: String,
    /// What it is, and how it is reached.
    pub kind: CustodianKind,
}

/// What a custodian is.
#[derive(Debug, Clone)]
pub enum CustodianKind {
    /// A vault, which signs: what is needed to reach it and to verify what it says.
    Vault(Box<Invite>),
    /// A disk or a directory, which cannot sign.
    Folder(FolderCustodian),
    /// A bucket, which cannot either.
    Bucket(Box<BucketCustodian>),
}

/// What became of an invite.
#[derive(Debug, Clone)]
pub struct AddedCustodian {
    /// The custodian.
    pub custodian: Custodian,
    /// An older token for the same repository was replaced.
    pub replaced: bool,
}

/// The custodians of a user.
#[derive(Debug, Clone)]
pub struct Custodians {
    folder: PathBuf,
}

fn is_name(text: &str) -> bool {
    let plain =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
    (1..=NAME_BYTES_MAX).contains(&text.len())
        && !text.starts_with(['.', '-'])
        && text.bytes().all(plain)
}

/// A name made of what an identity calls itself.
fn usual_name(invite: &Invite) -> String {
    let fit = |character: char| match character.to_ascii_lowercase() {
        fine @ ('a'..='z' | '0'..='9' | '.' | '_' | '-') => fine,
        _ => '-',
    };
    let name: String = invite.identity.name().chars().map(fit).take(40).collect();
    let name = name.trim_start_matches(['.', '-']).to_owned();
    let name = if name.is_empty() {
        "vault".to_owned()
    } else {
        name
    };
    if invite.scopes.contains(&Scope::Append) {
        name
    } else {
        format!("{name}-restore")
    }
}

impl Custodians {
    /// Those of the user.
    pub fn of(places: &Places) -> Self {
        Self {
            folder: places.custodians.clone(),
        }
    }

    fn path(&self, name: &str, extension: &str) -> PathBuf {
        self.folder.join(format!("{name}.{extension}"))
    }

    /// All custodians, by name.
    ///
    /// # Errors
    /// If a file cannot be read, can be read by others, or holds no invite.
    pub fn list(&self) -> Result<Vec<Custodian>, CustodianError> {
        let failed = |source| ConfigurationError::Io {
            path: self.folder.clone(),
            source,
        };
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            result => result.map_err(failed)?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let path = entry.map_err(failed)?.path();
            let stem = path.file_stem().and_then(|stem| stem.to_str());
            if path
                .extension()
                .is_some_and(|extension| extension == INVITE || extension == DESCRIPTION)
                && let Some(name) = stem.filter(|name| is_name(name))
            {
                names.push(name.to_owned());
            }
        }
        names.sort();
        names.iter().map(|name| self.find(name)).collect()
    }

    /// The custodian of this name.
    ///
    /// # Errors
    /// [`CustodianError::Unknown`]; those of the file.
    pub fn find(&self, name: &str) -> Result<Custodian, CustodianError> {
        if !is_name(name) {
            return Err(CustodianError::Name(name.to_owned()));
        }
        let path = self.path(name, INVITE);
        let Some(text) = read_secret(&path)? else {
            return self.find_described(name);
        };
        let text = String::from_utf8_lossy(&text);
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let invite = lines
            .collect::<String>()
            .parse()
            .map_err(|error: InviteError| ConfigurationError::Invalid {
                path,
                reason: error.to_string(),
            })?;
        let kind = CustodianKind::Vault(Box::new(invite));
        let name = name.to_owned();
        Ok(Custodian { name, kind })
    }

    fn find_described(&self, name: &str) -> Result<Custodian, CustodianError> {
        let path = self.path(name, DESCRIPTION);
        let Some(text) = read_secret(&path)? else {
            return self.find_reader(name);
        };
        let text = String::from_utf8_lossy(&text);
        let described = toml::from_str(&text).map_err(|error| ConfigurationError::Invalid {
            path,
            reason: error.to_string().trim_end().to_owned(),
        })?;
        let kind = match described {
            Described::Disk(folder) => CustodianKind::Folder(FolderCustodian {
                is_removable: true,
                ..folder
            }),
            Described::Directory(folder) => CustodianKind::Folder(folder),
            Described::Bucket(bucket) => CustodianKind::Bucket(bucket),
        };
        let name = name.to_owned();
        Ok(Custodian { name, kind })
    }

    /// The bucket that is meant as a place to read from, with keys that do nothing else.
    fn find_reader(&self, name: &str) -> Result<Custodian, CustodianError> {
        let unknown = || CustodianError::Unknown(name.to_owned());
        let of = name.strip_suffix(READER).ok_or_else(unknown)?;
        if !self.path(of, DESCRIPTION).exists() {
            return Err(unknown());
        }
        self.find(of)?.reader().ok_or_else(unknown)
    }

    /// Keeps an invite under this name, or one that suits it. A new token for the same repository of
    /// the same custodian replaces the old one.
    ///
    /// # Errors
    /// [`CustodianError::Taken`]; those of the file.
    pub fn add(
        &self,
        invite: Invite,
        name: Option<&str>,
    ) -> Result<AddedCustodian, CustodianError> {
        let is_same = |other: &Custodian| {
            other.invite().is_some_and(|other| {
                other.identity == invite.identity
                    && other.repository == invite.repository
                    && other.scopes.contains(&Scope::Append)
                        == invite.scopes.contains(&Scope::Append)
            })
        };
        let usual = usual_name(&invite);
        let candidates = match name {
            Some(name) => vec![name.to_owned()],
            None => vec![usual.clone(), format!("{usual}-{}", invite.repository)],
        };
        for name in &candidates {
            let replaced = match self.find(name) {
                Err(CustodianError::Unknown(_)) => false,
                Err(error) => return Err(error),
                Ok(other) if is_same(&other) => true,
                Ok(_) => continue,
            };
            let custodian = Custodian {
                name: name.clone(),
                kind: CustodianKind::Vault(Box::new(invite)),
            };
            self.write(&custodian)?;
            return Ok(AddedCustodian {
                custodian,
                replaced,
            });
        }
        Err(CustodianError::Taken(candidates[0].clone()))
    }

    /// Adds a disk or a directory under a name.
    ///
    /// # Errors
    /// [`CustodianError::Name`], [`CustodianError::Taken`]; those of the file.
    pub fn add_folder(
        &self,
        name: &str,
        folder: FolderCustodian,
    ) -> Result<Custodian, CustodianError> {
        match self.find(name) {
            Err(CustodianError::Unknown(_)) => {}
            Err(error) => return Err(error),
            Ok(other) if other.folder().is_some_and(|other| other.id == folder.id) => {}
            Ok(_) => return Err(CustodianError::Taken(name.to_owned())),
        }
        let custodian = Custodian {
            name: name.to_owned(),
            kind: CustodianKind::Folder(folder),
        };
        self.write(&custodian)?;
        Ok(custodian)
    }

    /// Adds a bucket under a name. The same bucket again replaces what was said of it.
    ///
    /// # Errors
    /// [`CustodianError::Name`], [`CustodianError::Taken`]; those of the file.
    pub fn add_bucket(
        &self,
        name: &str,
        bucket: BucketCustodian,
    ) -> Result<Custodian, CustodianError> {
        let is_same = |other: &Custodian| {
            let other = other.bucket().filter(|other| !other.is_reader);
            other.is_some_and(|other| other.location == bucket.location)
        };
        match self.find(name) {
            Err(CustodianError::Unknown(_)) => {}
            Err(error) => return Err(error),
            Ok(other) if is_same(&other) => {}
            Ok(_) => return Err(CustodianError::Taken(name.to_owned())),
        }
        let custodian = Custodian {
            name: name.to_owned(),
            kind: CustodianKind::Bucket(Box::new(bucket)),
        };
        self.write(&custodian)?;
        Ok(custodian)
    }

    fn write(&self, custodian: &Custodian) -> Result<(), CustodianError> {
        let (extension, text) = match &custodian.kind {
            CustodianKind::Vault(invite) => {
                let text = format!(
                    "# The repository {} at {}, for a vault called {}.\n# Whoever has this line has the token in it.\n{}\n",
                    invite.repository,
                    invite.addresses.join(", "),
                    invite.identity.name(),
                    invite.encode()
                );
                (INVITE, text)
            }
            CustodianKind::Folder(folder) => (DESCRIPTION, folder.to_text()),
            CustodianKind::Bucket(bucket) => {
                let described = Described::Bucket(bucket.clone());
                (DESCRIPTION, described.to_text())
            }
        };
        let path = self.path(&custodian.name, extension);
        write_durably(&path, text.as_bytes(), 0o600)
            .map_err(|source| ConfigurationError::Io { path, source })?;
        Ok(())
    }

    /// Forgets a custodian on this machine. What it keeps stays, and so do its receipts.
    ///
    /// # Errors
    /// [`CustodianError::Unknown`]; those of the file.
    pub fn remove(&self, name: &str) -> Result<(), CustodianError> {
        if !is_name(name) {
            return Err(CustodianError::Name(name.to_owned()));
        }
        for extension in [INVITE, DESCRIPTION] {
            let path = self.path(name, extension);
            match fs::remove_file(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                result => {
                    return Ok(result.map_err(|source| ConfigurationError::Io { path, source })?);
                }
            }
        }
        Err(CustodianError::Unknown(name.to_owned()))
    }
}

impl Custodian {
    /// The invite of a vault.
    pub fn invite(&self) -> Option<&Invite> {
        match &self.kind {
            CustodianKind::Vault(invite) => Some(invite),
            CustodianKind::Folder(_) | CustodianKind::Bucket(_) => None,
        }
    }

    /// What is known of a disk or directory.
    pub fn folder(&self) -> Option<&FolderCustodian> {
        match &self.kind {
            CustodianKind::Vault(_) | CustodianKind::Bucket(_) => None,
            CustodianKind::Folder(folder) => Some(folder),
        }
    }

    /// What is known of a bucket.
    pub fn bucket(&self) -> Option<&BucketCustodian> {
        match &self.kind {
            CustodianKind::Vault(_) | CustodianKind::Folder(_) => None,
            CustodianKind::Bucket(bucket) => Some(bucket),
        }
    }

    /// The same custodian as a place to read from, if there are keys of a bucket for that alone.
    pub fn reader(&self) -> Option<Self> {
        Some(Self {
            name: format!("{}{READER}", self.name),
            kind: CustodianKind::Bucket(Box::new(self.bucket()?.reader()?)),
        })
    }

    /// Whether backups are written to it; those that can only be read from keep none.
    pub fn takes_backups(&self) -> bool {
        match &self.kind {
            CustodianKind::Vault(invite) => invite.scopes.contains(&Scope::Append),
            CustodianKind::Folder(_) => true,
            CustodianKind::Bucket(bucket) => !bucket.is_reader,
        }
    }

    /// The location by which its repository is named.
    pub fn location(&self) -> String {
        let scheme = match &self.kind {
            CustodianKind::Vault(_) => VAULT,
            CustodianKind::Folder(folder) if folder.is_removable => DISK,
            CustodianKind::Folder(_) => DIRECTORY,
            CustodianKind::Bucket(_) => BUCKET,
        };
        format!("{scheme}{}", self.name)
    }

    /// What it is, for people.
    pub fn noun(&self) -> &'static str {
        match &self.kind {
            CustodianKind::Vault(_) => "vault",
            CustodianKind::Folder(folder) if folder.is_removable => "disk",
            CustodianKind::Folder(_) => "directory",
            CustodianKind::Bucket(_) => "bucket",
        }
    }

    /// A client for a vault's own API.
    ///
    /// # Errors
    /// [`CustodianError::NoVault`] for others; if the address cannot be used.
    pub fn client(&self, connect: &ConnectOptions) -> Result<VaultClient, CustodianError> {
        let invite = self
            .invite()
            .ok_or_else(|| CustodianError::NoVault(self.name.clone()))?;
        let options = RestOptions {
            timeouts: connect.timeouts,
            ..RestOptions::default()
        };
        Ok(VaultClient::new(invite, place::address(invite), options)?)
    }
}

/// Where receipts and checkpoints of a custodian are kept.
pub(crate) fn memory_folder(places: &Places, custodian: &str) -> PathBuf {
    Path::new(&places.receipts).join(custodian)
}
