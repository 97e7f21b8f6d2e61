//! `custodian`: the vaults that keep copies.

use clap::{Args, Subcommand};
use outlast_custody::Scope;
use outlast_ops::{Custodian, Custodians, Places, meet};
use outlast_wire::Invite;
use serde::Serialize;

use crate::context::Context;
use crate::exit::{self, Failure};
use crate::render::{json, message, units};

/// Arguments of `custodian`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Add a custodian with the line that `outlast-vault invite` printed
    Add(Add),
    /// All custodians
    List,
    /// Forget a custodian on this machine; what it keeps stays
    Remove {
        /// Its name
        name: String,
    },
}

#[derive(Debug, Args)]
struct Add {
    /// The invite, or - to read it from standard input, which keeps it out of the shell's history
    invite: String,
    /// The name by which it is known here
    #[arg(long)]
    name: Option<String>,
    /// Do not ask the custodian now whether it answers
    #[arg(long)]
    no_check: bool,
}

#[derive(Serialize)]
struct Row<'a> {
    name: &'a str,
    location: String,
    repository: String,
    addresses: &'a [String],
    identity: String,
    scopes: &'a [Scope],
}

impl<'a> Row<'a> {
    fn new(custodian: &'a Custodian) -> Self {
        let invite = &custodian.invite;
        Self {
            name: &custodian.name,
            location: format!("vault:{}", custodian.name),
            repository: invite.repository.to_string(),
            addresses: &invite.addresses,
            identity: invite.identity.to_string(),
            scopes: &invite.scopes,
        }
    }
}

/// Adds, lists and forgets custodians.
pub fn run(context: &Context, arguments: &Arguments) -> Result<u8, Failure> {
    let custodians = Custodians::of(&Places::of_user()?);
    match &arguments.command {
        Command::Add(add) => run_add(context, &custodians, add),
        Command::List => list(context, &custodians),
        Command::Remove { name } => {
            custodians.remove(name)?;
            if context.is_talkative() {
                message::line(format!(
                    "forgot {name} here; what it keeps stays, and its receipts too"
                ));
            }
            Ok(exit::OK)
        }
    }
}

fn run_add(context: &Context, custodians: &Custodians, add: &Add) -> Result<u8, Failure> {
    let line = if add.invite == "-" {
        std::io::read_to_string(std::io::Read::take(std::io::stdin(), 64 * 1024))?
    } else {
        add.invite.clone()
    };
    let invite: Invite = line
        .parse()
        .map_err(|error: outlast_wire::InviteError| Failure::new(error.to_string()))?;
    // Whoever does not answer, or answers with another key or identity, is not added.
    let meeting = if add.no_check {
        None
    } else {
        let candidate = Custodian {
            name: "new".to_owned(),
            invite: invite.clone(),
        };
        let met = meet(&candidate, &context.connect_options()?);
        Some(met.map_err(|error| {
            Failure::from(error)
                .hint("is the vault being served, and reached from here? --no-check adds it unseen")
        })?)
    };
    let added = custodians.add(invite, add.name.as_deref())?;
    let custodian = &added.custodian;
    if context.global.json {
        json::print(&Row::new(custodian));
        return Ok(exit::OK);
    }
    let name = &custodian.name;
    message::line(format!(
        "{} {name}: repository {} at {}",
        if added.replaced { "renewed" } else { "added" },
        custodian.invite.repository,
        custodian.invite.addresses.join(", ")
    ));
    if let Some(meeting) = meeting {
        message::line(format!(
            "it keeps up to {}, and holds each backup for {} days; its log has {} entries so far",
            units::bytes(meeting.quota_bytes),
            meeting.hold_seconds / 86_400,
            meeting.log_entries
        ));
    }
    if custodian.invite.scopes.contains(&Scope::Append) {
        message::line(format!(
            "next: `outlast protect PATH`, or `outlast -r vault:{name}` with any verb of restic"
        ));
    } else {
        message::line(format!(
            "next: `outlast -r vault:{name} snapshots`, `restore` and the other verbs that read"
        ));
    }
    Ok(exit::OK)
}

fn list(context: &Context, custodians: &Custodians) -> Result<u8, Failure> {
    let all = custodians.list()?;
    if context.global.json {
        json::print(&all.iter().map(Row::new).collect::<Vec<_>>());
        return Ok(exit::OK);
    }
    if all.is_empty() {
        message::line("no custodian yet: add one with the line that `outlast-vault invite` prints");
    }
    for custodian in &all {
        let invite = &custodian.invite;
        let scopes: Vec<String> = invite
            .scopes
            .iter()
            .map(|scope| format!("{scope:?}").to_lowercase())
            .collect();
        message::line(format!(
            "vault:{}  repository {} at {}  ({})",
            custodian.name,
            invite.repository,
            invite.addresses.join(", "),
            scopes.join(", ")
        ));
    }
    Ok(exit::OK)
}
