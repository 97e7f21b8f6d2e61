//! The recovery kit with copies of every kind: on a machine that has nothing else, whichever copy is left
//! is enough.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

mod support;

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

use support::kit::{assert_restored, commands, filled, follow, lines, make, read_made, succeeds};
use support::vault::{TestVault, vault_program};
use support::{World, texts, tools};

#[test]
fn any_one_copy_is_enough_on_a_clean_machine() {
    let Some(program) = vault_program() else {
        return;
    };
    let world = World::new();
    let vault = |name: &str| TestVault::new(&program, world.join(name), name);
    let mut first = vault("first.example");
    let mut second = vault("second.example");
    for number in 0..10_u32 {
        let bytes = number.to_le_bytes().repeat(20_000);
        world.write(&format!("documents/file{number}"), bytes);
    }
    for vault in [&first, &second] {
        succeeds(&world, &["custodian", "add", &vault.invite(&["web1"])]);
    }
    let disk = world.join("disk");
    let disk_text = format!("disk:{}", disk.display());
    succeeds(&world, &["custodian", "add", &disk_text, "--name", "usb"]);
    let said = succeeds(&world, &["protect", "documents"]);
    let receipt = said.lines().find(|line| line.contains("receipt: first"));
    let entry = receipt.unwrap().split("entry ").nth(1).unwrap();
    let entry: String = entry.chars().take_while(char::is_ascii_digit).collect();
    // A token to read is for the paper alone.
    world.write(
        "first.invite",
        first.invite(&["web1", "--scope", "restore"]),
    );
    let made = succeeds(
        &world,
        &[
            "kit",
            "--json",
            "--into",
            "paper",
            "--invite",
            "first.invite",
        ],
    );
    assert!(
        made.contains("outlast-vault invite web1 --scope restore"),
        "{made}"
    );
    let listed = succeeds(&world, &["custodian", "list"]);
    assert!(!listed.contains("restore"), "{listed}");
    let text = read_made(&world, &made).pop().unwrap();

    let clean = World::new();
    clean.write("kit.txt", lines(&text).join("\n"));
    // The second vault has to be asked for a token.
    let said = clean.ends_with(&["kit", "--check", "kit.txt"], 1);
    assert!(
        said.contains("second.example: NO: the kit has no token"),
        "{said}"
    );
    assert!(said.contains("2 of 3 copies open"), "{said}");
    clean.write(
        "second.invite",
        second.invite(&["web1", "--scope", "restore"]),
    );
    let with_token = ["--invite", "second.invite"];
    succeeds(
        &clean,
        &[&["kit", "--check", "kit.txt"][..], &with_token].concat(),
    );
    // To the letter, with restic.
    for restic in [tools::restic_014(), tools::restic_019()]
        .into_iter()
        .flatten()
    {
        let stranger = World::new();
        follow(&stranger, &restic, &commands(&text));
        for copy in ["restored-C1", "restored-C3"] {
            assert_restored(&world, &stranger.join(copy));
        }
    }
    // As it was before anything was there, and now.
    let kit = ["recover", "--kit", "kit.txt", "--as-of", "2020-01-01"];
    clean.ends_with(&kit, 1);
    let kit = ["recover", "--kit", "kit.txt", "--as-of", &entry];
    let said = succeeds(&clean, &kit);
    assert!(said.contains("only vaults show the past"), "{said}");
    assert!(said.contains("at first.example"), "{said}");

    // Two fall, in each way: whichever is left is enough.
    second.stop();
    fs::rename(&disk, world.join("away")).unwrap();
    let recover = |name: &str| {
        let target = clean.join(name);
        let target = target.to_str().unwrap();
        succeeds(
            &clean,
            &["recover", "--kit", "kit.txt", "latest", "--target", target],
        )
    };
    let said = recover("from-first");
    assert!(
        said.contains("vault:first.example-restore is set up here"),
        "{said}"
    );
    assert_restored(&world, &clean.join("from-first"));
    let other = ["-r", "vault:first.example-restore"];
    succeeds(
        &clean,
        &["recover", "--kit", "kit.txt", "--password-to", "pw"],
    );
    succeeds(
        &clean,
        &[&other[..], &["-p", "pw", "check", "--read-data"]].concat(),
    );
    succeeds(&clean, &[&other[..], &["export", "plain"]].concat());
    succeeds(&clean, &["-r", "plain", "-p", "pw", "check", "--read-data"]);

    first.stop();
    fs::rename(world.join("away"), &disk).unwrap();
    recover("from-disk");
    assert_restored(&world, &clean.join("from-disk"));
    fs::rename(&disk, world.join("away")).unwrap();
    let said = clean.ends_with(&["recover", "--kit", "kit.txt"], 1);
    assert!(said.contains("no copy opens"), "{said}");
}

