//! Listings that lie.

use outlast_object::ObjectKind;
use outlast_store::Store;
use outlast_store::testing::S3Server;

use crate::world::{ALWAYS, World, entry, listing, patient, replace, store, text};

#[test]
fn listings_that_lie_are_refused() {
    let world = World::new();
    let id = world.name.id().to_string();
    let key = world.key();
    let ours = entry(&key, "5000");
    let earlier = entry(&format!("a/data/00/00{}", &id[2..]), "5");
    let refused = [
        (
            "out of order",
            listing(&format!("{ours}{earlier}"), false, ""),
        ),
        ("not asked for", listing(&entry("a/keys/x", "5"), false, "")),
        ("not asked for", listing(&entry("", "5"), false, "")),
        ("not go on", listing(&ours, true, "")),
        ("not go on", listing("", true, "a/data/x")),
        ("not go on", listing(&ours, true, "a/data/x")),
        (
            "no key",
            listing("<Version><Size>5</Size></Version>", false, ""),
        ),
        ("no size", listing(&entry(&key, ""), false, "")),
        ("no size", listing(&entry(&key, "-5"), false, "")),
        (
            "no size",
            listing(&entry(&key, "99999999999999999999"), false, ""),
        ),
        ("not a document", text(&"<a>".repeat(100))),
        (
            "not a document",
            text("<ListBucketResult>&lol;</ListBucketResult>"),
        ),
        ("not a document", text("<html></html>")),
    ];
    for (why, wrong) in refused {
        world
            .server
            .misbehave("GET", "versions=", ALWAYS, wrong.clone());
        let before = world.server.requests().len();
        let error = patient(world.store())
            .list_all(ObjectKind::Pack)
            .unwrap_err();
        assert!(error.to_string().contains(why), "{wrong:?}: {error}");
        assert!(world.server.requests().len() < before + 4000);
        world.server.behave();
    }
    // A long id is no reason to remember it.
    let wrong = replace("v/000001+a=", &"v".repeat(5000));
    world.server.misbehave("GET", "versions=", 1, wrong);
    assert!(world.store().list_all(ObjectKind::Pack).is_err());
    assert_eq!(world.store().list_all(ObjectKind::Pack).unwrap().len(), 1);
}

#[test]
fn listings_without_versions_that_lie_are_refused() {
    let server = S3Server::start().unwrap();
    let kept = store(&server, "plain/a", &server.options());
    kept.prepare().unwrap();
    let snapshot = |first: &str| format!("a/snapshots/{first}{}", "0".repeat(62));
    let contents = |key: &str| format!("<Contents><Key>{key}</Key><Size>5</Size></Contents>");
    let page = |entries: &str, token: &str| {
        text(&format!(
            "<ListBucketResult><IsTruncated>true</IsTruncated>{entries}\
             <NextContinuationToken>{token}</NextContinuationToken></ListBucketResult>"
        ))
    };
    let (one, two) = (contents(&snapshot("01")), contents(&snapshot("02")));
    for (why, pages) in [
        ("repeats", vec![page(&one, "1"), page(&one, "2")]),
        ("repeats", vec![page(&format!("{one}{one}"), "1")]),
        ("out of order", vec![page(&two, "1"), page(&one, "2")]),
        ("go on", vec![page(&one, "")]),
        ("go on", vec![page(&one, "1"), page(&two, "1")]),
        (
            "go on",
            [["1", "2"]; 3]
                .concat()
                .iter()
                .map(|t| page("", t))
                .collect(),
        ),
        ("not asked for", vec![page(&contents("b/c"), "1")]),
    ] {
        for page in &pages {
            server.misbehave("GET", "list-type", 1, page.clone());
        }
        let error = kept.list_all(ObjectKind::Snapshot).unwrap_err();
        assert!(error.to_string().contains(why), "{pages:?}: {error}");
        server.behave();
    }
}
