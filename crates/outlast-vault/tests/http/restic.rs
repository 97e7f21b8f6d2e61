//! The real restic, given nothing but our own certificate.

#![allow(clippy::print_stdout, reason = "what was not tested must be seen")]

use std::path::{Path, PathBuf};
use std::process::Command;

use outlast_vault::http::{Refusal, Tls, self_signed};

use crate::support::{Seen, limits, loopback, start_at};

/// Looks at the variable, then in `target/tools`. Says loudly if there is none.
fn find(variable: &str, name: &str) -> Option<PathBuf> {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/tools");
    let named = std::env::var_os(variable).map(PathBuf::from);
    let found = [named, Some(tools.join(name))]
        .into_iter()
        .flatten()
        .find(|candidate| candidate.exists());
    if found.is_none() {
        let missing = format!("{name} is missing; {variable} names it");
        let required = std::env::var_os("OUTLAST_TEST_REQUIRE_TOOLS").is_some();
        assert!(!required, "{missing}");
        println!("SKIPPED: {missing}");
    }
    found
}

fn trusts_our_certificate(program: &Path) {
    let identity = self_signed(&["127.0.0.1".to_string(), "localhost".to_string()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let certificate = folder.path().join("vault.pem");
    std::fs::write(&certificate, &identity.certificate_pem).unwrap();
    let tls = Tls::from_pem(
        identity.certificate_pem.as_bytes(),
        identity.key_pem.as_bytes(),
    )
    .unwrap();
    let server = start_at(&loopback(), Some(tls), limits());
    for host in ["127.0.0.1", "localhost"] {
        let port = server.address().port();
        let output = Command::new(program)
            .args(["cat", "config", "--no-cache", "--cacert"])
            .arg(&certificate)
            .arg("--repo")
            .arg(format!("rest:https://{host}:{port}/"))
            .env("RESTIC_PASSWORD", "unused")
            .output()
            .unwrap();
        // Our handler knows no repository, and restic has understood that.
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(message.contains("Is there a repository"), "{message}");
        assert!(!message.contains("x509"), "{message}");
    }
    server.await_seen(&Seen::Accepted);
    let seen = server.seen();
    assert!(
        !seen.contains(&Seen::Refused(Refusal::Handshake)),
        "{seen:?}"
    );
}

#[test]
fn old_restic_trusts_our_certificate() {
    if let Some(program) = find("OUTLAST_TEST_RESTIC_014", "restic-0.14") {
        trusts_our_certificate(&program);
    }
}

#[test]
fn new_restic_trusts_our_certificate() {
    if let Some(program) = find("OUTLAST_TEST_RESTIC_019", "restic-0.19") {
        trusts_our_certificate(&program);
    }
}
