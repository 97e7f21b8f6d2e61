//! The programs that are compared, and how each is told to do the same thing.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{process, workspace};

const PASSWORD: &str = "for measuring only";

/// A program that can back up and restore.
#[derive(Debug, Clone)]
pub struct Program {
    /// Its name in the table.
    pub name: &'static str,
    kind: Kind,
    path: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// restic, and outlast, which has its command line.
    Restic,
    Rustic,
    Copy,
}

/// A step that is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The first backup.
    Initial,
    /// Another one with nothing changed.
    Unchanged,
    /// Restoring everything.
    Restore,
    /// Reading and verifying everything.
    Check,
}

/// All phases, in their order.
pub const PHASES: &[Phase] = &[
    Phase::Initial,
    Phase::Unchanged,
    Phase::Restore,
    Phase::Check,
];

impl Phase {
    /// Its name in the table.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Initial => "initial",
            Phase::Unchanged => "unchanged",
            Phase::Restore => "restore",
            Phase::Check => "check",
        }
    }
}

/// Folders of one program's run.
pub struct Places {
    /// What is backed up.
    pub data: PathBuf,
    /// The repository, or the copy.
    pub repository: PathBuf,
    /// Where it is restored to.
    pub restored: PathBuf,
    /// The program's cache.
    pub cache: PathBuf,
}

/// Names another outlast to measure, for instance one built from an older version.
const OURS_VARIABLE: &str = "OUTLAST_BENCH_PROGRAM";

/// Ours: the one that somebody names, else freshly built.
fn ours() -> Result<PathBuf, String> {
    if let Some(path) = std::env::var_os(OURS_VARIABLE) {
        return Ok(PathBuf::from(path));
    }
    let arguments = ["build", "--release", "--package", "outlast-cli"];
    process::show(process::cargo(&arguments))?;
    Ok(workspace::root().join("target/release/outlast"))
}

/// The programs that are here: ours and those of `cargo xtask tools`.
pub fn found() -> Result<Vec<Program>, String> {
    let ours = ours()?;
    let tool = |name: &str| workspace::tools_folder().join(name);
    let candidates = [
        ("outlast", Kind::Restic, ours),
        ("restic", Kind::Restic, tool("restic-0.19")),
        ("rustic", Kind::Rustic, tool("rustic")),
        ("cp -a", Kind::Copy, PathBuf::from("/bin/cp")),
    ];
    let mut programs = Vec::new();
    for (name, kind, path) in candidates {
        if path.is_file() {
            programs.push(Program { name, kind, path });
        } else {
            eprintln!("{name} is missing; run `cargo xtask tools` first");
        }
    }
    Ok(programs)
}

impl Program {
    /// What to run once, before anything is measured.
    pub fn prepare(&self, places: &Places) -> Option<Command> {
        match self.kind {
            Kind::Restic | Kind::Rustic => Some(self.command(places, &["init"], &[])),
            Kind::Copy => None,
        }
    }

    /// What to run in a phase; nothing if the program has no such thing.
    pub fn phase(&self, phase: Phase, places: &Places) -> Option<Command> {
        let (data, restored) = (places.data.as_path(), places.restored.as_path());
        let command = match (self.kind, phase) {
            (Kind::Copy, Phase::Initial) => self.copy(data, &places.repository),
            (Kind::Copy, Phase::Restore) => self.copy(&places.repository, restored),
            (Kind::Copy, _) => return None,
            (_, Phase::Initial | Phase::Unchanged) => self.command(places, &["backup"], &[data]),
            (Kind::Restic, Phase::Restore) => {
                self.command(places, &["restore", "latest", "--target"], &[restored])
            }
            (Kind::Rustic, Phase::Restore) => {
                self.command(places, &["restore", "latest"], &[restored])
            }
            (_, Phase::Check) => self.command(places, &["check", "--read-data"], &[]),
        };
        Some(command)
    }

    /// Where the data is after the restore.
    pub fn restored_data(&self, places: &Places) -> PathBuf {
        match self.kind {
            Kind::Copy => places.restored.clone(),
            Kind::Restic | Kind::Rustic => {
                let inside = places.data.strip_prefix("/").unwrap_or(&places.data);
                places.restored.join(inside)
            }
        }
    }

    fn copy(&self, from: &Path, to: &Path) -> Command {
        let mut command = process::command(&self.path, &["-a"]);
        command.arg(from).arg(to);
        command
    }

    fn command(&self, places: &Places, arguments: &[&str], paths: &[&Path]) -> Command {
        let mut command = process::command(&self.path, arguments);
        command.args(paths);
        let prefix = if self.kind == Kind::Rustic {
            "RUSTIC"
        } else {
            "RESTIC"
        };
        command
            .env(format!("{prefix}_REPOSITORY"), &places.repository)
            .env(format!("{prefix}_PASSWORD"), PASSWORD)
            .env(format!("{prefix}_CACHE_DIR"), &places.cache);
        command
    }
}
