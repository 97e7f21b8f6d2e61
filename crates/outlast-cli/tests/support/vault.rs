//! Real vaults beside the program under test.

#![allow(
    clippy::print_stderr,
    clippy::zombie_processes,
    reason = "what is missing is said loudly, and a vault is ended when it is dropped"
)]

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::OUTLAST;

/// The vault's program, which is built beside this one; says loudly if it is not.
pub fn vault_program() -> Option<PathBuf> {
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

/// A vault in a folder.
pub struct TestVault {
    program: PathBuf,
    /// Its folder.
    pub folder: PathBuf,
    /// Where it listens.
    pub port: u16,
    serving: Option<Child>,
}

impl Drop for TestVault {
    fn drop(&mut self) {
        self.stop();
    }
}

impl TestVault {
    /// Makes a vault of this name and serves it.
    pub fn new(program: &Path, folder: PathBuf, name: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let mut vault = Self::at(program, folder, port);
        vault.init(name);
        vault.serve();
        vault
    }

    /// Another vault of this name at the address of this one, not serving yet.
    pub fn impostor(&self, folder: PathBuf, name: &str) -> Self {
        let impostor = Self::at(&self.program, folder, self.port);
        impostor.init(name);
        impostor
    }

    /// This vault as it is now on another disk, not serving yet.
    pub fn copied_to(&self, folder: PathBuf) -> Self {
        let mut copy = Command::new("cp");
        let copied = copy.arg("-a").arg(&self.folder).arg(&folder).status();
        assert!(copied.unwrap().success());
        Self::at(&self.program, folder, self.port)
    }

    fn at(program: &Path, folder: PathBuf, port: u16) -> Self {
        Self {
            program: program.to_owned(),
            folder,
            port,
            serving: None,
        }
    }

    fn init(&self, name: &str) {
        let address = format!("127.0.0.1:{}", self.port);
        let listen = ["--address", &address, "--listen", &address];
        let init = ["init", "--name", name, "--no-immutable"];
        self.run(&[&init[..], &listen[..]].concat());
    }

    /// A command of the operator.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--vault").arg(&self.folder);
        command
    }

    /// Runs a command of the operator, which must succeed.
    pub fn run(&self, arguments: &[&str]) -> String {
        let output = self.command().args(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{arguments:?}: {said}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// A new invite, with these arguments.
    pub fn invite(&self, arguments: &[&str]) -> String {
        self.run(&[&["invite"], arguments].concat())
    }

    /// Gives it another address from its next start on, which those who have it know nothing of.
    pub fn move_elsewhere(&mut self) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let path = self.folder.join("vault.toml");
        let settings = std::fs::read_to_string(&path).unwrap();
        let address = |port| format!("\"127.0.0.1:{port}\"");
        let changed = settings.replace(&address(self.port), &address(port));
        assert_ne!(changed, settings);
        std::fs::write(path, changed).unwrap();
        self.port = port;
    }

    /// Serves until it is stopped.
    pub fn serve(&mut self) {
        let mut command = self.command();
        let mut child = command.arg("serve").stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let is_ready = |line: std::io::Result<String>| line.unwrap().contains(" ready ");
        assert!(lines.any(is_ready), "the vault ended");
        // The rest must not fill the pipe.
        std::thread::spawn(move || lines.for_each(drop));
        self.serving = Some(child);
    }

    /// Kills it.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.serving.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
