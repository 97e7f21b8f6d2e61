//! Disks and directories as custodians: known by what is on them, not by where they are mounted.
//!
//! The repository's folder holds a file with a number of its own. Wherever a folder with that number
//! is found, that is the custodian; another disk that was mounted in its place is not.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use outlast_store::{SftpLocation, SftpOptions};
use serde::{Deserialize, Serialize};

use super::{BucketCustodian, CustodianError};
use crate::config::write_durably;

/// The file that makes a folder a custodian.
const MARK: &str = "outlast-custodian";
/// Bytes of a custodian's number.
const ID_BYTES: usize = 16;
/// Longest file that is read as a mark, in bytes.
const MARK_BYTES_MAX: u64 = 1024;
/// Mounted file systems that are looked at most.
const MOUNTS_MAX: usize = 10_000;
/// A disk that was not written for so many days is overdue, unless it says otherwise.
const REMIND_DAYS: u32 = 14;

/// A disk or a directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FolderCustodian {
    /// Its number, which its mark holds.
    pub id: String,
    /// Where it was last seen.
    pub path: PathBuf,
    /// The part of the path below where its file system is mounted.
    #[serde(default)]
    pub below: PathBuf,
    /// After so many days without a backup it is overdue.
    #[serde(default = "remind_days")]
    pub remind_days: u32,
    /// How it is reached on another machine; none for what is on this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<RemoteFolder>,
    /// Whether it is a disk that is usually away; else a directory that is always there.
    #[serde(skip)]
    pub is_removable: bool,
}

/// How a directory on another machine is reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RemoteFolder {
    /// As `sftp:user@host:path`.
    pub address: String,
    /// What carries SFTP in place of ssh, if something else does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<Vec<String>>,
    /// Further arguments of ssh.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub arguments: Vec<String>,
}

/// The file of a custodian that is no vault.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub(super) enum Described {
    /// A removable disk.
    Disk(FolderCustodian),
    /// A directory.
    Directory(FolderCustodian),
    /// A bucket.
    Bucket(Box<BucketCustodian>),
}

impl Described {
    /// The text of the file.
    pub(super) fn to_text(&self) -> String {
        // Texts and numbers always have a TOML form.
        toml::to_string_pretty(self).unwrap_or_default()
    }
}

fn remind_days() -> u32 {
    REMIND_DAYS
}

impl FolderCustodian {
    /// Makes the folder a custodian, or finds that it is one already.
    ///
    /// # Errors
    /// [`CustodianError::Folder`] if it is no folder or cannot be marked.
    pub fn mark(folder: &Path, is_removable: bool) -> Result<Self, CustodianError> {
        let path = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
        let fail = |reason: String| CustodianError::Folder {
            path: path.clone(),
            reason,
        };
        fs::create_dir_all(&path).map_err(|error| fail(error.to_string()))?;
        let id = match read_mark(&path) {
            Some(id) => id,
            None => {
                let mut bytes = [0; ID_BYTES];
                getrandom::fill(&mut bytes).map_err(|error| fail(error.to_string()))?;
                let id: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                let text = format!(
                    "{id}\n# A copy of a backup lives here. This file tells outlast which disk this is.\n"
                );
                write_durably(&path.join(MARK), text.as_bytes(), 0o644)
                    .map_err(|error| fail(error.to_string()))?;
                id
            }
        };
        let mounts = mounts();
        let mount = mounts.iter().filter(|mount| path.starts_with(mount)).max();
        let below = mount.and_then(|mount| path.strip_prefix(mount).ok());
        let below = below.map(Path::to_owned).unwrap_or_default();
        Ok(Self {
            id,
            below,
            path,
            remind_days: REMIND_DAYS,
            remote: None,
            is_removable,
        })
    }

    /// A directory on another machine, reached by SFTP. Its address is what it is known by: it has no
    /// mark, and where its root is missing nothing is made in its place.
    pub fn behind_sftp(location: &SftpLocation, options: &SftpOptions) -> Self {
        let address = location.to_string();
        Self {
            id: address.clone(),
            path: PathBuf::from(&address),
            below: PathBuf::new(),
            remind_days: REMIND_DAYS,
            remote: Some(RemoteFolder {
                address,
                command: options.command.clone(),
                arguments: options.arguments.clone(),
            }),
            is_removable: false,
        }
    }

