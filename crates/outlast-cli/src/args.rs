//! What can be asked: restic's options under restic's names, with restic's environment variables.

use std::path::PathBuf;

use clap::{Args, Command, CommandFactory, FromArgMatches, Parser};

use crate::compat::{in_restics_manner, plain_switches};
use crate::verbs::Verb;

/// Backups that outlast the attack.
#[derive(Debug, Parser)]
#[command(
    name = "outlast",
    version,
    disable_version_flag = true,
    propagate_version = false
)]
#[command(about = "Backups that outlast the attack, in restic's repository format")]
#[command(
    subcommand_required = true,
    arg_required_else_help = true,
    max_term_width = 100
)]
pub struct CommandLine {
    /// Options of all verbs.
    #[command(flatten)]
    pub global: GlobalArguments,
    /// The verb.
    #[command(subcommand)]
    pub verb: Verb,
}

impl CommandLine {
    /// All arguments, with the exit codes explained.
    pub fn documented() -> Command {
        Self::command().after_help(crate::exit::help())
    }

    /// The program's arguments. Variables that are set to nothing count as not set.
    pub fn parse_all() -> Result<Self, clap::Error> {
        let command = in_restics_manner(without_empty_variables(Self::documented()));
        let arguments = plain_switches(&command, std::env::args_os());
        let matches = command.try_get_matches_from(arguments)?;
        Self::from_arg_matches(&matches)
    }
}

/// Takes back the look at variables that are set to nothing.
fn without_empty_variables(command: Command) -> Command {
    let is_empty = |arg: &clap::Arg| {
        let value = arg.get_env().and_then(std::env::var_os);
        value.is_some_and(|value| value.is_empty())
    };
    command
        .mut_args(|arg| {
            if is_empty(&arg) {
                arg.env("OUTLAST_NOT_SET")
            } else {
                arg
            }
        })
        .mut_subcommands(without_empty_variables)
}

