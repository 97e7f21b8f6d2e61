//! Making a kit: finding the copies, and a key for it.
//!
//! Where every copy takes key files, the kit gets a password of its own: a key file more, so that the
//! kit stays good when the daily password is changed. A vault takes none after its repository was made,
//! and one secret must open all copies; so where one is a vault, or away, the kit holds the password
//! that is there.

use std::path::PathBuf;

use outlast_custody::Scope;
use outlast_format::ScryptCost;
use outlast_object::{ObjectKind, ObjectName};
use outlast_repo::{Cancel, Environment, NewKey, RepoError, add_verified_key};
use outlast_store::{ConnectOptions, Location, S3Credentials, StoreError};
use outlast_wire::Invite;
use zeroize::Zeroizing;

use super::content::{CopyPlace, KitCopy, KitId, KitKey, Sheet};
use super::lines::SECTIONS_MAX;
use super::split::{BLINDING_BYTES, SplitError, split};
use crate::config::{ConfigurationError, Places};
use crate::custodian::{
    Custodian, CustodianError, Custodians, find_place, is_custodian_location, place_of_custodian,
};
use crate::session::{CacheChoice, Session, SessionOptions};

/// Random bytes of a kit's own password.
const PASSWORD_BYTES: usize = 20;
/// The user that the kit's key file names.
const KEY_USER: &str = "recovery-kit";

