//! `mount`: shows all snapshots as a read-only directory.

use std::path::PathBuf;

use clap::Args;
use outlast_ops::{MountOptions, mount_repository, stored_snapshots};

use crate::args::FilterArguments;
use crate::context::Context;
use crate::exit::{self, Failure};
use crate::render::message;

/// Arguments of `mount`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Let other users look as well
    #[arg(long)]
    allow_other: bool,
    /// With --allow-other: whatever the permissions say
    #[arg(long)]
    no_default_permissions: bool,
    /// Root owns everything
    #[arg(long)]
    owner_root: bool,
    /// Where snapshots are shown: %i and %I the id, %u user, %h host, %t tags, %T time
    #[arg(long, value_name = "TEMPLATE")]
    path_template: Vec<String>,
    /// How times are written
    #[arg(long, value_name = "TEMPLATE")]
    time_template: Option<String>,
    #[command(flatten)]
    filter: FilterArguments,
    /// An existing directory
    #[arg(value_name = "MOUNTPOINT")]
    mountpoint: PathBuf,
}

/// Mounts the repository until it is unmounted or the program is interrupted.
pub fn run(context: &Context, arguments: &Arguments) -> Result<u8, Failure> {
    let session = context.open()?;
    let _lock = session.lock_for_reading()?;
    let mut options = MountOptions {
        owner_root: arguments.owner_root,
        allow_other: arguments.allow_other,
        no_default_permissions: arguments.no_default_permissions,
        ..MountOptions::default()
    };
    if !arguments.path_template.is_empty() {
        options.path_templates.clone_from(&arguments.path_template);
    }
    if let Some(template) = &arguments.time_template {
        options.time_template.clone_from(template);
    }
    let repository = session.shared_repository();
    let (shared, cancel, filter) = (
        repository.clone(),
        context.cancel.clone(),
        arguments.filter.filter(),
    );
    let load = Box::new(move || {
        shared.load_index(&cancel)?;
        let all = stored_snapshots(&shared, &cancel)?;
        Ok(all
            .into_iter()
            .filter(|stored| filter.matches(&stored.snapshot))
            .collect())
    });
    let ready = || {
        if context.is_talkative() {
            let place = arguments.mountpoint.display();
            message::line(format!("Now serving the repository at {place}"));
            message::line("Use another terminal or tool to browse the contents of this folder.");
            message::line("When finished, quit with Ctrl-c here or umount the mountpoint.");
        }
    };
    mount_repository(
        repository,
        load,
        &arguments.mountpoint,
        &options,
        &context.cancel,
        ready,
    )?;
    Ok(if context.cancel.is_cancelled() {
        exit::INTERRUPTED
    } else {
        exit::OK
    })
}
