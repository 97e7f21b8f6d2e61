//! Backups at a custodian, with the real vault: invite, backup, receipt, restore, and what happens
//! when the vault is not what it was.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

mod support;

use std::fs;

use support::vault::{TestVault, vault_program};
use support::{World, json_lines, texts};

/// A vault of its own, and a machine that is backed up.
struct Setting {
    world: World,
    vault: TestVault,
}

impl Setting {
    fn new() -> Option<Self> {
        let program = vault_program()?;
        let world = World::new();
        for number in 0..20_u32 {
            let bytes = number.to_le_bytes().repeat(20_000);
            world.write(&format!("documents/file{number}"), bytes);
        }
        let vault = TestVault::new(&program, world.join("vault"), "vault.example");
        Some(Self { world, vault })
    }

    fn password_file(&self) -> String {
        let file = self.world.join(".config/outlast/repository.key");
        file.display().to_string()
    }
}

#[test]
fn an_invite_is_all_that_a_client_needs() {
    let Some(mut setting) = Setting::new() else {
        return;
    };
    let invite = setting.vault.invite(&["web1"]);
    let said = setting.world.succeeds(&["custodian", "add", &invite]);
    assert!(
        said.contains("added vault.example: repository web1"),
        "{said}"
    );
    let said = setting.world.succeeds(&["protect", "documents"]);
    assert!(
        said.contains("receipt: vault.example holds snapshot"),
        "{said}"
    );
    assert!(said.contains("held by vault.example until 20"), "{said}");
    assert!(said.contains("NOT SAFE YET"), "{said}");
    let said = setting.world.succeeds(&["status"]);
    assert!(said.contains("held by vault.example until 20"), "{said}");

    // The same for programs.
    setting.world.write("documents/new", "new");
    let lines = json_lines(&setting.world.succeeds(&["protect", "--json"]));
    let receipt = lines.iter().find(|line| line["message_type"] == "receipt");
    let receipt = receipt.unwrap();
    assert_eq!(
        (&receipt["valid"], &receipt["exact"]),
        (&true.into(), &true.into())
    );
    let verdict = lines.last().unwrap();
    assert_eq!(verdict["verdict"], "one_custodian");
    assert_eq!(verdict["custodian"], "vault.example");
    assert_eq!(verdict["held_until"], receipt["held_until"]);

    // Reading needs a token of its own, which the backed up machine need not have.
    let key = setting.password_file();
    let reading = setting.vault.invite(&["web1", "--scope", "restore"]);
    setting.world.succeeds(&["custodian", "add", &reading]);
    let from = "vault:vault.example-restore";
    setting.world.succeeds(&[
        "-r", from, "-p", &key, "restore", "latest", "--target", "out",
    ]);
    let restored = setting
        .world
        .join("out")
        .join(setting.world.join("documents").strip_prefix("/").unwrap());
    assert_eq!(fs::read(restored.join("new")).unwrap(), b"new");
    setting
        .world
        .succeeds(&["-r", from, "-p", &key, "check", "--read-data"]);
    // As it was: before the first backup there is nothing, later there are both snapshots.
    let long_ago = setting.world.ends_with(
        &["-r", from, "--as-of", "2020-01-01", "-p", &key, "snapshots"],
        10,
    );
    assert!(long_ago.contains("no repository"), "{long_ago}");
    let position = receipt["entry"].to_string();
    let said = setting.world.succeeds(&[
        "-r",
        from,
        "--as-of",
        &position,
        "-p",
        &key,
        "snapshots",
        "--json",
    ]);
    assert_eq!(json_lines(&said)[0].as_array().unwrap().len(), 2);

    // Receipts need no vault any more.
    setting.vault.stop();
    let said = setting.world.succeeds(&["receipts"]);
    assert_eq!(
        said.lines()
            .filter(|line| line.starts_with("valid"))
            .count(),
        2,
        "{said}"
    );
    let file = receipt["file"].as_str().unwrap();
    let said = setting.world.succeeds(&["receipts", "verify", file]);
    assert!(said.contains("unwitnessed"), "{said}");
    let text = fs::read_to_string(file).unwrap();
    let forged = setting.world.join("forged.receipt");
    fs::write(&forged, text.replacen('A', "B", 1)).unwrap();
    let said = setting
        .world
        .ends_with(&["receipts", "verify", forged.to_str().unwrap()], 1);
    assert!(said.contains("INVALID"), "{said}");
    // Somebody else's key proves nothing.
    let other = "vault.example+b854fee1+AddamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea";
    let said = setting
        .world
        .ends_with(&["receipts", "verify", "--identity", other, file], 1);
    assert!(said.contains("INVALID"), "{said}");
}

