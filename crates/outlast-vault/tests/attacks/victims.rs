//! A vault and a rest-server in append-only mode, each with the same real repository in it, so that
//! the same attacks can be made on both.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use outlast_custody::Scope;
use outlast_object::{ObjectKind, ObjectName, hash};
use outlast_vault::http::{Limits, Listen, Pace, Server, Stop};
use outlast_vault::{Face, Vault};

use crate::raw::{Answer, Line};
use crate::served::{basic, caller_of, other_repository, wide};
use crate::support::{World, put_as, repository, settings};
use crate::tools;

/// The password of both users of rest-server, and what its file says of it.
const PASSWORD: (&str, &str) = ("geheim", "{SHA}kGByAB793z4R5tK1eC9Hd/4Dhzk=");

/// Who is attacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Vault,
    RestServer,
}

/// What an attack meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setting {
    /// As it comes, with limits of time that a test can wait for.
    Usual,
    /// With room for a hundred thousand bytes more.
    Small,
}

/// Bytes for which there is room in a small setting.
pub const ROOM_BYTES: u64 = 100_000;

/// A user name and a password.
pub type Login = (String, String);

enum Running {
    Vault {
        vault: Arc<Vault>,
        stop: Stop,
        thread: Option<JoinHandle<()>>,
        world: World,
    },
    RestServer(Child),
}

/// A server under attack.
pub struct Victim {
    pub address: SocketAddr,
    /// The credentials of the machine that was taken over.
    pub attacker: Login,
    /// Those with which its owner restores.
    pub owner: Login,
    /// Those of a neighbour.
    pub neighbour: Login,
    /// Where the files of the repository `web1` are.
    pub store: PathBuf,
    pub folder: tempfile::TempDir,
    running: Running,
}

impl Drop for Victim {
    fn drop(&mut self) {
        match &mut self.running {
            Running::Vault { stop, thread, .. } => {
                stop.stop();
                if let Some(thread) = thread.take() {
                    let _ = thread.join();
                }
            }
            Running::RestServer(child) => {
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }
}

/// A repository that restic made, with its password, in files.
struct Template {
    folder: tempfile::TempDir,
}

const REPOSITORY_PASSWORD: &str = "secret";

fn run_restic(restic: &Path, home: &Path, repository: &str, arguments: &[&str]) -> Output {
    Command::new(restic)
        .args(arguments)
        .env_clear()
        .env("HOME", home)
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("RESTIC_REPOSITORY", repository)
        .env("RESTIC_PASSWORD", REPOSITORY_PASSWORD)
        .env("RESTIC_CACHE_DIR", home.join("cache"))
        .env("RESTIC_HOST", "web1")
        .output()
        .unwrap()
}

fn template() -> &'static Template {
    static TEMPLATE: OnceLock<Template> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("source");
        fs::create_dir(&source).unwrap();
        for number in 0..10_u64 {
            let bytes = number.to_le_bytes().repeat(500 + number as usize);
            fs::write(source.join(format!("file{number}")), bytes).unwrap();
        }
        let restic = tools::restic_019().unwrap();
        let repository = folder.path().join("repository").display().to_string();
        let source = source.display().to_string();
        for arguments in [&["init"][..], &["backup", &source]] {
            let output = run_restic(&restic, folder.path(), &repository, arguments);
            let errors = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{errors}");
        }
        Template { folder }
    })
}

/// The folder whose backup is in the repository.
pub fn source() -> PathBuf {
    template().folder.path().join("source")
}

/// The objects of the template, in an order in which they can be put: name and bytes.
pub fn objects() -> Vec<(ObjectName, Vec<u8>)> {
    let base = template().folder.path().join("repository");
    let mut objects = Vec::new();
    let mut add = |kind, path: PathBuf| {
        let bytes = fs::read(path).unwrap();
        objects.push((ObjectName::new(kind, hash(&bytes)), bytes));
    };
    for kind in [ObjectKind::Key, ObjectKind::Config, ObjectKind::Pack] {
        match kind {
            ObjectKind::Config => add(kind, base.join("config")),
            kind => files_of(&base, kind).for_each(|path| add(kind, path)),
        }
    }
    for kind in [ObjectKind::Index, ObjectKind::Snapshot] {
        files_of(&base, kind).for_each(|path| add(kind, path));
    }
    objects
}

fn files_of(base: &Path, kind: ObjectKind) -> impl Iterator<Item = PathBuf> {
    let mut files = Vec::new();
    let mut open = vec![base.join(kind.folder())];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                files.push(path);
            }
        }
    }
    files.sort();
    files.into_iter()
}

fn bytes_in_all() -> u64 {
    objects().iter().map(|(_, bytes)| bytes.len() as u64).sum()
}

impl Victim {
    /// Starts one; none, after saying so, where a program is missing.
    pub fn start(kind: Kind, setting: Setting) -> Option<Self> {
        tools::restic_019()?;
        match kind {
            Kind::Vault => Some(Self::vault(setting)),
            Kind::RestServer => Self::rest_server(setting),
        }
    }

