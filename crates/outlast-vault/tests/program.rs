//! The `outlast-vault` program as its operator meets it.

#![allow(clippy::unwrap_used, clippy::zombie_processes)]

#[allow(dead_code, reason = "each test program uses a part")]
#[path = "../../outlast-repo/tests/support/tools.rs"]
mod tools;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

/// A vault in a folder of its own.
struct Operated {
    folder: tempfile::TempDir,
}

/// A vault that is being served; killed in the end if it was not stopped.
struct Serving {
    child: Child,
    lines: BufReader<std::process::ChildStderr>,
    port: u16,
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_outlast-vault"));
    command
        .env_remove("OUTLAST_VAULT")
        .env_remove("NOTIFY_SOCKET");
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

impl Operated {
    fn new() -> Self {
        let operated = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        let made = operated.run(&[
            "init",
            "--name",
            "vault.example",
            "--address",
            "localhost:8484",
            "--listen",
            "127.0.0.1:0",
            "--no-immutable",
        ]);
        assert!(made.status.success(), "{}", text(&made.stderr));
        operated
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("vault")
    }

    fn command(&self) -> Command {
        let mut command = program();
        command.arg("--vault").arg(self.path());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command().args(arguments).output().unwrap()
    }

    /// Runs a command that must succeed, and reads its answer.
    fn json(&self, arguments: &[&str]) -> Value {
        let output = self.command().arg("--json").args(arguments).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Runs a command that must fail, and gives what it says.
    fn refused(&self, arguments: &[&str], code: i32) -> String {
        let output = self.run(arguments);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        said
    }

    fn change_configuration(&self, from: &str, to: &str) {
        let path = self.path().join("vault.toml");
        let before = fs::read_to_string(&path).unwrap();
        assert!(before.contains(from));
        fs::write(&path, before.replace(from, to)).unwrap();
    }

    fn serve(&self) -> Serving {
        let mut child = self
            .command()
            .arg("serve")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap());
        let mut port = 0;
        loop {
            let mut line = String::new();
            assert!(lines.read_line(&mut line).unwrap() > 0, "it ended");
            if let Some((_, rest)) = line.split_once("serving address=127.0.0.1:") {
                port = rest.split(' ').next().unwrap().parse().unwrap();
            }
            if line.contains(" ready ") {
                return Serving { child, lines, port };
            }
        }
    }
}

impl Serving {
    /// Sends SIGTERM; gives the exit code and the rest of the log.
    fn stop(mut self) -> (Option<i32>, String) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").arg(&pid).status().unwrap().success());
        let mut rest = String::new();
        self.lines.read_to_string(&mut rest).unwrap();
        (self.child.wait().unwrap().code(), rest)
    }
}

fn token(answer: &Value) -> (String, String) {
    let part = |name: &str| answer["token"][name].as_str().unwrap().to_owned();
    (part("token"), part("secret"))
}

/// Runs a stock client over TLS, with the vault's own certificate.
fn restic(
    restic: &Path,
    vault: &Operated,
    port: u16,
    arguments: &[&str],
    token: &(String, String),
) -> Output {
    let home = vault.folder.path().join("home");
    fs::create_dir_all(&home).unwrap();
    Command::new(restic)
        .arg("--cacert")
        .arg(vault.path().join("certificate.pem"))
        .args(arguments)
        .env(
            "RESTIC_REPOSITORY",
            format!(
                "rest:https://{}:{}@localhost:{port}/web1/",
                token.0, token.1
            ),
        )
        .env("RESTIC_PASSWORD", "secret")
        .env("HOME", &home)
        .env("RESTIC_CACHE_DIR", home.join("cache"))
        .output()
        .unwrap()
}

fn source(vault: &Operated) -> String {
    let source = vault.folder.path().join("source");
    fs::create_dir_all(&source).unwrap();
    for number in 0..10_u32 {
        let bytes = number.to_le_bytes().repeat(5000);
        fs::write(source.join(format!("file{number}")), bytes).unwrap();
    }
    source.display().to_string()
}

