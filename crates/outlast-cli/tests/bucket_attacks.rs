//! What somebody with keys to a bucket does to it: each is seen by `prove`, and where the server keeps its
//! word nothing that is held is lost.

#![allow(
    clippy::unwrap_used,
    clippy::zombie_processes,
    clippy::print_stderr,
    dead_code,
    reason = "a test that cannot be set up has failed"
)]

#[path = "../../outlast-store/tests/support/ceph.rs"]
mod ceph;
#[path = "../../outlast-store/tests/support/moto.rs"]
mod moto;
mod support;

use std::fs;

use ceph::ceph;
use moto::moto;
use outlast_object::{ObjectKind, ObjectName};
use outlast_store::{Location, RestOptions, S3Location, S3Store, Store};
use serde_json::Value;
use support::kit::{assert_restored, succeeds};
use support::{World, json_lines, texts};

const SETTINGS: &str = "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled>\
                        <Rule><DefaultRetention><Mode>COMPLIANCE</Mode><Days>DAYS</Days>\
                        </DefaultRetention></Rule></ObjectLockConfiguration>";

/// A machine with documents and the keys of an account.
fn machine(access_key: &str, secret_key: &str) -> World {
    let world = World::new();
    for number in 0..10_u32 {
        let bytes = number.to_le_bytes().repeat(20_000);
        world.write(&format!("documents/file{number}"), bytes);
    }
    let keys = format!("aws_access_key_id={access_key}\naws_secret_access_key={secret_key}\n");
    world.write(
        ".aws/credentials",
        format!("[default]\n{keys}[second]\n{keys}"),
    );
    world
}

/// Adds a bucket under the name `cloud`.
fn add(world: &World, location: &S3Location, more: &[&str]) -> String {
    let location = location.to_string();
    let named = ["custodian", "add", &location, "--name", "cloud"];
    succeeds(
        world,
        &[&named[..], &["--retention-days", "30"], more].concat(),
    )
}

/// What `prove` says, and its red lines.
fn prove(world: &World) -> (Value, Vec<String>) {
    let output = world.run_bare(&["--json", "prove"]);
    assert!(
        matches!(output.status.code(), Some(0 | 20)),
        "{}",
        texts(&output)
    );
    let proof = json_lines(&String::from_utf8(output.stdout).unwrap())
        .pop()
        .unwrap();
    let attempts = proof["report"]["attempts"].as_array().unwrap();
    let red = attempts.iter().filter_map(|attempt| {
        let outcome = &attempt["outcome"];
        let what = attempt["what"].as_str().unwrap();
        assert!(
            attempt["fix"].is_string()
                || !["succeeded", "wrong"].contains(&outcome["result"].as_str().unwrap())
        );
        match outcome["result"].as_str().unwrap() {
            "succeeded" => Some(format!(
                "{}: {what}",
                attempt["credential"].as_str().unwrap()
            )),
            "wrong" => Some(outcome["reason"].as_str().unwrap().to_owned()),
            _ => None,
        }
    });
    let red = red.collect();
    (proof, red)
}

fn has(red: &[String], part: &str) -> bool {
    red.iter().any(|line| line.contains(part))
}

fn restores(world: &World, location: &str, target: &str) {
    let start = [
        "-r",
        location,
        "--password-file",
        ".config/outlast/repository.key",
    ];
    succeeds(
        world,
        &[&start[..], &["restore", "latest", "--target", target]].concat(),
    );
    assert_restored(world, &world.join(target));
    succeeds(world, &[&start[..], &["check", "--read-data"]].concat());
}

fn objects(store: &S3Store) -> Vec<ObjectName> {
    let mut names = vec![ObjectName::CONFIG];
    for kind in [
        ObjectKind::Pack,
        ObjectKind::Index,
        ObjectKind::Snapshot,
        ObjectKind::Key,
    ] {
        let listed = store.list_all(kind).unwrap();
        names.extend(listed.iter().map(|info| ObjectName::new(kind, info.id)));
    }
    names
}