    fn vault(setting: Setting) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let world = World::new(&folder.path().join("vault"));
        let vault = Arc::new(world.open());
        let mut settings = settings();
        if setting == Setting::Small {
            settings.quota_bytes = bytes_in_all() + ROOM_BYTES;
        }
        for name in [repository(), other_repository()] {
            vault.set_repository(&name, settings.clone()).unwrap();
            let caller = caller_of(&vault, &name, &[Scope::Append, Scope::Enrol]);
            for (name, bytes) in objects() {
                put_as(&vault, &caller, &bytes, name.kind(), name.id()).unwrap();
            }
        }
        let login = |name: &outlast_custody::RepositoryName, scopes: &[Scope]| {
            let made = vault.add_token(name, scopes, "test").unwrap();
            (made.token.to_string(), made.secret)
        };
        let attacker = login(&repository(), &[Scope::Append]);
        let owner = login(&repository(), &[Scope::Restore]);
        let both = [Scope::Append, Scope::Restore];
        let neighbour = login(&other_repository(), &both);
        let moment = Duration::from_millis(300);
        let limits = Limits {
            head_time: moment,
            pace: Pace {
                grace: moment,
                ..Pace::default()
            },
            ..wide()
        };
        let face = Arc::new(Face::new(Arc::clone(&vault)));
        let listen = Listen::Tcp("127.0.0.1:0".parse().unwrap());
        let server = Server::bind(&listen, None, limits, face, Arc::new(())).unwrap();
        let Listen::Tcp(address) = server.local_address().clone() else {
            panic!("no port")
        };
        let stop = server.stop_handle();
        let thread = Some(std::thread::spawn(|| server.run()));
        Self {
            address,
            attacker,
            owner,
            neighbour,
            store: folder.path().join("vault/repositories/web1"),
            folder,
            running: Running::Vault {
                vault,
                stop,
                thread,
                world,
            },
        }
    }

    fn rest_server(setting: Setting) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        for user in ["web1", "web2"] {
            for kind in ["data", "keys", "index", "snapshots", "locks"] {
                fs::create_dir_all(data.join(user).join(kind)).unwrap();
            }
            for first in 0..=255_u8 {
                fs::create_dir(data.join(format!("{user}/data/{first:02x}"))).unwrap();
            }
            for (name, bytes) in objects() {
                fs::write(data.join(user).join(file_of(&name)), bytes).unwrap();
            }
        }
        let users = format!("web1:{0}\nweb2:{0}\n", PASSWORD.1);
        fs::write(folder.path().join("htpasswd"), users).unwrap();
        let mut command = Command::new(tools::rest_server()?);
        command
            .args([
                "--listen",
                "127.0.0.1:0",
                "--append-only",
                "--private-repos",
            ])
            .arg("--path")
            .arg(&data)
            .arg("--htpasswd-file")
            .arg(folder.path().join("htpasswd"));
        if setting == Setting::Small {
            let bytes = 2 * bytes_in_all() + ROOM_BYTES;
            command.args(["--max-size", &bytes.to_string()]);
        }
        let command = command.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = lines.find_map(|line| {
            let line = line.unwrap();
            let address = line.split_once("start server on ")?.1;
            Some(address.parse().unwrap())
        });
        // Whatever else it has to say must not block it.
        std::thread::spawn(move || lines.for_each(drop));
        let login = |user: &str| (user.to_owned(), PASSWORD.0.to_owned());
        Some(Self {
            address: address.expect("rest-server did not start"),
            attacker: login("web1"),
            owner: login("web1"),
            neighbour: login("web2"),
            store: data.join("web1"),
            folder,
            running: Running::RestServer(child),
        })
    }

    pub fn ask(&self, method: &str, path: &str, login: Option<&Login>, body: &[u8]) -> Answer {
        let header = login.map(|(user, password)| basic(user, password));
        Line::new(self.address).ask(method, path, header.as_deref(), body)
    }

    /// Asks as the attacker; gives the status.
    pub fn attack(&self, method: &str, path: &str, body: &[u8]) -> u16 {
        self.ask(method, path, Some(&self.attacker), body).status
    }

    /// Runs restic 0.19 with these credentials; `view` stands before the repository's name.
    pub fn restic(&self, login: &Login, view: &str, arguments: &[&str]) -> Output {
        let (user, password) = login;
        let address = self.address;
        let repository = format!("rest:http://{user}:{password}@{address}{view}/web1/");
        let home = self.folder.path().join("home");
        fs::create_dir_all(&home).unwrap();
        run_restic(&tools::restic_019().unwrap(), &home, &repository, arguments)
    }

    /// The newest position in the vault's log.
    pub fn log_size(&self) -> Option<u64> {
        match &self.running {
            Running::Vault { vault, .. } => Some(vault.log_size()),
            Running::RestServer(_) => None,
        }
    }

    /// The vault itself, and the world that it is in.
    pub fn inside(&self) -> Option<(&Arc<Vault>, &World)> {
        match &self.running {
            Running::Vault { vault, world, .. } => Some((vault, world)),
            Running::RestServer(_) => None,
        }
    }

    /// Whether every object is in its file, with the bytes that it had.
    pub fn has_everything(&self) -> bool {
        objects().iter().all(|(name, bytes)| {
            fs::read(self.store.join(file_of(name))).is_ok_and(|found| found == *bytes)
        })
    }

    /// Whether the owner gets back what was backed up.
    pub fn restores(&self, view: &str) -> bool {
        let target = self.folder.path().join("target");
        let _ = fs::remove_dir_all(&target);
        let shown = target.display().to_string();
        let arguments = ["restore", "latest", "--target", &shown];
        let output = self.restic(&self.owner, view, &arguments);
        let source = source();
        let restored = target.join(source.strip_prefix("/").unwrap());
        let is_same = (0..10).all(|number| {
            let name = format!("file{number}");
            let right = fs::read(source.join(&name)).unwrap();
            fs::read(restored.join(&name)).is_ok_and(|found| found == right)
        });
        is_same && output.status.success()
    }
}

/// The file of an object below its repository.
pub fn file_of(name: &ObjectName) -> String {
    let id = name.id().to_hex();
    match name.kind() {
        ObjectKind::Config => "config".to_owned(),
        ObjectKind::Pack => format!("data/{}/{id}", &id[..2]),
        kind => format!("{}/{id}", kind.folder()),
    }
}
