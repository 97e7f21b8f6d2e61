//! `bucket`: checks, rights, retention and attempts for buckets that speak S3.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::{Args, Subcommand, ValueEnum};
use outlast_object::{ObjectKind, ObjectName};
use outlast_ops::{BucketRenewal, Custodians, Places, Renewals};
use outlast_store::{
    BucketRole, Location, Outcome, RETENTION_DAYS_MAX, ROUNDED_PRICES, S3Location, S3Store,
    Severity, Store, bucket_policy, open_bucket,
};
use serde::Serialize;

use crate::context::Context;
use crate::exit::{self, Failure};
use crate::render::progress::Progress;
use crate::render::{json, message};

const DAY: Duration = Duration::from_secs(86_400);
/// What is retained where nobody says for how long.
const RETENTION_DAYS: u64 = 90;
/// Objects that could not be extended, as far as they are named.
const FAILED_SHOWN: usize = 10;

/// Arguments of `bucket`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    act: Act,
}

#[derive(Debug, Subcommand)]
enum Act {
    /// Say what is wrong with a bucket, and how to mend it
    Check(Place),
    /// Print the smallest set of rights that does, as a policy
    Policy(PolicyArguments),
    /// Extend the retention of what is needed and has less than two thirds of the period left
    Renew(Renew),
    /// Try to destroy what the bucket retains, on small objects made for it
    Probe(ProbeArguments),
}

#[derive(Debug, Args)]
struct Place {
    /// Where, as s3:https://HOST/BUCKET/PATH
    location: String,
    /// For how long objects are to be retained, in days
    #[arg(long, value_name = "DAYS", default_value_t = RETENTION_DAYS, value_parser = clap::value_parser!(u64).range(1..=RETENTION_DAYS_MAX))]
    retention_days: u64,
}

#[derive(Debug, Args)]
struct Renew {
    /// A custodian by its name: what the newest backups need; or s3:https://HOST/BUCKET/PATH:
    /// everything
    place: String,
    /// For how long objects are to be retained, in days, where a location is named
    #[arg(long, value_name = "DAYS", default_value_t = RETENTION_DAYS, value_parser = clap::value_parser!(u64).range(1..=RETENTION_DAYS_MAX))]
    retention_days: u64,
}

#[derive(Debug, Args)]
struct PolicyArguments {
    #[command(flatten)]
    place: Place,
    /// For whom
    #[arg(long, value_enum)]
    role: Role,
}

#[derive(Debug, Args)]
struct ProbeArguments {
    /// Where, as s3:https://HOST/BUCKET/PATH
    location: String,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Role {
    /// Backs up, and reads no packs
    Writer,
    /// Extends retention, and nothing else
    Renewer,
    /// Restores
    Reader,
}

#[derive(Serialize)]
struct FindingMessage<'a> {
    message_type: &'static str,
    severity: &'static str,
    what: &'a str,
    advice: &'a str,
}

#[derive(Serialize)]
struct RenewMessage {
    message_type: &'static str,
    extended: u64,
    enough: u64,
    failed: usize,
    requests: u64,
    cost_estimate: f64,
}

#[derive(Serialize)]
struct AttemptMessage<'a> {
    message_type: &'static str,
    attempt: &'a str,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

#[derive(Serialize)]
struct ProbesMessage {
    message_type: &'static str,
    removed: u64,
    left: u64,
}

/// Acts on a bucket.
pub fn run(context: &Context, arguments: &Arguments) -> Result<u8, Failure> {
    match &arguments.act {
        Act::Check(place) => check(context, place),
        Act::Policy(arguments) => policy(arguments),
        Act::Renew(renew) if renew.place.starts_with("s3:") => renew_all(context, renew),
        Act::Renew(renew) => renew_custodian(context, &renew.place),
        Act::Probe(arguments) => probe(context, arguments),
    }
}

fn location(text: &str) -> Result<S3Location, Failure> {
    match Location::parse(text)? {
        Location::S3(location) => Ok(location),
        _ => Err(Failure::new(format!("{text:?} is no bucket"))
            .hint("buckets are written as s3:https://HOST/BUCKET/PATH")),
    }
}

fn open(context: &Context, text: &str) -> Result<S3Store, Failure> {
    Ok(open_bucket(&location(text)?, &context.connect_options()?)?)
}

fn check(context: &Context, place: &Place) -> Result<u8, Failure> {
    let store = open(context, &place.location)?;
    let period = DAY * u32::try_from(place.retention_days).unwrap_or(u32::MAX);
    let findings = store.findings(&store.inspect(), Some(period));
    for finding in &findings {
        let severity = match finding.severity {
            Severity::Unsafe => "unsafe",
            Severity::Risk => "risk",
            Severity::Note => "note",
        };
        if context.global.json {
            json::print(&FindingMessage {
                message_type: "bucket_finding",
                severity,
                what: &finding.what,
                advice: &finding.advice,
            });
        } else {
            message::line(format!("{severity}: {}", finding.what));
            message::line(format!("  {}", finding.advice));
        }
    }
    if findings.is_empty() && !context.global.json {
        message::line(
            "nothing is wrong with this bucket as far as its settings tell; `outlast bucket probe` tries",
        );
    }
    let is_unsafe = |severity| severity == Severity::Unsafe;
    Ok(
        match findings.iter().any(|finding| is_unsafe(finding.severity)) {
            true => exit::NOT_SAFE_YET,
            false => exit::OK,
        },
    )
}

fn policy(arguments: &PolicyArguments) -> Result<u8, Failure> {
    let role = match arguments.role {
        Role::Writer => BucketRole::Writer,
        Role::Renewer => BucketRole::Renewer,
        Role::Reader => BucketRole::Reader,
    };
    let place = location(&arguments.place.location)?;
    message::line(bucket_policy(role, &place, arguments.place.retention_days));
    Ok(exit::OK)
}

