//! The smallest sets of rights that do, as documents that S3 servers take.

use serde_json::{Value, json};

use super::location::S3Location;
use super::retention::RETENTION_DAYS_MAX;

/// Who is to get rights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BucketRole {
    /// The machine that is backed up: adds retained objects, reads what a backup needs to know, removes
    /// its locks. It reads no packs.
    Writer,
    /// Extends retention and does nothing else.
    Renewer,
    /// Reads everything, for restores, and changes nothing.
    Reader,
}

impl BucketRole {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Writer, Self::Renewer, Self::Reader];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Writer => "writer",
            Self::Renewer => "renewer",
            Self::Reader => "reader",
        }
    }
}

const LOOK: [&str; 5] = [
    "s3:ListBucket",
    "s3:ListBucketVersions",
    "s3:GetBucketVersioning",
    "s3:GetBucketObjectLockConfiguration",
    "s3:GetBucketLocation",
];
const READ: [&str; 2] = ["s3:GetObject", "s3:GetObjectVersion"];
const RETENTION: &str = "s3:GetObjectRetention";
const RETAIN: &str = "s3:PutObjectRetention";
const REMOVE: [&str; 2] = ["s3:DeleteObject", "s3:DeleteObjectVersion"];
/// Everything but packs.
const NO_PACKS: [&str; 5] = ["config", "keys/*", "index/*", "snapshots/*", "locks/*"];
/// Everything but locks.
const NO_LOCKS: [&str; 5] = ["config", "keys/*", "index/*", "snapshots/*", "data/*"];
/// What none of them ever does.
const NEVER: [&str; 12] = [
    "s3:BypassGovernanceRetention",
    "s3:PutObjectLegalHold",
    "s3:PutObjectAcl",
    "s3:PutObjectVersionAcl",
    "s3:PutBucketAcl",
    "s3:PutBucketVersioning",
    "s3:PutBucketObjectLockConfiguration",
    "s3:PutLifecycleConfiguration",
    "s3:PutReplicationConfiguration",
    "s3:PutBucketPolicy",
    "s3:DeleteBucketPolicy",
    "s3:DeleteBucket",
];

/// The rights of a role as a policy for a user of the account, in JSON. Whoever sets retention sets at
/// most `retention_days_max` days, where the server knows of such a limit.
///
/// What is allowed alone does not do: at Ceph whoever writes an object owns it and may read it, so that
/// what must not be is denied too.
pub fn bucket_policy(role: BucketRole, place: &S3Location, retention_days_max: u64) -> String {
    let bucket = format!("arn:aws:s3:::{}", place.bucket);
    let folder = if place.prefix.is_empty() {
        bucket.clone()
    } else {
        format!("{bucket}/{}", place.prefix)
    };
    let parts = |parts: &[&str]| -> Vec<String> {
        let parts = parts.iter();
        parts.map(|part| format!("{folder}/{part}")).collect()
    };
    let all = parts(&["*"]);
    let mut statements = match role {
        BucketRole::Writer => vec![
            allow("Look", &LOOK, vec![bucket.clone()]),
            allow("Add", &["s3:PutObject", RETENTION], all.clone()),
            allow("Retain", &[RETAIN], all.clone()),
            allow("ReadAllButPacks", &READ, parts(&NO_PACKS)),
            deny("ReadNoPacks", &READ, parts(&["data/*"])),
            allow("RemoveLocks", &REMOVE, parts(&["locks/*"])),
            deny("RemoveNothingElse", &REMOVE, parts(&NO_LOCKS)),
        ],
        BucketRole::Renewer => vec![
            allow("Look", &LOOK[1..3], vec![bucket.clone()]),
            allow("ReadRetention", &[RETENTION], all.clone()),
            allow("Extend", &[RETAIN], all.clone()),
            deny("ReadNothing", &READ, all.clone()),
            deny("RemoveNothing", &REMOVE, all.clone()),
        ],
        BucketRole::Reader => vec![
            allow("Look", &LOOK, vec![bucket.clone()]),
            allow("Read", &READ, all.clone()),
            allow("ReadRetention", &[RETENTION], all.clone()),
            deny("RemoveNothing", &REMOVE, all.clone()),
        ],
    };
    if role != BucketRole::Reader {
        let days = retention_days_max.min(RETENTION_DAYS_MAX).to_string();
        // A condition on what is allowed would never hold at servers that do not know this key.
        statements.push(json!({
            "Sid": "NotForLonger",
            "Effect": "Deny",
            "Action": [RETAIN],
            "Resource": all,
            "Condition": {
                "NumericGreaterThan": { "s3:object-lock-remaining-retention-days": days }
            }
        }));
    }
    statements.push(deny("Never", &NEVER, vec![bucket, format!("{folder}/*")]));
    let document = json!({ "Version": "2012-10-17", "Statement": statements });
    // A tree of texts always has a text.
    serde_json::to_string_pretty(&document).unwrap_or_default()
}

fn allow(name: &str, actions: &[&str], resources: Vec<String>) -> Value {
    json!({ "Sid": name, "Effect": "Allow", "Action": actions, "Resource": resources })
}

fn deny(name: &str, actions: &[&str], resources: Vec<String>) -> Value {
    json!({ "Sid": name, "Effect": "Deny", "Action": actions, "Resource": resources })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(role: BucketRole) -> Vec<(String, String)> {
        let place = S3Location::parse("host/bucket/a/b").unwrap();
        let text = bucket_policy(role, &place, 90);
        let document: Value = serde_json::from_str(&text).unwrap();
        let texts = |value: &Value| -> Vec<String> {
            let items = value.as_array().unwrap().iter();
            items
                .map(|item| item.as_str().unwrap().to_owned())
                .collect()
        };
        let mut found = Vec::new();
        for statement in document["Statement"].as_array().unwrap() {
            if statement["Effect"] == "Allow" {
                for action in texts(&statement["Action"]) {
                    let resources = texts(&statement["Resource"]);
                    found.extend(resources.into_iter().map(|place| (action.clone(), place)));
                }
            }
        }
        found
    }

    #[test]
    fn nobody_deletes_anything_but_locks() {
        for role in BucketRole::ALL {
            for (action, place) in allowed(role) {
                let is_lock = place == "arn:aws:s3:::bucket/a/b/locks/*";
                assert!(
                    !action.contains("Delete") || is_lock,
                    "{role:?} {action} {place}"
                );
                assert!(!action.contains("Bypass") && !action.contains('*'));
                assert!(!action.starts_with("s3:PutBucket"));
            }
        }
    }

    #[test]
    fn the_renewer_extends_and_nothing_else() {
        for (action, _) in allowed(BucketRole::Renewer) {
            let fits = action == "s3:PutObjectRetention"
                || action == "s3:GetObjectRetention"
                || action == "s3:ListBucketVersions"
                || action == "s3:GetBucketVersioning";
            assert!(fits, "{action}");
        }
    }

    #[test]
    fn the_writer_reads_no_packs_and_the_cap_holds() {
        let reads = allowed(BucketRole::Writer);
        let reads = reads.iter().filter(|(action, _)| action == "s3:GetObject");
        assert!(reads.clone().count() > 0);
        for (_, place) in reads {
            assert!(!place.contains("data") && place != "arn:aws:s3:::bucket/a/b/*");
        }
        let place = S3Location::parse("host/bucket").unwrap();
        let text = bucket_policy(BucketRole::Renewer, &place, u64::MAX);
        assert!(text.contains("\"3660\"") && text.contains("arn:aws:s3:::bucket/*"));
    }
}
