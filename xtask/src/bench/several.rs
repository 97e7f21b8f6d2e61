//! `cargo xtask bench several`: a backup to three vaults beside the same to one.
//!
//! Each vault is on a memory file system, so that one disk is not measured three times, and can be put
//! behind a link of its own whose rate is limited. Data, client and vaults share this machine's processors.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::generate::{DATA_SETS, Scale};
use crate::{process, workspace};

/// Where memory file systems usually are.
const MEMORY: &str = "/dev/shm";
/// Rounds, of which the best counts.
const ROUNDS: usize = 3;
/// Rate of a limited link, in MiB a second.
const LINK_MIB: u64 = 50;
/// Bytes that a limited link passes on at a time.
const LINK_PORTION: usize = 64 * 1024;

struct Vault(Child);

impl Drop for Vault {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn text(error: impl ToString) -> String {
    error.to_string()
}

/// The task. Gives what it found in words.
pub fn run(scale: Scale) -> Result<String, String> {
    process::show(process::cargo(&[
        "build",
        "--release",
        "--package",
        "outlast-vault",
        "--package",
        "outlast-cli",
    ]))?;
    let folder = PathBuf::from(MEMORY).join(format!("outlast-bench-{}", std::process::id()));
    let result = measure(&folder, scale);
    let _ = fs::remove_dir_all(&folder);
    result
}

fn measure(folder: &Path, scale: Scale) -> Result<String, String> {
    let mut found = Vec::new();
    let bench = workspace::root().join("target/bench");
    for set in DATA_SETS {
        let data = super::data_of(&bench, set, scale)?;
        for limited in [false, true] {
            let mut best = [f64::MAX; 2];
            for _ in 0..ROUNDS {
                for (slot, count) in best.iter_mut().zip([1, 3]) {
                    *slot = slot.min(back_up(folder, &data, count, limited)?);
                }
            }
            let [one, three] = best;
            let link = match limited {
                true => format!("each behind {LINK_MIB} MiB/s"),
                false => "in memory".to_owned(),
            };
            let line = format!(
                "{}, vaults {link}: one {one:.2} s, three {three:.2} s, x{:.2}",
                set.name,
                three / one
            );
            println!("{line}");
            found.push(format!("- {line}"));
        }
    }
    Ok(found.join("\n"))
}

/// Backs up to so many new vaults; gives the seconds.
fn back_up(folder: &Path, data: &Path, count: usize, limited: bool) -> Result<f64, String> {
    let _ = fs::remove_dir_all(folder);
    let home = folder.join("home");
    fs::create_dir_all(&home).map_err(text)?;
    let program = |name: &str| workspace::root().join("target/release").join(name);
    let outlast = || {
        let mut command = Command::new(program("outlast"));
        command.env_clear().env("HOME", &home).env("NO_COLOR", "1");
        command
    };
    let mut vaults = Vec::new();
    for number in 0..count {
        let path = folder.join(format!("vault{number}"));
        let free = || TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let inner = free().map_err(text)?;
        let outer = match limited {
            true => link(inner.port())?,
            false => inner.port(),
        };
        let vault = || {
            let mut command = Command::new(program("outlast-vault"));
            command.arg("--vault").arg(&path);
            command
        };
        let name = format!("vault{number}.example");
        let address = format!("127.0.0.1:{outer}");
        let listen = format!("127.0.0.1:{}", inner.port());
        let mut init = vault();
        init.args(["init", "--no-immutable", "--name", &name]);
        init.args(["--address", &address, "--listen", &listen]);
        output_of(init)?;
        let mut serve = vault();
        let mut child = serve
            .arg("serve")
            .stderr(Stdio::piped())
            .spawn()
            .map_err(text)?;
        let lines = child.stderr.take().map(BufReader::new);
        let mut lines = lines.ok_or("no output")?.lines();
        let is_ready =
            |line: std::io::Result<String>| line.is_ok_and(|line| line.contains(" ready "));
        if !lines.any(is_ready) {
            return Err("the vault ended".to_owned());
        }
        thread::spawn(move || lines.for_each(drop));
        vaults.push(Vault(child));
        let mut invite = vault();
        invite.args(["invite", "bench"]);
        let invite = output_of(invite)?;
        let mut add = outlast();
        add.args(["custodian", "add", invite.trim()]);
        output_of(add)?;
    }
    let mut protect = outlast();
    protect.arg("protect").arg(data);
    let began = Instant::now();
    output_of(protect)?;
    Ok(began.elapsed().as_secs_f64())
}

fn output_of(mut command: Command) -> Result<String, String> {
    let output = command.output().map_err(text)?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(format!("{}: {said}", process::describe(&command)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A port from which everything goes to another, at a limited rate in each direction.
fn link(to: u16) -> Result<u16, String> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(text)?;
    let port = listener.local_addr().map_err(text)?.port();
    // What all connections together may pass on: each portion waits for its turn.
    let turn = std::sync::Arc::new(std::sync::Mutex::new(Instant::now()));
    thread::spawn(move || {
        for from in listener.incoming().flatten() {
            let Ok(other) = TcpStream::connect(("127.0.0.1", to)) else {
                return;
            };
            for (source, target) in [(&from, &other), (&other, &from)] {
                let (Ok(source), Ok(target)) = (source.try_clone(), target.try_clone()) else {
                    return;
                };
                let turn = std::sync::Arc::clone(&turn);
                thread::spawn(move || pass_on(source, target, &turn));
            }
        }
    });
    Ok(port)
}

fn pass_on(mut source: TcpStream, mut target: TcpStream, turn: &std::sync::Mutex<Instant>) {
    let mut portion = vec![0; LINK_PORTION];
    while let Ok(count @ 1..) = source.read(&mut portion) {
        let nanoseconds = count as u64 * 1_000_000_000 / (LINK_MIB << 20);
        let until = {
            let Ok(mut next) = turn.lock() else {
                return;
            };
            *next = (*next).max(Instant::now()) + Duration::from_nanos(nanoseconds);
            *next
        };
        thread::sleep(until.saturating_duration_since(Instant::now()));
        if target.write_all(&portion[..count]).is_err() {
            break;
        }
    }
    let _ = target.shutdown(std::net::Shutdown::Write);
}
