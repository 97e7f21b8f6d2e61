//! Checks a vault that nobody has open: ledger, log, lists and objects against each other, without
//! any key of a repository.
//!
//! It opens the ledger by the same code as a start does, over an empty index, on a disk that
//! compares before it writes: so every entry is read, every checkpoint verified, every tile and bundle
//! of the log made again and compared. What the journal can prove is put right where the log's
//! files differ from it; nothing else is changed.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;

use outlast_custody::{Entry, Event, RepositoryName, Settings};
use outlast_log::SigningKey;
use outlast_object::{HashingReader, Id, ObjectKind, ObjectName};
use parking_lot::Mutex;

use crate::VaultError;
use crate::accept::object_path;
use crate::disk::{Disk, Listed, Space, Unnamed};
use crate::index::{Admission, Index};
use crate::ledger::Ledger;
use crate::seal::read_list;
use crate::vault::FAILED;

/// Findings that are kept one by one; the others are counted.
const FINDINGS_MAX: usize = 1000;
/// Objects that are looked up at a time.
const PAGE: usize = 4096;
/// Largest file of the log that is compared, in bytes.
const LOG_FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// The ledger cannot be read to its end.
    Ledger(String),
    /// An entry that does not follow from those before it.
    Entry {
        /// Its index.
        position: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// A list that is missing or not the one that was sealed.
    List {
        /// Index of the seal's entry.
        seal: u64,
        /// What is wrong.
        what: String,
    },
    /// A seal that covers an object which was not there when it was made.
    Seal {
        /// Index of the seal's entry.
        seal: u64,
        /// The object.
        object: ObjectName,
    },
    /// An object that is not on the disk, or not whole.
    Object {
        /// Its repository.
        repository: RepositoryName,
        /// The object.
        object: ObjectName,
        /// What is wrong.
        what: String,
    },
    /// A file of the log that differed from the journal, and was written again from it.
    Mended(String),
    /// A file that the log does not know: an upload that was never acknowledged may leave one.
    Stray(String),
}

impl Finding {
    /// Whether the ledger is not to be trusted as it is.
    pub fn is_of_ledger(&self) -> bool {
        matches!(
            self,
            Self::Ledger(_) | Self::Entry { .. } | Self::List { .. } | Self::Seal { .. }
        )
    }

    /// Whether nothing is lost by it.
    pub fn is_harmless(&self) -> bool {
        matches!(self, Self::Mended(_) | Self::Stray(_))
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ledger(what) => write!(f, "the ledger: {what}"),
            Self::Entry { position, what } => write!(f, "entry {position}: {what}"),
            Self::List { seal, what } => write!(f, "the list of seal {seal}: {what}"),
            Self::Seal { seal, object } => {
                write!(f, "seal {seal} covers {object}, which came later or never")
            }
            Self::Object {
                repository,
                object,
                what,
            } => write!(f, "{repository}/{object}: {what}"),
            Self::Mended(path) => {
                write!(
                    f,
                    "{path}: differed from the journal, written again from it"
                )
            }
            Self::Stray(path) => write!(
                f,
                "{path}: not in the log; left by an upload that was never acknowledged"
            ),
        }
    }
}

/// What a check found.
#[derive(Debug, Clone, Default)]
pub struct FsckReport {
    /// Findings, the first thousand.
    pub findings: Vec<Finding>,
    /// Findings of the ledger.
    pub ledger_findings: u64,
    /// Objects that are missing or damaged.
    pub object_findings: u64,
    /// Findings by which nothing is lost.
    pub harmless_findings: u64,
    /// Entries read.
    pub entries: u64,
    /// Seals checked.
    pub seals: u64,
    /// Objects looked at.
    pub objects: u64,
    /// Bytes read of them.
    pub bytes_read: u64,
}

impl FsckReport {
    /// Whether the ledger can be trusted: then the vault may take uploads again.
    pub fn is_ledger_sound(&self) -> bool {
        self.ledger_findings == 0
    }

    /// Whether nothing is lost.
    pub fn is_clean(&self) -> bool {
        self.is_ledger_sound() && self.object_findings == 0
    }

    fn add(&mut self, finding: Finding) {
        if finding.is_harmless() {
            self.harmless_findings += 1;
        } else if finding.is_of_ledger() {
            self.ledger_findings += 1;
        } else {
            self.object_findings += 1;
        }
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(finding);
        }
    }
}