#[test]
fn attacks_on_a_bucket_are_seen_and_lose_nothing() {
    let Some(ceph) = ceph() else { return };
    let world = machine("owner-key", "owner-secret");
    let location = ceph.fresh();
    add(&world, &location, &[]);
    ceph.set(&location, "object-lock", &SETTINGS.replace("DAYS", "30"));
    let said = world.ends_with(&["protect", "--require-safe", "documents"], 20);
    assert!(said.contains("evidence: cloud keeps all"), "{said}");

    // Before anything is done to it, only the keys are wrong: they are the owner's.
    let (proof, red) = prove(&world);
    assert!(!red.is_empty(), "{proof:#}");
    for line in &red {
        assert!(line.contains("twin of the bucket"), "{line}");
    }
    for setting in ["shorten the default", "lifecycle rule", "bucket policy"] {
        assert!(has(&red, setting), "{setting}: {red:?}");
    }
    let refusals = proof["report"]["attempts"].as_array().unwrap();
    let refused_ones = refusals
        .iter()
        .filter(|one| one["outcome"]["result"] == "refused");
    assert!(refused_ones.count() >= 11, "{proof:#}");
    let losses = proof["report"]["losses"].as_array().unwrap();
    let key = losses
        .iter()
        .find(|row| row["subject"].as_str().unwrap().contains("key of cloud"));
    // What is held stays, whatever is done with the owner's keys.
    assert_eq!(
        key.unwrap()["destroyed"],
        serde_json::json!([["cloud", true]]),
        "{proof:#}"
    );
    // That it was tried is part of the evidence from now on.
    let said = world.ends_with(&["protect", "--require-safe"], 20);
    assert!(said.contains("retained until"), "{said}");

    // Everything at once.
    let options = ceph.owner();
    let store = S3Store::new(&location, &options, &RestOptions::default()).unwrap();
    let names = objects(&store);
    for (number, name) in names.iter().enumerate() {
        if number % 2 == 0 {
            ceph.put(&location, name, b"planted");
        }
        if number % 3 != 0 {
            ceph.hide(&location, name);
        }
    }
    ceph.set(&location, "object-lock", &SETTINGS.replace("DAYS", "1"));
    let rules = "<LifecycleConfiguration><Rule><ID>gone</ID><Prefix></Prefix><Status>Enabled</Status>\
                 <NoncurrentVersionExpiration><NoncurrentDays>1</NoncurrentDays>\
                 </NoncurrentVersionExpiration></Rule></LifecycleConfiguration>";
    ceph.set(&location, "lifecycle", rules);
    let (_, red) = prove(&world);
    for seen in [
        "hidden behind delete markers",
        "other bytes were written over",
        "the default retention is 1 days",
        "the lifecycle rule \"gone\"",
    ] {
        assert!(has(&red, seen), "{seen}: {red:?}");
    }
    let said = world.ends_with(&["prove"], 20);
    assert!(
        said.contains("WRONG: ") && said.contains("put-object-lock-configuration"),
        "{said}"
    );

    // Nothing that is held is lost, and all goes on.
    restores(&world, "bucket:cloud", "restored");
    world.write("documents/file0", "changed");
    world.ends_with(&["protect", "--require-safe"], 20);
    restores(&world, "bucket:cloud", "again");
    succeeds(&world, &["-r", "bucket:cloud", "export", "plain"]);
    restores(&world, "plain", "exported");
}

#[test]
fn a_server_that_lets_retention_be_weakened_is_called_unsafe() {
    let Some(moto) = moto() else { return };
    let text = format!("s3:http://127.0.0.1:{}/bucket/a", moto.port);
    let Location::S3(location) = Location::parse(&text).unwrap() else {
        panic!("{text} is no bucket");
    };
    let world = machine("key", "secret");
    add(&world, &location, &[]);
    world.ends_with(&["protect", "--require-safe", "documents"], 20);
    let (proof, red) = prove(&world);
    for done in ["shorten the retention", "suspend versioning"] {
        assert!(has(&red, done), "{done}: {red:?}");
    }
    assert_eq!(proof["clean"], false);
    // What could be destroyed counts as retained by nobody.
    let losses = proof["report"]["losses"].as_array().unwrap();
    let key = losses
        .iter()
        .find(|row| row["subject"].as_str().unwrap().contains("key of cloud"));
    assert_eq!(
        key.unwrap()["destroyed"],
        serde_json::json!([["cloud", false]]),
        "{proof:#}"
    );
    let said = world.ends_with(&["prove"], 20);
    assert!(
        said.contains("SUCCEEDED: this server does not keep what it retains"),
        "{said}"
    );
}

