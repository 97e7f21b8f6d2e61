//! What can be asked on the command line.

use std::path::PathBuf;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use outlast_custody::{RepositoryName, Scope, TokenId};

use crate::ask::SettingChanges;
use crate::exit;
use crate::units::{parse_length, parse_moment, parse_size};

/// Where a vault is unless said otherwise.
const USUAL_FOLDER: &str = "/var/lib/outlast-vault";

/// A write-once server for restic repositories: whoever reaches it over the network can add
/// backups, and nobody can remove or change any.
#[derive(Debug, Parser)]
#[command(name = "outlast-vault", version, propagate_version = true)]
pub struct CommandLine {
    /// The vault's folder
    #[arg(long, global = true, value_name = "FOLDER", env = "OUTLAST_VAULT", default_value = USUAL_FOLDER)]
    pub vault: PathBuf,
    /// Answer in JSON, for programs
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

impl CommandLine {
    /// The command with its documentation whole.
    pub fn documented() -> clap::Command {
        Self::command().after_long_help(exit::help())
    }
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a new vault: identity, certificate, configuration
    Init(Init),
    /// Serve the vault until a signal comes
    Serve(Serve),
    /// Repositories
    #[command(subcommand)]
    Repo(Repo),
    /// Tokens: what clients show to get in
    #[command(subcommand)]
    Token(TokenCommand),
    /// Make a token, and print one line that `outlast custodian add` takes
    ///
    /// The repository is added if there is none of that name.
    Invite(NewToken),
    /// The seals of a repository, and until when they hold
    Seals {
        /// The repository
        repository: RepositoryName,
    },
    /// Extend the hold of a seal; it can never be shortened
    Hold {
        /// The repository
        repository: RepositoryName,
        /// The seal's number, as `seals` shows it
        seal: u64,
        /// Until when, as 2027-01-31 or 2027-01-31T12:00:00Z
        #[arg(long, value_name = "DATE", value_parser = parse_moment)]
        until: u64,
    },
    /// Check ledger, log and objects against each other, without any key
    ///
    /// The vault must not be served meanwhile. After an error of the disk the vault takes nothing more
    /// until this has passed.
    Fsck {
        /// Read every object too, and compare it with its name
        #[arg(long)]
        read_data: bool,
    },
    /// Read every object now and compare it with its name
    ///
    /// The vault may be served meanwhile, and does this by itself on the schedule in vault.toml.
    Scrub {
        /// As fast as the disk is, whatever vault.toml says
        #[arg(long)]
        no_limit: bool,
    },
    /// How the vault is
    Status,
    /// The log
    #[command(subcommand)]
    Log(Log),
    /// Write man pages, completions and a unit for systemd
    Generate(Generate),
}

/// Arguments of `init`.
#[derive(Debug, Args)]
pub struct Init {
    /// The name in the vault's identity, such as vault.example.org; the machine's name unless given
    #[arg(long)]
    pub name: Option<String>,
    /// Host and port by which others reach the vault; may be given several times
    #[arg(long, value_name = "HOST:PORT")]
    pub address: Vec<String>,
    /// Where to listen: an address with port, or unix:/path; may be given several times
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Vec<String>,
    /// Do not set the immutable flag on stored objects, even with the right to do so
    #[arg(long)]
    pub no_immutable: bool,
}

/// Arguments of `serve`.
#[derive(Debug, Args)]
pub struct Serve {
    /// Log more
    #[arg(long, short)]
    pub verbose: bool,
}

/// Repositories.
#[derive(Debug, Subcommand)]
pub enum Repo {
    /// Add a repository
    Add {
        /// Its name
        repository: RepositoryName,
        /// What holds for it
        #[command(flatten)]
        settings: SettingArguments,
    },
    /// Change what holds for what comes from now on
    Set {
        /// Its name
        repository: RepositoryName,
        /// What changes
        #[command(flatten)]
        settings: SettingArguments,
    },
    /// All repositories
    List,
}

/// Settings of a repository.
#[derive(Debug, Args)]
pub struct SettingArguments {
    /// Most that it may take, as 500G
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    quota: Option<u64>,
    /// How long everything is held from its admission, as 90d
    #[arg(long, value_name = "TIME", value_parser = parse_length)]
    hold_min: Option<u64>,
    /// How long a seal holds, as 90d
    #[arg(long, value_name = "TIME", value_parser = parse_length)]
    hold: Option<u64>,
    /// The longest hold that can be asked for, as 2y
    #[arg(long, value_name = "TIME", value_parser = parse_length)]
    hold_max: Option<u64>,
    /// How much of packs an append token may read in a day; 0 for nothing
    ///
    /// For stock restic without its cache. Whoever has such a token can then read some of the
    /// repository's ciphertext.
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    append_read: Option<u64>,
}

impl SettingArguments {
    /// As a change of settings.
    pub fn changes(&self) -> SettingChanges {
        SettingChanges {
            quota_bytes: self.quota,
            hold_seconds_min: self.hold_min,
            hold_seconds: self.hold,
            hold_seconds_max: self.hold_max,
            append_read_bytes_daily: self.append_read,
        }
    }
}

/// Tokens.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a token; its secret is shown this once
    Add(NewToken),
    /// Revoke a token for ever
    Revoke {
        /// The token, as `list` shows it
        token: TokenId,
    },
    /// All tokens, without their secrets
    List,
}

