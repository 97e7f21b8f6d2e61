//! Somebody has got at the vault's own disk. What is gone is gone; but it is never passed over, never
//! shown as if it were there, and nothing from elsewhere is ever served in its place.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use outlast_custody::{ObjectList, Scope};
use outlast_object::{Id, ObjectKind, ObjectName, hash};
use outlast_vault::{Index, VaultError, object_path};

use crate::served::{Served, Who, caller_of, fill, path_of};
use crate::support::{World, key_file, pack, put, repository, settings};

/// Changes one stored file behind the vault's back.
type Tamper = fn(&Path);

fn path_in(served: &Served, name: &ObjectName) -> PathBuf {
    served.store().join(object_path(&repository(), name))
}

fn truncate(path: &Path) {
    let bytes = fs::read(path).unwrap();
    fs::remove_file(path).unwrap();
    fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
}

fn flip(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    bytes[10] ^= 1;
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
}

fn lengthen(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    bytes.extend_from_slice(b"and more");
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
}

fn remove(path: &Path) {
    fs::remove_file(path).unwrap();
}

fn link_elsewhere(path: &Path) {
    let elsewhere = path.with_extension("elsewhere");
    fs::rename(path, &elsewhere).unwrap();
    symlink(&elsewhere, path).unwrap();
}

fn directory(path: &Path) {
    fs::remove_file(path).unwrap();
    fs::create_dir(path).unwrap();
}

