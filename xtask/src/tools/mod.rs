//! `cargo xtask tools`: the real programs that judge ours.
//!
//! They end up in `target/tools`, where the tests look for them: `restic-0.14`, `restic-0.19`,
//! `rest-server`, `rustic` and `moto`. What was fetched or built is kept in a cache outside of the
//! repository (`OUTLAST_TOOLS_CACHE`, else `~/.cache/outlast-tools`), so that a second run takes a
//! moment. Nothing is installed into the system, but for the packages of [`packages`].

mod debian;
mod packages;
mod python;
mod rustic;

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use crate::{process, workspace};

/// A tool that comes in a Debian package.
struct PackagedTool {
    /// Its name in `target/tools`.
    name: &'static str,
    /// The variable with which somebody names their own.
    variable: &'static str,
    /// What its `version` or `--version` output contains if it is the right one.
    version: &'static str,
    /// The argument that makes it print its version.
    version_argument: &'static str,
    /// The program that may already be installed.
    program: &'static str,
    /// Where Debian has it.
    package: debian::Package,
}

const PACKAGED_TOOLS: &[PackagedTool] = &[
    PackagedTool {
        name: "restic-0.14",
        variable: "OUTLAST_TEST_RESTIC_014",
        version: "restic 0.14.",
        version_argument: "version",
        program: "restic",
        package: debian::Package {
            suite: "bookworm",
            name: "restic",
            version: None,
            program: "usr/bin/restic",
        },
    },
    PackagedTool {
        name: "restic-0.19",
        variable: "OUTLAST_TEST_RESTIC_019",
        version: "restic 0.19.",
        version_argument: "version",
        program: "restic",
        package: debian::Package {
            suite: "sid",
            name: "restic",
            version: Some("0.19.1-1"),
            program: "usr/bin/restic",
        },
    },
    PackagedTool {
        name: "rest-server",
        variable: "OUTLAST_TEST_REST_SERVER",
        version: "rest-server 0.14.",
        version_argument: "--version",
        program: "rest-server",
        package: debian::Package {
            suite: "sid",
            name: "restic-rest-server",
            version: Some("0.14.0-1"),
            program: "usr/bin/restic-rest-server",
        },
    },
];

/// The task: everything, one after the other.
pub fn run() -> Result<(), String> {
    let mut problems = Vec::new();
    let packages = packages::provide();
    provide_resticprofile();
    let judges = [provide_packaged(), provide_moto(), provide_rustic()];
    for outcome in [packages].into_iter().chain(judges) {
        problems.extend(outcome.err());
    }
    if problems.is_empty() {
        Ok(())
    } else {
        Err(problems.join("\n"))
    }
}

/// The small system packages and the tools that need no building: fast.
pub fn provide_quick() -> Result<(), String> {
    packages::provide()?;
    provide_packaged()?;
    provide_resticprofile();
    provide_moto()
}

/// A front end, not a judge: where it cannot be had, its test says so and the rest goes on.
fn provide_resticprofile() {
    let folder = workspace::tools_folder().join("python");
    let outcome =
        cache_folder().and_then(|cache| python::provide(&python::RESTICPROFILE, &cache, &folder));
    if let Err(problem) = outcome {
        eprintln!("resticprofile cannot be had: {problem}");
    }
}

/// The server that buckets must not be trusted to.
fn provide_moto() -> Result<(), String> {
    let folder = workspace::tools_folder().join("moto");
    let modules = folder.join("python");
    python::provide(&python::MOTO, &cache_folder()?, &modules)?;
    python::write_starter(&modules, "moto_server", &folder.join("bin/moto_server"))
}

/// rustic, which is built from its source if it is not in the cache: minutes.
pub fn provide_rustic() -> Result<(), String> {
    let wish = "rustic ";
    if is_named_by("OUTLAST_TEST_RUSTIC", "--version", wish) {
        return Ok(());
    }
    let cached = cache_folder()?.join("rustic");
    if version_of(&cached, "--version").is_none() {
        rustic::build(&cache_folder()?, &cached)?;
    }
    place(&cached, "rustic", "--version")
}

