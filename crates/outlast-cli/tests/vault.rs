//! The verbs against a store that lets a token do only so much, as a vault does.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

mod support;

use std::collections::BTreeSet;
use std::process::Output;
use std::sync::Arc;

use outlast_object::{ObjectKind, ObjectName};
use outlast_store::testing::RestServer;
use outlast_store::{Capabilities, Contents, MemoryStore};
use support::{OUTLAST, PASSWORD, World};

/// The exit code where nothing can be removed or replaced.
const KEPT: i32 = 22;

/// A world whose repository is at a server.
struct Remote {
    world: World,
    server: RestServer,
    store: Arc<MemoryStore>,
}

/// How the program learns what it may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    /// From the command line.
    Beforehand,
    /// From the server's refusals.
    ByRefusals,
}

impl Remote {
    /// A repository with two snapshots; the cache has their trees.
    fn new() -> Self {
        let server = RestServer::start().unwrap();
        let store = server.repository("r");
        let world = World::new();
        world.write("data/a/one", "one");
        world.write("data/two", vec![7; 300_000]);
        let remote = Self {
            world,
            server,
            store,
        };
        assert_eq!(remote.run(&["init"]).status.code(), Some(0));
        assert_eq!(remote.run(&["backup", "data"]).status.code(), Some(0));
        remote.world.write("data/three", "three");
        assert_eq!(remote.run(&["backup", "data"]).status.code(), Some(0));
        remote
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = self.world.bare_command(OUTLAST);
        command
            .env("RESTIC_REPOSITORY", self.server.location("r"))
            .env("RESTIC_PASSWORD", PASSWORD)
            .args(arguments);
        command.output().unwrap()
    }

    /// Runs with a token of this kind.
    fn run_as(&self, token: &str, told: Told, arguments: &[&str]) -> Output {
        let may = match token {
            "append" => Capabilities::APPEND,
            _ => Capabilities::RESTORE,
        };
        self.server.become_vault(may);
        let option = format!("rest.token={token}");
        let mut all = vec!["-o", option.as_str()];
        if told == Told::ByRefusals {
            all.clear();
        }
        all.extend(arguments);
        self.run(&all)
    }

    /// All objects but locks.
    fn contents(&self) -> Contents {
        let mut contents = self.store.contents();
        contents.retain(|name, _| name.kind() != ObjectKind::Lock);
        contents
    }

    /// Requests since `from` that a token to append is not for.
    fn refused_requests(&self, from: usize) -> Vec<String> {
        let requests = self.server.requests();
        let lines = requests[from..].iter().filter(|request| {
            let reads_pack = request.method == "GET"
                && request.target.contains("/data/")
                && !request.target.ends_with("/data/");
            let removes = request.method == "DELETE" && !request.target.contains("/locks/");
            reads_pack || removes
        });
        lines
            .map(|r| format!("{} {}", r.method, r.target))
            .collect()
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        stderr(output)
    )
}

/// An id that nothing has.
const NO_PACK: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// Verbs that remove or replace, in every way they can be asked to.
const REMOVING: [&[&str]; 12] = [
    &["forget", "--keep-last", "1"],
    &["forget", "latest"],
    &["forget", "--prune", "--keep-last", "1"],
    &["prune"],
    &["tag", "--add", "x"],
    &["rewrite", "--forget", "--exclude", "three"],
    &["key", "remove", "00"],
    &["key", "passwd", "--new-insecure-no-password"],
    &["repair", "index"],
    &["repair", "packs", NO_PACK],
    &["repair", "snapshots", "--forget"],
    &["key", "add", "--new-insecure-no-password"],
];

#[test]
fn what_removes_or_replaces_is_refused_before_it_changes_anything() {
    let remote = Remote::new();
    let before = remote.contents();
    for told in [Told::Beforehand, Told::ByRefusals] {
        for token in ["append", "restore"] {
            for arguments in REMOVING {
                let label = format!("{arguments:?} with {token}, {told:?}");
                let from = remote.server.requests().len();
                let output = remote.run_as(token, told, arguments);
                let said = stderr(&output);
                assert_eq!(output.status.code(), Some(KEPT), "{label}: {said}");
                assert!(said.contains("hint: "), "{label}: {said}");
                assert!(remote.contents() == before, "{label}");
                let refused = remote.refused_requests(from);
                if told == Told::Beforehand {
                    assert_eq!(refused, Vec::<String>::new(), "{label}");
                } else {
                    // One try, with something that does not exist, is how it is found out.
                    let removals = refused.iter().filter(|line| line.starts_with("DELETE"));
                    assert!(removals.count() <= 1, "{label}: {refused:?}");
                }
            }
        }
    }
}

