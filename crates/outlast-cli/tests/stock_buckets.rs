//! restic, rustic and outlast with the same bucket of a real Ceph, and the commands of the page on buckets.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

#[path = "../../outlast-store/tests/support/ceph.rs"]
mod ceph;
mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

use ceph::{Ceph, ceph};
use outlast_store::S3Location;
use support::{OUTLAST, PASSWORD, World, texts, tools};

/// Everything that is new in the bucket is retained for two days, whoever writes it.
const RETAINS: &str = "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled>\
    <Rule><DefaultRetention><Mode>COMPLIANCE</Mode><Days>2</Days></DefaultRetention></Rule>\
    </ObjectLockConfiguration>";

/// A machine with some files, and a bucket that outlast has made and given a repository.
struct Setting {
    world: World,
    ceph: &'static Ceph,
    bucket: S3Location,
}

impl Setting {
    fn new() -> Option<Self> {
        let ceph = ceph()?;
        let setting = Self::without_repository(ceph);
        setting.outlast(&["init"]);
        ceph.set(&setting.bucket, "object-lock", RETAINS);
        Some(setting)
    }

    fn without_repository(ceph: &'static Ceph) -> Self {
        let (world, bucket) = (World::new(), ceph.fresh());
        for number in 0..10_u32 {
            let bytes = number.to_le_bytes().repeat(40_000);
            world.write(&format!("data/file{number}"), bytes);
        }
        Self {
            world,
            ceph,
            bucket,
        }
    }

    /// A command that knows the bucket, its keys and the password.
    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = self.world.bare_command(program);
        command
            .env("RESTIC_REPOSITORY", self.bucket.to_string())
            .env("RESTIC_PASSWORD", PASSWORD)
            .env("AWS_ACCESS_KEY_ID", "owner-key")
            .env("AWS_SECRET_ACCESS_KEY", "owner-secret");
        command
    }

    fn outlast(&self, arguments: &[&str]) -> String {
        let options = ["-o", "s3.retention-days=2"];
        succeeds(self.command(OUTLAST).args(options).args(arguments))
    }

    /// Backs up a state of the data of its own, and keeps a copy of it to compare with.
    fn next_state(&self, name: &str) -> PathBuf {
        self.world.write("data/state", name);
        self.world.write(&format!("data/{name}"), name.repeat(1000));
        let copy = self.world.join(&format!("state-of-{name}"));
        copy_flat(&self.world.join("data"), &copy);
        copy
    }

    /// Restores with a program and compares.
    fn restored(&self, restore: &mut Command, target: &Path, state: &Path) {
        succeeds(restore);
        let restored = contents(&target.join("data"));
        assert!(restored == contents(state), "{restore:?}");
    }
}

fn succeeds(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", texts(&output));
    String::from_utf8(output.stdout).unwrap()
}

fn contents(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let entry = |entry: std::io::Result<std::fs::DirEntry>| {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        (name, std::fs::read(path).unwrap())
    };
    let mut all: Vec<_> = std::fs::read_dir(folder).unwrap().map(entry).collect();
    all.sort();
    all
}

fn copy_flat(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for (name, bytes) in contents(from) {
        std::fs::write(to.join(name), bytes).unwrap();
    }
}

/// The snapshots of an output of `snapshots --json`, oldest first.
fn ids(json: &str) -> Vec<String> {
    let list: Vec<serde_json::Value> = serde_json::from_str(json).unwrap();
    let id = |snapshot: &serde_json::Value| snapshot["id"].as_str().unwrap().to_owned();
    list.iter().map(id).collect()
}

/// The only snapshot of an output of `snapshots --json` that has the tag.
fn snapshot_with_tag(json: &str, tag: &str) -> String {
    let list: serde_json::Value = serde_json::from_str(json).unwrap();
    let has_tag = |snapshot: &&serde_json::Value| {
        let tags = snapshot["tags"].as_array();
        tags.is_some_and(|tags| tags.iter().any(|other| other == tag))
    };
    let found: Vec<_> = list.as_array().unwrap().iter().filter(has_tag).collect();
    assert_eq!(found.len(), 1, "{tag}: {json}");
    found[0]["id"].as_str().unwrap().to_owned()
}

