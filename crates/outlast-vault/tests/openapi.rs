//! `docs/openapi.json` and the server say the same, so that neither can drift.

#![allow(clippy::unwrap_used)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::thread::JoinHandle;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use outlast_custody::{ObjectList, Scope};
use outlast_object::{ObjectKind, ObjectName, hash};
use outlast_vault::http::{Limits, Listen, Server, Stop};
use outlast_vault::{Face, routes};
use outlast_wire::batch::Batch;
use serde_json::Value;

use support::*;

const DOCUMENT: &str = include_str!("../../../docs/openapi.json");
const METHODS: &[&str] = &["get", "head", "post", "put", "patch", "delete", "options"];

fn document() -> Value {
    serde_json::from_str(DOCUMENT).unwrap()
}

/// What a reference leads to; anything else is itself.
fn followed<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    match value.get("$ref").and_then(Value::as_str) {
        Some(reference) => {
            let pointer = reference.strip_prefix('#').unwrap();
            document
                .pointer(pointer)
                .unwrap_or_else(|| panic!("{reference} leads nowhere"))
        }
        None => value,
    }
}

/// Method and path of everything documented, with its operation.
fn operations(document: &Value) -> BTreeMap<(String, String), Value> {
    let mut found = BTreeMap::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            assert!(METHODS.contains(&method.as_str()), "{method} {path}");
            found.insert((method.to_uppercase(), path.clone()), operation.clone());
        }
    }
    found
}

fn every_reference_leads_somewhere(document: &Value, value: &Value) {
    followed(document, value);
    match value {
        Value::Object(members) => members
            .values()
            .for_each(|member| every_reference_leads_somewhere(document, member)),
        Value::Array(members) => members
            .iter()
            .for_each(|member| every_reference_leads_somewhere(document, member)),
        _ => {}
    }
}

#[test]
fn the_document_has_exactly_the_routes_of_the_api() {
    let document = document();
    every_reference_leads_somewhere(&document, &document);
    let documented: BTreeSet<_> = operations(&document)
        .into_keys()
        .filter(|(_, path)| path.starts_with("/v1/"))
        .collect();
    let answered: BTreeSet<_> = routes()
        .map(|(method, path)| (method.to_owned(), path.to_owned()))
        .collect();
    assert_eq!(documented, answered);
}

