//! Buckets as custodians: where each is, for how long it retains, and whose keys are for what.

use std::path::PathBuf;
use std::time::Duration;

use outlast_store::{
    ConnectOptions, Location, S3Credentials, S3Location, S3Store, S3Style, Secret, StoreError,
    open_bucket,
};
use serde::{Deserialize, Serialize};

use super::CustodianError;

/// For how long objects are retained where nobody says, days.
pub const RETENTION_DAYS: u64 = 90;
const DAY_SECONDS: u64 = 86_400;

/// A bucket that keeps a copy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BucketCustodian {
    /// Where it is, as `s3:https://HOST/BUCKET/PATH`.
    pub location: String,
    /// The region, where the server does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// How its name is put into addresses.
    #[serde(default)]
    pub lookup: BucketLookup,
    /// For how long every object is retained, days; none for a bucket without Object Lock, where
    /// nothing is protected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention_days: Option<u64>,
    /// Who answers for it; a party of its own unless it is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub party: Option<String>,
    /// Keys that add; from the environment unless they are said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub write: Option<BucketKeys>,
    /// Keys that extend; those that add unless they are said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renew: Option<BucketKeys>,
    /// Keys that read everything; those that add unless they are said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read: Option<BucketKeys>,
    /// Whether it is meant as a place to read from.
    #[serde(skip)]
    pub is_reader: bool,
}

/// How the bucket's name is put into addresses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BucketLookup {
    /// As suits the host.
    #[default]
    Auto,
    /// In the path.
    Path,
    /// Before the host's name.
    Dns,
}

/// Where keys are.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum BucketKeys {
    /// In a file of credentials.
    Profile {
        /// The profile.
        profile: String,
        /// The file.
        file: PathBuf,
    },
    /// Here.
    Here {
        /// The name of the key.
        access_key: String,
        /// What signs.
        secret_key: String,
        /// What goes with temporary keys.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        session_token: Option<String>,
    },
}

impl std::fmt::Debug for BucketKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Profile { profile, file } => write!(f, "profile {profile:?} of {file:?}"),
            Self::Here { access_key, .. } => write!(f, "key {access_key:?}"),
        }
    }
}

/// What keys are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BucketUse {
    /// Adding.
    Write,
    /// Extending.
    Renew,
    /// Reading everything.
    Read,
}

impl BucketUse {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Write, Self::Renew, Self::Read];

    /// What the keys are called.
    pub fn noun(self) -> &'static str {
        match self {
            Self::Write => "key",
            Self::Renew => "renewer's key",
            Self::Read => "reader's key",
        }
    }
}

impl BucketKeys {
    /// Keys that are kept in the custodian's own file.
    pub fn keep(credentials: &S3Credentials) -> Self {
        let token = credentials.session_token.as_ref();
        Self::Here {
            access_key: credentials.access_key.clone(),
            secret_key: credentials.secret_key.reveal().to_owned(),
            session_token: token.map(|token| token.reveal().to_owned()),
        }
    }

    /// The keys themselves.
    ///
    /// # Errors
    /// [`StoreError::Location`] if the file has no such profile.
    pub fn credentials(&self) -> Result<S3Credentials, StoreError> {
        match self {
            Self::Profile { profile, file } => S3Credentials::read(file, profile),
            Self::Here {
                access_key,
                secret_key,
                session_token,
            } => Ok(S3Credentials {
                access_key: access_key.clone(),
                secret_key: Secret::new(secret_key),
                session_token: session_token.as_ref().map(Secret::new),
            }),
        }
    }
}

impl BucketCustodian {
    /// Where the bucket is.
    ///
    /// # Errors
    /// [`StoreError::Location`] if the text of the file names no bucket.
    pub fn place(&self) -> Result<S3Location, StoreError> {
        match Location::parse(&self.location)? {
            Location::S3(place) => Ok(place),
            _ => Err(StoreError::Location(format!(
                "{:?} is no bucket",
                self.location
            ))),
        }
    }

    /// For how long objects are retained; none where nothing is.
    pub fn period(&self) -> Option<Duration> {
        self.retention_days
            .map(|days| Duration::from_secs(days.saturating_mul(DAY_SECONDS)))
    }

    /// The keys that were given for this use alone.
    pub fn own_keys(&self, use_: BucketUse) -> Option<&BucketKeys> {
        match use_ {
            BucketUse::Write => self.write.as_ref(),
            BucketUse::Renew => self.renew.as_ref(),
            BucketUse::Read => self.read.as_ref(),
        }
    }

    /// Says in `connect` how the bucket is reached for a use.
    ///
    /// # Errors
    /// [`StoreError::Location`] for keys that are not where they should be.
    pub fn configure(
        &self,
        use_: BucketUse,
        connect: &mut ConnectOptions,
    ) -> Result<(), StoreError> {
        let keys = self.own_keys(use_).or(self.write.as_ref());
        if let Some(keys) = keys {
            connect.s3.credentials = Some(keys.credentials()?);
        }
        if let Some(region) = &self.region {
            connect.s3.region = Some(region.clone());
        }
        connect.s3.style = match self.lookup {
            BucketLookup::Auto => S3Style::Automatic,
            BucketLookup::Path => S3Style::Path,
            BucketLookup::Dns => S3Style::VirtualHost,
        };
        connect.s3.retention = self.period();
        Ok(())
    }

    /// The bucket, for what only buckets can do.
    ///
    /// # Errors
    /// [`CustodianError::Store`].
    pub fn open(
        &self,
        use_: BucketUse,
        connect: &ConnectOptions,
    ) -> Result<S3Store, CustodianError> {
        let mut connect = connect.clone();
        self.configure(use_, &mut connect)?;
        Ok(open_bucket(&self.place()?, &connect)?)
    }

    /// The same bucket with the keys that read, if there are any.
    pub fn reader(&self) -> Option<Self> {
        self.read.is_some().then(|| Self {
            is_reader: true,
            ..self.clone()
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::folder::Described;
    use super::*;

    #[test]
    fn descriptions_come_back_without_their_secrets_in_messages() {
        let bucket = BucketCustodian {
            location: "s3:https://host/bucket/a".to_owned(),
            region: Some("north".to_owned()),
            lookup: BucketLookup::Path,
            retention_days: Some(30),
            party: Some("Cloud Inc".to_owned()),
            write: Some(BucketKeys::Here {
                access_key: "name".to_owned(),
                secret_key: "geheim".to_owned(),
                session_token: None,
            }),
            renew: Some(BucketKeys::Profile {
                profile: "renewer".to_owned(),
                file: PathBuf::from("/etc/keys"),
            }),
            read: None,
            is_reader: false,
        };
        let text = Described::Bucket(Box::new(bucket.clone())).to_text();
        let Described::Bucket(again) = toml::from_str(&text).unwrap() else {
            unreachable!("{text}");
        };
        assert_eq!(*again, bucket);
        assert!(!format!("{again:?}").contains("geheim"));
        let mut connect = ConnectOptions::default();
        again.configure(BucketUse::Read, &mut connect).unwrap();
        assert_eq!(connect.s3.credentials.unwrap().access_key, "name");
        assert_eq!(connect.s3.style, S3Style::Path);
        assert!(again.reader().is_none());
        for more in ["more = 1\n", "[read]\nprofile = 'x'\n"] {
            let text = format!("kind = 'bucket'\nlocation = 's3:https://h/b'\n{more}");
            assert!(toml::from_str::<Described>(&text).is_err(), "{text}");
        }
    }
}