/// Told how far the check is: objects, of so many.
pub type FsckProgress<'a> = &'a mut dyn FnMut(u64, u64);

/// The repositories that have a folder on the disk.
pub(crate) fn repository_folders(disk: &dyn Disk) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    disk.list("repositories", &mut |listed: Listed<'_>| {
        names.push(listed.name.to_owned());
    })?;
    Ok(names)
}

/// Checks the vault on a disk. `index` must be empty; if the ledger is sound it is the vault's index
/// afterwards. `entries_known` is how many entries there were by what else is known, as an older index. With `reads_data` every object is read and compared with its name.
///
/// If the ledger is sound, the vault may take uploads again, whatever failed before.
///
/// # Errors
/// [`VaultError::Index`] if the index cannot be written; [`VaultError::Disk`] if the disk fails in a
/// way that says nothing about the vault.
pub fn fsck(
    disk: &Arc<dyn Disk>,
    index: &Arc<Index>,
    key: SigningKey,
    entries_known: u64,
    reads_data: bool,
    progress: FsckProgress<'_>,
) -> Result<FsckReport, VaultError> {
    let comparing = Arc::new(Comparing {
        inner: Arc::clone(disk),
        differed: Mutex::default(),
    });
    let rules = Mutex::new(Rules::default());
    let opened = Ledger::open(
        Arc::clone(&comparing) as Arc<dyn Disk>,
        Arc::clone(index),
        key,
        &|entry, time| rules.lock().follow(entry, time),
    );
    let rules = rules.into_inner();
    let mut report = FsckReport {
        entries: rules.position,
        ..FsckReport::default()
    };
    for finding in rules.findings {
        report.add(finding);
    }
    for path in std::mem::take(&mut *comparing.differed.lock()) {
        report.add(Finding::Mended(path));
    }
    match opened {
        Ok(_) => {}
        Err(error @ VaultError::Index(_)) => return Err(error),
        Err(error) => {
            report.add(Finding::Ledger(error.to_string()));
            return Ok(report);
        }
    }
    let folders = repository_folders(&**disk).map_err(VaultError::Disk)?;
    for name in folders {
        let known = name.parse::<RepositoryName>().ok();
        if known.is_none_or(|name| !rules.repositories.contains_key(&name)) {
            let what = format!("it knows nothing of repositories/{name}, which is there");
            report.add(Finding::Ledger(what));
        }
    }
    if rules.position < entries_known {
        let what = format!(
            "it has {} entries, and there were {entries_known} once",
            rules.position
        );
        report.add(Finding::Ledger(what));
    }
    let check = Check {
        disk: &**disk,
        index,
        reads_data,
    };
    for repository in rules.repositories.keys() {
        check.seals(repository, &mut report)?;
    }
    let total = index.len()?;
    for repository in rules.repositories.keys() {
        check.objects(repository, total, &mut report, progress)?;
        check.strays(repository, &mut report)?;
    }
    index.sync()?;
    if report.is_ledger_sound() {
        // Only now: a crash before leaves the vault as read-only as it was.
        disk.replace(FAILED, b"").map_err(VaultError::Disk)?;
    }
    Ok(report)
}

/// What every entry must follow.
#[derive(Default)]
struct Rules {
    position: u64,
    time: u64,
    heads: HashMap<RepositoryName, Id>,
    repositories: BTreeMap<RepositoryName, Settings>,
    holds: HashMap<u64, u64>,
    findings: Vec<Finding>,
}

impl Rules {
    fn find(&mut self, what: &'static str) {
        if self.findings.len() < FINDINGS_MAX {
            let position = self.position;
            self.findings.push(Finding::Entry { position, what });
        }
    }

