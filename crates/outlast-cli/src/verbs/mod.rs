//! The verbs: a module for each, with its arguments and its act.

mod backup;
mod bucket;
mod cache;
mod cat;
mod check;
mod copy;
mod custodian;
mod custodian_bucket;
mod diff;
mod dump;
mod export;
mod find;
mod forget;
mod generate;
mod init;
mod key;
mod kit;
mod list;
mod ls;
mod mount;
mod protect;
mod prove;
mod prune;
mod receipts;
mod recover;
mod repair;
mod restore;
mod rewrite;
mod snapshots;
mod stats;
mod status;
mod status_table;
mod sync;
mod tag;
mod unlock;
mod version;

use clap::Subcommand;
use outlast_repo::Cancel;

use crate::args::CommandLine;
use crate::context::Context;
use crate::exit::{self, Failure};
use crate::render::message;

/// What can be done.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Protect files and folders: the whole job in one command
    Protect(protect::Arguments),
    /// Show what is protected, and how safe it is
    Status(status::Arguments),
    /// Show what any loss would destroy, by trying with every credential of this machine
    Prove(prove::Arguments),
    /// Complete the copies of custodians from one another; no password is needed
    Sync(sync::Arguments),
    /// Add, list and forget custodians: those who keep copies
    Custodian(custodian::Arguments),
    /// Check buckets, extend their retention, and try what they withstand
    Bucket(bucket::Arguments),
    /// Show and verify the receipts of custodians
    Receipts(receipts::Arguments),
    /// Print the recovery kit, or test one that was typed again
    Kit(kit::Arguments),
    /// Make a new repository
    Init(init::Arguments),
    /// Make a snapshot of files and folders
    Backup(Box<backup::Arguments>),
    /// List snapshots
    Snapshots(snapshots::Arguments),
    /// List what is in a snapshot
    Ls(ls::Arguments),
    /// Find files, blobs, trees and packs
    Find(find::Arguments),
    /// Show what differs between two snapshots
    Diff(diff::Arguments),
    /// Put files and folders of a snapshot into a folder
    Restore(Box<restore::Arguments>),
    /// Print a file, or a folder as an archive
    Dump(dump::Arguments),
    /// Write a plain restic repository folder out of any location, without a password
    Export(export::Arguments),
    /// Check whether everything is there and intact
    Check(check::Arguments),
    /// Show all snapshots as a read-only directory
    Mount(mount::Arguments),
    /// Remove snapshots, by a policy or by their ids
    Forget(Box<forget::Arguments>),
    /// Remove data that no snapshot needs
    Prune(prune::Arguments),
    /// Copy snapshots from another repository
    Copy(copy::Arguments),
    /// Make snapshots anew, without files that should not be in them
    Rewrite(Box<rewrite::Arguments>),
    /// Change the tags of snapshots
    Tag(tag::Arguments),
    /// List, add, change and remove keys (passwords)
    Key(key::Arguments),
    /// Count files, blobs and bytes
    Stats(stats::Arguments),
    /// Print an object as it is inside
    Cat(cat::Arguments),
    /// List the ids of objects
    List(list::Arguments),
    /// Remove locks that nobody holds any more
    Unlock(unlock::Arguments),
    /// Mend an index, packs or snapshots
    Repair(repair::Arguments),
    /// Get everything back from a recovery kit, or find lost trees
    Recover(Box<recover::Arguments>),
    /// List local caches, or remove old ones
    Cache(cache::Arguments),
    /// Print the completion for a shell
    Completion(generate::CompletionArguments),
    /// Write man pages and completions
    Generate(generate::Arguments),
    /// Print the version
    Version(version::Arguments),
}

impl Verb {
    /// Whether what it prints is all that it is for.
    fn only_shows(&self) -> bool {
        matches!(
            self,
            Verb::Snapshots(_)
                | Verb::Ls(_)
                | Verb::Find(_)
                | Verb::Diff(_)
                | Verb::Cat(_)
                | Verb::List(_)
                | Verb::Stats(_)
        )
    }

