//! `protect`: the main job, on a repository of its own that is made at the first use.
//!
//! Order at the first use, so that a crash at any point is gone on from: the password file is
//! durable before the repository uses it, the repository exists before the configuration names it.
//! A password file without a repository is used for the repository that is then made; a repository
//! without a configuration is opened with the password file.

use std::path::{Path, PathBuf};
use std::time::Duration;

use outlast_custody::Scope;
use outlast_format::{Compression, ScryptCost};
use outlast_repo::{
    BackupObserver, Cancel, ChangeDetection, Environment, GroupBy, InitOptions, RepoError,
    ScanTotals,
};
use outlast_source::{Excludes, SourceError};
use outlast_store::{ConnectOptions, Location};
use zeroize::Zeroizing;

use crate::backup::{BackupRequest, BackupRun, Target, run_backup};
use crate::config::{Configuration, ConfigurationError, Places, read_secret, write_durably};
use crate::custodian::{Custodian, CustodianError, Custodians, find_place};
use crate::receipts::{Held, seal_backup};
use crate::session::{CacheChoice, Session, SessionOptions, init_session, is_within};

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
    /// Several custodians could keep the repository.
    #[error(
        "there are several custodians; say which one keeps the repository: put repository = \"vault:NAME\" and password_file into {}",
        .0.display()
    )]
    SeveralCustodians(PathBuf),
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
    /// Who keeps the repository, if a custodian does.
    pub custodian: Option<Custodian>,
    connect: ConnectOptions,
}

/// What `protect` did.
#[derive(Debug)]
pub struct Protected {
    /// The backup.
    pub run: BackupRun,
    /// Folders that were left out because they hold the repository itself or its cache.
    pub own_folders: Vec<PathBuf>,
    /// What the custodian gave a receipt for, or why there is none. None where no custodian keeps
    /// the repository.
    pub held: Option<Result<Held, CustodianError>>,
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
    let mut configuration = known.clone().unwrap_or_else(|| Configuration {
        repository,
        password_file: places.password_file.clone(),
        paths: Vec::new(),
        exclude: Vec::new(),
    });
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
    let mut connect = ConnectOptions::default();
    let place = find_place(&configuration.repository, None, &mut connect)?;
    let mut options = SessionOptions {
        location: place.location,
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
            refuse_if_repository_exists(&options, &configuration)?;
            make_password(&configuration.password_file)?
        }
    };
    let opened = Session::open(&options, environment.clone(), cancel);
    let (session, is_new) = match opened {
        Ok(session) => (session, false),
        Err(RepoError::NoRepository { location }) if known.is_some() && had_password => {
            // It was there: to make a new one in its place would hide that it is gone.
            return Err(RepoError::NoRepository { location }.into());
        }
        Err(RepoError::NoRepository { .. }) => {
            let init = InitOptions::new(ScryptCost::RANDOM_PASSWORD);
            (init_session(&options, &init, environment, cancel)?, true)
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
        custodian: place.custodian,
        connect,
    })
}

/// Where a new repository is made: at the custodian that can take one, if there is exactly one, else
/// in the user's own folder.
fn usual_repository(places: &Places) -> Result<String, ProtectError> {
    let custodians = Custodians::of(places).list()?;
    let mut able = custodians
        .iter()
        .filter(|custodian| custodian.invite.scopes.contains(&Scope::Append));
    match (able.next(), able.next()) {
        (Some(only), None) => Ok(format!("vault:{}", only.name)),
        (None, _) => Ok(places.repository.to_string_lossy().into_owned()),
        (Some(_), Some(_)) => Err(ProtectError::SeveralCustodians(places.config_file.clone())),
    }
}

fn refuse_if_repository_exists(
    options: &SessionOptions,
    configuration: &Configuration,
) -> Result<(), ProtectError> {
    use outlast_store::Store as _;
    let store =
        outlast_store::open(&options.location, &options.connect).map_err(RepoError::from)?;
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
fn make_password(path: &Path) -> Result<Zeroizing<Vec<u8>>, ProtectError> {
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

/// Backs up what the configuration names.
pub fn run_protect(
    prepared: &Prepared,
    request: &ProtectRequest,
    cache: &CacheChoice,
    observer: &dyn BackupObserver,
    totals: &(dyn Fn(ScanTotals, bool) + Sync),
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
        scan: true,
        program_version: request.program_version.clone(),
        warn: None,
    };
    let run = run_backup(&prepared.session, backup, observer, totals)?;
    let held = prepared.custodian.as_ref().and_then(|custodian| {
        seal_backup(&prepared.places, custodian, &prepared.connect, &run).transpose()
    });
    Ok(Protected {
        run,
        own_folders,
        held,
    })
}
