//! A vault that listens on this machine with two repositories in it, and a way of telling whether
//! anything of what it held was lost or hidden.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use outlast_custody::{ObjectList, RepositoryName, Scope, Settings};
use outlast_log::Hash;
use outlast_object::{Id, ObjectKind, ObjectName, hash};
use outlast_vault::http::{Events, Limits, Listen, Refusal, Server, Stop};
use outlast_vault::{Caller, Credentials, Face, Vault};

use crate::raw::{Answer, Line};
use crate::support::{World, key_file, pack, put, repository, settings};

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    Nobody,
    /// A token that there is, with another secret.
    WrongSecret,
    /// A token that there is not.
    Unknown,
    Revoked,
    Append,
    Enrol,
    Restore,
    Pull,
    /// A token of all scopes.
    Everything,
    /// A token of all scopes, for another repository.
    Other,
}

impl Who {
    pub const ALL: [Self; 10] = [
        Self::Nobody,
        Self::WrongSecret,
        Self::Unknown,
        Self::Revoked,
        Self::Append,
        Self::Enrol,
        Self::Restore,
        Self::Pull,
        Self::Everything,
        Self::Other,
    ];
    /// Those whose credentials are no good.
    pub const FALSE: [Self; 3] = [Self::WrongSecret, Self::Unknown, Self::Revoked];
}

const SCOPES: [Scope; 4] = [Scope::Append, Scope::Enrol, Scope::Restore, Scope::Pull];

/// Counts what the server tells of.
#[derive(Default)]
pub struct Counts {
    pub panics: AtomicU64,
    pub refusals: AtomicU64,
}

impl Events for Counts {
    fn refused(&self, _peer: &str, _why: Refusal) {
        self.refusals.fetch_add(1, Ordering::SeqCst);
    }
    fn panicked(&self, _peer: &str) {
        self.panics.fetch_add(1, Ordering::SeqCst);
    }
}

/// A vault under attack.
pub struct Served {
    pub vault: Arc<Vault>,
    pub world: World,
    pub folder: tempfile::TempDir,
    pub address: SocketAddr,
    pub counts: Arc<Counts>,
    /// The objects that the repository had in the beginning, with their bytes.
    pub objects: BTreeMap<ObjectName, Vec<u8>>,
    /// The exact seal over all of them.
    pub seal: u64,
    headers: BTreeMap<Who, String>,
    stop: Stop,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop.stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        if !std::thread::panicking() {
            let panics = self.counts.panics.load(Ordering::SeqCst);
            assert_eq!(panics, 0, "an attack made a handler panic");
        }
    }
}

/// The repository of somebody else.
pub fn other_repository() -> RepositoryName {
    "web2".parse().unwrap()
}

pub fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

pub fn header_of(made: &Credentials) -> String {
    basic(&made.token.to_string(), &made.secret)
}

/// The caller with a new token of this repository.
pub fn caller_of(vault: &Vault, repository: &RepositoryName, scopes: &[Scope]) -> Caller {
    let made = vault.add_token(repository, scopes, "test").unwrap();
    let token = made.token.to_string();
    vault.authenticate(&token, &made.secret).unwrap()
}

/// Puts a small repository: config, key, packs, an index and a snapshot.
pub fn fill(vault: &Vault, caller: &Caller, seed: u64) -> BTreeMap<ObjectName, Vec<u8>> {
    let byte = seed as u8;
    let mut objects = BTreeMap::new();
    let mut keep = |kind, bytes: Vec<u8>| {
        put(vault, caller, &bytes, kind).unwrap();
        let name = match kind {
            ObjectKind::Config => ObjectName::CONFIG,
            kind => ObjectName::new(kind, hash(&bytes)),
        };
        objects.insert(name, bytes);
    };
    keep(ObjectKind::Key, key_file());
    keep(ObjectKind::Config, vec![byte; 155]);
    for number in 0..3 {
        keep(ObjectKind::Pack, pack(seed * 100 + number, 2000));
    }
    keep(ObjectKind::Index, vec![byte; 300]);
    keep(ObjectKind::Snapshot, vec![byte; 250]);
    objects
}

