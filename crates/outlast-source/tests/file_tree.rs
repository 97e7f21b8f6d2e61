//! Reading file trees from a real disk: layout, what is left out, what changes meanwhile.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use outlast_format::{Node, NodeKind};
use outlast_source::{Excludes, FileTree, FileTreeOptions, Found, Place, Source, SourceError};
use parking_lot::Mutex;

fn tree_of(targets: &[&Path], excludes: Excludes) -> FileTree {
    let targets: Vec<PathBuf> = targets.iter().map(|path| (*path).to_owned()).collect();
    let options = FileTreeOptions {
        excludes,
        ..FileTreeOptions::default()
    };
    FileTree::new(&targets, options).unwrap()
}

/// Everything in a source, by path.
fn walk(source: &dyn Source) -> BTreeMap<PathBuf, Node> {
    let mut found = BTreeMap::new();
    let mut places = vec![source.root()];
    while let Some(place) = places.pop() {
        for name in source.names(&place).unwrap() {
            if let Some(entry) = source.look(&place, &name).unwrap() {
                assert_eq!(entry.node.name, name);
                places.extend(entry.place);
                found.insert(entry.path, entry.node);
            }
        }
    }
    found
}

/// The names beneath `base`, without those above it.
fn names(source: &dyn Source, base: &Path) -> Vec<String> {
    walk(source)
        .keys()
        .filter_map(|path| path.strip_prefix(base).ok())
        .filter(|path| !path.as_os_str().is_empty())
        .map(|path| path.to_string_lossy().into_owned())
        .collect()
}

fn write(base: &Path, names: &[&str]) {
    for name in names {
        let path = base.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, name).unwrap();
    }
}

