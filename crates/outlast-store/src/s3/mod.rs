//! A repository in a bucket that speaks S3: AWS, Ceph, Backblaze, Wasabi and others.
//!
//! Its layout is restic's, so that restic and rustic read and write the same bucket. With a period of
//! retention set, every object but locks is written in compliance mode and retained for that period.
//! Objects are found by their content and not by what is newest: [`versions`] says how, so that
//! delete markers and versions planted over objects do no harm. Conditional writes are never relied
//! on, since servers exist that ignore them.
//!
//! Every answer is bounded. Nothing here deletes a retained object, or ever shortens a retention.

mod client;
mod cost;
mod covered;
mod credentials;
mod inspect;
mod layout;
mod listing;
mod location;
mod policy;
mod probe;
mod read;
mod retention;
mod sign;
mod twin;
mod versions;
mod write;
mod xml;

use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use outlast_object::{Id, ObjectKind, ObjectName};
use parking_lot::Mutex;
use ureq::http::Method;

pub use self::client::RequestCounts;
pub use self::cost::{Prices, ROUNDED_PRICES};
pub use self::covered::Covered;
pub use self::credentials::S3Credentials;
pub use self::inspect::{
    BucketFinding, BucketState, DefaultRetention, LifecycleRule, ObjectLock, Setting, Severity,
};
pub use self::listing::read_bucket_page;
pub use self::location::S3Location;
pub use self::policy::{BucketRole, bucket_policy};
pub use self::probe::{Outcome, ProbeAttempt, ProbesLeft};
pub use self::retention::{RETENTION_DAYS_MAX, Renewed, RetainedObject, RetentionMode};

use self::client::{Call, Failure, S3Client};
use self::listing::Version;
use self::versions::Versions;
use crate::port::list_config;
use crate::{Deletes, LockStore, ObjectInfo, RestOptions, Store, StoreError};

/// The document that tells whether a bucket has versions.
const VERSIONING: &str = "VersioningConfiguration";

/// Tells seconds since 1970.
pub type Now = fn() -> u64;

/// How the bucket's name is put into addresses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum S3Style {
    /// Before the host's name at AWS, else in the path.
    #[default]
    Automatic,
    /// `https://host/bucket/key`.
    Path,
    /// `https://bucket.host/key`.
    VirtualHost,
}

/// Everything about a bucket that its location does not say.
#[derive(Debug, Clone)]
pub struct S3Options {
    /// Whose keys sign; from the environment or a file if none are given.
    pub credentials: Option<S3Credentials>,
    /// The region; by the host's name or `us-east-1` where none is given, and corrected where the
    /// server says another.
    pub region: Option<String>,
    /// How the bucket's name is put into addresses.
    pub style: S3Style,
    /// For how long objects are retained from their writing, in compliance mode. At most
    /// [`RETENTION_DAYS_MAX`]. Without it nothing of ours protects them.
    pub retention: Option<Duration>,
    /// The present, for signatures and retention. A clock that is wrong by more than some minutes is
    /// refused by the servers, so that it can neither shorten nor prolong by much.
    pub now: Now,
}

impl Default for S3Options {
    fn default() -> Self {
        Self {
            credentials: None,
            region: None,
            style: S3Style::default(),
            retention: None,
            now: system_now,
        }
    }
}

fn system_now() -> u64 {
    // A clock before 1970 is wrong; the server will say so.
    let passed = SystemTime::now().duration_since(UNIX_EPOCH);
    passed.map_or(0, |passed| passed.as_secs())
}

/// A repository in a bucket.
pub struct S3Store {
    client: S3Client,
    connections: usize,
    retention: Option<Duration>,
    /// Whether the bucket has, or had, versions. Asked once.
    has_versions: OnceLock<bool>,
    versions: Versions,
    /// Held while a config is written: two writers of this process never both think that they were
    /// first.
    config: Mutex<()>,
}