#[test]
fn a_copy_full_of_garbage_costs_nothing_but_a_line() {
    let world = filled();
    let text = make(&world, &[]).pop().unwrap();
    world.write("kit.txt", lines(&text).join("\n"));
    world.outlast(&["export", "sound"]);
    // Packs that are not what their names say, at the copy on the kit.
    let data = world.join("repository/data");
    for folder in fs::read_dir(data).unwrap() {
        for file in fs::read_dir(folder.unwrap().path()).unwrap() {
            let path = file.unwrap().path();
            let length = fs::metadata(&path).unwrap().len();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            fs::write(&path, vec![7; usize::try_from(length).unwrap()]).unwrap();
        }
    }
    let said = succeeds(
        &world,
        &[
            "recover",
            "--kit",
            "kit.txt",
            "--copy",
            "sound",
            "latest",
            "--target",
            "out",
            "--no-cache",
        ],
    );
    assert!(said.contains("from sound"), "{said}");
    assert_restored(&world, &world.join("out"));
    // Beside one that takes connections and says nothing, ever.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("rest:http://{}/", silent.local_addr().unwrap());
    let hanging = ["--copy", &address, "--stuck-request-timeout", "1s"];
    // Keys and config that are garbage too.
    fs::remove_dir_all(world.join("repository/keys")).unwrap();
    for name in [
        "config",
        "keys/0000000000000000000000000000000000000000000000000000000000000000",
    ] {
        let _ = fs::remove_file(world.join("repository").join(name));
        world.write(&format!("repository/{name}"), [7; 200]);
    }
    let mut arguments = vec!["recover", "--kit", "kit.txt", "--copy", "sound"];
    arguments.extend(["latest", "--target", "again"]);
    arguments.extend(hanging);
    let said = succeeds(&world, &arguments);
    assert!(said.contains("C1 repository: NO"), "{said}");
    assert!(said.contains("could not be reached"), "{said}");
    assert_restored(&world, &world.join("again"));
}

/// A program that answers as the provider's does, from a folder with a file for each version.
const FAKE_AWS: &str = r#"#!/bin/sh
set -eu
[ "$1" = s3api ] || exit 9
case $2 in
list-object-versions) cat "$VERSIONS/list" ;;
get-object)
    while [ "$#" -gt 1 ]; do
        [ "$1" = --version-id ] && version=$2
        shift
    done
    cp "$VERSIONS/$version" "$1" ;;
esac
"#;

#[test]
fn the_script_for_buckets_takes_the_true_versions() {
    let world = filled();
    let script = include_str!("../../../docs/recovery-kit.md");
    let script = script.split("```sh\n").nth(1).unwrap();
    world.write("bucket.sh", script.split("```").next().unwrap());
    // Every object is there once as it was, and then planted over; packs lie flat, as in buckets.
    let mut list = String::new();
    let mut version = 0;
    let repository = world.join("repository");
    let mut folders = vec![repository.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path
                .strip_prefix(&repository)
                .unwrap()
                .display()
                .to_string();
            let parts: Vec<&str> = name.split('/').collect();
            let name = match parts.as_slice() {
                ["data", _, hash] => format!("data/{hash}"),
                _ => name.clone(),
            };
            let bytes = fs::read(&path).unwrap();
            for (day, content) in [("2026-01-01", &bytes[..]), ("2026-02-02", b"planted")] {
                version += 1;
                world.write(&format!("versions/v{version}"), content);
                list.push_str(&format!("{day}T00:00:00Z\tweb1/{name}\tv{version}\n"));
            }
        }
    }
    world.write("versions/list", list);
    world.write("bin/aws", FAKE_AWS);
    let program = world.join("bin/aws");
    fs::set_permissions(program, fs::Permissions::from_mode(0o755)).unwrap();
    let path = std::env::var("PATH").unwrap_or_default();
    // The second run finds everything in place.
    for _ in 0..2 {
        let output = world
            .bare_command("sh")
            .args(["bucket.sh", "backups", "web1/", "plain"])
            .env("PATH", format!("{}:{path}", world.join("bin").display()))
            .env("VERSIONS", world.join("versions"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", texts(&output));
    }
    world.outlast(&["-r", "plain", "check", "--read-data"]);
    for restic in [tools::restic_014(), tools::restic_019()]
        .into_iter()
        .flatten()
    {
        world.succeeding(
            &restic,
            &["-r", "plain", "--no-cache", "check", "--read-data"],
        );
    }
}
