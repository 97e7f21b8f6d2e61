//! How fast a program could be here, computed from what each step takes on this machine.
//!
//! The steps of the format that nothing can leave out, each at the speed of one core, spread over all
//! cores and with no waiting; or the disk, where that takes longer.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;
use std::time::Instant;

use serde::Deserialize;

use crate::bench::change::files_below;
use crate::bench::commands::Phase;
use crate::process;

/// Files of which system calls are measured.
const FILES_MAX: usize = 10_000;
/// Bytes that are written to measure the disk.
const DISK_BYTES: usize = 256 << 20;
/// Bytes of one call that writes.
const WRITE_BYTES: usize = 1 << 20;

/// Seconds of one core that each step takes for a sample of the data.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
pub struct Steps {
    /// Bytes of the sample.
    pub bytes: f64,
    /// Bytes of its different chunks.
    pub unique: f64,
    /// Bytes of those, compressed.
    pub stored: f64,
    /// Finding boundaries.
    pub chunk: f64,
    /// SHA-256 of the sample.
    pub hash: f64,
    /// zstd of the different chunks.
    pub compress: f64,
    /// And back.
    pub decompress: f64,
    /// SHA-256 of what is stored: the names of packs.
    pub hash_stored: f64,
    /// AES-256-CTR of what is stored.
    pub cipher: f64,
    /// Poly1305 of what is stored.
    pub mac: f64,
    /// One copy of the sample in memory.
    pub copy: f64,
}

/// Seconds of one core for system calls, and the disk's rate.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct System {
    /// Listing and `lstat`, a file.
    pub look: f64,
    /// Open, read and close, a small file.
    pub read: f64,
    /// Create, write, set mode and time, close, a small file.
    pub create: f64,
    /// Writing to the page cache, a byte.
    pub write: f64,
    /// Writing until it is durable, a byte, however many cores there are.
    pub disk: f64,
    /// Cores.
    pub cores: f64,
}

/// What a set is, in numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Amounts {
    /// Files.
    pub files: f64,
    /// Bytes of the files.
    pub bytes: f64,
    /// Bytes that our repository takes.
    pub stored: f64,
}

/// The least seconds that a phase can take.
pub fn limit(phase: Phase, amounts: Amounts, steps: Steps, system: System) -> f64 {
    let sample = steps.bytes.max(1.0);
    let data = |seconds: f64| seconds * amounts.bytes / sample;
    let packed = |seconds: f64| seconds * amounts.stored / steps.stored.max(1.0);
    let sealing = packed(steps.cipher + steps.mac);
    let names = packed(steps.hash_stored);
    let unique_hash = data(steps.hash) * steps.unique / sample;
    let initial = || {
        let making = data(steps.copy + steps.chunk + steps.hash + steps.compress);
        let files = amounts.files * (system.look + system.read);
        let work = (files + making + sealing + names) / system.cores;
        work.max(amounts.stored * system.disk)
    };
    let unchanged = amounts.files * system.look / system.cores;
    match phase {
        Phase::Initial => initial(),
        Phase::Unchanged => unchanged,
        Phase::Changed => unchanged + initial() / 100.0,
        Phase::Restore => {
            let reading = sealing + data(steps.decompress) + unique_hash;
            let writing = amounts.files * system.create + amounts.bytes * system.write;
            (reading + writing) / system.cores
        }
        Phase::Check => (names + sealing + data(steps.decompress) + unique_hash) / system.cores,
        Phase::Prune => {
            // Half is read, verified, sealed and written again.
            let reading = sealing + data(steps.decompress) + unique_hash;
            let work = (reading + sealing + names) / 2.0 / system.cores;
            work.max(amounts.stored / 2.0 * system.disk)
        }
    }
}

/// Measures the steps on a set.
pub fn steps(data: &Path) -> Result<Steps, String> {
    let example = ["run", "--quiet", "--release", "--package", "outlast-format"];
    let mut command = process::cargo(&example);
    command.args(["--example", "limit", "--"]).arg(data);
    let text = process::capture(command)?;
    serde_json::from_str(&text).map_err(|error| format!("{text}: {error}"))
}

/// Measures the system calls on a set, and the disk in a folder.
pub fn system(data: &Path, folder: &Path) -> Result<System, String> {
    let began = Instant::now();
    let mut files = files_below(data)?;
    let look = began.elapsed().as_secs_f64() / files.len().max(1) as f64;
    files.retain(|(_, bytes)| *bytes < 1 << 20);
    files.truncate(FILES_MAX);
    fs::create_dir_all(folder).map_err(|error| error.to_string())?;
    let rates = small_files(&files, folder).and_then(|(read, create)| {
        let (write, disk) = large_file(folder)?;
        let cores = std::thread::available_parallelism()?.get() as f64;
        Ok(System {
            look,
            read,
            create,
            write,
            disk,
            cores,
        })
    });
    let _ = fs::remove_dir_all(folder);
    rates.map_err(|error| format!("{}: {error}", folder.display()))
}

fn small_files(
    files: &[(std::path::PathBuf, u64)],
    folder: &Path,
) -> Result<(f64, f64), std::io::Error> {
    let count = files.len().max(1) as f64;
    let mut contents = Vec::new();
    let mut room = vec![0; 1 << 20];
    let began = Instant::now();
    for (path, _) in files {
        let bytes = File::open(path)?.read(&mut room)?;
        contents.push(bytes);
    }
    let read = began.elapsed().as_secs_f64() / count;
    let began = Instant::now();
    for (number, bytes) in contents.into_iter().enumerate() {
        let mut file = File::create(folder.join(number.to_string()))?;
        file.write_all(&room[..bytes])?;
        file.set_modified(std::time::SystemTime::UNIX_EPOCH)?;
        file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
    }
    Ok((read, began.elapsed().as_secs_f64() / count))
}

fn large_file(folder: &Path) -> Result<(f64, f64), std::io::Error> {
    let part = vec![5; WRITE_BYTES];
    let mut file = File::create(folder.join("large"))?;
    let began = Instant::now();
    for _ in 0..DISK_BYTES / WRITE_BYTES {
        file.write_all(&part)?;
    }
    let write = began.elapsed().as_secs_f64() / DISK_BYTES as f64;
    file.sync_all()?;
    Ok((write, began.elapsed().as_secs_f64() / DISK_BYTES as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEPS: Steps = Steps {
        bytes: 100.0,
        unique: 50.0,
        stored: 25.0,
        chunk: 1.0,
        hash: 2.0,
        compress: 3.0,
        decompress: 1.0,
        hash_stored: 0.5,
        cipher: 0.25,
        mac: 0.25,
        copy: 0.0,
    };

    #[test]
    fn cores_share_the_work_and_the_disk_does_not_grow() {
        let amounts = Amounts {
            files: 10.0,
            bytes: 200.0,
            stored: 50.0,
        };
        let mut system = System {
            look: 0.1,
            read: 0.1,
            cores: 1.0,
            ..System::default()
        };
        let initial = |system| limit(Phase::Initial, amounts, STEPS, system);
        assert!((initial(system) - (2.0 + 12.0 + 1.0 + 1.0)).abs() < 1e-9);
        system.cores = 2.0;
        assert!((initial(system) - 8.0).abs() < 1e-9);
        system.disk = 1.0;
        assert!((initial(system) - 50.0).abs() < 1e-9);
        let unchanged = limit(Phase::Unchanged, amounts, STEPS, system);
        assert!((unchanged - 0.5).abs() < 1e-9);
    }
}