    fn follow(&mut self, entry: &Entry, time: u64) -> u64 {
        if entry.time < self.time {
            self.find("it is older than the one before it");
        }
        self.time = self.time.max(entry.time);
        if let Some((repository, previous)) = entry.chain() {
            let head = self.heads.get(repository).copied();
            let zero = Id::from_bytes([0; Id::LEN]);
            if previous != head.unwrap_or(zero) {
                self.find("it does not continue the chain of its repository");
            }
            if !self.repositories.contains_key(repository) {
                self.find("it is about a repository that was never added");
            }
            let leaf = Id::from_bytes(*entry.leaf().as_bytes());
            self.heads.insert(repository.clone(), leaf);
        }
        match &entry.event {
            Event::Repository(added) => {
                let settings = added.settings.clone();
                self.repositories.insert(added.repository.clone(), settings);
            }
            Event::Seal(seal) => {
                if seal.until < entry.time {
                    self.find("a hold that ended before it began");
                }
                self.holds.insert(self.position, seal.until);
            }
            Event::Hold(hold) => match self.holds.insert(hold.seal, hold.until) {
                None => self.find("a hold of a seal that does not exist"),
                Some(before) if before >= hold.until => {
                    self.find("a hold that became no longer");
                    self.holds.insert(hold.seal, before);
                }
                Some(_) => {}
            },
            _ => {}
        }
        self.position += 1;
        let repository = entry
            .chain()
            .and_then(|(name, _)| self.repositories.get(name));
        repository.map_or(0, |settings| time.saturating_add(settings.hold_seconds_min))
    }
}

struct Check<'a> {
    disk: &'a dyn Disk,
    index: &'a Index,
    reads_data: bool,
}

const KINDS: [ObjectKind; 5] = [
    ObjectKind::Config,
    ObjectKind::Key,
    ObjectKind::Snapshot,
    ObjectKind::Index,
    ObjectKind::Pack,
];

impl Check<'_> {
    fn seals(
        &self,
        repository: &RepositoryName,
        report: &mut FsckReport,
    ) -> Result<(), VaultError> {
        let mut seals = Vec::new();
        self.index.seals(repository, None, &mut |index, entry| {
            if let Event::Seal(seal) = entry.event {
                seals.push((index, seal));
            }
            true
        })?;
        for (index, seal) in seals {
            report.seals += 1;
            let list = match read_list(self.disk, &seal) {
                Ok(Some(list)) => list,
                Ok(None) => continue,
                Err(error) => {
                    let what = error.to_string();
                    report.add(Finding::List { seal: index, what });
                    continue;
                }
            };
            if list.objects().len() as u64 != seal.objects {
                let what = "it has another number of objects than the seal".to_owned();
                report.add(Finding::List { seal: index, what });
            }
            for names in list.objects().chunks(PAGE) {
                let found = self.index.objects(repository, names)?;
                for (name, admission) in names.iter().zip(found) {
                    if admission.is_none_or(|admission| admission.position >= index) {
                        report.add(Finding::Seal {
                            seal: index,
                            object: *name,
                        });
                    }
                }
            }
        }
        Ok(())
    }

    fn objects(
        &self,
        repository: &RepositoryName,
        total: u64,
        report: &mut FsckReport,
        progress: FsckProgress<'_>,
    ) -> Result<(), VaultError> {
        for kind in KINDS {
            let mut after = None;
            loop {
                let mut page = Vec::new();
                self.index
                    .list(repository, kind, after, &mut |name, admission| {
                        page.push((name, admission));
                        page.len() < PAGE
                    })?;
                for (name, admission) in &page {
                    report.objects += 1;
                    if let Some(what) = self.object(repository, name, admission, report)? {
                        report.add(Finding::Object {
                            repository: repository.clone(),
                            object: *name,
                            what,
                        });
                    }
                    progress(report.objects, total);
                }
                match page.last() {
                    Some((last, _)) if page.len() == PAGE => after = Some(last.id()),
                    _ => break,
                }
            }
        }
        Ok(())
    }

    /// What is wrong with an object, if anything is.
    fn object(
        &self,
        repository: &RepositoryName,
        name: &ObjectName,
        admission: &Admission,
        report: &mut FsckReport,
    ) -> Result<Option<String>, VaultError> {
        let path = object_path(repository, name);
        let size = match self.disk.size(&path) {
            Ok(Some(size)) => size,
            Ok(None) => return Ok(Some("it is missing".to_owned())),
            Err(error) => return Ok(Some(error.to_string())),
        };
        if size != admission.size {
            let what = format!("it has {size} bytes instead of {}", admission.size);
            return Ok(Some(what));
        }
        if !self.reads_data {
            return Ok(None);
        }
        report.bytes_read += size;
        Ok(damage(self.disk, &path, admission))
    }

    /// Files that the log does not know.
    fn strays(
        &self,
        repository: &RepositoryName,
        report: &mut FsckReport,
    ) -> Result<(), VaultError> {
        for kind in KINDS.into_iter().filter(|kind| *kind != ObjectKind::Config) {
            let base = format!("repositories/{repository}/{}", kind.folder());
            let mut folders = vec![base.clone()];
            if kind == ObjectKind::Pack {
                folders = (0..=255_u8)
                    .map(|byte| format!("{base}/{byte:02x}"))
                    .collect();
            }
            for folder in folders {
                let mut names = Vec::new();
                self.disk
                    .list(&folder, &mut |listed: Listed<'_>| {
                        names.push(listed.name.to_owned());
                    })
                    .map_err(VaultError::Disk)?;
                for name in names {
                    let id = name.parse::<Id>().ok();
                    let known = match id {
                        Some(id) => {
                            let name = ObjectName::new(kind, id);
                            self.index.object(repository, &name)?.is_some()
                        }
                        None => false,
                    };
                    if !known {
                        report.add(Finding::Stray(format!("{folder}/{name}")));
                    }
                }
            }
        }
        Ok(())
    }
}

