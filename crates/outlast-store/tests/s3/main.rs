//! The S3 adapter against a server that behaves, and one that does not.

#![allow(clippy::unwrap_used)]

mod listing;
mod reading;
mod world;
mod writing;

use std::sync::Arc;

use outlast_object::{ObjectKind, ObjectName};
use outlast_store::conformance::{self, Demands, name_of, sample_bytes};
use outlast_store::testing::S3Server;
use outlast_store::{Deletes, S3Options, Store};

use crate::world::{ALWAYS, DAY, World, refusal, store};

fn conforms(server: &S3Server, path: &str, options: &S3Options, deletes: bool) {
    let demands = Demands {
        objects: 300,
        deletes,
    };
    conformance::run(demands, &mut |check| {
        let store = store(server, &format!("{path}/{check}"), options);
        Ok(Arc::new(store) as Arc<dyn Deletes>)
    })
    .unwrap();
}

#[test]
fn buckets_of_every_kind_conform() {
    let server = S3Server::start().unwrap();
    conforms(&server, "plain/a", &server.options(), true);
    server.make_versioned("versioned");
    conforms(&server, "versioned/a", &server.options(), true);
    let retained = S3Options {
        retention: Some(30 * DAY),
        ..server.options()
    };
    conforms(&server, "retained/a", &retained, false);
}

#[test]
fn servers_with_small_pages_that_encode_nothing_conform() {
    let server = S3Server::start().unwrap();
    server.give_small_pages(3);
    // Characters that an address and a document must escape.
    let path = "/a+b%20c&<ä>%25";
    server.make_versioned("versioned");
    conforms(&server, &format!("plain{path}"), &server.options(), true);
    conforms(
        &server,
        &format!("versioned{path}"),
        &server.options(),
        true,
    );
    server.encode_nothing();
    conforms(&server, &format!("plain{path}/x"), &server.options(), true);
    conforms(
        &server,
        &format!("versioned{path}/x"),
        &server.options(),
        true,
    );
}

#[test]
fn planted_versions_do_no_harm_on_pages_of_any_size() {
    for entries in [1, 2, 5, 1000] {
        let world = World::new();
        world.server.give_small_pages(entries);
        for junk in 0..7_u8 {
            world.server.plant("bucket", &world.key(), &[junk; 5000]);
            world.server.plant("bucket", "a/config", &[junk; 10]);
            world.server.hide("bucket", &world.key());
        }
        let store = world.store();
        assert_eq!(store.read(&world.name).unwrap(), world.bytes);
        assert_eq!(store.read(&ObjectName::CONFIG).unwrap(), b"the config");
        let packs = store.list_all(ObjectKind::Pack).unwrap();
        assert_eq!((packs.len(), packs[0].size), (1, 5000));
    }
}

#[test]
fn what_was_planted_and_cannot_be_read_hides_nothing() {
    let world = World::new();
    let bytes = sample_bytes(2, 700);
    let name = name_of(ObjectKind::Snapshot, &bytes);
    let key = format!("a/snapshots/{}", name.id());
    world.server.plant("bucket", &key, b"planted first");
    let planted = world.server.version_ids("bucket", &key).remove(0);
    world.store().write(&name, &bytes).unwrap();
    // Encrypted with a key of the attacker, say.
    let target = format!(
        "versionId={}",
        planted.replace('/', "%2F").replace('+', "%2B")
    );
    let target = target.replace("a=", "a%3D");
    let wrong = refusal(400, "InvalidRequest");
    world.server.misbehave("GET", &target, ALWAYS, wrong);
    assert_eq!(world.store().read(&name).unwrap(), bytes);
}
