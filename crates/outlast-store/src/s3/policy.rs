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

/// The rights of a role as a policy for a user of the account, in JSON. Whoever sets retention sets at
/// most `retention_days_max` days.
pub fn bucket_policy(role: BucketRole, place: &S3Location, retention_days_max: u64) -> String {
    let bucket = format!("arn:aws:s3:::{}", place.bucket);
    let folder = if place.prefix.is_empty() {
        bucket.clone()
    } else {
        format!("{bucket}/{}", place.prefix)
    };
    let all = vec![format!("{folder}/*")];
    let read = [
        "s3:GetObject",
        "s3:GetObjectVersion",
        "s3:GetObjectRetention",
    ];
    let look = [
        "s3:ListBucket",
        "s3:ListBucketVersions",
        "s3:GetBucketVersioning",
        "s3:GetBucketObjectLockConfiguration",
        "s3:GetBucketLocation",
    ];
    let days = retention_days_max.min(RETENTION_DAYS_MAX);
    let capped = json!({
        "NumericLessThanEquals": { "s3:object-lock-remaining-retention-days": days.to_string() }
    });
    let mut statements = match role {
        BucketRole::Writer => {
            let known = ["config", "keys/*", "index/*", "snapshots/*", "locks/*"];
            let known = known
                .iter()
                .map(|part| format!("{folder}/{part}"))
                .collect();
            vec![
                allow("Look", &look, vec![bucket.clone()]),
                allow(
                    "Add",
                    &["s3:PutObject", "s3:GetObjectRetention"],
                    all.clone(),
                ),
                with_condition(
                    allow("Retain", &["s3:PutObjectRetention"], all.clone()),
                    &capped,
                ),
                allow("ReadAllButPacks", &read[..2], known),
                allow(
                    "RemoveLocks",
                    &["s3:DeleteObject", "s3:DeleteObjectVersion"],
                    vec![format!("{folder}/locks/*")],
                ),
            ]
        }
        BucketRole::Renewer => vec![
            allow("Look", &look[1..3], vec![bucket.clone()]),
            allow("ReadRetention", &["s3:GetObjectRetention"], all.clone()),
            with_condition(
                allow("Extend", &["s3:PutObjectRetention"], all.clone()),
                &capped,
            ),
        ],
        BucketRole::Reader => vec![
            allow("Look", &look, vec![bucket.clone()]),
            allow("Read", &read, all.clone()),
        ],
    };
    statements.push(json!({
        "Sid": "Never",
        "Effect": "Deny",
        "Action": [
            "s3:BypassGovernanceRetention",
            "s3:PutObjectLegalHold",
            "s3:PutBucketVersioning",
            "s3:PutBucketObjectLockConfiguration",
            "s3:PutLifecycleConfiguration",
            "s3:PutBucketPolicy",
            "s3:DeleteBucketPolicy",
            "s3:DeleteBucket"
        ],
        "Resource": [bucket, format!("{folder}/*")]
    }));
    let document = json!({ "Version": "2012-10-17", "Statement": statements });
    // A tree of texts always has a text.
    serde_json::to_string_pretty(&document).unwrap_or_default()
}

fn allow(name: &str, actions: &[&str], resources: Vec<String>) -> Value {
    json!({ "Sid": name, "Effect": "Allow", "Action": actions, "Resource": resources })
}

fn with_condition(mut statement: Value, condition: &Value) -> Value {
    if let Some(fields) = statement.as_object_mut() {
        fields.insert("Condition".to_owned(), condition.clone());
    }
    statement
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
