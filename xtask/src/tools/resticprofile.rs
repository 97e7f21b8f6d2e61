//! resticprofile, a front end of restic that many use: a package of Python.

use std::fs;
use std::path::Path;

use super::{find_on_path, is_root};
use crate::process;

/// The version to install.
const VERSION: &str = "0.5.2";
/// The module, by which it is seen whether it is there.
const MODULE: &str = "resticprofile";

/// Installs the module below `target`, where Python finds it with `PYTHONPATH`.
pub fn provide(cache: &Path, target: &Path) -> Result<(), String> {
    if target.join(MODULE).is_dir() {
        println!("resticprofile {VERSION} is installed");
        return Ok(());
    }
    let cached = cache.join("python");
    if !cached.join(MODULE).is_dir() {
        install(cache, &cached)?;
    }
    // What is there without the module is of an installation that broke off.
    let _ = fs::remove_dir_all(target);
    let mut copy = process::command("cp", &["--archive"]);
    copy.arg(&cached).arg(target);
    process::show(copy)
}

fn install(cache: &Path, cached: &Path) -> Result<(), String> {
    let has_pip = || {
        let mut command = process::command("python3", &["-m", "pip", "--version"]);
        command.output().is_ok_and(|output| output.status.success())
    };
    if !has_pip() && is_root() && find_on_path("apt-get").is_some() {
        let mut command = process::command(
            "apt-get",
            &[
                "--quiet",
                "-o",
                "DPkg::Lock::Timeout=120",
                "install",
                "--yes",
            ],
        );
        command.args(["--no-install-recommends", "python3-pip"]);
        command.env("DEBIAN_FRONTEND", "noninteractive");
        process::show(command)?;
    }
    let half = cache.join("python.new");
    let _ = fs::remove_dir_all(&half);
    let mut command = process::command("python3", &["-m", "pip", "install", "--quiet"]);
    command.args([
        "--disable-pip-version-check",
        "--root-user-action=ignore",
        "--target",
    ]);
    command.arg(&half).arg(format!("resticprofile=={VERSION}"));
    process::show(command)?;
    fs::rename(&half, cached).map_err(|error| format!("{}: {error}", cached.display()))
}
