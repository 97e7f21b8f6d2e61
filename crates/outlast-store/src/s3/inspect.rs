//! How a bucket is set up, what is wrong with that, and what mends it.

use std::time::Duration;

use serde_json::Value;
use ureq::http::Method;

use super::S3Store;
use super::client::{Call, Failure};
use super::location::S3Location;
use super::retention::RetentionMode;
use super::xml::Element;

const DAY_SECONDS: u64 = 24 * 60 * 60;
/// Rules of a lifecycle that are looked at; servers take no more than 1000.
const RULES_MAX: usize = 1000;
/// How the groups that are everybody end.
const EVERYBODY: [&str; 2] = ["/global/AllUsers", "/global/AuthenticatedUsers"];

/// Whether a setting is known, and what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Setting<T> {
    /// These credentials may not look, or the server does not know such a setting.
    Unknown(String),
    /// It is set so.
    Known(T),
}

/// Retention that a bucket gives to whatever is written without any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DefaultRetention {
    /// Who could end it.
    pub mode: RetentionMode,
    /// For how long, days.
    pub days: u64,
}

/// Object Lock of a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ObjectLock {
    /// Objects can be retained at all.
    pub enabled: bool,
    /// What is given where nothing is asked for.
    pub default: Option<DefaultRetention>,
}

/// One rule by which a server changes objects of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LifecycleRule {
    /// Its name.
    pub id: String,
    /// It is in force.
    pub enabled: bool,
    /// It puts delete markers over objects, or deletes them where there are no versions.
    pub expires: bool,
    /// It deletes versions that are not the newest, once their retention ends.
    pub expires_noncurrent: bool,
    /// It moves objects to another class of storage.
    pub moves: bool,
}

/// How a bucket is set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketState {
    /// `Enabled`, `Suspended`, or none.
    pub versioning: Setting<Option<String>>,
    /// Object Lock.
    pub lock: Setting<ObjectLock>,
    /// What the server does of itself.
    pub lifecycle: Setting<Vec<LifecycleRule>>,
    /// Whether a policy or an access list lets everybody in.
    pub open_to_all: Setting<bool>,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Good to know.
    Note,
    /// It weakens something.
    Risk,
    /// Copies in this bucket are not protected.
    Unsafe,
}

/// Something about a bucket that somebody should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketFinding {
    /// How bad it is.
    pub severity: Severity,
    /// What is so.
    pub what: String,
    /// What mends it, with the command where there is one.
    pub advice: String,
}

impl S3Store {
    /// Looks at the bucket's settings. What cannot be looked at is said to be unknown.
    pub fn inspect(&self) -> BucketState {
        BucketState {
            versioning: self.setting("versioning", super::VERSIONING, &[], |answer| {
                let status = answer.and_then(|answer| answer.text_of("Status"));
                status
                    .filter(|status| !status.is_empty())
                    .map(str::to_owned)
            }),
            lock: self.setting(
                "object-lock",
                "ObjectLockConfiguration",
                &[
                    "ObjectLockConfigurationNotFoundError",
                    "NoSuchObjectLockConfiguration",
                ],
                read_lock,
            ),
            lifecycle: self.setting(
                "lifecycle",
                "LifecycleConfiguration",
                &["NoSuchLifecycleConfiguration"],
                |answer| {
                    let rules = answer
                        .into_iter()
                        .flat_map(|answer| answer.children_of("Rule"));
                    rules.take(RULES_MAX).map(read_rule).collect()
                },
            ),
            open_to_all: self.open_to_all(),
        }
    }

    /// What is wrong with the bucket for objects that are to be retained for `period`.
    pub fn findings(&self, state: &BucketState, period: Option<Duration>) -> Vec<BucketFinding> {
        judge(self.client.place(), state, period)
    }

    fn setting<T>(
        &self,
        name: &'static str,
        document: &str,
        absent: &[&str],
        read: impl FnOnce(Option<&Element>) -> T,
    ) -> Setting<T> {
        match self
            .client
            .document(&Call::bucket(Method::GET).query(name, ""), &[document])
        {
            Ok(answer) => Setting::Known(read(Some(&answer))),
            Err(Failure::Status { code, .. }) if absent.contains(&code.as_str()) => {
                Setting::Known(read(None))
            }
            Err(failure) => Setting::Unknown(self.client.error(name, None, failure).to_string()),
        }
    }

