//! Walking through trees, whole and damaged, honest and malicious.

#![allow(clippy::unwrap_used)]

mod handmade;

use std::path::Path;

use handmade::{Handmade, directory, file};
use outlast_format::BlobHandle;
use outlast_object::Id;
use outlast_repo::{
    Cancel, RepoError, TREE_DEPTH_MAX, TreeWalk, WalkProblem, WalkStep, find_entry,
    resolve_subfolder, split_snapshot_path,
};
use outlast_store::MemoryStore;

/// The steps as short texts: `path`, `path>` on leaving, `path!` with what is wrong.
fn steps(repo: &Handmade, root: Id) -> Vec<String> {
    let cancel = Cancel::new();
    let mut walk = TreeWalk::new(&repo.repository, Path::new("/"), root, &cancel);
    let mut texts = Vec::new();
    while let Some(step) = walk.step().unwrap() {
        texts.push(match step {
            WalkStep::Entry(entry) => entry.path.display().to_string(),
            WalkStep::Leave(entry) => format!("{}>", entry.path.display()),
            WalkStep::Problem { path, problem } => {
                let word = match problem {
                    WalkProblem::TreeUnreadable { .. } => "unreadable",
                    WalkProblem::TreeInvalid { .. } => "invalid",
                    WalkProblem::BadName { .. } => "name",
                    WalkProblem::NoTree => "no tree",
                    WalkProblem::Cycle { .. } => "cycle",
                    WalkProblem::TooDeep => "deep",
                    WalkProblem::TooLarge => "large",
                };
                format!("{}! {word}", path.display())
            }
        });
    }
    texts
}

#[test]
fn entries_come_in_order_and_directories_are_left() {
    let repo = Handmade::new();
    let inner = repo.tree(&[file("x", &[], 0), file("y", &[], 0)]);
    let root = repo.tree(&[
        file("a", &[], 0),
        directory("b", inner),
        directory("c", inner),
        file("d", &[], 0),
    ]);
    assert_eq!(
        steps(&repo, root),
        [
            "/a", "/b", "/b/x", "/b/y", "/b>", "/c", "/c/x", "/c/y", "/c>", "/d"
        ]
    );
    let cancel = Cancel::new();
    let mut walk = TreeWalk::new(&repo.repository, Path::new("/p"), root, &cancel).each_tree_once();
    let mut paths = Vec::new();
    while let Some(step) = walk.step().unwrap() {
        if let WalkStep::Entry(entry) = step {
            assert_eq!(entry.tree == root, entry.depth == 0);
            paths.push(entry.path.display().to_string());
        }
    }
    assert_eq!(paths, ["/p/a", "/p/b", "/p/b/x", "/p/b/y", "/p/c", "/p/d"]);
}

#[test]
fn a_skipped_directory_is_neither_entered_nor_left() {
    let repo = Handmade::new();
    let inner = repo.tree(&[file("x", &[], 0)]);
    let root = repo.tree(&[directory("b", inner), directory("c", inner)]);
    let cancel = Cancel::new();
    let mut walk = TreeWalk::new(&repo.repository, Path::new("/"), root, &cancel);
    let mut seen = Vec::new();
    while let Some(step) = walk.step().unwrap() {
        match step {
            WalkStep::Entry(entry) => {
                if entry.path == Path::new("/b") {
                    walk.skip_directory();
                }
                seen.push(entry.path.display().to_string());
            }
            WalkStep::Leave(entry) => seen.push(format!("{}>", entry.path.display())),
            WalkStep::Problem { problem, .. } => panic!("{problem}"),
        }
    }
    assert_eq!(seen, ["/b", "/c", "/c/x", "/c>"]);
}

