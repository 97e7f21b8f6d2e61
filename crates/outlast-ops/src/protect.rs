//! `protect`: the main job, on a repository of its own that is made at the first use.
//!
//! Order at the first use, so that a crash at any point is gone on from: the password file is
//! durable before the repository uses it, the repository exists before the configuration names it.
//! A password file without a repository is used for the repository that is then made; a repository
//! without a configuration is opened with the password file.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use outlast_custody::SafetyVerdict;
use outlast_format::{Compression, ScryptCost};
use outlast_repo::{
    BackupObserver, Cancel, ChangeDetection, Environment, GroupBy, InitOptions, RepoError,
    ScanTotals,
};
use outlast_source::{Excludes, SourceError};
use outlast_store::{ConnectOptions, Deletes, Location, Several, Store};
use zeroize::Zeroizing;

use crate::backup::{BackupRequest, BackupRun, Target, run_backup};
use crate::config::{Configuration, ConfigurationError, Places, read_secret, write_durably};
use crate::custodian::{Custodian, CustodianError, find_place, is_custodian_location};
use crate::data_sets::DataSets;
use crate::keepers::{Kept, NotKept, keepers, open_all, prove_all};
use crate::receipts::made;
use crate::safety::Safety;
use crate::session::{CacheChoice, Session, SessionOptions, init_session_on, is_within};
use crate::sync::{SyncProgress, Synced, sync_all};

