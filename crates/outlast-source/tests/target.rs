//! Restoring beneath a directory: what is put back, and that nothing leads outside.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

use outlast_format::{ExtendedAttribute, Mode, Node, NodeKind, Time};
use outlast_source::{
    FileTree, FileTreeOptions, MetadataOptions, Place, Source, Target, check_name,
};

#[test]
fn names_that_lead_elsewhere_are_refused() {
    let long = vec![b'a'; 256];
    for bad in [&b""[..], b".", b"..", b"a/b", b"/", b"a\0b", &long] {
        assert!(check_name(bad).is_err(), "{bad:?}");
    }
    for good in [&b"a"[..], b"...", b"\xff", b" "] {
        assert!(check_name(good).is_ok(), "{good:?}");
    }
}

#[test]
fn no_path_and_no_symbolic_link_leads_outside() {
    let folder = tempfile::tempdir().unwrap();
    let outside = folder.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("file"), "precious").unwrap();
    let target = Target::open(&folder.path().join("in")).unwrap();
    for path in ["../outside/x", "/etc/x", "..", ".", "", "a/../../outside/x"] {
        let path = Path::new(path);
        assert!(target.create_file(path).is_err(), "{path:?}");
        assert!(target.make_directory(path).is_err(), "{path:?}");
        assert!(target.remove(path).is_err(), "{path:?}");
        assert!(target.make_symlink(path, b"x").is_err(), "{path:?}");
    }
    symlink(&outside, target.path().join("link")).unwrap();
    assert!(target.create_file(Path::new("link/file")).is_err());
    assert!(target.make_directory(Path::new("link")).is_err());
    assert!(target.make_directory(Path::new("link/dir")).is_err());
    assert!(
        target
            .make_hard_link(Path::new("copy"), Path::new("link/file"))
            .is_err()
    );
    assert!(target.list(Path::new("link")).is_err());
    assert!(target.remove(Path::new("link/file")).is_err());
    let node = Node {
        mode: Mode(0o777),
        ..Node::default()
    };
    target.apply_metadata(Path::new("link/file"), &node, &MetadataOptions::default());
    target.apply_metadata(Path::new("link"), &node, &MetadataOptions::default());
    assert_eq!(std::fs::metadata(&outside).unwrap().mode() & 0o777, 0o755);
    // A file in place of the link, and the link's removal, leave alone what it points to.
    symlink(outside.join("file"), target.path().join("file")).unwrap();
    target
        .create_file(Path::new("file"))
        .unwrap()
        .write_at(b"new", 0)
        .unwrap();
    target.remove(Path::new("link")).unwrap();
    assert_eq!(std::fs::read(outside.join("file")).unwrap(), b"precious");
    assert_eq!(std::fs::read(target.path().join("file")).unwrap(), b"new");
}

#[test]
fn a_new_target_is_for_its_owner_alone() {
    let folder = tempfile::tempdir().unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().mode() & 0o777;
    let target = Target::open(&folder.path().join("a/b")).unwrap();
    assert_eq!(
        (mode(&folder.path().join("a")), mode(target.path())),
        (0o700, 0o700)
    );
    let existing = folder.path().join("there");
    std::fs::create_dir(&existing).unwrap();
    let before = mode(&existing);
    Target::open(&existing).unwrap();
    assert_eq!(mode(&existing), before);
}

#[test]
fn files_with_other_names_are_replaced_not_changed() {
    let folder = tempfile::tempdir().unwrap();
    let target = Target::open(folder.path()).unwrap();
    std::fs::write(folder.path().join("a"), "old").unwrap();
    std::fs::hard_link(folder.path().join("a"), folder.path().join("b")).unwrap();
    target
        .create_file(Path::new("b"))
        .unwrap()
        .write_at(b"new", 0)
        .unwrap();
    assert_eq!(std::fs::read(folder.path().join("a")).unwrap(), b"old");
    assert_eq!(std::fs::read(folder.path().join("b")).unwrap(), b"new");
}

