//! moto, a mock of S3 that speaks of Object Lock and lets anybody weaken it.
//!
//! It is found by `OUTLAST_TEST_MOTO`, else in `target/tools/moto`, else on the path.

#![allow(dead_code, reason = "each test program uses a part of it")]

use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// Runs a program until standard input ends, and says when its port answers.
const SCRIPT: &str = r#"
"$1" -H 127.0.0.1 -p "$2" >/dev/null 2>&1 </dev/null &
server=$!
trap 'kill -9 $server 2>/dev/null' EXIT
for _ in $(seq 600); do
  if (: < "/dev/tcp/127.0.0.1/$2") 2>/dev/null; then echo ready; break; fi
  sleep 0.1
done
cat >/dev/null
"#;

fn program() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("OUTLAST_TEST_MOTO") {
        return Some(path.into());
    }
    let built = std::env::current_exe().unwrap();
    let target = built.ancestors().find(|path| path.ends_with("target"));
    let tool = target.map(|target| target.join("tools/moto/bin/moto_server"));
    if let Some(tool) = tool.filter(|tool| tool.exists()) {
        return Some(tool);
    }
    let on_path = Command::new("moto_server").arg("--help").output();
    on_path.is_ok().then(|| "moto_server".into())
}

/// A running moto, which ends with the test's process.
pub struct Moto {
    _child: Child,
    /// Where it listens.
    pub port: u16,
}

/// Runs moto, or says that it is not installed.
pub fn moto() -> Option<Moto> {
    let Some(program) = program() else {
        let why = "this test needs moto_server";
        eprintln!("SKIPPED: {why}");
        let required = std::env::var_os("OUTLAST_TEST_REQUIRE_TOOLS");
        assert!(required.is_none_or(|value| value != "1"), "{why}");
        return None;
    };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let mut child = Command::new("bash")
        .args(["-c", SCRIPT, "moto"])
        .arg(program)
        .arg(port.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let output = child.stdout.take().unwrap();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(output), &mut line).unwrap();
    assert_eq!(line, "ready\n", "moto did not start");
    Some(Moto {
        _child: child,
        port,
    })
}