/// `protect` cannot do its work.
#[derive(Debug, thiserror::Error)]
pub enum ProtectError {
    /// The configuration or the password file.
    #[error(transparent)]
    Configuration(#[from] ConfigurationError),
    /// The repository or the source.
    #[error(transparent)]
    Repository(#[from] RepoError),
    /// The custodian.
    #[error(transparent)]
    Custodian(#[from] CustodianError),
    /// Nothing was named and nothing is remembered.
    #[error("nothing is protected yet: name the files and folders to protect")]
    NothingToProtect,
    /// A path that is not there.
    #[error("{} does not exist", .0.display())]
    NoSuchPath(PathBuf),
    /// The repository is there, its password is not.
    #[error("the repository {repository} exists, but its password file {} does not", password_file.display())]
    PasswordLost {
        /// The repository.
        repository: String,
        /// Where the password should be.
        password_file: PathBuf,
    },
}

impl From<SourceError> for ProtectError {
    fn from(error: SourceError) -> Self {
        ProtectError::Repository(error.into())
    }
}

/// What is to be protected.
#[derive(Debug, Clone, Default)]
pub struct ProtectRequest {
    /// Paths in addition to those remembered.
    pub paths: Vec<PathBuf>,
    /// Patterns in addition to those remembered.
    pub exclude: Vec<String>,
    /// Count beforehand what there is.
    pub scan: bool,
    /// Program name and version.
    pub program_version: String,
}

/// What is there to protect with.
pub struct Prepared {
    /// The repository.
    pub session: Session,
    /// The configuration as it is now.
    pub configuration: Configuration,
    /// Where the files are.
    pub places: Places,
    /// Whether the repository was made just now.
    pub is_new: bool,
    /// Those who keep it.
    pub keepers: Vec<Custodian>,
    several: Option<Arc<Several>>,
    connect: ConnectOptions,
}

/// What the custody policy says of a backup.
#[derive(Debug, Clone)]
pub struct Judgement {
    /// The verdict.
    pub verdict: SafetyVerdict,
    /// The same in words.
    pub sentence: String,
}

/// What `protect` did.
#[derive(Debug)]
pub struct Protected {
    /// The backup.
    pub run: BackupRun,
    /// Folders that were left out because they hold the repository itself or its cache.
    pub own_folders: Vec<PathBuf>,
    /// Custodians that lacked something of before, and what became of that.
    pub completed: Vec<Synced>,
    /// What became of it at each custodian.
    pub kept: Vec<Kept>,
    /// The verdict, where custodians keep the repository and a snapshot was made or confirmed.
    pub safety: Option<Judgement>,
}

/// Opens what an earlier use made, or makes it.
pub fn prepare_protect(
    places: Places,
    request: &ProtectRequest,
    cache: CacheChoice,
    environment: Environment,
    cancel: &Cancel,
) -> Result<Prepared, ProtectError> {
    let known = Configuration::read(&places.config_file)?;
    let repository = match known {
        Some(_) => String::new(),
        None => usual_repository(&places)?,
    };
    let mut configuration = known
        .clone()
        .unwrap_or_else(|| Configuration::new(repository, places.password_file.clone()));
    for path in &request.paths {
        let path = std::path::absolute(path).map(|path| outlast_source::clean(&path));
        let path = path.map_err(|source| ConfigurationError::Io {
            path: PathBuf::new(),
            source,
        })?;
        if path.symlink_metadata().is_err() {
            return Err(ProtectError::NoSuchPath(path));
        }
        if !configuration.paths.contains(&path) {
            configuration.paths.push(path);
        }
    }
    for pattern in &request.exclude {
        Excludes::default().add_pattern(pattern.as_bytes(), false)?;
        if !configuration.exclude.contains(pattern) {
            configuration.exclude.push(pattern.clone());
        }
    }
    if configuration.paths.is_empty() {
        return Err(ProtectError::NothingToProtect);
    }
    let keepers = keepers(&places, Some(&configuration))?;
    let connect = ConnectOptions::default();
    let (location, store) = open_store(&places, &configuration, &keepers, &connect)?;
    let mut options = SessionOptions {
        location,
        connect: connect.clone(),
        password: Zeroizing::new(Vec::new()),
        key_hint: None,
        cache,
        compression: Compression::Auto,
        pack_bytes: None,
        no_lock: false,
        retry_lock: Duration::ZERO,
    };
    let password = read_secret(&configuration.password_file)?;
    let had_password = password.is_some();
    options.password = match password {
        Some(password) => password,
        None => {
            refuse_if_repository_exists(&*store.deletes, &configuration)?;
            make_password(&configuration.password_file)?
        }
    };
    let deletes = Arc::clone(&store.deletes);
    let opened = Session::open_on(deletes, &options, environment.clone(), cancel);
    let (session, is_new) = match opened {
        Ok(session) => (session, false),
        Err(RepoError::NoRepository { location }) if known.is_some() && had_password => {
            // It was there: to make a new one in its place would hide that it is gone.
            return Err(RepoError::NoRepository { location }.into());
        }
        Err(RepoError::NoRepository { .. }) => {
            let init = InitOptions::new(ScryptCost::RANDOM_PASSWORD);
            let deletes = Arc::clone(&store.deletes);
            let made = init_session_on(deletes, &options, &init, environment, cancel)?;
            (made, true)
        }
        Err(error) => return Err(error.into()),
    };
    if known.as_ref() != Some(&configuration) {
        configuration.write(&places.config_file)?;
    }
    Ok(Prepared {
        session,
        configuration,
        places,
        is_new,
        keepers,
        several: store.several,
        connect,
    })
}

/// The store that is written to.
struct Opened {
    deletes: Arc<dyn Deletes>,
    several: Option<Arc<Several>>,
}

/// Opens the repository at every place where it is kept.
fn open_store(
    places: &Places,
    configuration: &Configuration,
    keepers: &[Custodian],
    connect: &ConnectOptions,
) -> Result<(Option<Location>, Opened), ProtectError> {
    let mut connect = connect.clone();
    let own = match is_custodian_location(&configuration.repository) {
        true => None,
        false => Some(find_place(&configuration.repository, None, &mut connect)?.location),
    };
    if let (Some(own), []) = (&own, keepers) {
        let deletes = outlast_store::open(own, &connect).map_err(RepoError::from)?;
        let several = None;
        return Ok((Some(own.clone()), Opened { deletes, several }));
    }
    let several = open_all(places, configuration, own, keepers, &connect);
    let several = several.map_err(RepoError::from)?;
    let deletes: Arc<dyn Deletes> = several.clone();
    let several = Some(several);
    Ok((None, Opened { deletes, several }))
}

/// Where a new repository is made: at the custodians, if there are any, else in the user's own folder.
fn usual_repository(places: &Places) -> Result<String, ProtectError> {
    Ok(match keepers(places, None)?.first() {
        Some(first) => first.location(),
        None => places.repository.to_string_lossy().into_owned(),
    })
}

fn refuse_if_repository_exists(
    store: &dyn Deletes,
    configuration: &Configuration,
) -> Result<(), ProtectError> {
    if store
        .exists(&outlast_object::ObjectName::CONFIG)
        .map_err(RepoError::from)?
    {
        return Err(ProtectError::PasswordLost {
            repository: configuration.repository.clone(),
            password_file: configuration.password_file.clone(),
        });
    }
    Ok(())
}

/// A random password of 256 bits as text, durable in a file of its owner alone.
pub fn make_password(path: &Path) -> Result<Zeroizing<Vec<u8>>, ProtectError> {
    let mut bytes = Zeroizing::new([0_u8; 32]);
    getrandom::fill(&mut *bytes).map_err(|error| ConfigurationError::Io {
        path: path.to_owned(),
        source: std::io::Error::other(error.to_string()),
    })?;
    let digits = b"0123456789abcdef";
    let mut text = Zeroizing::new(Vec::with_capacity(65));
    for byte in bytes.iter() {
        text.push(digits[usize::from(byte >> 4)]);
        text.push(digits[usize::from(byte & 15)]);
    }
    text.push(b'\n');
    write_durably(path, &text, 0o600).map_err(|source| ConfigurationError::Io {
        path: path.to_owned(),
        source,
    })?;
    text.pop();
    Ok(text)
}

/// Backs up what the configuration names, and brings custodians up to date that lack something of
/// before; `completing` is told how far that is.
pub fn run_protect(
    prepared: &Prepared,
    request: &ProtectRequest,
    cache: &CacheChoice,
    observer: &dyn BackupObserver,
    totals: &(dyn Fn(ScanTotals, bool) + Sync),
    completing: SyncProgress<'_>,
) -> Result<Protected, ProtectError> {
    let mut excludes = Excludes::default();
    for pattern in &prepared.configuration.exclude {
        excludes.add_pattern(pattern.as_bytes(), false)?;
    }
    let mut own_folders = Vec::new();
    if let Ok(Location::Local(path)) = Location::parse(&prepared.configuration.repository) {
        own_folders.push(path);
    }
    if let CacheChoice::Folder(folder) = cache {
        own_folders.push(folder.clone());
    }
    let paths = &prepared.configuration.paths;
    own_folders.retain(|folder| paths.iter().any(|path| is_within(folder, path)));
    for folder in &own_folders {
        excludes.add_path(folder.clone());
    }
    let environment = prepared.session.repository().environment();
    let backup = BackupRequest {
        target: Target::Files(paths.clone()),
        excludes,
        exclude_texts: prepared.configuration.exclude.clone(),
        with_atime: false,
        tags: Vec::new(),
        hostname: environment.hostname.clone(),
        time: None,
        parent: None,
        group_by: GroupBy::HOST_AND_PATHS,
        force: false,
        detection: ChangeDetection::default(),
        skip_if_unchanged: false,
        dry_run: false,
        read_concurrency: None,
        scan: request.scan,
        program_version: request.program_version.clone(),
        warn: None,
    };
    let run = run_backup(&prepared.session, backup, observer, totals)?;
    let mut protected = Protected {
        run,
        own_folders,
        completed: Vec::new(),
        kept: Vec::new(),
        safety: None,
    };
    ask_keepers(prepared, &mut protected, completing)?;
    Ok(protected)
}

/// What each custodian shows for the backup, and what follows from it.
fn ask_keepers(
    prepared: &Prepared,
    protected: &mut Protected,
    completing: SyncProgress<'_>,
) -> Result<(), ProtectError> {
    let run = &protected.run;
    let reports = prepared.several.as_ref().map(|several| several.finish());
    let Some((snapshot, list)) = made(run).filter(|_| !prepared.keepers.is_empty()) else {
        return Ok(());
    };
    let places = &prepared.places;
    let clock = prepared.session.repository().environment().clock.now();
    let now = u64::try_from(clock.seconds()).unwrap_or(0);
    let environment = prepared.session.repository().environment();
    let sets = DataSets::of(places);
    sets.remember(&environment.hostname, &run.paths, (snapshot, now), &list)?;
    let reports = reports.unwrap_or_default();
    let kept = prove_all(
        places,
        &prepared.keepers,
        &prepared.connect,
        &reports,
        (snapshot, &list),
    );
    let (kept, completed) = complete_behind(prepared, kept, completing)?;
    let mut safety = Safety::of(places, Some(&prepared.configuration))?;
    let all = sets.all()?;
    let mut remembered = all.iter().flat_map(|set| &set.snapshots);
    let remembered = remembered.find(|one| one.snapshot.0 == snapshot);
    let judged = remembered.and_then(|remembered| safety.verdict(remembered, now));
    let verdict = judged.map(|judged| {
        let sentence = safety.sentence(&judged.verdict);
        let verdict = judged.verdict;
        Judgement { verdict, sentence }
    });
    protected.completed = completed;
    protected.kept = kept;
    protected.safety = verdict;
    Ok(())
}

/// Brings whoever lacks something from before up to date, such as a custodian that was just added, if it
/// can be had from somewhere.
fn complete_behind(
    prepared: &Prepared,
    kept: Vec<Kept>,
    progress: SyncProgress<'_>,
) -> Result<(Vec<Kept>, Vec<Synced>), ProtectError> {
    let several = prepared.several.as_ref();
    let reads = several.is_some_and(|several| several.capabilities().reads_packs);
    let (mut all, mut completed) = (Vec::new(), Vec::new());
    for one in kept {
        if !reads || !matches!(one.outcome, Err(NotKept::Behind)) {
            all.push(one);
            continue;
        }
        let run = sync_all(
            &prepared.places,
            Some(&prepared.configuration),
            Some(&one.custodian.name),
            &prepared.connect,
            prepared.session.cancel(),
            progress,
        )?;
        completed.extend(run.places);
        let mut now = run.kept.into_iter();
        let now = now.find(|now| now.custodian.name == one.custodian.name);
        all.push(now.unwrap_or(one));
    }
    Ok((all, completed))
}
