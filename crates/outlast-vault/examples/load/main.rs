//! Measures a vault beside rest-server and the disk itself: `cargo xtask bench vault`.
//!
//! Everything is on the file system of the folder that is given, and in one run, so that ratios mean
//! something on a machine whose disk is not always as fast.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::zombie_processes,
    reason = "a measurement that cannot be made has failed"
)]

mod long_log;

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use outlast_object::{ObjectName, hash};
use outlast_wire::batch::Batch;
use outlast_wire::{Invite, RestOptions, RestStore, Store, TlsOptions, VaultClient, locations};

const MIB: usize = 1 << 20;
/// Size of a pack.
const PACK: usize = 16 * MIB;
/// Packs of a round.
const PACKS: usize = 16;
/// Uploads at a time, as restic's default.
const CONNECTIONS: usize = 5;
/// Rounds, of which the best of each counts.
const ROUNDS: usize = 3;
/// Entries of the long log, unless somebody says otherwise.
const LONG_LOG: u64 = 10_000_000;

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.0.id().to_string()).status();
        let _ = self.0.wait();
    }
}

/// A vault that is served, and what a client needs.
struct Served {
    program: PathBuf,
    folder: PathBuf,
    running: Option<Running>,
    invite: Invite,
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// Bytes that no disk compresses, with the outer shape of a pack, different for each seed.
fn pack(seed: u64, bytes: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut pack = Vec::with_capacity(bytes);
    while pack.len() < bytes - 4 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        pack.extend_from_slice(&state.to_le_bytes());
    }
    pack.truncate(bytes - 4);
    pack.extend_from_slice(&100_u32.to_le_bytes());
    pack
}

fn beside(name: &str) -> PathBuf {
    let own = std::env::current_exe().unwrap();
    own.parent().unwrap().parent().unwrap().join(name)
}

impl Served {
    fn new(folder: &Path) -> Self {
        let program = beside("outlast-vault");
        let port = free_port();
        let address = format!("127.0.0.1:{port}");
        let run = |arguments: &[&str]| {
            let mut command = Command::new(&program);
            let output = command.arg("--vault").arg(folder).args(arguments).output();
            let output = output.unwrap();
            let errors = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success(), "{arguments:?}: {errors}");
            String::from_utf8(output.stdout).unwrap()
        };
        run(&[
            "init",
            "--name",
            "vault.example",
            "--address",
            &address,
            "--listen",
            &address,
            "--no-immutable",
        ]);
        let config = folder.join("vault.toml");
        let text = fs::read_to_string(&config).unwrap();
        // A hundred clients come from one address here.
        fs::write(&config, text + "\n[limits]\nconnections_of_peer = 500\n").unwrap();
        run(&["repo", "add", "bench", "--quota", "10T"]);
        let invite: Invite = run(&[
            "invite", "bench", "--scope", "append", "--scope", "enrol", "--scope", "restore",
        ])
        .trim()
        .parse()
        .unwrap();
        let mut served = Self {
            folder: folder.to_owned(),
            running: None,
            invite,
            program,
        };
        served.start();
        served
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--vault").arg(&self.folder);
        command
    }

    /// Starts serving; how long that took.
    fn start(&mut self) -> Duration {
        let begin = Instant::now();
        let mut child = self
            .command()
            .arg("serve")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        assert!(
            lines.any(|line| line.unwrap().contains(" ready ")),
            "it ended"
        );
        let took = begin.elapsed();
        thread::spawn(move || lines.for_each(drop));
        self.running = Some(Running(child));
        took
    }

    fn resident_mib(&self) -> u64 {
        let pid = self.running.as_ref().unwrap().0.id();
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS:"))
            .unwrap();
        line.split_whitespace()
            .nth(1)
            .unwrap()
            .parse::<u64>()
            .unwrap()
            / 1024
    }

    fn store(&self) -> RestStore {
        let location = locations(&self.invite, "").unwrap().remove(0);
        RestStore::new(&location, &options(self.invite.pin)).unwrap()
    }

    fn client(&self) -> VaultClient {
        VaultClient::new(
            &self.invite,
            &self.invite.addresses[0],
            RestOptions::default(),
        )
        .unwrap()
    }
}

fn options(pin: Option<[u8; 32]>) -> RestOptions {
    RestOptions {
        tls: TlsOptions {
            pin,
            ..TlsOptions::default()
        },
        connections: CONNECTIONS,
        ..RestOptions::default()
    }
}

