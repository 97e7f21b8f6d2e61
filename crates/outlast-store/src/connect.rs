//! From a location to a store that is ready for use.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::clock::SystemClock;
use crate::{
    Capabilities, Deletes, Limit, Limits, LocalStore, Location, RestOptions, RestStore, Restricted,
    Retry, RetryObserver, RetryPolicy, S3Location, S3Options, S3Store, Secret, SftpOptions,
    SftpStore, StoreError, Throttle, Timeouts, TlsOptions,
};

/// Everything about a connection that the location does not say.
#[derive(Clone, Default)]
pub struct ConnectOptions {
    /// The REST user, where the location names neither user nor password.
    pub rest_user: Option<String>,
    /// The REST password, where the location names neither user nor password.
    pub rest_password: Option<Secret>,
    /// What a location behind SFTP does not say.
    pub sftp: SftpOptions,
    /// What the location of a bucket does not say.
    pub s3: S3Options,
    /// How TLS connections are made.
    pub tls: TlsOptions,
    /// Operations at a time; what suits the kind of store where this is `None`.
    pub connections: Option<usize>,
    /// When a connection counts as dead.
    pub timeouts: Timeouts,
    /// What the credentials of a server are good for; the rest is refused here and never asked of the store.
    pub capabilities: Capabilities,
    /// How fast bytes may go.
    pub limits: Limits,
    /// How often and how patiently to try.
    pub retry: RetryPolicy,
    /// Who is told of failures that are being dealt with.
    pub retry_observer: Option<RetryObserver>,
    /// Becomes true when the program is to stop: pauses end then, and nothing is tried again.
    pub cancelled: Arc<AtomicBool>,
}

/// Opens the store at `location`. Nothing is sent and nothing is made yet.
///
/// # Errors
/// [`StoreError::Location`] if there is something else than a folder, or a certificate file cannot
/// be used.
pub fn open(location: &Location, options: &ConnectOptions) -> Result<Arc<dyn Deletes>, StoreError> {
    let clock = Arc::new(SystemClock::with_cancel(Arc::clone(&options.cancelled)));
    let throttle = Throttle::with_clock(options.limits, clock.clone());
    let throttle = (!throttle.is_unlimited()).then(|| Arc::new(throttle));
    let store: Arc<dyn Deletes> = match location {
        Location::Local(path) => {
            let mut store = LocalStore::open(path)?;
            if let Some(connections) = options.connections {
                store = store.with_connections(connections);
            }
            limited(store, throttle)
        }
        Location::Rest(location) => {
            let defaults = RestOptions::default();
            let rest = RestOptions {
                user: options.rest_user.clone(),
                password: options.rest_password.clone(),
                tls: options.tls.clone(),
                connections: options.connections.unwrap_or(defaults.connections),
                timeouts: options.timeouts,
                throttle,
            };
            let store = RestStore::new(location, &rest)?;
            match options.capabilities {
                Capabilities::ALL => Arc::new(store),
                capabilities => Arc::new(Restricted::new(store, capabilities)),
            }
        }
        Location::Sftp(location) => {
            let mut store = SftpStore::new(location, &options.sftp, options.timeouts);
            if let Some(connections) = options.connections {
                store = store.with_connections(connections);
            }
            limited(store, throttle)
        }
        Location::S3(location) => {
            let store = bucket(location, options, throttle)?;
            match options.capabilities {
                Capabilities::ALL => Arc::new(store),
                capabilities => Arc::new(Restricted::new(store, capabilities)),
            }
        }
    };
    let mut retry = Retry::new(store, options.retry.clone()).with_clock(clock);
    if let Some(observer) = &options.retry_observer {
        retry = retry.with_observer(Arc::clone(observer));
    }
    Ok(Arc::new(retry))
}

fn limited(store: impl Deletes + 'static, throttle: Option<Arc<Throttle>>) -> Arc<dyn Deletes> {
    match throttle {
        Some(throttle) => Arc::new(Limit::new(store, throttle)),
        None => Arc::new(store),
    }
}

/// Opens a bucket for what only buckets can do: retention, settings, attempts. Nothing is sent yet, and
/// nothing is tried twice.
///
/// # Errors
/// [`StoreError::Location`] if credentials are missing or a certificate file cannot be used.
pub fn open_bucket(location: &S3Location, options: &ConnectOptions) -> Result<S3Store, StoreError> {
    bucket(location, options, None)
}

fn bucket(
    location: &S3Location,
    options: &ConnectOptions,
    throttle: Option<Arc<Throttle>>,
) -> Result<S3Store, StoreError> {
    let defaults = RestOptions::default();
    let http = RestOptions {
        tls: options.tls.clone(),
        connections: options.connections.unwrap_or(defaults.connections),
        timeouts: options.timeouts,
        throttle,
        ..defaults
    };
    S3Store::new(location, &options.s3, &http)
}
