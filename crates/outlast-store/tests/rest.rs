//! The REST client against a server that behaves, and one that does not.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use outlast_object::{ObjectKind, ObjectName, hash};
use outlast_store::conformance::{self, Demands, name_of, sample_bytes};
use outlast_store::testing::{ManualClock, Misbehaviour, RestServer};
use outlast_store::{
    Deletes, Limits, Location, LockStore, RestOptions, RestStore, Retry, RetryPolicy, Secret,
    Store, StoreError, Throttle, Timeouts,
};

fn store_with(location: &str, options: &RestOptions) -> RestStore {
    let Location::Rest(location) = Location::parse(location).unwrap() else {
        panic!("{location} is not a REST location");
    };
    RestStore::new(&location, options).unwrap()
}

fn prepared(server: &RestServer) -> RestStore {
    let store = store_with(&server.location("r"), &RestOptions::default());
    store.prepare().unwrap();
    store
}

/// Retries without waiting.
fn patient(store: RestStore) -> Retry<RestStore> {
    Retry::new(store, RetryPolicy::default()).with_clock(Arc::new(ManualClock::new()))
}

#[test]
fn conforms() {
    let server = RestServer::start().unwrap();
    conformance::run(Demands::default(), &mut |check| {
        Ok(Arc::new(store_with(
            &server.location(check),
            &RestOptions::default(),
        )))
    })
    .unwrap();
}

#[test]
fn conforms_with_an_append_only_server_of_the_first_version_without_ranges() {
    let server = RestServer::start().unwrap();
    server.make_append_only();
    server.speak_first_version();
    server.ignore_ranges();
    conformance::run(
        Demands {
            objects: 200,
            deletes: false,
        },
        &mut |check| {
            Ok(Arc::new(store_with(
                &server.location(check),
                &RestOptions::default(),
            )))
        },
    )
    .unwrap();
}

#[test]
fn connections_are_kept() {
    let server = RestServer::start().unwrap();
    let store = prepared(&server);
    for seed in 0..50u64 {
        let bytes = seed.to_le_bytes();
        store
            .write(&name_of(ObjectKind::Pack, &bytes), &bytes)
            .unwrap();
    }
    assert_eq!(server.connections(), 1);
}

#[test]
fn credentials_come_from_the_location_or_else_from_the_options() {
    let server = RestServer::start().unwrap();
    server.require("me", "pass:w@rd");
    let plain = server.location("r");
    let with = |user: &str| plain.replace("http://", &format!("http://{user}@"));
    let given = RestOptions {
        user: Some("me".to_owned()),
        password: Some(Secret::new("pass:w@rd")),
        ..RestOptions::default()
    };
    store_with(&with("me:pass%3Aw%40rd"), &RestOptions::default())
        .prepare()
        .unwrap();
    store_with(&plain, &given).prepare().unwrap();

    // The location counts whole: its user is not joined with the password of the options.
    for store in [
        store_with(&plain, &RestOptions::default()),
        store_with(&with("me:wrong"), &given),
        store_with(&with("me"), &given),
    ] {
        for error in [
            store.prepare().unwrap_err(),
            store.read(&ObjectName::CONFIG).unwrap_err(),
            store.write(&ObjectName::CONFIG, b"x").unwrap_err(),
            store.list_all(ObjectKind::Pack).unwrap_err(),
            store.remove_lock(&hash(b"lock")).unwrap_err(),
        ] {
            assert!(matches!(error, StoreError::Denied { .. }), "{error}");
            assert!(error.to_string().contains("password"), "{error}");
            assert!(!error.to_string().contains("wrong@"), "{error}");
        }
    }
}

#[test]
fn failures_that_pass_are_retried_and_others_are_not() {
    for (status, retried) in [
        (500, true),
        (502, true),
        (503, true),
        (429, true),
        (408, true),
        (501, false),
        (400, false),
        (405, false),
        (413, false),
        (507, false),
    ] {
        let server = RestServer::start().unwrap();
        let store = patient(prepared(&server));
        let name = name_of(ObjectKind::Pack, b"pack");
        server.misbehave("POST", "data/", 3, Misbehaviour::Refuse(status));
        let written = store.write(&name, b"pack");
        assert_eq!(written.is_ok(), retried, "{status}: {written:?}");
        let full = matches!(written, Err(StoreError::Full { .. }));
        assert_eq!(full, status == 507 || status == 413, "{status}");
        let posts = server
            .requests()
            .iter()
            .filter(|r| r.method == "POST")
            .count();
        assert_eq!(posts, if retried { 5 } else { 2 }, "{status}");
    }
}

