//! The `outlast` program: arguments, rendering, exit codes.
//!
//! A run goes from arguments to a plan to an act: `args` says what can be asked, `verbs` has a
//! module for each verb, `render` shows what came of it, `exit` says how it ended.
//!
//! Invariants: data goes to standard output, everything else to standard error; no secret is ever
//! taken from an argument or shown.

mod args;
mod compat;
mod context;
mod exit;
mod parse;
mod password;
mod render;
mod signals;
mod verbs;

use std::process::ExitCode;

fn main() -> ExitCode {
    let command_line = match args::CommandLine::parse_all() {
        Ok(command_line) => command_line,
        Err(error) => return exit::usage(&error),
    };
    let json = command_line.global.json;
    let cancel = signals::install();
    let result = verbs::run(command_line, &cancel);
    exit::finish(result, json, &cancel)
}
