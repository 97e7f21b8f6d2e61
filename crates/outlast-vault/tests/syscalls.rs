//! Every single system call of an upload fails once, and once it is the last that the process makes.
//! Whatever happened then: what was acknowledged is there, a check finds nothing, and sending the same
//! again works.
//!
//! The calls are those that `strace` sees between the arrival of a request and its answer, in all
//! threads of a real process on a real disk.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

#[path = "attacks/raw.rs"]
#[allow(dead_code, reason = "each test program uses a part")]
mod raw;
#[path = "support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use outlast_object::hash;
use serde_json::Value;

use support::{key_file, pack};

/// A server that was cut off from its own threads may never answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// Calls that do nothing that could fail, or that `strace` cannot make fail.
const LEFT_OUT: [&str; 4] = ["exit", "exit_group", "rt_sigreturn", "restart_syscall"];
/// Calls of which each one is tried: those that reach the disk, and those that carry the answer.
/// Of others, the first few stand for all.
const OTHERS_MAX: usize = 2;

struct Vault {
    folder: tempfile::TempDir,
    header: String,
    acknowledged: Vec<u64>,
}

struct Serving {
    child: Child,
    port: u16,
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Vault {
    /// A vault with a repository in it.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut vault = Self {
            folder,
            header: String::new(),
            acknowledged: Vec::new(),
        };
        vault.run(&[
            "init",
            "--name",
            "vault.example",
            "--address",
            "localhost:8484",
            "--listen",
            "127.0.0.1:0",
            "--no-immutable",
        ]);
        let path = vault.path().join("vault.toml");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, format!("{text}\n[tls]\nplain = true\n")).unwrap();
        vault.run(&["repo", "add", "web1"]);
        let scopes = ["append", "enrol", "restore"];
        let mut arguments = vec!["--json", "token", "add", "web1"];
        for scope in &scopes {
            arguments.extend(["--scope", scope]);
        }
        let made: Value = serde_json::from_str(&vault.run(&arguments)).unwrap();
        let part = |name: &str| made["token"][name].as_str().unwrap().to_owned();
        let login = format!("{}:{}", part("token"), part("secret"));
        let encoded = base64::engine::general_purpose::STANDARD.encode(login);
        vault.header = format!("Basic {encoded}");

        let serving = vault.serve();
        let key = key_file();
        let key_path = format!("/web1/keys/{}", hash(&key));
        assert_eq!(vault.ask(&serving, "POST", &key_path, &key), Some(200));
        let config = vault.ask(&serving, "POST", "/web1/config", &[5; 155]);
        assert_eq!(config, Some(200));
        drop(serving);
        vault
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("vault")
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_outlast-vault"));
        command
            .env_remove("OUTLAST_VAULT")
            .env_remove("NOTIFY_SOCKET");
        command.arg("--vault").arg(self.path());
        command
    }

    /// Runs a command that must succeed.
    fn run(&self, arguments: &[&str]) -> String {
        let output = self.command().args(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let answer = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{arguments:?}: {said}{answer}");
        answer
    }

    fn serve(&self) -> Serving {
        let mut command = self.command();
        let command = command.arg("serve").stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut port = 0;
        loop {
            let line = lines.next().expect("it ended").unwrap();
            if let Some((_, rest)) = line.split_once("serving address=127.0.0.1:") {
                port = rest.split(' ').next().unwrap().parse().unwrap();
            }
            if line.contains(" ready ") {
                break;
            }
        }
        std::thread::spawn(move || lines.for_each(drop));
        Serving { child, port }
    }

    /// Asks; none where there is no answer.
    fn ask(&self, serving: &Serving, method: &str, path: &str, body: &[u8]) -> Option<u16> {
        let address = format!("127.0.0.1:{}", serving.port).parse().unwrap();
        let mut stream = raw::connect(address);
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let request = raw::request(method, path, Some(&self.header), body);
        stream.write_all(&request).ok()?;
        raw::read_answer(&mut stream, method == "HEAD").map(|answer| answer.status)
    }

    fn upload(&self, serving: &Serving, seed: u64) -> Option<u16> {
        let bytes = pack(seed, 3000);
        let path = format!("/web1/data/{}", hash(&bytes));
        self.ask(serving, "POST", &path, &bytes)
    }

    /// Uploads while `strace` does this to the process; gives the answer and what was traced.
    fn upload_traced(&self, serving: &Serving, seed: u64, fault: Option<&str>) -> Traced {
        let file = self.folder.path().join("trace");
        let mut command = Command::new("strace");
        command.args(["-f", "-p", &serving.child.id().to_string(), "-o"]);
        command.arg(&file);
        if let Some(fault) = fault {
            command.args(["-e", fault]);
        }
        let command = command.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut strace = command.spawn().unwrap();
        let mut lines = BufReader::new(strace.stderr.take().unwrap()).lines();
        let attached = lines.find_map(|line| {
            let line = line.ok()?;
            assert!(!line.contains("not permitted"), "{line}");
            line.contains("attached").then_some(())
        });
        assert!(attached.is_some(), "strace does not attach");
        std::thread::spawn(move || lines.for_each(drop));
        let status = self.upload(serving, seed);
        // Both end: the process is killed, and then there is nothing left to trace.
        let pid = serving.child.id().to_string();
        let _ = Command::new("kill").args(["-KILL", &pid]).output();
        let _ = strace.wait();
        Traced {
            status,
            text: fs::read_to_string(&file).unwrap_or_default(),
        }
    }

    /// Whether all is well after a fault, and what was sent is there in the end.
    fn recovers(&mut self, seed: u64, traced: &Traced, what: &str) -> Serving {
        if traced.status == Some(200) {
            self.acknowledged.push(seed);
        }
        // What was acknowledged is there before anything is mended.
        for seed in &self.acknowledged {
            let id = hash(&pack(*seed, 3000)).to_hex();
            let file = format!("store/repositories/web1/data/{}/{id}", &id[..2]);
            let bytes = fs::read(self.path().join(file));
            assert!(
                bytes.is_ok_and(|found| found == pack(*seed, 3000)),
                "{what}"
            );
        }
        let checked = self
            .command()
            .args(["fsck", "--read-data"])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&checked.stdout).into_owned();
        assert!(checked.status.success(), "{what}: {said}");
        let serving = self.serve();
        for seed in self.acknowledged.iter().rev().take(3) {
            let path = format!("/web1/data/{}", hash(&pack(*seed, 3000)));
            let status = self.ask(&serving, "GET", &path, b"");
            assert_eq!(status, Some(200), "{what}: an acknowledged object is gone");
        }
        assert_eq!(self.upload(&serving, seed), Some(200), "{what}");
        self.acknowledged.push(seed);
        serving
    }
}