/// The entry at a path on disk.
fn find(source: &dyn Source, path: &Path) -> (Place, Result<Option<Found>, SourceError>) {
    let mut place = source.root();
    let mut components = path.strip_prefix("/").unwrap().components().peekable();
    while let Some(component) = components.next() {
        let name = component.as_os_str().as_bytes();
        let found = source.look(&place, name);
        if components.peek().is_none() {
            return (place, found);
        }
        place = found.unwrap().unwrap().place.unwrap();
    }
    unreachable!("the path has a last part")
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[test]
fn targets_appear_at_their_paths_with_the_directories_above() {
    let folder = tempfile::tempdir().unwrap();
    let base = folder.path();
    write(base, &["a/x/1", "a/y/2", "b/3"]);
    let tree = tree_of(
        &[
            &base.join("a/x"),
            &base.join("a//x/"),
            &base.join("b/../b/3"),
        ],
        Excludes::default(),
    );
    assert_eq!(tree.paths(), [base.join("a/x"), base.join("b/3")]);
    assert_eq!(names(&tree, base), ["a", "a/x", "a/x/1", "b", "b/3"]);
    let above = &walk(&tree)[&base.join("a")];
    let on_disk = std::fs::metadata(base.join("a")).unwrap();
    assert_eq!((above.inode, above.size), (on_disk.ino(), 0));
    assert!(FileTree::new(&[PathBuf::new()], FileTreeOptions::default()).is_err());
}

#[test]
fn a_target_is_reached_through_a_symbolic_link() {
    let folder = tempfile::tempdir().unwrap();
    let base = folder.path();
    write(base, &["real/d/f"]);
    symlink("real", base.join("link")).unwrap();
    let tree = tree_of(
        &[&base.join("link/d"), &base.join("link")],
        Excludes::default(),
    );
    // The nested target makes its directory show as one; the link alone would be a link.
    let all = walk(&tree);
    assert_eq!(all[&base.join("link/d/f")].kind, NodeKind::File);
    let tree = tree_of(&[&base.join("link/d")], Excludes::default());
    assert_eq!(walk(&tree)[&base.join("link")].kind, NodeKind::Directory);
    let tree = tree_of(&[&base.join("link")], Excludes::default());
    assert_eq!(walk(&tree)[&base.join("link")].kind, NodeKind::Symlink);
}

#[test]
fn named_targets_are_kept_whatever_patterns_say() {
    let folder = tempfile::tempdir().unwrap();
    let base = folder.path();
    write(base, &["a/keep/1", "a/keep/2", "a/drop/1", "a/3"]);
    let mut excludes = Excludes::default();
    for pattern in ["keep", "drop"] {
        excludes.add_pattern(pattern.as_bytes(), false).unwrap();
    }
    let tree = tree_of(&[&base.join("a"), &base.join("a/keep/1")], excludes.clone());
    assert_eq!(names(&tree, base), ["a", "a/3", "a/keep", "a/keep/1"]);
    let tree = tree_of(&[&base.join("a/drop")], excludes);
    assert_eq!(names(&tree, base), ["a", "a/drop"]);
}

#[test]
fn the_two_lists_of_patterns_do_not_mix() {
    let folder = tempfile::tempdir().unwrap();
    let base = folder.path();
    write(base, &["t/A.o", "t/b.O", "t/c"]);
    let mut excludes = Excludes::default();
    excludes.add_pattern(b"*.O", true).unwrap();
    excludes.add_pattern(b"!A.o", false).unwrap();
    let tree = tree_of(&[&base.join("t")], excludes);
    assert_eq!(names(&tree, base), ["t", "t/c"]);
}

#[test]
fn marked_directories_are_kept_empty_but_for_the_marker() {
    let folder = tempfile::tempdir().unwrap();
    let base = folder.path();
    write(
        base,
        &[
            "t/cache/x",
            "t/false/x",
            "t/skip/x/y",
            "t/skip/.nobackup",
            "t/fifo/x",
        ],
    );
    let signature = "Signature: 8a477f597d28d172789f06886806bc55\n";
    std::fs::write(base.join("t/cache/CACHEDIR.TAG"), signature).unwrap();
    std::fs::write(base.join("t/false/CACHEDIR.TAG"), "Signature: no").unwrap();
    let fifo = std::process::Command::new("mkfifo")
        .arg(base.join("t/fifo/CACHEDIR.TAG"))
        .status();
    assert!(fifo.unwrap().success());
    let mut excludes = Excludes::default();
    excludes.add_caches();
    excludes.add_marker(".nobackup", b"").unwrap();
    let found = names(&tree_of(&[&base.join("t")], excludes), base);
    let expected = [
        "t",
        "t/cache",
        "t/cache/CACHEDIR.TAG",
        "t/false",
        "t/false/CACHEDIR.TAG",
        "t/false/x",
        "t/fifo",
        "t/fifo/CACHEDIR.TAG",
        "t/fifo/x",
        "t/skip",
        "t/skip/.nobackup",
    ];
    assert_eq!(found, expected);
    let mut excludes = Excludes::default();
    assert!(excludes.add_marker("", b"").is_err());
    assert!(excludes.add_marker("a/b", b"").is_err());
}

#[test]
fn large_files_and_own_paths_are_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let base = folder.path();
    write(base, &["t/a", "t/longer-name", "t/repository/data/x"]);
    let mut excludes = Excludes::default();
    excludes.set_bytes_max(5);
    excludes.add_path(base.join("t/repository"));
    let tree = tree_of(&[&base.join("t")], excludes.clone());
    assert_eq!(names(&tree, base), ["t", "t/a"]);
    // Not even by name is the repository put into itself.
    let tree = tree_of(&[&base.join("t/repository")], excludes);
    assert_eq!(names(&tree, base), ["t"]);
}

#[test]
fn names_are_bytes_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let base = folder.path();
    for name in [
        &b"\xff\xfe"[..],
        b"a",
        b"B",
        "\u{e4}".as_bytes(),
        b"a\nb",
        b" ",
    ] {
        std::fs::write(base.join(std::ffi::OsStr::from_bytes(name)), "").unwrap();
    }
    let tree = tree_of(&[base], Excludes::default());
    let (_, found) = find(&tree, base);
    let place = found.unwrap().unwrap().place.unwrap();
    let names = tree.names(&place).unwrap();
    let expected = [
        &b" "[..],
        b"B",
        b"a",
        b"a\nb",
        "\u{e4}".as_bytes(),
        b"\xff\xfe",
    ];
    assert_eq!(names, expected);
    for name in names {
        assert_eq!(tree.look(&place, &name).unwrap().unwrap().node.name, name);
    }
}