fn fifo(path: &Path) {
    fs::remove_file(path).unwrap();
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

/// Each with whether the object counts as lost, whether its bytes are still served in part or
/// changed, and the status of sending it once more.
const TAMPERINGS: [(&str, Tamper, bool, u16); 7] = [
    ("removed", remove, true, 200),
    ("truncated", truncate, false, 500),
    ("flipped", flip, false, 500),
    ("lengthened", lengthen, false, 500),
    ("a symbolic link", link_elsewhere, true, 500),
    ("a directory", directory, true, 500),
    ("a fifo", fifo, true, 500),
];

#[test]
fn tampering_with_stored_objects() {
    for (what, tamper, is_lost, again) in TAMPERINGS {
        let served = Served::new();
        let all: Vec<ObjectName> = served.objects.keys().copied().collect();
        let kinds = [ObjectKind::Pack, ObjectKind::Index, ObjectKind::Snapshot];
        for kind in kinds {
            let (name, bytes) = served.object(kind);
            tamper(&path_in(&served, &name));
            let mut line = served.line();
            let reader = served.header(Who::Restore);
            let path = path_of(&name);
            let answer = line.ask("GET", &path, reader, b"");
            let head = line.ask("HEAD", &path, reader, b"");
            let folder = format!("/web1/{}/", kind.folder());
            let listed = line.ask("GET", &folder, reader, b"").text();
            let is_listed = listed.contains(&name.id().to_hex());
            if is_lost {
                assert_eq!((answer.status, head.status), (404, 404), "{what} {name}");
                assert!(!is_listed, "{what}: {name} is shown as if it were there");
            } else {
                assert_eq!((answer.status, head.status), (200, 200), "{what} {name}");
                assert!(is_listed, "{what} {name}");
                assert!(answer.body.len() <= bytes.len());
                assert_eq!(hash(&answer.body) == name.id(), what == "lengthened");
            }
            // Nobody is told that it is kept, unless it is whole again.
            let append = served.header(Who::Append);
            let status = line.ask("POST", &path, append, bytes).status;
            assert_eq!(status, again, "{what} {name}");
            let served_now = line.ask("GET", &path, reader, b"");
            assert_eq!(served_now.status == 200 && served_now.body == bytes, {
                again == 200 || what == "lengthened"
            });
        }
        // Everything else is served as before, and the vault goes on.
        let untouched = all.iter().filter(|name| !kinds.contains(&name.kind()));
        for name in untouched {
            let answer = served.ask("GET", &path_of(name), Who::Restore, b"");
            assert!(answer.body == served.objects[name], "{what}: {name}");
        }
        let more = pack(40, 800);
        let path = path_of(&ObjectName::pack(hash(&more)));
        assert_eq!(served.ask("POST", &path, Who::Append, &more).status, 200);
    }
}

#[test]
fn sealing_what_was_lost_or_cut_on_the_disk() {
    for (what, tamper, _, _) in TAMPERINGS {
        if what == "flipped" {
            // Only reading everything finds that; a scrub does.
            continue;
        }
        let served = Served::new();
        let name = served.object(ObjectKind::Pack).0;
        tamper(&path_in(&served, &name));
        let snapshot = served.object(ObjectKind::Snapshot).0.id();
        let list = ObjectList::new(served.objects.keys().copied());
        let caller = caller_of(&served.vault, &repository(), &[Scope::Append]);
        match served.vault.seal(&caller, snapshot, &list) {
            Err(VaultError::SealIncomplete(missing)) => assert_eq!(missing, name, "{what}"),
            other => panic!("{what}: {other:?}"),
        }
    }
}

#[test]
fn replacing_folders_of_the_store() {
    for folder in [
        "repositories/web1/data",
        "repositories/web1",
        "repositories",
    ] {
        let served = Served::new();
        let path = served.store().join(folder);
        let aside = served.folder.path().join("aside");
        fs::rename(&path, &aside).unwrap();
        let name = served.object(ObjectKind::Pack).0;
        for stands_there in ["nothing", "a link", "a file"] {
            match stands_there {
                "a link" => symlink(&aside, &path).unwrap(),
                "a file" => fs::write(&path, b"x").unwrap(),
                _ => {}
            }
            let answer = served.ask("GET", &path_of(&name), Who::Restore, b"");
            assert_eq!(answer.status, 404, "{folder}: {stands_there}");
            let listed = served.ask("GET", "/web1/data/", Who::Restore, b"");
            assert_eq!(listed.text(), "[]", "{folder}: {stands_there}");
            let bytes = served.objects[&name].clone();
            let status = served
                .ask("POST", &path_of(&name), Who::Append, &bytes)
                .status;
            assert_eq!(status == 200, stands_there == "nothing", "{stands_there}");
            if stands_there == "nothing" {
                fs::remove_dir_all(&path).unwrap();
            } else {
                fs::remove_file(&path).unwrap();
            }
        }
        assert_eq!(served.ask("GET", "/health", Who::Nobody, b"").status, 200);
        assert!(served.vault.read_only_reason().is_none());
    }
}

#[test]
fn planting_files_that_the_log_does_not_know() {
    let served = Served::new();
    let before = served.kept();
    let base = served.store().join("repositories/web1");
    let (planted, other) = (pack(50, 700), vec![3; 400]);
    let name = ObjectName::pack(hash(&planted));
    let path = path_in(&served, &name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, &planted).unwrap();
    let snapshot = hash(&other).to_hex();
    fs::write(base.join("snapshots").join(&snapshot), &other).unwrap();
    fs::write(base.join("keys").join("x"), key_file()).unwrap();
    fs::create_dir_all(base.join("locks")).unwrap();
    fs::write(base.join("locks").join(&snapshot), b"a lock").unwrap();
    for path in [
        path_of(&name),
        format!("/web1/snapshots/{snapshot}"),
        "/web1/keys/x".to_owned(),
        format!("/web1/locks/{snapshot}"),
    ] {
        let status = served.ask("GET", &path, Who::Restore, b"").status;
        assert_eq!(status, 404, "{path}");
    }
    for folder in ["data", "snapshots", "keys", "locks"] {
        let listed = served.ask("GET", &format!("/web1/{folder}/"), Who::Restore, b"");
        assert!(!listed.text().contains(&snapshot));
        assert!(!listed.text().contains(&name.id().to_hex()));
    }
    // Under the name of something that comes later lies something false: it is not overwritten, and
    // nobody is told that his own is kept.
    let right = pack(51, 700);
    let name = ObjectName::pack(hash(&right));
    let path = path_in(&served, &name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, b"false").unwrap();
    let answer = served.ask("POST", &path_of(&name), Who::Append, &right);
    assert_eq!(answer.status, 500);
    assert!(answer.text().contains("damaged"), "{}", answer.text());
    let status = served.ask("GET", &path_of(&name), Who::Restore, b"").status;
    assert_eq!(status, 404);
    served.assert_survives(&before);
}

#[test]
fn a_config_that_a_crash_left_behind_stops_no_init() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new(folder.path());
    let (vault, caller) = world.with_caller(&[Scope::Enrol]);
    let path = folder.path().join("repositories/web1/config");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, [1; 155]).unwrap();
    put(&vault, &caller, &key_file(), ObjectKind::Key).unwrap();
    put(&vault, &caller, &[2; 155], ObjectKind::Config).unwrap();
    assert_eq!(fs::read(&path).unwrap(), [2; 155]);
    let third = put(&vault, &caller, &[3; 155], ObjectKind::Config);
    assert!(matches!(third, Err(VaultError::OtherBytes(_))), "{third:?}");
}

/// A vault with enough entries for full tiles, closed; its journal, and what it held.
struct Closed {
    folder: tempfile::TempDir,
    world: World,
    names: Vec<ObjectName>,
    /// A seal in the first tile.
    seal: u64,
}

