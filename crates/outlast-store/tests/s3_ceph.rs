//! The S3 adapter against a real Ceph gateway.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

#[path = "support/ceph.rs"]
mod ceph;

use std::sync::Arc;
use std::time::Duration;

use ceph::ceph;
use outlast_object::{ObjectKind, ObjectName};
use outlast_store::conformance::{self, Demands, name_of, sample_bytes};
use outlast_store::{
    Deletes, Outcome, ProbesLeft, RestOptions, RetentionMode, S3Location, S3Options, S3Store,
    Severity, Store, StoreError,
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn store(location: &S3Location, options: &S3Options) -> S3Store {
    S3Store::new(location, options, &RestOptions::default()).unwrap()
}

fn conforms(location: &S3Location, options: &S3Options, deletes: bool) {
    let demands = Demands {
        objects: 30,
        deletes,
    };
    conformance::run(demands, &mut |check| {
        Ok(Arc::new(store(&location.with_prefix(check), options)) as Arc<dyn Deletes>)
    })
    .unwrap();
}

#[test]
fn a_plain_bucket_conforms() {
    let Some(ceph) = ceph() else { return };
    conforms(&ceph.fresh(), &ceph.owner(), true);
}

#[test]
fn a_bucket_with_retention_conforms() {
    let Some(ceph) = ceph() else { return };
    let options = S3Options {
        retention: Some(30 * DAY),
        ..ceph.owner()
    };
    conforms(&ceph.fresh(), &options, false);
}

#[test]
fn objects_are_retained_and_extended() {
    let Some(ceph) = ceph() else { return };
    let location = ceph.fresh();
    let options = S3Options {
        retention: Some(3 * DAY),
        ..ceph.owner()
    };
    let kept = store(&location, &options);
    kept.prepare().unwrap();
    let bytes = sample_bytes(1, 1000);
    let name = name_of(ObjectKind::Pack, &bytes);
    kept.write(&name, &bytes).unwrap();
    let names = [name];
    let retained = || kept.retention_of(&names).remove(0).1.unwrap();
    let first = retained();
    let compliance = Some(RetentionMode::Compliance);
    assert_eq!((first.mode, first.size), (compliance, 1000));
    // Written again, it is the same version; it is extended only when that is needed.
    let requests = kept.request_counts();
    kept.write(&name, &bytes).unwrap();
    assert_eq!(kept.request_counts().writes, requests.writes);
    assert_eq!(retained(), first);
    let counts = |period| {
        let renewed = kept.renew(&names, period);
        (renewed.extended, renewed.enough, renewed.failed.len())
    };
    assert_eq!(counts(3 * DAY), (0, 1, 0));
    assert_eq!(counts(6 * DAY), (1, 0, 0));
    let after = retained().retain_until.unwrap();
    assert!(after >= first.retain_until.unwrap() + 2 * DAY.as_secs());
    assert_eq!(retained().version, first.version);
    // Nothing is shortened: what is retained for longer is retained for long enough.
    assert_eq!(counts(DAY), (0, 1, 0));
    assert_eq!(retained().retain_until.unwrap(), after);
    // Periods beyond reason and objects that are missing are told.
    assert_eq!(counts(5000 * DAY), (0, 0, 1));
    let missing = [name_of(ObjectKind::Pack, b"missing")];
    assert_eq!(kept.renew(&missing, DAY).failed.len(), 1);
    // Locks are not retained.
    let lock = name_of(ObjectKind::Lock, b"lock");
    kept.write(&lock, b"lock").unwrap();
    assert_eq!(kept.retention_of(&[lock]).remove(0).1.unwrap().mode, None);
}

#[test]
fn markers_and_planted_versions_do_no_harm() {
    let Some(ceph) = ceph() else { return };
    let location = ceph.fresh();
    let options = S3Options {
        retention: Some(3 * DAY),
        ..ceph.owner()
    };
    let kept = store(&location, &options);
    kept.prepare().unwrap();
    let bytes = sample_bytes(1, 5000);
    let name = name_of(ObjectKind::Pack, &bytes);
    kept.write(&name, &bytes).unwrap();
    kept.write(&ObjectName::CONFIG, b"the config").unwrap();
    for junk in [&b"planted"[..], &sample_bytes(2, 5000)] {
        for name in [name, ObjectName::CONFIG] {
            ceph.put(&location, &name, junk);
            ceph.hide(&location, &name);
        }
        // Whether it knows the version or comes anew.
        for store in [&kept, &store(&location, &ceph.owner())] {
            assert_eq!(store.read(&name).unwrap(), bytes);
            assert_eq!(store.read_range(&name, 4000, 1000).unwrap(), bytes[4000..]);
            assert_eq!(store.size(&name).unwrap(), 5000);
            assert_eq!(store.read(&ObjectName::CONFIG).unwrap(), b"the config");
            let listed = store.list_all(ObjectKind::Pack).unwrap();
            assert_eq!(listed.len(), 1);
            assert_eq!((listed[0].id, listed[0].size), (name.id(), 5000));
        }
    }
    let other = kept.write(&ObjectName::CONFIG, b"planted");
    assert!(matches!(other, Err(StoreError::AlreadyExists { .. })));
    // What was planted before the object came is told from it too.
    let later = sample_bytes(3, 400);
    let name = name_of(ObjectKind::Pack, &later);
    ceph.put(&location, &name, b"first");
    kept.write(&name, &later).unwrap();
    assert_eq!(store(&location, &options).read(&name).unwrap(), later);
    assert_eq!(store(&location, &options).size(&name).unwrap(), 400);
}

#[test]
fn deleting_what_is_retained_is_refused() {
    let Some(ceph) = ceph() else { return };
    let location = ceph.fresh();
    let options = S3Options {
        retention: Some(3 * DAY),
        ..ceph.owner()
    };
    let kept = store(&location, &options);
    kept.prepare().unwrap();
    let name = name_of(ObjectKind::Snapshot, b"a snapshot");
    kept.write(&name, b"a snapshot").unwrap();
    // Also by credentials that may do everything and a program that knows of no retention.
    for store in [&kept, &store(&location, &ceph.owner())] {
        let refused = store.delete(&name);
        let is_refusal = matches!(refused, Err(StoreError::DeletesRefused { .. }));
        assert!(is_refusal, "{refused:?}");
        assert_eq!(store.read(&name).unwrap(), b"a snapshot");
    }
}

#[test]
fn refusals_say_what_to_do() {
    let Some(ceph) = ceph() else { return };
    let location = ceph.fresh();
    let name = name_of(ObjectKind::Pack, b"x");
    let missing = store(&location, &ceph.owner()).read(&name).unwrap_err();
    let text = missing.to_string();
    assert!(text.contains("make the bucket first"), "{text}");
    let mut wrong = ceph.owner();
    wrong.credentials.as_mut().unwrap().access_key = "nobody".to_owned();
    let late = S3Options {
        now: || 1_000_000_000,
        ..ceph.owner()
    };
    for (options, advice) in [(wrong, "AWS_ACCESS_KEY_ID"), (late, "clock")] {
        let refused = store(&location, &options).list_all(ObjectKind::Pack);
        let text = refused.unwrap_err().to_string();
        assert!(text.contains(advice), "{text}");
    }
}

#[test]
fn nothing_that_is_retained_can_be_destroyed() {
    let Some(ceph) = ceph() else { return };
    let location = ceph.fresh();
    let options = S3Options {
        retention: Some(3 * DAY),
        ..ceph.owner()
    };
    let kept = store(&location, &options);
    kept.prepare().unwrap();
    let attempts = kept.probe("a-1");
    assert_eq!(attempts.len(), 11);
    for attempt in attempts {
        let refused = matches!(attempt.outcome, Outcome::Refused(_));
        assert!(refused, "{attempt:?}");
    }
    // What is not retained goes, which here are the versions that cover one and a marker; the rest
    // stays for its day.
    let tidied = kept.tidy_probes().unwrap();
    let expected = ProbesLeft {
        removed: 2,
        left: 10,
    };
    assert_eq!(tidied, expected);
    let again = ProbesLeft {
        removed: 0,
        left: 10,
    };
    assert_eq!(kept.tidy_probes().unwrap(), again);
}

#[test]
fn a_bucket_without_lock_is_no_place_to_probe() {
    let Some(ceph) = ceph() else { return };
    let plain = store(&ceph.fresh(), &ceph.owner());
    plain.prepare().unwrap();
    for attempt in plain.probe("a-1") {
        let on_twin = attempt.what.contains("twin");
        let untried = matches!(attempt.outcome, Outcome::Untried(_));
        assert!(untried || on_twin, "{attempt:?}");
    }
}

#[test]
fn weak_buckets_are_found() {
    let Some(ceph) = ceph() else { return };
    let location = ceph.fresh();
    let options = S3Options {
        retention: Some(3 * DAY),
        ..ceph.owner()
    };
    let kept = store(&location, &options);
    kept.prepare().unwrap();
    let found = || -> Vec<String> {
        let findings = kept.findings(&kept.inspect(), Some(3 * DAY));
        findings.into_iter().map(|finding| finding.what).collect()
    };
    let has = |part: &str| {
        let found = found();
        assert!(
            found.iter().any(|what| what.contains(part)),
            "{part}: {found:?}"
        );
    };
    assert_eq!(
        found(),
        ["there is no default retention: what other programs write is not retained"]
    );
    let lock = |mode: &str, days: u64| {
        format!(
            "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule>\
             <DefaultRetention><Mode>{mode}</Mode><Days>{days}</Days></DefaultRetention></Rule>\
             </ObjectLockConfiguration>"
        )
    };
    ceph.set(&location, "object-lock", &lock("COMPLIANCE", 3));
    assert_eq!(found(), [""; 0]);
    ceph.set(&location, "object-lock", &lock("COMPLIANCE", 2));
    has("the default retention is 2 days");
    ceph.set(&location, "object-lock", &lock("GOVERNANCE", 9));
    has("governance");
    let rules = "<LifecycleConfiguration><Rule><ID>old</ID><Prefix></Prefix><Status>Enabled</Status>\
                 <NoncurrentVersionExpiration><NoncurrentDays>1</NoncurrentDays>\
                 </NoncurrentVersionExpiration></Rule></LifecycleConfiguration>";
    ceph.set(&location, "lifecycle", rules);
    has("the lifecycle rule \"old\"");
    let policy = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::BUCKET/*"}]}"#;
    ceph.set(
        &location,
        "policy",
        &policy.replace("BUCKET", &location.bucket),
    );
    has("everybody");
    let plain = store(&ceph.fresh(), &ceph.owner());
    plain.prepare().unwrap();
    let findings = plain.findings(&plain.inspect(), None);
    let unsafe_ones = findings
        .iter()
        .filter(|finding| finding.severity == Severity::Unsafe);
    assert_eq!(unsafe_ones.count(), 2, "{findings:?}");
}