#[test]
fn every_operation_survives_a_server_that_stumbles() {
    let server = RestServer::start().unwrap();
    let store = patient(prepared(&server));
    let bytes = sample_bytes(1, 60_000);
    let name = name_of(ObjectKind::Lock, &bytes);
    for misbehaviour in [
        Misbehaviour::Refuse(500),
        Misbehaviour::CloseEarly,
        Misbehaviour::LoseAnswer,
        Misbehaviour::DoneButReported(502),
        Misbehaviour::CutBody(3),
        Misbehaviour::RefuseEarly(503),
    ] {
        for method in ["POST", "GET", "HEAD", "DELETE"] {
            server.misbehave(method, "", 2, misbehaviour.clone());
        }
        store.write(&name, &bytes).unwrap();
        assert_eq!(store.read(&name).unwrap(), bytes, "{misbehaviour:?}");
        server.misbehave("GET", "", 2, misbehaviour.clone());
        assert_eq!(store.read_range(&name, 100, 200).unwrap(), bytes[100..300]);
        server.misbehave("HEAD", "", 2, misbehaviour.clone());
        assert_eq!(store.size(&name).unwrap(), 60_000);
        server.misbehave("GET", "", 2, misbehaviour.clone());
        assert_eq!(
            store.list_all(ObjectKind::Lock).unwrap().len(),
            1,
            "{misbehaviour:?}"
        );
        store.remove_lock(&name.id()).unwrap();
        assert!(!store.exists(&name).unwrap());
    }
}

#[test]
fn a_lost_answer_is_settled_by_looking() {
    let server = RestServer::start().unwrap();
    let store = prepared(&server);
    // Large enough that the server's refusal closes the connection in the middle of the upload.
    let bytes = sample_bytes(2, 20 * 1024 * 1024);
    let name = name_of(ObjectKind::Pack, &bytes);
    server.misbehave("POST", "data/", 1, Misbehaviour::LoseAnswer);
    store.write(&name, &bytes).unwrap();
    server.misbehave("POST", "data/", 1, Misbehaviour::RefuseEarly(403));
    store.write(&name, &bytes).unwrap();
    server.misbehave("POST", "data/", 1, Misbehaviour::CloseEarly);
    store.write(&name, &bytes).unwrap();

    // Other bytes of the same length are found out.
    let mut other = bytes;
    other[19 * 1024 * 1024] ^= 1;
    server.misbehave("POST", "data/", 1, Misbehaviour::CloseEarly);
    let error = store.write(&name, &other).unwrap_err();
    assert!(matches!(error, StoreError::AlreadyExists { .. }), "{error}");
}

#[test]
fn large_bodies_are_sent_only_when_they_are_wanted() {
    let server = RestServer::start().unwrap();
    let store = prepared(&server);
    let bytes = sample_bytes(5, 2 * 1024 * 1024);
    let name = name_of(ObjectKind::Pack, &bytes);
    server.misbehave("POST", "data/", 1, Misbehaviour::RefuseEarly(507));
    let error = store.write(&name, &bytes).unwrap_err();
    assert!(matches!(error, StoreError::Full { .. }), "{error}");
    store.write(&name, &bytes).unwrap();
    let announced = |server: &RestServer| {
        let posts = server.requests();
        posts
            .iter()
            .filter(|request| request.header("expect").is_some())
            .count()
    };
    assert_eq!(announced(&server), 2);

    // A server that does not know how to say so gets them at once, from then on.
    server.misbehave("POST", "data/", 1, Misbehaviour::RefuseEarly(417));
    for seed in 6..9 {
        let bytes = sample_bytes(seed, 2 * 1024 * 1024);
        store
            .write(&name_of(ObjectKind::Pack, &bytes), &bytes)
            .unwrap();
    }
    assert_eq!(announced(&server), 3);
}