impl S3Store {
    /// A store at `location`. Nothing is sent yet.
    ///
    /// # Errors
    /// [`StoreError::Location`] if credentials are missing, certificates cannot be used, or the period
    /// of retention is longer than any may be.
    pub fn new(
        location: &S3Location,
        options: &S3Options,
        http: &RestOptions,
    ) -> Result<Self, StoreError> {
        retention::check_period(options.retention)?;
        Ok(Self {
            client: S3Client::new(location, options, http)?,
            connections: http.connections.max(1),
            retention: options.retention,
            has_versions: OnceLock::new(),
            versions: Versions::default(),
            config: Mutex::new(()),
        })
    }

    /// A store of another bucket of the same server, without retention.
    fn beside(&self, client: S3Client) -> Self {
        Self {
            client,
            connections: self.connections,
            retention: None,
            has_versions: OnceLock::new(),
            versions: Versions::default(),
            config: Mutex::new(()),
        }
    }

    /// Requests so far.
    pub fn request_counts(&self) -> RequestCounts {
        self.client.counts()
    }

    fn key(&self, name: &ObjectName) -> String {
        layout::key_of(&self.client.place().prefix, name)
    }

    fn failed(&self, verb: &str, name: &ObjectName, failure: Failure) -> StoreError {
        self.client.error(verb, Some(name), failure)
    }

    fn not_found(&self, name: &ObjectName) -> StoreError {
        StoreError::NotFound {
            name: *name,
            location: self.location(),
        }
    }

    /// Whether objects are to be sought among versions.
    fn has_versions(&self) -> Result<bool, StoreError> {
        if let Some(known) = self.has_versions.get() {
            return Ok(*known);
        }
        let failed = |failure| self.client.error("look for versions", None, failure);
        let asked = self.client.document(
            &Call::bucket(Method::GET).query("versioning", ""),
            &[VERSIONING],
        );
        let found = match asked {
            // Suspended: what was written before still has versions.
            Ok(answer) => matches!(answer.text_of("Status"), Some("Enabled" | "Suspended")),
            // Nothing has versions before there is a bucket; `prepare` makes one.
            Err(Failure::Status { code, .. }) if code == "NoSuchBucket" => return Ok(false),
            // Those who may not ask can see whether versions can be listed.
            Err(failure) if failure.is_refused() || failure.is_unknown_request() => {
                let place = layout::prefix_of(&self.client.place().prefix, ObjectKind::Key);
                match listing::versions(&self.client, &place, &mut |_| false) {
                    Ok(()) => true,
                    Err(failure) if failure.is_refused() || failure.is_unknown_request() => false,
                    Err(failure) => return Err(failed(failure)),
                }
            }
            Err(failure) => return Err(failed(failure)),
        };
        Ok(*self.has_versions.get_or_init(|| found))
    }

    fn make_bucket(&self) -> Result<(), Failure> {
        let mut call = Call::bucket(Method::PUT);
        if self.retention.is_some() {
            call = call.header("x-amz-bucket-object-lock-enabled", "true");
        }
        let region = self.client.region();
        let body = format!(
            "<CreateBucketConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
             <LocationConstraint>{}</LocationConstraint></CreateBucketConfiguration>",
            xml::escape(&region)
        );
        if region != "us-east-1" {
            call = call.body(client::Payload::new(body.as_bytes()));
        }
        match self.client.send(&call) {
            Ok(_) => Ok(()),
            Err(Failure::Status { code, .. }) if code == "BucketAlreadyOwnedByYou" => Ok(()),
            Err(failure) => Err(failure),
        }
    }

    /// The versions of an object, newest first, whatever is planted among them.
    fn versions_of(&self, name: &ObjectName) -> Result<Vec<Version>, StoreError> {
        listing::versions_of(&self.client, &self.key(name))
            .map_err(|failure| self.failed("look up", name, failure))
    }

