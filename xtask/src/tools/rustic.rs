//! rustic is in no package of Debian: it is built from its source.

use std::fs::{self, File};
use std::path::Path;

use super::copy;
use crate::process;

/// The version to build. Its own lock file fixes everything below it.
const VERSION: &str = "0.11.4";

/// How much of the build's log is shown when it fails.
const LOG_LINES_SHOWN: usize = 30;

/// Builds rustic at low priority and puts it at `target`. Takes some minutes; a build that was
/// broken off goes on where it was.
pub fn build(cache: &Path, target: &Path) -> Result<(), String> {
    let work = cache.join("rustic-build");
    fs::create_dir_all(&work).map_err(|error| format!("{}: {error}", work.display()))?;
    let log_path = cache.join("rustic-build.log");
    let log =
        File::create(&log_path).map_err(|error| format!("{}: {error}", log_path.display()))?;
    let log_too = log
        .try_clone()
        .map_err(|error| format!("{}: {error}", log_path.display()))?;

    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_string());
    let mut command = process::command("nice", &["-n", "19", &cargo, "install", "rustic-rs"]);
    command
        .args(["--version", VERSION, "--locked", "--no-default-features"])
        .args(["--force", "--no-track", "--root"])
        .arg(&work)
        .env("CARGO_TARGET_DIR", work.join("target"))
        // Its release settings make a build of ten minutes. A judge need not be the fastest.
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16")
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "2")
        .env_remove("RUSTFLAGS")
        .current_dir(cache)
        .stdout(log)
        .stderr(log_too);
    println!("building rustic {VERSION}; log in {}", log_path.display());
    if let Err(problem) = process::show(command) {
        let text = fs::read_to_string(&log_path).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let shown = &lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..];
        return Err(format!("{problem}\n{}", shown.join("\n")));
    }
    copy(&work.join("bin/rustic"), target)?;
    fs::remove_dir_all(&work).map_err(|error| format!("{}: {error}", work.display()))
}
