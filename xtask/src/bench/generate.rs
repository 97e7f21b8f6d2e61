//! Data to measure with: the same bytes on every machine and every run.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;

/// One set of data.
pub struct DataSet {
    /// Its name in the table and on disk.
    pub name: &'static str,
    /// Writes it into a folder.
    pub write: fn(&Path, Scale) -> Result<(), String>,
}

/// How much of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// Some seconds in all.
    Small,
    /// What a small server has; minutes in all.
    Full,
}

/// All sets.
pub const DATA_SETS: &[DataSet] = &[
    DataSet {
        name: "source tree",
        write: source_tree,
    },
    DataSet {
        name: "random",
        write: random_files,
    },
    DataSet {
        name: "hosting mix",
        write: hosting_mix,
    },
];

/// Numbers that look random and are always the same (SplitMix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }

    /// Sizes as they are in practice: most small, some much larger.
    fn size(&mut self, typical: u64) -> u64 {
        let spread = 1 << self.below(6);
        typical / 8 + self.below(typical * spread / 8)
    }
}

const WORDS: &[&str] = &[
    "fn", "let", "return", "if", "else", "while", "match", "struct", "self", "value", "result",
    "error", "length", "offset", "buffer", "(", ")", "{", "}", ";", "=>", "==", "+", "->", "index",
    "node", "tree", "path", "name", "copy", "the", "of", "and", "is", "a", "to", "in", "not",
];

fn source_tree(folder: &Path, scale: Scale) -> Result<(), String> {
    let files = scaled(scale, 3_000, 60_000);
    let mut numbers = Numbers(1);
    for index in 0..files {
        // Some 20 files in a folder, folders three deep.
        let path = folder.join(format!(
            "part{}/module{}/file{index}.rs",
            index / 2_000,
            index / 20
        ));
        let size = numbers.size(8_000);
        write_text(&path, size, &mut numbers)?;
    }
    Ok(())
}

fn random_files(folder: &Path, scale: Scale) -> Result<(), String> {
    let mut numbers = Numbers(2);
    for index in 0..3 {
        let path = folder.join(format!("random{index}.bin"));
        write_noise(&path, scaled(scale, 24, 512) << 20, &mut numbers)?;
    }
    Ok(())
}

fn hosting_mix(folder: &Path, scale: Scale) -> Result<(), String> {
    let mut numbers = Numbers(3);
    write_rows(
        &folder.join("database/dump.sql"),
        scaled(scale, 32, 800) << 20,
        &mut numbers,
    )?;
    for index in 0..scaled(scale, 600, 15_000) {
        let path = folder.join(format!("mail/box{}/cur/{index}.eml", index % 40));
        let size = numbers.size(6_000);
        write_text(&path, size, &mut numbers)?;
    }
    for index in 0..scaled(scale, 80, 2_000) {
        let path = folder.join(format!("www/uploads/{}/image{index}.jpg", index % 25));
        let size = numbers.size(120_000);
        write_noise(&path, size, &mut numbers)?;
    }
    for index in 0..scaled(scale, 200, 5_000) {
        let path = folder.join(format!("www/lib{}/page{index}.php", index % 100));
        let size = numbers.size(7_000);
        write_text(&path, size, &mut numbers)?;
    }
    Ok(())
}

fn scaled(scale: Scale, small: u64, full: u64) -> u64 {
    match scale {
        Scale::Small => small,
        Scale::Full => full,
    }
}

fn write_text(path: &Path, bytes: u64, numbers: &mut Numbers) -> Result<(), String> {
    write_with(path, bytes, |out| {
        let mut line = String::new();
        for _ in 0..4 + numbers.below(10) {
            // Squaring makes early words frequent, as in real text.
            let place = numbers.below(1_000) * numbers.below(1_000) * WORDS.len() as u64;
            line.push_str(WORDS[(place / 1_000_000) as usize]);
            line.push(' ');
        }
        if numbers.below(3) == 0 {
            line.push_str(&numbers.below(100_000).to_string());
        }
        line.push('\n');
        out.extend_from_slice(line.as_bytes());
    })
}

fn write_rows(path: &Path, bytes: u64, numbers: &mut Numbers) -> Result<(), String> {
    let mut row = 0_u64;
    write_with(path, bytes, |out| {
        row += 1;
        let (name, place) = (numbers.below(50_000), numbers.below(900));
        let line = format!(
            "INSERT INTO orders VALUES ({row},'customer{name}','street {place}',{:016x},{});\n",
            numbers.next(),
            numbers.below(10_000)
        );
        out.extend_from_slice(line.as_bytes());
    })
}

fn write_noise(path: &Path, bytes: u64, numbers: &mut Numbers) -> Result<(), String> {
    write_with(path, bytes, |out| {
        for _ in 0..512 {
            out.extend_from_slice(&numbers.next().to_le_bytes());
        }
    })
}

/// Writes a file of exactly `bytes` out of the pieces that `more` appends.
fn write_with(path: &Path, bytes: u64, mut more: impl FnMut(&mut Vec<u8>)) -> Result<(), String> {
    let explain = |error| format!("{}: {error}", path.display());
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(explain)?;
    }
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path).map_err(explain)?);
    let mut left = bytes;
    let mut piece = Vec::new();
    while left > 0 {
        piece.clear();
        more(&mut piece);
        piece.truncate(left.min(piece.len() as u64) as usize);
        file.write_all(&piece).map_err(explain)?;
        left -= piece.len() as u64;
    }
    file.flush().map_err(explain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_bytes_come_every_time() {
        let make = || {
            let folder = tempfile::tempdir().expect("a folder");
            let path = folder.path().join("deep/file");
            let mut numbers = Numbers(9);
            write_text(&path, 5_000, &mut numbers).expect("text is written");
            let text = fs::read(&path).expect("and read");
            write_rows(&path, 5_001, &mut numbers).expect("rows are written");
            (text, fs::read(&path).expect("and read"))
        };
        let (text, rows) = make();
        assert_eq!((text.len(), rows.len()), (5_000, 5_001));
        assert_eq!((text, rows), make());
    }
}
