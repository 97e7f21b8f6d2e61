//! What outlast writes for programs is what restic 0.19 writes, on the same repository.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

mod support;

use std::path::Path;

use serde_json::Value;
use support::tools::restic_019;
use support::{OUTLAST, World, json_lines, shape};

/// A repository with three snapshots: the first, one with changes, one of another path with tags.
fn repository() -> World {
    let world = World::new();
    world.write("source/a.txt", "hello");
    world.write("source/folder/b.bin", vec![7; 300_000]);
    std::os::unix::fs::symlink("a.txt", world.join("source/link")).unwrap();
    world.outlast(&["init"]);
    world.outlast(&["backup", "--time", "2026-01-02 03:04:05", "source"]);
    world.write("source/a.txt", "hello again");
    world.write("source/folder/new", "new");
    std::fs::remove_file(world.join("source/link")).unwrap();
    world.outlast(&["backup", "--time", "2026-01-03 03:04:05", "source"]);
    world.outlast(&[
        "backup",
        "--tag",
        "one,two",
        "--host",
        "elsewhere",
        "--time",
        "2026-01-03 04:04:05",
        "source/folder",
    ]);
    world
}

fn ids(world: &World) -> Vec<String> {
    let list: Value = serde_json::from_str(&world.outlast(&["snapshots", "--json"])).unwrap();
    let ids = list.as_array().unwrap().iter();
    ids.map(|item| item["id"].as_str().unwrap().to_owned())
        .collect()
}

/// Both programs write exactly the same documents. The order of groups is left to chance by restic.
fn assert_same(world: &World, restic: &Path, arguments: &[&str]) {
    let with_sorted_groups = |mut lines: Vec<Value>| {
        let is_group = |item: &Value| item.get("group_key").or(item.get("keep")).is_some();
        for list in lines.iter_mut().filter_map(Value::as_array_mut) {
            if list.iter().all(is_group) {
                list.sort_by_key(Value::to_string);
            }
        }
        lines
    };
    let theirs = json_lines(&world.succeeding(restic, arguments));
    let ours = json_lines(&world.outlast(arguments));
    assert_eq!(
        with_sorted_groups(ours),
        with_sorted_groups(theirs),
        "{arguments:?}"
    );
}

/// Both programs write documents of the same names and types.
fn assert_same_shapes(ours: &[Value], theirs: &[Value], what: &str) {
    let shapes = |list: &[Value]| {
        let mut shapes: Vec<String> = list
            .iter()
            .map(|value| format!("{} {}", value["message_type"], shape(value)))
            .collect();
        shapes.sort();
        shapes.dedup();
        shapes
    };
    assert_eq!(shapes(ours), shapes(theirs), "{what}");
}

#[test]
fn what_only_reads_writes_the_very_same_documents() {
    let Some(restic) = restic_019() else { return };
    let world = repository();
    let ids = ids(&world);
    let (first, second) = (ids[0].as_str(), ids[1].as_str());
    for arguments in [
        &["snapshots", "--json"] as &[&str],
        &["snapshots", "--json", "--tag", "one"],
        &["snapshots", "--json", "--host", "elsewhere", "latest"],
        &["snapshots", "--json", "--latest", "1"],
        &["snapshots", "--json", "--group-by", "host,paths,tags"],
        &["snapshots", "--json", "--tag", "nobody has this"],
        &["ls", "--json", first],
        &["ls", "--json", second, "/source"],
        &["ls", "--json", second, "/source", "--recursive"],
        &["ls", "--json", second, "--sort", "size", "--reverse"],
        &["ls", "--ncdu", "-q", second],
        &["find", "--json", "*.txt", "folder"],
        &["find", "--json", "nothing has this name"],
        &["find", "--json", "--oldest", "2100-01-01", "a.txt"],
        &["diff", "--json", first, second],
        &["diff", "--json", "--metadata", first, second],
        &["stats", "--json"],
        &["stats", "--json", "--mode", "raw-data"],
        &["stats", "--json", "--mode", "files-by-contents"],
        &["stats", "--json", "--mode", "blobs-per-file", "latest"],
        &["key", "list", "--json"],
        &["check", "--json"],
        &["check", "--json", "--read-data"],
        &["forget", "--json", "--dry-run", "--keep-last", "1"],
        &[
            "forget",
            "--json",
            "-n",
            "--keep-daily",
            "3",
            "-g",
            "host,tags",
        ],
    ] {
        if arguments.contains(&"--ncdu") {
            let theirs: Value =
                serde_json::from_str(&world.succeeding(&restic, arguments)).unwrap();
            let ours: Value = serde_json::from_str(&world.outlast(arguments)).unwrap();
            assert_eq!(ours, theirs, "{arguments:?}");
        } else {
            assert_same(&world, &restic, arguments);
        }
    }
}

