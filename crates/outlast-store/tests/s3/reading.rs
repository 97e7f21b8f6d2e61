//! Reading from a server that sends what is not so.

use std::time::Duration;

use outlast_object::{ObjectKind, ObjectName, hash};
use outlast_store::conformance::sample_bytes;
use outlast_store::testing::Misbehaviour;
use outlast_store::{RestOptions, S3Store, Store, StoreError, Timeouts};

use crate::world::{ALWAYS, World, entry, patient, refusal, replace, text};

#[test]
fn what_passes_is_tried_again() {
    let world = World::new();
    let versions = world.server.version_ids("bucket", &world.key());
    let (key, name) = (world.key(), world.name);
    let passing = [
        Misbehaviour::Refuse(500),
        Misbehaviour::Refuse(503),
        refusal(503, "SlowDown"),
        refusal(400, "RequestTimeout"),
        refusal(409, "OperationAborted"),
        refusal(429, "TooManyRequests"),
        Misbehaviour::CloseEarly,
        Misbehaviour::LoseAnswer,
        Misbehaviour::CutBody(10),
        Misbehaviour::CutBody(0),
        Misbehaviour::WrongLength(1_000_000),
        Misbehaviour::RefuseEarly(503),
    ];
    let of_objects = [
        Misbehaviour::ShortBody(10),
        Misbehaviour::ShortBody(0),
        Misbehaviour::WrongLength(10),
        Misbehaviour::OtherBody(b"another body".to_vec()),
        Misbehaviour::OtherBody(sample_bytes(2, 5000)),
        Misbehaviour::OtherTarget("/bucket/a/config".to_owned()),
        Misbehaviour::OtherHeader("x-amz-version-id", "another".to_owned()),
        Misbehaviour::OtherHeader("ETag", "\"another\"".to_owned()),
    ];
    for wrong in passing.iter().chain(&of_objects) {
        world.server.misbehave("GET", &key, 1, wrong.clone());
        let read = patient(world.store()).read(&name);
        assert_eq!(read.unwrap(), world.bytes, "{wrong:?}");
        world.server.behave();
    }
    for part in ["versioning=", "versions="] {
        let of_documents = [
            text("<html><body>Please sign in</body></html>"),
            text("<Error><Code>InternalError</Code></Error>"),
            text("not XML"),
            text(""),
            replace("</", "<"),
        ];
        for wrong in passing.iter().chain(&of_documents) {
            world.server.misbehave("GET", part, 1, wrong.clone());
            let read = patient(world.store()).read(&name);
            assert_eq!(read.unwrap(), world.bytes, "{part} {wrong:?}");
            world.server.behave();
        }
    }
    // Nothing was written by reading.
    assert_eq!(world.server.version_ids("bucket", &key), versions);
}

#[test]
fn wrong_bytes_are_never_taken_for_right() {
    let world = World::new();
    let key = world.key();
    for wrong in [
        Misbehaviour::ShortBody(10),
        Misbehaviour::CutBody(10),
        Misbehaviour::WrongLength(10),
        Misbehaviour::WrongLength(u64::MAX),
        Misbehaviour::OtherBody(sample_bytes(2, 5000)),
        Misbehaviour::OtherTarget("/bucket/a/config".to_owned()),
        Misbehaviour::OtherHeader("x-amz-version-id", "another".to_owned()),
        Misbehaviour::Endless("x".to_owned(), "y".to_owned()),
        Misbehaviour::Redirect(302, "http://127.0.0.1:1/bucket".to_owned()),
        Misbehaviour::Redirect(200, String::new()),
        refusal(404, "NoSuchKey"),
        refusal(403, "AccessDenied"),
    ] {
        match world.read_while("GET", &key, &wrong) {
            // Whole and damaged is for the reader to see, as with any other store.
            Ok(bytes) => assert!(bytes.len() == 5000 && hash(&bytes) != world.name.id()),
            Err(error) => assert!(!matches!(error, StoreError::Full { .. }), "{error}"),
        }
        // Parts have no hash of their own here; what can be seen is seen.
        world.server.misbehave("GET", &key, ALWAYS, wrong.clone());
        let part = patient(world.store()).read_range(&world.name, 100, 50);
        world.server.behave();
        if let Ok(part) = part {
            assert_eq!(part, world.bytes[100..150], "{wrong:?}");
        }
    }
    assert_eq!(world.store().read(&world.name).unwrap(), world.bytes);
}