    /// Whether it is on another machine.
    pub fn is_remote(&self) -> bool {
        self.remote.is_some()
    }

    /// Where it is on this machine now: where it was, or at the same place below another mount point. None if it is
    /// nowhere.
    pub fn find(&self) -> Option<PathBuf> {
        if self.is_remote() {
            return None;
        }
        let is_it = |path: &PathBuf| read_mark(path).is_some_and(|id| id == self.id);
        let elsewhere = || {
            let mut candidates = mounts().into_iter().map(|mount| mount.join(&self.below));
            candidates.find(is_it)
        };
        let here = Some(self.path.clone()).filter(is_it);
        match self.is_removable {
            true => here.or_else(elsewhere),
            false => here,
        }
    }

    pub(super) fn to_text(&self) -> String {
        let described = match self.is_removable {
            true => Described::Disk(self.clone()),
            false => Described::Directory(self.clone()),
        };
        described.to_text()
    }
}

fn read_mark(folder: &Path) -> Option<String> {
    let mut text = String::new();
    let file = fs::File::open(folder.join(MARK)).ok()?;
    file.take(MARK_BYTES_MAX).read_to_string(&mut text).ok()?;
    let id = text.lines().next()?.trim();
    let is_id = id.len() == ID_BYTES * 2 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_id.then(|| id.to_owned())
}

/// Where file systems are mounted.
fn mounts() -> Vec<PathBuf> {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let points = text.lines().take(MOUNTS_MAX);
    points
        .filter_map(|line| line.split(' ').nth(4))
        .map(|point| PathBuf::from(unescape(point)))
        .collect()
}

/// Spaces and the like are written as a backslash and three octal digits.
fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..3).filter(|_| *first == b'\\');
        let code = digits
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match code {
            Some(code) => {
                bytes.push(code);
                rest = after.get(3..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_known_by_its_mark() {
        let folder = tempfile::tempdir().unwrap();
        let one = folder.path().join("one");
        let marked = FolderCustodian::mark(&one, true).unwrap();
        assert_eq!(FolderCustodian::mark(&one, true).unwrap(), marked);
        assert_eq!(marked.find(), Some(one.clone()));
        // Another disk in its place is not it.
        fs::rename(&one, folder.path().join("away")).unwrap();
        assert_eq!(marked.find(), None);
        let other = FolderCustodian::mark(&one, true).unwrap();
        assert_ne!(other.id, marked.id);
        assert_eq!(marked.find(), None);
        for bad in ["", "short\n", "zz00112233445566778899aabbccddee\n"] {
            fs::write(one.join(MARK), bad).unwrap();
            assert_eq!(other.find(), None, "{bad:?}");
        }
    }

    #[test]
    fn descriptions_come_back_and_unknown_keys_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let marked = FolderCustodian::mark(folder.path(), false).unwrap();
        let text = marked.to_text();
        let Described::Directory(again) = toml::from_str(&text).unwrap() else {
            unreachable!("{text}");
        };
        assert_eq!(again, marked);
        let more = format!("{text}\nmore = 1\n");
        assert!(toml::from_str::<Described>(&more).is_err());
    }

    #[test]
    fn a_remote_directory_is_known_by_its_address() {
        let location = outlast_store::Location::parse("sftp:me@host:/srv/r").unwrap();
        let outlast_store::Location::Sftp(location) = location else {
            unreachable!("{location}");
        };
        let options = SftpOptions {
            arguments: vec!["-i".to_owned(), "a key".to_owned()],
            ..SftpOptions::default()
        };
        let remote = FolderCustodian::behind_sftp(&location, &options);
        let text = remote.to_text();
        let Described::Directory(again) = toml::from_str(&text).unwrap() else {
            unreachable!("{text}");
        };
        assert_eq!(again, remote);
        let reached = again.remote.as_ref().unwrap();
        assert_eq!(reached.address, "sftp:me@host:/srv/r");
        assert_eq!(reached.arguments, ["-i", "a key"]);
        assert!(again.is_remote() && again.find().is_none());
    }

    #[test]
    fn mount_points_with_spaces_are_understood() {
        assert_eq!(unescape(r"/mnt/my\040disk"), "/mnt/my disk");
        assert_eq!(unescape(r"/mnt/odd\9"), r"/mnt/odd\9");
    }
}
