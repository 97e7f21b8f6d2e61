//! `docs/vault-verbs.md` names every verb, and says of each what it does with a vault.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use outlast_object::ObjectKind;
use outlast_store::testing::RestServer;
use outlast_store::{Capabilities, Deletes};
use support::{OUTLAST, PASSWORD, World};

const TOKENS: [(&str, Capabilities); 2] = [
    ("append", Capabilities::APPEND),
    ("restore", Capabilities::RESTORE),
];

/// The rows of the table: verb, and the word for each token.
fn rows() -> BTreeMap<String, [String; 2]> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/vault-verbs.md");
    let text = std::fs::read_to_string(path).unwrap();
    let mut rows = BTreeMap::new();
    for line in text.lines() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let ["", verb, append, restore, _, ""] = cells.as_slice() else {
            continue;
        };
        if let Some(verb) = verb.strip_prefix('`').and_then(|v| v.strip_suffix('`')) {
            let words = [(*append).to_owned(), (*restore).to_owned()];
            assert!(
                rows.insert(verb.to_owned(), words).is_none(),
                "{verb} twice"
            );
        }
    }
    rows
}

/// The verbs that a help text lists.
fn listed(world: &World, before: &[&str]) -> Vec<String> {
    let mut arguments = before.to_vec();
    arguments.push("--help");
    let help = world.outlast(&arguments);
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    lines
        .take_while(|line| line.starts_with("  "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|word| *word != "help")
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_verb_is_in_the_table() {
    let world = World::new();
    let mut verbs = BTreeSet::new();
    for verb in listed(&world, &[]) {
        let below = listed(&world, &[&verb]);
        let full = below.iter().map(|name| format!("{verb} {name}"));
        verbs.extend(full);
        if below.is_empty() {
            verbs.insert(verb);
        }
    }
    assert!(
        verbs.contains("backup") && verbs.contains("key add"),
        "{verbs:?}"
    );
    let documented: BTreeSet<String> = rows().into_keys().collect();
    assert_eq!(documented, verbs);
}

/// How each verb is tried; those that have nothing to do with the repository, or run for ever, are
/// not.
const TRIED: [(&str, &[&str]); 28] = [
    ("backup", &["backup", "data"]),
    ("snapshots", &["snapshots"]),
    ("ls", &["ls", "latest"]),
    ("find", &["find", "two"]),
    ("diff", &["diff", "FIRST", "SECOND"]),
    ("restore", &["restore", "latest", "--target", "out"]),
    ("dump", &["dump", "latest", "/"]),
    ("check", &["check"]),
    ("export", &["export", "exported"]),
    ("kit", &["kit", "--stdout"]),
    ("forget", &["forget", "--keep-last", "1"]),
    ("prune", &["prune"]),
    (
        "copy",
        &[
            "copy",
            "--from-repo",
            "local",
            "--from-insecure-no-password",
        ],
    ),
    ("rewrite", &["rewrite", "--exclude", "two"]),
    ("tag", &["tag", "--add", "x"]),
    ("key list", &["key", "list"]),
    ("key add", &["key", "add", "--new-insecure-no-password"]),
    (
        "key passwd",
        &["key", "passwd", "--new-insecure-no-password"],
    ),
    ("key remove", &["key", "remove", "00"]),
    ("stats", &["stats"]),
    ("cat", &["cat", "tree", "latest"]),
    ("list", &["list", "blobs"]),
    ("unlock", &["unlock"]),
    ("repair index", &["repair", "index"]),
    (
        "repair packs",
        &[
            "repair",
            "packs",
            "0000000000000000000000000000000000000000000000000000000000000000",
        ],
    ),
    ("repair snapshots", &["repair", "snapshots"]),
    ("recover", &["recover"]),
    ("init", &["init"]),
];

/// A repository at a server, with a cache, and another one in a folder.
fn filled() -> (World, RestServer) {
    let server = RestServer::start().unwrap();
    let world = World::new();
    world.write("data/one", "one");
    world.write("data/two", vec![7; 100_000]);
    world.write("local-data/file", "elsewhere");
    let there = server.location("r");
    let steps: [(&str, &[&str]); 5] = [
        ("local", &["init", "--insecure-no-password"]),
        ("local", &["backup", "local-data", "--insecure-no-password"]),
        (&there, &["init"]),
        (&there, &["backup", "data/one", "data/two"]),
        (&there, &["backup", "data/one"]),
    ];
    for (location, arguments) in steps {
        let mut command = world.bare_command(OUTLAST);
        if location != "local" {
            command.env("RESTIC_PASSWORD", PASSWORD);
        }
        let output = command.args(["-r", location]).args(arguments).output();
        assert!(output.unwrap().status.success(), "{arguments:?}");
    }
    (world, server)
}

fn run(world: &World, location: &str, token: &str, arguments: &[&str]) -> (i32, String) {
    let mut command = world.bare_command(OUTLAST);
    command
        .env("RESTIC_REPOSITORY", location)
        .env("RESTIC_PASSWORD", PASSWORD)
        .args(["-o", &format!("rest.token={token}")])
        .args(arguments);
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    (output.status.code().unwrap(), text)
}

#[test]
fn verbs_do_what_the_table_says() {
    let rows = rows();
    let (world, server) = filled();
    let store = server.repository("r");
    let first = store.contents();
    let snapshots: Vec<String> = first
        .keys()
        .filter(|name| name.kind() == ObjectKind::Snapshot)
        .map(|name| name.id().to_hex())
        .collect();
    world.succeeding("cp", &["-a", ".cache", "kept-cache"]);
    for (number, (token, may)) in TOKENS.into_iter().enumerate() {
        server.become_vault(may);
        for (verb, arguments) in TRIED {
            world.succeeding("rm", &["-rf", ".cache", "out"]);
            world.succeeding("cp", &["-a", "kept-cache", ".cache"]);
            for name in store.contents().keys() {
                if !first.contains_key(name) {
                    store.delete(name).unwrap();
                }
            }
            let arguments: Vec<&str> = arguments
                .iter()
                .map(|argument| match *argument {
                    "FIRST" => snapshots[0].as_str(),
                    "SECOND" => snapshots[1].as_str(),
                    other => other,
                })
                .collect();
            // `init` is tried where there is nothing yet.
            let place = if verb == "init" { "empty" } else { "r" };
            let location = server.location(place);
            let word = rows[verb][number].as_str();
            let mut caches = vec![true];
            if word == "cache" {
                caches.push(false);
            }
            for with_cache in caches {
                if !with_cache {
                    std::fs::remove_dir_all(world.join(".cache")).unwrap();
                }
                let (code, text) = run(&world, &location, token, &arguments);
                let expected = match word {
                    "works" => 0,
                    "cache" => i32::from(!with_cache),
                    "refused" => 1,
                    "kept" => 22,
                    other => panic!("{verb}: {other:?} is no word of the table"),
                };
                let label = format!("{verb} with {token}, {word}, cache {with_cache}");
                assert_eq!(code, expected, "{label}: {text}");
            }
            let now = store.contents();
            let lost = first.keys().filter(|name| !now.contains_key(name)).count();
            assert_eq!(lost, 0, "{verb}");
            let adds = matches!(word, "works" | "cache") && token == "append";
            assert!(adds || now.len() == first.len(), "{verb} with {token}");
        }
    }
}

#[test]
fn nothing_that_is_tried_is_missing() {
    let tried: BTreeSet<&str> = TRIED.iter().map(|(verb, _)| *verb).collect();
    let rows = rows();
    let not_tried: Vec<&str> = rows
        .iter()
        .filter(|(verb, words)| !tried.contains(verb.as_str()) && words[0] != "local")
        .map(|(verb, _)| verb.as_str())
        .collect();
    // They work on folders and custodians of this machine, or run until they are stopped.
    assert_eq!(not_tried, ["mount", "protect", "prove", "sync"]);
}
