//! What restic and rustic wrote is restored bit for bit, and they restore what outlast wrote.

#![allow(clippy::unwrap_used)]

mod handmade;
#[path = "support/tools.rs"]
mod tools;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use handmade::Seen;
use handmade::compare::{assert_same, assert_same_but};
use handmade::tree::make_tree;
use outlast_format::{ScryptCost, Time};
use outlast_object::Id;
use outlast_repo::{
    BackupOptions, Cancel, ChangeDetection, Environment, InitOptions, NoObserver, OpenOptions,
    Repository, RestoreOptions, backup, resolve_subfolder, restore,
};
use outlast_source::{FileTree, FileTreeOptions};
use outlast_store::LocalStore;

const PASSWORD: &str = "a test password";

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        make_tree(&folder.path().join("source"));
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn tool(&self, program: &Path, arguments: &[&str]) {
        let output = Command::new(program)
            .args(arguments)
            .arg("--no-cache")
            .env("RESTIC_REPOSITORY", self.path("repository"))
            .env("RESTIC_PASSWORD", PASSWORD)
            .env("RUSTIC_REPOSITORY", self.path("repository"))
            .env("RUSTIC_PASSWORD", PASSWORD)
            .env("HOME", self.folder.path())
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{program:?} {arguments:?}: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// Restores the only snapshot with outlast.
    fn restore(&self, options: &RestoreOptions) {
        let store = Arc::new(LocalStore::open(&self.path("repository")).unwrap());
        let environment = Environment::quiet();
        let password = PASSWORD.as_bytes();
        let repository =
            Repository::open(store, environment, password, OpenOptions::default()).unwrap();
        let cancel = Cancel::new();
        repository.load_index(&cancel).unwrap();
        let mut snapshots = repository.load_snapshots(&cancel).unwrap();
        assert_eq!(snapshots.len(), 1);
        let tree: Id = snapshots.remove(0).1.tree;
        let tree = resolve_subfolder(&repository, tree, &self.path("source")).unwrap();
        let seen = Seen::default();
        let outcome = restore(
            &repository,
            tree,
            &self.path("restored"),
            options,
            &seen,
            &cancel,
        )
        .unwrap();
        assert_eq!(seen.errors(), Vec::<String>::new());
        assert_eq!(outcome.errors, 0);
    }
}

fn verified() -> RestoreOptions {
    RestoreOptions {
        verify: true,
        ..RestoreOptions::default()
    }
}

/// restic 0.14 does not keep the targets of links that are not text.
const LOST_BY_RESTIC_014: &[&str] = &["dir/odd-link"];

fn check_restic(restic: Option<PathBuf>, but: &[&str]) {
    let Some(restic) = restic else { return };
    let place = Place::new();
    place.tool(&restic, &["init"]);
    place.tool(&restic, &["backup", &place.text("source")]);
    place.restore(&verified());
    assert_same_but(&place.path("source"), &place.path("restored"), but);
}

#[test]
fn what_restic_014_wrote_comes_back() {
    check_restic(tools::restic_014(), LOST_BY_RESTIC_014);
}

#[test]
fn what_restic_019_wrote_comes_back() {
    check_restic(tools::restic_019(), &[]);
}

#[test]
fn what_rustic_wrote_comes_back() {
    let Some(rustic) = tools::rustic() else {
        return;
    };
    let place = Place::new();
    place.tool(&rustic, &["init"]);
    place.tool(&rustic, &["backup", &place.text("source")]);
    place.restore(&verified());
    assert_same(&place.path("source"), &place.path("restored"));
}

#[test]
fn restic_restores_what_outlast_wrote() {
    let place = Place::new();
    let store = Arc::new(LocalStore::open(&place.path("repository")).unwrap());
    let init = InitOptions::new(ScryptCost::RANDOM_PASSWORD);
    let (environment, password) = (Environment::quiet(), PASSWORD.as_bytes());
    let repository =
        Repository::init(store, environment, password, &init, OpenOptions::default()).unwrap();
    let source = FileTree::new(&[place.path("source")], FileTreeOptions::default()).unwrap();
    let options = BackupOptions {
        time: Time::utc(1_700_000_000, 0),
        hostname: "here".to_owned(),
        tags: Vec::new(),
        paths: vec![place.text("source")],
        excludes: Vec::new(),
        parent: None,
        detection: ChangeDetection::default(),
        skip_if_unchanged: false,
        dry_run: false,
        read_concurrency: None,
        adopt_packs: false,
        program_version: "outlast".to_owned(),
    };
    backup(&repository, &source, &options, &NoObserver, &Cancel::new()).unwrap();
    drop(repository);
    place.restore(&verified());
    assert_same(&place.path("source"), &place.path("restored"));
    let tools = [
        (tools::restic_014(), LOST_BY_RESTIC_014),
        (tools::restic_019(), &[][..]),
    ];
    for (number, (restic, but)) in tools.into_iter().enumerate() {
        let Some(restic) = restic else { continue };
        place.tool(&restic, &["check", "--read-data"]);
        let target = place.text(&format!("by-restic-{number}"));
        place.tool(&restic, &["restore", "latest", "--target", &target]);
        let source = place.path("source");
        let inside = source.strip_prefix("/").unwrap();
        assert_same_but(&source, &Path::new(&target).join(inside), but);
    }
}