    fn open_to_all(&self) -> Setting<bool> {
        let listed = self.setting("acl", "AccessControlPolicy", &[], |answer| {
            let grants = answer.and_then(|answer| answer.child("AccessControlList"));
            let grants = grants
                .into_iter()
                .flat_map(|list| list.children_of("Grant"));
            grants
                .filter_map(|grant| grant.child("Grantee")?.text_of("URI"))
                .any(|uri| EVERYBODY.iter().any(|group| uri.ends_with(group)))
        });
        if listed == Setting::Known(true) {
            return listed;
        }
        let call = Call::bucket(Method::GET).query("policy", "");
        match self.client.text(&call) {
            Ok(text) => Setting::Known(allows_everybody(&text)),
            Err(Failure::Status { code, .. }) if code == "NoSuchBucketPolicy" => listed,
            Err(failure) => {
                Setting::Unknown(self.client.error("policy", None, failure).to_string())
            }
        }
    }
}

fn read_lock(answer: Option<&Element>) -> ObjectLock {
    let enabled = answer.and_then(|answer| answer.text_of("ObjectLockEnabled")) == Some("Enabled");
    let rule = answer.and_then(|answer| answer.child("Rule")?.child("DefaultRetention"));
    let default = rule.and_then(|rule| {
        let mode = match rule.text_of("Mode")? {
            "COMPLIANCE" => RetentionMode::Compliance,
            _ => RetentionMode::Governance,
        };
        let number = |name| rule.text_of(name)?.parse::<u64>().ok();
        let years = || number("Years").map(|years| years.saturating_mul(365));
        let days = number("Days").or_else(years)?;
        Some(DefaultRetention { mode, days })
    });
    ObjectLock { enabled, default }
}

fn read_rule(rule: &Element) -> LifecycleRule {
    let expiration = rule.child("Expiration");
    // A rule that only tidies up markers without versions hides nothing.
    let expires = expiration.is_some_and(|expiration| {
        expiration.child("Days").is_some() || expiration.child("Date").is_some()
    });
    LifecycleRule {
        id: rule.text_of("ID").unwrap_or("").chars().take(80).collect(),
        enabled: rule.text_of("Status") == Some("Enabled"),
        expires,
        expires_noncurrent: rule.child("NoncurrentVersionExpiration").is_some(),
        moves: rule.child("Transition").is_some()
            || rule.child("NoncurrentVersionTransition").is_some(),
    }
}

/// Whether a policy has a statement that allows something to everybody. What cannot be read might.
fn allows_everybody(text: &str) -> bool {
    let Ok(document) = serde_json::from_str::<Value>(text) else {
        return true;
    };
    let statements = match &document["Statement"] {
        Value::Array(statements) => statements.as_slice(),
        one => std::slice::from_ref(one),
    };
    let is_star = |value: &Value| match value {
        Value::String(text) => text == "*",
        Value::Array(texts) => texts.iter().any(|text| text == "*"),
        _ => false,
    };
    statements.iter().any(|statement| {
        let principal = &statement["Principal"];
        statement["Effect"] == "Allow"
            && statement.get("Condition").is_none()
            && (is_star(principal) || is_star(&principal["AWS"]))
    })
}