#[test]
fn parts_that_are_not_what_was_asked_for_are_refused() {
    let world = World::new();
    let bytes = &world.bytes[100..150];
    let range = |value: &str| Misbehaviour::OtherHeader("Content-Range", value.to_owned());
    for wrong in [
        range("bytes 0-49/5000"),
        range("bytes 101-150/5000"),
        range("bytes */5000"),
        range("nonsense"),
        range(""),
        Misbehaviour::ShortBody(49),
        Misbehaviour::CutBody(49),
        Misbehaviour::OtherBody(Vec::new()),
        Misbehaviour::OtherHeader("x-amz-version-id", "v/000002+a=".to_owned()),
    ] {
        let key = world.key();
        world.server.misbehave("GET", &key, 1, wrong.clone());
        let store = world.store();
        let error = store.read_range(&world.name, 100, 50).unwrap_err();
        assert!(error.is_retryable(), "{wrong:?}: {error}");
        assert_eq!(store.read_range(&world.name, 100, 50).unwrap(), bytes);
        world.server.behave();
    }
}

#[test]
fn endless_answers_cost_bounded_memory() {
    let world = World::new();
    let endless =
        |begin: &str, again: &str| Misbehaviour::Endless(begin.to_owned(), again.to_owned());
    let listed = endless("<ListVersionsResult>", &entry("a/data/x", "5"));
    let nested = endless("<ListVersionsResult>", "<a>");
    let spaces = endless("<ListVersionsResult>", " ");
    for wrong in [listed, nested, spaces] {
        world.server.misbehave("GET", "versions=", 1, wrong);
        let before = world.server.endless_bytes();
        assert!(world.store().list_all(ObjectKind::Pack).is_err());
        // What is read of a document, and what the system keeps of it on its way.
        assert!(world.server.endless_bytes() - before < 64 << 20);
        world.server.behave();
    }
    // A pack may be large, but not larger than any pack.
    let wrong = endless("", "\0");
    let config = world.read_while("GET", "a/config", &wrong);
    assert!(config.is_ok(), "the pack is another object: {config:?}");
    world.server.misbehave("GET", "a/config", 1, wrong);
    let error = world.store().read(&ObjectName::CONFIG).unwrap_err();
    assert!(matches!(error, StoreError::TooLarge { .. }), "{error}");
}

#[test]
fn bodies_of_errors_are_cut_and_cleaned() {
    let world = World::new();
    let long = format!(
        "<Error><Code>AccessDenied</Code><Message>{}\u{1b}[31m\n</Message></Error>",
        "m".repeat(10_000)
    );
    for body in [
        long,
        "x".repeat(1 << 20),
        String::new(),
        "<Error>".repeat(1000),
        "<Error><Code>\u{1b}]0;x</Code></Error>".to_owned(),
    ] {
        let wrong = Misbehaviour::Answer(403, Vec::new(), body.into_bytes());
        let error = world.read_while("GET", "a/data", &wrong).unwrap_err();
        let message = error.to_string();
        assert!(matches!(error, StoreError::Denied { .. }), "{message}");
        assert!(
            message.len() < 1000 && !message.contains('\u{1b}'),
            "{message}"
        );
        assert!(message.contains("403"), "{message}");
    }
    let wrong = Misbehaviour::Answer(500, Vec::new(), vec![b'x'; 1 << 20]);
    let error = world.read_while("GET", "a/data", &wrong).unwrap_err();
    assert!(error.is_retryable());
}

#[test]
fn refusals_say_what_is_wrong() {
    let world = World::new();
    let elsewhere = || vec![("Location", "http://evil.example:81/bucket/x".to_owned())];
    for (wrong, why) in [
        (
            refusal(403, "RequestTimeTooSkewed"),
            "set this machine's clock",
        ),
        (
            refusal(403, "SignatureDoesNotMatch"),
            "AWS_SECRET_ACCESS_KEY",
        ),
        (refusal(400, "ExpiredToken"), "get new ones"),
        (refusal(400, "AuthorizationHeaderMalformed"), "AWS_REGION"),
        (refusal(404, "NoSuchBucket"), "make the bucket first"),
        (
            Misbehaviour::Answer(307, elsewhere(), Vec::new()),
            "redirects to http://evil.example:81, where no signed request is sent",
        ),
        (
            Misbehaviour::Answer(301, Vec::new(), Vec::new()),
            "301 Moved Permanently",
        ),
    ] {
        let before = world.server.requests().len();
        let error = world.read_while("GET", "a/data", &wrong).unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
        assert!(matches!(error, StoreError::Denied { .. }), "{error}");
        // What does not pass is not tried again.
        assert!(world.server.requests().len() <= before + 3);
    }
}

#[test]
fn a_server_that_hangs_is_given_up() {
    let world = World::new();
    let options = RestOptions {
        timeouts: Timeouts {
            connect: Duration::from_secs(30),
            idle: Duration::from_millis(300),
        },
        ..RestOptions::default()
    };
    let location = world.server.location("bucket/a").unwrap();
    let store = S3Store::new(&location, &world.server.options(), &options).unwrap();
    for part in ["versioning=", "versions=", "a/data"] {
        world
            .server
            .misbehave("GET", part, 1, Misbehaviour::Silence);
        let error = store.read(&world.name).unwrap_err();
        assert!(error.is_retryable(), "{error}");
        world.server.behave();
    }
}
