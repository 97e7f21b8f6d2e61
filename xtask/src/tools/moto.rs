//! moto, a mock of S3 that lets retention be weakened: a package of Python.

use std::path::Path;

use crate::process;

/// The version to install.
const VERSION: &str = "5.2.1";
/// The program of it that serves.
const PROGRAM: &str = "bin/moto_server";

/// Installs it into an environment of its own in the cache, and links `target` to that.
pub fn provide(cache: &Path, target: &Path) -> Result<(), String> {
    let environment = cache.join(format!("moto-{VERSION}"));
    if !environment.join(PROGRAM).is_file() {
        println!("installing moto {VERSION}");
        let mut make = process::command("python3", &["-m", "venv", "--clear"]);
        make.arg(&environment);
        process::show(make)?;
        let python = environment.join("bin/python");
        let mut install = process::command(python, &["-m", "pip", "install", "--quiet"]);
        install.args(["--disable-pip-version-check"]);
        install.arg(format!("moto[server]=={VERSION}"));
        process::show(install)?;
    }
    let _ = std::fs::remove_file(target);
    let linked = std::os::unix::fs::symlink(&environment, target);
    linked.map_err(|error| format!("{}: {error}", target.display()))?;
    println!("target/tools/moto: moto {VERSION}");
    Ok(())
}