/// An upload that was traced.
struct Traced {
    status: Option<u16>,
    text: String,
}

impl Traced {
    /// How often each call was made by the thread that made it most often: `strace` counts per
    /// thread.
    fn calls(&self) -> BTreeMap<String, usize> {
        let mut by_thread: BTreeMap<(&str, &str), usize> = BTreeMap::new();
        for line in self.text.lines() {
            let Some((thread, rest)) = line.split_once(' ') else {
                continue;
            };
            let Some((call, _)) = rest.trim_start().split_once('(') else {
                continue;
            };
            let is_call = call
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            if is_call && !LEFT_OUT.contains(&call) {
                *by_thread.entry((thread, call)).or_default() += 1;
            }
        }
        let mut calls = BTreeMap::new();
        for ((_, call), count) in by_thread {
            let most: &mut usize = calls.entry(call.to_owned()).or_default();
            *most = count.max(*most);
        }
        calls
    }
}

/// Whether a call can be about files.
fn reaches_the_disk(call: &str) -> bool {
    [
        "open", "write", "sync", "link", "rename", "mkdir", "stat", "read", "close", "truncate",
        "allocate", "unlink", "lseek", "flock", "fcntl", "getdents", "chmod",
    ]
    .iter()
    .any(|part| call.contains(part))
}

/// Whether `strace` is here and may be used; says so loudly if not.
fn has_strace() -> bool {
    let found = Command::new("strace")
        .args(["-o", "/dev/null", "true"])
        .status()
        .is_ok_and(|status| status.success());
    if !found {
        let required = std::env::var_os("OUTLAST_TEST_REQUIRE_TOOLS").is_some();
        assert!(!required, "strace is missing, or may not trace");
        println!("SKIPPED: strace is missing; `cargo xtask tools` gets it");
    }
    found
}

#[test]
fn every_system_call_of_an_upload_fails_or_is_the_last() {
    if !has_strace() {
        return;
    }
    let started = Instant::now();
    let mut vault = Vault::new();
    let mut seed = 0;
    let mut serving = vault.serve();
    // A first one, so that threads and folders are there; then the one whose calls are counted.
    assert_eq!(vault.upload(&serving, seed), Some(200));
    vault.acknowledged.push(seed);
    seed += 1;
    let dry = vault.upload_traced(&serving, seed, None);
    assert_eq!(dry.status, Some(200));
    let calls = dry.calls();
    assert!(calls.keys().any(|call| call.contains("sync")), "{calls:?}");
    serving = vault.recovers(seed, &dry, "without a fault");

    let (mut cases, mut hits, mut refusals, mut deaths) = (0, 0, 0, 0);
    for (call, count) in &calls {
        let most = if reaches_the_disk(call) {
            *count
        } else {
            OTHERS_MAX
        };
        for number in 1..=most.min(*count) {
            for effect in ["error=EIO", "error=ENOSPC", "signal=KILL"] {
                if effect == "error=ENOSPC" && !(call.contains("write") || call.contains("open")) {
                    continue;
                }
                seed += 1;
                let fault = format!("inject={call}:{effect}:when={number}");
                let traced = vault.upload_traced(&serving, seed, Some(&fault));
                cases += 1;
                hits += usize::from(
                    traced.text.contains("(INJECTED)") || traced.text.contains("killed by SIGKILL"),
                );
                match traced.status {
                    Some(200) => {}
                    Some(_) => refusals += 1,
                    None => deaths += 1,
                }
                serving = vault.recovers(seed, &traced, &fault);
            }
        }
    }
    println!(
        "{cases} faults, {hits} hit, {refusals} refused, {deaths} without an answer, {} s",
        started.elapsed().as_secs()
    );
    assert!(cases > 40 && hits * 2 > cases && refusals > 5 && deaths > 5);
}