    fn remove(&self, name: &ObjectName) -> Result<(), StoreError> {
        let key = self.key(name);
        let is_lock = name.kind() == ObjectKind::Lock;
        if self.retention.is_some() && !is_lock {
            return Err(StoreError::DeletesRefused {
                location: self.location(),
                reason: "objects are retained in compliance mode".to_owned(),
            });
        }
        let delete = |version: Option<&str>| {
            let call = Call::object(Method::DELETE, &key).version(version);
            match self.client.send(&call) {
                Err(failure) if !failure.is_not_found() => Err(failure),
                _ => Ok(()),
            }
        };
        let refused = |failure: Failure| match self.failed("delete", name, failure) {
            StoreError::Denied { reason, .. } if !is_lock => StoreError::DeletesRefused {
                location: self.location(),
                reason,
            },
            error => error,
        };
        self.versions.forget(name);
        if !self.has_versions()? {
            return delete(None).map_err(refused);
        }
        let versions = self.versions_of(name)?;
        for version in &versions {
            match delete(Some(&version.id)) {
                Ok(()) => {}
                // A lock that the bucket's default retains goes out of sight.
                Err(failure) if is_lock && failure.is_refused() => {
                    let hidden = versions.first().is_some_and(|newest| newest.is_marker);
                    return if hidden {
                        Ok(())
                    } else {
                        delete(None).map_err(refused)
                    };
                }
                Err(failure) => return Err(refused(failure)),
            }
        }
        Ok(())
    }
}

impl Store for S3Store {
    fn location(&self) -> String {
        self.client.location.clone()
    }

    fn connections(&self) -> usize {
        self.connections
    }

    fn prepare(&self) -> Result<(), StoreError> {
        let failed = |failure| self.client.error("make the bucket", None, failure);
        match self.client.send(&Call::bucket(Method::HEAD)) {
            Ok(_) => Ok(()),
            Err(Failure::Status { status: 404, .. }) => self.make_bucket().map_err(failed),
            // Those who may write need not be allowed to look at the bucket.
            Err(failure) if failure.is_refused() => Ok(()),
            Err(failure) => Err(failed(failure)),
        }
    }

    fn write(&self, name: &ObjectName, bytes: &[u8]) -> Result<(), StoreError> {
        self.write_object(name, bytes)
    }

    fn read(&self, name: &ObjectName) -> Result<Vec<u8>, StoreError> {
        self.read_object(name)
    }

    fn read_range(
        &self,
        name: &ObjectName,
        offset: u64,
        length: usize,
    ) -> Result<Vec<u8>, StoreError> {
        self.read_part(name, offset, length)
    }

    fn size(&self, name: &ObjectName) -> Result<u64, StoreError> {
        Ok(self.find(name)?.size)
    }

    fn list(&self, kind: ObjectKind, visit: &mut dyn FnMut(ObjectInfo)) -> Result<(), StoreError> {
        if kind == ObjectKind::Config {
            return list_config(self, visit);
        }
        let prefix = &self.client.place().prefix;
        let place = layout::prefix_of(prefix, kind);
        let listed = if self.has_versions()? {
            listing::versions(&self.client, &place, &mut |versions| {
                let key = versions.first().map_or("", |version| version.key.as_str());
                if let Some(name) = layout::name_of(prefix, kind, key)
                    && let Some(size) = self.versions.shown(&name, &versions)
                {
                    let id = name.id();
                    visit(ObjectInfo { id, size });
                }
                true
            })
        } else {
            listing::objects(&self.client, &place, &mut |key, size| {
                if let Some(name) = layout::name_of(prefix, kind, key) {
                    let id = name.id();
                    visit(ObjectInfo { id, size });
                }
            })
        };
        listed.map_err(|failure| {
            let verb = format!("list {}", kind.folder());
            self.client.error(&verb, None, failure)
        })
    }
}

impl LockStore for S3Store {
    fn remove_lock(&self, id: &Id) -> Result<(), StoreError> {
        self.remove(&ObjectName::new(ObjectKind::Lock, *id))
    }
}

impl Deletes for S3Store {
    fn delete(&self, name: &ObjectName) -> Result<(), StoreError> {
        self.remove(name)
    }
}
