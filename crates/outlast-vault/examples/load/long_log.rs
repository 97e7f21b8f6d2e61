//! A vault whose log is long: how soon it is ready again, and how long a large seal takes.
//!
//! Millions of entries are made by the vault's own code over its own ledger. Only the files of the
//! objects are left out on the way, since millions of files would measure the file system.

use std::io::{self, Read, Write};
use std::num::NonZeroUsize;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use outlast_custody::ObjectList;
use outlast_log::SigningKey;
use outlast_object::{ObjectKind, ObjectName, hash};
use outlast_vault::disk::{Disk, Linked, Listed, RealDisk, Space, Unnamed};
use outlast_vault::{Clock, Entropy, Index, Moment, Vault};
use outlast_wire::batch::Batch;
use outlast_wire::{Invite, Store};

use crate::{Served, pack};

/// Objects that one call takes.
const AT_ONCE: u64 = 1000;
/// Objects of the seal that is measured.
const SEALED: u64 = 100_000;
/// Smallest file that has the shape of a pack, about.
const PACK_BYTES: usize = 160;

/// A real disk on which objects leave no files.
struct WithoutObjects(RealDisk);

struct Nothing;

impl Write for Nothing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Unnamed for Nothing {
    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }
    fn link(self: Box<Self>, _: &str) -> io::Result<Linked> {
        Ok(Linked::New)
    }
}

impl Disk for WithoutObjects {
    fn create_unnamed(&self) -> io::Result<Box<dyn Unnamed + '_>> {
        Ok(Box::new(Nothing))
    }
    fn sync_directory(&self, _: &str) -> io::Result<()> {
        Ok(())
    }
    fn make_directories(&self, path: &str) -> io::Result<()> {
        self.0.make_directories(path)
    }
    fn size(&self, path: &str) -> io::Result<Option<u64>> {
        self.0.size(path)
    }
    fn open(&self, path: &str) -> io::Result<Box<dyn Read + Send>> {
        self.0.open(path)
    }
    fn read_range(&self, path: &str, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        self.0.read_range(path, offset, length)
    }
    fn list(&self, path: &str, visit: &mut dyn FnMut(Listed<'_>)) -> io::Result<()> {
        self.0.list(path, visit)
    }
    fn append(&self, path: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.append(path, offset, bytes)
    }
    fn truncate(&self, path: &str, size: u64) -> io::Result<()> {
        self.0.truncate(path, size)
    }
    fn replace(&self, path: &str, bytes: &[u8]) -> io::Result<()> {
        self.0.replace(path, bytes)
    }
    fn make_immutable(&self, _: &str) -> io::Result<bool> {
        Ok(false)
    }
    fn space(&self) -> io::Result<Space> {
        self.0.space()
    }
}

struct Standing(u64);

impl Clock for Standing {
    fn now(&self) -> Moment {
        Moment {
            running: self.0,
            clock: self.0,
        }
    }
}

#[derive(Default)]
struct Counter(AtomicU64);

impl Entropy for Counter {
    fn fill(&self, bytes: &mut [u8]) -> io::Result<()> {
        let seed = hash(&self.0.fetch_add(1, Ordering::Relaxed).to_le_bytes());
        for (byte, random) in bytes.iter_mut().zip(seed.as_bytes().iter().cycle()) {
            *byte = *random;
        }
        Ok(())
    }
}

/// Makes the log so long, with the vault stopped. Ends the process without closing anything, so that
/// what the index has not made durable is lost as after a kill.
pub fn lengthen(folder: &Path, invite: &Invite, entries: u64) -> ! {
    let secret = std::fs::read_to_string(folder.join("private/identity")).unwrap();
    let key = secret.trim().parse::<SigningKey>().unwrap();
    let disk = WithoutObjects(RealDisk::open(&folder.join("store")).unwrap());
    let index = Index::open(&folder.join("index.redb")).unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let library = Vault::open(
        Arc::new(disk),
        Arc::new(index),
        key,
        Arc::new(Standing(now.as_secs())),
        Arc::new(Counter::default()),
    )
    .unwrap();
    let token = invite.token.to_string();
    let caller = library.authenticate(&token, &invite.secret).unwrap();
    let begin = Instant::now();
    for round in 0..entries.div_ceil(AT_ONCE) {
        let seeds = round * AT_ONCE..(round + 1) * AT_ONCE;
        let packs = crate::named(seeds.map(|seed| pack(1 << 40 | seed, PACK_BYTES)));
        let offered: Vec<_> = packs
            .iter()
            .map(|(name, bytes)| (*name, &bytes[..]))
            .collect();
        let outcomes = library.accept_many(&caller, &offered, NonZeroUsize::MIN);
        assert!(outcomes.iter().all(Result::is_ok), "{:?}", outcomes[0]);
    }
    println!(
        "a log of {entries} entries, made in {:.0} s",
        begin.elapsed().as_secs_f64()
    );
    std::process::exit(0)
}

/// Uploads what a large backup has, and seals it.
fn seal(vault: &Served) {
    let client = vault.client();
    let store = vault.store();
    let mut names = vec![ObjectName::CONFIG];
    let mut batch = Batch::default();
    for seed in 0..SEALED {
        let bytes = pack(1 << 50 | seed, PACK_BYTES);
        let name = ObjectName::pack(hash(&bytes));
        names.push(name);
        if batch.push(&name, &bytes).is_err() {
            client.put_batch(&batch).unwrap();
            batch = Batch::default();
            batch.push(&name, &bytes).unwrap();
        }
    }
    client.put_batch(&batch).unwrap();
    let snapshot = [3; 200];
    let name = ObjectName::new(ObjectKind::Snapshot, hash(&snapshot));
    store.write(&name, &snapshot).unwrap();
    names.push(name);
    let begin = Instant::now();
    client.seal(name.id(), &ObjectList::new(names)).unwrap();
    println!(
        "a seal over {SEALED} objects, receipt verified: {:.2} s",
        begin.elapsed().as_secs_f64()
    );
}

/// Measures start and seal over a log of so many entries.
pub fn measure(vault: &mut Served, entries: u64) {
    vault.running = None;
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.arg("lengthen").arg(&vault.folder);
    child.args([vault.invite.encode(), entries.to_string()]);
    assert!(child.status().unwrap().success());
    let killed = vault.start();
    seal(vault);
    vault.running = None;
    let again = vault.start();
    println!(
        "start with {entries} entries: {:.2} s after a kill, {:.2} s after a stop",
        killed.as_secs_f64(),
        again.as_secs_f64()
    );
    println!("memory: {} MiB", vault.resident_mib());
}