/// Options of all verbs.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub struct GlobalArguments {
    /// Location of the repository
    #[arg(
        short,
        long,
        global = true,
        env = "RESTIC_REPOSITORY",
        hide_env_values = true,
        value_name = "REPOSITORY"
    )]
    pub repo: Option<String>,
    /// File that holds the location of the repository
    #[arg(
        long,
        global = true,
        env = "RESTIC_REPOSITORY_FILE",
        value_name = "FILE"
    )]
    pub repository_file: Option<PathBuf>,
    /// The repository of a custodian as it was, at 2026-11-01, 2026-11-01T08:00:00Z or a position
    /// in the vault's log
    #[arg(long, global = true, value_name = "MOMENT")]
    pub as_of: Option<String>,
    /// File that holds the repository's password
    #[arg(
        short,
        long,
        global = true,
        env = "RESTIC_PASSWORD_FILE",
        value_name = "FILE"
    )]
    pub password_file: Option<PathBuf>,
    /// Command that prints the repository's password
    #[arg(
        long,
        global = true,
        env = "RESTIC_PASSWORD_COMMAND",
        hide_env_values = true,
        value_name = "COMMAND"
    )]
    pub password_command: Option<String>,
    /// Use an empty password (insecure)
    #[arg(long, global = true)]
    pub insecure_no_password: bool,
    /// Key id to try first
    #[arg(long, global = true, env = "RESTIC_KEY_HINT", value_name = "KEY")]
    pub key_hint: Option<String>,
    /// Folder for local caches
    #[arg(
        long,
        global = true,
        env = "RESTIC_CACHE_DIR",
        value_name = "DIRECTORY"
    )]
    pub cache_dir: Option<PathBuf>,
    /// Use no local cache
    #[arg(long, global = true)]
    pub no_cache: bool,
    /// Remove old caches
    #[arg(long, global = true)]
    pub cleanup_cache: bool,
    /// Do not lock the repository
    #[arg(long, global = true)]
    pub no_lock: bool,
    /// Wait so long for the locks of others, as 5m or 2h
    #[arg(long, global = true, value_name = "DURATION")]
    pub retry_lock: Option<String>,
    /// Write messages for programs
    #[arg(long, global = true)]
    pub json: bool,
    /// Say nothing of progress
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Say more (twice, or --verbose=2, for every file)
    #[arg(short, long, global = true, action = clap::ArgAction::Append, num_args = 0..=1, require_equals = true, default_missing_value = "1", value_name = "N")]
    pub verbose: Vec<u8>,
    /// Upload at most so many KiB a second
    #[arg(long, global = true, value_name = "RATE", default_value_t = 0)]
    pub limit_upload: u64,
    /// Download at most so many KiB a second
    #[arg(long, global = true, value_name = "RATE", default_value_t = 0)]
    pub limit_download: u64,
    /// File with root certificates
    #[arg(long, global = true, env = "RESTIC_CACERT", value_name = "FILE")]
    pub cacert: Vec<PathBuf>,
    /// File with the client's certificate and private key
    #[arg(
        long,
        global = true,
        env = "RESTIC_TLS_CLIENT_CERT",
        value_name = "FILE"
    )]
    pub tls_client_cert: Option<PathBuf>,
    /// Do not verify the server's certificate (insecure)
    #[arg(long, global = true)]
    pub insecure_tls: bool,
    /// Compression: auto, off, fastest, better or max
    #[arg(
        long,
        global = true,
        env = "RESTIC_COMPRESSION",
        value_name = "MODE",
        default_value = "auto"
    )]
    pub compression: String,
    /// Size of new packs in MiB
    #[arg(
        long,
        global = true,
        env = "RESTIC_PACK_SIZE",
        value_name = "SIZE",
        default_value_t = 0
    )]
    pub pack_size: u64,
    /// Extended option, as key=value
    #[arg(short = 'o', long = "option", global = true, value_name = "KEY=VALUE")]
    pub option: Vec<String>,
    /// Accepted for scripts; data is always verified when it is read
    #[arg(long, global = true, hide = true)]
    pub no_extra_verify: bool,
    /// Give up a connection on which nothing happens for so long
    #[arg(long, global = true, value_name = "DURATION", default_value = "5m")]
    pub stuck_request_timeout: String,
}

impl GlobalArguments {
    /// How much to say: 0 quiet, 1 normal, 2 and 3 more.
    pub fn verbosity(&self) -> u8 {
        if self.quiet {
            return 0;
        }
        let more = self.verbose.iter().map(|level| (*level).max(1)).sum::<u8>();
        1 + more.min(2)
    }
}

/// Which snapshots are meant.
#[derive(Debug, Clone, Args)]
pub struct FilterArguments {
    /// Only snapshots of this host
    #[arg(short = 'H', long, env = "RESTIC_HOST", value_name = "HOST")]
    pub host: Vec<String>,
    /// Only snapshots with all of these tags
    #[arg(long, value_name = "TAG[,TAG,...]")]
    pub tag: Vec<String>,
    /// Only snapshots that have this path
    #[arg(long, value_name = "PATH")]
    pub path: Vec<String>,
}

impl FilterArguments {
    /// The filter they make; relative paths are taken from the current directory.
    pub fn filter(&self) -> outlast_repo::SnapshotFilter {
        let tags = |text: &String| {
            outlast_repo::TagList(text.split(',').map(|tag| tag.trim().to_owned()).collect())
        };
        let filter = outlast_repo::SnapshotFilter {
            hosts: self
                .host
                .iter()
                .filter(|host| !host.is_empty())
                .cloned()
                .collect(),
            tags: self.tag.iter().map(tags).collect(),
            paths: self.path.clone(),
        };
        let here = std::env::current_dir().unwrap_or_default();
        filter.with_absolute_paths(&here.to_string_lossy())
    }
}