#[test]
fn objects_are_found_as_restic_finds_them() {
    let Some(restic) = restic_019() else { return };
    let world = repository();
    let listed = world.outlast(&["list", "blobs"]);
    for line in listed.lines() {
        let (kind, id) = line.split_once(' ').unwrap();
        let flag = if kind == "tree" { "--tree" } else { "--blob" };
        assert_same(&world, &restic, &["find", "--json", flag, id]);
    }
}

#[test]
fn a_backup_tells_what_restic_tells() {
    let Some(restic) = restic_019() else { return };
    let world = repository();
    let run = |program: &Path, name: &str, content: &str| {
        world.write(name, content);
        let output = world.succeeding(program, &["backup", "--json", "-vv", "source"]);
        let lines = json_lines(&output);
        // How often the state is told is a matter of time.
        let lines = lines
            .into_iter()
            .filter(|line| line["message_type"] != "status");
        lines.collect::<Vec<_>>()
    };
    let ours = run(Path::new(OUTLAST), "source/ours", "by outlast");
    let theirs = run(&restic, "source/theirs", "by restic");
    assert_same_shapes(&ours, &theirs, "backup");
    let actions = |lines: &[Value]| {
        let mut actions: Vec<String> = lines
            .iter()
            .map(|line| format!("{} {}", line["action"], line["item"]))
            .map(|line| line.replace("ours", "file").replace("theirs", "file"))
            .collect();
        actions.sort();
        actions.dedup();
        actions
    };
    let known = "\"unchanged\" \"/source/file\"".to_owned();
    let theirs: Vec<String> = actions(&theirs)
        .into_iter()
        .filter(|a| *a != known)
        .collect();
    assert_eq!(actions(&ours), theirs);
}

#[test]
fn a_restore_tells_what_restic_tells() {
    let Some(restic) = restic_019() else { return };
    let world = repository();
    let snapshot = ids(&world)[1].clone();
    let run = |program: &Path, target: &str| {
        let arguments = ["restore", "--json", "-vv", "--target", target, &snapshot];
        let lines = json_lines(&world.succeeding(program, &arguments));
        let mut lines: Vec<String> = lines
            .iter()
            .filter(|line| line["message_type"] != "status")
            .map(|line| line.to_string())
            .collect();
        lines.sort();
        lines
    };
    assert_eq!(run(Path::new(OUTLAST), "ours"), run(&restic, "theirs"));
    // What is there already is left alone, and told so.
    assert_eq!(run(Path::new(OUTLAST), "ours"), run(&restic, "theirs"));
}

#[test]
fn changes_are_told_as_restic_tells_them() {
    let Some(restic) = restic_019() else { return };
    let world = repository();
    let tag = |program: &Path, tag: &str| {
        json_lines(&world.succeeding(program, &["tag", "--json", "--add", tag, "latest"]))
    };
    let (ours, theirs) = (tag(Path::new(OUTLAST), "x"), tag(&restic, "y"));
    assert_same_shapes(&ours, &theirs, "tag");
    let other = |program: &Path, place: &str| {
        json_lines(&world.succeeding(program, &["init", "--json", "--repo", place]))
    };
    let (ours, theirs) = (other(Path::new(OUTLAST), "o"), other(&restic, "t"));
    assert_same_shapes(&ours, &theirs, "init");
    let version = |program: &Path| json_lines(&world.succeeding(program, &["version", "--json"]));
    assert_same_shapes(&version(Path::new(OUTLAST)), &version(&restic), "version");
}

#[test]
fn failures_are_told_with_restics_codes() {
    let Some(restic) = restic_019() else { return };
    let world = repository();
    for arguments in [
        &["snapshots", "--json", "--repo", "nowhere"] as &[&str],
        &["ls", "--json", "deadbeef"],
        &["backup", "--json"],
        &["backup", "--json", "nothing/here"],
        &["backup", "--json", "nothing/here", "source"],
        &["restore", "--json", "latest"],
        &["forget", "--json"],
        &["diff", "--json", "latest"],
        &["check", "--json", "--read-data-subset", "3/2"],
    ] {
        let (ours, theirs) = (world.run(OUTLAST, arguments), world.run(&restic, arguments));
        assert_eq!(ours.status.code(), theirs.status.code(), "{arguments:?}");
        let last = |output: &std::process::Output| {
            let text = String::from_utf8(output.stderr.clone()).unwrap();
            serde_json::from_str::<Value>(text.lines().last().unwrap_or_default()).ok()
        };
        let (ours, theirs) = (last(&ours), last(&theirs));
        assert_eq!(
            ours.as_ref().map(shape),
            theirs.as_ref().map(shape),
            "{arguments:?}: {ours:?} {theirs:?}"
        );
        assert_eq!(
            ours.map(|message| message["code"].clone()),
            theirs.map(|message| message["code"].clone())
        );
    }
    let wrong = |program: &Path| {
        let mut command = world.command(program);
        command
            .env("RESTIC_PASSWORD", "wrong")
            .args(["snapshots", "--json"]);
        command.output().unwrap().status.code()
    };
    assert_eq!(wrong(Path::new(OUTLAST)), Some(12));
    assert_eq!(wrong(&restic), Some(12));
}
