//! Stock clients against a vault: they work unchanged, and remove nothing.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod support;
#[path = "../../outlast-repo/tests/support/tools.rs"]
mod tools;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::thread::JoinHandle;

use outlast_custody::Scope;
use outlast_object::{ObjectKind, ObjectName, hash};
use outlast_vault::http::{Limits, Listen, Server, Stop, Tls, self_signed};
use outlast_vault::{Caller, Face, Vault, VaultError};

use support::*;

fn is_rustic(program: &Path) -> bool {
    program.display().to_string().contains("rustic")
}

/// A vault that is served on this machine.
struct Served {
    vault: Arc<Vault>,
    folder: tempfile::TempDir,
    scheme: &'static str,
    port: u16,
    stop: Stop,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop.stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Served {
    fn new(with_tls: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let world = World::new(&folder.path().join("vault"));
        let vault = Arc::new(world.open());
        vault.set_repository(&repository(), settings()).unwrap();
        let identity = self_signed(&["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        fs::write(
            folder.path().join("certificate.pem"),
            &identity.certificate_pem,
        )
        .unwrap();
        let chain = identity.certificate_pem.as_bytes();
        let tls = Tls::from_pem(chain, identity.key_pem.as_bytes()).unwrap();
        let face = Arc::new(Face::new(Arc::clone(&vault)));
        let listen = Listen::Tcp("127.0.0.1:0".parse().unwrap());
        let tls = with_tls.then_some(tls);
        let server = Server::bind(&listen, tls, Limits::default(), face, Arc::new(())).unwrap();
        let Listen::Tcp(address) = server.local_address().clone() else {
            panic!("no port")
        };
        fs::create_dir(folder.path().join("source")).unwrap();
        for number in 0..20_u64 {
            let path = folder.path().join(format!("source/file{number}"));
            fs::write(path, number.to_le_bytes().repeat(1000 + number as usize)).unwrap();
        }
        Self {
            vault,
            folder,
            scheme: if with_tls { "https" } else { "http" },
            port: address.port(),
            stop: server.stop_handle(),
            thread: Some(std::thread::spawn(|| server.run())),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The address with a new token of these scopes, and the token's caller.
    fn address(&self, view: &str, scopes: &[Scope]) -> (String, Caller) {
        let made = self.vault.add_token(&repository(), scopes, "test").unwrap();
        let caller = self
            .vault
            .authenticate(&made.token.to_string(), &made.secret);
        let Self { scheme, port, .. } = self;
        let (token, secret) = (made.token, made.secret);
        let address = format!("rest:{scheme}://{token}:{secret}@127.0.0.1:{port}{view}/web1/");
        (address, caller.unwrap())
    }

    fn run(&self, program: &Path, address: &str, arguments: &[&str]) -> Output {
        let mut command = Command::new(program);
        if !is_rustic(program) {
            command.arg("--cacert").arg(self.path("certificate.pem"));
        }
        command
            .args(arguments)
            .env_clear()
            .env("HOME", self.folder.path())
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("RESTIC_REPOSITORY", address)
            .env("RESTIC_PASSWORD", "secret")
            .env("RESTIC_CACHE_DIR", self.path("cache"))
            .env("RUSTIC_REPOSITORY", address)
            .env("RUSTIC_PASSWORD", "secret")
            .env("RUSTIC_CACHE_DIR", self.path("cache-rustic"))
            .output()
            .unwrap()
    }

    /// Runs a command that must succeed.
    fn succeeds(&self, program: &Path, address: &str, arguments: &[&str]) -> String {
        let output = self.run(program, address, arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {errors}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn back_up_and_restore(&self, program: &Path) {
        let source = self.path("source").display().to_string();
        let (append, _) = self.address("", &[Scope::Append, Scope::Enrol]);
        self.succeeds(program, &append, &["init"]);
        self.succeeds(program, &append, &["backup", &source]);
        fs::write(self.path("source/file3"), "changed").unwrap();
        self.succeeds(program, &append, &["backup", &source]);
        let (reader, _) = self.address("", &[Scope::Restore]);
        self.succeeds(program, &reader, &["snapshots"]);
        self.succeeds(program, &reader, &["check", "--read-data"]);
        self.restores(program, &reader);
    }

    fn restores(&self, program: &Path, address: &str) {
        let target = self.path("target");
        let _ = fs::remove_dir_all(&target);
        let text = target.display().to_string();
        if is_rustic(program) {
            self.succeeds(program, address, &["restore", "latest", &text]);
        } else {
            self.succeeds(program, address, &["restore", "latest", "--target", &text]);
        }
        let restored = target.join(self.path("source").strip_prefix("/").unwrap());
        for number in 0..20 {
            let name = format!("file{number}");
            let expected = fs::read(self.path("source").join(&name)).unwrap();
            assert_eq!(fs::read(restored.join(&name)).unwrap(), expected, "{name}");
        }
    }

    fn everything(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut open = vec![self.path("vault/repositories")];
        while let Some(folder) = open.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    open.push(path);
                } else {
                    found.push(path);
                }
            }
        }
        found.sort();
        found
    }

    fn nothing_is_removed(&self, program: &Path) {
        let before = self.everything();
        let (append, _) = self.address("", &[Scope::Append]);
        let output = self.run(program, &append, &["forget", "--keep-last", "1", "--prune"]);
        assert!(
            !output.status.success(),
            "a removal was said to have worked"
        );
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(errors.contains("403"), "{errors}");
        assert_eq!(self.everything(), before);
    }
}

#[test]
fn restic_014_works_unchanged_and_removes_nothing() {
    let Some(restic) = tools::restic_014() else {
        return;
    };
    let served = Served::new(true);
    served.back_up_and_restore(&restic);
    served.nothing_is_removed(&restic);
}

#[test]
fn restic_019_works_unchanged_and_removes_nothing() {
    let Some(restic) = tools::restic_019() else {
        return;
    };
    let served = Served::new(true);
    served.back_up_and_restore(&restic);
    served.nothing_is_removed(&restic);
}

#[test]
fn rustic_works_unchanged() {
    let Some(rustic) = tools::rustic() else {
        return;
    };
    Served::new(false).back_up_and_restore(&rustic);
}

#[test]
fn an_init_that_broke_off_can_be_repeated() {
    let Some(restic) = tools::restic_019() else {
        return;
    };
    let served = Served::new(true);
    let (address, caller) = served.address("", &[Scope::Append, Scope::Enrol]);
    put(&served.vault, &caller, &key_file(), ObjectKind::Key).unwrap();
    served.succeeds(&restic, &address, &["init"]);
    let source = served.path("source").display().to_string();
    served.succeeds(&restic, &address, &["backup", &source]);
}

#[test]
fn every_planting_is_undone_by_looking_back() {
    let Some(restic) = tools::restic_019() else {
        return;
    };
    let served = Served::new(true);
    let source = served.path("source").display().to_string();
    let (address, caller) = served.address("", &[Scope::Append, Scope::Enrol]);
    served.succeeds(&restic, &address, &["init"]);
    served.succeeds(&restic, &address, &["backup", &source]);
    let pull = support::caller(&served.vault, &[Scope::Pull]);
    let state = served
        .vault
        .log_file(Some(&pull), "checkpoint")
        .unwrap()
        .unwrap();
    let position = String::from_utf8(state)
        .unwrap()
        .lines()
        .nth(1)
        .unwrap()
        .to_owned();

    let vault = &served.vault;
    put(vault, &caller, &[1; 500], ObjectKind::Index).unwrap();
    put(vault, &caller, &[2; 500], ObjectKind::Snapshot).unwrap();
    let key = put(vault, &caller, &key_file(), ObjectKind::Key);
    assert!(matches!(key, Err(VaultError::Forbidden(_))), "{key:?}");
    let (live, _) = served.address("", &[Scope::Restore]);
    let output = served.run(
        &restic,
        &live,
        &["restore", "latest", "--target", "/dev/null/x"],
    );
    assert!(!output.status.success(), "the planting did nothing");

    let (past, _) = served.address(&format!("/as-of/{position}"), &[Scope::Restore]);
    served.succeeds(&restic, &past, &["check", "--read-data"]);
    served.restores(&restic, &past);
    let output = served.run(&restic, &past, &["backup", &source]);
    assert!(!output.status.success(), "the past was changed");
}

#[test]
fn a_snapshot_of_a_stock_client_is_sealed_by_the_vault() {
    let Some(restic) = tools::restic_014() else {
        return;
    };
    let served = Served::new(true);
    let source = served.path("source").display().to_string();
    let (address, _) = served.address("", &[Scope::Append, Scope::Enrol]);
    served.succeeds(&restic, &address, &["init"]);
    served.succeeds(&restic, &address, &["backup", &source]);
    let sealed = served.vault.seals(&repository()).unwrap();
    assert_eq!(sealed.len(), 1);
    let (index, seal) = &sealed[0];
    let name = ObjectName::new(ObjectKind::Snapshot, seal.snapshot.0);
    assert!(served.vault.object(&repository(), &name).unwrap().is_some());
    assert!(seal.list.is_none() && seal.objects >= 5);
    let receipt = served.vault.receipt(&repository(), *index).unwrap();
    assert!(receipt.verify(&served.vault.identity(), &[]).is_ok());
    assert_ne!(hash(b""), seal.snapshot.0);
}

/// The folder with the Python module of resticprofile; says loudly if it is not there.
fn resticprofile() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/tools/python");
    let found = folder.join("resticprofile").is_dir();
    if !found {
        println!(
            "SKIPPED: resticprofile is missing; `cargo xtask tools` gets it where there is pip"
        );
    }
    found.then_some(folder)
}

#[test]
fn resticprofile_works_unchanged() {
    let (Some(module), Some(restic)) = (resticprofile(), tools::restic_014()) else {
        return;
    };
    let served = Served::new(true);
    let (append, _) = served.address("", &[Scope::Append, Scope::Enrol]);
    let (reader, _) = served.address("", &[Scope::Restore]);
    let password = served.path("password");
    fs::write(&password, "secret").unwrap();
    let source = served.path("source");
    let target = served.path("restored");
    let profile = format!(
        "[global]\nrestic-binary = {restic:?}\nionice = false\n\n\
         [default]\nrepository = {append:?}\npassword-file = {password:?}\n\
         cacert = {:?}\ncache-dir = {:?}\n\n[default.backup]\nsource = [ {source:?} ]\n\n\
         [reader]\ninherit = \"default\"\nrepository = {reader:?}\n",
        served.path("certificate.pem"),
        served.path("cache"),
    );
    let file = served.path("profiles.conf");
    fs::write(&file, profile).unwrap();
    let run = |arguments: &[&str]| {
        let mut command = Command::new("python3");
        command.args(["-m", "resticprofile", "--no-ansi", "--config"]);
        let output = command
            .arg(&file)
            .args(arguments)
            .env("PYTHONPATH", &module)
            .env("HOME", served.folder.path())
            .current_dir(served.folder.path())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {said}{errors}");
        said
    };
    run(&["init"]);
    run(&["backup"]);
    fs::write(source.join("file3"), "changed").unwrap();
    run(&["backup"]);
    assert!(run(&["--name", "reader", "snapshots"]).contains("2 snapshots"));
    run(&["--name", "reader", "check", "--read-data"]);
    let to = target.display().to_string();
    run(&["--name", "reader", "restore", "latest", "--target", &to]);
    let below = target.join(source.strip_prefix("/").unwrap());
    assert_eq!(fs::read(below.join("file3")).unwrap(), b"changed");
}
