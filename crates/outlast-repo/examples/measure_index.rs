//! Measures time and memory of loading a large index: `cargo xtask bench index`.
//!
//! `measure_index make FOLDER BLOBS` makes a repository in `FOLDER` whose index names so many blobs in
//! packs that are not there; `measure_index load FOLDER` loads it, looks all of a sample up, and prints the
//! peak of memory. Two steps, so that the peak is that of loading alone.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a tool for developers"
)]

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use outlast_format::{
    BlobHandle, BlobKind, IndexBlob, IndexFile, IndexPack, ScryptCost, encode_unpacked,
};
use outlast_object::{Id, ObjectKind, ObjectName, hash};
use outlast_repo::{Cancel, Environment, InitOptions, OpenOptions, Repository};
use outlast_store::LocalStore;

const PASSWORD: &[u8] = b"measure";
/// As restic fills its index files.
const BLOBS_IN_FILE: usize = 50_000;
/// Packs of 16 MiB with blobs of some 80 KiB.
const BLOBS_IN_PACK: usize = 200;
/// One blob in so many is looked up.
const SAMPLE: usize = 97;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["make", folder, blobs] => make(Path::new(folder), blobs.parse().unwrap()),
        ["load", folder] => load(Path::new(folder)),
        _ => println!("measure_index make FOLDER BLOBS | load FOLDER"),
    }
}

fn id(number: usize) -> Id {
    hash(&number.to_le_bytes())
}

fn kind(number: usize) -> BlobKind {
    // Trees have packs of their own.
    match number / BLOBS_IN_PACK % 10 {
        0 => BlobKind::Tree,
        _ => BlobKind::Data,
    }
}

fn make(folder: &Path, blobs: usize) {
    let store = Arc::new(LocalStore::open(folder).unwrap());
    let init = InitOptions::new(ScryptCost::RANDOM_PASSWORD);
    let options = OpenOptions::default();
    let environment = Environment::quiet();
    let repository = Repository::init(store, environment, PASSWORD, &init, options).unwrap();
    for first in (0..blobs).step_by(BLOBS_IN_FILE) {
        let mut file = IndexFile::default();
        for pack in (first..blobs.min(first + BLOBS_IN_FILE)).step_by(BLOBS_IN_PACK) {
            let blob = |number: usize| IndexBlob {
                id: id(number),
                kind: kind(number),
                offset: ((number - pack) * 80_000) as u32,
                length: 80_000,
                uncompressed_length: 100_000 + (number % 50_000) as u32,
            };
            file.packs.push(IndexPack {
                id: hash(format!("pack {pack}").as_bytes()),
                blobs: (pack..blobs.min(pack + BLOBS_IN_PACK)).map(blob).collect(),
            });
        }
        let json = file.to_json().unwrap();
        let iv = *id(first).as_bytes().first_chunk().unwrap();
        let bytes = encode_unpacked(&json, 2, repository.key(), iv).unwrap();
        let name = ObjectName::new(ObjectKind::Index, hash(&bytes));
        repository.store().write(&name, &bytes).unwrap();
    }
    std::fs::write(folder.join("blobs"), blobs.to_string()).unwrap();
}

fn load(folder: &Path) {
    let blobs = std::fs::read_to_string(folder.join("blobs")).unwrap();
    let blobs: usize = blobs.trim().parse().unwrap();
    let store = Arc::new(LocalStore::open(folder).unwrap());
    let options = OpenOptions::default();
    let environment = Environment::quiet();
    let repository = Repository::open(store, environment, PASSWORD, options).unwrap();
    let began = Instant::now();
    let (files, bad) = repository.load_index(&Cancel::new()).unwrap();
    let seconds = began.elapsed().as_secs_f64();
    assert!(bad.is_empty());
    let peak = peak_mib();
    let began = Instant::now();
    let index = repository.index();
    assert_eq!(index.len(), blobs);
    let mut looked_up = 0;
    for number in (0..blobs).step_by(SAMPLE) {
        let (id, kind) = (id(number), kind(number));
        assert!(index.contains(BlobHandle { kind, id }));
        looked_up += 1;
    }
    let each = began.elapsed().as_secs_f64() / f64::from(looked_up) * 1e9;
    println!(
        "{blobs} blobs in {} files: loaded in {seconds:.2} s, at most {peak} MiB; a look-up takes {each:.0} ns",
        files.len()
    );
}

/// The most memory that this process has had, in MiB.
fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kib: Option<u64> = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
    kib.unwrap_or_default() / 1024
}