#[test]
fn init_serve_and_a_token_are_all_that_a_stock_client_needs() {
    let Some(client) = tools::restic_014() else {
        return;
    };
    let vault = Operated::new();
    let serving = vault.serve();
    // Added while it serves: the command reaches the process through its socket.
    vault.json(&["repo", "add", "web1", "--quota", "1G", "--hold-max", "1y"]);
    let backup = token(&vault.json(&["token", "add", "web1", "--label", "web server"]));
    for arguments in [&["init"][..], &["backup", &source(&vault)]] {
        let output = restic(&client, &vault, serving.port, arguments, &backup);
        assert!(output.status.success(), "{}", text(&output.stderr));
    }
    let all = vault.json(&["seals", "web1"]);
    let seal = &all["seals"][0];
    assert!(seal["seal"]["objects"].as_u64().unwrap() >= 4);
    let index = seal["index"].to_string();

    // A hold grows, and never shrinks.
    let until = seal["until"].as_u64().unwrap();
    let later = jiff::Timestamp::from_second(i64::try_from(until).unwrap() + 86_400).unwrap();
    vault.json(&["hold", "web1", &index, "--until", &later.to_string()]);
    let said = vault.refused(&["hold", "web1", &index, "--until", "2026-01-01"], 1);
    assert!(said.contains("never shortened"), "{said}");
    let said = vault.refused(&["hold", "web1", &index, "--until", "2126-01-01"], 1);
    assert!(said.contains("longer than the repository allows"), "{said}");
    let held = vault.json(&["seals", "web1"])["seals"][0]["until"].as_u64();
    assert_eq!(held, Some(until + 86_400));

    // A restart keeps all of it; the new process reads it back.
    let (code, log) = serving.stop();
    assert_eq!(code, Some(0), "{log}");
    let serving = vault.serve();
    let reader = token(&vault.json(&["token", "add", "web1", "--scope", "restore"]));
    let target = vault.folder.path().join("restored").display().to_string();
    let arguments = ["restore", "latest", "--target", &target];
    let output = restic(&client, &vault, serving.port, &arguments, &reader);
    assert!(output.status.success(), "{}", text(&output.stderr));

    // A revoked token is out at once.
    vault.json(&["token", "revoke", &backup.0]);
    let output = restic(&client, &vault, serving.port, &["snapshots"], &backup);
    assert!(!output.status.success());
    assert!(
        vault
            .refused(&["token", "revoke", "0000000000000000"], 1)
            .contains("no token")
    );
}

#[test]
fn a_killed_vault_is_as_it_was() {
    let vault = Operated::new();
    let serving = vault.serve();
    vault.json(&["repo", "add", "web1"]);
    let entries = vault.json(&["status"])["status"]["log_entries"].clone();
    drop(serving);
    // The index can go at any time.
    fs::remove_file(vault.path().join("index.redb")).unwrap();
    let all = vault.json(&["repo", "list"]);
    assert_eq!(all["repositories"][0]["repository"], "web1");
    let log = vault.json(&["log", "show", "--from", "0", "--count", "1000"]);
    let count = log["entries"].as_array().unwrap().len() as u64;
    assert!(count > entries.as_u64().unwrap());
    // Garbage in its place is replaced too.
    fs::write(vault.path().join("index.redb"), b"no database").unwrap();
    assert_eq!(vault.json(&["repo", "list"]), all);
}

#[test]
fn two_processes_never_have_one_vault_open() {
    let vault = Operated::new();
    let _serving = vault.serve();
    let said = vault.refused(&["serve"], 1);
    assert!(
        said.contains("another process has this vault open"),
        "{said}"
    );
}