#[test]
fn a_refusal_stands_where_nothing_is_there_or_nothing_can_be_read() {
    let server = RestServer::start().unwrap();
    let store = prepared(&server);
    let name = name_of(ObjectKind::Pack, b"pack");
    server.misbehave("POST", "data/", 1, Misbehaviour::Refuse(403));
    assert!(matches!(
        store.write(&name, b"pack"),
        Err(StoreError::Denied { .. })
    ));
    server.misbehave("POST", "data/", 1, Misbehaviour::CloseEarly);
    assert!(store.write(&name, b"pack").unwrap_err().is_retryable());
    // The object is there, but may not be read: whether it is the same cannot be said.
    store.write(&name, b"pack").unwrap();
    server.misbehave("GET", "data/", 1, Misbehaviour::Refuse(403));
    assert!(matches!(
        store.write(&name, b"pack"),
        Err(StoreError::Denied { .. })
    ));
}

#[test]
fn nothing_is_sent_to_another_host() {
    let server = RestServer::start().unwrap();
    let elsewhere = RestServer::start().unwrap();
    elsewhere.repository("r");
    let address = server.location("r").replace("http://", "http://me:geheim@");
    let store = store_with(&address, &RestOptions::default());
    let target = elsewhere.location("r").replace("rest:", "");
    for status in [301, 302, 303, 307, 308] {
        for method in ["GET", "POST", "HEAD", "DELETE"] {
            server.misbehave(
                method,
                "",
                1,
                Misbehaviour::Redirect(status, target.clone()),
            );
        }
        let name = name_of(ObjectKind::Lock, b"lock");
        for error in [
            store.read(&name).unwrap_err(),
            store.write(&name, b"lock").unwrap_err(),
            store.size(&name).unwrap_err(),
            store.remove_lock(&name.id()).unwrap_err(),
        ] {
            assert!(matches!(error, StoreError::Denied { .. }), "{error}");
            assert!(!error.to_string().contains("geheim"), "{error}");
        }
    }
    assert_eq!(elsewhere.requests(), []);
}

#[test]
fn redirects_within_a_host_are_followed() {
    let server = RestServer::start().unwrap();
    let store = prepared(&server);
    let name = name_of(ObjectKind::Key, b"key");
    let elsewhere = format!("/r/{name}");
    server.misbehave(
        "POST",
        "keys/",
        1,
        Misbehaviour::Redirect(307, elsewhere.clone()),
    );
    store.write(&name, b"key").unwrap();
    server.misbehave(
        "GET",
        "keys/",
        1,
        Misbehaviour::Redirect(301, elsewhere.clone()),
    );
    assert_eq!(store.read(&name).unwrap(), b"key");
    // An upload that would turn into something else is refused, as is going round in circles.
    server.misbehave(
        "POST",
        "keys/",
        1,
        Misbehaviour::Redirect(302, elsewhere.clone()),
    );
    assert!(matches!(
        store.write(&name, b"key"),
        Err(StoreError::Denied { .. })
    ));
    server.misbehave("GET", "keys/", 100, Misbehaviour::Redirect(308, elsewhere));
    assert!(matches!(store.read(&name), Err(StoreError::Denied { .. })));
}

#[test]
fn bodies_are_bounded_and_must_be_whole() {
    let server = RestServer::start().unwrap();
    let store = prepared(&server);
    let bytes = sample_bytes(3, 1000);
    let name = name_of(ObjectKind::Lock, &bytes);
    store.write(&name, &bytes).unwrap();

    server.misbehave("GET", "", 1, Misbehaviour::OtherBody(vec![0; 1024 * 1024]));
    assert!(matches!(
        store.read(&name),
        Err(StoreError::TooLarge { .. })
    ));
    server.misbehave("GET", "", 2, Misbehaviour::CutBody(500));
    assert!(store.read(&name).unwrap_err().is_retryable());
    assert!(store.read_range(&name, 0, 1000).unwrap_err().is_retryable());
    // A range that comes up short although the object is long enough is worth another try.
    server.misbehave("GET", "", 1, Misbehaviour::ShortBody(10));
    assert!(store.read_range(&name, 0, 1000).unwrap_err().is_retryable());
    // More than was asked for is not taken.
    server.misbehave("GET", "", 1, Misbehaviour::OtherBody(vec![7; 5000]));
    assert_eq!(store.read_range(&name, 0, 10).unwrap(), [7; 10]);
}