fn renew_all(context: &Context, renew: &Renew) -> Result<u8, Failure> {
    let store = open(context, &renew.place)?;
    let mut names = Vec::new();
    for kind in ObjectKind::ALL {
        if kind != ObjectKind::Lock {
            store.list(kind, &mut |info| names.push(ObjectName::new(kind, info.id)))?;
        }
    }
    if names.is_empty() {
        return Err(Failure::new("there is no repository at this place"));
    }
    let period = DAY * u32::try_from(renew.retention_days).unwrap_or(u32::MAX);
    let renewed = store.renew(&names, period);
    let failed = renewed.failed.into_iter();
    let renewals = Renewals {
        extended: renewed.extended,
        enough: renewed.enough,
        failed: failed
            .map(|(name, error)| (name, error.to_string()))
            .collect(),
        counts: store.request_counts(),
        ..Renewals::default()
    };
    Ok(tell_renewals(context, "the bucket", &renewals))
}

fn renew_custodian(context: &Context, name: &str) -> Result<u8, Failure> {
    let places = Places::of_user()?;
    let custodian = Custodians::of(&places).find(name)?;
    let connect = context.connect_options()?;
    let mut renewal = BucketRenewal::prepare(&places, &custodian, &connect)?;
    if context.is_talkative() {
        if renewal.is_everything {
            message::note(&format!(
                "no backup was made on this machine, so that everything in {name} is extended"
            ));
        }
        message::line(format!(
            "{} objects are due; that costs about {:.4} US dollars at most, at rounded list prices",
            renewal.due,
            renewal.cost_estimate()
        ));
    }
    let display = Progress::items(context.is_talkative());
    display.restart(renewal.due);
    let before = AtomicU64::new(0);
    let result = renewal.run(&|done, _| {
        display.add(done - before.swap(done, Ordering::Relaxed));
    });
    display.clear();
    Ok(tell_renewals(context, name, &result?))
}

/// Says what was extended; gives the exit code.
fn tell_renewals(context: &Context, name: &str, renewals: &Renewals) -> u8 {
    let counts = renewals.counts;
    let cost = ROUNDED_PRICES.of_requests(&counts);
    let requests = counts.writes + counts.reads + counts.lists + counts.deletes;
    tell_alarms(name, renewals);
    let failed = renewals.failed.len() + renewals.missing.len();
    if context.global.json {
        json::print(&RenewMessage {
            message_type: "bucket_renewed",
            extended: renewals.extended,
            enough: renewals.enough,
            failed,
            requests,
            cost_estimate: cost,
        });
    } else {
        message::line(format!(
            "{} extended, {} retained for long enough, {failed} failed; {requests} requests, about {cost:.4} \
             US dollars at rounded list prices",
            renewals.extended, renewals.enough
        ));
    }
    match failed {
        0 => exit::OK,
        _ => exit::INCOMPLETE,
    }
}

/// Warns of objects that are not retained for as long as they should be.
pub fn tell_alarms(custodian: &str, renewals: &Renewals) {
    for (name, reason) in renewals.failed.iter().take(FAILED_SHOWN) {
        message::warning(&format!(
            "ALARM: {name} is not retained for long enough at {custodian}: {reason}"
        ));
    }
    for name in renewals.missing.iter().take(FAILED_SHOWN) {
        message::warning(&format!("ALARM: {name} is not in {custodian}"));
    }
    let more = renewals.failed.len().saturating_sub(FAILED_SHOWN);
    if more > 0 {
        message::warning(&format!("and {more} more"));
    }
}

fn probe(context: &Context, arguments: &ProbeArguments) -> Result<u8, Failure> {
    let store = open(context, &arguments.location)?;
    let passed = SystemTime::now().duration_since(UNIX_EPOCH);
    let moment = passed.map_or(0, |passed| passed.as_millis());
    let mut is_safe = true;
    for attempt in store.probe(&format!("{moment:x}-{}", std::process::id())) {
        let (outcome, reason) = match &attempt.outcome {
            Outcome::Refused(reason) => ("refused", Some(reason.as_str())),
            Outcome::Succeeded => ("SUCCEEDED", None),
            Outcome::Untried(reason) => ("untried", Some(reason.as_str())),
        };
        is_safe &= outcome == "refused";
        if context.global.json {
            json::print(&AttemptMessage {
                message_type: "bucket_attempt",
                attempt: attempt.what,
                outcome: match outcome {
                    "SUCCEEDED" => "succeeded",
                    outcome => outcome,
                },
                reason,
            });
        } else {
            message::line(format!("{outcome}: {}", attempt.what));
            if outcome == "untried" {
                message::line(format!("  {}", reason.unwrap_or("")));
            }
        }
    }
    tidy(context, &store);
    Ok(if is_safe {
        exit::OK
    } else {
        exit::NOT_SAFE_YET
    })
}

/// Removes what may go of the probes, of this run and of earlier ones, and says what stays.
fn tidy(context: &Context, store: &S3Store) {
    match store.tidy_probes() {
        Err(error) => message::warning(&format!("the probe objects stay: {error}")),
        Ok(tidied) if context.global.json => json::print(&ProbesMessage {
            message_type: "bucket_probes",
            removed: tidied.removed,
            left: tidied.left,
        }),
        Ok(tidied) => message::line(format!(
            "{} probe objects removed, {} stay: each is retained for a day, and a later run with keys that may \
             remove it does so",
            tidied.removed, tidied.left
        )),
    }
}
