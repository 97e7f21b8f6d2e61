//! Repositories behind SFTP, at OpenSSH's real server, started as a child in place of ssh.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

#[path = "../../outlast-repo/tests/support/tools.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod tools;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use outlast_object::{ObjectKind, ObjectName};
use outlast_store::conformance::{self, Demands, name_of, sample_bytes};
use outlast_store::{
    ConnectOptions, Deletes, Location, SftpOptions, SftpStore, Store, StoreError, Timeouts,
};

fn options(words: &[&str]) -> SftpOptions {
    SftpOptions {
        command: Some(words.iter().map(|word| (*word).to_owned()).collect()),
        ..SftpOptions::default()
    }
}

fn store(server: &Path, folder: &Path) -> SftpStore {
    store_at(
        &format!("sftp:me@host:{}", folder.display()),
        &options(&[server.to_str().unwrap()]),
    )
}

fn store_at(location: &str, options: &SftpOptions) -> SftpStore {
    let Location::Sftp(location) = Location::parse(location).unwrap() else {
        panic!("{location} is no SFTP location");
    };
    SftpStore::new(&location, options, Timeouts::default())
}

#[test]
fn openssh_passes_the_suite() {
    let Some(server) = tools::sftp_server() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let mut fresh = |check: &str| -> Result<Arc<dyn Deletes>, StoreError> {
        let path = folder.path().join("deep/below").join(check);
        Ok(Arc::new(store(&server, &path)))
    };
    conformance::run(Demands::default(), &mut fresh).unwrap();
}

#[test]
fn a_server_without_extensions_passes_the_suite() {
    let Some(server) = tools::sftp_server() else {
        return;
    };
    // Servers other than OpenSSH's often have none of these.
    let words = [server.to_str().unwrap(), "-P", "fsync,statvfs"];
    let folder = tempfile::tempdir().unwrap();
    let mut fresh = |check: &str| -> Result<Arc<dyn Deletes>, StoreError> {
        let location = format!("sftp:host:{}", folder.path().join(check).display());
        Ok(Arc::new(store_at(&location, &options(&words))))
    };
    let demands = Demands {
        objects: 100,
        ..Demands::default()
    };
    conformance::run(demands, &mut fresh).unwrap();
}

#[test]
fn files_are_as_restic_and_as_local_folders_have_them() {
    let Some(server) = tools::sftp_server() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("r");
    let remote = store(&server, &root);
    remote.prepare().unwrap();
    let bytes = sample_bytes(3, 100_000);
    let pack = name_of(ObjectKind::Pack, &bytes);
    remote.write(&pack, &bytes).unwrap();
    remote.write(&ObjectName::CONFIG, b"config").unwrap();
    let local = outlast_store::open_local(&root).unwrap();
    assert_eq!(local.read(&pack).unwrap(), bytes);
    assert_eq!(local.read(&ObjectName::CONFIG).unwrap(), b"config");
    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(local.path_of(&pack)), 0o400);
    assert_eq!(mode(root.join("data")), 0o700);

    // Where the group may read the config, it may use what comes later.
    fs::set_permissions(root.join("config"), fs::Permissions::from_mode(0o440)).unwrap();
    let shared = store(&server, &root);
    let more = sample_bytes(4, 10);
    let pack = name_of(ObjectKind::Pack, &more);
    shared.write(&pack, &more).unwrap();
    assert_eq!(mode(local.path_of(&pack)), 0o440);

    // What others left is passed over, and a temporary file is removed once it is a day old.
    let leftover = root.join("snapshots/.outlast-tmp-0123");
    fs::write(&leftover, "torn").unwrap();
    fs::write(root.join("snapshots/x"), "x").unwrap();
    fs::create_dir(root.join("snapshots").join(pack.id().to_hex())).unwrap();
    assert_eq!(shared.list_all(ObjectKind::Snapshot).unwrap(), []);
    shared.delete(&pack).unwrap();
    assert!(leftover.exists());
    let file = fs::File::options().write(true).open(&leftover).unwrap();
    let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(2 * 86_400);
    file.set_modified(long_ago).unwrap();
    shared.list_all(ObjectKind::Snapshot).unwrap();
    shared.delete(&pack).unwrap();
    assert!(!leftover.exists());
}

#[test]
fn a_disk_that_is_gone_is_not_made_again() {
    let Some(server) = tools::sftp_server() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("mounted");
    let remote = store(&server, &root);
    remote.prepare().unwrap();
    fs::remove_dir_all(&root).unwrap();
    let bytes = sample_bytes(5, 10);
    let refused = remote.write(&name_of(ObjectKind::Pack, &bytes), &bytes);
    let refused = refused.unwrap_err();
    assert!(!refused.is_retryable() && !root.exists(), "{refused}");
    let known = SftpOptions {
        is_there: true,
        ..options(&[server.to_str().unwrap()])
    };
    let known = store_at(&format!("sftp:host:{}", root.display()), &known);
    let refused = known.prepare().unwrap_err();
    assert!(!refused.is_retryable() && !root.exists(), "{refused}");
    assert!(refused.to_string().contains("mounted"), "{refused}");
    // A folder in it that is missing is made.
    remote.prepare().unwrap();
    fs::remove_dir_all(root.join("data")).unwrap();
    remote
        .write(&name_of(ObjectKind::Pack, &bytes), &bytes)
        .unwrap();
}

#[test]
fn what_the_program_says_is_part_of_the_message() {
    let dead = "echo 'Permission denied (publickey).' >&2; exit 255";
    let store = store_at("sftp:host:/r", &options(&["sh", "-c", dead]));
    let error = store.read(&ObjectName::CONFIG).unwrap_err();
    assert!(!error.is_retryable(), "{error}");
    assert!(error.to_string().contains("(publickey)"), "{error}");
    let store = store_at("sftp:host:/r", &options(&["sh", "-c", "echo Welcome; cat"]));
    let error = store.read(&ObjectName::CONFIG).unwrap_err();
    assert!(error.to_string().contains("prints") || error.to_string().contains("print text"));
    let store = store_at("sftp:host:/r", &options(&["/does/not/exist"]));
    let error = store.read(&ObjectName::CONFIG).unwrap_err();
    assert!(error.to_string().contains("cannot be started"), "{error}");
}

#[test]
fn passwords_of_repositories_are_not_handed_on() {
    // The environment of this process is not changed; whatever it has, a child shows what it gets.
    let show = "env >&2; exit 1";
    let store = store_at("sftp:host:/r", &options(&["sh", "-c", show]));
    let error = store.read(&ObjectName::CONFIG).unwrap_err();
    assert!(!error.to_string().contains("RESTIC_PASSWORD"));
}

#[test]
fn a_location_opens_with_limits_and_retries() {
    let Some(server) = tools::sftp_server() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let location = format!("sftp:host:{}", folder.path().join("r").display());
    let mut connect = ConnectOptions {
        sftp: options(&[server.to_str().unwrap()]),
        connections: Some(3),
        ..ConnectOptions::default()
    };
    connect.limits.upload_kib_per_second = 1 << 20;
    let store = outlast_store::open(&Location::parse(&location).unwrap(), &connect).unwrap();
    assert_eq!(store.connections(), 3);
    store.prepare().unwrap();
    let bytes = sample_bytes(6, 1000);
    let name = name_of(ObjectKind::Index, &bytes);
    store.write(&name, &bytes).unwrap();
    assert_eq!(store.read(&name).unwrap(), bytes);
}
