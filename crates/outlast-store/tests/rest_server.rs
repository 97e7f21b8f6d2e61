//! The REST client against the real rest-server.
//!
//! It is found by `OUTLAST_TEST_REST_SERVER`, else in `target/tools/rest-server`, else on the path.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use outlast_object::{ObjectKind, ObjectName};
use outlast_store::conformance::{self, Demands, name_of, sample_bytes};
use outlast_store::{
    ConnectOptions, Deletes, Location, RetryPolicy, Secret, Store, StoreError, TlsOptions, open,
};

/// What `htpasswd -s` makes of the password "geheim".
const HTPASSWD: &str = "me:{SHA}kGByAB793z4R5tK1eC9Hd/4Dhzk=\n";

/// Says loudly that a test cannot run, or fails where all tools must be there.
fn skipped(why: &str) {
    println!("SKIPPED: {why}");
    let required = std::env::var_os("OUTLAST_TEST_REQUIRE_TOOLS").is_some_and(|value| value == "1");
    assert!(!required, "{why}");
}

fn program() -> PathBuf {
    if let Some(path) = std::env::var_os("OUTLAST_TEST_REST_SERVER") {
        return path.into();
    }
    let built = std::env::current_exe().unwrap();
    let target = built.ancestors().find(|path| path.ends_with("target"));
    match target.map(|target| target.join("tools/rest-server")) {
        Some(path) if path.exists() => path,
        _ => "rest-server".into(),
    }
}

struct Server {
    child: Child,
    address: String,
    folder: tempfile::TempDir,
}

impl Server {
    fn start(arguments: &[&str]) -> Option<Self> {
        Self::start_in(tempfile::tempdir().unwrap(), arguments)
    }

    /// Starts a server on a port that the system picks, and waits until it says which.
    fn start_in(folder: tempfile::TempDir, arguments: &[&str]) -> Option<Self> {
        fs::create_dir(folder.path().join("data")).unwrap();
        let child = Command::new(program())
            .args(["--listen", "127.0.0.1:0", "--path"])
            .arg(folder.path().join("data"))
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        let Ok(mut child) = child else {
            skipped("this test needs rest-server");
            return None;
        };
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = lines.find_map(|line| {
            line.unwrap()
                .split_once("start server on ")
                .map(|(_, address)| address.to_owned())
        });
        let address = address.expect("rest-server did not start");
        // Whatever else it has to say must not block it.
        std::thread::spawn(move || lines.for_each(drop));
        Some(Self {
            child,
            address,
            folder,
        })
    }

