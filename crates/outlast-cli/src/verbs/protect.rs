//! `protect`: the whole job in one command.

use std::path::PathBuf;

use clap::Args;
use outlast_custody::EvidenceKind;
use outlast_object::Id;
use outlast_ops::{
    Kept, Places, Prepared, ProtectRequest, Proven, SyncStep, Verdict, is_custodian_location,
    moment, prepare_protect, restore_command, run_protect,
};
use outlast_wire::Invite;
use serde::Serialize;

use super::backup::{BackupDisplay, print_summary};
use crate::context::Context;
use crate::exit::{self, Failure};
use crate::render::completing::Completing;
use crate::render::{json, message, units};

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
    places: usize,
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
        scan: context.is_watched(),
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
                "KEEP A COPY of the password elsewhere, on paper by `outlast kit`: without it nobody can read the backup.",
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
    let completing = Completing::new(context);
    let complete = |step: &SyncStep<'_>| {
        display.clear();
        completing.show(step);
    };
    let result = run_protect(&prepared, &request, &cache, &display, &totals, &complete);
    completing.clear();
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
    if !context.global.json {
        for synced in &protected.completed {
            super::sync::tell(context, synced);
        }
    }
    for kept in &protected.kept {
        tell_kept(context, kept);
    }
    let safety = protected.safety.as_ref();
    let verdict = match safety {
        Some(judged) => Verdict::judged(&judged.verdict, judged.sentence.clone(), &protected.kept),
        None => Verdict::OnePlace,
    };
    let sentence = verdict.sentence();
    let (custodian, held_until) = match &verdict {
        Verdict::OneCustodian { custodian, until } => (Some(custodian.as_str()), Some(*until)),
        Verdict::Safe { held_until, .. } => (None, Some(*held_until)),
        _ => (None, None),
    };
    let ours = restore_command("outlast", configuration, &short, "/tmp/restored");
    let theirs = restore_command("restic", configuration, &short, "/tmp/restored");
    let is_own = !is_custodian_location(&configuration.repository);
    if context.global.json {
        json::print(&VerdictMessage {
            message_type: "verdict",
            verdict: verdict.word(),
            safe: verdict.is_safe(),
            places: usize::from(is_own)
                + protected
                    .kept
                    .iter()
                    .filter(|kept| kept.outcome.is_ok())
                    .count(),
            text: &sentence,
            custodian,
            held_until,
            repository: &configuration.repository,
            snapshot_id: snapshot,
            restore_command: &ours,
            restic_command: is_own.then_some(&theirs),
        });
    } else {
        message::line("");
        message::line(&sentence);
        message::line(format!("restore with: {ours}"));
        if is_own {
            message::line(format!("or without us: {theirs}"));
        } else if let Some((name, invite)) = vault_of(&prepared, &configuration.repository) {
            message::line(format!(
                "which needs a token to read with: `outlast-vault invite {} --scope restore` at {name}",
                invite.repository
            ));
        }
    }
    let exit_code = match protected.run.outcome.errors {
        0 => exit::OK,
        _ => exit::INCOMPLETE,
    };
    let may_be_safe =
        arguments.require_safe || prepared.keepers.len() > 1 || configuration.custody.is_some();
    if may_be_safe && !verdict.is_safe() && exit_code == exit::OK {
        return Ok(exit::NOT_SAFE_YET);
    }
    let mut kept = protected.kept;
    let is_alarm = |kept: &Kept| kept.outcome.as_ref().is_ok_and(Proven::is_alarm);
    if exit_code == exit::OK && kept.iter().any(is_alarm) {
        return Ok(exit::INCOMPLETE);
    }
    if let (1, Some(only), exit::OK) = (kept.len(), kept.pop(), exit_code)
        && let Err(error) = only.outcome
    {
        return Err(Failure::not_kept(&only.custodian.name, error));
    }
    Ok(exit_code)
}

fn vault_of<'a>(prepared: &'a Prepared, location: &str) -> Option<(&'a str, &'a Invite)> {
    let keeper = prepared
        .keepers
        .iter()
        .find(|keeper| keeper.location() == location)?;
    Some((&keeper.name, keeper.invite()?))
}

#[derive(Serialize)]
struct KeptMessage<'a> {
    message_type: &'static str,
    custodian: &'a str,
    kind: &'static str,
    proof: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    held_until: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    objects: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// Says what a custodian showed.
pub fn tell_kept(context: &Context, kept: &Kept) {
    let name = &kept.custodian.name;
    if let Ok(Proven::Receipt(held)) = &kept.outcome {
        return super::receipts::tell(context, held);
    }
    let evidence = match &kept.outcome {
        Ok(Proven::Evidence(evidence)) => Some(evidence),
        Ok(Proven::Retained(retained)) => {
            super::bucket::tell_alarms(name, &retained.renewals);
            Some(&retained.evidence)
        }
        _ => None,
    };
    let reason = kept.outcome.as_ref().err();
    if context.global.json {
        json::print(&KeptMessage {
            message_type: "custodian",
            custodian: name,
            kind: kept.custodian.noun(),
            proof: if evidence.is_some() {
                "evidence"
            } else {
                "none"
            },
            held_until: evidence.and_then(|evidence| evidence.retained_until),
            objects: evidence.map(|evidence| evidence.objects),
            reason: reason.map(ToString::to_string),
        });
        return;
    }
    match (evidence, reason) {
        (Some(evidence), _) if context.is_talkative() => {
            let how = match (evidence.kind, evidence.retained_until) {
                (EvidenceKind::Retention, Some(until)) => {
                    format!("retained until {}", moment(until))
                }
                (EvidenceKind::Retention, None) => "UNPROTECTED: nothing retains them".to_owned(),
                _ => "read back".to_owned(),
            };
            message::line(format!(
                "evidence: {name} keeps all {} objects of it ({}), {how}",
                evidence.objects,
                units::bytes(evidence.bytes)
            ));
        }
        (_, Some(reason)) => message::warning(&format!("{name}: {reason}")),
        _ => {}
    }
}
