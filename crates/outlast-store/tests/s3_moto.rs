//! The S3 adapter against moto, a server that speaks of Object Lock and lets anybody weaken it: what
//! probing must find out.
//!
//! It is found by `OUTLAST_TEST_MOTO`, else in `target/tools/moto`, else on the path.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use outlast_object::ObjectKind;
use outlast_store::conformance::{name_of, sample_bytes};
use outlast_store::{
    Location, Outcome, RestOptions, S3Credentials, S3Options, S3Store, Secret, Store,
};

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

struct Moto {
    _child: Child,
    port: u16,
}

fn moto() -> Option<Moto> {
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

#[test]
fn a_server_that_lets_retention_be_weakened_is_found_out() {
    let Some(moto) = moto() else { return };
    let text = format!("s3:http://127.0.0.1:{}/bucket/a", moto.port);
    let Location::S3(location) = Location::parse(&text).unwrap() else {
        panic!("{text} is no bucket");
    };
    let options = S3Options {
        credentials: Some(S3Credentials {
            access_key: "key".to_owned(),
            secret_key: Secret::new("secret"),
            session_token: None,
        }),
        retention: Some(Duration::from_secs(3 * 24 * 60 * 60)),
        ..S3Options::default()
    };
    let kept = S3Store::new(&location, &options, &RestOptions::default()).unwrap();
    kept.prepare().unwrap();
    let bytes = sample_bytes(1, 100);
    let name = name_of(ObjectKind::Pack, &bytes);
    kept.write(&name, &bytes).unwrap();
    assert_eq!(kept.read(&name).unwrap(), bytes);
    let attempts = kept.probe("b-1");
    let succeeded = |what: &str| {
        let attempt = attempts
            .iter()
            .find(|attempt| attempt.what == what)
            .unwrap();
        assert_eq!(attempt.outcome, Outcome::Succeeded, "{what}");
    };
    succeeded("shorten the retention");
    succeeded("weaken the retention to governance mode");
    succeeded("suspend versioning, on a twin of the bucket");
    // What it does refuse is told from what it lets pass.
    let refused = |outcome: &Outcome| matches!(outcome, Outcome::Refused(_));
    let first = &attempts[0];
    assert!(
        first.what == "delete the version" && refused(&first.outcome),
        "{first:?}"
    );
    // The probes were objects of their own.
    assert_eq!(kept.read(&name).unwrap(), bytes);
}