/// Limits under which no honest test waits.
pub fn wide() -> Limits {
    Limits {
        connections_of_peer: 120,
        ..Limits::default()
    }
}

impl Served {
    pub fn new() -> Self {
        Self::with(settings(), wide())
    }

    pub fn with(settings: Settings, limits: Limits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let world = World::new(&folder.path().join("vault"));
        let vault = Arc::new(world.open());
        for name in [repository(), other_repository()] {
            vault.set_repository(&name, settings.clone()).unwrap();
        }
        let mut headers = BTreeMap::new();
        let mut add = |who, repository: &RepositoryName, scopes: &[Scope]| {
            let made = vault.add_token(repository, scopes, "test").unwrap();
            headers.insert(who, header_of(&made));
            made
        };
        add(Who::Append, &repository(), &[Scope::Append]);
        add(Who::Enrol, &repository(), &[Scope::Enrol]);
        add(Who::Restore, &repository(), &[Scope::Restore]);
        add(Who::Pull, &repository(), &[Scope::Pull]);
        let all = add(Who::Everything, &repository(), &SCOPES);
        let other = add(Who::Other, &other_repository(), &SCOPES);
        let revoked = add(Who::Revoked, &repository(), &SCOPES);
        vault.revoke_token(revoked.token).unwrap();
        let wrong = basic(&all.token.to_string(), &"0".repeat(64));
        headers.insert(Who::WrongSecret, wrong);
        headers.insert(Who::Unknown, basic("0123456789abcdef", &all.secret));
        let sign_in = |made: &Credentials| {
            let token = made.token.to_string();
            vault.authenticate(&token, &made.secret).unwrap()
        };
        let objects = fill(&vault, &sign_in(&all), 1);
        fill(&vault, &sign_in(&other), 2);
        let snapshot = objects
            .keys()
            .find(|name| name.kind() == ObjectKind::Snapshot);
        let list = ObjectList::new(objects.keys().copied());
        let seal = vault.seal(&sign_in(&all), snapshot.unwrap().id(), &list);

        let counts = Arc::new(Counts::default());
        let face = Arc::new(Face::new(Arc::clone(&vault)));
        let listen = Listen::Tcp("127.0.0.1:0".parse().unwrap());
        let events = Arc::clone(&counts);
        let server = Server::bind(&listen, None, limits, face, events).unwrap();
        let Listen::Tcp(address) = server.local_address().clone() else {
            panic!("no port")
        };
        Self {
            seal: seal.unwrap(),
            vault,
            world,
            folder,
            address,
            counts,
            objects,
            headers,
            stop: server.stop_handle(),
            thread: Some(std::thread::spawn(|| server.run())),
        }
    }

    /// What somebody sends as authorization.
    pub fn header(&self, who: Who) -> Option<&str> {
        self.headers.get(&who).map(String::as_str)
    }

    pub fn line(&self) -> Line {
        Line::new(self.address)
    }

    /// Asks once.
    pub fn ask(&self, method: &str, path: &str, who: Who, body: &[u8]) -> Answer {
        self.line().ask(method, path, self.header(who), body)
    }

    /// The first object of a kind that the repository had in the beginning.
    pub fn object(&self, kind: ObjectKind) -> (ObjectName, &[u8]) {
        let mut objects = self.objects.iter();
        let (name, bytes) = objects.find(|(name, _)| name.kind() == kind).unwrap();
        (*name, bytes)
    }

    pub fn store(&self) -> PathBuf {
        self.folder.path().join("vault")
    }

    /// What is held now.
    pub fn kept(&self) -> Kept {
        Kept::of(&self.vault, &self.store())
    }