fn provide_packaged() -> Result<(), String> {
    let mut problems = Vec::new();
    for tool in PACKAGED_TOOLS {
        if let Err(problem) = provide_one(tool) {
            problems.push(format!("{}: {problem}", tool.name));
        }
    }
    if problems.is_empty() {
        Ok(())
    } else {
        Err(problems.join("\n"))
    }
}

fn provide_one(tool: &PackagedTool) -> Result<(), String> {
    if is_named_by(tool.variable, tool.version_argument, tool.version) {
        return Ok(());
    }
    let cached = cache_folder()?.join(tool.name);
    if version_of(&cached, tool.version_argument).is_none() {
        let installed = find_on_path(tool.program).filter(|path| {
            version_of(path, tool.version_argument)
                .is_some_and(|version| version.contains(tool.version))
        });
        match installed {
            Some(path) => copy(&path, &cached)?,
            None => debian::fetch(&tool.package, &cache_folder()?, &cached)?,
        }
    }
    let found = version_of(&cached, tool.version_argument)
        .ok_or_else(|| format!("{} does not run", cached.display()))?;
    if !found.contains(tool.version) {
        eprintln!("  note: wanted {}x, using {found}", tool.version);
    }
    place(&cached, tool.name, tool.version_argument)
}

/// Whether a variable names a program that runs. Then nothing needs to be done.
fn is_named_by(variable: &str, version_argument: &str, wish: &str) -> bool {
    let Some(path) = std::env::var_os(variable) else {
        return false;
    };
    match version_of(Path::new(&path), version_argument) {
        Some(version) => {
            println!("{variable} names {version} (wanted {wish}x)");
            true
        }
        None => {
            eprintln!("{variable} is set, but what it names does not run; it is passed over");
            false
        }
    }
}

/// Puts a program of the cache into `target/tools`.
fn place(cached: &Path, name: &str, version_argument: &str) -> Result<(), String> {
    let target = workspace::tools_folder().join(name);
    let wanted = version_of(cached, version_argument)
        .ok_or_else(|| format!("{} does not run", cached.display()))?;
    if version_of(&target, version_argument).as_ref() != Some(&wanted) {
        copy(cached, &target)?;
    }
    println!("target/tools/{name}: {wanted}");
    Ok(())
}

/// The first line that a program prints about its version; `None` if it does not run.
fn version_of(program: &Path, argument: &str) -> Option<String> {
    if !program.is_file() {
        return None;
    }
    let mut command = process::command(program, &[argument]);
    let output = command.output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().next()?.trim().to_string();
    (output.status.success() && !line.is_empty()).then_some(line)
}

/// Copies a program so that others see the old one or the new one, never half of it.
fn copy(from: &Path, to: &Path) -> Result<(), String> {
    let explain = |error| format!("{} to {}: {error}", from.display(), to.display());
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder).map_err(explain)?;
    }
    let half = to.with_extension(format!("new-{}", std::process::id()));
    fs::copy(from, &half).map_err(explain)?;
    fs::rename(&half, to).map_err(explain)
}

fn cache_folder() -> Result<PathBuf, String> {
    if let Some(folder) = std::env::var_os("OUTLAST_TOOLS_CACHE") {
        return Ok(PathBuf::from(folder));
    }
    Ok(match std::env::var_os("HOME") {
        Some(home) => PathBuf::from(home).join(".cache/outlast-tools"),
        None => workspace::root().join("target/tools-cache"),
    })
}

/// Where a program is, if it is on the path or among those of the administrator.
pub fn find_on_path(program: impl AsRef<OsStr>) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    // The programs of the administrator are often missing from the path of others.
    std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin"), PathBuf::from("/sbin")])
        .map(|folder| folder.join(program.as_ref()))
        .find(|candidate| candidate.is_file())
}

fn is_root() -> bool {
    process::capture(process::command("id", &["-u"])).is_ok_and(|text| text.trim() == "0")
}