fn restic_shares_a_bucket(program: &Path) {
    let Some(setting) = Setting::new() else {
        return;
    };
    let restic = |arguments: &[&str]| {
        let mut command = setting.command(program);
        command.arg("--no-cache").args(arguments);
        command
    };
    let theirs = setting.next_state("theirs");
    succeeds(&mut restic(&["backup", "data", "--tag", "theirs"]));
    let ours = setting.next_state("ours");
    setting.outlast(&["backup", "data", "--tag", "ours"]);

    // Each sees both, finds nothing wrong, and restores what the other wrote.
    setting.outlast(&["check", "--read-data"]);
    succeeds(&mut restic(&["check", "--read-data"]));
    let listed = succeeds(&mut restic(&["snapshots", "--json"]));
    let id_ours = snapshot_with_tag(&listed, "ours");
    let id_theirs = snapshot_with_tag(&setting.outlast(&["snapshots", "--json"]), "theirs");
    let target = setting.world.join("by-restic");
    let mut restore = restic(&["restore", &id_ours, "--target", "by-restic"]);
    setting.restored(&mut restore, &target, &ours);
    let restores_theirs = |location: &str, folder: &str| {
        let mut restore = setting.command(OUTLAST);
        restore.env("RESTIC_REPOSITORY", location);
        restore.args(["restore", &id_theirs, "--target", folder]);
        setting.restored(&mut restore, &setting.world.join(folder), &theirs);
    };
    let location = setting.bucket.to_string();
    restores_theirs(&location, "by-outlast");

    // What restic removes goes out of its own sight only.
    succeeds(&mut restic(&["forget", "--prune", &id_theirs]));
    let left = succeeds(&mut restic(&["snapshots", "--json"]));
    assert_eq!(ids(&left), std::slice::from_ref(&id_ours));
    let still = setting.outlast(&["snapshots", "--json"]);
    assert_eq!(ids(&still), [id_theirs.clone(), id_ours.clone()]);
    restores_theirs(&location, "after-forget");

    // Written to a plain folder, everything is there for restic too.
    setting.outlast(&["export", "exported"]);
    let exported = |arguments: &[&str]| {
        let mut command = restic(arguments);
        command.env("RESTIC_REPOSITORY", setting.world.join("exported"));
        command
    };
    succeeds(&mut exported(&["check", "--read-data"]));
    for (id, state, folder) in [(&id_theirs, &theirs, "one"), (&id_ours, &ours, "two")] {
        let mut restore = exported(&["restore", id, "--target", folder]);
        setting.restored(&mut restore, &setting.world.join(folder), state);
    }
}

#[test]
fn restic_014_and_outlast_share_a_bucket() {
    if let Some(program) = tools::restic_014() {
        restic_shares_a_bucket(&program);
    }
}

#[test]
fn restic_019_and_outlast_share_a_bucket() {
    if let Some(program) = tools::restic_019() {
        restic_shares_a_bucket(&program);
    }
}

#[test]
fn rustic_and_outlast_share_a_bucket() {
    let (Some(program), Some(setting)) = (tools::rustic(), Setting::new()) else {
        return;
    };
    let bucket = &setting.bucket;
    let profile = format!(
        "[repository]\nrepository = \"opendal:s3\"\npassword = \"{PASSWORD}\"\nno-cache = true\n\
         [repository.options]\nbucket = \"{}\"\nroot = \"/{}\"\nendpoint = \"{}\"\n\
         region = \"us-east-1\"\naccess_key_id = \"owner-key\"\nsecret_access_key = \"owner-secret\"\n",
        bucket.bucket,
        bucket.prefix,
        setting.ceph.address()
    );
    setting.world.write("profile.toml", profile);
    let rustic = |arguments: &[&str]| {
        let mut command = setting.world.bare_command(&program);
        command.args(["-P", "profile"]).args(arguments);
        command
    };
    let theirs = setting.next_state("theirs");
    succeeds(&mut rustic(&["backup", "data", "--tag", "theirs"]));
    let ours = setting.next_state("ours");
    setting.outlast(&["backup", "data", "--tag", "ours"]);
    setting.outlast(&["check", "--read-data"]);
    succeeds(&mut rustic(&["check", "--read-data"]));

    let listed = setting.outlast(&["snapshots", "--json"]);
    let id_ours = snapshot_with_tag(&listed, "ours");
    let id_theirs = snapshot_with_tag(&listed, "theirs");
    let mut restore = setting.command(OUTLAST);
    restore.args(["restore", &id_theirs, "--target", "by-outlast"]);
    setting.restored(&mut restore, &setting.world.join("by-outlast"), &theirs);
    let mut restore = rustic(&["restore", &id_ours, "by-rustic"]);
    setting.restored(&mut restore, &setting.world.join("by-rustic"), &ours);
}

