//! `custodian add s3:…`: a bucket as a custodian.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use outlast_ops::{
    BUCKET_RETENTION_DAYS, BucketCustodian, BucketKeys, BucketLookup, BucketUse, Custodian,
    Custodians,
};
use outlast_store::{RETENTION_DAYS_MAX, S3Credentials, Setting, Severity, Store};

use crate::context::Context;
use crate::exit::Failure;
use crate::render::message;

/// What is said of a bucket.
#[derive(Debug, Args)]
pub struct BucketArguments {
    /// The region of a bucket, where the server does not tell it
    #[arg(long)]
    region: Option<String>,
    /// How a bucket's name is put into addresses
    #[arg(long, value_enum, default_value_t)]
    lookup: Lookup,
    /// For how long a bucket retains every object, in days
    #[arg(long, value_name = "DAYS", default_value_t = BUCKET_RETENTION_DAYS, value_parser = clap::value_parser!(u64).range(1..=RETENTION_DAYS_MAX))]
    retention_days: u64,
    /// Who answers for a bucket; a party of its own unless it is said
    #[arg(long)]
    party: Option<String>,
    /// The profile with keys that add to a bucket; from the environment at each use unless it is said
    #[arg(long, value_name = "PROFILE")]
    profile: Option<String>,
    /// The profile with keys that extend retention and do nothing else
    #[arg(long, value_name = "PROFILE")]
    renew_profile: Option<String>,
    /// The profile with keys that read everything; those that add need not read data then
    #[arg(long, value_name = "PROFILE")]
    read_profile: Option<String>,
    /// The file of these profiles; AWS_SHARED_CREDENTIALS_FILE or ~/.aws/credentials unless it is said
    #[arg(long, value_name = "FILE")]
    credentials_file: Option<PathBuf>,
    /// Keep the keys themselves in the custodian's file, which its owner alone can read
    #[arg(long)]
    keep_keys: bool,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum Lookup {
    /// As suits the host
    #[default]
    Auto,
    /// In the path
    Path,
    /// Before the host's name
    Dns,
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

impl BucketArguments {
    fn file(&self) -> Result<PathBuf, Failure> {
        let set = || variable("AWS_SHARED_CREDENTIALS_FILE").map(PathBuf::from);
        let usual = || Some(Path::new(&variable("HOME")?).join(".aws/credentials"));
        let file = self.credentials_file.clone().or_else(set).or_else(usual);
        let file = file.ok_or_else(|| Failure::new("no file of credentials is known"))?;
        Ok(std::path::absolute(file)?)
    }

    fn keys(&self, profile: Option<&String>) -> Result<Option<BucketKeys>, Failure> {
        let Some(profile) = profile else {
            return Ok(None);
        };
        let keys = BucketKeys::Profile {
            profile: profile.clone(),
            file: self.file()?,
        };
        // A profile that is not there is told now and not at night.
        let credentials = keys.credentials()?;
        Ok(Some(match self.keep_keys {
            true => BucketKeys::keep(&credentials),
            false => keys,
        }))
    }

    fn describe(&self, location: &str) -> Result<BucketCustodian, Failure> {
        let mut write = self.keys(self.profile.as_ref())?;
        if write.is_none() && self.keep_keys {
            write = Some(BucketKeys::keep(&S3Credentials::find(&variable)?));
        }
        Ok(BucketCustodian {
            location: location.to_owned(),
            region: self.region.clone(),
            lookup: match self.lookup {
                Lookup::Auto => BucketLookup::Auto,
                Lookup::Path => BucketLookup::Path,
                Lookup::Dns => BucketLookup::Dns,
            },
            retention_days: Some(self.retention_days),
            party: self.party.clone(),
            write,
            renew: self.keys(self.renew_profile.as_ref())?,
            read: self.keys(self.read_profile.as_ref())?,
            is_reader: false,
        })
    }
}

/// Adds the bucket at `location`, after a look at it unless that is not wanted.
pub fn add(
    context: &Context,
    custodians: &Custodians,
    (location, name): (&str, Option<&str>),
    arguments: &BucketArguments,
    no_check: bool,
) -> Result<Custodian, Failure> {
    let mut bucket = arguments.describe(location)?;
    let place = bucket.place()?;
    let usual = place.bucket.to_lowercase();
    let name = name.unwrap_or(&usual);
    if !no_check {
        check(context, &mut bucket)?;
    }
    let added = custodians.add_bucket(name, bucket);
    added.map_err(|error| Failure::from(error).hint("choose a name with --name"))
}

/// Makes the bucket if it is not there, and says what is wrong with it. One without Object Lock is taken for
/// what it is.
fn check(context: &Context, bucket: &mut BucketCustodian) -> Result<(), Failure> {
    let connect = context.connect_options()?;
    // A machine that only renews has no keys to look with but those.
    let is_renewer = bucket.write.is_none() && bucket.renew.is_some();
    let keys = match is_renewer && S3Credentials::find(&variable).is_err() {
        true => BucketUse::Renew,
        false => BucketUse::Write,
    };
    let store = bucket.open(keys, &connect)?;
    if keys == BucketUse::Write {
        let hint = "is the address right, and do the keys belong to it? --no-check adds it unseen";
        let ready = store.prepare();
        ready.map_err(|error| Failure::from(error).hint(hint))?;
    }
    let state = store.inspect();
    let has_lock = !matches!(&state.lock, Setting::Known(lock) if !lock.enabled);
    for finding in store.findings(&state, bucket.period()) {
        if finding.severity > Severity::Note {
            message::warning(&format!("{}; {}", finding.what, finding.advice));
        }
    }
    if !has_lock {
        bucket.retention_days = None;
        message::warning(
            "nothing retains what is kept there: it is added as an unprotected copy, which never counts \
             as held",
        );
    }
    Ok(())
}
