//! Measures time and memory of restoring many small files.
//!
//! `measure_restore make FOLDER FILES` makes a repository in `FOLDER` with a snapshot of so many
//! files in directories of a thousand; `measure_restore restore FOLDER TARGET` restores it and
//! prints the peak of memory. Two steps, so that the peak is that of restoring alone.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a tool for developers"
)]

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use outlast_format::{BlobKind, Node, NodeKind, ScryptCost, Snapshot, Time, TreeBuilder};
use outlast_repo::{
    Cancel, Environment, InitOptions, NoRestoreObserver, OpenOptions, Repository, RestoreOptions,
    SaverOptions, restore, with_saver,
};
use outlast_store::LocalStore;

const PASSWORD: &[u8] = b"measure";
const FILES_IN_DIRECTORY: usize = 1000;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["make", folder, files] => make(Path::new(folder), files.parse().unwrap()),
        ["restore", folder, target] => measure(Path::new(folder), Path::new(target)),
        _ => println!("measure_restore make FOLDER FILES | restore FOLDER TARGET"),
    }
}

fn node(name: String, kind: NodeKind, mode: u32) -> Node {
    Node {
        name: name.into_bytes(),
        kind,
        mode: outlast_format::Mode::from_unix(mode),
        mtime: Time::utc(1_600_000_000, 123_456_789),
        atime: Time::utc(1_600_000_000, 0),
        user: "root".to_owned(),
        group: "root".to_owned(),
        links: 1,
        ..Node::default()
    }
}

fn make(folder: &Path, files: usize) {
    let store = Arc::new(LocalStore::open(folder).unwrap());
    let init = InitOptions::new(ScryptCost::RANDOM_PASSWORD);
    let environment = Environment::quiet();
    let repository =
        Repository::init(store, environment, PASSWORD, &init, OpenOptions::default()).unwrap();
    let save = SaverOptions::default();
    let (tree, _) = with_saver(&repository, save, &Cancel::new(), |saver| {
        let mut root = TreeBuilder::new();
        for directory in 0..files.div_ceil(FILES_IN_DIRECTORY) {
            let mut builder = TreeBuilder::new();
            let first = directory * FILES_IN_DIRECTORY;
            for file in first..files.min(first + FILES_IN_DIRECTORY) {
                let content = format!("content of file {file}\n").repeat(1 + file % 60);
                let id = saver.save(BlobKind::Data, content.as_bytes(), None)?.id;
                let mut node = node(format!("file-{file:08}"), NodeKind::File, 0o100_644);
                node.size = content.len() as u64;
                node.content = Some(vec![id]);
                builder.push(&node)?;
            }
            let tree = saver.save(BlobKind::Tree, &builder.finish(), None)?.id;
            let name = format!("directory-{directory:05}");
            let mut node = node(name, NodeKind::Directory, 0o040_755);
            node.subtree = Some(tree);
            root.push(&node)?;
        }
        Ok(saver.save(BlobKind::Tree, &root.finish(), None)?.id)
    })
    .unwrap();
    let json =
        format!("{{\"time\":\"2026-01-01T00:00:00Z\",\"tree\":\"{tree}\",\"paths\":[\"/\"]}}");
    let snapshot = Snapshot::from_json(json.as_bytes()).unwrap();
    println!("snapshot {}", repository.save_snapshot(&snapshot).unwrap());
}

fn measure(folder: &Path, target: &Path) {
    let start = Instant::now();
    let store = Arc::new(LocalStore::open(folder).unwrap());
    let environment = Environment::quiet();
    let repository =
        Repository::open(store, environment, PASSWORD, OpenOptions::default()).unwrap();
    let cancel = Cancel::new();
    repository.load_index(&cancel).unwrap();
    println!(
        "index: {} blobs, {:?}",
        repository.index().len(),
        start.elapsed()
    );
    let (_, snapshot) = repository.load_snapshots(&cancel).unwrap().remove(0);
    let options = RestoreOptions {
        verify: true,
        ..RestoreOptions::default()
    };
    let observer = NoRestoreObserver;
    let outcome = restore(
        &repository,
        snapshot.tree,
        target,
        &options,
        &observer,
        &cancel,
    )
    .unwrap();
    println!("{outcome:?}\n{:?}", start.elapsed());
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    for line in status.lines().filter(|line| line.starts_with("VmHWM")) {
        println!("{line}");
    }
}
