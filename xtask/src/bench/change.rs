//! Changing one part in a hundred of some data, and undoing that; taking half of it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::generate::Numbers;

/// One file in so many is changed, and so much of a large file.
const PART: usize = 100;
/// From here on a file counts as large.
const LARGE_BYTES: u64 = 32 << 20;
/// A large file changes in runs of so many bytes.
const RUN_BYTES: u64 = 256 << 10;

fn explain(path: &Path) -> impl Fn(io::Error) -> String + '_ {
    move |error| format!("{}: {error}", path.display())
}

/// All files below a folder, sorted, with their lengths.
pub fn files_below(folder: &Path) -> Result<Vec<(PathBuf, u64)>, String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).map_err(explain(&folder))? {
            let entry = entry.map_err(explain(&folder))?;
            let path = entry.path();
            let metadata = entry.metadata().map_err(explain(&path))?;
            if metadata.is_dir() {
                folders.push(path);
            } else {
                found.push((path, metadata.len()));
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Data that is changed at the moment. The files as they were stand elsewhere, untouched.
pub struct Changed {
    data: PathBuf,
    aside: PathBuf,
    moved: Vec<PathBuf>,
}

impl Changed {
    /// Changes the data: every hundredth small file, and a hundredth of each large one. What was there is
    /// moved to `aside`, which must be on the same file system.
    pub fn apply(data: &Path, aside: &Path) -> Result<Self, String> {
        let mut numbers = Numbers(11);
        let mut moved = Vec::new();
        let mut small = 0;
        for (path, bytes) in files_below(data)? {
            let is_large = bytes >= LARGE_BYTES;
            if !is_large {
                small += 1;
                if small % PART != 1 {
                    continue;
                }
            }
            let inside = path.strip_prefix(data).unwrap_or(&path).to_path_buf();
            let kept = aside.join(&inside);
            if let Some(above) = kept.parent() {
                fs::create_dir_all(above).map_err(explain(above))?;
            }
            fs::rename(&path, &kept).map_err(explain(&path))?;
            moved.push(inside);
            fs::copy(&kept, &path).map_err(explain(&path))?;
            let change = if is_large { change_large } else { change_small };
            change(&path, bytes, &mut numbers).map_err(explain(&path))?;
        }
        Ok(Changed {
            data: data.to_path_buf(),
            aside: aside.to_path_buf(),
            moved,
        })
    }

    /// Puts everything back.
    pub fn undo(self) -> Result<(), String> {
        for inside in &self.moved {
            let path = self.data.join(inside);
            fs::rename(self.aside.join(inside), &path).map_err(explain(&path))?;
        }
        fs::remove_dir_all(&self.aside).map_err(explain(&self.aside))
    }
}

fn change_small(path: &Path, _: u64, numbers: &mut Numbers) -> io::Result<()> {
    let mut file = OpenOptions::new().append(true).open(path)?;
    writeln!(file, "changed {:016x}", numbers.next())
}

fn change_large(path: &Path, bytes: u64, numbers: &mut Numbers) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).open(path)?;
    let mut run = Vec::new();
    for _ in 0..(bytes / PART as u64).div_ceil(RUN_BYTES) {
        run.clear();
        while (run.len() as u64) < RUN_BYTES {
            run.extend_from_slice(&numbers.next().to_le_bytes());
        }
        file.seek(SeekFrom::Start(numbers.below(bytes - RUN_BYTES)))?;
        file.write_all(&run)?;
    }
    Ok(())
}

/// Makes a folder with half of the data: every second small file and the first half of each large one.
pub fn take_half(data: &Path, half: &Path) -> Result<(), String> {
    let mut small = 0;
    for (path, bytes) in files_below(data)? {
        let copy = half.join(path.strip_prefix(data).unwrap_or(&path));
        if let Some(above) = copy.parent() {
            fs::create_dir_all(above).map_err(explain(above))?;
        }
        if bytes >= LARGE_BYTES {
            copy_start(&path, &copy, bytes / 2).map_err(explain(&path))?;
            continue;
        }
        small += 1;
        if small % 2 == 0 {
            fs::hard_link(&path, &copy).map_err(explain(&copy))?;
        }
    }
    Ok(())
}

fn copy_start(from: &Path, to: &Path, bytes: u64) -> io::Result<()> {
    let mut source = io::Read::take(File::open(from)?, bytes);
    io::copy(&mut source, &mut File::create(to)?)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundredth_changes_and_comes_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path().join("data");
        fs::create_dir_all(data.join("deep")).expect("made");
        for number in 0..250 {
            let name = format!("deep/{number:03}");
            fs::write(data.join(name), [number as u8; 10]).expect("written");
        }
        let large = File::create(data.join("large")).expect("made");
        large.set_len(LARGE_BYTES).expect("grown");
        let list = || -> Vec<_> {
            let files = files_below(&data).expect("listed");
            let read = |path: &PathBuf| fs::read(path).expect("read");
            files.iter().map(|(path, _)| read(path)).collect()
        };
        let before = list();
        let changed = Changed::apply(&data, &folder.path().join("aside")).expect("changed");
        let different = |now: Vec<Vec<u8>>| {
            let pairs = now.iter().zip(&before);
            pairs.filter(|(one, other)| one != other).count()
        };
        assert_eq!(different(list()), 4);
        let now = fs::read(data.join("large")).expect("read");
        let touched = now.iter().filter(|byte| **byte != 0).count() as u64;
        assert!((LARGE_BYTES / 200..LARGE_BYTES / 50).contains(&touched));
        changed.undo().expect("undone");
        assert_eq!(different(list()), 0);

        let half = folder.path().join("half");
        take_half(&data, &half).expect("halved");
        let files = files_below(&half).expect("listed");
        assert_eq!(files.len(), 126);
        assert_eq!(files.last().expect("the large one").1, LARGE_BYTES / 2);
    }
}
