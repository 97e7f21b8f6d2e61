//! `export`: a plain restic repository folder out of any location.

use std::path::PathBuf;

use clap::Args;
use outlast_object::ObjectKind;
use outlast_ops::{ExportError, ExportObserver, ExportOutcome, export};
use outlast_store::{LocalStore, open};
use serde::Serialize;

use crate::context::Context;
use crate::exit::{self, Failure};
use crate::render::progress::Progress;
use crate::render::{json, message, units};

/// Arguments of `export`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Folder to write the repository into; one that an earlier run began is completed
    #[arg(value_name = "FOLDER")]
    target: PathBuf,
}

struct Display(Progress);

impl ExportObserver for Display {
    fn begin(&self, kind: ObjectKind, objects: u64) {
        self.0.restart(objects);
        self.0.set_message(format!("{} exported", kind.folder()));
    }

    fn advance(&self, _: ObjectKind) {
        self.0.add(1);
    }
}

#[derive(Serialize)]
struct Failed {
    message_type: &'static str,
    item: String,
    message: String,
}

#[derive(Serialize)]
struct Summary<'a> {
    message_type: &'static str,
    target: &'a str,
    objects_written: u64,
    objects_present: u64,
    objects_mended: u64,
    objects_failed: usize,
    bytes_written: u64,
}

impl From<ExportError> for Failure {
    fn from(error: ExportError) -> Self {
        let text = error.to_string();
        match error {
            ExportError::Store(error) => error.into(),
            ExportError::NoRepository(_) => Failure::with_code(exit::NO_REPOSITORY, text),
            ExportError::OtherRepository(_) => Failure::new(text).hint("name an empty folder"),
            ExportError::Cancelled => Failure::with_code(exit::INTERRUPTED, text),
        }
    }
}

/// Writes the folder.
pub fn run(context: &Context, arguments: &Arguments) -> Result<u8, Failure> {
    let (place, connect) = context.place(&context.location_text()?)?;
    let source = open(&place.location, &connect)?;
    let target = LocalStore::open(&arguments.target)?;
    let display = Display(Progress::items(context.is_talkative()));
    let result = export(&source, &target, &display, &context.cancel);
    display.0.clear();
    let outcome = result?;
    tell(context, arguments, &outcome);
    if outcome.failures.is_empty() {
        return Ok(exit::OK);
    }
    Err(Failure::new(format!(
        "{} objects are missing or damaged at the source",
        outcome.failures.len()
    ))
    .hint("everything else is in the folder; run the same from another copy into it, or `outlast check` it"))
}

fn tell(context: &Context, arguments: &Arguments, outcome: &ExportOutcome) {
    let target = arguments.target.to_string_lossy();
    if context.global.json {
        for failure in &outcome.failures {
            json::print(&Failed {
                message_type: "error",
                item: failure.name.to_string(),
                message: failure.reason.clone(),
            });
        }
        json::print(&Summary {
            message_type: "summary",
            target: &target,
            objects_written: outcome.objects_written,
            objects_present: outcome.objects_present,
            objects_mended: outcome.objects_mended,
            objects_failed: outcome.failures.len(),
            bytes_written: outcome.bytes_written,
        });
        return;
    }
    for failure in &outcome.failures {
        message::warning(&format!("{}: {}", failure.name, failure.reason));
    }
    if context.is_talkative() {
        message::line(format!(
            "exported to {target}: {} objects written ({}), {} were there already",
            outcome.objects_written + outcome.objects_mended,
            units::bytes(outcome.bytes_written),
            outcome.objects_present
        ));
        message::line(format!(
            "read it with: restic -r {} snapshots",
            outlast_ops::shell_quote(&target)
        ));
    }
}