    /// What to do instead where the store removes and replaces nothing.
    fn instead_of_removing(&self) -> Option<&'static str> {
        match self {
            Verb::Forget(_) | Verb::Prune(_) => Some(
                "a vault keeps what it has taken; if its room runs out, have the quota raised there",
            ),
            Verb::Tag(_) => Some("give tags when backing up, with `outlast backup --tag`"),
            Verb::Rewrite(_) => Some(
                "without --forget the new snapshots are added, and the old ones stay beside them",
            ),
            Verb::Key(_) => Some(
                "the keys of a repository in a vault stay as they are; for another password make \
                 another repository there, with a token to enrol, and copy into it",
            ),
            Verb::Repair(_) => Some(
                "nothing in a vault is mended from outside: back up again what still exists, and \
                 copy what is left into another repository to repair it there",
            ),
            _ => None,
        }
    }
}

/// Runs a verb; gives the exit code.
pub fn run(command_line: CommandLine, cancel: &Cancel) -> Result<u8, Failure> {
    if command_line.verb.only_shows() {
        message::stop_when_unheard(cancel);
    }
    let instead = command_line.verb.instead_of_removing();
    run_verb(command_line, cancel).map_err(|failure| match instead {
        Some(instead) if failure.code == exit::KEPT => failure.hint(instead),
        _ => failure,
    })
}

fn run_verb(command_line: CommandLine, cancel: &Cancel) -> Result<u8, Failure> {
    let context = Context {
        global: command_line.global,
        cancel: cancel.clone(),
    };
    match command_line.verb {
        Verb::Protect(arguments) => protect::run(&context, arguments),
        Verb::Status(arguments) => status::run(&context, &arguments),
        Verb::Prove(arguments) => prove::run(&context, &arguments),
        Verb::Bucket(arguments) => bucket::run(&context, &arguments),
        Verb::Sync(arguments) => sync::run(&context, &arguments),
        Verb::Custodian(arguments) => custodian::run(&context, &arguments),
        Verb::Receipts(arguments) => receipts::run(&context, &arguments),
        Verb::Kit(arguments) => kit::run(&context, &arguments),
        Verb::Init(arguments) => init::run(&context, &arguments),
        Verb::Backup(arguments) => backup::run(&context, *arguments),
        Verb::Snapshots(arguments) => snapshots::run(&context, &arguments),
        Verb::Export(arguments) => export::run(&context, &arguments),
        Verb::Check(arguments) => check::run(&context, &arguments),
        Verb::Mount(arguments) => mount::run(&context, &arguments),
        Verb::Forget(arguments) => forget::run(&context, &arguments),
        Verb::Prune(arguments) => prune::run(&context, &arguments),
        Verb::Copy(arguments) => copy::run(&context, &arguments),
        Verb::Rewrite(arguments) => rewrite::run(&context, &arguments),
        Verb::Tag(arguments) => tag::run(&context, &arguments),
        Verb::Key(arguments) => key::run(&context, &arguments),
        Verb::Stats(arguments) => stats::run(&context, &arguments),
        Verb::Cat(arguments) => cat::run(&context, &arguments),
        Verb::List(arguments) => list::run(&context, &arguments),
        Verb::Unlock(arguments) => unlock::run(&context, &arguments),
        Verb::Repair(arguments) => repair::run(&context, &arguments),
        Verb::Recover(arguments) => recover::run(&context, &arguments),
        Verb::Cache(arguments) => cache::run(&context, &arguments),
        Verb::Completion(arguments) => generate::run_completion(&arguments),
        Verb::Generate(arguments) => generate::run(&arguments),
        Verb::Ls(arguments) => ls::run(&context, &arguments),
        Verb::Find(arguments) => find::run(&context, &arguments),
        Verb::Diff(arguments) => diff::run(&context, &arguments),
        Verb::Restore(arguments) => restore::run(&context, &arguments),
        Verb::Dump(arguments) => dump::run(&context, &arguments),
        Verb::Version(arguments) => version::run(&context, &arguments),
    }
}

/// Text from a repository without characters that move the cursor.
pub fn clean(text: &str) -> String {
    text.chars()
        .map(|character| {
            if character.is_control() {
                '\u{fffd}'
            } else {
                character
            }
        })
        .collect()
}

/// Program name and version, as snapshots keep it.
pub fn program_version() -> String {
    format!("outlast {}", env!("CARGO_PKG_VERSION"))
}