/// What is wrong, worst first.
fn judge(place: &S3Location, state: &BucketState, period: Option<Duration>) -> Vec<BucketFinding> {
    let mut findings = Vec::new();
    let mut add = |severity, what: String, advice: String| {
        findings.push(BucketFinding {
            severity,
            what,
            advice,
        });
    };
    let command = |rest: &str| {
        let endpoint = place.endpoint.as_str().trim_end_matches('/');
        format!("aws --endpoint-url {endpoint} s3api {rest}").replace("BUCKET", &place.bucket)
    };
    match &state.versioning {
        Setting::Known(Some(status)) if status == "Enabled" => {}
        Setting::Known(_) => add(
            Severity::Unsafe,
            "versioning is off: whoever may write may overwrite".to_owned(),
            command(
                "put-bucket-versioning --bucket BUCKET --versioning-configuration Status=Enabled",
            ),
        ),
        Setting::Unknown(why) => add(
            Severity::Unsafe,
            not_seen("versioning", why),
            look("s3:GetBucketVersioning"),
        ),
    }
    match &state.lock {
        Setting::Known(lock) => judge_lock(*lock, period, &command, &mut add),
        Setting::Unknown(why) => add(
            Severity::Unsafe,
            not_seen("Object Lock", why),
            look("s3:GetBucketObjectLockConfiguration"),
        ),
    }
    match &state.lifecycle {
        Setting::Known(rules) => judge_rules(rules, &command, &mut add),
        Setting::Unknown(why) => add(
            Severity::Note,
            not_seen("lifecycle rules", why),
            look("s3:GetLifecycleConfiguration"),
        ),
    }
    match &state.open_to_all {
        Setting::Known(false) => {}
        Setting::Known(true) => add(
            Severity::Risk,
            "a policy or an access list lets everybody in".to_owned(),
            command(
                "put-public-access-block --bucket BUCKET --public-access-block-configuration \
                 BlockPublicAcls=true,IgnorePublicAcls=true,BlockPublicPolicy=true,RestrictPublicBuckets=true",
            ),
        ),
        Setting::Unknown(why) => add(
            Severity::Note,
            not_seen("policy and access list", why),
            look("s3:GetBucketPolicy and s3:GetBucketAcl"),
        ),
    }
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    findings
}

fn not_seen(what: &str, why: &str) -> String {
    format!("{what} cannot be looked at: {why}")
}

fn look(right: &str) -> String {
    format!("look with credentials that have {right}")
}

fn judge_lock(
    lock: ObjectLock,
    period: Option<Duration>,
    command: &dyn Fn(&str) -> String,
    add: &mut dyn FnMut(Severity, String, String),
) {
    let days = period.map_or(90, |period| period.as_secs().div_ceil(DAY_SECONDS));
    let set_default = command(&format!(
        "put-object-lock-configuration --bucket BUCKET --object-lock-configuration \
         'ObjectLockEnabled=Enabled,Rule={{DefaultRetention={{Mode=COMPLIANCE,Days={days}}}}}'"
    ));
    if !lock.enabled {
        let what = "Object Lock is off: nothing in this bucket is protected".to_owned();
        let advice =
            command("create-bucket --bucket ANOTHER-BUCKET --object-lock-enabled-for-bucket");
        return add(
            Severity::Unsafe,
            what,
            format!("{advice}; many servers cannot add it later"),
        );
    }
    match lock.default {
        None => add(
            Severity::Note,
            "there is no default retention: what other programs write is not retained".to_owned(),
            set_default,
        ),
        Some(default) if default.mode == RetentionMode::Governance => add(
            Severity::Risk,
            "the default retention is of governance mode, which some may bypass".to_owned(),
            set_default,
        ),
        Some(default) if default.days < days => add(
            Severity::Risk,
            format!(
                "the default retention is {} days, less than {days}",
                default.days
            ),
            set_default,
        ),
        Some(_) => {}
    }
}

