//! Backing up: what is stored, what is stored again, and what stock restic says of it.

#![allow(clippy::unwrap_used)]

mod support;

use std::process::Command;
use std::sync::Arc;

use outlast_repo::{Cancel, NoObserver, ParentSnapshot, Repository, backup};
use outlast_store::LocalStore;
use support::{MemorySource, backup_options, init, noise, open, tools};

fn sample() -> MemorySource {
    let mut source = MemorySource::default()
        .with("/big/noise", noise(20 << 20, 1), 10)
        .with("/big/same", noise(20 << 20, 1), 10)
        .with("/big/zeros", vec![0; 5 << 20], 10)
        .with("/empty", "", 10);
    for number in 0..300 {
        source = source.with(
            &format!("/small/{number}"),
            format!("file {number}").repeat(50),
            10,
        );
    }
    source
}

fn run(
    repository: &Repository,
    source: &MemorySource,
    parent: Option<ParentSnapshot>,
) -> outlast_repo::BackupOutcome {
    let options = outlast_repo::BackupOptions {
        parent,
        ..backup_options(1_700_000_000)
    };
    backup(repository, source, &options, &NoObserver, &Cancel::new()).unwrap()
}

#[test]
fn nothing_is_stored_twice_with_or_without_a_parent() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(LocalStore::open(folder.path()).unwrap());
    let repository = init(store.clone());
    let source = sample();
    let first = run(&repository, &source, None);
    assert_eq!(first.errors, 0);
    assert_eq!(first.summary.files_new, 304);
    assert!(first.stored.bytes_added > 20 << 20 && first.stored.bytes_added < 28 << 20);

    let repository = open(store.clone());
    let again = run(&repository, &source, None);
    assert_eq!((again.stored.data_blobs, again.stored.tree_blobs), (0, 0));
    assert_eq!(again.tree, first.tree);

    let repository = open(store);
    let (id, snapshot) = again.snapshot.unwrap();
    let third = run(&repository, &source, Some(ParentSnapshot { id, snapshot }));
    assert_eq!(third.summary.files_unmodified, 304);
    assert_eq!(third.summary.dirs_unmodified, 2);
    assert_eq!((third.stored.data_blobs, third.stored.tree_blobs), (0, 0));

    for program in [tools::restic_014(), tools::restic_019()]
        .into_iter()
        .flatten()
    {
        let check = Command::new(program)
            .args(["--no-cache", "check", "--read-data", "-r"])
            .arg(folder.path())
            .env("RESTIC_PASSWORD", "test password")
            .output()
            .unwrap();
        assert!(
            check.status.success(),
            "{}",
            String::from_utf8_lossy(&check.stderr)
        );
    }
}
