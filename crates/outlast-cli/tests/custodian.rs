//! Backups at a custodian, with the real vault: invite, backup, receipt, restore, and what happens
//! when the vault is not what it was.

#![allow(
    clippy::unwrap_used,
    clippy::zombie_processes,
    clippy::print_stderr,
    reason = "a test that cannot be set up has failed"
)]

mod support;

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use support::{OUTLAST, World, json_lines};

/// The vault's program, which is built beside this one.
fn vault_program() -> Option<PathBuf> {
    let path = Path::new(OUTLAST).with_file_name("outlast-vault");
    if path.exists() {
        return Some(path);
    }
    let missing = "outlast-vault is not built; `cargo build -p outlast-vault` does that";
    assert!(
        std::env::var_os("OUTLAST_TEST_REQUIRE_TOOLS").is_none(),
        "{missing}"
    );
    eprintln!("SKIPPED: {missing}");
    None
}

/// A vault of its own, and a machine that is backed up.
struct Setting {
    world: World,
    program: PathBuf,
    port: u16,
}

struct Serving(Child);

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

fn texts(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}

impl Setting {
    fn new() -> Option<Self> {
        let setting = Self {
            world: World::new(),
            program: vault_program()?,
            port: free_port(),
        };
        setting.make_vault("vault");
        for number in 0..20_u32 {
            let bytes = number.to_le_bytes().repeat(20_000);
            setting
                .world
                .write(&format!("documents/file{number}"), bytes);
        }
        Some(setting)
    }

    fn make_vault(&self, folder: &str) {
        let address = format!("127.0.0.1:{}", self.port);
        let made = self
            .vault_command(folder)
            .args(["init", "--name", "vault.example", "--no-immutable"])
            .args(["--address", &address, "--listen", &address])
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", texts(&made));
    }

    fn vault_command(&self, folder: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--vault").arg(self.world.join(folder));
        command
    }

    fn serve(&self, folder: &str) -> Serving {
        let mut command = self.vault_command(folder);
        let mut child = command.arg("serve").stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let is_ready = |line: std::io::Result<String>| line.unwrap().contains(" ready ");
        assert!(lines.any(is_ready), "the vault ended");
        // The rest must not fill the pipe.
        std::thread::spawn(move || lines.for_each(drop));
        Serving(child)
    }

    fn invite(&self, folder: &str, arguments: &[&str]) -> String {
        let mut command = self.vault_command(folder);
        let output = command.arg("invite").args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", texts(&output));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Runs outlast as a user with nothing in the environment.
    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = self.world.bare_command(OUTLAST);
        command.args(arguments).output().unwrap()
    }

    fn succeeds(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", texts(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    fn refused(&self, arguments: &[&str], code: i32) -> String {
        let output = self.run(arguments);
        let said = texts(&output);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        said
    }

    fn password_file(&self) -> String {
        let file = self.world.join(".config/outlast/repository.key");
        file.display().to_string()
    }
}

