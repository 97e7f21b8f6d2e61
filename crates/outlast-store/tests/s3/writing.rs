//! Writing and retaining where answers are lost or lie.

use outlast_object::ObjectKind;
use outlast_store::conformance::{name_of, sample_bytes};
use outlast_store::testing::Misbehaviour;
use outlast_store::{Deletes, LockStore, RetentionMode, Store, StoreError};

use crate::world::{ALWAYS, DAY, World, patient, refusal, replace, text};

#[test]
fn answers_to_writes_that_are_lost_or_lie_do_no_harm() {
    for (number, wrong) in [
        Misbehaviour::LoseAnswer,
        Misbehaviour::DoneButReported(500),
        Misbehaviour::CloseEarly,
        Misbehaviour::RefuseEarly(503),
        Misbehaviour::Refuse(503),
        refusal(503, "SlowDown"),
        Misbehaviour::CutBody(0),
        Misbehaviour::OtherHeader("x-amz-version-id", "another".to_owned()),
        Misbehaviour::OtherHeader("x-amz-version-id", "v/000001+a=".to_owned()),
        Misbehaviour::OtherHeader("ETag", "\"another\"".to_owned()),
    ]
    .into_iter()
    .enumerate()
    {
        let world = World::new();
        let bytes = sample_bytes(100 + number as u64, 3000);
        let name = name_of(ObjectKind::Pack, &bytes);
        let store = patient(world.store());
        world.server.misbehave("PUT", "a/data", 1, wrong.clone());
        store.write(&name, &bytes).unwrap();
        assert_eq!(store.read(&name).unwrap(), bytes, "{wrong:?}");
        let part = store.read_range(&name, 1, 10).unwrap();
        assert_eq!(part, bytes[1..11], "{wrong:?}");
        let id = name.id().to_string();
        let key = format!("a/data/{}/{id}", &id[..2]);
        // What was done though it was not said is not done again.
        assert_eq!(
            world.server.version_ids("bucket", &key).len(),
            1,
            "{wrong:?}"
        );
    }
}

#[test]
fn tags_that_lie_do_not_make_other_bytes_ours() {
    let world = World::new();
    let ours = sample_bytes(3, 900);
    let name = name_of(ObjectKind::Index, &ours);
    let key = format!("a/index/{}", name.id());
    world.server.plant("bucket", &key, &sample_bytes(4, 900));
    // The tag is no tag of bytes: what is there is read.
    world
        .server
        .misbehave("GET", "versions=", ALWAYS, replace("&quot;", "-5"));
    let store = world.store();
    store.write(&name, &ours).unwrap();
    world.server.behave();
    assert_eq!(world.server.version_ids("bucket", &key).len(), 2);
    assert_eq!(world.store().read(&name).unwrap(), ours);
}

#[test]
fn a_writer_that_may_not_read_writes_beside() {
    let world = World::new();
    let bytes = sample_bytes(9, 800);
    let name = name_of(ObjectKind::Pack, &bytes);
    let id = name.id().to_string();
    let key = format!("a/data/{}/{id}", &id[..2]);
    world.server.plant("bucket", &key, &sample_bytes(10, 800));
    world
        .server
        .misbehave("GET", "a/data", ALWAYS, refusal(403, "AccessDenied"));
    world.store().write(&name, &bytes).unwrap();
    world.server.behave();
    assert_eq!(world.store().read(&name).unwrap(), bytes);
}

#[test]
fn retention_is_never_believed_to_be_more_than_it_says() {
    let world = World::new();
    let store = world.store();
    let names = [world.name];
    let asked = || store.retention_of(&names).remove(0).1;
    let whole = asked().unwrap();
    assert_eq!(whole.mode, Some(RetentionMode::Compliance));
    // Garbled: nothing is retained as far as one knows, or an error.
    for wrong in [
        text("<Retention></Retention>"),
        text("<Retention><Mode>COMPLIANCE</Mode></Retention>"),
        replace("COMPLIANCE", "compliant"),
        replace("COMPLIANCE", "GOVERNANCE"),
        replace("RetainUntilDate>2", "RetainUntilDate>x"),
        replace("RetainUntilDate>2", "RetainUntilDate>99999"),
        text("<html></html>"),
        text("<Retention>"),
        Misbehaviour::Refuse(503),
        Misbehaviour::Refuse(403),
        refusal(404, "NoSuchObjectLockConfiguration"),
        Misbehaviour::CutBody(20),
    ] {
        world
            .server
            .misbehave("GET", "retention=", 1, wrong.clone());
        match asked() {
            Ok(told) => assert_ne!(told.mode, Some(RetentionMode::Compliance), "{wrong:?}"),
            Err(error) => assert!(!error.is_not_found(), "{wrong:?}: {error}"),
        }
        world.server.behave();
    }
    assert_eq!(asked().unwrap(), whole);
    // An answer that could not be had is no reason to think that it is enough.
    for wrong in [Misbehaviour::Refuse(503), Misbehaviour::Refuse(403)] {
        world.server.misbehave("GET", "retention=", 1, wrong);
        let renewed = store.renew(&names, 30 * DAY);
        assert_eq!((renewed.enough, renewed.failed.len()), (0, 1));
        world.server.behave();
    }
    // Nothing is extended beyond reason because of what a server says.
    let far = "<Retention><Mode>GOVERNANCE</Mode><RetainUntilDate>9000-01-01T00:00:00Z\
               </RetainUntilDate></Retention>";
    world.server.misbehave("GET", "retention=", 1, text(far));
    let renewed = store.renew(&names, 60 * DAY);
    assert_eq!((renewed.extended, renewed.failed.len()), (1, 0));
    let until = asked().unwrap().retain_until.unwrap();
    assert!(until < whole.retain_until.unwrap() + 3700 * DAY.as_secs());
}

#[test]
fn settings_that_cannot_be_understood_are_unknown() {
    let world = World::new();
    let store = world.store();
    for part in ["versioning=", "object-lock="] {
        world
            .server
            .misbehave("GET", part, ALWAYS, text("<html>all is well</html>"));
        let findings = store.findings(&store.inspect(), Some(30 * DAY));
        let seen = |text: &str| findings.iter().any(|finding| finding.what.contains(text));
        assert!(seen("cannot be looked at"), "{findings:?}");
        world.server.behave();
    }
}

#[test]
fn locks_go_and_nothing_else() {
    let world = World::new();
    let store = world.store();
    let lock = name_of(ObjectKind::Lock, b"lock");
    store.write(&lock, b"lock").unwrap();
    store.remove_lock(&lock.id()).unwrap();
    assert!(store.list_all(ObjectKind::Lock).unwrap().is_empty());
    let refused = store.delete(&world.name);
    assert!(matches!(refused, Err(StoreError::DeletesRefused { .. })));
}
