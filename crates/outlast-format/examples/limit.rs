//! What each step of a backup and of a restore takes of one core, on a sample of some data: the rates
//! from which `cargo xtask bench-compare` computes how fast a program could be here.
//!
//! Takes a folder; prints one JSON object: bytes, and seconds for the whole sample.

#![allow(clippy::print_stdout, reason = "it is a program that reports")]

use std::collections::HashSet;
use std::fs::{self, File};
use std::hint::black_box;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::time::Instant;

use aes::cipher::{KeyIvInit, StreamCipher};
use outlast_format::{Chunker, Polynomial};
use outlast_object::hash;
use poly1305::Poly1305;
use poly1305::universal_hash::KeyInit;

type Failure = Box<dyn std::error::Error>;

/// Bytes of the sample.
const SAMPLE_BYTES: u64 = 96 << 20;
/// Pieces of large files, spread evenly.
const PIECE_BYTES: u64 = 8 << 20;
/// The level of zstd that restic's default means.
const LEVEL: i32 = 3;
/// Rounds, of which the best counts: it is the limit that is looked for.
const ROUNDS: usize = 3;

fn main() -> Result<(), Failure> {
    let folder = std::env::args_os().nth(1).ok_or("name a folder")?;
    let pieces = sample(PathBuf::from(folder))?;
    let total: usize = pieces.iter().map(Vec::len).sum();
    let chunker = Chunker::new(Polynomial::new(0x003D_A335_8B4D_C173)?);
    let mut chunks: Vec<&[u8]> = Vec::new();
    let chunk = best(|| {
        chunks = pieces
            .iter()
            .flat_map(|piece| cut(&chunker, piece))
            .collect()
    });
    let mut ids = Vec::new();
    let hash_all = best(|| ids = chunks.iter().map(|chunk| hash(chunk)).collect());
    let mut seen = HashSet::new();
    let mut is_new = ids.iter().map(|id| seen.insert(*id));
    chunks.retain(|_| is_new.next() == Some(true));

    let mut stored: Vec<Option<Vec<u8>>> = Vec::new();
    let mut compressor = zstd::bulk::Compressor::new(LEVEL)?;
    let mut room = Vec::with_capacity(2 * PIECE_BYTES as usize);
    let compress = best(|| {
        let mut one = |chunk: &[u8]| {
            room.clear();
            let size = compressor.compress_to_buffer(chunk, &mut room).ok()?;
            (size < chunk.len()).then(|| room.clone())
        };
        stored = chunks.iter().map(|chunk| one(chunk)).collect();
    });
    let mut unpacker = zstd::bulk::Decompressor::new()?;
    let unpack = best(|| {
        for compressed in stored.iter().flatten() {
            room.clear();
            let _ = black_box(unpacker.decompress_to_buffer(compressed, &mut room));
        }
    });
    let mut bytes: Vec<u8> = Vec::new();
    for (chunk, compressed) in chunks.iter().zip(&stored) {
        bytes.extend_from_slice(compressed.as_deref().unwrap_or(chunk));
    }
    let hash_stored = best(|| {
        black_box(hash(&bytes));
    });
    let mut cipher = ctr::Ctr128BE::<aes::Aes256>::new(&[7; 32].into(), &[9; 16].into());
    let cipher = best(|| {
        bytes
            .chunks_mut(1 << 20)
            .for_each(|part| cipher.apply_keystream(part))
    });
    let mac = best(|| {
        for part in bytes.chunks(1 << 20) {
            black_box(Poly1305::new(&[3; 32].into()).compute_unpadded(part));
        }
    });
    let mut target = vec![0; 1 << 20];
    let copy = best(|| {
        for part in pieces.iter().flat_map(|piece| piece.chunks(1 << 20)) {
            target[..part.len()].copy_from_slice(part);
            black_box(&target);
        }
    });
    let unique: usize = chunks.iter().map(|chunk| chunk.len()).sum();
    println!(
        "{{\"bytes\":{total},\"unique\":{unique},\"stored\":{},\"chunk\":{chunk},\"hash\":{hash_all},\
         \"compress\":{compress},\"decompress\":{unpack},\"hash_stored\":{hash_stored},\
         \"cipher\":{cipher},\"mac\":{mac},\"copy\":{copy}}}",
        bytes.len()
    );
    Ok(())
}

fn best(mut work: impl FnMut()) -> f64 {
    let times = (0..ROUNDS).map(|_| {
        let began = Instant::now();
        work();
        began.elapsed().as_secs_f64()
    });
    times.fold(f64::MAX, f64::min)
}

fn cut<'a>(chunker: &Chunker, mut rest: &'a [u8]) -> Vec<&'a [u8]> {
    let mut chunks = Vec::new();
    while !rest.is_empty() {
        let end = chunker.boundary(rest, 0).unwrap_or(rest.len());
        let (chunk, after) = rest.split_at(end);
        chunks.push(chunk);
        rest = after;
    }
    chunks
}

/// Small files whole and pieces of large ones, spread evenly over the folder.
fn sample(folder: PathBuf) -> Result<Vec<Vec<u8>>, Failure> {
    let mut places = Vec::new();
    let mut folders = vec![folder];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            if metadata.is_dir() {
                folders.push(entry.path());
                continue;
            }
            let pieces = metadata.len().div_ceil(PIECE_BYTES);
            places.extend((0..pieces).map(|piece| (entry.path(), piece * PIECE_BYTES)));
        }
    }
    places.sort();
    let bytes_of = |(path, at): &(PathBuf, u64)| -> Result<u64, Failure> {
        Ok((fs::metadata(path)?.len() - at).min(PIECE_BYTES))
    };
    let total = places.iter().map(bytes_of).sum::<Result<u64, _>>()?;
    let every = total.div_ceil(SAMPLE_BYTES).max(1) as usize;
    let mut pieces = Vec::new();
    for (path, at) in places.iter().step_by(every) {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(*at))?;
        let mut piece = Vec::new();
        file.take(PIECE_BYTES).read_to_end(&mut piece)?;
        pieces.push(piece);
    }
    Ok(pieces)
}
