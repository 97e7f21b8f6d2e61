//! How each program is told to do the same thing.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::programs::{Kind, Program};
use crate::process;

/// As long as one that a program generates: 256 bits in hexadecimal digits.
const PASSWORD: &str = "2f0d4c9a5b7e8163d2c4f6a8b0e1937558697a8bbcacddeef0011223344556677";

/// A step that is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// The first backup.
    Initial,
    /// Another one with nothing changed.
    Unchanged,
    /// A third after one part in a hundred was changed.
    Changed,
    /// Restoring everything.
    Restore,
    /// Reading and verifying everything.
    Check,
    /// Forgetting the three backups, of whose data half is in a fourth, and giving back the room.
    Prune,
}

/// All phases, in their order.
pub const PHASES: &[Phase] = &[
    Phase::Initial,
    Phase::Unchanged,
    Phase::Changed,
    Phase::Restore,
    Phase::Check,
    Phase::Prune,
];

impl Phase {
    /// Its name in the table.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Initial => "initial",
            Phase::Unchanged => "unchanged",
            Phase::Changed => "1 % changed",
            Phase::Restore => "restore",
            Phase::Check => "check",
            Phase::Prune => "prune",
        }
    }
}

/// Folders of one program's run.
#[derive(Debug, Clone)]
pub struct Places {
    /// What is backed up.
    pub data: PathBuf,
    /// Half of that.
    pub half: PathBuf,
    /// The repository, or the copy.
    pub repository: PathBuf,
    /// Where it is restored to.
    pub restored: PathBuf,
    /// The program's cache, configuration and home.
    pub home: PathBuf,
}

impl Program {
    /// What to run once, before anything is measured.
    pub fn prepare(&self, places: &Places) -> Vec<Command> {
        match self.kind {
            Kind::Outlast => vec![self.command(places, &["init", "--generate-password"], &[])],
            Kind::Restic | Kind::Rustic => vec![self.command(places, &["init"], &[])],
            Kind::Borg => vec![self.command(places, &["init", "--encryption", "repokey"], &[])],
            Kind::Bupstash => vec![
                self.command(places, &["init"], &[]),
                self.command(places, &["new-key", "--output"], &[&key_of(places)]),
            ],
            Kind::Kopia => {
                let create = ["repository", "create", "filesystem", "--path"];
                vec![self.command(places, &create, &[&places.repository])]
            }
            Kind::Copy => Vec::new(),
        }
    }

    /// Backs up the half, not measured, so that the rest can be forgotten.
    pub fn back_up_half(&self, places: &Places) -> Option<Command> {
        self.back_up(places, "half", &places.half)
    }

    /// What to run in a phase; nothing if the program has no such thing.
    pub fn phase(&self, phase: Phase, places: &Places) -> Option<Command> {
        let restored = places.restored.as_path();
        let data = places.data.as_path();
        match phase {
            Phase::Initial if self.kind == Kind::Copy => Some(self.copy(data, &places.repository)),
            Phase::Initial => self.back_up(places, "first", data),
            Phase::Unchanged => self.back_up(places, "second", data),
            Phase::Changed => self.back_up(places, "third", data),
            Phase::Restore => Some(match self.kind {
                Kind::Copy => self.copy(&places.repository, restored),
                Kind::Outlast | Kind::Restic => {
                    self.command(places, &["restore", "latest", "--target"], &[restored])
                }
                Kind::Rustic => self.command(places, &["restore", "latest"], &[restored]),
                Kind::Borg => {
                    let mut command = self.command(places, &["extract", "::third"], &[]);
                    command.current_dir(restored);
                    command
                }
                Kind::Bupstash => {
                    let mut command = self.command(places, &["restore", "--into"], &[restored]);
                    command.arg("name=third");
                    command
                }
                Kind::Kopia => {
                    let latest = ["restore", "--snapshot-time=latest"];
                    self.command(places, &latest, &[data, restored])
                }
            }),
            Phase::Check => self.check(places),
            Phase::Prune => self.prune(places),
        }
    }

    fn back_up(&self, places: &Places, name: &str, data: &Path) -> Option<Command> {
        Some(match self.kind {
            Kind::Outlast | Kind::Restic | Kind::Rustic => {
                self.command(places, &["backup"], &[data])
            }
            Kind::Borg => self.command(places, &["create", &format!("::{name}")], &[data]),
            Kind::Bupstash => self.command(places, &["put", &format!("name={name}")], &[data]),
            Kind::Kopia => self.command(places, &["snapshot", "create"], &[data]),
            Kind::Copy => return None,
        })
    }

