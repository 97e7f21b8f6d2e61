//! Programs that are packages of Python: each with everything it needs in a folder of its own, where
//! Python finds it with `PYTHONPATH`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::{find_on_path, is_root};
use crate::process;

/// A program of Python.
pub struct Program {
    /// Its name, and that of its folder in the cache.
    pub name: &'static str,
    /// The module, by which it is seen whether it is there.
    pub module: &'static str,
    /// What pip is asked for.
    pub packages: &'static [&'static str],
}

/// A front end of restic that many use.
pub const RESTICPROFILE: Program = Program {
    name: "resticprofile",
    module: "resticprofile",
    packages: &["resticprofile==0.5.2"],
};

/// An S3 server that lets retention be weakened, which must be found out.
pub const MOTO: Program = Program {
    name: "moto",
    module: "moto",
    packages: &["moto[s3]==5.2.1", "flask", "flask-cors"],
};

/// Installs the module below `target`.
pub fn provide(program: &Program, cache: &Path, target: &Path) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{}: {error}", target.display());
    if target.join(program.module).is_dir() {
        println!("{} is installed", program.name);
        return Ok(());
    }
    let cached = cache.join(format!("python-{}", program.name));
    if !cached.join(program.module).is_dir() {
        install(program, cache, &cached)?;
    }
    // What is there without the module is of an installation that broke off.
    let _ = fs::remove_dir_all(target);
    if let Some(above) = target.parent() {
        fs::create_dir_all(above).map_err(failed)?;
    }
    let mut copy = process::command("cp", &["--archive"]);
    copy.arg(&cached).arg(target);
    process::show(copy)
}

/// Writes a program that starts the script of this name with its modules.
pub fn write_starter(modules: &Path, script: &str, path: &Path) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    let modules = modules.display();
    let text =
        format!("#!/bin/sh\nPYTHONPATH='{modules}' exec python3 '{modules}/bin/{script}' \"$@\"\n");
    if let Some(above) = path.parent() {
        fs::create_dir_all(above).map_err(failed)?;
    }
    fs::write(path, text).map_err(failed)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).map_err(failed)
}

fn install(program: &Program, cache: &Path, cached: &Path) -> Result<(), String> {
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
    let half = cache.join(format!("python-{}.new", program.name));
    let _ = fs::remove_dir_all(&half);
    let mut command = process::command("python3", &["-m", "pip", "install", "--quiet"]);
    command.args([
        "--disable-pip-version-check",
        "--root-user-action=ignore",
        "--target",
    ]);
    command.arg(&half).args(program.packages);
    process::show(command)?;
    fs::rename(&half, cached).map_err(|error| format!("{}: {error}", cached.display()))
}