impl Closed {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let world = World::new(&folder.path().join("vault"));
        let (vault, caller) = world.with_caller(&[Scope::Append, Scope::Enrol]);
        let mut names: Vec<_> = fill(&vault, &caller, 1).into_keys().collect();
        let snapshot = names
            .iter()
            .find(|name| name.kind() == ObjectKind::Snapshot);
        let list = ObjectList::new(names.iter().copied());
        let seal = vault.seal(&caller, snapshot.unwrap().id(), &list).unwrap();
        for seed in 0..270 {
            let bytes = pack(10_000 + seed, 200);
            put(&vault, &caller, &bytes, ObjectKind::Pack).unwrap();
            names.push(ObjectName::pack(hash(&bytes)));
        }
        drop(vault);
        Self {
            folder,
            world,
            names,
            seal,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("vault").join(name)
    }

    fn journal(&self) -> PathBuf {
        self.path("ledger/journal/0000000000000000")
    }

    /// Opens the vault with this index; if it opens, it must have everything.
    fn try_open(&self, index: Index) -> Result<(), VaultError> {
        let vault = self.world.open_with(index)?;
        for name in &self.names {
            let found = vault.object(&repository(), name).unwrap();
            assert!(found.is_some(), "{name} was forgotten silently");
        }
        Ok(())
    }

    fn open(&self) -> Result<(), VaultError> {
        self.try_open(Index::in_memory().unwrap())
    }
}

#[test]
fn tampering_with_the_journal() {
    let closed = Closed::new();
    let path = closed.journal();
    let whole = fs::read(&path).unwrap();
    let step = whole.len() / 61;
    for at in (0..whole.len()).step_by(step) {
        for change in [0x01, 0x80] {
            let mut bytes = whole.clone();
            bytes[at] ^= change;
            fs::write(&path, &bytes).unwrap();
            let outcome = closed.open();
            assert!(
                matches!(outcome, Err(VaultError::Journal(_))),
                "a change at {at} was taken: {outcome:?}"
            );
        }
        fs::write(&path, &whole[..at]).unwrap();
        let outcome = closed.open();
        assert!(outcome.is_err(), "a journal cut at {at} was taken");
    }
    // Pieces in another order, twice, or missing.
    let (first, second) = whole.split_at(whole.len() / 2);
    for bytes in [
        [second, first].concat(),
        [&whole[..], &whole].concat(),
        whole[step..].to_vec(),
        vec![0; whole.len()],
    ] {
        fs::write(&path, bytes).unwrap();
        assert!(closed.open().is_err());
    }
    fs::remove_file(&path).unwrap();
    assert!(
        closed.open().is_err(),
        "a vault without its journal began anew"
    );
    fs::write(closed.path("ledger/journal/0000000000000005"), &whole).unwrap();
    assert!(closed.open().is_err());
    fs::remove_file(closed.path("ledger/journal/0000000000000005")).unwrap();
    // Put back, it is all there again.
    fs::write(&path, &whole).unwrap();
    closed.open().unwrap();
}

#[test]
fn putting_another_checkpoint_in_place() {
    let closed = Closed::new();
    let path = closed.path("log/checkpoint");
    let newest = fs::read(&path).unwrap();
    let other = Closed::new();
    other.open().unwrap();
    let foreign = fs::read(other.path("log/checkpoint")).unwrap();
    let mut flipped = newest.clone();
    flipped[20] ^= 1;
    for bytes in [&b""[..], b"vault.example\n5\nAAAA\n", &flipped, &foreign] {
        fs::write(&path, bytes).unwrap();
        assert!(closed.open().is_err(), "{}", String::from_utf8_lossy(bytes));
    }
    fs::remove_file(&path).unwrap();
    assert!(closed.open().is_err(), "a checkpoint was not missed");

    // An older one of its own would make it forget what came after.
    fs::write(&path, &newest).unwrap();
    closed.open().unwrap();
    closed.open().unwrap();
    fs::write(&path, &newest).unwrap();
    assert!(closed.open().is_err(), "an older checkpoint was taken");
}

#[test]
fn putting_an_older_state_of_everything_in_place() {
    // That leaves no trace on this machine; whoever saw the newer checkpoint notices, and clients
    // keep theirs.
    use outlast_log::{Checkpoint, VerifiedCheckpoint};
    let closed = Closed::new();
    let (journal, path) = (closed.journal(), closed.path("log/checkpoint"));
    let older = (fs::read(&journal).unwrap(), fs::read(&path).unwrap());
    closed.open().unwrap();
    let seen = |bytes: &[u8]| -> Checkpoint {
        let vault = crate::support::key().verifier();
        let opened = VerifiedCheckpoint::open(bytes, &vault, &[]).unwrap();
        opened.checkpoint().clone()
    };
    let newer = seen(&fs::read(&path).unwrap());
    fs::write(&journal, older.0).unwrap();
    fs::write(&path, older.1).unwrap();
    closed.open().unwrap();
    let now = seen(&fs::read(&path).unwrap());
    assert_eq!(now.size, newer.size);
    assert_ne!(now.root, newer.root, "the log did not fork visibly");
}

