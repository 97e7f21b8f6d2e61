//! What is tried at buckets: each key of this machine tries to destroy what is retained, on probes of its
//! own, and to change settings, on a twin; and what somebody did to the bucket already is looked for.

use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};

use outlast_object::{ObjectName, hash};
use outlast_store::{
    ConnectOptions, Outcome as Tried, ProbeAttempt, S3Store, Severity, Store, StoreError,
};

use super::probes::{Attempt, Outcome, probe};
use crate::buckets::note_tamper_test;
use crate::config::Places;
use crate::custodian::{BucketCustodian, BucketUse, Custodian, CustodianError};
use crate::sync::needed;

const WEAK_SERVER: &str = "this server does not keep what it retains: rely on another custodian";

/// What was found out about a bucket.
#[derive(Debug, Clone, Default)]
pub struct Tests {
    /// Everything that was tried and seen.
    pub attempts: Vec<Attempt>,
    /// Something that was retained could be destroyed or weakened.
    pub is_weak: bool,
    /// Nothing that is retained could be destroyed, and all of it was tried.
    pub is_tested: bool,
    /// Keys that change settings, and are as good as the owner's.
    pub owners: Vec<BucketUse>,
}

/// Everything that is tried with the keys of a bucket that are known here.
pub fn of_bucket(
    places: &Places,
    custodian: &Custodian,
    bucket: &BucketCustodian,
    connect: &ConnectOptions,
) -> Result<Tests, CustodianError> {
    let passed = SystemTime::now().duration_since(UNIX_EPOCH);
    let passed = passed.unwrap_or_default();
    let mut tests = Tests::default();
    let mut telling = Telling {
        custodian,
        bucket,
        label: format!("{:x}-{}", passed.as_millis(), std::process::id()),
    };
    let maker = match bucket.open(BucketUse::Write, connect) {
        Ok(maker) => maker,
        Err(error) => {
            let outcome = Outcome::NotTried(error.to_string());
            let attempt = telling.attempt(BucketUse::Write, "reach it", outcome, "");
            tests.attempts.push(attempt);
            return Ok(tests);
        }
    };
    tests.attempts.extend(telling.wrongs(&maker));
    let live = needed(places)?;
    tests.attempts.extend(telling.traces(&maker, live.as_ref()));
    tests.is_tested = bucket.period().is_some();
    for use_ in BucketUse::ALL {
        if use_ != BucketUse::Write && bucket.own_keys(use_).is_none() {
            continue;
        }
        match bucket.open(use_, connect) {
            Ok(store) => telling.try_keys(&mut tests, &maker, (use_, &store)),
            Err(error) => {
                tests.is_tested = false;
                let outcome = Outcome::NotTried(error.to_string());
                let attempt = telling.attempt(use_, "reach it", outcome, "");
                tests.attempts.push(attempt);
            }
        }
    }
    if bucket.read.is_some() {
        tests.attempts.push(telling.read_with(&maker));
    }
    let refused = tests.is_tested.then_some(passed.as_secs());
    if refused.is_some() || tests.is_weak {
        note_tamper_test(places, &custodian.name, refused)?;
    }
    Ok(tests)
}

struct Telling<'a> {
    custodian: &'a Custodian,
    bucket: &'a BucketCustodian,
    label: String,
}