/// The commands of a page's blocks, those of several lines joined.
fn commands_of(page: &str) -> Vec<String> {
    let blocks = page.split("```").skip(1).step_by(2);
    let joined: String = blocks.collect::<String>().replace("\\\n", " ");
    let words = |line: &str| {
        let command = line.split('#').next().unwrap_or_default();
        command.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    joined
        .lines()
        .map(words)
        .filter(|line| line.starts_with("outlast ") || line.starts_with("aws "))
        .collect()
}

#[test]
fn the_commands_of_the_page_work() {
    let Some(ceph) = ceph() else { return };
    let setting = Setting::without_repository(ceph);
    let location = setting.bucket.to_string();
    // A custodian's repository is made by outlast, and is another than that which is made by hand.
    let custodian = ceph.fresh().to_string();
    let keys = "aws_access_key_id=owner-key\naws_secret_access_key=owner-secret\n";
    let profiles = format!("[renewer]\n{keys}[reader]\n{keys}");
    setting.world.write(".aws/credentials", profiles);
    let on_the_page = |word: &str, is_custodian: bool| match word {
        _ if word.starts_with("s3:https://") && is_custodian => custodian.clone(),
        _ if word.starts_with("s3:https://") => location.clone(),
        "/srv" => "data".to_owned(),
        _ => word.to_owned(),
    };
    let mut advised = String::new();
    let (mut ran, mut followed) = (Vec::new(), 0);
    for command in commands_of(include_str!("../../../docs/buckets.md")) {
        let is_custodian = command.contains("custodian");
        let mut words = command
            .split(' ')
            .map(|word| on_the_page(word, is_custodian));
        if words.next().as_deref() == Some("outlast") {
            let arguments: Vec<String> = words.collect();
            let output = setting.command(OUTLAST).args(&arguments).output().unwrap();
            // The keys here are the owner's, which is what prove has to say.
            let expected = if arguments == ["prove"] { 20 } else { 0 };
            let code = output.status.code();
            assert_eq!(code, Some(expected), "{arguments:?}: {}", texts(&output));
            ran.push(arguments.join(" ").replace(&location, ""));
            continue;
        }
        if advised.is_empty() {
            let check = ["bucket", "check", &location, "--retention-days", "90"];
            let output = setting.command(OUTLAST).args(check).output().unwrap();
            advised = texts(&output)
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" ");
        }
        if let Some(setting_of_lock) =
            command.strip_prefix("aws s3api put-object-lock-configuration ")
        {
            // The same as the program advises, which is done here without Amazon's program.
            let wanted = setting_of_lock.replace("my-backups", &setting.bucket.bucket);
            assert!(advised.contains(&wanted), "{wanted}: {advised}");
            ceph.set(
                &setting.bucket,
                "object-lock",
                &RETAINS.replace(">2<", ">90<"),
            );
            followed += 1;
        }
    }
    for verb in [
        "custodian add",
        "protect",
        "bucket renew cloud",
        "prove",
        "init",
        "backup",
        "bucket renew",
        "bucket check",
        "bucket policy",
        "bucket probe",
    ] {
        assert!(ran.iter().any(|ran| ran.contains(verb)), "{verb}: {ran:?}");
    }
    assert_eq!(followed, 1);
}
