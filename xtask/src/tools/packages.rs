//! Packages that the tests of metadata, of the mount, of faults, of buckets and of SFTP need, and
//! that counts instructions.

use super::{find_on_path, is_root};
use crate::process;

/// A program, and the Debian package that has it.
const PROGRAMS: &[(&str, &str)] = &[
    ("fusermount3", "fuse3"),
    ("setfattr", "attr"),
    ("setfacl", "acl"),
    ("setcap", "libcap2-bin"),
    ("strace", "strace"),
    ("valgrind", "valgrind"),
    ("ceph-mon", "ceph-mon"),
    ("ceph-osd", "ceph-osd"),
    ("radosgw", "radosgw"),
    ("ceph", "ceph-common"),
    ("curl", "curl"),
    ("/usr/lib/openssh/sftp-server", "openssh-sftp-server"),
];

/// Installs what is missing, where we may. Elsewhere it says what to install.
pub fn provide() -> Result<(), String> {
    let missing: Vec<&str> = PROGRAMS
        .iter()
        .filter(|(program, _)| find_on_path(program).is_none())
        .map(|(_, package)| *package)
        .collect();
    if missing.is_empty() {
        println!("the packages that tests need are installed");
        return Ok(());
    }
    let list = missing.join(" ");
    if !is_root() || find_on_path("apt-get").is_none() {
        return Err(format!(
            "these programs are missing; install the packages: {list}"
        ));
    }
    println!("installing {list}");
    process::show(process::command("apt-get", &["--quiet", "update"]))?;
    // Another installation may be under way; wait for it.
    let mut arguments = vec!["--quiet", "-o", "DPkg::Lock::Timeout=120"];
    arguments.extend(["install", "--yes", "--no-install-recommends"]);
    arguments.extend(&missing);
    let mut command = process::command("apt-get", &arguments);
    command.env("DEBIAN_FRONTEND", "noninteractive");
    process::show(command)
}