#[test]
fn listings_must_make_sense() {
    let server = RestServer::start().unwrap();
    let store = prepared(&server);
    for nonsense in [
        &b"<html>Bad gateway</html>"[..],
        b"[{\"name\":",
        b"{}",
        b"[[]]",
        b"",
    ] {
        server.misbehave(
            "GET",
            "data/",
            1,
            Misbehaviour::OtherBody(nonsense.to_vec()),
        );
        let error = store.list_all(ObjectKind::Pack).unwrap_err();
        assert!(error.is_retryable(), "{error}");
    }
    server.misbehave("GET", "data/", 1, Misbehaviour::Refuse(404));
    assert_eq!(store.list_all(ObjectKind::Pack).unwrap(), []);

    // Half a million objects come in one listing; what is no object is passed over.
    let entries: Vec<String> = (0..500_000u32)
        .map(|n| format!(r#"{{"name":"{n:064x}","size":{n}}},{{"name":"tmp-{n}","size":1}}"#))
        .collect();
    let body = format!("[{}]", entries.join(","));
    server.misbehave(
        "GET",
        "data/",
        1,
        Misbehaviour::OtherBody(body.into_bytes()),
    );
    let infos = store.list_all(ObjectKind::Pack).unwrap();
    assert_eq!(infos.len(), 500_000);
    assert_eq!(infos[77].size, 77);
}

#[test]
fn a_listing_cut_short_is_visited_once_after_the_retry() {
    let server = RestServer::start().unwrap();
    let store = patient(prepared(&server));
    for seed in 0..100u64 {
        let bytes = seed.to_le_bytes();
        store
            .write(&name_of(ObjectKind::Index, &bytes), &bytes)
            .unwrap();
    }
    server.misbehave("GET", "index/", 3, Misbehaviour::CutBody(5000));
    let mut seen = 0;
    store.list(ObjectKind::Index, &mut |_| seen += 1).unwrap();
    assert_eq!(seen, 100);
}

#[test]
fn a_dead_connection_is_noticed() {
    let server = RestServer::start().unwrap();
    let timeouts = Timeouts {
        idle: Duration::from_millis(200),
        connect: Duration::from_millis(2000),
    };
    let options = RestOptions {
        timeouts,
        ..RestOptions::default()
    };
    let store = store_with(&server.location("r"), &options);
    store.prepare().unwrap();
    server.misbehave("GET", "", 1, Misbehaviour::Silence);
    assert!(store.read(&ObjectName::CONFIG).unwrap_err().is_retryable());
    // Nobody listens any more.
    let location = server.location("r");
    drop(store);
    drop(server);
    let store = store_with(&location, &options);
    assert!(store.read(&ObjectName::CONFIG).unwrap_err().is_retryable());
}

#[test]
fn bodies_go_through_the_throttle_in_small_pieces() {
    let server = RestServer::start().unwrap();
    let clock = Arc::new(ManualClock::new());
    let limits = Limits {
        upload_kib_per_second: 100,
        download_kib_per_second: 1000,
    };
    let throttle = Arc::new(Throttle::with_clock(limits, clock.clone()));
    let options = RestOptions {
        throttle: Some(throttle),
        ..RestOptions::default()
    };
    let store = store_with(&server.location("r"), &options);
    store.prepare().unwrap();
    let bytes = sample_bytes(4, 1100 * 1024);
    let name = name_of(ObjectKind::Pack, &bytes);
    store.write(&name, &bytes).unwrap();
    let seconds = |waits: &[Duration]| waits.iter().sum::<Duration>().as_secs_f64();
    let up = clock.waits();
    assert!(
        up.len() > 10 && (seconds(&up) - 10.0).abs() < 0.1,
        "{}",
        seconds(&up)
    );
    assert_eq!(store.read(&name).unwrap(), bytes);
    let down = &clock.waits()[up.len()..];
    assert!((seconds(down) - 0.1).abs() < 0.05, "{}", seconds(down));
}

#[test]
fn writing_to_a_missing_repository_says_so() {
    let server = RestServer::start().unwrap();
    let store = store_with(&server.location("nowhere"), &RestOptions::default());
    let error = store.write(&ObjectName::CONFIG, b"config").unwrap_err();
    assert!(
        error.to_string().contains("repository does not exist"),
        "{error}"
    );
    assert!(store.read(&ObjectName::CONFIG).unwrap_err().is_not_found());
    assert!(store.delete(&ObjectName::CONFIG).is_ok());
    assert_eq!(store.list_all(ObjectKind::Key).unwrap(), []);
}
