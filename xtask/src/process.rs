//! Running other programs, and saying so.

use std::ffi::OsStr;
use std::process::{Command, Stdio};
use std::time::Instant;

/// A command in the top folder of the repository.
pub fn command<S: AsRef<OsStr>>(program: S, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .current_dir(crate::workspace::root())
        .stdin(Stdio::null());
    command
}

/// The cargo that started us, so that the tool chain stays the same.
pub fn cargo(arguments: &[&str]) -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    command(program, arguments)
}

/// Runs a command with its output shown; anything but success is an error.
pub fn show(mut command: Command) -> Result<(), String> {
    let text = describe(&command);
    eprintln!("+ {text}");
    let start = Instant::now();
    let status = command
        .status()
        .map_err(|error| format!("{text}: {error}"))?;
    eprintln!("  took {:.1} s", start.elapsed().as_secs_f64());
    if status.success() {
        Ok(())
    } else {
        Err(format!("{text}: {status}"))
    }
}

/// Runs a command and returns what it wrote to standard output.
pub fn capture(mut command: Command) -> Result<String, String> {
    let text = describe(&command);
    let output = command
        .output()
        .map_err(|error| format!("{text}: {error}"))?;
    if !output.status.success() {
        return Err(format!(
            "{text}: {}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim_end()
        ));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The command as somebody would type it.
pub fn describe(command: &Command) -> String {
    let mut text = command.get_program().to_string_lossy().into_owned();
    for argument in command.get_args() {
        text.push(' ');
        text.push_str(&argument.to_string_lossy());
    }
    text
}

/// The platform that the compiler builds for.
pub fn host_platform() -> Result<String, String> {
    let text = capture(command("rustc", &["-vV"]))?;
    text.lines()
        .find_map(|line| line.strip_prefix("host: "))
        .map(str::to_string)
        .ok_or_else(|| "rustc -vV names no host".to_string())
}