    fn check(&self, places: &Places) -> Option<Command> {
        Some(match self.kind {
            Kind::Outlast | Kind::Restic | Kind::Rustic => {
                self.command(places, &["check", "--read-data"], &[])
            }
            Kind::Borg => self.command(places, &["check", "--verify-data"], &[]),
            // It has no check: reading everything, which is authenticated, stands in.
            Kind::Bupstash => self.command(places, &["get", "name=third"], &[]),
            Kind::Kopia => {
                let whole = ["snapshot", "verify", "--verify-files-percent=100"];
                self.command(places, &whole, &[])
            }
            Kind::Copy => return None,
        })
    }

    fn prune(&self, places: &Places) -> Option<Command> {
        let forget = [
            "forget",
            "--group-by",
            "host",
            "--keep-last",
            "1",
            "--prune",
        ];
        Some(match self.kind {
            Kind::Outlast | Kind::Restic => self.command(places, &forget, &[]),
            // By default it marks packs, and rewrites a tenth at most: here it does what restic does.
            Kind::Rustic => self.script(
                places,
                "\"$0\" forget --group-by host --keep-last 1 && \
                 \"$0\" prune --instant-delete --max-repack unlimited",
            ),
            Kind::Borg => self.script(
                places,
                "\"$0\" delete ::first second third && \"$0\" compact",
            ),
            Kind::Bupstash => self.script(
                places,
                "\"$0\" rm name=first && \"$0\" rm name=second && \
                 \"$0\" rm name=third && \"$0\" gc",
            ),
            // It gives back room only after a day has passed, by steps.
            Kind::Kopia | Kind::Copy => return None,
        })
    }

    /// Where the data is after the restore.
    pub fn restored_data(&self, places: &Places) -> PathBuf {
        match self.kind {
            Kind::Copy | Kind::Bupstash | Kind::Kopia => places.restored.clone(),
            Kind::Outlast | Kind::Restic | Kind::Rustic | Kind::Borg => {
                let inside = places.data.strip_prefix("/").unwrap_or(&places.data);
                places.restored.join(inside)
            }
        }
    }

    /// The program restores into a folder that must be there already.
    pub fn wants_target(&self) -> bool {
        matches!(self.kind, Kind::Borg | Kind::Bupstash)
    }

    fn copy(&self, from: &Path, to: &Path) -> Command {
        let mut command = process::command(&self.path, &["-a"]);
        command.arg(from).arg(to);
        command
    }

    /// Steps that count as one, with the program as `$0`.
    fn script(&self, places: &Places, steps: &str) -> Command {
        let mut command = process::command("sh", &["-c", steps]);
        command.arg(&self.path);
        self.tell(places, &mut command);
        command
    }

    fn command(&self, places: &Places, arguments: &[&str], paths: &[&Path]) -> Command {
        let mut command = process::command(&self.path, arguments);
        command.args(paths);
        self.tell(places, &mut command);
        command
    }

    /// Names repository, password and cache the way the program wants.
    fn tell(&self, places: &Places, command: &mut Command) {
        let home = &places.home;
        command
            .env("HOME", home)
            .env("XDG_CACHE_HOME", home.join("cache"));
        command.env("XDG_CONFIG_HOME", home.join("config"));
        let settings: &[(&str, &Path)] = match self.kind {
            Kind::Outlast => &[
                ("RESTIC_REPOSITORY", &places.repository),
                ("RESTIC_PASSWORD_FILE", &home.join("password")),
            ],
            Kind::Restic => &[
                ("RESTIC_REPOSITORY", &places.repository),
                ("RESTIC_PASSWORD", Path::new(PASSWORD)),
            ],
            Kind::Rustic => &[
                ("RUSTIC_REPOSITORY", &places.repository),
                ("RUSTIC_PASSWORD", Path::new(PASSWORD)),
            ],
            Kind::Borg => &[
                ("BORG_REPO", &places.repository),
                ("BORG_PASSPHRASE", Path::new(PASSWORD)),
                ("BORG_BASE_DIR", home),
            ],
            Kind::Bupstash => &[
                ("BUPSTASH_REPOSITORY", &places.repository),
                ("BUPSTASH_KEY", &key_of(places)),
            ],
            Kind::Kopia => &[
                ("KOPIA_PASSWORD", Path::new(PASSWORD)),
                ("KOPIA_CONFIG_PATH", &home.join("kopia.config")),
                ("KOPIA_CHECK_FOR_UPDATES", Path::new("false")),
            ],
            Kind::Copy => &[],
        };
        command.envs(settings.iter().copied());
    }
}

fn key_of(places: &Places) -> PathBuf {
    places.home.join("bupstash.key")
}