/// rest-server with the vault's certificate, so that both do the same TLS.
fn rest_server(folder: &Path, vault: &Served) -> Option<(Running, RestStore)> {
    let own = std::env::var_os("OUTLAST_TEST_REST_SERVER").map(PathBuf::from);
    let program = own.unwrap_or_else(|| beside("../tools/rest-server"));
    if !program.exists() {
        println!("SKIPPED: rest-server is missing; `cargo xtask tools` gets it");
        return None;
    }
    let port = free_port();
    let child = Command::new(program)
        .args(["--no-auth", "--append-only", "--tls", "--listen"])
        .arg(format!("127.0.0.1:{port}"))
        .arg("--path")
        .arg(folder)
        .arg("--tls-cert")
        .arg(vault.folder.join("certificate.pem"))
        .arg("--tls-key")
        .arg(vault.folder.join("private/certificate-key.pem"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let running = Running(child);
    let there = Invite {
        addresses: vec![format!("127.0.0.1:{port}")],
        ..vault.invite.clone()
    };
    let location = locations(&there, "").unwrap().remove(0);
    let store = RestStore::new(&location, &options(there.pin)).unwrap();
    let begin = Instant::now();
    while store.prepare().is_err() {
        assert!(
            begin.elapsed() < Duration::from_secs(10),
            "rest-server does not answer"
        );
        thread::sleep(Duration::from_millis(50));
    }
    Some((running, store))
}

/// Uploads with several connections; seconds.
fn upload(store: &RestStore, packs: &[(ObjectName, Vec<u8>)]) -> f64 {
    let next = AtomicUsize::new(0);
    let begin = Instant::now();
    thread::scope(|scope| {
        for _ in 0..CONNECTIONS {
            scope.spawn(|| {
                while let Some((name, bytes)) = packs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    store.write(name, bytes).unwrap();
                }
            });
        }
    });
    begin.elapsed().as_secs_f64()
}

/// Writes files one after the other, each with its sync, as `dd conv=fsync` does; seconds.
fn disk_alone(folder: &Path, packs: &[(ObjectName, Vec<u8>)]) -> f64 {
    fs::create_dir_all(folder).unwrap();
    let begin = Instant::now();
    for (number, (_, bytes)) in packs.iter().enumerate() {
        let mut file = File::create(folder.join(number.to_string())).unwrap();
        file.write_all(bytes).unwrap();
        file.sync_all().unwrap();
    }
    begin.elapsed().as_secs_f64()
}

fn named(packs: impl IntoIterator<Item = Vec<u8>>) -> Vec<(ObjectName, Vec<u8>)> {
    let name = |bytes: Vec<u8>| (ObjectName::pack(hash(&bytes)), bytes);
    packs.into_iter().map(name).collect()
}

/// Makes config and key, which come before everything else.
fn enrol(store: &RestStore) {
    let key = br#"{"kdf":"scrypt","N":32768,"r":8,"p":1,"salt":"AA==","data":"AA=="}"#;
    let name = ObjectName::new(outlast_object::ObjectKind::Key, hash(key));
    store.write(&name, key).unwrap();
    store.write(&ObjectName::CONFIG, &[5; 155]).unwrap();
}

fn sha_rate() -> f64 {
    let bytes = pack(1, 256 * MIB);
    let begin = Instant::now();
    std::hint::black_box(hash(&bytes));
    256.0 / begin.elapsed().as_secs_f64()
}

fn measure_packs(folder: &Path, vault: &Served) {
    let mib = (PACKS * PACK / MIB) as f64;
    let store = vault.store();
    let rest = rest_server(&folder.join("rest-server"), vault);
    let mut best = [f64::MAX; 3];
    for round in 0..ROUNDS {
        let seeds = (0..PACKS).map(|number| (1 + round * PACKS + number) as u64);
        let packs = named(seeds.map(|seed| pack(seed, PACK)));
        let seconds = [
            disk_alone(&folder.join(format!("disk{round}")), &packs),
            upload(&store, &packs),
            rest.as_ref()
                .map_or(f64::MAX, |(_, rest)| upload(rest, &packs)),
        ];
        for (best, seconds) in best.iter_mut().zip(seconds) {
            *best = best.min(seconds);
        }
    }
    let [disk, ours, theirs] = best.map(|seconds| mib / seconds);
    let sha = sha_rate();
    println!("packs of 16 MiB over TLS, MiB/s, best of {ROUNDS} rounds:");
    println!("  files with a sync each, one after the other  {disk:8.0}");
    println!("  SHA-256, one thread                          {sha:8.0}");
    println!(
        "  vault                                        {ours:8.0}  x{:.2} of the lower of the two",
        ours / disk.min(sha)
    );
    println!(
        "  rest-server                                  {theirs:8.0}  the vault is x{:.2} as fast",
        ours / theirs
    );
}

fn measure_small(vault: &Served) {
    let client = vault.client();
    let count = 20_000;
    let begin = Instant::now();
    let mut batch = Batch::default();
    let put = |batch: &mut Batch| {
        let outcomes = client.put_batch(batch).unwrap();
        let stored = |outcome| matches!(outcome, outlast_wire::api::Outcome::Stored { .. });
        assert!(outcomes.into_iter().all(stored));
        *batch = Batch::default();
    };
    for seed in 0..count {
        let bytes = pack(1_000_000 + seed, 4096);
        if batch.push(&ObjectName::pack(hash(&bytes)), &bytes).is_err() {
            put(&mut batch);
            batch.push(&ObjectName::pack(hash(&bytes)), &bytes).unwrap();
        }
    }
    put(&mut batch);
    let seconds = begin.elapsed().as_secs_f64();
    println!(
        "objects of 4 KiB in batches: {count} in {seconds:.1} s, {:.0} a minute",
        60.0 * count as f64 / seconds
    );
}

fn measure_clients(vault: &Served) {
    let before = vault.resident_mib();
    let most = AtomicUsize::new(0);
    let (clients, each) = (100, 4_u64);
    let done = AtomicUsize::new(0);
    let begin = Instant::now();
    thread::scope(|scope| {
        for client in 0..clients {
            let done = &done;
            scope.spawn(move || {
                let store = vault.store();
                for number in 0..each {
                    let bytes = pack(5_000_000 + client as u64 * each + number, 2 * MIB);
                    store
                        .write(&ObjectName::pack(hash(&bytes)), &bytes)
                        .unwrap();
                }
                done.fetch_add(1, Ordering::SeqCst);
            });
        }
        while done.load(Ordering::SeqCst) < clients {
            most.fetch_max(vault.resident_mib() as usize, Ordering::SeqCst);
            thread::sleep(Duration::from_millis(20));
        }
    });
    let seconds = begin.elapsed().as_secs_f64();
    let mib = clients as f64 * each as f64 * 2.0;
    println!(
        "{clients} clients at once, {mib:.0} MiB: {:.0} MiB/s; memory {before} MiB before, {} MiB at most, {} MiB after",
        mib / seconds,
        most.into_inner(),
        vault.resident_mib()
    );
}

fn measure_scrub(vault: &Served) {
    let sha = sha_rate();
    let begin = Instant::now();
    let output = vault
        .command()
        .args(["--json", "scrub", "--no-limit"])
        .output()
        .unwrap();
    let seconds = begin.elapsed().as_secs_f64();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}");
    let after = text.split("\"bytes\":").nth(1).unwrap();
    let bytes: f64 = after.split(',').next().unwrap().parse().unwrap();
    let rate = bytes / MIB as f64 / seconds;
    println!(
        "scrub: {rate:.0} MiB/s, x{:.2} of the SHA-256 rate of one thread ({sha:.0} MiB/s)",
        rate / sha
    );
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let first = arguments.next().expect("the folder to measure in");
    if first == "lengthen" {
        let [folder, invite, entries] = [(); 3].map(|()| arguments.next().unwrap());
        let entries = entries.parse().unwrap();
        long_log::lengthen(Path::new(&folder), &invite.parse().unwrap(), entries);
    }
    let entries = arguments
        .next()
        .map_or(LONG_LOG, |text| text.parse().unwrap());
    let folder = PathBuf::from(first);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    let mut vault = Served::new(&folder.join("vault"));
    println!("idle: {} MiB", vault.resident_mib());
    enrol(&vault.store());
    measure_packs(&folder, &vault);
    measure_small(&vault);
    measure_clients(&vault);
    measure_scrub(&vault);
    long_log::measure(&mut vault, entries);
    drop(vault);
    fs::remove_dir_all(&folder).unwrap();
}
