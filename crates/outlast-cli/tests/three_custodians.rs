//! A vault, a bucket and a disk, protected by one command: any one of them alone brings everything back.

#![allow(
    clippy::unwrap_used,
    clippy::zombie_processes,
    clippy::print_stderr,
    dead_code,
    reason = "a test that cannot be set up has failed"
)]

#[path = "../../outlast-store/tests/support/ceph.rs"]
mod ceph;
#[path = "support/link.rs"]
mod link;
mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use ceph::{Ceph, ceph};
use link::Link;
use outlast_store::S3Location;
use support::kit::{assert_restored, commands, follow, lines, read_made, succeeds};
use support::vault::{TestVault, vault_program};
use support::{World, json_lines, texts, tools};

/// A machine, and three who keep its backups.
struct Three {
    world: World,
    vault: TestVault,
    ceph: &'static Ceph,
    link: Link,
    bucket: S3Location,
}

/// Keys of the bucket's owner, for adding and for reading.
fn credentials() -> String {
    let keys = "aws_access_key_id=owner-key\naws_secret_access_key=owner-secret\n";
    format!("[default]\n{keys}[reader]\n{keys}[renewer]\n{keys}")
}

impl Three {
    fn new() -> Option<Self> {
        let program = vault_program()?;
        let ceph = ceph()?;
        let world = World::new();
        for number in 0..10_u32 {
            let bytes = number.to_le_bytes().repeat(20_000);
            world.write(&format!("documents/file{number}"), bytes);
        }
        world.write(".aws/credentials", credentials());
        let vault = TestVault::new(&program, world.join("vault"), "vault.example");
        let bucket = ceph.fresh();
        let link = Link::to(bucket.endpoint.port().unwrap());
        Some(Self {
            link,
            world,
            vault,
            ceph,
            bucket,
        })
    }

    fn add_all(&self) {
        let world = &self.world;
        let invite = self.vault.run(&["invite", "web1"]);
        succeeds(world, &["custodian", "add", &invite, "--name", "vault"]);
        let bucket = self.location();
        let named = ["custodian", "add", &bucket, "--name", "cloud"];
        let keys = [
            "--read-profile",
            "reader",
            "--keep-keys",
            "--retention-days",
            "30",
        ];
        succeeds(world, &[&named[..], &keys].concat());
        let disk = format!("disk:{}", world.join("usb").display());
        succeeds(world, &["custodian", "add", &disk]);
    }

    fn location(&self) -> String {
        let (bucket, prefix) = (&self.bucket.bucket, &self.bucket.prefix);
        format!("s3:http://127.0.0.1:{}/{bucket}/{prefix}", self.link.port)
    }
}

/// Restores the newest snapshot of a location on a machine, and compares.
fn restores(world: &World, clean: &World, location: &str, target: &str) {
    let start = ["-r", location, "--password-file", "password"];
    succeeds(
        clean,
        &[&start[..], &["restore", "latest", "--target", target]].concat(),
    );
    assert_restored(world, &clean.join(target));
    succeeds(
        clean,
        &[&start[..], &["--no-lock", "check", "--read-data"]].concat(),
    );
}

/// Restores with stock restic.
fn restic_restores(world: &World, clean: &World, repository: &str) {
    for (number, restic) in [tools::restic_014(), tools::restic_019()]
        .into_iter()
        .flatten()
        .enumerate()
    {
        let target = format!("by-restic{number}");
        let output = clean
            .bare_command(&restic)
            .args([
                "-r",
                repository,
                "-p",
                "password",
                "--no-cache",
                "--no-lock",
            ])
            .args(["restore", "latest", "--target", &target])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", texts(&output));
        assert_restored(world, &clean.join(&target));
    }
}

