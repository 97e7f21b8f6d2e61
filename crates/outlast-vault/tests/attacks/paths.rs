//! Every path that the vault knows, and what is allowed there to whom. Whatever is not declared here
//! must be refused.

use outlast_custody::ObjectList;
use outlast_object::{ObjectKind, ObjectName, hash};
use outlast_wire::batch::Batch;

use crate::served::{Served, Who, path_of};
use crate::support::pack;

/// One request that is allowed: method, by whom, and the status of its answer.
pub type Allowed = (&'static str, &'static [Who], u16);

/// A path, what would be sent there, and who may do what.
pub struct Row {
    pub path: String,
    pub body: Vec<u8>,
    pub allowed: Vec<Allowed>,
}

const ALL: &[Who] = &[
    Who::Nobody,
    Who::Append,
    Who::Enrol,
    Who::Restore,
    Who::Pull,
    Who::Everything,
    Who::Other,
];
/// Everybody with a token of the repository.
const READERS: &[Who] = &[
    Who::Append,
    Who::Enrol,
    Who::Restore,
    Who::Pull,
    Who::Everything,
];
/// Who reads packs.
const RESTORERS: &[Who] = &[Who::Restore, Who::Pull, Who::Everything];
const WRITERS: &[Who] = &[Who::Append, Who::Everything];
const ENROLLERS: &[Who] = &[Who::Enrol, Who::Everything];
/// Who reads entries of the log, which name repositories and objects.
const PULLERS: &[Who] = &[Who::Pull, Who::Everything, Who::Other];

fn read_by(who: &'static [Who]) -> Vec<Allowed> {
    vec![("GET", who, 200), ("HEAD", who, 200)]
}

fn row(path: impl Into<String>, body: &[u8], allowed: Vec<Allowed>) -> Row {
    Row {
        path: path.into(),
        body: body.to_vec(),
        allowed,
    }
}

/// All paths, of both interfaces.
pub fn table(served: &Served) -> Vec<Row> {
    let mut rows = Vec::new();
    restic_paths(served, "", &mut rows);
    for view in ["/as-of/1000000", "/as-of/2999-01-01", "/as-of/0"] {
        restic_paths(served, view, &mut rows);
    }
    log_paths(&mut rows);
    api_paths(served, &mut rows);
    rows
}

/// restic's protocol, now or as it was. In a view, nothing but locks can be sent.
fn restic_paths(served: &Served, view: &str, rows: &mut Vec<Row>) {
    let live = view.is_empty();
    let begins_empty = view == "/as-of/0";
    let post = |who, status| {
        if live {
            vec![("POST", who, status)]
        } else {
            vec![]
        }
    };
    let mut add =
        |path: String, body: &[u8], reads: Option<&'static [Who]>, posts: Vec<Allowed>| {
            let mut allowed = reads.map_or_else(Vec::new, read_by);
            if path.starts_with("/web1/data/") && reads.is_some() {
                // Whoever backs up may ask whether a pack is there.
                allowed.push(("HEAD", READERS, 200));
            }
            allowed.extend(posts);
            rows.push(row(format!("{view}{path}"), body, allowed));
        };
    add("/web1".to_owned(), b"", None, vec![]);
    add("/web1/".to_owned(), b"", None, vec![]);
    add(
        "/web1/?create=true".to_owned(),
        b"",
        None,
        post(READERS, 200),
    );
    for folder in ["keys", "data", "index", "snapshots", "locks"] {
        add(format!("/web1/{folder}/"), b"", Some(READERS), vec![]);
        add(format!("/web1/{folder}"), b"", Some(READERS), vec![]);
    }
    for (name, bytes) in &served.objects {
        let (reads, posts) = match name.kind() {
            ObjectKind::Config => (READERS, post(ENROLLERS, 200)),
            ObjectKind::Key => (READERS, vec![]),
            ObjectKind::Pack => (RESTORERS, post(WRITERS, 200)),
            _ => (READERS, post(WRITERS, 200)),
        };
        let reads = (!begins_empty).then_some(reads);
        add(path_of(name), bytes, reads, posts);
    }
    // New ones. Whether they can be read depends on what came before, so they are written only.
    let (new_pack, new_key) = (pack(77, 900), br#"{"kdf":"scrypt","N":2}"#.to_vec());
    let name = ObjectName::new(ObjectKind::Key, hash(&new_key));
    add(path_of(&name), &new_key, None, vec![]);
    if live {
        let name = ObjectName::new(ObjectKind::Pack, hash(&new_pack));
        add(path_of(&name), &new_pack, None, post(WRITERS, 200));
    }
    let lock = b"a lock of somebody".to_vec();
    let name = ObjectName::new(ObjectKind::Lock, hash(&lock));
    let locks = vec![("POST", READERS, 200), ("DELETE", READERS, 200)];
    add(path_of(&name), &lock, None, locks);
    for nothing in [
        "/web1/tmp/",
        "/web1/ledger/",
        "/web1/data/ab/",
        "/web1/keys/x",
    ] {
        add(nothing.to_owned(), b"x", None, vec![]);
    }
}