struct Served {
    address: String,
    authorization: String,
    parts: BTreeMap<&'static str, String>,
    stop: Stop,
    thread: Option<JoinHandle<()>>,
    _folder: tempfile::TempDir,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop.stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A vault with one of everything, and what the variable parts of paths may be.
fn served() -> Served {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new(&folder.path().join("vault"));
    let (vault, caller) = world.initialised();
    let snapshot = hash(&[8; 300]);
    put(&vault, &caller, &[8; 300], ObjectKind::Snapshot).unwrap();
    put(&vault, &caller, &pack(1, 500), ObjectKind::Pack).unwrap();
    let names = [
        ObjectName::new(ObjectKind::Snapshot, snapshot),
        ObjectName::CONFIG,
    ];
    let seal = vault.seal(&caller, snapshot, &ObjectList::new(names));
    let scopes = [Scope::Append, Scope::Enrol, Scope::Restore, Scope::Pull];
    let made = vault.add_token(&repository(), &scopes, "test").unwrap();
    let face = Arc::new(Face::new(Arc::new(vault)));
    let listen = Listen::Tcp("127.0.0.1:0".parse().unwrap());
    let server = Server::bind(&listen, None, Limits::default(), face, Arc::new(())).unwrap();
    let credentials = STANDARD.encode(format!("{}:{}", made.token, made.secret));
    let parts = BTreeMap::from([
        ("{name}", "web1".to_owned()),
        ("{repository}", "web1".to_owned()),
        ("{folder}", "snapshots".to_owned()),
        ("{id}", snapshot.to_hex()),
        ("{index}", seal.unwrap().to_string()),
        ("{path}", "0/000.p/2".to_owned()),
        ("{when}", "2099-01-01".to_owned()),
    ]);
    Served {
        address: server.local_address().to_string(),
        authorization: format!("Basic {credentials}"),
        parts,
        stop: server.stop_handle(),
        thread: Some(std::thread::spawn(|| server.run())),
        _folder: folder,
    }
}

/// A body that the operation can make something of.
fn body_of(method: &str, path: &str) -> Vec<u8> {
    if !matches!(method, "POST" | "PUT" | "PATCH") {
        return Vec::new();
    }
    let snapshot = ObjectName::new(ObjectKind::Snapshot, hash(&[8; 300]));
    let list = ObjectList::new([snapshot, ObjectName::CONFIG]);
    if path.ends_with("/presence") || path.ends_with("/seals") {
        list.encode()
    } else if path.ends_with("/objects") {
        let mut batch = Batch::default();
        batch.push(&snapshot, &[8; 300]).unwrap();
        batch.as_bytes().to_vec()
    } else if path.ends_with("/config") {
        vec![5; 155]
    } else {
        vec![8; 300]
    }
}

struct Answered {
    status: String,
    media_type: String,
    body: Vec<u8>,
}

fn ask(served: &Served, method: &str, path: &str, authorization: Option<&str>) -> Answered {
    let mut filled = path.to_owned();
    for (part, value) in &served.parts {
        filled = filled.replace(part, value);
    }
    if path.contains("{folder}") && (method == "DELETE" || filled.contains("as-of")) {
        // Only locks can be removed, and past views take nothing else.
        if matches!(method, "POST" | "DELETE") {
            filled = filled.replace("snapshots", "locks");
        }
    }
    let query = match (method, path) {
        ("POST", "/{repository}/") => "?create=true".to_owned(),
        ("POST", path) if path.ends_with("/seals") => format!("?snapshot={}", served.parts["{id}"]),
        _ => String::new(),
    };
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .build()
        .into();
    let mut request = ureq::http::Request::builder()
        .method(method)
        .uri(format!("http://{}{filled}{query}", served.address));
    if let Some(authorization) = authorization {
        request = request.header("authorization", authorization);
    }
    let body = body_of(method, path);
    let answer = if body.is_empty() {
        agent.run(request.body(()).unwrap())
    } else {
        agent.run(request.body(body).unwrap())
    };
    let mut answer = answer.unwrap();
    let media_type = answer.headers().get("content-type");
    let media_type = media_type.map_or("", |value| value.to_str().unwrap());
    let media_type = media_type.split(';').next().unwrap().to_owned();
    Answered {
        status: answer.status().as_u16().to_string(),
        media_type,
        body: answer.body_mut().read_to_vec().unwrap(),
    }
}

/// Checks an answer against what the document says of its status.
fn check(document: &Value, operation: &Value, answered: &Answered, what: &str) {
    let response = &operation["responses"][&answered.status];
    assert!(response.is_object(), "{what}: {} not said", answered.status);
    let Some(content) = followed(document, response).get("content") else {
        return;
    };
    let described = &content[&answered.media_type];
    assert!(described.is_object(), "{what}: {}", answered.media_type);
    if answered.media_type == "application/json" {
        let value: Value = serde_json::from_slice(&answered.body).unwrap();
        check_value(document, &described["schema"], &value, what);
    }
}

/// As much of JSON Schema as the document needs: what is required is there, what is there is known.
fn check_value(document: &Value, schema: &Value, value: &Value, what: &str) {
    let schema = followed(document, schema);
    if schema.get("oneOf").is_some() || schema.get("allOf").is_some() {
        return;
    }
    match schema["type"].as_str() {
        Some("object") => {
            let members = value
                .as_object()
                .unwrap_or_else(|| panic!("{what}: {value}"));
            for name in schema["required"].as_array().unwrap() {
                let name = name.as_str().unwrap();
                assert!(members.contains_key(name), "{what}: no {name}");
            }
            for (name, member) in members {
                let described = &schema["properties"][name];
                assert!(described.is_object(), "{what}: {name} is not described");
                check_value(document, described, member, &format!("{what}.{name}"));
            }
        }
        Some("array") => {
            for member in value
                .as_array()
                .unwrap_or_else(|| panic!("{what}: {value}"))
            {
                check_value(document, &schema["items"], member, what);
            }
        }
        Some("integer") => assert!(value.is_u64(), "{what}: {value}"),
        Some("string") => assert!(value.is_string(), "{what}: {value}"),
        Some("boolean") => assert!(value.is_boolean(), "{what}: {value}"),
        _ => {}
    }
}

#[test]
fn everything_documented_is_answered_as_documented() {
    let document = document();
    let served = served();
    for ((method, path), operation) in operations(&document) {
        let what = format!("{method} {path}");
        let answered = ask(&served, &method, &path, Some(&served.authorization));
        let is_success = answered.status.starts_with('2');
        let is_repeated_config = what == "POST /{repository}/config";
        assert!(
            is_success || is_repeated_config,
            "{what}: {} {}",
            answered.status,
            String::from_utf8_lossy(&answered.body)
        );
        check(&document, &operation, &answered, &what);
        if method == "HEAD" {
            continue;
        }
        // Without a token, and with a wrong one.
        let is_public = operation["security"]
            .as_array()
            .is_some_and(|ways| ways.iter().any(|way| way == &serde_json::json!({})));
        let answered = ask(&served, &method, &path, None);
        assert_eq!(answered.status == "200", is_public, "{what}");
        check(&document, &operation, &answered, &what);
        let answered = ask(&served, &method, &path, Some("Basic eDp5"));
        assert_eq!(answered.status, "401", "{what}");
        check(&document, &operation, &answered, &what);
    }
}

#[test]
fn what_is_not_documented_is_refused() {
    let document = document();
    let served = served();
    let operations = operations(&document);
    let paths: BTreeSet<&String> = operations.keys().map(|(_, path)| path).collect();
    for path in paths {
        for method in METHODS {
            let method = method.to_uppercase();
            if operations.contains_key(&(method.clone(), path.clone())) {
                continue;
            }
            let answered = ask(&served, &method, path, Some(&served.authorization));
            let refusals = if path.starts_with("/v1/") {
                &["405"][..]
            } else {
                &["403", "404", "405"]
            };
            assert!(
                refusals.contains(&answered.status.as_str()),
                "{method} {path}: {}",
                answered.status
            );
        }
    }
    for path in [
        "/v1",
        "/v1/",
        "/v1/tokens",
        "/v1/repositories",
        "/v1/admin/settings",
    ] {
        let answered = ask(&served, "GET", path, Some(&served.authorization));
        assert_eq!(answered.status, "404", "{path}");
        let value: Value = serde_json::from_slice(&answered.body).unwrap();
        assert_eq!(value["error"]["code"], "not_found");
    }
}
