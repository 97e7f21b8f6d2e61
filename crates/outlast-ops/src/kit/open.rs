//! Opening the copies that a kit names, with nothing but the kit.
//!
//! Every copy is asked on its own: one that is away, holds garbage or another repository costs that
//! copy only. What a copy says is believed as far as the key of the repository proves it.

use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use outlast_custody::Scope;
use outlast_format::Compression;
use outlast_object::ObjectKind;
use outlast_repo::{
    AdmissionFacts, Cancel, Environment, RepoError, SnapshotFilter, SnapshotRequest, StoredSnapshot,
};
use outlast_store::{
    Capabilities, ConnectOptions, Location, RetryPolicy, S3Credentials, Secret, StoreError,
};
use outlast_wire::Invite;
use zeroize::Zeroizing;

use super::content::{CopyPlace, KitCopy, RepositoryId};
use super::lines::Section;
use crate::config::Places;
use crate::custodian::{
    Custodian, CustodianError, CustodianKind, Custodians, FolderCustodian, admission_facts,
    place_of_custodian,
};
use crate::session::{CacheChoice, Session, SessionOptions, stored_snapshots};

/// How patiently a place that fails is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// To find out which copies there are.
    Looking,
    /// To restore from one.
    Restoring,
}

impl Patience {
    /// How often and for how long a place is tried, and how long one that says nothing is waited for:
    /// one that hangs must not keep anybody from the others.
    fn apply(self, connect: &mut ConnectOptions) {
        let (attempts_max, elapsed_max, idle) = match self {
            Self::Looking => (4, Duration::from_secs(20), Duration::from_secs(30)),
            Self::Restoring => (8, Duration::from_secs(60), Duration::from_secs(60)),
        };
        connect.retry = RetryPolicy {
            attempts_max,
            elapsed_max,
            ..connect.retry.clone()
        };
        connect.timeouts.idle = connect.timeouts.idle.min(idle);
    }
}

/// A disk that was found by its mark is not reminded of.
const NO_REMINDER: u32 = u32::MAX;

/// Why a copy cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The paper has no token.
    #[error("the kit has no token to read it with: its operator makes one, see --invite")]
    NoToken,
    /// It is not there, or does not answer.
    #[error("could not be reached: {0}")]
    Away(String),
    /// It answers, and there is no repository.
    #[error("holds no repository: {0}")]
    Nothing(String),
    /// It opens, and is another repository.
    #[error("holds another repository than the kit is for")]
    OtherRepository,
    /// No key there opens with the kit's password.
    #[error("the kit's key does not open it: {0}")]
    WrongKey(RepoError),
    /// What it holds is damaged or made up.
    #[error("what it holds cannot be read: {0}")]
    Damaged(RepoError),
    /// A place as it was, of something that does not remember.
    #[error("only vaults show the past, as --as-of wants it")]
    NoPast,
}

/// What every copy is opened with.
#[derive(Clone)]
pub struct OpenCopies<'a> {
    /// The repository that the kit is for.
    pub repository: Option<RepositoryId>,
    /// Its password.
    pub password: Zeroizing<Vec<u8>>,
    /// How connections are made.
    pub connect: ConnectOptions,
    /// How patiently.
    pub patience: Patience,
    /// As it was then, of vaults.
    pub as_of: Option<&'a str>,
    /// The local cache.
    pub cache: CacheChoice,
    /// Clock, host, notices.
    pub environment: Environment,
    /// The request to stop.
    pub cancel: Cancel,
}

/// A copy that opens.
#[derive(Debug)]
pub struct OpenedCopy {
    /// The repository there.
    pub session: Session,
    /// Its snapshots.
    pub snapshots: Vec<StoredSnapshot>,
}

/// A copy of the kit, and what came of it.
pub struct TriedCopy {
    /// Its number on paper; none for one that was named beside the kit.
    pub section: Option<Section>,
    /// The copy.
    pub copy: KitCopy,
    /// What came of it.
    pub outcome: Result<OpenedCopy, CopyError>,
}

impl OpenedCopy {
    /// The newest snapshot, by what its custodian says of admissions where it does.
    pub fn newest(&self) -> Option<&StoredSnapshot> {
        self.resolve("latest", &SnapshotFilter::default())
    }