    /// Whether everything that was held is held, shown and served as before.
    pub fn assert_kept(&self, before: &Kept) {
        let now = self.kept();
        before.assert_within(&now);
        let mut line = self.line();
        let reader = self.header(Who::Restore);
        for kind in ObjectKind::ALL {
            if matches!(kind, ObjectKind::Config | ObjectKind::Lock) {
                continue;
            }
            let path = format!("/web1/{}/", kind.folder());
            let listed = line.ask("GET", &path, reader, b"").text();
            for name in self.objects.keys().filter(|name| name.kind() == kind) {
                assert!(listed.contains(&name.id().to_hex()), "{name} is hidden");
            }
        }
        for (name, bytes) in &self.objects {
            let answer = line.ask("GET", &path_of(name), reader, b"");
            assert_eq!(answer.status, 200, "{name}");
            assert!(answer.body == *bytes, "{name} has other bytes");
        }
        assert!(self.vault.read_only_reason().is_none());
    }

    /// Stops the server, and opens the vault afresh from its journal alone: it has what it had.
    pub fn assert_survives(mut self, before: &Kept) {
        self.assert_kept(before);
        self.stop.stop();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
        let reopened = self.world.open();
        before.assert_within(&Kept::of(&reopened, &self.store()));
    }
}

/// The path of an object in restic's protocol.
pub fn path_of(name: &ObjectName) -> String {
    match name.kind() {
        ObjectKind::Config => "/web1/config".to_owned(),
        kind => format!("/web1/{}/{}", kind.folder(), name.id()),
    }
}

/// A digest over all that a vault holds.
pub struct Kept {
    /// Objects and lists: these never change.
    files: BTreeMap<PathBuf, Id>,
    /// Segments of the journal: these only grow.
    journal: BTreeMap<PathBuf, Vec<u8>>,
    /// What the log says is there.
    names: Vec<(RepositoryName, ObjectName, u64)>,
    /// The log's entries.
    leaves: Vec<Hash>,
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        let Ok(entries) = fs::read_dir(folder) else {
            continue;
        };
        for entry in entries {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                found.push(path);
            }
        }
    }
    found
}

impl Kept {
    pub fn of(vault: &Vault, store: &Path) -> Self {
        let mut files = BTreeMap::new();
        for folder in ["repositories", "ledger/lists"] {
            for path in files_below(&store.join(folder)) {
                let bytes = fs::read(&path).unwrap();
                files.insert(path, hash(&bytes));
            }
        }
        let journal = files_below(&store.join("ledger/journal"));
        let journal = journal.into_iter().map(|path| {
            let bytes = fs::read(&path).unwrap();
            (path, bytes)
        });
        let journal = journal.collect();
        let mut names = Vec::new();
        let mut leaves = Vec::new();
        vault
            .entries(0, &mut |position, entry| {
                leaves.push(entry.leaf());
                if let outlast_custody::Event::Admit(admit) = &entry.event {
                    let kind = admit.object_kind().unwrap();
                    let name = ObjectName::new(kind, admit.id.0);
                    let name = if kind == ObjectKind::Config {
                        ObjectName::CONFIG
                    } else {
                        name
                    };
                    names.push((admit.repository.clone(), name, position));
                }
                true
            })
            .unwrap();
        for (repository, name, position) in &names {
            let found = vault.object(repository, name).unwrap();
            let found = found.map(|admission| admission.position);
            assert_eq!(found, Some(*position), "{name} is hidden");
        }
        Self {
            files,
            journal,
            names,
            leaves,
        }
    }

    /// How many objects there are.
    pub fn objects(&self) -> usize {
        self.names.len()
    }

    /// Whether `now` has everything that this has.
    pub fn assert_within(&self, now: &Self) {
        for (path, id) in &self.files {
            let path_shown = path.display();
            assert_eq!(now.files.get(path), Some(id), "{path_shown}");
        }
        for (path, bytes) in &self.journal {
            let after = now.journal.get(path).expect("a segment");
            assert!(after.starts_with(bytes), "the journal was rewritten");
        }
        assert!(now.leaves.starts_with(&self.leaves), "the log forked");
        assert!(now.names.starts_with(&self.names), "an object is hidden");
    }

    /// Whether nothing at all was added, but for entries that are no objects.
    pub fn assert_same_objects(&self, now: &Self) {
        self.assert_within(now);
        assert_eq!(self.files, now.files, "something was added");
        assert_eq!(self.names, now.names, "something was added");
    }
}