/// Why there is no kit.
#[derive(Debug, thiserror::Error)]
pub enum MakeError {
    /// The custodians.
    #[error(transparent)]
    Custodian(#[from] CustodianError),
    /// A repository.
    #[error(transparent)]
    Repository(#[from] RepoError),
    /// The numbers of shares.
    #[error(transparent)]
    Split(#[from] SplitError),
    /// No copy opens.
    #[error("none of the copies opens with this password: {0}")]
    NoCopy(String),
    /// More copies than a kit has room for.
    #[error("a kit has room for {SECTIONS_MAX} copies")]
    TooMany,
    /// No randomness.
    #[error("the operating system gives no randomness: {0}")]
    Randomness(String),
}

impl From<ConfigurationError> for MakeError {
    fn from(error: ConfigurationError) -> Self {
        Self::Custodian(error.into())
    }
}

/// What a kit is to be made of.
pub struct KitRequest {
    /// A repository beside those of custodians, or that of one.
    pub location: String,
    /// The password that opens it.
    pub password: Zeroizing<Vec<u8>>,
    /// Invites to read with, which this machine does not keep.
    pub invites: Vec<Invite>,
    /// A key that reads buckets, to be put on paper.
    pub bucket_access: Option<S3Credentials>,
    /// How many shares bring back the key, and how many there are.
    pub split: Option<(u8, u8)>,
    /// The password that is there, and no key of the kit's own.
    pub existing_password: bool,
    /// How connections are made.
    pub connect: ConnectOptions,
}

/// A kit.
pub struct MadeKit {
    /// Its sheets: one, or one for each share.
    pub sheets: Vec<Sheet>,
    /// Whether a key file of its own was added to every copy.
    pub has_own_key: bool,
    /// What whoever made it should know.
    pub warnings: Vec<String>,
}

/// A place that may keep a copy.
struct Candidate {
    copy: KitCopy,
    custodian: Option<Custodian>,
}

/// Makes a kit. With a key of its own, key files are added to all copies.
///
/// # Errors
/// [`MakeError`].
pub fn make_kit(
    places: &Places,
    request: &KitRequest,
    environment: &Environment,
    cancel: &Cancel,
) -> Result<MadeKit, MakeError> {
    let mut warnings = Vec::new();
    let candidates = find_candidates(places, request)?;
    let (mut copies, mut opened, mut unseen) = (Vec::new(), Vec::new(), false);
    let mut reasons = Vec::new();
    let mut repository = None;
    for candidate in candidates {
        let name = candidate.copy.name.clone();
        match open_candidate(&candidate, request, environment, cancel) {
            Ok(session) => {
                let id = session.repository().config().id;
                if *repository.get_or_insert(id) != id {
                    warnings.push(format!(
                        "{name} keeps another repository and is not on the kit"
                    ));
                    continue;
                }
                opened.push(session);
            }
            Err(MakeError::Repository(RepoError::WrongPassword { .. })) => {
                reasons.push(format!("{name}: wrong password"));
                warnings.push(format!(
                    "{name} does not open with this password and is not on the kit"
                ));
                continue;
            }
            Err(error) => {
                unseen = true;
                reasons.push(format!("{name}: {error}"));
                warnings.push(format!(
                    "{name} is on the kit, but could not be tried now: {error}"
                ));
            }
        }
        if let CopyPlace::Vault {
            token: None,
            repository,
            ..
        } = &candidate.copy.place
        {
            warnings.push(format!(
                "{name}: the kit has no token to read with; its operator makes one with \
                 `outlast-vault invite {repository} --scope restore`, and --invite puts it on paper"
            ));
        }
        if matches!(candidate.copy.place, CopyPlace::Bucket { access: None, .. }) {
            warnings.push(format!(
                "{name}: the kit has no key to read the bucket with; make one that can read versions \
                 and nothing else, and --bucket-key puts it on paper"
            ));
        }
        copies.push(candidate.copy);
    }
    let Some(repository) = repository else {
        return Err(MakeError::NoCopy(reasons.join("; ")));
    };
    if copies.len() > usize::from(SECTIONS_MAX) {
        return Err(MakeError::TooMany);
    }
    let id = KitId(random()?);
    let takes_keys = |session: &Session| {
        let capabilities = session.repository().store().capabilities();
        capabilities.adds_keys && capabilities.adds
    };
    let is_vault = |copy: &KitCopy| matches!(copy.place, CopyPlace::Vault { .. });
    let has_own_key = !request.existing_password
        && !unseen
        && opened.iter().all(takes_keys)
        && !copies.iter().any(is_vault);
    let own = match has_own_key {
        true => add_key_everywhere(&id, &opened)?,
        false => None,
    };
    let has_own_key = own.is_some();
    let password = own.unwrap_or_else(|| request.password.clone());
    let mut begin = [0; 16];
    begin.copy_from_slice(&repository.as_bytes()[..16]);
    let sheet = |key| Sheet {
        id,
        repository: begin,
        key,
        copies: copies.clone(),
    };
    let sheets = match request.split {
        None => vec![sheet(KitKey::Whole(password))],
        Some(numbers) => {
            let shares = split(&id, &password, numbers, &random::<BLINDING_BYTES>()?)?;
            shares
                .into_iter()
                .map(|share| sheet(KitKey::Share(share)))
                .collect()
        }
    };
    Ok(MadeKit {
        sheets,
        has_own_key,
        warnings,
    })
}

fn random<const N: usize>() -> Result<[u8; N], MakeError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| MakeError::Randomness(error.to_string()))?;
    Ok(bytes)
}

/// The repository that was named, and all custodians; a vault with one token to append and one to
/// restore is one place.
fn find_candidates(places: &Places, request: &KitRequest) -> Result<Vec<Candidate>, MakeError> {
    let mut candidates: Vec<Candidate> = Vec::new();
    if !is_custodian_location(&request.location) {
        let place = find_place(&request.location, None, &mut request.connect.clone())?;
        candidates.push(Candidate {
            copy: KitCopy {
                name: "repository".to_owned(),
                place: describe_location(
                    &place.location,
                    &request.connect,
                    request.bucket_access.as_ref(),
                ),
            },
            custodian: None,
        });
    }
    let mut custodians = Custodians::of(places).list()?;
    let named = |invite: &Invite| Custodian {
        name: invite.identity.name().to_owned(),
        kind: crate::custodian::CustodianKind::Vault(Box::new(invite.clone())),
    };
    // The one that was named says which repository is meant; then those that take backups, so that each
    // place has their name.
    custodians.sort_by_key(|custodian| {
        let is_named = custodian.location() == request.location;
        (!is_named, !custodian.takes_backups())
    });
    custodians.extend(request.invites.iter().map(named));
    for custodian in custodians {
        if let Some(invite) = custodian.invite() {
            add_vault(&mut candidates, &custodian, invite);
        } else if let Some(folder) = custodian.folder().filter(|folder| !folder.is_remote()) {
            let path = folder.find().unwrap_or_else(|| folder.path.clone());
            let text = |path: &PathBuf| path.to_string_lossy().into_owned();
            candidates.push(Candidate {
                copy: KitCopy {
                    name: custodian.name.clone(),
                    place: CopyPlace::Folder {
                        path: text(&path),
                        below: text(&folder.below),
                        mark: folder.id.clone(),
                    },
                },
                custodian: Some(custodian),
            });
        } else {
            let mut connect = request.connect.clone();
            let place = place_of_custodian(custodian.clone(), None, &mut connect)?;
            // Keys that only read are for the paper, if there are such.
            let read = custodian.bucket().and_then(|bucket| bucket.read.as_ref());
            let read = read.and_then(|keys| keys.credentials().ok());
            let access = request.bucket_access.as_ref().or(read.as_ref());
            candidates.push(Candidate {
                copy: KitCopy {
                    name: custodian.name.clone(),
                    place: describe_location(&place.location, &connect, access),
                },
                custodian: Some(custodian),
            });
        }
    }
    Ok(candidates)
}

fn add_vault(candidates: &mut Vec<Candidate>, custodian: &Custodian, invite: &Invite) {
    let token = invite.scopes.contains(&Scope::Restore).then(|| {
        let secret = Zeroizing::new(invite.secret.clone());
        (invite.token, secret)
    });
    let same = candidates.iter_mut().find(|known| match &known.copy.place {
        CopyPlace::Vault {
            identity,
            repository,
            ..
        } => *identity == invite.identity && *repository == invite.repository,
        _ => false,
    });
    if let Some(known) = same {
        if let (CopyPlace::Vault { token: known, .. }, Some(token)) = (&mut known.copy.place, token)
        {
            *known = Some(token);
        }
        return;
    }
    candidates.push(Candidate {
        copy: KitCopy {
            name: custodian.name.clone(),
            place: CopyPlace::Vault {
                addresses: invite.addresses.clone(),
                pin: invite.pin,
                identity: invite.identity.clone(),
                repository: invite.repository.clone(),
                token,
            },
        },
        custodian: Some(custodian.clone()),
    });
}

/// What is known of a location. The keys to a bucket that this machine has can do more than to read, so that
/// they are not put on paper.
fn describe_location(
    location: &Location,
    connect: &ConnectOptions,
    bucket_access: Option<&S3Credentials>,
) -> CopyPlace {
    match location {
        Location::Local(path) => {
            let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
            CopyPlace::Folder {
                path: path.to_string_lossy().into_owned(),
                below: String::new(),
                mark: String::new(),
            }
        }
        Location::Rest(rest) => {
            let user = rest.user.clone().or_else(|| connect.rest_user.clone());
            let password = rest.password.as_ref().or(connect.rest_password.as_ref());
            let login = user.zip(password.map(|secret| Zeroizing::new(secret.reveal().to_owned())));
            CopyPlace::Rest {
                url: rest.url.to_string(),
                login,
            }
        }
        Location::Sftp(sftp) => CopyPlace::Sftp {
            address: sftp.to_string(),
        },
        Location::S3(bucket) => CopyPlace::Bucket {
            endpoint: bucket.endpoint.to_string(),
            region: connect.s3.region.clone().unwrap_or_default(),
            bucket: bucket.bucket.clone(),
            prefix: bucket.prefix.clone(),
            access: bucket_access.map(|credentials| {
                let secret = Zeroizing::new(credentials.secret_key.reveal().to_owned());
                (credentials.access_key.clone(), secret)
            }),
        },
    }
}

fn open_candidate(
    candidate: &Candidate,
    request: &KitRequest,
    environment: &Environment,
    cancel: &Cancel,
) -> Result<Session, MakeError> {
    let mut connect = request.connect.clone();
    connect.retry.attempts_max = 3;
    let location = match &candidate.custodian {
        Some(custodian) => place_of_custodian(custodian.clone(), None, &mut connect)?.location,
        None => find_place(&request.location, None, &mut connect)?.location,
    };
    let options = SessionOptions {
        location: Some(location),
        connect,
        password: request.password.clone(),
        key_hint: None,
        cache: CacheChoice::Off,
        compression: outlast_format::Compression::Auto,
        pack_bytes: None,
        no_lock: true,
        retry_lock: std::time::Duration::ZERO,
    };
    Ok(Session::open(&options, environment.clone(), cancel)?)
}

/// Adds one key file, the same at all copies; gives its password. None where one of them takes no keys.
fn add_key_everywhere(
    id: &KitId,
    opened: &[Session],
) -> Result<Option<Zeroizing<Vec<u8>>>, MakeError> {
    let random = Zeroizing::new(random::<PASSWORD_BYTES>()?);
    let password = Zeroizing::new(super::lines::readable(&*random).into_bytes());
    let [first, others @ ..] = opened else {
        return Err(MakeError::NoCopy(String::new()));
    };
    let new = NewKey {
        password: &password,
        // 160 random bits are guessed at no speed.
        cost: ScryptCost::RANDOM_PASSWORD,
        username: KEY_USER,
        hostname: &id.to_string(),
    };
    let key = match add_verified_key(first.repository(), &new) {
        Err(RepoError::KeysRefused { .. }) => return Ok(None),
        result => result?,
    };
    let name = ObjectName::new(ObjectKind::Key, key);
    let bytes = first
        .repository()
        .store()
        .read(&name)
        .map_err(RepoError::from)?;
    for session in others {
        // What was added before a refusal opens nothing for anybody: nobody gets its password.
        match session.repository().store().write(&name, &bytes) {
            Err(StoreError::Denied { .. }) => return Ok(None),
            result => result.map_err(RepoError::from)?,
        }
    }
    Ok(Some(password))
}