#[test]
fn fsck_and_scrub_name_what_is_damaged() {
    let Some(client) = tools::restic_014() else {
        return;
    };
    let vault = Operated::new();
    let serving = vault.serve();
    vault.json(&["repo", "add", "web1"]);
    let backup = token(&vault.json(&["token", "add", "web1"]));
    for arguments in [&["init"][..], &["backup", &source(&vault)]] {
        let output = restic(&client, &vault, serving.port, arguments, &backup);
        assert!(output.status.success(), "{}", text(&output.stderr));
    }
    let clean = vault.json(&["scrub", "--no-limit"]);
    assert_eq!(clean["scrubbed"]["damaged"].as_array().unwrap().len(), 0);
    let said = vault.refused(&["fsck"], 1);
    assert!(said.contains("stop the vault first"), "{said}");

    let data = vault.path().join("store/repositories/web1/snapshots");
    let object = fs::read_dir(data).unwrap().next().unwrap().unwrap().path();
    let mut bytes = fs::read(&object).unwrap();
    bytes[20] ^= 1;
    fs::set_permissions(&object, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&object, bytes).unwrap();
    let name = object.file_name().unwrap().to_string_lossy().into_owned();
    let output = vault.run(&["scrub"]);
    assert_eq!(output.status.code(), Some(23));
    assert!(
        text(&output.stdout).contains(&name),
        "{}",
        text(&output.stdout)
    );
    assert_eq!(vault.json(&["status"])["status"]["damaged_objects"], 1);
    serving.stop();

    // Sizes alone show nothing; the bytes do.
    assert!(vault.run(&["fsck"]).status.success());
    let output = vault.run(&["fsck", "--read-data"]);
    assert_eq!(output.status.code(), Some(23));
    assert!(
        text(&output.stdout).contains(&name),
        "{}",
        text(&output.stdout)
    );

    // A failed ledger takes nothing until a check has passed.
    fs::write(vault.path().join("store/ledger/failed"), "the disk failed").unwrap();
    let said = vault.refused(&["repo", "set", "web1", "--quota", "2G"], 1);
    assert!(said.contains("fsck"), "{said}");
    let output = vault.run(&["--json", "fsck"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    vault.json(&["repo", "set", "web1", "--quota", "2G"]);
}

#[test]
fn the_socket_is_for_the_owner_and_answers_nonsense() {
    let vault = Operated::new();
    let _serving = vault.serve();
    let path = vault.path().join("control.sock");
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    for nonsense in [
        "",
        "\n",
        "{}\n",
        "{\"ask\":\"delete_everything\"}\n",
        "[[[[\n",
    ] {
        let mut stream = std::os::unix::net::UnixStream::connect(&path).unwrap();
        stream.write_all(nonsense.as_bytes()).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.contains("does not know what was asked"), "{answer}");
    }
    vault.json(&["status"]);
}

#[test]
fn no_administration_is_on_the_network() {
    let vault = Operated::new();
    vault.change_configuration("# [tls]", "[tls]\nplain = true");
    let serving = vault.serve();
    let asks = [
        "repository_add",
        "token_add",
        "invite",
        "hold",
        "status",
        "scrub",
        "log",
    ];
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
        for path in asks.iter().flat_map(|ask| {
            [
                format!("/{ask}"),
                format!("/v1/{ask}"),
                format!("/admin/{ask}"),
            ]
        }) {
            let mut stream = TcpStream::connect(("127.0.0.1", serving.port)).unwrap();
            let body = r#"{"ask":"token_list"}"#;
            let head = format!(
                "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            );
            stream.write_all(head.as_bytes()).unwrap();
            let mut answer = String::new();
            let _ = stream.read_to_string(&mut answer);
            let status = answer.split(' ').nth(1).unwrap_or_default();
            assert!(
                ["401", "403", "404", "405"].contains(&status),
                "{method} {path}: {answer}"
            );
        }
    }
}

#[test]
fn insecure_folders_and_configurations_are_refused() {
    let vault = Operated::new();
    let identity = vault.path().join("private/identity");
    let mode =
        |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    mode(&identity, 0o640);
    assert!(vault.refused(&["serve"], 1).contains("open to others"));
    mode(&identity, 0o600);
    mode(&vault.path(), 0o777);
    assert!(vault.refused(&["status"], 1).contains("open to others"));
    mode(&vault.path(), 0o700);
    let before = fs::read_to_string(vault.path().join("vault.toml")).unwrap();
    for (from, to, said) in [
        ("# [log]", "surprise = 1", "unknown field"),
        ("# [tls]", "[tls]\nplain = true\n[unused]", "unknown field"),
        (
            "# [metrics]",
            "[metrics]\nlisten = \"0.0.0.0:1\"",
            "loopback",
        ),
    ] {
        vault.change_configuration(from, to);
        let refused = vault.refused(&["serve"], 1);
        assert!(refused.contains(said), "{refused}");
        fs::write(vault.path().join("vault.toml"), &before).unwrap();
    }
    vault.change_configuration("127.0.0.1:0", "0.0.0.0:0");
    vault.change_configuration("# [tls]", "[tls]\nplain = true");
    assert!(vault.refused(&["serve"], 1).contains("plain HTTP"));
    fs::write(vault.path().join("vault.toml"), &before).unwrap();
    fs::write(&identity, "no key\n").unwrap();
    assert!(vault.refused(&["serve"], 1).contains("no signing key"));
    // What is there is never made anew.
    assert!(vault.refused(&["init"], 1).contains("not empty"));
    let elsewhere = program()
        .args(["--vault", "/nowhere/vault", "status"])
        .output()
        .unwrap();
    assert_eq!(
        elsewhere.status.code(),
        Some(10),
        "{}",
        text(&elsewhere.stderr)
    );
}

#[test]
fn bad_arguments_say_what_to_write() {
    let vault = Operated::new();
    for (arguments, said) in [
        (&["repo", "add", "Web 1"][..], "no name for a repository"),
        (&["repo", "add", "v1"], "reserved"),
        (&["repo", "add", "web1", "--quota", "lots"], "as 500G"),
        (&["repo", "add", "web1", "--hold", "forever"], "as 90d"),
        (&["hold", "web1", "0", "--until", "soon"], "2027-01-31"),
        (
            &["token", "add", "web1", "--scope", "delete"],
            "possible values",
        ),
    ] {
        let refused = vault.refused(arguments, 2);
        assert!(refused.contains(said), "{refused}");
    }
    for (arguments, said) in [
        (
            &["token", "add", "nothing"][..],
            "there is no repository nothing",
        ),
        (
            &["repo", "set", "nothing", "--quota", "1G"],
            "there is no repository",
        ),
        (&["repo", "add", "web1", "--quota", "0"], "quota of 0"),
        (&["repo", "add", "web1", "--hold", "10y"], "--hold-max"),
        (&["seals", "nothing"], "there is no repository"),
    ] {
        let refused = vault.refused(arguments, 1);
        assert!(refused.contains(said), "{refused}");
    }
}

#[test]
fn numbers_for_prometheus_are_there_and_memory_is_small() {
    let vault = Operated::new();
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    vault.change_configuration(
        "# [metrics]",
        &format!("[metrics]\nlisten = \"127.0.0.1:{port}\""),
    );
    let serving = vault.serve();
    vault.json(&["repo", "add", "web1", "--quota", "1G"]);
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream
        .write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let line = "outlast_vault_repository_quota_bytes{repository=\"web1\"} 1073741824";
    assert!(answer.contains(line), "{answer}");
    for line in answer.lines().skip_while(|line| !line.is_empty()).skip(1) {
        let fine = line.starts_with("# ")
            || line
                .rsplit_once(' ')
                .is_some_and(|(_, value)| value.parse::<u64>().is_ok());
        assert!(fine, "{line}");
    }
    let status = fs::read_to_string(format!("/proc/{}/status", serving.child.id())).unwrap();
    let resident = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    let kibibytes: u64 = resident.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!(kibibytes < 64 * 1024, "{resident}");
}

#[test]
fn manuals_completions_and_the_unit_are_generated() {
    let vault = Operated::new();
    let man = vault.folder.path().join("man").display().to_string();
    let output = vault.run(&["generate", "--man", &man, "--bash-completion", "-"]);
    assert!(output.status.success());
    assert!(text(&output.stdout).contains("outlast-vault"));
    for page in [
        "",
        "-init",
        "-serve",
        "-repo-add",
        "-token-revoke",
        "-log-show",
    ] {
        assert!(
            Path::new(&man)
                .join(format!("outlast-vault{page}.1"))
                .exists(),
            "{page}"
        );
    }
    let unit = text(&vault.run(&["generate", "--systemd", "-"]).stdout);
    for line in [
        "ProtectSystem=strict",
        "NoNewPrivileges=yes",
        "ExecStart=/usr/bin/outlast-vault serve",
    ] {
        assert!(unit.contains(line), "{unit}");
    }
    assert!(
        vault
            .refused(&["generate"], 1)
            .contains("nothing to generate")
    );
}
