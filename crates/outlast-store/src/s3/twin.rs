//! Tries what acts on a whole bucket, on a twin that is made for it and removed afterwards.

use ureq::http::Method;

use super::S3Store;
use super::client::{Call, Payload};
use super::inspect::{ObjectLock, Setting};
use super::probe::{Outcome, ProbeAttempt, twin_name};

/// The twin's default retention, days.
const DAYS: u64 = 3;

/// One setting that is tried.
struct Trial {
    what: &'static str,
    /// The setting's name in requests.
    setting: &'static str,
    body: String,
    /// Whether the twin is as it was.
    is_intact: fn(&S3Store) -> Result<bool, String>,
}

fn trials(bucket: &str) -> [Trial; 5] {
    let lock = |rest: &str| format!("<ObjectLockConfiguration>{rest}</ObjectLockConfiguration>");
    let has_default = |twin: &S3Store| {
        let lock = lock_of(twin)?;
        Ok(lock.default.is_some_and(|default| default.days >= DAYS))
    };
    [
        Trial {
            what: "shorten the default retention, on a twin of the bucket",
            setting: "object-lock",
            body: lock(&format!(
                "<ObjectLockEnabled>Enabled</ObjectLockEnabled>{}",
                rule(1)
            )),
            is_intact: has_default,
        },
        Trial {
            what: "remove the default retention, on a twin of the bucket",
            setting: "object-lock",
            body: lock("<ObjectLockEnabled>Enabled</ObjectLockEnabled>"),
            is_intact: has_default,
        },
        Trial {
            what: "turn Object Lock off, on a twin of the bucket",
            setting: "object-lock",
            body: lock("<ObjectLockEnabled>Disabled</ObjectLockEnabled>"),
            is_intact: |twin| Ok(lock_of(twin)?.enabled),
        },
        Trial {
            what: "add a lifecycle rule that deletes, on a twin of the bucket",
            setting: "lifecycle",
            body: "<LifecycleConfiguration><Rule><ID>outlast-probe</ID><Filter><Prefix></Prefix>\
                   </Filter><Status>Enabled</Status><Expiration><Days>1</Days></Expiration>\
                   <NoncurrentVersionExpiration><NoncurrentDays>1</NoncurrentDays>\
                   </NoncurrentVersionExpiration></Rule></LifecycleConfiguration>"
                .to_owned(),
            is_intact: |twin| match twin.inspect().lifecycle {
                Setting::Known(rules) => Ok(rules.is_empty()),
                Setting::Unknown(why) => Err(why),
            },
        },
        Trial {
            what: "put a bucket policy, on a twin of the bucket",
            setting: "policy",
            // It forbids something that nobody does: a policy can be put, and lets nobody in.
            body: format!(
                "{{\"Version\":\"2012-10-17\",\"Statement\":[{{\"Effect\":\"Deny\",\
                 \"Principal\":\"*\",\"Action\":\"s3:GetObject\",\
                 \"Resource\":\"arn:aws:s3:::{bucket}/outlast-probe\"}}]}}"
            ),
            is_intact: |twin| {
                let asked = twin
                    .client
                    .text(&Call::bucket(Method::GET).query("policy", ""));
                Ok(!asked.is_ok_and(|text| text.contains("outlast-probe")))
            },
        },
    ]
}

fn rule(days: u64) -> String {
    format!(
        "<Rule><DefaultRetention><Mode>COMPLIANCE</Mode><Days>{days}</Days></DefaultRetention></Rule>"
    )
}

fn lock_of(twin: &S3Store) -> Result<ObjectLock, String> {
    match twin.inspect().lock {
        Setting::Known(lock) => Ok(lock),
        Setting::Unknown(why) => Err(why),
    }
}

impl S3Store {
    /// Tries to change the settings of a bucket like this one, which it makes and removes. Whoever
    /// may do that is as good as the bucket's owner. `label` should be new each time.
    pub fn probe_settings(&self, label: &str) -> Vec<ProbeAttempt> {
        let name = twin_name(&self.client.place().bucket, &format!("s{label}"));
        let twin = self.beside(self.client.for_bucket(&name));
        let untried = |why: &str| {
            let trials = trials(&name).into_iter();
            trials
                .map(|trial| ProbeAttempt {
                    what: trial.what,
                    outcome: Outcome::Untried(why.to_owned()),
                })
                .collect()
        };
        let make = Call::bucket(Method::PUT).header("x-amz-bucket-object-lock-enabled", "true");
        if let Err(failure) = twin.client.send(&make) {
            let why = self.client.error("make a twin", None, failure).to_string();
            return untried(&format!("these keys make no bucket to try it on: {why}"));
        }
        let trials = trials(&name);
        let attempts = trials.iter().map(|trial| twin.try_setting(trial));
        let attempts = attempts.collect();
        // An empty bucket that cannot be removed does no harm.
        let _ = twin.client.send(&Call::bucket(Method::DELETE));
        attempts
    }

    fn try_setting(&self, trial: &Trial) -> ProbeAttempt {
        let put = |setting: &'static str, body: &str| {
            let call = Call::bucket(Method::PUT)
                .query(setting, "")
                .body(Payload::new(body.as_bytes()));
            let answered = self.client.send(&call);
            answered.map_err(|failure| self.client.error("try", None, failure).to_string())
        };
        // The twin is as a bucket for backups should be.
        let whole = format!(
            "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled>{}\
             </ObjectLockConfiguration>",
            rule(DAYS)
        );
        let prepared = put("object-lock", &whole).map(drop);
        let prepared = prepared.and_then(|()| (trial.is_intact)(self));
        let outcome = match prepared {
            Err(why) => Outcome::Untried(why),
            Ok(false) => Outcome::Untried("the twin is not like the bucket".to_owned()),
            Ok(true) => {
                let answered = put(trial.setting, &trial.body).map(drop);
                match ((trial.is_intact)(self), answered) {
                    (Ok(false), _) => Outcome::Succeeded,
                    (Ok(true), Err(why)) => Outcome::Refused(why),
                    (Ok(true), Ok(())) => Outcome::Refused("nothing changed".to_owned()),
                    (Err(why), _) => Outcome::Untried(why),
                }
            }
        };
        ProbeAttempt {
            what: trial.what,
            outcome,
        }
    }
}
