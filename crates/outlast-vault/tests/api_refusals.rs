//! Every way in which the API under `/v1` refuses, with the status and the word that it promises.

#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;
use std::thread::JoinHandle;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use outlast_custody::{ObjectList, Scope};
use outlast_object::{Id, ObjectKind, ObjectName, hash};
use outlast_vault::disk::{Disk, Fault, FaultPlan, OperationKind, SimulatedDisk};
use outlast_vault::http::{Limits, Listen, Server, Stop};
use outlast_vault::{Caller, Face, Vault};
use outlast_wire::batch::{BATCH_BYTES_MAX, Batch};
use serde_json::Value;

use support::*;

/// Room on the disk: more than the reserve that uploads never fill.
const CAPACITY: u64 = 1 << 30;

struct Served {
    vault: Arc<Vault>,
    append: Caller,
    disk: Arc<SimulatedDisk>,
    address: String,
    stop: Stop,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop.stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Served {
    fn new() -> Self {
        let disk = Arc::new(SimulatedDisk::new(CAPACITY));
        let world = World::on(Arc::clone(&disk) as Arc<dyn Disk>);
        let (vault, append) = world.initialised();
        put(&vault, &append, &[8; 300], ObjectKind::Snapshot).unwrap();
        let vault = Arc::new(vault);
        let face = Arc::new(Face::new(Arc::clone(&vault)));
        let listen = Listen::Tcp("127.0.0.1:0".parse().unwrap());
        let server = Server::bind(&listen, None, Limits::default(), face, Arc::new(())).unwrap();
        Self {
            vault,
            append,
            disk,
            address: server.local_address().to_string(),
            stop: server.stop_handle(),
            thread: Some(std::thread::spawn(|| server.run())),
        }
    }

    fn token(&self, scopes: &[Scope]) -> String {
        let made = self.vault.add_token(&repository(), scopes, "test").unwrap();
        let text = STANDARD.encode(format!("{}:{}", made.token, made.secret));
        format!("Basic {text}")
    }

    /// Status, the word, and the object if one is named.
    fn ask(&self, token: &str, method: &str, path: &str, body: &[u8]) -> Answered {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .build()
            .into();
        let mut request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("http://{}/v1/{path}", self.address))
            .header("authorization", token);
        if body.len() > 100_000 {
            // The answer comes instead of a broken connection.
            request = request.header("expect", "100-continue");
        }
        let answer = match method {
            "POST" | "PUT" => agent.run(request.body(body).unwrap()),
            _ => agent.run(request.body(()).unwrap()),
        };
        let mut answer = answer.unwrap();
        let status = answer.status().as_u16();
        let body = answer.body_mut().read_to_vec().unwrap();
        let value: Value = serde_json::from_slice(&body).unwrap_or_default();
        Answered { status, value }
    }
}

#[derive(Debug)]
struct Answered {
    status: u16,
    value: Value,
}

impl Answered {
    fn is(&self, status: u16, code: &str, what: &str) {
        assert_eq!(self.status, status, "{what}: {self:?}");
        assert_eq!(self.value["error"]["code"], code, "{what}: {self:?}");
        let message = self.value["error"]["message"].as_str().unwrap();
        assert!(message.len() > 5, "{what}: {message}");
    }
}

fn snapshot() -> ObjectName {
    ObjectName::new(ObjectKind::Snapshot, hash(&[8; 300]))
}

fn list() -> Vec<u8> {
    ObjectList::new([snapshot(), ObjectName::CONFIG]).encode()
}

fn batch_of(bytes: &[u8]) -> Vec<u8> {
    let mut batch = Batch::default();
    batch.push(&ObjectName::pack(hash(bytes)), bytes).unwrap();
    batch.as_bytes().to_vec()
}

