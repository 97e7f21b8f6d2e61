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

/// How much of it: 1 is what a small server has, minutes in all.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scale(pub f64);

impl Scale {
    /// Some seconds in all.
    pub const SMALL: Scale = Scale(0.04);
    /// What a small server has.
    pub const FULL: Scale = Scale(1.0);

    /// So much of what there is at full scale, at least one.
    fn of(self, full: u64) -> u64 {
        ((full as f64 * self.0).round() as u64).max(1)
    }

    /// As part of a file name.
    pub fn label(self) -> String {
        format!("{}", self.0).replace('.', "_")
    }
}

/// All sets.
pub const DATA_SETS: &[DataSet] = &[
    DataSet {
        name: "source tree",
        write: source_tree,
    },
    DataSet {
        name: "hosting mix",
        write: hosting_mix,
    },
    DataSet {
        name: "VM image",
        write: machine_image,
    },
    DataSet {
        name: "random",
        write: random_files,
    },
];

/// Numbers that look random and are always the same (SplitMix64).
pub(super) struct Numbers(pub u64);

impl Numbers {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }

    /// Sizes as they are in practice: most small, some much larger.
    fn size(&mut self, typical: u64) -> u64 {
        let spread = 1 << self.below(6);
        typical / 8 + self.below(typical * spread / 8)
    }
}

/// Syllables of which words are made.
const SYLLABLES: &[&str] = &[
    "ab", "al", "be", "con", "da", "de", "en", "fer", "ga", "in", "ist", "ka", "lo", "mar", "ne",
    "of", "or", "pre", "ra", "re", "sen", "ta", "ter", "ti", "un", "ver", "wi", "xo", "ya", "zi",
];
/// Different words of a text.
const WORDS: u64 = 12_000;
/// What stands between words, as in the source of a program.
const MARKS: &[&str] = &[
    " ", " ", " ", " ", ".", "(", ") ", ", ", " = ", "::", "_", "_",
];

/// The word of a number: always the same.
fn push_word(word: u64, text: &mut String) {
    let mut numbers = Numbers(word);
    for _ in 0..1 + numbers.below(4) {
        text.push_str(SYLLABLES[numbers.below(SYLLABLES.len() as u64) as usize]);
    }
}

fn source_tree(folder: &Path, scale: Scale) -> Result<(), String> {
    let mut numbers = Numbers(1);
    for index in 0..scale.of(60_000) {
        // Some 20 files in a folder, folders three deep.
        let path = folder.join(format!(
            "part{}/module{}/file{index}.rs",
            index / 2_000,
            index / 20
        ));
        let size = numbers.size(12_000);
        write_text(&path, size, &mut numbers)?;
    }
    Ok(())
}

fn random_files(folder: &Path, scale: Scale) -> Result<(), String> {
    let mut numbers = Numbers(2);
    for index in 0..3 {
        let path = folder.join(format!("random{index}.bin"));
        write_noise(&path, scale.of(512 << 20), &mut numbers)?;
    }
    Ok(())
}

fn hosting_mix(folder: &Path, scale: Scale) -> Result<(), String> {
    let mut numbers = Numbers(3);
    write_rows(
        &folder.join("database/dump.sql"),
        scale.of(800 << 20),
        &mut numbers,
    )?;
    for index in 0..scale.of(15_000) {
        let path = folder.join(format!("mail/box{}/cur/{index}.eml", index % 40));
        let size = numbers.size(6_000);
        write_text(&path, size, &mut numbers)?;
    }
    for index in 0..scale.of(2_000) {
        let path = folder.join(format!("www/uploads/{}/image{index}.jpg", index % 25));
        let size = numbers.size(250_000);
        write_noise(&path, size, &mut numbers)?;
    }
    for index in 0..scale.of(5_000) {
        let path = folder.join(format!("www/lib{}/page{index}.php", index % 100));
        let size = numbers.size(7_000);
        write_text(&path, size, &mut numbers)?;
    }
    Ok(())
}

/// Extents of zeros (4 in 10), of text and of noise, of 4 KiB to 8 MiB.
fn machine_image(folder: &Path, scale: Scale) -> Result<(), String> {
    let mut numbers = Numbers(4);
    let mut extents = Numbers(5);
    write_with(&folder.join("disk.img"), scale.of(1_600 << 20), |out| {
        let bytes = 4_096 << extents.below(12);
        let kind = extents.below(10);
        while out.len() < bytes {
            match kind {
                0..4 => out.resize(bytes, 0),
                4..7 => push_line(&mut numbers, out),
                _ => push_noise(&mut numbers, out),
            }
        }
        out.truncate(bytes);
    })
}

fn write_text(path: &Path, bytes: u64, numbers: &mut Numbers) -> Result<(), String> {
    write_with(path, bytes, |out| push_line(numbers, out))
}

/// A line of words and marks; five of six are much the same line as elsewhere, as in real text.
fn push_line(numbers: &mut Numbers, out: &mut Vec<u8>) {
    if numbers.below(6) == 0 {
        return push_words(numbers, out);
    }
    let usual = numbers.below(20) * numbers.below(20);
    push_words(&mut Numbers(usual << 32), out);
}

fn push_words(numbers: &mut Numbers, out: &mut Vec<u8>) {
    let mut line = " ".repeat(4 * numbers.below(4) as usize);
    for _ in 0..2 + numbers.below(8) {
        // The third power makes early words frequent.
        let part = || 1 + numbers.below(1_000);
        let place: u64 = std::iter::repeat_with(part).take(3).product();
        push_word(place * WORDS / 1_000_000_000, &mut line);
        line.push_str(MARKS[numbers.below(MARKS.len() as u64) as usize]);
    }
    if numbers.below(6) == 0 {
        line.push_str(&numbers.below(100_000).to_string());
    }
    line.push('\n');
    out.extend_from_slice(line.as_bytes());
}

fn push_noise(numbers: &mut Numbers, out: &mut Vec<u8>) {
    for _ in 0..512 {
        out.extend_from_slice(&numbers.next().to_le_bytes());
    }
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
    write_with(path, bytes, |out| push_noise(numbers, out))
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

    #[test]
    fn sets_are_the_same_every_time_and_grow_with_the_scale() {
        let tiny = Scale(0.000_5);
        for set in DATA_SETS {
            let folder = tempfile::tempdir().expect("a folder");
            let (one, two) = (folder.path().join("one"), folder.path().join("two"));
            (set.write)(&one, tiny).expect("it is written");
            (set.write)(&two, tiny).expect("and again");
            let mut diff = std::process::Command::new("diff");
            diff.arg("-r").arg(one).arg(two);
            let output = diff.output().expect("diff runs");
            assert!(output.status.success(), "{}", set.name);
        }
        assert_eq!(Scale(0.5).of(10), 5);
        assert_eq!(Scale(0.001).of(10), 1);
        assert_eq!(Scale(0.25).label(), "0_25");
    }
}
