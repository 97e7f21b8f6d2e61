//! A real Ceph with its S3 gateway, shared by the tests of one binary.
//!
//! It ends with the test's process: its standard input does.

#![allow(dead_code, reason = "each test program uses a part of it")]
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that cannot be set up has failed, and one that was left out must be seen"
)]

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};

use outlast_object::{ObjectKind, ObjectName};
use outlast_store::{Location, S3Credentials, S3Location, S3Options, Secret};

/// Attempts to start it.
const STARTS_MAX: usize = 5;

/// A running gateway.
pub struct Ceph {
    _child: Child,
    folder: PathBuf,
    port: u16,
    buckets: AtomicUsize,
}

/// The gateway, or none where Ceph is not installed.
pub fn ceph() -> Option<&'static Ceph> {
    static SHARED: OnceLock<Option<Ceph>> = OnceLock::new();
    let shared = SHARED.get_or_init(Ceph::start).as_ref();
    if shared.is_none() {
        let why = "this test needs Ceph: ceph-mon, ceph-osd, radosgw and ceph-common";
        eprintln!("SKIPPED: {why}");
        let required = std::env::var_os("OUTLAST_TEST_REQUIRE_TOOLS");
        assert!(required.is_none_or(|value| value != "1"), "{why}");
    }
    shared
}

impl Ceph {
    fn start() -> Option<Self> {
        if Command::new("radosgw").arg("--version").output().is_err() {
            return None;
        }
        // Somebody else may take a port between its choice and its use.
        let started = (0..STARTS_MAX).find_map(|_| Self::try_start());
        Some(started.expect("Ceph starts"))
    }

    fn try_start() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap().keep();
        // Both at once, so that they differ.
        let listen = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let (monitor, gateway) = (listen(), listen());
        let port = |listener: &TcpListener| listener.local_addr().unwrap().port();
        let ports = [port(&monitor), port(&gateway)];
        drop((monitor, gateway));
        // From the folder of whichever crate's tests these are.
        let script = "../outlast-store/tests/support/ceph.sh";
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join(script);
        let mut child = Command::new("bash")
            .arg(script)
            .arg(&folder)
            .args(ports.map(|port| port.to_string()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        output.read_line(&mut line).unwrap();
        if line != "ready\n" {
            eprintln!("Ceph did not start");
            child.wait().unwrap();
            return None;
        }
        Some(Self {
            _child: child,
            folder,
            port: ports[1],
            buckets: AtomicUsize::new(0),
        })
    }

    /// The location of a bucket that nobody has used yet.
    pub fn fresh(&self) -> S3Location {
        let number = self.buckets.fetch_add(1, Ordering::Relaxed);
        let text = format!("s3:http://127.0.0.1:{}/bucket-{number}/a/b", self.port);
        match Location::parse(&text).unwrap() {
            Location::S3(location) => location,
            other => panic!("{other} is no bucket"),
        }
    }

    /// Where it is reached.
    pub fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// With all the rights of the buckets' owner.
    pub fn owner(&self) -> S3Options {
        S3Options {
            credentials: Some(S3Credentials {
                access_key: "owner-key".to_owned(),
                secret_key: Secret::new("owner-secret"),
                session_token: None,
            }),
            ..S3Options::default()
        }
    }

    /// Writes a version over an object, as whoever has the owner's keys can.
    pub fn put(&self, location: &S3Location, name: &ObjectName, bytes: &[u8]) {
        self.curl(location, name, &["-X", "PUT", "--data-binary", "@-"], bytes);
    }

    /// Deletes an object in the plain way, which leaves a marker.
    pub fn hide(&self, location: &S3Location, name: &ObjectName) {
        self.curl(location, name, &["-X", "DELETE"], b"");
    }

    /// Changes a setting of the bucket.
    pub fn set(&self, location: &S3Location, setting: &str, document: &str) {
        let path = format!("{}/?{setting}=", location.bucket);
        let arguments = ["-X", "PUT", "--data-binary", "@-"];
        self.request(&path, &arguments, document.as_bytes());
    }

    /// Makes a user of this name, with the rights of a policy and no others.
    pub fn user(&self, name: &str, policy: &str) {
        self.make_user(name);
        let encoded = |byte: u8| match byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            true => char::from(byte).to_string(),
            false => format!("%{byte:02X}"),
        };
        let encoded: String = policy.bytes().map(encoded).collect();
        let path = format!(
            "?Action=PutUserPolicy&PolicyDocument={encoded}&PolicyName={name}&UserName={name}"
        );
        let (status, answer) = self.answer_to("owner", &path, &["-X", "POST", "-d", "x"]);
        assert_eq!(status, 200, "{answer}");
    }

    /// One at a time: Ceph refuses changes of its lists of users that meet another.
    fn make_user(&self, name: &str) {
        static TURN: Mutex<()> = Mutex::new(());
        let _turn = TURN.lock();
        let (key, secret) = (format!("{name}-key"), format!("{name}-secret"));
        let output = Command::new("radosgw-admin")
            .args(["-n", "client.gateway", "user", "create"])
            .args(["--uid", name, "--display-name", name])
            .args(["--access-key", &key, "--secret-key", &secret])
            .env("CEPH_CONF", self.folder.join("ceph.conf"))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name} cannot be made: {said}");
    }

    /// Status and text of the answer to a request by a user, whatever it is.
    pub fn answer_to(&self, user: &str, path: &str, arguments: &[&str]) -> (u16, String) {
        let unsigned = ["-H", "x-amz-content-sha256: UNSIGNED-PAYLOAD"];
        // What is about users is not asked in the way of S3.
        let is_about_users = path.starts_with('?');
        let output = Command::new("curl")
            .args(["-sS", "--aws-sigv4", "aws:amz:us-east-1:s3"])
            .args(["--user", &format!("{user}-key:{user}-secret")])
            .args(unsigned.iter().filter(|_| !is_about_users))
            .args(arguments)
            .args(["-w", "\n%{http_code}"])
            .arg(format!("http://127.0.0.1:{}/{path}", self.port))
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let (answer, status) = text.rsplit_once('\n').unwrap();
        (status.parse().unwrap(), answer.to_owned())
    }

    fn curl(&self, location: &S3Location, name: &ObjectName, arguments: &[&str], input: &[u8]) {
        let id = name.id().to_string();
        let place = match name.kind() {
            ObjectKind::Config => "config".to_owned(),
            ObjectKind::Pack => format!("data/{}/{id}", &id[..2]),
            kind => format!("{}/{id}", kind.folder()),
        };
        let (bucket, prefix) = (&location.bucket, &location.prefix);
        self.request(&format!("{bucket}/{prefix}/{place}"), arguments, input);
    }

    /// A request by another program, signed by it.
    fn request(&self, path: &str, arguments: &[&str], input: &[u8]) {
        let mut child = Command::new("curl")
            .args(["-sSf", "--aws-sigv4", "aws:amz:us-east-1:s3"])
            .args(["--user", "owner-key:owner-secret"])
            .args(["-H", "x-amz-content-sha256: UNSIGNED-PAYLOAD"])
            .args(arguments)
            .arg(format!("http://127.0.0.1:{}/{path}", self.port))
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        assert!(child.wait().unwrap().success(), "{arguments:?} of {path}");
    }
}