#[test]
fn what_vanishes_or_changes_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let base = folder.path();
    write(base, &["t/gone", "t/link", "t/fifo", "t/folder", "t/grows"]);
    let tree = tree_of(&[&base.join("t")], Excludes::default());
    let (_, found) = find(&tree, &base.join("t"));
    let place = found.unwrap().unwrap().place.unwrap();
    let look = |name: &str| tree.look(&place, name.as_bytes()).unwrap();
    let found: Vec<Found> = ["gone", "link", "fifo", "folder", "grows"]
        .iter()
        .map(|name| look(name).unwrap())
        .collect();
    for name in ["gone", "link", "fifo", "folder"] {
        std::fs::remove_file(base.join("t").join(name)).unwrap();
    }
    // Removed between listing and looking: simply not there any more.
    assert!(look("gone").is_none());
    assert!(tree.open(&found[0]).err().unwrap().is_not_found());
    symlink("grows", base.join("t/link")).unwrap();
    std::fs::create_dir(base.join("t/folder")).unwrap();
    let fifo = std::process::Command::new("mkfifo")
        .arg(base.join("t/fifo"))
        .status();
    assert!(fifo.unwrap().success());
    for changed in &found[1..4] {
        let error = tree.open(changed).err().unwrap();
        assert!(matches!(error, SourceError::Changed { .. }), "{error}");
    }
    std::fs::write(base.join("t/grows"), "longer than it was").unwrap();
    let mut content = tree.open(&found[4]).unwrap();
    assert_eq!(content.node().unwrap().size, 18);
    let mut text = String::new();
    content.read_to_string(&mut text).unwrap();
    assert_eq!(text, "longer than it was");
    // A target that the user named and that is gone is an error.
    std::fs::remove_dir_all(base.join("t")).unwrap();
    let (_, gone) = find(&tree, &base.join("t"));
    assert!(gone.err().unwrap().is_not_found());
    assert!(tree.names(&place).err().unwrap().is_not_found());
}

#[test]
fn unreadable_attributes_are_told_and_the_entry_kept() {
    let folder = tempfile::tempdir().unwrap();
    let base = folder.path();
    write(base, &["t/a"]);
    rustix::fs::setxattr(
        base.join("t/a"),
        "user.empty",
        b"",
        rustix::fs::XattrFlags::empty(),
    )
    .unwrap();
    let told = Arc::new(Mutex::new(0));
    let counter = Arc::clone(&told);
    let options = FileTreeOptions {
        warn: Some(Box::new(move |_, _| *counter.lock() += 1)),
        ..FileTreeOptions::default()
    };
    let tree = FileTree::new(&[base.join("t")], options).unwrap();
    let all = walk(&tree);
    let attributes = &all[&base.join("t/a")].extended_attributes;
    let empty = attributes.iter().find(|found| found.name == "user.empty");
    assert_eq!(empty.unwrap().value.as_deref(), Some(&[][..]));
    assert_eq!(*told.lock(), 0);
}

#[test]
fn reading_leaves_access_times_alone() {
    let folder = tempfile::tempdir().unwrap();
    let base = folder.path();
    write(base, &["t/d/a"]);
    let times = |seconds| rustix::fs::Timestamps {
        last_access: rustix::fs::Timespec {
            tv_sec: seconds,
            tv_nsec: 0,
        },
        last_modification: rustix::fs::Timespec {
            tv_sec: 1_000_000_000,
            tv_nsec: 0,
        },
    };
    for name in ["t/d/a", "t/d"] {
        let flags = rustix::fs::AtFlags::empty();
        rustix::fs::utimensat(rustix::fs::CWD, base.join(name), &times(5), flags).unwrap();
    }
    let tree = tree_of(&[&base.join("t")], Excludes::default());
    let all = walk(&tree);
    let (_, found) = find(&tree, &base.join("t/d/a"));
    let mut text = String::new();
    let mut content = tree.open(&found.unwrap().unwrap()).unwrap();
    content.read_to_string(&mut text).unwrap();
    for name in ["t/d/a", "t/d"] {
        assert_eq!(
            std::fs::metadata(base.join(name)).unwrap().atime(),
            5,
            "{name}"
        );
        // Unless asked for, the modification time stands in for the access time.
        assert_eq!(all[&base.join(name)].atime.seconds(), 1_000_000_000);
    }
}