fn log_paths(rows: &mut Vec<Row>) {
    rows.push(row("/", b"", vec![]));
    rows.push(row("/health", b"", read_by(ALL)));
    rows.push(row("/checkpoint", b"", read_by(ALL)));
    rows.push(row("/tile/0/000.p/9", b"", read_by(ALL)));
    rows.push(row("/tile/entries/000.p/9", b"", read_by(PULLERS)));
    for nothing in [
        "/tile/",
        "/tile/9/000",
        "/tile/0/x",
        "/metrics",
        "/log/checkpoint",
        "/ledger/journal/0000000000000000",
        "/incoming/",
        "/web",
        "/web3/config",
    ] {
        rows.push(row(nothing, b"", vec![]));
    }
}

fn api_paths(served: &Served, rows: &mut Vec<Row>) {
    let get = |who| vec![("GET", who, 200)];
    rows.push(row("/v1", b"", vec![]));
    rows.push(row("/v1/log", b"", vec![]));
    rows.push(row("/v1/log/checkpoint", b"", get(ALL)));
    rows.push(row("/v1/log/tile/0/000.p/9", b"", get(ALL)));
    rows.push(row("/v1/log/tile/entries/000.p/9", b"", get(PULLERS)));

    let base = "/v1/repositories/web1";
    let list = ObjectList::new(served.objects.keys().copied()).encode();
    rows.push(row("/v1/repositories", b"", vec![]));
    rows.push(row(base, b"", get(READERS)));
    let presence = vec![("POST", READERS, 200)];
    rows.push(row(format!("{base}/presence"), &list, presence));
    let mut batch = Batch::default();
    let bytes = pack(88, 600);
    batch.push(&ObjectName::pack(hash(&bytes)), &bytes).unwrap();
    let posts = vec![("POST", WRITERS, 200)];
    let objects = format!("{base}/objects");
    rows.push(row(objects, batch.as_bytes(), posts.clone()));
    for folder in ["keys", "data", "index", "snapshots"] {
        rows.push(row(format!("{base}/objects/{folder}"), b"", get(READERS)));
    }
    for folder in ["locks", "config", "tmp"] {
        rows.push(row(format!("{base}/objects/{folder}"), b"", vec![]));
    }
    rows.push(row(format!("{base}/seals"), b"", get(READERS)));
    let snapshot = served.object(ObjectKind::Snapshot).0.id();
    rows.push(row(
        format!("{base}/seals?snapshot={snapshot}"),
        &list,
        vec![("GET", READERS, 200), ("POST", WRITERS, 200)],
    ));
    let seal = served.seal;
    for part in ["", "/receipt", "/list"] {
        rows.push(row(format!("{base}/seals/{seal}{part}"), b"", get(READERS)));
    }
    for nothing in ["/seals/0", "/seals/999999", "/hold", "/tokens", "/settings"] {
        rows.push(row(format!("{base}{nothing}"), b"", vec![]));
    }
}

/// Whether a path is one of a route, whose variable parts are in braces.
fn fits(template: &str, path: &str) -> bool {
    let path = path.split('?').next().unwrap_or_default();
    let mut names = path.split('/');
    for part in template.split('/') {
        match names.next() {
            Some(_) if part == "{path}" => return true,
            Some(name) if part == name || part.starts_with('{') => {}
            _ => return false,
        }
    }
    names.next().is_none()
}

#[test]
fn every_route_of_the_interface_is_attacked() {
    let rows = table(&Served::new());
    for (method, template) in outlast_vault::routes() {
        let is_there = rows.iter().any(|row| {
            let allowed = row.allowed.iter().any(|(verb, ..)| *verb == method);
            allowed && fits(template, &row.path)
        });
        assert!(is_there, "{method} {template} is not in the table");
    }
}