#[test]
fn an_invite_is_all_that_a_client_needs() {
    let Some(setting) = Setting::new() else {
        return;
    };
    let serving = setting.serve("vault");
    let invite = setting.invite("vault", &["web1"]);
    let said = setting.succeeds(&["custodian", "add", &invite]);
    assert!(
        said.contains("added vault.example: repository web1"),
        "{said}"
    );
    let said = setting.succeeds(&["protect", "documents"]);
    assert!(
        said.contains("receipt: vault.example holds snapshot"),
        "{said}"
    );
    assert!(said.contains("held by vault.example until 20"), "{said}");
    assert!(said.contains("NOT SAFE YET"), "{said}");
    let said = setting.succeeds(&["status"]);
    assert!(said.contains("held by vault.example until 20"), "{said}");

    // The same for programs.
    setting.world.write("documents/new", "new");
    let lines = json_lines(&setting.succeeds(&["protect", "--json"]));
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
    let reading = setting.invite("vault", &["web1", "--scope", "restore"]);
    setting.succeeds(&["custodian", "add", &reading]);
    let from = "vault:vault.example-restore";
    setting.succeeds(&[
        "-r", from, "-p", &key, "restore", "latest", "--target", "out",
    ]);
    let restored = setting
        .world
        .join("out")
        .join(setting.world.join("documents").strip_prefix("/").unwrap());
    assert_eq!(fs::read(restored.join("new")).unwrap(), b"new");
    setting.succeeds(&["-r", from, "-p", &key, "check", "--read-data"]);
    // As it was: before the first backup there is nothing, later there are both snapshots.
    let long_ago = setting.refused(
        &["-r", from, "--as-of", "2020-01-01", "-p", &key, "snapshots"],
        10,
    );
    assert!(long_ago.contains("no repository"), "{long_ago}");
    let position = receipt["entry"].to_string();
    let said = setting.succeeds(&[
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
    drop(serving);
    let said = setting.succeeds(&["receipts"]);
    assert_eq!(
        said.lines()
            .filter(|line| line.starts_with("valid"))
            .count(),
        2,
        "{said}"
    );
    let file = receipt["file"].as_str().unwrap();
    let said = setting.succeeds(&["receipts", "verify", file]);
    assert!(said.contains("unwitnessed"), "{said}");
    let text = fs::read_to_string(file).unwrap();
    let forged = setting.world.join("forged.receipt");
    fs::write(&forged, text.replacen('A', "B", 1)).unwrap();
    let said = setting.refused(&["receipts", "verify", forged.to_str().unwrap()], 1);
    assert!(said.contains("INVALID"), "{said}");
    // Somebody else's key proves nothing.
    let other = "vault.example+b854fee1+AddamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea";
    let said = setting.refused(&["receipts", "verify", "--identity", other, file], 1);
    assert!(said.contains("INVALID"), "{said}");
}

#[test]
fn nothing_that_goes_wrong_with_an_invite_adds_anything() {
    let Some(setting) = Setting::new() else {
        return;
    };
    let invite = {
        let _serving = setting.serve("vault");
        setting.invite("vault", &["web1"])
    };
    let said = setting.refused(&["custodian", "add", &invite], 1);
    assert!(said.contains("--no-check"), "{said}");
    let said = setting.refused(&["custodian", "add", &invite[..invite.len() - 5]], 1);
    assert!(said.contains("not whole"), "{said}");
    let said = setting.refused(&["custodian", "add", "hello"], 1);
    assert!(said.contains("no invite"), "{said}");
    assert!(
        setting
            .succeeds(&["custodian", "list"])
            .contains("no custodian yet")
    );

    setting.succeeds(&["custodian", "add", "--no-check", "--name", "far", &invite]);
    let said = setting.succeeds(&["custodian", "list"]);
    assert!(said.contains("vault:far  repository web1"), "{said}");
    let file = setting.world.join(".config/outlast/custodians/far.invite");
    use std::os::unix::fs::PermissionsExt;
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // What others can read is no secret any more.
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let said = setting.refused(&["custodian", "list"], 1);
    assert!(said.contains("chmod 600"), "{said}");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let said = setting.refused(&["-r", "vault:near", "snapshots"], 1);
    assert!(said.contains("custodian list"), "{said}");
    let said = setting.refused(&["-r", "vault:../x", "snapshots"], 1);
    assert!(said.contains("no name"), "{said}");
    let said = setting.refused(&["-r", "vault:far", "--as-of", "yesterday", "snapshots"], 1);
    assert!(said.contains("no moment"), "{said}");
    let said = setting.refused(&["-r", "folder", "--as-of", "2026-01-01", "snapshots"], 1);
    assert!(said.contains("vault:NAME"), "{said}");
    setting.succeeds(&["custodian", "remove", "far"]);
    setting.refused(&["custodian", "remove", "far"], 1);
}

#[test]
fn an_impostor_at_the_vaults_address_gets_nothing() {
    let Some(setting) = Setting::new() else {
        return;
    };
    let serving = setting.serve("vault");
    let invite = setting.invite("vault", &["web1"]);
    setting.succeeds(&["custodian", "add", &invite]);
    drop(serving);
    setting.make_vault("impostor");
    let _impostor = setting.serve("impostor");
    let said = setting.refused(&["protect", "documents"], 1);
    assert!(said.contains("not the one that was pinned"), "{said}");
    // Not even the token was shown to it.
    let log = setting
        .vault_command("impostor")
        .args(["log", "show"])
        .output();
    assert!(!texts(&log.unwrap()).contains("refused"));
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status();
    assert!(copied.unwrap().success());
}

#[test]
fn a_vault_that_forgot_something_is_caught() {
    let Some(setting) = Setting::new() else {
        return;
    };
    let serving = setting.serve("vault");
    let invite = setting.invite("vault", &["web1"]);
    setting.succeeds(&["custodian", "add", &invite]);
    setting.succeeds(&["protect", "documents"]);
    drop(serving);
    copy(&setting.world.join("vault"), &setting.world.join("older"));
    let serving = setting.serve("vault");
    setting.world.write("documents/second", "second");
    setting.succeeds(&["protect"]);
    drop(serving);

    // Somebody puts the vault's disk back to what it was.
    let _serving = setting.serve("older");
    setting.world.write("documents/third", "third");
    let said = setting.refused(&["protect"], 23);
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
