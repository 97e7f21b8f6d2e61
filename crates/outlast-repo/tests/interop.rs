//! The same directory backed up by restic and by outlast: the same trees, nothing stored twice.

#![allow(clippy::unwrap_used)]

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use outlast_repo::{
    BackupOptions, Cancel, Environment, NoObserver, OpenOptions, Repository, backup,
};
use outlast_source::{FileTree, FileTreeOptions};
use outlast_store::LocalStore;
use support::{PASSWORD, backup_options, noise, tools};

fn restic(program: &Path, repository: &Path, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(["--no-cache", "-r"])
        .arg(repository)
        .args(arguments)
        .env("RESTIC_PASSWORD", "test password")
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

fn make_tree(root: &Path) {
    std::fs::create_dir_all(root.join("dir/sub")).unwrap();
    std::fs::write(root.join("dir/big"), noise(3 << 20, 5)).unwrap();
    std::fs::write(root.join("dir/empty"), "").unwrap();
    std::fs::write(root.join("dir/a&<b> \"q\" \u{e4}\u{a0}"), "odd").unwrap();
    std::fs::write(root.join("dir/sub/text"), "hello\n".repeat(1000)).unwrap();
    std::os::unix::fs::symlink("../sub/t&xt", root.join("dir/link")).unwrap();
    std::fs::hard_link(root.join("dir/big"), root.join("dir/sub/hard")).unwrap();
    let _ = Command::new("mkfifo").arg(root.join("dir/fifo")).status();
    let _ = Command::new("setfattr")
        .args(["-n", "user.x", "-v", "y"])
        .arg(root.join("dir/big"))
        .status();
    let _ = Command::new("mknod")
        .arg(root.join("dir/null"))
        .args(["c", "1", "3"])
        .status();
}

#[test]
fn the_same_directory_gives_the_same_trees() {
    let Some(program) = tools::restic_019() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("repository");
    let tree = folder.path().join("tree");
    make_tree(&tree);
    restic(&program, &path, &["init"]);
    restic(&program, &path, &["backup", tree.to_str().unwrap()]);
    let store = Arc::new(LocalStore::open(&path).unwrap());
    let repository = Repository::open(
        store,
        Environment::quiet(),
        PASSWORD,
        OpenOptions::default(),
    )
    .unwrap();
    repository.load_index(&Cancel::new()).unwrap();
    let source = FileTree::new(&[PathBuf::from(&tree)], FileTreeOptions::default()).unwrap();
    let options = BackupOptions {
        ..backup_options(1_700_000_000)
    };
    let outcome = backup(&repository, &source, &options, &NoObserver, &Cancel::new()).unwrap();
    assert_eq!(outcome.stored.data_blobs, 0);
    // Other tests change the folder for temporary files meanwhile, and so the trees above.
    assert!(outcome.stored.tree_blobs <= 3, "{outcome:?}");
    restic(&program, &path, &["check", "--read-data"]);
}