#[test]
fn nothing_that_goes_wrong_with_an_invite_adds_anything() {
    let Some(mut setting) = Setting::new() else {
        return;
    };
    let invite = {
        let invite = setting.vault.invite(&["web1"]);
        setting.vault.stop();
        invite
    };
    let said = setting.world.ends_with(&["custodian", "add", &invite], 1);
    assert!(said.contains("--no-check"), "{said}");
    let said = setting
        .world
        .ends_with(&["custodian", "add", &invite[..invite.len() - 5]], 1);
    assert!(said.contains("not whole"), "{said}");
    let said = setting.world.ends_with(&["custodian", "add", "hello"], 1);
    assert!(said.contains("no invite"), "{said}");
    assert!(
        setting
            .world
            .succeeds(&["custodian", "list"])
            .contains("no custodian yet")
    );

    setting
        .world
        .succeeds(&["custodian", "add", "--no-check", "--name", "far", &invite]);
    let said = setting.world.succeeds(&["custodian", "list"]);
    assert!(said.contains("vault:far  repository web1"), "{said}");
    let file = setting.world.join(".config/outlast/custodians/far.invite");
    use std::os::unix::fs::PermissionsExt;
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // What others can read is no secret any more.
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let said = setting.world.ends_with(&["custodian", "list"], 1);
    assert!(said.contains("chmod 600"), "{said}");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let said = setting
        .world
        .ends_with(&["-r", "vault:near", "snapshots"], 1);
    assert!(said.contains("custodian list"), "{said}");
    let said = setting
        .world
        .ends_with(&["-r", "vault:../x", "snapshots"], 1);
    assert!(said.contains("no name"), "{said}");
    let said = setting
        .world
        .ends_with(&["-r", "vault:far", "--as-of", "yesterday", "snapshots"], 1);
    assert!(said.contains("no moment"), "{said}");
    let said = setting
        .world
        .ends_with(&["-r", "folder", "--as-of", "2026-01-01", "snapshots"], 1);
    assert!(said.contains("vault:NAME"), "{said}");
    setting.world.succeeds(&["custodian", "remove", "far"]);
    setting.world.ends_with(&["custodian", "remove", "far"], 1);
}

#[test]
fn an_impostor_at_the_vaults_address_gets_nothing() {
    let Some(mut setting) = Setting::new() else {
        return;
    };
    let invite = setting.vault.invite(&["web1"]);
    setting.world.succeeds(&["custodian", "add", &invite]);
    setting.vault.stop();
    let folder = setting.world.join("impostor");
    let mut impostor = setting.vault.impostor(folder, "vault.example");
    impostor.serve();
    let said = setting.world.ends_with(&["protect", "documents"], 1);
    assert!(said.contains("not the one that was pinned"), "{said}");
    // Not even the token was shown to it.
    let log = impostor.command().args(["log", "show"]).output();
    assert!(!texts(&log.unwrap()).contains("refused"));
}

#[test]
fn a_vault_that_forgot_something_is_caught() {
    let Some(mut setting) = Setting::new() else {
        return;
    };
    let invite = setting.vault.invite(&["web1"]);
    setting.world.succeeds(&["custodian", "add", &invite]);
    setting.world.succeeds(&["protect", "documents"]);
    setting.vault.stop();
    let mut older = setting.vault.copied_to(setting.world.join("older"));
    setting.vault.serve();
    setting.world.write("documents/second", "second");
    setting.world.succeeds(&["protect"]);
    setting.vault.stop();

    // Somebody puts the vault's disk back to what it was.
    older.serve();
    setting.world.write("documents/third", "third");
    let said = setting.world.ends_with(&["protect"], 23);
    assert!(
        said.contains("the vault's log is not what it was"),
        "{said}"
    );
    assert!(said.contains("NOT SAFE"), "{said}");
    let memory = setting
        .world
        .join(".local/share/outlast/receipts/vault.example");
    let is_evidence = |entry: std::io::Result<fs::DirEntry>| {
        entry
            .unwrap()
            .file_name()
            .to_string_lossy()
            .starts_with("forked-")
    };
    assert!(fs::read_dir(memory).unwrap().any(is_evidence));
}