/// Reads an object; says what is wrong with it, if anything is.
pub(crate) fn damage(disk: &dyn Disk, path: &str, admission: &Admission) -> Option<String> {
    let read = || -> io::Result<(Id, u64)> {
        let mut reader = HashingReader::new(disk.open(path)?.take(admission.size + 1));
        let mut block = vec![0; READ_BYTES];
        loop {
            match reader.read(&mut block) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(reader.finish())
    };
    match read() {
        Ok((hash, _)) if hash == admission.hash => None,
        Ok((_, bytes)) if bytes != admission.size => Some(format!(
            "it has {bytes} bytes instead of {}",
            admission.size
        )),
        Ok(_) => Some("its bytes are not what its name says".to_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Some("it is missing".to_owned()),
        Err(error) => Some(error.to_string()),
    }
}

/// Bytes that are read at a time when whole objects are.
const READ_BYTES: usize = 256 * 1024;

/// A disk on which files of the log are written only where they differ, and the difference is noted.
struct Comparing {
    inner: Arc<dyn Disk>,
    differed: Mutex<Vec<String>>,
}

impl Disk for Comparing {
    fn create_unnamed(&self) -> io::Result<Box<dyn Unnamed + '_>> {
        self.inner.create_unnamed()
    }

    fn sync_directory(&self, path: &str) -> io::Result<()> {
        self.inner.sync_directory(path)
    }

    fn make_directories(&self, path: &str) -> io::Result<()> {
        self.inner.make_directories(path)
    }

    fn size(&self, path: &str) -> io::Result<Option<u64>> {
        self.inner.size(path)
    }

    fn open(&self, path: &str) -> io::Result<Box<dyn Read + Send>> {
        self.inner.open(path)
    }

    fn read_range(&self, path: &str, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        self.inner.read_range(path, offset, length)
    }

    fn list(&self, path: &str, visit: &mut dyn FnMut(Listed<'_>)) -> io::Result<()> {
        self.inner.list(path, visit)
    }

    fn append(&self, path: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.inner.append(path, offset, bytes)
    }

    fn truncate(&self, path: &str, size: u64) -> io::Result<()> {
        self.inner.truncate(path, size)
    }

    fn replace(&self, path: &str, bytes: &[u8]) -> io::Result<()> {
        let mut there = Vec::new();
        let read = self
            .inner
            .open(path)
            .and_then(|file| file.take(LOG_FILE_BYTES_MAX).read_to_end(&mut there));
        if read.is_ok() && there == bytes {
            return Ok(());
        }
        // The checkpoint is always shown again at a start, and a torn journal cut off: both are ways of
        // the ledger itself. Tiles and bundles follow from the journal alone.
        if path.starts_with("log/tile/") {
            self.differed.lock().push(path.to_owned());
        }
        self.inner.replace(path, bytes)
    }

    fn make_immutable(&self, path: &str) -> io::Result<bool> {
        self.inner.make_immutable(path)
    }

    fn space(&self) -> io::Result<Space> {
        self.inner.space()
    }
}
