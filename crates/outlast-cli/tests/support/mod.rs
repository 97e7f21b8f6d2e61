//! Support for the program's tests: a world of its own for each, with an empty home.

#![allow(dead_code, reason = "each test program uses a part of it")]
#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

#[path = "../../../outlast-repo/tests/support/tools.rs"]
pub mod tools;

pub mod kit;
pub mod vault;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

/// The program under test.
pub const OUTLAST: &str = env!("CARGO_BIN_EXE_outlast");
/// Password of the worlds' repositories.
pub const PASSWORD: &str = "test password";

/// An empty home in which nothing of this machine's settings counts.
pub struct World {
    folder: TempDir,
}

impl World {
    /// A new one.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { folder }
    }

    /// Its folder: the home, and where commands run.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// A path in it.
    pub fn join(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// Writes a file, making the folders above it.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    /// A command of this world, with its repository and password in the environment.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = self.bare_command(program);
        command
            .env("RESTIC_REPOSITORY", self.join("repository"))
            .env("RESTIC_PASSWORD", PASSWORD);
        command
    }

    /// A command of this world that knows of no repository.
    pub fn bare_command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.path())
            .env("USER", "tester")
            .env("TZ", "UTC")
            .env("LC_ALL", "C")
            .env("TMPDIR", self.path())
            .stdin(std::process::Stdio::null())
            .current_dir(self.path());
        command
    }

    /// Runs a program of this world.
    pub fn run(&self, program: impl AsRef<std::ffi::OsStr>, arguments: &[&str]) -> Output {
        self.command(program).args(arguments).output().unwrap()
    }

    /// Runs outlast, which must succeed; gives its standard output.
    pub fn outlast(&self, arguments: &[&str]) -> String {
        self.succeeding(OUTLAST, arguments)
    }

    /// Runs outlast as a user with nothing in the environment.
    pub fn run_bare(&self, arguments: &[&str]) -> Output {
        let mut command = self.bare_command(OUTLAST);
        command.args(arguments).output().unwrap()
    }

    /// Runs outlast with nothing in the environment, which must succeed; gives its standard output.
    pub fn succeeds(&self, arguments: &[&str]) -> String {
        let output = self.run_bare(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", texts(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs outlast with nothing in the environment, which must end with a code; gives all that it
    /// says.
    pub fn ends_with(&self, arguments: &[&str], code: i32) -> String {
        let output = self.run_bare(arguments);
        let said = texts(&output);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        said
    }

    /// Runs a program, which must succeed; gives its standard output.
    pub fn succeeding(&self, program: impl AsRef<std::ffi::OsStr>, arguments: &[&str]) -> String {
        let output = self.run(program, arguments);
        assert!(
            output.status.success(),
            "{arguments:?}: {}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }
}

/// Both outputs.
pub fn texts(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}

/// Every line as JSON.
pub fn json_lines(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

/// Names and types without values: what programs rely on.
pub fn shape(value: &Value) -> Value {
    match value {
        Value::Null => "null".into(),
        Value::Bool(_) => "boolean".into(),
        Value::Number(_) => "number".into(),
        Value::String(_) => "text".into(),
        Value::Array(items) => Value::Array(items.first().map(shape).into_iter().collect()),
        Value::Object(fields) => Value::Object(
            fields
                .iter()
                .map(|(name, value)| (name.clone(), shape(value)))
                .collect(),
        ),
    }
}
