//! `custodian`: those who keep copies.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use outlast_custody::Scope;
use outlast_ops::{
    BucketCustodian, BucketUse, Custodian, CustodianKind, Custodians, FolderCustodian, Places, meet,
};
use outlast_store::Location;
use outlast_wire::Invite;
use serde::Serialize;

use super::custodian_bucket::{self, BucketArguments};
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
    /// Add a custodian: a vault by its invite, a bucket, a disk or a directory, here or over SFTP
    Add(Box<Add>),
    /// All custodians
    List,
    /// What is known of a custodian
    Show {
        /// Its name
        name: String,
    },
    /// Forget a custodian on this machine; what it keeps stays
    Remove {
        /// Its name
        name: String,
    },
}

#[derive(Debug, Args)]
struct Add {
    /// The invite, or - to read it from standard input, which keeps it out of the shell's history;
    /// or s3:https://HOST/BUCKET/PATH; or disk:FOLDER, a folder on a removable disk; or
    /// directory:FOLDER; or sftp:USER@HOST:FOLDER
    invite: String,
    /// The name by which it is known here
    #[arg(long)]
    name: Option<String>,
    /// Do not ask the custodian now whether it answers
    #[arg(long)]
    no_check: bool,
    #[command(flatten)]
    bucket: BucketArguments,
}

#[derive(Serialize)]
struct Row<'a> {
    name: &'a str,
    kind: &'static str,
    location: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    repository: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    addresses: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    identity: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scopes: Option<&'a [Scope]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attached: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bucket: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retention_days: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    protected: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    party: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    keys: Option<Vec<String>>,
}

impl<'a> Row<'a> {
    fn new(custodian: &'a Custodian) -> Self {
        let (invite, folder) = (custodian.invite(), custodian.folder());
        let bucket = custodian.bucket();
        let found = folder.map(|folder| folder.find());
        let path = |found: &Option<PathBuf>| {
            let last = folder.map(|folder| folder.path.clone());
            found
                .clone()
                .or(last)
                .unwrap_or_default()
                .display()
                .to_string()
        };
        Self {
            name: &custodian.name,
            kind: custodian.noun(),
            location: custodian.location(),
            repository: invite.map(|invite| invite.repository.to_string()),
            addresses: invite.map(|invite| invite.addresses.as_slice()),
            identity: invite.map(|invite| invite.identity.to_string()),
            scopes: invite.map(|invite| invite.scopes.as_slice()),
            path: found.as_ref().map(path),
            attached: found
                .as_ref()
                .filter(|_| !folder.is_some_and(FolderCustodian::is_remote))
                .map(Option::is_some),
            bucket: bucket.map(|bucket| bucket.location.as_str()),
            retention_days: bucket.and_then(|bucket| bucket.retention_days),
            protected: bucket.map(|bucket| bucket.retention_days.is_some()),
            party: bucket.and_then(|bucket| bucket.party.as_deref()),
            keys: bucket.map(keys_of),
        }
    }
}

/// Where the keys of a bucket are, without what is secret of them.
fn keys_of(bucket: &BucketCustodian) -> Vec<String> {
    let uses = BucketUse::ALL.into_iter();
    uses.filter_map(|use_| match (bucket.own_keys(use_), use_) {
        (Some(keys), _) => Some(format!("{}: {keys:?}", use_.noun())),
        (None, BucketUse::Write) => Some(format!("{}: from the environment", use_.noun())),
        (None, _) => None,
    })
    .collect()
}