#[test]
fn tampering_with_the_index() {
    let closed = Closed::new();
    let index = closed.folder.path().join("index");
    let fresh = || Index::open(&index);
    closed.try_open(fresh().unwrap()).unwrap();
    let right = fs::read(&index).unwrap();

    // Of another vault, of an older time, cut, changed: made again, or refused, never believed.
    let other = Closed::new();
    other.open().unwrap();
    let foreign = other.folder.path().join("index");
    let other_vault = other.world.open_with(Index::open(&foreign).unwrap());
    drop(other_vault.unwrap());
    let foreign = fs::read(&foreign).unwrap();
    let mut cases = vec![
        ("foreign", foreign),
        ("cut", right[..right.len() / 2].to_vec()),
        ("zeros", vec![0; right.len()]),
        ("short", b"x".to_vec()),
    ];
    for step in [97, 997, 2_003, 4_096] {
        let mut flipped = right.clone();
        for at in (5_000..flipped.len()).step_by(step) {
            flipped[at] ^= 0xff;
        }
        cases.push(("flipped", flipped));
    }
    for (what, bytes) in cases {
        fs::write(&index, &bytes).unwrap();
        let outcome = fresh().and_then(|index| closed.try_open(index));
        assert!(
            matches!(outcome, Err(VaultError::Index(_))),
            "an index that is {what}: {outcome:?}"
        );
        fs::remove_file(&index).unwrap();
        closed.try_open(fresh().unwrap()).unwrap();
    }
    // An older one of its own is brought up to date.
    fs::write(&index, &right).unwrap();
    closed.try_open(fresh().unwrap()).unwrap();
}

#[test]
fn tampering_with_tiles() {
    let closed = Closed::new();
    let path = closed.path("log/tile/0/000");
    let bundle = closed.path("log/tile/entries/000");
    for path in [&path, &bundle] {
        let right = fs::read(path).unwrap();
        let mut changed = right.clone();
        changed[100] ^= 1;
        fs::remove_file(path).unwrap();
        fs::write(path, &changed).unwrap();
        let vault = closed.world.open();
        // Replayed from the journal, they are written again.
        assert!(fs::read(path).unwrap() == right, "{}", path.display());
        drop(vault);
    }
    // While it runs, a changed tile makes no proof of anything false.
    let vault = closed.world.open();
    let seal = closed.seal;
    let honest = vault.receipt(&repository(), seal).unwrap();
    assert!(honest.verify(&vault.identity(), &[]).is_ok());
    let mut changed = fs::read(&path).unwrap();
    changed[100] ^= 1;
    fs::write(&path, &changed).unwrap();
    if let Ok(receipt) = vault.receipt(&repository(), seal) {
        assert!(receipt.verify(&vault.identity(), &[]).is_err());
    }
    fs::write(&path, b"").unwrap();
    assert!(vault.receipt(&repository(), seal).is_err());
    let caller = caller_of(&vault, &repository(), &[Scope::Append]);
    put(&vault, &caller, &pack(1, 200), ObjectKind::Pack).unwrap();
}

#[test]
fn tampering_with_sealed_lists() {
    let served = Served::new();
    let seals = served.vault.seals(&repository()).unwrap();
    let (_, seal) = seals
        .iter()
        .find(|(index, _)| *index == served.seal)
        .unwrap();
    let root: Id = seal.list.unwrap().0;
    let path = served.store().join(format!("ledger/lists/web1/{root}"));
    let right = fs::read(&path).unwrap();
    let list = format!("/v1/repositories/web1/seals/{}/list", served.seal);
    let shorter = right[..right.len() - 33].to_vec();
    let mut flipped = right.clone();
    flipped[40] ^= 1;
    for bytes in [shorter, flipped, Vec::new(), b"junk".to_vec()] {
        fs::remove_file(&path).unwrap();
        fs::write(&path, bytes).unwrap();
        assert_eq!(served.ask("GET", &list, Who::Restore, b"").status, 500);
    }
    fs::write(&path, &right).unwrap();
    assert!(served.ask("GET", &list, Who::Restore, b"").body == right);
}

#[test]
fn leaving_junk_in_the_store() {
    let closed = Closed::new();
    for name in [
        "incoming/junk",
        "ledger/junk",
        "ledger/journal/junk",
        "log/junk",
        "repositories/junk",
        "junk",
    ] {
        fs::write(closed.path(name), b"junk").unwrap();
    }
    fs::create_dir_all(closed.path("repositories/web9/data/ab")).unwrap();
    closed.open().unwrap();
    let vault = closed.world.open();
    let unknown = "web9".parse().unwrap();
    assert!(matches!(
        vault.settings(&unknown),
        Err(VaultError::NoRepository(_))
    ));
    vault.set_repository(&unknown, settings()).unwrap();
}