#[test]
fn a_directory_of_very_many_entries_is_listed() {
    const ENTRIES: usize = 200_000;
    let folder = tempfile::tempdir().unwrap();
    let base = folder.path();
    std::fs::write(base.join("first"), "").unwrap();
    let opened = std::fs::File::open(base).unwrap();
    // A file may have so many names only on some file systems, so it is replaced now and then.
    let mut existing = PathBuf::from("first");
    for number in 1..ENTRIES {
        let name = PathBuf::from(format!("{number:06}"));
        if number % 10_000 == 0 {
            std::fs::write(base.join(&name), "").unwrap();
            existing = name;
        } else {
            let flags = rustix::fs::AtFlags::empty();
            rustix::fs::linkat(&opened, &existing, &opened, &name, flags).unwrap();
        }
    }
    let tree = tree_of(&[base], Excludes::default());
    let (_, found) = find(&tree, base);
    let place = found.unwrap().unwrap().place.unwrap();
    let names = tree.names(&place).unwrap();
    assert_eq!(names.len(), ENTRIES);
    assert!(names.is_sorted());
}

#[test]
fn mounts_are_neither_crossed_nor_followed_in_circles() {
    if !is_root() {
        eprintln!("SKIPPED: only root can mount");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let base = folder.path();
    write(base, &["t/a", "t/other/x", "t/loop/x"]);
    let mounted = Mounts::new(base);
    if mounted.0.len() != 2 {
        eprintln!("SKIPPED: mounting is not allowed here");
        return;
    }
    write(base, &["t/other/inside"]);
    let mut excludes = Excludes::default();
    excludes.set_one_file_system();
    let tree = tree_of(&[&base.join("t")], excludes.clone());
    let (place, looped) = find(&tree, &base.join("t/loop"));
    assert!(matches!(looped, Err(SourceError::Invalid(_))), "{looped:?}");
    assert_eq!(tree.names(&place).unwrap(), [&b"a"[..], b"loop", b"other"]);
    let other = tree.look(&place, b"other").unwrap().unwrap().place.unwrap();
    assert_eq!(tree.names(&other).unwrap(), [b"inside"]);
    assert!(tree.look(&other, b"inside").unwrap().is_none());
    // A target of its own on the other file system is read.
    let tree = tree_of(&[&base.join("t"), &base.join("t/other")], excludes);
    let (_, found) = find(&tree, &base.join("t/other/inside"));
    assert!(found.unwrap().is_some());
}

/// A file system in memory and a directory shown within itself, taken away at the end.
struct Mounts(Vec<PathBuf>);

impl Mounts {
    fn new(base: &Path) -> Self {
        let mut mounts = Self(Vec::new());
        for (name, arguments) in [
            ("t/other", &["-t", "tmpfs", "none"][..]),
            ("t/loop", &["--bind"]),
        ] {
            let mut command = std::process::Command::new("mount");
            command.args(arguments);
            if name == "t/loop" {
                command.arg(base.join("t"));
            }
            command.arg(base.join(name));
            if command.status().is_ok_and(|status| status.success()) {
                mounts.0.push(base.join(name));
            }
        }
        mounts
    }
}

impl Drop for Mounts {
    fn drop(&mut self) {
        for path in self.0.iter().rev() {
            let _ = std::process::Command::new("umount").arg(path).status();
        }
    }
}