#[test]
fn what_cannot_be_understood_is_refused() {
    let served = Served::new();
    let all = served.token(&[Scope::Append, Scope::Restore, Scope::Pull]);
    let id = snapshot().id();
    let seals = format!("repositories/web1/seals?snapshot={id}");
    let twice = format!("repositories/web1/seals?snapshot={id}&snapshot={id}");
    let backwards = [&[4; 33][..], &[3; 33]].concat();
    let row = |code: &'static str, path: &str, body: &[u8]| (code, path.to_owned(), body.to_vec());
    for (code, path, body) in [
        row("query", "repositories/web1/seals", &list()),
        row("query", "repositories/web1/seals?snapshot=12", &list()),
        row("query", &twice, &list()),
        row("query", &format!("{seals}&until=9"), &list()),
        row("list", &seals, b"something"),
        row("list", &seals, &[9; 33]),
        row("list", &seals, &backwards),
        row("list", "repositories/web1/presence", &[4; 34]),
        row("batch", "repositories/web1/objects", b""),
        row("batch", "repositories/web1/objects", b"outlastB\x04"),
        row("batch", "repositories/web1/objects", &[7; 100]),
    ] {
        let answered = served.ask(&all, "POST", &path, &body);
        answered.is(400, code, &path);
    }
    for path in [
        "repositories/web1?x=1",
        "repositories/web1/objects/data?after=12",
        "repositories/web1/objects/data?limit=many",
        "repositories/web1/seals?after=first",
        "repositories/web1/seals?snapshot=",
    ] {
        served.ask(&all, "GET", path, b"").is(400, "query", path);
    }
    let long = vec![0; BATCH_BYTES_MAX + 1];
    let answered = served.ask(&all, "POST", "repositories/web1/objects", &long);
    answered.is(413, "too_long", "a batch");
    let names = vec![0; 33 * 10_001];
    let answered = served.ask(&all, "POST", "repositories/web1/presence", &names);
    answered.is(413, "too_long", "names");
}

#[test]
fn what_is_not_there_and_what_is_no_method_is_said() {
    let served = Served::new();
    let all = served.token(&[Scope::Append, Scope::Restore, Scope::Pull]);
    // Such a seal has no list.
    let of_everything = served
        .vault
        .seal_everything(&served.append, snapshot().id());
    let of_everything = of_everything.unwrap();
    for path in [
        "repositories/web1/objects/locks".to_owned(),
        "repositories/web1/objects/config".to_owned(),
        "repositories/web1/objects/tmp".to_owned(),
        "repositories/web1/seals/999".to_owned(),
        "repositories/web1/seals/0".to_owned(),
        "repositories/web1/seals/x".to_owned(),
        "repositories/web1/seals/999/receipt".to_owned(),
        format!("repositories/web1/seals/{of_everything}/list"),
        "log/tile/0/999".to_owned(),
        "log/tile/0/000/x".to_owned(),
    ] {
        let answered = served.ask(&all, "GET", &path, b"");
        answered.is(404, "not_found", &path);
    }
    for path in [
        "log/tile/../checkpoint",
        "log//checkpoint",
        "repositories/%2e%2e/web1",
        "repositories/web1%2fobjects",
        "repositories/web1%",
    ] {
        served.ask(&all, "GET", path, b"").is(400, "path", path);
    }
    for (method, path) in [
        ("DELETE", "repositories/web1"),
        ("DELETE", "repositories/web1/seals/1"),
        ("PUT", "repositories/web1/objects"),
        ("POST", "repositories/web1"),
        ("GET", "repositories/web1/presence"),
        ("POST", "log/checkpoint"),
    ] {
        let answered = served.ask(&all, method, path, b"");
        answered.is(405, "method", &format!("{method} {path}"));
    }
}

