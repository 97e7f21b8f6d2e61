//! The S3 adapter against moto, a mock that lets retention be weakened: it must be found out.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

#[path = "support/moto.rs"]
mod moto;

use std::time::Duration;

use moto::moto;
use outlast_object::ObjectKind;
use outlast_store::conformance::{name_of, sample_bytes};
use outlast_store::{
    Location, Outcome, RestOptions, S3Credentials, S3Options, S3Store, Secret, Store,
};

#[test]
fn a_server_that_lets_retention_be_weakened_is_found_out() {
    let Some(moto) = moto() else { return };
    let text = format!("s3:http://127.0.0.1:{}/bucket/a", moto.port);
    let Location::S3(location) = Location::parse(&text).unwrap() else {
        panic!("{text} is no bucket");
    };
    let options = S3Options {
        credentials: Some(S3Credentials {
            access_key: "key".to_owned(),
            secret_key: Secret::new("secret"),
            session_token: None,
        }),
        retention: Some(Duration::from_secs(3 * 24 * 60 * 60)),
        ..S3Options::default()
    };
    let kept = S3Store::new(&location, &options, &RestOptions::default()).unwrap();
    kept.prepare().unwrap();
    let bytes = sample_bytes(1, 100);
    let name = name_of(ObjectKind::Pack, &bytes);
    kept.write(&name, &bytes).unwrap();
    assert_eq!(kept.read(&name).unwrap(), bytes);
    let attempts = kept.probe("b-1");
    let succeeded = |what: &str| {
        let attempt = attempts
            .iter()
            .find(|attempt| attempt.what == what)
            .unwrap();
        assert_eq!(attempt.outcome, Outcome::Succeeded, "{what}");
    };
    succeeded("shorten the retention");
    succeeded("weaken the retention to governance mode");
    succeeded("suspend versioning, on a twin of the bucket");
    // What it does refuse is told from what it lets pass.
    let refused = |outcome: &Outcome| matches!(outcome, Outcome::Refused(_));
    let first = &attempts[0];
    assert!(
        first.what == "delete the version" && refused(&first.outcome),
        "{first:?}"
    );
    // The probes were objects of their own.
    assert_eq!(kept.read(&name).unwrap(), bytes);
}
