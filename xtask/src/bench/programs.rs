//! The programs that are compared, and where they are found.

use std::path::PathBuf;

use crate::tools::find_on_path;
use crate::{process, workspace};

/// A program that can back up and restore.
#[derive(Debug, Clone)]
pub struct Program {
    /// Its name in the table.
    pub name: &'static str,
    /// Whose command line it has.
    pub kind: Kind,
    /// Where it is.
    pub path: PathBuf,
    /// What it says of its version.
    pub version: String,
}

/// A command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// outlast, which has restic's command line.
    Outlast,
    /// restic.
    Restic,
    /// rustic.
    Rustic,
    /// borg.
    Borg,
    /// bupstash.
    Bupstash,
    /// kopia.
    Kopia,
    /// `cp -a`: the floor.
    Copy,
}

/// Every program that is compared if it is here, with the names of its file; ours is first.
const PROGRAMS: &[(&str, Kind, &[&str])] = &[
    ("restic", Kind::Restic, &["restic-0.19", "restic"]),
    ("rustic", Kind::Rustic, &["rustic"]),
    ("borg", Kind::Borg, &["borg"]),
    ("bupstash", Kind::Bupstash, &["bupstash"]),
    ("kopia", Kind::Kopia, &["kopia"]),
    ("cp -a", Kind::Copy, &["cp"]),
];

/// Names another outlast to measure, for instance one built from an older version.
const OURS_VARIABLE: &str = "OUTLAST_BENCH_PROGRAM";

/// Ours: the one that somebody names, else freshly built.
pub fn ours() -> Result<PathBuf, String> {
    if let Some(path) = std::env::var_os(OURS_VARIABLE) {
        return Ok(PathBuf::from(path));
    }
    let arguments = ["build", "--release", "--package", "outlast-cli"];
    process::show(process::cargo(&arguments))?;
    Ok(workspace::root().join("target/release/outlast"))
}

/// The programs that are here, ours first, and the names of those that are not. A program is looked for
/// in `target/tools`, then on the path. Where `wanted` names some, the others are left out.
pub fn found(wanted: &[String]) -> Result<(Vec<Program>, Vec<&'static str>), String> {
    let mut programs = vec![program("outlast", Kind::Outlast, ours()?)];
    let mut missing = Vec::new();
    for (name, kind, files) in PROGRAMS {
        let is_wanted = wanted.is_empty() || wanted.iter().any(|wish| name.starts_with(wish));
        if !is_wanted {
            continue;
        }
        let in_tools =
            |file: &&str| Some(workspace::tools_folder().join(file)).filter(|path| path.is_file());
        let place = files.iter().find_map(in_tools);
        match place.or_else(|| files.iter().find_map(find_on_path)) {
            Some(path) => programs.push(program(name, *kind, path)),
            None => {
                eprintln!("MISSING: {name} is neither in target/tools nor on the path");
                missing.push(*name);
            }
        }
    }
    for wish in wanted {
        if !PROGRAMS.iter().any(|(name, ..)| name.starts_with(wish)) {
            return Err(format!("no program is called `{wish}`"));
        }
    }
    Ok((programs, missing))
}

fn program(name: &'static str, kind: Kind, path: PathBuf) -> Program {
    let argument = match kind {
        Kind::Restic | Kind::Outlast => "version",
        _ => "--version",
    };
    let said = process::capture(process::command(&path, &[argument])).unwrap_or_default();
    let version = said.lines().next().unwrap_or_default();
    Program {
        name,
        kind,
        path,
        version: number_in(version).to_string(),
    }
}

/// The version's number, out of a line that says it.
fn number_in(line: &str) -> &str {
    let is_number =
        |word: &&str| word.contains('.') && word.starts_with(|first: char| first.is_ascii_digit());
    let mut words = line.split([' ', '-', 'v']);
    words.find(is_number).unwrap_or("of unknown version")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_what_programs_say() {
        for (line, number) in [
            (
                "restic 0.19.1 compiled with go1.24.4 on linux/amd64",
                "0.19.1",
            ),
            ("rustic v0.11.4", "0.11.4"),
            ("borg 1.4.1", "1.4.1"),
            ("bupstash-0.12.0", "0.12.0"),
            ("cp (GNU coreutils) 9.1", "9.1"),
            ("", "of unknown version"),
        ] {
            assert_eq!(number_in(line), number);
        }
    }
}