#[test]
fn scopes_and_repositories_are_kept_apart() {
    let served = Served::new();
    let seals = format!("repositories/web1/seals?snapshot={}", snapshot().id());
    let batch = batch_of(&pack(1, 500));
    for scope in [Scope::Enrol, Scope::Restore, Scope::Pull] {
        let token = served.token(&[scope]);
        let what = format!("{scope:?}");
        let answered = served.ask(&token, "POST", "repositories/web1/objects", &batch);
        answered.is(403, "forbidden", &what);
        let answered = served.ask(&token, "POST", &seals, &list());
        answered.is(403, "forbidden", &what);
    }
    for scope in [Scope::Append, Scope::Enrol, Scope::Restore] {
        let token = served.token(&[scope]);
        let answered = served.ask(&token, "GET", "log/tile/entries/000.p/1", b"");
        answered.is(403, "forbidden", &format!("{scope:?}"));
    }
    let append = served.token(&[Scope::Append]);
    for other in ["web2", "WEB1", "web1.", "%77eb2"] {
        let path = format!("repositories/{other}");
        served
            .ask(&append, "GET", &path, b"")
            .is(403, "forbidden", other);
    }
    for token in ["", "Basic", "Basic !!!", "Basic eDp5", "Bearer x"] {
        let answered = served.ask(token, "GET", "repositories/web1", b"");
        answered.is(401, "unauthorised", token);
    }
}

#[test]
fn a_seal_needs_all_that_it_names() {
    let served = Served::new();
    let append = served.token(&[Scope::Append]);
    let seals = format!("repositories/web1/seals?snapshot={}", snapshot().id());
    let missing = ObjectName::pack(Id::from_bytes([7; 32]));
    let names = [snapshot(), ObjectName::CONFIG, missing];
    let answered = served.ask(&append, "POST", &seals, &ObjectList::new(names).encode());
    answered.is(409, "seal_incomplete", "missing");
    assert_eq!(answered.value["error"]["object"], missing.to_string());
    for names in [vec![], vec![snapshot()], vec![ObjectName::CONFIG]] {
        let what = format!("{names:?}");
        let answered = served.ask(&append, "POST", &seals, &ObjectList::new(names).encode());
        answered.is(409, "seal_incomplete", &what);
    }
    // Kept by the log, cut by the disk.
    let bytes = pack(1, 500);
    put(&served.vault, &served.append, &bytes, ObjectKind::Pack).unwrap();
    let name = ObjectName::pack(hash(&bytes));
    let path = outlast_vault::object_path(&repository(), &name);
    served.disk.cut(&path, 100).unwrap();
    let names = [snapshot(), ObjectName::CONFIG, name];
    let answered = served.ask(&append, "POST", &seals, &ObjectList::new(names).encode());
    answered.is(409, "seal_incomplete", "cut");
    assert_eq!(answered.value["error"]["object"], name.to_string());
}

#[test]
fn a_full_vault_and_a_failed_one_say_so() {
    let served = Served::new();
    let append = served.token(&[Scope::Append]);
    let outcome = |bytes: &[u8]| {
        let batch = batch_of(bytes);
        let answered = served.ask(&append, "POST", "repositories/web1/objects", &batch);
        assert_eq!(answered.status, 200, "{answered:?}");
        answered.value[0].clone()
    };
    assert_eq!(outcome(&pack(1, 500))["outcome"], "stored");
    served.disk.set_capacity(100 << 20);
    let refused = outcome(&pack(2, 500));
    assert_eq!(
        (&refused["outcome"], &refused["code"]),
        (&"refused".into(), &"full".into())
    );
    assert_eq!(outcome(&pack(1, 500))["outcome"], "known");
    served.disk.set_capacity(CAPACITY);

    let plan = FaultPlan::none().from_of_kind(0, OperationKind::Append, Fault::Refused);
    served.disk.set_faults(plan);
    let refused = outcome(&pack(3, 500));
    assert_eq!(refused["code"], "read_only");
    let seals = format!("repositories/web1/seals?snapshot={}", snapshot().id());
    let answered = served.ask(&append, "POST", &seals, &list());
    answered.is(503, "read_only", "sealing");
    // It goes on answering questions, and says what is the matter.
    let answered = served.ask(&append, "GET", "repositories/web1", b"");
    assert!(answered.value["read_only"].is_string(), "{answered:?}");
    let answered = served.ask(&append, "GET", "log/checkpoint", b"");
    assert_eq!(answered.status, 200);
}