#[test]
fn damage_is_named_and_the_rest_goes_on() {
    let repo = Handmade::new();
    let hurt = repo.tree(&[file("hurt", &[], 0)]);
    let gone = Id::from_bytes([9; 32]);
    let cut = repo.raw_tree(r#"{"nodes":[{"name":"first","type":"file"},{"na"#);
    let twice = repo.odd_tree(&[file("t", &[], 0), file("t", &[], 0)]);
    let mut treeless = directory("e", gone);
    treeless.subtree = None;
    let root = repo.tree(&[
        directory("a", hurt),
        directory("b", gone),
        directory("c", cut),
        directory("d", twice),
        treeless,
        file("f", &[], 0),
    ]);
    repo.damage(BlobHandle::tree(hurt));
    assert_eq!(
        steps(&repo, root),
        [
            "/a",
            "/a! unreadable",
            "/a>",
            "/b",
            "/b! unreadable",
            "/b>",
            "/c",
            "/c/first",
            "/c! invalid",
            "/c>",
            "/d",
            "/d/t",
            "/d! invalid",
            "/d>",
            "/e",
            "/e! no tree",
            "/e>",
            "/f"
        ]
    );
    assert_eq!(steps(&repo, gone), ["/! unreadable"]);
}

#[test]
fn impossible_names_never_become_paths() {
    let repo = Handmade::new();
    let nodes: Vec<_> = ["", "\0", "..", ".", "../x", "/etc/passwd", "a/b", "good"]
        .iter()
        .map(|name| file(name, &[], 0))
        .collect();
    for node in nodes {
        let good = node.name == b"good";
        let root = repo.odd_tree(&[node]);
        let expected = if good { "/good" } else { "/! name" };
        assert_eq!(steps(&repo, root), [expected]);
    }
}

#[test]
fn too_deep_a_tree_ends() {
    let repo = Handmade::new();
    let bottom = repo.tree(&[file("bottom", &[], 0)]);
    let tree = repo.nested(bottom, TREE_DEPTH_MAX + 3);
    let steps = steps(&repo, tree);
    assert_eq!(
        steps.iter().filter(|step| step.ends_with("! deep")).count(),
        1
    );
    assert_eq!(steps.len(), 2 * TREE_DEPTH_MAX + 1);
}

#[test]
fn a_store_that_is_gone_is_not_taken_for_damage() {
    let repo = Handmade::new();
    let inner = repo.tree(&[]);
    let root = repo.tree(&[directory("a", inner)]);
    let cancel = Cancel::new();
    let empty = std::sync::Arc::new(MemoryStore::new());
    let repository = repo.repository.with_store(|_, _| empty);
    let mut walk = TreeWalk::new(&repository, Path::new("/"), root, &cancel);
    assert!(matches!(walk.step(), Err(RepoError::Vanished { .. })));
    cancel.cancel();
    let mut walk = TreeWalk::new(&repository, Path::new("/"), root, &cancel);
    assert!(matches!(walk.step(), Err(RepoError::Cancelled)));
}

#[test]
fn paths_lead_to_entries() {
    let repo = Handmade::new();
    let inner = repo.tree(&[file("x", &[], 0)]);
    let root = repo.tree(&[directory("b", inner), file("c", &[], 0)]);
    let find = |path: &str| find_entry(&repo.repository, root, Path::new(path));
    for path in ["", "/", "/b/..", "."] {
        assert!(find(path).unwrap().is_none(), "{path}");
    }
    for path in ["b/x", "/b/x", "/b//x/", "/../b/./x"] {
        assert_eq!(find(path).unwrap().unwrap().name, b"x", "{path}");
    }
    for path in ["/y", "/b/y", "/c/x"] {
        assert!(matches!(find(path), Err(RepoError::Selection(_))), "{path}");
    }
    let resolve = |path: &str| resolve_subfolder(&repo.repository, root, Path::new(path));
    assert_eq!(resolve("/b").unwrap(), inner);
    assert_eq!(resolve("/").unwrap(), root);
    assert!(matches!(resolve("/c"), Err(RepoError::Selection(_))));
    assert_eq!(split_snapshot_path("latest:/a:b"), ("latest", "/a:b"));
    assert_eq!(split_snapshot_path("latest"), ("latest", ""));
}
