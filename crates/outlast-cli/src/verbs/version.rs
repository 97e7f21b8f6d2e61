//! `version`: which program this is.

use clap::Args;
use serde::Serialize;

use crate::context::Context;
use crate::exit::{self, Failure};
use crate::render::{json, message};

/// Arguments of `version`: none.
#[derive(Debug, Args)]
pub struct Arguments {}

#[derive(Serialize)]
struct Version {
    message_type: &'static str,
    version: &'static str,
    go_version: &'static str,
    go_os: &'static str,
    go_arch: &'static str,
}

/// Prints the version.
pub fn run(context: &Context, _: &Arguments) -> Result<u8, Failure> {
    let version = env!("CARGO_PKG_VERSION");
    if context.global.json {
        // The fields that scripts for restic read; there is no Go here.
        let (go_os, go_arch) = (std::env::consts::OS, go_architecture());
        json::print(&Version {
            message_type: "version",
            version,
            go_version: "",
            go_os,
            go_arch,
        });
    } else {
        message::line(format!(
            "outlast {version} on {}/{}",
            std::env::consts::OS,
            std::env::consts::ARCH
        ));
    }
    Ok(exit::OK)
}

/// The architecture under the name that Go has for it.
fn go_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