fn judge_rules(
    rules: &[LifecycleRule],
    command: &dyn Fn(&str) -> String,
    add: &mut dyn FnMut(Severity, String, String),
) {
    let remove = command("delete-bucket-lifecycle --bucket BUCKET");
    for rule in rules.iter().filter(|rule| rule.enabled) {
        let id = &rule.id;
        if rule.expires {
            let what = format!(
                "the lifecycle rule {id:?} hides objects behind delete markers, or deletes them"
            );
            add(Severity::Risk, what, remove.clone());
        }
        if rule.expires_noncurrent {
            let what = format!(
                "the lifecycle rule {id:?} deletes older versions as soon as their retention ends: \
                 objects that were overwritten or hidden are lost then"
            );
            add(Severity::Risk, what, remove.clone());
        }
        if rule.moves {
            let what =
                format!("the lifecycle rule {id:?} moves objects to where reading may take hours");
            add(Severity::Risk, what, remove.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::xml;
    use super::*;

    const DAY: Duration = Duration::from_secs(DAY_SECONDS);

    fn good() -> BucketState {
        BucketState {
            versioning: Setting::Known(Some("Enabled".to_owned())),
            lock: Setting::Known(ObjectLock {
                enabled: true,
                default: Some(DefaultRetention {
                    mode: RetentionMode::Compliance,
                    days: 90,
                }),
            }),
            lifecycle: Setting::Known(Vec::new()),
            open_to_all: Setting::Known(false),
        }
    }

    fn found(state: &BucketState) -> Vec<(Severity, String)> {
        let place = S3Location::parse("http://127.0.0.1:9/bucket/x").unwrap();
        let findings = judge(&place, state, Some(90 * DAY));
        assert!(
            findings
                .iter()
                .all(|finding| !finding.advice.contains("BUCKET "))
        );
        findings
            .into_iter()
            .map(|finding| (finding.severity, finding.what))
            .collect()
    }

    #[test]
    fn a_good_bucket_has_no_findings() {
        assert_eq!(found(&good()), []);
    }

    #[test]
    fn each_weakness_is_found() {
        let rule = |change: fn(&mut LifecycleRule)| {
            let mut rule = LifecycleRule {
                enabled: true,
                ..LifecycleRule::default()
            };
            change(&mut rule);
            BucketState {
                lifecycle: Setting::Known(vec![rule]),
                ..good()
            }
        };
        let lock = |enabled, default: Option<(RetentionMode, u64)>| BucketState {
            lock: Setting::Known(ObjectLock {
                enabled,
                default: default.map(|(mode, days)| DefaultRetention { mode, days }),
            }),
            ..good()
        };
        let versioning = |status: Option<&str>| BucketState {
            versioning: Setting::Known(status.map(str::to_owned)),
            ..good()
        };
        let unknown = BucketState {
            lock: Setting::Unknown("refused".to_owned()),
            ..good()
        };
        let open = BucketState {
            open_to_all: Setting::Known(true),
            ..good()
        };
        for (state, severity, what) in [
            (versioning(None), Severity::Unsafe, "versioning is off"),
            (
                versioning(Some("Suspended")),
                Severity::Unsafe,
                "versioning is off",
            ),
            (lock(false, None), Severity::Unsafe, "Object Lock is off"),
            (lock(true, None), Severity::Note, "no default retention"),
            (
                lock(true, Some((RetentionMode::Governance, 90))),
                Severity::Risk,
                "governance",
            ),
            (
                lock(true, Some((RetentionMode::Compliance, 89))),
                Severity::Risk,
                "89 days",
            ),
            (unknown, Severity::Unsafe, "cannot be looked at: refused"),
            (open, Severity::Risk, "everybody"),
            (
                rule(|rule| rule.expires = true),
                Severity::Risk,
                "hides objects",
            ),
            (
                rule(|rule| rule.expires_noncurrent = true),
                Severity::Risk,
                "older versions",
            ),
            (rule(|rule| rule.moves = true), Severity::Risk, "hours"),
        ] {
            let found = found(&state);
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(
                found[0].0 == severity && found[0].1.contains(what),
                "{found:?}"
            );
        }
    }

    #[test]
    fn answers_are_read() {
        let read = |text: &str| xml::parse(text.as_bytes()).unwrap();
        let lock = read(
            "<O><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention><Mode>COMPLIANCE</Mode><Years>2</Years></DefaultRetention></Rule></O>",
        );
        assert_eq!(read_lock(Some(&lock)).default.unwrap().days, 730);
        assert!(!read_lock(None).enabled);
        let rule = read(
            "<Rule><ID>x</ID><Status>Enabled</Status><Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration><NoncurrentVersionExpiration><NoncurrentDays>1</NoncurrentDays></NoncurrentVersionExpiration></Rule>",
        );
        let rule = read_rule(&rule);
        assert!(rule.enabled && rule.expires_noncurrent && !rule.expires && !rule.moves);
    }

    #[test]
    fn policies_for_everybody() {
        for (policy, everybody) in [
            (
                r#"{"Statement":[{"Effect":"Allow","Principal":"*"}]}"#,
                true,
            ),
            (
                r#"{"Statement":{"Effect":"Allow","Principal":{"AWS":["*"]}}}"#,
                true,
            ),
            (
                r#"{"Statement":[{"Effect":"Deny","Principal":"*"}]}"#,
                false,
            ),
            (
                r#"{"Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::1:user/x"}}]}"#,
                false,
            ),
            ("{}", false),
            ("no JSON", true),
        ] {
            assert_eq!(allows_everybody(policy), everybody, "{policy}");
        }
    }
}
