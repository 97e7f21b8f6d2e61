//! Restoring beneath a directory: what is put back, and that nothing leads outside.

use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

use outlast_format::{ExtendedAttribute, Mode, Node, NodeKind, Time};
use outlast_source::{MetadataOptions, Target, check_name};

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
