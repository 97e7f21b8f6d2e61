//! Differences between trees and searches in them, beside stock restic and on damaged trees.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

mod handmade;
mod support;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use handmade::{Handmade, directory, file};
use outlast_format::{BlobHandle, Node, Snapshot};
use outlast_object::Id;
use outlast_repo::{
    Cancel, DiffEvent, DiffStatistics, FindEvent, NameQuery, ObjectQuery, RepoError, Repository,
    WalkProblem, diff_trees, find_names, find_objects, packs_of,
};
use outlast_store::LocalStore;
use serde_json::Value;

/// A tree that no repository has.
const MISSING: Id = Id::from_bytes([9; 32]);

fn restic(program: &Path, repository: &Path, arguments: &[&str]) -> Vec<Value> {
    let output = Command::new(program)
        .args(["--no-cache", "--json", "-r"])
        .arg(repository)
        .args(arguments)
        .env("RESTIC_PASSWORD", "test password")
        .env("TZ", "UTC")
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {stderr}");
    let lines = serde_json::Deserializer::from_slice(&output.stdout).into_iter();
    lines.collect::<Result<_, _>>().unwrap()
}

/// A directory backed up twice by stock restic, with every kind of change in between.
struct Twice {
    _folder: tempfile::TempDir,
    program: PathBuf,
    place: PathBuf,
    repository: Repository,
    snapshots: Vec<(Id, Snapshot)>,
}

fn make_source(source: &Path) {
    for folder in ["same/deep", "changing/sub", "going/sub", "turning"] {
        fs::create_dir_all(source.join(folder)).unwrap();
    }
    for (path, content) in [
        ("same/deep/file", "same"),
        ("same/Photo.JPG", "a picture"),
        ("changing/content", "before"),
        ("changing/moved", "will be elsewhere"),
        ("changing/sub/metadata", "touched"),
        ("changing/sub/quiet", "untouched"),
        ("going/a", "gone"),
        ("going/sub/b", "gone, too"),
        ("turning/into-link", "a file"),
        ("turning/note.txt", "text"),
    ] {
        fs::write(source.join(path), content).unwrap();
    }
    symlink("nowhere", source.join("going/link")).unwrap();
}

fn change_source(source: &Path) {
    fs::write(source.join("changing/content"), "after, longer").unwrap();
    fs::rename(
        source.join("changing/moved"),
        source.join("same/deep/moved"),
    )
    .unwrap();
    fs::write(source.join("changing/sub/metadata"), "touched").unwrap();
    fs::remove_dir_all(source.join("going")).unwrap();
    fs::remove_file(source.join("turning/into-link")).unwrap();
    symlink("note.txt", source.join("turning/into-link")).unwrap();
    fs::create_dir_all(source.join("coming/sub")).unwrap();
    fs::write(source.join("coming/sub/new"), "new").unwrap();
    fs::write(source.join("coming/copy"), "same").unwrap();
}

fn back_up_twice() -> Option<Twice> {
    let program = support::tools::restic_019()?;
    let folder = tempfile::tempdir().unwrap();
    let (place, source) = (
        folder.path().join("repository"),
        folder.path().join("source"),
    );
    support::init(Arc::new(LocalStore::open(&place).unwrap()));
    make_source(&source);
    let source_text = source.to_str().unwrap();
    let back_up = |time| {
        restic(
            &program,
            &place,
            &["backup", "--time", time, "--host", "h", source_text],
        );
    };
    back_up("2024-01-01 00:00:00");
    change_source(&source);
    back_up("2024-01-02 00:00:00");
    let repository = support::open(Arc::new(LocalStore::open(&place).unwrap()));
    let mut snapshots = repository.load_snapshots(&Cancel::new()).unwrap();
    snapshots.sort_by_key(|(_, snapshot)| snapshot.time.instant());
    Some(Twice {
        _folder: folder,
        program,
        place,
        repository,
        snapshots,
    })
}