fn set_writable(path: &Path, is_writable: bool) {
    for entry in fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            set_writable(&path, is_writable);
        }
    }
    let mode = if is_writable { 0o755 } else { 0o555 };
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn one_command_protects_and_any_one_alone_restores() {
    let Some(mut three) = Three::new() else {
        return;
    };
    three.add_all();
    let world = &three.world;
    let said = succeeds(world, &["protect", "documents"]);
    assert!(
        said.contains("SAFE: cloud, usb, vault") && !said.contains("NOT SAFE"),
        "{said}"
    );
    assert!(
        said.contains("evidence: cloud keeps all") && said.contains("retained until"),
        "{said}"
    );
    let status = json_lines(&succeeds(world, &["--json", "status"]))
        .pop()
        .unwrap();
    assert_eq!(status["safe"], true, "{status:#}");
    let rows = status["sets"][0]["custodians"].as_array().unwrap();
    let cloud = rows.iter().find(|row| row["custodian"] == "cloud").unwrap();
    let day = 86_400;
    let held = cloud["held_until"].as_u64().unwrap() - cloud["shown"].as_u64().unwrap();
    assert!((29 * day..=30 * day + 60).contains(&held), "{cloud:#}");
    // Whatever is written twice is sent once.
    succeeds(world, &["protect"]);

    // The kit is made while all three are there, with tokens that are for the paper alone.
    world.write(
        "reader.invite",
        three.vault.run(&["invite", "web1", "--scope", "restore"]),
    );
    let kit = [
        "kit",
        "--json",
        "--into",
        "paper",
        "--invite",
        "reader.invite",
    ];
    let paper = read_made(world, &succeeds(world, &kit)).pop().unwrap();
    assert!(paper.contains("owner-key"), "{paper}");
    let clean = || {
        let clean = World::new();
        clean.write("kit.txt", lines(&paper).join("\n"));
        clean.write(
            "reader.invite",
            fs::read(world.join("reader.invite")).unwrap(),
        );
        clean.write(".aws/credentials", credentials());
        let password = fs::read(world.join(".config/outlast/repository.key")).unwrap();
        clean.write("password", password);
        clean
    };
    let recover = |clean: &World, target: &str, copy: &str| {
        let said = succeeds(
            clean,
            &["recover", "--kit", "kit.txt", "latest", "--target", target],
        );
        assert!(said.contains(copy), "{said}");
        assert_restored(world, &clean.join(target));
    };

    // The vault alone.
    let (usb, drawer) = (world.join("usb"), world.join("drawer"));
    fs::rename(&usb, &drawer).unwrap();
    three.link.cut();
    let machine = clean();
    recover(&machine, "by-kit", "vault.example");
    let invite = fs::read_to_string(machine.join("reader.invite")).unwrap();
    let token = ["custodian", "add", invite.trim(), "--name", "v"];
    succeeds(&machine, &token);
    restores(world, &machine, "vault:v", "by-outlast");
    for restic in [tools::restic_014(), tools::restic_019()]
        .into_iter()
        .flatten()
    {
        // What the paper says of this copy, to the letter.
        let stranger = World::new();
        let mut words = commands(&paper);
        words.retain(|line| {
            line.contains("C3") || line.contains("password") && !line.contains("restic")
        });
        follow(&stranger, &restic, &words);
        assert_restored(world, &stranger.join("restored-C3"));
    }

    // The bucket alone; the two others are destroyed.
    three.vault.stop();
    fs::rename(&three.vault.folder, world.join("vault-burnt")).unwrap();
    three.link.mend();
    let machine = clean();
    recover(&machine, "by-kit", "cloud");
    let location = three.location();
    restores(world, &machine, &location, "by-outlast");
    succeeds(&machine, &["-r", &location, "export", "plain"]);
    restic_restores(world, &machine, "plain");
    let named = ["custodian", "add", &location, "--name", "cloud"];
    let keys = ["--read-profile", "reader", "--no-check"];
    succeeds(&machine, &[&named[..], &keys].concat());
    restores(world, &machine, "bucket:cloud-restore", "by-reader");

    // The disk alone, which cannot be written to.
    three.link.cut();
    fs::rename(&drawer, &usb).unwrap();
    set_writable(&usb, false);
    let machine = clean();
    recover(&machine, "by-kit", "usb");
    let disk = usb.to_str().unwrap();
    let start = ["--no-lock", "-r", disk, "--password-file", "password"];
    let restore = ["restore", "latest", "--target", "by-outlast"];
    succeeds(&machine, &[&start[..], &restore].concat());
    assert_restored(world, &machine.join("by-outlast"));
    restic_restores(world, &machine, disk);
    set_writable(&usb, true);
}
