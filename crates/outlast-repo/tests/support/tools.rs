//! The real programs that judge ours: where they are, and what to do when they are missing.

#![allow(clippy::print_stderr, reason = "what was not tested must be seen")]

use std::path::{Path, PathBuf};
use std::process::Command;

/// restic 0.14, or `None` after saying so loudly.
pub fn restic_014() -> Option<PathBuf> {
    find(
        "OUTLAST_TEST_RESTIC_014",
        "restic-0.14",
        "restic",
        "version",
        "restic 0.14.",
    )
}

/// restic 0.19, or `None` after saying so loudly.
pub fn restic_019() -> Option<PathBuf> {
    find(
        "OUTLAST_TEST_RESTIC_019",
        "restic-0.19",
        "restic",
        "version",
        "restic 0.19.",
    )
}

/// rustic, or `None` after saying so loudly.
pub fn rustic() -> Option<PathBuf> {
    find(
        "OUTLAST_TEST_RUSTIC",
        "rustic",
        "rustic",
        "--version",
        "rustic ",
    )
}

/// rest-server, or `None` after saying so loudly.
#[allow(dead_code, reason = "each test program uses a part")]
pub fn rest_server() -> Option<PathBuf> {
    find(
        "OUTLAST_TEST_REST_SERVER",
        "rest-server",
        "rest-server",
        "--version",
        "rest-server version",
    )
}

/// OpenSSH's SFTP server, or `None` after saying so loudly.
#[allow(dead_code, reason = "each test program uses a part")]
pub fn sftp_server() -> Option<PathBuf> {
    const VARIABLE: &str = "OUTLAST_TEST_SFTP_SERVER";
    let usual = [
        "/usr/lib/openssh/sftp-server",
        "/usr/libexec/openssh/sftp-server",
        "/usr/libexec/sftp-server",
        "/usr/lib/ssh/sftp-server",
    ];
    let named = std::env::var_os(VARIABLE).map(PathBuf::from);
    let mut candidates = named.into_iter().chain(usual.map(PathBuf::from));
    let found = candidates.find(|candidate| candidate.is_file());
    if found.is_none() {
        say_missing("sftp-server", VARIABLE);
    }
    found
}

/// Looks at the variable, then in `target/tools`, then on the search path.
fn find(variable: &str, name: &str, program: &str, argument: &str, wish: &str) -> Option<PathBuf> {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/tools");
    let candidates = [
        std::env::var_os(variable).map(PathBuf::from),
        Some(tools.join(name)),
        Some(PathBuf::from(program)),
    ];
    let found = candidates.into_iter().flatten().find(|candidate| {
        Command::new(candidate)
            .arg(argument)
            .output()
            .is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains(wish))
    });
    if found.is_none() {
        say_missing(name, variable);
    }
    found
}

fn say_missing(name: &str, variable: &str) {
    let missing = format!("{name} is missing; `cargo xtask tools` gets it, {variable} names it");
    assert!(
        std::env::var_os("OUTLAST_TEST_REQUIRE_TOOLS").is_none(),
        "{missing}"
    );
    eprintln!("SKIPPED: {missing}");
}