#[test]
fn zeros_take_the_place_of_what_was_there() {
    let folder = tempfile::tempdir().unwrap();
    let target = Target::open(folder.path()).unwrap();
    let file = target.create_file(Path::new("file")).unwrap();
    file.write_at(&[7; 10_000], 0).unwrap();
    // Some file systems cannot; those that can must do it exactly.
    if file.write_zeros(100, 9_000) && file.write_zeros(20_000, 5_000) {
        let found = std::fs::read(folder.path().join("file")).unwrap();
        let expected = [
            &[7; 100][..],
            &[0; 9_000],
            &[7; 900],
            &[0; 10_000],
            &[0; 5_000],
        ];
        assert_eq!(found, expected.concat());
    }
}

#[test]
fn trees_are_removed_without_following_links() {
    let folder = tempfile::tempdir().unwrap();
    let target = Target::open(&folder.path().join("in")).unwrap();
    let keep = folder.path().join("keep");
    std::fs::write(&keep, "precious").unwrap();
    std::fs::create_dir_all(target.path().join("a/b/c")).unwrap();
    std::fs::write(target.path().join("a/b/file"), "x").unwrap();
    symlink(folder.path(), target.path().join("a/b/c/up")).unwrap();
    target.remove(Path::new("a")).unwrap();
    target.remove(Path::new("a")).unwrap();
    assert!(target.list(Path::new("")).unwrap().is_empty());
    assert!(keep.exists());
}

#[test]
fn metadata_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let target = Target::open(folder.path()).unwrap();
    let path = Path::new("file");
    let file = target.create_file(path).unwrap();
    file.write_at(b"tail", 100_000).unwrap();
    file.set_size(200_000).unwrap();
    drop(file);
    let node = Node {
        mode: Mode::from_unix(0o104_751),
        mtime: Time::utc(1_000_000_000, 123_456_789),
        atime: Time::utc(1_000_000_001, 5),
        uid: rustix::process::getuid().as_raw(),
        gid: rustix::process::getgid().as_raw(),
        extended_attributes: vec![ExtendedAttribute {
            name: "user.note".into(),
            value: Some(b"hello".to_vec()),
        }],
        ..Node::default()
    };
    let errors = target.apply_metadata(path, &node, &MetadataOptions::default());
    assert!(errors.is_empty(), "{errors:?}");
    let metadata = std::fs::metadata(folder.path().join("file")).unwrap();
    assert_eq!(metadata.mode() & 0o7777, 0o4751);
    assert_eq!(
        (metadata.mtime(), metadata.mtime_nsec()),
        (1_000_000_000, 123_456_789)
    );
    assert_eq!(metadata.len(), 200_000);
    let mut value = [0_u8; 16];
    let length =
        rustix::fs::getxattr(folder.path().join("file"), "user.note", &mut value[..]).unwrap();
    assert_eq!(&value[..length], b"hello");
    let fifo = Node {
        kind: NodeKind::Fifo,
        mode: Mode(0o600),
        ..node
    };
    target.make_special(Path::new("fifo"), &fifo).unwrap();
    assert!(target.open_file(Path::new("fifo")).unwrap().is_none());
    assert!(
        target
            .make_special(Path::new("x"), &Node::default())
            .is_err()
    );
}

fn run(program: &str, arguments: &[&str], path: &Path) -> bool {
    let status = std::process::Command::new(program)
        .args(arguments)
        .arg(path)
        .status();
    status.is_ok_and(|status| status.success())
}