impl Telling<'_> {
    fn attempt(&self, use_: BucketUse, what: &str, outcome: Outcome, fix: &str) -> Attempt {
        Attempt {
            custodian: self.custodian.name.clone(),
            credential: format!("{} of {}", use_.noun(), self.custodian.name),
            what: what.to_owned(),
            fix: outcome.is_red().then(|| fix.to_owned()),
            outcome,
        }
    }

    /// What is wrong with the bucket as it is set up.
    fn wrongs(&self, store: &S3Store) -> Vec<Attempt> {
        let findings = store.findings(&store.inspect(), self.bucket.period());
        let bad = findings
            .into_iter()
            .filter(|finding| finding.severity > Severity::Note);
        bad.map(|finding| {
            let outcome = Outcome::Wrong(finding.what);
            self.attempt(
                BucketUse::Write,
                "look at its settings",
                outcome,
                &finding.advice,
            )
        })
        .collect()
    }

    /// Delete markers and planted versions over what is needed.
    fn traces(&self, store: &S3Store, live: Option<&BTreeSet<ObjectName>>) -> Vec<Attempt> {
        let what = "look for what was hidden or overwritten";
        let told = |outcome, fix: &str| self.attempt(BucketUse::Write, what, outcome, fix);
        let covered = store.covered(&|name| live.is_none_or(|live| live.contains(name)));
        let covered = match covered {
            Ok(covered) => covered,
            Err(error) => return vec![told(Outcome::NotTried(error.to_string()), "")],
        };
        let example = covered.examples.first();
        let example = example.map_or_else(String::new, |name| format!(", for example {name}"));
        let mut traces = Vec::new();
        let fix = "find out who has keys to it and revoke them; outlast reads the true versions, and \
                   `outlast export` writes them out for restic";
        if covered.hidden > 0 {
            let count = covered.hidden;
            let seen = format!("{count} objects are hidden behind delete markers{example}");
            traces.push(told(Outcome::Wrong(seen), fix));
        }
        if covered.overwritten > 0 {
            let count = covered.overwritten;
            let seen = format!("other bytes were written over {count} objects{example}");
            traces.push(told(Outcome::Wrong(seen), fix));
        }
        traces
    }

    fn try_keys(
        &mut self,
        tests: &mut Tests,
        maker: &S3Store,
        (use_, store): (BucketUse, &S3Store),
    ) {
        let label = format!("{}-{use_:?}", self.label).to_lowercase();
        for tried in maker.probe_with(store, &label) {
            let is_on_twin = tried.what.contains("twin");
            let outcome = judged(&tried);
            tests.is_weak |= outcome == Outcome::Succeeded;
            tests.is_tested &= is_on_twin && outcome != Outcome::Succeeded
                || matches!(outcome, Outcome::Refused(_));
            let attempt = self.attempt(use_, tried.what, outcome, WEAK_SERVER);
            tests.attempts.push(attempt);
        }
        let role = match use_ {
            BucketUse::Write => "writer",
            BucketUse::Renew => "renewer",
            BucketUse::Read => "reader",
        };
        let location = &self.bucket.location;
        let fix = format!(
            "these keys are as good as those of the bucket's owner: use keys with the rights that \
             `outlast bucket policy {location} --role {role}` prints, and keep the owner's off this machine"
        );
        // Whatever earlier probes left and these keys may remove. That they may not is no finding.
        let _ = store.tidy_probes();
        let settings = store.probe_settings(&label);
        let is_owner = settings
            .iter()
            .any(|tried| tried.outcome == Tried::Succeeded);
        if is_owner {
            tests.owners.push(use_);
        }
        for tried in settings {
            let attempt = self.attempt(use_, tried.what, judged(&tried), &fix);
            tests.attempts.push(attempt);
        }
    }

    /// Whether the keys that add read data, which others are for: on a probe in the place of a pack.
    fn read_with(&self, store: &S3Store) -> Attempt {
        let bytes = probe(false);
        let name = ObjectName::pack(hash(&bytes));
        let outcome = match store.write(&name, &bytes) {
            Err(error) => Outcome::NotTried(error.to_string()),
            Ok(()) => match store.read(&name) {
                Ok(_) => Outcome::Succeeded,
                Err(StoreError::Unavailable { reason, .. }) => Outcome::NotTried(reason),
                Err(error) => Outcome::Refused(error.to_string()),
            },
        };
        let location = &self.bucket.location;
        let fix = format!(
            "there are keys to read with, so that these need not: give them the rights that \
             `outlast bucket policy {location} --role writer` prints"
        );
        self.attempt(BucketUse::Write, "read what is kept", outcome, &fix)
    }
}

fn judged(tried: &ProbeAttempt) -> Outcome {
    match &tried.outcome {
        Tried::Refused(reason) => Outcome::Refused(reason.clone()),
        Tried::Succeeded => Outcome::Succeeded,
        Tried::Untried(reason) => Outcome::NotTried(reason.clone()),
    }
}