    fn open(&self, scheme: &str, path: &str, options: &ConnectOptions) -> Arc<dyn Deletes> {
        let text = format!("rest:{scheme}://{}/{path}/", self.address);
        open(&Location::parse(&text).unwrap(), options).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn hasty() -> ConnectOptions {
    let retry = RetryPolicy {
        attempts_max: 1,
        ..RetryPolicy::default()
    };
    ConnectOptions {
        retry,
        ..ConnectOptions::default()
    }
}

#[test]
fn conforms() {
    let Some(server) = Server::start(&["--no-auth"]) else {
        return;
    };
    conformance::run(
        Demands {
            objects: 200,
            deletes: true,
        },
        &mut |check| Ok(server.open("http", check, &ConnectOptions::default())),
    )
    .unwrap();
}

#[test]
fn conforms_append_only_with_a_password() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("htpasswd");
    fs::write(&file, HTPASSWD).unwrap();
    let arguments = ["--append-only", "--htpasswd-file", file.to_str().unwrap()];
    let Some(server) = Server::start_in(folder, &arguments) else {
        return;
    };
    let options = |password: &str| ConnectOptions {
        rest_user: Some("me".to_owned()),
        rest_password: Some(Secret::new(password)),
        ..hasty()
    };
    conformance::run(
        Demands {
            objects: 100,
            deletes: false,
        },
        &mut |check| Ok(server.open("http", check, &options("geheim"))),
    )
    .unwrap();
    for options in [hasty(), options("wrong")] {
        let store = server.open("http", "the-config", &options);
        for error in [
            store.prepare().unwrap_err(),
            store.read(&ObjectName::CONFIG).unwrap_err(),
            store.list_all(ObjectKind::Pack).unwrap_err(),
        ] {
            assert!(matches!(error, StoreError::Denied { .. }), "{error}");
        }
    }
}

#[test]
fn a_quota_that_is_used_up_says_so() {
    let Some(server) = Server::start(&["--no-auth", "--max-size", "1000000"]) else {
        return;
    };
    let store = server.open("http", "r", &hasty());
    store.prepare().unwrap();
    let large = sample_bytes(1, 2_000_000);
    let name = name_of(ObjectKind::Pack, &large);
    let error = store.write(&name, &large).unwrap_err();
    assert!(matches!(error, StoreError::Full { .. }), "{error}");
    assert!(!store.exists(&name).unwrap());
}

#[test]
fn uploads_again_of_large_objects_succeed() {
    let Some(server) = Server::start(&["--no-auth"]) else {
        return;
    };
    let store = server.open("http", "r", &hasty());
    store.prepare().unwrap();
    let mut bytes = sample_bytes(1, 40 * 1024 * 1024);
    let name = name_of(ObjectKind::Pack, &bytes);
    for _ in 0..5 {
        store.write(&name, &bytes).unwrap();
    }
    bytes[30_000_000] ^= 1;
    let error = store.write(&name, &bytes).unwrap_err();
    assert!(matches!(error, StoreError::AlreadyExists { .. }), "{error}");
    // What the server keeps is a folder that any program reads.
    let folder = Location::Local(server.folder.path().join("data/r"));
    let local = open(&folder, &hasty()).unwrap();
    assert_eq!(local.list_all(ObjectKind::Pack).unwrap().len(), 1);
    assert_eq!(local.size(&name).unwrap(), 40 * 1024 * 1024);
}

fn openssl(folder: &Path, arguments: &[&str]) -> bool {
    let status = Command::new("openssl")
        .args(arguments)
        .current_dir(folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}

/// A certificate of an authority of its own for 127.0.0.1.
fn make_certificate(folder: &Path) -> bool {
    fs::write(folder.join("names"), "subjectAltName=IP:127.0.0.1\n").unwrap();
    let request = ["req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=test"];
    let authority = ["-x509", "-days", "2", "-keyout", "ca.key", "-out", "ca.pem"];
    let server = ["-keyout", "server.key", "-out", "server.csr"];
    let sign = [
        "x509",
        "-req",
        "-in",
        "server.csr",
        "-CA",
        "ca.pem",
        "-CAkey",
        "ca.key",
    ];
    let signed = [
        "-CAcreateserial",
        "-days",
        "2",
        "-extfile",
        "names",
        "-out",
        "server.pem",
    ];
    openssl(folder, &[&request[..], &authority].concat())
        && openssl(folder, &[&request[..], &server].concat())
        && openssl(folder, &[&sign[..], &signed].concat())
}

#[test]
fn conforms_over_tls_with_an_authority_of_our_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    if !make_certificate(folder.path()) {
        return skipped("this test needs openssl");
    }
    let (certificate, key, authority) = (path("server.pem"), path("server.key"), path("ca.pem"));
    let arguments = [
        "--no-auth",
        "--tls",
        "--tls-cert",
        &certificate,
        "--tls-key",
        &key,
    ];
    let Some(server) = Server::start(&arguments) else {
        return;
    };
    let with = |tls: TlsOptions| ConnectOptions { tls, ..hasty() };
    let believing = TlsOptions {
        ca_certificates: vec![authority.into()],
        ..TlsOptions::default()
    };
    conformance::run(
        Demands {
            objects: 50,
            deletes: true,
        },
        &mut |check| Ok(server.open("https", check, &with(believing.clone()))),
    )
    .unwrap();

    // Nobody else vouches for it: refused for good, unless somebody insists.
    let error = server.open("https", "r", &hasty()).prepare().unwrap_err();
    assert!(matches!(error, StoreError::Denied { .. }), "{error}");
    assert!(error.to_string().contains("certificate"), "{error}");
    let insecure = TlsOptions {
        insecure: true,
        ..TlsOptions::default()
    };
    server
        .open("https", "r", &with(insecure))
        .prepare()
        .unwrap();
}

#[test]
fn certificate_files_that_cannot_be_used_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let garbage = folder.path().join("garbage.pem");
    fs::write(&garbage, "garbage").unwrap();
    let location = Location::parse("rest:https://127.0.0.1:1/").unwrap();
    for path in [
        garbage,
        folder.path().join("missing.pem"),
        folder.path().to_owned(),
    ] {
        for tls in [
            TlsOptions {
                ca_certificates: vec![path.clone()],
                ..TlsOptions::default()
            },
            TlsOptions {
                client_certificate: Some(path.clone()),
                ..TlsOptions::default()
            },
        ] {
            let error = open(&location, &ConnectOptions { tls, ..hasty() })
                .err()
                .unwrap();
            assert!(
                error.to_string().contains(path.to_str().unwrap()),
                "{error}"
            );
        }
    }
}