/// Changes as letters and path, problems, and sums.
fn diff(
    repository: &Repository,
    old: Id,
    new: Id,
    metadata: bool,
) -> (Vec<(String, String)>, Vec<WalkProblem>, DiffStatistics) {
    let (mut changes, mut problems) = (Vec::new(), Vec::new());
    let statistics = diff_trees(
        repository,
        old,
        new,
        metadata,
        &Cancel::new(),
        &mut |event| match event {
            DiffEvent::Change(change) => changes.push((
                change.modifier.as_str().to_owned(),
                change.path.to_str().unwrap().to_owned(),
            )),
            DiffEvent::Problem { problem, .. } => problems.push(problem),
            // Only trees that are missing altogether.
            DiffEvent::SizeUnknown(handle) => assert_eq!(handle, BlobHandle::tree(MISSING)),
        },
    )
    .unwrap();
    (changes, problems, statistics)
}

fn names(repository: &Repository, root: Id, query: &NameQuery) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    find_names(repository, root, query, &Cancel::new(), &mut |event| {
        if let FindEvent::Match(entry) = event {
            names.insert(entry.path.to_str().unwrap().to_owned());
        }
    })
    .unwrap();
    names
}

#[test]
fn differences_are_restics() {
    let Some(twice) = back_up_twice() else {
        return;
    };
    let [(id_a, a), (id_b, b)] = &twice.snapshots[..] else {
        panic!("two snapshots");
    };
    let pairs = [(id_a, a, id_b, b), (id_b, b, id_a, a), (id_a, a, id_a, a)];
    for (old_id, old, new_id, new) in pairs {
        for metadata in [false, true] {
            let (old_hex, new_hex) = (old_id.to_hex(), new_id.to_hex());
            let mut arguments = vec!["diff", &old_hex, &new_hex];
            arguments.extend(metadata.then_some("--metadata"));
            let mut theirs = restic(&twice.program, &twice.place, &arguments);
            let sums = theirs.pop().unwrap();
            let theirs: Vec<(String, String)> = theirs
                .iter()
                .map(|change| {
                    let text = |key: &str| change[key].as_str().unwrap().to_owned();
                    (text("modifier"), text("path"))
                })
                .collect();
            let (ours, problems, statistics) =
                diff(&twice.repository, old.tree, new.tree, metadata);
            assert_eq!(ours, theirs, "{arguments:?}");
            assert!(problems.is_empty());
            let mut statistics = serde_json::to_value(statistics).unwrap();
            statistics["message_type"] = "statistics".into();
            statistics["source_snapshot"] = old_hex.clone().into();
            statistics["target_snapshot"] = new_hex.clone().into();
            assert_eq!(statistics, sums, "{arguments:?}");
            assert_eq!(ours.is_empty(), old_id == new_id);
        }
    }
}

#[test]
fn names_are_found_as_restic_finds_them() {
    let Some(twice) = back_up_twice() else {
        return;
    };
    let query = |patterns: &[&str], case| NameQuery::new(patterns, case, None, None).unwrap();
    let cases: [(&[&str], bool); 8] = [
        (&["*.jpg"], false),
        (&["*.jpg"], true),
        (&["deep", "note.*"], false),
        (&["sub/b"], false),
        (&["/nowhere/*"], false),
        (&["same/**/file"], false),
        (&["[a-c]*"], false),
        (&["/**/sub/*"], false),
    ];
    for (patterns, ignore_case) in cases {
        for (id, snapshot) in &twice.snapshots {
            let hex = id.to_hex();
            let mut arguments = vec!["find", "-s", &hex];
            arguments.extend(ignore_case.then_some("-i"));
            arguments.extend(patterns);
            let found = restic(&twice.program, &twice.place, &arguments);
            let theirs: BTreeSet<String> = found[0]
                .as_array()
                .unwrap()
                .iter()
                .flat_map(|snapshot| snapshot["matches"].as_array().unwrap())
                .map(|found| found["path"].as_str().unwrap().to_owned())
                .collect();
            let query = query(patterns, ignore_case);
            let ours = names(&twice.repository, snapshot.tree, &query);
            assert_eq!(ours, theirs, "{arguments:?}");
        }
    }
}

