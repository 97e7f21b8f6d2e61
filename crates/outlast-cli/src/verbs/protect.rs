//! `protect`: the whole job in one command.

use std::path::PathBuf;

use clap::Args;
use outlast_object::Id;
use outlast_ops::{Places, ProtectRequest, Verdict, prepare_protect, restore_command, run_protect};
use serde::Serialize;

use super::backup::{BackupDisplay, print_summary};
use crate::context::Context;
use crate::exit::{self, Failure};
use crate::render::{json, message};

/// Arguments of `protect`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Leave out what matches a pattern, now and later
    #[arg(short, long, value_name = "PATTERN")]
    exclude: Vec<String>,
    /// End with code 20 while the backup is not safe yet
    #[arg(long)]
    require_safe: bool,
    /// Files and folders to protect in addition to those protected before
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
}

#[derive(Serialize)]
struct VerdictMessage<'a> {
    message_type: &'static str,
    verdict: &'static str,
    safe: bool,
    places: u32,
    text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    custodian: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    held_until: Option<u64>,
    repository: &'a str,
    snapshot_id: Option<Id>,
    restore_command: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    restic_command: Option<&'a str>,
}

/// Protects.
pub fn run(context: &Context, arguments: Arguments) -> Result<u8, Failure> {
    if context.global.repo.is_some() && std::env::var_os("RESTIC_REPOSITORY").is_none() {
        return Err(Failure::new("protect keeps a repository of its own")
            .hint("use `outlast backup` for the repository that --repo names"));
    }
    let places = Places::of_user()?;
    let request = ProtectRequest {
        paths: arguments.paths,
        exclude: arguments.exclude,
        program_version: super::program_version(),
    };
    let cache = context.cache();
    let prepared = prepare_protect(
        places,
        &request,
        cache.clone(),
        context.environment(),
        &context.cancel,
    )?;
    let configuration = &prepared.configuration;
    if context.is_talkative() {
        if prepared.is_new {
            message::line(format!(
                "made a new repository:  {}",
                configuration.repository
            ));
            message::line(format!(
                "with its password in:   {}",
                configuration.password_file.display()
            ));
            message::line(
                "KEEP A COPY of the password file elsewhere: without it nobody can read the backup.",
            );
            message::line("");
        }
        for path in &configuration.paths {
            message::line(format!(
                "protecting {}",
                super::clean(&path.to_string_lossy())
            ));
        }
    }
    let display = BackupDisplay::new(context);
    let totals = |found, complete| display.set_totals(found, complete);
    let result = run_protect(&prepared, &request, &cache, &display, &totals);
    display.clear();
    let protected = result?;
    if context.is_talkative() {
        for folder in &protected.own_folders {
            message::note(&format!(
                "left out {}: it holds the backup itself",
                folder.display()
            ));
        }
    }
    print_summary(context, &protected.run, false, display.elapsed());
    let snapshot = protected.run.outcome.snapshot.as_ref().map(|(id, _)| *id);
    let short = snapshot.map_or_else(|| "latest".to_owned(), |id| id.short());
    let verdict = match &protected.held {
        Some(Ok(held)) => {
            super::receipts::tell(context, held);
            Verdict::of(held)
        }
        _ => Verdict::OnePlace,
    };
    let sentence = verdict.sentence();
    let (custodian, held_until) = match &verdict {
        Verdict::OneCustodian { custodian, until } => (Some(custodian.as_str()), Some(*until)),
        _ => (None, None),
    };
    let ours = restore_command("outlast", configuration, &short, "/tmp/restored");
    let theirs = restore_command("restic", configuration, &short, "/tmp/restored");
    if context.global.json {
        json::print(&VerdictMessage {
            message_type: "verdict",
            verdict: verdict.word(),
            safe: false,
            places: 1,
            text: &sentence,
            custodian,
            held_until,
            repository: &configuration.repository,
            snapshot_id: snapshot,
            restore_command: &ours,
            restic_command: prepared.custodian.is_none().then_some(&theirs),
        });
    } else {
        message::line("");
        message::line(&sentence);
        message::line(format!("restore with: {ours}"));
        match &prepared.custodian {
            None => message::line(format!("or without us: {theirs}")),
            Some(custodian) => message::line(format!(
                "which needs a token to read with: `outlast-vault invite {} --scope restore` at {}",
                custodian.invite.repository, custodian.name
            )),
        }
    }
    if let (Some(Err(error)), Some(custodian)) = (protected.held, &prepared.custodian) {
        return Err(Failure::no_receipt(&custodian.name, error));
    }
    Ok(match protected.run.outcome.errors {
        0 if arguments.require_safe => exit::NOT_SAFE_YET,
        0 => exit::OK,
        _ => exit::INCOMPLETE,
    })
}
