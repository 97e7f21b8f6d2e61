//! `sync`: completes the copies of custodians from one another.

use clap::Args;
use outlast_ops::{Configuration, Places, Synced, sync_all};
use serde::Serialize;

use crate::context::Context;
use crate::exit::{self, Failure};
use crate::render::completing::Completing;
use crate::render::{json, message, units};

/// Arguments of `sync`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Complete this custodian only
    #[arg(value_name = "CUSTODIAN")]
    only: Option<String>,
}

#[derive(Serialize)]
struct SyncMessage<'a> {
    message_type: &'static str,
    custodian: &'a str,
    complete: bool,
    copied: u64,
    copied_bytes: u64,
    lacking: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

/// Completes copies.
pub fn run(context: &Context, arguments: &Arguments) -> Result<u8, Failure> {
    let places = Places::of_user()?;
    let configuration = Configuration::read(&places.config_file)?;
    let display = Completing::new(context);
    let result = sync_all(
        &places,
        configuration.as_ref(),
        arguments.only.as_deref(),
        &context.connect_options()?,
        &context.cancel,
        &|step| display.show(step),
    );
    display.clear();
    let run = result?;
    let mut is_complete = true;
    for synced in &run.places {
        is_complete &= synced.is_complete();
        if context.global.json {
            tell_programs(synced);
        } else {
            tell(context, synced);
        }
    }
    for (name, reason) in &run.away {
        // A disk that is somewhere else is as it should be; it is completed when it comes.
        is_complete = false;
        if context.global.json {
            json::print(&SyncMessage {
                message_type: "sync",
                custodian: name,
                complete: false,
                copied: 0,
                copied_bytes: 0,
                lacking: 0,
                reason: Some(reason),
            });
        } else {
            message::warning(&format!("{name}: {reason}"));
        }
    }
    for kept in &run.kept {
        let outcome = kept.outcome.as_ref();
        is_complete &= outcome.is_ok_and(|proven| !proven.is_alarm());
        super::protect::tell_kept(context, kept);
    }
    if run.places.is_empty() && run.away.is_empty() && context.is_talkative() {
        message::line("there are no custodians yet: `outlast custodian add` adds one");
    }
    Ok(match is_complete {
        true => exit::OK,
        false => exit::INCOMPLETE,
    })
}

fn tell_programs(synced: &Synced) {
    json::print(&SyncMessage {
        message_type: "sync",
        custodian: &synced.name,
        complete: synced.is_complete(),
        copied: synced.copied,
        copied_bytes: synced.copied_bytes,
        lacking: synced.lacking,
        reason: synced.failure.as_deref(),
    });
}

/// Says what became of a place that was completed.
pub(super) fn tell(context: &Context, synced: &Synced) {
    let (name, copied) = (&synced.name, synced.copied);
    if let Some(reason) = &synced.failure {
        message::warning(&format!(
            "{name}: {reason}; run `outlast sync` again to go on"
        ));
    }
    if synced.lacking > 0 {
        message::warning(&format!(
            "{name} lacks {} objects that nobody here may read; run `outlast sync` on a machine with a \
             token to restore from another custodian",
            synced.lacking
        ));
    }
    if context.is_talkative() && synced.is_complete() {
        let bytes = units::bytes(synced.copied_bytes);
        message::line(match copied {
            0 => format!("{name} has everything"),
            _ => format!("{name} has everything now: {copied} objects copied, {bytes}"),
        });
    } else if context.is_talkative() && copied > 0 {
        message::line(format!("{name}: {copied} objects copied"));
    }
}