/// What a token may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ScopeArgument {
    /// Back up: put packs, indexes and snapshots, read all but packs
    Append,
    /// Put a config and a key into a new repository, once
    Enrol,
    /// Read everything
    Restore,
    /// Read ciphertext and log, for another custodian
    Pull,
}

impl From<ScopeArgument> for Scope {
    fn from(scope: ScopeArgument) -> Self {
        match scope {
            ScopeArgument::Append => Self::Append,
            ScopeArgument::Enrol => Self::Enrol,
            ScopeArgument::Restore => Self::Restore,
            ScopeArgument::Pull => Self::Pull,
        }
    }
}

/// A token to be made.
#[derive(Debug, Args)]
pub struct NewToken {
    /// The repository that it is for
    pub repository: RepositoryName,
    /// What it may do; may be given several times
    #[arg(long, value_enum, default_values = ["append", "enrol"])]
    pub scope: Vec<ScopeArgument>,
    /// For whom it is, for the list
    #[arg(long, default_value = "")]
    pub label: String,
    /// How much it may put in a day, as 100G; 0 for no limit but the quota
    #[arg(long, value_name = "SIZE", value_parser = parse_size, default_value = "0")]
    pub daily: u64,
    /// How many requests it may make a minute; 0 for no limit
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    pub rate: u32,
}

impl NewToken {
    /// As something to ask for.
    pub fn to_ask(&self) -> crate::ask::NewToken {
        let mut scopes: Vec<Scope> = self.scope.iter().map(|scope| (*scope).into()).collect();
        scopes.sort_unstable();
        scopes.dedup();
        crate::ask::NewToken {
            repository: self.repository.clone(),
            scopes,
            label: self.label.clone(),
            put_bytes_daily: self.daily,
            requests_per_minute: self.rate,
        }
    }
}

/// The log.
#[derive(Debug, Subcommand)]
pub enum Log {
    /// Entries, the newest unless said otherwise
    Show {
        /// The first entry's number
        #[arg(long, value_name = "NUMBER")]
        from: Option<u64>,
        /// How many entries
        #[arg(long, value_name = "NUMBER", default_value_t = 20)]
        count: u64,
    },
}

/// Arguments of `generate`.
#[derive(Debug, Args)]
pub struct Generate {
    /// Write man pages into this folder
    #[arg(long, value_name = "FOLDER")]
    pub man: Option<PathBuf>,
    /// Write the completion for bash into this file, - for standard output
    #[arg(long, value_name = "FILE")]
    pub bash_completion: Option<PathBuf>,
    /// Write the completion for fish into this file, - for standard output
    #[arg(long, value_name = "FILE")]
    pub fish_completion: Option<PathBuf>,
    /// Write the completion for zsh into this file, - for standard output
    #[arg(long, value_name = "FILE")]
    pub zsh_completion: Option<PathBuf>,
    /// Write the systemd unit into this file, - for standard output
    #[arg(long, value_name = "FILE")]
    pub systemd: Option<PathBuf>,
}
