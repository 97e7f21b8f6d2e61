//! `status`: what is protected, and how safe it is.

use clap::Args;
use outlast_format::Time;
use outlast_object::Id;
use outlast_ops::{Configuration, Places, Safety, Status, Verdict, read_status, restore_command};
use serde::Serialize;

use crate::context::Context;
use crate::exit::{self, Failure};
use crate::render::{json, message, units};

/// Arguments of `status`: none.
#[derive(Debug, Args)]
pub struct Arguments {}

#[derive(Serialize)]
struct StatusMessage<'a> {
    message_type: &'static str,
    verdict: &'static str,
    safe: bool,
    text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    custodian: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    held_until: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    repository: Option<&'a str>,
    paths: Vec<String>,
    snapshots: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    newest_snapshot: Option<Id>,
    #[serde(skip_serializing_if = "Option::is_none")]
    newest_time: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    age_seconds: Option<i64>,
    snapshots_in_future: &'a [Id],
    #[serde(skip_serializing_if = "Option::is_none")]
    restore_command: Option<String>,
}

/// Shows the status.
pub fn run(context: &Context, _: &Arguments) -> Result<u8, Failure> {
    let places = Places::of_user()?;
    let configuration = Configuration::read(&places.config_file)?;
    let mut safety = Safety::of(&places, configuration.as_ref())?;
    let has_bucket = safety.keepers().iter().any(|one| one.bucket().is_some());
    if safety.keepers().len() > 1 || has_bucket {
        return super::status_table::run(context, &mut safety);
    }
    let status = read_status(
        &places,
        context.cache(),
        context.environment(),
        &context.cancel,
    )?;
    match (&status, context.global.json) {
        (status, true) => print_json(status.as_ref()),
        (Some(status), false) => print_text(status),
        (None, false) => message::line(Verdict::Nothing.sentence()),
    }
    Ok(exit::OK)
}

fn command(status: &Status) -> Option<String> {
    let newest = status.newest.as_ref()?;
    Some(restore_command(
        "outlast",
        &status.configuration,
        &newest.id.short(),
        "/tmp/restored",
    ))
}

fn age_seconds(status: &Status) -> Option<i64> {
    status
        .newest
        .as_ref()
        .map(|newest| (status.now.seconds() - newest.snapshot.time.seconds()).max(0))
}

fn print_json(status: Option<&Status>) {
    let verdict = status.map_or(&Verdict::Nothing, |status| &status.verdict);
    let text = verdict.sentence();
    let (custodian, held_until) = match verdict {
        Verdict::OneCustodian { custodian, until } => (Some(custodian.as_str()), Some(*until)),
        _ => (None, None),
    };
    let newest = status.and_then(|status| status.newest.as_ref());
    let paths = status
        .map(|status| &status.configuration.paths)
        .into_iter()
        .flatten();
    json::print(&StatusMessage {
        message_type: "status_report",
        verdict: verdict.word(),
        safe: false,
        text: &text,
        custodian,
        held_until,
        repository: status.map(|status| status.configuration.repository.as_str()),
        paths: paths
            .map(|path| path.to_string_lossy().into_owned())
            .collect(),
        snapshots: status.map_or(0, |status| status.snapshots),
        newest_snapshot: newest.map(|newest| newest.id),
        newest_time: newest.map(|newest| newest.snapshot.time),
        age_seconds: status.and_then(age_seconds),
        snapshots_in_future: status.map_or(&[], |status| &status.future),
        restore_command: status.and_then(command),
    });
}

fn print_text(status: &Status) {
    message::line(format!("repository  {}", status.configuration.repository));
    for path in &status.configuration.paths {
        message::line(format!(
            "protects    {}",
            super::clean(&path.to_string_lossy())
        ));
    }
    message::line(format!("snapshots   {}", status.snapshots));
    if let (Some(newest), Some(age)) = (&status.newest, age_seconds(status)) {
        let age = units::duration(std::time::Duration::from_secs(age.unsigned_abs()));
        message::line(format!(
            "newest      {} of {} ({age} ago)",
            newest.id.short(),
            units::time(newest.snapshot.time)
        ));
        if let Some(summary) = &newest.snapshot.summary {
            let (files, bytes) = (summary.total_files_processed, summary.total_bytes_processed);
            message::line(format!(
                "size        {} in {files} files",
                units::bytes(bytes)
            ));
        }
    }
    for id in &status.future {
        message::warning(&format!(
            "snapshot {} is dated in the future and counts for nothing",
            id.short()
        ));
    }
    message::line("");
    message::line(status.verdict.sentence());
    if let Some(command) = command(status) {
        message::line(format!("restore with: {command}"));
    }
}