#[test]
fn a_bucket_without_lock_is_taken_for_what_it_is() {
    let Some(ceph) = ceph() else { return };
    let world = machine("owner-key", "owner-secret");
    let location = ceph.fresh();
    let plain = S3Store::new(&location, &ceph.owner(), &RestOptions::default()).unwrap();
    plain.prepare().unwrap();
    let said = add(&world, &location, &[]);
    assert!(
        said.contains("unprotected") && said.contains("UNPROTECTED"),
        "{said}"
    );
    let said = world.ends_with(&["protect", "--require-safe", "documents"], 20);
    assert!(said.contains("UNPROTECTED: nothing retains them"), "{said}");
    let disk = format!("disk:{}", world.join("usb").display());
    succeeds(&world, &["custodian", "add", &disk]);
    let said = world.ends_with(&["protect", "--require-safe"], 20);
    assert!(
        said.contains("NOT SAFE YET: only usb vouches for it"),
        "{said}"
    );
    let text = succeeds(&world, &["--json", "status"]);
    let status = json_lines(&text).pop().unwrap();
    let rows = status["sets"][0]["custodians"].as_array().unwrap();
    let row = rows.iter().find(|row| row["custodian"] == "cloud").unwrap();
    assert!(
        row["held_until"].is_null() && row["why"].is_string(),
        "{row:#}"
    );
    let said = world.ends_with(&["bucket", "renew", "cloud"], 1);
    assert!(said.contains("no Object Lock"), "{said}");
    let (_, red) = prove(&world);
    assert!(has(&red, "Object Lock is off"), "{red:?}");
    restores(&world, "bucket:cloud", "restored");
}

#[test]
fn retention_is_renewed_for_what_is_needed() {
    let Some(ceph) = ceph() else { return };
    let world = machine("owner-key", "owner-secret");
    let location = ceph.fresh();
    add(&world, &location, &["--renew-profile", "second"]);
    world.ends_with(&["protect", "--require-safe", "documents"], 20);
    let said = succeeds(&world, &["bucket", "renew", "cloud"]);
    assert!(
        said.contains("0 objects are due") && said.contains("0 extended"),
        "{said}"
    );
    // The contents change wholly, so that what was needed before is not needed any more.
    let store = S3Store::new(&location, &ceph.owner(), &RestOptions::default()).unwrap();
    let file = world.join(".config/outlast/custodians/cloud.toml");
    let text = fs::read_to_string(&file).unwrap();
    let until = || -> Vec<(ObjectName, u64)> {
        let retained = store.retention_of(&objects(&store));
        let until = retained
            .into_iter()
            .map(|(name, one)| (name, one.unwrap().retain_until.unwrap()));
        until.collect()
    };
    let before = until();
    // With a longer period everything that is needed is due at once, and nothing else: a pack that no
    // remembered backup needs lapses.
    let bytes = b"a pack that nobody needs".repeat(10);
    let stray = ObjectName::pack(outlast_object::hash(&bytes));
    let retaining = outlast_store::S3Options {
        retention: Some(std::time::Duration::from_secs(30 * 86_400)),
        ..ceph.owner()
    };
    let writer = S3Store::new(&location, &retaining, &RestOptions::default()).unwrap();
    writer.write(&stray, &bytes).unwrap();
    fs::write(
        &file,
        text.replace("retention_days = 30", "retention_days = 60"),
    )
    .unwrap();
    let said = world.run_bare(&["status"]);
    assert!(
        texts(&said).contains("ALARM: cloud retains"),
        "{}",
        texts(&said)
    );
    let said = succeeds(&world, &["bucket", "renew", "cloud"]);
    assert!(
        said.contains(&format!("{} extended", before.len())),
        "{said}"
    );
    assert!(said.contains("US dollars"), "{said}");
    let after = until();
    for (name, old) in &before {
        let (_, new) = after.iter().find(|(other, _)| other == name).unwrap();
        assert!(*new >= old + 29 * 86_400, "{name}");
    }
    let (_, left) = after.iter().find(|(name, _)| *name == stray).unwrap();
    assert!(
        *left < before[0].1 + 86_400,
        "what nobody needs is left to lapse"
    );
    let said = world.run_bare(&["status"]);
    assert!(!texts(&said).contains("ALARM"), "{}", texts(&said));
    // Keys that may not extend: an alarm each time, and no backup is called kept for longer than it is.
    world.write(
        ".aws/credentials",
        "[default]\naws_access_key_id=owner-key\naws_secret_access_key=owner-secret\n\
         [second]\naws_access_key_id=stranger-key\naws_secret_access_key=stranger-secret\n",
    );
    let text = fs::read_to_string(&file).unwrap();
    fs::write(
        &file,
        text.replace("retention_days = 60", "retention_days = 120"),
    )
    .unwrap();
    let said = world.ends_with(&["bucket", "renew", "cloud"], 3);
    assert!(said.contains("ALARM: "), "{said}");
    let said = texts(&world.run_bare(&["protect"]));
    assert!(said.contains("ALARM: "), "{said}");
    let said = world.run_bare(&["status"]);
    assert!(
        texts(&said).contains("ALARM: cloud retains"),
        "{}",
        texts(&said)
    );
}