    /// The snapshot that is asked for.
    pub fn resolve(&self, text: &str, filter: &SnapshotFilter) -> Option<&StoredSnapshot> {
        let list: Vec<&StoredSnapshot> = self.snapshots.iter().collect();
        let request = SnapshotRequest::from(text);
        let selected = self.session.resolve(&list, &request, filter).ok()?;
        Some(selected.snapshot)
    }
}

/// The custodian that a copy describes, if it is a vault with a token.
pub fn copy_custodian(copy: &KitCopy) -> Option<Custodian> {
    let CopyPlace::Vault {
        addresses,
        pin,
        identity,
        repository,
        token,
    } = &copy.place
    else {
        return None;
    };
    let (token, secret) = token.as_ref()?;
    let invite = Invite {
        addresses: addresses.clone(),
        pin: *pin,
        identity: identity.clone(),
        repository: repository.clone(),
        token: *token,
        secret: secret.to_string(),
        scopes: vec![Scope::Restore],
    };
    Some(Custodian {
        name: copy.name.clone(),
        kind: CustodianKind::Vault(Box::new(invite)),
    })
}

/// Keeps the custodian of a copy on this machine, to read from; gives its name here.
///
/// # Errors
/// [`CustodianError`] if the files cannot be written or the name is taken.
pub fn keep_custodian(places: &Places, copy: &KitCopy) -> Result<Option<String>, CustodianError> {
    let Some(CustodianKind::Vault(invite)) = copy_custodian(copy).map(|custodian| custodian.kind)
    else {
        return Ok(None);
    };
    // The line that is written must be one that is read again.
    let invite: Invite = invite.encode().parse()?;
    let added = Custodians::of(places).add(invite, None)?;
    Ok(Some(added.custodian.name))
}

/// Where a copy is, and how it is reached.
fn reach(
    copy: &KitCopy,
    as_of: Option<&str>,
    connect: &mut ConnectOptions,
) -> Result<(Location, Option<Custodian>), CopyError> {
    if as_of.is_some() && !matches!(copy.place, CopyPlace::Vault { .. }) {
        return Err(CopyError::NoPast);
    }
    match &copy.place {
        CopyPlace::Vault { .. } => {
            let custodian = copy_custodian(copy).ok_or(CopyError::NoToken)?;
            let place = place_of_custodian(custodian, as_of, connect)
                .map_err(|error| CopyError::Away(error.to_string()))?;
            Ok((place.location, place.custodian))
        }
        CopyPlace::Bucket {
            endpoint,
            region,
            bucket,
            prefix,
            access,
        } => {
            // Without a key on paper, the environment may have one.
            if let Some((access_key, secret)) = access {
                connect.s3.credentials = Some(S3Credentials {
                    access_key: access_key.clone(),
                    secret_key: Secret::new(secret.as_str()),
                    session_token: None,
                });
            }
            if !region.is_empty() {
                connect.s3.region = Some(region.clone());
            }
            connect.capabilities = Capabilities::RESTORE;
            let endpoint = endpoint.trim_end_matches('/');
            let location = Location::parse(&format!("s3:{endpoint}/{bucket}/{prefix}"));
            let location = location.map_err(|error| CopyError::Away(error.to_string()))?;
            Ok((location, None))
        }
        CopyPlace::Folder { path, below, mark } => {
            let path = PathBuf::from(path);
            let known = FolderCustodian {
                id: mark.clone(),
                path: path.clone(),
                below: PathBuf::from(below),
                remind_days: NO_REMINDER,
                remote: None,
                is_removable: true,
            };
            let found = if mark.is_empty() {
                Some(path.clone()).filter(|path| path.is_dir())
            } else {
                known.find()
            };
            let away = || CopyError::Away(format!("{} is not there", path.display()));
            Ok((Location::Local(found.ok_or_else(away)?), None))
        }
        CopyPlace::Sftp { address } => {
            let location = Location::parse(address);
            let unusable = |error: outlast_store::StoreError| CopyError::Away(error.to_string());
            Ok((location.map_err(unusable)?, None))
        }
        CopyPlace::Rest { url, login } => {
            if let Some((user, password)) = login {
                connect.rest_user = Some(user.clone());
                connect.rest_password = Some(Secret::new(password.as_str()));
            }
            connect.capabilities = Capabilities::RESTORE;
            let location = Location::parse(&format!("rest:{url}"));
            let location = location.map_err(|error| CopyError::Away(error.to_string()))?;
            Ok((location, None))
        }
    }
}

