//! What only the real disk has: permissions, links, flags and named temporary files.

use super::*;
use crate::disk::{Linked, conformance};
use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::atomic::Ordering;

fn disk() -> (tempfile::TempDir, RealDisk) {
    let folder = tempfile::tempdir().unwrap();
    let disk = RealDisk::open(&folder.path().join("root")).unwrap();
    (folder, disk)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn put(disk: &RealDisk, path: &str, bytes: &[u8]) -> Linked {
    let mut file = disk.create_unnamed().unwrap();
    file.write_all(bytes).unwrap();
    file.sync().unwrap();
    file.link(path).unwrap()
}

#[test]
fn it_keeps_the_promises_of_a_disk() {
    let (_folder, disk) = disk();
    conformance::run(&disk);
}

#[test]
fn it_keeps_them_without_unnamed_files_too() {
    let (folder, disk) = disk();
    disk.lacks_unnamed_files.store(true, Ordering::Relaxed);
    conformance::run(&disk);
    let left = fs::read_dir(folder.path().join("root/incoming")).unwrap();
    assert_eq!(left.count(), 0);
}

#[test]
fn nobody_else_may_read_what_it_makes() {
    let (folder, disk) = disk();
    let root = folder.path().join("root");
    disk.make_directories("data/ab").unwrap();
    put(&disk, "data/ab/x", b"object");
    disk.append("journal", 0, b"entry").unwrap();
    disk.replace("small", b"content").unwrap();
    for (path, expected) in [
        ("", 0o700),
        ("incoming", 0o700),
        ("data", 0o700),
        ("data/ab", 0o700),
        ("data/ab/x", 0o400),
        ("journal", 0o600),
        ("small", 0o600),
    ] {
        assert_eq!(mode(&root.join(path)), expected, "{path:?}");
    }
}

#[test]
fn symbolic_links_are_not_followed() {
    let (folder, disk) = disk();
    let root = folder.path().join("root");
    let outside = folder.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("file"), b"untouched").unwrap();
    symlink(&outside, root.join("planted")).unwrap();
    symlink(outside.join("file"), root.join("link")).unwrap();
    assert!(disk.open("planted/file").is_err());
    assert!(disk.open("link").is_err());
    assert_eq!(disk.size("link").ok().flatten(), None);
    assert!(disk.append("link", 9, b"x").is_err());
    assert!(disk.truncate("link", 0).is_err());
    assert!(disk.make_directories("planted/more").is_err());
    assert!(disk.replace("planted/file", b"x").is_err());
    let mut file = disk.create_unnamed().unwrap();
    file.write_all(b"x").unwrap();
    assert!(file.link("planted/other").is_err());
    assert_eq!(put(&disk, "link", b"x"), Linked::Existed);
    assert_eq!(fs::read(outside.join("file")).unwrap(), b"untouched");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
}

#[test]
fn a_pipe_in_the_way_blocks_nobody() {
    let (folder, disk) = disk();
    let pipe = folder.path().join("root/pipe");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &pipe,
        FileType::Fifo,
        Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    assert!(disk.open("pipe").is_err());
    assert!(disk.append("pipe", 0, b"x").is_err());
    assert_eq!(disk.size("pipe").unwrap(), None);
}

#[test]
fn leftovers_of_a_crash_can_be_removed() {
    let (folder, disk) = disk();
    let incoming = folder.path().join("root/incoming");
    fs::write(incoming.join("4711-0"), b"half an upload").unwrap();
    fs::write(incoming.join("4711-1"), b"another").unwrap();
    assert_eq!(disk.remove_leftovers().unwrap(), 2);
    assert_eq!(disk.remove_leftovers().unwrap(), 0);
}

#[test]
fn an_immutable_file_cannot_be_removed_by_its_owner() {
    let (folder, disk) = disk();
    put(&disk, "object", b"bytes");
    if !disk.make_immutable("object").unwrap() {
        // Neither every file system has the flag nor every user the right to set it.
        return;
    }
    let path = folder.path().join("root/object");
    let removed = fs::remove_file(&path);
    let written = fs::OpenOptions::new().append(true).open(&path);
    // Taken away again, or the folder of the test would stay for ever.
    let file = fs::File::open(&path).unwrap();
    let flags = rustix::fs::ioctl_getflags(&file).unwrap();
    rustix::fs::ioctl_setflags(&file, flags - IFlags::IMMUTABLE).unwrap();
    assert!(removed.is_err());
    assert!(written.is_err());
    assert_eq!(fs::read(&path).unwrap(), b"bytes");
}
