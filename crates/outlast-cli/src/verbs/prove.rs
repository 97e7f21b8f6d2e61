//! `prove`: what the loss of each party and credential would destroy, shown by trying.

use std::path::PathBuf;

use clap::Args;
use outlast_log::VerifierKey;
use outlast_ops::{
    Attempt, AttemptOutcome, Configuration, Places, ProveRequest, Report, html, open_report, prove,
    prover_identity, write_durably,
};
use serde::Serialize;

use crate::context::Context;
use crate::exit::{self, Failure};
use crate::render::table::Table;
use crate::render::{json, message};

const DAY: u64 = 86_400;
/// Longest attack, in days, that may be asked for.
const ATTACK_DAYS_MAX: u64 = 36_500;

/// Arguments of `prove`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Only compute the table; try nothing
    #[arg(long)]
    no_attempts: bool,
    /// Also try this machine's SSH keys and agent against the custodians' hosts
    #[arg(long)]
    ssh: bool,
    /// How long the attacker goes on, in days: what is not held beyond that counts as lost
    #[arg(long, value_name = "DAYS", default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=ATTACK_DAYS_MAX))]
    attack_days: u64,
    /// Write the signed report into this file
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Write the report as a page for printing into this file
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Verify a signed report, offline, instead of making one
    #[arg(long, value_name = "FILE", conflicts_with_all = ["no_attempts", "ssh", "report"])]
    verify: Option<PathBuf>,
    /// Who must have signed the report that is verified; this machine unless given
    #[arg(long, value_name = "KEY", requires = "verify")]
    identity: Option<VerifierKey>,
}

#[derive(Serialize)]
struct ReportMessage<'a> {
    message_type: &'static str,
    clean: bool,
    signed_by: Vec<String>,
    report: &'a Report,
}

/// Proves, or verifies a proof.
pub fn run(context: &Context, arguments: &Arguments) -> Result<u8, Failure> {
    let places = Places::of_user()?;
    if let Some(file) = &arguments.verify {
        let identities = match &arguments.identity {
            Some(identity) => vec![identity.clone()],
            None => prover_identity(&places)?.into_iter().collect(),
        };
        if identities.is_empty() {
            return Err(
                Failure::new("it is not known who must have signed the report")
                    .hint("say so with --identity KEY, which `outlast prove` prints"),
            );
        }
        let (report, signers) = open_report(file, &identities)?;
        let signers: Vec<String> = signers.iter().map(ToString::to_string).collect();
        return show(context, arguments, &report, signers);
    }
    let configuration = Configuration::read(&places.config_file)?;
    let request = ProveRequest {
        attempts: !arguments.no_attempts,
        ssh: arguments.ssh,
        attack_seconds: arguments.attack_days * DAY,
    };
    let host = context.environment().hostname.clone();
    let connect = context.connect_options()?;
    let signed = prove(&places, configuration.as_ref(), &host, request, &connect)?;
    if let Some(file) = &arguments.report {
        write_durably(file, &signed.note, 0o644)?;
    }
    show(
        context,
        arguments,
        &signed.report,
        vec![signed.identity.to_string()],
    )
}

fn show(
    context: &Context,
    arguments: &Arguments,
    report: &Report,
    signed_by: Vec<String>,
) -> Result<u8, Failure> {
    if let Some(file) = &arguments.html {
        write_durably(file, html(report).as_bytes(), 0o644)?;
    }
    let code = match report.is_clean() {
        true => exit::OK,
        false => exit::NOT_SAFE_YET,
    };
    if context.global.json {
        json::print(&ReportMessage {
            message_type: "proof",
            clean: report.is_clean(),
            signed_by,
            report,
        });
        return Ok(code);
    }
    let mut table = Table::new(&[
        "if this is lost",
        "destroyed",
        "readable",
        "nothing left of",
        "left at",
    ]);
    // Pairs are in the report; here only those of which something is gone that neither alone takes.
    let single = |subject: &str| !subject.contains(" and ");
    for row in &report.losses {
        if !single(&row.subject) && row.gone.is_empty() {
            continue;
        }
        let destroyed = row.destroyed.iter();
        let destroyed = destroyed.map(|(name, keeps_held)| match keeps_held {
            true => format!("{name} (not what is held)"),
            false => name.clone(),
        });
        table.push(vec![
            row.subject.clone(),
            destroyed.collect::<Vec<_>>().join(", "),
            row.readable.join(", "),
            row.gone.join(", "),
            row.remains.join(", "),
        ]);
    }
    for line in table.lines() {
        message::line(super::clean(&line));
    }
    for attempt in &report.attempts {
        message::line(super::clean(&attempt.to_string()));
    }
    for finding in &report.findings {
        message::line(super::clean(&format!("finding: {finding}")));
    }
    message::line("");
    let red = report.red_lines().count();
    let is_wrong = |attempt: &Attempt| matches!(attempt.outcome, AttemptOutcome::Wrong(_));
    message::line(match (report.is_clean(), red) {
        (true, _) => {
            "no single loss destroys everything, and nothing that was tried succeeded".to_owned()
        }
        (false, 0) => "NOT SAFE: one loss alone leaves nothing of some data set".to_owned(),
        (false, red) if report.attempts.iter().any(is_wrong) => {
            format!("NOT SAFE: {red} things were seen or succeeded that should not")
        }
        (false, 1) => "NOT SAFE: 1 attempt succeeded that should not".to_owned(),
        (false, red) => format!("NOT SAFE: {red} attempts succeeded that should not"),
    });
    message::line(format!("signed by {}", signed_by.join(", ")));
    Ok(code)
}