/// Everything that is restored besides content, read and put back: what one step sets, no later one
/// may take away.
#[test]
fn all_metadata_survives_reading_and_putting_back() {
    let folder = tempfile::tempdir().unwrap();
    let from = folder.path().join("from");
    std::fs::create_dir_all(from.join("dir")).unwrap();
    std::fs::write(from.join("file"), "x").unwrap();
    symlink("nowhere", from.join("link")).unwrap();
    run("mkfifo", &[], &from.join("fifo"));
    let is_root = rustix::process::geteuid().is_root();
    if is_root {
        assert!(run("chown", &["4321:1234"], &from.join("file")));
        assert!(run("chown", &["-h", "4321:1234"], &from.join("link")));
        let script = "mknod \"$0\" c 1 3";
        assert!(run("sh", &["-c", script], &from.join("null")));
        run("setcap", &["cap_net_raw+ep"], &from.join("file"));
    }
    run("setfattr", &["-n", "user.x", "-v", "y"], &from.join("file"));
    run("setfacl", &["-m", "u:4321:rwx"], &from.join("file"));
    run("setfacl", &["-d", "-m", "g:1234:rx"], &from.join("dir"));
    // The mode comes last: it forbids even its owner to write, and is more than an ACL sets.
    assert!(run("chmod", &["6451"], &from.join("file")));
    assert!(run("chmod", &["1731"], &from.join("dir")));
    let source = FileTree::new(std::slice::from_ref(&from), FileTreeOptions::default()).unwrap();
    let mut place = source.root();
    for component in from.components().skip(1) {
        let found = source.look(&place, component.as_os_str().as_encoded_bytes());
        place = found.unwrap().unwrap().place.unwrap();
    }
    let target = Target::open(&folder.path().join("to")).unwrap();
    for name in source.names(&place).unwrap() {
        let node = source.look(&place, &name).unwrap().unwrap().node;
        let path = Path::new(std::ffi::OsStr::from_bytes(&name));
        match node.kind {
            NodeKind::File => drop(target.create_file(path).unwrap()),
            NodeKind::Directory => drop(target.make_directory(path).unwrap()),
            NodeKind::Symlink => target.make_symlink(path, &node.link_target).unwrap(),
            _ => target.make_special(path, &node).unwrap(),
        }
        let errors = target.apply_metadata(path, &node, &MetadataOptions::default());
        assert!(errors.is_empty(), "{path:?}: {errors:?}");
    }
    let back = target.path().to_owned();
    let restored = FileTree::new(&[back], FileTreeOptions::default()).unwrap();
    let there = Place {
        path: "/x".into(),
        number: None,
        disk_path: target.path().to_owned(),
    };
    for name in source.names(&place).unwrap() {
        let expected = source.look(&place, &name).unwrap().unwrap().node;
        let mut found = restored.look(&there, &name).unwrap().unwrap().node;
        (found.inode, found.ctime) = (expected.inode, expected.ctime);
        let sort = |mut node: Node| {
            node.extended_attributes
                .sort_by_key(|found| found.name.clone());
            node.size = 0;
            node
        };
        let (found, expected) = (
            format!("{:?}", sort(found)),
            format!("{:?}", sort(expected)),
        );
        assert_eq!(found, expected);
    }
}

/// While directories are being restored, somebody keeps putting symbolic links in their place.
#[test]
fn links_put_in_place_of_directories_meanwhile_lead_nowhere() {
    let folder = tempfile::tempdir().unwrap();
    let outside = folder.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("victim"), "precious").unwrap();
    let before = std::fs::metadata(outside.join("victim")).unwrap();
    let target = Target::open(&folder.path().join("in")).unwrap();
    let base = target.path().to_owned();
    std::fs::create_dir(base.join("a")).unwrap();
    symlink(&outside, base.join("trap")).unwrap();
    let done = std::sync::atomic::AtomicBool::new(false);
    let node = Node {
        mode: Mode(0o777),
        uid: rustix::process::getuid().as_raw(),
        gid: rustix::process::getgid().as_raw(),
        ..Node::default()
    };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let exchange = rustix::fs::RenameFlags::EXCHANGE;
            let here = std::fs::File::open(&base).unwrap();
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                rustix::fs::renameat_with(&here, "a", &here, "trap", exchange).unwrap();
            }
        });
        let mut reached = 0;
        for round in 0..3000 {
            // Another path each time, so that the directory is looked up anew.
            let _ = target.stat(Path::new("x/y"));
            let victim = Path::new("a/victim");
            let created = target.create_file(victim);
            if let Ok(file) = created {
                reached += 1;
                file.write_at(b"replaced", 0).unwrap();
            }
            target.apply_metadata(victim, &node, &MetadataOptions::default());
            let _ = target.make_directory(Path::new("a/new"));
            let _ = target.make_symlink(Path::new("a/link"), b"x");
            let _ = target.remove(victim);
            if round % 7 == 0 {
                let _ = target.make_directory(Path::new("x"));
            }
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(reached > 0);
    });
    let names: Vec<_> = std::fs::read_dir(&outside).unwrap().collect();
    assert_eq!(names.len(), 1, "{names:?}");
    let after = std::fs::metadata(outside.join("victim")).unwrap();
    assert_eq!(after.mode(), before.mode());
    assert_eq!(after.ctime_nsec(), before.ctime_nsec());
    let text = std::fs::read_to_string(outside.join("victim")).unwrap();
    assert_eq!(text, "precious");
}
