//! A directory with one of everything.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use outlast_format::Time;
use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags};

/// Bytes that look random and are the same each time.
pub fn noise(bytes: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    (0..bytes.div_ceil(8))
        .flat_map(|_| next().to_le_bytes())
        .take(bytes)
        .collect()
}

pub fn set_mtime(path: &Path, time: Time) {
    let time = Timespec {
        tv_sec: time.seconds(),
        tv_nsec: time.nanos().into(),
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

/// Makes the directory, with all types, odd names, links, attributes, modes and times. What only
/// root can make is left out for others.
pub fn make_tree(root: &Path) {
    let is_root = rustix::process::geteuid().is_root();
    let path = |name: &str| root.join(name);
    fs::create_dir_all(path("dir/sub/deep/deeper")).unwrap();
    fs::create_dir(path("empty")).unwrap();
    fs::write(path("dir/big"), noise(9 << 20, 1)).unwrap();
    let mut zeros = vec![0; 4 << 20];
    zeros.extend(noise(1000, 2));
    zeros.extend(vec![0; 3 << 20]);
    fs::write(path("dir/zeros"), zeros).unwrap();
    fs::write(path("dir/nothing"), "").unwrap();
    fs::write(path("dir/a&<b> \"q\" \u{e4}\u{a0}\u{1F512}"), "odd").unwrap();
    fs::write(
        root.join(OsStr::from_bytes(b"dir/\xff\xfe\n\t")),
        "not text",
    )
    .unwrap();
    fs::write(path(&format!("dir/{}", "n".repeat(255))), "long").unwrap();
    for number in 0..200 {
        let text = format!("file {number}\n").repeat(number);
        fs::write(path(&format!("dir/sub/small-{number}")), text).unwrap();
    }
    fs::hard_link(path("dir/big"), path("dir/sub/hard")).unwrap();
    fs::hard_link(path("dir/big"), path("dir/sub/deep/hard")).unwrap();
    symlink("../sub/t&xt", path("dir/link")).unwrap();
    symlink("/nowhere", path("dir/dangling")).unwrap();
    symlink(OsStr::from_bytes(b"\xfe"), path("dir/odd-link")).unwrap();
    rustix::fs::mknodat(CWD, path("dir/fifo"), FileType::Fifo, Mode::from(0o640), 0).unwrap();
    for (name, value) in [
        ("user.one", &b"1"[..]),
        ("user.two", b"\0\xff"),
        ("user.none", b""),
    ] {
        // Not every file system has them.
        let _ = rustix::fs::setxattr(path("dir/big"), name, value, XattrFlags::empty());
        let _ = rustix::fs::setxattr(path("dir/sub"), name, value, XattrFlags::empty());
    }
    if is_root {
        let device = rustix::fs::makedev(1, 3);
        let (kind, mode) = (FileType::CharacterDevice, Mode::from(0o666));
        rustix::fs::mknodat(CWD, path("dir/null"), kind, mode, device).unwrap();
        std::os::unix::fs::chown(path("dir/sub/small-1"), Some(1234), Some(4321)).unwrap();
        std::os::unix::fs::lchown(path("dir/link"), Some(1234), Some(4321)).unwrap();
    }
    let modes = [
        ("dir/sub/small-2", 0o4755),
        ("dir/sub/small-3", 0o000),
        ("empty", 0o1777),
    ];
    for (name, mode) in modes {
        fs::set_permissions(path(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    let names = [
        "dir/sub/small-4",
        "dir/link",
        "dir/fifo",
        "dir/sub/deep",
        "dir/sub",
        "empty",
        "dir",
    ];
    for (number, name) in names.iter().enumerate() {
        set_mtime(
            &path(name),
            Time::utc(1_000_000_000 + number as i64, 123_456_789),
        );
    }
    set_mtime(&path("dir/sub/small-5"), Time::utc(-5, 7));
}