/// Adds, lists and forgets custodians.
pub fn run(context: &Context, arguments: &Arguments) -> Result<u8, Failure> {
    let custodians = Custodians::of(&Places::of_user()?);
    match &arguments.command {
        Command::Add(add) => run_add(context, &custodians, add),
        Command::List => list(context, &custodians),
        Command::Show { name } => {
            show(context, &custodians.find(name)?);
            Ok(exit::OK)
        }
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
    if line.starts_with("sftp:") {
        return add_remote(context, custodians, add, line.trim());
    }
    if let Some((path, is_removable)) = folder_of(&line) {
        return add_folder(context, custodians, add, Path::new(path), is_removable);
    }
    if line.starts_with("s3:") {
        return add_bucket(context, custodians, add, line.trim());
    }
    let invite: Invite = line
        .parse()
        .map_err(|error: outlast_wire::InviteError| Failure::new(error.to_string()))?;
    // Whoever does not answer, or answers with another key or identity, is not added.
    let meeting = if add.no_check {
        None
    } else {
        let candidate = Custodian {
            name: "new".to_owned(),
            kind: CustodianKind::Vault(Box::new(invite.clone())),
        };
        let met = meet(&candidate, &context.connect_options()?);
        Some(met.map_err(|error| {
            Failure::from(error)
                .hint("is the vault being served, and reached from here? --no-check adds it unseen")
        })?)
    };
    let added = custodians.add(invite.clone(), add.name.as_deref())?;
    let custodian = &added.custodian;
    if context.global.json {
        json::print(&Row::new(custodian));
        return Ok(exit::OK);
    }
    let name = &custodian.name;
    message::line(format!(
        "{} {name}: repository {} at {}",
        if added.replaced { "renewed" } else { "added" },
        invite.repository,
        invite.addresses.join(", ")
    ));
    if let Some(meeting) = meeting {
        message::line(format!(
            "it keeps up to {}, and holds each backup for {} days; its log has {} entries so far",
            units::bytes(meeting.quota_bytes),
            meeting.hold_seconds / 86_400,
            meeting.log_entries
        ));
    }
    if custodian.takes_backups() {
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

/// The folder that a text names as a custodian, and whether it is on a removable disk.
fn folder_of(text: &str) -> Option<(&str, bool)> {
    let disk = text.strip_prefix("disk:").map(|path| (path, true));
    disk.or_else(|| text.strip_prefix("directory:").map(|path| (path, false)))
}

fn add_folder(
    context: &Context,
    custodians: &Custodians,
    add: &Add,
    path: &Path,
    is_removable: bool,
) -> Result<u8, Failure> {
    let last = path.file_name().unwrap_or_default().to_string_lossy();
    let usual = last.to_lowercase();
    let name = add.name.as_deref().unwrap_or(&usual);
    let folder = FolderCustodian::mark(path, is_removable)?;
    let custodian = custodians
        .add_folder(name, folder)
        .map_err(|error| Failure::from(error).hint("choose a name with --name"))?;
    if context.global.json {
        json::print(&Row::new(&custodian));
        return Ok(exit::OK);
    }
    message::line(format!(
        "added {name}: the {} at {}",
        custodian.noun(),
        path.display()
    ));
    if is_removable {
        message::line(
            "it is known by what is on it, wherever it is mounted; keep it away from this machine but for backups",
        );
    }
    message::line("next: `outlast protect`, or `outlast sync` for what was backed up before");
    Ok(exit::OK)
}

/// Adds a directory on another machine, which must let us in.
fn add_remote(
    context: &Context,
    custodians: &Custodians,
    add: &Add,
    address: &str,
) -> Result<u8, Failure> {
    let location = Location::parse(address)?;
    let Location::Sftp(sftp) = &location else {
        return Err(Failure::new("expected sftp:USER@HOST:FOLDER"));
    };
    let connect = context.connect_options()?;
    let folder = FolderCustodian::behind_sftp(sftp, &connect.sftp);
    let store = outlast_store::open(&location, &connect)?;
    if !add.no_check {
        let made = store.prepare();
        made.map_err(|error| {
            let hint = "does `sftp` by itself get there? --no-check adds it unseen";
            Failure::from(error).hint(hint)
        })?;
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
    let usual = sftp.host.to_lowercase().replace(|c| !plain(c), "-");
    let name = add.name.as_deref().unwrap_or(&usual);
    let custodian = custodians
        .add_folder(name, folder)
        .map_err(|error| Failure::from(error).hint("choose a name with --name"))?;
    if context.global.json {
        json::print(&Row::new(&custodian));
        return Ok(exit::OK);
    }
    message::line(format!("added {name}: the directory at {location}"));
    message::line(
        "whoever can write there can remove everything: a policy has to say whether it counts",
    );
    message::line("next: `outlast protect`, or `outlast sync` for what was backed up before");
    Ok(exit::OK)
}

fn add_bucket(
    context: &Context,
    custodians: &Custodians,
    add: &Add,
    location: &str,
) -> Result<u8, Failure> {
    let named = (location, add.name.as_deref());
    let custodian = custodian_bucket::add(context, custodians, named, &add.bucket, add.no_check)?;
    if context.global.json {
        json::print(&Row::new(&custodian));
        return Ok(exit::OK);
    }
    message::line(format!(
        "added {}: {}",
        custodian.name,
        describe(&custodian)
    ));
    message::line("next: `outlast protect`, or `outlast sync` for what was backed up before");
    Ok(exit::OK)
}

/// Everything about a custodian but its secrets.
fn show(context: &Context, custodian: &Custodian) {
    let row = Row::new(custodian);
    if context.global.json {
        return json::print(&row);
    }
    message::line(format!("{}  {}", row.location, describe(custodian)));
    if let Some(identity) = &row.identity {
        message::line(format!("identity    {identity}"));
    }
    if let Some(party) = row.party {
        message::line(format!("party       {}", super::clean(party)));
    }
    for keys in row.keys.iter().flatten() {
        message::line(super::clean(keys));
    }
}

/// Where a custodian is, and what else matters most.
fn describe(custodian: &Custodian) -> String {
    let row = Row::new(custodian);
    if let Some(invite) = custodian.invite() {
        let scopes = invite.scopes.iter();
        let scopes = scopes.map(|scope| format!("{scope:?}").to_lowercase());
        return format!(
            "repository {} at {}  ({})",
            invite.repository,
            invite.addresses.join(", "),
            scopes.collect::<Vec<_>>().join(", ")
        );
    }
    if let Some(bucket) = custodian.bucket() {
        let protection = match bucket.retention_days {
            Some(days) => format!("every object retained for {days} days"),
            None => "UNPROTECTED: no Object Lock".to_owned(),
        };
        return format!("{}  ({protection})", bucket.location);
    }
    let place = match row.attached {
        Some(true) => "here",
        Some(false) => "away",
        None => "on another machine",
    };
    format!("{}  ({place})", row.path.as_deref().unwrap_or_default())
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
        message::line(format!("{}  {}", custodian.location(), describe(custodian)));
    }
    Ok(exit::OK)
}
