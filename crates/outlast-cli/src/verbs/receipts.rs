//! `receipts`: what custodians have signed, verified anew each time it is shown.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use outlast_custody::VerifiedReceipt;
use outlast_log::VerifierKey;
use outlast_ops::{Custodians, Held, Places, kept_receipts, moment, verify_receipt};
use serde::Serialize;

use crate::context::Context;
use crate::exit::{self, Failure};
use crate::render::{json, message, units};

/// Arguments of `receipts`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// All receipts that are kept here, newest last
    List,
    /// Verify receipts, offline
    Verify(Box<Verify>),
}

#[derive(Debug, Args)]
struct Verify {
    /// The receipts
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Whose receipts they must be, as a verifier key; the custodians known here unless given
    #[arg(long, value_name = "KEY")]
    identity: Option<VerifierKey>,
}

/// A receipt for programs.
#[derive(Serialize)]
struct Row<'a> {
    message_type: &'static str,
    valid: bool,
    file: &'a Path,
    #[serde(skip_serializing_if = "Option::is_none")]
    custodian: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none", flatten)]
    proof: Option<Proof>,
}

/// What a receipt proves.
#[derive(Serialize)]
struct Proof {
    identity: String,
    repository: String,
    snapshot_id: String,
    objects: u64,
    bytes: u64,
    made: u64,
    held_until: u64,
    verified: u64,
    exact: bool,
    entry: u64,
    log_entries: u64,
    witnessed: bool,
}

impl Proof {
    fn new(receipt: &VerifiedReceipt) -> Self {
        let (seal, proof) = (receipt.seal(), receipt.proof());
        let checkpoint = proof.checkpoint().checkpoint();
        Self {
            identity: checkpoint.origin.clone(),
            repository: seal.repository.to_string(),
            snapshot_id: seal.snapshot.0.to_hex(),
            objects: seal.objects,
            bytes: seal.bytes,
            made: receipt.time(),
            held_until: seal.until,
            verified: seal.verified,
            exact: seal.list.is_some(),
            entry: proof.index(),
            log_entries: checkpoint.size,
            witnessed: !receipt.is_unwitnessed(),
        }
    }
}

/// Shows and verifies receipts.
pub fn run(context: &Context, arguments: &Arguments) -> Result<u8, Failure> {
    match &arguments.command {
        None | Some(Command::List) => list(context),
        Some(Command::Verify(arguments)) => {
            verify(context, &arguments.files, arguments.identity.as_ref())
        }
    }
}

fn list(context: &Context) -> Result<u8, Failure> {
    let all = kept_receipts(&Places::of_user()?)?;
    let mut bad = 0;
    for kept in &all {
        bad += u32::from(kept.verified.is_err());
        show(
            context,
            &kept.path,
            Some(&kept.custodian),
            kept.verified.as_ref().map_err(String::as_str),
        );
    }
    if all.is_empty() && !context.global.json {
        message::line("no receipt yet: backups to a custodian bring them");
    }
    Ok(if bad == 0 { exit::OK } else { exit::FAILED })
}

fn verify(
    context: &Context,
    files: &[PathBuf],
    identity: Option<&VerifierKey>,
) -> Result<u8, Failure> {
    let known = match identity {
        Some(identity) => vec![(None, identity.clone())],
        None => {
            let all = Custodians::of(&Places::of_user()?).list()?;
            let with_key = |custodian: outlast_ops::Custodian| {
                let identity = custodian.invite()?.identity.clone();
                Some((Some(custodian.name), identity))
            };
            all.into_iter().filter_map(with_key).collect()
        }
    };
    if known.is_empty() {
        return Err(
            Failure::new("there is no custodian whose receipts these could be")
                .hint("say whose they are with --identity KEY, as `outlast-vault status` shows it"),
        );
    }
    let mut bad = 0;
    for file in files {
        let mut outcome = Err("no custodian is known here that could have signed it".to_owned());
        for (name, identity) in &known {
            let verified = verify_receipt(file, identity, &[]);
            let is_proven = verified.is_ok();
            if is_proven || known.len() == 1 {
                outcome = verified.map(|receipt| (name.as_deref(), receipt));
            }
            if is_proven {
                break;
            }
        }
        bad += u32::from(outcome.is_err());
        match &outcome {
            Ok((name, receipt)) => show(context, file, *name, Ok(receipt)),
            Err(reason) => show(context, file, None, Err(reason)),
        }
    }
    Ok(if bad == 0 { exit::OK } else { exit::FAILED })
}

fn show(
    context: &Context,
    file: &Path,
    custodian: Option<&str>,
    verified: Result<&VerifiedReceipt, &str>,
) {
    if context.global.json {
        json::print(&Row {
            message_type: "receipt",
            valid: verified.is_ok(),
            file,
            custodian,
            error: verified.err(),
            proof: verified.ok().map(Proof::new),
        });
        return;
    }
    match verified {
        Ok(receipt) => message::line(format!("valid    {}", sentence(receipt, custodian))),
        Err(reason) => message::line(format!("INVALID  {}: {reason}", file.display())),
    }
}

fn sentence(receipt: &VerifiedReceipt, custodian: Option<&str>) -> String {
    let proof = Proof::new(receipt);
    format!(
        "{} holds snapshot {} of {}, {} objects ({}), until {}; entry {} of its log{}{}",
        super::clean(custodian.unwrap_or(&proof.identity)),
        &proof.snapshot_id[..8],
        proof.repository,
        proof.objects,
        units::bytes(proof.bytes),
        moment(proof.held_until),
        proof.entry,
        if proof.witnessed { "" } else { ", unwitnessed" },
        if proof.exact {
            ""
        } else {
            ", without a list of objects"
        }
    )
}

/// Tells of a receipt that was just given.
pub fn tell(context: &Context, held: &Held) {
    if context.global.json {
        show(
            context,
            &held.path,
            Some(&held.custodian),
            Ok(&held.receipt),
        );
    } else if context.is_talkative() {
        message::line(format!(
            "receipt: {}",
            sentence(&held.receipt, Some(&held.custodian))
        ));
    }
}