#[test]
fn a_server_in_append_only_mode_is_no_other() {
    let remote = Remote::new();
    let before = remote.contents();
    remote.server.make_append_only();
    for arguments in REMOVING
        .iter()
        .filter(|list| **list != ["key", "add", "--new-insecure-no-password"])
    {
        let output = remote.run(arguments);
        assert_eq!(
            output.status.code(),
            Some(KEPT),
            "{arguments:?}: {}",
            text(&output)
        );
        assert!(remote.contents() == before, "{arguments:?}");
    }
    // Keys can be added there.
    let output = remote.run(&["key", "add", "--new-insecure-no-password"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
}

#[test]
fn a_token_to_append_is_enough_for_the_daily_work() {
    let remote = Remote::new();
    let from = remote.server.requests().len();
    let good = |arguments: &[&str]| {
        let output = remote.run_as("append", Told::Beforehand, arguments);
        assert_eq!(
            output.status.code(),
            Some(0),
            "{arguments:?}: {}",
            text(&output)
        );
        text(&output)
    };
    remote.world.write("data/four", "four");
    let said = good(&["backup", "data"]);
    assert!(said.contains("3 unmodified"), "{said}");
    good(&["backup", "data"]);
    let said = good(&["snapshots", "--json"]);
    assert_eq!(said.matches("\"tree\"").count(), 4, "{said}");
    assert!(good(&["ls", "latest"]).contains("/data/four"));
    assert!(good(&["diff", "latest", "latest"]).contains("0 B"));
    let said = good(&["check"]);
    assert!(said.contains("no errors were found"), "{said}");
    good(&["forget", "--keep-last", "1", "--dry-run"]);
    good(&["unlock"]);
    assert_eq!(remote.refused_requests(from), Vec::<String>::new());
    // What needs data says which token it takes.
    for arguments in [
        &["restore", "latest", "--target", "out"][..],
        &["dump", "latest", "two"],
        &["check", "--read-data"],
    ] {
        let output = remote.run_as("append", Told::Beforehand, arguments);
        assert_eq!(
            output.status.code(),
            Some(1),
            "{arguments:?}: {}",
            text(&output)
        );
    }
    assert_eq!(remote.refused_requests(from), Vec::<String>::new());
    // All of it is sound.
    remote.server.become_vault(Capabilities::RESTORE);
    let output = remote.run(&["check", "--read-data"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
}

#[test]
fn without_the_cache_it_is_said_what_was_not_looked_at() {
    let remote = Remote::new();
    std::fs::remove_dir_all(remote.world.join(".cache")).unwrap();
    let packs = |contents: &Contents| -> BTreeSet<ObjectName> {
        let names = contents.keys().copied();
        names
            .filter(|name| name.kind() == ObjectKind::Pack)
            .collect()
    };
    let before = packs(&remote.contents());
    let output = remote.run_as("append", Told::Beforehand, &["check"]);
    let said = text(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("trees were not checked"), "{said}");
    let output = remote.run_as("append", Told::Beforehand, &["ls", "latest"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    let output = remote.run_as("append", Told::Beforehand, &["backup", "data"]);
    let said = text(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert_eq!(said.matches("read again").count(), 1, "{said}");
    assert_eq!(packs(&remote.contents()), before);
}

#[test]
fn a_token_to_restore_reads_everything_and_adds_nothing() {
    let remote = Remote::new();
    let before = remote.contents();
    std::fs::remove_dir_all(remote.world.join(".cache")).unwrap();
    for arguments in [
        &["snapshots"][..],
        &["ls", "latest"],
        &["restore", "latest", "--target", "out"],
        &["dump", "latest", "data/two"],
        &["check", "--read-data"],
        &["find", "two"],
        &["stats"],
        &["key", "list"],
        &["list", "packs"],
        &["cat", "config"],
    ] {
        let output = remote.run_as("restore", Told::Beforehand, arguments);
        assert_eq!(
            output.status.code(),
            Some(0),
            "{arguments:?}: {}",
            text(&output)
        );
    }
    remote.world.write("data/more", "more");
    for told in [Told::Beforehand, Told::ByRefusals] {
        let output = remote.run_as("restore", told, &["backup", "data"]);
        assert_eq!(output.status.code(), Some(1), "{}", text(&output));
        assert!(text(&output).contains("refuses to"), "{}", text(&output));
    }
    assert!(remote.contents() == before);
}