fn told_by(error: RepoError) -> CopyError {
    match error {
        RepoError::NoRepository { location } => CopyError::Nothing(location),
        RepoError::WrongPassword { .. } => CopyError::WrongKey(error),
        RepoError::Store(
            StoreError::Unavailable { .. } | StoreError::Denied { .. } | StoreError::Location(_),
        )
        | RepoError::Vanished { .. } => CopyError::Away(error.to_string()),
        other => CopyError::Damaged(other),
    }
}

/// Opens one copy and reads its snapshots.
///
/// # Errors
/// [`CopyError`].
pub fn open_copy(copy: &KitCopy, with: &OpenCopies<'_>) -> Result<OpenedCopy, CopyError> {
    let mut connect = with.connect.clone();
    with.patience.apply(&mut connect);
    let (location, custodian) = reach(copy, with.as_of, &mut connect)?;
    let options = SessionOptions {
        location: Some(location),
        connect: connect.clone(),
        password: with.password.clone(),
        key_hint: None,
        cache: with.cache.clone(),
        compression: Compression::Auto,
        pack_bytes: None,
        // A copy that is read-only is as good as any.
        no_lock: true,
        retry_lock: Duration::ZERO,
    };
    let session = Session::open(&options, with.environment.clone(), &with.cancel);
    let session = session.map_err(told_by)?;
    let id = session.repository().config().id;
    if with
        .repository
        .is_some_and(|expected| !id.as_bytes().starts_with(&expected))
    {
        return Err(CopyError::OtherRepository);
    }
    // Without these facts `latest` goes by the times that snapshots claim.
    let facts = match &custodian {
        Some(custodian) => admission_facts(custodian, &connect, &[ObjectKind::Snapshot]).ok(),
        None => None,
    };
    let session = session.with_admissions(facts.unwrap_or_else(AdmissionFacts::default));
    let snapshots = stored_snapshots(session.repository(), &with.cancel).map_err(told_by)?;
    Ok(OpenedCopy { session, snapshots })
}

/// Tries all copies at once.
pub fn open_copies(copies: &[(Option<Section>, KitCopy)], with: &OpenCopies<'_>) -> Vec<TriedCopy> {
    let outcomes: Vec<_> = thread::scope(|scope| {
        let handles: Vec<_> = copies
            .iter()
            .map(|(_, copy)| scope.spawn(move || open_copy(copy, with)))
            .collect();
        let ended = |_| Err(CopyError::Away("the work with it ended".to_owned()));
        handles
            .into_iter()
            .map(|handle| handle.join().unwrap_or_else(ended))
            .collect()
    });
    let tried = |((section, copy), outcome): (&(Option<Section>, KitCopy), _)| TriedCopy {
        section: *section,
        copy: copy.clone(),
        outcome,
    };
    copies.iter().zip(outcomes).map(tried).collect()
}

/// Which snapshot is meant, and the copies that have it, in the order in which to try them: `latest` is
/// the newest that any copy has, so that one that hides the newest hides nothing.
pub fn choose_copy<'a>(
    tried: &'a [TriedCopy],
    text: &str,
    filter: &SnapshotFilter,
) -> Option<(StoredSnapshot, Vec<&'a KitCopy>)> {
    let opened = || {
        tried
            .iter()
            .filter_map(|copy| copy.outcome.as_ref().ok().map(|opened| (copy, opened)))
    };
    let found = opened().filter_map(|(_, opened)| opened.resolve(text, filter));
    let chosen = found.max_by_key(|stored| stored.snapshot.time.instant())?;
    let has_it = |opened: &OpenedCopy| opened.snapshots.iter().any(|stored| stored.id == chosen.id);
    let holders = opened().filter(|(_, opened)| has_it(opened));
    let holders = holders.map(|(tried, _)| &tried.copy).collect();
    Some((chosen.clone(), holders))
}