#[test]
fn blobs_trees_and_packs_are_found_as_restic_finds_them() {
    let Some(twice) = back_up_twice() else {
        return;
    };
    let (snapshot_id, snapshot) = &twice.snapshots[1];
    let hex = snapshot_id.to_hex();
    let root = snapshot.tree.to_hex();
    let mut packs = packs_of(&twice.repository, BlobHandle::tree(snapshot.tree));
    let pack = packs.remove(0).to_hex();
    let blob = outlast_object::hash(b"same").to_hex();
    let repository = &twice.repository;
    let cancel = Cancel::new();
    let short = [&blob[..8]];
    let cases = [
        ("--blob", blob.as_str(), ObjectQuery::blobs(&[&blob])),
        ("--blob", short[0], ObjectQuery::blobs(&short)),
        ("--tree", &root, ObjectQuery::trees(&[&root])),
        (
            "--pack",
            &pack,
            ObjectQuery::packs(repository, &[&pack], &cancel),
        ),
        (
            "--pack",
            &pack[..8],
            ObjectQuery::packs(repository, &[&pack[..8]], &cancel),
        ),
    ];
    for (option, sought, query) in cases {
        let found = restic(
            &twice.program,
            &twice.place,
            &["find", "-s", &hex, option, sought],
        );
        let theirs: BTreeSet<(String, String, Option<String>)> = found[0]
            .as_array()
            .unwrap()
            .iter()
            .map(|object| {
                let text = |key: &str| object[key].as_str().map(str::to_owned);
                (
                    text("id").unwrap(),
                    text("path").unwrap(),
                    text("parent_tree"),
                )
            })
            .collect();
        let mut ours = BTreeSet::new();
        let mut query = query.unwrap();
        find_objects(
            repository,
            snapshot.tree,
            &mut query,
            &cancel,
            &mut |event| {
                if let FindEvent::Object(found) = event {
                    let parent = found.parent_tree.map(|tree| tree.to_hex());
                    let path = found.path.to_str().unwrap().to_owned();
                    ours.insert((found.handle.id.to_hex(), path, parent));
                }
            },
        )
        .unwrap();
        assert_eq!(ours, theirs, "{option} {sought}");
        assert!(!ours.is_empty() && query.not_found().is_empty());
        assert!(!query.handles().is_empty());
    }
}

#[test]
fn what_cannot_be_sought_is_refused() {
    let handmade = Handmade::new();
    let time = |text: &str| Some(text.parse().unwrap());
    let (older, newer) = (time("2024-01-01T00:00:00Z"), time("2024-01-02T00:00:00Z"));
    assert!(matches!(
        NameQuery::new(&["*"], false, newer, older),
        Err(RepoError::Refused(_))
    ));
    assert!(NameQuery::new(&["[a"], false, None, None).is_err());
    assert!(ObjectQuery::blobs(&["xyz"]).is_err());
    assert!(ObjectQuery::trees(&[""]).is_err());
    let missing = ObjectQuery::packs(&handmade.repository, &["00ff00ff"], &Cancel::new());
    assert!(matches!(missing, Err(RepoError::Selection(_))));
}

#[test]
fn modification_times_bound_a_search() {
    let handmade = Handmade::new();
    let tree = handmade.tree(&[file("a", &[], 0), file("b", &[], 0)]);
    let found = |oldest: Option<&str>, newest: Option<&str>| {
        let parse = |text: Option<&str>| text.map(|text| text.parse().unwrap());
        let query = NameQuery::new(&[""], false, parse(oldest), parse(newest)).unwrap();
        names(&handmade.repository, tree, &query).len()
    };
    // The files are of 2020-09-13T12:26:40.123456789Z.
    let (exact, before) = ("2020-09-13T12:26:40.123456789Z", "2020-09-13T12:26:40.1Z");
    assert_eq!(found(None, None), 2);
    assert_eq!(found(Some(exact), Some(exact)), 2);
    assert_eq!(found(Some(before), None), 2);
    assert_eq!(found(None, Some(before)), 0);
    assert_eq!(found(Some("2020-09-13T12:26:41Z"), None), 0);
}

#[test]
fn content_that_changes_behind_the_metadata_is_bit_rot() {
    let handmade = Handmade::new();
    let (good, rotten) = (handmade.data(b"good"), handmade.data(b"rotten"));
    let old = handmade.tree(&[file("f", &[good], 4), file("g", &[good], 4)]);
    let touched = Node {
        uid: 77,
        ..file("g", &[good], 4)
    };
    let new = handmade.tree(&[file("f", &[rotten], 4), touched]);
    let (changes, _, statistics) = diff(&handmade.repository, old, new, true);
    let expected = [("M?", "/f"), ("U", "/g")].map(|(m, p)| (m.to_owned(), p.to_owned()));
    assert_eq!(changes, expected);
    assert_eq!(statistics.changed_files, 1);
    assert_eq!(
        (statistics.added.data_blobs, statistics.removed.data_blobs),
        (1, 0)
    );
}

#[test]
fn damage_is_named_and_the_rest_is_compared() {
    let handmade = Handmade::new();
    let data = handmade.data(b"content");
    let missing = MISSING;
    let unreadable = handmade.tree(&[file("x", &[data], 7)]);
    let fine = handmade.tree(&[file("y", &[data], 7)]);
    let disordered = handmade.odd_tree(&[file("b", &[], 0), file("a", &[], 0)]);
    let old = handmade.tree(&[
        directory("damaged", unreadable),
        directory("disordered", fine),
        directory("missing", fine),
        file("z", &[data], 7),
    ]);
    let new = handmade.odd_tree(&[
        file("../evil", &[], 0),
        directory("damaged", fine),
        directory("disordered", disordered),
        directory("gone", missing),
        directory("missing", missing),
    ]);
    handmade.damage(BlobHandle::tree(unreadable));
    let (changes, problems, _) = diff(&handmade.repository, old, new, false);
    let paths: Vec<&str> = changes.iter().map(|change| change.1.as_str()).collect();
    assert!(
        paths.contains(&"/gone/") && paths.contains(&"/z"),
        "{paths:?}"
    );
    assert!(!paths.iter().any(|path| path.contains("evil")));
    let count =
        |matching: fn(&WalkProblem) -> bool| problems.iter().filter(|p| matching(p)).count();
    assert_eq!(
        count(|p| matches!(p, WalkProblem::TreeUnreadable { .. })),
        3
    );
    assert_eq!(count(|p| matches!(p, WalkProblem::TreeInvalid { .. })), 1);
    assert_eq!(count(|p| matches!(p, WalkProblem::BadName { .. })), 1);

    // A search names the same damage and finds the rest.
    let mut damaged = 0;
    let query = NameQuery::new(&["z", "y"], false, None, None).unwrap();
    let mut found = Vec::new();
    let cancel = Cancel::new();
    find_names(
        &handmade.repository,
        old,
        &query,
        &cancel,
        &mut |event| match event {
            FindEvent::Problem { .. } => damaged += 1,
            FindEvent::Match(entry) => found.push(entry.path),
            FindEvent::Object(_) => {}
        },
    )
    .unwrap();
    assert_eq!(damaged, 1);
    assert_eq!(found.len(), 3);
    // A root that cannot be read is an error.
    let error = diff_trees(
        &handmade.repository,
        missing,
        old,
        false,
        &cancel,
        &mut |_| {},
    );
    assert!(error.is_err());
}

#[test]
fn depth_has_an_end_and_cancelling_stops() {
    let handmade = Handmade::new();
    let deep = |content: &[u8]| {
        let data = handmade.data(content);
        handmade.nested(handmade.tree(&[file("f", &[data], 1)]), 2100)
    };
    let (old, new) = (deep(b"a"), deep(b"b"));
    let (changes, problems, _) = diff(&handmade.repository, old, new, false);
    assert!(changes.is_empty());
    assert!(matches!(problems[..], [WalkProblem::TooDeep]));
    let cancel = Cancel::new();
    cancel.cancel();
    let stopped = diff_trees(&handmade.repository, old, new, false, &cancel, &mut |_| {});
    assert!(matches!(stopped, Err(RepoError::Cancelled)));
}
